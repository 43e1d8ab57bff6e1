"""The tap's own streams, and the routes that stream maps open from each of them to streams of Klar's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from target_klar.mapping import mapped
from target_klar.records.conform import Filtered, Rejection
from target_klar.records.json_codec import decode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeAlias

    import msgspec
    from singer_sdk.mapper import StreamMap

    from target_klar.delivery.stream import Stream
    from target_klar.records.conform import Outcome

    Text: TypeAlias = msgspec.Raw | bytes

_CONVERTED_UNASKED: Final = 100
"""After a record that was not in Klar's own form so many are converted without asking: a tap writes one form."""


class PlainRoute:
    """Leads to one of Klar's streams by another name at most, and without some columns."""

    def __init__(self, source: str, stream: Stream, removed: frozenset[str]) -> None:
        self._source = source
        self._stream = stream
        self._removed = removed
        self._unasked = 0

    def add(self, record: Text, line: bytes) -> None:
        """Add a record, JSON in the tap's `line`: in Klar's own form as the bytes that came, any other conformed.

        Raises:
            RecordRejectedError: Klar would not take it, and it may not be written to the rejects file.
            NotJSONError: It is not JSON.
        """
        stream = self._stream
        if self._unasked:
            self._unasked -= 1
        elif not self._removed:
            passed = stream.conformer.pass_through(record)
            if passed is not None:
                stream.add(passed, self._source, None)
                return
            self._unasked = _CONVERTED_UNASKED
        stream.add(stream.conformer.conform(decode(record), self._removed), self._source, line)


class MappedRoute:
    """Leads to one of Klar's streams through expressions of a stream map."""

    def __init__(
        self, source: str, stream: Stream, stream_map: StreamMap, definitions: Sequence[dict[str, Any]]
    ) -> None:
        self._source = source
        self._stream = stream
        self._stream_map = stream_map
        self._definitions = definitions

    def add(self, record: Text, line: bytes) -> None:
        """Add what the map makes of a record, JSON in the tap's `line`.

        Raises:
            RecordRejectedError: Klar would not take it, and it may not be written to the rejects file.
            NotJSONError: It is not JSON.
        """
        conformer, read = self._stream.conformer, decode(record)
        outcome: Outcome
        if not isinstance(read, dict):
            outcome = conformer.conform(read)
        elif (made := mapped(self._stream_map, read, self._definitions, self._stream.contract.key)) is None:
            outcome = Filtered(conformer.is_deleted(read))
        else:
            outcome = made if isinstance(made, Rejection) else conformer.conform(made)
        self._stream.add(outcome, self._source, line)


class SourceStream:
    """One of the tap's streams, known by its SCHEMA."""

    def __init__(self, routes: Sequence[PlainRoute | MappedRoute]) -> None:
        self._routes = routes

    def add(self, record: Text, line: bytes) -> None:
        """Send a record, JSON in the tap's `line`, on every route.

        Raises:
            RecordRejectedError: Klar would not take it, and it may not be written to the rejects file.
            NotJSONError: It is not JSON.
        """
        routes = self._routes
        if len(routes) > 1 and not bytes(record).lstrip().startswith(b"{"):
            routes = routes[:1]  # no map can make anything of it, so it is one bad record
        for route in routes:
            route.add(record, line)
