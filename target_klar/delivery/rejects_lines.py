"""The lines of the rejects file: how they are written and read, and which keys a record has."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from target_klar.records.formatting import shorten
from target_klar.records.json_codec import ENCODE_ERRORS, NotJSONError, decode, encode, members, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_klar.records.formatting import Problem

CONTRACT: Final = "contract"
KLAR: Final = "klar"
"""These are a line's `source` where the record is rejected, and by whom."""
ACCEPTED: Final = "accepted"
DELETED: Final = "deleted"
"""These are a line's `source` where the record is not rejected but the newest version of one that was."""

_SCHEMA_MEMBERS = ("stream", "schema", "key_properties", "bookmark_properties")


class Origin(NamedTuple):
    """Where a record comes from."""

    source_stream: str
    """The tap's own stream."""
    record: bytes
    """Its JSON as the tap wrote it."""
    number: int
    """Its place in the reading order of this run, counted from 1; 0 for what an earlier run has read."""
    source_key: str = ""
    """The tap's own key as messages show it, where Klar's is not known."""

    def describe(self, stream: str, key: str | None) -> str:
        """Return what a message calls the record: Klar's `stream`, its key or its number, the tap's stream if another.

        `key` is fit for a message.
        """
        origin = [] if self.source_stream == stream else [f"from {shorten(self.source_stream)}"]
        more = origin if key else [self.source_key or "no key", f"record {self.number} of the run", *origin]
        return " ".join(filter(None, (stream, key, f"({', '.join(more)})" if more else "")))


class SchemaLine(NamedTuple):
    """A SCHEMA message of the file."""

    source_stream: str


class Keys(NamedTuple):
    """What identifies a record of one of Klar's streams, each as a digest; None where it is not known."""

    klar: bytes | None = None
    """Klar's key."""
    source: bytes | None = None
    """The tap's stream with the tap's own key, which several of Klar's records may share."""

    def is_same_row(self, other: Keys) -> bool:
        """Tell whether two records may be versions of one: not if the tap's stream or own key tells them apart."""
        return None in (self.source, other.source) or self.source == other.source


class RecordLine(NamedTuple):
    """A RECORD message of the file."""

    origin: Origin
    keys: Keys
    source: str


class KeyProperties:
    """The `key_properties` of each source stream, and so the keys that its records have."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}
        self._quoted: dict[str, bytes] = {}

    def schema(self, source_stream: str, members: Mapping[str, bytes]) -> None:
        """Learn them from the members of a SCHEMA message."""
        names = decode(members.get("key_properties", b"[]"))
        known = isinstance(names, list) and all(isinstance(name, str) for name in names)
        self._names[source_stream] = names if known else []
        self._quoted[source_stream] = quoted(source_stream)

    def keys(self, origin: Origin, stream: str, key: str | None) -> Keys:
        """Return what identifies a record of Klar's `stream`: its `key` there, the tap's stream and the tap's own key.

        Where neither is known, it is the whole record, so that at least the same one is not there twice.
        Klar's stream is in both, since stream maps may make records of two of its streams from one record of the tap.
        """
        klar = source = None
        if key is not None:
            klar = _digest(b"Klar", quoted(stream), quoted(key))
        tap = quoted(stream), self._quoted.get(origin.source_stream, b"")
        if names := self._names.get(origin.source_stream):
            values = members(origin.record)
            own = [values.get(name, b"null") for name in names]
            if b"null" not in own:
                source = _digest(b"tap", *tap, *map(_canonical, own))
        if klar is None and source is None:
            source = _digest(b"record", *tap, origin.record)
        return Keys(klar, source)

    def read(self, line: bytes) -> SchemaLine | RecordLine | None:
        """Return what a line of the file says, and learn from it; None for any that a run does not write."""
        try:
            return self._read(members(line))
        except NotJSONError:  # `members` does not look into a text, which may be damaged there
            return None

    def _read(self, fields: Mapping[str, bytes]) -> SchemaLine | RecordLine | None:
        kind, stream = (decode(fields.get(name, b"null")) for name in ("type", "stream"))
        if not isinstance(stream, str):
            return None
        if kind == "SCHEMA":
            self.schema(stream, fields)
            return SchemaLine(stream)
        if kind != "RECORD" or "record" not in fields:
            return None
        origin = Origin(stream, fields["record"], 0)
        klar = decode(fields.get("klar", b"{}"))
        target, key = (klar.get("stream"), klar.get("key")) if isinstance(klar, dict) else (None, None)
        # Without Klar's stream any record may be another one: the line then stays until somebody takes it out.
        keys = self.keys(origin, target, key if isinstance(key, str) else None) if isinstance(target, str) else Keys()
        source = decode(fields.get("source", b"null"))
        return RecordLine(origin, keys, source if isinstance(source, str) else "")


def stream_of(line: bytes) -> str | None:
    """Return the stream of Klar's that a line of the rejects file is for; None for any other line."""
    if b'"klar"' not in line:  # which few lines of a tap have, and reading them takes time
        return None
    klar = decode(members(line).get("klar", b"null"))
    stream = klar.get("stream") if isinstance(klar, dict) else None
    return stream if isinstance(stream, str) else None


def record_digest(origin: Origin) -> bytes:
    """Return what tells a record from others, those of other streams of the tap too, without keeping it."""
    return blake2b(quoted(origin.source_stream) + origin.record, digest_size=16).digest()


def schema_line(message: bytes) -> bytes:
    """Return the line for a SCHEMA message of the tap, with what Singer knows of it."""
    schema = members(message)
    return _line("SCHEMA", {name: schema[name] for name in _SCHEMA_MEMBERS if name in schema})


def rejects_line(
    origin: Origin, stream: str, key: str | None, problems: Sequence[Problem] | None, source: str
) -> bytes:
    """Return the line for a record; Klar's `stream` stands in it, with the `key` where that is known."""
    fields = {"stream": quoted(origin.source_stream), "record": origin.record}
    klar = {"stream": quoted(stream)} if key is None else {"stream": quoted(stream), "key": quoted(key)}
    fields["klar"] = _object(klar)
    if problems is not None:
        fields["errors"] = encode([{"path": problem.path, "message": problem.text} for problem in problems])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return _line("RECORD", fields | {"source": quoted(source), "time": quoted(now)})


def _line(kind: str, fields: dict[str, bytes]) -> bytes:
    """Return a line of the file: the members are JSON already, the tap's own with the bytes that the tap wrote."""
    return _object({"type": quoted(kind)} | fields) + b"\n"


def _object(members: dict[str, bytes]) -> bytes:
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), text) for name, text in members.items())


def _canonical(value: bytes) -> bytes:
    """Return a value of a key in the one form that all spellings of a text have: in UTF-8, if it can be."""
    if b"\\" not in value:
        return value
    text = decode(value)
    try:
        return encode(text)
    except ENCODE_ERRORS:
        return quoted(text) if isinstance(text, str) else value


def _digest(*parts: bytes) -> bytes:
    return blake2b(b"\0".join(parts), digest_size=16).digest()
