"""The command line: what each option prints, and that stdout carries STATE lines and nothing else."""

from __future__ import annotations

import base64
import json
import re
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from invocation import config_file, invoke, redirected
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, line, refund_record, state

from target_klar.target import TargetKlar

if TYPE_CHECKING:
    from target_klar.sandbox import Sandbox


def test_version_is_the_one_that_is_installed() -> None:
    ended = invoke("--version")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"target-klar v{version('target-klar')}, Meltano SDK v")


def test_help_names_every_option() -> None:
    ended = invoke("--help")
    assert (ended.code, ended.err) == (0, "")
    options = re.findall(r"^  (?:-h, )?(--\w+)", ended.out, re.MULTILINE)
    shown = ["--version", "--about", "--format", "--config", "--input", "--preview", "--check", "--stream", "--help"]
    assert options == shown


def test_about_lists_the_settings_and_only_the_capabilities_that_are_true() -> None:
    ended = invoke("--about", "--format=json")
    about = json.loads(ended.out)
    assert (ended.code, ended.err) == (0, "")
    assert sorted(about["capabilities"]) == [
        "about",
        "batch",
        "hard-delete",
        "stream-maps",
        "structured-logging",
        "validate-records",
    ]
    settings = about["settings"]["properties"]
    assert about["settings"]["required"] == ["api_token"]
    assert [name for name, setting in settings.items() if setting.get("secret")] == ["api_token"]
    assert {name: setting["default"] for name, setting in settings.items() if "default" in setting} == {
        "api_url": "https://open-api.getklar.com",
        "refunds_api_version": "12.2022",
        "transaction_costs_api_version": "06.2024",
        "logistics_costs_api_version": "04.2024",
        "cogs_api_version": "12.2022",
        "orders_api_version": "12.2022",
        "batch_size_rows": 1000,
        "batch_wait_limit_seconds": 60,
        "max_parallel_requests": 4,
        "request_timeout_seconds": 60,
        "retry_timeout_seconds": 300,
        "status_timeout_seconds": 60,
        "checkpoint_interval_seconds": 10,
        "rejects_limit": 100,
        "fail_on_rejects": False,
        "hard_delete": False,
        "validate_only": False,
        "validate_records": True,
    }
    assert [name for name, setting in settings.items() if not (setting.get("title") and setting["description"])] == []


@pytest.mark.parametrize(
    ("options", "heading"), [((), "Name: target-klar"), (("--format=markdown",), "# `target-klar`")]
)
def test_about_reads_well_as_text_and_as_markdown(options: tuple[str, ...], heading: str) -> None:
    ended = invoke("--about", *options)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(heading)
    assert [name for name in TargetKlar.config_jsonschema["properties"] if name not in ended.out] == []


def check(klar: Sandbox, folder: Path, **settings: str) -> tuple[int, list[list[str]], list[str], list[str]]:
    """The exit code of `--check`, its table of all streams, what it says below, and its errors."""
    config = {"api_token": klar.token, "api_url": klar.url, **settings}
    ended = invoke("--check", "--config", config_file(folder, config))
    heading, *rows = [text.replace(klar.url, "URL") for text in ended.out.splitlines()]
    assert re.split(r"  +", heading) == [
        *("stream", "address", "version set", "token", "total", "last batch", "last success", "last failure")
    ]
    return ended.code, [text.split() for text in rows[:5]], rows[5:], ended.errors


REFUNDS_ROW = ["refunds", "URL/refunds", "12.2022"]
COSTS_ROW = ["transaction_costs", "URL/transaction-costs", "06.2024"]
OTHERS = [["logistics_costs", "URL/logistics-costs", "04.2024"], ["cogs", "URL/cogs", "12.2022"]]
OTHERS += [["orders", "URL/orders", "12.2022"]]
UNUSED = ["accepted", "0", "0", "none", "none"]
REFUSED = ["refused", "?", "?", "?", "?"]


