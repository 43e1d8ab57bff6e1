"""What a tap's stream and columns may stand for: named where it is known, left to a person where it is not."""

from __future__ import annotations

import json
import logging
import unicodedata
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import record, schema, state
from previewed import preview, proposed
from singer_sdk.mapper import PluginMapper
from thoroughness import size

from target_klar.contract.streams import CONTRACTS
from target_klar.records.conform import Conformer, Rejection
from target_klar.records.json_codec import decode
from target_klar.sandbox import Sandbox
from target_klar.settings.stream_maps import map_mistakes
from target_klar.stream_maps.in_effect import registered
from target_klar.stream_maps.mapping import mapped
from target_klar.suggestions import likely_stream, renaming
from target_klar.suggestions.choices import Columns
from target_klar.suggestions.fields import item_columns, likely, missing
from target_klar.suggestions.stream_map import map_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_klar.contract.streams import Contract

SHOP = ["id", "created_at", "line_items"]
"""Columns that refunds, orders and carts have alike."""
PIECES = [{"line_item_id": 1, "qty": 1}]
WHEN = "2026-05-04T09:30:00Z"


def columns_of(stream: str, records: Sequence[dict[str, Any]]) -> Columns:
    return Columns(stream, records)


def suggested(stream: str, *records: dict[str, Any]) -> dict[str, Any]:
    """The map for these records, without the stream's new name."""
    made, _ = map_for("theirs", CONTRACTS[stream], columns_of(stream, records))
    assert list(map_mistakes({"theirs": made})) == []
    assert made.pop("__alias__") == stream
    return made


def advised(stream: str, *records: dict[str, Any]) -> str:
    return "\n".join(map_for("theirs", CONTRACTS[stream], columns_of(stream, records))[1])


def meant(name: str, columns: list[str]) -> str | None:
    found = likely_stream(name, columns)
    return found.stream if found else None


@pytest.mark.parametrize(
    ("names", "stream"),
    [
        ("order_refunds klar-refunds customer-returns shopify_order_refund_line_items returns credit_memos", "refunds"),
        ("Rückerstattung Rueckerstattungen RÜCKERSTATTUNG Erstattungen Retouren retouren_positionen", "refunds"),
        ("Gutschriften Kundengutschrift Storno Stornos Rücksendungen", "refunds"),
        ("order_fees fees Transaktionskosten Zahlungsgebühr Zahlungsgebuehren Gebühren gebuehr", "transaction_costs"),
        ("shipping_costs shippingcosts Versandkosten Fracht Frachtkosten Porto Speditionen", "logistics_costs"),
        ("purchase_prices Einkaufspreis Einkaufspreise EK EK_Preise Wareneinsatz Selbstkosten", "cogs"),
        ("sales_orders orders_2024 order_items Bestellungen Auftrag Aufträge AUFTRAEGE dbo-Bestellung", "orders"),
    ],
)
def test_a_streams_name_says_what_it_is_in_either_language_and_however_it_is_spelled(names: str, stream: str) -> None:
    for name in names.split():
        for form in ("NFC", "NFD"):
            assert meant(unicodedata.normalize(form, name), ["id"]) == stream, name


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("abandoned_checkouts", SHOP),
        ("carts", SHOP),
        ("draft_orders", SHOP),
        ("purchase_orders", SHOP),
        ("Lieferantenbestellungen", SHOP),
        ("refund_reasons", ["id", "reason"]),
        ("order_customers", ["id", "email"]),
        ("payment_methods", ["id", "name"]),
        ("shipping_addresses", ["id", "city"]),
        ("balance_transactions", ["id", "amount"]),
        ("shipments", ["order_id", "carrier"]),
        ("products", ["id", "cost"]),
        ("customers", ["id", "created_at", "email"]),
        ("Kunden", ["id"]),
    ],
)
def test_a_stream_of_something_else_gets_none_whatever_columns_it_shares(name: str, columns: list[str]) -> None:
    assert meant(name, columns) is None


