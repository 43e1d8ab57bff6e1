"""What may be in flight together, and what became of it.

Everything here runs on the main thread. Workers deliver batches and read Klar's status; what they bring back is acted
on in `poll`, between two chunks of input and while the main thread waits.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from target_klar.api.client import KlarError
from target_klar.delivery.batch_delivery import BatchDelivery
from target_klar.delivery.ledger import Ledger, Place
from target_klar.delivery.rejects import RecordRejectedError
from target_klar.delivery.rejects_lines import CONTRACT, KLAR
from target_klar.records.formatting import counted, shorten
from target_klar.runtime import shutdown
from target_klar.runtime.endings import StopHereError, StopSendingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_klar.api.answers import Status
    from target_klar.delivery.batch import Batch
    from target_klar.delivery.batch_delivery import DeliveryReport
    from target_klar.delivery.checkpoints import Checkpoints
    from target_klar.delivery.rejects import Rejects
    from target_klar.delivery.rejects_lines import Origin
    from target_klar.delivery.stream import Stream
    from target_klar.delivery.workers import Workers
    from target_klar.records.formatting import Problem

_logger = logging.getLogger("target-klar")
MAX_BYTES_IN_FLIGHT: Final = 64 << 20
"""The bytes of all batches in flight, the taps' own text included, above which the next one waits."""
PROGRESS_SECONDS: Final = 10.0


class InterruptedRunError(StopSendingError):
    """SIGTERM or SIGINT came: stop reading, let requests in flight finish, acknowledge what is then covered."""


