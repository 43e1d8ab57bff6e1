"""`--preview`: a tap's first records, what Klar would get of them, and a stream map that works as it is printed."""

from __future__ import annotations

import json
import os
import pty
import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from forked import Forked, run
from hypothesis import given, settings
from hypothesis import strategies as st
from invocation import invoke, redirected
from messages import COSTS_SCHEMA, ORDERS_SCHEMA, REFUNDS_SCHEMA, record, refund_record, schema, state
from previewed import preview, proposed
from program import variables
from thoroughness import size

from target_klar.contract.streams import CONTRACTS
from target_klar.preview.values import shown
from target_klar.sandbox import Sandbox

REST = [
    schema("order_refunds", order_id={}, created_at={}, note={}, refund_line_items={}),
    record(
        "order_refunds",
        id=509562969,
        order_id=450789469,
        created_at="2026-05-04T09:30:00-04:00",
        note="it broke",
        refund_line_items=[{"id": 104689539, "line_item_id": 703073504, "quantity": 2, "subtotal": 195.66}],
    ),
    record("order_refunds", id=2, order_id=3, created_at="2026-05-04T09:30:00-04:00", refund_line_items=[]),
    state(1),
]
MARIA = [
    schema("shop-refunds", created_at={}, positions={}),
    record(
        "shop-refunds",
        id=1,
        created_at="2026-05-04 09:30:00",
        positions='[{"id": 1, "order_line_id": 101, "refunded_qty": 2}]',
    ),
    schema("shop-order_fees", "order_id", fee_total={}, updated={}),
    record("shop-order_fees", order_id=1001, fee_total=1.10, updated="2026-05-04 09:30:00"),
]
CSV = [
    schema("refund lines", "Refund No"),
    record("refund lines", **{"Refund No": "R1", "Created Date": "2026-05-04", "Line Item": "101", "Qty": "2"}),
]
LOG = [
    schema("public-refunds", created_at={}, refund_lines={}, _sdc_deleted_at={}),
    record(
        "public-refunds",
        id=1,
        created_at="2026-05-04T09:30:00+00:00",
        refund_lines=[{"line_item_id": 1, "quantity": 1}],
        _sdc_deleted_at=None,
    ),
    record("public-refunds", id=2, _sdc_deleted_at="2026-05-05T09:30:00+00:00"),
]