@pytest.mark.parametrize(
    ("name", "columns", "stream"),
    [
        ("balance_transactions", ["id", "fee"], "transaction_costs"),
        ("BALANCETRANSACTIONS", ["ID", "FEE"], "transaction_costs"),
        ("BalanceTransactions", ["id", "fee"], "transaction_costs"),
        ("Lieferungen", ["Auftragsnr", "Lieferkosten"], "logistics_costs"),
        ("sales", SHOP, "orders"),
        ("refunds_eu", SHOP, "refunds"),
        ("rechnungen", ["ORDER_ID", "TRANSACTION_COSTS"], "transaction_costs"),
        ("shipments", ["ORDER_ID", "TRANSACTION_COSTS"], "transaction_costs"),
    ],
)
def test_a_name_that_could_be_more_than_one_thing_counts_where_the_columns_agree(
    name: str, columns: list[str], stream: str
) -> None:
    assert meant(name, columns) == stream


@pytest.mark.parametrize(
    ("stream", "field", "column", "value"),
    [
        ("transaction_costs", "orderId", "id_order", 1),
        ("transaction_costs", "orderId", "Bestellnummer", "A-1"),
        ("transaction_costs", "orderId", "Auftragsnr", "A-1"),
        ("transaction_costs", "orderId", "Auftrags-Nr.", "A-1"),
        ("transaction_costs", "transactionCosts", "fee_total", 1.1),
        ("transaction_costs", "transactionCosts", "Gebühr", "1.10"),
        ("transaction_costs", "transactionCosts", "TRANSAKTIONSGEBUEHREN", "1.10"),
        ("logistics_costs", "totalLogisticsCosts", "Versandkosten", 4.9),
        ("cogs", "productCogs", "EK netto", 4.9),
        ("cogs", "productCogs", "Einkaufspreis pro Stück", 4.9),
        ("refunds", "id", "Refund No", "R1"),
        ("refunds", "id", "Belegnummer", 500123),
        ("refunds", "createdAt", "Belegdatum", "2026-05-04"),
        ("refunds", "createdAt", "erstellt_am", "2026-05-04"),
        ("orders", "id", "Bestellnummer", "A-1"),
        ("orders", "createdAt", "Bestelldatum", "2026-05-04"),
        ("orders", "createdAt", "orderDateTime", "2026-05-04"),
    ],
)
def test_a_column_is_proposed_that_is_called_what_the_field_is_and_converts(
    stream: str, field: str, column: str, value: object
) -> None:
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, column)
        made = {field: suggested(stream, {name: value})[field]}
        assert _mapped(made, {name: value})[field] == value


@pytest.mark.parametrize(
    ("stream", "records"),
    [
        ("transaction_costs", [{"id": "txn_1", "parent_id": 1, "customer_id": 1, "order_customer_id": 1}]),
        ("transaction_costs", [{"amount": 59.98, "fee_details": 1.5, "fee_tax": 1.5}]),
        ("transaction_costs", [{"payment_fee": 1.1, "transaction_fee": 2.2}]),
        ("transaction_costs", [{"Auftragsnr": "A-1", "Bestellnummer": "B-1"}]),
        ("transaction_costs", [{"fee": 1.1}, {"fee": "1,10"}]),
        ("cogs", [{"EK brutto": 1.19, "unit_price": 19.5, "price": 19.5}]),
        ("refunds", [{"order_id": 1, "order_date": WHEN, "updated_at": WHEN, "phone_number": "1"}]),
        ("refunds", [{"tax_lines": PIECES, "shipping_lines": PIECES, "ordered_items": PIECES}]),
        ("refunds", [{"positions": [{"product_id": 93, "id": 1, "quantity": 1}]}]),
        ("refunds", [{"positions": [{"line_item_id": 93, "ordered_quantity": 1}]}]),
        ("refunds", [{"positions": [{"line_item_id": 93, "quantity": -1}]}]),
        ("refunds", [{"positions": [{"line_item_id": 93, "quantity": "-1.00"}]}]),
    ],
)
def test_what_could_only_be_guessed_is_not_proposed(stream: str, records: list[dict[str, Any]]) -> None:
    assert suggested(stream, *records) == {}


