"""The rejects file over several runs: its last line about a key is the newest word on it, so it can be sent again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from forked import run, start
from klar_objects import REFUND_TIME, cost
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, line, record, refund_record, schema, state
from rejects_file import records

from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forked import Forked

COMMA = {"transaction_costs": {"transactionCosts": "str(transactionCosts).replace(',', '.')"}}
"""A map that mends an amount with a decimal comma."""

DELETED = record("refunds", id="A", _sdc_deleted_at="2024-01-01T00:00:00Z")


def load(klar: Sandbox, rejects: Path, *lines: Any, **settings: Any) -> None:
    """One night that ends well."""
    ended = run(klar, [COSTS_SCHEMA, REFUNDS_SCHEMA, *lines, state("end")], rejects_path=str(rejects), **settings)
    assert ended.code == 0, ended.err


def send_again(klar: Sandbox, rejects: Path, **settings: Any) -> None:
    """What the README says: move the file away, and send it."""
    again = rejects.with_name("again.jsonl")
    rejects.rename(again)
    ended = run(klar, b"", "--input", str(again), rejects_path=str(rejects), **settings)
    assert ended.code == 0, ended.err


def rewritten(lines: bytes) -> bytes:
    return b"".join(line(json.loads(each)) for each in lines.splitlines())


def begun(klar: Sandbox, rejects: Path, **more: Any) -> Forked:
    """A run that waits for more, after it has rejected a record and written the STATE behind it."""
    settings = {"api_token": klar.token, "api_url": klar.url, "checkpoint_interval_seconds": 0} | more
    process = start(settings | {"rejects_path": str(rejects)})
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line(REFUNDS_SCHEMA) + line(refund_record("A", "many")) + line(state(1)))
    process.stdin.flush()
    assert process.stdout.readline() == b"1\n"
    return process


def delete(process: Forked) -> None:
    """Have a run read the deletion of the rejected record, and write the STATE behind it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line(DELETED) + line(state(2)))
    process.stdin.flush()
    assert process.stdout.readline() == b"2\n"


def words(rejects: Path) -> list[tuple[str, Any]]:
    """The source and the amount, or the id, of each record in the file."""
    lines = [json.loads(each) for each in rejects.read_text().splitlines()]
    return [
        (each["source"], each["record"].get("transactionCosts", each["record"].get("id")))
        for each in lines
        if each["type"] == "RECORD"
    ]


@pytest.mark.parametrize("nights", [1, 2])
def test_a_version_that_klar_accepted_later_is_not_replaced_by_the_rejected_one(
    klar: Sandbox, rejects: Path, nights: int
) -> None:
    bad, newer = cost_record("A", "1,10"), cost_record("A", "2.20")
    if nights == 1:
        load(klar, rejects, bad, newer)
    else:
        load(klar, rejects, bad)
        load(klar, rejects, newer)
    assert words(rejects) == []

    send_again(klar, rejects, stream_maps=COMMA)
    assert [str(each["transactionCosts"]) for each in klar.transaction_costs.values()] == ["2.20"]


@pytest.mark.parametrize("fault", ["counts-nothing", "never-booked"])
def test_a_rejected_version_stays_until_klars_status_has_shown_the_newer_one(
    klar: Sandbox, rejects: Path, fault: str
) -> None:
    """The STATE covers it, and of the newer one that Klar accepted and never stored nobody knows."""
    load(klar, rejects, cost_record("A", "1,10"), cost_record("B", "3.30"))
    klar.misbehave(fault)
    ended = run(klar, [COSTS_SCHEMA, cost_record("A", "2.20")], rejects_path=str(rejects), status_timeout_seconds=2)
    assert (ended.code, words(rejects)) == (1, [("contract", "1,10")])

    load(klar, rejects, cost_record("A", "2.20"))
    assert words(rejects) == []


@pytest.mark.parametrize("newer", [{"fee": "EUR 2.5"}, {"fee": "EUR 2.5", "_sdc_deleted_at": "2024-01-01"}])
@pytest.mark.parametrize("order_id", ["order_id", "'DE-' + order_id", "order_id + order_id"])
def test_a_row_that_a_map_failed_on_is_not_sent_over_a_newer_one_though_the_tap_names_no_key(
    klar: Sandbox, rejects: Path, newer: dict[str, str], order_id: str
) -> None:
    """The expression that failed is not that of Klar's key, which is known all the same."""
    rows = schema("rows", "order_id", fee={}, _sdc_deleted_at={}) | {"key_properties": []}

    def maps(fee: str) -> dict[str, Any]:
        options = {"__alias__": "transaction_costs", "orderId": order_id, "transactionCosts": fee, "__else__": None}
        return {"stream_maps": {"rows": options | {"_sdc_deleted_at": "record.get('_sdc_deleted_at')"}}}

    wrong, right = maps("fee.split(' ')[1]"), maps("fee.split(' ')[-1]")
    load(klar, rejects, rows, *(record("rows", order_id="7", fee=fee) for fee in ("1.10", "0.90")), **wrong)
    assert json.loads(rejects.read_bytes().splitlines()[-1])["klar"]["key"].endswith("7")
    load(klar, rejects, rows, record("rows", order_id="7", **newer), **wrong)
    send_again(klar, rejects, **right)
    held = [each["transactionCosts"] for each in klar.transaction_costs.values()]
    assert held == ([] if "_sdc_deleted_at" in newer else [2.5])


