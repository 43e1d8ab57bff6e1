"""Control totals: what was stored, added up, to be compared with the source in one look."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_klar.contract.streams import Amounts, Contract

_DECIMALS: Final = 4


class ControlTotals:
    """Adds up what the stored objects of one stream hold, under the names that its contract gives the totals."""

    def __init__(self, contract: Contract) -> None:
        self._only = contract.total
        self._sums: dict[str, float] = {} if self._only is None else {self._only: 0.0}

    def add_amounts(self, amounts: Sequence[Amounts]) -> None:
        """Add the `amounts` of the records of a batch that Klar accepted."""
        columns: dict[str, list[float]] = defaultdict(list)
        if self._only is not None:
            columns[self._only] = cast("list[float]", amounts)
        else:
            for name, amount in chain.from_iterable(cast("Sequence[tuple[tuple[str, float], ...]]", amounts)):
                columns[name].append(amount)
        for name, column in columns.items():
            self._sums[name] = _sum((self._sums.get(name, 0.0), *column))

    @property
    def values(self) -> dict[str, float]:
        """The totals by their names, rounded to four decimals."""
        return {name: round(total, _DECIMALS) for name, total in self._sums.items()}

    def __str__(self) -> str:
        shown = (f"{name} {total:,.{_DECIMALS}f}" for name, total in self.values.items())
        return ", ".join(each.rstrip("0").rstrip(".") for each in shown)


def _sum(amounts: tuple[float, ...]) -> float:
    try:
        return math.fsum(amounts)
    except (OverflowError, ValueError):  # where `sum` says that it is infinite, or no number
        return sum(amounts)
