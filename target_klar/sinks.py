"""The SDK's sink, as thin as can be: it flushes the batch of one of Klar's streams when the SDK drains it.

The SDK does so at the end of the input, as `TargetKlar.process_endofpipe` has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.sinks import BatchSink

if TYPE_CHECKING:
    from target_klar.delivery.stream import Stream
    from target_klar.target import TargetKlar


class KlarSink(BatchSink):
    """Stands for one of Klar's streams in the SDK; records go to the stream itself."""

    def __init__(self, target: TargetKlar, stream: Stream) -> None:
        super().__init__(target, stream.name, {"properties": {}}, [stream.contract.key])
        self.stream = stream

    def get_validator(self) -> None:
        """Return none of the SDK's validators: Klar's contract counts, not the tap's schema."""

    @property
    def current_size(self) -> int:
        """How many records have been read into the batch, superseded ones too."""
        return self.stream.batch.read if self.stream.batch is not None else 0

    def clean_up(self) -> None:
        """Send the SDK's metric, at the end of the run: it counts all records that were read."""
        self.record_counter_metric.increment(self.stream.read)
        super().clean_up()

    def process_batch(self, context: dict[str, Any]) -> None:  # noqa: ARG002  # the SDK's; the batch is our own
        """Flush the batch, as the SDK asks for at the end of the input."""
        self.stream.flush()
