"""What Klar would take and no merchant can mean is warned of or rejected, and what is next to it is neither."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import random
import re
import time
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import pytest
from forked import run
from hypothesis import given, settings, strategies
from messages import record, schema, state
from msgspec import Raw
from msgspec.structs import replace
from previewed import preview
from rejects_file import records
from samples import SAMPLE
from thoroughness import size

from target_klar.contract.id_rules import PLACEHOLDERS, UNMATCHABLE_ID, UNMATCHABLE_SKU
from target_klar.contract.quality import Rule, with_rules
from target_klar.contract.streams import CONTRACTS, QUALITY_RULES
from target_klar.records.conform import Conformed, Conformer, Rejection
from target_klar.records.json_codec import decode, encode
from target_klar.records.quality import QualityReport
from target_klar.records.totals import ControlTotals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from target_klar.sandbox import Sandbox

Record = dict[str, Any]
NOW = int(time.time())
LINE = {"lineItemId": "L-1", "refundedQuantity": 1}


def refunded(key: object = "R-1", *quantities: object, **fields: Any) -> Record:
    name = f"L-{crc32(repr(key).encode())}"
    lines = [
        LINE | {"refundedQuantity": each, "lineItemId": f"{name}-{at}"} for at, each in enumerate(quantities or (1,))
    ]
    return {"id": key, "createdAt": 1_777_887_000, "lineItems": lines} | fields


def refund_of(line_item_id: object) -> Record:
    return refunded(lineItems=[LINE | {"lineItemId": line_item_id}])


def lines_of(*ids: object, own: Iterable[object] = (), key: object = "R-1") -> Record:
    """Return a refund with a line for each of these line items, with ids of their own if there are some."""
    lines: list[Record] = [LINE | {"lineItemId": each} for each in ids]
    for line, each in zip(lines, own, strict=False):
        line["id"] = each
    return refunded(key, lineItems=lines)


def fee(key: object = "5300000123", amount: object = 1.25) -> Record:
    return {"orderId": key, "transactionCosts": amount}


def freight(key: object = "5300000123", amount: object = 4.9) -> Record:
    return {"orderId": key, "totalLogisticsCosts": amount}


def cogs(key: object = "5300000123", amount: object = 2.5, **fields: Any) -> Record:
    return {"orderId": key, "productCogs": amount} | (fields or {"sku": "SHIRT-M"})


def sold(key: object = "1", *, gross: object = 11.9, net: object = 10.0, **fields: Any) -> Record:
    amounts = {"totalAmountBeforeTaxesAndDiscounts": gross, "totalAmountAfterTaxesAndDiscounts": net}
    return {"id": key, "quantity": 1} | {name: each for name, each in amounts.items() if each is not None} | fields


def purchase(key: object = "5300000123", *lines: Record, **fields: Any) -> Record:
    usual = {"id": key, "createdAt": 1_777_887_000, "currencyCodeIso3Letter": "EUR"}
    return usual | {"lineItems": list(lines or [sold()])} | fields


def refunds_of(*ids: str, pieces: object = 1) -> list[Record]:
    """Return the refunded lines of an order, of these of its lines."""
    return [{"lineItemId": each, "refundedQuantity": pieces} for each in ids]


def many(number: int, make: Callable[[int], Record]) -> list[Record]:
    return [make(each) for each in range(number)]


class Judged(NamedTuple):
    """What becomes of the records of one stream."""

    arrived: list[Record]
    warned: dict[str, int]
    """The level of each rule that has a line."""
    rejected: list[str]
    lines: list[str]


@cache
def conformer_of(stream: str, rules: frozenset[str], validate: bool) -> Conformer:  # noqa: FBT001  # only `judge` calls it
    """The conformer of a stream: making one of orders takes longer than judging them."""
    return Conformer(CONTRACTS[stream], validate=validate, ignored_rules=rules)


def judge(stream: str, records: Iterable[object], *, ignored: Iterable[str] = (), validate: bool = True) -> Judged:
    """Let records go through the conformer and the quality report, as a load does."""
    contract, rules = CONTRACTS[stream], frozenset(ignored) if validate else QUALITY_RULES
    conformer = conformer_of(stream, rules, validate)
    report = QualityReport(contract, rules)
    arrived, rejected = [], []
    for each in records:
        judged = conformer.pass_through(Raw(encode(each))) or conformer.conform(each)
        if isinstance(judged, Conformed):
            report.ask_about(judged, stream)
            arrived.append(decode(judged.sent))
        else:
            assert isinstance(judged, Rejection)
            rejected.append("; ".join(map(str, judged.problems)))
    lines = report.lines()
    return Judged(arrived, {_rule(text): level for level, text in lines}, rejected, [text for _, text in lines])


def _rule(text: str) -> str:
    (name,) = re.findall(r"\[(\w+)\]", text)
    return str(name)


# Name: the stream, its records, and the rules that warn, or the one that rejects all of them, in brackets.
ROWS: dict[str, tuple[str, list[Record], str]] = {
    # Quantities of refunds
    "a refund as Klar's page has it": ("refunds", [refunded()], ""),
    "a negative quantity": ("refunds", [refunded("R", -1)], "(negative_quantity)"),
    "a negative quantity as text": ("refunds", [refunded("R", "-1.00")], "(negative_quantity)"),
    "one negative line of two": ("refunds", [refunded("R", 1, -1)], "(negative_quantity)"),
    "half a metre": ("refunds", [refunded("R", 0.5)], ""),
    "a hundredth of a metre": ("refunds", [refunded("R", 0.01)], ""),
    "a refund of 0 pieces, alone": ("refunds", [refunded("R", 0)], "zero_quantities"),
    "half of the refunds are of 0 pieces": ("refunds", [refunded("A", 0), refunded("B")], "zero_quantities"),
    "a goodwill refund among others": ("refunds", [refunded("A", 0), refunded("B"), refunded("C")], ""),
    "a line of 0 pieces beside another": ("refunds", [refunded("A", 0, 1)], ""),
    "refunds of 0 pieces beside cancelled ones": (
        "refunds",
        [refunded("A", 0), refunded("B", lineItems=[]), refunded("C", lineItems=[])],
        "zero_quantities",
    ),
    "a cancelled refund": ("refunds", [refunded("A", lineItems=[])], ""),
    "every refund cancelled": ("refunds", many(20, lambda n: refunded(n, lineItems=[])), "mostly_cancelled"),
    "19 cancelled refunds": ("refunds", many(19, lambda n: refunded(n, lineItems=[])), ""),
    "nine tenths of the refunds cancelled": (
        "refunds",
        many(30, lambda n: refunded(n, **({"lineItems": []} if n < 27 else {}))),
        "",
    ),
    "more than nine tenths of the refunds cancelled": (
        "refunds",
        many(30, lambda n: refunded(n, **({"lineItems": []} if n < 28 else {}))),
        "mostly_cancelled",
    ),
    # Ids of refunds
    "an empty line item id": ("refunds", [refund_of("")], "(empty_line_item_id)"),
    "a line item id 0": ("refunds", [refund_of("0")], ""),
    "a key None": ("refunds", [refunded("None")], "(placeholder_key)"),
    "a key null": ("refunds", [refunded("null")], "(placeholder_key)"),
    "a key NaN": ("refunds", [refunded("NaN")], "(placeholder_key)"),
    "a key UNDEFINED": ("refunds", [refunded("UNDEFINED")], "(placeholder_key)"),
    **{
        f"a key {word}": ("refunds", [refunded(word)], "(placeholder_key)")
        for word in (
            *("<NA>", "NaT", "N/A", "n/a", "#N/A", "<null>", "(null)", "<nil>"),
            *("#REF!", "#VALUE!", "#NAME?", "#NULL!", "#DIV/0!", "#NUM!", "#BEZUG!", "#WERT!", "#NV"),
        )
    },
    **{
        f"a key {word}, which may be one": ("refunds", [refunded(word)], "")
        for word in ("NA", "NAT", "nil", "N/A-1", "#REF")
    },
    "a line item id of pandas": ("refunds", [refund_of("<NA>")], "unmatchable_id"),
    "a key that begins with None": ("refunds", [refunded("None-1")], ""),
    "a key that is a number": ("refunds", [refunded(17)], ""),
    "a key with a blank, which need match nothing": ("refunds", [refunded("R 1 ")], ""),
    "a global id as a refund's own key": ("refunds", [refunded("gid://shopify/Refund/1")], ""),
    "a global id of a line item": ("refunds", [refund_of("gid://shopify/LineItem/1")], "unmatchable_id"),
    "a line item id that begins with gid": ("refunds", [refund_of("gid:/1")], ""),
    "a line item id that went through a float": ("refunds", [refund_of("4503.0")], "unmatchable_id"),
    "a line item id with another fraction": ("refunds", [refund_of("4503.10")], ""),
    "a line item id with an exponent": ("refunds", [refund_of("7.2e+17")], "unmatchable_id"),
    "a line item id like an exponent without a sign": ("refunds", [refund_of("72e17")], ""),
    "a line item id nan": ("refunds", [refund_of("nan")], "unmatchable_id"),
    "a line item id that begins with nan": ("refunds", [refund_of("nano")], ""),
    "a line item id with a blank at its end": ("refunds", [refund_of("L-1 ")], "unmatchable_id"),
    "a line item id with a blank before it": ("refunds", [refund_of(" L-1")], "unmatchable_id"),
    "a line item id with a zero-width space": ("refunds", [refund_of("L\u200b1")], "unmatchable_id"),
    **{
        f"a line item id with the invisible {ord(sign):x}": ("refunds", [refund_of(f"1{sign}")], "unmatchable_id")
        for sign in "\u034f\u115f\u17b4\u180b\u2800\u3164\ufe0f\uffa0\U000e0100"
    },
    "a line item id with accents": ("refunds", [refund_of("Cafe\u0301-é-日本")], ""),
    "a line item id with a line break": ("refunds", [refund_of("L-1\n")], "unmatchable_id"),
    "a line item id with a blank inside": ("refunds", [refund_of("L 1")], ""),
    "a line item id with signs": ("refunds", [refund_of("10023/1|ä:#1001-e+")], ""),
    "a line item id of a version": ("refunds", [refund_of("v1.05")], ""),
    **{
        f"a line item id {text}": ("refunds", [refund_of(text)], "unmatchable_id")
        for text in (
            *("1001.00", "5300000000001.000000", "1,001.00", "1001,0", "1.001,00", "5.3E12", "5,3e12", "5,3E+12"),
            *(
                '="1001"',
                "'1001",
                '"1001"',
                '["1001"]',
                '{"id": 1001}',
                "[object Object]",
                "#REF!",
                "#VALUE!",
                "#NAME?",
            ),
            *("#NULL!", "#DIV/0!", "#NUM!", "NIL", "nil", "<nil>"),
        )
    },
    **{
        f"a line item id {text}, which may be one": ("refunds", [refund_of(text)], "")
        for text in (
            *("12E4", "5e12", "12.5E4A", "SW10.00", "1001.001", "1001,01", "1.2.00", "A&B 12,5", "A.0B", "v1,0"),
            *('TV-55"', "D'Or", "A[1]", "=1001", "1001!", "#1001-REF", "#VALUE", "NILS", "Manilla"),
            *("3f2504e0-4f89-11d3-9a0c-0305e82c3301", "3f2504e04f8911d39a0c0305e82c3301"),
        )
    },
    # Lines of refunds that are not those of an order
    "most line item ids are names of orders": (
        "refunds",
        many(3, lambda n: lines_of(f"#DE{n}" if n else "4711", key=n)),
        "order_name",
    ),
    "two line item ids that are names of orders": ("refunds", many(2, lambda n: lines_of(f"#{n}", key=n)), ""),
    "half of the line item ids are names of orders": (
        "refunds",
        many(4, lambda n: lines_of(f"#{n}" if n % 2 else f"{n}", key=n)),
        "",
    ),
    "line item ids that begin with the name of the order": (
        "refunds",
        many(9, lambda n: lines_of(f"#{n}-1", f"#{n}-2", key=n)),
        "",
    ),
    "two lines of one line item": ("refunds", [lines_of("1", "2", "1")], "repeated_line_item_id"),
    "two lines of one line item, one of them with an id": (
        "refunds",
        [lines_of("1", "1", own=["a"])],
        "",
    ),
    "two lines of one line item with one id": ("refunds", [lines_of("1", "1", own="aa")], "repeated_line_item_id"),
    "two lines of one line item with ids": ("refunds", [lines_of("1", "1", own="ab")], ""),
    "a line item that two refunds have": ("refunds", [lines_of("1", key="A"), lines_of("1", key="B")], ""),
    "the order's id on each line, with ids": (
        "refunds",
        many(3, lambda n: lines_of(f"O{n}", f"O{n}", own="ab", key=n)),
        "same_line_item_id",
    ),
    "the order's id on each line of two refunds": (
        "refunds",
        many(2, lambda n: lines_of(f"O{n}", f"O{n}", own="ab", key=n)),
        "",
    ),
    "a row for each piece, in half of the refunds all of one line": (
        "refunds",
        many(40, lambda n: lines_of(f"{n}-1", f"{n}-{1 if n % 2 else 2}", f"{n}-1", own="abc", key=n)),
        "",
    ),
    "one line item in all refunds": (
        "refunds",
        many(20, lambda n: lines_of("555", own="a", key=n)),
        "few_line_item_ids",
    ),
    "one line item in 19 refunds": ("refunds", many(19, lambda n: lines_of("555", key=n)), ""),
    "one line item in all refunds but one": (
        "refunds",
        many(40, lambda n: lines_of("556" if n == 39 else "555", key=n)),
        "few_line_item_ids",
    ),
    "40 products in 200 refunds": (
        "refunds",
        many(200, lambda n: lines_of(f"SHIRT-{n % 40}", key=n)),
        "few_line_item_ids",
    ),
    "ten versions each of 40 refunds": ("refunds", many(400, lambda n: refunded(n % 40)), ""),
    "ten versions each of 40 refunds of one product": (
        "refunds",
        many(400, lambda n: lines_of("SHIRT", key=n % 40)),
        "few_line_item_ids",
    ),
    "41 line items in 200 refunds": ("refunds", many(200, lambda n: lines_of(f"{n % 41}-1", key=n)), ""),
    "201 line items in 1,100 refunds": ("refunds", many(1100, lambda n: lines_of(f"{n % 201}-1", key=n)), ""),
    "line item 0 in all refunds that are not cancelled": (
        "refunds",
        many(40, lambda n: refunded(n, lineItems=[LINE | {"lineItemId": 0}] * (n % 2))),
        "few_line_item_ids",
    ),
    "line item 0 in 19 refunds beside cancelled ones": (
        "refunds",
        many(38, lambda n: refunded(n, lineItems=[LINE | {"lineItemId": 0}] * (n % 2))),
        "",
    ),
    "cents as refunded pieces": ("refunds", many(20, lambda n: refunded(n, 1990)), "huge_quantity"),
    "thousands of pieces in 19 refunds": ("refunds", many(19, lambda n: refunded(n, 1990)), ""),
    "the refund's own id": ("refunds", many(3, lambda n: lines_of(f"{n}", key=n)), "line_item_id_is_own_id"),
    "the refunded lines' own ids": (
        "refunds",
        many(3, lambda n: lines_of(f"A{n}", f"B{n}", own=[f"A{n}", f"B{n}"], key=n)),
        "line_item_id_is_own_id",
    ),
    "the refunded lines' own ids beside those of the order's lines": (
        "refunds",
        many(9, lambda n: lines_of(f"A{n}", own=[f"B{n}"], key=n)),
        "",
    ),
    "the refund's own id, twice": ("refunds", many(2, lambda n: lines_of(f"{n}", key=n)), ""),
    "line item ids that begin with the refund's own id": ("refunds", many(9, lambda n: lines_of(f"{n}-1", key=n)), ""),
    "line items that count like refunds, and once meet": (
        "refunds",
        many(3, lambda n: lines_of(f"{2 * n}", key=n)),
        "",
    ),
    "amounts as quantities": (
        "refunds",
        many(20, lambda n: refunded(n, 92.3, 19.95, 20)),
        "fractional_quantities",
    ),
    "fractions on half of the lines": ("refunds", many(40, lambda n: refunded(n, 92.3, 20)), ""),
    "whole quantities with a point": ("refunds", many(40, lambda n: refunded(n, 2.0, "3.00")), ""),
    "goods by weight in a small run": ("refunds", many(19, lambda n: refunded(n, 0.375, 1.2)), ""),
    "an amount as a quantity, once": ("refunds", [refunded("A", 92.3), refunded("B", 1), refunded("C", 2)], ""),
    "half of the refunds in metres": ("refunds", many(40, lambda n: refunded(n, 0.5 if n % 2 else 1)), ""),
    "thousands of pieces": ("refunds", many(4, lambda n: refunded(n, 1_000 + n)), ""),
    # Times of refunds
    "a refund of the day after tomorrow": ("refunds", [refunded(createdAt=NOW + 2 * 86_400)], "implausible_time"),
    "a refund of tomorrow's time zone": ("refunds", [refunded(createdAt=NOW + 43_200)], ""),
    "a refund of 1999": ("refunds", [refunded(createdAt="1999-12-31")], "implausible_time"),
    "a refund of the end of 2004": ("refunds", [refunded(createdAt="2004-12-31")], "implausible_time"),
    "a refund of 2005": ("refunds", [refunded(createdAt="2005-01-01")], ""),
    "a refund changed in 2038": ("refunds", [refunded(updatedAt=2**31)], "implausible_time"),
    "a refund changed today": ("refunds", [refunded(updatedAt=NOW)], ""),
    # Transaction costs
    "a fee": ("transaction_costs", [fee()], ""),
    "an order's name": ("transaction_costs", [fee("#1001")], "order_name"),
    "an order's id with a prefix": ("transaction_costs", [fee("DE#1001")], ""),
    "a prefix and None": ("transaction_costs", [fee("DE-None"), fee("DE-7")], "unmatchable_id"),
    "a prefix and nan": ("logistics_costs", [freight("shop:nan")], "unmatchable_id"),
    "a prefix and a word that begins like nan": ("logistics_costs", [freight("DE-nano"), freight("DE-Nonet")], ""),
    "an order id None": ("transaction_costs", [fee("None")], "(placeholder_key)"),
    "an order id as text that ends in .0": ("transaction_costs", [fee("5301.0")], "unmatchable_id"),
    "an order id as the number 5301.0": ("transaction_costs", [fee(5301.0)], ""),
    "a global id of an order": ("transaction_costs", [fee("gid://shopify/Order/1")], "unmatchable_id"),
    "an order id with a byte order mark": ("transaction_costs", [fee("\ufeff5301")], "unmatchable_id"),
    "an order id with a no-break space": ("transaction_costs", [fee("5301\u00a0")], "unmatchable_id"),
    "three negative fees": ("transaction_costs", many(3, lambda n: fee(n, -1.25)), "negative_costs"),
    "most fees negative": ("transaction_costs", many(5, lambda n: fee(n, -1.25 if n < 3 else 2.5)), "negative_costs"),
    "two negative fees": ("transaction_costs", many(2, lambda n: fee(n, -1.25)), ""),
    "the reversal of a fee": ("transaction_costs", many(4, lambda n: fee(n, -1.25 if n < 2 else 1.25)), ""),
    "fees in cents": ("transaction_costs", many(20, lambda n: fee(n, 199 + n)), "amounts_in_cents"),
    "negative fees in cents": (
        "transaction_costs",
        many(20, lambda n: fee(n, -199)),
        "amounts_in_cents negative_costs",
    ),
    "small fees in cents": ("transaction_costs", many(20, lambda n: fee(n, 25 + n % 5)), "amounts_in_cents"),
    "whole fees of less than 20": ("transaction_costs", many(20, lambda n: fee(n, 1 + n % 19)), ""),
    "ids of Stripe's charges": ("transaction_costs", many(3, lambda n: fee(f"ch_3N7fGH2eZ{n}")), "payment_id"),
    "ids of Mollie's payments": ("transaction_costs", many(3, lambda n: fee(f"tr_7UhSN1zu{n}")), "payment_id"),
    "ids of an own shop with an underscore": ("transaction_costs", many(9, lambda n: fee(f"de_1000{n}")), ""),
    "two ids in one": ("transaction_costs", [fee("5000,6000")], "unmatchable_id"),
    "two ids of line items in one": ("refunds", [refund_of("4711; 4712")], "unmatchable_id"),
    "an e-mail address as an id": ("transaction_costs", [fee("anna@customer.example")], "unmatchable_id"),
    "an order's page as an id": (
        "transaction_costs",
        [fee("https://shop.example/admin/orders/5001")],
        "unmatchable_id",
    ),
    "the ids of a shop behind an @": ("transaction_costs", many(9, lambda n: fee(f"1000{n}@berlin")), ""),
    "19 fees in cents": ("transaction_costs", many(19, lambda n: fee(n, 199)), ""),
    "whole fees, small": ("transaction_costs", many(40, lambda n: fee(n, 2 + n % 5)), ""),
    "whole freight of 49": ("logistics_costs", many(40, lambda n: freight(n, 49)), ""),
    "freight of 50 cents": ("logistics_costs", many(40, lambda n: freight(n, 50)), "amounts_in_cents"),
    "whole fees, half of them below 20": ("transaction_costs", many(40, lambda n: fee(n, 10 + 60 * (n % 2))), ""),
    "whole fees, and one that is not": ("transaction_costs", [*many(40, lambda n: fee(n, 199)), fee("x", 1.5)], ""),
    "no fee at all": ("transaction_costs", many(20, lambda n: fee(n, 0)), "zero_amounts"),
    "19 fees of 0": ("transaction_costs", many(19, lambda n: fee(n, "0.00")), ""),
    "one fee among those of 0": ("transaction_costs", many(40, lambda n: fee(n, 0.25 if n == 39 else 0)), ""),
    "one fee given back among those of 0": ("transaction_costs", many(40, lambda n: fee(n, 0 if n else -0.25)), ""),
    "a fee that was added up in floats": ("transaction_costs", [fee(amount=1.5499999999999998)], "float_noise"),
    "a fee of 1.55, which a float only comes near": ("transaction_costs", [fee(amount=1.55)], ""),
    "0.1 + 0.2": ("transaction_costs", [fee(amount=0.1 + 0.2)], "float_noise"),
    "a fee of 0.3": ("transaction_costs", [fee(amount=0.3)], ""),
    "a large fee that was added up": ("transaction_costs", [fee(amount=123456.78000000001)], "float_noise"),
    "a large fee of cents": ("transaction_costs", [fee(amount=123456.78)], ""),
    "a negative fee that was added up": ("transaction_costs", [fee(amount=-1.5499999999999998)], "float_noise"),
    "a negative fee of 1.55": ("transaction_costs", [fee(amount=-1.55)], ""),
    "a third": ("transaction_costs", [fee(amount=10 / 3)], ""),
    "a fee of four decimals": ("transaction_costs", [fee(amount=Decimal("1.2345"))], ""),
    "a fee of ten decimals": ("transaction_costs", [fee(amount=Decimal("1.2345678901"))], ""),
    "a large fee of two decimals": ("transaction_costs", [fee(amount=Decimal("123456789012.34"))], ""),
    "a tiny fee": ("transaction_costs", [fee(amount=Decimal("0.00001"))], ""),
    # Logistics costs
    "free shipping": ("logistics_costs", [freight(amount=0)], ""),
    "an own shop's #1001": ("logistics_costs", [freight("#1001")], ""),
    "freight for an order undefined": ("logistics_costs", [freight("undefined")], "(placeholder_key)"),
    "freight for an order that begins with undefined": ("logistics_costs", [freight("undefined-1")], ""),
    "freight for an order id with a tab": ("logistics_costs", [freight("5301\t")], "unmatchable_id"),
    "freight for an order id with a blank inside": ("logistics_costs", [freight("53 01")], ""),
    "negative freight": ("logistics_costs", many(3, lambda n: freight(n, -4.9)), "negative_costs"),
    "three times free shipping": ("logistics_costs", many(3, lambda n: freight(n, 0)), ""),
    "no freight at all": ("logistics_costs", many(25, lambda n: freight(n, "0.00")), "zero_amounts"),
    "freight of one order": ("logistics_costs", many(25, lambda n: freight(n, 0 if n else 4.9)), ""),
    "freight in cents": ("logistics_costs", many(30, lambda n: freight(n, 490)), "amounts_in_cents"),
    "freight of 49 euros": ("logistics_costs", many(30, lambda n: freight(n, 49)), ""),
    "one price of whole euros": ("logistics_costs", many(30, lambda n: freight(n, 5)), ""),
    "freight out of a float": ("logistics_costs", [freight(amount=4.8999999999999995)], "float_noise"),
    "freight of 4.9": ("logistics_costs", [freight(amount=4.9)], ""),
    # COGS
    "a purchase price": ("cogs", [cogs()], ""),
    "#1001 and a line": ("cogs", [cogs("#1001", lineItemId="1")], ""),
    "COGS for an article None": ("cogs", [cogs(sku="None")], "(placeholder_key)"),
    "COGS for an article Nonesuch": ("cogs", [cogs(sku="Nonesuch")], ""),
    "COGS for a line nan": ("cogs", [cogs(lineItemId="nan")], "(placeholder_key)"),
    "COGS for an order null": ("cogs", [cogs("null")], "(placeholder_key)"),
    "COGS of a global line": ("cogs", [cogs(lineItemId="gid://shopify/LineItem/7")], "unmatchable_id"),
    **{
        f"COGS of an article {sku}": ("cogs", [cogs(sku=sku)], "unmatchable_id")
        for sku in ("4.00638E+12", "4.006381333931E12", '="4711"', "'4711", '["4711"]', "4711 ", "47\u200b11")
    },
    **{
        f"COGS of an article {sku}, which may be one": ("cogs", [cogs(sku=sku)], "")
        for sku in ("4711.0", "12,0", "12E4", 'TV-55"', "A.0B", "A&B 12,5", "nil", "NIL-1", "(L)", "#1001", "A+B")
    },
    "COGS of an article #REF!": ("cogs", [cogs(sku="#REF!")], "(placeholder_key)"),
    "COGS in cents": ("cogs", many(20, lambda n: cogs(n, 250)), "amounts_in_cents"),
    "COGS of 49 euros": ("cogs", many(30, lambda n: cogs(n, 49)), ""),
    "COGS out of a float": ("cogs", [cogs(amount=2.4000000000000004)], "float_noise"),
    "COGS of 2.4": ("cogs", [cogs(amount=2.4)], ""),
    "negative COGS": ("cogs", many(4, lambda n: cogs(n, -2.5)), "negative_costs"),
    "COGS of 0": ("cogs", many(4, lambda n: cogs(n, 0)), ""),
    "no COGS at all": ("cogs", many(25, lambda n: cogs(n, 0)), "zero_amounts"),
    "COGS of one article": ("cogs", many(25, lambda n: cogs(n, 0 if n else 0.01)), ""),
    "a gift": ("cogs", [cogs(amount=0)], ""),
    # Orders
    "an order": ("orders", [purchase()], ""),
    "an own shop's order #1001": ("orders", [purchase("#1001")], ""),
    "an order's id that went through a float": ("orders", [purchase("5301.0")], "unmatchable_id"),
    "an order's id as a formula": ("orders", [purchase('="1001"')], "unmatchable_id"),
    "an order's id of parts": ("orders", [purchase("B2C/2026-05.17")], ""),
    "a line's id that went through a float": ("orders", [purchase("A", sold("71.0"))], "unmatchable_id"),
    "a line's id NaN": ("orders", [purchase("A", sold("NaN"))], "unmatchable_id"),
    "a line's id of the order and a number": ("orders", [purchase("A", sold("1001-1"), sold("1001.2"))], ""),
    "a bundled line's id with a blank": (
        "orders",
        [purchase("A", sold(bundledProducts=[sold("2 ")]))],
        "unmatchable_id",
    ),
    "an order None": ("orders", [purchase("None")], "(placeholder_key)"),
    "an order without lines": ("orders", [purchase(lineItems=[])], "no_lines"),
    "a cancelled order without lines": ("orders", [purchase(lineItems=[], cancelledAt=1_777_887_001)], ""),
    "every order cancelled": ("orders", many(20, lambda n: purchase(n, cancelledAt="2026-05-04")), "mostly_cancelled"),
    "19 cancelled orders": ("orders", many(19, lambda n: purchase(n, cancelledAt="2026-05-04")), ""),
    "nine tenths of the orders cancelled": (
        "orders",
        many(30, lambda n: purchase(n, cancelledAt="2026-05-04" if n < 27 else None)),
        "",
    ),
    "more than nine tenths of the orders cancelled": (
        "orders",
        many(30, lambda n: purchase(n, cancelledAt="2026-05-04" if n < 28 else "")),
        "mostly_cancelled",
    ),
    "a status that says cancelled": ("orders", [purchase(financialStatus="cancelled")], "cancelled_status"),
    "a status that says so in capitals": ("orders", [purchase(financialStatus="VOIDED")], "cancelled_status"),
    "a status that says so beside the time": (
        "orders",
        [purchase(financialStatus="Cancelled", cancelledAt=1_777_887_001)],
        "",
    ),
    "another status": ("orders", [purchase(financialStatus="refunded", shipmentStatus="cancelled")], ""),
    "ordered pieces that are amounts": (
        "orders",
        many(20, lambda n: purchase(n, sold(quantity=19.99))),
        "fractional_quantities",
    ),
    "a few orders by weight": ("orders", many(40, lambda n: purchase(n, sold(quantity=1.5 if n < 20 else 2))), ""),
    "two lines of one id": ("orders", [purchase("A", sold("1"), sold("1"))], "duplicate_line_ids"),
    "two lines": ("orders", [purchase("A", sold("1"), sold("2"))], ""),
    "one line id in two orders": ("orders", [purchase("A"), purchase("B")], ""),
    "a line of 0 pieces": ("orders", [purchase("A", sold(quantity=0))], "no_pieces"),
    "a line of -1 pieces": ("orders", [purchase("A", sold(quantity="-1"))], "no_pieces"),
    "a line of a hundredth of a piece": ("orders", [purchase("A", sold(quantity=0.01))], ""),
    "no amount on any line": (
        "orders",
        [purchase("A", sold("1", gross=None, net=None), sold("2", gross=None, net=None))],
        "no_amounts",
    ),
    "an amount on one line": ("orders", [purchase("A", sold("1", gross=None, net=None), sold("2"))], ""),
    "a free item": ("orders", [purchase("A", sold("1", gross=0, net=0))], ""),
    "no line with a price": ("orders", many(20, lambda n: purchase(n, sold(gross=0, net=0))), "zero_amounts"),
    "19 orders without a price": ("orders", many(19, lambda n: purchase(n, sold(gross=0, net=0))), ""),
    "a price on the second line of one order": (
        "orders",
        many(30, lambda n: purchase(n, sold("1", gross=0, net=0), sold("2", gross=0 if n else 5, net=0))),
        "",
    ),
    "net amounts of 0 alone": ("orders", many(20, lambda n: purchase(n, sold(gross=None, net=0))), "zero_amounts"),
    "amounts of 0 beside orders without lines": (
        "orders",
        many(40, lambda n: purchase(n, sold(gross=0, net=0), **({"lineItems": []} if n % 2 else {}))),
        "no_lines zero_amounts",
    ),
    "a gross amount alone": ("orders", [purchase("A", sold("1", gross=7, net=None))], ""),
    "no currency": ("orders", [purchase(currencyCodeIso3Letter=None)], "missing_currency"),
    "an empty currency": ("orders", [purchase(currencyCodeIso3Letter="")], "missing_currency"),
    "a currency in small letters": ("orders", [purchase(currencyCodeIso3Letter="eur")], "malformed_currency"),
    "a currency sign": ("orders", [purchase(currencyCodeIso3Letter="€")], "malformed_currency"),
    "a small currency of the shipping": (
        "orders",
        [purchase(shipping={"currencyCodeIso3Letter": "Euro"})],
        "malformed_currency",
    ),
    "a currency of the shipping": ("orders", [purchase(shipping={"currencyCodeIso3Letter": "EUR"})], ""),
    "Swiss francs": ("orders", [purchase(currencyCodeIso3Letter="CHF")], ""),
    "an order of 2001": ("orders", [purchase(createdAt="2001-01-01")], "implausible_time"),
    "an order of 2005": ("orders", [purchase(createdAt="2005-01-01")], ""),
    "an order of 2199": ("orders", [purchase(updatedAt="2199-01-01")], "implausible_time"),
    "an order changed today": ("orders", [purchase(updatedAt=NOW)], ""),
    "an order cancelled in 2099": ("orders", [purchase(cancelledAt="2099-12-31")], "implausible_time"),
    "an order cancelled in 1980": ("orders", [purchase(cancelledAt="1980-01-01")], "implausible_time"),
    "an order cancelled today": ("orders", [purchase(cancelledAt=NOW)], ""),
    "orders all cancelled in 2099": (
        "orders",
        many(20, lambda n: purchase(n, cancelledAt="2099-12-31")),
        "implausible_time mostly_cancelled",
    ),
    "an order that is going to be fulfilled": ("orders", [purchase(processedAt=NOW + 10 * 86_400)], ""),
    "net above gross": ("orders", [purchase("A", sold("1", gross=10, net=11.9))], "net_above_gross"),
    "net two cents above gross": ("orders", [purchase("A", sold(gross=10, net=10.02))], "net_above_gross"),
    "net one cent above gross": ("orders", [purchase("A", sold(gross=10, net=10.01))], ""),
    "net above no gross": ("orders", [purchase("A", sold("1", gross=None, net=11.9))], ""),
    "net above a gross of 0": ("orders", [purchase("A", sold("1", gross=0, net=5))], "net_above_gross"),
    "US prices without tax": (
        "orders",
        [purchase("A", sold("1", gross=19.99, net=19.99), currencyCodeIso3Letter="USD")],
        "",
    ),
    "a third of a discount": ("orders", [purchase("A", sold("1", gross=3.33, net=10 / 3))], ""),
    "Klar's example": ("orders", [purchase("A", sold("1", gross=7.0, net=4.71, quantity=2))], ""),
    "negative COGS of a line": (
        "orders",
        many(3, lambda n: purchase(n, sold("1"), sold("2", productCogs=-2.5))),
        "negative_costs",
    ),
    "two orders with negative COGS": ("orders", many(2, lambda n: purchase(n, sold(productCogs=-2.5))), ""),
    "COGS of a line of 0": ("orders", many(3, lambda n: purchase(n, sold(productCogs=0))), ""),
    "negative COGS within a bundle": (
        "orders",
        many(3, lambda n: purchase(n, sold(bundledProducts=[sold("2", productCogs=-2.5)]))),
        "negative_costs",
    ),
    "negative freight of a line": (
        "orders",
        many(3, lambda n: purchase(n, sold(totalLogisticsCosts=-4.9))),
        "negative_costs",
    ),
    "negative freight of most orders": (
        "orders",
        many(5, lambda n: purchase(n, shipping={"totalLogisticsCosts": -4.9 if n < 3 else 4.9})),
        "negative_costs",
    ),
    "freight given back for half of the orders": (
        "orders",
        many(4, lambda n: purchase(n, shipping={"totalLogisticsCosts": -4.9 if n < 2 else 4.9})),
        "",
    ),
    "a negative shipping price, which is no cost": (
        "orders",
        many(3, lambda n: purchase(n, shipping={"shippingTotalAmountAfterTaxAndDiscounts": -4.9})),
        "",
    ),
    "a tax rate of 19": ("orders", [purchase("A", sold(taxes=[{"taxRate": 19}]))], "tax_rate_above_1"),
    "a tax rate of 19 on the shipping": (
        "orders",
        [purchase(shipping={"taxes": [{"taxRate": 19}]})],
        "tax_rate_above_1",
    ),
    "a tax rate of 0.19 on the shipping": ("orders", [purchase(shipping={"taxes": [{"taxRate": 0.19}]})], ""),
    "a tax rate of 1.5": ("orders", [purchase("A", sold(taxes=[{"taxRate": 1.5}]))], "tax_rate_above_1"),
    "a tax rate of 1": ("orders", [purchase("A", sold(taxes=[{"taxRate": 1}]))], ""),
    "a tax rate of 0.19": ("orders", [purchase("A", sold(taxes=[{"taxRate": 0.19}]))], ""),
    "a negative discount": ("orders", [purchase("A", sold(discounts=[{"discountAmount": -1}]))], "negative_discount"),
    "a discount of 0": ("orders", [purchase("A", sold(discounts=[{"discountAmount": 0}]))], ""),
    "a discount": ("orders", [purchase("A", sold(discounts=[{"discountAmount": 0.98}]))], ""),
    "cents as pieces of an order": ("orders", many(20, lambda n: purchase(n, sold(quantity=1990))), "huge_quantity"),
    "screws by the thousand in every second order": (
        "orders",
        many(20, lambda n: purchase(n, sold(quantity=1 if n % 2 else 5000))),
        "",
    ),
    "COGS of 0 on every line of orders": (
        "orders",
        many(20, lambda n: purchase(n, sold(productCogs=0), sold("2"))),
        "zero_cogs",
    ),
    "COGS of 0 in 19 orders": ("orders", many(19, lambda n: purchase(n, sold(productCogs=0))), ""),
    "COGS of 0 on a free line of every order": (
        "orders",
        many(20, lambda n: purchase(n, sold(productCogs=3.5), sold("2", productCogs=0))),
        "",
    ),
    "orders in cents": (
        "orders",
        many(20, lambda n: purchase(n, sold("1", gross=1190 + n, net=1000 + n))),
        "amounts_in_cents",
    ),
    "19 orders in cents": ("orders", many(19, lambda n: purchase(n, sold(gross=1190 + n, net=1000 + n))), ""),
    "whole prices of 999": ("orders", many(30, lambda n: purchase(n, sold(gross=999, net=999))), ""),
    "whole prices of 1,000": (
        "orders",
        many(30, lambda n: purchase(n, sold(gross=1000, net=1000))),
        "amounts_in_cents",
    ),
    "whole yen": (
        "orders",
        many(30, lambda n: purchase(n, sold("1", gross=3300, net=3000), currencyCodeIso3Letter="JPY")),
        "",
    ),
    "whole forints, of which a few shops write the two decimals that there are": (
        "orders",
        many(30, lambda n: purchase(n, sold("1", gross=8990, net=7079), currencyCodeIso3Letter="HUF")),
        "",
    ),
    "whole won, pesos, rupees and crowns in one run": (
        "orders",
        many(
            32,
            lambda n: purchase(
                n, sold("1", gross=9900, net=9000), currencyCodeIso3Letter=("KRW", "CLP", "INR", "CZK")[n % 4]
            ),
        ),
        "",
    ),
    "orders in cents, some of them in pounds": (
        "orders",
        many(
            30,
            lambda n: purchase(
                n, sold("1", gross=1190 + n, net=1000 + n), currencyCodeIso3Letter=("EUR", "GBP")[n % 2]
            ),
        ),
        "amounts_in_cents",
    ),
    "orders in cents without a currency": (
        "orders",
        many(20, lambda n: purchase(n, sold("1", gross=1190 + n, net=1000 + n), currencyCodeIso3Letter="")),
        "amounts_in_cents missing_currency",
    ),
    "whole crowns of which the tax of 25 % leaves whole ones": (
        "orders",
        many(30, lambda n: purchase(n, sold("1", gross=24995, net=19996), currencyCodeIso3Letter="SEK")),
        "",
    ),
    "gross in öre beside net in crowns": (
        "orders",
        many(20, lambda n: purchase(n, sold("1", gross=129900, net=1039.2), currencyCodeIso3Letter="SEK")),
        "mixed_units",
    ),
    "19 of those": ("orders", many(19, lambda n: purchase(n, sold(gross=129900, net=1039.2))), ""),
    "gross in cents, half the price off, and a free line": (
        "orders",
        many(20, lambda n: purchase(n, sold("1", gross=995, net=4.18), sold("2", gross=500, net=0))),
        "mixed_units",
    ),
    "gross in cents on each second order": (
        "orders",
        many(20, lambda n: purchase(n, sold(gross=1190 if n % 2 else 11.9, net=10))),
        "",
    ),
    "gross in cents, tax free": ("orders", many(20, lambda n: purchase(n, sold(gross=1099, net=10.99))), "mixed_units"),
    "gross in yen hundredths": (
        "orders",
        many(20, lambda n: purchase(n, sold(gross=330000, net=3000), currencyCodeIso3Letter="JPY")),
        "mixed_units",
    ),
    "a trial for a dollar": ("orders", many(20, lambda n: purchase(n, sold("1", gross=119.5, net=1))), ""),
    "a gift for two crowns beside what was bought": (
        "orders",
        many(20, lambda n: purchase(n, sold("1", gross=249, net=2), sold("2", gross=149.5, net=119.6))),
        "",
    ),
    "a voucher that leaves two per cent": ("orders", many(20, lambda n: purchase(n, sold(gross=119.5, net=2))), ""),
    "lines that are free": ("orders", many(20, lambda n: purchase(n, sold(gross=119, net=0))), ""),
    "lines without a net amount": ("orders", many(20, lambda n: purchase(n, sold(gross=119, net=None))), ""),
    "gross of 98.95 times the net": ("orders", many(20, lambda n: purchase(n, sold(gross=197.9, net=2))), ""),
    "gross of 99 times the net": ("orders", many(20, lambda n: purchase(n, sold(gross=198, net=2))), "mixed_units"),
    "gross of 260 times the net": ("orders", many(20, lambda n: purchase(n, sold(gross=520, net=2))), "mixed_units"),
    "gross of 260.05 times the net": ("orders", many(20, lambda n: purchase(n, sold(gross=520.1, net=2))), ""),
    "fees in whole yen, which bear no currency": (
        "transaction_costs",
        many(30, lambda n: fee(f"A-{n}", 119 + n)),
        "amounts_in_cents",
    ),
    "whole crowns, whose net is not": (
        "orders",
        many(30, lambda n: purchase(n, sold("1", gross=1299, net=1039.2))),
        "",
    ),
    "whole prices in dollars": ("orders", many(30, lambda n: purchase(n, sold("1", gross=60 + n, net=60 + n))), ""),
    "a net amount out of a float": (
        "orders",
        [purchase("A", sold("1", gross=20, net=10.100000000000001))],
        "float_noise",
    ),
    "a net amount of 10.1": ("orders", [purchase("A", sold(gross=20, net=10.1))], ""),
    "a tax amount out of a float": ("orders", [purchase("A", sold(taxes=[{"taxAmount": 0.1 + 0.2}]))], "float_noise"),
    "a tax amount of 0.3": ("orders", [purchase("A", sold(taxes=[{"taxAmount": 0.3}]))], ""),
    "an order's refund of -1": (
        "orders",
        [purchase(refundedLineItems=refunds_of("1", pieces=-1))],
        "(negative_quantity)",
    ),
    "an order's refund of 0": ("orders", [purchase(refundedLineItems=refunds_of("1", pieces=0))], ""),
    "an order's refund of no line": (
        "orders",
        [purchase(refundedLineItems=refunds_of(""))],
        "(empty_line_item_id)",
    ),
    "an order's refund of line 0": ("orders", [purchase("A", sold("0"), refundedLineItems=refunds_of("0"))], ""),
    "an order's refund of a line that it has not": (
        "orders",
        [purchase("A", sold("11"), refundedLineItems=refunds_of("999"))],
        "refund_of_other_line",
    ),
    "an order's refund of its line, and of one that it has not": (
        "orders",
        [purchase("A", sold("11"), refundedLineItems=refunds_of("11", "1"))],
        "refund_of_other_line",
    ),
    "an order's refunds of its lines": (
        "orders",
        [purchase("A", sold("11"), sold("12"), refundedLineItems=refunds_of("12", "11", "12"))],
        "",
    ),
    "an order's refund of a line that has its number as a number": (
        "orders",
        [purchase("A", sold(11), refundedLineItems=refunds_of("11"))],
        "",
    ),
    "an order's refund of a product of a bundle": (
        "orders",
        [purchase("A", sold("11", bundledProducts=[sold("12")]), refundedLineItems=refunds_of("12"))],
        "",
    ),
    "no refund of an order": ("orders", [purchase("A", sold("11"), refundedLineItems=[])], ""),
    "an order's refund of another order's line": (
        "orders",
        [purchase("A", sold("11"), refundedLineItems=refunds_of("12")), purchase("B", sold("12"))],
        "refund_of_other_line",
    ),
    "a refund of an order that comes without its lines": (
        "orders",
        [purchase("A", lineItems=[], refundedLineItems=refunds_of("11"))],
        "no_lines",
    ),
    "a refund of a cancelled order that comes without its lines": (
        "orders",
        [purchase("A", lineItems=[], cancelledAt=NOW, refundedLineItems=refunds_of("11"))],
        "",
    ),
    "a bundle with a product of 0 pieces": (
        "orders",
        [purchase("A", sold(bundledProducts=[sold("2", gross=None, net=None, quantity=0)]))],
        "no_pieces",
    ),
    "a bundle with a product of 1 piece": (
        "orders",
        [purchase("A", sold(bundledProducts=[sold("2", gross=None, net=None)]))],
        "",
    ),
    "two mistakes": (
        "orders",
        [purchase("A", sold(quantity=0), currencyCodeIso3Letter="eur")],
        "no_pieces malformed_currency",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_value_that_no_merchant_can_mean_is_rejected_or_warned_of_and_its_neighbour_is_not(name: str) -> None:
    stream, records, expected = ROWS[name]
    judged = judge(stream, records)
    if expected.startswith("("):
        assert not judged.arrived
        assert all(f"[{expected[1:-1]}]" in why and "; " in why for why in judged.rejected), judged.rejected
        assert not judged.warned
        assert judge(stream, records, ignored=[expected[1:-1]]).rejected == []
    else:
        assert judged.rejected == []
        assert set(judged.warned) == set(expected.split()), judged.lines
        assert set(judged.warned.values()) <= {logging.WARNING}
        assert judge(stream, records, ignored=expected.split()).warned == {}
    assert judge(stream, records, validate=False)[1:] == ({}, [], []), "without validation Klar is left to judge"


def test_the_page_of_the_streams_says_of_which_currencies_orders_in_cents_are_asked() -> None:
    page = (Path(__file__).parents[2] / "docs/streams.md").read_text()
    (row,) = [each for each in page.splitlines() if each.startswith("| `amounts_in_cents` | orders |")]
    named = set(re.findall(r"\b[A-Z]{3}\b", row))
    assert {"EUR", "USD", "CHF"} <= named
    for currency in (*named, "SEK", "CZK", "JPY", "HUF"):
        records = many(20, lambda n: purchase(n, sold("1", gross=1190, net=1000), currencyCodeIso3Letter=currency))  # noqa: B023  # called at once
        assert set(judge("orders", records).warned) == ({"amounts_in_cents"} if currency in named else set())


def test_a_rule_that_is_ignored_leaves_those_beside_it() -> None:
    records = [refund_of(" "), refund_of("")]
    judged = judge("refunds", records, ignored=["empty_line_item_id"])
    assert (judged.rejected, set(judged.warned)) == ([], {"unmatchable_id"})
    judged = judge("refunds", records, ignored=["unmatchable_id"])
    assert (len(judged.rejected), judged.warned) == (1, {})


def test_each_rule_has_a_row_and_no_row_names_another() -> None:
    assert len(ROWS) >= 80
    assert {name.strip("()") for *_, expected in ROWS.values() for name in expected.split()} == QUALITY_RULES


@pytest.mark.parametrize("rule", [UNMATCHABLE_ID, UNMATCHABLE_SKU])
@settings(max_examples=size(300, 15_000))
@given(ids=strategies.lists(strategies.text("019.,eE+-#!?:/'\"[{=nNiIlLaA ü\u200b", max_size=6), max_size=4))
def test_ids_that_are_told_at_a_glance_are_those_that_match(rule: Rule, ids: list[str]) -> None:
    for some in (ids, [*ids, *random.Random(0).sample(sorted(PLACEHOLDERS), 1)]):
        assert rule.clean is not None
        assert not (rule.clean(some) and rule.met_by(some))


# A search


def _cents(chance: random.Random, largest: int = 50_000) -> Decimal:
    return Decimal(chance.randrange(1, largest)) / 100


def _time(chance: random.Random) -> object:
    seconds = chance.randrange(1_500_000_000, NOW)
    moment = datetime.fromtimestamp(seconds, UTC)
    return chance.choice(
        [seconds, str(seconds), moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S}", f"{moment:%Y-%m-%d}"]
    )


def _id(chance: random.Random) -> object:
    number = chance.randrange(1, 10**13)
    return chance.choice(
        [number, str(number), float(number), f"SW{number}", f"#{number}", f"a-{number:x}/{number % 7}"]
    )


def _right_refund(chance: random.Random) -> Record:
    lines = [
        {"line_item_id": _id(chance), "refunded_quantity": chance.choice([1, 2, "3.00", 0.5]), "reason_descriptor": ""}
        for _ in range(chance.randrange(1, 5))
    ]
    if chance.random() < 0.1:  # a goodwill refund, or one that was taken back
        lines = chance.choice([[], [lines[0] | {"refunded_quantity": 0}]])
    return {
        "id": _id(chance),
        "created_at": _time(chance),
        "updated_at": chance.choice([None, "", _time(chance)]),
        "line_items": chance.choice([lines, json.dumps(lines)]),
    }


def _right_cost(chance: random.Random, field: str, **fields: object) -> Record:
    usual = [_cents(chance, 2_000), _cents(chance) / 3, Decimal(0), -_cents(chance, 500), Decimal("1.2345")]
    amount = chance.choice(usual)
    key = str(_id(chance)).lstrip("#").removesuffix(".0")
    return {"order_id": key, field: chance.choice([amount, str(amount), float(round(amount, 4))])} | fields


def _right_order(chance: random.Random) -> Record:
    currency, tax = chance.choice([("EUR", 19), ("USD", 0), ("JPY", 10), ("SEK", 25)])
    lines = []
    for number in range(chance.randrange(1, 6)):
        whole = currency == "JPY"
        gross = Decimal(chance.randrange(100, 90_000)) if whole else chance.choice([_cents(chance), Decimal(0)])
        net = round(gross * 100 / (100 + tax), chance.choice([0, 2, 4, 10]) if whole else 10)
        discounts = [{"discount_amount": _cents(chance, 100)}] * chance.randrange(2)
        taxes = [{"tax_rate": str(tax / 100), "tax_amount": round(gross - net, 4)}] * chance.randrange(2)
        lines.append(
            {"id": f"{number}", "quantity": chance.choice([1, "2", 0.25]), "discounts": discounts, "taxes": taxes}
            | {"total_amount_before_taxes_and_discounts": gross, "total_amount_after_taxes_and_discounts": net}
            | {"sku": chance.choice([None, "", "4711.0"]), "product_cogs": _cents(chance)}
        )
    return {
        "id": _id(chance),
        "created_at": _time(chance),
        "cancelled_at": chance.choice([None, 0, "0000-00-00 00:00:00", _time(chance)]),
        "currency_code_iso3_letter": currency,
        "line_items": chance.choice([lines, json.dumps(lines, default=float)]),
        "refunded_line_items": chance.choice([None, [], [{"line_item_id": len(lines) - 1, "refunded_quantity": 1}]]),
        "shipping": chance.choice([None, [], "", {"city": "Hof", "total_logistics_costs": "4.90"}]),
        "customer": {"id": 7, "email": "anna@customer.example"},
    }


RIGHT: dict[str, Callable[[random.Random], Record]] = {
    "refunds": _right_refund,
    "transaction_costs": lambda chance: _right_cost(chance, "transaction_costs"),
    "logistics_costs": lambda chance: _right_cost(chance, "total_logistics_costs"),
    "cogs": lambda chance: _right_cost(chance, "product_cogs", line_item_id=chance.randrange(10**9), sku=""),
    "orders": _right_order,
}


@functools.cache
def right_records(stream: str, number: int = 300) -> tuple[Record, ...]:
    chance = random.Random(f"right {stream}")
    return tuple(RIGHT[stream](chance) for _ in range(number))


@functools.cache
def what_is_wrong_with_the_right(stream: str) -> list[str]:
    judged = judge(stream, right_records(stream))
    return judged.rejected + judged.lines


@pytest.mark.parametrize("stream", CONTRACTS)
def test_what_the_sources_of_the_recipes_write_is_neither_rejected_nor_warned_of(stream: str) -> None:
    assert what_is_wrong_with_the_right(stream) == []
    judged = judge(stream, right_records(stream, size(300, 20_000)))
    assert (judged.rejected, judged.lines) == ([], [])


FOR_THE_WHOLE_RUN = {
    *("zero_quantities", "negative_costs", "amounts_in_cents", "mixed_units", "mostly_cancelled", "zero_amounts"),
    *("same_line_item_id", "line_item_id_is_own_id", "fractional_quantities", "few_line_item_ids"),
    *("payment_id", "huge_quantity", "zero_cogs"),
}
"""Rules that a few records among many others do not meet."""
OF_FEW = [
    name
    for name, (_, _, rule) in ROWS.items()
    if len(rule.split()) == 1 and rule not in FOR_THE_WHOLE_RUN and (rule != "order_name" or name == "an order's name")
]


@pytest.mark.parametrize("name", OF_FEW)
def test_a_mistake_that_is_planted_among_right_records_is_found(name: str) -> None:
    stream, records, expected = ROWS[name]
    rule = expected.strip("()")
    if what_is_wrong_with_the_right(stream):
        pytest.skip(f"the right records of {stream} are not clean, as the test of the recipes' sources says")
    chance = random.Random(f"planted {name}")
    planted = [*right_records(stream)]
    for each in records:
        planted.insert(chance.randrange(len(planted) + 1), each)
    judged = judge(stream, planted)
    shown = {rule} if any(f"[{rule}]" in why for why in judged.rejected) else set(judged.warned)
    assert shown == {rule}, (judged.lines, judged.rejected)


def test_a_mistake_is_planted_in_every_stream() -> None:
    assert {ROWS[name][0] for name in OF_FEW} == {*CONTRACTS}


@pytest.mark.parametrize("rule", sorted(FOR_THE_WHOLE_RUN))
def test_a_mistake_of_a_whole_column_is_found_in_any_number_of_records(rule: str) -> None:
    chance = random.Random(rule)
    spoil: dict[str, tuple[str, Callable[[Record], Record]]] = {
        "zero_quantities": ("refunds", lambda _: refunded(chance.randrange(10**9), 0)),
        "same_line_item_id": (
            "refunds",
            lambda _: lines_of(*[f"{chance.random()}"] * 2, own="ab", key=f"{chance.random()}"),
        ),
        "line_item_id_is_own_id": (
            "refunds",
            lambda _: lines_of(key := f"{chance.random()}", key=key),
        ),
        "few_line_item_ids": ("refunds", lambda _: lines_of("555", key=f"{chance.random()}")),
        "fractional_quantities": ("refunds", lambda _: refunded(f"{chance.random()}", _cents(chance))),
        "negative_costs": ("transaction_costs", lambda each: each | {"transaction_costs": -_cents(chance)}),
        "amounts_in_cents": ("transaction_costs", lambda each: each | {"transaction_costs": int(_cents(chance) * 100)}),
        "zero_amounts": ("transaction_costs", lambda each: each | {"transaction_costs": 0}),
        "payment_id": ("transaction_costs", lambda each: each | {"order_id": f"ch_{chance.randrange(10**9)}00"}),
        "huge_quantity": ("refunds", lambda _: refunded(f"{chance.random()}", chance.randrange(1000, 9000))),
        "zero_cogs": ("orders", lambda _: purchase(chance.randrange(10**9), sold(productCogs=0))),
        "mostly_cancelled": ("orders", lambda each: each | {"cancelled_at": _time(chance)}),
        "mixed_units": (
            "orders",
            lambda _: purchase(chance.randrange(10**9), sold(gross=1190, net=chance.choice([10, 8.5]))),
        ),
    }
    stream, spoiled = spoil[rule]
    for number in (40, 1_000):
        assert rule in judge(stream, [spoiled(RIGHT[stream](chance)) for _ in range(number)]).warned


# What a line says


def test_a_warning_gives_the_number_the_share_one_key_and_what_to_do() -> None:
    records = many(40, lambda n: purchase(f"A-{n}", sold(taxes=[{"taxRate": 19 if n in (7, 8) else 0.19}])))
    judged = judge("orders", records)
    (text,) = judged.lines
    assert text == (
        "orders: 2 of 40 records (5 %) with a tax rate above 1, such as A-7 [tax_rate_above_1]. Klar wants a fraction, "
        "0.19 for 19 %: divide the rate by 100 in a stream map."
    )
    assert judged.warned == {"tax_rate_above_1": logging.WARNING}


@pytest.mark.parametrize(("records", "level"), [(19, "WARNING"), (20, "WARNING"), (21, "INFO"), (3_000, "INFO")])
def test_one_record_in_twenty_is_a_warning_and_less_is_said_at_info(records: int, level: str) -> None:
    assert judge("refunds", many(records, lambda n: refunded(n, createdAt=2**31 if n == 1 else NOW))).warned == {
        "implausible_time": logging.getLevelName(level)
    }


def test_the_key_of_cogs_is_the_whole_one() -> None:
    (warning,) = judge("cogs", [cogs("5301.0", lineItemId="L", sku="S")]).lines
    assert ", such as 5301.0 (lineItemId L, sku S) [unmatchable_id]. " in warning
    result = Conformer(CONTRACTS["cogs"]).conform(cogs("5301", "many", sku="S"))
    assert isinstance(result, Rejection)
    assert result.label == "5301 (sku S)"


@pytest.mark.parametrize("stream", CONTRACTS)
def test_asking_about_records_within_the_limits_of_the_rules_as_well_brings_the_same_lines(stream: str) -> None:
    conformer, chance = Conformer(CONTRACTS[stream]), random.Random(f"limits {stream}")
    right = [RIGHT[stream](chance) for _ in range(60)]
    usual = sum(judged.is_narrow for each in right if isinstance(judged := conformer.conform(each), Conformed))
    assert usual > 10
    for name in [name for name, row in ROWS.items() if row[0] == stream]:
        report, of_all = QualityReport(CONTRACTS[stream]), QualityReport(CONTRACTS[stream])
        for each in [*right, *ROWS[name][1]]:
            judged = conformer.conform(each)
            if isinstance(judged, Conformed):
                report.ask_about(judged, stream)
                of_all.ask_about(replace(judged, is_narrow=False), stream)
        assert report.lines() == of_all.lines(), name


@pytest.mark.parametrize("position", [0, 249, 250, 999])
def test_a_rule_is_met_wherever_the_record_stands(position: int) -> None:
    records = many(1_000, lambda n: purchase(n, sold(quantity=0 if n == position else 1)))
    (warning,) = judge("orders", records).lines
    assert warning.startswith(
        f"orders: 1 of 1,000 records (0.1 %) with a line of 0 or fewer pieces, such as {position} ["
    )


def test_large_records_do_not_wait_for_others() -> None:
    report, conformer = QualityReport(CONTRACTS["orders"]), Conformer(CONTRACTS["orders"])
    for number in range(20):
        conformed = conformer.conform(purchase(number, *(sold(str(each)) for each in range(1_000))))
        assert isinstance(conformed, Conformed)
        assert len(conformed.sent) > 65_536
        report.ask_about(conformed, "orders")
        assert report._waiting == {}


# Several source streams


def fees(source: str, *amounts: object) -> list[tuple[str, Record]]:
    return [(source, fee(f"{source}-{number}", amount)) for number, amount in enumerate(amounts)]


def said(records: Iterable[tuple[str, Record]], stream: str = "transaction_costs") -> list[str]:
    """Return the lines about the records of source streams, without what to do."""
    conformer, report = Conformer(CONTRACTS[stream]), QualityReport(CONTRACTS[stream])
    for source, each in records:
        judged = conformer.conform(each)
        assert isinstance(judged, Conformed)
        report.ask_about(judged, source)
    return [text.partition("]")[0] + "]" for _, text in report.lines()]


CENTS = "with an amount of 20 or more, and all amounts of the source stream are whole"
OF_SOURCES: dict[str, tuple[list[tuple[str, Record]], list[str]]] = {
    "cents beside euros": (
        [*fees("stripe", *[199] * 30), *fees("paypal", *[1.25] * 5)],
        [f"30 of 30 records of stripe (100 %) {CENTS}, such as stripe-0 [amounts_in_cents]"],
    ),
    "euros before cents": (
        [*fees("paypal", *[1.25] * 5), *fees("stripe", *[199] * 30)],
        [f"30 of 30 records of stripe (100 %) {CENTS}, such as stripe-0 [amounts_in_cents]"],
    ),
    "all of one negative, all of the other not": (
        [*fees("a", *[-1.5] * 9), *fees("b", *[1.5] * 10)],
        ["9 of 9 records of a (100 %) with costs below 0, such as a-0 [negative_costs]"],
    ),
    "reversals in both": ([*fees("a", -1.5, 1.5, 1.5), *fees("b", -1.5, 1.5, 1.5)], []),
    "cents alone": (
        fees("stripe", *[199] * 30),
        [f"30 of 30 records (100 %) {CENTS}, such as stripe-0 [amounts_in_cents]"],
    ),
    "cents of many, each of few records": (
        [each for shop in range(9) for each in fees(f"shop-{shop}", *[199] * 5)],
        [f"45 of 45 records of 9 source streams together (100 %) {CENTS}, such as shop-0-0 [amounts_in_cents]"],
    ),
    "whole amounts of few records beside others that are not": (
        [each for shop in range(9) for each in fees(f"shop-{shop}", *[199 if shop else 1.99] * 5)],
        [],
    ),
    "cents of one with many records and of many with few": (
        [*fees("big", *[199] * 20), *(each for shop in range(9) for each in fees(f"shop-{shop}", *[250] * 5))],
        [
            f"45 of 45 records of 9 source streams together (100 %) {CENTS}, such as shop-0-0 [amounts_in_cents]",
            f"20 of 20 records of big (100 %) {CENTS}, such as big-0 [amounts_in_cents]",
        ],
    ),
}


@pytest.mark.parametrize("order", ["one after the other", "mixed"])
@pytest.mark.parametrize("name", OF_SOURCES)
def test_rules_are_counted_by_source_stream(name: str, order: str) -> None:
    records, expected = OF_SOURCES[name]
    if order == "mixed":  # those of one source stream keep their order
        records = sorted(records, key=lambda each: int(each[1]["orderId"].rpartition("-")[2]))
    assert said(records) == [f"transaction_costs: {each}" for each in expected]


def test_the_lines_of_a_thousand_source_streams_are_bounded_warnings_first() -> None:
    records = [each for shop in range(1_000) for each in fees(f"shop-{shop}", *["1.5499999999999998"] * (1 + shop % 3))]
    lines = said(records)
    assert len(lines) == 11
    assert lines[0] == (
        "transaction_costs: 3 of 3 records of shop-2 (100 %) with an amount with the rounding error of a float "
        "(1.5499999999999998), such as shop-2-0 [float_noise]"
    )
    assert lines[10] == (
        "transaction_costs: 1,969 of 1,969 records of 990 more source streams (100 %) with an amount with the rounding "
        "error of a float (1.5499999999999998) [float_noise]"
    )


def test_the_line_of_those_beyond_ten_is_a_warning_if_one_of_them_has_one() -> None:
    conformer, report = Conformer(CONTRACTS["refunds"]), QualityReport(CONTRACTS["refunds"])
    for shop in range(12):
        for number in range(1_000 if shop == 11 else 1):
            judged = conformer.conform(refunded(number, createdAt=NOW if number else 2**31))
            assert isinstance(judged, Conformed)
            report.ask_about(judged, f"shop-{shop}")
    lines = report.lines()
    assert [level for level, _ in lines] == [logging.WARNING] * 11
    assert lines[10][1].startswith("refunds: 2 of 1,001 records of 2 more source streams (0.2 %) with ")


def test_ten_source_streams_have_a_line_each_and_the_level_is_that_of_each() -> None:
    conformer, report = Conformer(CONTRACTS["refunds"]), QualityReport(CONTRACTS["refunds"])
    for shop in range(10):
        for number in range(21 if shop else 20):
            judged = conformer.conform(refunded(number, createdAt=2**31 if number == 1 else NOW))
            assert isinstance(judged, Conformed)
            report.ask_about(judged, f"shop-{shop}")
    lines = report.lines()
    assert [level for level, _ in lines] == [logging.WARNING, *[logging.INFO] * 9]
    assert lines[0][1].startswith("refunds: 1 of 20 records of shop-0 (5 %) with ")


@pytest.mark.parametrize("stream", CONTRACTS)
def test_records_of_two_source_streams_bring_the_lines_that_each_brings_alone(stream: str) -> None:
    chance = random.Random(f"two sources {stream}")
    conformer = Conformer(CONTRACTS[stream])
    right = [("right", each) for each in right_records(stream, 30)]
    right_alone = judge(stream, [each for _, each in right])
    for name in [name for name, row in ROWS.items() if row[0] == stream]:
        spoiled = [("spoiled", each) for each in ROWS[name][1]]
        spoiled_alone = judge(stream, [each for _, each in spoiled])
        report = QualityReport(CONTRACTS[stream])
        mixed = list(right)
        for spoiled_one in spoiled:
            mixed.insert(chance.randrange(len(mixed) + 1), spoiled_one)
        for source, each in mixed:
            judged = conformer.conform(each)
            if isinstance(judged, Conformed):
                report.ask_about(judged, source)
        rules = {_rule(text): level for level, text in report.lines()}
        assert rules == spoiled_alone.warned | right_alone.warned, name


def _of_sources(sources: int, ids: Callable[[int], str], records: int = 1) -> list[tuple[str, Record]]:
    """Return refunds of so many source streams with one line each; `ids` names its line item by the refund's number."""
    return [(f"shop{n % sources}", lines_of(ids(n), key=f"{n}")) for n in range(sources * records)]


