"""Records that replace each other at Klar although they may be parts of one, such as one row for each refunded line."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final

from target_klar.records.deletions import deletion_fields
from target_klar.records.formatting import counted, shorten, shorten_both
from target_klar.records.json_codec import decode, read_strictly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_klar.contract.streams import Contract
    from target_klar.delivery.batch import Entry

_MAX_KEYS: Final = 10_000
_MAX_BYTES: Final = 8_000_000
_MAX_COUNTED: Final = 100_000
_CREATED_AT: Final = "createdAt"
_UPDATED_AT: Final = "updatedAt"
_TAPS_OWN: Final = "_sdc_"
"""How the columns begin by which a tap says when it read a row: they differ in two readings of one."""


class _Kind(enum.Enum):
    """What a record may be to the one that it replaced; where it can only be an update, there is none."""

    OTHER_SOURCE = enum.auto()
    """It comes from another source stream, such as that of a second shop that counts from 1 too."""
    PART = enum.auto()
    """The tap itself tells the two apart."""
    STALE = enum.auto()
    """It is older than the one that it replaced."""
    OTHER_ROW = enum.auto()
    """It is another row of a tap without a key: a file, or a query's result, is no list of updates."""
    PERHAPS_PART = enum.auto()
    """It has another amount, or other lines."""
    OTHER_PRICE = enum.auto()
    """It has another amount for one piece, where nothing is to be added up."""


