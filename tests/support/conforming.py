"""What Klar gets of a record, and why it gets none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_klar.records.conform import Conformed, Conformer, Deleted, Rejection
from target_klar.records.json_codec import decode

if TYPE_CHECKING:
    from target_klar.contract.streams import Contract
    from target_klar.records.deletions import Skip


def sent(record: object, by: Conformer | Contract) -> Any:
    """Conform a record that must not be refused, and return what is sent as objects."""
    result = (by if isinstance(by, Conformer) else Conformer(by)).conform(record)
    assert isinstance(result, Conformed), result
    return decode(result.sent)


def rejection(record: object, by: Conformer | Contract) -> str:
    """Conform a record that must be refused, and return why in one line."""
    result = (by if isinstance(by, Conformer) else Conformer(by)).conform(record)
    assert isinstance(result, Rejection), result
    return "; ".join(map(str, result.problems))


def skip_of(outcome: object) -> Skip:
    """Return why a record was skipped as deleted."""
    assert isinstance(outcome, Deleted), outcome
    return outcome.reason
