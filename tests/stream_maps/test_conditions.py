"""Conditions and comparisons of stream maps: what is text where a map takes it for something else, and decimals."""

from __future__ import annotations

import ast
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from hypothesis import given
from hypothesis import strategies as st
from messages import record, schema
from singer_sdk.mapper import CustomStreamMap

from target_klar.stream_maps.conditions import Conditions
from target_klar.stream_maps.misread_text import MisreadText

if TYPE_CHECKING:
    from target_klar.sandbox import Sandbox


def mapped(definition: dict[str, Any], *rows: dict[str, Any], watched: bool = True) -> tuple[list[Any], list[str]]:
    """What a map makes of rows, and what is said of the text that it misreads."""
    columns: dict[str, Any] = {name: {} for row in rows for name in row}
    stream_map = CustomStreamMap("s", {}, {}, {"type": "object", "properties": columns}, None, definition, None)
    misread = MisreadText()
    if watched:
        Conditions(definition, misread).watch(stream_map)
    made: list[Any] = []
    for row in rows:
        misread.begin()
        try:
            made.append(stream_map.transform(dict(row)))
        except Exception as error:  # noqa: BLE001 - an expression may fail in any way
            made.append(type(error.__cause__ or error))
        misread.count()
    return made, list(misread.lines("s"))


TRUE = re.compile(
    r"The stream map of s takes text for true that says the opposite: `(.*)`, of (.*) or the like, in (.*)\. "
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
        ({"x": "[1 for l in lines if l['back']]"}, [{"lines": [{"back": "no"}]}], ("l['back']", "'no'", "1 record")),
        ({"x": "{1: x for x in ids if x if on}"}, [{"ids": [1], "on": "0"}], ("on", "'0'", "1 record")),
        ({"x": "list(1 for x in ids for y in x if y)"}, [{"ids": [["f"], ["t"]]}], ("y", "'f'", "1 record")),
        ({"x": "[1 for x in ids if x and x['a']]"}, [{"ids": [{"a": "f"}]}], ("x and x['a']", "'f'", "1 record")),
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


@pytest.mark.parametrize(
    "expression",
    [
        "a.lower != 'failed'",
        "'x' == a.lower",
        "a.startswith",
        "bool(a.upper)",
        "[1 for x in [1] if a.strip]",
        "not a.get",
    ],
)
def test_a_method_that_is_not_called_is_no_value_to_compare(expression: str) -> None:
    row: dict[str, Any] = {"a": {} if "get" in expression else "x"}
    assert mapped({"x": expression}, row)[0] == [TypeError]
    assert mapped({"__filter__": expression}, row)[0] == [TypeError]


def test_a_member_of_an_object_that_is_named_as_a_method_of_text_is_a_value() -> None:
    (made,) = mapped({"x": "a.lower != 'failed' and bool(a.count)"}, {"a": {"lower": "x", "count": 1}})[0]
    assert made["x"] is True


def test_a_filter_with_a_method_that_is_not_called_loads_nothing(klar: Sandbox) -> None:
    maps = {"fees": {"__alias__": "transaction_costs", "__filter__": "status.lower != 'failed'"}}
    row = record("fees", orderId="1", transactionCosts=1, status="paid")
    ended = run(klar, [schema("fees", orderId={}, transactionCosts={}, status={}), row], stream_maps=maps)
    assert (ended.code, klar.posts()) == (1, [])
    assert "`status.lower` is a method: call it, `status.lower()`" in ended.errors[0]


COUNTRIES = ["DE", "NO", "SE", ""]
KEPT = "The stream map of s takes text for true that says the opposite: "


@pytest.mark.parametrize("condition", ["a", "bool(a)", "a and a != 'CH'", "a or b", "not (not a or a == 'x')"])
@pytest.mark.parametrize(
    "texts",
    [
        COUNTRIES,
        ["OFF", "SALE", ""],
        ["f", "m"],
        ["00000", "10115"],
        ["0", "1", "2"],
        ["NO", *["1"] * 9, "DE"],
    ],
    ids=str,
)
def test_a_word_that_may_say_false_is_not_warned_of_in_a_column_that_says_no_yes_or_no(
    condition: str, texts: list[str]
) -> None:
    for rows in (texts, texts[::-1]):
        assert mapped({"__filter__": condition}, *({"a": each, "b": None} for each in rows))[1] == []


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["NO", "yes", "null", ""], "`a`, of 'NO' or the like, in 2 records"),
        (["NO", "DE", "null"], "`a`, of 'null' or the like, in 1 record"),
        (["[]", '[{"id": 1}]'], "`a`, of '[]' or the like, in 1 record"),
        (["0", "1.50", "0.00"], "`a`, of '0' or the like, in 2 records"),
        (["0.00", "EUR"], "`a`, of '0.00' or the like, in 1 record"),
    ],
)
def test_text_that_says_false_whatever_else_a_column_holds_is_warned_of(texts: list[str], told: str) -> None:
    for rows in (texts, [*texts[1:], texts[0]], [*texts, texts[1]]):
        (warning,) = mapped({"__filter__": "a"}, *({"a": each} for each in rows))[1]
        assert warning.startswith(f"{KEPT}{told}. Write ")