def test_check_tells_what_klar_says_of_every_stream_and_loads_nothing(klar: Sandbox, tmp_path: Path) -> None:
    config = config_file(tmp_path, {"api_token": klar.token, "api_url": klar.url})
    assert invoke("--config", config, lines=[REFUNDS_SCHEMA, refund_record("a"), refund_record("b")]).code == 0
    code, rows, below, errors = check(klar, tmp_path)
    assert (code, below, errors) == (0, [], [])
    assert rows[0][:6] + rows[0][7:] == [*REFUNDS_ROW, "accepted", "2", "2", "none"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", rows[0][6])
    assert rows[1:] == [row + UNUSED for row in (COSTS_ROW, *OTHERS)]
    assert [seen.method for seen in klar.requests[-5:]] == ["GET"] * 5
    assert len(klar.posts()) == 1


def test_check_is_content_with_a_token_that_works_for_one_stream(klar: Sandbox, tmp_path: Path) -> None:
    klar.misbehave("refunds/status:403")
    code, rows, below, errors = check(klar, tmp_path)
    assert (code, errors) == (0, [])
    assert rows == [REFUNDS_ROW + REFUSED, *(row + UNUSED for row in (COSTS_ROW, *OTHERS))]
    assert len(below) == 1
    assert below[0].startswith("The API token was refused (HTTP 403, URL/refunds/status). Check `api_token`: ")


def test_check_gives_a_reason_once_that_several_streams_share(klar: Sandbox, tmp_path: Path) -> None:
    klar.misbehave("status:403@1x2", "status:503@5")
    code, _, below, errors = check(klar, tmp_path)
    assert (code, errors) == (0, [])
    assert [re.search(r"HTTP \d+", text) and text[:20] for text in below] == [
        "The API token was re",
        "orders: no usable re",
    ]


def test_check_fails_where_the_token_works_for_no_stream(klar: Sandbox, tmp_path: Path) -> None:
    code, rows, below, errors = check(klar, tmp_path, api_token="not-the-right-one")
    assert code == 1
    assert rows == [row + REFUSED for row in (REFUNDS_ROW, COSTS_ROW, *OTHERS)]
    assert below == []
    (error,) = errors
    assert error.startswith("No stream's status could be read. The API token was refused (HTTP 401, ")
    assert error.count("Check `api_token`") == 1
    assert "not-the-right-one" not in "".join([*below, *errors])


def test_check_finds_the_status_of_costs_under_either_spelling(klar: Sandbox, tmp_path: Path) -> None:
    klar.state_spelling = True
    code, rows, _, _ = check(klar, tmp_path)
    assert code == 0
    assert rows == [row + UNUSED for row in (REFUNDS_ROW, COSTS_ROW, *OTHERS)]


def jwt(**claims: object) -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, claims)
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*coded, "c2lnbmF0dXJl"])


DAY = 86_400
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"


@pytest.mark.parametrize(
    ("claims", "shown", "warned"),
    [
        ({"iat": 1_700_000_000, "exp": time.time() + 30 * DAY}, rf"issued 2023-11-14 22:13 UTC, expires {TIME}", None),
        ({"exp": time.time() + 6 * DAY}, rf"does not say when it was issued, expires {TIME}", f"expires on {TIME}"),
        ({"exp": 1_700_000_000}, "does not say when it was issued, expires 2023-11-14 22:13 UTC", "expired on 2023-11"),
        ({"iat": "x", "exp": True}, "does not say when it was issued, does not say when it expires", None),
        ({"iat": 1e400, "exp": 10**30}, "does not say when it was issued, does not say when it expires", None),
    ],
)
def test_check_shows_what_a_jwt_says_of_itself_and_warns_in_its_last_week(
    claims: dict[str, object], shown: str, warned: str | None, klar: Sandbox, tmp_path: Path
) -> None:
    klar.token = jwt(**claims)
    ended = invoke("--check", "--config", config_file(tmp_path, {"api_token": klar.token, "api_url": klar.url}))
    assert ended.code == 0
    assert re.fullmatch(f"api_token: {shown}", ended.out.splitlines()[0])
    found = [text.split("|", 3)[3] for text in ended.said("WARNING")]
    assert [bool(re.match(f" `api_token` {warned}", text)) for text in found] == ([True] if warned else [])
    assert klar.token not in ended.out + ended.err


@pytest.mark.parametrize(
    "token", ["a.b.c", "e30.e30", "bnVsbA.bnVsbA.x", "W10.W10.", "e30..e30", "....", "eyJ9.eyJ9.x"]
)
def test_check_says_nothing_of_a_token_that_is_no_jwt(token: str, klar: Sandbox, tmp_path: Path) -> None:
    klar.token = token
    code, _, below, errors = check(klar, tmp_path)
    assert (code, below, errors) == (0, [], [])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--confg", "x"], "No such option '--confg'. Did you mean '--config'? See target-klar --help."),
        (
            ["config.json", "t0k-SECRET"],
            (
                "Unexpected arguments: config.json, a text of 10 characters. Quote a value that has blanks, and name a "
                "file with the settings by `--config`. See target-klar --help."
            ),
        ),
        (
            ["--input", "no-such-file"],
            "Invalid value for '--input': File 'no-such-file' does not exist. See target-klar --help.",
        ),
        (
            ["--about", "--format=xml"],
            "Invalid value for '--format': 'xml' is not one of 'json', 'markdown'. See target-klar --help.",
        ),
    ],
)
def test_a_wrong_command_line_is_one_line_on_stderr_and_exit_1(arguments: list[str], told: str) -> None:
    ended = invoke(*arguments)
    assert (ended.code, ended.out, ended.errors, len(ended.err.splitlines())) == (1, "", [told], 1)


