"""SIGTERM and SIGINT at every kind of moment, to the program as a process.

Whatever it is doing: exit 143 or 130 soon, nothing new sent, and no STATE that covers what Klar does not hold.
"""

from __future__ import annotations

import itertools
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import program
import pytest
from messages import BY_STREAM, COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, refund_record, schema, state
from watched import Watched, numbered, together

from target_klar.sandbox import Request, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

TERM, INT = signal.SIGTERM, signal.SIGINT
CODES: dict[int, int] = {TERM: 143, INT: 130}
PATIENCE = 27.0
"""Three times the grace: a container would have killed it."""
GRACE = 9.0
of_each_stream = pytest.mark.parametrize("stream", BY_STREAM)
AT_ONCE = 1.0
"""Seconds within which a run has heard a signal; what another thread begins in that time may still be sent."""

SMALL: dict[str, Any] = {"batch_size_rows": 5, "checkpoint_interval_seconds": 0, "max_parallel_requests": 1}
RECORDS = 100


class Trigger:
    """Sends a signal from within Klar, while the n-th request of its sort waits to be handled."""

    def __init__(self, moment: str, nth: int, number: int, *, later: float = 0.0) -> None:
        self.run: Watched | None = None
        self.fired = threading.Event()
        self._moment, self._nth, self._number, self._later = moment, nth, number, later
        self._seen = 0
        self.posts = 0

    def __call__(self, moment: str, request: Request) -> None:
        self.posts += moment == "received" and request.on == "post"
        if moment != self._moment or (moment != "status" and request.on != "post"):
            return
        self._seen += 1
        if self._seen == self._nth:
            time.sleep(self._later)
            assert self.run is not None
            self.run.signal(self._number)
            self.fired.set()


def held(klar: Sandbox, stream: str = "refunds") -> Callable[[int], set[str]]:
    """Return what Klar does not hold of that which a STATE covers."""
    return lambda number: {f"R-{each}" for each in range(1, number + 1)} - klar.held(stream).keys()


def feed(stream: str, last: int = RECORDS) -> list[Any]:
    """Records of a stream, each with a STATE."""
    return [schema(stream), *numbered(1, last, every=1, make=BY_STREAM[stream])]


def interrupted(
    klar: Sandbox,
    trigger: Trigger,
    lines: list[Any] | None = None,
    meanwhile: Callable[[Request], None] = lambda _: None,
    stream: str = "refunds",
    **settings: Any,
) -> Watched:
    """Load records until the trigger's signal has ended the run, and check what holds of every such run.

    `meanwhile` is called at each request, before the trigger sees it.
    """

    def observe(moment: str, request: Request) -> None:
        meanwhile(request)
        trigger(moment, request)

    klar.observer = observe
    with Watched(klar, missing=held(klar, stream), **SMALL | settings) as run:
        trigger.run = run
        run.feed(lines or feed(stream))
        code = run.ended(PATIENCE + 30)
    assert trigger.fired.is_set(), run.err
    well_ended(run, code, trigger._number)
    late = [post for post in klar.posts() if post.started > run.signalled[0] + AT_ONCE]
    assert late == [], "a request was sent after the signal"
    return run


def well_ended(run: Watched, code: int, number: int) -> None:
    assert code == CODES[number], run.err
    assert run.started + run.took - run.signalled[0] < PATIENCE
    assert run.ahead == []
    assert run.states == sorted(set(run.states))
    assert [error for error in run.errors if not error.startswith("A STATE could not be written")] == []
    assert "Traceback" not in run.err
    assert f"Stopped by {signal.Signals(number).name}." in run.err


def contiguous(klar: Sandbox, stream: str = "refunds") -> int:
    """The number up to which Klar holds every record."""
    keys = klar.held(stream).keys()
    return next(number for number in range(RECORDS + 1) if f"R-{number + 1}" not in keys)


# During a POST


@of_each_stream
def test_a_signal_during_a_request_lets_it_finish_and_writes_the_state_that_it_completes(stream: str) -> None:
    def scenario(nth: int, number: int) -> None:
        with Sandbox(latency=0.3) as klar:
            run = interrupted(klar, Trigger("received", nth, number), stream=stream)
            assert len(klar.held(stream)) == 5 * nth
            assert run.states[-1] == 5 * nth

    together(scenario, (1, TERM), (1, INT), (2, INT), (3, TERM), (4, INT), (7, TERM))


@of_each_stream
def test_a_signal_during_four_requests_lets_them_all_finish_and_writes_the_newest_state(stream: str) -> None:
    def scenario(number: int) -> None:
        with Sandbox(latency=1) as klar:
            run = interrupted(klar, Trigger("received", 5, number), stream=stream, max_parallel_requests=4)
            assert klar.peak_in_flight == 4
            assert len(klar.held(stream)) == 25
            assert run.states[-1] == 25

    together(scenario, (TERM,), (INT,))


