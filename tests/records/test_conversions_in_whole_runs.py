"""Each row of the table of conversions, over the whole program: what Klar received, or the refusal's words."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from klar_objects import REFUND_TIME, order, order_line
from messages import COSTS_SCHEMA, ORDERS_SCHEMA, REFUNDS_SCHEMA, record, refund_record, state

from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOON = 1_704_110_400  # 2024-01-01T12:00:00Z
TIME = "createdAt must be a time, as Unix seconds or as a date (found {})"


def item(**fields: Any) -> dict[str, Any]:
    """The fields of a refund with one line item, which has these fields instead of the usual ones."""
    return {"lineItems": [{"lineItemId": "L", "refundedQuantity": 1} | fields]}


def sent_item(**fields: Any) -> dict[str, Any]:
    """What Klar gets of it."""
    return item(**fields)


# The tap's fields beside `id`, and what Klar gets beside `id`; or the words of the refusal.
REFUND_CASES: dict[str, tuple[dict[str, Any], dict[str, Any] | str]] = {
    # Names
    "snake_case": (
        {
            "created_at": NOON,
            "line_items": [{"line_item_id": "L", "refunded_quantity": 1, "reason_descriptor": "late"}],
        },
        {"createdAt": NOON} | sent_item(reasonDescriptor="late"),
    ),
    "folded as Snowflake does": (
        {"CREATEDAT": NOON, "LINEITEMS": [{"LINEITEMID": "L", "REFUNDEDQUANTITY": 1}]},
        {"createdAt": NOON} | sent_item(),
    ),
    "folded as PostgreSQL does": (
        {"createdat": NOON, "lineitems": [{"lineitemid": "L", "refundedquantity": 1}]},
        {"createdAt": NOON} | sent_item(),
    ),
    "upper snake case": (
        {"CREATED_AT": NOON, "LINE_ITEMS": [{"LINE_ITEM_ID": "L", "REFUNDED_QUANTITY": 1}]},
        {"createdAt": NOON} | sent_item(),
    ),
    "the exact spelling and another value": (
        {"createdAt": NOON, "created_at": 5} | item(),
        TIME.format("different values in createdAt and created_at"),
    ),
    "the exact spelling, which holds nothing": (
        {"createdAt": None, "created_at": NOON, "CREATEDAT": ""} | item(),
        {"createdAt": NOON} | item(),
    ),
    "two spellings that differ": (
        {"created_at": NOON, "CREATEDAT": NOON + 1} | item(),
        TIME.format("different values in created_at and CREATEDAT"),
    ),
    # Text
    "a whole number as text": ({"createdAt": NOON} | item(lineItemId=12), {"createdAt": NOON} | item(lineItemId="12")),
    "12.0 as text": ({"createdAt": NOON} | item(lineItemId=12.0), {"createdAt": NOON} | item(lineItemId="12")),
    "a fraction as text": (
        {"createdAt": NOON} | item(lineItemId=1.5),
        "lineItems[0].lineItemId must be text (found number 1.5)",
    ),
    "a boolean as text": (
        {"createdAt": NOON} | item(lineItemId=True),
        "lineItems[0].lineItemId must be text (found boolean true)",
    ),
    # Numbers
    "numeric text": (
        {"createdAt": NOON} | item(refundedQuantity="1.10"),
        {"createdAt": NOON} | item(refundedQuantity=Decimal("1.10")),
    ),
    "a decimal comma": (
        {"createdAt": NOON} | item(refundedQuantity="1,10"),
        'lineItems[0].refundedQuantity must be a number (found text "1,10")',
    ),
    "a percentage": (
        {"createdAt": NOON} | item(refundedQuantity="17%"),
        'lineItems[0].refundedQuantity must be a number (found text "17%")',
    ),
    "NaN as text": (
        {"createdAt": NOON} | item(refundedQuantity="NaN"),
        "lineItems[0].refundedQuantity must be a number (found text of 3 characters)",
    ),
    "infinity as text": (
        {"createdAt": NOON} | item(refundedQuantity="-Infinity"),
        "lineItems[0].refundedQuantity must be a number (found text of 9 characters)",
    ),
    "a boolean as a number": (
        {"createdAt": NOON} | item(refundedQuantity=False),
        "lineItems[0].refundedQuantity must be a number (found boolean false)",
    ),
    "0": ({"createdAt": NOON} | item(refundedQuantity=0), {"createdAt": NOON} | item(refundedQuantity=0)),
    "a negative quantity": (
        {"createdAt": NOON} | item(refundedQuantity=-2),
        (
            "lineItems[0].refundedQuantity must be a number, 0 or more [negative_quantity] (found number -2); "
            "if the source writes all of them negative, as WooCommerce does, negate them in a stream map (`-quantity`)"
        ),
    ),
    # Times
    "ISO 8601 with Z": ({"createdAt": "2024-01-01T12:00:00Z"} | item(), {"createdAt": NOON} | item()),
    "ISO 8601 with a zone": ({"createdAt": "2024-01-01T14:00:00.999+02:00"} | item(), {"createdAt": NOON} | item()),
    "a date": ({"createdAt": "2024-01-01"} | item(), {"createdAt": NOON - 43200} | item()),
    "an SQL timestamp": ({"createdAt": "2024-01-01 12:00:00.123456"} | item(), {"createdAt": NOON} | item()),
    "an SQL timestamp with a zone": ({"createdAt": "2024-01-01 13:00:00+01"} | item(), {"createdAt": NOON} | item()),
    "ten digits": ({"createdAt": str(NOON)} | item(), {"createdAt": NOON} | item()),
    "nine digits": ({"createdAt": "999999999"} | item(), {"createdAt": 999_999_999} | item()),
    "eight digits": (
        {"createdAt": "20240101"} | item(),
        TIME.format('text "20240101", which is too small for Unix seconds: a date, perhaps'),
    ),
    "thirteen digits": (
        {"createdAt": "1704110400000"} | item(),
        TIME.format('text "1704110400000", which looks like milliseconds, not seconds'),
    ),
    "milliseconds": (
        {"createdAt": 1_704_110_400_000} | item(),
        TIME.format("number 1704110400000, which looks like milliseconds, not seconds"),
    ),
    "a date as a number": (
        {"createdAt": 20240101} | item(),
        TIME.format("number 20240101, which is too small for Unix seconds: a date, perhaps"),
    ),
    "Excel's day number": (
        {"createdAt": 45292} | item(),
        TIME.format("number 45292, which is too small for Unix seconds: a date, perhaps"),
    ),
    "Excel's day number with a time": (
        {"createdAt": 45292.5} | item(),
        TIME.format("number 45292.5, which is too small for Unix seconds: a date, perhaps"),
    ),
    "words": ({"createdAt": "yesterday"} | item(), TIME.format("text of 9 characters")),
    "a day that is none": ({"createdAt": "2024-02-30"} | item(), TIME.format('text "2024-02-30"')),
    "a negative required time": ({"createdAt": -1} | item(), TIME.format("number -1")),
    # No value
    "null where nothing is required": (
        {"createdAt": NOON, "updatedAt": None} | item(id=None, reasonDescriptor=None, processedAt=None),
        {"createdAt": NOON} | item(),
    ),
    "no time where none is required": (
        {"createdAt": NOON, "updatedAt": 0} | item(createdAt="", processedAt="0000-00-00 00:00:00"),
        {"createdAt": NOON} | item(),
    ),
    "MySQL's zero date where none is required": (
        {"createdAt": NOON, "updated_at": "0000-00-00"} | item(),
        {"createdAt": NOON} | item(),
    ),
    "MySQL's zero date where one is required": (
        {"created_at": "0000-00-00 00:00:00"} | item(),
        TIME.format('text "0000-00-00 00:00:00"'),
    ),
    "null as a required time": ({"createdAt": None} | item(), TIME.format("null")),
    "0 as a required time": ({"createdAt": 0} | item(), TIME.format("number 0")),
    "empty text as a required time": ({"createdAt": ""} | item(), TIME.format("empty text")),
    "null as a required array": ({"createdAt": NOON, "lineItems": None}, "lineItems must be an array (found null)"),
    "null as a required number": (
        {"createdAt": NOON} | item(refundedQuantity=None),
        "lineItems[0].refundedQuantity must be a number (found null)",
    ),
    "nothing at all": ({}, "createdAt is required; lineItems is required"),
    # Arrays
    "an array as JSON text": (
        {"createdAt": NOON, "line_items": '[{"line_item_id": 7, "refunded_quantity": "1.10", "sku": "x"}]'},
        {"createdAt": NOON} | item(lineItemId="7", refundedQuantity=Decimal("1.10")),
    ),
    "text that is no JSON": (
        {"createdAt": NOON, "lineItems": "[{"},
        "lineItems must be an array (found text of 2 characters that looks like JSON)",
    ),
    "JSON text that is no array": (
        {"createdAt": NOON, "lineItems": "5"},
        "lineItems must be an array (found text of 1 character)",
    ),
    "an empty array": ({"createdAt": NOON, "lineItems": []}, {"createdAt": NOON, "lineItems": []}),
    "an item that is no object": (
        {"createdAt": NOON, "lineItems": [5]},
        "lineItems[0] must be an object (found number 5)",
    ),
    # Fields that Klar does not know
    "unknown fields": (
        {"createdAt": NOON, "_sdc_batched_at": "x", "sku": 5} | item(sku="y", _sdc_sequence=1),
        {"createdAt": NOON} | item(),
    ),
}
KEYS: dict[str, tuple[str, str]] = {
    # JSON of the key, and the key at Klar or the refusal
    "a whole number": ("12", "12"),
    "12.0": ("13.0", "13"),
    "more than 64 bits": ("123456789012345678901234567890", "123456789012345678901234567890"),
    "zeros in front": ('"007"', "007"),
    "a fraction": ("1.5", "id must be text that is not empty (found number 1.5)"),
    "beyond all reason": ("1e999999", "id must be text that is not empty (found number 1E+999999)"),
    "a boolean": ("true", "id must be text that is not empty (found boolean true)"),
    "null": ("null", "id must be text that is not empty (found null)"),
    "empty text": ('""', "id must be text that is not empty (found empty text)"),
    "an object": ('{"a": 1}', "id must be text that is not empty (found an object with 1 field)"),
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """All cases in one run: what Klar holds under a key, or how the record with it was refused."""
    rejects = tmp_path_factory.mktemp("conforming") / "rejects.jsonl"
    lines: list[Any] = [REFUNDS_SCHEMA]
    lines += [record("refunds", **({"id": name} | fields)) for name, (fields, _) in REFUND_CASES.items()]
    fields = '{"id": %s, "createdAt": 1704110400, "lineItems": [], "n": "%s"}'
    body = f'{{"type": "RECORD", "stream": "refunds", "record": {fields}}}'
    lines += [body % (key, name) for name, (key, _) in KEYS.items()]
    with Sandbox() as klar:
        ended = run(klar, [*lines, state(1)], rejects_path=str(rejects))
        assert (ended.code, ended.states) == (0, [1])
        held = json.loads(json.dumps(klar.refunds, default=str))
    refused = {}
    for found in map(json.loads, rejects.read_text().splitlines()[1:]):
        assert found["source"] == "contract"
        told = "; ".join(f"{problem['path']} {problem['message']}" for problem in found["errors"])
        refused[found["record"].get("n") or found["record"]["id"]] = told
    return lambda name: held.get(name) or refused[name]


@pytest.mark.parametrize("name", REFUND_CASES)
def test_a_record_as_a_tap_writes_it_becomes_what_klar_takes_or_is_refused_in_words(
    name: str, outcome: Callable[[str], Any]
) -> None:
    wanted = REFUND_CASES[name][1]
    whole = wanted if isinstance(wanted, str) else json.loads(json.dumps({"id": name} | wanted, default=str))
    assert outcome(name) == whole


@pytest.mark.parametrize("name", KEYS)
def test_a_key_becomes_text_digit_for_digit_or_is_refused(name: str, outcome: Callable[[str], Any]) -> None:
    wanted = KEYS[name][1]
    if wanted.startswith("id must"):
        assert outcome(name) == wanted
    else:
        assert outcome(wanted)["id"] == wanted


def test_20_extra_columns_never_reach_klar_and_one_warning_names_them(klar: Sandbox) -> None:
    extra = {f"column_{number}": f"value-{number}" for number in range(19)} | {"customer_email": "anna@example.com"}
    lines = [REFUNDS_SCHEMA, *(refund_record(str(number), **extra) for number in range(1500)), state(1)]
    ended = run(klar, lines)
    assert (ended.code, ended.states) == (0, [1])
    assert {frozenset(held) for held in klar.refunds.values()} == {frozenset({"id", "createdAt", "lineItems"})}
    assert not any(b"column_" in body or b"example.com" in body for body in klar.bodies)
    assert ended.warnings == [
        "refunds: fields that Klar does not know were omitted: " + ", ".join(extra) + ". Ignore this, map "
        "them to Klar's fields, or list them in `extra_fields`."
    ]
    assert "value-" not in ended.err
    assert "anna@example.com" not in ended.err


def test_times_without_a_zone_are_utc_which_is_said_once_a_stream(klar: Sandbox) -> None:
    lines = [
        REFUNDS_SCHEMA,
        COSTS_SCHEMA,
        *(refund_record(str(number), createdAt="2024-01-01 12:00:00") for number in range(5)),
        state(1),
    ]
    ended = run(klar, lines)
    assert {held["createdAt"] for held in klar.refunds.values()} == {NOON}
    (told,) = ended.said("read as UTC")
    assert re.search(r"\| INFO     \| .* \| refunds: times without a zone were read as UTC: createdAt$", told)


def test_extra_fields_are_sent_as_they_are_at_any_level_by_their_exact_names(klar: Sandbox) -> None:
    klar.extra_fields = ("refundNote", "taxRate")
    fields = {"refundNote": None, "refund_note": "dropped"} | item(taxRate={"de": [1.10, True]}, TAXRATE=5)
    ended = run(
        klar,
        [REFUNDS_SCHEMA, record("refunds", id="a", createdAt=NOON, **fields)],
        extra_fields=["refundNote", "taxRate"],
    )
    assert ended.code == 0
    assert klar.refunds["a"] == {"id": "a", "createdAt": NOON, "refundNote": None} | item(
        taxRate={"de": [Decimal("1.10"), True]}
    )


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("name", ["created_at", "CREATEDAT", "createdAt"])
def test_an_extra_field_that_is_a_field_of_klars_in_any_spelling_is_converted_as_that_one(
    klar: Sandbox, name: str, *, validate: bool
) -> None:
    at_noon = {name: "2024-01-01T12:00:00Z"}
    refund = record("refunds", id="a", line_items=item(**at_noon)["lineItems"], **at_noon)
    extra = [name, "line_items"]
    ended = run(klar, [REFUNDS_SCHEMA, refund], extra_fields=extra, validate_records=validate)
    assert ended.code == 0
    assert klar.refunds["a"] == {"id": "a", "createdAt": NOON} | item(createdAt=NOON)


def test_without_validation_klar_judges_but_what_cannot_be_sent_is_still_refused(klar: Sandbox, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    lines = [
        REFUNDS_SCHEMA,
        refund_record("good"),
        refund_record("unreadable", createdAt="soon"),
        record("refunds", createdAt=NOON, lineItems=[]),
        record("refunds", id="incomplete"),
        refund_record("fractional", updatedAt=REFUND_TIME, quantity="many"),
        state(1),
    ]
    ended = run(klar, lines, validate_records=False, rejects_path=str(rejects))
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"good"})
    found = [json.loads(text) for text in rejects.read_text().splitlines()[1:]]
    assert {(each["record"].get("id"), each["source"]) for each in found} == {
        ("unreadable", "contract"),
        (None, "contract"),
        ("incomplete", "klar"),
        ("fractional", "klar"),
    }


SECRET = {"secret": "anna@example.com"}
WRONG_SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a list in an object's place": (
        {"shipping": [{"CITY": 7, **SECRET}, None, "x", [SECRET]]},
        {"shipping": [{"city": "7"}, None, "x", [{}]]},
        "shipping.secret",
    ),
    "the same as JSON text": (
        {"shipping": json.dumps([{"CITY": 7, **SECRET}])},
        {"shipping": [{"city": "7"}]},
        "shipping.secret",
    ),
    "a list in a list's item": (
        {"lineItems": [[{"ID": 1, **SECRET}], []]},
        {"lineItems": [[{"id": "1"}], []]},
        "lineItems[].secret",
    ),
    "a list in the place of text": ({"tags": [1, [None]], **SECRET}, {"tags": ["1", [None]]}, "secret"),
    "a list in the place of a number": (
        {"shipping": {"total_logistics_costs": [1, "1.10"], **SECRET}},
        {"shipping": {"totalLogisticsCosts": [1, 1.1]}},
        "shipping.secret",
    ),
    "a field of a later version": (
        {"lineItems": [{"id": "a", "quantity": 1, "bundled_products": [{"ID": 2, **SECRET}]}]},
        {"lineItems": [{"id": "a", "quantity": 1, "bundledProducts": [{"id": "2"}]}]},
        "lineItems[].bundledProducts[].secret",
    ),
}


@pytest.mark.parametrize("name", WRONG_SHAPES)
def test_without_validation_a_list_in_a_wrong_place_is_converted_and_left_to_klar_without_fields_that_it_does_not_know(
    klar: Sandbox, name: str
) -> None:
    written, sent, omitted = WRONG_SHAPES[name]
    ended = run(klar, [ORDERS_SCHEMA, record("orders", **order("1") | written)], validate_records=False)
    assert json.loads(klar.bodies[0]) == [order("1") | sent]
    assert (ended.code, klar.orders) == (1, {})
    assert ended.said("Klar rejected orders 1: ")
    assert ended.said(f"orders: fields that Klar does not know were omitted: {omitted}.")
    assert "anna" not in ended.err


def test_without_validation_extra_fields_pass_in_a_wrong_place_too(klar: Sandbox) -> None:
    written = {"shipping": [{"note": {"a": 1}}]}
    run(klar, [ORDERS_SCHEMA, record("orders", **order("1"), **written)], validate_records=False, extra_fields=["note"])
    assert json.loads(klar.bodies[0]) == [order("1") | written]


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ({"lineItems": {"edges": [SECRET]}}, "lineItems must be an array (found an object with 1 field)"),
        ({"lineItems": json.dumps(order_line())}, "lineItems must be an array (found text of 27 characters that looks"),
        ({"tags": SECRET}, "tags must be text (found an object with 1 field)"),
        ({"customer": {"tags": [1, [SECRET]]}}, "customer.tags[1][0] must be text (found an object with 1 field)"),
        ({"shipping": [{"city": SECRET}]}, "shipping[0].city must be text (found an object with 1 field)"),
        ({"shipping": [{"totalLogisticsCosts": {}}]}, "shipping[0].totalLogisticsCosts must be a number (found an obj"),
        ({"shipping": [{"city": float("nan")}]}, "shipping[0].city must be something that JSON can express (found"),
        ({"updatedAt": [REFUND_TIME]}, TIME.replace("createdAt", "updatedAt").format("an array of 1")),
        ({"refundedLineItems": [[{"createdAt": "7soon"}]]}, "refundedLineItems[0][0]." + TIME.format('text "7soon"')),
    ],
    ids=str,
)
def test_without_validation_an_object_in_a_wrong_place_is_rejected_and_a_time_or_nan_in_any(
    klar: Sandbox, field: dict[str, Any], why: str
) -> None:
    ended = run(klar, [ORDERS_SCHEMA, record("orders", **order("1") | field)], validate_records=False)
    assert (ended.code, klar.bodies) == (1, [])
    assert ended.said(f"target-klar rejected orders 1: {why}")
    assert "anna" not in ended.err


def test_several_amounts_of_one_order_are_said_once_and_the_last_counts(klar: Sandbox) -> None:
    costs = [record("transaction_costs", order_id=1, transaction_costs=text) for text in ("1.10", "2.20", 2.2, "3.30")]
    same = [record("transaction_costs", order_id=2, transaction_costs=5)] * 3
    ended = run(klar, [COSTS_SCHEMA, *costs, *same, state(1)])
    assert {key: held["transactionCosts"] for key, held in klar.transaction_costs.items()} == {
        "1": Decimal("3.30"),
        "2": 5,
    }
    assert len(ended.said("WARNING")) == 1
    assert "transaction_costs: 1 key (orderId) came again with other transactionCosts" in ended.err