def test_a_stream_that_fits_nothing_is_not_renamed_to_one_of_klars() -> None:
    assert renaming("n" * 301, None)[1] == '{"stream_maps": {"<the stream\'s name>": "__NULL__"}}'
    rename, drop = renaming("carts", None)

    assert rename == '{"stream_maps": {"carts": {"__alias__": "<one of these>"}}}'
    assert drop == '{"stream_maps": {"carts": "__NULL__"}}'


def test_two_columns_that_are_equally_near_are_named() -> None:
    told = advised("transaction_costs", {"order_id": 1, "payment_fee": 1.1, "transaction_fee": 2.2})

    assert told == "`payment_fee` or `transaction_fee` may be `transactionCosts`: name the right one."


@pytest.mark.parametrize("record", [{"date_created": "2026-05-04T09:30:00", "date_created_gmt": "2026-05-04T07:30:00"}])
@pytest.mark.parametrize("name", ["date_created", "created_at"])
def test_of_two_clocks_the_one_that_says_utc_is_proposed(record: dict[str, str], name: str) -> None:
    local, utc = record.values()

    assert suggested("refunds", {name: local, f"{name}_gmt": utc})["createdAt"] == f"{name}_gmt"
    # A time with its zone says the same as its sibling, and arrives without a map.
    assert suggested("refunds", {"created_at": WHEN, "created_at_gmt": utc}) == {}


@pytest.mark.parametrize(
    ("records", "minor"),
    [
        ([{"amount": 5998, "fee": 199}, {"amount": -5998, "fee": 0}], True),
        ([{"amount": 199, "fee": 2}], True),
        ([{"amount": "5998", "fee": "199"}], True),
        ([{"fee": 199}, {"fee": 250}], True),
        ([{"fee_cents": 2}], True),
        ([{"amount": 59.98, "fee": 2}], False),
        ([{"amount": "60.00", "fee": 2}], False),
        ([{"fee": 2}, {"fee": 199}], False),
        ([{"fee": 199}, {"fee": "1.99"}], False),
        ([{"fee": "199.00"}], False),
        ([{"amount": 5998, "fee": 199, "currency": "jpy"}], False),
        ([{"amount": "0", "fee": "0"}], False),
    ],
)
def test_amounts_that_look_like_cents_are_named_and_not_proposed(records: list[dict[str, Any]], minor: bool) -> None:  # noqa: FBT001
    assert ("transactionCosts" in suggested("transaction_costs", *records)) is not minor
    assert ("looks like minor units" in advised("transaction_costs", *records)) is minor


@pytest.mark.parametrize(
    ("values", "expression"),
    [
        (["4,90", "12"], "str(fee).replace(',', '.')"),
        (["1.234,56", "4,90"], "str(fee).replace('.', '').replace(',', '.')"),
        (["1.234,567"], "str(fee).replace('.', '').replace(',', '.')"),
        (["1,234"], None),  # may be a thousand
        (["1,234.56", "4,90"], None),
        (["4,90", "none"], None),
    ],
)
def test_a_decimal_comma_is_named_with_the_expression_that_reads_it_digit_for_digit(
    values: list[str], expression: str | None
) -> None:
    records = [{"order_id": "1", "fee": value} for value in values]
    told = advised("transaction_costs", *records)

    assert suggested("transaction_costs", *records) == {}
    assert (f"`{expression}` reads it, with all digits." in told) is (expression is not None)
    if expression:
        sent = [decode(_conformed("transaction_costs", {"transactionCosts": expression}, each)) for each in records]
        assert [each["transactionCosts"] for each in sent] == [
            Decimal(value.replace(".", "").replace(",", ".")) for value in values
        ]


