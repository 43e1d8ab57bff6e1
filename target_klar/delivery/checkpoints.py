"""The way of a STATE: covered by the ledger, confirmed by Klar's status, written."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from target_klar.api.client import KlarError
from target_klar.delivery.batch_delivery import wait_until_confirmed
from target_klar.runtime.pipes import write_line

if TYPE_CHECKING:
    from target_klar.api.answers import Status
    from target_klar.api.client import Client
    from target_klar.contract.streams import Contract
    from target_klar.delivery.ledger import Ledger, State
    from target_klar.delivery.rejects import Rejects
    from target_klar.delivery.stream import Stream
    from target_klar.delivery.workers import Workers

_MAX_PAUSE_SECONDS = 5.0
"""How long new requests of a stream wait at a checkpoint, so that its status is read between old ones and new ones."""


@dataclass
class _Checkpoint:
    """The checkpoint that is under way, or the next one."""

    pause_ends: float = 0.0
    """Until when new requests wait; 0 before it has begun."""
    state: State | None = None
    """What leaves once the status of each stream that was asked has confirmed its records."""
    asked: set[Stream] = field(default_factory=set)
    """The streams whose status is being read."""
    failed: bool = False
    """A status check failed, so it stays under way for ever, and no STATE leaves any more."""


@dataclass
class Checkpoints:
    """Writes the newest STATE that is covered and confirmed; `interval` and `status_timeout` are in seconds."""

    ledger: Ledger
    rejects: Rejects
    workers: Workers
    interval: float
    status_timeout: float
    acknowledged: State | None = None
    """The STATE that was written last."""
    _unconfirmed: dict[Stream, Status | None] = field(default_factory=dict)
    """The streams of which Klar accepted records that no status has shown yet, each with the status before those."""
    _current: _Checkpoint = field(default_factory=_Checkpoint)
    _written_at: float = field(default_factory=time.monotonic)

    def accepted(self, stream: Stream, before: Status | None) -> None:
        """Have the status of a stream show a load newer than `before`, which was read before the load was sent."""
        self._unconfirmed.setdefault(stream, before)

    def poll(self, now: float) -> float:
        """Bring a STATE a step further if one is due, and return until when that will do.

        Raises:
            FatalSyncError: It could not be written, or the rejects before it.
        """
        due = self._written_at + self.interval
        # With everything confirmed a STATE need not wait for its turn.
        if self._current.state is not None or (self.ledger.has_covered and (now >= due or not self._unconfirmed)):
            self.advance(patient=True)
        until = due if self.ledger.has_covered and due > now else float("inf")
        return min(until, self._current.pause_ends) if self._pausing else until

    def advance(self, *, patient: bool = False) -> None:
        """Bring the newest covered STATE a step further: have each stream's load confirmed, then write it.

        A `patient` one first lets the requests of those streams end.

        Raises:
            FatalSyncError: It could not be written, or the rejects before it.
        """
        current = self._current
        if current.asked or current.failed:
            return
        if current.state is None:
            current.pause_ends = current.pause_ends or time.monotonic() + _MAX_PAUSE_SECONDS
            if patient and self._pausing and any(stream.in_flight for stream in self._unconfirmed):
                return
            current.state = self.ledger.pop_covered()
            for stream, since in self._unconfirmed.items():
                confirm = partial(self._confirm, stream.contract, since)
                self.workers.start(confirm, partial(self._confirmed, stream))
            current.asked, self._unconfirmed = set(self._unconfirmed), {}
        if not current.asked:
            if current.state is not None:
                self._write(current.state)
            self._current = _Checkpoint()

    def is_paused(self, stream: Stream) -> bool:
        """Tell whether a new request of a stream has to wait.

        A load that lands while the status is read could pass for one before it, or after it.
        """
        return self._pausing and (stream in self._unconfirmed or stream in self._current.asked)

    @property
    def unconfirmed(self) -> bool:
        """Whether Klar accepted records that no status has shown, and that none is asked for yet."""
        return bool(self._unconfirmed)

    @property
    def asking(self) -> bool:
        """Whether the status of a stream is being read."""
        return bool(self._current.asked)

    @property
    def pending(self) -> bool:
        """Whether a STATE is covered or on its way out."""
        return self.asking or self._current.state is not None or self.ledger.has_covered

    @property
    def failed(self) -> bool:
        """Whether a status check failed, so that no STATE leaves any more."""
        return self._current.failed

    @property
    def _pausing(self) -> bool:
        return time.monotonic() < self._current.pause_ends

    def _confirm(self, contract: Contract, since: Status | None, client: Client) -> Status | KlarError:
        try:
            return wait_until_confirmed(client, contract, since, self.status_timeout)
        except KlarError as error:
            return error

    def _confirmed(self, stream: Stream, status: Status | KlarError) -> None:
        self._current.asked.remove(stream)
        if isinstance(status, KlarError):
            self._current.failed = True
            raise status
        stream.update_status(status)

    def _write(self, state: State) -> None:
        self.rejects.sync()
        self._written_at = time.monotonic()
        if self.acknowledged is None or state.value != self.acknowledged.value:
            write_line(state.value)
        self.acknowledged = state
