"""Control totals: what was stored, added up, to be compared with the source in one look."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_klar.contract.streams import Amounts, Contract

_DECIMALS: Final = 4


class ControlTotals:
    """Adds up what the stored objects of one stream hold, under the names that the contract gives its totals."""

    def __init__(self, contract: Contract) -> None:
        self._names = contract.totals
        self._sums = [0.0 for _ in contract.totals]

    def add(self, amounts: Iterable[Amounts]) -> None:
        """Add the `amounts` of the records of a batch that Klar accepted."""
        columns: Any = [amounts] if len(self._names) == 1 else zip(*cast("Any", amounts), strict=True)
        for position, column in enumerate(columns):
            self._sums[position] = _sum((self._sums[position], *column))

    @property
    def values(self) -> dict[str, float]:
        """The totals by their names, rounded to four decimals."""
        return {name: round(total, _DECIMALS) for name, total in zip(self._names, self._sums, strict=True)}

    def __str__(self) -> str:
        shown = (f"{name} {total:,.{_DECIMALS}f}" for name, total in self.values.items())
        return ", ".join(each.rstrip("0").rstrip(".") for each in shown)


def _sum(amounts: tuple[float, ...]) -> float:
    try:
        return math.fsum(amounts)
    except OverflowError:  # where `sum` says that it is infinite
        return sum(amounts)
