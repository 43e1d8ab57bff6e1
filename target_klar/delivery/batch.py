"""The records of one request to Klar, kept as the JSON that it will carry."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from target_klar.delivery.rejects_lines import Origin
from target_klar.records.convert import fold
from target_klar.records.json_codec import decode, members
from target_klar.records.values import id_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from target_klar.contract.streams import Amounts, Contract
    from target_klar.delivery.stream import Stream
    from target_klar.records.conform import Conformed

MAX_BYTES: Final = 16 << 20
"""The bytes of one batch, the tap's own text included, from which on it is sent: a bound on memory, not Klar's."""
_LONGEST_KEY: Final = 64


class SourceKey(NamedTuple):
    """What a record is to its tap: the source stream, its `key_properties`, and the values of the record there."""

    stream: str
    columns: tuple[str, ...]
    values: tuple[Any, ...]

    def read_again(self, record: bytes) -> dict[str, object]:
        """Return the values by column from a record's JSON, as the tap wrote them: those here may be shortened."""
        held = decode(record)
        return {column: held.get(column) for column in self.columns}


def source_key_reader(
    source_stream: str, columns: Sequence[str], contract: Contract, made: Collection[str] = ()
) -> Callable[[object], SourceKey | None] | None:
    """Return what reads the tap's own key from a record; None if it is Klar's, unless a map may have `made` that."""
    ours = {fold(name) for name in (contract.key, *contract.also_key)}.difference(map(fold, made))
    if {fold(column) for column in columns} <= ours:
        return None

    def read(record: object) -> SourceKey | None:
        if not isinstance(record, dict):
            return None
        return SourceKey(source_stream, tuple(columns), tuple(_brief(record.get(column)) for column in columns))

    return read


def _brief(value: object) -> object:
    """Return a value of a key, or in its place what is short and equal where it is; of an array or object nothing.

    A number is its text, as at Klar: a tap may write one id in both ways.
    """
    if type(value) in (int, Decimal):
        text = id_text(value)
        value = text if type(text) is str else str(value) if type(value) is Decimal else value
    if type(value) is str and len(value) > _LONGEST_KEY:
        return hash(value)
    return None if isinstance(value, list | dict) else value


class Entry(msgspec.Struct, gc=False):
    """The newest record of one key in a batch, as text: its objects take ten times the memory, and time to tidy up."""

    number: int
    """Its own in the order of reading."""
    earliest: int
    """The number of the first record with this key in the batch, which this one has superseded."""
    sent: bytes
    """What Klar gets, as JSON."""
    source_stream: str
    """The tap's own stream."""
    line: bytes | None
    """The tap's own line; None where its record is what Klar gets."""
    cancels: bool
    """Whether it cancels what Klar holds under the key."""
    amounts: Amounts
    """What it adds to the control totals."""
    source_key: SourceKey | None
    """Its key in the source, where that is not Klar's."""
    replaced: tuple[Entry, ...] = ()
    """Earlier ones of its key in the batch of which the rejects file may have a version that only they are known by."""

    @property
    def size(self) -> int:
        """How many bytes it keeps."""
        return len(self.sent) + len(self.line or b"")

    @property
    def origin(self) -> Origin:
        """Where the record comes from: the tap's own stream, and the very bytes that the tap wrote."""
        record = self.sent if self.line is None else members(self.line)["record"]
        return Origin(self.source_stream, record, self.number)


class Batch:
    """Records of one stream that become one request: one for each key, the last one."""

    def __init__(self, stream: Stream, number: int) -> None:
        self.stream = stream
        self.number = number
        """That of its first record, by which the ledger knows it."""
        self.opened_at = time.monotonic()
        self.read = 0
        """How many records it has taken, superseded ones too."""
        self.bytes = 0
        """The bytes of its entries."""
        self.entries: dict[str, Entry] = {}

    def put(
        self,
        number: int,
        conformed: Conformed,
        source_stream: str,
        line: bytes | None,
        source_key: SourceKey | None = None,
    ) -> Entry | None:
        """Put a record in the place of an earlier one with the same key, which is returned.

        `line` is the one that it came in; None if its record there is the JSON that Klar gets.
        """
        sent = conformed.sent
        before = self.entries.get(conformed.key)
        earliest = number
        if before is not None:
            earliest = before.earliest
            self.bytes -= before.size
        self.entries[conformed.key] = Entry(
            number, earliest, sent, source_stream, line, conformed.cancels, conformed.amounts, source_key
        )
        self.bytes += len(sent) if line is None else len(sent) + len(line)
        self.read += 1
        return before

    def remove(self, key: str, source_stream: str, source_key: SourceKey | None) -> bool:
        """Take the record of a key out, if it is the same one to its tap; return whether there was one.

        That is one of the same source stream and, where its key is not Klar's, of the same key there. Its number stays
        the batch's.
        """
        entry = self.entries.get(key)
        if entry is None or (entry.source_stream, entry.source_key) != (source_stream, source_key):
            return False
        del self.entries[key]
        self.bytes -= entry.size
        return True
