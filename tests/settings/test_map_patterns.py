"""Stream maps of patterns, of which the last one that matches decides: nothing is dropped that way without a word."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import refund_record, schema, state
from thoroughness import size

from target_klar.settings.patterns import _covers
from target_klar.settings.stream_maps import map_mistakes

if TYPE_CHECKING:
    from target_klar.sandbox import Sandbox

ONLY: dict[str, Any] = {"__alias__": "refunds"}
OTHER: dict[str, Any] = {"__alias__": "refunds", "id": "'x-' + id"}


def lines(stream: str) -> list[Any]:
    return [schema(stream, createdAt={}, lineItems={}), refund_record("a") | {"stream": stream}, state(1)]


NEVER = (
    "{} can never have an effect: of patterns the last one that matches a stream is used, and `{}`, further down, "
    "matches all the same streams. Write it before {them}."
)
THREE = "`stream_maps.refund*`, `stream_maps.fee*`, `stream_maps.re*`"


@pytest.mark.parametrize(
    ("maps", "told"),
    [
        (
            {"shop-refund*": ONLY, "shop-fees": {}, "*": "__NULL__"},
            NEVER.format("`stream_maps.shop-refund*`", "*", them="it"),
        ),
        (
            {"refund*": ONLY, "fee*": ONLY, "re*": OTHER, "*": None, "__else__": None},
            NEVER.format(THREE, "*", them="them"),
        ),
        ({"*": None, "refund*": ONLY, "re*": OTHER}, NEVER.format("`stream_maps.refund*`", "re*", them="it")),
    ],
)
def test_a_pattern_that_a_later_one_always_overrides_stops_the_run_at_its_start(
    klar: Sandbox, maps: dict[str, Any], told: str
) -> None:
    ended = run(klar, lines("shop-refunds"), stream_maps=maps)
    assert (ended.code, ended.out, ended.errors, klar.requests) == (1, "", [told], [])


@pytest.mark.parametrize(
    "maps",
    [
        {"*": None, "shop-*": {}, "shop-refund*": ONLY},
        {"shop-refunds": ONLY, "*": None},
        {"shop-refund*": ONLY, "*": ONLY},
        {"*": None, "shop-refund*": ONLY, "refunds": {"__source__": "*-fees"}, "*-fees": None},
    ],
    ids=str,
)
def test_a_pattern_behind_a_broader_one_and_one_that_says_the_same_are_not_warned_of(
    klar: Sandbox, maps: dict[str, Any]
) -> None:
    ended = run(klar, lines("shop-refunds"), stream_maps=maps)
    assert (ended.code, set(klar.refunds)) == (0, {"a"}), ended.err
    assert not ended.said("pattern")


@pytest.mark.parametrize(
    "maps",
    [
        {"refunds[1]": ONLY, "*": None},  # the name of a stream, perhaps
        {"a*": ONLY, "a?": OTHER},
        {"a*": ONLY, "a[*]": OTHER},
        {"a?": ONLY, "a[!b]": OTHER},
        {"[ab]*": ONLY, "???*": OTHER},
        {"*a": ONLY, "a*": OTHER},
        {"refund*": ONLY, "rows": {"__source__": "*"}},
    ],
    ids=str,
)
def test_a_pattern_of_which_a_later_one_leaves_something_passes(maps: dict[str, Any]) -> None:
    assert list(map_mistakes(maps)) == []


@given(*[st.text("ab*?[]!", max_size=6)] * 2, st.lists(st.text("ab*?[]!", max_size=5), min_size=30, max_size=30))
@settings(max_examples=size(150, 6_000), derandomize=True, deadline=None, database=None)
def test_a_pattern_that_is_said_to_cover_another_matches_all_that_it_matches(
    broad: str, narrow: str, names: list[str]
) -> None:
    assert not _covers(broad, narrow) or all(fnmatch(name, broad) for name in names if fnmatch(name, narrow))
    assert _covers("*", narrow)
    assert _covers(narrow, narrow)


def test_of_two_patterns_that_both_match_a_stream_the_one_that_decides_is_named_once(klar: Sandbox) -> None:
    maps = {"*": None, "public-*": None, "*-refunds": ONLY}
    again = schema("public-refunds", createdAt={}, lineItems={}, note={})
    ended = run(klar, [*lines("public-refunds"), again], stream_maps=maps)
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a"})
    (warning,) = ended.warnings
    assert warning == (
        "public-refunds matches the stream maps `public-*` and `*-refunds`. The last one is used, which is "
        "`*-refunds`, and not `public-*`. To choose, write a map of the stream's own name."
    )
    choice = run(klar, lines("public-refunds"), stream_maps={"public-refunds": ONLY, **maps})
    assert (choice.code, choice.said("is used")) == (0, [])
