"""Settings from variables and from a `.env` file: read alike, checked like those of a configuration file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from invocation import config_file, invoke
from messages import REFUNDS_SCHEMA, refund_record, state

from target_klar.settings.environment import settings_in

if TYPE_CHECKING:
    from pathlib import Path

    from program import Ended

    from target_klar.sandbox import Sandbox

TOKEN = "a-token-that-must-not-show"
LINES = [REFUNDS_SCHEMA, refund_record("a"), state(1)]
HINT = "TARGET_KLAR_API_TOKEN is set: add `--config=ENV`, which reads it."


def with_env_file(folder: Path, text: str | bytes, *arguments: str, **variables: str) -> Ended:
    (folder / ".env").write_bytes(text if isinstance(text, bytes) else text.encode())
    return invoke(*(arguments or ["--config=ENV"]), lines=LINES, env=variables, folder=folder)


def own(klar: Sandbox, folder: Path, **settings: object) -> str:
    return config_file(folder, {"api_token": klar.token, "api_url": klar.url, **settings})


def stopped(ended: Ended, told: str) -> None:
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1), ended.err
    assert ended.errors[0].startswith(told)
    assert "Traceback" not in ended.err
    assert TOKEN not in ended.err


@pytest.mark.parametrize("place", ["environment", ".env"])
@pytest.mark.parametrize("text", ["true", "True", "TRUE"])
def test_target_klar_validate_only_in_the_environment_is_a_dry_run(
    klar: Sandbox, tmp_path: Path, text: str, place: str
) -> None:
    """Nothing is loaded and no STATE written; the same command without that variable loads."""
    access = {"TARGET_KLAR_API_TOKEN": klar.token, "TARGET_KLAR_API_URL": klar.url}
    dry_run = {"TARGET_KLAR_VALIDATE_ONLY": text}
    if place == "environment":
        ended = invoke("--config=ENV", lines=LINES, env=access | dry_run, folder=tmp_path)
    else:
        ended = with_env_file(tmp_path, f"TARGET_KLAR_VALIDATE_ONLY={text}\n", **access)
    assert (ended.code, ended.out, ended.errors, klar.refunds) == (0, "", [], {})
    assert [(seen.on, seen.count) for seen in klar.requests] == [("validate", 1)]
    assert ended.said("refunds: 1 read, 1 valid")

    (tmp_path / ".env").unlink(missing_ok=True)
    klar.clear()
    loaded = invoke("--config=ENV", lines=LINES, env=access, folder=tmp_path)
    assert (loaded.code, loaded.states, set(klar.refunds)) == (0, [1], {"a"})


def test_target_klar_validate_only_in_the_environment_wins_over_the_configuration_file(
    klar: Sandbox, tmp_path: Path
) -> None:
    """Where the environment is read after the file: `--config config.json --config=ENV`."""
    file = own(klar, tmp_path, validate_only=False)
    env = {"TARGET_KLAR_VALIDATE_ONLY": "true"}
    ended = invoke("--config", file, "--config=ENV", lines=LINES, env=env, folder=tmp_path)
    assert (ended.code, ended.out, ended.errors, klar.posts()) == (0, "", [], [])
    assert ended.said("refunds: 1 read, 1 valid")


def test_an_empty_variable_is_not_set(klar: Sandbox) -> None:
    ended = run(klar, LINES, rejects_path="", batch_size_rows="", hard_delete="", stream_maps="", validate_ony="")
    assert (ended.code, ended.states, ended.warnings) == (0, [1], [])


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
    ended = invoke("--config", own(klar, tmp_path), lines=LINES, env={"TARGET_KLAR_VALIDATE_ONY": "true"})
    assert (ended.code, ended.warnings) == (0, [])
    assert settings_in({"TARGET_KLR_VALIDATE_ONLY": "true", "target_klar_validate_only": "true"}) == {}


IGNORED = "{} would be ignored: this run does not read variables. "
HERE = "Add `--config=ENV`, which reads the environment, or unset the variable."
MELTANO = "Declare the setting for this loader in meltano.yml, so that Meltano passes it on, or unset the variable."


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"VALIDATE_ONLY": "true"}, "TARGET_KLAR_VALIDATE_ONLY"),
        *(
            ({"VALIDATE_ONLY": text}, "TARGET_KLAR_VALIDATE_ONLY")
            for text in ("Yes", "true\r", "True ", "t", "y", "ture", "2", '"true"')
        ),
        ({"API_URL": "http://127.0.0.1:9"}, "TARGET_KLAR_API_URL"),
        ({"API_URL": "https://open-api.getklar.com"}, "TARGET_KLAR_API_URL"),
        (
            {"API_URL": "http://127.0.0.1:9", "VALIDATE_ONLY": "1"},
            "TARGET_KLAR_API_URL and TARGET_KLAR_VALIDATE_ONLY",
        ),
    ],
)
@pytest.mark.parametrize(
    ("meltano", "way_out"), [({}, HERE), ({"MELTANO_LOADER_NAME": "target-klar"}, MELTANO)], ids=["alone", "meltano"]
)
def test_a_dry_run_or_another_address_that_nothing_reads_stops_the_run(
    variables: dict[str, str], named: str, meltano: dict[str, str], way_out: str, klar: Sandbox, tmp_path: Path
) -> None:
    env = {f"TARGET_KLAR_{name}": text for name, text in variables.items()} | meltano
    stopped(invoke("--config", own(klar, tmp_path), lines=LINES, env=env), IGNORED.format(named) + way_out)
    assert klar.requests == []


def test_variables_that_say_what_the_configuration_says_and_maps_and_empty_ones_are_no_matter(
    klar: Sandbox, tmp_path: Path
) -> None:
    config = own(
        klar, tmp_path, validate_only="false", hard_delete=True, batch_size_rows=60, refunds_api_version="12.2022"
    )
    same = {"API_TOKEN": f"{klar.token}\n", "API_URL": f"{klar.url}/", "VALIDATE_ONLY": "False", "HARD_DELETE": "True"}
    same |= {"BATCH_SIZE_ROWS": "60", "REFUNDS_API_VERSION": "12.2022", "RETRY_TIMEOUT_SECONDS": "300"}
    spread = {
        "STREAM_MAPS": '{"x": 1}',
        "STREAM_MAPS__X": "1",
        "EXTRA_FIELDS": "a,b",
        "REJECTS_PATH": "",
        "SERVICE": "x",
    }
    env = {f"TARGET_KLAR_{name}": text for name, text in (same | spread).items()}
    ended = invoke("--config", config, lines=LINES, env=env)
    assert (ended.code, ended.warnings, ended.states) == (0, [], [1])


@pytest.mark.parametrize(
    ("text", "validate_only"), [("false\r", False), (" False ", False), ("off", False), ("t", True)]
)
def test_a_dry_run_is_not_missed_where_the_variable_is_false_or_the_configuration_makes_one(
    text: str, klar: Sandbox, tmp_path: Path, *, validate_only: bool
) -> None:
    config = own(klar, tmp_path, validate_only=validate_only)
    env = {"TARGET_KLAR_VALIDATE_ONLY": text, "TARGET_KLAR_API_URL": f"{klar.url}\r"}
    ended = invoke("--config", config, lines=LINES, env=env)
    assert (ended.code, ended.states, len(ended.warnings)) == (0, [] if validate_only else [1], int(validate_only))


def test_other_variables_that_nothing_reads_and_that_differ_are_one_warning_without_values(
    klar: Sandbox, tmp_path: Path
) -> None:
    differ = {"API_TOKEN": TOKEN, "REJECTS_PATH": TOKEN, "BATCH_SIZE_ROWS": "ten", "VALIDATE_ONLY": "false"}
    env = {f"TARGET_KLAR_{name}": text for name, text in differ.items()}
    ended = invoke("--config", own(klar, tmp_path), lines=LINES, env=env)
    assert (ended.code, ended.states) == (0, [1])
    assert ended.warnings == [
        (
            "No variable is read, and these differ from the configuration: TARGET_KLAR_API_TOKEN, "
            "TARGET_KLAR_REJECTS_PATH, TARGET_KLAR_BATCH_SIZE_ROWS. Add `--config=ENV`, which reads the "
            "environment, or "
            "unset the variable."
        )
    ]
    assert TOKEN not in ended.err


@pytest.mark.parametrize("variable", ["TARGET_KLAR_LOGLEVEL", "LOGLEVEL"])
def test_an_unknown_log_level_is_info_and_one_warning(variable: str, klar: Sandbox, tmp_path: Path) -> None:
    ended = invoke("--config", own(klar, tmp_path), lines=LINES, env={variable: "trace"})
    assert (ended.code, ended.states) == (0, [1])
    assert [text for text in ended.warnings if variable in text] == ended.warnings
    assert len(ended.said("INFO")) > 1
    quiet = invoke("--config", own(klar, tmp_path), lines=LINES, env={variable: "error"})
    assert (quiet.code, quiet.err) == (0, "")


def test_foreign_variables_and_settings_are_one_warning_without_values_and_those_of_the_sdk_none(
    klar: Sandbox, tmp_path: Path
) -> None:
    file = config_file(tmp_path, {"load_method": "append-only", "shop\nname" + 80 * "e": TOKEN})
    foreign = {"SERVICE_HOST": TOKEN, "LOAD_METHOD": "overwrite", "LOGLEVEL": "WARNING"}
    ended = run(klar, LINES, "--config", file, env=None, **foreign)
    assert (ended.code, ended.states) == (0, [1])
    assert ended.warnings == [
        f"Unknown settings are ignored: shop\\nname{47 * 'e'}..., TARGET_KLAR_SERVICE_HOST. Check the spelling."
    ]
    assert TOKEN not in ended.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "TARGET_KLAR_BATCH_SIZE_ROWS=abc",
            '`batch_size_rows` must be a whole number from 1 to 1000 (found the text "abc").',
        ),
        ("TARGET_KLAR_VALIDATE_ONLY=ture", '`validate_only` must be true or false (found the text "ture").'),
        ("TARGET_KLAR_STREAM_MAPS={", "`stream_maps` must be an object in the form that the Singer SDK documents"),
        (
            f"TARGET_KLAR_VALIDATE_ONY={TOKEN}",
            "Unknown setting `TARGET_KLAR_VALIDATE_ONY`. Did you mean `validate_only`",
        ),
        (
            "TARGET_KLAR_BATCH_DELAY_SECONDS=1",
            "Unknown setting `TARGET_KLAR_BATCH_DELAY_SECONDS`. Did you mean `batch_wa",
        ),
        (b"TARGET_KLAR_REJECTS_PATH=a\0b", "`rejects_path` must not have a NUL or half a surrogate pair in its text."),
        (b"TARGET_KLAR_API_TOKEN=\xff", "{}/.env cannot be read ("),
        ('A=1\nTARGET_KLAR_VALIDATE_ONLY="true\n', "{}/.env cannot be read from line 2 on: it is not `NAME=value`, or"),
        ("TARGET_KLAR_VALIDATE_ONLY: true", "{}/.env cannot be read from line 1 on: "),
        ("set TARGET_KLAR_VALIDATE_ONLY=true", "{}/.env cannot be read from line 1 on: "),
        ("""TARGET_KLAR_STREAM_MAPS='{"a": {"__filter__": "b == 'c'"}}'""", "{}/.env cannot be read from line 1 on: "),
        ("A='b\nTARGET_KLAR_VALIDATE_ONLY='true'", "{}/.env cannot be read from line 1 on: "),
    ],
)
def test_an_env_file_is_checked_as_the_environment_is(
    text: str | bytes, told: str, klar: Sandbox, tmp_path: Path
) -> None:
    ended = with_env_file(tmp_path, text, TARGET_KLAR_API_TOKEN=klar.token, TARGET_KLAR_API_URL=klar.url)
    stopped(ended, told.format(tmp_path))
    assert klar.requests == []


def test_the_environment_wins_over_an_env_file_which_is_named_and_an_empty_variable_is_in_neither(
    klar: Sandbox, tmp_path: Path
) -> None:
    text = (
        f"\ufeffTARGET_KLAR_API_TOKEN={klar.token}\nTARGET_KLAR_REJECTS_PATH=\nTARGET_KLAR_API_URL=http://127.0.0.1:9\n"
    )
    ended = with_env_file(tmp_path, text, TARGET_KLAR_API_TOKEN="", TARGET_KLAR_API_URL=klar.url)
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a"})
    assert len(ended.said(f"Variables are read from {tmp_path}/.env too")) == 1


def test_an_env_file_is_read_in_the_working_directory_alone_and_only_if_the_environment_is(
    klar: Sandbox, tmp_path: Path
) -> None:
    below = tmp_path / "below"
    below.mkdir()
    (tmp_path / ".env").write_text(f"TARGET_KLAR_API_TOKEN={TOKEN}\n")
    stopped(invoke("--config=ENV", lines=LINES, folder=below), "`api_token` is not set.")
    ended = with_env_file(tmp_path, f"TARGET_KLAR_API_TOKEN={TOKEN}\n", "--config", own(klar, tmp_path))
    assert (ended.code, ended.states, ended.said(".env")) == (0, [1], [])


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("VALIDATE_ONLY=true", "VALIDATE_ONLY"),
        ("API_URL=http://127.0.0.1:9", "API_URL"),
        ("DRY_RUN=1", "DRY_RUN (its name is TARGET_KLAR_VALIDATE_ONLY)"),
    ],
)
def test_an_env_file_that_nothing_reads_and_that_asks_for_a_dry_run_or_another_address_stops_the_run(
    asked: str, named: str, klar: Sandbox, tmp_path: Path
) -> None:
    config = own(klar, tmp_path)
    ended = with_env_file(tmp_path, f"TARGET_KLAR_{asked}\n", "--config", config)
    stopped(
        ended, f"TARGET_KLAR_{named} of .env would be ignored: this run does not read variables. Add `--config=ENV`"
    )
    assert klar.posts() == []
    same = f"TARGET_KLAR_VALIDATE_ONLY=no\nTARGET_KLAR_API_URL={klar.url}/\n"
    assert with_env_file(tmp_path, same, "--config", config).code == 0


def test_a_folder_named_env_is_no_file_of_variables(klar: Sandbox, tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    env = {"TARGET_KLAR_API_TOKEN": klar.token, "TARGET_KLAR_API_URL": klar.url}
    ended = invoke("--config=ENV", lines=LINES, env=env, folder=tmp_path)
    assert (ended.code, ended.said(".env")) == (0, [])


def test_under_meltano_a_missing_token_is_never_looked_for_in_another_loaders_variable() -> None:
    env = {"TARGET_KLAR_API_TOKEN": TOKEN, "MELTANO_LOADER_NAME": "target-klar-returns"}
    ended = invoke("--config", "/dev/null", lines=LINES, env=env)
    assert ended.code == 1
    assert "--config=ENV" not in ended.err


@pytest.mark.parametrize("name", ["batch_delay_seconds", "BATCH_DELAY_SECONDS", "batch-delay-seconds"])
def test_a_renamed_setting_stops_the_run_with_its_name_today(name: str, klar: Sandbox, tmp_path: Path) -> None:
    told = f"Unknown setting `{name}`. Did you mean `batch_wait_limit_seconds`?"
    stopped(invoke("--config", own(klar, tmp_path, **{name: 60}), lines=LINES), told)
    ended = run(klar, LINES, batch_delay_seconds=60)
    stopped(
        ended, "Unknown setting `TARGET_KLAR_BATCH_DELAY_SECONDS`. Did you mean `batch_wait_limit_seconds` (in the env"
    )
    assert klar.requests == []


@pytest.mark.parametrize("name", ["dry_run", "dryRun", "DRY_RUN", "dryrun", "dry-run", "Dry_Run"])
@pytest.mark.parametrize("value", [True, False, "true"])
def test_dry_run_as_a_setting_stops_the_run_with_the_name_that_it_has(
    name: str, value: object, klar: Sandbox, tmp_path: Path
) -> None:
    told = f"Unknown setting `{name}`. Did you mean `validate_only`?"
    stopped(invoke("--config", own(klar, tmp_path, **{name: value}), lines=LINES), told)
    variable = f"TARGET_KLAR_{name}"
    access = {"TARGET_KLAR_API_TOKEN": klar.token, "TARGET_KLAR_API_URL": klar.url}
    ended = invoke("--config=ENV", lines=LINES, env=access | {variable: str(value)})
    stopped(ended, f"Unknown setting `{variable}`. Did you mean `validate_only` (in the env")
    assert klar.requests == []


@pytest.mark.parametrize("name", ["DRY_RUN", "DRYRUN", "dryRun", "dry_run"])
def test_dry_run_in_a_variable_that_nothing_reads_stops_a_run_that_would_load(
    name: str, klar: Sandbox, tmp_path: Path
) -> None:
    variable = f"TARGET_KLAR_{name}"
    for text in ("true", "1", "please"):
        ended = invoke("--config", own(klar, tmp_path), lines=LINES, env={variable: text})
        stopped(ended, IGNORED.format(f"{variable} (its name is TARGET_KLAR_VALIDATE_ONLY)") + HERE)
    assert klar.requests == []
    for text, validate_only in (("false", False), ("", False), ("true", True)):
        config = own(klar, tmp_path, validate_only=validate_only)
        ended = invoke("--config", config, lines=LINES, env={variable: text})
        assert (ended.code, ended.states, ended.warnings) == (0, [] if validate_only else [1], ended.warnings[:1])


@pytest.mark.parametrize("place", ["a file", "the environment"])
def test_stream_maps_of_two_configurations_stop_the_run_where_the_later_ones_lose_a_map(
    place: str, klar: Sandbox, tmp_path: Path
) -> None:
    def loaded(maps: dict[str, Any]) -> Ended:
        first = own(klar, tmp_path, stream_maps={"refunds": {"__filter__": "id != 'a'"}})
        if place == "the environment":
            env = {"TARGET_KLAR_STREAM_MAPS": json.dumps(maps)}
            return invoke("--config", first, "--config=ENV", lines=LINES, env=env, folder=tmp_path)
        (tmp_path / "shop.json").write_text(json.dumps({"stream_maps": maps}))
        return invoke("--config", first, "--config", "shop.json", lines=LINES, folder=tmp_path)

    name = "shop.json" if place == "a file" else place
    told = f"`stream_maps` of {name} replaces the one before it entirely, and would lose the map of refunds. Write all"
    stopped(loaded({"fees": {"__alias__": "transaction_costs"}}), told)
    lost = told.replace("the map of refunds", "`__filter__` of refunds")
    stopped(loaded({"refunds": {"id": "id", "__alias__": "refunds"}}), lost)
    assert klar.posts() == []
    assert (loaded({"refunds": {"__filter__": "id == 'b'"}}).code, set(klar.refunds)) == (0, set())
    assert (loaded({"refunds": {}}).code, set(klar.refunds)) == (0, {"a"}), "it is overridden, as asked for"
