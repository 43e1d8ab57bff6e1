"""A local Klar that remembers each load, each version that it stored, and each reading of its status."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from generator.tap import cancelled, identify
from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(eq=False)
class Post:
    """One load as Klar saw it; times are by the monotonic clock."""

    stream: str
    began: float
    carried: frozenset[int] = frozenset()
    """The versions in it."""
    versions: frozenset[int] = frozenset()
    """Those that it accepted, whether it stored them or not."""
    booked: float | None = None
    """When they were stored; None: never."""
    answered: float | None = None
    """When the answer was about to be sent; None: not yet, or there was none."""
    accepted: bool = False
    """Whether a whole answer said that they were taken."""


@dataclass(frozen=True)
class Reading:
    """One whole answer to a status read."""

    stream: str
    began: float
    ended: float


@dataclass(frozen=True)
class Stored:
    """One version of a key that Klar stored."""

    stream: str
    key: int
    version: int
    cancelled: bool


@dataclass(kw_only=True, eq=False)
class RecordingKlar(Sandbox):
    """A local Klar and the log of what it did."""

    posts_seen: list[Post] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Prepare to serve; nothing listens yet."""
        super().__post_init__()
        self._handled = threading.local()

    def held_versions(self) -> dict[tuple[str, int], int]:
        """Return the version of each key of each stream that it holds."""
        held: dict[tuple[str, int], int] = {}
        with self.lock:
            for stored in self.stored:
                held[stored.stream, stored.key] = stored.version
        return held

    def show_all(self) -> None:
        """Let the status show every load that it has not shown yet."""
        with self.lock:
            for shelf in self._shelves.values():
                if shelf.to_show:
                    shelf.shown = shelf.to_show[-1][1]
                    shelf.to_show.clear()

    def load(self, stream: Any, objects: list[Any], books: Any, alive: Callable[[], bool]) -> tuple[Any, int]:
        """Store a batch, or all of it that is taken, and remember which versions it accepted."""
        post: Post = self._handled.post
        failed = {violation.index for violation in self._violations(stream, objects)}
        if books == "all but the first" and not failed:
            failed = {0}
        answer, count = super().load(stream, objects, books, alive)
        if answer is not None and answer.takes:
            taken = [sent for index, sent in enumerate(objects) if index not in failed]
            post.versions = frozenset(identify(sent)[1] for sent in taken)
        return answer, count

    def _store(self, stream: Any, objects: list[Any]) -> None:
        super()._store(stream, objects)
        if objects:
            self._handled.post.booked = time.monotonic()
        self.stored += [Stored(stream.name, *identify(sent), cancelled(stream.name, sent)) for sent in objects]

    def _consider(self, call: Any, request: Any, on: Any, stream: Any) -> tuple[Any, Any]:
        post = Post(request.stream or "", request.started)
        self._handled.post = post
        if on == "post":
            post.carried = frozenset(identify(sent)[1] for sent in stream.batch(call.body))
            with self.lock:
                self.posts_seen.append(post)
        answer, manner = super()._consider(call, request, on, stream)
        post.answered = time.monotonic()
        if answer is not None and manner == "whole":
            post.accepted = answer.takes and bool(post.versions)
            if on == "status" and answer.status == HTTPStatus.OK:
                with self.lock:
                    self.readings.append(Reading(post.stream, post.began, post.answered))
        return answer, manner
