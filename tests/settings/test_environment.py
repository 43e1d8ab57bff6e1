"""Settings from variables and from a `.env` file: read alike, checked like those of a configuration file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from env_file import above_the_sdk, beside_the_sdk
from forked import run
from invocation import COMMAND, config_file, invoke
from program import REFUNDS, Ended, line, refund, state

from target_klar.settings.environment import settings_in

if TYPE_CHECKING:
    from pathlib import Path

    from target_klar.sandbox import Sandbox

TOKEN = "a-token-that-must-not-show"
LINES = [REFUNDS, refund("a"), state(1)]
HINT = "TARGET_KLAR_API_TOKEN is set: add `--config=ENV`, which reads it."


def with_env_file(folder: Path, text: str | bytes, **variables: str) -> Ended:
    (above_the_sdk(folder) / ".env").write_bytes(text if isinstance(text, bytes) else text.encode())
    return beside_the_sdk(folder, [*COMMAND, "--config=ENV"], b"".join(map(line, LINES)), **variables)


def stopped(ended: Ended, told: str) -> None:
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1), ended.err
    assert ended.errors[0].startswith(told)
    assert "Traceback" not in ended.err
    assert TOKEN not in ended.err


def warnings(ended: Ended) -> list[str]:
    return [text.split("|", 3)[3].strip() for text in ended.said("WARNING")]


def test_an_empty_variable_is_not_set(klar: Sandbox) -> None:
    ended = run(klar, LINES, rejects_path="", batch_size_rows="", hard_delete="", stream_maps="", validate_ony="")
    assert (ended.code, ended.states, warnings(ended)) == (0, [1], [])


def test_an_empty_token_is_one_that_is_not_set(klar: Sandbox) -> None:
    ended = run(klar, LINES, api_token="")
    stopped(ended, "`api_token` is not set. The access token")
    assert klar.requests == []


def test_an_empty_variable_leaves_what_a_file_sets(klar: Sandbox, tmp_path: Path) -> None:
    file = config_file(tmp_path, {"api_token": klar.token, "stream_maps": {"refunds": "__NULL__"}})
    assert run(klar, LINES, "--config", file, api_token="", stream_maps="").code == 0
    assert klar.posts() == []


def test_a_token_that_nothing_reads_is_pointed_out(tmp_path: Path) -> None:
    for file in (config_file(tmp_path, {}), config_file(tmp_path, {"api_token": None})):
        ended = invoke("--config", file, lines=LINES, env={"TARGET_KLAR_API_TOKEN": TOKEN})
        stopped(ended, f"`api_token` is not set. {HINT} The access token")
    stopped(invoke(lines=LINES, env={"TARGET_KLAR_API_TOKEN": ""}), "`api_token` is not set. The access token")


def test_variables_are_judged_only_where_they_are_read_and_by_their_exact_prefix(klar: Sandbox, tmp_path: Path) -> None:
    file = config_file(tmp_path, {"api_token": klar.token, "api_url": klar.url})
    ended = invoke("--config", file, lines=LINES, env={"TARGET_KLAR_VALIDATE_ONY": "true"})
    assert (ended.code, warnings(ended)) == (0, [])
    assert settings_in({"TARGET_KLR_VALIDATE_ONLY": "true", "target_klar_validate_only": "true"}) == {}


def test_foreign_variables_and_settings_are_one_warning_without_values_and_those_of_the_sdk_none(
    klar: Sandbox, tmp_path: Path
) -> None:
    file = config_file(tmp_path, {"load_method": "append-only", "shop\nname" + 80 * "e": TOKEN})
    foreign = {"SERVICE_HOST": TOKEN, "LOAD_METHOD": "overwrite", "LOGLEVEL": "WARNING"}
    ended = run(klar, LINES, "--config", file, env=None, **foreign)
    assert (ended.code, ended.states) == (0, [1])
    assert warnings(ended) == [
        f"Settings that target-klar does not have are ignored: shop\\nname{47 * 'e'}..., TARGET_KLAR_SERVICE_HOST"
    ]
    assert TOKEN not in ended.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("TARGET_KLAR_BATCH_SIZE_ROWS=abc", "`batch_size_rows` must be a whole number from 1 to 1000 (found abc)."),
        ("TARGET_KLAR_VALIDATE_ONLY=ture", "`validate_only` must be true or false (found ture)."),
        (
            "TARGET_KLAR_STREAM_MAPS={",
            "The variable TARGET_KLAR_STREAM_MAPS cannot be read as JSON (Expecting property ",
        ),
        (f"TARGET_KLAR_VALIDATE_ONY={TOKEN}", "`TARGET_KLAR_VALIDATE_ONY` is no setting. Did you mean `validate_only`"),
        (b"TARGET_KLAR_API_TOKEN=\xff", "The .env file cannot be read ("),
        (b"TARGET_KLAR_API_TOKEN=a\0b", "The .env file cannot be read ("),
    ],
)
def test_an_env_file_is_checked_as_the_environment_is(
    text: str | bytes, told: str, klar: Sandbox, tmp_path: Path
) -> None:
    stopped(with_env_file(tmp_path, text, TARGET_KLAR_API_TOKEN=klar.token, TARGET_KLAR_API_URL=klar.url), told)
    assert klar.requests == []


def test_an_env_file_wins_over_the_environment_unless_it_is_empty(klar: Sandbox, tmp_path: Path) -> None:
    text = f"TARGET_KLAR_API_TOKEN=\nTARGET_KLAR_REJECTS_PATH=\nTARGET_KLAR_API_URL={klar.url}\n"
    elsewhere = "http://127.0.0.1:9"
    ended = with_env_file(tmp_path, text, TARGET_KLAR_API_TOKEN=klar.token, TARGET_KLAR_API_URL=elsewhere)
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a"})
