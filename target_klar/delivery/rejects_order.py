"""The lines that a run has written to the rejects file, in the order in which it has read their records.

Records become known out of that order: Klar answers late, and its status later still. So a line may have to be written
before others that may be about the same record, which then stand in the file again, behind it. Where they stood before
they are not needed any more.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import msgspec

from target_klar.delivery.rejects_lines import Keys, schema_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_klar.delivery.rejects_file import RejectsFile
    from target_klar.delivery.rejects_index import LastRejectsLine


class WrittenLine(msgspec.Struct, gc=False):
    """A line that stands in the file, or is going to."""

    line: LastRejectsLine
    keys: Keys
    source_stream: str
    """The tap's own stream."""
    schema: bytes
    """The SCHEMA message that has to stand before it."""
    text: bytes = b""
    """What is still to be written; empty once it stands in the file."""

    @property
    def number(self) -> int:
        """When this run has read its record."""
        return self.line.number


_number: Final = attrgetter("number")


class RejectsOrder:
    """Writes lines, those of one key in the order of reading, each behind the SCHEMA of its stream."""

    def __init__(self) -> None:
        self._lines: list[WrittenLine] = []
        self._schemas: dict[str, bytes] = {}
        """The last SCHEMA of each stream in the file."""

    def write(self, file: RejectsFile, new: Sequence[WrittenLine], *, has_newer: bool) -> bool:
        """Write new lines, and return whether others had to be written again behind them.

        That may only be where one of them `has_newer` ones, read later, that may be about the same record: by a key of
        it, or of one that has to follow as well.

        Raises:
            StopHereError: The file cannot be written any more.
        """
        at = bisect_right(self._lines, min(map(_number, new)), key=_number) if has_newer else len(self._lines)
        lines: list[WrittenLine] = []
        keys: set[bytes | None] = set()
        for each in sorted([*new, *self._lines[at:]], key=_number):
            if each.text or not keys.isdisjoint(each.keys):
                keys.update(each.keys)
                keys.discard(None)
                lines.append(each)
        written, places, schemas = bytearray(), [], dict(self._schemas)
        for each in lines:
            if schemas.get(each.source_stream) != each.schema:
                written += schema_line(each.schema)
                schemas[each.source_stream] = each.schema
            places.append(len(written))
            written += each.text or file.read(each.line.start, each.line.length)
        start = file.append(bytes(written))
        for each, place in zip(lines, places, strict=True):
            each.line.start = start + place
        for each in new:
            each.text = b""
            if each.keys != Keys():  # else nothing tells which others are about its record
                insort(self._lines, each, key=_number)
        self._schemas = schemas
        return len(lines) > len(new)

    def read_again(self, line: WrittenLine, number: int) -> None:
        """Note that a record whose line stands in the file was read again, as the record of this number."""
        if line.line.start < 0:  # it is still to be written
            line.line.number = number
            return
        at = bisect_left(self._lines, line.number, key=_number)
        if at < len(self._lines) and self._lines[at].line is line.line:
            line = self._lines.pop(at)
        line.line.number = number
        insort(self._lines, line, key=_number)
