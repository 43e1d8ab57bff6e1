"""The file of refused records: a Singer stream of its own, so that it can be sent again once the mapping is fixed."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from singer_sdk.exceptions import ConfigurationError, FatalSyncError

from target_klar.records.json_codec import NotJSONError, decode, encode, members, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_klar.records.formatting import Problem

_logger = logging.getLogger("target-klar")
_MAX_TOLD = 3
_MAX_LOGGED = 20
_MAX_REASONS = 1000
_ITEM = re.compile(r"\[\d+\]")
_OUR_LINES = b'{"type":"'
_SCHEMA_MEMBERS = ("stream", "schema", "key_properties", "bookmark_properties")
_BLOCK = 1 << 16
_MAX_LINE = 65 << 20  # no longer line is read, so no longer one is set aside


class RecordRejectedError(FatalSyncError):
    """A record was refused and may not be set aside: the run stops, with everything before it delivered."""

    number = 0
    """The record's number in the run."""


class Rejects:
    """Sets refused records aside: up to `limit` in a run, none without a `path`, any number in a `dry_run`."""

    def __init__(self, path: str | None, limit: int, *, dry_run: bool = False) -> None:
        self.path = path
        self.count = 0
        self.reasons: Counter[str] = Counter()
        """How often a field was refused, and why, without the value."""
        self._limit = limit
        self._dry_run = dry_run
        self._stopped = False
        self._schemas: dict[str, bytes] = {}
        self._written: set[str] = set()
        self._synced = True
        self._file: int | None = None

    def open(self, reading: os.stat_result | None = None) -> None:
        """Make sure that records can be written, before the run starts; `reading` is what the system says of its input.

        Raises:
            ConfigurationError: The file cannot be written, or is the one that the run reads.
        """
        if self.path is None or self._file is not None:
            return
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            if reading is not None and os.path.samestat(os.fstat(self._file), reading):
                raise ConfigurationError(
                    f"{self.path} is both the input and `rejects_path`. Move it away before you send it again."
                )
            os.fsync(self._file)  # what cannot be brought to disk, such as /dev/null, holds no rejects
            _end_last_line(self._file)
        except OSError as error:
            raise ConfigurationError(
                f"The rejects file {self.path} cannot be written ({error.strerror}). Check `rejects_path`."
            ) from error

    @property
    def remaining(self) -> int:
        """How many more records may be set aside."""
        if self._dry_run:
            return sys.maxsize
        return 0 if self.path is None or self._stopped else max(0, self._limit - self.count)

    def schema(self, stream: str, line: bytes) -> None:
        """Keep the line of the tap's SCHEMA message, to be written before its stream's first record."""
        self._schemas[stream] = line

    def take(self, line: bytes, told: str, problems: Sequence[Problem], source: str) -> None:
        """Set the record of the tap's own `line` aside with what is wrong with it; `source` is `contract` or `klar`.

        Raises:
            RecordRefusedError: There is no room for it. From then on there is none for any other.
            FatalSyncError: The file cannot be written any more.
        """
        refused = f"{told}: {'; '.join(map(str, problems[:_MAX_TOLD]))}."
        if not self.remaining:
            self._stopped = True
            raise RecordRejectedError(f"{refused} {self._advice()}")
        if self.path is not None:
            self._write(line, problems, source)
        self.count += 1
        for problem in problems:
            reason = _ITEM.sub("[]", str(problem).partition(" (found")[0])
            if reason in self.reasons or len(self.reasons) < _MAX_REASONS:
                self.reasons[reason] += 1
        if self.count <= _MAX_LOGGED:
            _logger.warning("%s%s", refused, f" Written to {self.path}." if self.path else "")
        if self.count == _MAX_LOGGED:
            _logger.warning("Further records that are refused are counted, and not told one by one.")

    def sync(self) -> None:
        """Return once everything that was set aside is on disk.

        Raises:
            FatalSyncError: It could not be brought there.
        """
        if not self._synced:
            assert self._file is not None
            try:
                os.fsync(self._file)
            except OSError as error:
                raise self._broken(error) from error
            self._synced = True

    def _write(self, line: bytes, problems: Sequence[Problem], source: str) -> None:
        assert self._file is not None
        message = members(line)
        rejected = {name: message[name] for name in ("stream", "record")} | {
            "errors": encode([problem._asdict() for problem in problems]),
            "source": quoted(source),
            "time": quoted(datetime.now(UTC).isoformat(timespec="seconds")),
        }
        lines = _line("RECORD", rejected)
        stream = decode(message["stream"])
        if stream not in self._written:
            schema = members(self._schemas[stream])
            lines = _line("SCHEMA", {name: schema[name] for name in _SCHEMA_MEMBERS if name in schema}) + lines
        left = memoryview(lines)
        self._synced = False
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            raise self._broken(error) from error
        self._written.add(stream)

    def _advice(self) -> str:
        if self.path is None:
            return "The run stops before it; set `rejects_path` to set such records aside and go on."
        return (
            f"With it more than {self._limit} records were refused in this run (`rejects_limit`), so the run stops "
            "before it: look for a mistake in the mapping."
        )

    def _broken(self, error: OSError) -> FatalSyncError:
        return FatalSyncError(
            f"The rejects file {self.path} cannot be written ({error.strerror}). No STATE is written that covers "
            "what it should hold; make room and run again."
        )


def _line(kind: str, fields: dict[str, bytes]) -> bytes:
    """Return a line of the file: the members are JSON already, the tap's own with the bytes that the tap wrote."""
    return b"{%b}\n" % b",".join(
        b'"%b":%b' % (name.encode(), text) for name, text in ({"type": quoted(kind)} | fields).items()
    )


def _end_last_line(file: int) -> None:
    """Make the file end with a whole line: one that a crash or a full disk cut off was never acknowledged."""
    size = os.fstat(file).st_size
    start = _start_of_last_line(file, size)
    if start == size:
        return
    last = os.pread(file, min(size - start, _MAX_LINE), start)
    ours = _OUR_LINES.startswith(last[: len(_OUR_LINES)]) and len(last) == size - start
    if ours and not _is_json(last):
        os.ftruncate(file, start)
    else:
        os.write(file, b"\n")


def _start_of_last_line(file: int, size: int) -> int:
    """Return the place behind the last line break, looked for from behind: the file may be large."""
    end = size
    while end:
        block = os.pread(file, min(end, _BLOCK), max(0, end - _BLOCK))
        end -= len(block)
        if at := block.rfind(b"\n") + 1:
            return end + at
    return 0


def _is_json(line: bytes) -> bool:
    try:
        decode(line)
    except NotJSONError:
        return False
    return True
