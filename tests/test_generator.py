"""The generator of whole runs: some of them every day, and whether its oracle can be believed.

What it searches by the hour, `python tests/generator` does.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from generator import tap
from generator.draw import FOCUSES, draw
from generator.evidence import is_shown
from generator.klar import Post, Reading, RecordingKlar, Stored
from generator.oracle import Ended, Oracle
from generator.plan import Feed, Plan, Record, Source, Step
from generator.report import misreported
from generator.search import search, summary
from generator.tally import combined
from thoroughness import THOROUGH, size

FAILURES = Path(__file__).parents[1] / ".cache" / "generator"
NAMED = {
    "renamed, Klar's form, refused by Klar",
    "... and another source is renamed to it",
    "lag longer than the hold, never booked",
    "never booked, slow",
    "two runs on one file",
    "several sources of one stream",
    "newer version after a refused one",
    "one bad record in each quarter",
    "rejects file again",
    "page",
    "load, SIGTERM",
    "load, kill -9",
    "dry run",
    "bad record in a BATCH",
    "STATEs that grow",
    "the tap's key: coarser",
    "the tap's key: finer",
    "the tap's key: unrelated",
    "the tap's key: none",
    "refused record, then a good one of another key that shares the tap's",
    "renamed, converted, refused by the contract, Klar's key unknown",
    "deleted by the tap's key alone",
}
"""What has to have come together in a thorough search."""


@pytest.mark.slow
def test_whatever_comes_together_nothing_is_lost_made_older_or_said_that_is_not_so() -> None:
    # As Hypothesis does: under CI the same seeds each time, so that a commit is judged by what is in it.
    seed = 0 if os.environ.get("CI") else random.SystemRandom().randrange(1_000_000)
    # A slow plan takes longer than what there is every day.
    lanes: list[tuple[str | None, int]] = [(None, 4), ("slow", 6)] if THOROUGH else [(None, 4)]
    found = search(seed, size(15, 300), FAILURES, lanes)

    breached = [(done.plan.focus, done.plan.seed, done.breaches[0]) for done in found if done.breaches]
    assert breached == [], f"seeds from {seed} on; the plans are in {FAILURES}, for python tests/generator --replay"
    came = set().union(*(combined(done.plan) | done.seen for done in found))
    assert not THOROUGH or came >= NAMED, summary(found)


@pytest.mark.parametrize("focus", [*FOCUSES, "slow"])
def test_a_plan_comes_from_its_seed_alone_and_survives_being_kept(focus: str) -> None:
    plan = draw(17, focus)

    assert draw(17, focus) == plan
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


LAG = 7.0


def load(began: float, versions: set[int], *, booked: bool = True, took: float = 0.1) -> Post:
    post = Post("refunds", began, frozenset(versions), frozenset(versions), accepted=True)
    post.booked, post.answered = (began + took if booked else None), began + took
    return post


def reading(moment: float) -> Reading:
    return Reading("refunds", moment, moment + 0.01)


def test_a_lagging_status_that_shows_an_older_load_is_no_evidence_of_a_lost_one() -> None:
    posts = [load(0, {1}), load(7.2, {2}), load(12.3, {3}, booked=False)]
    readings = [reading(moment) for moment in (-0.1, 7.15, 9, 12.2, 14.5)]

    assert not is_shown(posts[2], posts, readings, LAG, 14.6)
    assert is_shown(posts[1], posts, readings, LAG, 14.6)


def test_a_reading_from_before_a_lost_load_is_no_evidence_of_it() -> None:
    slow = load(0.1, {3}, took=7)
    slow.booked = 0.2
    posts = [load(0, {1}), slow, load(5.1, {4}, booked=False)]

    assert not is_shown(posts[2], posts, [reading(-0.1), reading(5)], 0, 7.2)
    assert not is_shown(posts[2], posts, [reading(-0.1), reading(5), reading(7.15)], 0, 7.2)


def test_no_client_can_tell_which_of_two_loads_between_two_readings_was_booked() -> None:
    posts = [load(1, {1}), load(1.2, {2}, booked=False)]

    assert is_shown(posts[1], posts, [reading(0.9), reading(1.5)], 0, 2)
    assert not is_shown(posts[1], posts, [reading(0.9), reading(1.15), reading(1.5)], 0, 2)


def test_a_load_of_another_stream_is_no_evidence() -> None:
    other = load(1.3, {2})
    other.stream = "orders"
    posts = [load(1, {1}, booked=False), other]

    assert not is_shown(posts[0], posts, [reading(0.9), reading(1.5)], 0, 2)


SOURCES = [
    Source("refunds", None, "refunds"),
    Source("order_refunds", "refunds", "refunds", own_form=True),
    Source("grouped", "refunds", "refunds", own_form=True, tap_key="coarser"),
]


def judge(tmp_path: Path, *records: Record, stored: tuple[int, ...] = ()) -> tuple[Oracle, Feed]:
    """An oracle, with these versions at its Klar."""
    feed = Feed(SOURCES, list(records), every=1)
    klar = RecordingKlar()
    keys = {record.version: record.key for record in records}
    klar.stored += [Stored("refunds", keys[version], version, cancelled=False) for version in stored]
    return Oracle(Plan(0, "test", [feed], []), klar, tmp_path / "rejects.jsonl"), feed


def covered(oracle: Oracle, feed: Feed, version: int) -> str | None:
    return oracle.state(feed, 0, version, tap.state(feed, version), 0, 1)


def reject(oracle: Oracle, stream: str, record: Record, **more: Any) -> None:
    row = tap.row(oracle.plan, record)
    klar = {"stream": "refunds"} | ({} if record.flaw == "key" else {"key": str(record.key)})
    lines = [
        {"type": "SCHEMA", "stream": stream, "schema": {}},
        {"type": "RECORD", "stream": stream, "record": row, "klar": klar},
    ]
    with oracle.path.open("a") as file:
        file.writelines(json.dumps(line | more) + "\n" for line in lines)


def ended(oracle: Oracle, feed: Feed, code: int = 0, err: str = "", *, rejected: int = 0, **more: Any) -> list[str]:
    step = Step("load", upto=len(feed.records), calm=True, **more)
    last = feed.records[-1].version
    summary = f"| INFO | target-klar | refunds: {last} read, {last - rejected} stored, {rejected} rejected"
    run = Ended(step, 0, code, f"{err}\n{summary}", [""] * (code == 1), [last], 0)
    oracle.ended(run, feed.records, last, [last], 1)
    return oracle.breaches


def test_a_state_over_a_version_that_is_nowhere_is_a_breach(tmp_path: Path) -> None:
    records = Record(1, 1, key=5), Record(2, 1, key=5)

    assert "nobody holds {2:" in str(covered(*judge(tmp_path, *records, stored=(1,)), 2))
    assert covered(*judge(tmp_path, *records, stored=(2,)), 2) is None


def test_what_a_map_drops_or_a_rejects_file_has_under_its_own_stream_is_not_missing(tmp_path: Path) -> None:
    bad = Record(2, 1, key=5, flaw="klar")
    oracle, feed = judge(tmp_path, Record(1, 0, key=5), bad)
    assert "nobody holds {2:" in str(covered(oracle, feed, 2))

    reject(oracle, "refunds", bad, errors=["x"])
    assert "nobody holds {2:" in str(covered(oracle, feed, 2))
    reject(oracle, "order_refunds", bad, errors=["x"])
    assert covered(oracle, feed, 2) is None


def test_what_a_refused_record_replaced_is_not_missing_and_what_a_bad_one_did_not_replace_is(
    tmp_path: Path,
) -> None:
    good, refused, bad = (Record(version, 1, 5, flaw) for version, flaw in enumerate(["", "klar", "contract"], 1))
    oracle, feed = judge(tmp_path, good, refused, bad)
    reject(oracle, "order_refunds", bad, errors=["x"])
    assert covered(oracle, feed, 3) is None

    oracle, feed = judge(tmp_path, good, Record(2, 1, key=6), bad, stored=(2,))
    assert "nobody holds {1:" in str(covered(oracle, feed, 3))


def test_a_key_that_ends_older_than_it_was_is_a_breach(tmp_path: Path) -> None:
    records = Record(1, 1, key=5, flaw="klar"), Record(2, 1, key=5)

    assert any("older than it was" in breach for breach in ended(*judge(tmp_path, *records, stored=(2, 1))))


@pytest.mark.parametrize(
    ("code", "err", "breach"),
    [
        (1, "", "nothing was in its way"),
        (0, "Traceback (most recent call last)", "a traceback"),
        (3, "", "exit code 3"),
    ],
)
def test_an_end_that_does_not_tell_the_truth_is_a_breach(code: int, err: str, breach: str, tmp_path: Path) -> None:
    assert any(breach in each for each in ended(*judge(tmp_path, Record(1, 1, key=5), stored=(1,)), code, err))
    assert ended(*judge(tmp_path, Record(1, 1, key=5), stored=(1,))) == []


def test_a_good_record_in_the_rejects_file_and_a_bad_one_twice_are_breaches(tmp_path: Path) -> None:
    good, bad = Record(1, 1, key=5), Record(2, 1, key=6, flaw="contract")
    oracle, feed = judge(tmp_path, good, bad, stored=(1,))
    for record in (good, bad, bad):
        reject(oracle, "order_refunds", record, errors=["x"])

    breaches = ended(oracle, feed)
    assert any("version 1 was set aside, and nothing is wrong with it" in breach for breach in breaches)
    assert any("version 2 stands twice" in breach for breach in breaches)


def test_records_that_share_the_taps_key_alone_are_two_and_each_has_to_be_somewhere(tmp_path: Path) -> None:
    bad, good = Record(1, 2, key=3, flaw="contract"), Record(2, 2, key=4)
    oracle, feed = judge(tmp_path, bad, good, stored=(2,))
    assert tap.own_key(oracle.plan, bad) == tap.own_key(oracle.plan, good)
    assert "nobody holds {1:" in str(covered(oracle, feed, 2))

    reject(oracle, "grouped", bad, errors=["x"])
    assert covered(oracle, feed, 2) is None


def test_a_deletion_by_the_taps_key_is_the_end_of_bad_records_that_share_it_and_of_no_other(tmp_path: Path) -> None:
    bad, deletion = Record(1, 2, key=3, flaw="contract"), Record(2, 2, key=4, deleted=True, bare=True)
    assert tap.row(judge(tmp_path, deletion)[0].plan, deletion).keys() == {"parent", "_sdc_deleted_at"}
    assert covered(*judge(tmp_path, bad, deletion), 2) is None

    assert "nobody holds {1:" in str(covered(*judge(tmp_path, Record(1, 2, key=3), deletion), 2))
    assert "nobody holds {1:" in str(covered(*judge(tmp_path, Record(1, 2, key=7, flaw="contract"), deletion), 2))
    earlier, later = replace(deletion, version=1), replace(bad, version=2)
    assert "nobody holds {2:" in str(covered(*judge(tmp_path, earlier, later), 2))


@pytest.mark.parametrize(("source", "is_known"), [(1, False), (2, True)])
def test_an_older_record_may_replace_a_newer_one_only_where_nobody_could_tell_that_they_are_one(
    tmp_path: Path, source: int, *, is_known: bool
) -> None:
    """Without Klar's key and the tap's nobody can; the tap's key, where both have it, says that they may be."""
    hidden, newer = Record(1, source, key=3, flaw="key"), Record(2, source, key=3)

    breaches = ended(*judge(tmp_path, hidden, newer, stored=(2, 1)), fixed=True)
    assert any("older than it was" in breach for breach in breaches) is is_known
    assert "nobody holds {2:" in str(covered(*judge(tmp_path, hidden, newer, stored=(1,)), 2))


