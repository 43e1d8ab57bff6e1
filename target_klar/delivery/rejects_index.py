"""What the rejects file says last about each key: read at the start of a run, and at its end if there is a need.

Either time what is settled is removed, and of lines with the same record all but the last.
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
    Keys,
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

    klar: bytes | None
    """Klar's key; None where it is not known."""

    source: str
    """Who rejected its record, or ACCEPTED or DELETED."""
    digest: bytes
    """What tells its record from others."""
    number: int
    """When this run has read its record; 0 if an earlier one did."""
    first: int
    """When this run has read the record of the first line about the key."""
    start: int
    """Where it begins; below 0 until it is written."""
    length: int

    @property
    def rejected(self) -> bool:
        """Whether its record is rejected; else it was accepted, or its source has deleted it."""
        return self.source not in (ACCEPTED, DELETED)


class RejectsIndex:
    """The last line about each key."""

    def __init__(self, *, complete: bool = True) -> None:
        self.complete = complete
        """Whether it knows every key of the file. If not, any key may be there."""
        self._by_klar: dict[bytes | None, LastRejectsLine] = {}
        self._by_source: dict[bytes | None, LastRejectsLine] = {}
        self._without_klar: dict[bytes | None, LastRejectsLine] = {}
        """By the tap's key as well, the last line that is without Klar's: any record of the tap's key may be newer."""
        self.unread = 0
        """How many lines of the file no run writes."""
        self.first_unread = 0
        """The number of the first of them."""
        self.rejected = 0
        """How many lines of the file have a rejected record."""
        self._keys = 0
        self._has_keyless = False

    def __bool__(self) -> bool:
        """Whether a record may have to be looked up."""
        return bool(self._by_klar or self._by_source) or not self.complete

    @property
    def full(self) -> bool:
        """Whether it knows more keys than a file may have."""
        return self._keys > MAX_KEYS or len(self._by_klar) + len(self._by_source) > 2 * MAX_KEYS

    @property
    def has_rejected(self) -> bool:
        """Whether a record is rejected and nothing newer known of it."""
        return self._has_keyless or any(
            line.rejected for lines in (self._by_klar, self._without_klar) for line in lines.values()
        )

    def last(self, keys: Keys) -> LastRejectsLine | None:
        """Return the last line about a record, by Klar's key, or by the tap's where Klar's is not known of both."""
        return max(self._about(keys), key=lambda line: (line.number, line.start), default=None)

    def newer(self, keys: Keys, number: int) -> list[LastRejectsLine]:
        """Return the last lines about a record, by either key, that were read later than it."""
        return [line for line in self._about(keys) if line.number > number]

    def has_older(self, keys: Keys, number: int) -> bool:
        """Whether there may be a line about a record that was read earlier than it."""
        return any(line.first < number for line in self._about(keys))

    def note_line(
        self, keys: Keys, origin: Origin, source: str, length: int, start: int = -1
    ) -> LastRejectsLine | None:
        """Note a line of so many bytes behind those of the records that were read earlier, and return it.

        None: it has no key. Where it begins is told later, if `start` is below 0.
        """
        self.rejected += source not in (ACCEPTED, DELETED)
        if keys == Keys():
            self._has_keyless = True
            return None
        about = self._about(keys)
        self._keys += not about
        first = min([origin.number if self.complete else 0, *(line.first for line in about)])
        for line in about:
            line.first = first
        new = LastRejectsLine(keys.klar, source, record_digest(origin), origin.number, first, start, length)
        for key, lines in self._of(keys):
            if key not in lines or lines[key].number <= new.number:
                lines[key] = new
        return new

    def _about(self, keys: Keys) -> list[LastRejectsLine]:
        # Where Klar's key is known of both, the tap's may be that of several of Klar's records.
        by_source = self._by_source if keys.klar is None else self._without_klar
        lines = self._by_klar.get(keys.klar), by_source.get(keys.source)
        return [line for line in lines if line is not None]

    def _of(self, keys: Keys) -> Iterator[tuple[bytes, dict[bytes | None, LastRejectsLine]]]:
        """Yield each key of a line with where it belongs by that key."""
        if keys.klar is not None:
            yield keys.klar, self._by_klar
        if keys.source is not None:
            yield keys.source, self._by_source
            if keys.klar is None:
                yield keys.source, self._without_klar


def read_index(file: RejectsFile) -> RejectsIndex:
    """Return what a file says about each key, after what it does not need has been removed from it where that is safe.

    If the file is too large, a WARNING is logged, nothing is removed, and the index is not complete.
    """
    try:
        index, unneeded = _read(file)
        if unneeded and file.locked:
            _rewrite_without(unneeded, file)
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


