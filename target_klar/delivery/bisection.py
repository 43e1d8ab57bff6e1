"""Find the records that Klar rejects among those it takes, in as few requests as its answers allow."""

from __future__ import annotations

import heapq
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from target_klar.api.answers import Verdict, ids_taken
from target_klar.api.error_attribution import attribute_errors
from target_klar.records.formatting import Problem
from target_klar.records.json_codec import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from target_klar.api.answers import Answer
    from target_klar.contract.streams import Contract

_SAMPLES = 8
"""Single records, evenly spread, that decide whether a first batch is rejected for a reason that all records share."""
_SAMPLE, _DEEP = 3, 4
"""Levels: a batch is 0, a half 1, a quarter 2; then come the samples, and then whatever is smaller."""
_NO_REASON = Problem("", "Klar gave no reason")
_UNDELIVERABLE = {
    Verdict.TOO_LARGE: (
        "too large for Klar, or for a proxy before it, even alone in a request (HTTP 413).",
        "Make the record smaller, or raise the proxy's limit.",
    ),
    Verdict.NOT_KLARS: (
        "refused by something that is not Klar ({}), even alone in a request.",
        "Check `api_url`, and the proxies and firewalls between this machine and Klar.",
    ),
}
"""Why one record cannot be delivered though Klar did not reject it, and what to do."""


class Segment(NamedTuple):
    """What is to be sent next."""

    level: int
    """Its priority: the lower ones are sent first. Each halving adds 1, up to `_DEEP`."""
    positions: list[int]
    """Its objects, rising; no two segments share one."""


class Undeliverable(NamedTuple):
    """The position of an object that stops the run, why it does, and what to do."""

    position: int
    why: str
    advice: str


