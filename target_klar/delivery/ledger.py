"""Which records are open, in flight, stored or rejected, and so which STATE may leave.

Pure bookkeeping, without I/O, clocks or threads. Every record of the run gets the next number, counted from 1
in the order of reading. A batch is known by the number of its first record. A STATE has the number of the
last record before it, and is covered once no incomplete batch has a first number at or below that.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_WAITING: Final = 16 << 20
"""The bytes of all STATEs that wait; above it older ones are dropped, the newest never."""


class State(NamedTuple):
    """A STATE of the tap: the number of the last record before it, and the JSON text of its value."""

    number: int
    value: bytes


class Place(NamedTuple):
    """A record in the order of reading that stops the run."""

    number: int
    """Its own; in a batch that of the first record with its key. No STATE from it on leaves."""
    batch: int | None = None
    """The number of its batch, if it is in one."""


class Ledger:
    """Numbers records and tells which STATE may leave, in memory that grows with incomplete batches alone."""

    def __init__(self) -> None:
        self.number = 0
        """The number of the newest record."""
        self._incomplete: dict[int, list[int]] = {}  # the numbers of each batch's records, rising
        self._waiting: list[State] = []
        self._waiting_bytes = 0

    def count(self) -> int:
        """Number a record that is in no batch."""
        self.number += 1
        return self.number

    def begin_batch(self) -> int:
        """Number the first record of a batch: every STATE from it on waits until the batch is complete."""
        self.number += 1
        self._incomplete[self.number] = [self.number]
        return self.number

    def extend_batch(self, batch: int) -> int:
        """Number a further record of a batch."""
        self.number = number = self.number + 1
        self._incomplete[batch].append(number)
        return number

    def complete(self, batch: int) -> None:
        """Release a batch: all of it is stored or rejected."""
        del self._incomplete[batch]
        self._drop_overtaken()

    def pin(self, number: int, batch: int | None = None) -> None:
        """Keep record `number`, which stops the run, in the place of its batch: what is before it is complete."""
        if batch is not None:
            del self._incomplete[batch]
        self._incomplete[number] = [number]
        self._drop_overtaken()

    def add_state(self, value: bytes) -> None:
        """Keep a STATE, the JSON text of its value, that came after the newest record."""
        newest = max((numbers[-1] for numbers in self._incomplete.values()), default=0)
        if self._waiting and newest <= self._waiting[-1].number:
            self._waiting_bytes -= len(self._waiting.pop().value)
        self._waiting.append(State(self.number, value))
        self._waiting_bytes += len(value)
        if self._waiting_bytes > MAX_WAITING:
            self._drop_older()

    def pop_covered(self) -> State | None:
        """Return the newest STATE that is covered, once; None if there is none."""
        if not self.has_covered:
            return None
        covered = self._waiting.pop(0)
        self._waiting_bytes -= len(covered.value)
        return covered

    @property
    def has_covered(self) -> bool:
        """Whether `pop_covered` has a STATE to give."""
        return bool(self._waiting) and not any(batch <= self._waiting[0].number for batch in self._incomplete)

    def _drop_overtaken(self) -> None:
        # Any open record may still be pinned. Of several STATEs between the same two open records only the newest can
        # ever leave.
        if len(self._waiting) > 1:
            self._keep_newest(chain.from_iterable(self._incomplete.values()))

    def _drop_older(self) -> None:
        """Keep the newest STATE before each batch, which leaves if no record is pinned, as far as they fit."""
        self._keep_newest(self._incomplete)
        while len(self._waiting) > 1 and self._waiting_bytes > MAX_WAITING:
            self._waiting_bytes -= len(self._waiting.pop(0).value)

    def _keep_newest(self, between: Iterable[int]) -> None:
        numbers = sorted(between)
        newest = {bisect_right(numbers, state.number): state for state in self._waiting}
        self._waiting = list(newest.values())
        self._waiting_bytes = sum(len(state.value) for state in self._waiting)
