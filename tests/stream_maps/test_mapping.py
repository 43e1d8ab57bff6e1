"""Stream maps at work, over the whole program: renamed, joined, split, filtered, computed, and nothing else changed."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from klar_objects import REFUND_TIME
from messages import REFUNDS_SCHEMA, record, refund_record, schema, state
from previewed import preview
from rejects_file import records
from samples import SAMPLE

if TYPE_CHECKING:
    from pathlib import Path

    from target_klar.sandbox import Sandbox


def test_a_map_that_changes_nothing_sends_the_same_bytes(klar: Sandbox) -> None:
    odd = [refund_record("x", quantity=1.10), refund_record("y", updated_at=None)]
    lines = [*SAMPLE.read_bytes().splitlines()[:400], *odd]
    assert run(klar, lines, max_parallel_requests=1).code == 0
    plain = klar.bodies
    klar.clear()
    assert run(klar, lines, stream_maps={"refunds": {}, "transaction_costs": {}}, max_parallel_requests=1).code == 0
    assert klar.bodies == plain
    assert len(plain) == 2


def test_streams_are_renamed_and_several_become_one(klar: Sandbox) -> None:
    maps = {name: {"__alias__": "refunds"} for name in ("order_refunds", "pos_refunds")}
    lines = [schema("order_refunds"), schema("pos_refunds"), refund_record("a") | {"stream": "order_refunds"}]
    lines += [
        refund_record("b", 1) | {"stream": "order_refunds"},
        refund_record("b", 2) | {"stream": "pos_refunds"},
        state(1),
    ]
    ended = run(klar, lines, stream_maps=maps)
    assert (ended.code, ended.states) == (0, [1])
    assert {key: held["lineItems"][0]["refundedQuantity"] for key, held in klar.refunds.items()} == {"a": 1, "b": 2}
    assert ended.counts("refunds")["merged"] == 1


def test_line_items_are_built_by_a_list_expression_and_times_by_a_function(klar: Sandbox) -> None:
    fields = {
        "__alias__": "refunds",
        "id": "row_id",
        "createdAt": "datetime.datetime.fromisoformat(at)",
        "lineItems": "[{'lineItemId': str(line), 'refundedQuantity': float(quantity) * 2}]",
        "__key_properties__": ["id"],
        "__else__": "__NULL__",
    }
    row = record("rows", row_id=7, quantity=1.5, line=9, at="2023-11-14T22:13:20+00:00")
    ended = run(klar, [schema("rows", key="row_id"), row], stream_maps={"rows": fields})
    assert ended.code == 0
    item = {"lineItemId": "9", "refundedQuantity": 3}
    assert klar.refunds == {"7": {"id": "7", "createdAt": REFUND_TIME, "lineItems": [item]}}


@pytest.mark.parametrize("maps", [{"orders": "__NULL__"}, {"orders": None}, {"refunds": {}, "__else__": "__NULL__"}])
def test_other_streams_are_dropped_where_a_map_says_so(klar: Sandbox, maps: dict[str, Any]) -> None:
    lines = [
        schema("orders"),
        REFUNDS_SCHEMA,
        record("orders", id="o"),
        refund_record("a"),
        record("orders", id="p"),
        state(1),
    ]
    ended = run(klar, lines, stream_maps=maps)
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a"})


def test_one_source_stream_feeds_both_streams(klar: Sandbox) -> None:
    maps = {
        "sales": {"__alias__": "refunds"},
        "transaction_costs": {
            "__source__": "sales",
            "orderId": "id",
            "transactionCosts": "fee",
            "__key_properties__": ["orderId"],
            "__else__": "__NULL__",
        },
    }
    sale = refund_record("s", fee=1.10) | {"stream": "sales"}
    ended = run(klar, [schema("sales", fee={"type": "number"}), sale, state(1)], stream_maps=maps)
    assert (ended.code, ended.states) == (0, [1])
    assert klar.refunds.keys() == {"s"}
    assert klar.transaction_costs == {"s": {"orderId": "s", "transactionCosts": Decimal("1.1")}}


def test_records_that_a_filter_drops_are_neither_sent_nor_rejected_nor_waited_for(klar: Sandbox) -> None:
    maps = {"refunds": {"__filter__": "id != 'b'"}}
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), refund_record("b"), state(1)], stream_maps=maps)
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a"})
    assert "2 read, 1 stored, 0 merged, 0 deleted, 1 filtered, 0 rejected" in ended.err


FAILING_MAP = {"refunds": {"id": "id", "createdAt": "float(createdAt)", "lineItems": "lineItems"}}


def test_a_map_that_fails_on_one_record_stops_the_run_there_or_sets_the_record_aside(
    klar: Sandbox, tmp_path: Path
) -> None:
    lines = [
        REFUNDS_SCHEMA,
        refund_record("a"),
        state(1),
        refund_record("b", createdAt="soon"),
        refund_record("c"),
        state(2),
    ]
    stopped = run(klar, lines, stream_maps=FAILING_MAP)
    assert (stopped.code, stopped.states, set(klar.refunds)) == (1, [1], {"a"})
    rejects = tmp_path / "rejects.jsonl"
    ended = run(klar, lines, stream_maps=FAILING_MAP, rejects_path=str(rejects))
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [2], {"a", "c"})
    assert [each["record"] for each in records(rejects)] == [refund_record("b", createdAt="soon")["record"]]
    assert "could not be mapped" in records(rejects)[0]["errors"][0]["message"]


ONLY: Any = {"__alias__": "refunds"}


@pytest.mark.parametrize(
    ("stream", "maps", "keys"),
    [
        ("order_refunds", {"order_refunds": ONLY, "*": None}, {"a"}),
        ("order_refunds", {"*": None, "order_refunds": ONLY}, {"a"}),
        ("order_refunds", {"order_refunds": ONLY, "order_*": ONLY | {"lineItems": "[]", "id": "no_such"}}, {"a"}),
        ("order_refunds", {"order_refunds": None, "*": ONLY}, set()),
        ("refunds[1]", {"refunds[1]": ONLY, "*": None}, {"a"}),
        ("refunds", {"re*": ONLY, "refund*": {"id": "'x-' + id"}}, {"x-a"}),
        ("refunds", {"re*": {"id": "'x-' + id"}, "refund*": ONLY}, {"a"}),
        ("sales", {"sales": None, "*": ONLY, "refunds": {"__source__": "sal*", "id": "'x-' + id"}}, {"x-a"}),
    ],
)
def test_a_map_of_the_streams_own_name_wins_over_any_wildcard_and_of_wildcards_the_last_one(
    klar: Sandbox, stream: str, maps: dict[str, Any], keys: set[str]
) -> None:
    lines = [schema(stream, createdAt={}, lineItems={}), refund_record("a") | {"stream": stream}, state(1)]
    ended = run(klar, lines, stream_maps=maps)
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], keys)
    assert bool(ended.warnings) is not bool(keys)  # one if everything is dropped
    assert all(refund["lineItems"] for refund in klar.refunds.values())


def test_the_reasons_of_rejected_records_hold_an_expression_as_it_is_written(klar: Sandbox, tmp_path: Path) -> None:
    maps = {"refunds": {"lineItems": "[lineItems[5]]"}}
    lines = [REFUNDS_SCHEMA, refund_record("a"), refund_record("b")]
    ended = run(klar, lines, stream_maps=maps, rejects_path=str(tmp_path / "rejects.jsonl"))
    assert ended.code == 0
    assert ended.said("2 x lineItems could not be mapped by `[lineItems[5]]`")
    assert "2 x lineItems could not be mapped by `[lineItems[5]]`" in preview(lines, stream_maps=maps)


def test_a_map_that_only_renames_and_removes_gives_what_the_sdk_gives(klar: Sandbox) -> None:
    maps = {"rows": {"__alias__": "refunds", "note": "__NULL__", "updated_at": None, "_sdc_deleted_at": None}}
    rows = [refund_record(key, note=1, updated_at=REFUND_TIME)["record"] for key in "ab"]
    rows += [{"id": "c", "created_at": REFUND_TIME, "line_items": [], "UPDATED_AT": REFUND_TIME}]
    rows += [refund_record("d", _sdc_deleted_at="2024-01-01", note=2)["record"]]
    plain = [record("rows", **row) for row in rows]
    by_the_sdk = [message | {"unknown_to_singer": 1} for message in plain]  # so it is read as a message
    for lines in (plain, by_the_sdk):
        klar.clear()
        ended = run(klar, [schema("rows"), *lines, state(1)], stream_maps=maps)
        assert (ended.code, ended.states) == (0, [1])
        assert set(klar.refunds) == {"a", "b", "c"}
        assert [held.get("updatedAt") for held in klar.refunds.values()] == [None, None, None]  # however spelled
        assert ended.said("1 deleted record skipped")
        assert not ended.said("left out")


OMITTED = "refunds: fields that Klar does not know were omitted: "


@pytest.mark.parametrize(
    ("maps", "omitted"),
    [
        ({}, "status, note"),
        ({"web": {"__filter__": "status == 'done'"}}, "note, status"),  # that of `pos`, which no map of it reads
        ({name: {"__filter__": "status == 'done'"} for name in ("web", "pos")}, "note"),
        ({"web": {"updatedAt": "record.get('STATUS') and None"}}, "status, note"),  # which is another column
        ({"web": {"note": "note.strip()"}}, "status, note"),  # the map makes it, for no field of Klar's
        ({"web": {}, "refunds": {"__source__": "web", "__filter__": "bool(status)"}}, "note, status"),
        ({"web": {"__filter__": "status == 'done'"}, "pos": {"status": None}}, "note"),
    ],
    ids=str,
)
def test_of_columns_that_klar_does_not_know_only_those_that_a_map_of_their_own_source_stream_reads_are_not_reported(
    klar: Sandbox, maps: dict[str, Any], omitted: str
) -> None:
    maps = {name: {"__alias__": "refunds"} | maps.get(name, {}) for name in ("web", "pos")} | {
        name: definition for name, definition in maps.items() if name == "refunds"
    }
    columns: dict[str, Any] = {"status": {}, "note": {}, "STATUS": {}}
    lines = [schema(name, **columns) for name in ("web", "pos")]
    lines += [refund_record(name, status="done", note="n") | {"stream": name} for name in ("web", "pos")]
    ended = run(klar, [*lines, state(1)], stream_maps=maps)
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"web", "pos"})
    assert [text.removeprefix(OMITTED).partition(". Ignore")[0] for text in ended.warnings] == [omitted]


def test_a_column_that_a_map_reads_is_sent_if_it_is_an_extra_field(klar: Sandbox) -> None:
    klar.extra_fields = ("status",)
    lines = [schema("refunds", status={}), refund_record("a", status="done"), state(1)]
    ended = run(klar, lines, stream_maps={"refunds": {"__filter__": "status == 'done'"}}, extra_fields=["status"])
    assert (ended.code, ended.warnings) == (0, [])
    assert klar.refunds["a"]["status"] == "done"
