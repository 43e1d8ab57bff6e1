"""A stream whose batches go nowhere, for what a stream does by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from target_klar.contract.streams import CONTRACTS, QUALITY_RULES
from target_klar.delivery.ledger import Ledger
from target_klar.delivery.rejects import Rejects
from target_klar.delivery.stream import Stream
from target_klar.records.conform import Conformed, Conformer
from target_klar.records.json_codec import encode
from target_klar.records.quality import QualityReport

if TYPE_CHECKING:
    from target_klar.delivery.batch import Batch
    from target_klar.delivery.dispatcher import Dispatcher


class Nowhere:
    """In the place of a dispatcher: it takes every batch, and is done with it."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.rejects = Rejects(None, 0)

    def submit(self, batch: Batch) -> None:
        self.ledger.complete(batch.number)


def stream_to_nowhere(name: str) -> Stream:
    """One of Klar's streams, whose batch ends only when it is flushed."""
    contract = CONTRACTS[name]
    dispatcher = cast("Dispatcher", Nowhere())
    return Stream(
        contract,
        Conformer(contract),
        QualityReport(contract, QUALITY_RULES),
        dispatcher,
        max_records=1 << 30,
        dry_run=False,
    )


def add(stream: Stream, record: dict[str, Any] | bytes) -> None:
    """Add a record in Klar's own form, or its JSON; what Klar would not take is added as if it took it."""
    text = record if isinstance(record, bytes) else encode(record)
    passed = stream.conformer.pass_through(text)
    if passed is None:
        assert isinstance(record, dict)
        amounts = stream.contract.no_amounts
        passed = Conformed(record[stream.contract.key], text, cancels=False, typed=None, amounts=amounts)
    stream.add(passed, stream.name, None)
