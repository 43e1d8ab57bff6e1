"""The oracle: it knows every version that the tap wrote and that Klar stored, and holds a run against them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from generator import tap
from generator.evidence import is_shown
from generator.rejects_file import RejectsFile, share_own_key
from generator.report import misreported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from generator.klar import Post, RecordingKlar
    from generator.plan import Feed, Plan, Record, Step

    Say = Callable[[str], None]

# Klar's own words about records, which a run may take at their word where a good record is meant.
_REFUSES_GOOD_ONES = {"422", "400-opaque", "2xx-invalid", "207-ids", "207-opaque"}
UNSENDABLE = {"contract", "key"}
"""The flaws of records that are never sent before the maps are mended."""
KILLED = -9
"""The exit code after kill -9."""
_SAMPLES = 8
"""So many single records are tried before a run may say that Klar refuses everything."""


@dataclass
class Ended:
    """How a run ended, and since when it ran."""

    step: Step
    began: float
    code: int
    err: str
    errors: list[str]
    states: list[int]
    """The versions of the STATEs that came out."""
    took: float


@dataclass
class Oracle:
    """What is promised, for one plan, one Klar and one rejects file."""

    plan: Plan
    klar: RecordingKlar
    path: Path
    breaches: list[str] = field(default_factory=list)
    forgiven: set[int] = field(default_factory=set)
    """Versions of which no client could tell that Klar never booked them."""

    def __post_init__(self) -> None:
        self.rejects = RejectsFile(self.plan, self.path)
        self.again = RejectsFile(self.plan, self.path.with_name("again.jsonl"))
        self._records = {record.version: record for feed in self.plan.feeds for record in feed.records}
        self._unsendable = {each.version for each in self._records.values() if each.flaw in UNSENDABLE}
        self._history: dict[tuple[str, int], list[Record]] = defaultdict(list)
        for record in self._records.values():
            if not (self.plan.dropped(record) or record.bare):
                self._history[self._key(record)].append(record)
        self._bare = [each for each in self._records.values() if each.bare and not self.plan.dropped(each)]
        self._judged = 0
        self._set_aside: set[int] = set()

    def state(self, feed: Feed, after: int, upto: int, value: Any, began: float, now: float) -> str | None:
        """Return what a STATE that has just come out covers and nobody holds, or None."""
        version: int = value.get("seq", -1) if isinstance(value, dict) else -1
        if version not in range(after, upto + 1) or value != tap.state(feed, version):
            return f"a STATE that the tap did not write in this run: {str(value)[:100]}"
        covered = _until(feed, version)
        if missing := self._missing(covered, began, now):
            return f"STATE {version} is out, and nobody holds {missing}"
        # What Klar took in part, did not name, and refused alone afterwards stands in the rejects file.
        since = {each.version for each in covered if each.version > after} - self._rejected()
        for post in self._posts(began):
            if post.accepted and not since.isdisjoint(post.versions) and not self._is_shown(post, began, now):
                versions = sorted(since & post.versions)
                return f"STATE {version} is out before Klar's status showed a load since that of {versions}"
        return None

    def ended(self, run: Ended, read: list[Record], last_state: int | None, upto: list[int], now: float) -> None:
        """Judge a run that has ended.

        Args:
            run: The run.
            read: What it read, if it read everything.
            last_state: The version of the last STATE that it read; None: it read none.
            upto: Up to which version of each feed the tap need not write again.
            now: When it had ended.
        """
        say = self._sayer(run)
        self._judge_end(run, say)
        self._judge_stored(say)
        if run.code != KILLED and run.step.kind != "dry run":  # which leaves what a killed run has left
            for fault in self.rejects.faults():
                say(fault)
        self._judge_set_aside(run, say)
        if run.code != KILLED:  # else some of its last lines are missing
            for fault in misreported(self.plan, run.err, run.step, run.code, read, self.rejects):
                say(fault)
        if run.step.calm and run.code and not self._may_stop(run.step, read):
            say("it ended with 1 although nothing was in its way")
        if run.code == 0 and run.step.kind != "dry run":
            if missing := self._missing(read, run.began, now):
                say(f"it ended with 0, and nobody holds {missing}")
            if last_state is not None and (not run.states or run.states[-1] != last_state):
                say(f"it ended with 0 without the last STATE, {last_state}: {run.states}")
            if older := self._older(read, upto):
                say(f"older than it was: {older}")

    def _judge_end(self, run: Ended, say: Say) -> None:
        """Look at what a run said, and at its exit code."""
        if "Traceback" in run.err:
            say("a traceback")
        if run.code == 1 and len(run.errors) != 1:
            say(f"{len(run.errors)} ERROR lines")
        by_signal = {"SIGTERM": {143}, "SIGINT": {130}, "kill -9": {KILLED}}
        if run.code not in {0, 1} | by_signal.get(run.step.end, set()):
            say(f"exit code {run.code}")
        if run.states != sorted(set(run.states)):
            say(f"STATEs repeated or out of order: {run.states}")

    def dry_run(self, run: Ended, read: list[Record], before: tuple[object, ...], after: tuple[object, ...]) -> None:
        """Judge a dry run, given what Klar and the rejects file held before and after it."""
        say = self._sayer(run)
        if before != after:
            say("a dry run changed something")
        if run.states:
            say("a dry run wrote a STATE")
        flaws = {each.flaw for each in read if not self.plan.dropped(each) and not each.deleted}
        if run.code == 0 and flaws & UNSENDABLE:
            say("a dry run of bad records ended with 0")
        if run.code and not flaws - {""}:
            say("a dry run of good records ended with 1")

    def complete(self) -> None:
        """Judge the end of all runs, everything mended and sent: Klar holds the last version of each key."""
        held = self.klar.held_versions()
        for key, history in self._history.items():
            alive = [each for each in history if not self.plan.skipped(each)]
            last = alive[-1].version if alive else 0
            stays_open = last in self.forgiven or history[-1].version > last
            if last and held.get(key) != last and not stays_open and not self._unknown(alive[-1], held.get(key, 0)):
                self.breaches.append(f"in the end Klar holds {held.get(key)} of {key}, not {last}")

    def _missing(self, records: Iterable[Record], began: float, now: float) -> dict[int, str]:
        """Return the versions that are neither at Klar nor in a rejects file nor allowed to be nowhere."""
        held = self.klar.held_versions()
        # A newer word that Klar accepted stands there until the next start alone.
        in_file, missing = self._rejected(), {}
        for record in records:
            if self.plan.dropped(record) or record.bare or self._settled(record, held, in_file):
                continue
            later = {each.version for each in self._since(record)}
            lost = [post for post in self._posts(began) if post.accepted and not post.booked and later & post.versions]
            if any(self._is_shown(post, began, now) for post in lost):
                self.forgiven.add(record.version)
            else:
                why = "lost, and the status could tell" if lost else record.flaw or "good"
                missing[record.version] = f"{self._key(record)}, {why}"
        return missing

    def _settled(self, record: Record, held: dict[tuple[str, int], int], in_file: set[int]) -> bool:
        now = held.get(self._key(record), 0)
        if record.version in in_file or now >= record.version or self._unknown(record, now):
            return True
        later = self._since(record)
        if any(each.version in self.forgiven or self.plan.skipped(each) for each in later):
            return True
        # One that Klar refuses replaces what came before it in its batch; of bad ones the newest word is enough.
        refused = {each.version for each in later if each.flaw == "klar"} | (in_file - self._unsendable)
        bad = [each for each in later if each.version in refused or (each.flaw and each is record)]
        since = self._since(bad[0]) if bad else []
        return any(each.version in in_file or self._deleted_by_own_key(each) for each in since)

    def _deleted_by_own_key(self, record: Record) -> bool:
        """Tell whether a record that was set aside, of whatever key of Klar's, is one to its tap that deleted it since.

        Of what Klar took without its key nobody can say that it is gone.
        """
        return (bool(record.flaw) or record.version in self._set_aside) and any(
            each.version > record.version and share_own_key(self.plan, record, each) for each in self._bare
        )

    def _unknown(self, newest: Record, held: int) -> bool:
        """Tell whether Klar may have an older version of a key, since nobody could tell that it is the older one.

        A deletion by the tap's key took the newest one out of the rejects file. Or one of the two was set aside without
        Klar's key, where the tap's key does not say either that they are one, and they were sent in the other order.
        """
        if self._deleted_by_own_key(newest):
            return True
        older = self._records.get(held)
        if older is None or "key" not in (older.flaw, newest.flaw) or share_own_key(self.plan, older, newest):
            return False
        if newest.flaw == "key":
            return newest.version in self._set_aside
        stored = {each.version for each in list(self.klar.stored) if (each.stream, each.key) == self._key(newest)}
        return max(stored) >= newest.version

    def _since(self, record: Record) -> list[Record]:
        return [each for each in self._history[self._key(record)] if each.version >= record.version]

    def _older(self, read: Iterable[Record], upto: list[int]) -> dict[object, str]:
        """Return the keys of which Klar held a newer version that the tap will not write again."""
        held, newest = self.klar.held_versions(), dict[tuple[str, int], int]()
        settled = {each.version for feed, end in zip(self.plan.feeds, upto, strict=True) for each in _until(feed, end)}
        for each in list(self.klar.stored):
            if each.version in settled:
                newest[each.stream, each.key] = max(each.version, newest.get((each.stream, each.key), 0))
        deletions = {version for version in settled if self.plan.skipped(self._records[version])}
        elsewhere = self._rejected() | self.forgiven | deletions
        return {
            key: f"{held[key]}, not {newest[key]}"
            for key in {self._key(record) for record in read} & newest.keys()
            # It, or what replaced it in its batch, is where it can be sent from again, or a deletion was its end.
            if held[key] < newest[key]
            and not self._unknown(self._records[newest[key]], held[key])
            and not any(each.version in elsewhere for each in self._history[key] if each.version >= newest[key])
        }

    def _rejected(self) -> set[int]:
        """Return the rejected versions in the rejects file, and in the one that is being sent again."""
        lines = [line for file in (self.rejects, self.again) for line in file.lines()]
        return {line.record.version for line in lines if line.rejected}

    def _judge_stored(self, say: Say) -> None:
        """Look at what Klar has stored since the last time: nothing that the maps or the tap's own marks keep away."""
        stored = self.klar.stored[self._judged :]
        self._judged += len(stored)
        for each in stored:
            record = self._records.get(each.version)
            if record is None or self._key(record) != (each.stream, each.key):
                say(f"Klar stored {each}, which the tap never wrote")
            elif self.plan.dropped(record) or self.plan.skipped(record):
                say(f"Klar stored version {each.version}, which was to be kept away")
            elif each.cancelled != record.deleted:
                say(f"version {each.version} is {'cancelled' if each.cancelled else 'alive'} at Klar")

    def _judge_set_aside(self, run: Ended, say: Say) -> None:
        """Look at what a run wrote to the rejects file: after a kill too, since the next run has other faults."""
        may_refuse = any(fault.partition("@")[0] in _REFUSES_GOOD_ONES for fault in run.step.faults)
        for line in self.rejects.lines():
            version = line.record.version
            if line.rejected and version not in self._set_aside:
                self._set_aside.add(version)
                if not (line.record.flaw or may_refuse):
                    say(f"version {version} was set aside, and nothing is wrong with it")
                if self.plan.dropped(line.record):
                    say(f"version {version} was set aside although the maps drop it")

    def _may_stop(self, step: Step, read: list[Record]) -> bool:
        """Tell whether a run that nothing disturbs may end with 1: bad records are too many, or have no file."""
        bad = [each for each in read if each.flaw and not self.plan.dropped(each) and not step.fixed]
        if bad and ("rejects_path" not in step.settings or len(bad) > step.settings["rejects_limit"]):
            return True
        return any(
            sum(each.flaw == "klar" for each in bad if self.plan.source(each).target == stream) >= _SAMPLES
            for stream in {self.plan.source(each).target for each in bad}
        )

    def _posts(self, began: float) -> list[Post]:
        with self.klar.lock:
            return [post for post in self.klar.posts_seen if post.began >= began]

    def _is_shown(self, post: Post, began: float, now: float) -> bool:
        with self.klar.lock:
            readings = [each for each in self.klar.readings if each.began >= began]
        return is_shown(post, self._posts(began), readings, self.klar.status_lag, now)

    def _key(self, record: Record) -> tuple[str, int]:
        return self.plan.source(record).target or "", record.key

    def _sayer(self, run: Ended) -> Say:
        def say(what: str) -> None:
            self.breaches.append(f"{run.step.kind} with exit code {run.code}: {what}{excerpt(run.err)}")

        return say


def _until(feed: Feed, end: int) -> list[Record]:
    return [each for each in feed.records if each.version <= end]


def excerpt(err: str) -> str:
    """Return what of a run's stderr says what went wrong."""
    telling = [line for line in err.splitlines() if "| INFO " not in line]
    return "".join(f"\n    {line[:300]}" for line in telling[-6:])
