"""A load whose batches are discarded: every record is judged as a load judges it, and nothing is sent or written."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final, cast

from singer_sdk.exceptions import SingerSDKError
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_klar.delivery.batch_delivery import DeliveryReport
from target_klar.delivery.dispatcher import PROGRESS_SECONDS, Dispatcher
from target_klar.delivery.stream import Stream
from target_klar.preview.values import shown, shown_problem
from target_klar.records.conform import Conformed, Deleted, Filtered, Rejection
from target_klar.records.formatting import Reasons, counted, shorten
from target_klar.records.json_codec import decode, members
from target_klar.target import TargetKlar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from target_klar.contract.streams import Contract
    from target_klar.delivery.batch import Batch, SourceKey
    from target_klar.records.conform import Outcome

RECORDS_SHOWN: Final = 2
"""How many of a stream are shown, side by side."""
_REASONS_SHOWN: Final = 5


class DiscardingDispatcher(Dispatcher):
    """Treats every batch as delivered and every rejection as written, without requests, files or STATEs."""

    def submit(self, batch: Batch) -> None:
        """Discard a batch, as if Klar had accepted all of it."""
        batch.stream.book(batch, DeliveryReport(accepted=set(range(len(batch.entries)))))
        self.ledger.complete(batch.number)

    def reject(self, stream: Stream, *_: Any, **__: Any) -> None:
        """Count a rejection."""
        stream.count_rejected()

    def poll(self) -> float:
        """Return how long nothing is due."""
        return PROGRESS_SECONDS

    def finish(self) -> None:
        """Return at once: nothing is in flight."""


@dataclass
class Tally:
    """What the records of one of the tap's streams become in one of Klar's."""

    read: int = 0
    counts: Counter[type[Outcome]] = field(default_factory=Counter)
    first: list[tuple[int, Any, Outcome]] = field(default_factory=list)
    """The first records, as the tap wrote them, each with its number and what it becomes.

    Where a filter drops some, they are the first that it drops and the first that it lets pass.
    """
    _reasons: Reasons = field(default_factory=Reasons)
    _examples: dict[str, str] = field(default_factory=dict)
    """Of each reason an example in a bracket, and behind it what to do."""

    def count(self, outcome: Outcome, line: bytes | None, key_field: str, source_key: SourceKey | None = None) -> None:
        """Count what a record becomes; `line` is the tap's, or None where what Klar gets is what the tap wrote."""
        self.read += 1
        self.counts[type(outcome)] += 1
        if self._is_shown(outcome):
            record = members(line)["record"] if line is not None else cast("Conformed", outcome).sent
            self.first[RECORDS_SHOWN - 1 :] = [(self.read, decode(record), outcome)]
        if isinstance(outcome, Rejection):
            key = _without_key(line, source_key) if outcome.label is None else shown(outcome.label, key_field)
            for problem in outcome.problems:
                reason, found, advice = shown_problem(problem)
                if self._reasons.add(reason):
                    self._examples.setdefault(reason, f"(such as {key}{found}){advice}")

    def _is_shown(self, outcome: Outcome) -> bool:
        dropped = {isinstance(each, Filtered) for _, _, each in self.first}
        return len(self.first) < RECORDS_SHOWN or dropped == {not isinstance(outcome, Filtered)}

    def verdicts(self) -> Iterator[str]:
        """Yield how many records would be rejected, with counts by reason, and what else would not be loaded."""
        reasons = [
            f"{count:,} x {reason} {self._examples[reason]}"
            for reason, count in self._reasons.most_common(_REASONS_SHOWN)
        ]
        more = len(self._reasons) - len(reasons)
        reasons += [counted(more, "more reason")] if more else []
        of = f"of {self.read:,} would be"
        yield f"{self.counts[Rejection]:,} {of} rejected{': ' * bool(reasons)}{'; '.join(reasons)}"
        if self.counts[Filtered]:
            yield f"{self.counts[Filtered]:,} {of} dropped by `__filter__`"
        if self.counts[Deleted]:
            yield f"{self.counts[Deleted]:,} {of} skipped: deleted at the source"


def _without_key(line: bytes | None, source_key: SourceKey | None) -> str:
    """Return what a record without Klar's key is called: by the tap's own key, if it has that."""
    own = source_key.read_again(members(line)["record"]) if line is not None and source_key is not None else {}
    if not own or None in own.values():
        return "one without a key"
    return ", ".join(f"{shorten(name)} {shown(value, name)}" for name, value in own.items())


class TalliedStream(Stream):
    """One of Klar's streams that keeps a tally of each source stream."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tallies: dict[str, Tally] = {}
        """By the name of the source stream."""

    def add(
        self, outcome: Outcome, source_stream: str, line: bytes | None, source_key: SourceKey | None = None
    ) -> None:
        """Add what a record became, and count it."""
        self.tallies.setdefault(source_stream, Tally()).count(outcome, line, self.contract.key, source_key)
        super().add(outcome, source_stream, line, source_key)


class PreviewTarget(TargetKlar):
    """The target of a preview: it needs no token, and goes on where Klar has no stream of that name."""

    dispatcher_class: ClassVar[type[Dispatcher]] = DiscardingDispatcher
    stream_class: ClassVar[type[Stream]] = TalliedStream

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.unknown: set[str] = set()
        """The source streams that lead to no stream of Klar's."""
        self.batch_messages: Counter[str] = Counter()
        """How many BATCH messages came of each; their files are not read."""

    def try_lines(self, lines: Iterable[bytes]) -> Exception | None:
        """Take these lines as a load does, and return what would stop it there; None if nothing does."""
        try:
            self.listen(cast("IO[str]", iter(lines)))
        except (SingerSDKError, InvalidInputLine) as error:
            with suppress(SingerSDKError):  # as a load delivers what came before
                self.process_endofpipe()
            return error
        return None

    @property
    def streams(self) -> Iterator[TalliedStream]:
        """Klar's streams that records led to."""
        return (cast("TalliedStream", sink.stream) for sink in self.sinks.values())

    def tallies(self, source: str) -> list[tuple[Contract, Tally]]:
        """Return the tallies of a source stream, each with the contract of Klar's stream."""
        return [(each.contract, each.tallies[source]) for each in self.streams if source in each.tallies]

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        # As in a dry run no STATE is kept, and what is accepted is called valid.
        self._config |= {"api_token": "none", "validate_only": True}
        return super()._validate_config(raise_errors=raise_errors)

    def _reject_unknown(self, stream: str, alias: str, columns: Collection[str]) -> None:  # noqa: ARG002  # as a load's
        self.unknown.add(stream)

    def _process_batch_message(self, message_dict: dict[str, Any]) -> None:
        self.batch_messages[shorten(str(message_dict.get("stream")))] += 1