class UnaggregatedRecords:
    """Counts the keys of which a record may have been a part, and not an update, of the one that it replaced.

    A record is compared with the one sent last under its key, if that is among the last 10,000 keys of the stream, or
    as many as 8 MB hold. A key is counted once a kind; counting ends at 100,000.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._has_updates = _UPDATED_AT in contract.schema["properties"]
        # Two generations: once the newer one is full it becomes the older one, whose records are then forgotten
        # together. A key is in one of them alone.
        self._newer: dict[str, Entry] = {}
        self._older: dict[str, Entry] = {}
        self._bytes = 0
        self._without_key: set[str] = set()
        """The source streams whose tap declares no key."""
        self._counted: dict[_Kind, set[int]] = {kind: set() for kind in _Kind}
        self._columns: tuple[str, ...] = ()
        self._of_two_sources = "", "", ""
        """The first key that two source streams have, and these."""

    def note_source(self, source_stream: str, *, has_key: bool) -> None:
        """Note whether the newest SCHEMA of a source stream declares a key."""
        (self._without_key.discard if has_key else self._without_key.add)(source_stream)

    def has_key(self, source_stream: str) -> bool:
        """Tell whether the newest SCHEMA of a source stream declares a key, which tells its rows apart."""
        return source_stream not in self._without_key

    def compare(self, entries: Mapping[str, Entry], size: int) -> None:
        """Compare records, by their keys, with those last sent under the same keys, and remember them: `size` bytes."""
        for known in (self._newer, self._older):
            if not known or known.keys().isdisjoint(entries):  # as nearly always, and told in no time
                continue
            for key in [each for each in entries if each in known]:
                before = known.pop(key)
                self._bytes -= before.size if known is self._newer else 0
                self._compare(key, before, entries[key])
        self._newer.update(entries)
        self._bytes += size
        if len(self._newer) >= _MAX_KEYS or self._bytes >= _MAX_BYTES:
            self._newer, self._older, self._bytes = {}, self._newer, 0

    def compare_rejected(self, key: str, rejected: Entry, unsent: Entry | None) -> None:
        """Compare a record that is not sent, with nothing as its JSON, with that of its key in the batch, and the last.

        It may be a part as well: sent again once it is corrected, it would take the place of the others.
        """
        if unsent is not None:
            self._compare(key, unsent, rejected)
        self.compare({key: rejected}, rejected.size)

    def lines(self) -> list[str]:
        """Return a warning for each kind that was counted: the number of keys, what happened, and what to do."""
        contract, part_id = self._contract, self._contract.part_id
        apart = f" (no {part_id} in common)" if part_id else ""
        keeps = "and Klar keeps the last record of a key"
        key, *sources = self._of_two_sources
        first, then = shorten_both(*sources)
        two = f"such as {shorten(contract.readable_key(key))} of {first} and then of {then}" if key else ""
        parts = "" if contract.per_piece else "If they are parts of one, aggregate them before target-klar. "
        what = {
            _Kind.OTHER_SOURCE: f"from another source stream, {two}, {keeps}. If they are of different shops, tell "
            "their ids apart by a prefix in a stream map, the same one for all data of a shop, or load each shop into "
            f"a data source of its own. {parts}Ignore this if they are updates.",
            _Kind.PART: f"with different values of the tap's own key ({', '.join(self._columns)}), {keeps}. They look "
            "like parts of one: aggregate them before target-klar. Ignore this if they are updates.",
            _Kind.STALE: f"with an older `{_UPDATED_AT}`, {keeps}, here the older one. Sort the source by it.",
            _Kind.OTHER_ROW: f"in other rows, without a key of the tap, {keeps}. Aggregate rows that are parts of one "
            "before target-klar, and check the key of others. Ignore this if they are updates.",
            _Kind.PERHAPS_PART: f"with other {contract.unaggregated}{apart}, {keeps}. If rows are parts of one, "
            "aggregate them before target-klar. Ignore this if they are updates.",
            _Kind.OTHER_PRICE: f"with other {contract.unaggregated}, {keeps}. It is the cost of one piece: name the "
            "line by `lineItemId`, or send one row a product. Ignore this if they are updates.",
        }
        names = ", ".join((contract.key, *contract.also_key))
        return [
            f"{contract.stream}: {_counted_keys(keys)} ({names}) came again {what[kind]}"
            for kind, keys in self._counted.items()
            if keys
        ]

    def _compare(self, key: str, before: Entry, after: Entry) -> None:
        kind = self._kind(key, before, after)
        if self._contract.per_piece and kind not in (None, _Kind.OTHER_SOURCE):
            kind = _Kind.OTHER_PRICE
        if kind is not None and len(self._counted[kind]) < _MAX_COUNTED:
            if kind is _Kind.OTHER_SOURCE and not self._counted[kind]:
                self._of_two_sources = key, before.source_stream, after.source_stream
            self._counted[kind].add(hash(key))  # whose size does not depend on the key's

    def _kind(self, key: str, before: Entry, after: Entry) -> _Kind | None:
        has_keys = self._without_key.isdisjoint((before.source_stream, after.source_stream))
        if has_keys and before.sent == after.sent and before.source_key == after.source_key:
            return None
        if not (before.sent and after.sent):
            return None if self._contract.per_piece else self._kind_of_rows(before, after, has_keys=has_keys)
        old, new = read_strictly(before.sent) or {}, read_strictly(after.sent) or {}
        if self._contract.per_piece:
            one, other = (each.get(self._contract.unaggregated) for each in (old, new))
            if one == other is not None:
                return None
        if not (self._has_updates and _are_versions(old, new)):
            if before.source_stream != after.source_stream:
                if not self._is_repeated(before, after, old, new, has_keys=has_keys):
                    return _Kind.OTHER_SOURCE
            # What is counted already is not read again: of a file of parts that would be nearly every row.
            elif not has_keys and (hash(key) in self._counted[_Kind.OTHER_ROW] or _are_other_rows(before, after)):
                return _Kind.OTHER_ROW
        return self._kind_by_key(before, after) or self._kind_by_content(old, new)

    def _kind_of_rows(self, before: Entry, after: Entry, *, has_keys: bool) -> _Kind | None:
        """Return what one of them is to the other as rows, where one is rejected, so that its fields say nothing."""
        if not has_keys and before.source_stream == after.source_stream and _are_other_rows(before, after):
            return _Kind.OTHER_ROW
        return self._kind_by_key(before, after)

    def _kind_by_key(self, before: Entry, after: Entry) -> _Kind | None:
        old, new = before.source_key, after.source_key
        if old and new and old[:2] == new[:2] and old.values != new.values:
            self._columns = new.columns
            return _Kind.PART
        return None

    def _kind_by_content(self, old: Any, new: Any) -> _Kind | None:
        if self._has_updates and _is_older(new.get(_UPDATED_AT), old.get(_UPDATED_AT)):
            return _Kind.STALE
        part_id = self._contract.part_id
        one, other = (each.get(self._contract.unaggregated) for each in (old, new))
        return _Kind.PERHAPS_PART if (_share_nothing(one, other, part_id) if part_id else one != other) else None

    def _is_repeated(self, before: Entry, after: Entry, old: Any, new: Any, *, has_keys: bool) -> bool:
        """Tell whether two source streams have one record, as read: then nothing is lost."""
        if before.sent != after.sent and not (old and old == new):
            return False
        # Two payments may have one amount by chance; two refunds or orders not also one time and the same lines.
        if self._contract.part_id:
            return True
        old_key, new_key = before.source_key, after.source_key
        return has_keys and (not old_key or not new_key or old_key[1:] == new_key[1:])


def _counted_keys(keys: set[int]) -> str:
    return "more than " * (len(keys) == _MAX_COUNTED) + counted(len(keys), "key")


def _are_other_rows(before: Entry, after: Entry) -> bool:
    """Tell whether two rows differ in any column of the source's, and none of them is marked as deleted."""
    if before.line == after.line and (before.line or before.sent == after.sent):
        return False
    rows = [decode(each.origin.record) for each in (before, after)]
    if any(each.cancels and deletion_fields(row) for each, row in zip((before, after), rows, strict=True)):
        return False
    old, new = ({name: row[name] for name in row if not name.startswith(_TAPS_OWN)} for row in rows)
    return bool(old != new)


def _are_versions(old: Any, new: Any) -> bool:
    """Tell whether the times of two objects say that they are versions of one, as of a full stream and one of changes.

    A newer `updatedAt` alone says nothing: the orders of two shops have one too.
    """
    created, updated = ([each.get(field) for each in (old, new)] for field in (_CREATED_AT, _UPDATED_AT))
    return None not in (*created, *updated) and created[0] == created[1] and updated[0] != updated[1]


def _is_older(time: Any, than: Any) -> bool:
    try:
        return bool(time < than)
    except TypeError:  # one of them is missing, or is no number, which Klar is left to judge
        return False


def _share_nothing(one: Any, other: Any, part_id: str) -> bool:
    """Tell whether two arrays both hold items, and none of the same id; an empty id says nothing."""
    if not (one and other and isinstance(one, list) and isinstance(other, list)):
        return False
    mine, others = (
        {str(item[part_id]) for item in items if isinstance(item, dict) and item.get(part_id)} for items in (one, other)
    )
    return mine.isdisjoint(others)
