"""What a worker thread does: load one batch, wait until Klar's status shows a load."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from target_klar.api.answers import Answer, Verdict
from target_klar.api.client import Client, KlarError
from target_klar.delivery.bisection import Bisection
from target_klar.records.json_codec import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_klar.api.answers import Status
    from target_klar.contract.streams import Contract

_MAX_PAUSE = 2.0


@dataclass
class DeliveryReport:
    """How the loading of one batch ended."""

    bisection: Bisection
    status: Status | None = None
    """The newest status that was read on the way."""
    confirmed: bool = True
    """Whether `status` was read after the last request that Klar accepted, and shows a load since."""
    error: KlarError | None = None
    """What ended it early; then nothing but `bisection.accepted` is known of its records."""
    requests: int = 0
    retries: int = 0


@dataclass(frozen=True)
class BatchDelivery:
    """One batch on its way to Klar: `objects` of one stream as JSON, each with a key of its own."""

    contract: Contract
    objects: Sequence[bytes]
    remaining: int
    """How many of them may be set aside before the run stops."""
    verified: bool
    """Klar took and counted a request of this stream in this run; else its status is read before, and counted after."""
    status_timeout: float
    validate_only: bool

    def run(self, client: Client) -> DeliveryReport:
        """Send the batch until each object is stored or refused."""
        verified = self.verified or self.validate_only
        bisection = Bisection(
            self.objects,
            self.contract.key,
            remaining=self.remaining,
            verified=verified,
            private=self.contract.private,
            dry_run=self.validate_only,
            read=decode,
        )
        report = DeliveryReport(bisection)
        requests, retries = client.requests, client.retries
        counted = verified or not self.status_timeout
        try:
            if not verified:
                report.status = client.status(self.contract)
            while segment := bisection.next():
                objects = [self.objects[position] for position in segment.positions]
                taken = bisection.apply(segment, self._submit(client, objects))
                if taken:
                    report.confirmed = self.validate_only
                if taken and not counted:
                    # At the first load, not the last: a body that Klar takes but does not understand is found here.
                    counts = taken, len(objects)
                    report.status = _count(client, self.contract, report.status, counts, self.status_timeout)
                    report.confirmed = counted = True
        except KlarError as error:
            report.error = error
        report.requests = client.requests - requests
        report.retries = client.retries - retries
        return report

    def _submit(self, client: Client, objects: list[bytes]) -> Answer:
        if self.validate_only and not self.contract.validates:
            return Answer(Verdict.ACCEPTED)  # checked here alone
        return client.submit(self.contract, self.contract.body(objects), validate=self.validate_only)


def wait_until_confirmed(client: Client, contract: Contract, before: Status | None, timeout: float) -> Status:
    """Read the status until it shows a load newer than `before`, for `timeout` seconds at the most (0: read it once).

    Raises:
        KlarError: The status does not answer, or shows no such load in time.
    """
    deadline = time.monotonic() + timeout
    pause = 0.02
    while True:
        status = client.status(contract)
        if not timeout or status.newer_than(before):
            return status
        if time.monotonic() + pause > deadline:
            newer = f" newer than {before.last_success}" if before and before.last_success else ""
            raise KlarError(
                f"{contract.stream}: Klar accepted records, but {timeout:g} s later its status shows no load{newer} "
                f"(last batch: {status.last_batch_count or 'none'}). Run again, or raise `status_timeout_seconds` (0: "
                "the status only has to answer)."
            )
        time.sleep(pause)
        pause = min(pause * 2, _MAX_PAUSE)


def _count(
    client: Client, contract: Contract, before: Status | None, counts: tuple[int, int], timeout: float
) -> Status:
    """Wait for the load of the first request, and see that Klar counts what it took of what was sent, or all of it."""
    taken, sent = counts
    try:
        status = wait_until_confirmed(client, contract, before, timeout)
    except KlarError as error:
        raise KlarError(f"{error} That was the first request, with {sent} sent in it.") from error
    if status.last_batch_count not in (str(taken), str(sent)):
        accepted = f" or the {taken} accepted" if taken < sent else ""
        raise KlarError(
            f"{contract.stream}: Klar accepted the first request, but its status counts "
            f"{status.last_batch_count or 'none'}, not the {sent} sent{accepted}, so it may not read them as they are "
            f"meant. Check `{contract.version_setting}`, and that nothing else loads into this data source at the same "
            "time, or set `status_timeout_seconds: 0`, with which no count is compared."
        )
    return status
