"""The tap's own streams, and the routes that stream maps open from each of them to streams of Klar's."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_klar.delivery.batch import source_key_reader
from target_klar.delivery.rejects_lines import stream_of
from target_klar.joined_text import mark_joined_text
from target_klar.map_columns import drops_all, expressions_of, missing_columns
from target_klar.mapping import mapped, set_by
from target_klar.records.conform import Conformed, Filtered, Rejection
from target_klar.records.deletions import DELETED_AT, deletion_fields
from target_klar.records.formatting import counted, shorten
from target_klar.records.json_codec import NotJSONError, decode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from singer_sdk.mapper import StreamMap

    from target_klar.delivery.stream import Stream
    from target_klar.map_columns import MissingColumns
    from target_klar.records.conform import Outcome

RecordJSON: TypeAlias = msgspec.Raw | bytes
"""A record, as the JSON that the tap wrote."""

_CONVERTED_AFTER_ONE: Final = 100
"""After a record that could not pass through, so many are converted without another try: a tap writes one form."""

_IGNORED: Final = "ACTIVATE_VERSION is ignored, so Klar keeps records that the tap no longer sends."
VERSION_IGNORED: Final = (
    _IGNORED,
    f"{_IGNORED} `hard_delete` cancels only those that come with `{DELETED_AT}`: compare ids to find the others.",
)
"""What is said of an ACTIVATE_VERSION: where nothing else is asked for, and where `hard_delete` is and has no mark."""


class PlainRoute:
    """Leads to one of Klar's streams by another name at most, and without some columns."""

    def __init__(self, source_stream: str, keys: Sequence[str], stream: Stream, removed: frozenset[str]) -> None:
        self._source_stream = source_stream
        self._stream = stream
        self._removed = removed
        self._source_key = source_key_reader(source_stream, keys, stream.contract)
        self._convert_next = 0

    @property
    def name(self) -> str:
        """Klar's stream."""
        return self._stream.name

    @property
    def lacks_mark(self) -> bool:
        """Whether Klar can cancel records of its stream, and no map sets the mark of a deletion."""
        return _can_cancel(self._stream)

    def add(self, record: RecordJSON, line: bytes) -> None:
        """Add a record, JSON in the tap's `line`: in Klar's own form as the bytes that came, any other conformed.

        Raises:
            RecordRejectedError: Klar would not take it, and it may not be written to the rejects file.
            NotJSONError: It is not JSON.
        """
        stream = self._stream
        if self._convert_next:
            self._convert_next -= 1
        elif not self._removed:
            passed = stream.conformer.pass_through(record)
            if passed is not None:
                stream.add(passed, self._source_stream, None)
                return
            self._convert_next = _CONVERTED_AFTER_ONE
        read = decode(record)
        outcome = stream.conformer.conform(read, self._removed)
        if isinstance(outcome, Conformed) and not outcome.cancels:
            stream.other_marks.add(self._source_stream, read)
        stream.add(outcome, self._source_stream, line, self._source_key and self._source_key(read))


class MappedRoute:
    """Leads to one of Klar's streams through expressions of a stream map."""

    def __init__(
        self,
        source_stream: str,
        keys: Sequence[str],
        stream: Stream,
        stream_map: StreamMap,
        definition: dict[str, Any],
        read: frozenset[str],
        *,
        wildcard: bool,
    ) -> None:
        self.stream_map = stream_map
        self.expressions = expressions_of([definition])
        self.wildcard = wildcard
        """Whether its map is one of a pattern, which many streams share."""
        self.passed = self.filtered = self.failed = 0
        """How many records its filter let pass, how many it dropped, and on how many it failed."""
        self._source_stream = source_stream
        self._stream = stream
        self._definitions = definitions = [definition]
        self._mark_joined_text = mark_joined_text(stream_map, definition, stream.contract.schema)
        self._not_sent = stream.conformer.unknown(read - set_by(definitions))
        """The columns that Klar does not know and a map of the source stream has read: they are not reported."""
        self._source_key = source_key_reader(source_stream, keys, stream.contract, set_by(definitions))

    @property
    def name(self) -> str:
        """Klar's stream."""
        return self._stream.name

    @property
    def lacks_mark(self) -> bool:
        """Whether Klar can cancel records of its stream, and its map does not set the mark of a deletion."""
        return _can_cancel(self._stream) and not deletion_fields(dict.fromkeys(set_by(self._definitions)))

    @property
    def required(self) -> Collection[str]:
        """The fields that Klar requires."""
        required: Sequence[str] = self._stream.contract.schema["required"]
        return required

    def add(self, record: RecordJSON, line: bytes) -> None:
        """Add what the map makes of a record, JSON in the tap's `line`.

        Raises:
            RecordRejectedError: Klar would not take it, and it may not be written to the rejects file.
            NotJSONError: It is not JSON.
        """
        stream, read = self._stream, decode(record)
        outcome: Outcome
        if not isinstance(read, dict):
            outcome = stream.conformer.conform(read)
        elif (made := mapped(self.stream_map, read, self._definitions, stream.contract.key)) is None:
            self.filtered += 1
            outcome = Filtered(stream.conformer.is_deleted(read))
        elif isinstance(made, Rejection):
            self._count_failed(read)
            outcome = made
        else:
            self.passed += 1
            outcome = stream.conformer.conform(self._mark_joined_text(made), self._not_sent)
            if isinstance(outcome, Conformed) and not outcome.cancels:
                stream.other_marks.add(self._source_stream, read, made)
        stream.add(outcome, self._source_stream, line, self._source_key and self._source_key(read))

    def _count_failed(self, record: dict[str, Any]) -> None:
        """Count a record that the map fails on: its filter may have let it pass, or have failed itself."""
        try:
            passes = self.stream_map.get_filter_result(record)
        except Exception:  # noqa: BLE001  # an expression of the user's may fail in any way
            self.failed += 1
        else:
            self.passed += bool(passes)


