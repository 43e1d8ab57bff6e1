"""What a plan combines, by name, so that a search can show how often each combination came up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generator.tap import own_key

if TYPE_CHECKING:
    from generator.plan import Feed, Plan, Record, Step

HOLD = 5.0
"""For how many seconds at least a check holds new requests back (promise 1)."""

QUARTER = 5
"""How many records a quarter has of a first batch with one bad record in each."""


def combined(plan: Plan) -> set[str]:
    """Return the names of what comes together in a plan."""
    return {name for feed in plan.feeds for name in _of_feed(plan, feed)} | {
        name for step in plan.steps for name in _of_step(step)
    }


def _of_feed(plan: Plan, feed: Feed) -> set[str]:
    names = set()
    targets = [source.target for source in feed.sources if source.target]
    if len(targets) > len(set(targets)):
        names.add("several sources of one stream")
    for source in feed.sources:
        if source.target and source.tap_key != "klar":
            names.add(f"the tap's key: {source.tap_key}")
        if source.target is None:
            names.add("dropped although it has Klar's name")
            if source.name in targets:
                names.add("... and another source is renamed to it")
    for record in feed.records:
        names |= _of_record(plan, record)
    names |= _of_versions(plan, feed)
    first = [record.version - feed.offset - 1 for record in feed.records if record.flaw]
    if [place // QUARTER for place in first] == [0, 1, 2, 3] and plan.steps[0].settings[
        "batch_size_rows"
    ] == QUARTER * 4:
        names.add("one bad record in each quarter")
    return names | ({"STATEs that grow"} if feed.growth else set())


def _of_record(plan: Plan, record: Record) -> set[str]:
    source = plan.source(record)
    if plan.dropped(record):
        return {"filtered"} if record.filtered else set()
    if record.bare:
        return {"deleted by the tap's key alone"}
    if not record.flaw:
        return {"deleted, cancelled" if plan.hard_delete else "deleted, skipped"} if record.deleted else set()
    renamed = "renamed" if source.name != source.target else "not renamed"
    form = "Klar's form" if source.own_form else "computed" if source.computes else "converted"
    by = "Klar" if record.flaw == "klar" else "the contract"
    if record.flaw == "key":
        by += ", Klar's key unknown"
    return {f"{renamed}, {form}, refused by {by}"} | ({"bad record in a BATCH"} if source.batches else set())


def _of_versions(plan: Plan, feed: Feed) -> set[str]:
    names, last = set(), dict[tuple[str | None, int], "Record"]()
    bad: dict[tuple[object, ...], set[int]] = {}
    for record in feed.records:
        if plan.dropped(record) or record.bare:
            continue
        own = own_key(plan, record)
        if own and not record.flaw and bad.get(own, set()) - {record.key}:
            names.add("refused record, then a good one of another key that shares the tap's")
        if own and record.flaw:
            bad.setdefault(own, set()).add(record.key)
        key = plan.source(record).target, record.key
        if key in last and last[key].flaw and not record.flaw:
            names.add("newer version after a refused one")
        if key in last and record.flaw == "klar" and not last[key].flaw:
            names.add("refused version after a good one")
        if key in last and last[key].source != record.source:
            names.add("one key in several sources")
        last[key] = record
    return names


def _of_step(step: Step) -> set[str]:
    lag = step.weather["status_lag"]
    faults = {fault.partition("@")[0].rpartition(":")[2] for fault in step.faults}
    names = {step.kind if step.kind != "again" else f"rejects file again{'' if step.fixed else ', not fixed'}"}
    if lag > HOLD:
        names.add("lag longer than the hold" + (", never booked" if "never-booked" in faults else ""))
    elif "never-booked" in faults:
        names.add("never booked" + (", slow" if faults & {"slow", "slow-answer"} else ""))
    if any("html" in fault for fault in faults):
        names.add("page")
    if step.end:
        names.add(f"{step.kind}, {step.end}")
    if "rejects_path" not in step.settings:
        names.add("no rejects file")
    return names