def test_a_signal_while_both_streams_load_covers_no_more_than_both_hold() -> None:
    lines: list[Any] = [REFUNDS_SCHEMA, COSTS_SCHEMA]
    for number in range(1, RECORDS + 1):
        lines += [refund_record(f"R-{number}"), cost_record(f"C-{number}"), state(number)]

    def scenario(nth: int, number: int) -> None:
        with Sandbox(latency=0.1, jitter=0.4) as klar:
            run = interrupted(klar, Trigger("received", nth, number), lines, max_parallel_requests=4)
            costs = klar.transaction_costs.keys()
            both = next(each for each in range(RECORDS + 1) if f"C-{each + 1}" not in costs or each == contiguous(klar))
            assert run.states, run.err
            assert run.states[-1] == both

    together(scenario, (6, TERM), (9, INT))


@of_each_stream
def test_after_a_signal_no_half_of_a_refused_batch_is_sent(stream: str, tmp_path: Path) -> None:
    rejects = str(tmp_path / "rejects.jsonl")
    with Sandbox(refuse=lambda sent: sent["id"] == "R-13", refuse_style="opaque", latency=0.3) as klar:
        run = interrupted(klar, Trigger("received", 4, TERM), stream=stream, rejects_path=rejects)

        assert run.states[-1] == 10
        assert len(klar.posts()) == 4  # two batches, the third one, and its first half


# During a status read


@of_each_stream
def test_a_signal_during_a_status_read_writes_the_state_that_it_confirms(stream: str) -> None:
    def scenario(nth: int, number: int) -> None:
        with Sandbox(latency=0.3) as klar:
            run = interrupted(klar, Trigger("status", nth, number), stream=stream)
            loaded = contiguous(klar, stream)
            assert len(klar.held(stream)) == loaded
            assert (run.states or [0])[-1] == loaded
            assert bool(loaded) == (nth > 1)

    together(scenario, (1, TERM), (1, INT), (2, INT), (2, TERM), (3, INT), (4, TERM))


# Between two attempts


@of_each_stream
def test_a_signal_between_two_attempts_ends_the_wait_and_sends_nothing(stream: str) -> None:
    def scenario(fault: str, sent: int, kept: int | None, number: int) -> None:
        with Sandbox(faults=[fault]) as klar:
            run = interrupted(klar, Trigger("answered", sent, number, later=0.15), stream=stream)
            assert (run.states or [None])[-1] == kept
            assert run.started + run.took - run.signalled[0] < GRACE
            assert len(klar.posts()) == sent

    cases = [("503@3+", 3, 10), ("429-after-seconds@1+", 1, None)]
    together(scenario, *((*case, number) for case in cases for number in (TERM, INT)))


# What would never end


def test_what_hangs_is_left_after_the_grace_and_no_state_covers_it() -> None:
    def request() -> None:
        over = threading.Event()
        with Sandbox(refuse=lambda sent: sent["id"] == "R-11" and not over.wait(60)) as klar:
            run = interrupted(klar, Trigger("received", 3, TERM))
            over.set()
            assert run.states[-1] in (5, 10)  # the status after the second one may have been read too late

    def first_status(number: int) -> None:
        with Sandbox(status_frozen=True) as klar:
            run = interrupted(klar, Trigger("status", 6, number))
            assert run.states == []
            assert len(klar.posts()) == 1

    def later_status() -> None:
        with Sandbox() as klar:
            trigger = Trigger("status", 9, INT)
            run = interrupted(klar, trigger, meanwhile=lambda _: freeze(klar, trigger))
            assert 5 <= run.states[-1] < contiguous(klar)

    def freeze(klar: Sandbox, trigger: Trigger) -> None:
        klar.status_frozen = trigger.posts >= 3

    def stdout(number: int) -> None:
        """The run waits for room on stdout when the signal comes."""
        with Sandbox() as klar, Watched(klar, reads_stdout=False, **SMALL) as run:
            run.feed(with_big_states())
            run.until(lambda: settled(klar))
            run.signal(number)
            well_ended(run, run.ended(PATIENCE + 30), number)
            assert len(klar.refunds) < RECORDS

    def stdout_at_the_end(number: int) -> None:
        """The signal comes during a request, and there is no room on stdout for its STATE."""
        with Sandbox(latency=0.3) as klar:
            trigger = Trigger("received", 2, number)
            interrupted(klar, trigger, with_big_states(), reads_stdout=False)
            assert len(klar.refunds) == 10

    hangs = [(request,), (first_status, TERM), (first_status, INT), (later_status,), (stdout, TERM), (stdout, INT)]
    together(
        lambda hang, *number: hang(*number), *hangs, (stdout_at_the_end, TERM), (stdout_at_the_end, INT), at_once=8
    )