class _Unneeded:
    """Which lines of a file may go: one behind them says that their record was accepted or deleted, or has it again.

    A rejected record of which Klar's key is not known stays until a deletion without it: that another record of the
    same tap's key is a newer version of it nobody knows. So those stay as well, and win when the file is sent again.
    """

    def __init__(self) -> None:
        self._by_klar: dict[bytes, int] = {}
        self._by_source: dict[bytes, int] = {}
        """Of lines without Klar's key: they are about every record of the tap's key."""
        self._unknown: set[bytes] = set()
        """The tap's keys of rejected records without Klar's."""
        self._newer: dict[bytes, set[bytes]] = {}
        """Klar's keys of what may be newer versions of them, with the tap's keys that say so."""
        self._by_klar_before: dict[bytes, int] = {}
        """Of lines before there was such a record."""
        self._same: dict[tuple[bytes | None, bytes], int] = {}
        """Where each record stands last."""
        self._has_same = False

    def __bool__(self) -> bool:
        return bool(self._by_klar or self._by_source or self._has_same)

    def note(self, line: RecordLine, start: int) -> None:
        """Note a line that begins at `start`, behind all others."""
        if line.keys != Keys():  # else nothing tells which of Klar's streams it is for
            self._has_same |= self._same.get(_identity(line), start) != start
            self._same[_identity(line)] = start
        klar, source = line.keys
        settles = line.source in (ACCEPTED, DELETED)
        if klar is not None:
            if source is not None and source in self._unknown:
                self._newer.setdefault(klar, set()).add(source)
            if settles:
                self._by_klar[klar] = start
            if settles and not self._is_behind(klar):
                self._by_klar_before[klar] = start
        elif source is not None and settles:
            self._by_source[source] = start
            self._unknown.discard(source)
        elif source is not None:
            self._unknown.add(source)

    def has(self, line: RecordLine, start: int) -> bool:
        """Whether this line, which begins at `start`, may go."""
        klar, source = -1, self._by_source.get(line.keys.source or b"", -1)
        if line.keys.klar is not None:
            is_behind = self._is_behind(line.keys.klar)
            klar = (self._by_klar_before if is_behind else self._by_klar).get(line.keys.klar, -1)
            if is_behind and line.source in (ACCEPTED, DELETED):
                source = -1  # or what it is perhaps a newer version of would be the last word
        return start <= max(klar, source) or start < self._same.get(_identity(line), -1)

    def _is_behind(self, klar: bytes) -> bool:
        """Whether the records of a key may be newer versions of a rejected one that is still there."""
        return not self._unknown.isdisjoint(self._newer.get(klar, ()))


def _identity(line: RecordLine) -> tuple[bytes | None, bytes]:
    # Klar's key may be known in one of two lines with the same record, after a map was mended.
    return line.keys.source or line.keys.klar, record_digest(line.origin)


def _read(file: RejectsFile) -> tuple[RejectsIndex, _Unneeded]:
    """Return the index of a file, and what it does not need."""
    index, properties, unneeded = RejectsIndex(), KeyProperties(), _Unneeded()
    for number, (start, line) in enumerate(_lines_until_deadline(file), 1):
        read = properties.read(line)
        if read is None and line.strip():
            index.unread += 1
            index.first_unread = index.first_unread or number
        if isinstance(read, RecordLine):
            index.note_line(read.keys, read.origin, read.source, len(line), start)
            unneeded.note(read, start)
        if index.full:
            raise FileNotReadError
    return index, unneeded


def _rewrite_without(unneeded: _Unneeded, file: RejectsFile) -> None:
    try:
        file.replace(_lines_without(unneeded, file))
    except OSError as error:
        _logger.warning(
            "The rejects file %s cannot be replaced (%s), so it keeps records that Klar has accepted since. Check the "
            "permissions of its folder.",
            file.path,
            error.strerror,
        )


def _lines_without(unneeded: _Unneeded, file: RejectsFile) -> Iterator[bytes]:
    """Yield the other lines of a file, and the SCHEMAs that they need."""
    properties = KeyProperties()
    schemas: dict[str, bytes] = {}
    written: dict[str, bytes] = {}
    for start, line in _lines_until_deadline(file):
        read = properties.read(line)
        if isinstance(read, SchemaLine):
            schemas[read.source_stream] = line
            continue
        if isinstance(read, RecordLine) and unneeded.has(read, start):
            continue
        own = read.origin.source_stream if isinstance(read, RecordLine) else None
        # A damaged line, once somebody has corrected it, may be of any stream.
        for stream in [own] if own in schemas else schemas if line.strip() else ():
            if schemas[stream] != written.get(stream):
                written[stream] = schemas[stream]
                yield schemas[stream]
        yield line


def _lines_until_deadline(file: RejectsFile) -> Iterator[tuple[int, bytes]]:
    for line in file.lines():
        deadline = shutdown.deadline()
        if deadline is not None and time.monotonic() > deadline:
            raise FileNotReadError  # in the time that is left
        yield line
