"""A record as a tap wrote it becomes one that Klar takes, or a rejection with its reasons.

Nothing here knows a field by name: the contract's schema decides what is converted and what is rejected. What Klar gets
is judged as the JSON that it gets.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec

from target_klar.contract.quality import narrowed, with_field_limits, without_rules
from target_klar.contract.schema import for_api_version
from target_klar.contract.streams import QUALITY_RULES
from target_klar.records.accepted import DEFS, unvalidated, with_extras, without_empty_text
from target_klar.records.convert import Conversions, fold
from target_klar.records.decoders import DECODE_ERRORS, Decoder, decoder_for
from target_klar.records.deletions import (
    DELETED_AT,
    DELETION_MARK,
    Skip,
    cancellation,
    deletion_fields,
    is_mark,
)
from target_klar.records.formatting import Problem, describe, shorten
from target_klar.records.json_codec import ENCODE_ERRORS, encode
from target_klar.records.spelling import closest_match

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from target_klar.contract.schema import Node
    from target_klar.contract.streams import Amounts, Contract, Record

_NEARLY: Final = 0.9
"""How much of two names is the same, by the standard library's measure: of `customer_id` and `customer` it is 0.89."""
_DOES_NOT_FIT: Final = (*ENCODE_ERRORS, *DECODE_ERRORS)
UNEXPLAINED: Final = Problem("record", "cannot be read as Klar would read it")
"""Where the decoder says no and the schema finds nothing; a property test says that this does not happen."""


class Conformed(msgspec.Struct, gc=False):
    """A record that Klar takes: its key, and the JSON that was judged and is sent."""

    key: str
    sent: bytes
    cancels: bool
    """Whether it cancels what Klar holds under the key."""
    typed: Any
    """The JSON decoded as the contract's type; None if it is sent unvalidated and does not fit. Not to be kept: it
    takes several times the memory of the JSON."""
    amounts: Amounts
    """What it adds to the control totals of its stream; zero if it does not fit the type."""
    is_narrow: bool = False
    """Whether it fits the contract as its data quality rules narrow it, so that those need not be asked, and lives."""


class Rejection(NamedTuple):
    """A record that Klar would not take."""

    label: str | None
    """What messages call it: its key, shortened, of several fields in words."""
    problems: list[Problem]
    key: str | None = None
    """As `Conformed` has it; None where it cannot be read."""


class Deleted(NamedTuple):
    """A record that its source has deleted, and that is skipped."""

    key: str | None
    """As `Conformed` has it; None where it cannot be read."""
    reason: Skip


class Filtered(NamedTuple):
    """A record that the filter of a stream map drops."""

    deletion: bool
    """Whether it is a deletion, which the summary then warns of."""


Outcome: TypeAlias = Conformed | Rejection | Deleted | Filtered
"""What a record of a tap becomes."""


