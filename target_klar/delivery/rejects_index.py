"""What the rejects file says last about each key: read at the start of a run, and at its end if it settled something.

Either time what is settled is removed.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec

from target_klar.delivery.rejects_file import FileNotReadError
from target_klar.delivery.rejects_lines import (
    ACCEPTED,
    DELETED,
    KeyProperties,
    RecordLine,
    SchemaLine,
    record_digest,
)
from target_klar.runtime import shutdown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_klar.delivery.rejects_file import RejectsFile
    from target_klar.delivery.rejects_lines import Origin

MAX_KEYS: Final = 100_000
"""How many keys a file may have for a run to know what it says about each; two digests of 16 bytes for each of them."""

_logger = logging.getLogger("target-klar")


class LastRejectsLine(msgspec.Struct, gc=False):
    """The last line about a key."""

    rejected: bool
    """Whether its record is rejected; else it was accepted, or its source has deleted it."""
    digest: bytes
    """What tells its record from others."""
    number: int
    """When this run has read its record; 0 if an earlier one did."""
    first: int
    """When this run has read the record of the first line about the key."""
    start: int
    length: int


class RejectsIndex:
    """The last line about each key."""

    def __init__(self, *, complete: bool = True) -> None:
        self.complete = complete
        """Whether it knows every key of the file. If not, any key may be there."""
        self._lines: dict[bytes, LastRejectsLine] = {}
        self._keys = 0

    def __bool__(self) -> bool:
        """Whether a record may have to be looked up."""
        return bool(self._lines) or not self.complete

    @property
    def full(self) -> bool:
        """Whether it knows more keys than a file may have."""
        return self._keys > MAX_KEYS or len(self._lines) > 2 * MAX_KEYS

    def last(self, keys: tuple[bytes, ...]) -> LastRejectsLine | None:
        """Return the last line about any of the keys; None if none is known."""
        found = [self._lines[key] for key in keys if key in self._lines]
        return max(found, key=lambda line: line.start, default=None)

    def add(self, keys: tuple[bytes, ...], origin: Origin, source: str, start: int, length: int) -> None:
        """Note a line of so many bytes that begins at `start`, behind all others."""
        if not keys:
            return
        before = self.last(keys)
        self._keys += before is None
        rejected = source not in (ACCEPTED, DELETED)
        first = before.first if before is not None else origin.number if self.complete else 0
        line = LastRejectsLine(rejected, record_digest(origin.record), origin.number, first, start, length)
        self._lines.update(dict.fromkeys(keys, line))

    def move(self, line: LastRejectsLine, keys: tuple[bytes, ...], start: int) -> None:
        """Note that a line was written again, at `start`, behind one of an accepted record that has these keys."""
        line.start = start
        self._lines.update(dict.fromkeys(keys, line))


def read_index(file: RejectsFile) -> RejectsIndex:
    """Return what a file says about each key, after what is settled has been removed from it where that is safe.

    If the file is too large, a WARNING is logged, nothing is removed, and the index is not complete.
    """
    try:
        index, settled = _read(file)
        if settled and file.locked:
            _rewrite_without_settled(file, settled)
            index, _ = _read(file)
    except FileNotReadError:
        if shutdown.signal_received() is None:
            _logger.warning(
                "The rejects file %s is too large to be read (more than %s keys or 1 GB), so the newest version of "
                "every record is appended to it. Send it again, or move it away.",
                file.path,
                f"{MAX_KEYS:,}",
            )
        return RejectsIndex(complete=False)
    return index


def _read(file: RejectsFile) -> tuple[RejectsIndex, dict[bytes, int]]:
    """Return the index of a file, and for each key where its last line begins whose record is not rejected."""
    index, properties = RejectsIndex(), KeyProperties()
    settled: dict[bytes, int] = {}
    for start, line in _lines_until_deadline(file):
        read = properties.read(line)
        if isinstance(read, RecordLine):
            index.add(read.keys, read.origin, read.source, start, len(line))
            if read.source in (ACCEPTED, DELETED):
                settled.update(dict.fromkeys(read.keys, start))
        if index.full:
            raise FileNotReadError
    return index, settled


def _rewrite_without_settled(file: RejectsFile, settled: dict[bytes, int]) -> None:
    try:
        file.replace(_unsettled(file, settled))
    except OSError as error:
        _logger.warning(
            "The rejects file %s cannot be replaced (%s), so it keeps records that Klar has accepted since. Check the "
            "permissions of its folder.",
            file.path,
            error.strerror,
        )


def _unsettled(file: RejectsFile, settled: dict[bytes, int]) -> Iterator[bytes]:
    """Yield the lines of a file without those of a key up to the last settled one, and without the SCHEMAs for them."""
    properties = KeyProperties()
    schemas: dict[str, bytes] = {}
    written: dict[str, bytes] = {}
    for start, line in _lines_until_deadline(file):
        read = properties.read(line)
        if isinstance(read, SchemaLine):
            schemas[read.source_stream] = line
            continue
        if isinstance(read, RecordLine):
            if any(start <= settled.get(key, -1) for key in read.keys):
                continue
            stream = read.origin.source_stream
            if stream in schemas and schemas[stream] != written.get(stream):
                written[stream] = schemas[stream]
                yield schemas[stream]
        yield line


def _lines_until_deadline(file: RejectsFile) -> Iterator[tuple[int, bytes]]:
    for line in file.lines():
        deadline = shutdown.deadline()
        if deadline is not None and time.monotonic() > deadline:
            raise FileNotReadError  # in the time that is left
        yield line
