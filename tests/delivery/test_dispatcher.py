"""The main thread's part of loading, over workers and a local Klar but without Singer messages."""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from invocation import unplug
from klar_objects import REFUNDS, refund
from nowhere import add

from target_klar.api.client import Client, Connection
from target_klar.delivery.checkpoints import Checkpoints
from target_klar.delivery.dispatcher import Dispatcher
from target_klar.delivery.ledger import Ledger
from target_klar.delivery.rejects import Rejects
from target_klar.delivery.stream import Stream
from target_klar.delivery.workers import Workers
from target_klar.records.conform import Conformer
from target_klar.records.quality import QualityReport
from target_klar.runtime.pipes import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_klar.sandbox import Sandbox


@pytest.fixture
def dispatcher(klar: Sandbox) -> Iterator[Dispatcher]:
    """One request at a time, and a word about it every fifth of a second."""
    stop, wakeup = threading.Event(), Wakeup()
    connection = Connection(klar.url, klar.token, {"refunds": "12.2022"}, 10, 0, "target-klar/9.9.9")

    def connect(tell: Callable[[str], None]) -> Client:
        return Client(connection, stop, tell)

    ledger, rejects, workers = Ledger(), Rejects(None, 0, dry_run=False), Workers(connect, wakeup, stop, pytest.fail)
    checkpoints = Checkpoints(ledger, rejects, workers, interval=3600, status_timeout=10)
    made = Dispatcher(ledger, rejects, workers, checkpoints, 1, progress_interval=0.2)
    yield made
    unplug(made)


def test_a_long_load_says_whenever_the_interval_is_over_how_far_it_is(
    klar: Sandbox, dispatcher: Dispatcher, caplog: Any
) -> None:
    caplog.set_level(logging.INFO, "target-klar")
    klar.latency = 0.3
    stream = Stream(REFUNDS, Conformer(REFUNDS), QualityReport(REFUNDS), dispatcher, max_records=1, dry_run=False)
    for number in range(1, 6):
        add(stream, refund(f"R-{number}"))
    dispatcher.finish()

    progress = [text for text in caplog.messages if text.startswith("so far, refunds: ")]
    assert len(klar.refunds) == stream.stored == 5
    assert 2 <= len(progress) <= 5
    assert all(not re.search(r"[ ,]0 [a-z]", text) for text in progress), "zeros say nothing yet"
    read = [int(found[1]) for text in progress if (found := re.search(r"(\d+) read", text))]
    assert read == sorted(set(read)), "it says nothing where nothing has come"