def test_what_klar_itself_rejected_is_followed_under_another_name_of_its_stream_and_key(
    klar: Sandbox, rejects: Path
) -> None:
    """The two are one record to Klar; the tap has another name for each, and no key of its own."""
    names = {name: {"__alias__": "refunds"} for name in ("one", "other")}
    heads = [schema("one") | {"key_properties": []}, schema("other") | {"key_properties": []}]
    klar.refuse = lambda sent: sent["lineItems"][0]["refundedQuantity"] == 1 and "not one"
    load(klar, rejects, *heads, refund_record("A", 1, note="x") | {"stream": "one"}, stream_maps=names)
    load(klar, rejects, *heads, refund_record("A", 2, note="x") | {"stream": "other"}, stream_maps=names)

    assert words(rejects) == []
    klar.refuse = None
    send_again(klar, rejects, stream_maps=names)
    assert klar.refunds["A"]["lineItems"][0]["refundedQuantity"] == 2


def test_a_refund_that_its_source_has_deleted_since_does_not_come_back_to_life(klar: Sandbox, rejects: Path) -> None:
    load(klar, rejects, refund_record("A", "many"), refund_record("B", "many"))
    load(klar, rejects, DELETED)
    assert words(rejects) == [("contract", "B")]


@pytest.mark.parametrize("ending", ["well", "early"])
def test_what_is_settled_is_gone_at_the_end_so_that_sending_the_file_again_changes_nothing_at_klar(
    klar: Sandbox, rejects: Path, ending: str
) -> None:
    """In batches of two the versions of one record would come apart, and a skipped deletion undo but the last one."""
    versions = [refund_record("A", quantity, note="x") for quantity in ("many", 2)]
    others = [refund_record(key) for key in "BCD"]
    lines = [*versions, others[0], DELETED, refund_record("A", 3, note="x"), *others[1:], DELETED]
    if ending == "well":
        load(klar, rejects, *lines, batch_size_rows=2)
    else:
        ended = run(klar, [REFUNDS_SCHEMA, *lines, "no JSON"], rejects_path=str(rejects), batch_size_rows=2)
        assert ended.code == 1
    before = dict(klar.refunds)
    assert before["A"]["lineItems"][0]["refundedQuantity"] == 3

    assert rejects.read_bytes() == b""
    send_again(klar, rejects, batch_size_rows=2)
    assert klar.refunds == before


def test_a_run_that_is_stopped_by_a_signal_leaves_nothing_that_is_settled(klar: Sandbox, rejects: Path) -> None:
    with begun(klar, rejects) as process:
        delete(process)
        process.terminate()
        process.communicate()
    assert (process.returncode, rejects.read_bytes()) == (143, b"")


def test_what_a_killed_run_had_settled_the_next_one_removes_before_the_file_is_sent(
    klar: Sandbox, rejects: Path
) -> None:
    with begun(klar, rejects) as process:
        delete(process)
        process.kill()
    assert words(rejects) == [("contract", "A"), ("deleted", "A")]

    load(klar, rejects)
    assert rejects.read_bytes() == b""


OF_AN_ORDER = schema("refunds") | {"key_properties": ["order"]}
"""A tap that has one key for all refunds of an order."""
NAMELESS = record("refunds", order=7, createdAt=REFUND_TIME, lineItems=[])
AN_A = refund_record("A", 2, order=7)


@pytest.mark.parametrize(
    "second", [refund_record("2", order=7), record("refunds", id="2", order=7, _sdc_deleted_at="2024-01-01T00:00:00Z")]
)
@pytest.mark.parametrize("nights", [1, 2])
def test_a_rejected_record_stays_when_another_of_the_same_taps_key_is_accepted_or_deleted(
    klar: Sandbox, rejects: Path, nights: int, second: Any
) -> None:
    first = refund_record("1", "many", order=7)
    for lines in [[first, second]] if nights == 1 else [[first], [second]]:
        load(klar, rejects, OF_AN_ORDER, *lines)
    (rejected, *behind) = words(rejects)
    assert (rejected, [key for _, key in behind]) == (("contract", "1"), ["2"])  # the row, if its key was mapped anew