def table(out: str) -> dict[str, list[str]]:
    """The cells of its last table, by column."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines() if line.startswith("|")]
    return {name: cells for name, *cells in rows}


def test_it_shows_column_by_column_what_came_what_klar_gets_and_what_is_wrong() -> None:
    out = preview(REST)
    rows = table(out)

    assert rows["column"] == ["record 1", "Klar gets", "record 2", "dropped by `__filter__`"]  # not cancelled
    assert rows["id"] == ["509562969", "id 509562969", "2", ""]
    assert rows["created_at"][:2] == ["2026-05-04T09:30:00-04:00", "createdAt 1777901400 (2026-05-04 13:30:00 UTC)"]
    assert rows["note"] == ["text, 8 characters", "omitted", "", ""]
    assert rows["lineItems"][1].startswith("lineItems [{id: 104689539, lineItemId: 703073504, refundedQuantity: 2}")
    assert "Its name and its columns suggest `refunds`." in out
    assert "Klar wants `lineItems`" in out
    assert "It may be refund_line_items." in out
    assert "With it: 0 of 2 would be rejected" in out


@pytest.mark.parametrize(("bad", "settings"), [(3, {}), (17, {"batch_size_rows": 5}), (40, {"rejects_limit": 2})])
def test_every_record_is_judged_and_the_reasons_are_counted(bad: int, settings: dict[str, Any]) -> None:
    wrong = [refund_record(f"B-{n}", "1,5" if n % 3 else None) for n in range(bad)]
    out = preview([REFUNDS_SCHEMA, *(refund_record(f"G-{n}") for n in range(50)), *wrong], **settings)
    empty = len([n for n in range(bad) if not n % 3])
    reason = "x lineItems[].refundedQuantity must be a number"

    assert f"{bad} of {50 + bad} would be rejected: {bad} {reason} (such as B-0, found null)" in out
    assert f"refunds: {50 + bad} read, 50 valid, {bad} rejected" in out
    assert empty < bad


def test_the_settings_of_the_load_hold_in_its_preview() -> None:
    bundled = {"id": "b", "quantity": 1}
    line = {"id": "a", "quantity": 1, "bundledProducts": [bundled], "taxes": [{"taxRate": 19}], "gift": 1}
    lines = [ORDERS_SCHEMA, record("orders", id="1", createdAt=1777887000, lineItems=[line]), COSTS_SCHEMA]
    lines += [record("transaction_costs", orderId="1", transactionCosts="1,10")]
    known = {"orders_api_version": "07.2025"}

    assert "1 of 1 would be rejected: 1 x lineItems[].bundledProducts is known to Klar from version 07" in preview(
        lines
    )
    assert "a tax rate above 1" in preview(lines, **known)
    assert "were omitted: lineItems[].gift" in preview(lines, **known)
    assert "omitted" not in preview(lines, extra_fields=["gift"], **known)
    assert "transaction_costs: 1 read, 1 valid" in preview(lines, validate_records=False)
    deleted = [REFUNDS_SCHEMA, record("refunds", id="1", _sdc_deleted_at="2026-05-05T00:00:00Z")]
    assert "1 of 1 would be skipped: deleted at the source" in preview(deleted)
    assert "refunds: 1 read, 1 valid, 1 cancelled" in preview(deleted, hard_delete=True)


def test_it_sends_nothing_and_writes_no_file_and_no_state(klar: Sandbox, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    ended = run(
        klar,
        [REFUNDS_SCHEMA, refund_record("1"), refund_record("2", None), state(1)],
        "--preview",
        rejects_path=str(rejects),
    )

    assert (ended.code, klar.requests, [*tmp_path.iterdir()]) == (0, [], [])
    assert "1 of 2 would be rejected" in ended.out
    assert '"page"' not in ended.out


def test_it_says_what_the_columns_of_lines_lose_and_which_keys_repeat() -> None:
    line = {"line_item_id": "1", "refunded_quantity": 1, "discount": 2}
    again = [record("refunds", id="1", created_at=1777887000, line_items=[line | {"line_item_id": n}]) for n in "12"]
    out = preview([REFUNDS_SCHEMA, *again])

    omitted = "refunds: fields that Klar does not know were omitted: lineItems[].discount"
    assert (
        f"{omitted}. Ignore this, map them to Klar's fields, or list them in `extra_fields`, by name alone (disc" in out
    )
    assert "were omitted" not in preview([REFUNDS_SCHEMA, *again], extra_fields=["discount"])
    assert "1 key (id) came again with other lineItems" in out


def test_it_says_what_it_did_not_reach() -> None:
    batch = {"type": "BATCH", "stream": "refunds", "encoding": {"format": "jsonl"}, "manifest": ["file:///nowhere"]}
    lines = [REFUNDS_SCHEMA, COSTS_SCHEMA, batch, *(refund_record(str(n)) for n in range(9_998))]
    out = preview(lines, stream_maps={"fees": {"__alias__": "transaction_costs"}})

    assert "0 of 9,997 would be rejected" in out
    assert "The input goes on: the preview read 10,000 lines from its beginning." in out
    assert "transaction_costs: no RECORD message came" in out
    assert "The files of 1 BATCH message of refunds were not read." in out
    assert "`stream_maps` has maps for streams that did not come: fees." in out
    assert "The input goes on" not in preview(lines[:10_000])


def test_one_of_a_thing_is_in_the_singular() -> None:
    out = preview([REFUNDS_SCHEMA, refund_record("1")], stream_maps={"refunds": {"__filter__": "id == '2'"}})
    bad = dict.fromkeys(("createdAt", "updatedAt", "processedAt", "closedAt", "cancelledAt"), "x")
    more = preview([ORDERS_SCHEMA, record("orders", id="1", lineItems="x", **bad)])

    assert re.findall(r"\b1 (?!of)\w+s\b.*|one records|1 more reasons.*", out + more) == []
    assert "; 1 more reason\n" in more
    assert "dropped 1 record, so" in out


def test_where_a_load_stops_it_stops_too_and_shows_what_comes_before(klar: Sandbox) -> None:
    lines = [REFUNDS_SCHEMA, refund_record("1"), "{", refund_record("2")]
    shown, loaded = run(None, lines, "--preview"), run(klar, lines)
    maps = {"returns": {"__alias__": "refunds", "lineItems": "record.get('lines') or []"}}
    renamed = [schema("returns"), record("returns", id=1, createdAt=1777887000, rows=[]), state(1)]
    stopped, missing = run(None, renamed, "--preview", stream_maps=maps), run(klar, renamed, stream_maps=maps)

    assert (shown.code, stopped.code) == (1, 1)
    assert loaded.errors[0].startswith(shown.errors[0])
    assert "refunds: 1 record\n" in shown.out
    assert "refunds: 1 read, 1 valid" in shown.out
    assert missing.errors[0].startswith(stopped.errors[0])
    assert "reads `lines` for `lineItems`" in stopped.errors[0]
    assert klar.count("refunds") == 1


def test_one_stream_of_a_tap_that_becomes_two_of_klars_is_shown_as_both() -> None:
    maps = {
        "refunds": {"__source__": "returns", "lineItems": "[]"},
        "transaction_costs": {"__source__": "returns", "orderId": "id", "transactionCosts": "fee"},
    }
    out = preview([schema("returns"), record("returns", id=7, createdAt=1777887000, fee="x")], stream_maps=maps)

    assert "returns: 1 record that becomes refunds and transaction_costs" in out
    assert "refunds: 0 of 1 would be rejected" in out
    assert "transaction_costs: 1 of 1 would be rejected: 1 x transactionCosts must be a number (such as 7" in out
    assert re.search(r"\|fee +\| text, 1 character +\| used by the map", out)
    assert "A stream map to begin with" not in out


def test_plain_json_lines_are_previewed_with_their_streams_name() -> None:
    lines = ['{"order_id": 1001, "transaction_costs": "1.4500"}', "", '{"order_id": 1002, "transaction_costs": "x"}']
    ended = run(None, lines, "--preview", "--stream", "transaction_costs")
    assert ended.code == 0, ended.err
    assert table(ended.out)["transaction_costs"][:2] == ["1.4500", "transactionCosts 1.4500"]
    assert "1 of 2 would be rejected: 1 x transactionCosts must be a number (such as 1002, found text" in ended.out

    named = run(None, ['{"Auftragsnr": "A-1", "Gebühr": 1.1}'], "--preview", "--stream", "Gebühren")
    assert proposed(named.out) == {
        "Gebühren": {"__alias__": "transaction_costs", "orderId": "Auftragsnr", "transactionCosts": "record['Gebühr']"}
    }
    assert "With it: 0 of 1 would be rejected" in named.out
    for options in ([], ["--stream", "Gebühren"]):
        csv = run(None, ["Datum;Gebühr", "1;2"], "--preview", *options)
        assert (csv.code, csv.out) == (1, "")
        assert "It looks like CSV" in csv.errors[0]
    singer = run(None, [COSTS_SCHEMA], "--preview", "--stream", "Gebühren")
    assert (singer.code, singer.out) == (1, "")
    assert "a Singer message: under `--stream` each line has to be a record" in singer.errors[0]


@pytest.mark.parametrize(
    ("lines", "arrives"),
    [
        (
            REST,
            {"refunds": {"509562969": [{"id": "104689539", "lineItemId": "703073504", "refundedQuantity": 2}]}},
        ),
        (
            MARIA,
            {
                "refunds": {"1": [{"id": "1", "lineItemId": "101", "refundedQuantity": 2}]},
                "transaction_costs": {"1001": None},
            },
        ),
        (LOG, {"refunds": {"1": [{"lineItemId": "1", "refundedQuantity": 1}]}}),
    ],
    ids=["Shopify's REST", "MariaDB", "log-based"],
)
def test_the_map_that_it_prints_loads_what_is_there(lines: list[Any], arrives: dict[str, Any]) -> None:
    with Sandbox() as klar:
        ended = run(klar, [*lines, state(1)], stream_maps=proposed(preview(lines)))

        assert (ended.code, ended.errors, ended.states) == (0, [], [1])
        held = {stream: klar.held(stream) for stream in CONTRACTS if klar.count(stream)}
        assert {
            stream: {key: sent.get("lineItems") for key, sent in objects.items()} for stream, objects in held.items()
        } == arrives


def requested(count: int, **columns: Any) -> list[Any]:
    """Returns that were asked for, and then one that was paid."""
    lines = [{"id": 7, "shop_line_item_id": 71, "quantity": 2, "refund": {"amount": "9.90"}}]
    rows = [{"status": "requested", "paid_at": None}] * count + [{"status": "paid", "paid_at": "2026-05-04T09:30:00Z"}]
    records = [record("returns", id=at, parts=lines, **row, **columns) for at, row in enumerate(rows, 1)]
    return [schema("returns", parts={}, status={}, paid_at={}), *records, state(1)]


PAID = {
    "id": "id",
    "__alias__": "refunds",
    "__filter__": "status == 'paid'",
    "createdAt": "paid_at",
    "lineItems": "[{'lineItemId': line['shop_line_item_id'], 'refundedQuantity': line['quantity']} for line in parts]",
}


def test_with_a_filter_it_shows_the_first_record_that_is_dropped_and_the_first_that_passes() -> None:
    for lines, shown_ones in (
        (requested(14), ["record 1", "dropped by `__filter__`", "record 15", "Klar gets"]),
        (requested(0), ["record 1", "Klar gets"]),
        ([requested(0)[0], *requested(0)[1:2] * 2, *requested(1)[1:2]], ["record 1", "Klar gets", "record 3"]),
        (requested(2)[:3], ["record 1", "dropped by `__filter__`", "record 2", "dropped by `__filter__`"]),
    ):
        rows = table(preview(lines, stream_maps={"returns": PAID}))
        assert rows["column"][: len(shown_ones)] == shown_ones


@pytest.mark.parametrize(
    ("expression", "left"),
    [
        (PAID["lineItems"], "without id, refund"),
        ("[line for line in parts if line['quantity']]", ""),  # Klar's contract then says what is omitted
        ("parts", ""),
        ("json.dumps(parts)", ""),
        ("[{'lineItemId': line.get('id'), 'refundedQuantity': line.quantity} for line in parts or [] if line]",
         "without shop_line_item_id, refund"),
        ("[{'lineItemId': parts[0]['id'], 'refundedQuantity': 1}] if parts else []",
         "without shop_line_item_id, quantity, refund"),
        ("[{'lineItemId': line.id, 'refundedQuantity': 1} for line in record.parts]",
         "without shop_line_item_id, quantity, refund"),
        ("[{'lineItemId': str(line.items()), 'refundedQuantity': 1} for line in record['parts']]", ""),
        ("[{'lineItemId': each, 'refundedQuantity': 1} for line in record.get('parts') for each in line]", ""),
    ],
)  # fmt: skip
def test_it_names_the_members_of_lines_that_the_map_does_not_read(expression: str, left: str) -> None:
    maps = {"returns": PAID | {"lineItems": expression, "__else__": None}}
    rows = table(preview(requested(1), stream_maps=maps))

    assert rows["parts"][1].removeprefix("used by the map").removeprefix(", ") == left


def test_a_load_names_what_the_lines_that_a_map_makes_have_and_klar_does_not_know(klar: Sandbox) -> None:
    more = PAID["lineItems"].replace("}", ", 'amount': line['refund']['amount'], 'more': {'a': 1}}")
    for closed in ({}, {"__else__": None}):
        ended = run(klar, requested(1), stream_maps={"returns": PAID | {"lineItems": more} | closed})

        assert ended.code == 0
        assert ended.said("were omitted: lineItems[].amount, lineItems[].more.")


def test_it_counts_the_kinds_of_a_column_and_shows_no_word_of_it() -> None:
    names = [{"status": word, "note": f"text {word}"} for word in ("asked", "Annabell", "refused")] * 5
    rows = [record("refunds", id=str(at), createdAt=1777887000, lineItems=[], **row) for at, row in enumerate(names)]
    out = preview([REFUNDS_SCHEMA, *rows])

    assert "Columns of few different values: status (3), note (3). If not all records belong at Klar, choose" in out
    assert "what was loaded and is cancelled later has to come with `lineItems: []`" in out
    assert "Annabell" not in out
    chosen = {"refunds": {"__filter__": "status != 'asked'"}}
    read = {"refunds": {"lineItems": "[] if status == note else []"}}
    for lines, maps in (
        ([REFUNDS_SCHEMA, *rows], chosen),
        ([REFUNDS_SCHEMA, *rows], read),
        ([REFUNDS_SCHEMA, *rows[:9]], {}),
    ):
        assert "few different values" not in preview(lines, stream_maps=maps)


@pytest.mark.parametrize(
    "values", [["1", "2"], ["2026-05-04", "2026-05-05"], [True, False], ["same"], ["true", "false"]]
)
def test_numbers_times_and_booleans_are_no_kinds(values: list[object]) -> None:
    rows = [
        record("refunds", id=str(at), createdAt=1777887000, lineItems=[], it=values[at % len(values)])
        for at in range(20)
    ]
    assert "few different values" not in preview([REFUNDS_SCHEMA, *rows])


def test_a_record_that_is_one_line_of_many_is_told_apart() -> None:
    out = preview(CSV)

    assert "With Line Item and Qty a record looks like one of the lineItems." in out
    assert proposed(out) == {
        "refund lines": {"__alias__": "refunds", "id": "record['Refund No']", "createdAt": "record['Created Date']"}
    }


def test_with_a_map_it_shows_the_result_of_the_map_and_proposes_none() -> None:
    maps = {"order_refunds": {"__alias__": "refunds", "__filter__": "note", "lineItems": "refund_line_items"}}
    out = preview(REST, stream_maps=maps)

    assert re.search(r"refund_line_items .*\| used by the map", out)
    assert "2 of 2 would be rejected" in out
    assert "1 x lineItems[].refundedQuantity is required (such as 509562969)" in out
    assert (
        "1 x __filter__ could not be mapped by `note` "
        "(the record has no note, only id, order_id, created_at, refund_line_items) (such as 2)" in out
    )
    assert "A stream map to begin with" not in out
    assert "A stream map drops this stream." in preview(REST, stream_maps={"order_refunds": "__NULL__"})


def test_a_stream_that_has_been_named_and_nothing_else_gets_the_rest_of_its_map() -> None:
    lines = [schema("gebuehren"), record("gebuehren", order_id=1, fee="1.10")]

    named = {"gebuehren": {"__alias__": "transaction_costs"}}
    assert proposed(preview(lines, stream_maps=named)) == {
        "gebuehren": {"__alias__": "transaction_costs", "transactionCosts": "fee"}
    }


def test_a_stream_that_is_like_none_of_klars_is_shown_all_the_same_and_stops_no_other() -> None:
    out = preview([schema("visits"), record("visits", id=1, page="/shoes"), REFUNDS_SCHEMA, refund_record("1")])

    assert "Nothing in its name or its columns suggests one." in out
    assert re.search(r"\|page +\| text, 6 characters", out)
    assert "refunds: 1 read, 1 valid" in out
    assert '{"stream_maps": {"visits": "__NULL__"}}' in out


CUSTOMER = {"id": 77, "first_name": "Anna", "last_name": "Muster", "email": "anna@customer.example"}
ADDRESS = {
    "name": "Anna Muster",
    "street": "Hauptstr.",
    "house_number": "5b",
    "zip": "10115",
    "city": "Berlin",
    "phone": "+49 171 5550123",
}
ON_ONE_LINE = "Anna Muster, Hauptstr. 5b, 10115 Berlin, anna@customer.example, 0171-5550123"
OF_THE_CUSTOMER = ["Anna", "Muster", "Hauptstr", "5b", "10115", "Berlin", "customer.example", "0171", "5550123"]
"""Parts of each value that says who or where the customer is."""


@pytest.mark.parametrize("spoiled", [False, True], ids=["right", "rejected"])
@pytest.mark.parametrize("stream", ["orders", "shop_orders"], ids=["Klar's stream", "a stream of the tap's"])
def test_no_name_postal_address_mail_or_phone_of_a_customer_is_printed(stream: str, *, spoiled: bool) -> None:
    """Each of them as a column, in an object, in JSON as text, in a list of lines and in the middle of a text."""
    order = record(
        stream,
        id="A-1001",
        created_at="10115" if spoiled else "2026-05-04T09:30:00Z",
        line_items=[
            {"id": "L-1", "quantity": "0171-5550123" if spoiled else 2, "shipped_to": ADDRESS, "note": ON_ONE_LINE}
        ],
        customer=CUSTOMER,
        shipping_address=ADDRESS,
        billing_address=json.dumps(ADDRESS),
        customer_name="Anna Muster",
        street="Hauptstr. 5b",
        postal_code="10115",
        zip_or_postal_code=10115,
        city="Berlin",
        email="anna@customer.example",
        phone="+49 171 5550123",
        note=ON_ONE_LINE,
    )
    ended = invoke("--preview", lines=[schema(stream), order, order, state(1)])
    printed = ended.out + ended.err

    assert ended.code == 0, ended.err
    assert [text for text in OF_THE_CUSTOMER if text in printed] == []
    assert "A-1001" in printed, "what is no customer's is shown"
    for column in (
        "customer",
        "shipping_address",
        "billing_address",
        "street",
        "postal_code",
        "city",
        "email",
        "phone",
    ):
        assert f"|{column} " in ended.out, "each column is shown, by its name"
    assert f"{2 * spoiled} of 2 would be rejected" in ended.out


@pytest.mark.parametrize(
    ("column", "value", "cell"),
    [
        ("name", "Anna", "text, 4 characters"),
        ("reasonDescriptor", "Anna", "text, 4 characters"),
        ("phone_number", "01711234567", "text, 11 characters"),
        ("phone", "0171-1234567", "text, 12 characters"),
        ("Hausnummer", "12345", "text, 5 characters"),
        ("zip_or_postal_code", 10115, "a number"),
        ("customer_id", "anna@customer.example", "text, 21 characters"),
        ("order_id", "Anna Muster", "text, 11 characters"),
        ("order_id", "A-1001", "A-1001"),
        ("Auftragsnr", "A-1001", "A-1001"),
        ("sku", "S1", "S1"),
        ("amount", "-10.00", "-10.00"),
        ("Betrag", "4,90", "4,90"),
        ("Qty", "2", "2"),
        ("Datum", "04.05.2026", "04.05.2026"),
        ("paid", "true", "true"),
        ("paid", False, "false"),
        ("note", "", "empty text"),
        ("note", None, "null"),
        ("created_at", 1777887000, "1777887000 (2026-05-04 09:30:00 UTC)"),
        ("rows", [{"name": "Anna", "n": 1}], "[{name: text, 4 characters, n: 1}]"),
        ("rows", {"anna@customer.example": 1}, "{text, 21 characters: 1}"),
        ("rows", '[{"name": "Anna", "id": "x"}]', "[{name: text, 4 characters, id: x}]"),
    ],
)
def test_of_text_only_numbers_times_booleans_and_ids_are_shown(column: str, value: object, cell: str) -> None:
    assert shown(value, column) == cell


def test_what_is_wrong_with_a_record_shows_no_text_of_it() -> None:
    out = preview([REFUNDS_SCHEMA, record("refunds", id="Anna Muster", createdAt='Anna "A" Muster', lineItems="Anna")])

    assert "Anna" not in out
    assert (
        "createdAt must be a time, as Unix seconds or as a date (such as text, 11 characters, found text of 15 "
        "characters)"
    ) in out


def test_advice_stands_behind_the_bracket_of_the_example_and_every_bracket_closes() -> None:
    line = {"id": "a", "quantity": 1, "bundledProducts": [{"id": "b", "quantity": 1}]}
    order = record("orders", id="1", createdAt=1777887000, lineItems=[line])
    cost = record("cogs", orderId="null", sku="S1", productCogs=1)
    out = preview([REFUNDS_SCHEMA, refund_record("R-1", -1), ORDERS_SCHEMA, order, schema("cogs", "sku"), cost])

    negated = (
        "if the source writes all of them negative, as WooCommerce does, negate them in a stream map (`-quantity`)"
    )
    assert f"0 or more [negative_quantity] (such as R-1, found number -1); {negated}\n" in out
    assert re.search(rf"0 or more \[negative_quantity\], found number -1; {re.escape(negated)} *\|", out)
    assert "from version 07.2025 on (such as 1); set `orders_api_version`\n" in out
    assert re.search(
        r'must not be "null" \[placeholder_key\] \(such as [^()]*\); records with it would .* column\n', out
    )
    cells = [cell for printed in out.splitlines() for cell in printed.split("|")]
    assert [cell for cell in cells if cell.count("(") != cell.count(")")] == []


def test_on_a_terminal_the_table_fits_its_80_columns(tmp_path: Path) -> None:
    file = tmp_path / "input.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in REST))
    ours, theirs = pty.openpty()
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        process = Forked(
            ("--preview", "--input", str(file)),
            variables({}) | {"COLUMNS": "80", "TERM": "xterm"},
            theirs,
            nowhere.fileno(),
        )
    os.close(theirs)
    process.stdin.close()
    printed = b""
    try:
        while chunk := os.read(ours, 4096):
            printed += chunk
    except OSError:  # its end, on Linux
        pass
    assert process.wait(30) == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed.decode())
    printed_lines = [line.rstrip() for line in plain.splitlines() if not line.startswith("    ")]

    assert max(map(len, printed_lines)) <= 80
    assert len([line for line in printed_lines if line.startswith(" id ")]) == 2  # one below the other
    assert "(2026-05-04 13:30:00 UTC)" in " ".join(plain.split()).replace("UTC )", "UTC)")


def test_what_is_no_singer_stream_is_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    nothing = invoke("--preview", "--input", str(empty))
    broken = run(None, ["not json"], "--preview")

    assert (nothing.code, nothing.out) == (1, "")
    assert "The input has no stream, so there is nothing to show. Check the tap." in nothing.errors
    assert broken.code == 1
    assert re.match(r"Line 1 of the input: not valid JSON \(after byte \d: .*\)\. It has 8 bytes;", broken.errors[0])


def test_without_stdin_it_says_what_to_do() -> None:
    ended = redirected("<&-", "--preview")

    assert (ended.code, "Traceback" in ended.err) == (1, False)
    assert ended.errors == ["No input: stdin is closed. Pipe a tap into target-klar, or name a file with `--input`."]


def test_what_a_terminal_would_obey_and_half_a_surrogate_pair_are_written_out() -> None:
    odd = {"line \x1b[2J items": [{"id": 1}], "createdAt": "\ud800"}
    out = preview([schema("re\ud800funds"), record("re\ud800funds", id=1, **odd)])

    assert "\x1b" not in out
    assert "\\ud800" in out


PERSONS = ("Anna Muster", "anna@customer.example", "+49 171 1234567", "01711234567", "Hauptstr. 5, 10115 Berlin")
_TEXTS = st.sampled_from(PERSONS)
_WHEN = st.sampled_from(
    ["2026-05-04T09:30:00Z", "2026-05-04 09:30:00", "04.05.2026", 1777887000, 1777887000000, None, ""]
)
_IDS = st.integers(1, 5) | st.sampled_from(["A-1", "7", "", None, 1.5])
_NUMBERS = st.sampled_from([1, 2, -1, 0, 1.25, 199, "1.10", "4,90", "x", None])
_LINES = st.lists(
    st.fixed_dictionaries(
        {"line_item_id": _IDS, "qty": _NUMBERS}, optional={"discount": _NUMBERS, "title": _TEXTS, "created_at": _WHEN}
    ),
    max_size=2,
)
_COLUMNS = {
    **dict.fromkeys(["id", "order_id", "Auftragsnr", "sku"], _IDS),
    **dict.fromkeys(["created_at", "Datum", "updatedAt"], _WHEN),
    **dict.fromkeys(["fee", "transactionCosts", "Versandkosten", "EK"], _NUMBERS),
    **dict.fromkeys(["positions", "lineItems", "Positionen"], _LINES | _LINES.map(json.dumps) | _TEXTS),
    **dict.fromkeys(["note", "reasonDescriptor", "customer", "shipping_address", "telefon", "name", "tags"], _TEXTS),
    "shipping": st.dictionaries(st.sampled_from(["city", "phone", "title"]), _TEXTS),
    "_sdc_deleted_at": st.sampled_from([None, None, "2026-05-05T00:00:00Z", "Anna Muster"]),
}
_STREAMS = (
    "refunds",
    "transaction_costs",
    "orders",
    "returns",
    "Gebühren",
    "Versandkosten",
    "Einkaufspreise",
    "visits",
)


@st.composite
def taps(draw: st.DrawFn) -> list[Any]:
    """The lines of a tap: a few streams, the records of each in one shape with values missing here and there."""
    lines: list[Any] = []
    for stream in draw(st.lists(st.sampled_from(_STREAMS), min_size=1, max_size=3, unique=True)):
        columns = draw(st.lists(st.sampled_from([*_COLUMNS]), min_size=1, max_size=8, unique=True))
        shape = st.fixed_dictionaries({}, optional={column: _COLUMNS[column] for column in columns})
        full = st.fixed_dictionaries({column: _COLUMNS[column] for column in columns})
        records = draw(st.lists(full | full | shape, max_size=6))
        lines += [schema(stream, columns[0], **{column: {} for column in columns})]
        lines += [record(stream, **each) for each in records]
    return lines


def counts(summary: str, *, valid: str) -> dict[str, dict[str, int]]:
    """What became of the records by Klar's stream, as the last lines of summary say; those accepted are `valid`."""
    found: dict[str, dict[str, int]] = {}
    for stream, told in re.findall(rf"(?:^|[ |])({'|'.join(CONTRACTS)}): (\d+ read, .*)", summary):
        figures = {name: int(number) for number, name in re.findall(r"(\d+) ([a-z]+)", told)}
        names = ("read", valid, "merged", "deleted", "filtered", "rejected", "cancelled")
        found[stream] = {name.replace(valid, "accepted"): figures[name] for name in names if figures.get(name)}
    return {stream: figures for stream, figures in found.items() if figures}


