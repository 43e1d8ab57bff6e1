"""A record as a tap wrote it becomes one that Klar takes, or a refusal with the reasons.

Nothing here knows a field by name: the contract's schema decides what is converted and what is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import jsonschema_rs

from target_klar.contract.streams import JSON, UNIX_SECONDS, is_time
from target_klar.records.convert import Conversions, fold
from target_klar.records.explain import Problem, explain, found, shorten
from target_klar.records.typed import typed_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_klar.contract.streams import Contract, Record

MARK: Final = "_sdc_deleted_at"
"""By which a tap says that its source has deleted the record; where it says false, or no time, the record is alive."""
_MARKED: Final[dict[str, Any]] = {"properties": {MARK: UNIX_SECONDS | {"type": ["boolean", "number"]}}}
_FOLDED_MARK: Final = fold(MARK)

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


class Refusal(NamedTuple):
    """A record that Klar would not take: its key, if there is one to read, and what is wrong with it."""

    key: str | None
    problems: list[Problem]


class Deleted:
    """A record that its source has deleted and that Klar is not to be told about."""


DELETED: Final = Deleted()


def marks(record: Mapping[Any, Any]) -> Record:
    """Return the fields of a record that may say that its source has deleted it, however they are spelled."""
    return {name: value for name, value in record.items() if isinstance(name, str) and fold(name) == _FOLDED_MARK}


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
    ) -> None:
        self._contract = contract
        self._cancels_by = contract.cancels_by if hard_delete else None
        # A deletion never passes as one more field of a living record.
        extras = [name for name in extra_fields if name not in marks({name: True})]
        schema = _with_extras(contract.schema, extras) | {"$defs": _DEFS}
        self._accepted = schema if validate else _unvalidated(contract)
        self.typed = typed_reader(contract.schema)
        """Reads the JSON of a record that Klar surely takes as it is, as an object with its fields; else gives None."""
        self._is_valid = _verdict(schema)
        self._is_accepted = self._is_valid if validate else _verdict(self._accepted)
        self._times = {name: _verdict(node) for name, node in contract.schema["properties"].items() if is_time(node)}
        self._conversions = Conversions(extras, keep_required=validate)
        fields = contract.schema["properties"] | _MARKED["properties"]
        self._converter = self._conversions.of_object(contract.schema | {"properties": fields})

    @property
    def dropped(self) -> Sequence[str]:
        """The fields left out so far since Klar does not know them, as paths; a hundred at the most."""
        return self._conversions.dropped

    @property
    def assumed_utc(self) -> bool:
        """Whether a time without a zone has been read as UTC so far."""
        return self._conversions.assumed_utc

    def untouched(self, record: object) -> bytes | None:
        """Return the JSON of a record that Klar takes as it is, and None for any other value."""
        try:  # as in `_to_send`, without a call for every record of a run
            return JSON.encode(record) if self._is_valid(record) else None
        except (ValueError, TypeError, RecursionError):
            return None

    def conform(self, record: object) -> Record | Refusal | Deleted:
        """Return what Klar takes, the record itself if it meets the contract, or why Klar would take none."""
        if isinstance(record, dict) and self.untouched(record) is not None:
            return record
        if not isinstance(record, dict):
            return Refusal(None, [Problem("record", f"must be an object (found {found(record, of_many=True)})")])
        converted = self._converter.convert(record)
        mark = converted.pop(MARK, None)
        problems = [] if mark is None else [Problem(MARK, each.message) for each in explain(_MARKED, {MARK: mark})]
        if mark is not None and not problems:
            if self._cancels_by is None:
                return DELETED
            converted, problems = self._cancellation(converted, mark)
        if not problems and _to_send(self._is_accepted, converted) is not None:
            return converted
        key = converted.get(self._contract.key)
        told = shorten(key) if isinstance(key, str) and key else None
        return Refusal(told, problems or self.explain(converted))

    def is_deleted(self, record: Mapping[Any, Any]) -> bool:
        """Tell whether a record bears the mark of deletion, or one that cannot be read."""
        return MARK in self._converter.convert(marks(record))

    def explain(self, record: object) -> list[Problem]:
        """Return what keeps a conformed record from being sent, in words."""
        return explain(self._accepted, record)

    def _cancellation(self, converted: Record, mark: object) -> tuple[Record, list[Problem]]:
        """Return the object that cancels a record, whose source often tells no more than its key.

        The time of the deletion stands in for a required time that the record does not bring. A mark that is no time
        leaves nothing to stand in: then there is a problem.
        """
        own = {
            name: converted[name]
            for name, is_valid in self._times.items()
            if name in converted and _to_send(is_valid, converted[name]) is not None
        }
        missing = [name for name in self._times if name in self._contract.schema["required"] and name not in own]
        key = {name: converted[name] for name in (self._contract.key,) if name in converted}
        cancellation = key | dict.fromkeys(missing, mark) | own | {self._cancels_by: []}
        why = "must be a time, since the record has no {} (found true)"
        return cancellation, [Problem(MARK, why.format(name)) for name in missing if mark is True]


def _to_send(is_valid: Callable[[object], bool], value: object) -> bytes | None:
    try:
        # Writing it finds what a schema cannot say, such as text that UTF-8 does not have.
        return JSON.encode(value) if is_valid(value) else None
    except (ValueError, TypeError, RecursionError):  # of a type that JSON does not have, or too deep
        return None


def _verdict(schema: dict[str, Any]) -> Callable[[object], bool]:
    return jsonschema_rs.Draft202012Validator(schema).is_valid


def _with_extras(node: dict[str, Any], extras: Sequence[str]) -> dict[str, Any]:
    match node:
        case {"properties": fields}:
            known = {name: _with_extras(field, extras) for name, field in fields.items()}
            return node | {"properties": dict.fromkeys(extras, _ANYTHING) | known}
        case {"items": item}:
            return node | {"items": _with_extras(item, extras)}
    return node


def _unvalidated(contract: Contract) -> dict[str, Any]:
    """Return the schema of what can be sent at all: there is a key, times are read, Klar judges the rest."""
    key = contract.key
    schema = _loosened(contract.schema)
    fields = schema["properties"] | {key: contract.schema["properties"][key]}
    return schema | {"properties": fields, "required": [key], "$defs": _DEFS}


def _loosened(node: dict[str, Any]) -> dict[str, Any]:
    match node:
        case {"format": _} if is_time(node):
            return {"type": "number", "format": node["format"]}
        case {"properties": fields}:
            return _ANYTHING | {"properties": {name: _loosened(field) for name, field in fields.items()}}
        case {"items": item}:
            return _ANYTHING | {"items": _loosened(item)}
    return dict(_ANYTHING)
