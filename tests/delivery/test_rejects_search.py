"""Random nights with one rejects file, beside a model that knows every version of every key and what became of it.

A night reads the versions that no STATE has covered, rejects some while it reads, has others answered by Klar later,
and ends well or is killed. In between a user may change the mapping. What is compared is versions, never lines.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from rejects_file import opened, origin, records, release
from thoroughness import size

from target_klar.records.formatting import Problem

if TYPE_CHECKING:
    from pathlib import Path

    from target_klar.delivery.rejects import Rejects

WRONG = [Problem("id", "is wrong")]
KEYS = "abcd"


@dataclass
class Version:
    """One record that the tap writes; versions of one key rise."""

    key: str
    number: int
    fate: str
    """What becomes of it under the mapping of the day: `contract`, `unknown key`, `klar`, `deleted` or `accepted`."""
    rejected: bool = False
    """What became of it when it was read last."""

    @property
    def record(self) -> bytes:
        return json.dumps({"id": self.key, "version": self.number}).encode()


@dataclass
class World:
    """The tap's log, Klar, and one rejects file."""

    path: Path
    random: random.Random
    log: list[Version] = field(default_factory=list)
    klar: dict[str, int] = field(default_factory=dict)
    """The newest version of each key that Klar has accepted, under whatever key of its own."""
    merges: bool = False
    """Whether the mapping is wrong, and gives all that the tap tells apart one key at Klar."""
    covered: int = 0
    """How many versions of the log a STATE covers."""

    def write(self) -> None:
        """The tap's source changes."""
        for _ in range(self.random.randrange(8)):
            self.log.append(Version(self.random.choice(KEYS), len(self.log) + 1, self.fate()))

    def fate(self) -> str:
        return self.random.choice(["contract", "unknown key", "klar", "deleted", "accepted", "accepted"])

    def key_of(self, version: Version) -> str:
        """Klar's key of a version, under the mapping of the day."""
        return "all" if self.merges else version.key

    def fix(self) -> None:
        """The mapping changes, and with it what becomes of what was rejected."""
        for version in self.log:
            if version.fate != "accepted" and self.random.random() < 0.5:
                version.fate = self.fate()

    def night(self, *, killed: bool, closed: bool = True) -> None:
        """One run: results come late and out of order, but in order for each key, of which one request is in flight."""
        rejects = opened(self.path)
        in_flight: list[tuple[int, Version]] = []
        before = self.covered
        todo = list(enumerate(self.log[before:], 1))
        stop = self.random.randrange(len(todo) + 1) if killed else len(todo)
        for number, version in todo[:stop]:
            if self.random.random() < 0.1 and not in_flight:
                self.state(rejects, before + number - 1)
            self.read(rejects, number, version, in_flight)
            while in_flight and self.random.random() < 0.4:
                self.answer(rejects, in_flight)
        while in_flight and not (killed and self.random.random() < 0.2):
            self.answer(rejects, in_flight)
        if not killed:
            self.state(rejects, len(self.log))
        if closed and not killed:
            rejects.close()
        release(rejects)
        if killed:
            self.cut()

    def read(self, rejects: Rejects, number: int, version: Version, in_flight: list[tuple[int, Version]]) -> None:
        of = origin(version.record, number)
        version.rejected = version.fate not in ("deleted", "accepted")
        match version.fate:
            case "contract":
                rejects.reject(of, "refunds", self.key_of(version), WRONG, "contract")
            case "unknown key":
                rejects.reject(of, "refunds", None, WRONG, "contract")
            case "deleted":
                rejects.delete(of, "refunds", self.random.choice([None, self.key_of(version)]))
            case _:
                in_flight.append((number, version))

    def answer(self, rejects: Rejects, in_flight: list[tuple[int, Version]]) -> None:
        """Klar answers for one version, the oldest of some key that is in flight."""
        key = self.random.choice([self.key_of(version) for _, version in in_flight])
        number, version = next(each for each in in_flight if self.key_of(each[1]) == key)
        in_flight.remove((number, version))
        if version.fate == "klar":
            rejects.reject(origin(version.record, number), "refunds", key, WRONG, "klar")
            return
        self.klar[version.key] = version.number
        if rejects.may_have_keys:
            rejects.accept([(origin(version.record, number), key)], "refunds")

    def state(self, rejects: Rejects, covered: int) -> None:
        rejects.sync()
        self.covered = covered
        self.synced = self.path.stat().st_size

    def cut(self) -> None:
        """What no fsync has brought to disk may be there in part."""
        whole = self.path.stat().st_size
        if whole > self.synced:
            os.truncate(self.path, self.random.randrange(self.synced, whole + 1))

    def compare(self) -> None:
        """After a night that ended well."""
        assert self.path.read_bytes().endswith(b"\n") or not self.path.stat().st_size
        written = records(self.path)
        lines = [(each["record"]["id"], each["record"]["version"], "errors" in each) for each in written]
        accepted = {version.number for version in self.log if version.fate == "accepted"}
        for key in KEYS:
            mine = [(number, rejected) for name, number, rejected in lines if name == key]
            held = self.klar.get(key, 0)
            # Whichever of the rejected versions a new mapping lets pass: one that Klar took, or a newer one, follows.
            for at, (number, _) in enumerate(mine):
                newer = {later for later, _ in mine[at:] if later >= held and later in accepted}
                assert number >= held or newer, f"{key}: {number} would be put over {held}"
            unsettled = [number for number, rejected in mine if rejected]
            last_settled = max((at for at, (_, rejected) in enumerate(mine) if not rejected), default=-1)
            # Under another key of Klar's it may be another one of its records.
            own = [
                (each["record"]["version"], each["klar"].get("key")) for each in written if each["record"]["id"] == key
            ]
            since = own[last_settled + 1 :]
            assert all(one != other for one, other in pairwise(since)), f"{key}: {since} has one twice"
            newest = next((version for version in reversed(self.log) if version.key == key), None)
            if newest and newest.rejected:
                assert unsettled[-1:] == [newest.number], f"{key}: {newest} is lost"


@pytest.mark.parametrize("mapping", ["right", "wrong", "corrected"])
@pytest.mark.parametrize("seed", range(size(30, 2000)))
def test_sending_the_file_again_makes_nothing_older_and_loses_no_rejected_record(
    seed: int, mapping: str, tmp_path: Path
) -> None:
    world = World(tmp_path / "rejects.jsonl", random.Random(f"{mapping} {seed}"), merges=mapping != "right")
    world.synced = 0
    for _ in range(6):
        world.write()
        if world.random.random() < 0.3:
            world.fix()
        if mapping == "corrected" and world.random.random() < 0.3:
            world.merges = not world.merges
        killed = world.random.random() < 0.3
        world.night(killed=killed)
        if not killed:
            world.compare()


def test_the_file_is_gone_over_at_the_start_of_each_night(tmp_path: Path) -> None:
    world = World(tmp_path / "rejects.jsonl", random.Random(1))
    found: list[Any] = []
    for number, fate in enumerate(["klar", "accepted"], 1):
        world.log.append(Version("a", number, fate))
        world.night(killed=False, closed=False)
        found.append([each["record"]["version"] for each in records(world.path)])
    world.night(killed=False)

    assert (found, world.path.read_bytes()) == ([[1], [1, 2]], b"")
