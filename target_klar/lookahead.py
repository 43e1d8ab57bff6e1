"""Holds the first records of a mapped stream until the columns that its maps read are known to be there.

A renamed column may fail in silence: with `record.get('lines') or []` every array is empty, and nothing is loaded or
everything is cancelled. So the first records of a mapped source stream are checked before one is sent or rejected, or a
STATE is written.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from singer_sdk.exceptions import StreamMapConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_klar.source_streams import RecordJSON, SourceStream

MAX_RECORDS: Final = 1000
"""How many records of a source stream are checked."""
MAX_BYTES: Final = 16 << 20
"""The bytes that are held at most."""
_OVERHEAD: Final = 300
"""The bytes that each takes, about, beside its text."""
_logger = logging.getLogger("target-klar")


class _Held(NamedTuple):
    """A record of a source stream in the text of its line, or the text of a STATE, which has no source."""

    since: float
    source: SourceStream | None
    record: RecordJSON
    text: bytes

    @property
    def size(self) -> int:
        """How many bytes it keeps."""
        return _OVERHEAD + len(self.text)


@dataclass
class Lookahead:
    """Passes records and STATEs on in order, once each watched source stream has been checked.

    Nothing is held for longer than `wait_limit` seconds.
    """

    wait_limit: float
    add_state: Callable[[bytes], None]
    _watched: set[SourceStream] = field(default_factory=set)
    _known: set[SourceStream] = field(default_factory=set)
    """Those of which a record went on: a column that is missing later in a run is a WARNING."""
    _warnings: set[str] = field(default_factory=set)
    """Those that were given."""
    _held: deque[_Held] = field(default_factory=deque)
    _bytes: int = 0
    _counts: Counter[SourceStream] = field(default_factory=Counter)

    def watch(self, source: SourceStream) -> None:
        """Hold the next records of a source stream if its SCHEMA lacks columns that its maps read."""
        if any(source.missing()):
            self._watched.add(source)

    def lets_pass(self, source: SourceStream) -> bool:
        """Tell whether records of a source stream need not come here: one has, and nothing is held or watched."""
        return source in self._known and not self._held and not self._watched

    def pass_record(self, source: SourceStream, record: RecordJSON, line: bytes) -> None:
        """Pass a record on, or hold it.

        Raises:
            StreamMapConfigError: A map reads columns that are not there, and its records would load wrong.
            RecordRejectedError: A record that was held is rejected, and may not be written to the rejects file.
        """
        if source not in self._watched:
            self._known.add(source)
            if not self._held:
                source.add(record, line)
                return
        self._counts[source] += 1
        self._hold(_Held(time.monotonic(), source, record, line))

    def pass_state(self, value: bytes) -> None:
        """Pass a STATE on, or hold it behind the records that it covers, in place of one that covers the same."""
        if self._held:
            if self._held[-1].source is None:
                self._bytes -= self._held.pop().size
            self._hold(_Held(time.monotonic(), None, b"", value))
        else:
            self.add_state(value)

    def poll(self, now: float) -> float:
        """Pass on what has been held for long enough; return how many seconds the rest may wait."""
        while self._held and self._held[0].since + self.wait_limit <= now:
            self._check_first()
        return self._held[0].since + self.wait_limit - now if self._held else float("inf")

    def finish(self) -> None:
        """Pass everything on: no more comes."""
        while self._held:
            self._check_first()
        self._watched.clear()

    def _hold(self, held: _Held) -> None:
        self._held.append(held)
        self._bytes += held.size
        if held.source in self._watched and self._counts[held.source] >= MAX_RECORDS:
            self._check_columns(held.source)
        while self._bytes > MAX_BYTES:
            self._check_first()
        self._release()

    def _check_first(self) -> None:
        """Check the source stream of the oldest held record with the records that have come so far."""
        source = self._held[0].source
        if source in self._watched:
            self._check_columns(source)
        self._release()

    def _check_columns(self, source: SourceStream) -> None:
        self._watched.discard(source)
        is_later = source in self._known
        self._known.add(source)
        first = (each.record for each in self._held if each.source is source)
        for missing, message in source.missing(first):
            if missing.stops and not is_later:
                self._held.clear()  # none of it may be sent, nor a STATE leave that covers it
                raise StreamMapConfigError(message)
            self._warn(message)

    def _warn(self, message: str) -> None:
        if message not in self._warnings:
            self._warnings.add(message)
            _logger.warning("%s", message)

    def _release(self) -> None:
        while self._held and self._held[0].source not in self._watched:
            held = self._held.popleft()
            self._bytes -= held.size
            if held.source is None:
                self.add_state(held.text)
                continue
            self._counts[held.source] -= 1
            try:
                held.source.add(held.record, held.text)
            except Exception:
                self._held.clear()  # the run stops before this record, and nothing behind it leaves
                raise
