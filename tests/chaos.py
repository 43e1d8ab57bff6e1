"""Everything at once, at random: `python tests/chaos.py --minutes 10` prints its seed, and what it saw.

A feed of updates is loaded in many runs, each with faults, latencies and settings of its own, killed, interrupted or
let be, and each going on behind the last STATE that came out. No STATE may be ahead of Klar, no run may fail in a way
that it does not explain, and in the end Klar holds the last word on every key, or the rejects file does.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # as conftest.py does for the suite

from program import REFUNDS, refund, state
from watched import Watched

from target_klar.sandbox import FAULTS, Sandbox

UPDATES, KEYS, EVERY = 600, 60, 7
AT_A_TIME = 150
"""How much of the feed one run gets at the most."""
LONGEST = 120.0
"""Seconds after which a run counts as hanging: three times what its settings allow."""
ENDS = {"left alone": {0, 1}, "SIGTERM": {143, 0, 1}, "SIGINT": {130, 0, 1}, "kill -9": {-9, 0, 1}}
# Klar says that it took the load, and did not: that can be told at a stream's first request alone.
AT_THE_FIRST = {"counts-nothing"}


@dataclass
class Round:
    """One feed, loaded into one Klar until all of it is there."""

    seed: int
    folder: Path
    breaches: list[str] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.keys = [f"R-{self.chance.randrange(KEYS)}" for _ in range(UPDATES)]
        self.rejects = self.folder / f"rejects-{self.seed}.jsonl"
        self.covered = 0

    def play(self) -> None:
        """Run after run until the feed is loaded, the last one undisturbed."""
        with Sandbox() as klar:
            for _ in range(40):
                if self.covered == UPDATES:
                    break
                self.run(klar, disturbed=True)
            klar.latency = klar.jitter = klar.status_lag = 0.0
            klar.misbehave()
            self.covered = min(self.covered, UPDATES - AT_A_TIME)  # so that it has something to do
            while self.covered < UPDATES and not self.breaches:
                self.run(klar, disturbed=False)
            if missing := self.missing(klar, UPDATES):
                self.breaches.append(f"in the end {missing} are not at Klar")

    def run(self, klar: Sandbox, *, disturbed: bool) -> None:
        """Load the next part of the feed, or what is left of it where nothing disturbs."""
        chance, settings = self.chance, self.settings(disturbed=disturbed)
        event = chance.choice(list(ENDS)) if disturbed else "left alone"
        if disturbed:
            klar.latency, klar.jitter = chance.choice([0, 0.02, 0.2]), chance.choice([0, 0.1, 0.4])
            klar.status_lag = chance.choice([0, 0, 0.3])
            klar.misbehave(*self.faults())
        with Watched(klar, missing=lambda number: self.missing(klar, number), **settings) as run:
            run.feed(self.lines(UPDATES if not disturbed else self.covered + chance.randint(1, AT_A_TIME)))
            with suppress(ProcessLookupError):
                if event != "left alone":
                    run.until_it_listens()
                    time.sleep(chance.uniform(0, 2.5))
                    run.signal({"SIGTERM": 15, "SIGINT": 2, "kill -9": 9}[event])
            code = run.ended(LONGEST)
        self.runs[f"{event}: {code}"] += 1
        self.covered = run.states[-1] if run.states else self.covered
        told = f"after {event} with {settings}: exit {code}, {run.err[-1500:]}"
        if run.ahead:
            self.breaches.append(f"STATE {run.ahead[0][0]} without {run.ahead[0][1]} {told}")
        if code not in (ENDS[event] if disturbed else {0}) or "Traceback" in run.err:
            self.breaches.append(told)
        if code == 1 and len(run.errors) != 1:
            self.breaches.append(f"not explained in one line {told}")

    def settings(self, *, disturbed: bool) -> dict[str, Any]:
        """Some of the settings that may change how a run goes."""
        chance = self.chance
        return {
            "batch_size_rows": chance.choice([1, 3, 10, 50]) if disturbed else 50,
            "max_parallel_requests": chance.choice([1, 2, 4, 8]),
            "checkpoint_interval_seconds": chance.choice([0, 0, 1]),
            "batch_wait_limit_seconds": chance.choice([0, 1, 60]),
            "request_timeout_seconds": chance.choice([1, 2]),
            "retry_timeout_seconds": chance.choice([1, 10]) if disturbed else 10,
            "status_timeout_seconds": 10,
            "rejects_path": str(self.rejects),
            "rejects_limit": 100_000,
        }

    def faults(self) -> list[str]:
        """Up to three faults, each at one or a few requests."""
        chosen = []
        for fault in self.chance.sample(FAULTS, self.chance.randint(0, 3)):
            at = 1 if fault.name in AT_THE_FIRST else self.chance.randint(1, 12)
            on = "" if fault.name in AT_THE_FIRST else self.chance.choice(["", "", "status:"])
            chosen.append(f"{on}{fault.name}@{at}" + ("" if on or at == 1 else self.chance.choice(["", "x3"])))
        return chosen

    def lines(self, end: int) -> list[Any]:
        """The feed behind the last STATE: record n has n as its version, STATE n covers the first n."""
        lines: list[Any] = [REFUNDS]
        end = min(end, UPDATES)
        for version in range(self.covered + 1, end + 1):
            lines.append(refund(self.keys[version - 1], version))
            if version % EVERY == 0 or version == end:
                lines.append(state(version))
        return lines

    def missing(self, klar: Sandbox, number: int) -> dict[str, int]:
        """The keys whose last word among the first so many records Klar does not hold, nor a later one."""
        latest = {self.keys[version - 1]: version for version in range(1, number + 1)}
        held = {key: sent["lineItems"][0]["refundedQuantity"] for key, sent in klar.refunds.items()}
        rejected = self.rejected()
        return {
            key: version
            for key, version in latest.items()
            if held.get(key, 0) < version and (key, version) not in rejected
        }

    def rejected(self) -> set[tuple[str, int]]:
        """Key and version of each record in the rejects file."""
        lines = self.rejects.read_text().split("\n")[:-1] if self.rejects.exists() else []
        records = [found["record"] for line in lines if (found := json.loads(line))["type"] == "RECORD"]
        return {(record["id"], record["lineItems"][0]["refundedQuantity"]) for record in records}


def play(seed: int, folder: Path) -> Round:
    """Play the round that a seed stands for."""
    played = Round(seed, folder)
    played.play()
    return played


def main() -> int:
    """Play rounds for some minutes, several at once; return 1 where one was breached."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--at-once", type=int, default=4)
    asked = parser.parse_args()
    print(f"seeds from {asked.seed} on", flush=True)
    over = time.monotonic() + 60 * asked.minutes
    seeds = iter(range(asked.seed, asked.seed + 1_000_000))
    runs: Counter[str] = Counter()
    rounds: list[Round] = []

    def worker(folder: Path) -> None:
        while time.monotonic() < over:
            played = play(next(seeds), folder)
            rounds.append(played)
            runs.update(played.runs)
            for breach in played.breaches:
                print(f"seed {played.seed}: {breach}", flush=True)

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(asked.at_once) as pool:
        for ended in [pool.submit(worker, Path(folder)) for _ in range(asked.at_once)]:
            ended.result()
    breaches = sum(len(played.breaches) for played in rounds)
    print(f"{len(rounds)} rounds of {UPDATES} updates, {runs.total()} runs, {breaches} breaches")
    for end, count in sorted(runs.items()):
        print(f"  {end}: {count}")
    return int(breaches > 0)


if __name__ == "__main__":
    sys.exit(main())
