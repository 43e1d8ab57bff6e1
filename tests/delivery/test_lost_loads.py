"""Loads that Klar lost, answered as taken and never booked, are found: what a reading of its status proves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from messages import REFUNDS_SCHEMA
from scripted_klar import BATCH, Load, ScriptedKlar, scripted
from watched import Watched, numbered, together

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {"batch_size_rows": BATCH, "checkpoint_interval_seconds": 0}
LOST = Load(lost=True)


def batches(number: int) -> list[Any]:
    """So many batches of refunds, with a STATE after each refund."""
    return [REFUNDS_SCHEMA, *numbered(1, number * BATCH, every=1)]


def load(klar: ScriptedKlar, number: int, **settings: Any) -> tuple[int, Watched]:
    """Load so many batches; return the exit code, and the run. No STATE came before Klar held what it covers."""
    with Watched(klar, missing=klar.missing, **SETTINGS | settings) as run:
        code = run.feed(batches(number)).ended()
    assert run.ahead == [], run.err
    return code, run


def finds_the_loss(klar: ScriptedKlar, lost: int, *, behind: int = 0, **settings: Any) -> None:
    """Check that the run stops for a load that was answered as taken and never booked, and acknowledges none of it.

    So many more loads wait `behind` it.
    """
    code, run = load(klar, lost + behind, **settings)
    assert code == 1, run.err
    assert run.states[-1] <= (lost - 1) * BATCH
    assert "its status shows no load newer than" in run.errors[0]


def test_a_lost_load_is_found_though_the_status_then_shows_the_one_before_it() -> None:
    with scripted({2: Load(shown=6.5), 3: LOST}) as klar:
        finds_the_loss(klar, 3, max_parallel_requests=1, status_timeout_seconds=9)
        between = klar.log[klar.log.index("answered 2") : klar.log.index("sent 3")]
    assert between.count("read") > 5, "it was sent only when the status had shown the one before"


@pytest.mark.parametrize("lost", [2, 3])
def test_a_lost_load_with_more_behind_it_is_found_under_a_status_that_lags(lost: int) -> None:
    """The status would show those behind it, which say nothing of it: so they are not sent before it is confirmed."""
    with scripted({lost: LOST}, Load(shown=1.5)) as klar:
        finds_the_loss(klar, lost, behind=4, max_parallel_requests=1, status_timeout_seconds=6)
        assert f"answered {lost}" in klar.log
        assert f"sent {lost + 1}" not in klar.log
        assert klar.settled == {f"R-{number}" for number in range(1, (lost - 1) * BATCH + 1)}


def test_a_load_that_is_lost_among_others_in_flight_is_found_where_none_of_them_is_booked() -> None:
    """Of loads that were sent together the status shows the newest alone; here it shows none of the four."""
    # The first one of them ends first: its STATE is due then, and holds back whatever comes after the four.
    with scripted({number: Load(takes=0.5 * number, lost=True) for number in (2, 3, 4, 5)}, Load(shown=1.5)) as klar:
        code, run = load(klar, 9, max_parallel_requests=4, status_timeout_seconds=6)
    assert (code, [state for state in run.states if state > BATCH]) == (1, []), run.err
    assert "its status shows no load newer than" in run.errors[0]


def test_a_lost_load_is_found_beside_one_that_takes_long() -> None:
    """The slow one is booked before its answer: a reading that shows it says nothing of what was sent after that."""
    loads = {2: Load(takes=0.5), 3: Load(takes=8, booked_at_once=True), 4: LOST}
    with scripted(loads) as klar:
        finds_the_loss(klar, 4, max_parallel_requests=2, status_timeout_seconds=2)
        assert klar.log.index("sent 4") < klar.log.index("answered 3"), "the check was given up, and sending went on"
        between = klar.log[klar.log.index("answered 2") : klar.log.index("sent 4")]
    assert between.count("read") == 1, "the status beside the open request is what the fourth is held against"


def test_a_lost_load_is_found_after_two_of_one_check_that_a_lagging_status_shows_one_by_one() -> None:
    loads = {2: Load(takes=0.5), 3: Load(takes=2.5), 4: LOST}
    loads = {number: Load(each.takes, shown=3, lost=each.lost) for number, each in loads.items()} | {1: Load(shown=3)}
    with scripted(loads) as klar:
        finds_the_loss(klar, 4, max_parallel_requests=2, status_timeout_seconds=5)
        assert klar.log.index("sent 3") < klar.log.index("answered 2")
        assert klar.log.index("answered 3") < klar.log.index("sent 4")


OUTLASTS_THE_HOLD = {
    "booked before the baseline and last": (Load(takes=8, booked_at_once=True), 3),
    "booked before the baseline": (Load(takes=8, booked_at_once=True), 4),
    "booked after it": (Load(takes=8), 4),
    "refused and last": (Load(takes=8, refused=True), 3),
    "refused": (Load(takes=8, refused=True), 4),
}


def test_a_request_that_outlasts_the_hold_is_no_false_alarm(tmp_path: Path) -> None:
    def outlasts(case: str) -> None:
        slow, number = OUTLASTS_THE_HOLD[case]
        rejects = tmp_path / f"{case}.jsonl"
        with scripted({2: Load(takes=0.5), 3: slow, 4: Load(takes=0.1)}) as klar:
            code, run = load(klar, number, max_parallel_requests=2, status_timeout_seconds=2, rejects_path=str(rejects))
        assert (code, run.states[-1], run.errors) == (0, number * BATCH, [])
        assert rejects.read_text().count('"RECORD"') == BATCH * slow.refused

    together(outlasts, *((case,) for case in OUTLASTS_THE_HOLD), at_once=len(OUTLASTS_THE_HOLD))


def test_a_state_leaves_after_each_batch_where_requests_take_long_and_every_batch_is_acknowledged() -> None:
    with scripted(others=Load(takes=0.7)) as klar:
        code, run = load(klar, 5, max_parallel_requests=1)
    assert (code, run.states) == (0, [BATCH * number for number in range(1, 6)])


def test_a_silent_tap_gets_the_state_over_all_that_it_wrote() -> None:
    with scripted(others=Load(takes=0.5)) as klar, Watched(klar, missing=klar.missing, **SETTINGS) as run:
        run.feed(batches(4), ends=False)
        run.until(lambda: run.states[-1:] == [4 * BATCH])


def test_the_lag_of_the_first_load_counts_as_a_hold_of_that_length() -> None:
    """For 15 s after one of 1.5 s nothing is held back, though a check is due every second."""
    with scripted({1: Load(shown=1.5)}, Load(takes=0.2)) as klar:
        code, run = load(klar, 20, max_parallel_requests=1, checkpoint_interval_seconds=1)
    assert (code, run.states) == (0, [BATCH, 20 * BATCH])


def test_between_two_holds_ten_times_as_long_is_left_as_the_last_one_took() -> None:
    with scripted({1: Load()}, Load(takes=0.2, shown=2)) as klar:
        code, run = load(klar, 20, max_parallel_requests=1, checkpoint_interval_seconds=1)
    assert (code, run.states[0], run.states[-1]) == (0, BATCH, 20 * BATCH)
    assert len(run.states) == 3, run.states


@pytest.mark.parametrize("settings", [{"status_timeout_seconds": 0}, {"validate_only": True}])
def test_without_a_status_to_wait_for_nothing_is_held_back(settings: dict[str, Any]) -> None:
    with scripted({3: Load(takes=4)}) as klar, Watched(klar, max_parallel_requests=2, **SETTINGS | settings) as run:
        assert run.feed(batches(12)).ended() == 0, run.err
    if "validate_only" in settings:
        assert (run.states, klar.log) == ([], ["validated"] * 12)
    else:
        assert klar.log.index("answered 12") < klar.log.index("answered 3")
        assert run.states[-1] == 12 * BATCH