def _can_cancel(stream: Stream) -> bool:
    return bool(stream.contract.cancels_by or stream.contract.cancelled_at)


class SourceStream:
    """One of the tap's streams, with its routes to streams of Klar's, as its newest SCHEMA describes it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.schema_line = b""
        """The line of its newest SCHEMA."""
        self.routes: Sequence[PlainRoute | MappedRoute] = ()
        self._passed: Counter[str] = Counter()
        self._filtered: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        """How many records filters let pass, dropped and failed on under former SCHEMAs, by the stream of Klar's."""
        self._columns: dict[str, None] = {}
        self._seen: dict[str, None] = {}
        """The columns of the SCHEMA, and those of the records that were looked at."""
        self._is_open = False

    def update(self, line: bytes, schema: Mapping[str, Any], routes: Sequence[PlainRoute | MappedRoute]) -> None:
        """Take on what a `schema`, read from a `line`, makes of it."""
        self.schema_line = line
        self._passed, self._filtered, self._failed = self._tallies()
        self.routes = routes
        self._columns = dict.fromkeys(schema["properties"])
        closed = schema.get("additionalProperties", False) is False and not schema.get("patternProperties")
        self._is_open = not closed or not schema["properties"]

    def add(self, record: RecordJSON, line: bytes) -> None:
        """Add a record, JSON in the tap's `line`, to every route; of the rejects file to that to the stream it is for.

        Raises:
            RecordRejectedError: Klar would not take it, and it may not be written to the rejects file.
            NotJSONError: It is not JSON.
            InvalidInputLine: It was rejected for a stream of Klar's to which no route of several leads.
        """
        routes = self.routes
        if len(routes) > 1 and (stream := stream_of(line)) is not None:
            # Sent again, it is for that stream alone: the others may have a newer version, which no line tells.
            routes = [route for route in routes if route.name == stream]
            if not routes:
                raise InvalidInputLine(
                    f"a record rejected for {shorten(stream)}, where no stream map of {shorten(self.name)} leads. "
                    "Send it with the maps of the run that rejected it"
                )
        if len(routes) > 1 and not bytes(record).lstrip().startswith(b"{"):
            routes = routes[:1]  # no map can make anything of it, so it is one bad record
        for route in routes:
            route.add(record, line)

    @property
    def lacks_mark(self) -> bool:
        """Whether Klar could cancel its records, and neither its columns nor its maps name the mark of deletion."""
        read = dict.fromkeys(
            column for route in self._mapped_routes for each in route.expressions for column in each.columns
        )
        known = deletion_fields(self._columns | self._seen | read)
        return not known and any(route.lacks_mark for route in self.routes)

    def filters_that_dropped_all(self) -> Iterator[str]:
        """Yield a line for each of its filters that let no record pass."""
        passed, filtered, failed = self._tallies()
        for name, count in filtered.items():
            if not passed[name]:
                to = f" to {name}" * (len(self.routes) > 1)
                records = counted(count, "record")
                what = f"{records} and failed on {failed[name]}" if failed[name] else f"{'all ' * (count > 1)}{records}"
                yield (
                    f"The `__filter__` in the stream map of {shorten(self.name)}{to} dropped {what}, so "
                    "nothing of it was loaded. Check the filter."
                )

    @property
    def _mapped_routes(self) -> list[MappedRoute]:
        return [route for route in self.routes if isinstance(route, MappedRoute)]

    def _tallies(self) -> tuple[Counter[str], Counter[str], Counter[str]]:
        mapped_routes = self._mapped_routes
        passed = Counter({route.name: route.passed for route in mapped_routes})
        filtered = Counter({route.name: route.filtered for route in mapped_routes})
        failed = Counter({route.name: route.failed for route in mapped_routes})
        return self._passed + passed, self._filtered + filtered, self._failed + failed

    def missing(self, first: Iterable[RecordJSON] = ()) -> Iterator[tuple[MissingColumns, str]]:
        """Yield the columns that its maps read and neither its SCHEMA nor its `first` records have, with a message.

        The columns of the records are known from then on. Each map is judged by itself; that of a pattern stops no run.
        """
        records = [each for record in first if isinstance(each := _decoded(record), dict)]
        self._seen |= dict.fromkeys(column for record in records for column in record)
        columns = self._columns | self._seen
        for route in self._mapped_routes:
            for each in missing_columns(
                route.expressions,
                columns,
                required=route.required,
                is_open=self._is_open or route.wildcard,
                all_dropped=drops_all(route.stream_map, records),
            ):
                yield each, each.message(self.name, columns, len(records))


def _decoded(record: RecordJSON) -> object:
    try:
        return decode(record)
    except NotJSONError:
        return None
