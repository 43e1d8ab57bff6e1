"""A record as a tap wrote it becomes one that Klar takes, or a refusal with the reasons.

Nothing here knows a field by name: the contract's schema decides what is converted and what is refused. What Klar gets
is judged as the JSON that it gets.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec

from target_klar.contract.schema import UNIX_SECONDS, at_version, is_time, number
from target_klar.records.convert import Conversions, fold
from target_klar.records.decoders import DECODE_ERRORS, decoder_for
from target_klar.records.formatting import Problem, describe, shorten
from target_klar.records.json_codec import ENCODE_ERRORS, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from target_klar.contract.schema import Node
    from target_klar.contract.streams import Contract, Record

DELETED_AT: Final = "_sdc_deleted_at"
"""By which a tap says that its source has deleted the record; where it says false, or no time, the record is alive."""
_REFUSED: Final = (*ENCODE_ERRORS, *DECODE_ERRORS)
_read_mark: Final = decoder_for(UNIX_SECONDS)
_MARKED: Final[Node] = {"properties": {DELETED_AT: UNIX_SECONDS | {"type": ["boolean", "number"]}}}
_FOLDED_DELETED_AT: Final = fold(DELETED_AT)
UNEXPLAINED: Final = Problem("record", "cannot be read as Klar would read it")
"""Where the judge says no and the schema finds nothing; a property test says that this does not happen."""

# What JSON can express: the schema of extra fields and, without validation, of every field that is no time.
_ANYTHING: Final = {"$ref": "#/$defs/anything"}
_DEFS: Final = {
    "anything": {
        "type": ["null", "boolean", "number", "string", "array", "object"],
        "items": _ANYTHING,
        "propertyNames": {"type": "string"},
        "additionalProperties": _ANYTHING,
    }
}


class Conformed(msgspec.Struct, gc=False):
    """A record that Klar takes: its key, and the JSON that was judged and is sent."""

    key: str
    text: bytes
    cancels: bool
    """Whether it cancels what Klar holds under the key."""
    quality_warnings: Collection[str] = ()
    """What in it is allowed and looks like a mistake."""


class Rejection(NamedTuple):
    """A record that Klar would not take: its key, if there is one to read, and what is wrong with it."""

    key: str | None
    problems: list[Problem]


class Deleted(NamedTuple):
    """A record that its source has deleted and that Klar is not to be told about: its key, if there is one to read."""

    key: str | None


class Filtered(NamedTuple):
    """A record that the filter of a stream map drops."""

    deletion: bool
    """Whether it is a deletion, which nobody would hear of otherwise."""


Outcome: TypeAlias = "Conformed | Rejection | Deleted | Filtered"
"""What a record of a tap becomes."""


def deletion_fields(record: Mapping[Any, Any]) -> Record:
    """Return the fields of a record that may say that its source has deleted it, however they are spelled."""
    return {name: record[name] for name in _deletion_fields_among(tuple(record))}


@lru_cache(maxsize=64)
def _deletion_fields_among(names: tuple[Any, ...]) -> list[str]:
    return [name for name in names if isinstance(name, str) and fold(name) == _FOLDED_DELETED_AT]


class Conformer:
    """Conforms the records of one stream to its contract.

    `extra_fields` pass as they are at every level, by their exact names. Without `validate` a record is
    refused only if it cannot be sent: no key, two values for one field, a time that cannot be read, what JSON
    cannot express. With `hard_delete` a deleted record becomes a cancellation, where Klar has such a thing.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        extra_fields: Sequence[str] = (),
        validate: bool = True,
        hard_delete: bool = False,
        version: str | None = None,
    ) -> None:
        self._contract = contract
        self._key_of = contract.key_of
        self._cancels_by = contract.cancels_by
        self._hard_delete = hard_delete
        known = at_version(contract.schema, version, contract.version_setting) if version else contract.schema
        # A deletion never passes as one more field of a living record.
        extras = [name for name in extra_fields if name not in deletion_fields({name: True})]
        accepted = _with_extras(known, extras) if validate else _unvalidated(known, contract.key)
        self._schema = accepted | {"$defs": _DEFS}
        self._read = decoder_for(self._schema)
        self._read_strictly = decoder_for(known)
        self._quality_warnings = contract.quality_warnings if validate else None
        fields = known["properties"]
        self._times = {name: decoder_for(node) for name, node in fields.items() if is_time(node)}
        self._conversions = Conversions(extras, validate)
        self._converter = self._conversions.of_object(known | {"properties": fields | _MARKED["properties"]})

    @property
    def dropped(self) -> Sequence[str]:
        """The fields left out so far since Klar does not know them, as paths; a hundred at the most."""
        return self._conversions.dropped

    def expect(self, columns: Iterable[str]) -> None:
        """Do not tell of these columns where they are left out: a stream map has read them."""
        self._conversions.expected.update(map(shorten, columns))

    @property
    def assumed_utc(self) -> bool:
        """Whether a time without a zone has been read as UTC so far."""
        return self._conversions.assumed_utc

    @property
    def private(self) -> frozenset[str]:
        """The fields of which no message shows a value."""
        return self._contract.private

    def name_of(self, column: str) -> str | None:
        """Return the field of Klar's that a column has the name of, or None."""
        return self._converter.name_of(column)

    def convert(self, record: Record) -> Record:
        """Return the fields of a record as Klar would get them, which is not said to be right."""
        return self._converter.convert(record)

    def pass_through(self, text: msgspec.Raw | bytes) -> Conformed | None:
        """Return a record that is in Klar's own form as the very bytes that the tap wrote; None for any other."""
        try:
            typed = self._read_strictly(text)
        except DECODE_ERRORS:
            return None
        return self._conformed(typed, bytes(text))

    def conform(self, record: object, without: frozenset[str] = frozenset()) -> Conformed | Rejection | Deleted:
        """Return what Klar takes of a record `without` some columns, or why it would take none."""
        if not isinstance(record, dict):
            return Rejection(None, [Problem("record", f"must be an object (found {describe(record, of_many=True)})")])
        conversions = self._conversions
        conversions.unwritable = False
        converted = self._converter.convert(record, without)
        mark = converted.pop(DELETED_AT, None)
        if mark is not None:
            return self._deleted(converted, mark)
        try:
            text = encode(converted)
            typed = self._read(text)
        except _REFUSED:
            typed = None
        if typed is None or conversions.unwritable:
            return self._refusal(converted, self.explain(converted))
        return self._conformed(typed, text)

    def is_deleted(self, record: Mapping[Any, Any]) -> bool:
        """Tell whether a record bears the mark of deletion, or one that cannot be read."""
        return DELETED_AT in self._converter.convert(deletion_fields(record))

    def explain(self, record: object) -> list[Problem]:
        """Return what keeps a conformed record from being sent, in words."""
        return _explain(self._schema, record)

    def _conformed(self, typed: Any, text: bytes) -> Conformed:
        cancels = self._cancels_by is not None and getattr(typed, self._cancels_by) == []
        quality_warnings = () if self._quality_warnings is None else tuple(self._quality_warnings(typed))
        return Conformed(self._key_of(typed), text, cancels, quality_warnings)

    def _refusal(self, converted: Record, problems: list[Problem]) -> Rejection:
        key = converted.get(self._contract.key)
        told = shorten(key) if isinstance(key, str) and key else None
        return Rejection(told, problems or [UNEXPLAINED])

    def _deleted(self, converted: Record, mark: object) -> Conformed | Rejection | Deleted:
        if mark is not True and not _meets(_read_mark, mark):
            problems = [Problem(DELETED_AT, each.message) for each in _explain(_MARKED, {DELETED_AT: mark})]
            return self._refusal(converted, problems)
        contract = self._contract
        if self._hard_delete and contract.cancels_by:
            return self._cancellation(converted, mark, {contract.cancels_by: []}, contract.schema["required"])
        whole = all(name in converted for name in contract.schema["required"])
        if self._hard_delete and contract.cancelled_at and whole:  # else Klar would hold an order without its lines
            return self._cancellation(converted, mark, converted, [contract.cancelled_at])
        return Deleted(key if isinstance(key := converted.get(contract.key), str) else None)

    def _cancellation(
        self, converted: Record, mark: object, cancelled: Record, times: Sequence[str]
    ) -> Conformed | Rejection | Deleted:
        """Conform the object that cancels a record, whose source often tells no more than its key.

        The time of the deletion stands in for one of these times that the record does not bring. A mark that is no time
        leaves nothing to stand in: then the record is refused.
        """
        own = {
            name: converted[name]
            for name, read in self._times.items()
            if name in converted and _meets(read, converted[name])
        }
        missing = [name for name in self._times if name in times and name not in own]
        if missing and mark is True:
            why = "must be a time, since the record has no {} (found true)"
            return self._refusal(converted, [Problem(DELETED_AT, why.format(name)) for name in missing])
        key = {name: converted[name] for name in (self._contract.key,) if name in converted}
        result = self.conform(key | cancelled | dict.fromkeys(missing, mark) | own)
        if isinstance(result, Conformed):
            result.cancels = True
        return result


