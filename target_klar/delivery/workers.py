"""Threads that talk to Klar, each over a connection of its own, and what they hand back to the main thread."""

from __future__ import annotations

import threading
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from target_klar.runtime.endings import StopSendingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_klar.api.client import Client
    from target_klar.runtime.pipes import Wakeup

T = TypeVar("T")


class Workers:
    """Runs jobs beside the main thread; only `collect`, on the main thread, acts on their results.

    The threads are daemons: one that hangs in a request does not keep the process from ending. What a worker has to say
    meanwhile, such as why it waits, is given to `tell` on the main thread.
    """

    def __init__(
        self,
        connect: Callable[[Callable[[str], None]], Client],
        wakeup: Wakeup,
        stop: threading.Event,
        tell: Callable[[str], None],
    ) -> None:
        self.wakeup = wakeup
        """Ends the main thread's wait whenever a result comes in."""
        self.stop = stop
        """Set: what `connect` makes sends nothing new."""
        self._connect = connect
        self._tell = tell
        self._jobs: SimpleQueue[tuple[Callable[[Client], Any], Callable[[Any], None]]] = SimpleQueue()
        self._results: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._busy = 0
        self._threads = 0

    def start(self, job: Callable[[Client], T], done: Callable[[T | Exception], None]) -> None:
        """Run `job` in a thread, and `done` at a later `collect` with what it returned or raised.

        Raises:
            StopSendingError: There is no thread to run it, and none can be started.
        """
        if self._busy >= self._threads:
            thread = threading.Thread(target=self._work, name=f"klar-{self._threads + 1}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                if not self._threads:
                    raise StopSendingError(
                        "No thread can be started. Raise the limits on memory and threads of this process."
                    ) from error
            else:
                self._threads += 1
        self._busy += 1
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
            result: Any
            try:
                client = client or self._connect(self._notify)
                result = job(client)
            except Exception as error:  # noqa: BLE001  # of any kind: the main thread acts on it
                result = error
            self._post_to_main(partial(self._end, done, result))

    def _notify(self, notice: str) -> None:
        self._post_to_main(partial(self._tell, notice))

    def _post_to_main(self, act: Callable[[], None]) -> None:
        self._results.put(act)
        self.wakeup.set()

    def _end(self, done: Callable[[Any], None], result: object) -> None:
        self._busy -= 1
        done(result)
