"""A stream whose batches go nowhere, for what a stream does by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from target_klar.contract.streams import CONTRACTS
from target_klar.delivery.ledger import Ledger
from target_klar.delivery.stream import Stream
from target_klar.records.conform import Conformed, Conformer
from target_klar.records.json_codec import encode

if TYPE_CHECKING:
    from target_klar.delivery.batch import Batch
    from target_klar.delivery.dispatcher import Dispatcher


class Nowhere:
    """In the place of a dispatcher: it takes every batch, and is done with it."""

    def __init__(self) -> None:
        self.ledger = Ledger()

    def submit(self, batch: Batch) -> None:
        self.ledger.complete(batch.number)


def stream_to_nowhere(name: str) -> Stream:
    """One of Klar's streams, whose batch ends only when it is flushed."""
    contract = CONTRACTS[name]
    dispatcher = cast("Dispatcher", Nowhere())
    return Stream(contract, Conformer(contract), dispatcher, max_records=1 << 30, dry_run=False)


def add(stream: Stream, record: dict[str, Any] | bytes) -> None:
    """Add a record in Klar's own form, or its JSON if that is of the key `a`."""
    key, text = ("a", record) if isinstance(record, bytes) else (record[stream.contract.key], encode(record))
    stream.add(Conformed(key, text, cancels=False), stream.name, None)
