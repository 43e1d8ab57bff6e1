"""From batches to Klar, and from there to the STATE: what is in flight, what is confirmed, what may be acknowledged.

Everything here runs on the main thread. Workers load batches and read Klar's status; what they bring back is acted on
in `tend`, between two chunks of input and while the main thread waits.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from singer_sdk.exceptions import RequestedAbortException

from target_klar.api.client import KlarError
from target_klar.delivery.loading import Loaded, Loading, await_load
from target_klar.delivery.rejects import RecordRefusedError
from target_klar.process import stopping
from target_klar.process.pipes import write_line
from target_klar.records.explain import shorten

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from target_klar.api.answers import Status
    from target_klar.api.client import Client
    from target_klar.contract.streams import Contract
    from target_klar.delivery.batch import Batch
    from target_klar.delivery.ledger import Ledger, State
    from target_klar.delivery.rejects import Rejects
    from target_klar.delivery.stream import Stream
    from target_klar.delivery.workers import Workers
    from target_klar.process.pipes import Wakeup

_logger = logging.getLogger("target-klar")
MAX_HELD_IN_FLIGHT = 64 << 20
"""The bytes of all batches in flight, the taps' own text included, above which the next one waits."""
_MAX_PAUSE_SECONDS = 5.0
"""How long new requests of a stream wait at a checkpoint, so that its status is read between old ones and new ones."""


class Interrupted(RequestedAbortException):
    """SIGTERM or SIGINT came: stop reading, let requests in flight finish, acknowledge what is then covered."""


@dataclass(frozen=True)
class Pace:
    """How much at once, and how long to wait for what; in seconds."""

    parallel: int
    status_timeout: float
    checkpoint_interval: float
    validate_only: bool
    progress_interval: float = 10.0


