"""What target-klar costs beside a plain SDK target: `python tests/benchmark.py`, or `--quick` for a first look.

Both load the same generated streams, as a file on stdin, into a `CheapKlar` of their own, in turn and several times;
the figures are medians of whole processes. CPU is user and system time of the process alone, as the kernel counts it.
A run that does not deliver every record and its last STATE ends the benchmark.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from cheap_klar import CheapKlar
from measured import KLAR, OBJECTS_PER_REQUEST, PLAIN, Case, Run, singer_lines, timed

LATENCIES = (0, 0.05, 0.2)
IN_FLIGHT = (1, 4, 8)
START_UP = Case(version=True)


def measure(case: Case, folder: Path) -> Run:
    """Run a case once.

    Raises:
        RuntimeError: The target failed, or did not deliver all of the stream and its last STATE.
    """
    if case.version:
        return timed([*case.command, "--version"], folder)
    source = folder / f"{case.stream}-{case.rows}.jsonl"
    if not source.exists():
        with source.open("w") as file:
            file.writelines(singer_lines(case.stream, case.rows))
    with CheapKlar(case.latency) as klar:
        config = {"api_url": klar.url, "api_token": "benchmark"}
        if case.command == KLAR:
            config["max_parallel_requests"] = case.parallel
        (folder / "config.json").write_text(json.dumps(config))
        run = timed([*case.command, "--config", str(folder / "config.json")], folder, source)
        arrived = klar.figures().objects
    states = (folder / "out").read_text().splitlines()
    covered = json.loads(states[-1])["rows"] if states else 0
    if not arrived == covered == case.rows:
        raise RuntimeError(f"{case}: {arrived} objects arrived, and the last STATE covers {covered}")
    return run


@dataclass
class Benchmark:
    """The cases, their runs, and what is read from them."""

    wall_rows: int
    long_wall_rows: int
    cpu_rows: int
    many_rows: int
    plain_too: bool
    """Whether the plain target loads the many rows as well."""
    runs: dict[Case, list[Run]] = field(default_factory=lambda: defaultdict(list))

    def cases(self) -> list[Case]:
        """Every case to run, neighbours being those that are compared."""
        walls = [
            [
                *(Case(rows=self.wall_rows, latency=latency, parallel=parallel) for parallel in IN_FLIGHT),
                Case(rows=self.wall_rows, latency=latency).plain,
            ]
            for latency in LATENCIES
        ]
        pairs = [START_UP, *(case for each in self._loads for case in (each.empty, each)), self._long]
        both = [case for each in pairs for case in (each, each.plain)]
        return [*both, *(case for cases in walls for case in cases), self._many, *([self._many.plain] * self.plain_too)]

    def report(self) -> str:
        """All tables in Markdown."""
        return "\n\n".join("\n".join(each) for each in (self._machine, self._cpu, self._walls, self._rest, self._reach))

    @property
    def _loads(self) -> list[Case]:
        return [Case(stream=stream, rows=self.cpu_rows) for stream in ("refunds", "transaction_costs")]

    @property
    def _long(self) -> Case:
        return Case(rows=self.long_wall_rows, latency=0.2, parallel=8)

    @property
    def _many(self) -> Case:
        return Case(stream="transaction_costs", rows=self.many_rows)

    def _of(self, case: Case) -> Run:
        walls, cpus, peaks = zip(*self.runs[case], strict=True)
        return Run(statistics.median(walls), statistics.median(cpus), int(statistics.median(peaks)))

    def _work(self, case: Case) -> float:
        """CPU seconds for the records alone."""
        return self._of(case).cpu - self._of(case.empty).cpu
