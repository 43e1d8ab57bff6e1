"""The records of one request to Klar, kept as the JSON that it will carry."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from target_klar.records.json_codec import decode, quoted

if TYPE_CHECKING:
    from target_klar.contract.streams import Amounts, Record
    from target_klar.delivery.stream import Stream
    from target_klar.delivery.unaggregated import SourceKey


MAX_HELD: Final = 16 << 20
"""The bytes of one batch, the tap's own text included, from which on it is sent: a bound on memory, not Klar's."""


def record_line(stream: str, record: bytes) -> bytes:
    """Return the line of a RECORD message with this JSON as its record."""
    return b'{"type":"RECORD","stream":%b,"record":%b}' % (quoted(stream), record)


class Entry(msgspec.Struct, gc=False):
    """The newest record of one key in a batch, as text: its objects take ten times the memory, and time to tidy up."""

    earliest: int
    """The number of the first record with this key in the batch, which this one has superseded."""
    sent: bytes
    """What Klar gets, as JSON."""
    origin: bytes | None
    """The tap's own line; None where its record is what Klar gets."""
    amounts: Amounts
    """What it adds to the control totals."""
    source_key: SourceKey | None = None
    """Its key in the source, where that is not Klar's."""

    @property
    def record(self) -> Record:
        """What Klar gets, as objects."""
        record: Record = decode(self.sent)
        return record

    @property
    def held(self) -> int:
        """How many bytes it keeps."""
        return len(self.sent) + len(self.origin or b"")

    def line(self, stream: str) -> bytes:
        """Return the tap's own line; `stream` is where it belongs if its record is what Klar gets."""
        return self.origin or record_line(stream, self.sent)


class Batch:
    """Records of one stream that become one request: one for each key, the last one."""

    def __init__(self, stream: Stream, numbers: list[int]) -> None:
        self.stream = stream
        self.numbers = numbers
        """Those of its records, superseded ones too; by the first one the ledger knows it."""
        self.opened_at = time.monotonic()
        self.held = 0
        """The bytes of its entries."""
        self.entries: dict[str, Entry] = {}

    def add(
        self,
        number: int,
        key: str,
        text: bytes,
        origin: bytes | None,
        amounts: Amounts = 0.0,
        source_key: SourceKey | None = None,
    ) -> None:
        """Take a record in, with `text` as its JSON, in the place of an earlier one with the same `key`.

        `origin` is the line it came in, unless its record there is the same.
        """
        entries = self.entries
        if key in entries:
            before = entries[key]
            number = before.earliest
            self.held -= before.held
            self.stream.merged += 1
            self.stream.unaggregated.add({key: (before.sent, before.source_key)})
        entries[key] = Entry(number, text, origin, amounts, source_key)
        self.held += len(text) if origin is None else len(text) + len(origin)

    def close(self) -> None:
        """Look at what its records replace, once no more come."""
        self.stream.unaggregated.add({key: (entry.sent, entry.source_key) for key, entry in self.entries.items()})
