"""The main job, over the whole program: a Singer stream lands in Klar, and its STATE comes out."""

from __future__ import annotations

import gzip
import json
import re
import select
import time
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from klar_objects import REFUND_TIME
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, line, record, refund_record, schema, state
from program import run as run_afresh
from program import start
from samples import COST_COUNT, REFUND_COUNT, SAMPLE

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from target_klar.sandbox import Request, Sandbox

MESSAGES = [json.loads(text) for text in SAMPLE.read_text().splitlines()]
STATES = [message["value"] for message in MESSAGES if message["type"] == "STATE"]


def told(ended: Any, level: str) -> list[str]:
    """What the run said at a level, without time and logger."""
    return [text.split("|", 3)[3].strip() for text in ended.err.splitlines() if f"| {level} " in text]


def summary(ended: Any, stream: str) -> dict[str, int]:
    """The counts in the last line about a stream."""
    last = [text for text in told(ended, "INFO") if text.startswith(f"{stream}: ") and " read, " in text][-1]
    parts = last.partition(": ")[2].split(", ")
    plural = {"request": "requests", "retry": "retries"}
    counts = (part.split(" ", 1) for part in parts)
    return {plural.get(name, name): int(number) for number, name in counts if number.isdigit()}


def rejected(path: Path) -> list[dict[str, Any]]:
    """The RECORD lines of a rejects file."""
    return [found for text in path.read_text().splitlines() if (found := json.loads(text))["type"] == "RECORD"]


# The main job


def test_2345_refunds_and_1234_costs_in_one_stream_all_arrive_and_the_last_state_comes_out(klar: Sandbox) -> None:
    ended = run_afresh(klar, SAMPLE)
    assert ended.code == 0
    wanted = [message for message in MESSAGES if message["type"] == "RECORD"]
    assert klar.refunds.keys() == {str(each["record"]["id"]) for each in wanted if each["stream"] == "refunds"}
    sent = {str(each["record"]["order_id"]): each["record"] for each in wanted if each["stream"] == "transaction_costs"}
    assert {key: held["transactionCosts"] for key, held in klar.transaction_costs.items()} == {
        key: Decimal(str(each["transaction_costs"])) for key, each in sent.items()
    }
    assert (len(klar.refunds), len(klar.transaction_costs)) == (REFUND_COUNT, COST_COUNT)
    assert sorted(seen.count or 0 for seen in klar.posts("refunds")) == [345, 1000, 1000]
    assert sorted(seen.count or 0 for seen in klar.posts("transaction_costs")) == [234, 1000]
    for stream in ("refunds", "transaction_costs"):
        seen = [request for request in klar.requests if request.stream == stream]
        assert seen[0].on == seen[-1].on == "status"
    assert {(seen.path, seen.on) for seen in klar.requests} == {
        ("/12.2022/refunds/json", "post"),
        ("/06.2024/transaction-costs/json", "post"),
        ("/refunds/status", "status"),
        ("/transaction-costs/status", "status"),
    }
    assert all(seen.authorized and seen.user_agent.startswith("target-klar/") for seen in klar.requests)
    places = [STATES.index(value) for value in ended.states]
    assert places == sorted(set(places))
    assert places[-1] == len(STATES) - 1
    assert ended.errors == told(ended, "WARNING") == []


def test_a_status_that_never_shows_the_load_ends_the_run_and_no_state_comes_out(klar: Sandbox) -> None:
    klar.status_frozen = True
    began = time.monotonic()
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), state(1)], status_timeout_seconds=1)
    assert (ended.code, ended.out) == (1, "")
    assert 0.5 < time.monotonic() - began < 15
    assert len(ended.errors) == 1


def test_the_first_request_is_called_that_of_its_stream(klar: Sandbox) -> None:
    def freeze(moment: str, request: Request) -> None:
        klar.status_frozen |= moment == "received" and request.on == "post" and bool(klar.refunds)

    klar.observer = freeze
    lines = [REFUNDS_SCHEMA, refund_record("a"), state(1), COSTS_SCHEMA, cost_record("c"), state(2)]
    ended = run(klar, lines, status_timeout_seconds=1, batch_size_rows=1, max_parallel_requests=1)
    assert (ended.code, [*klar.refunds], [*klar.transaction_costs]) == (1, ["a"], ["c"])
    assert "transaction_costs: Klar accepted records, but" in ended.errors[0]
    assert "It was the first request of transaction_costs in this run, with 1 record." in ended.errors[0]