@dataclass
class Dispatcher:
    """Delivers batches, up to `max_parallel` at once, and never two of one key."""

    ledger: Ledger
    rejects: Rejects
    workers: Workers
    checkpoints: Checkpoints
    max_parallel: int
    progress_interval: float = PROGRESS_SECONDS
    _streams: list[Stream] = field(default_factory=list)
    """Those of which something was submitted."""
    _in_flight: list[Batch] = field(default_factory=list)
    _last_progress: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.report_progress: Callable[[], None] = self._log_progress

    @property
    def in_flight(self) -> int:
        """How many batches are in flight."""
        return len(self._in_flight)

    def submit(self, batch: Batch) -> None:
        """Put a batch in flight, waiting until a place is free and no request in flight shares a key with it."""
        stream = batch.stream
        if stream not in self._streams:
            self._streams.append(stream)
        if not batch.entries:  # all of it was deleted again
            self.ledger.complete(batch.number)
            return
        self._wait_until(lambda: self._may_start(batch))
        delivery = BatchDelivery(
            contract=stream.contract,
            objects=[entry.sent for entry in batch.entries.values()],
            remaining=self.rejects.remaining,
            verified=stream.verified,
            status_timeout=self.checkpoints.status_timeout,
            dry_run=stream.dry_run,
        )
        self.workers.start(delivery.run, partial(self._settle, batch, stream.status))
        self._in_flight.append(batch)

    def wait_for(self, stream: Stream, key: str | None) -> None:
        """Wait until what is in flight of a key is booked, of the whole stream where the key is not known.

        Raises:
            FatalSyncError: The run cannot go on, as in `poll`.
        """

        def is_booked() -> bool:
            beside = [batch for batch in self._in_flight if batch.stream is stream]
            return not any(key is None or key in batch.entries for batch in beside)

        if not is_booked():
            self._wait_until(is_booked)

    def reject(
        self,
        stream: Stream,
        key: str | None,
        problems: Sequence[Problem],
        origin: Origin,
        *,
        label: str | None,
        place: Place | None = None,
    ) -> None:
        """Write a record to the rejects file: the contract rejects it, or Klar, which has a `place` in a batch.

        Messages call it by its `label`.

        Raises:
            StopHereError: It may not be written there, or cannot be; no STATE from it on leaves.
        """
        try:
            self.rejects.reject(origin, stream.name, key, problems, CONTRACT if place is None else KLAR, label=label)
        except StopHereError as error:
            place = place or Place(origin.number)
            if isinstance(error, RecordRejectedError):
                error.number = place.number
            self.ledger.pin(*place)
            raise
        stream.count_rejected()

    def poll(self) -> float:
        """Act on what came in, write a STATE if one is due, and return for how many seconds that will do.

        Raises:
            InterruptedRunError: A signal came.
            KlarError: A request failed for good.
            RecordRejectedError: Klar rejected a record and it may not be written to the rejects file.
        """
        if shutdown.signal_received():
            raise InterruptedRunError
        self.workers.collect()
        now = time.monotonic()
        left = self.checkpoints.poll(now, {batch.stream for batch in self._in_flight})
        if now >= self._last_progress + self.progress_interval:
            self._last_progress = now
            self.report_progress()
        return max(0.0, min(left, self._last_progress + self.progress_interval - now))

    def finish(self) -> None:
        """Wait until nothing is in flight, all is confirmed, and the newest covered STATE is written."""
        self._wait_until(lambda: not self._in_flight)
        while self.checkpoints.is_unfinished:
            self.checkpoints.begin_check()
            self._wait_until(lambda: not self.checkpoints.is_busy)

    def finish_in_flight(self) -> None:
        """End early: send nothing new, let what is in flight end, acknowledge what is then covered and confirmed.

        Raises:
            StopHereError: A record in flight was rejected: to be called again, as after any unexpected error.
            StopNowError: Nothing can be acknowledged any more.
        """
        self.workers.stop.set()
        while self._in_flight or self.checkpoints.is_unfinished:
            left = (shutdown.deadline() or float("inf")) - time.monotonic()
            if left <= 0:
                break
            try:
                self.workers.collect()
                if shutdown.signal_received() or not self._in_flight:
                    self.checkpoints.begin_check()  # another request may hang until the end
                if self._in_flight or self.checkpoints.is_busy:
                    self.workers.wakeup.wait(min(left, 1.0))
            except StopSendingError as error:  # the run ends for another reason, which is reported
                _logger.debug("While the run ends: %s", error)

    def _log_progress(self) -> None:
        for stream in self._streams:
            stream.report_progress()

    def _may_start(self, batch: Batch) -> bool:
        stream = batch.stream
        if self.checkpoints.holds(stream) or len(self._in_flight) >= self.max_parallel:
            return False
        size = batch.bytes + sum(other.bytes for other in self._in_flight)
        if self._in_flight and size > MAX_BYTES_IN_FLIGHT:
            return False
        beside = [other for other in self._in_flight if other.stream is stream]
        if not beside:
            return True
        # That a key of several fields is all of them is our reading: two versions of a line may name it by other ones.
        one_at_a_time = not stream.verified or bool(stream.contract.also_key)
        return not one_at_a_time and all(batch.entries.keys().isdisjoint(other.entries) for other in beside)

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        while True:
            patience = self.poll()
            if ready():
                return
            self.workers.wakeup.wait(patience)

    def _settle(self, batch: Batch, baseline: Status | None, report: DeliveryReport | Exception) -> None:
        """Act on the report of a batch; it is complete once every record of it is stored or rejected."""
        self._in_flight.remove(batch)
        stream = batch.stream
        if isinstance(report, Exception):
            raise report
        stream.book(batch, report)
        bisection = report.bisection
        assert bisection is not None, "only what was not sent has none"
        self.checkpoints.note_delivery(report.longest_request, report.lag)
        entries = list(batch.entries.items())
        # Of what failed in the end nothing is certain, and the tap repeats it.
        may_have_older = self.rejects.may_have_keys and report.error is None
        newer = [
            (each.origin, key)
            for key, entry in map(entries.__getitem__, sorted(report.accepted) if may_have_older else ())
            for each in (*entry.replaced, entry)
            if self.rejects.may_have(each.origin, stream.name, key)
        ]
        if report.accepted and not report.confirmed:
            self.checkpoints.require_confirmation(stream, report.status or baseline, newer)
        else:
            self.rejects.accept(newer, stream.name)
        if report.error is not None:
            raise report.error
        if bisection.all_rejected:
            sent = f"{counted(len(batch.entries), 'record')}, {counted(report.requests, 'request')}"
            raise KlarError(
                f"Klar rejected the first batch of {stream.name}, and each part of it that was sent alone "
                f"({sent}): {bisection.reason}. "
                f"No record of {stream.name} was stored. Check the mapping and `{stream.contract.version_setting}`."
            )
        stopped = bisection.stopped
        end = len(batch.entries) if stopped is None else stopped.position
        for position in sorted(bisection.rejected):
            if position < end:
                key, entry = entries[position]
                place, label = Place(entry.earliest, batch.number), shorten(stream.contract.readable_key(key))
                self.reject(stream, key, bisection.rejected[position], entry.origin, label=label, place=place)
                # Not before: what it replaced supersedes older versions, and it may not be written itself.
                self.rejects.accept([(each.origin, key) for each in entry.replaced], stream.name)
        if stopped is not None:
            key, entry = entries[end]
            self.ledger.pin(*Place(entry.earliest, batch.number))
            named = entry.origin.describe(stream.name, shorten(stream.contract.readable_key(key)))
            raise RecordRejectedError(f"{named}: {stopped.why}", stopped.advice, entry.earliest)
        self.ledger.complete(batch.number)