def test_a_row_of_another_key_of_the_taps_settles_nothing_though_its_klars_key_is_the_same(
    klar: Sandbox, rejects: Path
) -> None:
    """A map that takes the wrong column gives several orders one key: each has to arrive once it is right."""
    head = schema("transaction_costs", row={}, customer={}, order={}, fee={}) | {"key_properties": ["row"]}
    fees = ["1,10", "1,20", 3]
    rows = [record("transaction_costs", row=n, customer="C", order=f"O{n}", fee=fee) for n, fee in enumerate(fees)]
    maps = {"transaction_costs": {"orderId": "customer", "transactionCosts": "fee"}}
    load(klar, rejects, head, *rows, stream_maps=maps)
    assert [source for source, _ in words(rejects)] == ["contract", "contract", "accepted"]

    send_again(
        klar,
        rejects,
        stream_maps={"transaction_costs": {"orderId": "order", "transactionCosts": "str(fee).replace(',', '.')"}},
    )
    costs = {key: str(each["transactionCosts"]) for key, each in klar.transaction_costs.items()}
    assert costs == {"C": "3", "O0": "1.10", "O1": "1.20", "O2": "3"}


@pytest.mark.parametrize("more", [{}, {"_sdc_deleted_at": "2024-01-01"}], ids=["stored", "deleted"])
def test_another_row_of_an_order_settles_nothing(klar: Sandbox, rejects: Path, more: dict[str, Any]) -> None:
    """A parcel says nothing of another one of the same order."""
    head = schema("transaction_costs", row={}) | {"key_properties": ["row"]}
    rows = [cost("A", "1,10", row=2), cost("A", 2, row=1, **more)]
    load(klar, rejects, head, *(record("transaction_costs", **row) for row in rows))
    assert words(rejects)[0] == ("contract", "1,10")


@pytest.mark.parametrize("batch_size", [1, 1000])
@pytest.mark.parametrize("more", [{}, {"_sdc_deleted_at": "2024-01-01"}], ids=["stored", "deleted"])
def test_a_row_of_another_source_stream_settles_nothing(
    klar: Sandbox, rejects: Path, more: dict[str, Any], batch_size: int
) -> None:
    """Two shops may have the same ids."""
    names = ("north", "south")
    heads = [schema(name) | {"key_properties": ["orderId"]} for name in names]
    rows = [record("north", **cost("A", "1,10")), record("south", **cost("A", 2, **more))]
    maps = {name: {"__alias__": "transaction_costs"} for name in names}
    load(klar, rejects, *heads, *rows, stream_maps=maps, batch_size_rows=batch_size)
    assert words(rejects)[0] == ("contract", "1,10")


def test_a_record_that_is_rejected_again_is_in_the_file_once_where_the_tap_names_a_key_of_several_records(
    klar: Sandbox, rejects: Path
) -> None:
    head = schema("transaction_costs", batch={}) | {"key_properties": ["batch"]}
    bad = [record("transaction_costs", **cost(key, "1,0"), batch=1) for key in ("4", "12")]
    load(klar, rejects, head, *bad)
    load(klar, rejects, head, bad[0])
    assert sorted(each["orderId"] for each in (line["record"] for line in records(rejects))) == ["12", "4"]


def test_a_record_that_is_rejected_again_stays_behind_another_row_of_its_key_that_was_read_before_it(
    klar: Sandbox, rejects: Path
) -> None:
    """Also where a deletion of a third row of that key was read in between."""
    heads = [schema("transaction_costs"), schema("pages", "page", orderId={}) | {"key_properties": ["page"]}]
    maps = {"stream_maps": {"pages": {"__alias__": "transaction_costs"}}}
    bad = record("pages", page=3, orderId="1", transactionCosts="3,0")
    deleted = record("pages", page=1, orderId="1", transactionCosts=1, _sdc_deleted_at="2024-01-01")
    load(klar, rejects, *heads, bad, **maps)
    load(klar, rejects, *heads, deleted, cost_record("1", 2), bad, **maps)
    assert words(rejects)[-1] == ("contract", "3,0")
    fixed = {"__alias__": "transaction_costs", "transactionCosts": "str(transactionCosts).replace(',', '.')"}
    send_again(klar, rejects, stream_maps={"pages": fixed})
    assert klar.transaction_costs["1"]["transactionCosts"] == 3