class Bisection:
    """Tells which objects of one batch, each with a key of its own, to send next, until each is accepted or rejected.

    Objects that Klar names by index are rejected, and the rest is sent again. One that it only hints at is sent alone,
    and rejected if that is. Where nothing tells, the objects are halved. Once more than `remaining` are rejected, the
    run stops before the first one too many: the objects before it are still sent, and none after it but the samples of
    a first batch. In a `dry_run`, where a wrong guess costs nothing, a hint counts as a name.
    """

    def __init__(
        self,
        sent: Sequence[bytes],
        contract: Contract,
        *,
        remaining: int,
        verified: bool,
        dry_run: bool = False,
    ) -> None:
        self.accepted: set[int] = set()
        """The positions of the objects that Klar took."""
        self.rejected: dict[int, list[Problem]] = {}
        """The positions of those that it rejected, and why."""
        self.stopped: Undeliverable | None = None
        """The first object that cannot be delivered though Klar did not reject it.

        The run stops before it. Everything left of it is accepted or in `rejected`; what is in `rejected` right of it
        must not be written to the rejects file.
        """
        self.all_rejected = False
        """Of a stream not `verified` everything was rejected, and not because of single records."""
        self.reason = _NO_REASON
        """The first one that Klar gave."""
        self._sent = sent
        self._contract = contract
        self._remaining = remaining
        self._dry_run = dry_run
        self._may_reject_all = not verified and len(sent) >= _SAMPLES
        self._sampled = False
        self._segments: list[Segment] = []
        self._send_later(0, range(len(sent)))

    def next(self) -> Segment | None:
        """Return what to send now; None once nothing is left that is worth sending."""
        end = self._end()
        while self._segments and not self.all_rejected:
            level, positions = heapq.heappop(self._segments)
            if not (self._may_reject_all and level == _SAMPLE):
                positions = [position for position in positions if position < end]
            if positions:
                return Segment(level, positions)
        return None

    def apply(self, segment: Segment, answer: Answer) -> int:
        """Learn from Klar's answer to a segment, and return how many of its objects were accepted."""
        before = len(self.accepted)
        self._apply(*segment, answer)
        if self._may_reject_all:
            self._judge_all()
        return len(self.accepted) - before

    def _end(self) -> int:
        """Return the position from which on nothing is delivered any more."""
        end = len(self._sent) if self.stopped is None else self.stopped.position
        one_too_many = sorted(self.rejected)[self._remaining : self._remaining + 1]
        return min([end, *one_too_many])

    def _apply(self, level: int, segment: list[int], answer: Answer) -> None:
        if answer.verdict is Verdict.ACCEPTED:
            self.accepted.update(segment)
        elif answer.verdict in (Verdict.TOO_LARGE, Verdict.NOT_KLARS):
            if answer.verdict is Verdict.NOT_KLARS:
                self._may_reject_all = False  # it is not Klar that rejects, which one record shows as well
            if len(segment) > 1:
                self._halve(level, segment)
            elif segment[0] < self._end():
                why, advice = _UNDELIVERABLE[answer.verdict]
                self.stopped = Undeliverable(segment[0], why.format(answer.content), advice)
        else:
            self._attribute(level, segment, answer)

    def _attribute(self, level: int, segment: list[int], answer: Answer) -> None:
        sent = [self._sent[position] for position in segment]
        contract = self._contract
        errors = attribute_errors(answer.content, sent, contract.key, personal=contract.personal)
        if self.reason is _NO_REASON:
            self.reason = next(chain(*errors.certain.values(), *errors.hinted.values(), errors.unknown), _NO_REASON)
        certain, hinted = (
            {segment[index]: problems for index, problems in found.items()} for found in (errors.certain, errors.hinted)
        )
        if self._dry_run:
            certain = hinted | certain
        hinted = {position: problems for position, problems in hinted.items() if position not in certain}
        rest = [position for position in segment if position not in certain and position not in hinted]
        if len(segment) == 1:
            reasons = [*certain.values(), *hinted.values(), errors.unknown]
            self.rejected[segment[0]] = next(filter(None, reasons), [_NO_REASON])
        elif (
            answer.verdict is Verdict.PARTIAL
            and rest
            and (certain or hinted)
            and not errors.unknown
            and errors.is_whole
            and self._are_listed(rest, answer.content)
        ):
            self.accepted.update(rest)
            self._send_alone([*certain, *hinted])
        elif answer.verdict is not Verdict.PARTIAL and (certain or (hinted and rest)):
            self.rejected.update(certain)
            self._send_alone(hinted)
            self._send_later(level, rest)
        else:
            self._halve(level + 1, segment)

    def _are_listed(self, positions: list[int], content: Any) -> bool:
        """Tell whether Klar lists these objects as taken, if it lists any."""
        return not (lists := ids_taken(content)) or set().union(*lists).issuperset(
            str(decode(self._sent[position]).get(self._contract.key)) for position in positions
        )

    def _judge_all(self) -> None:
        """Give the first batch up once everything is rejected, or its quarters are and the samples of it too."""
        if self.accepted:
            self._may_reject_all = False
            samples = [segment for segment in self._segments if segment.level == _SAMPLE]
            self._segments = [segment for segment in self._segments if segment.level != _SAMPLE]
            self._send_later(_DEEP, sorted(segment.positions[0] for segment in samples))
        elif all(segment.level == _DEEP for segment in self._segments):
            if self._sampled or len(self.rejected) == len(self._sent):
                self.all_rejected = True
            else:
                self._sampled = True
                self._send_samples()

    def _send_samples(self) -> None:
        """Have eight of the waiting objects sent alone, one from each eighth.

        They are not at equal distances: every n-th record may be bad.
        """
        waiting = sorted(position for segment in self._segments for position in segment.positions)
        size = len(waiting)
        samples = {
            waiting[number * size // _SAMPLES + number * 5 % _SAMPLES * size // _SAMPLES**2]
            for number in range(_SAMPLES if size else 0)
        }
        segments, self._segments = self._segments, []
        for segment in segments:
            self._send_later(segment.level, [position for position in segment.positions if position not in samples])
        for position in samples:
            self._send_later(_SAMPLE, [position])

    def _halve(self, level: int, segment: list[int]) -> None:
        half = len(segment) // 2
        level = level if level < _SAMPLE else _DEEP
        self._send_later(level, segment[:half])
        self._send_later(level, segment[half:])

    def _send_alone(self, positions: Iterable[int]) -> None:
        for position in positions:
            self._send_later(_DEEP, [position])

    def _send_later(self, level: int, positions: Sequence[int]) -> None:
        if positions:
            heapq.heappush(self._segments, Segment(level, list(positions)))
