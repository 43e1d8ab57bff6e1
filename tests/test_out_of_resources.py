"""A machine that runs out of something: what is in flight ends, what is covered goes out, and one line says why."""

from __future__ import annotations

import json
import re
import resource
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import program
import pytest
from messages import REFUNDS_SCHEMA, refund_record, state
from program import LONGEST_RUN
from watched import Watched, numbered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_klar.sandbox import Sandbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="limits of another process, and /proc, are Linux's"),
]

BATCH = 5
SETTINGS: dict[str, Any] = {
    "batch_size_rows": BATCH,
    "checkpoint_interval_seconds": 0,
    "max_parallel_requests": 2,
    "retry_timeout_seconds": 2,
}
MB = 1 << 20


def of(run: Watched, name: str) -> int:
    """What the kernel says of its memory, in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{run.process.pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def limit(run: Watched, kind: int, value: int) -> None:
    """Leave the process no more than this, from now on."""
    hard = resource.prlimit(run.process.pid, kind)[1]
    resource.prlimit(run.process.pid, kind, (value, hard))


def hold(klar: Sandbox, key: str) -> threading.Event:
    """Hold the load up in which one record is, until the event is set."""
    over = threading.Event()
    klar.refuse = lambda sent: sent["id"] == key and not over.wait(LONGEST_RUN)
    return over


def ends_in_one_line(run: Watched) -> str:
    """Wait for its end; return the one ERROR line, behind which the traceback of a bug may stand."""
    assert run.ended() == 1, run.err
    (error,) = run.errors
    assert run.ahead == []
    assert error.endswith((" records read.", "No STATE was written.")), error
    return error


def test_without_memory_what_is_in_flight_ends_and_the_state_over_it_goes_out(klar: Sandbox) -> None:
    over = hold(klar, f"R-{2 * BATCH}")
    with Watched(klar, **SETTINGS) as run:
        run.feed([REFUNDS_SCHEMA, *numbered(1, 2 * BATCH, every=1)], ends=False)
        run.until(lambda: len(klar.posts()) == 2)
        limit(run, resource.RLIMIT_AS, of(run, "VmSize") + 16 * MB)
        run.feed([refund_record("late", note="n" * 50 * MB)])
        over.wait(1)  # by then it has run out, and waits
        over.set()
        error = ends_in_one_line(run)

    assert error.startswith("Out of memory.")
    assert run.states[-1] == 2 * BATCH
    assert "R-1" not in run.err


def test_a_thread_that_cannot_be_started_is_done_without_where_there_is_another(klar: Sandbox) -> None:
    with Watched(klar, **SETTINGS) as run:
        run.feed([REFUNDS_SCHEMA, *numbered(1, BATCH, every=1)], ends=False)
        run.until(lambda: run.states[-1:] == [BATCH])
        limit(run, resource.RLIMIT_AS, of(run, "VmSize") + 4 * MB)  # a thread's stack takes eight
        run.feed(numbered(BATCH + 1, 6 * BATCH, every=1))
        assert run.ended() == 0, run.err
    assert run.states[-1] == 6 * BATCH


def test_without_any_thread_nothing_is_sent_and_no_state_goes_out(klar: Sandbox) -> None:
    with Watched(klar, **SETTINGS) as run:
        run.feed([REFUNDS_SCHEMA, *numbered(1, BATCH - 1, every=1)], ends=False)
        run.until(lambda: "target-klar" in run.err)
        run.until_it_listens()
        limit(run, resource.RLIMIT_AS, of(run, "VmSize") + 4 * MB)
        run.feed([refund_record("last"), state("last")])
        error = ends_in_one_line(run)
    assert error.startswith("No thread can be started. Raise the limits")
    assert (run.states, klar.posts()) == ([], [])


def test_without_descriptors_what_is_in_flight_ends_and_the_state_over_it_goes_out(klar: Sandbox) -> None:
    """The connection for a second request at once cannot be opened."""
    over = hold(klar, f"R-{2 * BATCH}")
    with Watched(klar, **SETTINGS) as run:
        run.feed([REFUNDS_SCHEMA, *numbered(1, 2 * BATCH, every=1)], ends=False)
        run.until(lambda: len(klar.posts()) == 2)
        limit(run, resource.RLIMIT_NOFILE, 4)
        run.feed(numbered(2 * BATCH + 1, 3 * BATCH, every=1))
        over.wait(4)  # longer than it tries
        limit(run, resource.RLIMIT_NOFILE, 1024)
        over.set()
        error = ends_in_one_line(run)
    assert "Too many open files" in error
    assert run.states[-1] == 2 * BATCH


def test_states_that_grow_with_every_record_take_no_memory_and_leave_on_the_way(klar: Sandbox) -> None:
    """One STATE with each of 4,000 refunds, up to 500 kB each: a gigabyte in all."""

    def lines() -> Iterator[Any]:
        yield REFUNDS_SCHEMA
        for number in range(1, 4001):
            yield refund_record(f"R-{number}")
            yield f'{{"type":"STATE","value":{{"number":{number},"partitions":"{"p" * 125 * number}"}}}}'

    with Watched(klar, start=program.start, checkpoint_interval_seconds=0) as run:
        run.feed(lines(), ends=False)
        run.until(lambda: len(klar.refunds) == 4000 and run.states and run.states[-1]["number"] == 4000, within=100)
        peak = of(run, "VmHWM")
    assert peak < 200 * MB
    assert len(run.states) > 2, json.dumps([each["number"] for each in run.states])
