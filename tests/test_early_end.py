"""A run that several errors end: the first record that stops it is named first, and no error is lost."""

from __future__ import annotations

import json
import re
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from byte_server import Reply, serve
from clients import answer
from forked import run
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, refund_record, state
from watched import Watched

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from byte_server import Request, Served

BROKEN = '{"type": "RECORD", "stream": "refunds", "rec'
KEY = re.compile(rb'"(?:id|orderId)": ?"(\w+)"')
EAGER: dict[str, Any] = {"batch_size_rows": 10, "status_timeout_seconds": 0, "retry_timeout_seconds": 0}
NOT_JSON = "Line {} of the input: not valid JSON"


def refunds(first: int, last: int) -> Iterator[Any]:
    """Refunds R10, R11, ..., each with a STATE of its number."""
    return (each for number in range(first, last) for each in (refund_record(f"R{number}"), state(number)))


def judging(
    rejected: str, *, takes: Mapping[str, float] | None = None, status: str = "201 Created", heard: list[str]
) -> AbstractContextManager[Served]:
    """A Klar that rejects refunds by name; a load that has a refund of `takes` is answered after so many seconds.

    Loads without a rejected refund are answered with `status` once R10 was taken. `heard` lists what came in.
    """

    def reply(request: Request) -> Reply:
        if request.head.startswith(b"GET"):
            return Reply(answer("200 OK", b"{}"))
        ids = [key.decode() for key in KEY.findall(request.body)]
        heard.extend(ids)
        time.sleep(max([0.0, *(seconds for key, seconds in (takes or {}).items() if key in ids)]))
        faults = [
            {"key": f"{at}.id", "message": "is not wanted"} for at, key in enumerate(ids) if key in rejected.split()
        ]
        if faults:
            return Reply(answer("400 Bad Request", json.dumps({"status": "INVALID", "errors": faults}).encode()))
        return Reply(answer("201 Created" if "R10" in ids else status, b""))

    return serve(choose=reply)


def test_a_record_that_klar_rejects_is_named_though_a_broken_line_came_before_its_answer() -> None:
    heard: list[str] = []
    with judging("R27", takes={"R27": 0.3}, heard=heard) as klar:
        ended = run(klar, [REFUNDS_SCHEMA, *refunds(10, 35), BROKEN], **EAGER)

    assert (ended.code, ended.states[-1]) == (1, 26)
    (error,) = ended.errors
    assert error.startswith("Klar rejected refunds R27: id is not wanted. The run stops before this record. Set `rej")
    assert f" Also: {NOT_JSON.format(52)}" in error
    assert error.endswith("The last STATE written covers 17 of the 25 records read.")


def test_of_two_rejected_records_the_earlier_one_is_named_first_though_it_is_answered_last() -> None:
    heard: list[str] = []
    with judging("R27 R33", takes={"R27": 0.4}, heard=heard) as klar:
        ended = run(klar, [REFUNDS_SCHEMA, *refunds(10, 45)], **EAGER)

    (error,) = ended.errors
    first, _, second = error.partition(" Also: ")
    assert first.startswith("Klar rejected refunds R27: id is not wanted. The run stops before this record.")
    assert (
        second
        == "Klar rejected refunds R33: id is not wanted. The last STATE written covers 17 of the 35 records read."
    )
    assert ended.states[-1] == 26


def test_a_record_that_klar_rejects_while_another_request_fails_for_good_is_named_too() -> None:
    heard: list[str] = []
    with judging("R20", takes={"R20": 0.4}, status="401 Unauthorized", heard=heard) as klar:
        ended = run(klar, [REFUNDS_SCHEMA, *refunds(10, 60)], **EAGER)

    (error,) = ended.errors
    assert error.startswith("Klar rejected refunds R20: id is not wanted.")
    assert " Also: The API token was refused (HTTP 401" in error
    assert ended.states[-1] == 19


def test_a_record_that_klar_rejects_after_a_signal_is_named() -> None:
    heard: list[str] = []
    with judging("R20", takes={"R20": 0.5}, heard=heard) as klar, Watched(klar, **EAGER) as process:
        process.feed([REFUNDS_SCHEMA, *refunds(10, 30)], ends=False)
        process.until(lambda: "R20" in heard)
        process.signal(signal.SIGTERM)

        assert process.ended() == 143
        (error,) = process.errors
        assert error.startswith("Klar rejected refunds R20: id is not wanted. The run stops before this record.")


def test_what_came_before_a_rejected_record_is_delivered_though_its_batch_was_just_being_submitted() -> None:
    heard: list[str] = []
    lines = [REFUNDS_SCHEMA, COSTS_SCHEMA, *refunds(10, 20), cost_record("C1"), state("C1"), *refunds(20, 30)]
    lines += [each for number in range(2, 11) for each in (cost_record(f"C{number}"), state(f"C{number}"))]
    with judging("R27", takes={"R20": 0.4}, heard=heard) as klar:
        ended = run(klar, lines, max_parallel_requests=1, **EAGER)

    assert "C1" in heard
    assert (ended.code, ended.states[-1]) == (1, 26)


@pytest.mark.parametrize("ending", ["whole", "broken line", "rejected record", "refused token"])
def test_the_metric_of_the_sdk_is_sent_once_a_stream_however_the_run_ends(ending: str) -> None:
    heard: list[str] = []
    rejected, status = "R27" * (ending == "rejected record"), "401 Unauthorized" if "token" in ending else "201 Created"
    lines = [REFUNDS_SCHEMA, *refunds(10, 30), *[BROKEN] * (ending == "broken line")]
    with judging(rejected, takes={"R27": 0.2}, status=status, heard=heard) as klar:
        ended = run(klar, lines, **EAGER)

    assert ended.code == (ending != "whole")
    (metric,) = [text for text in ended.said("METRIC") if '"record_count"' in text]
    assert '"value":20' in metric
