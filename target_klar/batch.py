"""The records of one request to Klar, kept as the JSON that it will carry."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from target_klar.answers import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_klar.contract import Contract, Record
    from target_klar.parts import Parts
    from target_klar.report import StreamReport


class Entry(msgspec.Struct, gc=False):
    """The newest record of one key in a batch, as text: its objects take ten times the memory, and time to tidy up."""

    earliest: int
    """The number of the first record with this key in the batch, which this one has superseded."""
    sent: msgspec.Raw
    """What Klar gets, as JSON."""
    origin: Mapping[str, Any] | None
    """The tap's own message; None where its record is what Klar gets."""

    @property
    def record(self) -> Record:
        """What Klar gets, as objects."""
        record: Record = read_json(self.sent)
        return record

    def message(self, stream: str) -> Mapping[str, Any]:
        """Return the tap's own message; `stream` is where it belongs if it came as it is."""
        return self.origin or {"stream": stream, "record": self.record}


class Batch:
    """Records of one stream that become one request: one for each key, the last one."""

    def __init__(self, contract: Contract, report: StreamReport, parts: Parts, number: int) -> None:
        self.contract = contract
        self.report = report
        self._parts = parts
        self.number = number
        """The number of its first record, by which the ledger knows it."""
        self.opened_at = time.monotonic()
        self.read = 0
        """How many records went into it, superseded ones too."""
        self.entries: dict[str, Entry] = {}

    def add(self, number: int, record: Record, text: bytes, message: Mapping[str, Any]) -> None:
        """Take a record in, with `text` as its JSON, in the place of an earlier one with the same key."""
        self.read += 1
        key = record[self.contract.key]
        before = self.entries.get(key)
        earliest = number if before is None else before.earliest
        origin = None if message.get("record") is record else message
        self.entries[key] = Entry(earliest, msgspec.Raw(text), origin)
        if before is not None:
            self.report.merged += 1
            self._parts.add({key: before.sent})

    def close(self) -> None:
        """Look at what its records replace, once no more come."""
        self._parts.add({key: entry.sent for key, entry in self.entries.items()})