def test_a_line_comes_twice_unless_there_is_one_between_them_that_may_be_of_the_same_record(tmp_path: Path) -> None:
    bad, hidden = Record(1, 2, key=3, flaw="contract"), Record(2, 2, key=4, flaw="key")
    unnamed = Record(4, 1, key=5, flaw="key")
    oracle, _ = judge(tmp_path, bad, hidden, unnamed)
    for record in (bad, hidden, bad, unnamed, unnamed):
        reject(oracle, SOURCES[record.source].name, record, errors=["x"])

    assert oracle.rejects.faults() == []
    reject(oracle, "grouped", bad, errors=["x"])
    assert oracle.rejects.faults() == ["version 1 stands twice in the rejects file"]


@pytest.mark.parametrize(
    ("counts", "said", "breach"),
    [
        ("2 read, 1 stored, 1 rejected", "Records rejected: 1, see", ""),
        ("2 read, 1 stored, 0 rejected", "", "do not add up"),
        ("3 read, 2 stored, 1 rejected", "Records rejected: 1, see", "the counts of refunds are"),
        ("2 read, 2 stored, 0 rejected", "", "1 to 1 are bad"),
        ("2 read, 1 stored, 1 rejected", "Records rejected: 2, see", "1 rejected by the summary"),
        ("2 read, 1 stored, 1 rejected", "Records rejected: 1, none in", "and the file has one"),
    ],
)
def test_counts_and_words_that_are_not_so_are_breaches(counts: str, said: str, breach: str, tmp_path: Path) -> None:
    good, bad = Record(1, 1, key=5), Record(2, 1, key=6, flaw="contract")
    oracle, feed = judge(tmp_path, good, bad, stored=(1,))
    reject(oracle, "order_refunds", bad, errors=["x"])
    named = "| WARNING | target-klar | target-klar rejected refunds 1006: it is bad."
    err = f"{named}\n| INFO | target-klar.refunds | refunds: {counts}, 1 request\n| WARNING | target-klar | {said}"

    faults = misreported(oracle.plan, err, Step("load"), 0, feed.records, oracle.rejects)
    assert [fault for fault in faults if breach and breach in fault] or faults == []
    assert bool(faults) is bool(breach)
    unnamed = misreported(oracle.plan, err.replace(named, ""), Step("load"), 0, feed.records, oracle.rejects)
    assert any("it names 0" in fault for fault in unnamed) is (", 1 rejected" in counts)
