"""The way of a STATE: covered by the ledger, confirmed by Klar's status, written.

A check of a stream's status stands between what was sent before it and what is sent after it:

1. The baseline is a reading of the status from before the requests.
2. The requests are sent and answered. Until the check ends nothing new of the stream is sent: it is held.
3. Readings follow until one shows a load newer than the baseline. No other request was there, so it is of these.
4. That reading is the next baseline.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from target_klar.api.client import Client
from target_klar.delivery.batch_delivery import wait_until_confirmed
from target_klar.runtime.endings import StopHereError
from target_klar.runtime.pipes import write_line

if TYPE_CHECKING:
    from target_klar.api.answers import Status
    from target_klar.delivery.batch_delivery import StatusReading
    from target_klar.delivery.ledger import Ledger, State
    from target_klar.delivery.rejects import Rejects
    from target_klar.delivery.rejects_lines import Origin
    from target_klar.delivery.stream import Stream
    from target_klar.delivery.workers import Workers

_MIN_HOLD_SECONDS: Final = 5.0
_SPACING: Final = 10
"""After a hold, the next one waits ten times as long as that hold took: holding costs a tenth of the time at most."""


@dataclass
class _Hold:
    """Unconfirmed streams send nothing new while it lasts: until their last request has ended, or until `ends`."""

    began: float
    ends: float


@dataclass
class _Unconfirmed:
    """What Klar accepted of a stream and its status has not shown: a load newer than `baseline` will show it."""

    baseline: Status | None
    newer: list[tuple[Origin, str]] = field(default_factory=list)
    """Records of which the rejects file has older versions, each with its key."""


@dataclass
class _StatusCheck:
    """The status of each of these streams is being read; `state` leaves once all of them show a load."""

    state: State | None
    began: float
    unconfirmed: dict[Stream, _Unconfirmed]


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
    failed: bool = False
    """Whether a check failed, so that no STATE leaves any more."""
    _unconfirmed: dict[Stream, _Unconfirmed] = field(default_factory=dict)
    """The streams of which Klar accepted records that no check has confirmed."""
    # One at a time: a hold, then a check, or new baselines where a request still hangs.
    _hold: _Hold | None = None
    _check: _StatusCheck | None = None
    _reading_baseline_of: set[Stream] = field(default_factory=set)
    """The streams whose status is being read to be their next baseline."""
    _next_hold: float = 0.0
    _booked_since_hold: bool = False
    _longest_request: float = 0.0
    _written_at: float = field(default_factory=time.monotonic)

    def require_confirmation(self, stream: Stream, baseline: Status | None, newer: list[tuple[Origin, str]]) -> None:
        """Let no STATE leave until the stream's status shows a load newer than `baseline`, read before the load.

        The rejects file learns no sooner of the `newer` records, each with its key, that it has older versions of.
        """
        known = self._unconfirmed.setdefault(stream, _Unconfirmed(baseline))
        if known.baseline is None or (baseline is not None and baseline.newer_than(known.baseline)):
            known.baseline = baseline
        known.newer += newer

    def note_delivery(self, longest_request: float, lag: float) -> None:
        """Note how long a batch took, in seconds: its longest request, and the lag of its load in Klar's status."""
        self._booked_since_hold = True
        self._longest_request = max(self._longest_request, longest_request)
        self._space_holds(lag)

    def poll(self, now: float, in_flight: set[Stream]) -> float:
        """Bring a STATE a step further if one is due, and return for how many seconds that will do.

        `in_flight` are the streams of which a request is.

        Raises:
            FatalSyncError: It could not be written, or the rejects before it.
        """
        if self._is_reading or self.failed:
            return float("inf")
        if self._hold is None:
            if not self.ledger.has_covered:
                return float("inf")
            if not self._unconfirmed:  # a STATE need not wait for its turn
                self.begin_check()
                return float("inf")
            left = self._due() - now
            if left > 0:
                return left
            self._booked_since_hold = False
            self._hold = _Hold(now, now + max(_MIN_HOLD_SECONDS, 2 * self._longest_request))
        if not self.status_timeout or self._unconfirmed.keys().isdisjoint(in_flight):
            self.begin_check()
        elif now >= self._hold.ends:
            self._read_baselines()
        else:
            return self._hold.ends - now
        return float("inf")

    def begin_check(self) -> None:
        """Begin a check of every unconfirmed stream, whatever is in flight, and write the STATE that is covered by it.

        Raises:
            FatalSyncError: The STATE could not be written, or the rejects before it.
        """
        if self._is_reading or self.failed:
            return
        now = time.monotonic()
        began = self._hold.began if self._hold else now
        self._check = _StatusCheck(self.ledger.pop_covered(), began, self._unconfirmed)
        self._unconfirmed, self._hold = {}, None
        for stream, unconfirmed in self._check.unconfirmed.items():
            wait = partial(
                wait_until_confirmed,
                contract=stream.contract,
                baseline=unconfirmed.baseline,
                timeout=self.status_timeout,
                answered_at=stream.answered_at,
                lag=stream.lag,
            )
            self.workers.start(wait, partial(self._confirmed, stream))
        self._write_if_confirmed()

    def holds(self, stream: Stream) -> bool:
        """Tell whether a new request of a stream has to wait: nothing of it is sent until its check has ended."""
        if not self.status_timeout:
            return False
        if self._hold is not None:
            return stream in self._unconfirmed
        return stream in self._reading_baseline_of or (self._check is not None and stream in self._check.unconfirmed)

    @property
    def is_busy(self) -> bool:
        """Whether the status of a stream is being read."""
        return self._is_reading and not self.failed

    @property
    def is_unfinished(self) -> bool:
        """Whether a STATE waits that is covered, or Klar accepted records that no check has confirmed."""
        return not self.failed and (self.is_busy or self.ledger.has_covered or bool(self._unconfirmed))

    @property
    def _is_reading(self) -> bool:
        return bool(self._check or self._reading_baseline_of)

    def _space_holds(self, held: float) -> None:
        self._next_hold = max(self._next_hold, time.monotonic() + _SPACING * held)

    def _due(self) -> float:
        """Return when new requests may be held back for the next check."""
        if self.interval:
            return max(self._written_at + self.interval, self._next_hold)
        return 0.0 if self._booked_since_hold else float("inf")

    def _confirmed(self, stream: Stream, reading: StatusReading | Exception) -> None:
        if isinstance(reading, Exception):
            self.failed = True
            raise reading
        assert self._check is not None
        stream.update_status(reading.status, reading.lag)
        confirmed = self._check.unconfirmed.pop(stream)
        try:
            self.rejects.accept(confirmed.newer, stream.name)
        except StopHereError:
            self.failed = True
            raise
        self._write_if_confirmed()

    def _write_if_confirmed(self) -> None:
        """Write the STATE of a check that has ended."""
        if self._check is not None and not self._check.unconfirmed:
            check, self._check = self._check, None
            self._space_holds(time.monotonic() - check.began)
            if check.state is not None:
                self._write(check.state)

    def _read_baselines(self) -> None:
        assert self._hold is not None
        began, self._hold = self._hold.began, None
        self._reading_baseline_of = set(self._unconfirmed)
        for stream in self._unconfirmed:
            read = partial(Client.status, contract=stream.contract)
            self.workers.start(read, partial(self._have_baseline, stream, began))

    def _have_baseline(self, stream: Stream, began: float, status: Status | Exception) -> None:
        if isinstance(status, Exception):
            self.failed = True
            raise status
        stream.update_status(status, 0)
        self._reading_baseline_of.remove(stream)
        self._space_holds(time.monotonic() - began)

    def _write(self, state: State) -> None:
        self.rejects.sync()
        self._written_at = time.monotonic()
        if self.acknowledged is None or state.value != self.acknowledged.value:
            write_line(state.value)
        self.acknowledged = state