def _explain(schema: Node, record: object) -> list[Problem]:
    from target_klar.records.explain import explain  # noqa: PLC0415  # jsonschema takes long, and most runs need none

    return explain(schema, record)


def _meets(read: Callable[[bytes], object], value: object) -> bool:
    try:
        read(encode(value))
    except _REFUSED:
        return False
    return True


def _with_extras(node: Node, extras: Sequence[str]) -> Node:
    match node:
        case {"properties": fields}:
            known = {name: _with_extras(field, extras) for name, field in fields.items()}
            return node | {"properties": dict.fromkeys(extras, _ANYTHING) | known}
        case {"items": item}:
            return node | {"items": _with_extras(item, extras)}
    return node


def _unvalidated(node: Node, key: str) -> Node:
    """Return the schema of what can be sent at all: there is a key, times are read, Klar judges the rest."""
    schema = _loosened(node)
    fields = schema["properties"] | {key: node["properties"][key]}
    return schema | {"type": "object", "properties": fields, "required": [key]}


def _loosened(node: Node) -> Node:
    loose = _ANYTHING | {name: node[name] for name in ("personal",) if name in node}
    match node:
        case {"format": _} if is_time(node):
            return number("") | {"format": node["format"]}
        case {"properties": fields}:
            return loose | {"properties": {name: _loosened(field) for name, field in fields.items()}}
        case {"items": item}:
            return loose | {"items": _loosened(item)}
    return loose
