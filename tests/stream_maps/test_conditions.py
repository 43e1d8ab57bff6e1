"""Conditions and comparisons of stream maps: what is text where a map takes it for something else, and decimals."""

from __future__ import annotations

import ast
import re
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from hypothesis import given
from hypothesis import strategies as st
from messages import record, schema
from singer_sdk.mapper import CustomStreamMap

from target_klar.stream_maps.conditions import Conditions, misread_text

if TYPE_CHECKING:
    from target_klar.sandbox import Sandbox


def mapped(definition: dict[str, Any], *rows: dict[str, Any], watched: bool = True) -> tuple[list[Any], list[str]]:
    """What a map makes of rows, and what is said of the text that it misreads."""
    columns: dict[str, Any] = {name: {} for row in rows for name in row}
    stream_map = CustomStreamMap("s", {}, {}, {"type": "object", "properties": columns}, None, definition, None)
    counts: Counter[str] = Counter()
    conditions = Conditions(stream_map if watched else None, definition, counts)
    made: list[Any] = []
    for row in rows:
        conditions.begin()
        try:
            made.append(stream_map.transform(dict(row)))
        except Exception as error:  # noqa: BLE001 - an expression may fail in any way
            made.append(type(error.__cause__ or error))
        conditions.count()
    return made, list(misread_text("s", counts))


TRUE = re.compile(
    r"The stream map of s takes text for true that says the opposite: `(.*)` is (.*) or the like in (.*)\. "
    r"Write `(.*)`\."
)


@pytest.mark.parametrize(
    ("definition", "rows", "told"),
    [
        ({"__filter__": "paid"}, [{"paid": "false"}, {"paid": "true"}], ("paid", "'false'", "1 record")),
        ({"__filter__": "bool(lines)"}, [{"lines": "[]"}, {"lines": None}], ("lines", "'[]'", "1 record")),
        ({"__filter__": "not test"}, [{"test": "0"}, {"test": "No"}], ("test", "'0'", "2 records")),
        ({"__filter__": "paid and fee > 0"}, [{"paid": "No", "fee": 1}], ("paid", "'No'", "1 record")),
        ({"__filter__": "paid and paid != 'false'"}, [{"paid": "0"}], ("paid", "'0'", "1 record")),
        ({"__filter__": "paid or settled"}, [{"paid": "", "settled": "f "}], ("paid or settled", "'f'", "1 record")),
        ({"x": "updated if gone else None"}, [{"gone": "f", "updated": "now"}], ("gone", "'f'", "1 record")),
        ({"x": "[] if record.get('off') else 1"}, [{"off": "0.00"}], ("record.get('off')", "'0.00'", "1 record")),
        ({"x": "bool(record['a']['b'])"}, [{"a": {"b": "null"}}], ("record['a']['b']", "'null'", "1 record")),
    ],
)
def test_text_that_says_false_and_counts_as_true_is_warned_of(
    definition: dict[str, str], rows: list[Any], told: tuple[str, str, str]
) -> None:
    (warning,) = mapped(definition, *rows)[1]
    found = TRUE.fullmatch(warning)
    assert found
    assert found.groups()[:3] == told


SAID = [
    "false",
    "False ",
    "0",
    "0.00",
    "no",
    "N",
    "[]",
    "{}",
    "null",
    " ",
    "",
    None,
    False,
    0,
    "true",
    "1",
    "yes",
    True,
    1,
]


@pytest.mark.parametrize(
    "condition",
    [
        "not {}",
        "{} and b",
        "not b or not {}",
        "bool({})",
        "1.5 if not {} else 2.5",
        "2.5 if {} and b else 1.5",
        "[1 for x in [1] if {}]",
    ],
)
def test_what_the_warning_advises_takes_each_text_for_what_it_says(condition: str) -> None:
    plain = [{"a": value, "b": True} for value in SAID]
    meant = [each | {"a": each["a"] in ("true", "1", "yes", True, 1)} for each in plain]
    warnings = mapped({"__filter__": condition.format("bool(a)")}, *plain)[1]
    advised = [found.group(4) for each in warnings if (found := TRUE.fullmatch(each))]
    assert len(advised) == 1

    right = {"x": condition.format(advised[0])}
    assert mapped(right, *plain) == (
        [
            each | {"x": made["x"]}
            for each, made in zip(plain, mapped({"x": condition.format("a")}, *meant)[0], strict=True)
        ],
        [],
    )


