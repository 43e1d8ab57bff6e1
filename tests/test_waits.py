"""Whatever target-klar waits for, it does not wait for ever: each wait against something that never comes.

Lower bounds show that it waited at all; upper ones are at least three times what the settings allow.
"""

from __future__ import annotations

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, refund_record, state
from silent import silence
from watched import Watched, numbered, together

from target_klar.sandbox import Sandbox

pytestmark = pytest.mark.slow

START_UP = 20.0
"""Seconds that a busy machine may take until the first request."""
SMALL: dict[str, Any] = {
    "batch_size_rows": 5,
    "checkpoint_interval_seconds": 0,
    "max_parallel_requests": 1,
    "request_timeout_seconds": 1,
    "retry_timeout_seconds": 2,
    "status_timeout_seconds": 2,
}
FOUR_BATCHES = [REFUNDS_SCHEMA, *numbered(1, 20, every=1)]


def gives_up(klar: Any, within: float, lines: list[Any] = FOUR_BATCHES, **settings: Any) -> Watched:
    """Check that a run ends by itself, with 1 and one line, before three times what its limits allow."""
    with Watched(klar, **SMALL | settings) as run:
        code = run.feed(lines).ended(3 * within + START_UP + 60)
    assert code == 1, run.err
    assert len(run.errors) == 1, run.err
    assert "Traceback" not in run.err
    assert run.took < 3 * within + START_UP, run.took
    return run


def test_an_address_that_never_answers_ends_the_run_with_the_retry_limit() -> None:
    def scenario(queue: str) -> None:
        with silence(full=queue == "full") as klar:
            run = gives_up(klar, within=2 + 1)
        assert run.states == []
        assert re.search(
            r"^refunds: no usable response from .*/refunds/status after \d attempts? in \d s", run.errors[0]
        )
        assert run.errors[0].endswith("No STATE was written.")

    together(scenario, ("full",), ("free",))


def test_requests_that_hang_end_the_run_with_the_retry_limit() -> None:
    def scenario(fault: str, address: str, kept: int | None) -> None:
        with Sandbox(faults=[fault]) as klar:
            run = gives_up(klar, within=2 + 1)
            assert (run.states or [None])[-1] == kept
            assert f"{address} after " in run.errors[0], run.errors

    together(
        scenario,
        ("hang@1+", "/12.2022/refunds/json", None),
        ("trickle@3+", "/12.2022/refunds/json", 10),
        ("trickle-headers@3+", "/12.2022/refunds/json", 10),
        ("huge-answer@3+", "/12.2022/refunds/json", 10),
        ("status:hang@1+", "/refunds/status", None),
        ("status:hang@2+", "/refunds/status", None),
        ("status:trickle@3+", "/refunds/status", 5),
        ("status:503@3+", "/refunds/status", 5),
    )


def test_a_status_that_never_shows_the_load_ends_the_run_with_the_status_limit() -> None:
    def first() -> None:
        with Sandbox(status_frozen=True) as klar:
            run = gives_up(klar, within=2)
            assert run.states == []
            assert len(klar.posts()) == 1
        (error,) = run.errors
        assert error.startswith("refunds: Klar accepted records, but 2 s")
        assert "its status shows no load (last batch" in error
        assert error.endswith("No STATE was written.")

    def later(parallel: int) -> None:
        with Sandbox() as klar:
            klar.observer = lambda *_: setattr(klar, "status_frozen", klar.status_frozen or len(klar.posts()) > 1)
            run = gives_up(klar, within=2 + 2, max_parallel_requests=parallel)
            assert run.states == [5]
        assert "raise `status_timeout_seconds`" in run.errors[0]

    together(lambda scenario, *args: scenario(*args), (first,), (later, 1), (later, 4))


def test_a_status_that_stands_still_does_not_matter_where_it_only_has_to_answer() -> None:
    with Sandbox(status_frozen=True) as klar, Watched(klar, **SMALL | {"status_timeout_seconds": 0}) as run:
        assert run.feed(FOUR_BATCHES).ended() == 0, run.err
        assert len(klar.refunds) == 20

    assert run.states[-1] == 20


