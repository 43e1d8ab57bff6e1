"""What the rejects file says last about each key: read at the start of a run, and at its end if there is a need.

Either time what is superseded is removed, and of lines with the same record all but the last.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import defaultdict
from operator import attrgetter
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

    keys: Keys
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
        self.unread = 0
        """How many lines of the file no run writes."""
        self.first_unread = 0
        """The number of the first of them."""
        self.rejected = 0
        """How many lines of the file have a rejected record."""
        self._keys = 0

    def __bool__(self) -> bool:
        """Whether a record may have to be looked up."""
        return bool(self._by_klar or self._by_source) or not self.complete

    @property
    def full(self) -> bool:
        """Whether it knows more keys than a file may have."""
        return self._keys > MAX_KEYS or len(self._by_klar) + len(self._by_source) > 2 * MAX_KEYS

    def knows(self, keys: Keys) -> bool:
        """Whether there is a line about a record, by either key."""
        return bool(self._about(keys))

    def line_of(self, origin: Origin, keys: Keys) -> LastRejectsLine | None:
        """Return the last line about a record if that is this very record."""
        digest = record_digest(origin)
        # A map may make other records of Klar's of the same row: those are no versions of this one.
        last = max(
            (
                line
                for line in self._about(keys)
                if line.keys.is_same_row(keys)
                and (line.digest != digest or None in (keys.klar, line.keys.klar) or keys.klar == line.keys.klar)
            ),
            key=attrgetter("number", "start"),
            default=None,
        )
        return last if last is not None and last.digest == digest else None

    def newer(self, keys: Keys, number: int) -> list[LastRejectsLine]:
        """Return the last lines about a record, by either key, that were read later than it."""
        return [line for line in self._about(keys) if line.number > number]

    def newest_is_known(self, keys: Keys, number: int) -> bool:
        """Tell whether a line that was read later than a record says that there is a newer version of it."""
        return any(
            line.keys.is_same_row(keys)
            and (line.keys.klar == keys.klar or (line.source == DELETED and line.keys.klar is None))
            for line in self.newer(keys, number)
        )

    def has_older(self, keys: Keys, number: int) -> bool:
        """Whether there may be a line about a record that was read earlier than it."""
        return any(line.first < number for line in self._about(keys))

    def note_line(self, keys: Keys, origin: Origin, source: str, length: int, start: int = -1) -> LastRejectsLine:
        """Note a line of so many bytes behind those of the records that were read earlier, and return it.

        Where it begins is told later, if `start` is below 0.
        """
        about = self._about(keys)
        self._keys += keys != Keys() and not about
        first = min([origin.number if self.complete else 0, *(line.first for line in about)])
        for line in about:
            line.first = first
        new = LastRejectsLine(keys, source, record_digest(origin), origin.number, first, start, length)
        self.rejected += new.rejected
        self.make_last(new)
        return new

    def make_last(self, line: LastRejectsLine) -> None:
        """Make a line the last one about each of its keys of which no later record has one."""
        for key, lines in ((line.keys.klar, self._by_klar), (line.keys.source, self._by_source)):
            if key is not None and (key not in lines or lines[key].number <= line.number):
                lines[key] = line

    def _about(self, keys: Keys) -> list[LastRejectsLine]:
        lines = self._by_klar.get(keys.klar), self._by_source.get(keys.source)
        return [line for line in lines if line is not None]


def read_index(file: RejectsFile) -> RejectsIndex:
    """Return what a file says about each key, after what it does not need has been removed from it where that is safe.

    If the file is too large, a WARNING is logged, nothing is removed, and the index is not complete.
    """
    try:
        index, unneeded = _read(file)
        starts = unneeded.starts() if file.locked else set()
        if starts:
            _rewrite_without(starts, file)
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
    """Which lines of a file may go.

    A rejected record may go if a later line says that its newest version was accepted or deleted, or has it again. What
    was accepted or deleted has to stay where a rejected record of one of its keys stays before it: sent again, that one
    would otherwise be the last word on it.
    """

    def __init__(self) -> None:
        self._lines: list[tuple[int, Keys, str, bytes]] = []
        self._shared: dict[Keys, Keys] = {}
        """Of a key there may be many lines, and its digests take most of the memory."""

    def note(self, line: RecordLine, start: int) -> None:
        """Note a line that begins at `start`, behind all others."""
        if line.keys != Keys():  # else nothing tells which of Klar's streams it is for
            keys = self._shared.setdefault(line.keys, line.keys)
            self._lines.append((start, keys, sys.intern(line.source), record_digest(line.origin)))

    def starts(self) -> set[int]:
        """Return where the lines begin that may go, of all that were noted."""
        superseded = self._superseded()
        return superseded | self._unused(superseded)

    def _superseded(self) -> set[int]:
        """Return those of rejected records that a later line makes unneeded."""
        superseded: set[int] = set()
        rows: dict[bytes, set[bytes | None]] = defaultdict(set)
        """By Klar's key, the tap's keys of what was accepted or deleted later."""
        whole_rows: set[bytes | None] = set()
        """The tap's keys of those of which Klar's is not known: they are about every record of the row."""
        again: dict[tuple[bytes | None, bytes], set[bytes | None]] = defaultdict(set)
        """By what tells a record from others, Klar's keys where it comes later."""
        for start, keys, source, digest in reversed(self._lines):
            same = again[keys.source or keys.klar, digest]
            if source in (ACCEPTED, DELETED):
                same.add(keys.klar)
                if keys.klar is not None:
                    rows[keys.klar].add(keys.source)
                else:
                    whole_rows.add(keys.source)
                continue
            # Klar's key may be known in one of two lines of the same record, after a map was mended.
            is_again = keys.klar in same or None in same or (keys.klar is None and same)
            own = rows.get(keys.klar, ()) if keys.klar is not None else ()
            if is_again or keys.source in whole_rows or any(keys.is_same_row(Keys(None, row)) for row in own):
                superseded.add(start)
            same.add(keys.klar)
        return superseded

    def _unused(self, superseded: set[int]) -> set[int]:
        """Return those of accepted and deleted records that no line before them needs."""
        # A skipped deletion does not take back at Klar what an older record has replaced there meanwhile.
        last: dict[object, dict[str, int]] = defaultdict(dict)
        for start, keys, source, _ in self._lines:
            if source in (ACCEPTED, DELETED):
                for each in (keys.klar, keys):
                    last[each] = {source: start} if source == ACCEPTED else last[each] | {source: start}
        unused: set[int] = set()
        open_klar: set[bytes | None] = set()
        open_source: set[bytes | None] = set()
        for start, keys, source, _ in self._lines:
            if source in (ACCEPTED, DELETED) and not (
                (keys.klar in open_klar and start in last[keys.klar].values())
                or (keys.source in open_source and start in last[keys].values())
            ):
                unused.add(start)
            elif start not in superseded:
                open_klar.update({keys.klar} - {None})
                open_source.update({keys.source} - {None})
        return unused