def test_all_line_items_are_one_only_within_a_source_stream() -> None:
    assert said(_of_sources(40, lambda n: f"L-{n}"), "refunds") == []
    assert said(_of_sources(40, lambda _: "555"), "refunds") == []
    (line,) = said([*_of_sources(1, lambda _: "555", 20), ("other", lines_of("1"))], "refunds")
    assert line.startswith("refunds: 20 of 20 records of shop0 (100 %) with a `lineItemId` that other refunds ")
    lines = said(_of_sources(2, lambda n: f"{n % 2}", 20), "refunds")
    assert [line.partition(" (")[0] for line in lines] == [f"refunds: 20 of 20 records of shop{n}" for n in (0, 1)]


def test_all_line_items_are_not_one_also_where_each_record_is_looked_at_by_itself() -> None:
    long = {"reasonDescriptor": "x" * 70_000}
    refunds = [refunded(n, lineItems=[LINE | {"lineItemId": f"L-{n}"} | long]) for n in range(25)]
    assert judge("refunds", refunds).lines == []
    alike = [refunded(n, lineItems=[LINE | long]) for n in range(25)]
    assert set(judge("refunds", alike).warned) == {"few_line_item_ids"}
    others = [refund_of(f"L-{n}") for n in range(7)]
    assert judge("refunds", [*alike, *others]).lines == []