@pytest.mark.parametrize("value", ["04.05.2026", "4.5.2026 09:30", "04.05.2026 09:30:00"])
def test_a_german_date_is_named_with_the_expression_that_reads_it(value: str) -> None:
    line = {"id": 1, "Datum": value, "line_items": [{"lineItemId": "1", "refundedQuantity": 1}]}
    told = advised("refunds", line)
    expression = told.split("`")[5]

    assert f"reads dates such as {value}, as UTC." in told
    assert json.loads(_conformed("refunds", {"createdAt": expression}, line))["createdAt"] in (1777852800, 1777887000)
    assert advised("refunds", {"Datum": value}, {"Datum": "31.31.2026"}) == ""


def _conformed(stream: str, definition: dict[str, str], line: dict[str, Any]) -> bytes:
    """What Klar would get of a record through a map."""
    conformed = Conformer(CONTRACTS[stream]).conform(_mapped(definition, line))
    text = getattr(conformed, "sent", None)
    assert isinstance(text, bytes), conformed
    return text


def _mapped(definition: dict[str, str], line: dict[str, Any]) -> Any:
    config: dict[str, Any] = {"stream_maps": {"theirs": definition}}
    mapper = PluginMapper(plugin_config=config, logger=logging.getLogger("mapper"))
    (its_map,) = registered(mapper, "theirs", {"properties": {column: {} for column in line}}, [])
    return mapped(its_map.stream_map, line, definition)


@pytest.mark.parametrize(
    ("quantities", "told"),
    [
        (
            [-1, -2],
            "and none of its values is above 0 (such as -1). If it counts pieces, `-line['quantity']` makes it",
        ),
        (
            [0, -1, Decimal("-0.5"), 0.0],
            "and none of its values is above 0 (such as -1). If it counts pieces, `-line['quantity']` makes it",
        ),
        (
            ["-1", "0.00", "-2.00"],
            "and none of its values is above 0 (such as -1). If it counts pieces, `-float(line['quantity'])` makes it",
        ),
        (
            ["-1", "-0", "-2"],
            "and none of its values is above 0 (such as -1). If it counts pieces, `-float(line['quantity'])` makes it",
        ),
        ([-1], "with 1 of 1 value below 0 (-1). Check what its sign means before you map it."),
        ([0, -1, 0], "with 1 of 3 values below 0 (-1). Check what its sign means"),
        ([-1, -1, 1], "with 2 of 3 values below 0 (-1). Check what its sign means"),
        (["-1", "-1", "many"], "with 2 of 3 values below 0 (-1). Check what its sign means"),
        ([1, 0, 2], ""),
        ([0, 0], ""),
    ],
    ids=str,
)
def test_a_quantity_is_negated_only_where_the_column_as_a_whole_is_negative(
    quantities: list[object], told: str
) -> None:
    records = [{"line_items": [{"line_item_id": 1, "quantity": each}]} for each in quantities]
    said = advised("refunds", *records)

    assert f"`quantity` may be `refundedQuantity`, {told}" in said if told else "quantity" not in said
    assert ("makes it positive" in said) is ("makes it" in told)


