"""A condition that is said to be the same whatever a record holds is so for every record."""

from __future__ import annotations

import ast
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thoroughness import size

from target_klar.settings.constant_conditions import outcome

pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning")

HELD: list[Any] = [None, True, False, 0, 1, 2, "", "a", "b", "A", "ab", "c", [], ["a"]]
VALUES = st.sampled_from(["x", "y", "x or y", "x or 'a'", "str(x).upper()", "str(x)[:1]", "x if y else 'a'", "not x"])
CONSTANTS = st.sampled_from(["'a'", "'b'", "'A'", "'ab'", "''", "1", "0", "None", "True", "['a']", "[]", "('a',)"])
COMPARISONS = st.one_of(
    st.builds("({}) {} {}".format, VALUES, st.sampled_from(["==", "!="]), CONSTANTS),
    st.builds("{2} {1} ({0})".format, VALUES, st.sampled_from(["==", "!="]), CONSTANTS),
    st.builds("({}) {} {}".format, VALUES, st.sampled_from(["is", "is not"]), st.sampled_from(["None", "True"])),
    st.builds("({}) {} ({}, {})".format, VALUES, st.sampled_from(["in", "not in"]), CONSTANTS, CONSTANTS),
    st.builds("({}) == ({})".format, VALUES, VALUES),
    st.builds("bool({})".format, VALUES),
    VALUES,
)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.builds("({}) {} ({})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("not ({})".format, inner),
        st.builds("({}) if ({}) else ({})".format, inner, inner, inner),
        st.builds("({}) == True".format, inner),
    ),
    max_leaves=4,
)


@given(CONDITIONS)
@settings(max_examples=size(500, 5_000), derandomize=True, deadline=None, database=None)
def test_no_record_differs_from_what_is_said_of_all(condition: str) -> None:
    told = outcome(ast.parse(condition, mode="eval").body)
    if told is not None:
        made = compile(condition, "a condition", "eval")
        found = {bool(eval(made, {"x": x, "y": y})) for x, y in product(HELD, HELD)}
        assert found == {told}


def test_what_would_take_too_many_trials_is_left_alone() -> None:
    for count, told in ((5, True), (9, None)):
        condition = " or ".join(f"x{at} == {at}" for at in range(count)) + " or not x0 == 0"
        assert outcome(ast.parse(condition, mode="eval").body) is told
