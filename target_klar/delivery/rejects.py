"""The rejected records of a run, in a Singer stream of its own that can be sent again once the mapping is fixed.

Its last line about a key is the newest word on that key, by the order of reading and across runs, so that sending it
again never puts an older version over a newer one. A newer version that Klar accepted is therefore written as well.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from singer_sdk.exceptions import ConfigurationError

from target_klar.delivery.rejects_file import RejectsFile
from target_klar.delivery.rejects_index import RejectsIndex, read_index
from target_klar.delivery.rejects_lines import (
    ACCEPTED,
    DELETED,
    KLAR,
    KeyProperties,
    Keys,
    Origin,
    rejects_line,
)
from target_klar.delivery.rejects_order import RejectsOrder, WrittenLine
from target_klar.records.formatting import Reasons
from target_klar.records.json_codec import members
from target_klar.runtime.endings import StopHereError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from target_klar.delivery.rejects_index import LastRejectsLine
    from target_klar.records.formatting import Problem

_logger = logging.getLogger("target-klar")
_MAX_PROBLEMS = 3
_MAX_LOGGED = 20


class RecordRejectedError(StopHereError):
    """A record was rejected and may not be written to the rejects file: the run stops before it."""

    def __init__(self, rejection: str, advice: str, number: int) -> None:
        super().__init__(f"{rejection} The run stops before this record. {advice}")
        self.rejection = rejection
        """The message without what to do, which is the same for the next one."""
        self.number = number
        """The record's number in the run."""


