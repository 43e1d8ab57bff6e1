"""One of Klar's streams in this run: its one way in, its batch, its counts, its report."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from target_klar.delivery.batch import MAX_BYTES, Batch, Entry
from target_klar.delivery.rejects_lines import Origin
from target_klar.delivery.unaggregated import UnaggregatedRecords
from target_klar.records.conform import Conformed, Deleted, Filtered
from target_klar.records.deletions import DELETED_AT, Skip, deleted_expression
from target_klar.records.formatting import counted, describe_key
from target_klar.records.json_codec import members
from target_klar.records.other_marks import OtherMarks
from target_klar.records.totals import ControlTotals

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from target_klar.api.answers import Status
    from target_klar.contract.streams import Contract
    from target_klar.delivery.batch import SourceKey
    from target_klar.delivery.batch_delivery import DeliveryReport
    from target_klar.delivery.dispatcher import Dispatcher
    from target_klar.records.conform import Conformer, Outcome, Rejection
    from target_klar.records.quality import QualityReport

COUNTS: Final = ("read", "stored", "merged", "deleted", "filtered", "rejected", "open")
"""What became of the records of a stream: those read are the sum of the others."""
_SINGULAR: Final = {"requests": "request", "retries": "retry"}
_logger = logging.getLogger("target-klar")


class Stream:
    """Takes what a tap's records become, batches it, and counts what became of it.

    Nobody else writes to its batch, its counts and its status.
    """

    def __init__(
        self,
        contract: Contract,
        conformer: Conformer,
        quality: QualityReport,
        dispatcher: Dispatcher,
        *,
        max_records: int,
        dry_run: bool,
    ) -> None:
        self.contract = contract
        self.conformer = conformer
        self.dry_run = dry_run
        self.batch: Batch | None = None
        """The one that further records are added to."""
        self.read = self.stored = self.merged = self.deleted = self.filtered = self.rejected = 0
        self.cancelled = 0
        """How many of the stored ones cancel what Klar held under their key."""
        self.deletions_filtered = 0
        """How many of the filtered ones are deletions."""
        self.requests = self.retries = 0
        self.verified = False
        """Klar took its first request, and counted it."""
        self.status: Status | None = None
        """The newest status read."""
        self.lag = 0.0
        """The longest time seen from an answer to the reading of the status that showed its load, in seconds."""
        self.answered_at = 0.0
        """When Klar answered last, on the monotonic clock."""
        self.unaggregated = UnaggregatedRecords(contract)
        self.quality = quality
        self.totals = ControlTotals(contract)
        self.other_marks = OtherMarks(contract.stream)
        self.without_lines = 0
        """How many of the deleted ones would have replaced an order with one that has no lines."""
        self._dispatcher = dispatcher
        self._ledger = dispatcher.ledger
        self._max_records = max_records
        self._started = time.monotonic()
        self._reported = 0
        self._status_time = datetime.now(UTC)

    @property
    def name(self) -> str:
        """What Klar and the tap call it."""
        return self.contract.stream

    @property
    def open(self) -> int:
        """How many records are not settled: still in a batch, in flight, or left when the run ended."""
        return self.read - self.stored - self.merged - self.deleted - self.filtered - self.rejected

    def add(
        self, outcome: Outcome, source_stream: str, line: bytes | None, source_key: SourceKey | None = None
    ) -> None:
        """Add what a record of the tap's stream `source_stream` became; a full batch is flushed.

        `line` is the tap's own line; None if the record in it is the JSON that Klar gets. `source_key` is its key in
        the source, where that is not Klar's.

        Raises:
            RecordRejectedError: The record is rejected, and may not be written to the rejects file.
        """
        self.read += 1
        if not isinstance(outcome, Conformed):
            self._add_unsent(outcome, source_stream, line, source_key)
            return
        batch = self.batch
        if batch is None:
            number = self._ledger.begin_batch()
            batch = self.batch = Batch(self, number)
        else:
            number = self._ledger.extend_batch(batch.number)
        replaced = batch.put(number, outcome, source_stream, line, source_key)
        if replaced is not None:
            self.merged += 1
            self.unaggregated.compare({outcome.key: replaced}, replaced.size)
            self._keep_replaced(replaced, batch.entries[outcome.key], outcome.key)
        self.quality.ask_about(outcome, source_stream)
        if batch.read >= self._max_records or batch.bytes >= MAX_BYTES:
            self.flush()

    def _keep_replaced(self, replaced: Entry, by: Entry, key: str) -> None:
        rejects = self._dispatcher.rejects
        if replaced.replaced or (rejects.may_have_keys and rejects.may_have(replaced.origin, self.name, key)):
            by.replaced = (*replaced.replaced, replaced)

    def _add_unsent(
        self,
        outcome: Rejection | Deleted | Filtered,
        source_stream: str,
        line: bytes | None,
        source_key: SourceKey | None,
    ) -> None:
        assert line is not None, "only what Klar gets as it came has no line"
        number = self._ledger.count()
        if isinstance(outcome, Filtered):
            self.filtered += 1
            self.deletions_filtered += outcome.deletion
        elif isinstance(outcome, Deleted):
            self._skip_deleted(outcome, number, source_stream, line, source_key)
        else:
            record = members(line)["record"]
            named = describe_key(source_key.read_again(record)) if source_key and outcome.label is None else ""
            origin = Origin(source_stream, record, number, named)
            self._dispatcher.reject(self, outcome.key, outcome.problems, origin, label=outcome.label)
            if outcome.key is not None:
                unsent = self.batch.entries.get(outcome.key) if self.batch is not None else None
                nothing = self.contract.no_amounts
                rejected = Entry(
                    number, number, b"", source_stream, line, cancels=False, amounts=nothing, source_key=source_key
                )
                self.unaggregated.compare_rejected(outcome.key, rejected, unsent)

    def _skip_deleted(
        self, deleted: Deleted, number: int, source_stream: str, line: bytes, source_key: SourceKey | None
    ) -> None:
        rejects = self._dispatcher.rejects
        if rejects.path is not None:  # Klar may still reject what is deleted here, and it then is to be followed
            self._dispatcher.wait_for(self, deleted.key)
        self.deleted += 1
        self.without_lines += deleted.reason is Skip.WITHOUT_LINES
        if deleted.key is not None and self.batch is not None and self.unaggregated.has_key(source_stream):
            self.merged += self.batch.remove(deleted.key, source_stream, source_key)  # else it may be another row's
        if rejects.may_have_keys:
            rejects.delete(Origin(source_stream, members(line)["record"], number), self.name, deleted.key)

    def flush(self) -> None:
        """Submit the batch, if there is one; a new one begins with the next record."""
        batch = self.batch
        if batch is not None:
            self._dispatcher.submit(batch)
            self.batch = None  # not earlier: a record of another batch may stop the run meanwhile
            self.unaggregated.compare(batch.entries, batch.bytes)

    def poll(self, now: float, wait_limit: float) -> float:
        """Flush a batch whose oldest record has waited `wait_limit` seconds; return how long the others may wait."""
        if self.batch is None:
            return float("inf")
        left = self.batch.opened_at + wait_limit - now
        if left <= 0:
            self.flush()
            return float("inf")
        return left

    def book(self, batch: Batch, report: DeliveryReport) -> None:
        """Count what a batch delivery brought: requests, and the records that Klar accepted."""
        self.requests += report.requests
        self.retries += report.retries
        self.answered_at = max(self.answered_at, report.answered_at)
        self.update_status(report.status, report.lag)
        accepted = report.accepted
        self.stored += len(accepted)
        entries: Collection[Entry] = batch.entries.values()
        if len(accepted) < len(entries):
            entries = [entry for position, entry in enumerate(entries) if position in accepted]
        if self.contract.cancelling_field:
            self.cancelled += sum([entry.cancels for entry in entries])
        self.totals.add_amounts([entry.amounts for entry in entries])
        self.verified = self.verified or (bool(accepted) and report.error is None)

    def count_rejected(self) -> None:
        """Count a record that is rejected."""
        self.rejected += 1

    def update_status(self, status: Status | None, lag: float) -> None:
        """Keep a status that was read, if there is one and it is newer, and the `lag` with which it showed a load."""
        self.lag = max(self.lag, lag)
        if status is not None and (self.status is None or status.newer_than(self.status)):
            self.status = status
            self._status_time = datetime.now(UTC)

    def report_progress(self) -> None:
        """Log how far the stream is, unless nothing has come since the last time."""
        if self.read > self._reported:
            self._reported = self.read
            _logger.info("so far, %s", self.summary(zeros=False))

    def summary(self, *, zeros: bool = True) -> str:
        """Return the one line about this stream: what became of its records, and how long it took."""
        seconds = time.monotonic() - self._started
        counts = {name: getattr(self, name) for name in (*COUNTS, "cancelled", "requests", "retries")}
        names = {"stored": "valid"} if self.dry_run else {}
        words = [
            f"{count} {names.get(name) or (_SINGULAR.get(name, name) if count == 1 else name)}"
            for name, count in counts.items()
            if count or (zeros and name != "open")
        ]
        if totals := str(self.totals):
            words.append(totals)
        words += [f"{seconds:.1f} s", f"{self.read / max(seconds, 0.001):.0f} records/s"]
        if self.status is not None and self.status.total is not None:
            words.append(f"Klar's total: {self.status.total} (as of {self._status_time:%H:%M:%S} UTC)")
        return f"{self.name}: {', '.join(words)}"

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield a log level and a line for each thing about the stream's records that somebody should look into."""
        if fields := ", ".join(self.conformer.assumed_utc):
            yield logging.INFO, f"{self.name}: times without a zone were read as UTC: {fields}"
        warnings = [*self._omissions(), *self.other_marks.lines(), *self.unaggregated.lines()]
        yield from ((logging.WARNING, text) for text in warnings)
        yield from self.quality.lines()

    def _omissions(self) -> Iterator[str]:
        if self.conformer.dropped:
            near = {name: f"{name} (did you mean `{field}`?)" for name, field in self.conformer.near_misses.items()}
            names = ", ".join(near.get(name, name) for name in self.conformer.dropped)
            within = ", ".join(self.conformer.dropped_within)
            listed = (
                f"list them in `extra_fields`, by name alone ({within})" if within else "list them in `extra_fields`"
            )
            yield (
                f"{self.name}: fields that Klar does not know were omitted: {names}. Ignore this, map them to "
                f"Klar's fields, or {listed}."
            )
        cancels = self.contract.cancelling_field
        if skipped := self.deleted - self.without_lines:
            advice = "; set `hard_delete` to cancel them at Klar" if cancels else ""
            yield f"{self.name}: {counted(skipped, 'deleted record')} skipped{advice}"
        if self.without_lines:
            why = "they came without lines, and would have replaced the orders with nothing"
            yield f"{self.name}: {counted(self.without_lines, 'deleted record')} skipped: {why}"
        if self.deletions_filtered:
            advice = f"; to let them pass, begin it with `{deleted_expression(DELETED_AT)} or`" if cancels else ""
            yield f"{self.name}: {counted(self.deletions_filtered, 'deletion')} dropped by `__filter__`{advice}"