@pytest.mark.parametrize(
    ("lists", "expression"),
    [
        ([PIECES, []], "refund_lines"),
        (['[{"line_item_id": 1, "qty": 1}]', "[]", "", "null"], "json.loads(refund_lines or 'null')"),
        ([{"nodes": PIECES}, {"nodes": []}, None], "(refund_lines or {}).get('nodes')"),
        ([{"edges": [{"node": PIECES[0]}]}, {"edges": []}], "(refund_lines or {}).get('edges')"),
        ([{"nodes": [{"lineItem": {"id": 1}, "quantity": 1}]}, {"nodes": []}], "(refund_lines or {}).get('nodes')"),
        ([[{"line_item_id": 1, "refunded_quantity": 1}], []], "refund_lines"),
        (['[{"line_item_id": 1, "refunded_quantity": 1}]', "[]"], "json.loads(refund_lines or 'null')"),
    ],
)
def test_however_lines_are_written_the_map_reads_them_and_keeps_refunds_without_any_away(
    lists: list[Any], expression: str
) -> None:
    lines = [{"id": str(n), "created_at": WHEN, "refund_lines": each} for n, each in enumerate(lists)]
    made = suggested("refunds", *lines)

    assert made["__filter__"] == f"bool({expression})"
    sent = json.loads(_conformed("refunds", made, lines[0]))
    assert sent["lineItems"] == [{"lineItemId": "1", "refundedQuantity": 1}]
    assert all(_mapped(made, each) is None for each in lines[1:])


@pytest.mark.parametrize("empty", [[], "[]", " [ ] "])
def test_a_map_also_keeps_away_what_would_cancel_under_klars_own_name(empty: object) -> None:
    whole: dict[str, Any] = {"id": 1, "date": WHEN, "line_items": [{"line_item_id": 1, "refunded_quantity": 1}]}
    written = json.dumps(whole["line_items"]) if isinstance(empty, str) else whole["line_items"]
    full, cancels = ({**whole, "line_items": each} for each in (written, empty))
    made = suggested("refunds", full, cancels)

    assert _mapped(made, cancels) is None
    assert b'"lineItemId":"1"' in _conformed("refunds", made, full)
    assert "__filter__" not in suggested("refunds", full)  # what nobody has seen is not filtered


def test_a_deletion_that_brings_its_key_alone_passes_the_map() -> None:
    lines: list[dict[str, Any]] = [
        {"id": "1", "created_at": WHEN, "positions": PIECES, "_SDC_DELETED_AT": None},
        {"id": "1", "_SDC_DELETED_AT": WHEN},
    ]
    made = suggested("refunds", *lines)
    deleted = _mapped(made, lines[1])

    assert b'"lineItemId":"1"' in _conformed("refunds", made, lines[0])
    assert (deleted["_SDC_DELETED_AT"], deleted["lineItems"]) == (WHEN, None)


def test_a_list_of_which_not_all_is_known_gets_a_skeleton_to_fill_in() -> None:
    told = advised("refunds", {"lines": {"edges": [{"node": {"id": 7, "quantity": 1, "product_id": 93}}]}})

    assert (
        "No column in `lines` has a name like `lineItemId` of `lineItems`: the `id` of the line item in the order."
        in told
    )
    assert (
        "`lines` holds a list. Fill in `lineItemId`: `[{'id': line['node']['id'], 'lineItemId': ..., "
        "'refundedQuantity': line['node']['quantity']} for line in (lines or {}).get('edges')]`" in told
    )


@pytest.mark.parametrize("column", ["shop_line_item_id", "ShopifyOrderLineId", "parent_order_item_id"])
def test_a_line_item_of_another_system_is_named_and_not_proposed(column: str) -> None:
    row = {"id": 1, "created_at": WHEN, "lines": [{"return_item_id": 7, column: 71, "quantity": 1}]}

    assert f"`{column}` in `lines` may be `lineItemId` of `lineItems`: the `id` of the line item in the ord" in advised(
        "refunds", row
    )
    assert "lineItems" not in suggested("refunds", row)


@pytest.mark.parametrize("column", ["return_item_id", "item_id", "sku", "tax_line_id"])
def test_a_returns_own_item_or_a_product_is_not_named_as_the_orders_line(column: str) -> None:
    told = advised("refunds", {"id": 1, "created_at": WHEN, "lines": [{column: 71, "quantity": 1}]})

    assert "No column in `lines` has a name like `lineItemId` of `lineItems`: the `id` of the line" in told