def test_a_klar_that_takes_a_body_and_counts_nothing_is_found_at_the_first_request(klar: Sandbox) -> None:
    klar.counts_nothing = True
    ended = run(klar, SAMPLE.read_bytes().splitlines()[:3000], max_parallel_requests=1)
    assert (ended.code, ended.out) == (1, "")
    assert len(klar.posts()) == 1
    assert ended.errors[0].startswith(
        "refunds: Klar accepted the first request, but its status counts 0, not the 1000 sent"
    )


def test_a_status_that_only_has_to_answer_lets_the_state_out_with_one_warning(klar: Sandbox) -> None:
    klar.status_frozen = True
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), state(1)], status_timeout_seconds=0)
    assert (ended.code, ended.states) == (0, [1])
    assert told(ended, "WARNING") == [
        "status_timeout_seconds is 0: Klar's status only has to respond, its counts are not checked."
    ]
    assert klar.requests[-1].on == "status"


def test_an_empty_input_is_a_success_without_a_request(klar: Sandbox) -> None:
    ended = run(klar, [REFUNDS_SCHEMA, COSTS_SCHEMA])
    assert (ended.code, ended.out, klar.requests) == (0, "", [])


# STATE


def read_line(process: subprocess.Popen[bytes], seconds: float = 30) -> bytes:
    """The next line on stdout, empty if none comes in time."""
    assert process.stdout
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.readline() if ready else b""


def test_a_state_with_nothing_outstanding_goes_out_at_once_though_the_tap_stays_silent(klar: Sandbox) -> None:
    process = start({"api_token": klar.token, "api_url": klar.url, "checkpoint_interval_seconds": 3600})
    assert process.stdin
    process.stdin.write(line(REFUNDS_SCHEMA) + line(state({"page": 1})))
    process.stdin.flush()
    assert json.loads(read_line(process)) == {"page": 1}
    assert klar.requests == []
    out, _ = process.communicate(line(state({"page": 2})), timeout=60)
    assert (process.returncode, json.loads(out)) == (0, {"page": 2})


def test_a_record_waits_no_longer_than_the_batch_delay_though_the_tap_stays_silent(klar: Sandbox) -> None:
    process = start({"api_token": klar.token, "api_url": klar.url, "batch_wait_limit_seconds": 1})
    assert process.stdin
    process.stdin.write(line(REFUNDS_SCHEMA) + line(refund_record("a")) + line(state(1)))
    process.stdin.flush()
    assert read_line(process) == b"1\n"
    assert klar.refunds.keys() == {"a"}
    assert process.communicate(timeout=60)[0] == b""
    assert process.returncode == 0


def test_an_interval_of_0_lets_a_state_out_after_every_batch_that_is_confirmed(klar: Sandbox) -> None:
    lines = chain.from_iterable((refund_record(str(number)), state(number)) for number in range(1, 9))
    settings: dict[str, Any] = {"batch_size_rows": 2, "max_parallel_requests": 1, "checkpoint_interval_seconds": 0}
    klar.latency = 0.05
    ended = run(klar, [REFUNDS_SCHEMA, *lines], **settings)
    assert ended.code == 0
    assert ended.states in ([2, 4, 6, 8], [2, 4, 8], [2, 6, 8], [4, 6, 8])  # two may be confirmed at once


def test_a_state_goes_out_with_the_text_that_came_in(klar: Sandbox) -> None:
    text = '{"a": [1.10, 1e-7, 12345678901234567.89, 123456789012345678901234567890, -0.0], "b": "\\u00e4 \\/"}'
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), f'{{"type": "STATE", "value": {text}}}'])
    assert (ended.code, ended.out) == (0, text + "\n")


# Numbers


NUMBERS = ["1.10", "0.1", "2.675", "1e-7", "12345678901234567.89", "9223372036854775807", "18446744073709551616"]
NUMBERS += ["123456789012345678901234567890", "-0.00", "100", "-19.99", "0"]


