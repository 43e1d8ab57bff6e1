"""Which records are open, in flight, stored or rejected, and so which STATE may leave.

Pure bookkeeping, without I/O, clocks or threads. Every record of the run has a number, counted from 1
in the order of reading. A batch is known by the number of its first record. A STATE has the number of the
last record before it, and is covered once no unsettled batch has a first number at or below that.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import NamedTuple


class State(NamedTuple):
    """A STATE of the tap: the number of the last record before it, and the JSON text of its value."""

    number: int
    value: bytes


class Ledger:
    """Tells which STATE may leave, in memory that grows with the open batches alone."""

    def __init__(self) -> None:
        self.number = 0
        """The number of the newest record; whoever reads a record adds one."""
        self._unsettled: list[int] = []
        self._waiting: list[State] = []

    def open(self, first: int) -> None:
        """Hold back every STATE from record `first` on until that batch is settled."""
        insort(self._unsettled, first)

    def settle(self, first: int) -> None:
        """Let go of the batch that began with record `first`: all of it is stored or rejected."""
        self._unsettled.remove(first)
        self._forget_overtaken()

    def hold(self, first: int, number: int) -> None:
        """Put record `number`, which stops the run, in the place of its batch: all before it is settled."""
        self._unsettled.remove(first)
        self.open(number)
        self._forget_overtaken()

    def state(self, value: bytes) -> None:
        """Keep a STATE, the JSON text of its value, that came after the newest record."""
        self._waiting.append(State(self.number, value))
        if len(self._waiting) > 1 and self._before(self._waiting[-2].number) == len(self._unsettled):
            del self._waiting[-2]

    def take_covered(self) -> State | None:
        """Hand out the newest STATE that is covered, once; None if there is none."""
        return self._waiting.pop(0) if self.has_covered else None

    @property
    def has_covered(self) -> bool:
        """Whether `take_covered` has a STATE to give."""
        return bool(self._waiting) and not self._before(self._waiting[0].number)

    def _before(self, number: int) -> int:
        """Count the unsettled batches that began at or before this record."""
        return bisect_right(self._unsettled, number)

    def _forget_overtaken(self) -> None:
        # Of the STATEs that wait for the same batches only the newest can ever be the one to leave.
        newest = {self._before(state.number): state for state in self._waiting}
        self._waiting = list(newest.values())
