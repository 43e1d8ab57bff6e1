"""The tap's own streams, and the routes that stream maps open from each of them to streams of Klar's."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from singer_sdk.mapper import MAPPER_FILTER_OPTION
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_klar.delivery.batch import source_key_reader
from target_klar.delivery.rejects_lines import stream_of
from target_klar.records.conform import Conformed, Filtered
from target_klar.records.deletions import DELETED_AT, deletion_fields
from target_klar.records.formatting import counted, shorten
from target_klar.records.json_codec import NotJSONError, decode
from target_klar.stream_maps.columns import drops_all, expressions_of, missing_columns
from target_klar.stream_maps.conditions import Conditions
from target_klar.stream_maps.joined_text import mark_joined_text
from target_klar.stream_maps.mapping import Failure, mapped, set_by
from target_klar.stream_maps.members import MisspelledMembers
from target_klar.stream_maps.misread_text import MisreadText

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from target_klar.delivery.stream import Stream
    from target_klar.records.conform import Outcome
    from target_klar.stream_maps.columns import MissingColumns
    from target_klar.stream_maps.in_effect import MapInEffect

RecordJSON: TypeAlias = msgspec.Raw | bytes
"""A record, as the JSON that the tap wrote."""

_CONVERTED_AFTER_ONE: Final = 100
"""After a record that could not pass through, so many are converted without another try: a tap writes one form."""

VERSION_IGNORED: Final = "ACTIVATE_VERSION is ignored, so Klar keeps records that the tap no longer sends."
ONLY_MARKS_CANCEL: Final = (
    f"{VERSION_IGNORED} `hard_delete` cancels only those that come with `{DELETED_AT}`: compare ids to find the others."
)
"""These are said of an ACTIVATE_VERSION: the second one where `hard_delete` is set and nothing names the mark."""


class Route:
    """Leads from a source stream to one of Klar's; `made` are the fields that its map sets."""

    def __init__(
        self, source: SourceStream, keys: Sequence[str], stream: Stream, made: frozenset[str] = frozenset()
    ) -> None:
        self.name = stream.name
        """Klar's stream."""
        self.lacks_deletion_mark = bool(stream.contract.cancelling_field) and not deletion_fields(dict.fromkeys(made))
        """Whether Klar can cancel records of its stream, and no map sets the mark of a deletion."""
        self._stream = stream
        self._source_stream = source.name
        self._source_key = source_key_reader(source.name, keys, stream.contract, made)

    def is_deleted(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a record of the tap's bears the mark of deletion."""
        return self._stream.conformer.is_deleted(record)

    def _add(self, outcome: Outcome, line: bytes, read: Any, made: dict[str, Any] | None = None) -> None:
        """Add what became of a record, as it was `read` from the tap's `line`; `made` is what a map made of it."""
        stream = self._stream
        if isinstance(outcome, Conformed) and not outcome.cancels:
            stream.other_marks.add(self._source_stream, read, made)
        stream.add(outcome, self._source_stream, line, self._source_key and self._source_key(read))


class PlainRoute(Route):
    """Leads to one of Klar's streams by another name at most, and without some columns."""

    def __init__(self, source: SourceStream, keys: Sequence[str], stream: Stream, removed: frozenset[str]) -> None:
        super().__init__(source, keys, stream)
        self._removed = removed
        self._convert_next = 0

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
        self._add(stream.conformer.conform(read, self._removed), line, read)


@dataclass
class _Tally:
    """How many records filters let pass, how many they dropped, and on how many they failed."""

    passed: int = 0
    filtered: int = 0
    failed: int = 0


class MappedRoute(Route):
    """Leads to one of Klar's streams through expressions of a stream map."""

    def __init__(
        self, source: SourceStream, keys: Sequence[str], stream: Stream, its_map: MapInEffect, read: frozenset[str]
    ) -> None:
        self.stream_map, self._definition, self.by_pattern = its_map
        made = set_by(self._definition)
        super().__init__(source, keys, stream, made)
        self.expressions = expressions_of([self._definition])
        self.required: Collection[str] = stream.contract.schema["required"]
        """The fields that Klar requires."""
        self._klars_key = stream.contract.key, *stream.contract.also_key
        self._tally = source.tallies[stream.name]
        self._misread = source.misread
        Conditions(self._definition, self._misread).watch(self.stream_map)
        self._members = source.members.setdefault(str(self._definition), MisspelledMembers(self._definition))
        self._filter_reads = frozenset(
            column for each in self.expressions if each.field == MAPPER_FILTER_OPTION for column in each.columns
        )
        self._sets_mark = bool(deletion_fields(dict.fromkeys(made)))
        self._mark_joined_text = mark_joined_text(self.stream_map, self._definition, stream.contract.schema)
        self._not_sent = stream.conformer.unknown(read - made)
        """The columns that Klar does not know and a map of the source stream has read: they are not reported."""

    def add(self, record: RecordJSON, line: bytes) -> None:
        """Add what the map makes of a record, JSON in the tap's `line`.

        Raises:
            RecordRejectedError: Klar would not take it, and it may not be written to the rejects file.
            NotJSONError: It is not JSON.
        """
        stream, read = self._stream, decode(record)
        if not isinstance(read, dict):
            self._add(stream.conformer.conform(read), line, read)
            return
        self._members.look(read)
        self._misread.begin()
        made = mapped(self.stream_map, read, self._definition, self._klars_key)
        self._misread.count()
        if made is None:
            self._tally.filtered += 1
            if not self._sets_mark:  # whoever writes a filter that reads a mark, or a map that sets it, knows of it
                unread = {name: value for name, value in read.items() if name not in self._filter_reads}
                stream.other_marks.add(self._source_stream, unread)
            self._add(Filtered(stream.conformer.is_deleted(read)), line, read)
        elif isinstance(made, Failure):
            self._count_failed(read)
            self._add(stream.conformer.reject(self._mark_joined_text(made.key), [made.problem]), line, read)
        else:
            self._tally.passed += 1
            self._add(stream.conformer.conform(self._mark_joined_text(made), self._not_sent), line, read, made)

    def _count_failed(self, record: dict[str, Any]) -> None:
        """Count a record that the map fails on: its filter may have let it pass, or have failed itself."""
        try:
            passes = self.stream_map.get_filter_result(record)
        except Exception:  # noqa: BLE001  # an expression of the user's may fail in any way
            self._tally.failed += 1
        else:
            self._tally.passed += bool(passes)


class SourceStream:
    """One of the tap's streams, with its routes to streams of Klar's, as its newest SCHEMA describes it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.schema_line = b""
        """The line of its newest SCHEMA."""
        self.routes: Sequence[PlainRoute | MappedRoute] = ()
        self.tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
        """What its filters did under all its SCHEMAs, by the stream of Klar's."""
        self.misread = MisreadText()
        """What text its maps misread, in how many records."""
        self.members: dict[str, MisspelledMembers] = {}
        """What they may misspell in objects, by the map as text."""
        self._columns: dict[str, None] = {}
        self._seen: dict[str, None] = {}
        """The columns of the SCHEMA, and those of the records that were looked at."""
        self._is_open = False

    def update(self, line: bytes, schema: Mapping[str, Any], routes: Sequence[PlainRoute | MappedRoute]) -> None:
        """Take on what a `schema`, read from a `line`, makes of it."""
        self.schema_line = line
        self.routes = routes
        self._columns = dict.fromkeys(schema["properties"])
        closed = schema.get("additionalProperties", False) is False and not schema.get("patternProperties")
        self._is_open = not closed or not schema["properties"]

    def add(self, record: RecordJSON, line: bytes) -> None:
        """Add a record, JSON in the tap's `line`, to every route; of the rejects file to that to the stream it is for.

        Raises:
            RecordRejectedError: Klar would not take it, and it may not be written to the rejects file.
            NotJSONError: It is not JSON.
        """
        routes = self.routes
        if len(routes) > 1 and (stream := stream_of(line)) is not None:
            # Sent again, it is for that stream alone: the others may have a newer version, which no line tells.
            routes = [route for route in routes if route.name == stream]
        if len(routes) > 1 and not bytes(record).lstrip().startswith(b"{"):
            routes = routes[:1]  # no map can make anything of it, so it is one bad record
        for route in routes:
            route.add(record, line)

    def require_route(self, line: bytes) -> None:
        """Check that a record of the rejects file, in its line, can go to the stream that it was rejected for.

        Raises:
            InvalidInputLine: No route leads there. Another stream may have a newer version.
        """
        stream = stream_of(line)
        if stream is not None and stream not in {route.name for route in self.routes}:
            raise InvalidInputLine(
                f"a record rejected for {shorten(stream)}, where no stream map of {shorten(self.name)} leads. Send it "
                "with the maps of the run that rejected it. If it was meant for another stream, take `klar` out of "
                "the line"
            )

    @property
    def lacks_deletion_mark(self) -> bool:
        """Whether Klar could cancel its records, and neither its columns nor its maps name the mark of deletion."""
        read = dict.fromkeys(
            column for route in self._mapped_routes for each in route.expressions for column in each.columns
        )
        known = deletion_fields(self._columns | self._seen | read)
        return not known and any(route.lacks_deletion_mark for route in self.routes)

    def warnings(self) -> Iterator[str]:
        """Yield a line for what its maps misread, and each stream of Klar's to which a filter let nothing pass."""
        yield from self.misread.lines(self.name)
        for members in self.members.values():
            yield from members.lines(self.name)
        for name, tally in self.tallies.items():
            if tally.filtered and not tally.passed:
                to = f" to {name}" * (len(self.routes) > 1)
                records = counted(tally.filtered, "record")
                what = (
                    f"{records} and failed on {tally.failed}"
                    if tally.failed
                    else "all " * (tally.filtered > 1) + records
                )
                yield (
                    f"The `__filter__` in the stream map of {shorten(self.name)}{to} dropped {what}, so "
                    "nothing of it was loaded. Check the filter."
                )

    @property
    def _mapped_routes(self) -> list[MappedRoute]:
        return [route for route in self.routes if isinstance(route, MappedRoute)]

    def missing(self, first: Iterable[RecordJSON] = ()) -> Iterator[tuple[MissingColumns, str]]:
        """Yield the columns that its maps read and neither its SCHEMA nor its `first` records have, with a message.

        The columns of the records are known from then on. Each map is judged by itself; that of a pattern stops no run,
        nor does any where all records are deletions: those need not have more than a key.
        """
        records = [each for record in first if isinstance(each := _decoded(record), dict)]
        self._seen |= dict.fromkeys(column for record in records for column in record)
        columns = self._columns | self._seen
        for route in self._mapped_routes:
            for each in missing_columns(
                route.expressions,
                columns,
                required=route.required,
                is_open=self._is_open or route.by_pattern or (bool(records) and all(map(route.is_deleted, records))),
                all_dropped=drops_all(route.stream_map, records),
            ):
                yield each, each.message(self.name, columns, len(records))


def _decoded(record: RecordJSON) -> object:
    try:
        return decode(record)
    except NotJSONError:
        return None
