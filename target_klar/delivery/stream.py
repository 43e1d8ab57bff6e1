"""One of Klar's streams in this run, and its line in the words that an operator reads in the morning."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from target_klar.delivery.unaggregated import UnaggregatedRecords
from target_klar.records.deletions import OtherMarks
from target_klar.records.totals import ControlTotals

if TYPE_CHECKING:
    from target_klar.api.answers import Status
    from target_klar.contract.streams import Contract
    from target_klar.records.quality import QualityReport

_logger = logging.getLogger("target-klar")


@dataclass(eq=False)
class Stream:
    """What became of the records of one stream, and what Klar's status has shown of it."""

    contract: Contract
    dry_run: bool = False
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
    in_flight: int = 0
    """How many batches are on their way to Klar."""
    verified: bool = False
    """Klar took its first request, and counted it."""
    status: Status | None = None
    """The newest status read."""
    quality: QualityReport | None = None
    """Which of its records are allowed and look like a mistake; it may not be asked for."""
    totals: ControlTotals = field(init=False)
    """What is stored, added up."""
    other_marks: OtherMarks = field(init=False)
    """Which of its records look deleted by a column that is not the mark."""
    without_lines: int = 0
    """How many of the deleted ones would have replaced an order with one that has no lines."""
    unaggregated: UnaggregatedRecords = field(init=False)
    """Which of its records may be parts of one."""
    _started: float = field(default_factory=time.monotonic)
    _told: int = 0
    _status_time: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def __post_init__(self) -> None:
        self.unaggregated = UnaggregatedRecords(self.contract)
        self.totals = ControlTotals(self.contract)
        self.other_marks = OtherMarks(self.contract.stream)

    @property
    def name(self) -> str:
        """What Klar and the tap call it."""
        return self.contract.stream

    def update_status(self, status: Status | None) -> None:
        """Keep a status that was read, if there is one and it is newer than the one that is known."""
        if status is not None and (self.status is None or status.newer_than(self.status)):
            self.status = status
            self._status_time = datetime.now(timezone.utc)

    def tell_progress(self) -> None:
        """Log how far the stream is, unless nothing has come since the last time."""
        if self.read > self._told:
            self._told = self.read
            _logger.info("so far, %s", self.line(zeros=False))

    def line(self, *, zeros: bool = True) -> str:
        """Return the one line about this stream: what was read, stored and not, and how long it took."""
        seconds = time.monotonic() - self._started
        names = ("stored", "read", "merged", "cancelled", "deleted", "rejected", "requests", "retries")
        counts = {name: getattr(self, name) for name in names}
        parts = [
            f"{count} {'valid' if name == 'stored' and self.dry_run else name}"
            for name, count in counts.items()
            if count or zeros
        ]
        parts += [f"{seconds:.1f} s", f"{self.read / max(seconds, 0.001):.0f} records/s"]
        if self.status is not None and self.status.total is not None:
            parts.append(f"{self.status.total} ever submitted, says Klar's status of {self._status_time:%H:%M:%S} UTC")
        return f"{self.name}: {', '.join(parts)}"