@pytest.mark.parametrize("maps", [None, {"transaction_costs": {}}], ids=["unmapped", "mapped"])
def test_a_number_arrives_with_the_decimal_value_that_the_tap_wrote(klar: Sandbox, maps: Any) -> None:
    body = '{"type": "RECORD", "stream": "transaction_costs", "record": {"orderId": "%s", "transactionCosts": %s}}'
    as_text = [json.dumps(number) for number in NUMBERS]
    lines = [body % (index, number) for index, number in enumerate(NUMBERS + as_text)]
    ended = run(klar, [COSTS_SCHEMA, *lines], **({"stream_maps": maps} if maps else {}))
    assert ended.code == 0
    sent = json.loads(klar.bodies[0], parse_float=str, parse_int=str)["items"]
    assert [Decimal(each["transactionCosts"]) for each in sent] == [*map(Decimal, NUMBERS), *map(Decimal, NUMBERS)]
    for number in ("1.10", "2.675", "12345678901234567.89", "123456789012345678901234567890"):
        assert klar.bodies[0].replace(b" ", b"").count(f'"transactionCosts":{number}'.encode()) == 2


# Stream maps


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
    assert summary(ended, "refunds")["merged"] == 1


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


def test_records_that_a_filter_leaves_out_are_neither_sent_nor_waited_for(klar: Sandbox) -> None:
    maps = {"refunds": {"__filter__": "id != 'b'"}}
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), refund_record("b"), state(1)], stream_maps=maps)
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a"})


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
    assert [each["record"] for each in rejected(rejects)] == [refund_record("b", createdAt="soon")["record"]]
    assert "could not be mapped" in rejected(rejects)[0]["errors"][0]["message"]


# BATCH messages


def batch(stream: str, *files: Path, compression: str | None = None) -> dict[str, Any]:
    """A BATCH message that names files of JSON lines."""
    encoding = {"format": "jsonl", "compression": compression}
    return {"type": "BATCH", "stream": stream, "encoding": encoding, "manifest": [file.as_uri() for file in files]}


def test_batch_files_plain_and_packed_and_larger_than_a_request_go_the_way_of_records(
    klar: Sandbox, tmp_path: Path
) -> None:
    plain, packed, costs = (tmp_path / name for name in ("plain.jsonl", "packed.jsonl.gz", "costs.jsonl"))
    rows = [json.dumps(refund_record(f"r-{number}", note="n")["record"]) + "\n" for number in range(2500)]
    plain.write_text("".join(rows[:1200]))
    packed.write_bytes(gzip.compress("\n".join(rows[1200:]).encode()))
    costs.write_text('{"order": 1, "fee": 1.10}\n\n{"order": 2, "fee": 2.675}')
    fields = {"__alias__": "transaction_costs", "orderId": "order", "transactionCosts": "fee"}
    maps = {"fees": fields | {"__key_properties__": ["orderId"], "__else__": "__NULL__"}}
    lines = [REFUNDS_SCHEMA, schema("fees", key="order", fee={"type": "number"}), batch("refunds", plain)]
    lines += [batch("refunds", packed, compression="gzip"), batch("fees", costs), refund_record("after"), state(1)]
    ended = run(klar, lines, stream_maps=maps)
    assert (ended.code, ended.states) == (0, [1])
    assert klar.refunds.keys() == {f"r-{number}" for number in range(2500)} | {"after"}
    assert sorted(seen.count or 0 for seen in klar.posts("refunds")) == [501, 1000, 1000]
    assert {key: str(held["transactionCosts"]) for key, held in klar.transaction_costs.items()} == {
        "1": "1.10",
        "2": "2.675",
    }


def test_a_bad_line_of_a_batch_file_is_a_bad_record_like_any_other(klar: Sandbox, tmp_path: Path) -> None:
    file, rejects = tmp_path / "rows.jsonl", tmp_path / "rejects.jsonl"
    good = json.dumps(refund_record("a")["record"]).encode()
    file.write_bytes(b"\n".join([good, b"{not json", b"[1]", b"\xff\xfe", good.replace(b'"a"', b'"z"')]))
    ended = run(klar, [REFUNDS_SCHEMA, batch("refunds", file), state(1)], rejects_path=str(rejects))
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a", "z"})
    set_aside = [each["record"] for each in rejected(rejects)]
    assert set_aside[1] == [1]
    assert [text.strip() for text in set_aside[::2]] == ["{not json", "\ufffd\ufffd"]
    assert {each["errors"][0]["message"].partition(" (")[0] for each in rejected(rejects)} == {"must be an object"}


