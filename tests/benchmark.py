"""What target-klar costs beside a plain SDK target: `python tests/benchmark.py`, or `--quick` for a first look.

Both load the same generated streams, as a file on stdin, into a `CheapKlar` of their own, in turn and several times;
the figures are medians of whole processes. CPU is user and system time of the process alone, as the kernel counts it.
The latency is that of a load; status reads, which only target-klar makes, are answered at once, but for the rows that
say otherwise. A run that does not deliver every record and its last STATE ends the benchmark. With `--peers`
target-stitch and dlt do some of the work as well, where they can be installed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from cheap_klar import CheapKlar
from measured import KLAR, OBJECTS_PER_REQUEST, Case, Run, singer_lines, timed
from peers import PEERS, installed

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
    peer = next((peer for peer in PEERS if peer.name == case.peer), None)
    with CheapKlar(case.latency, case.latency if case.slow_status else 0) as klar:
        if peer is not None:
            config = peer.settings(klar.url, case.parallel)
        else:
            config = {"api_url": klar.url, "api_token": "benchmark"}
            if case.command == KLAR:
                config["max_parallel_requests"] = case.parallel
        (folder / "config.json").write_text(json.dumps(config))
        run = timed([*case.command, "--config", str(folder / "config.json")], folder, source)
        arrived, requests, _ = klar.figures()
    states = (folder / "out").read_text().splitlines()
    covered = json.loads(states[-1])["rows"] if states else 0
    if peer is not None:
        arrived -= requests * peer.marks
        covered = covered if peer.writes_state else arrived
    if not arrived == covered == case.rows:
        raise RuntimeError(f"{case}: {arrived} objects arrived, and the last STATE covers {covered}")
    return run


@dataclass
class Benchmark:
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
        self.refunds, self.costs = (Case(stream=name, rows=self.cpu_rows) for name in ("refunds", "transaction_costs"))
        self.long = Case(rows=self.long_rows, latency=0.2, parallel=8)
        self.few, self.many = (replace(self.costs, rows=rows) for rows in (self.few_rows, self.many_rows))
        self.walls = {
            latency: [Case(rows=self.wall_rows, latency=latency, parallel=parallel) for parallel in IN_FLIGHT]
            for latency in LATENCIES
        }

    def cases(self) -> list[Case]:
        """Every case of one round; what is compared runs one right after the other."""
        pairs = [START_UP, self.refunds.empty, self.refunds, self.costs.empty, self.costs, self.long]
        cases = [case for each in pairs for case in (each, each.plain)]
        for each in self.walls.values():
            cases += [*each, each[0].plain]
        return [*cases, self.few, *self.slow] + [
            each for case in (self.refunds, *self.both) for each in self.beside(case)
        ]

    @property
    def both(self) -> list[Case]:
        """The two cases whose wall time is to be reached."""
        return [self.walls[0.2][IN_FLIGHT.index(4)], self.long]

    @property
    def slow(self) -> list[Case]:
        """Both once more, with status reads that take as long as a load."""
        return [replace(case, slow_status=True) for case in self.both]

    def beside(self, case: Case) -> list[Case]:
        """The same work for every peer."""
        return [replace(case, command=command, peer=name) for name, command in self.peers.items()]

    def last_cases(self) -> list[Case]:
        """Those that take long and are run once."""
        return [self.many, self.many.plain] if self.plain_too else [self.many]

    def report(self) -> str:
        """All tables in Markdown."""
        tables = [self._work_table(), self._wall_table(), self._share_table(), self._rest_table()]
        if self.peers:
            tables.append(self._peer_table())
        tables.append(self._reach_table())
        return "\n\n".join("\n".join(table) for table in tables)

    def _work_table(self) -> list[str]:
        rows = ["| records a second of CPU time | target-klar | plain target | ratio |", "|---|---:|---:|---:|"]
        for case in (self.refunds, self.costs):
            ours, theirs = (case.rows / self._work(each) for each in (case, case.plain))
            rows.append(f"| {_named(case)} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.1f} |")
        return rows

    def _wall_table(self) -> list[str]:
        rows = [
            "| seconds of wall time | latency | plain target | "
            + " | ".join(f"{n} in flight" for n in IN_FLIGHT)
            + " |",
            "|---|---:|" + "---:|" * (1 + len(IN_FLIGHT)),
        ]
        for latency, cases in self.walls.items():
            theirs = self._of(cases[0].plain).wall
            ours = [self._of(case).wall for case in cases]
            rows.append(
                f"| {_named(cases[0])} | {latency * 1000:.0f} ms | {theirs:.2f} | "
                + " | ".join(f"{wall:.2f} ({theirs / wall:.1f} times less)" for wall in ours)
                + " |"
            )
        wall, theirs = self._of(self.long).wall, self._of(self.long.plain).wall
        rows.append(
            f"| {_named(self.long)} | 200 ms | {theirs:.2f} | | | {wall:.2f} ({theirs / wall:.1f} times less) |"
        )
        for case in self.slow:
            wall, theirs = self._of(case).wall, self._of(case.plain).wall
            cells = [f"{wall:.2f} ({theirs / wall:.1f} times less)" if n == case.parallel else "" for n in IN_FLIGHT]
            rows.append(f"| {_named(case)}, status reads too | 200 ms | {theirs:.2f} | {' | '.join(cells)} |")
        return rows

    def _share_table(self) -> list[str]:
        """Where the wall time goes: what no record can make shorter, and how little is left to make shorter."""
        rows = [
            "| seconds of wall time | all | start-up | first request alone | others, every place taken | left |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for case in self.both:
            wall, start = self._of(case).wall, self._of(case.empty).wall
            others = math.ceil((_requests(case) - 1) / case.parallel) * case.latency
            left = wall - start - case.latency - others
            rows.append(
                f"| {_case(case)} | {wall:.2f} | {start:.2f} | {case.latency:.2f} | {others:.2f} | {left:.2f} |"
            )
        return rows

    def _peer_table(self) -> list[str]:
        rows = [
            "| beside others | | wall time | plain target | CPU time | peak memory |",
            "|---|---|---:|---:|---:|---:|",
        ]
        for case in (self.refunds, *self.both):
            theirs = self._of(case.plain).wall
            for each in (case, *self.beside(case)):
                name, run = each.peer or "target-klar", self._of(each)
                figures = f"{theirs / run.wall:.1f} times less | {run.cpu:.2f} s | {run.peak / 1e6:.0f} MB"
                rows.append(f"| {_case(case)} | {name} | {run.wall:.2f} s | {figures} |")
        return rows

    def _rest_table(self) -> list[str]:
        rows = ["| | target-klar | plain target | ratio |", "|---|---:|---:|---:|"]
        for case in (self.refunds, self.costs, self.few, self.many):
            ours = self._of(case).peak / 1e6
            theirs = self._of(case.plain).peak / 1e6 if case.plain in self.runs else None
            beside = f"{theirs:.0f} MB | {ours / theirs:.2f}" if theirs else "not run | "
            rows.append(f"| peak memory, {_named(case)} | {ours:.0f} MB | {beside} |")
        for what, case in (("start-up (`--version`)", START_UP), ("an empty stream", self.refunds.empty)):
            for unit, at in (("wall", 0), ("CPU", 1)):
                ours, theirs = self._of(case)[at], self._of(case.plain)[at]
                rows.append(f"| {what}, {unit} | {ours:.2f} s | {theirs:.2f} s | {ours / theirs:.2f} |")
        return rows

    def _reach_table(self) -> list[str]:
        middle = self.both[0]
        few, many = self._of(self.few).peak, self._of(self.many).peak
        lines = [
            _least("CPU per refund, times less", self._work(self.refunds.plain) / self._work(self.refunds), 10),
            _least("CPU per cost, times less", self._work(self.costs.plain) / self._work(self.costs), 5),
            _least(f"wall time, {_case(middle)}, times less", self._of(middle.plain).wall / self._of(middle).wall, 4.5),
            _least(
                f"wall time, {_case(self.long)}, times less",
                self._of(self.long.plain).wall / self._of(self.long).wall,
                8,
            ),
            _most(f"wall time against the limit, {_case(middle)}", self._beyond_limit(middle), 1.25),
            _most(f"wall time against the limit, {_case(self.long)}", self._beyond_limit(self.long), 1.25),
            _most(f"peak memory in MB, {_named(self.many)}", many / 1e6, 80),
            _most(f"the same against {_named(self.few)}", many / few, 1.1),
            _most("start-up, CPU against the plain target", self._of(START_UP).cpu / self._of(START_UP.plain).cpu, 1.1),
        ]
        return ["| reach | wanted | measured | |", "|---|---|---:|---|", *lines]

    def _beyond_limit(self, case: Case) -> float:
        """Wall time without start-up, against the least that the requests take with every place always taken."""
        limit = _requests(case) * case.latency / case.parallel
        return (self._of(case).wall - self._of(case.empty).wall) / limit

    def _of(self, case: Case) -> Run:
        walls, cpus, peaks = zip(*self.runs[case], strict=True)
        return Run(statistics.median(walls), statistics.median(cpus), int(statistics.median(peaks)))

    def _work(self, case: Case) -> float:
        """CPU seconds for the records alone: without those of the same target on an empty stream in the same round."""
        pairs = zip(self.runs[case], self.runs[case.empty], strict=True)
        return statistics.median(run.cpu - empty.cpu for run, empty in pairs)


def _requests(case: Case) -> int:
    return math.ceil(case.rows / OBJECTS_PER_REQUEST)


def _named(case: Case) -> str:
    return f"{case.rows:,} {case.stream.replace('transaction_', '')}"


def _case(case: Case) -> str:
    return f"{_named(case)}, {case.latency * 1000:.0f} ms, {case.parallel} in flight"


def _least(what: str, measured: float, wanted: float) -> str:
    return f"| {what} | at least {wanted} | {measured:.2f} | {'reached' if measured >= wanted else 'not reached'} |"


def _most(what: str, measured: float, wanted: float) -> str:
    return f"| {what} | at most {wanted} | {measured:.2f} | {'reached' if measured <= wanted else 'not reached'} |"


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="two rounds of fewer records, and 200 thousand for a million"
    )
    parser.add_argument("--rounds", type=int, help="how often each case is run (5)")
    parser.add_argument("--plain-million", action="store_true", help="load the million into the plain target as well")
    parser.add_argument("--peers", action="store_true", help="install target-stitch and dlt and measure them as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(run(options, Path(folder)))


def run(options: argparse.Namespace, folder: Path) -> str:
    """Run every case and return what to print."""
    benchmark = Benchmark(
        wall_rows=20_000,
        long_rows=20_000 if options.quick else 50_000,
        cpu_rows=30_000 if options.quick else 100_000,
        few_rows=50_000,
        many_rows=200_000 if options.quick else 1_000_000,
        plain_too=options.plain_million,
        peers=installed(folder) if options.peers else {},
    )
    rounds = options.rounds or (2 if options.quick else 5)
    # Every other round backwards, so that nothing always comes after the same thing.
    cases = [case for number in range(rounds) for case in benchmark.cases()[:: 1 - 2 * (number % 2)]]
    cases += benchmark.last_cases()
    for case in (START_UP, START_UP.plain):
        measure(case, folder)  # so that everything is compiled
    for number, case in enumerate(cases, 1):
        print(f"\r{number} of {len(cases)} runs", end="", file=sys.stderr, flush=True)
        benchmark.runs[case].append(measure(case, folder))
    print(file=sys.stderr)
    medians = f"Medians of {rounds} rounds, Python {platform.python_version()}, {os.cpu_count()} CPUs."
    return f"{medians}\n\n{benchmark.report()}"


if __name__ == "__main__":
    main()
