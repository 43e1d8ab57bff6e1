"""kill -9 at every kind of moment: an update feed that is killed and goes on from its last STATE loses nothing.

Every record has its number in the feed as its version. STATE n covers the first n records; after a kill the feed
goes on behind the last STATE whose line was written whole.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from calls import status
from messages import BY_STREAM, schema, state
from watched import Watched, numbered

from target_klar.sandbox import Request, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

UPDATES, KEYS, HOT = 6_000, 2_000, 40
QUANTITY = {"refunds": "refundedQuantity", "orders": "quantity"}
AT_A_TIME = 205
"""How much of the feed a run gets that is going to be killed: the feed must outlast all kills."""
KILLS = [*["during a request"] * 7, *["before a checkpoint"] * 7, *["at random"] * 14]
SETTINGS: dict[str, Any] = {"batch_size_rows": 20, "checkpoint_interval_seconds": 0, "max_parallel_requests": 4}


class Feed:
    """Updates of a few thousand keys, some of them again and again, and what Klar has to hold after each."""

    def __init__(self, stream: str, chance: random.Random) -> None:
        self.stream = stream
        self.keys = [f"R-{chance.choice((chance.randrange(HOT), chance.randrange(KEYS)))}" for _ in range(UPDATES)]
        self._covered = 0
        self._latest: dict[str, int] = {}

    def lines(self, after: int, number: int) -> list[object]:
        """The feed's next messages, with a STATE after every tenth record and the last one."""
        lines: list[object] = [schema(self.stream)]
        last = min(after + number, UPDATES)
        for version in range(after + 1, last + 1):
            lines.append(BY_STREAM[self.stream](self.keys[version - 1], version))
            if version % 10 == 0 or version == last:
                lines.append(state({"seq": version}))
        return lines

    def latest(self, covered: int) -> dict[str, int]:
        """The version of each key that the first so many records leave behind."""
        for version in range(self._covered + 1, covered + 1):
            self._latest[self.keys[version - 1]] = version
        self._covered = max(self._covered, covered)
        return self._latest


def versions(klar: Sandbox, stream: str) -> dict[str, int]:
    return {key: held["lineItems"][0][QUANTITY[stream]] for key, held in klar.held(stream).items()}


class Killer:
    """Kills a run from within Klar: while it handles a request, or before it tells the status after one."""

    def __init__(self, kind: str, nth: int, kill: Callable[[], None]) -> None:
        self.killed: str | None = None
        self._kind, self._nth, self._kill = kind, nth, kill
        self._lock = threading.Lock()
        self._received = self._answered = 0

    def __call__(self, moment: str, request: Request) -> None:
        with self._lock:
            self._received += moment == "received"
            self._answered += moment == "answered" and request.on == "post"
            due = {
                "during a request": moment == "received" and self._received == self._nth,
                "before a checkpoint": moment == "status" and self._answered >= self._nth,
            }.get(self._kind, False)
            if due and self.killed is None:
                self._kill()
                self.killed = self._kind


@pytest.mark.slow
@pytest.mark.parametrize("stream", BY_STREAM)
def test_a_feed_that_is_killed_again_and_again_loses_nothing_and_never_goes_back(stream: str) -> None:
    chance = random.Random(20260504)
    feed = Feed(stream, chance)
    kinds = chance.sample(KILLS, len(KILLS))
    kills: Counter[str] = Counter()
    seen: list[int] = []
    too_early: list[object] = []

    def stale(reached: dict[str, int]) -> dict[str, int]:
        held = versions(klar, stream)
        seq = reached["seq"]
        return {key: version for key, version in feed.latest(seq).items() if held.get(key, 0) < version}

    with Sandbox(latency=0.02, jitter=0.03) as klar:
        for kind in kinds:
            after = seen[-1] if seen else 0
            with Watched(klar, missing=stale, **SETTINGS) as run:
                killer = Killer(kind, chance.randint(1, 6), run.process.kill)
                klar.observer = killer
                run.feed(feed.lines(after, AT_A_TIME), ends=False)
                if kind == "at random":
                    run.until_it_listens()
                    time.sleep(chance.uniform(0, 0.5))
                    run.process.kill()
                code = run.ended(60)
            klar.observer = None
            kills[killer.killed or kind] += code == -signal.SIGKILL
            seen += [reached["seq"] for reached in run.states]
            too_early += run.ahead
        with Watched(klar, missing=stale, **SETTINGS) as run:
            code = run.feed(feed.lines(seen[-1], UPDATES)).ended(120)
        seen += [reached["seq"] for reached in run.states]
        too_early += run.ahead
        held = versions(klar, stream)

    assert code == 0, run.err
    assert kills == Counter(KILLS)
    assert kills.total() >= 25
    assert min(kills["during a request"], kills["before a checkpoint"]) >= 5
    assert too_early == []
    assert seen == sorted(seen)
    assert seen[-1] == UPDATES
    assert held == feed.latest(UPDATES)


@pytest.mark.slow
def test_a_load_of_a_killed_run_that_shows_late_is_not_taken_for_the_first_one_of_the_next_run() -> None:
    def missing(number: int) -> set[str]:
        return {f"R-{each}" for each in range(1, number + 1)} - klar.refunds.keys()

    with Sandbox(status_lag=3) as klar:
        with Watched(klar) as run:
            klar.observer = Killer("before a checkpoint", 1, run.process.kill)
            run.feed([schema("refunds"), *numbered(1, 3)])
            assert (run.ended(), run.states) == (-signal.SIGKILL, [])
        klar.observer = None
        time.sleep(2)  # or both loads might show between two readings
        assert status(klar)["lastBatchCount"] == "0", "the load shows only when the next run has begun"
        with Watched(klar, missing=missing) as run:
            code = run.feed([schema("refunds"), *numbered(1, 5, every=5)]).ended()

    assert (code, run.states, run.ahead, run.errors) == (0, [5], [], [])
