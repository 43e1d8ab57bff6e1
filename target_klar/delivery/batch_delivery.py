"""What a worker thread does: deliver one batch, wait until Klar's status shows a load."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from target_klar.api.answers import Answer, Verdict
from target_klar.api.client import Client, KlarError
from target_klar.delivery.bisection import Bisection
from target_klar.records.formatting import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from target_klar.api.answers import Status
    from target_klar.contract.streams import Contract

_FIRST_PAUSE: Final = 0.02
_MAX_PAUSE: Final = 2.0


class StatusReading(NamedTuple):
    """A status that shows a load, and how many seconds after Klar's answer it began to; 0 if no lag was seen."""

    status: Status
    lag: float


@dataclass
class DeliveryReport:
    """How the delivery of one batch ended."""

    accepted: set[int]
    """The positions of the objects that Klar took."""
    bisection: Bisection | None = None
    """What else is known of the objects; None if none was sent."""
    status: Status | None = None
    """The newest status that was read on the way."""
    confirmed: bool = True
    """Whether `status` was read after the last request that Klar accepted, and shows a load since."""
    error: KlarError | None = None
    """What ended it early; then nothing but `accepted` is known of its records."""
    requests: int = 0
    retries: int = 0
    lag: float = 0.0
    """How long Klar's status took to show the first load, in seconds."""
    answered_at: float = 0.0
    """When Klar answered last, on the monotonic clock."""
    longest_request: float = 0.0
    """How long Klar took for the slowest request that it answered, in seconds."""


@dataclass(frozen=True)
class BatchDelivery:
    """One batch on its way to Klar: `objects` of one stream as JSON, each with a key of its own."""

    contract: Contract
    objects: Sequence[bytes]
    remaining: int
    """How many of them may be rejected before the run stops."""
    verified: bool
    """Whether Klar has accepted and counted a request of this stream in this run. If not, the status is read before the
    first request, and compared with it afterwards."""
    status_timeout: float
    dry_run: bool

    def run(self, client: Client) -> DeliveryReport:
        """Send the batch until each object is stored or rejected."""
        verified = self.verified or self.dry_run
        bisection = Bisection(
            self.objects, self.contract, remaining=self.remaining, verified=verified, dry_run=self.dry_run
        )
        report = DeliveryReport(bisection.accepted, bisection)
        requests, retries = client.requests, client.retries
        is_counted = verified or not self.status_timeout
        try:
            if not verified:
                report.status = client.status(self.contract)
                if self.status_timeout:
                    _require_readable(report.status, self.contract)
            while segment := bisection.next():
                objects = [self.objects[position] for position in segment.positions]
                answer = self._send(client, objects, report)
                taken = bisection.apply(segment, answer)
                if taken:
                    report.confirmed = self.dry_run
                if taken and not is_counted:
                    # At the first load, not the last: a body that Klar takes but does not understand is found here.
                    reading = self._count(client, report, taken, len(objects))
                    report.status, report.lag = reading
                    report.confirmed = is_counted = True
        except KlarError as error:
            report.error = error
        report.longest_request = client.longest_answer
        report.requests = client.requests - requests
        report.retries = client.retries - retries
        return report

    def _send(self, client: Client, objects: list[bytes], report: DeliveryReport) -> Answer:
        if self.dry_run and not self.contract.validates:
            return Answer(Verdict.ACCEPTED)  # checked here alone
        answer = client.submit(self.contract, self.contract.body(objects), validate=self.dry_run)
        report.answered_at = time.monotonic()
        return answer

    def _count(self, client: Client, report: DeliveryReport, taken: int, sent: int) -> StatusReading:
        """Wait for the load of the first request, and see that Klar counts what it took of what was sent, or all of it.

        Raises:
            KlarError: Klar's status does not show the load in time, or counts something else.
        """
        stream = self.contract.stream
        counts = (str(taken), str(sent))
        try:
            reading = wait_until_confirmed(
                client, self.contract, report.status, self.status_timeout, report.answered_at, counts=counts
            )
        except KlarError as error:
            raise KlarError(
                f"{error} It was the first request of {stream} in this run, with {counted(sent, 'record')}."
            ) from error
        count = reading.status.last_batch_count
        if count not in counts:
            accepted = f" or the {taken} accepted" if taken < sent else ""
            raise KlarError(
                f"{stream}: Klar accepted the first request, but its status counts {count or 'none'}, not the {sent} "
                f"sent{accepted}, so it may have misread them. After a run that was killed, run again. Else check "
                f"`{self.contract.version_setting}`, and that nothing else loads into this data source at the same "
                "time. `status_timeout_seconds: 0` turns the comparison off."
            )
        return reading


def wait_until_confirmed(
    client: Client,
    contract: Contract,
    baseline: Status | None,
    timeout: float,
    answered_at: float,
    lag: float = 0.0,
    counts: Collection[str] = (),
) -> StatusReading:
    """Read the status until it shows a load newer than `baseline`, for `timeout` seconds at the most.

    The reading begins no earlier than `lag` seconds after `answered_at`, when Klar answered last: until then a status
    that lags so long may show an older load. With a `timeout` of 0 it is read once, and only has to answer.

    `counts` are what the load may count, where one of a run that was killed, or one that Klar took in part, may show
    first: a reading that counts something else is then returned only when the time is over, or if it counts nothing,
    as neither of those would.

    Raises:
        KlarError: The status does not answer, shows no such load in time, or shows a time that cannot be read.
    """
    time.sleep(max(0.0, answered_at + lag - time.monotonic()) if timeout else 0.0)
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    seen = 0.0
    while True:
        began = time.monotonic()
        status = client.status(contract)
        is_over = began + pause > deadline  # a process that was frozen since has read nothing, and reads once more
        is_newer = status.newer_than(baseline)
        may_be_another = counts and status.last_batch_count not in (*counts, "0", None)
        if not timeout or (is_newer and (is_over or not may_be_another)):
            return StatusReading(status, seen and min(began - answered_at, timeout))
        _require_readable(status, contract)
        seen = began
        if is_over:
            newer = f" newer than {baseline.last_success}" if baseline and baseline.last_success else ""
            raise KlarError(
                f"{contract.stream}: Klar accepted records, but {timeout:g} s later its status shows no load{newer} "
                f"(last batch: {status.last_batch_count or 'none'}). Run again, which loads nothing twice, or raise "
                "`status_timeout_seconds` (0: the status only has to answer)."
            )
        time.sleep(pause)
        pause = min(pause * 2, _MAX_PAUSE)


def _require_readable(status: Status, contract: Contract) -> None:
    if status.has_unreadable_time:
        raise KlarError(
            f"{contract.stream}: Klar's status has a `lastSuccess` that is no time in ISO 8601 "
            f"({status.last_success}), so it cannot be told whether it shows what was sent. Ask Klar's support, or "
            "set `status_timeout_seconds: 0` (the status only has to answer)."
        )