@pytest.mark.parametrize(
    ("expression", "row", "advice"),
    [
        ("test != 1", {"test": "1"}, "read it as a number, `float(test)`"),
        ("1 == test", {"test": "1"}, "read it as a number, `float(test)`"),
        ("test == 1.5", {"test": " 1.5 "}, "read it as a number, `float(test)`"),
        ("test in (1, 2)", {"test": "3"}, "read it as a number, `float(test)`"),
        ("test not in [1, 2]", {"test": "1"}, "read it as a number, `float(test)`"),
        ("test == True", {"test": "true"}, "compare it with such text as it holds, 'true'"),
        ("fee == '1'", {"fee": Decimal(1)}, "take the quotes off"),
        ("paid != 'true'", {"paid": True}, "take the quotes off"),
    ],
)
def test_text_that_is_compared_with_a_number_or_a_boolean_is_warned_of(
    expression: str, row: dict[str, Any], advice: str
) -> None:
    (told,) = mapped({"x": expression}, row)[1]
    assert told.startswith("The stream map of s compares text with a number or a boolean, which it never equals: ")
    assert told.endswith(f"`{ast.unparse(ast.parse(expression))}`, in 1 record. If it is meant to, {advice}.")


@pytest.mark.parametrize(
    ("expression", "row"),
    [
        ("float(fee) if fee else 0", {"fee": "0"}),  # it reads what it asks for
        ("bool(fee) and float(fee)", {"fee": "0"}),
        ("paid and paid != 'false'", {"paid": "false"}),
        ("bool(lines) and lines != '[]'", {"lines": "[]"}),
        ("paid and paid.lower() != 'false'", {"paid": "False"}),
        ("fee or 0", {"fee": "0"}),
        ("json.loads(lines) if lines else []", {"lines": "[]"}),
        ("test != 1 and test != '1'", {"test": "1"}),
        ("test in (1, '1')", {"test": "2"}),
        ("status == 1", {"status": "paid"}),
        ("paid == 'false'", {"paid": "false"}),
        ("bool(paid)", {"paid": "true"}),
        ("bool(paid)", {"paid": ""}),
        ("bool(paid)", {"paid": False}),
        ("note", {"note": "no"}),  # a field, and no condition
        ("[line for line in lines if line.get('sku')]", {"lines": [{"sku": "0"}]}),
        ("bool(code)", {"code": "N-17"}),
    ],
)
def test_what_a_map_may_well_mean_is_not_warned_of(expression: str, row: dict[str, Any]) -> None:
    assert mapped({"x": expression}, row)[1] == []


@pytest.mark.parametrize(
    ("expression", "value", "expected"),
    [
        ("vat == 0.19", "0.19", True),
        ("vat == 0.19", "0.190", True),
        ("vat != 0.19", "0.19", False),
        ("vat in (0.19, 0.07)", "0.07", True),
        ("vat not in [0.19]", "0.19", False),
        ("vat > 0.3", "0.3", False),
        ("vat >= 0.1", "0.1", True),
        ("0.05 < vat < 0.1", "0.1", False),
        ("vat == 0.19", "0.19000000000000000222", False),
        ("vat < 1e400", "1", True),
    ],
)
def test_a_number_is_compared_as_the_tap_and_the_map_have_written_it(
    expression: str,
    value: str,
    expected: bool,  # noqa: FBT001 - a row of the table
) -> None:
    assert mapped({"x": expression}, {"vat": Decimal(value)})[0][0]["x"] is expected


VALUES = st.sampled_from([None, True, False, 0, 1, 2, "", "a", "b", "yes", "ok", (), (1,)])
PARTS = [
    "a",
    "b",
    "not a",
    "bool(b)",
    "a == b",
    "a != 1",
    "b in (1, 2, 'a')",
    "1 if a else b",
    "a and b",
    "a or b",
    "a < 1",
]


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=3), st.sampled_from(["and", "or", "=="]), VALUES, VALUES)
def test_where_no_decimal_is_compared_with_a_float_all_is_as_the_sdk_has_it(
    parts: list[str], operator: str, a: Any, b: Any
) -> None:
    definition = {"x": f" {operator} ".join(f"({part})" for part in parts), "__filter__": parts[0]}
    row = {"a": a, "b": b}
    assert mapped(definition, row)[0] == mapped(definition, row, watched=False)[0]


def test_a_run_says_it_at_its_end_and_a_preview_too(klar: Sandbox) -> None:
    maps = {"fees": {"__alias__": "transaction_costs", "__filter__": "paid"}}
    rows = [record("fees", orderId=key, transactionCosts=1, paid=paid) for key, paid in (("1", "true"), ("2", "false"))]
    lines = [schema("fees", orderId={}, transactionCosts={}, paid={}), *rows]
    loaded, shown = run(klar, lines, stream_maps=maps), run(klar, lines, "--preview", stream_maps=maps)

    told = (
        "The stream map of fees takes text for true that says the opposite: `paid` is 'false' or the like in 1 record."
    )
    assert (loaded.code, set(klar.transaction_costs)) == (0, {"1", "2"})
    assert [each for each in loaded.warnings if each.startswith(told)]
    assert re.search(re.escape(told), shown.out)
