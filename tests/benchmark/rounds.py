"""The rounds of the benchmark: which cases there are, in which order they run, and what their runs say together."""

from __future__ import annotations

import math
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass, field, replace

from measured import KLAR, OBJECTS_PER_REQUEST, PLAIN, Case, Run
from sources import KLAR_COSTS, ORDER_ROWS, ROWS, SHOPIFY

LATENCIES = (0, 0.05, 0.2)
IN_FLIGHT = (1, 4, 8)
START_UP, PLAIN_START_UP = (Case(command=(*command, "--version"), starts=True) for command in (KLAR, PLAIN))
SDK_IMPORT = Case(command=(sys.executable, "-c", "import singer_sdk"), starts=True)


@dataclass
class Rounds:
    """The cases, their runs, and what is read from them."""

    wall_rows: int
    long_rows: int
    cpu_rows: int
    few_rows: int
    many_rows: int
    plain_too: bool
    """Whether the plain target loads the many rows as well."""
    peers: dict[str, tuple[str, ...]]
    """The command of each peer that is installed."""
    runs: dict[Case, list[Run]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.refunds = Case(rows=self.cpu_rows)
        self.costs = Case(
            source=KLAR_COSTS, rows=3 * self.cpu_rows
        )  # small ones, which take too little time to measure
        self.rows = [Case(source=source, rows=self.cpu_rows) for source in ROWS]
        self.rows.append(Case(source=ORDER_ROWS, rows=self.cpu_rows // 50))  # as many lines as the others have rows
        self.shopify = Case(source=SHOPIFY, rows=self.cpu_rows // 4)  # the SDK's evaluation takes its time
        self.long = Case(rows=self.long_rows, latency=0.2, parallel=8)
        self.few, self.many = (replace(self.costs, rows=rows) for rows in (self.few_rows, self.many_rows))
        self.walls = {
            latency: [Case(rows=self.wall_rows, latency=latency, parallel=parallel) for parallel in IN_FLIGHT]
            for latency in LATENCIES
        }

    def cases(self) -> list[Case]:
        """Every case of one round; what is compared runs one right after the other."""
        cases: list[Case] = []
        for case in (self.refunds, self.costs):
            compared = [case.bare, case, case.plain]
            cases += [each.empty for each in compared] + compared
        for case in (*self.rows, self.shopify):
            cases += [case.empty, case.script.empty, case, case.script]
        cases += [self.long, self.long.plain]
        for walls in self.walls.values():
            cases += [*walls, walls[0].plain]
        cases += [self.few, *self.slow]
        cases += [each for case in (self.refunds, *self.both) for each in self.by_peers(case)]
        starts = [START_UP, SDK_IMPORT, PLAIN_START_UP] * 3  # so short that a single one says little
        return [*starts, *dict.fromkeys(cases)]

    @property
    def both(self) -> list[Case]:
        """The two cases of whose wall time little is to be left."""
        return [self.walls[0.2][IN_FLIGHT.index(4)], self.long]

    @property
    def slow(self) -> list[Case]:
        """Both once more, with status reads that take as long as a load."""
        return [replace(case, slow_status=True) for case in self.both]

    def by_peers(self, case: Case) -> list[Case]:
        """The same work for every peer."""
        return [replace(case, command=command, peer=name) for name, command in self.peers.items()]

    def last_cases(self) -> list[Case]:
        """Those that take long and are run once."""
        return [self.many, self.many.plain] if self.plain_too else [self.many]

    def left(self, case: Case) -> float:
        """Wall time beside start-up and the rounds of requests that the contract itself asks for."""
        return self.of(case).wall - self.of(case.empty).wall - case.latency - others(case)

    def of(self, case: Case) -> Run:
        """The medians of a case's runs."""
        walls, cpus, peaks = zip(*self.runs[case], strict=True)
        return Run(statistics.median(walls), statistics.median(cpus), int(statistics.median(peaks)))

    def work(self, case: Case) -> list[float]:
        """CPU seconds of each round for the records alone: without those of the same command on an empty stream."""
        pairs = zip(self.runs[case], self.runs[case.empty], strict=True)
        return [run.cpu - empty.cpu for run, empty in pairs]

    def speed(self, case: Case) -> float:
        """Records a second of CPU time."""
        return case.rows / statistics.median(self.work(case))

    def times(self, case: Case, other: Case) -> float:
        """How many times the CPU of another case one takes: the median of the rounds."""
        return statistics.median(one / two for one, two in zip(self.work(case), self.work(other), strict=True))


def others(case: Case) -> float:
    """Seconds that the requests after the first one wait, with every place always taken."""
    return math.ceil((math.ceil(case.rows / OBJECTS_PER_REQUEST) - 1) / case.parallel) * case.latency