def test_of_lines_that_say_no_and_nothing_each_record_counts_once() -> None:
    rows: list[Any] = [{"lines": [{"a": "no"}, {"a": "null"}]}, {"lines": [{"a": "no"}]}]
    (warning,) = mapped({"x": "[1 for l in lines if l['a']]"}, *rows)[1]
    assert " in 2 records. " in warning


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
        ("test == True", {"test": "true"}, "compare it with the text that it holds, such as 'true'"),
        ("fee == '1'", {"fee": Decimal(1)}, "take the quotes off"),
        ("paid != 'true'", {"paid": True}, "take the quotes off"),
        ("order not in ['5003', '5004']", {"order": 5003}, "take the quotes off"),
        ("order in ('5003', None)", {"order": Decimal(5003)}, "take the quotes off"),
        ("paid not in ['true', 'yes']", {"paid": True}, "take the quotes off"),
        ("order not in '5003,5004'.split(',')", {"order": 5003}, "read the other as text, `str(order)`"),
    ],
)
def test_text_that_is_compared_with_a_number_or_a_boolean_is_warned_of(
    expression: str, row: dict[str, Any], advice: str
) -> None:
    (told,) = mapped({"x": expression}, row)[1]
    assert told.startswith("The stream map of s compares text with a number or a boolean, which it never equals: ")
    assert told.endswith(f"`{ast.unparse(ast.parse(expression))}`, in 1 record. If they should be equal, {advice}.")


def test_an_expression_is_shown_as_it_is_whatever_it_reads() -> None:
    row = {"EXAMPLE_FLAG": "no", "a": "", "b": None}
    (first,) = mapped({"__filter__": "EXAMPLE_FLAG"}, row)[1]
    assert "`EXAMPLE_FLAG`, of 'no' or the like, in 1 record. Write `(str(EXAMPLE_FLAG or '')" in first
    told = mapped({"x": "not (a == b)"}, {"a": "yes", "b": True}, row)[1]
    assert [each.partition("`a == b`, ")[2].partition(". ")[0] for each in told] == [
        "in 1 record",
        "of '' or the like, in 1 record",
    ]


LETTERS = "The stream map of s compares text with the same in other letters, which it never equals: `{}`, in {}. "
WRITE_IT = "Write it as the column has it, or compare `{}.strip().lower()` with small letters."


@pytest.mark.parametrize(
    ("definition", "texts", "told"),
    [
        ({"__filter__": "a == 'paid'"}, ["Paid", "Refunded", "Paid"], ("a == 'paid'", "2 records", "a")),
        ({"__filter__": "'PAID' != a"}, ["paid"], ("'PAID' != a", "1 record", "a")),
        (
            {"x": "None if a in ['Cancelled', 'Void'] else 1"},
            ["void ", "x"],
            ("a in ['Cancelled', 'Void']", "1 record", "a"),
        ),
        (
            {"x": "record['a'] not in ('x', 'y')"},
            ["X", "Y"],
            ("record['a'] not in ('x', 'y')", "2 records", "record['a']"),
        ),
    ],
)
def test_text_that_is_compared_with_itself_in_other_letters_alone_is_warned_of(
    definition: dict[str, str], texts: list[str], told: tuple[str, str, str]
) -> None:
    shown, number, part = told
    assert mapped(definition, *({"a": each} for each in texts))[1] == [
        LETTERS.format(shown, number) + WRITE_IT.format(part)
    ]