@pytest.mark.parametrize(
    ("columns", "hint"),
    [
        ({"requested_at": WHEN, "refunded_at": WHEN, "updated_at": WHEN}, "It may be refunded_at."),
        ({"requested_at": WHEN, "received_at": None}, "Columns that hold times: requested_at."),
        ({"requested_at": WHEN, "received_at": "2026-05-04 09:30:00"}, "hold times: requested_at, received_at."),
        ({"phone": "0170123456", "number": 1777887000, "updated_at": WHEN}, "No column looks like it."),
        ({"requested_at": "tomorrow"}, "No column looks like it."),
    ],
)
def test_where_no_column_is_called_the_time_those_that_hold_times_are_named(columns: dict[str, Any], hint: str) -> None:
    out = preview([schema("returns"), record("returns", id=1, line_items=PIECES, **columns)])

    (told,) = (line for line in out.splitlines() if "Klar wants `createdAt`" in line)
    assert told.endswith(hint)


def test_columns_that_python_or_the_mapper_would_read_as_something_else_are_read_from_the_record() -> None:
    assert suggested("orders", {"number": 1, "date": WHEN, "line": [{"id": 1, "qty": 2}]})["lineItems"].endswith(
        "for line in record['line']]"
    )
    assert suggested("transaction_costs", {"order": {"id": 1}})["orderId"] == "(order or {}).get('id')"
    # A column `json` hides the module that would read the text.
    text = {"id": 1, "created_at": WHEN, "positions": '[{"line_item_id": 1, "qty": 1}]', "json": 1}
    assert suggested("refunds", text) == {}


def test_a_cost_of_goods_names_its_line_item_or_its_product() -> None:
    row = {"Auftragsnr": "A-1", "Artikelnr": "4711", "EK": 12.5, "Menge": 2}

    assert suggested("cogs", row) == {"orderId": "Auftragsnr", "productCogs": "EK", "sku": "Artikelnr"}
    assert "sku" not in suggested("cogs", {**row, "line_item_id": 5})


def test_columns_that_may_be_meant_are_named_nearest_first() -> None:
    refunds = CONTRACTS["refunds"]

    assert likely("refunds.lineItems", ["note", "tax_lines", "position_id", "refund_line_items"]) == [
        "refund_line_items"
    ]
    assert likely("refunds.createdAt", ["updated_at", "date_created", "date_created_gmt"]) == [
        "date_created_gmt",
        "date_created",
    ]
    assert likely("transaction_costs.orderId", ["id", "order_customer_id", "shopify_order_id"]) == ["shopify_order_id"]
    assert likely("transaction_costs.transactionCosts", ["fee_details", "stripe_fee", "fee"]) == ["fee", "stripe_fee"]
    assert missing(refunds.schema, ["ID", "created_at"]) == ["lineItems"]
    assert item_columns("lineItems", refunds, ["Refund No", "Line Item", "Qty"]) == ["Line Item", "Qty"]
    assert item_columns("lineItems", refunds, ["Refund No", "product_id", "Qty"]) == []


def test_a_preview_prints_the_advice_and_a_map_that_loads_what_it_showed() -> None:
    lines = [
        schema("Gutschriften", "Belegnummer", Datum={}, Positionen={}),
        record("Gutschriften", Belegnummer=1, Datum=WHEN, Positionen='[{"Positionsnummer": 10, "Menge": 1}]'),
        record("Gutschriften", Belegnummer=2, Datum=WHEN, Positionen="[]"),
        schema("Versandkosten", "Auftragsnr", Versandkosten={}),
        record("Versandkosten", Auftragsnr="A-1", Versandkosten="4,90"),
    ]
    out = preview(lines)
    maps = proposed(out)

    assert "`str(Versandkosten).replace(',', '.')` reads it" in out
    (dropped,) = (line for line in out.splitlines() if "leave the filter out" in line)  # costs have no filter
    assert (
        "`__filter__` below drops refunds with an empty list, which would cancel them at Klar. If that is what"
        in dropped
    )
    maps["Versandkosten"]["totalLogisticsCosts"] = "str(Versandkosten).replace(',', '.')"
    with Sandbox() as klar:
        ended = run(klar, [*lines, state(1)], stream_maps=maps)

        assert (ended.code, ended.errors, ended.states) == (0, [], [1])
        assert klar.held("refunds")["1"]["lineItems"] == [{"lineItemId": "10", "refundedQuantity": 1}]
        assert "2" not in klar.held("refunds")
        assert klar.held("logistics_costs")["A-1"]["totalLogisticsCosts"] == Decimal("4.90")


