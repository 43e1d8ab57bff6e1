"""Plan after plan, several at a time, until the time is over; what fails is written so that it can be run again."""

from __future__ import annotations

import itertools
import json
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from generator.draw import draw
from generator.perform import Performed, perform
from generator.tally import combined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def search(
    seed: int, seconds: float, failures: Path, lanes: Sequence[tuple[str | None, int]], plans: int | None = None
) -> list[Performed]:
    """Perform plans of this seed and the following ones until the seconds are over.

    A lane is a focus, or None for all of them, with the number of its plans that are performed at once; each has its
    own seeds, and with `plans` it ends after so many.
    """
    over = time.monotonic() + seconds
    performed: list[Performed] = []

    def work(focus: str | None, seeds: Iterator[int]) -> None:
        while time.monotonic() < over and (number := next(seeds, None)) is not None:
            plan = draw(number, focus)
            try:
                done = perform(plan)
            except Exception:  # noqa: BLE001 - one plan that cannot be performed must not hide what others find
                done = Performed(plan, [f"the generator itself failed: {traceback.format_exc()}"])
            performed.append(done)
            if done.breaches:
                _tell(done, failures)

    with ThreadPoolExecutor(sum(at_once for _, at_once in lanes)) as pool:
        workers = []
        for focus, at_once in lanes:
            seeds = iter(range(seed, seed + plans) if plans else itertools.count(seed))
            workers += [pool.submit(work, focus, seeds) for _ in range(at_once)]
        for worker in workers:
            worker.result()
    return performed


def _tell(done: Performed, failures: Path) -> None:
    failures.mkdir(exist_ok=True, parents=True)
    file = failures / f"{done.plan.focus}-{done.plan.seed}.json"
    file.write_text(json.dumps({"breaches": done.breaches, "plan": done.plan.to_json()}, indent=1))
    sys.stdout.write(f"seed {done.plan.seed} ({done.plan.focus}), kept in {file}:\n")
    sys.stdout.writelines(f"  {breach[:1500]}\n" for breach in done.breaches[:3])
    sys.stdout.flush()


def summary(performed: Sequence[Performed]) -> str:
    """Return how many plans and runs there were, what was combined how often, and how runs ended."""
    ends: Counter[str] = Counter()
    together: Counter[str] = Counter()
    for done in performed:
        ends.update(done.ends)
        together.update(combined(done.plan) | {name for name in done.seen if " " in name})
    struck = Counter(name for done in performed for name in done.seen if " " not in name)
    breached = sum(bool(done.breaches) for done in performed)
    return "\n".join(
        [
            f"{len(performed)} plans, {ends.total()} runs, {breached} plans breached",
            "combined in so many plans:",
            *(f"  {count:5} {name}" for name, count in sorted(together.items())),
            "faults that struck in so many plans:",
            "  " + ", ".join(f"{name} {count}" for name, count in sorted(struck.items())),
            "how runs ended:",
            *(f"  {count:5} {end}" for end, count in sorted(ends.items())),
        ]
    )