def test_a_newer_version_stays_behind_a_record_whose_klars_key_was_mapped_wrong(klar: Sandbox, rejects: Path) -> None:
    """Sent again with the right map, the older one would otherwise be put over it."""
    head = schema("transaction_costs", row={}, name={}, number={}, fee={}) | {"key_properties": ["row"]}
    wrong = {"transaction_costs": {"orderId": "name", "transactionCosts": "fee"}}
    right = {"transaction_costs": {"orderId": "number", "transactionCosts": "str(fee).replace(',', '.')"}}
    for fee, maps in (("1,10", wrong), ("2.20", right)):
        load(klar, rejects, head, record("transaction_costs", row=1, name="#1", number="1", fee=fee), stream_maps=maps)
    send_again(klar, rejects, stream_maps=right)
    assert {key: str(each["transactionCosts"]) for key, each in klar.transaction_costs.items()} == {"1": "2.20"}


def test_a_rejected_record_whose_klars_key_is_not_known_stays_before_what_may_be_its_newer_version(
    klar: Sandbox, rejects: Path
) -> None:
    """Sent again they come in their order: two records both arrive, and of one the newer version wins."""
    load(klar, rejects, OF_AN_ORDER, NAMELESS, refund_record("2", order=7))
    load(klar, rejects, OF_AN_ORDER)
    assert words(rejects) == [("contract", None), ("accepted", "2")]

    load(klar, rejects, OF_AN_ORDER, record("refunds", id="2", order=7, _sdc_deleted_at="2024-01-01T00:00:00Z"))
    assert [source for source, _ in words(rejects)] == ["contract", "accepted", "deleted"]
    deleted = record("refunds", order=7, _sdc_deleted_at="2024-01-01T00:00:00Z")
    load(klar, rejects, OF_AN_ORDER, deleted, refund_record("3", order=7))
    assert words(rejects) == []


@pytest.mark.parametrize("nights", [1, 3])
def test_every_later_record_of_a_taps_key_stays_behind_one_whose_klars_key_is_not_known(
    klar: Sandbox, rejects: Path, nights: int
) -> None:
    """Any of them may be its newer version: here the one that comes last is."""
    mended = {"refunds": {"id": "record.get('id') or record.get('number')"}}
    rows = [
        record("refunds", number="1", order=7, createdAt=REFUND_TIME, lineItems=[]),
        refund_record("2", order=7),
        refund_record("1", 5, order=7),
    ]
    for lines in [rows] if nights == 1 else [[row] for row in rows]:
        load(klar, rejects, OF_AN_ORDER, *lines)
    assert words(rejects) == [("contract", None), ("accepted", "2"), ("accepted", "1")]

    send_again(klar, rejects, stream_maps=mended)
    assert klar.refunds["1"]["lineItems"][0]["refundedQuantity"] == 5


@pytest.mark.parametrize(
    ("first", "batch_size"),
    [([], 1), ([refund_record("1", order=6)], 1), ([], 1000)],
    ids=["confirmed at once", "confirmed later", "replaced in one batch"],
)
def test_every_later_version_stays_behind_a_record_whose_klars_key_is_not_known_whatever_its_tap_calls_it(
    klar: Sandbox, rejects: Path, first: list[Any], batch_size: int
) -> None:
    versions = [refund_record("2", order=7), refund_record("2", 5, order=8)]
    load(klar, rejects, OF_AN_ORDER, *first, NAMELESS, *versions, batch_size_rows=batch_size)
    assert words(rejects) == [("contract", None), ("accepted", "2"), ("accepted", "2")]

    send_again(klar, rejects, batch_size_rows=1)
    assert klar.refunds["2"]["lineItems"][0]["refundedQuantity"] == 5


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_accepted_versions_stand_in_the_order_of_reading_before_a_record_that_was_rejected_at_once(
    klar: Sandbox, rejects: Path, batch_size: int
) -> None:
    """Only the newest of them may be an older version of that record, by the tap's key."""
    versions = [refund_record("2", "many", order=5), refund_record("2", order=6), refund_record("2", 5, order=7)]
    load(klar, rejects, OF_AN_ORDER, *versions, NAMELESS, batch_size_rows=batch_size)

    send_again(klar, rejects, batch_size_rows=1)
    assert klar.refunds["2"]["lineItems"][0]["refundedQuantity"] == 5
    assert words(rejects)[-1] == ("contract", None)


def test_a_record_whose_klars_key_is_not_known_goes_when_it_is_accepted_itself(klar: Sandbox, rejects: Path) -> None:
    """Though another of the same tap's key is accepted before it, which may be its older version."""
    fees = schema("transaction_costs", key="page")
    other, bad = (record("transaction_costs", page=0, **{name: name}, transactionCosts=1) for name in ("orderId", "no"))
    load(klar, rejects, fees, bad)
    assert len(records(rejects)) == 1
    load(klar, rejects, fees, other, bad, stream_maps={"transaction_costs": {"orderId": "record.get('orderId') or no"}})
    assert (records(rejects), set(klar.transaction_costs)) == ([], {"orderId", "no"})


