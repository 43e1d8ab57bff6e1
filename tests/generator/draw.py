"""Plans drawn from a seed: by weights, so that what the promises are about comes together often enough."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from generator.plan import Feed, Plan, Record, Source, Step
from generator.tally import QUARTER
from target_klar.sandbox import FAULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

WAIT_LIMIT = "batch_wait_limit_seconds"
"""The setting that says how long a record waits for its batch to fill."""

TARGETS = ["refunds", "transaction_costs", "logistics_costs", "cogs", "orders"]
STYLES = ["index", "tree", "tree-item", "ids", "failed-ids", "opaque", "207", None]
FOCUSES = {"everything": 30, "origin": 12, "rejects": 20, "refusals": 14, "evidence": 10, "beside": 9}
"""What a plan has more of than others, and how often; `slow` plans, which wait most of their time, are drawn apart."""
NEIGHBOUR = 100_000
"""The versions of the second feed begin here."""

_SLOW = {"slow", "slow-answer"}
_LOST = {"never-booked", "counts-nothing"}
_EVERYDAY = [fault.name for fault in FAULTS if fault.name not in _SLOW | _LOST]
_PAGES = ["400-html", "422-html", "413-html", "403-html", "404-html", "502-html", "2xx-html", "half-page"]
# Nothing that stores a load and fails: its second try would look as if the status lagged less than it does.
_PLAIN = ["408", "429", "500", "503", "502-html", "reset-before", "400-html"]


def draw(seed: int, focus: str | None = None) -> Plan:
    """Return the plan that a seed stands for, of a focus where one is asked for."""
    chance = random.Random(seed)
    drawn = chance.choices(list(FOCUSES), list(FOCUSES.values()))[0]
    return _Draw(seed, focus or drawn, chance).plan()


class _Draw:
    """One plan being drawn."""

    def __init__(self, seed: int, focus: str, chance: random.Random) -> None:
        self.seed, self.focus, self.chance = seed, focus, chance
        # All but the last runs: one without the file cannot write into it that there is a newer version.
        self.without_file = focus in ("everything", "evidence") and chance.random() < 0.1
        # One bad record in each quarter of the first batch, and an answer that names none.
        self.quarters = focus == "refusals" and chance.random() < 0.3
        self.hard_delete = chance.random() < 0.5

    def plan(self) -> Plan:
        chance, beside = self.chance, self.focus == "beside"
        targets = chance.sample(TARGETS, self._of({1: 4, 2: 3, 3: 2}))
        if self.focus == "evidence":
            targets = targets[:1]
        if self.focus == "slow" or self.quarters:  # nothing merged or dropped, so that requests are what was meant
            sources = [replace(self._source(f"order_{targets[0]}", targets[0]), filters=False)]
        else:
            sources = self._sources(targets)
        feeds = [self._feed(sources, 0)]
        if beside:
            other = chance.choice([name for name in TARGETS if name not in targets])
            feeds.append(self._feed([self._source(f"other_{other}", other)], NEIGHBOUR))
        return Plan(self.seed, self.focus, feeds, self._steps(feeds), hard_delete=self.hard_delete)

    def _of(self, weights: dict[Any, int]) -> Any:
        return self.chance.choices(list(weights), list(weights.values()))[0]

    def _often(self, *focuses: str, often: float = 0.8, else_: float = 0.3) -> bool:
        return self.chance.random() < (often if self.focus in focuses else else_)

    def _sources(self, targets: Sequence[str]) -> list[Source]:
        sources = []
        for target in targets:
            names = [target, f"order_{target}", f"shop_{target}"]
            dropped = self._often("origin", often=0.5, else_=0.2)
            if dropped:
                sources.append(replace(self._source(target, target), target=None))
            first = 1 if dropped or self._often("origin") else 0
            names = names[first : first + self._of({1: 3, 2: 2})]
            sources += [self._source(name, target) for name in names]
        return sources[:5]

    def _source(self, name: str, target: str) -> Source:
        chance = self.chance
        own = self._often("origin", else_=0.5)
        return Source(
            name,
            target,
            kind=target,
            own_form=own,
            number_ids=chance.random() < 0.5,
            text_numbers=chance.random() < 0.4,
            compact=chance.random() < 0.5,
            removes=chance.random() < 0.2,
            computes=not own and chance.random() < 0.4,
            filters=chance.random() < 0.2,
            batches=chance.random() < 0.15,
            tap_key=self._of({"klar": 4, "coarser": 4, "finer": 1, "unrelated": 2, "none": 1}),
            hides_keys=chance.random() < 0.4,
        )

    def _feed(self, sources: list[Source], offset: int) -> Feed:
        chance = self.chance
        sizes = {"evidence": (12, 30), "slow": (15, 24), "beside": (12, 30)}
        size = chance.randint(*sizes.get(self.focus, (20 if self.quarters else 10, 70)))
        rates = {
            "rejects": (0.08, 0.15),
            "origin": (0.05, 0.15),
            "refusals": (0.02, 0.12),
            "beside": (0.2, 0.2),
        }
        flawed = rates.get(self.focus, (0.03, 0.04))
        if self.focus == "slow" or self.quarters:
            records = [Record(offset + place, 0, place) for place in range(1, size + 1)]
        else:
            keys = chance.choice([3, 8] if self.focus == "rejects" else [5, 20, 60])
            flawed = rates.get(self.focus, (0.03, 0.04))
            records = [self._record(version, sources, keys, flawed) for version in range(offset + 1, offset + size + 1)]
        if self.quarters:
            for quarter in range(4):
                place = QUARTER * quarter + chance.randrange(QUARTER)
                records[place] = replace(records[place], flaw="klar")
        return Feed(sources, records, every=chance.choice([1, 3, 7]), growth=chance.choice([0, 0, 40]))

    def _record(self, version: int, sources: list[Source], keys: int, flawed: tuple[float, float]) -> Record:
        chance = self.chance
        loaded = [number for number, source in enumerate(sources) if source.target]
        number = chance.choice(loaded if chance.random() < 0.8 else range(len(sources)))
        source = sources[number]
        hidden = flawed[0] if source.hides_keys else 0
        flaw = chance.choices(["contract", "klar", "key", ""], [*flawed, hidden, 1 - sum(flawed) - hidden])[0]
        deleted = not flaw and chance.random() < 0.05
        # A map that computes a field fails on a key alone, and where deletions are sent it has to be Klar's.
        whole = source.computes or (self.hard_delete and source.kind in ("refunds", "orders"))
        return Record(
            version,
            number,
            chance.randrange(keys),
            flaw,
            filtered=source.filters and chance.random() < 0.25,
            deleted=deleted,
            bare=deleted and not whole and source.tap_key in ("coarser", "unrelated") and chance.random() < 0.5,
            pad=20_000 if flaw and self.focus == "beside" else chance.choice([0, 0, 0, 0, 0, 200]),
        )

    def _steps(self, feeds: list[Feed]) -> list[Step]:
        chance, size = self.chance, len(feeds[0].records)
        count = 1 if self.focus in ("slow", "evidence") else chance.randint(1, 4)
        first = size if self.focus in ("slow", "evidence") or self.quarters else size // 3
        uptos = sorted(chance.randint(first, size) for _ in range(count))
        steps = []
        for upto in uptos:
            if self._often("slow", often=0, else_=0.12):
                steps.append(self._step("dry run", upto, calm=True))
            kind = "beside" if self.focus == "beside" else "load"
            steps.append(self._step(kind, upto, calm=kind == "load" and self._often("rejects", "refusals", often=0.6)))
            if self._often("rejects", "origin", often=0.5, else_=0.15):
                fixed = chance.random() < 0.6
                steps.append(replace(self._step("again", 0, calm=self._often("rejects")), fixed=fixed))
        steps += [
            self._last(replace(self._step("load", len(feed.records), calm=True), feed=number))
            for number, feed in enumerate(feeds)
        ]
        return [*steps, self._last(replace(self._step("again", 0, calm=True), fixed=True))]

    def _step(self, kind: str, upto: int, *, calm: bool) -> Step:
        chance = self.chance
        weather: dict[str, Any] = {
            "latency": 0.3 if kind == "beside" else chance.choice([0, 0, 0.02, 0.1]),
            "jitter": chance.choice([0, 0, 0.05, 0.2]),
            "status_lag": chance.choice([0, 0, 0, 0.1, 0.3]),
            "refuse_style": chance.choice(STYLES),
        }
        step = Step(kind, upto=upto, settings=self._settings(calm=calm), weather=weather, calm=calm)
        if self.quarters:
            weather["refuse_style"] = "opaque"
            return replace(step, settings=step.settings | {"batch_size_rows": 4 * QUARTER, WAIT_LIMIT: 60}, calm=True)
        if self.focus == "slow" and kind == "load":
            return self._slow(step)
        if not (calm or kind == "beside"):
            lossy = self.focus == "evidence" and kind == "load"
            step = replace(step, faults=self._lost(step) if lossy else self._faults(weather))
            if end := self._of({"": 5, "SIGTERM": 2, "SIGINT": 1, "kill -9": 3}):
                after = round(chance.choice([0, chance.uniform(0, 0.3)]), 3)
                step = replace(step, end=end, end_at=chance.randint(0, 8), end_after=after)
        if upto and chance.random() < 0.3:
            step = replace(step, pauses={str(chance.randint(1, upto)): chance.choice([0.05, 0.3, 1.2])})
        return step

    def _slow(self, step: Step) -> Step:
        """Return a load whose status lags for longer than a check holds new requests back, or with one slow answer."""
        chance, batch = self.chance, self.chance.choice([3, 4])
        lagging = chance.random() < 0.5
        settings = step.settings | {
            "batch_size_rows": batch,
            "max_parallel_requests": chance.choice([1, 1, 2] if lagging else [2, 2, 3]),
            "checkpoint_interval_seconds": chance.choice([0, 0, 1] if lagging else [0, 1]),
            "request_timeout_seconds": 30,
            "retry_timeout_seconds": 60,
            "status_timeout_seconds": 20,
        }
        weather = step.weather | {"status_lag": chance.choice([6, 7, 8]) if lagging else 0, "jitter": 0}
        step = replace(step, settings=settings, weather=weather)
        if lagging or step.calm:
            return replace(step, faults=[] if step.calm else self._lost(step))
        # The tap is silent behind the slow load, until a check is due; what follows is held back, then lost.
        at = chance.choice([2, 3, 3, 3])
        upto = min(step.upto, batch * (at + 1 + chance.choice([0, 0, 0, 1])))
        faults = [f"{self._of({'slow-answer': 4, 'slow': 1})}@{at}", f"never-booked@{at + 1}"]
        return replace(step, upto=upto, faults=faults, pauses={str(batch * at): 1.5})

    def _settings(self, *, calm: bool) -> dict[str, Any]:
        chance, evidence = self.chance, self.focus == "evidence"
        patience = 60 if calm else chance.choice([2, 5])
        settings: dict[str, Any] = {
            "batch_size_rows": chance.choice([2, 3, 4, 5] if evidence else [1, 2, 3, 5, 10, 20, 50]),
            "max_parallel_requests": chance.choice([1, 1, 2, 3] if evidence else [1, 2, 4, 8]),
            "checkpoint_interval_seconds": chance.choice([0, 0, 0, 1]),
            WAIT_LIMIT: chance.choice([0, 1, 60, 60]),
            "request_timeout_seconds": 30 if calm else chance.choice([1, 2]),
            "retry_timeout_seconds": patience,
            "status_timeout_seconds": patience if calm else 3,
            "rejects_path": "rejects.jsonl",
            "rejects_limit": chance.choice([0, 3]) if not calm and chance.random() < 0.1 else 100_000,
        }
        if self.focus == "refusals":
            settings["batch_size_rows"] = chance.choice([4, 8, 20, 50])
        if self.without_file:
            del settings["rejects_path"]
        return settings

    def _lost(self, step: Step) -> list[str]:
        """Return a load that is never booked, and now and then something else that goes wrong."""
        batches = -(-step.upto // step.settings["batch_size_rows"])
        lost = self.chance.randint(2, max(2, batches))
        return [f"never-booked@{lost}", *self._some(_PLAIN, self._of({0: 3, 1: 1}))]

    def _faults(self, weather: dict[str, Any]) -> list[str]:
        """Return up to three faults, each at one or a few requests."""
        chance = self.chance
        if weather["status_lag"]:
            return self._some(_PLAIN, chance.randint(0, 2))
        if self._often("refusals", often=0.6, else_=0.15):
            return self._some(_PAGES, 1, runs=["", "x2", "x6", "x30", "+"])
        lost = [f"never-booked@{chance.randint(1, 8)}"] if chance.random() < 0.1 else []
        first = ["counts-nothing"] if chance.random() < 0.04 else []
        return [*lost, *first, *self._some(_EVERYDAY, chance.randint(0, 3))]

    def _some(self, names: Sequence[str], number: int, runs: Sequence[str] = ("", "", "x3")) -> list[str]:
        chance = self.chance
        chosen = []
        for name in chance.sample(names, number):
            on = chance.choice(["", "", "", "status:"])
            chosen.append(f"{on}{name}@{chance.randint(1, 12)}{chance.choice(runs)}")
        return chosen

    def _last(self, step: Step) -> Step:
        """Return a step in fair weather, which has to leave everything where it belongs."""
        return replace(
            step,
            weather=step.weather | {"latency": 0.0, "jitter": 0.0, "status_lag": 0.0},
            settings=step.settings | {"rejects_path": "rejects.jsonl"},
        )
