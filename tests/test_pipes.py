"""Both ends of the pipe: what wakes the main thread, what can be read, and an stdout that nobody reads."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from program import LONGEST_RUN, REFUNDS, Ended, line, refund, start, state

from target_klar.pipes import Source, Wakeup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_klar.sandbox import Sandbox


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    made = Wakeup()
    yield made
    made._receiver.close()
    made._sender.close()


def everything(wakeup: Wakeup, source: Source) -> bytes:
    """All that a source has, read as the main thread does."""
    parts: list[bytes] = []
    while True:
        assert wakeup.wait(30, source)
        part = source.read()
        if not part:
            return b"".join(parts)
        parts.append(part)


def test_a_wait_ends_at_its_limit_and_says_that_there_is_nothing_to_read(wakeup: Wakeup) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "wb"):
        began = time.monotonic()
        assert not wakeup.wait(0.05, Source(pipe))
        assert time.monotonic() - began < 10


def test_a_thread_ends_the_wait_and_any_number_of_wake_ups_is_one(wakeup: Wakeup) -> None:
    began = time.monotonic()
    threading.Timer(0.05, wakeup.set).start()
    assert not wakeup.wait(60)
    assert time.monotonic() - began < 20
    for _ in range(100_000):  # more than any buffer holds: it never blocks
        wakeup.set()
    assert not wakeup.wait(60)
    began = time.monotonic()
    while time.monotonic() - began < 0.05:
        wakeup.wait(0.01)
    assert time.monotonic() - began < 20


def test_a_pipe_a_file_and_text_without_a_descriptor_are_all_read_to_their_end(wakeup: Wakeup, tmp_path: Path) -> None:
    text = "".join(f"{number} \u00e4\n" for number in range(100_000))
    file = tmp_path / "input"
    file.write_text(text, encoding="utf-8")
    with file.open("rb") as opened:
        assert everything(wakeup, Source(opened)) == text.encode()
    with closing(Source(io.StringIO(text))) as pumped:
        assert everything(wakeup, pumped) == text.encode()
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(text.encode())

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb") as pipe:
        assert everything(wakeup, Source(pipe)) == text.encode()
    thread.join()


def test_an_stdout_that_is_closed_ends_the_run_with_what_to_do(klar: Sandbox) -> None:
    process = start({"api_token": klar.token, "api_url": klar.url})
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    with process.stdin, process.stderr:
        process.stdin.write(b"".join(map(line, [REFUNDS, refund("a"), state(1), refund("b"), state(2)])))
        process.stdin.close()
        err = process.stderr.read().decode()
        assert process.wait(LONGEST_RUN) == 1
    assert klar.refunds.keys() == {"a", "b"}
    errors = Ended(process.returncode, "", err).errors
    assert len(errors) == 1
    assert errors[0].startswith(
        "A STATE could not be written to stdout (Broken pipe). Its records are stored; run again from the last STATE "
        "that was written."
    )
    assert errors[0].count("stdout") == 1
    assert "Traceback" not in err


def test_a_state_larger_than_the_pipe_comes_out_whole_though_it_is_read_late_and_slowly(klar: Sandbox) -> None:
    process = start({"api_token": klar.token, "api_url": klar.url})
    large = {"seen": ["x" * 1000] * 1000}
    assert process.stdin
    assert process.stdout
    with process.stdin, process.stdout, process.stderr or io.BytesIO():
        process.stdin.write(b"".join(map(line, [REFUNDS, refund("a"), state(large)])))
        process.stdin.close()
        while not klar.refunds:
            time.sleep(0.05)
        time.sleep(0.5)
        parts = []
        while part := os.read(process.stdout.fileno(), 100_000):
            parts.append(part)
            time.sleep(0.01)
        assert process.wait(LONGEST_RUN) == 0
    assert json.loads(b"".join(parts)) == large


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="there is no /dev/null")
def test_an_empty_input_that_is_no_pipe_is_an_empty_input(wakeup: Wakeup) -> None:
    with Path(os.devnull).open("rb") as nothing:
        assert everything(wakeup, Source(nothing)) == b""
    assert Source(sys.__stdin__).fileno() == 0
