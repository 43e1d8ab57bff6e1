"""Threads that talk to Klar, each over a connection of its own, and what they hand back to the main thread."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_klar.api.client import Client
    from target_klar.runtime.pipes import Wakeup

T = TypeVar("T")


class Workers:
    """Runs jobs beside the main thread; only `collect`, on the main thread, acts on their results.

    The threads are daemons: one that hangs in a request does not keep the process from ending.
    """

    def __init__(
        self, connect: Callable[[Callable[[str], None]], Client], wakeup: Wakeup, stop: threading.Event
    ) -> None:
        self.wakeup = wakeup
        """Ends the main thread's wait whenever a result comes in."""
        self.stop = stop
        """Set: what `connect` makes sends nothing new."""
        self._connect = connect
        self._jobs: SimpleQueue[tuple[Callable[[Client], Any], Callable[[Any], None]]] = SimpleQueue()
        self._results: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._busy = 0
        self._threads = 0
        self.notices: Callable[[str], None] = lambda _: None
        """Is given, on the main thread, what a worker has to say meanwhile, such as why it waits."""

    def start(self, job: Callable[[Client], T], done: Callable[[T], None]) -> None:
        """Run `job` in a thread, and `done` with its result at a later `collect`, which raises what `job` raised."""
        self._busy += 1
        if self._busy > self._threads:
            self._threads += 1
            threading.Thread(target=self._work, name=f"klar-{self._threads}", daemon=True).start()
        self._jobs.put((job, done))

    def collect(self) -> None:
        """Act on every result that has come in; one that raises leaves the others for the next call."""
        while True:
            try:
                act = self._results.get_nowait()
            except Empty:
                return
            act()

    def _work(self) -> None:
        client = None
        while True:
            job, done = self._jobs.get()
            try:
                client = client or self._connect(self._tell)
                result = job(client)
            except BaseException as error:  # noqa: BLE001  # handed to the main thread, which raises it
                self._hand_back(self._raising(error))
            else:
                self._hand_back(self._ending(done, result))

    def _tell(self, notice: str) -> None:
        self._hand_back(lambda: self.notices(notice))

    def _hand_back(self, act: Callable[[], None]) -> None:
        self._results.put(act)
        self.wakeup.set()

    def _ending(self, done: Callable[[Any], None], result: object) -> Callable[[], None]:
        def act() -> None:
            self._busy -= 1
            done(result)

        return act

    def _raising(self, error: BaseException) -> Callable[[], None]:
        def act() -> None:
            self._busy -= 1
            raise error

        return act