@pytest.mark.parametrize(
    ("definition", "texts"),
    [
        ({"__filter__": "a == 'paid'"}, ["Paid", "paid"]),
        ({"__filter__": "a == 'paid'"}, ["paid", "Paid"]),
        ({"__filter__": "a == 'paid' or a == 'Paid'"}, ["Paid"]),
        ({"__filter__": "a in ['paid', 'PAID']"}, ["PAID"]),
        ({"__filter__": "a.lower() == 'paid'"}, ["Paid", "PAID"]),
        ({"__filter__": "a != ' '"}, ["", "  "]),
        ({"__filter__": "a == b"}, ["Paid"]),
    ],
)
def test_text_that_is_found_as_it_is_written_is_not_warned_of(definition: dict[str, str], texts: list[str]) -> None:
    assert mapped(definition, *({"a": each, "b": "PAID"} for each in texts))[1] == []


NOTHING = re.compile(
    r"The stream map of s compares one spelling of nothing with another, which it never equals: `(.*)`, of (.*) or "
    r"the like, in (.*)\. If they should be equal, write `(.*)`\."
)


@pytest.mark.parametrize(
    ("expression", "rows", "told"),
    [
        ("updated if gone is not None else None", [{"gone": "", "updated": "now"}], ("gone is not None", "''")),
        ("updated if not gone is None else None", [{"gone": " ", "updated": "now"}], ("gone is None", "''")),
        ("gone is None", [{"gone": "0000-00-00 00:00:00"}], ("gone is None", "'0000-00-00'")),
        ("gone == None", [{"gone": "NULL"}], ("gone == None", "'NULL'")),
        ("gone not in ['']", [{"gone": None}], ("gone not in ['']", "None")),
        ("gone in ('', 'null')", [{"gone": None}], ("gone in ('', 'null')", "None")),
        ("gone not in (None, 'paid')", [{"gone": "none"}], ("gone not in (None, 'paid')", "'none'")),
        ("lines != []", [{"lines": "[]"}], ("lines != []", "'[]'")),
        ("[] == lines", [{"lines": ""}], ("[] == lines", "''")),
        ("lines != '[]'", [{"lines": []}], ("lines != '[]'", "[]")),
        ("about != {}", [{"about": "{}"}], ("about != {}", "'{}'")),
        ("[1 for x in ids if x['end'] is None]", [{"ids": [{"end": ""}]}], ("x['end'] is None", "''")),
        ("gone is None or gone == 'no'", [{"gone": ""}], ("gone is None", "''")),
        ("gone is None or gone == ''", [{"gone": "0000-00-00"}], ("gone is None", "'0000-00-00'")),
    ],
)
def test_nothing_that_is_compared_with_nothing_in_another_spelling_is_warned_of(
    expression: str, rows: list[Any], told: tuple[str, str]
) -> None:
    (warning,) = mapped({"x": expression}, *rows)[1]
    found = NOTHING.fullmatch(warning)
    assert found
    assert found.groups()[:3] == (*told, "1 record")


@pytest.mark.parametrize("condition", ["{} is not None", "{} != []", "{} != ''", "{} not in (None, [])"])
def test_what_that_warning_advises_takes_each_spelling_of_nothing_for_nothing(condition: str) -> None:
    nothing: list[Any] = [None, [], {}, "", "null", "[]", "{}", "NaN", "0000-00-00T00:00:00Z"]
    rows = [{"a": value} for value in [*nothing, 0, "0", False, "false", "2026-05-04", [None]]]
    advised = {
        found.group(4) for each in mapped({"x": condition.format("a")}, *rows)[1] if (found := NOTHING.match(each))
    }
    assert len(advised) == 1
    made, warnings = mapped({"x": advised.pop()}, *rows)
    assert ([each["x"] for each in made], warnings) == ([False] * len(nothing) + [True] * 6, [])