def test_a_cost_of_goods_without_its_line_item_is_one_whose_klars_key_is_not_known(
    klar: Sandbox, rejects: Path
) -> None:
    head = schema("cogs", orderId={}, lineItemId={}, productCogs={}) | {"key_properties": ["orderId"]}
    load(klar, rejects, head, record("cogs", orderId="7", line="1", productCogs=3))
    load(klar, rejects, head, record("cogs", orderId="7", lineItemId="1", productCogs=4))
    assert [source for source, _ in words(rejects)] == ["contract", "accepted"]

    send_again(klar, rejects, stream_maps={"cogs": {"lineItemId": "record.get('lineItemId') or record.get('line')"}})
    assert [int(each["productCogs"]) for each in klar.held("cogs").values()] == [4]


@pytest.mark.parametrize(("keys", "behind"), [(["order"], [("accepted", "2")]), ([], [])])
def test_a_rejected_record_without_klars_key_is_said_to_be_in_the_file_whatever_is_accepted(
    klar: Sandbox, rejects: Path, keys: list[str], behind: list[Any]
) -> None:
    lines = [OF_AN_ORDER | {"key_properties": keys}, NAMELESS, refund_record("2", order=7)]
    ended = run(klar, lines, rejects_path=str(rejects), fail_on_rejects=True)

    assert words(rejects) == [("contract", None), *behind]
    assert ended.said(f"Records rejected: 1, see {rejects}"), ended.err
    assert "send it with `--input`" in ended.errors[0]


def test_a_record_that_one_stream_rejects_stays_when_another_stream_of_klars_takes_the_same_row(
    klar: Sandbox, rejects: Path
) -> None:
    maps = {
        "rows": "__NULL__",
        "refunds": {"__source__": "rows", "__filter__": "kind == 'refund'"},
        "transaction_costs": {
            "__source__": "rows",
            "__filter__": "kind == 'cost'",
            "orderId": "id",
            "transactionCosts": "1",
        },
    }
    rows = [refund_record("A", "many", kind=kind) | {"stream": "rows"} for kind in ("refund", "cost")]
    for row in rows:
        load(klar, rejects, schema("rows", kind={}), row, stream_maps=maps)
    load(klar, rejects)

    assert (words(rejects), set(klar.transaction_costs)) == ([("contract", "A")], {"A"})


@pytest.mark.parametrize("writes", [bytes, rewritten], ids=["as it was written", "as another program wrote it"])
def test_a_row_that_one_stream_rejected_is_sent_again_to_that_stream_alone(
    klar: Sandbox, rejects: Path, writes: Callable[[bytes], bytes]
) -> None:
    """The other one may have a newer version, from a row with another key of the tap's."""
    maps = {
        "refunds": {"lineItems": "[{'lineItemId': '1', 'refundedQuantity': pieces}]"},
        "transaction_costs": {"__source__": "refunds", "orderId": "order", "transactionCosts": "fee"},
    }
    head = schema("refunds", order={}, pieces={}, fee={})
    rows = [refund_record("A", order="7", pieces="1,0", fee=1), refund_record("B", order="7", pieces=1, fee=2)]
    for row in rows:
        load(klar, rejects, head, row, stream_maps=maps)
    assert words(rejects) == [("contract", "A")]

    maps["refunds"] = {"lineItems": "[{'lineItemId': '1', 'refundedQuantity': str(pieces).replace(',', '.')}]"}
    rejects.write_bytes(writes(rejects.read_bytes()))
    send_again(klar, rejects, stream_maps=maps)
    assert set(klar.refunds) == {"A", "B"}
    assert [int(each["transactionCosts"]) for each in klar.held("transaction_costs").values()] == [2]


def test_a_rejected_row_stops_the_run_where_no_map_leads_to_its_stream_any_more(klar: Sandbox, rejects: Path) -> None:
    """Else it would be put over newer versions in the streams to which other maps lead."""
    maps = {
        "refunds": {"lineItems": "[{'lineItemId': '1', 'refundedQuantity': 1}]"},
        "transaction_costs": {"__source__": "refunds", "orderId": "id", "transactionCosts": "fee"},
    }
    load(klar, rejects, schema("refunds", fee={}), refund_record("A", fee="1,0"), stream_maps=maps)
    maps["logistics_costs"] = {"__source__": "refunds", "orderId": "id", "logisticsCosts": "1"}
    del maps["transaction_costs"]

    ended = run(klar, b"", "--input", str(rejects), stream_maps=maps)

    assert (ended.code, klar.held("logistics_costs")) == (1, {})
    assert (
        "Line 2 of the input: a record rejected for transaction_costs, where no stream map of refunds leads"
        in ended.err
    )
    del maps["logistics_costs"]  # the one that is left, and none at all
    for left in (maps, {"refunds": "__NULL__"}):
        ended = run(klar, b"", "--input", str(rejects), stream_maps=left)
        assert (ended.code, set(klar.refunds)) == (1, {"A"})