def test_what_waits_does_not_grow_with_the_source_streams() -> None:
    report, conformer = QualityReport(CONTRACTS["transaction_costs"]), Conformer(CONTRACTS["transaction_costs"])
    most = 0
    for number in range(8_000):
        judged = conformer.conform(fee(number))
        assert isinstance(judged, Conformed)
        report.ask_about(judged, f"shop-{number % 500}")
        most = max(most, sum(len(each.sent) for waiting in report._waiting.values() for each in waiting))
    assert 60_000 < most <= 65_536


def test_clean_values_are_not_asked_one_by_one_where_another_field_of_the_rule_has_none() -> None:
    def asked(_: object) -> list[object]:
        raise AssertionError("clean, and asked all the same")

    orders = CONTRACTS["orders"]
    rule = Rule("clean", "", "", asked, clean=lambda _: True)
    fields = {name: with_rules(orders.schema["properties"][name], rule) for name in ("id", "orderName")}
    schema = orders.schema | {"properties": orders.schema["properties"] | fields}
    report = QualityReport(dataclasses.replace(orders, schema=schema))
    conformed = Conformer(orders).conform(purchase())
    assert isinstance(conformed, Conformed)
    report.ask_about(conformed, "orders")
    assert report.lines() == []


# Control totals


def test_control_totals_add_up_what_the_contract_names_rounded_to_four_decimals() -> None:
    def totals(stream: str, *records: Record) -> str:
        conformed = [Conformer(CONTRACTS[stream]).conform(each) for each in records]
        added = ControlTotals(CONTRACTS[stream])
        for start in range(0, len(conformed), 2):
            added.add_amounts([each.amounts for each in conformed[start : start + 2] if isinstance(each, Conformed)])
        return str(added)

    assert totals("refunds", refunded("A", 1, 2), refunded("B", 0.5), refunded("C", lineItems=[])) == "pieces 3.5"
    assert totals("transaction_costs", *many(10, lambda n: fee(n, 0.1))) == "amount 1"
    assert totals("logistics_costs", freight("A", 1234.56786), freight("B", -0.5)) == "amount 1,234.0679"
    assert totals("cogs", cogs()) == "amount 2.5"
    both = (
        purchase("A", sold("1", quantity=2), sold("2", gross=None, net=None)),
        purchase("B", sold("1", gross=7, net=4.71)),
    )
    assert totals("orders", *both) == "pieces 4, net EUR 14.71"
    francs, unknown = (purchase(key, currencyCodeIso3Letter=each) for key, each in (("C", "CHF"), ("D", "Anna")))
    assert totals("orders", both[0], francs, unknown, both[1]) == "pieces 6, net EUR 14.71, net CHF 10, net 10"
    assert totals("orders") == ""
    assert totals("refunds", refunded("A", 1.7e308, 1.7e308)) == "pieces inf"
    huge = [
        purchase(key, sold("1", quantity=sign * 1.7e308), sold("2", quantity=sign * 1.7e308))
        for key, sign in (("A", 1), ("B", -1))
    ]
    assert totals("orders", *huge).startswith("pieces nan")


