"""What a run says of itself: its summary and the line about its rejected records, held against what it read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from generator.plan import Plan, Record, Step
    from generator.rejects_file import RejectsFile

_SUMMARY = re.compile(r"\| INFO .*\| (\w+): (\d+ read, .*)")
_COUNT = re.compile(r"(\d+) (\w+)")
_REJECTED = re.compile(r"Records rejected: (\d+)(, see|, none in|)")
_NAMED = re.compile(r"\| WARNING .*(?:Klar|target-klar) rejected \w+ ")
_MOST_NAMED = 20
_SUM = ("stored", "merged", "deleted", "filtered", "rejected", "open")


def misreported(plan: Plan, err: str, step: Step, code: int, read: Sequence[Record], file: RejectsFile) -> list[str]:
    """Return what the stderr of a run says that is not so; `read` is what it read if it read everything."""
    counts = _counts(err)
    faults = [
        f"the counts of {stream} do not add up: {of}"
        for stream, of in counts.items()
        if of["read"] != sum(of.get(name, 0) for name in _SUM)
    ]
    if code == 0:
        faults += _wrong_counts(plan, step, read, counts)
    said = _REJECTED.search(err)
    rejected = sum(of["rejected"] for of in counts.values())
    if counts and int(said[1] if said else 0) != rejected:
        faults.append(f"{rejected} rejected by the summary, {said and said[0]}")
    if counts and len(_NAMED.findall(err)) < min(rejected, _MOST_NAMED):
        faults.append(f"of {rejected} rejected records it names {len(_NAMED.findall(err))}")
    # A dry run has a file of its own, and beside another run the file may be that one's by now.
    if said and step.kind in ("load", "again"):
        is_there = any(line.rejected for line in file.lines())
        if said[2] and is_there != (said[2] == ", see"):
            faults.append(f"'{said[0]} ...', and the file has {'one' if is_there else 'none'}")
    return faults


def _counts(err: str) -> dict[str, dict[str, int]]:
    """Return the last counts of each stream, but not those of a run in progress."""
    counts = {}
    for stream, text in _SUMMARY.findall(err):
        names = {name: int(number) for number, name in _COUNT.findall(text)}
        counts[stream] = names | {"stored": names.get("stored", names.get("valid", 0))}
    return counts


def _wrong_counts(plan: Plan, step: Step, read: Sequence[Record], counts: dict[str, dict[str, int]]) -> Iterator[str]:
    """Compare the counts of a run that read everything with the records."""
    for stream in {plan.source(each).target for each in read} - {None}:
        mine = [each for each in read if plan.source(each).target == stream]
        passed = [each for each in mine if not each.filtered]
        bad = [each for each in passed if each.flaw and not step.fixed]
        wanted = {
            "read": len(mine),
            "filtered": len(mine) - len(passed),
            "deleted": sum(map(plan.skipped, passed)),
            "open": 0,
        }
        of = counts.get(stream or "", {})
        if wanted != {name: of.get(name, 0) for name in wanted}:
            yield f"the counts of {stream} are {of}, not {wanted}"
        least = sum(each.flaw != "klar" for each in bad)
        # What replaced a record that Klar refuses before it was sent is counted in its place.
        most = len(mine) if step.faults else len(bad)
        if not least <= of.get("rejected", 0) <= most:
            yield f"{of.get('rejected')} records of {stream} rejected, and {least} to {most} are bad"