class Conformer:
    """Conforms the records of one stream to its contract.

    `extra_fields` pass as they are at every level, by their exact names. Without `validate` a record is
    rejected only if it cannot be sent: no key, two values for one field, a time that cannot be read, what JSON
    cannot express. With `hard_delete` a deleted record becomes a cancellation, where Klar has such a thing.
    Data quality rules of the names in `ignored_rules` reject nothing.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        extra_fields: Sequence[str] = (),
        validate: bool = True,
        hard_delete: bool = False,
        version: str | None = None,
        ignored_rules: Collection[str] = (),
    ) -> None:
        self._contract = contract
        self._key_of = contract.key_of
        self._amounts_of = contract.amounts_of
        self._cancelling = attrgetter(contract.cancelling_field) if contract.cancelling_field else None
        self._cancels_if = contract.cancels_by is None
        """Whether that field cancels by what it holds, and not by being empty."""
        self._hard_delete = hard_delete
        known = without_rules(contract.schema, ignored_rules if validate else QUALITY_RULES)
        if version and validate:
            known = for_api_version(known, version, contract.version_setting)
        # A deletion never passes as one more field of a living record.
        extras = [name for name in extra_fields if name not in deletion_fields({name: True})]
        accepted = with_extras(known, extras) if validate else unvalidated(known, contract.key, contract.also_key)
        self._validate = validate
        self._schema = accepted | {"$defs": DEFS}
        self._decode_unchanged, self._decode_unchanged_narrow = own = self._decoders(
            without_empty_text(known, required=validate)
        )
        self._decode_converted, self._decode_converted_narrow = (
            own if accepted == known else self._decoders(self._schema)
        )
        self._decode_for_totals = self._decode_converted if validate else self._decoders(with_extras(known, extras))[0]
        self._excluded = frozenset(known["properties"][contract.key].get("not", {}).get("enum", ()))
        self._conversions = Conversions(extras, validate)
        fields = known["properties"] | DELETION_MARK["properties"]
        self._converter = self._conversions.of_object(known | {"properties": fields})

    @property
    def dropped(self) -> Sequence[str]:
        """The fields omitted so far because Klar does not know them, as paths; a hundred at most."""
        return [*self._conversions.dropped]

    @property
    def dropped_within(self) -> Sequence[str]:
        """The names of those that objects within records have."""
        return [*dict.fromkeys(name for path, name in self._conversions.dropped.items() if path != name)]

    @property
    def near_misses(self) -> Mapping[str, str]:
        """The field of Klar's that an omitted one nearly has the name of, if no record with the one has the other."""
        fields = {fold(name): name for name in self._contract.schema["properties"]}
        found = {}
        for path, name in self._conversions.dropped.items():
            missing = [folded for folded, field in fields.items() if field not in self._conversions.beside[path]]
            if path == name and (closest := closest_match(fold(name), missing, _NEARLY)):
                found[name] = fields[closest]
        return found

    def unknown(self, columns: Iterable[str]) -> frozenset[str]:
        """Return those columns that are no field of Klar's, and no extra one."""
        return frozenset(column for column in columns if self._converter.name_of(column) is None)

    @property
    def assumed_utc(self) -> Collection[str]:
        """The fields, as paths, of which a time without a zone has been read as UTC so far."""
        return self._conversions.assumed_utc

    def pass_through(self, text: msgspec.Raw | bytes) -> Conformed | None:
        """Return a record that is in Klar's own form as the very bytes that the tap wrote; None for any other.

        Those are all that conforming would not change.
        """
        is_narrow = True
        try:
            typed = self._decode_unchanged_narrow(text)
        except DECODE_ERRORS:
            is_narrow = False
            try:
                typed = self._decode_unchanged(text)
            except DECODE_ERRORS:
                return None
        return self._conformed(typed, bytes(text), is_narrow)

    def conform(self, record: object, without: frozenset[str] = frozenset()) -> Conformed | Rejection | Deleted:
        """Return what Klar takes of a record `without` some columns, or why it would take none."""
        if not isinstance(record, dict):
            description = describe(record, of_many=True)
            return Rejection(None, [Problem("record", f"must be an object (found {description})")])
        converted = self._converter.convert(record, without)
        mark = converted.pop(DELETED_AT, None)
        return self._judged(converted) if mark is None else self._deleted(converted, mark)

    def reject(self, key: Record, problems: list[Problem]) -> Rejection:
        """Return the rejection of a record of which the fields of Klar's key are known, those that it has."""
        return self._rejection(self._converter.convert(key), problems)

    def is_deleted(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a record bears the mark of deletion, or one that cannot be read."""
        return DELETED_AT in self._converter.convert(deletion_fields(record))

    def explain(self, record: object) -> list[Problem]:
        """Return what keeps a conformed record from being sent, in words."""
        return _explain(self._schema, record)

    def _decoders(self, node: Node) -> tuple[Decoder, Decoder]:
        """Return decoders for a schema, and for that of records that live and meet no narrowed data quality rule.

        Neither knows what a key excludes: `_conformed` asks for that in far less time.
        """
        contract = self._contract
        if not contract.also_key:  # a key of several fields is no single text
            key = {name: limit for name, limit in node["properties"][contract.key].items() if name != "not"}
            node = node | {"properties": node["properties"] | {contract.key: key}}
        living = narrowed(node)
        if contract.cancels_by:
            living = with_field_limits(living, contract.cancels_by, minItems=1)
        elif contract.cancelled_at:
            living = living | {"properties": living["properties"] | {contract.cancelled_at: {"not": {}}}}
        return decoder_for(node), decoder_for(living)

    def _judged(self, converted: Record) -> Conformed | Rejection:
        try:
            text = encode(converted)
            typed, is_narrow = self._typed(text)
        except _DOES_NOT_FIT:
            return self._rejection(converted, self.explain(converted))
        if not self._validate:
            return self._unvalidated(typed, text)
        return self._conformed(typed, text, is_narrow) or self._rejection(converted, self.explain(converted))

    def _typed(self, text: bytes) -> tuple[Any, bool]:
        try:
            return self._decode_converted_narrow(text), True
        except DECODE_ERRORS:
            return self._decode_converted(text), False

    def _conformed(self, typed: Any, text: bytes, is_narrow: bool) -> Conformed | None:  # noqa: FBT001  # called once a record, and a keyword takes time
        key = self._key_of(typed)
        if key in self._excluded:
            return None
        cancels = not is_narrow and self._cancelling is not None and bool(self._cancelling(typed)) is self._cancels_if
        return Conformed(key, text, cancels, typed, self._amounts_of(typed), is_narrow)

    def _unvalidated(self, loose: Any, text: bytes) -> Conformed:
        try:
            typed = self._decode_for_totals(text)
            amounts = self._amounts_of(typed)
        except DECODE_ERRORS:
            typed, amounts = None, self._contract.no_amounts
        field = self._cancelling(loose) if self._cancelling is not None else None
        cancels = field is not None and bool(field) is self._cancels_if
        return Conformed(self._key_of(loose), text, cancels, typed, amounts)

    def _rejection(self, converted: Record, problems: list[Problem]) -> Rejection:
        label = self._contract.describe_key(converted)
        key = self._contract.key_in(converted)
        return Rejection(shorten(label) if label else None, problems or [UNEXPLAINED], key)

    def _deleted(self, converted: Record, mark: object) -> Conformed | Rejection | Deleted:
        if not is_mark(mark):
            problems = [each._replace(path=DELETED_AT) for each in _explain(DELETION_MARK, {DELETED_AT: mark})]
            return self._rejection(converted, problems)
        match cancellation(self._contract, converted, mark) if self._hard_delete else Skip.SKIPPED:
            case Skip() as reason:
                return Deleted(self._contract.key_in(converted), reason)
            case Problem() as problem:
                return self._rejection(converted, [problem])
            case cancelling:
                return self._judged(cancelling)


def _explain(schema: Node, record: object) -> list[Problem]:
    from target_klar.records.explain import explain  # noqa: PLC0415  # importing jsonschema is slow, and most runs do not need it

    return explain(schema, record)