@pytest.mark.parametrize("written", ["Refunds", "transaction_cost", "orders"], ids=["case", "cut", "of Klar's, no map"])
def test_a_rejected_row_stops_the_run_where_somebody_wrote_another_stream_than_the_maps_lead_to(
    klar: Sandbox, rejects: Path, written: str
) -> None:
    maps = {
        "refunds": {"lineItems": "[{'lineItemId': '1', 'refundedQuantity': 1}]"},
        "transaction_costs": {"__source__": "refunds", "orderId": "id", "transactionCosts": "fee"},
    }
    load(klar, rejects, schema("refunds", fee={}), refund_record("A", fee="1,0"), stream_maps=maps)
    klar.clear()
    before = rejects.read_bytes()
    rejects.write_bytes(
        before.replace(b'"klar":{"stream":"transaction_costs"', b'"klar":{"stream":"%b"' % written.encode())
    )
    assert rejects.read_bytes() != before

    ended = run(klar, b"", "--input", str(rejects), stream_maps=maps)

    assert (ended.code, klar.posts()) == (1, [])
    assert f"Line 2 of the input: a record rejected for {written}, where no stream map of refunds leads" in ended.err


@pytest.mark.parametrize("rejected", [[], ["B", "C"]], ids=["none before", "others before"])
def test_a_rejected_record_stays_where_the_limit_keeps_a_newer_one_out_of_the_file(
    klar: Sandbox, rejects: Path, rejected: list[str]
) -> None:
    """Also where that one has replaced a third in its batch, which is neither at Klar nor in the file."""
    load(klar, rejects, cost_record("A", "1,10"))
    klar.refuse = lambda sent: sent["orderId"] in {"A", *rejected} and "not this one"

    lines = [COSTS_SCHEMA, *(cost_record(each, 1) for each in [*rejected, "A", "D"]), cost_record("A", 2), state(2)]
    ended = run(klar, lines, rejects_path=str(rejects), rejects_limit=len(rejected))

    assert (ended.code, ended.states) == (1, [])
    assert words(rejects) == [("contract", "1,10"), *(("klar", 1) for _ in rejected)]


@pytest.mark.parametrize("columns", [{"id": "A"}, {"number": "A"}], ids=["Klar's key", "the tap's own key"])
def test_a_deletion_that_is_read_before_klar_rejects_the_record_is_not_forgotten(
    rejects: Path, columns: dict[str, str]
) -> None:
    """The record is still in flight then, and nothing about it is in the file."""
    head = schema("refunds") | {"key_properties": list(columns)}
    with Sandbox(latency=0.5) as klar:
        klar.refuse = lambda sent: sent["id"] == "A" and "not this one"
        sent = [refund_record("A", number="A"), refund_record("B", number="B")]
        load(klar, rejects, head, *sent, record("refunds", **columns, _sdc_deleted_at="2024-01-01"), batch_size_rows=2)
        klar.refuse = None
        send_again(klar, rejects)
        assert set(klar.refunds) == {"B"}


WRITTEN = (
    b'{"type":"RECORD","stream":"refunds","record":{"id":"B","note":1},"klar":{"stream":"refunds","key":"B"},'
    b'"errors":[{"path":"id","message":"is wrong"}],"source":"contract","time":"2026-01-01T00:00:00+00:00"}\n'
)
DAMAGED = {
    "a byte that is not UTF-8": b"\xf5",
    "an escape that JSON does not have": b"\\q",
    "a control character": b"\x01",
    "half a surrogate pair": b"\\ud800",
}
PLACES = {
    "type": (b'"RECORD"', b'"RECOR%b"'),
    "source": (b'"contract"', b'"contrac%b"'),
    "stream": (b'"stream":"refunds"', b'"stream":"refund%b"'),
    "Klar's stream": (b'{"stream":"refunds"', b'{"stream":"refund%b"'),
    "Klar's key": (b'"key":"B"', b'"key":"%b"'),
    "klar": (b'"klar":{', b'"klar":{"x":"%b",'),
    "the tap's key": (b'"id":"B"', b'"id":"%b\\u0042"'),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize(("whole", "damaged"), PLACES.values(), ids=PLACES)
def test_a_damaged_line_stays_with_its_schema_and_holds_up_no_run(
    klar: Sandbox, rejects: Path, whole: bytes, damaged: bytes, damage: bytes
) -> None:
    schemas = line(REFUNDS_SCHEMA) + line(COSTS_SCHEMA)
    bad = WRITTEN.replace(whole, damaged % damage, 1)
    settled = WRITTEN.replace(b'"B"', b'"A"') + WRITTEN.replace(b'"B"', b'"A"').replace(b"contract", b"accepted")
    rejects.write_bytes(schemas + bad + settled)
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("C"), state(1)], rejects_path=str(rejects))
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"C"}), ended.err
    left = rejects.read_bytes().splitlines(keepends=True)
    assert left[0] == line(REFUNDS_SCHEMA)
    assert left[-1] == bad


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_schema_stays_and_holds_up_no_run(klar: Sandbox, rejects: Path, damage: bytes) -> None:
    bad = line(REFUNDS_SCHEMA).replace(b'["id"]', b'["id%b"]' % damage)
    rejects.write_bytes(bad + WRITTEN)
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("C"), state(1)], rejects_path=str(rejects))
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"C"}), ended.err
    assert rejects.read_bytes() == bad + WRITTEN