@pytest.mark.parametrize(
    ("expression", "row"),
    [
        ("gone if gone is not None else None", {"gone": ""}),  # which is nothing to what reads it
        ("None if gone is None else gone", {"gone": "0000-00-00"}),
        ("json.loads(lines) if lines is not None else []", {"lines": "[]"}),
        ("gone is not None and gone != ''", {"gone": ""}),
        ("gone != '' and gone is not None", {"gone": None}),
        ("gone is None or gone == ''", {"gone": ""}),
        ("gone in (None, '')", {"gone": ""}),
        ("gone is None or not gone", {"gone": ""}),
        ("lines != '[]' and bool(lines)", {"lines": []}),
        ("lines == [] or lines == '[]'", {"lines": "[]"}),
        ("lines == '{}' or lines in ([], {})", {"lines": {}}),
        ("gone is not None and gone.strip() != ''", {"gone": " "}),
        ("gone is not None", {"gone": "2026-05-04"}),
        ("gone is not None", {"gone": "0"}),
        ("gone is None", {"gone": None}),
        ("name == ''", {"name": ""}),
        ("sku in skus", {"sku": "", "skus": []}),
        ("key in about", {"key": "", "about": {}}),
        ("part in name", {"part": "", "name": "a"}),
        ("status in ('paid', None)", {"status": "open"}),
    ],
)
def test_nothing_that_is_compared_as_it_is_spelled_is_not_warned_of(expression: str, row: dict[str, Any]) -> None:
    assert mapped({"x": expression}, row)[1] == []


LIST = "The stream map of s compares a list with what is no list, which it never equals: `{}`, in 1 record."


@pytest.mark.parametrize(
    ("expression", "row", "advised"),
    [
        ("status != ['refunded', 'failed']", {"status": "paid"}, "status not in ['refunded', 'failed']"),
        ("status == ('paid', 'open')", {"status": "paid"}, "status in ('paid', 'open')"),
        ("status == (1, 2)", {"status": 1}, "status in (1, 2)"),
        ("status == ('paid',)", {"status": ["paid"]}, "('paid',) in status"),
        ("tags != 'gift'", {"tags": ["gift"]}, "'gift' not in tags"),
        ("'gift' == tags", {"tags": ["gift"]}, "'gift' in tags"),
    ],
)
def test_a_list_that_is_compared_with_what_is_none_is_warned_of(
    expression: str, row: dict[str, Any], advised: str
) -> None:
    assert mapped({"x": expression}, row)[1] == [
        f"{LIST.format(expression)} If they should be equal, write `{advised}`."
    ]


NUMBERS = "orders numbers as text, which puts them otherwise: `{}`, in 1 record. Read both as numbers, `float(a)`."
FORMS = (
    "orders dates as text, which puts them otherwise: `{}`, in 1 record. Both have to be as in 2026-05-04, with all "
    "zeros, whose order is that of dates."
)
DATES = (
    "orders dates as text, which puts them otherwise: `{}`, in 1 record. Read both as dates, "
    "`datetime.datetime.strptime(a.split()[0], '%d.%m.%Y')`."
)


@pytest.mark.parametrize(
    ("expression", "held", "told"),
    [
        ("a > '50'", "9.90", NUMBERS),
        ("a > '50'", "100.00", NUMBERS),
        ("'50' <= a", "100", NUMBERS),
        ("a < '-5'", "-1", NUMBERS),
        ("a <= '1'", " 1.0", None),
        ("a <= '1'", "1.0", NUMBERS),
        ("'10' <= a < '2000'", "300", NUMBERS),
        ("a > '50'", "60", None),
        ("a > '50'", "7,00", None),
        ("a > '50'", "n/a", None),
        ("a > '2026-05-01'", "2026-04-30T10:00:00Z", None),
        ("a >= '20260501'", "20260430", None),
        ("a >= '01000'", "00999", None),
        ("float(a) > 50", "9.90", None),
        ("a >= '01.05.2026'", "30.04.2026", DATES),
        ("a > '01.05.2026'", "01.04.2027", DATES),
        ("a < '01.05.2026 12:00'", "30.04.2026 09:00", DATES),
        ("a >= '01.05.2026'", "02.05.2026", None),
        ("a >= '01.12.2025'", "2025-10-15T09:30:00Z", FORMS),
        ("a >= '01.12.2025'", "2025-12-15T09:30:00Z", None),
        ("a > '12/01/2025'", "2025-10-15T09:30:00Z", FORMS),
        ("a > '31/12/2025'", "2026-10-15", FORMS),
        ("a > '12/01/2025'", "01/15/2026", FORMS),
        ("a > '12/01/2025'", "12/15/2025", None),
        ("a >= '2025-9-1'", "2025-10-15T09:30:00Z", FORMS),
        ("a >= '2025-9-1'", "2025-08-15T09:30:00Z", None),
        ("a[:7] >= '2025-9'", "2025-10-15", FORMS),
        ("a >= '2025-12-01'", "15.12.2025", FORMS),
        ("a >= '2025/12/01'", "2025-12-15", FORMS),
        ("a >= '2025-09'", "2025-09-01T00:00:00Z", None),
        ("a <= '2025-09'", "2025-09-01T00:00:00Z", None),
        ("a > '0000-00-00'", "2025-09-01", None),
        ("a > '2025-9-1'", "2025-13-01", None),
        ("a > '2025-9-1'", "R-2025", None),
        ("a >= '01.05.2026'", "30.04.26", None),
    ],
)
def test_text_whose_order_is_not_that_of_what_it_spells_is_warned_of(
    expression: str, held: str, told: str | None
) -> None:
    warnings = mapped({"x": expression}, {"a": held})[1]
    assert warnings == ([f"The stream map of s {told.format(expression)}"] if told else [])