def test_what_klar_is_left_to_judge_adds_to_the_totals_what_can_be_read() -> None:
    conformer = Conformer(CONTRACTS["transaction_costs"], validate=False)
    odd, usual = conformer.conform(fee(amount="many")), conformer.conform(fee(amount="1.25"))
    assert isinstance(odd, Conformed)
    assert isinstance(usual, Conformed)
    assert (odd.amounts, usual.amounts) == (0.0, 1.25)


# The whole program


def _messages(stream: str, records: Iterable[Record]) -> list[Record]:
    return [schema(stream, CONTRACTS[stream].key), *(record(stream, **each) for each in records), state(1)]


SPOILED: dict[str, list[Record]] = {
    "refunds": many(20, lambda n: refunded(f"R-{n}", 0)),
    "transaction_costs": many(20, lambda n: fee(f"#{n}", 199)),
    "logistics_costs": many(20, lambda n: freight(f"{n}", -4.9)),
    "cogs": many(20, lambda n: cogs(f"{n}.0")),
    "orders": many(20, lambda n: purchase(f"{n}", sold(quantity=0), currencyCodeIso3Letter="eur")),
}


@pytest.mark.parametrize("stream", CONTRACTS)
@pytest.mark.parametrize("dry_run", [False, True], ids=["load", "dry run"])
def test_a_load_and_a_dry_run_say_the_same(klar: Sandbox, stream: str, *, dry_run: bool) -> None:
    records = SPOILED[stream]
    for ignored, validate in ([], True), (["no_pieces", "amounts_in_cents", "unmatchable_id"], True), ([], False):
        ended = run(
            klar,
            _messages(stream, records),
            batch_size_rows=7,
            validate_only=dry_run,
            ignore_quality_rules=ignored,
            validate_records=validate,
        )
        assert ended.code == 0
        assert ended.warnings == judge(stream, records, ignored=ignored, validate=validate).lines
    assert judge(stream, records).lines != []


