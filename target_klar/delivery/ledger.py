"""Which records are open, in flight, stored or rejected, and so which STATE may leave.

Pure bookkeeping, without I/O, clocks or threads. Every record of the run has a number, counted from 1
in the order of reading. A batch is known by the number of its first record. A STATE has the number of the
last record before it, and is covered once no unsettled batch has a first number at or below that.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import chain
from typing import NamedTuple


class State(NamedTuple):
    """A STATE of the tap: the number of the last record before it, and the JSON text of its value."""

    number: int
    value: bytes


class Ledger:
    """Tells which STATE may leave, in memory that grows with the records in unsettled batches alone."""

    def __init__(self) -> None:
        self.number = 0
        """The number of the newest record; whoever reads a record adds one."""
        self._unsettled: dict[int, list[int]] = {}  # the numbers of each batch's records, rising
        self._waiting: list[State] = []

    def begin_batch(self, batch: int) -> list[int]:
        """Hold back every STATE from record `batch` on, the first one of that batch, until it is settled.

        Returns the numbers of the batch's records, to which whoever adds a record appends its number.
        """
        numbers = self._unsettled[batch] = [batch]
        return numbers

    def complete(self, batch: int) -> None:
        """Let go of a batch: all of it is stored or rejected."""
        del self._unsettled[batch]
        self._forget_overtaken()

    def pin(self, batch: int | None, number: int) -> None:
        """Put record `number`, which stops the run, in the place of its batch, if any: what is before it is settled."""
        if batch is not None:
            del self._unsettled[batch]
        self.begin_batch(number)
        self._forget_overtaken()

    def state(self, value: bytes) -> None:
        """Keep a STATE, the JSON text of its value, that came after the newest record."""
        newest = max((numbers[-1] for numbers in self._unsettled.values()), default=0)
        if self._waiting and newest <= self._waiting[-1].number:
            self._waiting.pop()
        self._waiting.append(State(self.number, value))

    def pop_covered(self) -> State | None:
        """Hand out the newest STATE that is covered, once; None if there is none."""
        return self._waiting.pop(0) if self.has_covered else None

    @property
    def has_covered(self) -> bool:
        """Whether `pop_covered` has a STATE to give."""
        return bool(self._waiting) and not any(batch <= self._waiting[0].number for batch in self._unsettled)

    def _forget_overtaken(self) -> None:
        # Any record may come to be held. Of the STATEs between the same two of them only the newest can ever leave.
        if len(self._waiting) > 1:
            numbers = sorted(chain.from_iterable(self._unsettled.values()))
            newest = {bisect_right(numbers, state.number): state for state in self._waiting}
            self._waiting = list(newest.values())