@settings(max_examples=size(8, 400), deadline=None)
@given(
    lines=taps(), options=st.fixed_dictionaries({"hard_delete": st.booleans(), "batch_size_rows": st.integers(1, 9)})
)
def test_whatever_a_tap_writes_the_maps_that_are_printed_load_to_what_was_shown(
    lines: list[Any], options: dict[str, Any]
) -> None:
    shown = run(None, lines, "--preview", **options)
    assert shown.code == 0, shown.err
    assert [text for text in PERSONS if text in shown.out + shown.err] == []

    maps = proposed(shown.out)
    streams = {each["stream"] for each in lines}
    dropped = dict.fromkeys(streams.difference(CONTRACTS, maps), "__NULL__")
    with Sandbox() as klar, TemporaryDirectory() as folder:
        rejects = Path(folder) / "rejects.jsonl"
        loaded = run(klar, lines, rejects_path=str(rejects), rejects_limit=1000, stream_maps=maps | dropped, **options)
        assert loaded.code == 0, loaded.err
        arrived = {stream for stream in CONTRACTS if klar.count(stream)}
        rejected = [json.loads(line) for line in rejects.read_text().splitlines()]

    expected = counts(shown.out, valid="valid")
    assert counts(loaded.err, valid="stored") == expected
    assert arrived == {stream for stream, each in expected.items() if "accepted" in each}
    totals = shown.out.partition("\nIn all, of ")[2].splitlines()[1:]
    assert [each for each in totals if " read, " not in each and each.strip() not in loaded.err] == []
    said = {}
    for section in shown.out.split("\n\n"):
        name = section.partition(":")[0]
        for number in re.findall(r"^  (?:With it: )?([\d,]+) of [\d,]+ would be rejected", section, re.MULTILINE):
            said[name] = int(number)  # the last word is that of the map
    # In the file a bad record that comes twice is once, and one that a newer version or a deletion followed is not.
    # One that was accepted may stand behind one that it is perhaps a newer version of.
    found = Counter(each["stream"] for each in rejected if each.get("errors"))
    assert set(found) <= {name for name, number in said.items() if number}
    assert all(found[name] <= number for name, number in said.items())