@dataclass
class Delivery:
    """Loads batches in parallel and writes the newest STATE that is covered and confirmed."""

    ledger: Ledger
    rejects: Rejects
    workers: Workers
    wakeup: Wakeup
    stop: threading.Event
    """Set: send nothing new."""
    pace: Pace
    acknowledged: int | None = None
    """The number of the last record that a written STATE covers; None while none was written."""
    _streams: dict[str, Stream] = field(default_factory=dict)
    _unconfirmed: dict[Stream, Status | None] = field(default_factory=dict)
    """Of which streams Klar accepted records since that no status has shown yet, each with the status before those."""
    _confirming: set[Stream] = field(default_factory=set)
    """The streams whose status is being read."""
    _in_flight: list[Batch] = field(default_factory=list)
    _candidate: State | None = None
    """The STATE that leaves once the status of each stream has confirmed its records."""
    _paused_at: float | None = None
    """When the checkpoint that is under way began."""
    _distrusted: bool = False
    """A status check failed, so no STATE leaves any more."""
    _last_line: bytes | None = None
    _last_checkpoint: float = field(default_factory=time.monotonic)
    _last_progress: float = field(default_factory=time.monotonic)

    def send(self, batch: Batch) -> None:
        """Put a batch in flight, waiting until a place is free and no request in flight shares a key with it."""
        stream = self._streams.setdefault(batch.stream.name, batch.stream)
        self._wait_until(lambda: self._may_start(batch))
        loading = Loading(
            contract=stream.contract,
            objects=[entry.sent for entry in batch.entries.values()],
            room=self.rejects.room,
            proven=stream.proven,
            status_timeout=self.pace.status_timeout,
            validate_only=self.pace.validate_only,
        )
        self._in_flight.append(batch)
        stream.in_flight += 1
        self.workers.start(loading.run, partial(self._book, batch, stream.status))

    def tend(self) -> float:
        """Act on what came in, write a STATE if one is due, and return for how many seconds that will do.

        Raises:
            Interrupted: A signal came.
            KlarError: A request failed for good.
            RecordRefusedError: Klar refused a record and it may not be set aside.
        """
        if stopping.received():
            raise Interrupted
        self.workers.collect()
        now = time.monotonic()
        due = self._last_checkpoint + self.pace.checkpoint_interval
        # With everything confirmed a STATE need not wait for its turn.
        if self._candidate or (self.ledger.has_covered and (now >= due or not self._unconfirmed)):
            self._checkpoint(patient=True)
        if now >= self._last_progress + self.pace.progress_interval:
            self._last_progress = now
            for stream in self._streams.values():
                stream.tell_progress()
        until = self._last_progress + self.pace.progress_interval
        if self.ledger.has_covered and due > now:
            until = min(until, due)
        if self._pausing and self._paused_at:
            until = min(until, self._paused_at + _MAX_PAUSE_SECONDS)
        return max(0.0, until - now)

    def finish(self) -> None:
        """Wait until nothing is in flight, all is confirmed, and the newest covered STATE is written."""
        self._wait_until(lambda: not self._in_flight)
        while self._confirming or self._candidate or self._unconfirmed or self.ledger.has_covered:
            self._checkpoint()
            self._wait_until(lambda: not self._confirming)

    def wind_down(self) -> None:
        """End early: send nothing new, let what is in flight end, acknowledge what is then covered and confirmed."""
        self.stop.set()
        while self._in_flight or self._confirming or self._candidate or self.ledger.has_covered:
            left = (stopping.deadline() or float("inf")) - time.monotonic()
            if left <= 0 or (self._distrusted and not self._in_flight):
                break
            try:
                self.workers.collect()
                self._checkpoint()  # another request may hang until the end
                if self._in_flight or self._confirming:
                    self.wakeup.wait(min(left, 1.0))
            except (KlarError, RecordRefusedError) as error:
                _logger.debug("While the run ends: %s", error)

    def _may_start(self, batch: Batch) -> bool:
        stream = batch.stream
        # A load that lands while the status is read could pass for one before it, or after it.
        paused = self._pausing and (stream in self._unconfirmed or stream in self._confirming)
        if paused or len(self._in_flight) >= self.pace.parallel:
            return False
        held = batch.held + sum(other.held for other in self._in_flight)
        if self._in_flight and held > MAX_HELD_IN_FLIGHT:
            return False
        beside = [other for other in self._in_flight if other.stream is stream]
        return not beside or (stream.proven and all(batch.entries.keys().isdisjoint(other.entries) for other in beside))

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        while True:
            patience = self.tend()
            if ready():
                return
            self.wakeup.wait(patience)

    def _book(self, batch: Batch, before: Status | None, loaded: Loaded) -> None:
        """Book what became of a batch; nothing of it is settled unless all of it is."""
        self._in_flight.remove(batch)
        outcome, stream = loaded.isolation, batch.stream
        stream.in_flight -= 1
        stream.requests += loaded.requests
        stream.retries += loaded.retries
        stream.stored += len(outcome.accepted)
        stream.learn(loaded.status)
        if outcome.accepted:
            if not loaded.confirmed:
                self._unconfirmed.setdefault(stream, loaded.status or before)
            stream.proven = stream.proven or loaded.error is None
        if loaded.error is not None:
            raise loaded.error
        if outcome.hopeless:
            problem = next(iter(outcome.refused.values()))[0] if outcome.refused else "no reason given"
            raise KlarError(
                f"Klar refused all {len(batch.entries)} records of the first request of {stream.name}, in "
                f"{loaded.requests} requests, so it is not a single record ({problem}). Nothing of it was stored; "
                f"check the mapping and `{stream.contract.version_setting}`."
            )
        entries = list(batch.entries.items()) if outcome.refused else []
        for position in sorted(outcome.refused):
            key, entry = entries[position]
            try:
                told = f"{stream.name} {shorten(key)}"
                self.rejects.take(entry.line(stream.name), told, outcome.refused[position], "klar")
            except RecordRefusedError as error:
                error.number = entry.earliest
                self.ledger.hold(batch.number, entry.earliest)
                raise
            stream.rejected += 1
        self.ledger.settle(batch.number)

    @property
    def _pausing(self) -> bool:
        return self._paused_at is not None and time.monotonic() < self._paused_at + _MAX_PAUSE_SECONDS

    def _checkpoint(self, *, patient: bool = False) -> None:
        """Bring the newest covered STATE a step further: have each stream's load confirmed, then write it.

        A `patient` one first lets the requests of those streams end.
        """
        if self._confirming or self._distrusted:
            return
        if self._candidate is None:
            self._paused_at = self._paused_at or time.monotonic()
            if patient and self._pausing and any(stream.in_flight for stream in self._unconfirmed):
                return
            self._candidate = self.ledger.take_covered()
            for stream, since in self._unconfirmed.items():
                confirm = partial(self._confirm, stream.contract, since)
                self.workers.start(confirm, partial(self._confirmed, stream))
            self._confirming, self._unconfirmed = set(self._unconfirmed), {}
        if not self._confirming:
            if self._candidate is not None:
                self._acknowledge(self._candidate)
            self._candidate = self._paused_at = None

    def _confirm(self, contract: Contract, since: Status | None, client: Client) -> Status | KlarError:
        try:
            return await_load(client, contract, since, self.pace.status_timeout)
        except KlarError as error:
            return error

    def _confirmed(self, stream: Stream, status: Status | KlarError) -> None:
        self._confirming.remove(stream)
        if isinstance(status, KlarError):
            self._distrusted = True  # no STATE leaves any more
            raise status
        stream.learn(status)

    def _acknowledge(self, state: State) -> None:
        self.rejects.sync()
        self._last_checkpoint = time.monotonic()
        if state.value != self._last_line:
            write_line(state.value)
            self._last_line = state.value
        self.acknowledged = state.number
