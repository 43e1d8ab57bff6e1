"""The rejects file as anybody can read it: Singer lines, and which record of the plan each of them is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generator import tap

if TYPE_CHECKING:
    from pathlib import Path

    from generator.plan import Plan, Record


@dataclass(frozen=True)
class Line:
    """One record in the file."""

    record: Record
    rejected: bool
    """Whether it has errors; without them it is the newer word that Klar accepted."""
    has_key: bool = True
    """Whether Klar's key stands in it."""


class RejectsFile:
    """A rejects file of a plan's records, looked at without changing it."""

    def __init__(self, plan: Plan, path: Path) -> None:
        self.path = path
        self._plan = plan
        self._records: dict[str, Record] = {}
        for feed in plan.feeds:
            for record in feed.records:
                stream = feed.sources[record.source].name
                self._records[_identity(stream, tap.row(plan, record))] = record

    def content(self) -> bytes:
        """Return its bytes; none where it does not exist."""
        return self.path.read_bytes() if self.path.exists() else b""

    def lines(self) -> list[Line]:
        """Return the records in it, in order; what is not whole or of no record is left to `faults`."""
        return [line for line in map(self._read, self.content().split(b"\n")) if isinstance(line, Line)]

    def faults(self) -> list[str]:
        """Return what is wrong with it: lines that are not whole, records that nobody wrote, one word said twice."""
        *whole, rest = self.content().split(b"\n")
        faults = ["the rejects file ends in the middle of a line"] if rest else []
        described: set[str] = set()
        before: list[Line] = []
        for number, text in enumerate(whole, 1):
            line = self._read(text)
            if isinstance(line, str):
                faults.append(f"line {number} of the rejects file {line}: {text[:200]!r}")
            elif isinstance(line, dict):
                described.add(line["stream"])
            else:
                source = self._plan.source(line.record)
                if source.name not in described:
                    faults.append(f"line {number} of the rejects file has no SCHEMA of {source.name} before it")
                last = next((each for each in reversed(before) if self._may_be_one(each, line)), None)
                if last is not None and last.record == line.record:
                    faults.append(f"version {line.record.version} stands twice in the rejects file")
                before.append(line)
        return faults

    def _may_be_one(self, one: Line, other: Line) -> bool:
        """Tell whether two lines may be about one object of Klar's: the tap's key counts where Klar's is not known."""
        if self._plan.source(one.record).target != self._plan.source(other.record).target:
            return False
        if one.has_key and other.has_key:
            return one.record.key == other.record.key
        return share_own_key(self._plan, one.record, other.record)

    def _read(self, text: bytes) -> Line | dict[str, Any] | str:
        """Return the record of a line, the message where it is a SCHEMA, or what is wrong with it."""
        try:
            message = json.loads(text)
            if message["type"] == "SCHEMA":
                return {"stream": message["stream"], "schema": message["schema"]}
            record = self._records.get(_identity(message["stream"], message["record"]))
        except (ValueError, KeyError, TypeError) as error:
            return f"is no Singer message ({type(error).__name__})"
        if record is None:
            return "is a record that the tap never wrote in that stream"
        if tap.raw(self._plan, record).encode() not in text:
            return "does not have the tap's own bytes"
        return Line(record, rejected=bool(message.get("errors")), has_key="key" in message.get("klar", {}))


def share_own_key(plan: Plan, one: Record, other: Record) -> bool:
    """Tell whether two records are one to their tap."""
    own = tap.own_key(plan, one)
    return own is not None and own == tap.own_key(plan, other)


def _identity(stream: str, row: Any) -> str:
    return json.dumps([stream, row], sort_keys=True)