@pytest.mark.parametrize("more", [[], ["--config=ENV"]], ids=["alone", "beside ENV"])
@pytest.mark.parametrize(
    ("argument", "is_shown"),
    [
        ('{"api_token": "t0k-SECRET"}', False),
        ("t0k-SECRET", False),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.t0k-SECRET", False),
        ("Bearer t0k/SECRET==", False),
        ("t0k-SECRET" * 1000, False),
        ("", False),
        ("/no/such/config.json", True),
        ("no such config.json", True),
    ],
)
def test_a_configuration_that_is_no_file_is_shown_only_where_it_is_surely_no_secret(
    argument: str, more: list[str], *, is_shown: bool
) -> None:
    ended = invoke("--config", argument, *more, lines=[REFUNDS_SCHEMA])
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1)
    shown = argument if is_shown else f"a text of {len(argument):,} characters"
    assert ended.errors[0].startswith(f"The configuration {shown} cannot be read (")
    assert ended.errors[0].endswith("). `--config` takes the path of a file with a JSON object, or ENV.")
    assert "SECRET" not in ended.err
    assert "Traceback" not in ended.err


def test_a_configuration_that_is_a_folder_is_shown(tmp_path: Path) -> None:
    (said,) = invoke("--config", str(tmp_path)).errors
    assert said.startswith(f"The configuration {tmp_path} cannot be read (Is a directory).")


def test_a_run_from_a_file_prints_state_lines_and_nothing_else_on_stdout(klar: Sandbox, tmp_path: Path) -> None:
    singer = tmp_path / "tap.jsonl"
    lines = [
        REFUNDS_SCHEMA,
        COSTS_SCHEMA,
        refund_record("a"),
        cost_record("b"),
        state({"seen": 1}),
        refund_record("c", createdAt="2024-01-01"),
        state([2]),
    ]
    singer.write_bytes(b"".join(map(line, lines)))
    config = config_file(tmp_path, {"api_token": klar.token, "api_url": klar.url})
    ended = invoke("--config", config, "--input", str(singer))
    assert (ended.code, ended.out) == (0, "[2]\n")


def test_a_later_configuration_overrides_an_earlier_one(klar: Sandbox, tmp_path: Path) -> None:
    first = config_file(tmp_path, {"api_token": "another", "api_url": klar.url})
    ended = invoke("--config", first, "--config=ENV", lines=[state(1)], env={"TARGET_KLAR_API_TOKEN": klar.token})
    assert (ended.code, ended.states) == (0, [1])


def test_without_stdin_the_run_says_what_to_do(klar: Sandbox, tmp_path: Path) -> None:
    config = config_file(tmp_path, {"api_token": klar.token, "api_url": klar.url})
    ended = redirected("<&-", "--config", config)
    assert (ended.code, ended.out) == (1, "")
    assert ended.errors == [
        ("No input: stdin is closed. Pipe a tap into target-klar, or name a file with `--input`. No STATE was written.")
    ]


@pytest.mark.parametrize("option", ["--about", "--preview", "--check", "--help", "--version"])
@pytest.mark.parametrize(
    ("full", "why"),
    [
        (True, "stdout cannot be written (No space left on device)."),
        (False, "stdout is closed. Open it, or send it to /dev/null."),
    ],
    ids=["full", "closed"],
)
def test_what_cannot_be_shown_is_one_line_on_stderr(
    klar: Sandbox, tmp_path: Path, option: str, why: str, *, full: bool
) -> None:
    lines = [REFUNDS_SCHEMA, refund_record("A")]
    config = config_file(tmp_path, {"api_token": klar.token, "api_url": klar.url})

    if full:
        ended = invoke("--config", config, option, lines=lines, stdout=Path("/dev/full"))
    else:
        (tmp_path / "lines").write_bytes(b"".join(map(line, lines)))
        ended = redirected(f"< {tmp_path}/lines >&-", "--config", config, option)

    assert (ended.code, len(ended.errors)) == (1, 1), ended.err
    assert ended.errors[0].startswith(why)
    assert "Traceback" not in ended.err


def test_a_preview_checks_no_token(tmp_path: Path) -> None:
    ended = invoke("--config", config_file(tmp_path, {}), "--preview", "--check")
    assert (ended.code, ended.out) == (1, "")
    assert ended.errors == ["`--preview` and `--check` do not go together. See target-klar --help."]
