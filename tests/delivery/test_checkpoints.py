"""When a STATE leaves: Klar's status has to show a load since the first record that it newly covers was sent."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from messages import REFUNDS_SCHEMA
from program import LONGEST_RUN
from scripted_klar import Load, scripted
from watched import Watched, numbered

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_klar.sandbox import Request, Sandbox

pytestmark = pytest.mark.slow

BATCH = 5
SETTINGS: dict[str, Any] = {"batch_size_rows": BATCH, "checkpoint_interval_seconds": 0}


def at_post(klar: Sandbox, nth: int, then: Callable[[], object]) -> None:
    """Do something while the n-th load waits to be handled."""
    seen = 0

    def observe(moment: str, request: Request) -> None:
        nonlocal seen
        if moment == "received" and request.on == "post":
            seen += 1
            if seen == nth:
                then()

    klar.observer = observe


def hold_third(klar: Sandbox, over: threading.Event) -> None:
    """Hold the load of the third batch up until something is over, in whichever order they come in."""

    def refuse(sent: dict[str, Any]) -> None:
        if sent["id"] == f"R-{2 * BATCH + 1}":
            over.wait(LONGEST_RUN)

    klar.refuse = refuse


def test_a_status_that_was_read_between_two_loads_does_not_confirm_the_second(klar: Sandbox) -> None:
    """The third load is accepted and never shown; by then the status shows the second one, which was sent before it."""

    def lose() -> None:
        time.sleep(0.5)  # room for a reading of the second load
        klar.status_frozen = True

    at_post(klar, 3, lose)
    with Watched(klar, max_parallel_requests=1, status_timeout_seconds=2, **SETTINGS) as run:
        code = run.feed([REFUNDS_SCHEMA, *numbered(1, 3 * BATCH, every=1)]).ended()

    assert (code, run.states[-1]) == (1, 2 * BATCH), run.err
    assert "its status shows no load newer than" in run.errors[0]


@pytest.mark.parametrize("lagging", [1, 2], ids=["the first load", "the second load"])
def test_a_state_leaves_with_the_reading_that_shows_the_load_where_the_status_only_lags(lagging: int) -> None:
    """The load is booked all the time; the test itself lets the status show it, after a few readings that did not."""

    def readings_since_the_answer() -> int:
        answered = f"answered {lagging}"
        return klar.log[klar.log.index(answered) :].count("read") if answered in klar.log else 0

    def not_shown_yet(state: int) -> bool:
        return max(klar.readings) * BATCH < state

    with (
        scripted({lagging: Load(shown=3600)}) as klar,
        Watched(klar, missing=not_shown_yet, max_parallel_requests=1, **SETTINGS) as run,
    ):
        run.feed([REFUNDS_SCHEMA, *numbered(1, lagging * BATCH, every=BATCH)], ends=False)
        run.until(lambda: readings_since_the_answer() >= 4 or len(run.states) == lagging)
        before = [BATCH * number for number in range(1, lagging)]
        assert (run.states, klar.missing(lagging * BATCH), max(klar.readings)) == (before, set(), lagging - 1)

        klar.shown[-1] = (0.0, BATCH)
        run.until(lambda: len(run.states) == lagging, within=10)

        assert (run.states, run.ahead) == ([*before, lagging * BATCH], [])
        assert klar.readings.count(lagging) == 1, "one reading that shows the load is enough"


def test_a_request_that_hangs_holds_sending_back_for_seconds_and_the_state_until_it_has_ended(klar: Sandbox) -> None:
    """The check is given up after 5 s, sending goes on, and the STATE leaves once a check can stand between."""
    over = threading.Event()
    hold_third(klar, over)
    with Watched(klar, max_parallel_requests=2, **SETTINGS) as run:
        run.feed([REFUNDS_SCHEMA, *numbered(1, 6 * BATCH, every=1)])
        run.until(lambda: len(klar.refunds) >= 4 * BATCH, within=60)
        assert run.states == [] or run.states[-1] <= 2 * BATCH
        over.set()
        assert run.ended() == 0, run.err

    assert run.states[-1] == 6 * BATCH


def test_after_a_signal_a_covered_state_leaves_though_a_later_request_hangs_to_the_end(klar: Sandbox) -> None:
    over = threading.Event()
    hold_third(klar, over)
    with Watched(klar, max_parallel_requests=2, **SETTINGS) as run:
        run.feed([REFUNDS_SCHEMA, *numbered(1, 8 * BATCH, every=1)])
        run.until(lambda: len(klar.refunds) == 2 * BATCH and len(klar.posts()) == 3)
        run.signal(signal.SIGTERM)
        run.until(lambda: run.states and run.states[-1] == 2 * BATCH, within=5)
        code = run.ended()
        over.set()

    assert (code, run.states[-1]) == (143, 2 * BATCH), run.err