def test_a_state_still_leaves_when_stdout_is_read_again_after_the_signal(klar: Sandbox) -> None:
    with Watched(klar, reads_stdout=False, **SMALL) as run:
        run.feed(with_big_states())
        run.until(lambda: settled(klar))
        run.signal(TERM)
        time.sleep(0.5)
        run.read_stdout()
        code = run.ended(PATIENCE)

    assert code == 143, run.err
    # The STATE after the last record that was sent may not have been read any more.
    assert contiguous(klar) - 1 <= run.states[-1]["n"] <= contiguous(klar)


def with_big_states() -> list[Any]:
    """Refunds, each with a STATE that does not fit into a pipe beside another one."""
    lines: list[Any] = [REFUNDS_SCHEMA]
    for number in range(1, RECORDS + 1):
        lines += [refund_record(f"R-{number}"), state({"n": number, "padding": "x" * 50_000})]
    return lines


def settled(klar: Sandbox) -> bool:
    """Whether nothing has come in for a second, since the run waits for room on stdout."""
    requests = klar.requests
    return bool(klar.refunds) and all(request.ended for request in requests) and quiet(requests[-1])


def quiet(request: Request) -> bool:
    return request.ended is not None and time.monotonic() - request.ended > 1


# Start-up, silence, twice


def test_a_signal_during_start_up_ends_it_before_anything_is_sent() -> None:
    """From the moment its handler stands; what comes in Python's own first milliseconds ends Python.

    Nothing is read by then, so that the stream makes no difference: the moments meet one and the other in turns.
    """

    def scenario(later: float, number: int, stream: str) -> None:
        with Sandbox() as klar, Watched(klar, start=program.start, **SMALL) as run:
            run.until_it_listens()
            time.sleep(later)
            run.signal(number)
            run.feed(feed(stream))
            well_ended(run, run.ended(PATIENCE + 30), number)
            assert run.states == []
            assert klar.posts() == []

    moments = [(later, number) for number in (TERM, INT) for later in (0, 0.05, 0.15, 0.3, 0.5, 0.7)]
    together(
        scenario, *((*moment, stream) for moment, stream in zip(moments, itertools.cycle(BY_STREAM), strict=False))
    )


@of_each_stream
def test_a_silent_tap_does_not_delay_the_end(stream: str) -> None:
    def scenario(number: int) -> None:
        with Sandbox() as klar, Watched(klar, missing=held(klar, stream), **SMALL) as run:
            run.feed(feed(stream, 13), ends=False)
            run.until(lambda: run.states and run.states[-1] == 10)
            run.signal(number)
            well_ended(run, run.ended(PATIENCE), number)
            assert run.started + run.took - run.signalled[0] < GRACE
            assert run.states[-1] == 10
            assert len(klar.held(stream)) == 10  # the three that wait for their batch are not sent any more

    together(scenario, (TERM,), (INT,))


@of_each_stream
def test_a_second_signal_changes_nothing(stream: str) -> None:
    def scenario(first: int, second: int) -> None:
        trigger = Trigger("received", 2, first)
        with Sandbox(latency=0.6, observer=trigger) as klar, Watched(klar, missing=held(klar, stream), **SMALL) as run:
            trigger.run = run
            run.feed(feed(stream))
            run.until(trigger.fired.is_set)
            time.sleep(0.15)
            run.signal(second)
            well_ended(run, run.ended(PATIENCE), first)
            assert run.states[-1] == 10
            assert trigger.posts == 2

    together(scenario, (TERM, TERM), (INT, INT), (TERM, INT), (INT, TERM))


# An error, then a signal


def test_an_error_that_a_signal_follows_is_still_said() -> None:
    with Sandbox() as klar:
        klar.misbehave("refunds/hang@1+", "transaction_costs/401@1")
        with Watched(klar, missing=held(klar), batch_size_rows=1, checkpoint_interval_seconds=0) as run:
            run.feed([REFUNDS_SCHEMA, COSTS_SCHEMA, refund_record("R-1")], ends=False)
            run.until(lambda: len(klar.posts()) > 0)  # hangs; a token refused before that would keep it from being sent
            run.feed([cost_record("C-1"), state(1)], ends=False)
            run.until(lambda: len(klar.posts()) > 1)
            time.sleep(AT_ONCE)  # the run ends already, and waits for the request that hangs
            run.signal(TERM)
            code = run.ended(PATIENCE)
        assert code == 143, run.err
        assert run.states == []
        assert len(run.errors) == 1, run.err
        assert run.errors[0].startswith("The API token was refused (HTTP 401, ")
        assert run.err.index("The API token was refused") < run.err.index("Stopped by SIGTERM.")
        assert "Traceback" not in run.err