@pytest.mark.parametrize(
    "place", ["", "s3://bucket/rows.jsonl", "nowhere://rows.jsonl"], ids=["missing", "s3", "unknown"]
)
def test_a_batch_file_that_cannot_be_read_stops_the_run_with_all_before_it_delivered(
    klar: Sandbox, tmp_path: Path, place: str
) -> None:
    message = batch("refunds") | {"manifest": [place or str(tmp_path / "none.jsonl")]}
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), state(1), message, refund_record("z"), state(2)])
    assert (ended.code, ended.states, set(klar.refunds)) == (1, [1], {"a"})
    assert len(ended.errors) == 1
    assert ended.errors[0].startswith(f"The batch file {message['manifest'][0]} of refunds cannot be read (")
    assert "Traceback" not in ended.err


def test_a_packed_batch_file_that_is_cut_or_has_an_endless_line_stops_with_all_before_it_delivered(
    klar: Sandbox, tmp_path: Path
) -> None:
    rows = [json.dumps(refund_record(f"r-{number}", note=f"{hash(str(number))}")["record"]) for number in range(20_000)]
    whole = gzip.compress("\n".join(rows).encode())
    cut, endless = tmp_path / "cut.jsonl.gz", tmp_path / "endless.jsonl.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    endless.write_bytes(gzip.compress("\n".join(rows[:5000]).encode()) + gzip.compress(b"x" * (80 << 20), 1))
    for file, told in (
        (cut, f"The batch file {cut.as_uri()} of refunds cannot be read (Compressed file ended"),
        (endless, f"Line 5000 of the batch file {endless.as_uri()} of refunds: longer than 64 MB. "),
    ):
        klar.refunds.clear()
        message = batch("refunds", file, compression="gzip")
        ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), state(1), message, refund_record("z"), state(2)])
        assert (ended.code, ended.states, len(ended.errors)) == (1, [1], 1), ended.err
        assert ended.errors[0].startswith(told)
        assert "sed -n" not in ended.errors[0]  # which would show the BATCH message
        assert "a" in klar.refunds
        assert 4000 < len(klar.refunds) < 20_000
        assert "z" not in klar.refunds


# Deleted and cancelled records


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
    assert told(ended, "WARNING") == [
        "refunds: 2 deleted records skipped; set `hard_delete` to cancel them at Klar",
        "transaction_costs: 1 deleted record skipped",
    ]
    counts = summary(ended, "refunds")
    assert (counts["deleted"], counts["cancelled"], counts["stored"]) == (2, 1, 3)


def test_with_hard_delete_a_deleted_refund_is_cancelled_and_a_deleted_cost_stays_skipped(klar: Sandbox) -> None:
    ended = run(klar, DELETED, hard_delete=True)
    assert (ended.code, ended.states) == (0, [1])
    assert klar.refunds["key-alone"] == {"id": "key-alone", "createdAt": REFUND_TIME, "lineItems": []}
    assert klar.refunds["whole"] == {"id": "whole", "createdAt": REFUND_TIME + 5, "lineItems": []}
    assert klar.refunds["alive"]["lineItems"] != []
    assert klar.transaction_costs == {}
    assert summary(ended, "refunds")["cancelled"] == 3
    assert told(ended, "WARNING") == ["transaction_costs: 1 deleted record skipped"]


# The dry run


