"""Search: whatever setting is misspelled, wherever it is set, nothing is loaded and one line names the right one."""

from __future__ import annotations

import json
import random
import string
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from hypothesis import given, settings
from hypothesis import strategies as st
from invocation import ENVIRONMENT, config_file, invoke
from messages import REFUNDS_SCHEMA, refund_record, state
from program import LONGEST_RUN, Ended
from thoroughness import size

from target_klar.records.spelling import closest_match
from target_klar.settings.environment import settings_in
from target_klar.settings.settings import PREFIX, RENAMED, SETTINGS
from target_klar.settings.validation import _BUILT_IN, _is_built_in, checked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from target_klar.sandbox import Sandbox

NAMES = list(SETTINGS["properties"])
TOKEN = "a-token-that-must-not-show"
SEED = 9
LETTERS = string.ascii_lowercase + string.digits + "_"


def misspelled(name: str, letters: str) -> Iterator[str]:
    """Every way to get one letter wrong, or its case, at every place."""
    for at in range(len(name) + 1):
        before, after = name[:at], name[at:]
        yield from (before + letter + after for letter in letters)
        if after:
            yield before + after[1:]
            yield before + after[0].swapcase() + after[1:]
            yield from (before + letter + after[1:] for letter in letters)
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]
        if after.startswith("_"):
            yield before + "-" + after[1:]


def respelled(name: str) -> Iterator[str]:
    """The whole name in another style."""
    dashed = name.replace("_", "-")
    yield from (name.upper(), name.title(), name.capitalize(), dashed, dashed.upper(), dashed.title())


def cases(count: int) -> list[tuple[str, str]]:
    """Every name in other styles and so many misspelled ones, each with the setting that was meant."""
    one_letter = [(wrong, name) for name in NAMES for wrong in dict.fromkeys(misspelled(name, LETTERS))]
    chosen = random.Random(SEED).sample(one_letter, min(count, len(one_letter)))
    styles = [(wrong, name) for name in NAMES for wrong in respelled(name)]
    # A mistake that happens to spell a setting is none that anybody could see.
    return [(wrong, right) for wrong, right in [*styles, *chosen] if wrong not in NAMES]


def rightly_named(lines: list[str], wrong: str, right: str) -> bool:
    """Whether one line names both, and is one line."""
    named = [text for text in lines if text.startswith(f"Unknown setting `{wrong}`. Did you mean `{right}`")]
    return len(named) == 1 and all(text.isprintable() and TOKEN not in text for text in lines)


def misspelled_in_a_file(wrong: str) -> list[str]:
    return checked({"api_token": TOKEN, wrong: TOKEN})[1]


def misspelled_as_a_variable(wrong: str) -> list[str]:
    return checked(settings_in({f"{PREFIX}API_TOKEN": TOKEN, PREFIX + wrong: TOKEN}))[1]


def test_every_misspelled_setting_of_a_file_is_refused_with_the_right_name() -> None:
    tried = cases(size(200, 30_000))
    assert [wrong for wrong, right in tried if not rightly_named(misspelled_in_a_file(wrong), wrong, right)] == []


def test_every_misspelled_variable_is_refused_with_the_right_name() -> None:
    tried = cases(size(80, 5_000))
    tried += [(wrong.upper(), right) for wrong, right in tried if wrong.lower() not in NAMES]
    assert [
        wrong
        for wrong, right in tried
        if wrong != right.upper()  # which is how the variable is spelled
        if not rightly_named(misspelled_as_a_variable(wrong), PREFIX + wrong, right)
    ] == []


READS_MANY_FILES = """
import json, pathlib, sys
from target_klar.settings.environment import settings_in, variables
from target_klar.settings.validation import checked
found = []
for text in json.load(sys.stdin):
    pathlib.Path(".env").write_text(text)
    found.append(checked(settings_in(variables()))[1])
json.dump(found, sys.stdout)
"""