def test_a_line_that_no_run_writes_is_named_with_its_number(klar: Sandbox, rejects: Path) -> None:
    rejects.write_bytes(line(REFUNDS_SCHEMA) + b"\n" + WRITTEN.replace(b"contract", b"\xff") + b"# mine\n")
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("C"), state(1)], rejects_path=str(rejects))
    assert (ended.code, ended.states) == (0, [1])
    (said,) = ended.warnings
    assert said == (
        f"Lines of the rejects file {rejects} that no run of target-klar writes: 2, the first is line 3. They stay "
        "there. Correct or remove them before you send the file again."
    )


def test_one_bad_record_is_in_the_file_once_however_many_nights_it_comes(klar: Sandbox, rejects: Path) -> None:
    for _ in range(3):
        load(klar, rejects, cost_record("A", "1,10"), refund_record("B", "many"), refund_record("C"))
    assert words(rejects) == [("contract", "1,10"), ("contract", "B")]

    ended = run(klar, [COSTS_SCHEMA, cost_record("A", "1,10"), state("end")], rejects_path=str(rejects))
    assert len(ended.said("Records rejected: 1")) == 1, "it is counted every night"
    assert len(ended.said(f"It is in {rejects} already.")) == 1


def test_a_record_that_klar_itself_rejects_is_in_the_file_once_however_many_nights_it_comes(
    klar: Sandbox, rejects: Path
) -> None:
    klar.refuse = lambda sent: sent["id"] == "B" and "is not wanted here"
    for night in range(1, 4):
        load(klar, rejects, refund_record("A"), refund_record("B"), refund_record("C"))
        assert (words(rejects), set(klar.refunds)) == ([("klar", "B")], {"A", "C"})
        assert len([post for post in klar.posts() if post.count == 3]) == night, "it is sent again every night"

    lines = [REFUNDS_SCHEMA, refund_record("A"), refund_record("B"), state("end")]
    ended = run(klar, lines, rejects_path=str(rejects))
    assert (ended.code, ended.states, words(rejects)) == (0, ["end"], [("klar", "B")])
    assert len(ended.said("Records rejected: 1")) == 1, "it is counted every night"
    assert len(ended.said(f"It is in {rejects} already.")) == 1


def test_accepted_versions_do_not_count_towards_the_limit(klar: Sandbox, rejects: Path) -> None:
    keys = [f"A{number}" for number in range(10)]
    load(
        klar,
        rejects,
        *(cost_record(key, "1,10") for key in keys),
        *(cost_record(key, "2") for key in keys),
        rejects_limit=10,
    )
    assert words(rejects) == []


def test_where_nothing_was_rejected_no_accepted_record_is_written(klar: Sandbox, rejects: Path) -> None:
    load(klar, rejects, cost_record("A", "1"), cost_record("A", "2"), refund_record("B"))
    assert rejects.read_bytes() == b""


def test_the_record_that_klar_took_before_a_newer_one_was_rejected_stands_before_that_one(rejects: Path) -> None:
    """Klar takes the second version only after the third has been read: the file has them in the order of reading."""
    with Sandbox(latency=0.5) as klar:
        load(klar, rejects, cost_record("A", "1,10"), cost_record("A", "2"), cost_record("A", "x,y"))
        assert words(rejects) == [("contract", "x,y")]

        again = rejects.with_name("again.jsonl")
        rejects.rename(again)
        ended = run(klar, b"", "--input", str(again), rejects_path=str(rejects), stream_maps=COMMA)
        assert (ended.code, klar.transaction_costs["A"]["transactionCosts"]) == (0, 2)