def _read(file: RejectsFile) -> tuple[RejectsIndex, _Unneeded]:
    """Return the index of a file, and what it does not need."""
    index, unneeded = RejectsIndex(), _Unneeded()
    for number, (start, line, read) in enumerate(_lines(file), 1):
        if read is None and line.strip():
            index.unread += 1
            index.first_unread = index.first_unread or number
        if isinstance(read, RecordLine):
            index.note_line(read.keys, read.origin, read.source, len(line), start)
            unneeded.note(read, start)
        if index.full:
            raise FileNotReadError
    return index, unneeded


def _rewrite_without(unneeded: set[int], file: RejectsFile) -> None:
    try:
        file.replace(_lines_without(unneeded, file))
    except OSError as error:
        _logger.warning(
            "The rejects file %s cannot be replaced (%s), so it keeps records that Klar has accepted since. Its "
            "folder has to be writable, and in a container mounted as a whole.",
            file.path,
            error.strerror,
        )


def _lines_without(unneeded: set[int], file: RejectsFile) -> Iterator[bytes]:
    """Yield the other lines of a file, and the SCHEMAs that they need."""
    schemas: dict[str, bytes] = {}
    written: dict[str, bytes] = {}
    for start, line, read in _lines(file):
        if isinstance(read, SchemaLine):
            schemas[read.source_stream] = line
            continue
        if start in unneeded:
            continue
        own = read.origin.source_stream if isinstance(read, RecordLine) else None
        # A damaged line, once somebody has corrected it, may be of any stream.
        for stream in [own] if own in schemas else schemas if line.strip() else ():
            if schemas[stream] != written.get(stream):
                written[stream] = schemas[stream]
                yield schemas[stream]
        yield line


def _lines(file: RejectsFile) -> Iterator[tuple[int, bytes, SchemaLine | RecordLine | None]]:
    """Yield the place of each line, the line, and what it says; raise `FileNotReadError` once no time is left."""
    properties = KeyProperties()
    for start, line in file.lines():
        deadline = shutdown.deadline()
        if deadline is not None and time.monotonic() > deadline:
            raise FileNotReadError
        yield start, line, properties.read(line)
