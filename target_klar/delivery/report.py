"""What became of the records of each stream, in the words that an operator reads in the morning."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

_logger = logging.getLogger("target-klar")


@dataclass
class StreamReport:
    """The counts of one stream of Klar's in this run."""

    stream: str
    read: int = 0
    stored: int = 0
    """How many records Klar took; in a dry run, how many it or the contract would take."""
    merged: int = 0
    cancelled: int = 0
    deleted: int = 0
    filtered: int = 0
    """How many of the deleted ones a `__filter__` dropped."""
    rejected: int = 0
    requests: int = 0
    retries: int = 0
    total: str | None = None
    """How many objects Klar itself counts, as its status says."""
    dry_run: bool = False
    started: float = field(default_factory=time.monotonic)
    _told: int = 0

    def tell_progress(self) -> None:
        """Log how far the stream is, unless nothing has come since the last time."""
        if self.read > self._told:
            self._told = self.read
            _logger.info("so far, %s", self.line())

    def line(self) -> str:
        """Return the one line about this stream: what was read, stored and not, and how long it took."""
        seconds = time.monotonic() - self.started
        counts = ("stored", "read", "merged", "cancelled", "deleted", "rejected", "requests", "retries")
        parts = [f"{getattr(self, name)} {'valid' if name == 'stored' and self.dry_run else name}" for name in counts]
        parts += [f"{seconds:.1f} s", f"{self.read / max(seconds, 0.001):.0f} records/s"]
        if self.total is not None:
            parts.append(f"{self.total} at Klar")
        return f"{self.stream}: {', '.join(parts)}"