@pytest.mark.parametrize(
    ("settled", "lines"),
    [
        (2, [refund_record("A", "many", order=7), AN_A, NAMELESS, refund_record("B", "many", order=7)]),
        (2, [refund_record("A", "many", order=7), AN_A, refund_record("A", "few", order=7), NAMELESS]),
        (0, [NAMELESS, AN_A, record("refunds", order=7, lineItems=[]), refund_record("A", 3, order=8)]),
        (0, [NAMELESS, record("refunds", order=8, lineItems=[]), AN_A, refund_record("A", "few", order=8)]),
    ],
    ids=["before one that others follow", "before two", "before one of two", "before one by Klar's key"],
)
def test_all_that_may_be_of_one_record_stands_in_the_order_of_reading_whenever_klar_answers(
    rejects: Path, settled: int, lines: list[Any]
) -> None:
    with Sandbox(latency=0.5) as klar:
        load(klar, rejects, OF_AN_ORDER, *lines, batch_size_rows=1)
    assert [each["record"] for each in records(rejects)] == [each["record"] for each in lines[settled:]]


def test_a_rejected_record_that_came_back_after_another_version_is_not_settled_by_that_one(
    klar: Sandbox, rejects: Path
) -> None:
    """Klar's answer to the other version comes when the rejected one has been read again."""
    load(klar, rejects, cost_record("A", "1,10"))
    with Sandbox(latency=0.5) as slow:
        load(slow, rejects, cost_record("A", "2"), cost_record("A", "1,10"))
        assert words(rejects) == [("contract", "1,10")]
        send_again(slow, rejects, stream_maps=COMMA)
        assert str(slow.transaction_costs["A"]["transactionCosts"]) == "1.10"


def test_a_dry_run_writes_a_file_of_its_own_anew_each_time(klar: Sandbox, rejects: Path) -> None:
    load(klar, rejects, refund_record("A", "many"))
    before = rejects.read_bytes()
    for key in "BC":
        ended = run(klar, [REFUNDS_SCHEMA, refund_record(key, "many")], rejects_path=str(rejects), validate_only=True)
        assert ended.code == 1
        assert words(rejects.with_name("rejects.jsonl.dry-run")) == [("contract", key)]
    assert rejects.read_bytes() == before


def test_while_a_run_has_the_file_a_second_one_stops_at_its_start_in_one_line(klar: Sandbox, rejects: Path) -> None:
    with begun(klar, rejects) as first:
        before = rejects.read_bytes()
        second = run(klar, [REFUNDS_SCHEMA, refund_record("B"), state(2)], rejects_path=str(rejects))

        assert (second.code, second.states, set(klar.refunds), rejects.read_bytes()) == (1, [], set(), before)
        (said,) = second.errors
        assert f"The rejects file {rejects} is in use by another run" in said
        assert run(klar, [REFUNDS_SCHEMA, refund_record("B")], rejects_path=str(rejects), validate_only=True).code == 0
        first.kill()

    load(klar, rejects, refund_record("A"))
    assert words(rejects) == []


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_that_is_moved_away_during_the_run_stops_it_before_the_next_state(
    klar: Sandbox, rejects: Path, what: str
) -> None:
    folder = rejects.parent / "folder"
    folder.mkdir()
    with begun(klar, folder / rejects.name) as process:
        if what == "file":
            (folder / rejects.name).rename(rejects.with_name("again.jsonl"))
        else:
            folder.rename(folder.with_name("other"))
            folder.touch()
        out, err = process.communicate(line(refund_record("B", "many")) + line(state(2)))

        assert (process.returncode, out) == (1, b"")
        assert b"was changed, replaced or removed during the run" in err


def test_a_newer_version_that_cannot_be_written_ends_the_run_without_a_state_over_it(
    klar: Sandbox, rejects: Path
) -> None:
    with begun(klar, rejects, batch_size_rows=2) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line(refund_record("B")) + line(refund_record("C")) + line(state(2)))
        process.stdin.flush()
        assert process.stdout.readline() == b"2\n"  # so the next load is confirmed by a check of its own
        with rejects.open("a") as file:  # as another program would
            file.write("\n")
        process.stdin.write(line(refund_record("A", 2)) + line(refund_record("D")) + line(state(3)))
        process.stdin.write(line(refund_record("E")) + line(state(4)))
        process.stdin.flush()
        assert process.wait(30) == 1  # though a STATE is covered by what came behind it
        out, err = process.communicate()

    assert (out, set(klar.refunds)) == (b"", set("ABCDE"))
    assert err.count(b"was changed, replaced or removed during the run") == 1
