"""Records that replace each other: those that may be parts of one are counted by key, and updates are not."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from hypothesis import given, settings
from hypothesis import strategies as st
from klar_objects import REFUND_TIME, order_line
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, order_record, record, refund_record, schema, state
from nowhere import add, stream_to_nowhere
from previewed import preview
from thoroughness import size

from target_klar.contract.streams import CONTRACTS
from target_klar.delivery.batch import Entry, SourceKey
from target_klar.delivery.unaggregated import UnaggregatedRecords
from target_klar.records.json_codec import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from target_klar.sandbox import Sandbox


def told(number: str, stream: str) -> str:
    """The warning about this number of keys."""
    what = {
        "refunds": "(id) came again with other lineItems (no lineItemId in common)",
        "transaction_costs": "(orderId) came again with other transactionCosts",
    }[stream]
    return (
        f"{stream}: {number} {what}, and Klar keeps the last record of a key. If rows are parts of one, aggregate them "
        "before target-klar. Ignore this if they are updates."
    )


def lines(*ids: str, **fields: Any) -> list[dict[str, Any]]:
    """Line items with these `lineItemId`."""
    return [{"lineItemId": each, "refundedQuantity": 1, **fields} for each in ids]


def counted(batches: Iterable[Iterable[dict[str, Any]]], stream: str = "refunds") -> int:
    """The number of keys that are told after these batches of records."""
    all_of_it = stream_to_nowhere(stream)
    for records in batches:
        for each in records:
            add(all_of_it, each)
        all_of_it.flush()
    return number_of(all_of_it.unaggregated.lines())


def number_of(lines: list[str]) -> int:
    """The number of keys in the one line there is, or none."""
    return int(lines[0].partition(": ")[2].split(" ", 1)[0]) if lines else 0


# One key that comes twice: its first and second line items, and whether they may be parts.
PAIRS: dict[str, tuple[Any, Any, bool]] = {
    "another line": (lines("1"), lines("2"), True),
    "the same line, corrected": (lines("1"), lines("1", reasonDescriptor="late"), False),
    "one line more": (lines("1"), lines("1", "2"), False),
    "one line less": (lines("1", "2"), lines("2"), False),
    "the same id of the refund's own line": (lines("1", id="9"), lines("2", id="9"), True),
    "other lines with other ids": (lines("1", id="8"), lines("2", id="9"), True),
    "an id that is another's lineItemId": (lines("1", id="2"), lines("2", id="1"), True),
    "an empty id on both": (lines("1", id=""), lines("2", id=""), True),
    "a cancellation": (lines("1"), [], False),
    "a cancellation taken back": ([], lines("1"), False),
    "two cancellations": ([], [], False),
    "nothing new": (lines("1"), lines("1"), False),
    "what Klar is left to judge": (lines("1"), "none", False),
    "items that are no objects": (lines("1"), [5, None], True),
    "lines without any id": ([{"refundedQuantity": 1}], [{"refundedQuantity": 2}], True),
}


@pytest.mark.parametrize("apart", [False, True], ids=["in one batch", "in two batches"])
@pytest.mark.parametrize("name", PAIRS)
def test_refunds_of_one_key_may_be_parts_if_both_have_lines_and_share_none(name: str, *, apart: bool) -> None:
    first, second, may_be = PAIRS[name]
    records = [refund_record("a", lineItems=each)["record"] for each in (first, second)]
    assert counted([[each] for each in records] if apart else [records]) == may_be
    assert counted([[each] for each in reversed(records)] if apart else [records[::-1]]) == may_be


@pytest.mark.parametrize("apart", [False, True], ids=["in one batch", "in two batches"])
@pytest.mark.parametrize(
    ("first", "second", "may_be"), [("1.10", "1.1", False), ("1", "1.0", False), ("1", "2", True), ("0", "-1", True)]
)
def test_costs_of_one_key_may_be_parts_if_their_amounts_differ(
    first: str, second: str, *, may_be: bool, apart: bool
) -> None:
    stream = stream_to_nowhere("transaction_costs")
    for text in (first, second):
        add(stream, f'{{"orderId":"a","transactionCosts":{text}}}'.encode())
        if apart:
            stream.flush()
    stream.flush()
    assert number_of(stream.unaggregated.lines()) == may_be


# In runs of rows that are each another record of one of a few keys, an order of values, cut into batches.
rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.sets(st.sampled_from("1234"), max_size=2), st.integers(0, 4)), max_size=14
)
cuts = st.sets(st.integers(1, 13))


def expected(values: Sequence[tuple[str, Any]], stream: str) -> int:
    """How many keys came with a value that may be a part beside the one right before it: the oracle."""
    last: dict[str, Any] = {}
    keys = set()
    for key, value in values:
        before = last.get(key, value)
        if before and value and not before & value if CONTRACTS[stream].part_id else before != value:
            keys.add(key)
        last[key] = value
    return len(keys)


def test_the_number_of_keys_is_that_of_every_two_records_in_a_row_however_they_are_cut_into_batches() -> None:
    seen = {stream: set[int]() for stream in CONTRACTS}

    @settings(max_examples=size(100, 4000), deadline=None)
    @given(rows, cuts)
    def holds(drawn: list[tuple[str, set[str], int]], at: set[int]) -> None:
        for stream, contract in CONTRACTS.items():
            part_id = contract.part_id
            values: list[tuple[str, Any]] = [(key, own if part_id else amount) for key, own, amount in drawn]
            records = [
                {
                    contract.key: key,
                    contract.unaggregated: [{part_id: each} for each in sorted(value)] if part_id else value,
                }
                for key, value in values
            ]
            edges = [0, *sorted(at & set(range(len(records)))), len(records)]
            batches = [records[start:end] for start, end in pairwise(edges)]
            number = counted(batches, stream)
            assert number == expected(values, stream), stream
            seen[stream].add(number)

    holds()
    assert all({0, 1} <= numbers for numbers in seen.values()), seen


@pytest.mark.parametrize("per_batch", [1, 7, 1000])
@pytest.mark.parametrize("before", [0, 4_321, 8_500, 9_999])
def test_a_key_is_known_again_after_9999_others_wherever_the_stream_stands(per_batch: int, before: int) -> None:
    keys = [f"b{number}" for number in range(before)] + ["a"] + [f"k{number}" for number in range(9_999)]
    records = [cost_record(key, 1)["record"] for key in keys] + [cost_record("a", 2)["record"]]
    batches = [records[start : start + per_batch] for start in range(0, len(records), per_batch)]
    assert counted(batches, "transaction_costs") == 1


@pytest.mark.parametrize("others", [0, 9_999, 15_000])
def test_a_record_is_compared_with_the_last_one_of_its_key_alone_however_long_ago_another_was(others: int) -> None:
    between = [refund_record(f"k{number}")["record"] for number in range(others)]
    one, both, other = (refund_record("a", lineItems=lines(*ids))["record"] for ids in ("1", "12", "2"))
    assert counted([[one], between, [both], [other]]) == 0
    assert counted([[one], [both], between, [other], [both], [one]]) == 0


def test_what_is_remembered_is_bounded_in_keys_and_in_bytes() -> None:
    def remembered(keys: Iterable[int], padding: int) -> tuple[UnaggregatedRecords, int, int]:
        """The most keys, and the most bytes, that were known after any batch of 500."""
        unaggregated, most_keys, most_bytes = UnaggregatedRecords(CONTRACTS["transaction_costs"]), 0, 0
        batch: dict[str, Entry] = {}
        for number, key in enumerate(keys, 1):
            batch[str(key)] = entry(b'{"orderId":"%d","transactionCosts":1}%s' % (key, b" " * padding), parcel(1))
            if number % 500 == 0:
                unaggregated.compare(batch, sum(each.size for each in batch.values()))
                batch = {}
                known = [*unaggregated._newer.values(), *unaggregated._older.values()]
                most_keys = max(most_keys, len(known))
                most_bytes = max(most_bytes, sum(each.size for each in known))
        return unaggregated, most_keys, most_bytes

    assert 10_000 <= remembered(range(60_000), 0)[1] <= 20_500
    assert 8_000_000 <= remembered(range(10_000), 10_000)[2] <= 30_000_000
    again = remembered((number % 500 for number in range(20_000)), 10_000)[0]
    assert len(again._newer) == 500, "what is replaced takes no place"


def test_keys_are_counted_up_to_100_000_and_then_more_are_said_to_be_there() -> None:
    unaggregated = UnaggregatedRecords(CONTRACTS["transaction_costs"])
    for start in range(0, 101_000, 1000):
        for amount in b"12":
            names = [str(number) for number in range(start, start + 1000)]
            texts = {name: b'{"orderId":"%s","transactionCosts":%c}' % (name.encode(), amount) for name in names}
            unaggregated.compare({name: entry(text) for name, text in texts.items()}, 0)
    (line,) = unaggregated.lines()
    assert line.startswith("transaction_costs: more than 100,000 keys (orderId) came again")


# What the tap's own key tells, and times


def compared(stream: str, *records: tuple[dict[str, Any], SourceKey | None]) -> list[str]:
    """The lines about records of one key, each in a batch of its own."""
    unaggregated = UnaggregatedRecords(CONTRACTS[stream])
    for each, source_key in records:
        unaggregated.compare({"a": entry(encode(each), source_key)}, 0)
    return unaggregated.lines()


def entry(sent: bytes, source_key: SourceKey | None = None) -> Entry:
    """A record of a batch."""
    source_stream = source_key.stream if source_key else "tap"
    return Entry(1, 1, sent, source_stream, None, cancels=False, amounts=0.0, source_key=source_key)


def parcel(number: object, stream: str = "parcels") -> SourceKey:
    return SourceKey(stream, ("parcel",), (number,))


def shipping(amount: float) -> dict[str, Any]:
    return {"orderId": "a", "totalLogisticsCosts": amount}


@pytest.mark.parametrize(("first", "second"), [(4.9, 4.9), (4.9, 5.1)])
def test_records_that_the_tap_itself_tells_apart_are_parts_also_of_one_amount(first: float, second: float) -> None:
    assert compared("logistics_costs", (shipping(first), parcel(1)), (shipping(second), parcel(2))) == [
        (
            "logistics_costs: 1 key (orderId) came again with different values of the tap's own key (parcel), and Klar "
            "keeps the last record of a key. They look like parts of one: aggregate them before target-klar. Ignore "
            "this if they are updates."
        )
    ]


@pytest.mark.parametrize(("first", "second", "parts"), [(12, "12", 0), ("12.5", 12.5, 0), (12, "012", 1), (12, 13, 1)])
def test_a_key_of_the_tap_is_the_same_as_a_number_and_as_its_text(
    klar: Sandbox, first: object, second: object, parts: int
) -> None:
    rows = [record("logistics_costs", parcel=each, **shipping(4.9)) for each in (first, second)]
    head = schema("logistics_costs", key="parcel", orderId={}, totalLogisticsCosts={})
    ended = run(klar, [head, *rows], batch_size_rows=1)
    assert (ended.code, len(ended.said("They look like parts of one"))) == (0, parts)


def test_a_key_of_the_tap_that_comes_again_says_that_it_is_one_record() -> None:
    assert compared("logistics_costs", (shipping(4.9), parcel(1)), (shipping(4.9), parcel(1))) == []
    assert compared("logistics_costs", (shipping(4.9), parcel(1, "tap")), (shipping(4.9), None)) == []
    (line,) = compared("logistics_costs", (shipping(4.9), parcel(1)), (shipping(5), parcel(1)))
    assert "came again with other totalLogisticsCosts, and" in line


@pytest.mark.parametrize(
    ("first", "second", "stale"), [(9, 8, True), (8, 9, False), (9, 9, False), (None, 9, False), (9, None, False)]
)
def test_an_older_record_over_a_newer_one_is_counted(first: int | None, second: int | None, *, stale: bool) -> None:
    one, other = (
        refund_record("a", **({} if at is None else {"updatedAt": REFUND_TIME + at}), lineItems=lines(str(number)))[
            "record"
        ]
        for number, at in enumerate((first, second))
    )
    (line,) = compared("refunds", (one, None), (other, None))
    assert line == (
        "refunds: 1 key (id) came again with an older `updatedAt`, and Klar keeps the last record of a key, here the "
        "older one. Sort the source by it."
        if stale
        else told("1 key", "refunds")
    )


# Two source streams


def from_two(number: str, example: str, first: str, then: str, stream: str = "orders", name: str = "id") -> str:
    """The warning about keys that two source streams have."""
    return (
        f"{stream}: {number} ({name}) came again from another source stream, such as {example} of {first} and then of "
        f"{then}, and Klar keeps the last record of a key. If they are of different shops, tell their ids apart by a "
        "prefix in a stream map, the same one for all data of a shop, or load each shop into a data source of its own. "
        "If they are parts of one, aggregate them before target-klar. Ignore this if they are updates."
    )


def shop(name: str, kind: str = "orders", *, created: int = 0, **fields: Any) -> list[dict[str, Any]]:
    """The SCHEMA and five records of a shop whose ids count from 1."""
    make: Any = {"orders": order_record, "refunds": refund_record}[kind]
    made = [make(str(number))["record"] for number in range(1, 6)]
    if kind == "orders":
        amounts = {"totalAmountBeforeTaxesAndDiscounts": 7.0, "totalAmountAfterTaxesAndDiscounts": 4.71}
        made = [each | {"currencyCodeIso3Letter": "EUR", "lineItems": [order_line(**amounts)]} for each in made]
    times = [{"createdAt": REFUND_TIME + created + number} for number in range(5)]
    source = f"shop_{name}-{kind}"
    return [schema(source), *(record(source, **(each | at | fields)) for each, at in zip(made, times, strict=True))]


def gathered(kind: str) -> dict[str, Any]:
    return {f"shop_*-{kind}": {"__alias__": kind}}


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
@pytest.mark.parametrize("kind", ["orders", "refunds"])
def test_two_shops_that_both_count_from_1_are_warned_of_once(klar: Sandbox, kind: str, batch_size: int) -> None:
    both = [*shop("de", kind), *shop("at", kind, created=500), state(1)]
    ended = run(klar, both, stream_maps=gathered(kind), batch_size_rows=batch_size)
    assert (ended.code, ended.states, len(klar.held(kind))) == (0, [1], 5)
    assert ended.warnings == [from_two("5 keys", "1", f"shop_de-{kind}", f"shop_at-{kind}", kind)]


def test_a_dry_run_and_a_preview_tell_two_shops_too(klar: Sandbox) -> None:
    both = [*shop("de"), *shop("at", created=500)]
    expected = from_two("5 keys", "1", "shop_de-orders", "shop_at-orders")
    assert run(klar, both, stream_maps=gathered("orders"), validate_only=True).warnings == [expected]
    assert f"  {expected}" in preview(both, stream_maps=gathered("orders")).splitlines()


def test_two_shops_whose_ids_a_map_tells_apart_are_not_warned_of(klar: Sandbox) -> None:
    maps = {f"shop_{name}-orders": {"__alias__": "orders", "id": f"'{name}-' + id"} for name in ("de", "at")}
    ended = run(klar, [*shop("de"), *shop("at", created=500)], stream_maps=maps)
    assert (ended.code, len(klar.orders), ended.warnings) == (0, 10, [])


def test_three_shops_are_one_warning_with_the_number_of_keys(klar: Sandbox) -> None:
    shops = [each for at, name in enumerate(("de", "at", "ch")) for each in shop(name, created=500 * at)]
    (warning,) = run(klar, shops, stream_maps=gathered("orders"), batch_size_rows=4).warnings
    assert warning == from_two("5 keys", "1", "shop_de-orders", "shop_at-orders")


# What a second source stream brings of the same orders, and whether it is told.
GOOD = {"id": 1, "order": "7", "fee": "1.50"}
REJECTED: dict[str, tuple[list[str], list[dict[str, Any]], str]] = {
    "another payment of the order": (["id"], [GOOD, {"id": 2, "order": "7", "fee": "0,50"}], "with different values"),
    "the other way round": (["id"], [{"id": 2, "order": "7", "fee": "0,50"}, GOOD], "with different values"),
    "both are rejected": (["id"], [GOOD | {"fee": "1,50"}, GOOD | {"id": 2, "fee": "0,50"}], "with different values"),
    "another row, and the tap has no key": (
        [],
        [GOOD, GOOD | {"id": 2, "fee": "0,50"}],
        "in other rows, without a key",
    ),
    "a newer version of it": (["id"], [GOOD | {"fee": "0,50"}, GOOD], ""),
    "an older version of it": (["id"], [GOOD, GOOD | {"fee": "0,50"}], ""),
    "the same row, and the tap has no key": ([], [GOOD | {"fee": "0,50"}] * 2, ""),
    "of another order": (["id"], [GOOD, {"id": 2, "order": "8", "fee": "0,50"}], ""),
}


@pytest.mark.parametrize("rows_in_a_batch", [1, 1000])
@pytest.mark.parametrize("name", REJECTED)
def test_a_rejected_part_is_told_from_a_rejected_version(
    name: str, rows_in_a_batch: int, klar: Sandbox, tmp_path: Path
) -> None:
    """Sent again, a part would take the place of the others, which that run does not see."""
    key, rows, told = REJECTED[name]
    columns = schema("fees", order={}, fee={}) | {"key_properties": key}
    lines = [columns, *(record("fees", **row) for row in rows), state(1)]
    fee = {"orderId": "order", "transactionCosts": "fee", "__else__": "__NULL__", "__key_properties__": ["orderId"]}
    maps = {"fees": {"__alias__": "transaction_costs"} | fee}
    rejects = str(tmp_path / "rejects.jsonl")
    ended = run(klar, lines, stream_maps=maps, rejects_path=rejects, batch_size_rows=rows_in_a_batch)
    assert (ended.code, ended.states) == (0, [1])
    assert len(ended.said("came again")) == len(ended.said(f"1 key (orderId) came again {told}")) == bool(told)


SECOND: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "the very same": ({}, {}, False),
    "the very same, with blanks and in another order": ({}, {"closedAt": None}, False),
    "another order": ({}, {"orderNumber": "7"}, True),
    "a later version, by its times": ({"updatedAt": 1_700_000_900}, {"updatedAt": 1_700_000_901}, False),
    "a later change of another order": (
        {"updatedAt": 1_700_000_900},
        {"updatedAt": 1_700_000_901, "createdAt": 1_700_000_800},
        True,
    ),
    "the same time of a change, and other content": (
        {"updatedAt": 1_700_000_900},
        {"updatedAt": 1_700_000_900, "orderNumber": "7"},
        True,
    ),
    "a change without a former one": ({}, {"updatedAt": 1_700_000_900}, True),
}


@pytest.mark.parametrize("batch_size", [1, 1000])
@pytest.mark.parametrize("name", SECOND)
def test_what_a_second_source_stream_brings_is_an_update_if_it_is_the_same_or_its_times_say_so(
    klar: Sandbox, name: str, batch_size: int
) -> None:
    first, second, told = SECOND[name]
    both = [*shop("full", **first), *shop("changes", **second)]
    ended = run(klar, both, stream_maps=gathered("orders"), batch_size_rows=batch_size)
    assert ended.code == 0
    assert ended.warnings == [from_two("5 keys", "1", "shop_full-orders", "shop_changes-orders")] * told


def test_an_older_version_of_another_source_stream_is_told_as_such(klar: Sandbox) -> None:
    both = [*shop("changes", updatedAt=REFUND_TIME + 901), *shop("full", updatedAt=REFUND_TIME + 900)]
    (warning,) = run(klar, both, stream_maps=gathered("orders")).warnings
    assert warning.startswith("orders: 5 keys (id) came again with an older `updatedAt`, and ")


def test_one_source_stream_that_several_maps_read_is_one_source(klar: Sandbox) -> None:
    head = schema("payments", key="payment", order={}, fee={}, tax={})
    table = [head, *(record("payments", payment=number, order=f"O{number}", fee=1.5, tax=0.25) for number in range(3))]
    fees, taxes = ({"orderId": "order", "transactionCosts": column} for column in ("fee", "tax"))
    maps = {
        "payments": {"__alias__": "transaction_costs", **fees},
        "transaction_costs": {"__source__": "payments", **taxes},
    }
    ended = run(klar, table, stream_maps=maps)
    assert (ended.code, ended.counts("transaction_costs")["read"]) == (0, 6)
    assert not ended.said("another source stream")


def paid(stream: str, number: int, amount: float = 1.5, column: str = "payment") -> list[dict[str, Any]]:
    head = schema(stream, key=column, orderId={}, transactionCosts={})
    return [head, record(stream, **{column: number}, orderId="A", transactionCosts=amount)]


@pytest.mark.parametrize("batch_size", [1, 1000])
@pytest.mark.parametrize(
    ("number", "amount", "column", "told"),
    [
        (2, 1.5, "payment", 1),
        (2, 1.75, "payment", 1),
        (1, 1.75, "payment", 1),
        (1, 1.5, "payment", 0),
        (1, 1.5, "charge", 1),
    ],
)
def test_two_payments_of_two_source_streams_are_two_also_of_one_amount(
    klar: Sandbox, number: int, amount: float, column: str, told: int, batch_size: int
) -> None:
    both = [*paid("pp", 1), *paid("st", number, amount, column)]
    maps = {name: {"__alias__": "transaction_costs"} for name in ("pp", "st")}
    ended = run(klar, both, stream_maps=maps, batch_size_rows=batch_size)
    expected = from_two("1 key", "A", "pp", "st", "transaction_costs", "orderId")
    assert (ended.code, [each for each in ended.warnings if "came again" in each]) == (0, [expected] * told)


def test_what_klar_is_left_to_judge_and_cannot_be_read_is_not_taken_for_one() -> None:
    unaggregated = UnaggregatedRecords(CONTRACTS["transaction_costs"])
    for number, stream in enumerate("ab"):
        text = b'{"orderId":"A","transactionCosts":1e9999999999999999999%d}' % number
        unaggregated.compare({"A": entry(text, parcel(1, stream))}, 0)
    assert unaggregated.lines() == [from_two("1 key", "A", "a", "b", "transaction_costs", "orderId")]


# A tap without a key


def other_rows(number: str, stream: str, name: str) -> str:
    """The warning about rows of a tap without a key."""
    return (
        f"{stream}: {number} ({name}) came again in other rows, without a key of the tap, and Klar keeps the last "
        "record of a key. Aggregate rows that are parts of one before target-klar, and check the key of others. Ignore "
        "this if they are updates."
    )


def without_key(stream: str, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """The SCHEMA of a source stream whose tap declares no key, and its records."""
    columns: dict[str, Any] = {name: {} for row in rows for name in row}
    return [schema(stream, **columns) | {"key_properties": []}, *(record(stream, **row) for row in rows)]


_ROW = {"orderId": "a", "totalLogisticsCosts": 4.9}
# Two rows of one order of a tap without a key, and whether they are told.
ROWS_OF_ONE_KEY: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "equal in all columns": (_ROW | {"parcel": 1}, _ROW | {"parcel": 1}, False),
    "equal, in another order of the columns": ({"parcel": 1} | _ROW, _ROW | {"parcel": 1}, False),
    "equal, in Klar's form": (_ROW, _ROW, False),
    "another amount": (_ROW, _ROW | {"totalLogisticsCosts": 5.9}, True),
    "another parcel of one price": (_ROW | {"parcel": 1}, _ROW | {"parcel": 2}, True),
    "another parcel in a list": (_ROW | {"parcels": [1]}, _ROW | {"parcels": [2]}, True),
    "a column that the other lacks": (_ROW, _ROW | {"parcel": 2}, True),
    "read at another time": (_ROW | {"_sdc_extracted_at": "1"}, _ROW | {"_sdc_extracted_at": "2"}, False),
}


@pytest.mark.parametrize("batch_size", [1, 1000])
@pytest.mark.parametrize("name", ROWS_OF_ONE_KEY)
def test_rows_of_one_key_that_differ_in_any_column_are_told_where_the_tap_has_no_key(
    klar: Sandbox, name: str, batch_size: int
) -> None:
    first, second, told = ROWS_OF_ONE_KEY[name]
    ended = run(klar, without_key("logistics_costs", first, second), batch_size_rows=batch_size)
    assert ended.code == 0
    expected = other_rows("1 key", "logistics_costs", "orderId")
    assert [each for each in ended.warnings if "came again" in each] == [expected] * told


def test_every_key_that_lost_a_row_is_counted_and_not_only_those_with_another_amount(klar: Sandbox) -> None:
    parcels = [
        _ROW | {"orderId": str(n % 15), "parcel": n, "totalLogisticsCosts": 5.9 if n == 20 else 4.9} for n in range(30)
    ]
    text = b"".join(encode(each) + b"\n" for each in parcels)
    ended = run(klar, [text], "--stream", "logistics_costs")
    assert [each for each in ended.warnings if "came again" in each] == [
        other_rows("15 keys", "logistics_costs", "orderId")
    ]


# Two rows of one refund of a tap without a key, and whether they are told.
REFUNDS_OF_ONE_KEY: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "another time": ({}, {"createdAt": REFUND_TIME + 9}, True),
    "another row of the source": ({"row": 1}, {"row": 2}, True),
    "a later version, by its times": ({"updatedAt": REFUND_TIME}, {"updatedAt": REFUND_TIME + 1}, False),
    "cancelled": ({}, {"lineItems": []}, True),
    "marked as deleted": ({}, {"_sdc_deleted_at": "2026-05-04"}, False),
    "marked as deleted, the key alone": ({}, {"_sdc_deleted_at": "2026-05-04", "lineItems": None, "note": "x"}, False),
}


@pytest.mark.parametrize("name", REFUNDS_OF_ONE_KEY)
def test_refunds_of_one_key_of_a_tap_without_a_key_are_told_unless_they_say_that_they_are_versions(
    klar: Sandbox, name: str
) -> None:
    first, second, told = REFUNDS_OF_ONE_KEY[name]
    one, other = (refund_record("a")["record"] | each for each in (first, second))
    ended = run(klar, without_key("refunds", one, other), hard_delete=True)
    assert ended.code == 0
    assert [each for each in ended.warnings if "came again" in each] == [other_rows("1 key", "refunds", "id")] * told


def test_a_newer_schema_says_whether_the_tap_has_a_key(klar: Sandbox) -> None:
    rows = [_ROW | {"parcel": number} for number in (1, 2, 3)]
    keyed = schema("logistics_costs", key="orderId", totalLogisticsCosts={}, parcel={})
    unkeyed = without_key("logistics_costs", *rows[:2])
    ended = run(klar, [keyed, record("logistics_costs", **rows[0]), record("logistics_costs", **rows[1])])
    assert not ended.said("came again")
    ended = run(klar, [keyed, record("logistics_costs", **rows[0]), *unkeyed])
    assert ended.said("came again in other rows")
    ended = run(klar, [unkeyed[0], record("logistics_costs", **rows[0]), keyed, record("logistics_costs", **rows[1])])
    assert not ended.said("came again")


@pytest.mark.parametrize(("keys", "told"), [((), 1), (("a",), 1), (("a", "b"), 0)])
def test_one_flat_fee_in_two_source_streams_is_two_facts_unless_both_taps_have_a_key(
    klar: Sandbox, keys: tuple[str, ...], told: int
) -> None:
    fee = {"orderId": "A", "transactionCosts": 0.35}
    both = [
        message
        for name in "ab"
        for message in (
            [schema(name, key="orderId", transactionCosts={}), record(name, **fee)]
            if name in keys
            else without_key(name, fee)
        )
    ]
    ended = run(klar, both, stream_maps={name: {"__alias__": "transaction_costs"} for name in "ab"})
    assert (ended.code, ended.warnings) == (
        0,
        [from_two("1 key", "A", "a", "b", "transaction_costs", "orderId")] * told,
    )


# Costs of one piece


@pytest.mark.parametrize("keys", [["id"], ["orderId", "sku"], []])
@pytest.mark.parametrize(("second", "told"), [(4.9, 0), (5.1, 1)])
def test_costs_of_one_piece_are_no_parts_and_are_never_said_to_be_aggregated(
    klar: Sandbox, second: float, told: int, keys: list[str]
) -> None:
    rows = [{"id": n, "orderId": "5", "sku": "A", "productCogs": each} for n, each in enumerate((4.9, second))]
    head, *rest = without_key("cogs", *rows)
    ended = run(klar, [head | {"key_properties": keys}, *rest])
    expected = (
        "cogs: 1 key (orderId, lineItemId, sku) came again with other productCogs, and Klar keeps the last record of a "
        "key. It is the cost of one piece: name the line by `lineItemId`, or send one row a product. Ignore this if "
        "they are updates."
    )
    assert ended.code == 0
    assert [each for each in ended.warnings if "came again" in each] == [expected] * told


@pytest.mark.parametrize(("second", "told"), [(4.9, 0), (5.1, 1)])
def test_costs_of_one_piece_of_two_source_streams_are_told_if_they_differ(
    klar: Sandbox, second: float, told: int
) -> None:
    both = [
        message
        for name, each in (("a", 4.9), ("b", second))
        for message in without_key(name, {"orderId": "5", "sku": "A", "productCogs": each})
    ]
    ended = run(klar, both, stream_maps={name: {"__alias__": "cogs"} for name in "ab"})
    assert (ended.code, len(ended.said("from another source stream")), len(ended.said("aggregate"))) == (0, told, 0)


# The whole program


def test_a_file_with_one_row_for_each_refunded_line_is_warned_of_with_the_number_of_refunds(klar: Sandbox) -> None:
    source = schema("rows", line={"type": "integer"})
    table = [record("rows", id=number, line=line) for line in (1, 2, 3) for number in range(2500) if line <= number % 4]
    maps = {
        "rows": {
            "__alias__": "refunds",
            "id": "id",
            "createdAt": "1700000000",
            "lineItems": "[{'lineItemId': str(id) + '-' + str(line), 'refundedQuantity': 1}]",
            "__else__": "__NULL__",
        }
    }
    ended = run(klar, [source, *table, state(1)], stream_maps=maps)
    assert (ended.code, ended.states, len(klar.refunds)) == (0, [1], 1875)
    assert ended.warnings == [told("1,250 keys", "refunds")]


def test_refunds_that_grow_shrink_are_corrected_or_cancelled_are_updates_and_not_warned_of(klar: Sandbox) -> None:
    versions: list[tuple[str, dict[str, str]]] = [
        ("1", {}),
        ("12", {}),
        ("2", {"reasonDescriptor": "x"}),
        ("23", {}),
        ("", {}),
        ("4", {}),
    ]
    updates = [
        refund_record(str(number), lineItems=lines(*(f"{number}-{each}" for each in ids), **fields))
        for ids, fields in versions
        for number in range(300)
    ]
    ended = run(klar, [REFUNDS_SCHEMA, *updates, state(1)], batch_size_rows=100)
    assert (ended.code, ended.states, len(klar.refunds)) == (0, [1], 300)
    assert ended.warnings == []


@pytest.mark.parametrize("rows_in_a_batch", [1, 2, 1000])
def test_one_order_with_5_costs_is_one_key_however_they_are_cut_into_batches(
    klar: Sandbox, rows_in_a_batch: int
) -> None:
    costs = [cost_record("o", amount) for amount in range(5)]
    ended = run(klar, [COSTS_SCHEMA, *costs, cost_record("other", 1), state(1)], batch_size_rows=rows_in_a_batch)
    assert (ended.code, ended.states) == (0, [1])
    assert klar.transaction_costs["o"]["transactionCosts"] == 4
    assert ended.warnings == [told("1 key", "transaction_costs")]


def test_each_stream_has_its_own_warning_and_a_key_of_two_streams_is_no_matter(klar: Sandbox) -> None:
    found = [
        refund_record("a"),
        cost_record("a", 1),
        refund_record("b"),
        cost_record("b", 1),
        refund_record("a", lineItems=lines("x")),
        cost_record("b", 2),
    ]
    found += [refund_record("b", lineItems=lines("x")), state(1)]
    ended = run(klar, [REFUNDS_SCHEMA, COSTS_SCHEMA, *found], batch_size_rows=2)
    assert (ended.code, ended.states) == (0, [1])
    assert ended.warnings == [told("2 keys", "refunds"), told("1 key", "transaction_costs")]


def test_a_record_that_is_refused_replaces_nothing(klar: Sandbox, tmp_path: Any) -> None:
    found = [cost_record("a", 1), cost_record("a", "two"), cost_record("a", 1), state(1)]
    ended = run(klar, [COSTS_SCHEMA, *found], rejects_path=str(tmp_path / "rejects.jsonl"))
    assert (ended.code, ended.states) == (0, [1])
    assert not [text for text in ended.warnings if "came again" in text]


def test_a_dry_run_warns_of_parts_too(klar: Sandbox) -> None:
    ended = run(klar, [COSTS_SCHEMA, cost_record("a", 1), cost_record("a", 2)], validate_only=True)
    assert (ended.code, klar.transaction_costs) == (0, {})
    assert ended.warnings == [told("1 key", "transaction_costs")]