def test_a_dry_run_checks_everything_loads_nothing_and_writes_no_state(klar: Sandbox, tmp_path: Path) -> None:
    good = [REFUNDS_SCHEMA, COSTS_SCHEMA, refund_record("a"), cost_record("c"), state(1)]
    ended = run(klar, good, validate_only=True)
    assert (ended.code, ended.out) == (0, "")
    assert [(seen.path, seen.count) for seen in klar.requests] == [("/12.2022/refunds/validate", 1)]
    assert (klar.refunds, klar.transaction_costs) == ({}, {})

    klar.refuse = lambda sent: sent.get("id") == "unwanted"
    rejects, dry_run = tmp_path / "rejects.jsonl", tmp_path / "rejects.jsonl.dry-run"
    bad = [
        refund_record("unwanted"),
        refund_record("b", createdAt="soon"),
        cost_record("d", "many"),
        refund_record("e"),
    ]
    ended = run(klar, [*good, *bad, state(2)], validate_only=True, rejects_path=str(rejects))
    assert (ended.code, ended.out) == (1, "")
    assert ended.errors == [
        (
            "validate_only: 3 of 6 records rejected. The warnings above name field and reason: correct the "
            "mapping or the source."
        )
    ]
    assert sorted((each["source"], *each["record"].values())[:2] for each in rejected(dry_run)) == [
        ("contract", "b"),
        ("contract", "d"),
        ("klar", "unwanted"),
    ]
    assert {seen.path for seen in klar.requests} == {"/12.2022/refunds/validate"}
    assert (klar.refunds, klar.transaction_costs) == ({}, {})


def test_a_dry_run_goes_on_to_the_end_and_logs_the_first_20_refusals(klar: Sandbox, tmp_path: Path) -> None:
    klar.refuse = lambda sent: int(sent["id"]) < 60
    rejects, dry_run = tmp_path / "rejects.jsonl", tmp_path / "rejects.jsonl.dry-run"
    lines = [refund_record(str(number), createdAt="soon" if number % 2 else REFUND_TIME) for number in range(100)]
    ended = run(
        klar,
        [REFUNDS_SCHEMA, *lines, state(1)],
        validate_only=True,
        rejects_path=str(rejects),
        rejects_limit=5,
        batch_size_rows=10,
    )
    assert (ended.code, ended.out) == (1, "")
    assert ended.errors == [
        (
            "validate_only: 80 of 100 records rejected. The warnings above name field and reason: correct the "
            "mapping or the source."
        )
    ]
    assert len(rejected(dry_run)) == 80
    assert len([text for text in told(ended, "WARNING") if " Written to " in text]) == 20


# What an operator reads


def test_the_summary_tells_what_became_of_each_stream(klar: Sandbox, tmp_path: Path) -> None:
    klar.misbehave("transaction_costs/503@1")
    lines = [
        REFUNDS_SCHEMA,
        COSTS_SCHEMA,
        refund_record("a"),
        refund_record("a", 2),
        refund_record("b", createdAt="soon"),
        cost_record("c", 1),
        cost_record("c", 2),
    ]
    lines += [cost_record("d", 1), cost_record("d", 1), cost_record("c", 3), state(1)]
    rejects = tmp_path / "rejects.jsonl"
    ended = run(klar, lines, rejects_path=str(rejects))
    assert (ended.code, ended.states) == (0, [1])
    zero = {"cancelled": 0, "deleted": 0, "filtered": 0}
    one = {"stored": 1, "read": 3, "merged": 1, "rejected": 1, "requests": 1, "retries": 0} | zero
    two = {"stored": 2, "read": 5, "merged": 3, "rejected": 0, "requests": 2, "retries": 1} | zero
    assert one.items() <= summary(ended, "refunds").items()
    assert two.items() <= summary(ended, "transaction_costs").items()
    ends = [text for text in told(ended, "INFO") if " read, " in text]
    submitted = [re.search(r"Klar's total: (\d) \(as of \d\d:\d\d:\d\d UTC\)$", line) for line in ends]
    assert [found and found[1] for found in submitted] == ["1", "2"]
    assert (
        "transaction_costs: 1 key (orderId) came again with other transactionCosts, and Klar keeps the last record of "
        "a key. If rows are parts of one, aggregate them before target-klar. Ignore this if they are updates."
    ) in told(ended, "WARNING")
    assert told(ended, "WARNING")[-1] == (
        f"Records rejected: 1, see {rejects}. Most often: 1 x createdAt must be a time, as Unix seconds or as a date"
    )
    metrics = [json.loads(text.partition("METRIC: ")[2]) for text in ended.said("rejected_records")]
    assert {(each["tags"]["stream"], each["value"]) for each in metrics} == {("refunds", 1), ("transaction_costs", 0)}


def test_a_map_that_renames_alone_does_not_hide_another_one_that_matches(klar: Sandbox) -> None:
    maps = {"refunds": {"__alias__": "refunds"}, "refund*": {"id": "'x-' + id"}}
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), state(1)], stream_maps=maps)
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"x-a"})


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
