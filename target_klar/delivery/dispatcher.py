"""The way of a batch: when it may be sent, and what became of it.

Everything here runs on the main thread. Workers load batches and read Klar's status; what they bring back is acted on
in `poll`, between two chunks of input and while the main thread waits.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from singer_sdk.exceptions import RequestedAbortException

from target_klar.api.client import KlarError
from target_klar.delivery.batch_delivery import BatchDelivery, DeliveryReport
from target_klar.delivery.rejects import RecordRejectedError
from target_klar.records.conform import Rejection
from target_klar.records.formatting import shorten
from target_klar.runtime import shutdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_klar.api.answers import Status
    from target_klar.delivery.batch import Batch
    from target_klar.delivery.checkpoints import Checkpoints
    from target_klar.delivery.ledger import Ledger
    from target_klar.delivery.rejects import Rejects
    from target_klar.delivery.stream import Stream
    from target_klar.delivery.workers import Workers

_logger = logging.getLogger("target-klar")
MAX_HELD_IN_FLIGHT = 64 << 20
"""The bytes of all batches in flight, the taps' own text included, above which the next one waits."""


class Interrupted(RequestedAbortException):
    """SIGTERM or SIGINT came: stop reading, let requests in flight finish, acknowledge what is then covered."""

    lets_in_flight_end = True


@dataclass
class Pace:
    """How much at once, and how long to wait for what; in seconds."""

    parallel: int
    status_timeout: float
    progress_interval: float = 10.0


@dataclass
class Dispatcher:
    """Loads batches in parallel, and lets no STATE leave before what it covers is at Klar or set aside."""

    ledger: Ledger
    rejects: Rejects
    workers: Workers
    checkpoints: Checkpoints
    pace: Pace
    _streams: list[Stream] = field(default_factory=list)
    """Those of which something was sent."""
    _in_flight: list[Batch] = field(default_factory=list)
    _last_progress: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.tell: Callable[[], None] = self._log_progress

    @property
    def requests(self) -> int:
        """How many requests are in flight."""
        return len(self._in_flight)

    def send(self, batch: Batch) -> None:
        """Put a batch in flight, waiting until a place is free and no request in flight shares a key with it."""
        stream = batch.stream
        if stream not in self._streams:
            self._streams.append(stream)
        self._wait_until(lambda: self._may_start(batch))
        delivery = BatchDelivery(
            contract=stream.contract,
            objects=[entry.sent for entry in batch.entries.values()],
            remaining=self.rejects.remaining,
            verified=stream.verified,
            status_timeout=self.pace.status_timeout,
            validate_only=stream.dry_run,
        )
        self._in_flight.append(batch)
        stream.in_flight += 1
        self.workers.start(delivery.run, partial(self._book, batch, stream.status))

    def refuse(
        self, stream: Stream, number: int, line: bytes, rejection: Rejection, *, batch: int | None = None
    ) -> None:
        """Set record `number` aside, which came in `line`: Klar refused its `batch`, or the contract what is in none.

        Raises:
            RecordRefusedError: It may not be set aside, so no STATE from it on leaves.
        """
        told = f"{stream.name} {rejection.key or '(no key)'}"
        try:
            self.rejects.take(line, told, rejection.problems, "contract" if batch is None else "klar")
        except RecordRejectedError as error:
            error.number = number
            self.ledger.pin(batch, number)
            raise
        stream.rejected += 1

    def poll(self) -> float:
        """Act on what came in, write a STATE if one is due, and return for how many seconds that will do.

        Raises:
            Interrupted: A signal came.
            KlarError: A request failed for good.
            RecordRefusedError: Klar refused a record and it may not be set aside.
        """
        if shutdown.received():
            raise Interrupted
        self.workers.collect()
        now = time.monotonic()
        until = self.checkpoints.poll(now)
        if now >= self._last_progress + self.pace.progress_interval:
            self._last_progress = now
            self.tell()
        return max(0.0, min(until, self._last_progress + self.pace.progress_interval) - now)

    def finish(self) -> None:
        """Wait until nothing is in flight, all is confirmed, and the newest covered STATE is written."""
        self._wait_until(lambda: not self._in_flight)
        while self.checkpoints.pending or self.checkpoints.unconfirmed:
            self.checkpoints.advance()
            self._wait_until(lambda: not self.checkpoints.asking)

    def finish_in_flight(self) -> None:
        """End early: send nothing new, let what is in flight end, acknowledge what is then covered and confirmed."""
        self.workers.stop.set()
        while self._in_flight or (self.checkpoints.pending and not self.checkpoints.failed):
            left = (shutdown.deadline() or float("inf")) - time.monotonic()
            if left <= 0:
                break
            try:
                self.workers.collect()
                self.checkpoints.advance()  # another request may hang until the end
                if self._in_flight or self.checkpoints.asking:
                    self.workers.wakeup.wait(min(left, 1.0))
            except (KlarError, RecordRejectedError) as error:
                _logger.debug("While the run ends: %s", error)

    def _log_progress(self) -> None:
        for stream in self._streams:
            stream.tell_progress()

    def _may_start(self, batch: Batch) -> bool:
        stream = batch.stream
        if self.checkpoints.is_paused(stream) or len(self._in_flight) >= self.pace.parallel:
            return False
        held = batch.held + sum(other.held for other in self._in_flight)
        if self._in_flight and held > MAX_HELD_IN_FLIGHT:
            return False
        beside = [other for other in self._in_flight if other.stream is stream]
        return not beside or (
            stream.verified and all(batch.entries.keys().isdisjoint(other.entries) for other in beside)
        )

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        while True:
            patience = self.poll()
            if ready():
                return
            self.workers.wakeup.wait(patience)

    def _book(self, batch: Batch, before: Status | None, report: DeliveryReport) -> None:
        """Book what became of a batch; nothing of it is settled unless all of it is."""
        self._in_flight.remove(batch)
        outcome, stream = report.bisection, batch.stream
        stream.in_flight -= 1
        stream.requests += report.requests
        stream.retries += report.retries
        stream.stored += len(outcome.accepted)
        accepted = (
            entry.amounts for position, entry in enumerate(batch.entries.values()) if position in outcome.accepted
        )
        stream.totals.add(accepted)
        stream.update_status(report.status)
        if outcome.accepted:
            if not report.confirmed:
                self.checkpoints.accepted(stream, report.status or before)
            stream.verified = stream.verified or report.error is None
        if report.error is not None:
            raise report.error
        if outcome.all_rejected:
            problem = next(iter(outcome.refused.values()))[0] if outcome.refused else "no reason given"
            raise KlarError(
                f"Klar refused all {len(batch.entries)} records of the first request of {stream.name}, in "
                f"{report.requests} requests, so it is not a single record ({problem}). Nothing of it was stored; "
                f"check the mapping and `{stream.contract.version_setting}`."
            )
        entries = list(batch.entries.items()) if outcome.refused else []
        for position in sorted(outcome.refused):
            key, entry = entries[position]
            rejection = Rejection(shorten(stream.contract.readable_key(key)), outcome.refused[position])
            self.refuse(stream, entry.earliest, entry.line(stream.name), rejection, batch=batch.numbers[0])
        self.ledger.complete(batch.numbers[0])