class Rejects:
    """Writes rejected records to `path`: up to `limit` in a run, none without a path.

    A `dry_run` has no limit, and a file of its own, which each dry run empties first.
    """

    def __init__(self, path: str | None, limit: int, *, dry_run: bool = False) -> None:
        self.path = f"{path}.dry-run" if path is not None and dry_run else path
        self.count = 0
        self.reasons = Reasons()
        """How often a field was rejected, and why, without the value."""
        self._limit = limit
        self._dry_run = dry_run
        self._schemas: dict[str, bytes] = {}
        self._order = RejectsOrder()
        self._key_properties = KeyProperties()
        self._index = RejectsIndex()
        self._awaited: set[bytes | None] = set()
        """Klar's keys of records that `accept` is to be told of."""
        self._has_unneeded = False
        """Whether this run has written what supersedes a record, or a record again."""
        self._file: RejectsFile | None = None

    def open(self, open_files: Mapping[str, os.stat_result] | None = None) -> None:
        """Lock and read the file before the run starts; `open_files` are the run's input and outputs.

        Raises:
            ConfigurationError: The file cannot be written, is in use by another run, or is one of those.
        """
        if self.path is None or self._file is not None:
            return
        file = RejectsFile(self.path)
        file.open(open_files or {}, anew=self._dry_run)
        try:
            self._index = read_index(file)
        except OSError as error:
            raise ConfigurationError(
                f"The rejects file {self.path} cannot be read ({error.strerror}). Check `rejects_path`."
            ) from error
        self._file = file
        if self._index.unread and file.locked:  # else it may be what another run is just writing
            _logger.warning(
                "Lines of the rejects file %s that no run of target-klar writes: %d, the first is line %d. They stay "
                "there. Correct or remove them before you send the file again.",
                self.path,
                self._index.unread,
                self._index.first_unread,
            )

    @property
    def remaining(self) -> int:
        """How many more records may be rejected."""
        if self._dry_run:
            return sys.maxsize
        return 0 if self.path is None else max(0, self._limit - self.count)

    @property
    def may_have_keys(self) -> bool:
        """Whether the file may have keys, so that `accept` and `delete` have something to look for."""
        return self._file is not None and bool(self._index)

    @property
    def has_rejected(self) -> bool:
        """Whether the file may have a rejected record."""
        return self._file is not None and self.held != 0

    @property
    def held(self) -> int | None:
        """How many rejected records the file has, of earlier runs too; None if it is too large to tell."""
        return self._index.rejected if self._index.complete else None

    def may_have(self, origin: Origin, stream: str, key: str) -> bool:
        """Whether the file may have a version of a record when `accept` is told of it, which it then is to be."""
        if not self.may_have_keys or not self._index.complete:
            return self.may_have_keys
        keys = self._key_properties.keys(origin, stream, key)
        if keys.klar not in self._awaited and not self._index.knows(keys):
            return False
        self._awaited.add(keys.klar)
        return True

    def schema(self, source_stream: str, line: bytes) -> None:
        """Keep the line of the tap's SCHEMA message, to be written before its stream's first record."""
        if self.path is not None and self._schemas.get(source_stream) != line:
            self._schemas[source_stream] = line
            self._key_properties.schema(source_stream, members(line))

    def reject(
        self,
        origin: Origin,
        stream: str,
        key: str | None,
        problems: Sequence[Problem],
        source: str,
        *,
        label: str | None = None,
    ) -> None:
        """Count a rejected record, and write it unless the file has it; `source` is CONTRACT or KLAR, who rejected it.

        The file has it if its last line about one of the record's keys is the same record, or one that was read later.
        `key` is Klar's, where it is known; messages call the record by its `label` if there is one.

        Raises:
            RecordRejectedError: The limit is reached. From then on no other one may be rejected.
            StopHereError: The file cannot be written any more.
        """
        who = "Klar" if source == KLAR else "target-klar"
        named = origin.describe(stream, label)
        message = f"{who} rejected {named}: {'; '.join(map(str, problems[:_MAX_PROBLEMS]))}."
        if not self.remaining:
            raise RecordRejectedError(message, self._advice(), origin.number)
        written = f" {self._write_rejected(origin, stream, key, problems, source)}" if self._file is not None else ""
        self.count += 1
        for problem in problems:
            self.reasons.add(problem.reason(of_klar=source == KLAR))
        if self.count <= _MAX_LOGGED:
            _logger.warning("%s%s", message, written)
        if self.count == _MAX_LOGGED:
            _logger.warning("Further rejected records are %s, but not logged.", "written" if written else "counted")

    def accept(self, records: Iterable[tuple[Origin, str]], stream: str) -> None:
        """Write those records, each with its key, that Klar has accepted and the file has an older version of.

        Its status has to have confirmed them: should Klar have lost one, the older version may be the only one. What a
        newer record has replaced before it was sent needs no confirmation.

        Raises:
            StopHereError: The file cannot be written any more.
        """
        if not self.may_have_keys:
            return
        in_order = sorted(records, key=lambda each: each[0].number)
        self._write(filter(None, (self._superseding_line(origin, stream, key, ACCEPTED) for origin, key in in_order)))

    def delete(self, origin: Origin, stream: str, key: str | None) -> None:
        """Write a skipped deletion if the file has its record.

        Raises:
            StopHereError: The file cannot be written any more.
        """
        if self.may_have_keys:
            self._write(filter(None, [self._superseding_line(origin, stream, key, DELETED)]))

    def sync(self) -> None:
        """Return once everything that was written is on disk, in the file at `path`.

        Raises:
            StopNowError: It could not be brought there, or another file is at `path` by now.
        """
        if self._file is not None:
            self._file.sync()

    def close(self) -> None:
        """Remove what the file does not need, as the start does, if this run has written such lines; the lock stays.

        Somebody may send the file again before the next run, and what Klar has or the source has deleted would come
        back. If that is not possible, a WARNING says why, or the next start does.
        """
        if self._file is None or not self._has_unneeded or not self._index.complete:
            return
        try:
            if self._file.is_ours:
                self._index, self._order = read_index(self._file), RejectsOrder()
        except OSError as error:
            _logger.warning("The rejects file %s cannot be read (%s). Check `rejects_path`.", self.path, error.strerror)

    def _write_rejected(
        self, origin: Origin, stream: str, key: str | None, problems: Sequence[Problem], source: str
    ) -> str:
        """Write a rejected record unless the file has it, and return a sentence that says what was done."""
        keys = self._key_properties.keys(origin, stream, key)
        own = self._index.line_of(origin, keys)
        if own is not None:
            self._read_again(own, keys, origin)
            if own.rejected:
                return f"It is in {self.path} already."
        elif self._index.newest_is_known(keys, origin.number):
            return f"{self.path} has a newer version of it."
        self._has_unneeded |= self._index.knows(keys)  # this very record may stand before another one
        # Where only the tap's key says that another one may be newer, it is kept, before that one.
        self._write([self._line(origin, keys, rejects_line(origin, stream, key, problems, source), source)])
        return f"Written to {self.path}."

    def _superseding_line(self, origin: Origin, stream: str, key: str | None, source: str) -> WrittenLine | None:
        """Return the line that says of a record that it is accepted or deleted, if the file needs it."""
        keys = self._key_properties.keys(origin, stream, key)
        if not self._index.knows(keys):
            if self._index.complete:
                return None
            keys = Keys()
        elif own := self._index.line_of(origin, keys):
            self._read_again(own, keys, origin)
            return None
        elif self._index.newer(keys, origin.number) and not (
            source == ACCEPTED and self._index.has_older(keys, origin.number)
        ):
            return None
        else:
            self._has_unneeded = True
        return self._line(origin, keys, rejects_line(origin, stream, key, None, source), source)

    def _line(self, origin: Origin, keys: Keys, text: bytes, source: str) -> WrittenLine:
        if self._dry_run and self._index.full:  # it has no limit; the file then has some bad records twice
            self._index, self._order = RejectsIndex(), RejectsOrder()
        return self._with_schema(self._index.note_line(keys, origin, source, len(text)), keys, origin, text)

    def _read_again(self, line: LastRejectsLine, keys: Keys, origin: Origin) -> None:
        if origin.number > line.number:
            self._order.read_again(self._with_schema(line, keys, origin), origin.number)
            self._index.make_last(line)

    def _with_schema(self, line: LastRejectsLine, keys: Keys, origin: Origin, text: bytes = b"") -> WrittenLine:
        return WrittenLine(line, keys, origin.source_stream, self._schemas[origin.source_stream], text)

    def _write(self, lines: Iterable[WrittenLine]) -> None:
        """Write lines in the order of reading.

        Else the file would put an older version over a newer one, should Klar reject that again.
        """
        assert self._file is not None
        new = list(lines)
        has_newer = any(self._index.newer(line.keys, line.number) for line in new)
        if new and self._order.write(self._file, new, has_newer=has_newer):
            self._has_unneeded = True

    def _advice(self) -> str:
        if self.path is None:
            return "Set `rejects_path` to write rejected records to a file and continue."
        return (
            f"`rejects_limit` ({self._limit}) is reached: correct the mapping, or raise the limit if the records "
            "themselves are bad."
        )