def test_a_load_a_dry_run_and_a_preview_name_the_source_stream_of_several(klar: Sandbox) -> None:
    sources = {
        "stripe": [fee(f"S-{number}", 199) for number in range(30)],
        "paypal": [fee(f"P-{number}", 1.25) for number in range(5)],
    }
    lines = [
        *(schema(name, "orderId") for name in sources),
        *(record(name, **each) for name in ("stripe", "paypal") for each in sources[name]),
    ]
    maps = {name: {"__alias__": "transaction_costs"} for name in sources}
    expected = (
        f"transaction_costs: 30 of 30 records of stripe (100 %) {CENTS}, such as S-0 [amounts_in_cents]. They look "
        "like cents: divide them by 100 in a stream map. If their currency has none, ignore the rule "
        "(`ignore_quality_rules`)."
    )
    for dry_run in (False, True):
        ended = run(klar, lines, stream_maps=maps, validate_only=dry_run, batch_size_rows=7)
        assert (ended.code, ended.warnings) == (0, [expected])
    assert f"  {expected}" in preview(lines, stream_maps=maps).splitlines()
    alone = run(klar, lines[:32], stream_maps=maps)
    assert alone.warnings == [expected.replace(" of stripe", "")]


def test_a_run_without_validation_leaves_all_of_it_to_klar(klar: Sandbox) -> None:
    negative = [refunded("R-1", -1), refunded("R-2", 0)]
    ended = run(klar, _messages("refunds", negative), validate_records=False)
    assert (ended.code, ended.states, len(klar.refunds)) == (0, [1], 2)
    assert ended.warnings == []


