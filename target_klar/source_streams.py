"""The tap's own streams, and the routes that stream maps open from each of them to streams of Klar's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from target_klar.delivery.unaggregated import SourceKey
from target_klar.map_columns import drops_all, missing_columns
from target_klar.mapping import mapped
from target_klar.records.conform import Conformed, Filtered, Rejection
from target_klar.records.convert import fold
from target_klar.records.formatting import shorten
from target_klar.records.json_codec import NotJSONError, decode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from singer_sdk.mapper import StreamMap

    from target_klar.contract.streams import Contract
    from target_klar.delivery.stream import Stream
    from target_klar.map_columns import Expression, MissingColumns
    from target_klar.records.conform import Outcome

Text: TypeAlias = msgspec.Raw | bytes
"""A record, as the JSON that the tap wrote."""

_CONVERTED_AFTER_ONE: Final = 100
"""After a record that could not pass through, so many are converted without another try: a tap writes one form."""


class PlainRoute:
    """Leads to one of Klar's streams by another name at most, and without some columns."""

    def __init__(self, source_stream: str, keys: Sequence[str], stream: Stream, removed: frozenset[str]) -> None:
        self._source_stream = source_stream
        self._stream = stream
        self._removed = removed
        self._source_key = _SourceKeyReader(source_stream, keys, stream.contract)
        self._convert_next = 0

    def add(self, record: Text, line: bytes) -> None:
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
        stream.add(outcome, self._source_stream, line, self._source_key(read))


class MappedRoute:
    """Leads to one of Klar's streams through expressions of a stream map."""

    def __init__(
        self,
        source_stream: str,
        keys: Sequence[str],
        stream: Stream,
        stream_map: StreamMap,
        definitions: Sequence[dict[str, Any]],
    ) -> None:
        self.stream_map = stream_map
        self.read = self.filtered = 0
        """How many records it was given, and how many of them its filter dropped."""
        self._source_stream = source_stream
        self._stream = stream
        self._definitions = definitions
        self._source_key = _SourceKeyReader(source_stream, keys, stream.contract)

    @property
    def required(self) -> Collection[str]:
        """The fields that Klar requires."""
        required: Sequence[str] = self._stream.contract.schema["required"]
        return required

    def add(self, record: Text, line: bytes) -> None:
        """Add what the map makes of a record, JSON in the tap's `line`.

        Raises:
            RecordRejectedError: Klar would not take it, and it may not be written to the rejects file.
            NotJSONError: It is not JSON.
        """
        stream, read = self._stream, decode(record)
        self.read += 1
        outcome: Outcome
        if not isinstance(read, dict):
            outcome = stream.conformer.conform(read)
        elif (made := mapped(self.stream_map, read, self._definitions, stream.contract.key)) is None:
            self.filtered += 1
            outcome = Filtered(stream.conformer.is_deleted(read))
        elif isinstance(made, Rejection):
            outcome = made
        else:
            outcome = stream.conformer.conform(made)
            if isinstance(outcome, Conformed) and not outcome.cancels:
                stream.other_marks.add(self._source_stream, read, made)
        stream.add(outcome, self._source_stream, line, self._source_key(read))


class _SourceKeyReader:
    """Reads the tap's own key from a record, if it is not Klar's."""

    def __init__(self, source_stream: str, columns: Sequence[str], contract: Contract) -> None:
        self._source_stream = source_stream
        ours = {fold(name) for name in (contract.key, *contract.also_key)}
        self._columns = () if {fold(column) for column in columns} <= ours else tuple(columns)

    def __call__(self, record: object) -> SourceKey | None:
        if not self._columns or not isinstance(record, dict):
            return None
        return SourceKey(self._source_stream, self._columns, tuple(record.get(column) for column in self._columns))


class SourceStream:
    """One of the tap's streams, as one SCHEMA describes it, with its routes to streams of Klar's."""

    def __init__(
        self,
        name: str,
        schema: Mapping[str, Any],
        routes: Sequence[PlainRoute | MappedRoute],
        expressions: Sequence[Expression],
    ) -> None:
        self.name = name
        self.routes = routes
        self._expressions = expressions
        self._columns = dict.fromkeys(schema["properties"])
        closed = schema.get("additionalProperties", False) is False and not schema.get("patternProperties")
        self._is_open = not closed or not schema["properties"]

    def add(self, record: Text, line: bytes) -> None:
        """Add a record, JSON in the tap's `line`, to every route.

        Raises:
            RecordRejectedError: Klar would not take it, and it may not be written to the rejects file.
            NotJSONError: It is not JSON.
        """
        routes = self.routes
        if len(routes) > 1 and not bytes(record).lstrip().startswith(b"{"):
            routes = routes[:1]  # no map can make anything of it, so it is one bad record
        for route in routes:
            route.add(record, line)

    def missing(self, first: Iterable[Text] = (), *, wildcard: bool = False) -> Iterator[tuple[MissingColumns, str]]:
        """Yield the columns that its maps read and neither its SCHEMA nor its `first` records have, with a message.

        Under a `wildcard` map, which many streams share, nothing stops the run.
        """
        records = [each for record in first if isinstance(each := _decoded(record), dict)]
        columns = dict.fromkeys([*self._columns, *(column for record in records for column in record)])
        mapped_routes = [route for route in self.routes if isinstance(route, MappedRoute)]
        for each in missing_columns(
            self._expressions if mapped_routes else (),
            columns,
            required={name for route in mapped_routes for name in route.required},
            is_open=self._is_open or wildcard,
            all_dropped=all(drops_all(route.stream_map, records) for route in mapped_routes),
        ):
            yield each, each.message(self.name, columns, len(records))


def filter_warnings(sources: Iterable[SourceStream]) -> Iterator[str]:
    """Yield a line for each of the tap's streams of which a filter dropped every record."""
    counts: dict[str, list[int]] = {}
    for source in sources:
        for route in source.routes:
            if isinstance(route, MappedRoute):
                count = counts.setdefault(source.name, [0, 0])
                count[0] += route.read
                count[1] += route.filtered
    for name, (read, filtered) in counts.items():
        if read and filtered == read:
            yield (
                f"The `__filter__` in the stream map of {shorten(name)} dropped all {read} records, so nothing of it "
                "was loaded. Check the filter."
            )


def _decoded(record: Text) -> object:
    try:
        return decode(record)
    except NotJSONError:
        return None
