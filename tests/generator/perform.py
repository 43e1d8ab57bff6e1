"""A plan, performed: real runs of the program against a local Klar, one after the other, or two beside each other."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watched import Watched

from generator import tap
from generator.klar import RecordingKlar
from generator.oracle import Ended, Oracle, excerpt

if TYPE_CHECKING:
    from collections.abc import Callable

    from generator.plan import Feed, Plan, Record, Step
    from target_klar.sandbox import Request

LONGEST = 150.0
"""Seconds after which a run counts as hanging, beside the lag for each record: each may be a batch that is checked."""
LONGEST_AFTER_A_SIGNAL = 30.0
"""Three times what a run may take after one."""
_SIGNALS = {"SIGTERM": 15, "SIGINT": 2, "kill -9": 9}


@dataclass
class Performed:
    """What became of a plan."""

    plan: Plan
    breaches: list[str]
    ends: Counter[str] = field(default_factory=Counter)
    """How often which kind of run ended how."""
    seen: set[str] = field(default_factory=set)
    """The faults that struck, and what else came about."""


def perform(plan: Plan) -> Performed:
    """Perform a plan until it ends, or the first run that breaches a promise has ended."""
    with tempfile.TemporaryDirectory() as folder, RecordingKlar() as klar:
        return _Performance(plan, Path(folder), klar).perform()


class _Performance:
    def __init__(self, plan: Plan, folder: Path, klar: RecordingKlar) -> None:
        self.plan, self.folder, self.klar = plan, folder, klar
        self.oracle = Oracle(plan, klar, folder / "rejects.jsonl")
        self.done = Performed(plan, self.oracle.breaches)
        self.covered = [feed.offset for feed in plan.feeds]
        self._ended_early = False
        """Whether the last load did."""
        flawed = {each.version for feed in plan.feeds for each in feed.records if each.flaw == "klar"}
        self._refuse = lambda sent: tap.identify(sent)[1] in flawed

    def perform(self) -> Performed:
        acts: dict[str, Callable[[Step], None]] = {
            "load": self._load,
            "dry run": self._dry_run,
            "again": self._again,
            "beside": self._beside,
        }
        for step in self.plan.steps:
            acts[step.kind](step)
            self.done.seen.update(seen.fault for seen in self.klar.requests if seen.fault)
            if self.oracle.breaches:
                return self.done
        self.oracle.complete()
        return self.done

    def _load(self, step: Step) -> None:
        self._prepare(step)
        after = self.covered[step.feed]
        self._judge(self._run(step), step, after)

    def _judge(self, run: Ended, step: Step, after: int) -> None:
        feed = self.plan.feeds[step.feed]
        upto = feed.offset + step.upto
        last = upto if upto > after else None
        # A run that ends with 0 has read everything, so that what it read counts as read for good.
        ends = [upto if number == step.feed else covered for number, covered in enumerate(self.covered)]
        self.oracle.ended(run, self._read(feed, after, upto), last, ends, time.monotonic())

    def _dry_run(self, step: Step) -> None:
        self._prepare(step)
        feed, after = self.plan.feeds[step.feed], self.covered[step.feed]
        before = self._everything()
        run = self._run(step, validate_only=True)
        read = self._read(feed, after, feed.offset + step.upto)
        may_stop = replace(run, step=replace(step, calm=False))  # with what it has to end is judged apart
        self.oracle.ended(may_stop, read, None, self.covered, time.monotonic())
        self.oracle.dry_run(run, read, before, self._everything())

    def _again(self, step: Step) -> None:
        """Send the rejects file again, and again in fair weather until it has been read to its end.

        After a run that ended early the documents ask for another load first (`docs/loads.md`).
        """
        again, rejects = self.oracle.again, self.oracle.rejects
        if not rejects.lines() or self._ended_early:
            return
        rejects.path.rename(again.path)
        fair = replace(step, weather=self.plan.steps[-1].weather, faults=[], end="", fixed=True, calm=True)
        settings = self.plan.steps[-1].settings
        for attempt in (step, replace(fair, settings=settings)):
            self._prepare(attempt)
            read = [line.record for line in again.lines()]
            run = self._run(attempt)
            if run.code == 0:
                again.path.unlink()
            self.oracle.ended(run, read, None, self.covered, time.monotonic())
            if run.code == 0 or self.oracle.breaches:
                return

    def _beside(self, step: Step) -> None:
        """Load both feeds with one rejects file, the second from when the first has sent something."""
        self._prepare(step)
        sent = threading.Event()
        self.klar.observer = lambda moment, _: sent.set() if moment == "received" else None
        other = replace(step, feed=1, upto=len(self.plan.feeds[1].records))
        runs: list[Ended] = []

        def neighbour() -> None:
            if sent.wait(30):
                runs.append(self._run(other))

        after, other_after = self.covered
        thread = threading.Thread(target=neighbour)
        thread.start()
        first = self._run(step)
        sent.set()
        thread.join()
        self._judge(first, step, after)
        for run in runs:
            self._judge(run, other, other_after)
            overlap = run.began + run.took < first.began + first.took
            if overlap and run.code == 0 and first.code == 0:
                self.oracle.breaches.append("two runs used one rejects file at a time")
        self.done.seen.add("two runs on one file")

    def _prepare(self, step: Step) -> None:
        """Have the weather of a step, once nothing of the run before is left at Klar."""
        give_up = time.monotonic() + 10
        while self.klar.traffic.in_flight and time.monotonic() < give_up:
            time.sleep(0.005)
        self.klar.show_all()
        self.klar.observer = None
        for name, value in step.weather.items():
            setattr(self.klar, name, value)
        self.klar.refuse = None if step.fixed else self._refuse
        self.klar.misbehave(*step.faults)

    def _run(self, step: Step, **more: Any) -> Ended:
        """Perform one run of a step from its start to its end."""
        feed, after = self.plan.feeds[step.feed], self.covered[step.feed]
        upto = feed.offset + step.upto
        again = step.kind == "again"
        settings = step.settings | {
            "stream_maps": tap.stream_maps(self.plan.feeds if again else [feed], fixed=step.fixed),
            "hard_delete": self.plan.hard_delete,
            **more,
        }
        if "rejects_path" in settings:
            settings["rejects_path"] = str(self.folder / settings["rejects_path"])
        began = time.monotonic()

        def missing(value: Any) -> str | None:
            if again:
                return "a STATE of nothing"
            try:
                return self.oracle.state(feed, after, upto, value, began, time.monotonic())
            except Exception:  # noqa: BLE001 - it would end the thread that reads STATEs, and nothing else
                return f"the oracle itself failed: {traceback.format_exc()}"

        options = ["--input", str(self.oracle.again.path)] if again else []
        with Watched(self.klar, *options, missing=missing, **settings) as run:
            if not again:
                threading.Thread(target=self._feed, args=(run, step, feed, after, upto), daemon=True).start()
            self._end(run, step)
            try:
                code = run.ended(LONGEST + step.weather["status_lag"] * step.upto)
            except subprocess.TimeoutExpired:
                self.oracle.breaches.append(f"{step.kind} hangs{excerpt(run.err)}")
                return Ended(step, began, 1, run.err, [""], [], LONGEST)
            took = time.monotonic() - began
        self.done.ends[f"{step.kind}{', ' if step.end else ''}{step.end}: {code}"] += 1
        self.oracle.breaches += [f"{ahead[1]}, exit code {code}{excerpt(run.err)}" for ahead in run.ahead]
        if run.signalled and time.monotonic() - run.signalled[0] > LONGEST_AFTER_A_SIGNAL:
            self.oracle.breaches.append(f"it did not end after {step.end}{excerpt(run.err)}")
        # What is no STATE of the tap's is a breach already.
        states = [value["seq"] for value in run.states if isinstance(value, dict) and "seq" in value]
        if step.kind in ("load", "beside") and not more:
            self._ended_early = code != 0
            self.covered[step.feed] = states[-1] if states else self.covered[step.feed]
        return Ended(step, began, code, run.err, run.errors, states, took)

    def _feed(self, run: Watched, step: Step, feed: Feed, after: int, upto: int) -> None:
        """Be the tap: write the feed's next lines, with its pauses, and end."""
        stdin = run.process.stdin
        assert stdin is not None
        silent = -1
        # It has ended before it read everything, and the folder of its batch files may be gone.
        with suppress(BrokenPipeError, FileNotFoundError, ValueError):
            for version, line in tap.lines(self.plan, feed, after, upto, self.folder):
                stdin.write(line)
                if version != silent and (pause := step.pauses.get(str(version - feed.offset))):
                    silent = version
                    stdin.flush()
                    time.sleep(pause)
            stdin.close()

    def _end(self, run: Watched, step: Step) -> None:
        """Have a run signalled at the moment that the step names."""
        if not step.end:
            return
        strike = partial(self._strike, run, _SIGNALS[step.end])
        if step.end_at == 0:
            with suppress(TimeoutError, OSError):  # it has ended by itself
                run.until_it_listens()
            time.sleep(step.end_after)
            strike()
            return
        requests = 0

        def observe(moment: str, _: Request) -> None:
            nonlocal requests
            requests += moment in ("received", "status")
            if requests == step.end_at and not run.signalled:
                threading.Timer(step.end_after, strike).start()

        self.klar.observer = observe

    @staticmethod
    def _strike(run: Watched, number: int) -> None:
        if not run.signalled:
            with suppress(ProcessLookupError):
                run.signal(number)

    def _everything(self) -> tuple[object, ...]:
        return self.klar.held_versions(), len(self.klar.stored), self.oracle.rejects.content()

    @staticmethod
    def _read(feed: Feed, after: int, upto: int) -> list[Record]:
        return [each for each in feed.records if after < each.version <= upto]
