"""Values as taps write them, and what Klar gets in their place: the table of conversions, row by row."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from conforming import rejection, sent
from klar_objects import COSTS, ORDERS, REFUNDS
from msgspec import Raw

from target_klar.contract.streams import CONTRACTS
from target_klar.records.conform import Conformer
from target_klar.records.json_codec import decode, encode

if TYPE_CHECKING:
    from target_klar.contract.streams import Contract

LINE = {"lineItemId": "L-1", "refundedQuantity": 1}
REFUND = {"id": "R-1", "createdAt": 1704103200, "lineItems": [LINE]}


NAMES = {
    "snake case": {"order_id": "1", "transaction_costs": 2},
    "folded by PostgreSQL": {"orderid": "1", "transactioncosts": 2},
    "folded by Snowflake": {"ORDERID": "1", "TRANSACTIONCOSTS": 2},
    "Snowflake with underscores": {"ORDER_ID": "1", "TRANSACTION_COSTS": 2},
    "Pascal case": {"OrderId": "1", "TransactionCosts": 2},
    "one value in two spellings": {"order_id": "1", "ORDERID": "1", "transactionCosts": 2},
    "several spellings, of which one holds something": {
        "order_id": None,
        "orderId": "",
        "ORDERID": "1",
        "transactionCosts": 2,
    },
    "one number in two spellings, once as text": {
        "order_id": 1,
        "orderId": "1",
        "transactionCosts": "2.0",
        "transaction_costs": 2.0,
    },
}


@pytest.mark.parametrize("record", NAMES.values(), ids=NAMES)
def test_names_are_found_whatever_their_case_and_underscores(record: object) -> None:
    assert sent(record, COSTS) == {"orderId": "1", "transactionCosts": 2}


def test_names_are_found_inside_line_items() -> None:
    record = {**REFUND, "lineItems": [{"LINE_ITEM_ID": "L-1", "refundedquantity": 1}]}
    assert sent(record, REFUNDS) == REFUND


@pytest.mark.parametrize("other", [2, "2", True, Decimal("sNaN")], ids=repr)
def test_two_spellings_with_different_values_are_refused(other: object) -> None:
    why = rejection({"order_id": 1, "ORDERID": other, "transactionCosts": 2}, COSTS)
    assert why == "orderId must be text that is not empty (found different values in order_id and ORDERID)"


def test_two_spellings_with_values_too_deep_to_compare_are_refused() -> None:
    one: list[object] = []
    other: list[object] = []
    for _ in range(100_000):
        one, other = [one], [other]
    why = rejection({"id": 1, "createdAt": 1704103200, "line_items": one, "LINEITEMS": other}, REFUNDS)
    assert why == "lineItems must be an array (found different values in line_items and LINEITEMS)"


TEXTS = {
    "integer": (12, "12"),
    "64-bit integer": (2**63, "9223372036854775808"),
    "negative integer": (-5, "-5"),
    "whole decimal": (Decimal("12.0"), "12"),
    "decimal with an exponent": (Decimal("1E+3"), "1000"),
    "whole float": (12.0, "12"),
    "Shopify's global id": ("gid://shopify/Refund/1", "gid://shopify/Refund/1"),
}


@pytest.mark.parametrize(("written", "expected"), TEXTS.values(), ids=TEXTS)
def test_whole_numbers_become_text_where_klar_wants_text(written: object, expected: object) -> None:
    record = {
        "id": written,
        "createdAt": 1704103200,
        "lineItems": [{**LINE, "id": written, "lineItemId": written}],
    }
    assert sent(record, REFUNDS) == {
        "id": expected,
        "createdAt": 1704103200,
        "lineItems": [{**LINE, "id": expected, "lineItemId": expected}],
    }


NO_TEXTS = {
    "fraction": (Decimal("12.5"), "number 12.5"),
    "float with a fraction": (12.5, "number 12.5"),
    "float beyond 2**53": (
        2.0**54,
        "number 1.8014398509481984e+16, which went through a float, so that it may be another id now",
    ),
    "a million digits": (Decimal("1e999999"), "number 1E+999999"),
    "forty-one digits": (10**40, "number 1000000000000000000000000000000000000..."),
    "boolean": (True, "boolean true"),
    "infinity": (float("inf"), "number inf"),
    "not a number": (Decimal("NaN"), "number NaN"),
    "signaling not a number": (Decimal("sNaN"), "number sNaN"),
    "date": (date(2024, 1, 1), "date 2024-01-01"),
    "bytes": (b"12", "a Python bytes"),
    "array": (["12"], "an array of 1"),
    "null": (None, "null"),
}


@pytest.mark.parametrize(("written", "found"), NO_TEXTS.values(), ids=NO_TEXTS)
def test_what_is_no_whole_number_does_not_become_text(written: object, found: str) -> None:
    record = {**REFUND, "lineItems": [{**LINE, "lineItemId": written}]}
    assert rejection(record, REFUNDS) == f"lineItems[0].lineItemId must be text (found {found})"


NUMBERS = {
    "1.10": "1.10",
    "-5": "-5",
    "+5": "5",
    "007": "7",
    ".5": "0.5",
    "5.": "5",
    "1e3": "1E+3",
    " 12.00\n": "12.00",
    "0": "0",
    "123456789012345678901234567890": "123456789012345678901234567890",
}


@pytest.mark.parametrize(("written", "expected"), NUMBERS.items(), ids=NUMBERS)
def test_text_that_spells_a_number_becomes_that_number(written: object, expected: object) -> None:
    cost = sent({"orderId": "1", "transactionCosts": written}, COSTS)
    assert str(cost["transactionCosts"]) == expected


NO_NUMBERS = {
    "decimal comma": ("1,10", 'text "1,10"'),
    "thousands": ("1.234.567", 'text "1.234.567"'),
    "percent": ("17%", 'text "17%"'),
    "currency": ("5 EUR", 'text "5 EUR"'),
    "underscore": ("1_000", 'text "1_000"'),
    "digits of another script": ("\u0661", 'text "\u0661"'),
    "hexadecimal": ("0x10", 'text "0x10"'),
    "NaN": ("NaN", "text of 3 characters"),
    "inf": ("inf", "text of 3 characters"),
    "an exponent beyond all reason": ("1e99999999999999999999", 'text "1e99999999999999999999"'),
    "empty": ("", "empty text"),
    "sign": ("-", "text of 1 character"),
    "boolean": (False, "boolean false"),
    "float NaN": (float("nan"), "number nan"),
    "decimal infinity": (Decimal("-Infinity"), "number -Infinity"),
    "null": (None, "null"),
    "object": ({"amount": 1}, "an object with 1 field"),
}


@pytest.mark.parametrize(("written", "found"), NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_spells_no_number_is_refused_where_klar_wants_one(written: object, found: str) -> None:
    record = {"orderId": "1", "transactionCosts": written}
    assert rejection(record, COSTS) == f"transactionCosts must be a number (found {found})"


@pytest.mark.parametrize("amount", [0, -5, Decimal("-0.01"), 1.5], ids=repr)
def test_zero_and_negative_amounts_are_amounts(amount: object) -> None:
    record = {"orderId": "1", "transactionCosts": amount}
    assert sent(record, COSTS) == record


TIMES = ["2024-01-01T10:00:00Z", "2024-01-01 10:00:00+00", "1704103200", "1704103200.000000", 1704103200]
TIMES += [datetime(2024, 1, 1, 10, tzinfo=UTC)]


@pytest.mark.parametrize("written", TIMES, ids=str)
def test_times_become_unix_seconds_at_every_level(written: object) -> None:
    line = {**LINE, "processed_at": written, "createdAt": written}
    conformer = Conformer(REFUNDS)
    assert sent({"id": 1, "created_at": written, "updatedAt": written, "lineItems": [line]}, conformer) == {
        "id": "1",
        "createdAt": 1704103200,
        "updatedAt": 1704103200,
        "lineItems": [{**LINE, "processedAt": 1704103200, "createdAt": 1704103200}],
    }
    assert not conformer.assumed_utc


@pytest.mark.parametrize("written", ["2024-01-01 00:00:00", "2024-01-01", date(2024, 1, 1)], ids=str)
def test_a_time_without_a_zone_is_utc_and_remembered_as_such(written: object) -> None:
    conformer = Conformer(REFUNDS)
    assert sent({**REFUND, "createdAt": written}, conformer)["createdAt"] == 1704067200
    assert conformer.assumed_utc


NO_TIMES = [None, 0, 0.0, Decimal("0.00"), "", "  ", "0", "00000000", "0000-00-00", "0000-00-00 00:00:00"]


@pytest.mark.parametrize("written", NO_TIMES, ids=repr)
def test_a_time_that_is_none_is_left_out_if_klar_does_not_require_it(written: object) -> None:
    line = {**LINE, "createdAt": written, "processed_at": written, "id": None, "reasonDescriptor": None}
    assert sent({**REFUND, "updated_at": written, "lineItems": [line]}, REFUNDS) == REFUND


@pytest.mark.parametrize("written", NO_TIMES, ids=repr)
def test_a_time_that_is_none_is_refused_if_klar_requires_it(written: object) -> None:
    why = rejection({**REFUND, "createdAt": written}, REFUNDS)
    assert why.startswith("createdAt must be a time, as Unix seconds or as a date (found ")


REFUSED_TIMES = {
    "milliseconds": (1704103200000, "number 1704103200000, which looks like milliseconds, not seconds"),
    "milliseconds as text": (
        "1704103200000",
        'text "1704103200000", which looks like milliseconds, not seconds',
    ),
    "just too long": (
        Decimal("9999999999.5"),
        "number 9999999999.5, which looks like milliseconds, not seconds",
    ),
    "a date as a number": (20240101, "number 20240101, which is too small for Unix seconds: a date, perhaps"),
    "a date as digits": ("20240101", 'text "20240101", which is too small for Unix seconds: a date, perhaps'),
    "Excel's day number": (45292, "number 45292, which is too small for Unix seconds: a date, perhaps"),
    "Excel's day and time": (
        Decimal("45292.41"),
        "number 45292.41, which is too small for Unix seconds: a date, perhaps",
    ),
    "one": (1, "number 1, which is too small for Unix seconds: a date, perhaps"),
    "just too short": (99999999, "number 99999999, which is too small for Unix seconds: a date, perhaps"),
    "negative": (-1704103200, "number -1704103200"),
    "boolean": (True, "boolean true"),
    "not a number": (float("nan"), "number nan"),
    "signaling not a number": (Decimal("sNaN"), "number sNaN"),
    "words": ("yesterday", "text of 9 characters"),
    "a German date": ("01.02.2024", 'text "01.02.2024"'),
    "before 1973": ("1970-01-01", 'text "1970-01-01", which is not between 1973 and 2286'),
    "the end of time": ("9999-12-31", 'text "9999-12-31", which is not between 1973 and 2286'),
    "a date of Excel's": (date(1900, 1, 1), "date 1900-01-01, which is not between 1973 and 2286"),
    "an object": ({}, "an object with 0 fields"),
}


@pytest.mark.parametrize(("written", "found"), REFUSED_TIMES.values(), ids=REFUSED_TIMES)
@pytest.mark.parametrize("name", ["createdAt", "updatedAt"], ids=["required", "optional"])
def test_what_is_not_clearly_a_time_is_refused(name: str, written: object, found: str) -> None:
    why = rejection({**REFUND, name: written}, REFUNDS)
    assert why == f"{name} must be a time, as Unix seconds or as a date (found {found})"


@pytest.mark.parametrize("seconds", [100_000_000, 9_999_999_999, "100000000", "9999999999"])
def test_the_bounds_of_a_time_belong_to_it(seconds: int | str) -> None:
    assert sent({**REFUND, "createdAt": seconds}, REFUNDS)["createdAt"] == int(seconds)


def test_json_text_becomes_the_array_that_it_holds() -> None:
    written = ' [{"line_item_id": 5, "refunded_quantity": "1.10", "sku": "x"}] '
    conformer = Conformer(REFUNDS)
    assert sent({**REFUND, "lineItems": written}, conformer) == {
        **REFUND,
        "lineItems": [{"lineItemId": "5", "refundedQuantity": Decimal("1.10")}],
    }
    assert conformer.dropped == ["lineItems[].sku"]
    assert sent({**REFUND, "lineItems": "[]"}, conformer)["lineItems"] == []


NO_ARRAYS = {
    "no JSON": ("none", "text of 4 characters"),
    "empty text": ("", "empty text"),
    "an object as text": ('{"a": 1}', "text of 8 characters that looks like JSON"),
    "null as text": ("null", "text of 4 characters"),
    "a trailing comma": ("[1,]", "text of 4 characters that looks like JSON"),
    "an array as text in text": ('"[]"', "text of 4 characters that looks like JSON"),
    "a hundred thousand brackets": ("[" * 100_000, "text of 100,000 characters that looks like JSON"),
    "an object": (LINE, "an object with 2 fields"),
    "null": (None, "null"),
    "number": (0, "number 0"),
}


@pytest.mark.parametrize(("written", "found"), NO_ARRAYS.values(), ids=NO_ARRAYS)
def test_what_holds_no_array_is_refused_where_klar_wants_one(written: object, found: str) -> None:
    assert rejection({**REFUND, "lineItems": written}, REFUNDS) == f"lineItems must be an array (found {found})"


NO_ITEMS = {
    "NaN": ("[NaN]", "number nan"),
    "an exponent beyond all reason": ("[1e99999999999999999999]", "a number of 22 characters, too large to read"),
    "an integer of 5,000 digits": (f"[{'9' * 5000}]", "a number of 5,000 characters, too large to read"),
    "text that looks like JSON": ('["[1"]', "text of 2 characters that looks like JSON"),
    "an array as JSON text": ('["[1]"]', "an array of 1"),
    "text that does not": ('["anna@customer.example"]', "text of 21 characters"),
}


@pytest.mark.parametrize(("written", "found"), NO_ITEMS.values(), ids=NO_ITEMS)
def test_what_is_no_item_of_an_array_is_refused_without_a_text_that_may_hold_a_customer(
    written: object, found: str
) -> None:
    assert rejection({**REFUND, "lineItems": written}, REFUNDS) == f"lineItems[0] must be an object (found {found})"


def test_json_text_becomes_the_object_that_it_holds() -> None:
    assert sent({**REFUND, "lineItems": ['{"lineItemId": "L-1", "refundedQuantity": 1}']}, REFUNDS) == REFUND


def test_what_nobody_asked_for_in_json_text_may_be_anything() -> None:
    odd = f'{{"lineItemId": "L-1", "refundedQuantity": 1, "a": NaN, "b": {"9" * 5000}, '
    odd += '"c": 1e99999999999999999999, "d": "\\ud800"}'
    assert sent({**REFUND, "lineItems": f"[{odd}]"}, REFUNDS) == REFUND


def test_each_line_item_is_refused_at_its_place() -> None:
    why = rejection({**REFUND, "lineItems": [LINE, None, {"refundedQuantity": "1,10"}]}, REFUNDS)
    assert why == (
        "lineItems[1] must be an object (found null); "
        'lineItems[2].refundedQuantity must be a number (found text "1,10"); '
        "lineItems[2].lineItemId is required"
    )


# What is not there


ORDER = {"id": "1", "createdAt": 1704103200, "lineItems": [{"id": "a", "quantity": 1}]}
EMPTY_FIELDS: dict[str, tuple[dict[str, Any], Contract, dict[str, Any]]] = {
    "a number": ({"lineItems": [{"id": "a", "quantity": 1, "product_cogs": ""}]}, ORDERS, ORDER),
    "a boolean": (
        {"customer": {"id": "7", "isNewsletterSubscriberAtTimeOfCheckout": ""}},
        ORDERS,
        {"customer": {"id": "7"}},
    ),
    "text": ({"financialStatus": "", "tags": None}, ORDERS, {}),
    "a time": ({"updated_at": "", "closedAt": 0}, ORDERS, {}),
    "an array": ({"refunded_line_items": ""}, ORDERS, {}),
    "an array as JSON": ({"refunded_line_items": "null"}, ORDERS, {}),
    "an object": ({"shipping": ""}, ORDERS, {}),
    "an object as PHP writes it": ({"shipping": [], "customer": "[]"}, ORDERS, {}),
    "an object as JSON": ({"shipping": "null"}, ORDERS, {}),
    "a key": ({"orderId": "1", "lineItemId": "L", "sku": "", "productCogs": 1}, CONTRACTS["cogs"], {"lineItemId": "L"}),
}


@pytest.mark.parametrize("name", EMPTY_FIELDS)
def test_an_empty_field_of_any_type_is_left_out_where_it_is_not_required(name: str) -> None:
    written, contract, expected = EMPTY_FIELDS[name]
    whole: dict[str, Any] = ORDER if contract is ORDERS else {"orderId": "1", "productCogs": 1}
    assert sent(whole | written, contract) == whole | expected


@pytest.mark.parametrize("written", ["", [], "[]", None, "null"], ids=repr)
def test_an_empty_field_is_refused_where_klar_requires_it(written: object) -> None:
    assert rejection({**REFUND, "createdAt": written}, REFUNDS).startswith("createdAt must be a time")


@pytest.mark.parametrize("written", ["", [], None, {}, False], ids=repr)
def test_an_empty_key_is_refused(written: object) -> None:
    assert rejection({**REFUND, "id": written}, REFUNDS).startswith("id must be text that is not empty (found ")


# What two spellings hold


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ({"cancelledAt": None, "cancelled_at": "2024-01-01T10:00:00Z"}, 1704103200),
        ({"cancelledAt": 1704103200, "cancelled_at": None}, 1704103200),
        ({"cancelledAt": "", "CANCELLED_AT": "1704103200", "cancelled_at": "2024-01-01 10:00:00"}, 1704103200),
        ({"cancelledAt": None, "cancelled_at": ""}, None),
    ],
)
def test_a_spelling_that_holds_nothing_does_not_count(written: dict[str, object], seconds: int | None) -> None:
    expected = ORDER if seconds is None else {**ORDER, "cancelledAt": seconds}
    assert Conformer(ORDERS).pass_through(Raw(encode(ORDER | written))) is None
    assert sent(ORDER | written, ORDERS) == expected


@pytest.mark.parametrize("other", [0, 1704103201, "soon", False, [1704103200]], ids=repr)
def test_an_exact_spelling_and_another_value_beside_it_are_refused(other: object) -> None:
    why = rejection({**ORDER, "cancelledAt": 1704103200, "cancelled_at": other}, ORDERS)
    assert why.endswith("(found different values in cancelledAt and cancelled_at)")


# Ids that went through a float


@pytest.mark.parametrize(
    ("written", "expected"),
    [("9007199254740993", "9007199254740993"), ("9007199254740992.0", "9007199254740992"), ("1.2e3", "1200")],
)
def test_an_id_that_is_exact_becomes_its_digits(written: str, expected: str) -> None:
    assert sent({"orderId": decode(written), "transactionCosts": 1}, COSTS)["orderId"] == expected


@pytest.mark.parametrize("written", ["9007199254740994.0", "7.205759406317978e+17", "-1e16"])
def test_an_id_beyond_2_to_the_53_that_went_through_a_float_is_refused(written: str) -> None:
    why = rejection({"orderId": decode(written), "transactionCosts": 1}, COSTS)
    assert why.startswith("orderId must be text that is not empty (found number ")
    assert why.endswith(", which went through a float, so that it may be another id now)")


# What is shown of a text


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("1,10", 'text "1,10"'),
        ("Annabell", "text of 8 characters"),
        ("anna1@customer.example", "text of 22 characters"),
        ('{"name": "Anna 1"}', "text of 18 characters that looks like JSON"),
        ("\u0967", 'text "\u0967"'),
    ],
)
def test_text_is_shown_only_if_it_holds_a_digit_and_no_address(written: str, found: str) -> None:
    why = rejection({"orderId": "1", "transactionCosts": written}, COSTS)
    assert why == f"transactionCosts must be a number (found {found})"


def test_of_a_customer_and_an_address_no_message_shows_more_than_kind_and_length() -> None:
    record = {**ORDER, "customer": {"id": True, "email": 7}, "shipping": {"zipOrPostalCode": 1.5, "city": ["Hof 1"]}}
    assert rejection(record, ORDERS) == (
        "shipping.city must be text (found an array of 1); shipping.zipOrPostalCode must be text (found a value that "
        "is not shown); customer.id must be text (found a value that is not shown)"
    )
