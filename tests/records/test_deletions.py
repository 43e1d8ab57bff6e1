"""The mark of deletion: what says that a record is alive, what that it is deleted, and that no other passes."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from conforming import sent, skip_of
from forked import run
from hypothesis import given, settings
from hypothesis import strategies as st
from klar_objects import REFUND_TIME
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, record, refund_record, schema, state
from previewed import preview, proposed
from simpleeval import EvalWithCompoundTypes
from thoroughness import size

from target_klar.contract.streams import CONTRACTS
from target_klar.records.conform import Conformed, Conformer, Deleted, Rejection
from target_klar.records.deletions import Skip, deleted_expression
from target_klar.records.formatting import Problem
from target_klar.records.json_codec import decode
from target_klar.records.other_marks import OtherMarks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from target_klar.sandbox import Sandbox

MARK = "_sdc_deleted_at"
DELETION = "2024-01-01T10:00:00Z"
SECONDS = 1_704_103_200
OWN = refund_record("R")["record"]
CANCELLED = {"id": "R", "createdAt": REFUND_TIME, "lineItems": []}

ALIVE: list[object] = [None, False, 0, 0.0, -0.0, Decimal("0.00"), "false", "False", " FALSE ", "0", "0.0", "", " \t"]
ALIVE += ["0000-00-00", "0000-00-00 00:00:00", "0000-00-00T00:00:00Z"]
TIMES: list[object] = [
    SECONDS,
    Decimal(SECONDS),
    float(SECONDS),
    str(SECONDS),
    f"{SECONDS}.0",
    DELETION,
    "2024-01-01 11:00:00+01",
]
TIMES += [datetime(2024, 1, 1, 10, tzinfo=UTC), datetime(2024, 1, 1, 10)]  # noqa: DTZ001  # as maps make them
TRUE: list[object] = [True, 1, 1.0, Decimal("1.0"), "1", "1.0", "true", "True", " TRUE "]
UNREADABLE: list[object] = [
    -1,
    2,
    0.5,
    45292,
    20240101,
    SECONDS * 1000,
    10**400,
    float("nan"),
    float("inf"),
    Decimal("sNaN"),
]
UNREADABLE += [
    "2",
    "20240101",
    str(SECONDS * 1000),
    "soon",
    "no",
    "f",
    "t",
    "yes",
    "null",
    "-1",
    "2024-02-30",
    "\ud800",
]
UNREADABLE += ["1970-01-01", "9999-12-31", date(9999, 12, 31), b"1", [], {}, [DELETION], {"at": DELETION}]


# One record


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("hard_delete", [True, False])
@pytest.mark.parametrize("mark", ALIVE, ids=repr)
def test_a_mark_that_says_no_is_that_of_a_living_record(mark: object, *, hard_delete: bool, validate: bool) -> None:
    for stream, own in (("refunds", OWN), ("transaction_costs", cost_record("c")["record"])):
        conformer = Conformer(CONTRACTS[stream], hard_delete=hard_delete, validate=validate)
        assert sent(own | {MARK: mark}, conformer) == own
        assert conformer.dropped == []
        assert not conformer.is_deleted({MARK: mark})


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("mark", TIMES + TRUE, ids=repr)
def test_a_mark_that_says_when_or_yes_is_that_of_a_deleted_record(mark: object, *, validate: bool) -> None:
    deleted = OWN | {MARK: mark}
    assert skip_of(Conformer(CONTRACTS["refunds"], validate=validate).conform(deleted)) is Skip.SKIPPED
    assert sent(deleted, Conformer(CONTRACTS["refunds"], validate=validate, hard_delete=True)) == CANCELLED
    assert Conformer(CONTRACTS["refunds"]).is_deleted({MARK: mark})


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("hard_delete", [True, False])
@pytest.mark.parametrize("mark", UNREADABLE, ids=lambda mark: ascii(mark)[:30])
def test_a_record_with_any_other_mark_is_refused_with_words(mark: object, *, hard_delete: bool, validate: bool) -> None:
    for stream, own in (("refunds", OWN), ("transaction_costs", cost_record("R")["record"])):
        result = Conformer(CONTRACTS[stream], hard_delete=hard_delete, validate=validate).conform(own | {MARK: mark})
        assert isinstance(result, Rejection), result
        assert result.key == "R"
        (problem,) = result.problems
        assert problem.path == MARK
        assert problem.message.startswith("must be a time, as Unix seconds or as a date, or true or false (found ")


@pytest.mark.parametrize("name", [MARK, MARK.upper(), "_sdc_deletedat", "SDCDELETEDAT", "_sdc_deletedAt"])
def test_the_mark_is_known_however_it_is_spelled_also_among_the_extra_fields(name: str) -> None:
    for extra in (name, MARK):
        conformer = Conformer(CONTRACTS["refunds"], extra_fields=[extra, "currency"])
        assert skip_of(conformer.conform(OWN | {"currency": "EUR", name: DELETION})) is Skip.SKIPPED
        assert sent(OWN | {"currency": "EUR", name: None}, conformer) == OWN | {"currency": "EUR"}
        assert conformer.dropped == []


@pytest.mark.parametrize("mark", [None, ""])
def test_a_spelling_of_the_mark_that_holds_nothing_does_not_count(mark: object) -> None:
    result = Conformer(CONTRACTS["refunds"]).conform(OWN | {MARK: mark, MARK.upper(): DELETION})
    assert skip_of(result) is Skip.SKIPPED


def test_two_spellings_of_the_mark_that_differ_are_refused() -> None:
    result = Conformer(CONTRACTS["refunds"]).conform(OWN | {MARK.upper(): DELETION, "_sdc_deletedAt": DELETION[:10]})
    assert isinstance(result, Rejection)
    assert "different values in _SDC_DELETED_AT and _sdc_deletedAt" in str(result.problems[0])


@pytest.mark.parametrize("mark", TIMES, ids=repr)
def test_the_time_of_the_deletion_stands_in_for_a_time_that_the_record_does_not_bring(mark: object) -> None:
    conformer = Conformer(CONTRACTS["refunds"], hard_delete=True)
    assert sent({"ID": 7, MARK: mark}, conformer) == {"id": "7", "createdAt": SECONDS, "lineItems": []}


@pytest.mark.parametrize("own", [{}, {"createdAt": None}, {"created_at": "once"}, {"createdAt": 0}], ids=repr)
@pytest.mark.parametrize("mark", TRUE, ids=repr)
@pytest.mark.parametrize("validate", [True, False])
def test_a_deletion_without_a_time_of_its_own_or_of_the_record_is_refused(
    mark: object, own: Mapping[str, object], *, validate: bool
) -> None:
    conformer = Conformer(CONTRACTS["refunds"], hard_delete=True, validate=validate)
    result = conformer.conform({"id": 7, MARK: mark, **own})
    why = "must be a time, since the record has no createdAt (found true)"
    assert result == Rejection("7", [Problem(MARK, why)], "7")


wild = st.recursive(
    st.booleans()
    | st.integers()
    | st.integers(0, 10**13).map(str)
    | st.floats()
    | st.decimals()
    | st.text(max_size=6)
    | st.text("truefalsTRUEFALS01 .\t", max_size=6)
    | st.datetimes().map(str)
    | st.dates().map(str),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
blanks = st.text(" \t\r\n", max_size=2)
words = st.sampled_from(["true", "false", "FALSE", "True", "0", "00.00", "1", "1.00", "0000-00-00", "no", "2"])
seconds = st.integers(100_000_000, 9_999_999_999)
times = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001  # as databases write them
anything = st.one_of(
    st.sampled_from(ALIVE + TIMES + TRUE + UNREADABLE),
    st.tuples(blanks, words, blanks).map("".join),
    seconds | seconds.map(str) | times.map(str),
    wild,
)


def says_alive(mark: Any) -> bool:
    """The list of what says that a record is alive, spelled out a second time."""
    if isinstance(mark, str):
        bare = mark.strip(" \t\r\n").lower()
        zeros = bare.replace(".", "", 1) if bare[:1] == "0" else bare
        return bare in {"", "false"} or set(zeros) == {"0"} or bare.startswith("0000-00-00")
    return mark is None or (isinstance(mark, bool | int | float | Decimal) and not mark)


def says_when_or_yes(mark: Any) -> bool:
    """What may say that a record is deleted, spelled out a second time and no narrower than it must be."""
    if isinstance(mark, str):
        digits = sum(character.isdigit() for character in mark)
        return mark.strip(" \t\r\n").lower() in {"true", "1", "1.", "1.0", "1.00"} or digits >= len("20240101")
    return isinstance(mark, date) or mark == 1 or 100_000_000 <= mark <= 9_999_999_999


LIVING: dict[str, dict[str, Any]] = {
    "refunds": OWN,
    "transaction_costs": cost_record("R")["record"],
    "logistics_costs": {"orderId": "R", "totalLogisticsCosts": 1},
    "cogs": {"orderId": "R", "sku": "S", "productCogs": 1},
    "orders": {"id": "R", "createdAt": SECONDS, "lineItems": [{"id": "L", "quantity": 1}]},
}


def test_whatever_the_mark_is_a_record_is_sent_as_living_only_if_the_list_says_so() -> None:
    skipping = {stream: Conformer(contract) for stream, contract in CONTRACTS.items()}
    cancelling = {stream: Conformer(contract, hard_delete=True) for stream, contract in CONTRACTS.items()}
    seen = {"alive": 0, "deleted": 0, "refused": 0}

    @settings(max_examples=size(500, 5000), deadline=None)
    @given(anything)
    def holds(mark: object) -> None:
        (verdict,) = {in_stream(stream, mark) for stream in CONTRACTS}
        seen[verdict] += 1

    def in_stream(stream: str, mark: object) -> str:
        own, skips, cancels = LIVING[stream], skipping[stream], cancelling[stream]
        skipped, cancelled = skips.conform(own | {MARK: mark}), cancels.conform(own | {MARK: mark})
        if says_alive(mark):
            assert isinstance(skipped, Conformed)
            assert isinstance(cancelled, Conformed)
            assert skipped.sent == cancelled.sent
            assert decode(skipped.sent) == own
            return "alive"
        if isinstance(skipped, Rejection):
            assert isinstance(cancelled, Rejection)
            assert [problem.path for problem in skipped.problems] == [MARK]
            return "refused"
        assert says_when_or_yes(mark), mark
        assert skip_of(skipped) is Skip.SKIPPED
        if isinstance(cancelled, Rejection):  # an order has no other time to stand in for that of its deletion
            assert stream == "orders"
        elif stream in ("refunds", "orders"):
            assert isinstance(cancelled, Conformed)
            cancellation = decode(cancelled.sent)
            assert stream == "refunds" or 100_000_000 <= cancellation.pop("cancelledAt") <= 9_999_999_999
            assert cancellation == (CANCELLED if stream == "refunds" else LIVING["orders"])
        else:
            assert skip_of(cancelled) is Skip.SKIPPED
        return "deleted"

    holds()
    assert min(seen.values()) > 40, seen


# The whole program


def test_one_run_with_every_mark_sends_the_living_cancels_the_deleted_and_refuses_the_others(
    klar: Sandbox, tmp_path: Path
) -> None:
    rejects = tmp_path / "rejects.jsonl"
    keys: dict[str, set[str]] = {"alive": set(), "deleted": set(), "refused": set()}
    lines = [REFUNDS_SCHEMA]
    for group, written in zip(keys, (ALIVE, TIMES + TRUE, UNREADABLE), strict=True):
        for number, mark in enumerate(written):
            if isinstance(mark, str | bool | float | list | dict) and ascii(mark) not in {"nan", "inf", "'\\ud800'"}:
                keys[group].add(f"{group} {number}")
                lines.append(refund_record(f"{group} {number}", **{MARK: mark}))
    ended = run(klar, [*lines, state(1)], hard_delete=True, rejects_path=str(rejects))
    assert (ended.code, ended.states) == (0, [1])
    assert {key for key, held in klar.refunds.items() if held["lineItems"]} == keys["alive"]
    assert {key for key, held in klar.refunds.items() if not held["lineItems"]} == keys["deleted"]
    refused = [json.loads(text) for text in rejects.read_text().splitlines()[1:]]
    assert {each["record"]["id"] for each in refused} == keys["refused"]
    assert ended.counts("refunds")["cancelled"] == len(keys["deleted"])
    assert min(map(len, keys.values())) > 10


def test_a_mark_that_cannot_be_read_stops_the_run_without_a_place_for_it(klar: Sandbox) -> None:
    lines = [REFUNDS_SCHEMA, refund_record("a"), state(1), refund_record("b", **{MARK: SECONDS * 1000}), state(2)]
    ended = run(klar, lines)
    assert (ended.code, ended.states, set(klar.refunds)) == (1, [1], {"a"})
    assert ended.errors[0].startswith(
        f"target-klar rejected refunds b: {MARK} must be a time, as Unix seconds or as a date, or true or false "
        f"(found number "
        f"{SECONDS * 1000}, which looks like milliseconds, not seconds)."
    )


DELETED = [
    REFUNDS_SCHEMA,
    COSTS_SCHEMA,
    refund_record("kept"),
    record("refunds", id="key-alone", _sdc_deleted_at="2023-11-14T22:13:20Z"),
    refund_record("whole", createdAt=REFUND_TIME + 5, _sdc_deleted_at="2023-11-14T22:13:20Z"),
    record("transaction_costs", orderId="c", transactionCosts=1, _sdc_deleted_at="2023-11-14T22:13:20Z"),
    refund_record("alive", _sdc_deleted_at=None),
    refund_record("coalesced", lineItems=[]),
    state(1),
]


def test_deleted_records_are_skipped_and_counted_and_said_once_a_stream(klar: Sandbox) -> None:
    ended = run(klar, DELETED)
    assert (ended.code, ended.states) == (0, [1])
    assert klar.refunds.keys() == {"kept", "alive", "coalesced"}
    assert klar.transaction_costs == {}
    assert ended.warnings == [
        "refunds: 2 deleted records skipped; set `hard_delete` to cancel them at Klar",
        "transaction_costs: 1 deleted record skipped",
    ]
    counts = ended.counts("refunds")
    assert (counts["deleted"], counts["cancelled"], counts["stored"]) == (2, 1, 3)


def test_with_hard_delete_a_deleted_refund_is_cancelled_and_a_deleted_cost_stays_skipped(klar: Sandbox) -> None:
    ended = run(klar, DELETED, hard_delete=True)
    assert (ended.code, ended.states) == (0, [1])
    assert klar.refunds["key-alone"] == {"id": "key-alone", "createdAt": REFUND_TIME, "lineItems": []}
    assert klar.refunds["whole"] == {"id": "whole", "createdAt": REFUND_TIME + 5, "lineItems": []}
    assert klar.refunds["alive"]["lineItems"] != []
    assert klar.transaction_costs == {}
    assert ended.counts("refunds")["cancelled"] == 3
    assert ended.warnings == ["transaction_costs: 1 deleted record skipped"]


# Under stream maps

EXPLICIT = {"id": "id", "createdAt": "created", "lineItems": "[{'lineItemId': 'L', 'refundedQuantity': 1}]"}
EXPLICIT |= {"__else__": "__NULL__"}
SOURCE = schema("returns", created={"type": "integer"})


def row(key: str, **fields: Any) -> dict[str, Any]:
    """A RECORD of a source stream that a map turns into a refund."""
    return record(fields.pop("stream", "returns"), id=key, created=REFUND_TIME, **fields)


# Name: the map of `returns`, and which of the keys "alive", "deleted" and "DELETED" then are alive and cancelled.
MAPS: dict[str, tuple[dict[str, Any], set[str], set[str]]] = {
    "one that lists its fields": (EXPLICIT, {"alive"}, {"deleted", "DELETED"}),
    "one that adds to the fields": (
        {name: rule for name, rule in EXPLICIT.items() if name != "__else__"},
        {"alive"},
        {"deleted", "DELETED"},
    ),
    "one that removes the mark": (EXPLICIT | {MARK: "__NULL__"}, {"alive"}, {"deleted", "DELETED"}),
    "one that says that all are alive": (EXPLICIT | {MARK: "None"}, {"alive", "deleted", "DELETED"}, set()),
    "one that turns it round": (
        EXPLICIT | {MARK: "not (record.get('_sdc_deleted_at') or record.get('_SDC_DELETED_AT'))"},
        {"deleted", "DELETED"},
        {"alive"},
    ),
    "one with a mark of its own": (EXPLICIT | {MARK: "id.upper() == 'DELETED'"}, {"alive"}, {"deleted", "DELETED"}),
    "one with a time of its own, in another spelling": (
        EXPLICIT | {"_SDC_DELETED_AT": "datetime.datetime(2024, 1, 1) if id == 'alive' else 0"},
        {"deleted", "DELETED"},
        {"alive"},
    ),
}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("batch", [False, True], ids=["RECORD", "BATCH"])
def test_the_mark_is_the_maps_where_it_sets_one_and_else_the_taps_own(
    name: str, klar: Sandbox, tmp_path: Path, *, batch: bool
) -> None:
    mapping, alive, cancelled = MAPS[name]
    rows = [row("alive", **{MARK: None}), row("deleted", **{MARK: DELETION}), row("DELETED", **{MARK.upper(): 1})]
    if batch:
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(f"{json.dumps(each['record'])}\n" for each in rows))
        manifest = {"manifest": [file.as_uri()], "encoding": {"format": "jsonl"}}
        rows = [{"type": "BATCH", "stream": "returns"} | manifest]
    ended = run(
        klar,
        [SOURCE, *rows, state(1)],
        hard_delete=True,
        stream_maps={"returns": {"__alias__": "refunds"} | mapping},
    )
    assert (ended.code, ended.states) == (0, [1])
    assert {key for key, held in klar.refunds.items() if held["lineItems"]} == alive
    assert {key for key, held in klar.refunds.items() if not held["lineItems"]} == cancelled
    assert ended.counts("refunds")["cancelled"] == len(cancelled)


def test_a_deletion_under_a_map_that_lists_its_fields_is_skipped_and_not_sent_as_living(klar: Sandbox) -> None:
    lines = [SOURCE, row("alive"), row("gone", **{MARK: DELETION}), state(1)]
    ended = run(klar, lines, stream_maps={"returns": {"__alias__": "refunds"} | EXPLICIT})
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"alive"})
    assert ended.warnings == ["refunds: 1 deleted record skipped; set `hard_delete` to cancel them at Klar"]


FILTERED = [
    SOURCE,
    row("kept", status="done", **{MARK: False}),
    row("open", status="open", **{MARK: 0}),
    row("gone", status="open", **{MARK: DELETION}),
    row("unread", status="open", **{MARK: "soon"}),
    state(1),
]


@pytest.mark.parametrize("hard_delete", [True, False])
def test_deletions_that_a_filter_drops_are_counted_and_said_at_the_end_and_others_not(
    klar: Sandbox, *, hard_delete: bool
) -> None:
    maps = {"returns": {"__alias__": "refunds", "__filter__": "status == 'done'"} | EXPLICIT}
    ended = run(klar, FILTERED, stream_maps=maps, hard_delete=hard_delete)
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"kept"})
    (warning,) = ended.warnings
    assert warning.startswith("refunds: 2 deletions dropped by `__filter__`; to let them pass, begin it with `str(rec")
    assert {"read": 4, "stored": 1, "filtered": 3, "deleted": 0, "rejected": 0}.items() <= ended.counts(
        "refunds"
    ).items()


@pytest.mark.parametrize(
    ("maps", "told"),
    [
        ({"__filter__": "bool(lines)"}, 1),
        ({"__filter__": "bool(lines) and not record.get('_fivetran_deleted')"}, 0),
        ({"__filter__": "bool(lines)", MARK: "record.get('_fivetran_deleted')"}, 0),
    ],
    ids=["does not know of it", "the filter reads it", "the map reads it"],
)
def test_another_mark_that_a_filter_drops_is_told_unless_the_map_knows_of_it(
    klar: Sandbox, maps: dict[str, str], told: int
) -> None:
    lines = [SOURCE, row("1", lines="x"), row("2", lines="", _fivetran_deleted=True), state(1)]
    ended = run(klar, lines, stream_maps={"returns": {"__alias__": "refunds"} | EXPLICIT | maps}, hard_delete=True)
    assert (ended.code, set(klar.refunds)) == (0, {"1"})
    assert len(ended.said("_fivetran_deleted set, which looks like a mark of deletion")) == told


def test_what_the_warning_advises_lets_deletions_pass_the_filter_and_nothing_that_is_alive(klar: Sandbox) -> None:
    written: dict[str, object] = {}
    for group, marks in (("alive", ALIVE), ("deleted", TIMES + TRUE)):
        written |= {f"{group} {at}": mark for at, mark in enumerate(marks) if not isinstance(mark, Decimal | datetime)}
    rows = [row(key, status=status, **{MARK: mark}) for status in ("open",) for key, mark in written.items()]
    lines = [SOURCE, *rows, row("done", status="done", **{MARK: "false"}), state(1)]
    maps: dict[str, Any] = {"__alias__": "refunds", "__filter__": "status == 'done'"} | EXPLICIT
    (warning,) = run(klar, lines, stream_maps={"returns": maps}, hard_delete=True).warnings
    advised = warning.partition("begin it with `")[2].removesuffix("`")

    klar.clear()
    maps["__filter__"] = f"{advised} {maps['__filter__']}"
    ended = run(klar, lines, stream_maps={"returns": maps}, hard_delete=True)
    assert (ended.code, ended.states, ended.warnings) == (0, [1], [])
    assert {key for key, held in klar.refunds.items() if not held["lineItems"]} == {
        key for key in written if key.startswith("deleted")
    }
    assert {key for key, held in klar.refunds.items() if held["lineItems"]} == {"done"}


@pytest.mark.parametrize("mark", [True, "false", "0", "0.0", "0000-00-00 00:00:00", "", None, DELETION], ids=repr)
def test_the_filter_that_a_preview_proposes_drops_empty_refunds_unless_they_are_deleted(
    klar: Sandbox, mark: object
) -> None:
    columns: dict[str, Any] = {name: {} for name in ("created_at", "positions", MARK)}
    positions = [{"line_item_id": 1, "quantity": 1}]
    rows = [record("returns", id=1, created_at=DELETION, positions=positions, **{MARK: None})]
    rows += [record("returns", id=2, created_at=DELETION, positions=[], **{MARK: mark})]
    lines = [schema("returns", **columns), *rows, state(1)]
    ended = run(klar, lines, hard_delete=True, stream_maps=proposed(preview(lines)))
    assert (ended.code, ended.states) == (0, [1])
    assert set(klar.refunds) == ({"1", "2"} if mark in (True, DELETION) else {"1"})


def test_a_deletion_on_which_the_map_fails_is_a_bad_record(klar: Sandbox, tmp_path: Path) -> None:
    lines = [SOURCE, row("a"), state(1), record("returns", id="key-alone", **{MARK: DELETION}), state(2)]
    maps = {"returns": {"__alias__": "refunds"} | EXPLICIT}
    stopped = run(klar, lines, stream_maps=maps, hard_delete=True)
    assert (stopped.code, stopped.states, set(klar.refunds)) == (1, [1], {"a"})
    assert "could not be mapped" in stopped.errors[0]
    rejects = tmp_path / "rejects.jsonl"
    ended = run(klar, lines, stream_maps=maps, hard_delete=True, rejects_path=str(rejects))
    assert (ended.code, ended.states[-1:], set(klar.refunds)) == (0, [2], {"a"})
    assert json.loads(rejects.read_text().splitlines()[-1])["record"]["id"] == "key-alone"


def test_a_deletion_of_which_the_map_leaves_nothing_is_not_taken_for_one_that_a_filter_dropped(
    klar: Sandbox, tmp_path: Path
) -> None:
    rejects = tmp_path / "rejects.jsonl"
    maps = {"returns": {"__alias__": "refunds", "__else__": "__NULL__", "__key_properties__": []}}
    lines = [SOURCE, record("returns", name="no key", **{MARK: DELETION}), record("returns", name="no key"), state(1)]
    ended = run(klar, lines, stream_maps=maps, hard_delete=True, rejects_path=str(rejects))
    assert (ended.code, ended.states, klar.refunds) == (0, [1], {})
    assert {"read": 2, "rejected": 2, "deleted": 0}.items() <= ended.counts("refunds").items()
    assert len(rejects.read_text().splitlines()) == 3


def test_each_target_stream_of_one_source_counts_its_own_deletions_and_a_dropped_stream_none(klar: Sandbox) -> None:
    maps = {
        "returns": EXPLICIT | {"__alias__": "refunds"},
        "transaction_costs": {
            "__source__": "returns",
            "__filter__": "fee > 0",
            "__key_properties__": ["orderId"],
            "orderId": "id",
            "transactionCosts": "fee",
            "__else__": None,
        },
        "others": "__NULL__",
    }
    lines = [SOURCE, schema("others"), row("a", fee=2), row("gone", fee=0, **{MARK: DELETION})]
    lines += [row("gone too", fee=3, **{MARK: "true"}), row("x", stream="others", **{MARK: DELETION}), state(1)]
    ended = run(klar, lines, stream_maps=maps, hard_delete=True)
    assert (ended.code, ended.states) == (0, [1])
    assert {key: bool(held["lineItems"]) for key, held in klar.refunds.items()} == {
        "a": True,
        "gone": False,
        "gone too": False,
    }
    assert set(klar.transaction_costs) == {"a"}
    costs = ended.counts("transaction_costs")
    assert (ended.counts("refunds")["deleted"], costs["deleted"], costs["filtered"]) == (0, 1, 1)
    assert ended.warnings == [
        "transaction_costs: 1 deleted record skipped",
        "transaction_costs: 1 deletion dropped by `__filter__`",
    ]


def test_two_source_streams_that_become_one_keep_their_deletions(klar: Sandbox) -> None:
    maps = {name: EXPLICIT | {"__alias__": "refunds"} for name in ("returns", "claims")}
    lines = [SOURCE, schema("claims", created={"type": "integer"}), row("a"), row("b", stream="claims")]
    lines += [row("b", **{MARK: DELETION}), row("a", stream="claims", **{MARK.upper(): DELETION}), state(1)]
    ended = run(klar, lines, stream_maps=maps, hard_delete=True)
    assert (ended.code, ended.states) == (0, [1])
    assert {key: held["lineItems"] for key, held in klar.refunds.items()} == {"a": [], "b": []}


def test_a_skipped_deletion_of_one_source_stream_leaves_the_unsent_record_of_another_with_the_same_key(
    klar: Sandbox,
) -> None:
    maps = {name: {"__alias__": "transaction_costs"} for name in ("paypal", "klarna")}
    lines = [schema("paypal", key="orderId"), record("paypal", orderId="1", transactionCosts=0.35)]
    lines += [schema("klarna", key="orderId"), record("klarna", orderId="1", **{MARK: DELETION})]
    ended = run(klar, [*lines, state(1)], stream_maps=maps)
    assert (ended.code, ended.states, set(klar.transaction_costs)) == (0, [1], {"1"})

    klar.clear()
    ended = run(klar, [*lines, record("paypal", orderId="1", **{MARK: DELETION}), state(2)], stream_maps=maps)
    assert (ended.code, ended.states, klar.transaction_costs) == (0, [2], {})


@pytest.mark.parametrize("rows_in_a_batch", [1, 1000])
def test_a_deleted_row_of_a_tap_without_a_key_leaves_another_living_one_of_the_same_key(
    rows_in_a_batch: int, klar: Sandbox
) -> None:
    """They may be two payments of an order; with a key of the tap the deleted one is known to be another."""
    lines = [
        schema("fees", payment={}) | {"key_properties": []},
        record("fees", payment=1, orderId="1", transactionCosts=1.5),
    ]
    lines += [record("fees", payment=2, orderId="1", **{MARK: DELETION}), state(1)]
    ended = run(
        klar,
        lines,
        stream_maps={"fees": {"__alias__": "transaction_costs", "payment": None}},
        batch_size_rows=rows_in_a_batch,
    )
    assert (ended.code, ended.states, set(klar.transaction_costs)) == (0, [1], {"1"})
    assert ended.warnings == ["transaction_costs: 1 deleted record skipped"]


def test_a_refund_without_lines_that_klar_is_left_to_judge_is_no_cancellation(klar: Sandbox, tmp_path: Path) -> None:
    lines = [
        REFUNDS_SCHEMA,
        refund_record("empty", lineItems=[]),
        refund_record("text", lineItems=""),
        record("refunds", id="none"),
    ]
    rejects = tmp_path / "rejects.jsonl"
    ended = run(klar, [*lines, COSTS_SCHEMA, cost_record("c")], validate_records=False, rejects_path=str(rejects))
    assert ended.code == 0
    assert ended.counts("refunds")["cancelled"] == 1


# Orders


LINES = [{"id": "L", "quantity": 1}]


@pytest.mark.parametrize("own", [{}, {"line_items": None}, {"line_items": []}, {"lineItems": "[]"}, {"lineItems": ""}])
@pytest.mark.parametrize("mark", [SECONDS, True])
def test_a_deleted_order_that_comes_without_lines_is_skipped_also_with_hard_delete(
    mark: object, own: dict[str, Any]
) -> None:
    record = {"id": "R", "createdAt": SECONDS, **own, MARK: mark}
    assert skip_of(Conformer(CONTRACTS["orders"], hard_delete=True).conform(record)) is Skip.WITHOUT_LINES
    assert skip_of(Conformer(CONTRACTS["orders"]).conform(record)) is Skip.SKIPPED


def test_a_deleted_order_that_comes_with_lines_and_without_its_time_is_a_bad_record() -> None:
    result = Conformer(CONTRACTS["orders"], hard_delete=True).conform({"id": "R", "line_items": LINES, MARK: SECONDS})
    assert isinstance(result, Rejection)
    assert [str(problem) for problem in result.problems] == ["createdAt is required"]


@pytest.mark.parametrize("positions", [None, []])
def test_an_order_keeps_its_lines_when_its_deletion_brings_none_and_the_run_says_so(
    klar: Sandbox, positions: list[Any] | None
) -> None:
    own = {"id": "5", "createdAt": SECONDS}
    maps = {"sales": {"__alias__": "orders", "lineItems": "[{'id': each, 'quantity': 1} for each in positions or []]"}}
    lines = [record("sales", **own, positions=[1]), record("sales", **own, positions=positions, **{MARK: DELETION})]
    ended = run(klar, [schema("sales"), *lines, state(1)], batch_size_rows=1, hard_delete=True, stream_maps=maps)
    assert (ended.code, ended.states) == (0, [1])
    assert [len(each["lineItems"]) for each in klar.orders.values()] == [1]
    why = "they came without lines, and would have replaced the orders with nothing"
    assert [text for text in ended.warnings if "deleted" in text] == [f"orders: 1 deleted record skipped: {why}"]


# Other marks

LOOK_DELETED = [
    "_sdc_lsn_deleted_at",
    "__deleted",
    "_ab_cdc_deleted_at",
    "_fivetran_deleted",
    "IsDeleted",
    "is_deleted",
]
LOOK_DELETED += [
    "isdeleted",
    "IS_DELETED",
    "deleted",
    "Deleted",
    "deleted_at",
    "deletedAt",
    "DELETED_ON",
    "row_deleted",
]
LOOK_DELETED += [
    "deletion_date",
    "softDeletedAt",
    "_airbyte_deleted",
    "record deleted",
    "delete_flag",
    "_DELETED_BY_CDC",
]
LOOK_DELETED += ["hvr_is_deleted", "cdc_deleted", "etl_deleted_at", "header__is_deleted", "META_DELETED"]
LOOK_DELETED += [unicodedata.normalize(form, name) for form in ("NFC", "NFD") for name in ("gelöscht", "GELÖSCHT_AM")]
LOOK_DELETED += ["geloescht", "geloscht", "ist_geloescht", "geloescht_am", "GeloeschtAm", "wurdeGelöscht"]
LOOK_DELETED += ["datensatz_geloescht", "Löschdatum", "LOESCHKENNZEICHEN", "loesch_kz", "gelöscht_flag"]
OWN_LINES: dict[str, Any] = {"createdAt": REFUND_TIME, "lineItems": OWN["lineItems"]}
LOOK_ALIVE = [
    "customer_deleted_at",
    "deleted_lines",
    "undeleted",
    "deleted_by",
    "deletable",
    "contains_deleted",
    "is_delta",
]
LOOK_ALIVE += ["delivered_at", "on_delete", "updated_at", "_sdc_batched_at", "cancelled_at", "is_deleted_customer"]
LOOK_ALIVE += ["customer_is_deleted", "kunde_geloescht", "geloescht_von", "geloeschte_positionen", "Löschgrund"]
LOOK_ALIVE += ["ungeloescht", "loeschbar", "Feuerlöscher", "storniert_am", "erloes", "hvr_integ_tstamp"]
LOOK_ALIVE += ["option", "operator", "type", "shop", "status", "removed_items", "transaction", "stop"]


@pytest.mark.parametrize("column", LOOK_DELETED)
@pytest.mark.parametrize("mark", [True, 1, "true", "1", DELETION, SECONDS], ids=repr)
def test_a_column_that_looks_like_a_mark_and_is_set_is_warned_of_with_the_map_that_makes_one_of_it(
    column: str, mark: object
) -> None:
    marks = OtherMarks("refunds")
    for _ in range(2):
        marks.add("returns", OWN | {column: mark})
    assert marks.lines() == [
        f"refunds: 2 records of returns with {column} set, which looks like a mark of deletion, did not count as "
        "deleted. If it is one, add it to the stream's map: "
        + json.dumps({"returns": {MARK: f"record.get({MARK!r}) or record.get({column!r})"}}, ensure_ascii=False)
    ]


@pytest.mark.parametrize("column", LOOK_ALIVE)
def test_a_column_that_is_of_something_else_is_no_mark(column: str) -> None:
    marks = OtherMarks("refunds")
    marks.add("returns", OWN | {column: True})
    assert marks.lines() == []


SAYS_NO: list[object] = [
    *ALIVE,
    [],
    {},
    "n",
    "No",
    "F",
    "off",
    "-",
    "null",
    "NaN",
    float("nan"),
    "N/A",
    "nein",
    "FALSCH",
    "0001-01-01",
]
SAYS_NO += ["1970-01-01", "1970-01-01T00:00:00Z", "9999-12-31", date(9999, 12, 31), "00.00.0000", "1900-01-01 00:00:00"]
SAYS_YES: list[object] = [
    SECONDS * 1000,
    "Y",
    "t",
    "yes",
    "X",
    "31.12.2025",
    20251231,
    "20251231",
    "wahr",
    [1],
    10**5000,
    -1,
    2,
    "deleted",
]
CHANGES = ["_op", "Op", "__op", "_change_type", "METADATA$ACTION", "operation", "header__change_oper", "row_kind"]


@pytest.mark.parametrize("mark", SAYS_NO, ids=lambda mark: ascii(mark)[:30])
def test_a_column_that_looks_like_a_mark_and_says_no_is_not_warned_of(mark: object) -> None:
    marks = OtherMarks("refunds")
    marks.add("returns", OWN | {"is_deleted": mark})
    assert marks.lines() == []


@pytest.mark.parametrize("column", ["deleted_at", "is_removed", "removed_at", "_dlt_removed"])
@pytest.mark.parametrize(
    "mark", SAYS_YES, ids=lambda mark: type(mark).__name__ + ("" if mark == 10**5000 else ascii(mark)[:30])
)
def test_whatever_else_stands_in_a_column_that_looks_like_a_mark_is_warned_of(column: str, mark: object) -> None:
    marks = OtherMarks("refunds")
    marks.add("returns", OWN | {column: mark})
    (warning,) = marks.lines()
    assert warning.startswith(f"refunds: 1 record of returns with {column} set, which looks like a mark of deletion")


@pytest.mark.parametrize("column", CHANGES)
def test_a_column_of_changes_is_a_mark_where_it_says_delete_and_nowhere_else(column: str) -> None:
    marks = OtherMarks("refunds")
    for change in ("u", "I", "c", "r", "update", "INSERT", "delivery", "debit", "done", "", None, 1, True):
        marks.add("returns", OWN | {column: change})
    assert marks.lines() == []
    for change in ("d", "D", "delete", "DELETE", "-D"):
        marks.add("returns", OWN | {column: change})
    (warning,) = marks.lines()
    assert warning.startswith(f"refunds: 5 records of returns with {column} set")


SAYS_NOTHING: list[object] = [None, False, 0, "", "false", "False", "0", "0.0", " 0000-00-00", "0000-00-00T00:00:00Z"]


@pytest.mark.parametrize(
    ("column", "gone", "alive"),
    [
        (
            "deleted_at",
            [SECONDS * 1000, "31.12.2025", "1999-01-01"],
            ["1970-01-01", "9999-12-31 00:00:00", "00/00/0000"],
        ),
        ("is_deleted", ["Y", "soft-deleted"], ["N", "no", "F", "n/a", "--"]),
        ("__deleted", ["true", True, 1, "1", DELETION], []),
        ("_ab_cdc_deleted_at", [DELETION, DELETION[:10]], []),
        ("_op", ["d", " DELETE "], ["u", "x"]),
        ("METADATA$ACTION", ["DELETE"], ["INSERT"]),
    ],
    ids=str,
)
def test_the_map_that_the_warning_gives_reads_the_column_as_the_warning_does(
    klar: Sandbox, column: str, gone: list[object], alive: list[object]
) -> None:
    written = {f"gone {at}": (mark, own) for at, (mark, own) in enumerate(product(gone, (None, "false")))}
    written |= {f"alive {at}": (mark, None) for at, mark in enumerate([*alive, *SAYS_NOTHING])}
    written |= {f"gone by its own {at}": (mark, DELETION) for at, mark in enumerate([*alive, *SAYS_NOTHING])}
    rows = [refund_record(key, **{column: mark, MARK: own}) for key, (mark, own) in written.items()]
    lines = [REFUNDS_SCHEMA | {"schema": {"properties": {column: {}, MARK: {}}}}, *rows, state(1)]
    (warning,) = [text for text in run(klar, lines, hard_delete=True).warnings if "mark of deletion" in text]
    assert warning.startswith(f"refunds: {2 * len(gone)} records of refunds with {column} set")

    klar.clear()
    added = json.loads(warning.partition("add it to the stream's map: ")[2])
    ended = run(klar, lines, hard_delete=True, stream_maps=added)
    assert (ended.code, ended.states, ended.said("mark of deletion")) == (0, [1], []), ended.err
    assert {key: bool(held["lineItems"]) for key, held in klar.refunds.items()} == {
        key: key.startswith("alive") for key in written
    }


def test_whatever_stands_in_a_mark_the_advised_expressions_read_it_as_the_target_does() -> None:
    other = OtherMarks("refunds")
    other.add("returns", OWN | {"is_deleted": "Y"})
    (warning,) = other.lines()
    of_map = json.loads(warning.partition("add it to the stream's map: ")[2])["returns"][MARK]

    @settings(max_examples=size(300, 5000), deadline=None)
    @given(anything | st.sampled_from([mark for mark in SAYS_NO + SAYS_YES if mark != 10**5000]))
    def holds(mark: Any) -> None:
        evaluator = EvalWithCompoundTypes(functions={"str": str}, names={"record": {"is_deleted": mark, MARK: None}})
        marks = OtherMarks("refunds")
        marks.add("returns", OWN | {"is_deleted": mark})
        assert bool(evaluator.eval(of_map)) is bool(marks.lines())
        evaluator.names["record"] = {MARK: mark}
        if says_alive(mark) or isinstance(Conformer(CONTRACTS["refunds"]).conform(OWN | {MARK: mark}), Deleted):
            assert evaluator.eval(deleted_expression(MARK)) is not says_alive(mark)

    holds()


def test_a_mark_that_a_map_sets_itself_is_the_last_word() -> None:
    marks = OtherMarks("refunds")
    marks.add("returns", OWN | {"is_deleted": True}, OWN | {MARK: None})
    assert marks.lines() == []
    marks.add("returns", OWN | {"is_deleted": True, MARK: None}, OWN | {MARK: None})
    assert len(marks.lines()) == 1, "it only handed on what the tap wrote"


@pytest.mark.parametrize("hard_delete", [True, False])
@pytest.mark.parametrize("mapping", [None, EXPLICIT], ids=["no map", "a map that lists its fields"])
def test_a_record_with_another_mark_goes_on_and_the_map_that_the_warning_gives_cancels_it(
    klar: Sandbox, mapping: dict[str, Any] | None, *, hard_delete: bool
) -> None:
    source = "returns" if mapping else "refunds"
    maps = {source: {"__alias__": "refunds"} | mapping} if mapping else {}
    own = row("R", stream=source, __deleted="true", createdAt=REFUND_TIME, lineItems=OWN["lineItems"])
    source_schema = schema(source, created={"type": "integer"}, createdAt={}, lineItems={}, __deleted={})
    lines = [source_schema, own, state(1)]
    ended = run(klar, lines, hard_delete=hard_delete, stream_maps=maps)
    assert (ended.code, ended.states, [len(each["lineItems"]) for each in klar.refunds.values()]) == (0, [1], [1])
    (warning,) = [text for text in ended.warnings if "__deleted set" in text]
    assert warning.startswith(f"refunds: 1 record of {source} with __deleted set")

    added = json.loads(warning.partition("add it to the stream's map: ")[2])
    again = run(klar, lines, hard_delete=hard_delete, stream_maps={source: maps.get(source, {}) | added[source]})
    assert again.code == 0
    assert not [text for text in again.warnings if "__deleted set" in text]
    assert [len(each["lineItems"]) for each in klar.refunds.values()] == [0 if hard_delete else 1]


@pytest.mark.parametrize("mark", [MARK, "_SDC_DELETED_AT"])
def test_the_map_that_the_warning_gives_keeps_the_mark_that_is_there(klar: Sandbox, mark: str) -> None:
    columns: dict[str, Any] = {name: {} for name in ("createdAt", "lineItems", "deleted", mark)}
    marks: list[tuple[str, int, str | None]] = [("A", 0, DELETION), ("B", 1, None), ("C", 0, None)]
    rows = [record("refunds", id=key, deleted=other, **OWN_LINES, **{mark: own}) for key, other, own in marks]
    lines = [schema("refunds", **columns), *rows, state(1)]
    (warning,) = [text for text in run(klar, lines, hard_delete=True).warnings if "deleted set" in text]
    maps = json.loads(warning.partition("add it to the stream's map: ")[2])
    klar.clear()
    ended = run(klar, lines, hard_delete=True, stream_maps=maps)
    assert ended.code == 0, ended.err
    assert {key: len(held["lineItems"]) for key, held in klar.refunds.items()} == {"A": 0, "B": 0, "C": 1}


def test_a_field_that_a_map_sets_counts_and_not_the_taps_own_column_in_another_spelling(klar: Sandbox) -> None:
    maps = {"returns": {"__alias__": "refunds", "lineItems": "[{'lineItemId': 'L', 'refundedQuantity': 1}]"}}
    own = record("returns", id="R", created_at=REFUND_TIME, line_items=[{"sku": "S"}], LINEITEMS="x")
    ended = run(klar, [schema("returns", created_at={}, line_items={}), own, state(1)], stream_maps=maps)
    assert (ended.code, ended.states) == (0, [1])
    assert klar.refunds["R"]["lineItems"] == [{"lineItemId": "L", "refundedQuantity": 1}]
