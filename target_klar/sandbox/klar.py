"""What Klar holds: upserts by key, the figures of its status, and the refusals that it has spoken."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from target_klar.sandbox.answers import Answer, Style, acceptance, fewer, json_answer, key_of, partial, refusal
from target_klar.sandbox.objects import STREAMS, Stream, Violation
from target_klar.sandbox.shapes import PERSONAL, Json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

KNOWN_VERSIONS: dict[str, Collection[str]] = {
    "refunds": ("12.2022", "07.2025"),
    "transaction_costs": ("06.2024",),
    "logistics_costs": ("04.2024",),
    "cogs": ("12.2022",),
    "orders": ("12.2022", "07.2025"),
}
"""The versions of which Klar's pages and its Magento module speak."""

_PERSONAL = {(name,) for name in PERSONAL}

Books = Literal["all", "all but the first", "all but the first, unsaid", "as nothing", "never"]
"""What a good load leaves behind.

`unsaid`: the answer is VALID all the same; `as nothing` is a load that succeeds with a count of 0, `never` none at all.
"""


@dataclass(frozen=True)
class Figures:
    """What a status read tells of a stream."""

    total: int = 0
    last_batch_count: int = 0
    last_success: int | None = None
    last_failure: int | None = None

    def answer(self) -> dict[str, str]:
        """Numbers as strings, UTC with milliseconds (both pages); a time that never was is absent."""
        times = {"lastSuccess": self.last_success, "lastFailure": self.last_failure}
        return {
            "total": str(self.total),
            "lastBatchCount": str(self.last_batch_count),
            **{name: utc(moment) for name, moment in times.items() if moment is not None},
        }


@dataclass
class Shelf:
    """One stream's objects, and the figures of which some may not be shown yet."""

    held: dict[str, Json] = field(default_factory=dict)
    newest: Figures = Figures()
    shown: Figures = Figures()
    to_show: deque[tuple[float, Figures]] = field(default_factory=deque)


@dataclass(frozen=True)
class Refused:
    """One violation as it is kept for the page."""

    moment: int
    stream: str
    key: str
    path: str
    message: str
    value: Json


