"""Records that replace each other at Klar although they may be parts of one, such as one row for each refunded line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from target_klar.records.json_codec import read_strictly

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_klar.contract.streams import Contract

_MAX_KEYS: Final = 10_000
_MAX_BYTES: Final = 8_000_000
_MAX_COUNTED: Final = 100_000


class UnaggregatedRecords:
    """Counts the keys of which a record may have been a part, and not an update, of the one that it replaced.

    A record is compared with the one sent last under its key, if that is among the last 10,000 keys of the stream, or
    as many as 8 MB of JSON hold. A key is counted once; counting ends at 100,000.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        # Two generations: once the newer one is full it becomes the older one, whose records are then forgotten
        # together. A key is in one of them alone.
        self._newer: dict[str, bytes] = {}
        self._older: dict[str, bytes] = {}
        self._bytes = 0
        self._counted: set[int] = set()

    def add(self, sent: Mapping[str, bytes]) -> None:
        """Compare records with those last sent under the same keys, and remember them; `sent` is JSON by key."""
        for known in (self._newer, self._older):
            for key in known.keys() & sent.keys():
                before = known.pop(key)
                self._bytes -= len(before) if known is self._newer else 0
                if before != sent[key]:
                    self._compare(key, before, sent[key])
        self._newer.update(sent)
        self._bytes += sum(map(len, sent.values()))
        if len(self._newer) >= _MAX_KEYS or self._bytes >= _MAX_BYTES:
            self._newer, self._older, self._bytes = {}, self._newer, 0

    def told(self) -> str:
        """Return what to tell of the keys that were counted; empty if there are none."""
        number = len(self._counted)
        if not number:
            return ""
        key, unaggregated, ids = self._contract.key, self._contract.unaggregated, self._contract.part_ids
        keys = f"{'more than ' * (number == _MAX_COUNTED)}{number} key{'s' * (number > 1)} ({key})"
        apart = f" (no {' or '.join(ids)} in common)" if ids else ""
        return (
            f"{keys} came again with other {unaggregated}{apart}, and at Klar the last record of a key replaces the "
            "others. If these are updates, all is well; if rows are parts of one, aggregate them before target-klar"
        )

    def _compare(self, key: str, before: bytes, after: bytes) -> None:
        known = hash(key)  # whose size does not depend on the key's
        if known in self._counted or len(self._counted) == _MAX_COUNTED:
            return
        one, other = ((read_strictly(each) or {}).get(self._contract.unaggregated) for each in (before, after))
        ids = self._contract.part_ids
        if _share_nothing(one, other, ids) if ids else one != other:
            self._counted.add(known)


def _share_nothing(one: Any, other: Any, ids: Sequence[str]) -> bool:
    """Tell whether two arrays both hold items, and none of the same; an empty id says nothing."""
    if not (one and other and isinstance(one, list) and isinstance(other, list)):
        return False
    mine, others = (
        {(name, str(item[name])) for item in items if isinstance(item, dict) for name in ids if item.get(name)}
        for items in (one, other)
    )
    return mine.isdisjoint(others)
