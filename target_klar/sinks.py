"""The sink of each of Klar's streams: conform a record, refuse it, or add it to the batch; hand over the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.sinks import BatchSink

from target_klar.contract.streams import CONTRACTS, Record
from target_klar.delivery.batch import MAX_HELD, Batch
from target_klar.delivery.stream import Stream
from target_klar.reader import LINE
from target_klar.records.conform import Conformed, Conformer, Rejection
from target_klar.records.deletions import DELETED_AT, Deleted
from target_klar.records.json_codec import decode
from target_klar.records.quality import QualityReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec

    from target_klar.target import TargetKlar

MAX_OBJECTS = 1000
"""What one request may hold (Klar's Refunds and Transaction Costs pages)."""
_NOT_ASKED = 100
"""How many records behind one that was not in Klar's own form are taken apart without a look."""


class KlarSink(BatchSink):
    """Takes the records of one of Klar's streams, whatever source streams they come from."""

    MAX_SIZE_DEFAULT = MAX_OBJECTS

    def __init__(
        self,
        target: TargetKlar,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        super().__init__(target, stream_name, schema, key_properties)
        contract = CONTRACTS[stream_name]
        self.stream = Stream(contract, dry_run=self.config["validate_only"])
        self.batch: Batch | None = None
        self._max_records = self.max_size
        self._ask_again = 0
        self._sending = target.dispatcher
        self._ledger = target.dispatcher.ledger
        ignored = self.config.get("ignore_quality_rules", ())
        self.stream.quality = QualityReport(contract, ignored, enabled=self.config["validate_records"])
        self.conformer = Conformer(
            contract,
            ignored_rules=ignored,
            extra_fields=self.config.get("extra_fields", ()),
            validate=self.config["validate_records"],
            hard_delete=self.config["hard_delete"],
            version=self.config[contract.version_setting],
        )

    def get_validator(self) -> None:
        """Return none of the SDK's validators: Klar's contract counts, not the tap's schema."""

    def take(self, record: msgspec.Raw, line: bytes) -> None:
        """Add a record to the batch: in Klar's own form as the bytes that came, any other conformed.

        Behind a record that is not in Klar's own form the next ones are not looked at: taps write one form as a rule.

        Raises:
            RecordRefusedError: Klar would not take it, and it may not be set aside.
            NotJSONError: It is not JSON.
        """
        if self._ledger.number >= self._ask_again:
            conformed = self.conformer.pass_through(record)
            if conformed is not None:
                self._take(conformed, line, pass_through=True)
                return
            self._ask_again = self._ledger.number + _NOT_ASKED
        self._take_living(decode(record), line, frozenset())

    def take_without(self, columns: frozenset[str], record: msgspec.Raw, line: bytes) -> None:
        """Add a record to the batch without these columns; raises what `take` does."""
        self._take_living(decode(record), line, columns)

    def _take_living(self, record: Any, line: bytes, columns: frozenset[str]) -> None:
        conformed = self.conformer.conform(record, columns)
        if isinstance(conformed, Conformed) and not conformed.cancels:
            self.stream.other_marks.add(self.stream_name, record)
        self._take(conformed, line)

    def process_record(self, record: object, context: dict[str, Any]) -> None:
        """Conform one record and add it to the batch; `context` is the tap's own message, with its line.

        Raises:
            RecordRefusedError: Klar would not take it, and it may not be set aside.
        """
        conformed = self.conformer.conform(record)
        own = context["record"]
        if isinstance(conformed, Conformed) and not conformed.cancels and isinstance(record, dict):
            self.stream.other_marks.add(context["stream"], own, record)
        self._take(conformed, context[LINE])

    def _count(self) -> int:
        self.stream.read += 1
        self._ledger.number += 1
        return self._ledger.number

    def _take(self, conformed: Conformed | Rejection | Deleted, line: bytes, *, pass_through: bool = False) -> None:
        if not isinstance(conformed, Conformed):
            self._leave(conformed, line)
            return
        ledger, batch = self._ledger, self.batch
        number = ledger.number = ledger.number + 1
        self.stream.read += 1
        if conformed.cancels:
            self.stream.cancelled += 1
        if self.stream.quality is not None:
            self.stream.quality.add(conformed)
        if batch is None:
            batch = self.batch = Batch(self.stream, ledger.begin_batch(number))
        else:
            batch.numbers.append(number)
        batch.add(number, conformed.key, conformed.text, None if pass_through else line, conformed.amounts)
        if len(batch.numbers) >= self._max_records or batch.held >= MAX_HELD:
            self.flush()

    def _leave(self, left: Rejection | Deleted, line: bytes) -> None:
        if isinstance(left, Rejection):
            self.refuse(left, line)
        else:
            self._count()
            self.stream.deleted += 1
            self.stream.without_lines += left is Deleted.WITHOUT_LINES

    def count_filtered(self, record: Record) -> None:
        """Count a record that a `__filter__` dropped if it is a deletion, which nobody would hear of otherwise."""
        if self.conformer.is_deleted(record):
            self._count()
            self.stream.deleted += 1
            self.stream.filtered += 1

    def refuse(self, rejection: Rejection, line: bytes) -> None:
        """Have a record set aside that cannot be sent; `line` is the one that it came in.

        Raises:
            RecordRefusedError: It may not be set aside.
        """
        self._sending.refuse(self.stream, self._count(), line, rejection)

    @property
    def current_size(self) -> int:
        """How many records have been read into the batch, superseded ones too."""
        return len(self.batch.numbers) if self.batch is not None else 0

    def process_batch(self, context: dict[str, Any]) -> None:  # noqa: ARG002  # the SDK's; the batch is our own
        """Hand over the batch, as the SDK asks for at the end of the input."""
        self.flush()

    def flush(self) -> None:
        """Have the batch sent; a new one begins with the next record."""
        assert self.batch is not None
        self.batch.close()
        self._sending.send(self.batch)
        self.record_counter_metric.increment(self.current_size)
        self.batch = None

    def conclude(self) -> None:
        """Say what became of the stream's records: one line, and a warning for each thing to look into."""
        stream, say = self.stream, self.logger
        say.info("%s", stream.line())
        if self.conformer.assumed_utc:
            say.info("%s: times without a zone were read as UTC", self.stream_name)
        if self.conformer.dropped:
            names = ", ".join(self.conformer.dropped)
            say.warning("%s: fields that Klar does not know were left out: %s", self.stream_name, names)
        cancels = stream.contract.cancels_by or stream.contract.cancelled_at
        number = stream.deleted - stream.filtered - stream.without_lines
        if number:
            advice = "; set `hard_delete` to cancel them at Klar" if cancels else ""
            say.warning("%s: %d deleted records were skipped%s", self.stream_name, number, advice)
        if stream.filtered:
            advice = f"; to let them pass, begin it with `record.get('{DELETED_AT}') or`" if cancels else ""
            say.warning("%s: %d deletions were dropped by `__filter__`%s", self.stream_name, stream.filtered, advice)
        if stream.without_lines:
            why = "they came without lines, and would have replaced the orders with nothing"
            say.warning("%s: %d deleted records were skipped: %s", self.stream_name, stream.without_lines, why)
        for level, text in stream.quality.lines() if stream.quality else ():
            say.log(level, "%s", text)
        for text in [*stream.other_marks.lines(), *stream.unaggregated.lines()]:
            say.warning("%s", text)