@dataclass(kw_only=True, eq=False)
class Klar:
    """Takes, refuses and counts loads as Klar does; every setting may be changed while it runs.

    The status's `total` is the number of objects "submitted", as Klar's pages call it, all loads together: an object
    sent twice counts twice (that part is our reading). `lastBatchCount` is what the last load that succeeded stored.
    """

    versions: Mapping[str, Collection[str]] = field(default_factory=lambda: KNOWN_VERSIONS)
    """The versions that each stream's POST paths may open with."""
    extra_fields: Collection[str] = ()
    """Names that are accepted at any level beside the known ones."""
    refuse: Callable[[dict[str, Json]], object] | None = None
    """Refuses an otherwise good object if this is true of it; text is then the reason that is given."""
    refuse_style: Style | None = None
    """How refusals are written; None: as the stream's own page shows."""
    counts_nothing: bool = False
    """Answers as if a load had been taken, stores nothing and counts 0."""
    status_lag: float = 0.0
    """Seconds until the status shows a load."""
    status_frozen: bool = False
    """Whether the status stays as it is, whatever is loaded."""
    state_spelling: bool = False
    """Whether the costs' status is at `/state` and not at `/status`; Klar's page has both spellings."""

    def __post_init__(self) -> None:
        """Starts out empty."""
        self.lock = threading.RLock()
        self._shelves = {name: Shelf() for name in STREAMS}
        self._refused: deque[Refused] = deque(maxlen=200)
        self._refusals: Counter[str] = Counter()
        self._clock = 0

    @property
    def refunds(self) -> dict[str, Json]:
        """A copy of the refunds held, by `id`, the last written last."""
        return self.held("refunds")

    @property
    def transaction_costs(self) -> dict[str, Json]:
        """A copy of the costs held, by `orderId`, the last written last."""
        return self.held("transaction_costs")

    @property
    def orders(self) -> dict[str, Json]:
        """A copy of the orders held, by `id`, the last written last."""
        return self.held("orders")

    @property
    def refused(self) -> list[Refused]:
        """The latest refusals, newest last."""
        with self.lock:
            return list(self._refused)

    def held(self, stream: str) -> dict[str, Json]:
        """Returns a copy of what is held of a stream."""
        with self.lock:
            return dict(self._shelves[stream].held)

    def by_key(self, stream: str) -> list[Json]:
        """Returns what is held of a stream, sorted by key as text: the same whichever request arrived first."""
        return [sent for _, sent in sorted(self.held(stream).items(), key=lambda entry: entry[0])]

    def count(self, stream: str) -> int:
        """Returns how many objects are held of a stream."""
        with self.lock:
            return len(self._shelves[stream].held)

    def latest(self, stream: str, number: int, key: str = "") -> list[Json]:
        """Returns the objects that were written last and whose key holds a text, newest first."""
        with self.lock:
            held = self._shelves[stream].held
            found = (sent for name, sent in reversed(held.items()) if key.lower() in name.lower())
            return list(itertools.islice(found, number))

    def refusals(self, stream: str) -> int:
        """Returns how many objects of a stream were refused."""
        with self.lock:
            return self._refusals[stream]

    def clear(self) -> None:
        """Forgets what is held, refused and counted."""
        with self.lock:
            self._shelves = {name: Shelf() for name in STREAMS}
            self._refused.clear()
            self._refusals.clear()

    def figures(self, stream: Stream) -> Figures:
        """Returns the figures that the status shows at this moment."""
        with self.lock:
            shelf = self._shelves[stream.name]
            while not self.status_frozen and shelf.to_show and shelf.to_show[0][0] <= time.monotonic():
                shelf.shown = shelf.to_show.popleft()[1]
            return shelf.shown

    def status(self, stream: Stream) -> Answer:
        """Returns the answer to a status read."""
        return json_answer(200, self.figures(stream).answer())

    def validate(self, stream: Stream, objects: list[Json]) -> Answer:
        """Returns what Klar says of these objects, and changes nothing."""
        violations = self._violations(stream, objects)
        if violations:
            return refusal(stream, objects, violations, self.refuse_style or "tree")
        return json_answer(stream.valid_status or 200, {"status": "VALID"})

    def fail(self, stream: Stream, answer: Answer) -> Answer:
        """Books a load that failed before any object of it was looked at."""
        with self.lock:
            self._fail(stream)
        return answer

    def load(
        self, stream: Stream, objects: list[Json], books: Books, alive: Callable[[], bool]
    ) -> tuple[Answer | None, int]:
        """Stores a batch, or all of it that is taken; returns the answer and how many objects were stored.

        A client that is no longer there gets None, and nothing is stored: whether Klar finishes such a request
        is unknown, and that of a killed process must not overwrite what its successor has sent since.
        """
        violations = self._violations(stream, objects)
        failed = {violation.index for violation in violations}
        answer = refusal(stream, objects, violations, self.refuse_style) if failed else acceptance(stream)
        if not failed and books.startswith("all but the first"):
            failed = {0}
            answer = partial(stream, objects, failed) if books == "all but the first" else fewer(stream, objects)
        nothing = books == "as nothing" or self.counts_nothing
        kept = [] if nothing else [sent for index, sent in enumerate(objects) if index not in failed]
        with self.lock:
            if not alive():
                return None, 0
            self._remember(stream, objects, violations)
            if not answer.takes:
                self._fail(stream)
                return answer, 0
            if books == "never":
                return answer, 0
            self._store(stream, kept)
        return answer, len(kept)

    def _violations(self, stream: Stream, objects: list[Json]) -> list[Violation]:
        violations = list(stream.violations(objects, frozenset(self.extra_fields)))
        refuse = self.refuse
        if refuse is not None:
            faulty = {violation.index for violation in violations}
            for index, sent in enumerate(objects):
                if index not in faulty and (reason := refuse(sent)):
                    violations.append(self._unwanted(stream, index, sent, reason))
        return violations

    def _unwanted(self, stream: Stream, index: int, sent: dict[str, Json], reason: object) -> Violation:
        """Puts a refusal on request at the first line item if the style speaks of those, else at the key."""
        said = reason if isinstance(reason, str) else "is refused on request"
        if self.refuse_style == "tree-item" and stream.name == "refunds" and sent["lineItems"]:
            item = sent["lineItems"][0]
            path = ("lineItems", 0, "refundedQuantity")
            return Violation(index, path, item, item["refundedQuantity"], "isWanted", f"refundedQuantity {said}")
        return Violation(index, (stream.key,), sent, sent[stream.key], "isWanted", f"{stream.key} {said}")

    def _store(self, stream: Stream, objects: list[Json]) -> None:
        shelf = self._shelves[stream.name]
        for sent in objects:
            identity = stream.identity(sent)
            shelf.held.pop(identity, None)
            shelf.held[identity] = sent
        counts = {"total": shelf.newest.total + len(objects), "last_batch_count": len(objects)}
        self._show(shelf, replace(shelf.newest, **counts, last_success=self._tick()))

    def _fail(self, stream: Stream) -> None:
        shelf = self._shelves[stream.name]
        self._show(shelf, replace(shelf.newest, last_failure=self._tick()))

    def _show(self, shelf: Shelf, figures: Figures) -> None:
        shelf.newest = figures
        shelf.to_show.append((time.monotonic() + self.status_lag, figures))

    def _tick(self) -> int:
        """Returns the time in milliseconds, never the same one twice: two loads in one millisecond differ."""
        self._clock = max(self._clock + 1, time.time_ns() // 1_000_000)
        return self._clock

    def _remember(self, stream: Stream, objects: list[Json], violations: list[Violation]) -> None:
        now = time.time_ns() // 1_000_000
        for violation in violations[-200:]:
            key, path = key_of(stream, objects[violation.index]), dotted(violation.path)
            value = "(personal data)" if violation.path[:1] in _PERSONAL else violation.value
            self._refusals[stream.name] += 1
            self._refused.append(Refused(now, stream.name, str(key), path, violation.message, value))


def dotted(path: Iterable[str | int]) -> str:
    """Writes a path as `lineItems[0].refundedQuantity`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def utc(moment: int) -> str:
    """Writes milliseconds since 1970 as `2023-03-11T12:13:31.193Z`."""
    at = datetime.fromtimestamp(moment // 1000, tz=UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{moment % 1000:03d}Z"