_NAMES = st.sampled_from(
    [
        *("id", "nr", "Belegnummer", "created", "created_at", "date_gmt", "Datum", "order", "order_id", "Auftragsnr"),
        *("positions", "items", "line_items", "lines", "lineItem", "line_item_id", "qty", "quantity", "edges", "node"),
        *("fee", "amount", "fee_cents", "EK", "sku", "json", "class", "line", "self", "config", "_sdc_deleted_at"),
    ]
) | st.text(max_size=12)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([WHEN, "2026-05-04 09:30:00", "04.05.2026", "4,90", "1.10", "-1", "[]", "{}", "[{}]", "null"])
    | st.just('[{"line_item_id": 1, "qty": 1}]'),
    lambda held: (
        st.lists(held, max_size=3)
        | st.dictionaries(_NAMES, held, max_size=4)
        | st.lists(st.fixed_dictionaries({"line_item_id": st.integers(), "qty": st.integers(-1, 3)}), max_size=2)
        | st.builds(lambda items: {"edges": [{"node": item} for item in items]}, st.lists(held, max_size=2))
        | st.builds(lambda items: {"nodes": items}, st.lists(held, max_size=2))
    ),
    max_leaves=12,
)


@settings(max_examples=size(60, 1000), deadline=None)
@given(
    contract=st.sampled_from(list(CONTRACTS.values())),
    records=st.lists(st.dictionaries(_NAMES, _VALUES, max_size=6), max_size=3),
)
def test_whatever_records_hold_a_run_accepts_the_map_and_what_it_makes_converts(
    contract: Contract, records: list[dict[str, Any]]
) -> None:
    columns = columns_of(contract.stream, records)
    made, advice = map_for("a stream", contract, columns)
    conformer = Conformer(contract)

    assert list(map_mistakes({"a stream": made})) == []
    assert all(len(told.splitlines()) == 1 for told in advice)
    for each in records:
        result = _mapped(made, each)
        if result is None or conformer.is_deleted(each):
            continue
        # A column without a value makes none; whatever there is can be sent.
        assert isinstance(result, dict), result
        values = {field: result[field] for field in made if field in result and result[field] not in (None, "", [], {})}
        outcome = conformer.conform(values)
        problems = outcome.problems if isinstance(outcome, Rejection) else []
        assert [problem for problem in problems if "is required" not in str(problem)] == []


def test_the_small_cases_of_taps_and_files_are_previewed_without_a_guess() -> None:
    woo = {
        "id": 726,
        "date_created": "2026-05-04T09:30:00",
        "date_created_gmt": "2026-05-04T07:30:00",
        "line_items": [
            {"id": 315, "product_id": 93, "quantity": -1, "meta_data": [{"key": "_refunded_item_id", "value": "312"}]}
        ],
    }
    stripe = {"id": "txn_1", "amount": 5998, "created": 1777887000, "currency": "eur", "fee": 199, "net": 5799}

    assert suggested("refunds", woo, {**woo, "id": 727, "line_items": []}) == {
        "createdAt": "date_created_gmt",
        "__filter__": "bool(line_items)",
    }
    out = preview([schema("balance_transactions"), record("balance_transactions", **stripe)])
    assert "No column looks like it." in out
    assert "`fee` may be `transactionCosts`, and looks like minor units (199 for 1.99)." in out
    assert proposed(out) == {"balance_transactions": {"__alias__": "transaction_costs"}}
