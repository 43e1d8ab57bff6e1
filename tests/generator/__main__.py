"""Whole runs at random, as long as one likes: `python tests/generator --minutes 30` prints seeds and what it found."""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))  # as conftest.py does for the suite
sys.path.insert(0, str(Path(__file__).parents[1]))

from generator.draw import FOCUSES
from generator.perform import perform
from generator.plan import Plan
from generator.search import search, summary

FAILURES = Path(__file__).parents[2] / ".cache" / "generator"


def main() -> int:
    """Search for some minutes, or perform a plan that was kept; return 1 where a promise was breached."""
    parser = argparse.ArgumentParser(prog="python tests/generator", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--plans", type=int, help="end after so many of each lane")
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--focus", choices=[*FOCUSES, "slow"], help="draw plans of one kind alone")
    parser.add_argument("--failures", type=Path, default=FAILURES, help="where failing plans are written")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="perform a plan that was written, and end")
    parser.add_argument("--times", type=int, default=1, help="how often at the most, for what time decides")
    asked = parser.parse_args()
    if asked.replay:
        plan = Plan.from_json(json.loads(asked.replay.read_text())["plan"])
        breaches = next(filter(None, (perform(plan).breaches for _ in range(asked.times))), [])
        print("\n".join(breaches) or "nothing was breached")
        return int(bool(breaches))
    print(f"seeds from {asked.seed} on", flush=True)
    lanes = [(asked.focus, asked.at_once)] if asked.focus else [(None, asked.at_once), ("slow", 2 * asked.at_once)]
    found = search(asked.seed, 60 * asked.minutes, asked.failures, lanes, asked.plans)
    print(summary(found))
    return int(any(done.breaches for done in found))


if __name__ == "__main__":
    sys.exit(main())
