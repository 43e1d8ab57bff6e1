"""What says that the source has deleted a record, and what becomes of one that it has."""

from __future__ import annotations

import enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from target_klar.contract.schema import UNIX_SECONDS
from target_klar.records.convert import fold
from target_klar.records.decoders import decoder_for, meets
from target_klar.records.formatting import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_klar.contract.schema import Node
    from target_klar.contract.streams import Contract, Record

DELETED_AT: Final = "_sdc_deleted_at"
"""By which a tap says that its source has deleted the record; where it says false, or no time, the record is alive."""
DELETION_MARK: Final[Node] = {"properties": {DELETED_AT: UNIX_SECONDS | {"type": ["boolean", "number"]}}}
"""The schema of an object with the mark: when, or true."""
_FOLDED_DELETED_AT: Final = fold(DELETED_AT)
_read_time: Final = decoder_for(UNIX_SECONDS)


class Skip(enum.Enum):
    """Why a record that its source has deleted is skipped."""

    SKIPPED = enum.auto()
    """`hard_delete` is not set, or Klar has nothing that cancels it."""
    WITHOUT_LINES = enum.auto()
    """It brings no lines, and would replace an order with one that has none."""


def deletion_fields(record: Mapping[Any, Any]) -> Record:
    """Return the fields of a record that may say that its source has deleted it, however they are spelled."""
    return {name: record[name] for name in _deletion_fields_among(tuple(record))}


@lru_cache(maxsize=64)
def _deletion_fields_among(names: tuple[Any, ...]) -> list[str]:
    return [name for name in names if isinstance(name, str) and fold(name) == _FOLDED_DELETED_AT]


def is_mark(mark: object) -> bool:
    """Tell whether a converted mark can be read; one that cannot is neither that of a living nor of a deleted one."""
    return mark is True or meets(_read_time, mark)


def deleted_expression(column: str) -> str:
    """Return the expression of a stream map that is false where a mark says that the record is alive, in any form."""
    return f"str(record.get({column!r}) or '').strip()[:10].strip('0.-').lower() not in ['', 'false']"


def cancellation(contract: Contract, record: Record, mark: object) -> Record | Problem | Skip:
    """Return what cancels a converted record at Klar, to be conformed, or why it is skipped, or what is wrong with it.

    The time of the deletion stands in for a time that the record does not bring, since log-based taps send the key
    alone. A mark that is only true cannot stand in.
    """
    cancelled: Record
    if contract.cancels_by:
        cancelled, needed = {contract.cancels_by: []}, contract.schema["required"]
    elif not contract.cancelled_at:
        return Skip.SKIPPED
    elif not record.get(contract.unaggregated):
        return Skip.WITHOUT_LINES
    else:
        cancelled, needed = record, [contract.cancelled_at]
    own = {name: record[name] for name in contract.times if name in record and meets(_read_time, record[name])}
    missing = [name for name in contract.times if name in needed and name not in own]
    if missing and mark is True:
        return Problem(DELETED_AT, f"must be a time, since the record has no {missing[0]} (found true)")
    key = {name: record[name] for name in (contract.key,) if name in record}
    return key | cancelled | dict.fromkeys(missing, mark) | own