def test_every_misspelled_variable_of_an_env_file_is_refused_with_the_right_name(tmp_path: Path) -> None:
    tried = [(wrong.upper(), right) for wrong, right in cases(size(100, 5_000)) if wrong.lower() not in NAMES]
    texts = [f"{PREFIX}API_TOKEN={TOKEN}\n{PREFIX}{wrong}={TOKEN}\n" for wrong, _ in tried]
    ended = subprocess.run(
        [sys.executable, "-c", READS_MANY_FILES],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=LONGEST_RUN,
        cwd=tmp_path,
        env=ENVIRONMENT,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    breaches = [
        wrong
        for (wrong, right), said in zip(tried, json.loads(ended.stdout), strict=True)
        if not rightly_named(said, PREFIX + wrong, right)
    ]
    assert breaches == []


def stopped_by_a_name(ended: Ended, klar: Sandbox, right: str) -> None:
    """Nothing was read or sent, and one line says what to do, without a value."""
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1), ended.err
    assert f"Did you mean `{right}`" in ended.errors[0]
    assert "Traceback" not in ended.err
    assert TOKEN not in ended.err
    assert klar.token not in ended.err
    assert (klar.requests, klar.refunds) == ([], {})


LINES = [REFUNDS_SCHEMA, refund_record("a"), state(1)]
SAMPLE = random.Random(SEED).sample(cases(1_000), size(6, 30))


@pytest.mark.parametrize(("wrong", "right"), SAMPLE)
def test_a_run_with_a_misspelled_setting_loads_nothing(wrong: str, right: str, klar: Sandbox, tmp_path: Path) -> None:
    ended = run(klar, LINES, "--config", config_file(tmp_path, {wrong: TOKEN}))
    stopped_by_a_name(ended, klar, right)
    if wrong.upper() != right.upper():
        stopped_by_a_name(run(klar, LINES, env=None, **{wrong: TOKEN}), klar, right)


@pytest.mark.parametrize(
    ("wrong", "right"), [case for case in SAMPLE if case[0].upper() != case[1].upper()][: size(2, 10)]
)
def test_a_run_with_a_misspelled_variable_in_an_env_file_loads_nothing(
    wrong: str, right: str, klar: Sandbox, tmp_path: Path
) -> None:
    values = {"API_TOKEN": klar.token, "API_URL": klar.url}
    file = tmp_path / ".env"
    file.write_text("".join(f"{PREFIX}{name}={value}\n" for name, value in values.items()))
    ended = invoke("--config=ENV", lines=LINES, folder=tmp_path)
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a"})  # so it is this file that is read
    klar.clear()
    with file.open("a") as more:
        more.write(f"{PREFIX}{wrong.upper()}={TOKEN}\n")
    stopped_by_a_name(invoke("--config=ENV", lines=LINES, folder=tmp_path), klar, right)


# Names that nobody thought of


@given(st.dictionaries(st.text(), st.none() | st.text(), max_size=5))
@settings(max_examples=size(50, 2_000), derandomize=True, deadline=None, database=None)
def test_any_other_name_is_passed_over_and_listed_on_one_line(config: dict[str, Any]) -> None:
    unknown = [name for name in config if name not in NAMES and not _is_built_in(name.lower())]
    _, errors, foreign = checked({"api_token": TOKEN} | dict.fromkeys(unknown, TOKEN))
    assert len(errors) + len(foreign) == len(unknown)
    assert len(errors) == sum(closest_match(name, [*NAMES, *RENAMED]) is not None for name in unknown)
    assert all(len(name) <= 60 and name.isprintable() for name in foreign)
    assert TOKEN not in "".join(errors + foreign)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("vlaidate_onl", "validate_only"),  # two that changed places, and one too few
        ("VALIDATE-ONLY", "validate_only"),
        ("valdat_oly", "validate_only"),
        ("batch_size", "batch_size_rows"),
        ("token", None),
        ("validate", None),
        ("", None),
        ("api_key", None),
    ],
)
def test_a_name_is_a_mistake_if_four_fifths_of_it_are_a_settings(wrong: str, right: str | None) -> None:
    assert closest_match(wrong, NAMES) == right


def test_no_name_that_the_sdk_or_meltano_adds_is_near_to_one_of_ours() -> None:
    theirs = {
        *_BUILT_IN,
        "flattening_enabled",
        "flattening_max_depth",
        "flattening_separator",
        "flattening_max_key_length",
    }
    theirs |= {"default_target_schema", "_load_schema", "_dialect", "_target_schema"}
    theirs |= {"LOGLEVEL", "LOG_LEVEL", "SERVICE_HOST", "SERVICE_PORT", "PORT", "PORT_80_TCP_ADDR"}
    assert [name for name in theirs if closest_match(name, NAMES)] == []
