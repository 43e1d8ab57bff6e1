"""The main job, over the whole program: a Singer stream lands in Klar, and its STATE comes out."""

from __future__ import annotations

import json
import select
import time
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

from forked import run, start
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, line, refund_record, state
from program import run as run_afresh
from samples import COST_COUNT, REFUND_COUNT, SAMPLE

if TYPE_CHECKING:
    from forked import Forked

    from target_klar.sandbox import Request, Sandbox


# The main job


def test_2345_refunds_and_1234_costs_in_one_stream_all_arrive_and_the_last_state_comes_out(klar: Sandbox) -> None:
    messages = [json.loads(text) for text in SAMPLE.read_text().splitlines()]
    states = [message["value"] for message in messages if message["type"] == "STATE"]
    wanted = [message for message in messages if message["type"] == "RECORD"]
    ended = run_afresh(klar, SAMPLE)
    assert ended.code == 0
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
    places = [states.index(value) for value in ended.states]
    assert places == sorted(set(places))
    assert places[-1] == len(states) - 1
    assert ended.errors == ended.warnings == []


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
    assert ended.warnings == [
        "status_timeout_seconds is 0: Klar's status only has to answer, and need not show a load."
    ]
    assert klar.requests[-1].on == "status"


def test_an_empty_input_is_a_success_without_a_request(klar: Sandbox) -> None:
    ended = run(klar, [REFUNDS_SCHEMA, COSTS_SCHEMA])
    assert (ended.code, ended.out, klar.requests) == (0, "", [])


# STATE


def read_line(process: Forked, seconds: float = 30) -> bytes:
    """The next line on stdout, empty if none comes in time."""
    assert process.stdout
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.readline() if ready else b""


def test_a_state_with_nothing_outstanding_goes_out_at_once_though_the_tap_stays_silent(klar: Sandbox) -> None:
    process = start({"api_token": klar.token, "api_url": klar.url, "checkpoint_interval_seconds": 3600})
    process.stdin.write(line(REFUNDS_SCHEMA) + line(state({"page": 1})))
    process.stdin.flush()
    assert json.loads(read_line(process)) == {"page": 1}
    assert klar.requests == []
    out, _ = process.communicate(line(state({"page": 2})), timeout=60)
    assert (process.returncode, json.loads(out)) == (0, {"page": 2})


def test_a_record_waits_no_longer_than_the_batch_wait_limit_though_the_tap_stays_silent(klar: Sandbox) -> None:
    began = time.monotonic()
    settings = {"batch_wait_limit_seconds": 1, "checkpoint_interval_seconds": 0}
    process = start({"api_token": klar.token, "api_url": klar.url} | settings)
    lines = [REFUNDS_SCHEMA, COSTS_SCHEMA, refund_record("a"), refund_record("b"), cost_record("c"), state(1)]
    process.stdin.write(b"".join(map(line, lines)))
    process.stdin.flush()
    assert read_line(process) == b"1\n"
    assert time.monotonic() - began > 1, "it waited for more records"
    assert (set(klar.refunds), set(klar.transaction_costs), len(klar.posts())) == ({"a", "b"}, {"c"}, 2)
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
