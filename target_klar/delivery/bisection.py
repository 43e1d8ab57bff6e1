"""Telling the records that Klar refuses from those it takes, in as few requests as its answers allow."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, NamedTuple

from target_klar.api.answers import Verdict
from target_klar.api.error_attribution import attribute_errors
from target_klar.records.formatting import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from target_klar.api.answers import Answer

_DEEP = 3
"""Halves and their halves are tried before anything is halved a third time: if all fail, it is no single record."""
_NO_REASON = Problem("", "Klar gave no reason")


class Segment(NamedTuple):
    """What is to be sent next."""

    level: int
    """How often it was halved, up to the third time, which also one that is sent alone counts as."""
    positions: list[int]
    """Its objects, rising; no two pieces share one."""


class Bisection:
    """Tells which objects of one batch, each with a `key` of its own, to send next, until each is accepted or refused.

    Objects that Klar names by index are refused, and the rest is sent again. One that it only hints at is sent alone,
    and refused if that is refused. Where nothing tells, the objects are halved. Past `remaining` refused objects
    nothing that begins right of the one too many is sent any more; everything left of it is. In a `dry_run`, where a
    wrong guess costs nothing, a hint counts as a name. Of `private` fields no value is told. `read` makes an object out
    of what is sent.
    """

    def __init__(
        self,
        sent: Sequence[Any],
        key: str,
        *,
        remaining: int,
        verified: bool,
        private: Collection[str] = (),
        dry_run: bool = False,
        read: Callable[[Any], dict[str, Any]] = dict,
    ) -> None:
        self.accepted: set[int] = set()
        """The positions of the objects that Klar took."""
        self.refused: dict[int, list[Problem]] = {}
        """The positions of those that it did not take, and why."""
        self.all_rejected = False
        """Of a stream not `verified` all was refused by name, or whole, in halves and in quarters: no single record."""
        self._sent = sent
        self._key = key
        self._read = read
        self._remaining = remaining
        self._private = private
        self._dry_run = dry_run
        self._may_reject_all = not verified and len(sent) > _DEEP
        self._segments: list[Segment] = []
        self._send_later(0, range(len(sent)))

    def next(self) -> Segment | None:
        """Return what to send now; None once nothing is left that is worth sending."""
        while self._segments and not self.all_rejected:
            segment = heapq.heappop(self._segments)
            if len(self.refused) <= self._remaining or segment.positions[0] <= sorted(self.refused)[self._remaining]:
                return segment
        return None

    def apply(self, segment: Segment, answer: Answer) -> int:
        """Learn from Klar's answer to a piece, and return how many of its objects were accepted."""
        before = len(self.accepted)
        self._apply(*segment, answer)
        taken = len(self.accepted) - before
        if not taken and self._may_reject_all and not self.accepted:
            wide = segment.level < _DEEP and all(waiting.level == _DEEP for waiting in self._segments)
            never_fits = answer.verdict is Verdict.TOO_LARGE and len(self.refused) > _DEEP
            self.all_rejected = wide or never_fits or len(self.refused) == len(self._sent)
        return taken

    def _apply(self, level: int, segment: list[int], answer: Answer) -> None:
        if answer.verdict is Verdict.ACCEPTED:
            self.accepted.update(segment)
            return
        sent = [self._read(self._sent[position]) for position in segment]
        meant = attribute_errors(answer.content, sent, self._key, private=self._private)
        certain = {segment[index]: problems for index, problems in (meant.hinted if self._dry_run else {}).items()}
        certain |= {segment[index]: problems for index, problems in meant.certain.items()}
        hinted = {segment[index]: problems for index, problems in meant.hinted.items() if segment[index] not in certain}
        rest = [position for position in segment if position not in certain and position not in hinted]
        if len(segment) == 1:
            reasons = [*certain.values(), *hinted.values(), meant.unknown]
            self.refused[segment[0]] = next(filter(None, reasons), [_NO_REASON])
        elif answer.verdict is Verdict.PARTIAL and rest and (certain or hinted) and not meant.unknown:
            self.accepted.update(rest)
            self._send_alone([*certain, *hinted])
        elif answer.verdict is not Verdict.PARTIAL and (certain or (hinted and rest)):
            self.refused.update(certain)
            self._send_alone(hinted)
            self._send_later(level, rest)
        else:
            half = len(segment) // 2
            deeper = level + (answer.verdict is not Verdict.TOO_LARGE)  # that says nothing about the objects
            self._send_later(deeper, segment[:half])
            self._send_later(deeper, segment[half:])

    def _send_alone(self, positions: Iterable[int]) -> None:
        for position in positions:
            self._send_later(_DEEP, [position])

    def _send_later(self, level: int, positions: Sequence[int]) -> None:
        if positions:
            heapq.heappush(self._segments, Segment(min(level, _DEEP), list(positions)))