@pytest.mark.parametrize(
    ("expression", "row", "shown"),
    [
        ("[{'id': c} for c in ids]", {"ids": "8125"}, "ids"),
        ("list({'id': c} for c in record['ids'] if c)", {"ids": "8125"}, "record['ids']"),
        ("[{'id': c} for c in record.get('ids') or []]", {"ids": "8125"}, "record.get('ids')"),
        ("[{'id': c} for x in rows for c in ids]", {"ids": "8", "rows": [1]}, "ids"),
        ("[{'id': c} for c in ids]", {"ids": ["8125"]}, None),
        ("[{'id': c} for c in ids]", {"ids": ""}, None),
        ("[{'id': c} for c in ids]", {"ids": None}, None),
        ("[{'id': c} for c in ids.split(',')]", {"ids": "8,1"}, None),
        ("[{'id': c} for c in json.loads(ids)]", {"ids": "[8, 1]"}, None),
        ("''.join([c for c in fee if c in '0123456789'])", {"fee": "EUR 5"}, None),
        ("[{'id': id, 'size': c} for c in 'SML']", {"id": 1}, None),
    ],
)
def test_objects_made_of_the_letters_of_text_are_warned_of(
    expression: str, row: dict[str, Any], shown: str | None
) -> None:
    told = (
        f"The stream map of s makes an object of each letter of text: `{shown}`, in 1 record. `json.loads({shown})` "
        f"reads JSON, `{shown}.split(',')` splits text at commas."
    )
    assert mapped({"x": expression}, row)[1] == ([told] if shown else [])


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
        ("test in (1, '1')", {"test": 2}),
        ("test in ['1'] or test in [1]", {"test": 1}),
        ("status in ['paid', 'open']", {"status": 1}),
        ("status in ['paid', '']", {"status": 0}),
        ("status in other.split(',')", {"status": None, "other": "1,2"}),
        ("tags != ['gift']", {"tags": ["gift"]}),
        ("tags != ['gift']", {"tags": None}),
        ("tags != ['gift']", {"tags": []}),
        ("tags == 'gift' or tags == ['gift']", {"tags": "gift"}),
        ("tags != '' and tags != []", {"tags": ["gift"]}),
        ("tags == '[]'", {"tags": ["gift"]}),
        ("tags == other", {"tags": ["gift"], "other": ["sale"]}),
        ("status == 1", {"status": "paid"}),
        ("paid == 'false'", {"paid": "false"}),
        ("bool(paid)", {"paid": "true"}),
        ("bool(paid)", {"paid": ""}),
        ("bool(paid)", {"paid": False}),
        ("note", {"note": "no"}),  # a field, and no condition
        ("[line for line in lines if line.get('sku')]", {"lines": [{"sku": "A0"}, {"sku": ""}]}),
        ("[{'id': line['id']} for line in lines if line['id']]", {"lines": [{"id": "0"}]}),
        ("[1 for line in lines if line['paid'] if line['paid'] != 'no']", {"lines": [{"paid": "no"}]}),
        ("[float(x) for line in lines if line['a'] for x in line['a']]", {"lines": [{"a": "0"}]}),
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

    told = "The stream map of fees takes text for true that says the opposite: `paid`, of 'false' or the like, in 1 "
    assert (loaded.code, set(klar.transaction_costs)) == (0, {"1", "2"})
    assert [each for each in loaded.warnings if each.startswith(told)]
    assert re.search(re.escape(told), shown.out)