def test_a_negative_quantity_is_rejected_with_a_hint_at_the_sign_and_the_other_records_arrive(
    klar: Sandbox, rejects: Path
) -> None:
    lines = _messages("refunds", [refunded("R-1", -1), refunded("R-2")])
    why = (
        "must be a number, 0 or more [negative_quantity] (found number -1); if the source writes all of them "
        "negative, as WooCommerce does, negate them in a stream map (`-quantity`)"
    )
    stopped = run(klar, lines)
    assert (stopped.code, stopped.states, klar.posts()) == (1, [], [])
    assert stopped.errors[0].startswith(f"target-klar rejected refunds R-1: lineItems[0].refundedQuantity {why}")

    ended = run(klar, lines, rejects_path=str(rejects))
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"R-2"})
    (rejected,) = records(rejects)
    assert rejected["record"]["id"] == "R-1"
    assert rejected["errors"] == [{"path": "lineItems[0].refundedQuantity", "message": why}]


def test_a_placeholder_as_key_stops_a_run_without_a_place_for_it(klar: Sandbox) -> None:
    ended = run(klar, _messages("transaction_costs", [fee("1"), fee("None"), fee("2")]))
    assert (ended.code, ended.states, set(klar.transaction_costs)) == (1, [], {"1"})
    assert 'orderId must not be "None" [placeholder_key]; records with it would overwrite' in ended.errors[0]


def test_the_sample_is_loaded_without_a_warning(klar: Sandbox) -> None:
    ended = run(klar, SAMPLE)
    assert (ended.code, ended.warnings) == (0, [])
