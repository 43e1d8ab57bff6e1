"""What target-klar costs beside what else loads the same: `python tests/benchmark/benchmark.py`, or `--quick` at first.

A stream in Klar's own form is also loaded by a bare loop that checks nothing (`bare_loop.py`) and by a plain SDK target
(`plain_target.py`); rows of a database and Shopify's refunds by a script written by hand (`hand_written.py`). All get
the same generated streams, as a file on stdin, and load into a `CheapKlar` of their own, in turn and several times.
CPU is user and system time of the process alone, as the kernel counts it; what is compared ran in the same round.
The latency is that of a load; status reads, which only target-klar makes, are answered at once, but for the rows that
say otherwise. A run that does not deliver every record and its last STATE ends the benchmark. With `--peers`
target-stitch and dlt do some of the work as well, where they can be installed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

from cheap_klar import CheapKlar
from measured import Case, Run, load, timed
from peers import PEERS, installed
from rounds import IN_FLIGHT, PLAIN_START_UP, SDK_IMPORT, START_UP, Rounds, others


def measure(case: Case, folder: Path) -> Run:
    """Run a case once.

    Raises:
        RuntimeError: It failed, or did not deliver all of the stream and its last STATE.
    """
    if case.starts:
        return timed(case.command, folder)
    peer = next((peer for peer in PEERS if peer.name == case.peer), None)
    with CheapKlar(case.latency, case.latency if case.slow_status else 0) as klar:
        config = {"api_url": klar.url, "api_token": "benchmark"}
        run, state = load(case, peer.settings(klar.url, case.parallel) if peer else config, folder)
        arrived, requests, _ = klar.figures()
    covered = state["rows"] if state else 0
    if peer is not None:
        arrived -= requests * peer.marks
        covered = covered if peer.writes_state else arrived
    if not arrived == covered == case.rows:
        raise RuntimeError(f"{case}: {arrived} objects arrived, and the last STATE covers {covered}")
    return run


def report(rounds: Rounds) -> str:
    """Return all tables in Markdown."""
    tables = [_work_table, _script_table, _wall_table, _share_table, _memory_table, _start_table]
    tables += [_peer_table] if rounds.peers else []
    return "\n\n".join("\n".join(table(rounds)) for table in (*tables, _reach_table))


def _work_table(rounds: Rounds) -> list[str]:
    rows = [
        "| records a second of CPU time | target-klar | bare loop | times its CPU | plain target | times less CPU |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for case in (rounds.refunds, rounds.costs):
        ours, bare, plain = (f"{rounds.speed(each):,.0f}" for each in (case, case.bare, case.plain))
        more, less = rounds.times(case, case.bare), rounds.times(case.plain, case)
        rows.append(f"| {_named(case)} | {ours} | {bare} | {more:.2f} | {plain} | {less:.1f} |")
    return rows


def _script_table(rounds: Rounds) -> list[str]:
    rows = [
        "| records a second of CPU time | target-klar | script by hand | share of its speed |",
        "|---|---:|---:|---:|",
    ]
    for case in (*rounds.rows, rounds.shopify):
        ours, script = (f"{rounds.speed(each):,.0f}" for each in (case, case.script))
        rows.append(f"| {_named(case)} | {ours} | {script} | {rounds.times(case.script, case):.2f} |")
    return rows


def _wall_table(rounds: Rounds) -> list[str]:
    rows = [
        "| seconds of wall time | latency | plain target | " + " | ".join(f"{n} in flight" for n in IN_FLIGHT) + " |",
        "|---|---:|" + "---:|" * (1 + len(IN_FLIGHT)),
    ]
    for latency, cases in rounds.walls.items():
        theirs = rounds.of(cases[0].plain).wall
        ours = [rounds.of(case).wall for case in cases]
        rows.append(
            f"| {_named(cases[0])} | {latency * 1000:.0f} ms | {theirs:.2f} | "
            + " | ".join(f"{wall:.2f} ({theirs / wall:.1f} times less)" for wall in ours)
            + " |"
        )
    wall, theirs = rounds.of(rounds.long).wall, rounds.of(rounds.long.plain).wall
    rows.append(f"| {_named(rounds.long)} | 200 ms | {theirs:.2f} | | | {wall:.2f} ({theirs / wall:.1f} times less) |")
    for case in rounds.slow:
        wall, theirs = rounds.of(case).wall, rounds.of(case.plain).wall
        cells = [f"{wall:.2f} ({theirs / wall:.1f} times less)" if n == case.parallel else "" for n in IN_FLIGHT]
        rows.append(f"| {_named(case)}, status reads too | 200 ms | {theirs:.2f} | {' | '.join(cells)} |")
    return rows


def _share_table(rounds: Rounds) -> list[str]:
    """Where the wall time goes: what no record can make shorter, and how little is left to make shorter."""
    rows = [
        "| seconds of wall time | all | start-up | first request alone | others, all places taken | left | share |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for case in rounds.both:
        wall, start, left = rounds.of(case).wall, rounds.of(case.empty).wall, rounds.left(case)
        parts = " | ".join(f"{part:.2f}" for part in (wall, start, case.latency, others(case), left))
        rows.append(f"| {_case(case)} | {parts} | {left / wall:.1%} |")
    return rows


def _memory_table(rounds: Rounds) -> list[str]:
    rows = ["| peak memory | target-klar | plain target | ratio |", "|---|---:|---:|---:|"]
    for case in (rounds.refunds, rounds.costs, rounds.few, rounds.many):
        ours = rounds.of(case).peak / 1e6
        theirs = rounds.of(case.plain).peak / 1e6 if case.plain in rounds.runs else None
        beside = f"{theirs:.0f} MB | {ours / theirs:.2f}" if theirs else "not run | "
        rows.append(f"| {_named(case)} | {ours:.0f} MB | {beside} |")
    return rows


def _start_table(rounds: Rounds) -> list[str]:
    rows = ["| start-up | wall | CPU |", "|---|---:|---:|"]
    for what, case in (
        ("`target-klar --version`", START_UP),
        ("`python -c 'import singer_sdk'`", SDK_IMPORT),
        ("plain target, `--version`", PLAIN_START_UP),
        ("target-klar, an empty stream", rounds.refunds.empty),
        ("plain target, an empty stream", rounds.refunds.plain.empty),
    ):
        rows.append(f"| {what} | {rounds.of(case).wall:.2f} s | {rounds.of(case).cpu:.2f} s |")
    return rows


def _peer_table(rounds: Rounds) -> list[str]:
    rows = [
        "| beside others | | wall time | plain target | CPU time | peak memory |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for case in (rounds.refunds, *rounds.both):
        theirs = rounds.of(case.plain).wall
        for each in (case, *rounds.by_peers(case)):
            name, run = each.peer or "target-klar", rounds.of(each)
            figures = f"{theirs / run.wall:.1f} times less | {run.cpu:.2f} s | {run.peak / 1e6:.0f} MB"
            rows.append(f"| {_case(case)} | {name} | {run.wall:.2f} s | {figures} |")
    return rows


def _reach_table(rounds: Rounds) -> list[str]:
    refunds, costs, few, many = rounds.refunds, rounds.costs, rounds.of(rounds.few), rounds.of(rounds.many)
    lines = [
        *(
            _at_most(f"{_named(case)}, times the bare loop's CPU", rounds.times(case, case.bare), 2.2)
            for case in (refunds, costs)
        ),
        _least(f"{_named(refunds)}, times less CPU than the plain target", rounds.times(refunds.plain, refunds), 18),
        _least(f"{_named(costs)}, times less CPU than the plain target", rounds.times(costs.plain, costs), 8),
        *(
            _least(f"{_named(case)}, share of the script's speed", rounds.times(case.script, case), 0.8)
            for case in rounds.rows
        ),
        *(
            _at_most(f"{_case(case)}, % of wall time left", 100 * rounds.left(case) / rounds.of(case).wall, 10)
            for case in rounds.both
        ),
        _at_most(f"peak memory in MB, {_named(rounds.many)}", many.peak / 1e6, 80),
        _at_most(f"the same against {_named(rounds.few)}", many.peak / few.peak, 1.1),
        _at_most(
            "start-up, times the CPU of `import singer_sdk`", rounds.of(START_UP).cpu / rounds.of(SDK_IMPORT).cpu, 1.25
        ),
    ]
    return ["| reach | wanted | measured | |", "|---|---|---:|---|", *lines]


def _named(case: Case) -> str:
    return f"{case.rows:,} {case.source.name}"


def _case(case: Case) -> str:
    return f"{_named(case)}, {case.latency * 1000:.0f} ms, {case.parallel} in flight"


def _least(what: str, measured: float, wanted: float) -> str:
    return f"| {what} | at least {wanted} | {measured:.2f} | {'reached' if measured >= wanted else 'not reached'} |"


def _at_most(what: str, measured: float, wanted: float) -> str:
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
    rounds = Rounds(
        wall_rows=20_000,
        long_rows=20_000 if options.quick else 50_000,
        cpu_rows=30_000 if options.quick else 100_000,
        few_rows=50_000,
        many_rows=200_000 if options.quick else 1_000_000,
        plain_too=options.plain_million,
        peers=installed(folder) if options.peers else {},
    )
    number = options.rounds or (2 if options.quick else 5)
    # Every other round backwards, so that nothing always comes after the same thing.
    cases = [case for each in range(number) for case in rounds.cases()[:: 1 - 2 * (each % 2)]]
    cases += rounds.last_cases()
    for case in (START_UP, PLAIN_START_UP):
        measure(case, folder)  # so that everything is compiled
    for done, case in enumerate(cases, 1):
        print(f"\r{done} of {len(cases)} runs", end="", file=sys.stderr, flush=True)
        rounds.runs[case].append(measure(case, folder))
    print(file=sys.stderr)
    medians = f"Medians of {number} rounds, Python {platform.python_version()}, {os.cpu_count()} CPUs."
    return f"{medians}\n\n{report(rounds)}"


if __name__ == "__main__":
    main()