def test_a_retry_after_longer_than_what_the_limit_leaves_gives_up_at_once(klar: Sandbox) -> None:
    klar.misbehave("429-after-seconds@1+")
    run = gives_up(klar, within=0.5, retry_timeout_seconds=1)

    assert len(klar.posts()) == 1
    refused = r"after 1 attempt in \d s \(HTTP 429, asking to wait \d s, more than `retry_timeout_seconds` leaves\)"
    assert re.search(refused, run.errors[0])


def test_a_steady_trickle_of_records_does_not_put_the_batch_delay_off(klar: Sandbox) -> None:
    """The oldest record counts, not the newest."""
    with Watched(klar, batch_wait_limit_seconds=2, checkpoint_interval_seconds=0) as run, ThreadPoolExecutor(1) as tap:

        def drip() -> None:
            for number in range(1, 200):
                if run.process.poll() is not None:
                    return
                run.feed([REFUNDS_SCHEMA, *numbered(number, number)], ends=False)
                time.sleep(0.1)

        tap.submit(drip)
        run.until(lambda: run.states, within=3 * 2 + START_UP)
        run.process.kill()

    assert klar.refunds


def test_an_interval_between_checkpoints_holds_back_no_longer_than_it_says(klar: Sandbox) -> None:
    """A covered STATE leaves after the interval, though the tap goes silent and the batch behind it stays open."""
    settings = SMALL | {"checkpoint_interval_seconds": 2, "batch_wait_limit_seconds": 3600}
    with Watched(klar, **settings) as run:
        run.feed([REFUNDS_SCHEMA, *numbered(1, 13, every=1)], ends=False)
        run.until(lambda: run.states and run.states[-1] == 10, within=3 * 2 + START_UP)
        run.process.kill()

    assert len(klar.refunds) == 10


def test_a_worker_that_hangs_past_its_limits_does_not_keep_the_process_alive(klar: Sandbox) -> None:
    """The other stream's request fails for good while this one hangs: both limits together bound the end."""
    klar.misbehave("refunds/hang@1+", "transaction_costs/409@1")
    lines = [REFUNDS_SCHEMA, COSTS_SCHEMA, *numbered(1, 5), *(cost_record(f"C-{number}") for number in range(1, 6))]
    run = gives_up(klar, within=2 + 1, lines=lines, max_parallel_requests=4)

    assert run.states == []
    assert "HTTP 409" in run.errors[0]


def test_a_stdout_that_nobody_reads_holds_up_reading_and_a_reader_frees_it(klar: Sandbox) -> None:
    lines: list[Any] = [REFUNDS_SCHEMA]
    for number in range(1, 101):
        lines += [refund_record(f"R-{number}"), state({"n": number, "padding": "x" * 50_000})]
    with Watched(klar, reads_stdout=False, **SMALL) as run:
        run.feed(lines)
        run.until(lambda: klar.refunds)
        time.sleep(2)
        assert len(klar.refunds) < 100
        run.read_stdout()
        assert run.ended() == 0, run.err

    assert run.states[-1]["n"] == 100
    assert len(klar.refunds) == 100


def test_a_check_of_the_configuration_hears_a_signal_too(klar: Sandbox) -> None:
    klar.misbehave("status:hang@1+")
    with Watched(klar, "--check", request_timeout_seconds=60) as run:
        run.until(lambda: klar.requests)
        run.signal(signal.SIGINT)
        code = run.ended(27)

    assert code == 130, run.err


def test_a_process_that_stood_still_for_longer_than_the_retry_limit_gets_one_more_try() -> None:
    def stand_still(run: Watched, came: list[str], request: int) -> None:
        run.until(lambda: len(came) >= request)
        run.signal(signal.SIGSTOP)
        time.sleep(6)
        run.signal(signal.SIGCONT)

    def scenario(freezes: int, code: int) -> None:
        came: list[str] = []
        settings = SMALL | {"request_timeout_seconds": 3}
        with Sandbox(faults=[f"hang@1x{freezes}"]) as klar, Watched(klar, **settings) as run:
            klar.observer = lambda moment, _: came.append(moment) if moment == "received" else None
            run.feed(FOUR_BATCHES)
            for request in range(1, freezes + 1):
                stand_still(run, came, request)
            assert run.ended(START_UP + 60) == code, run.err
            assert len(klar.posts()) == (2 if code else 5)
            if code:
                assert re.search(r"json after 2 attempts in \d+ s \(no full response within 3 s\)", run.errors[0])

    together(scenario, (1, 0), (2, 1))
