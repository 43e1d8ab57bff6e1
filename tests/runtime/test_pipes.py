"""Both ends of the pipe: what wakes the main thread, what can be read, and an stdout that nobody reads."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from forked import start
from invocation import COMMAND, ENVIRONMENT, invoke
from messages import REFUNDS_SCHEMA, line, refund_record, state
from program import LONGEST_RUN, Ended
from watched import Watched

from target_klar.runtime.nonblocking import _Stderr, write
from target_klar.runtime.pipes import Input, Wakeup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_klar.sandbox import Sandbox


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    made = Wakeup()
    yield made
    made._receiver.close()
    made._sender.close()


def everything(wakeup: Wakeup, source: Input) -> bytes:
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
        assert not wakeup.wait(0.05, Input(pipe))
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


LATE = """
import atexit
atexit.register(lambda: wakeup.set())  # runs last: when what the wakeup itself registers is over
from target_klar.runtime.pipes import Wakeup
wakeup = Wakeup()
"""


def test_a_thread_that_wakes_up_a_run_that_is_over_says_nothing() -> None:
    """The thread of a signal, or a worker's, may get its turn when the interpreter is about to end."""
    command = [sys.executable, "-c", LATE]
    late = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_RUN, check=False)
    assert (late.returncode, late.stderr) == (0, "")


def test_a_pipe_a_file_and_text_without_a_descriptor_are_all_read_to_their_end(wakeup: Wakeup, tmp_path: Path) -> None:
    text = "".join(f"{number} \u00e4\n" for number in range(100_000))
    file = tmp_path / "input"
    file.write_text(text, encoding="utf-8")
    with file.open("rb") as opened:
        assert everything(wakeup, Input(opened)) == text.encode()
    with closing(Input(io.StringIO(text))) as pumped:
        assert everything(wakeup, pumped) == text.encode()
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(text.encode())

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb") as pipe:
        assert everything(wakeup, Input(pipe)) == text.encode()
    thread.join()


def appended(
    states: Path, klar: Sandbox, lines: list[Any], before: str = "", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """A run whose STATEs a shell appends to a file."""
    return subprocess.run(
        ["bash", "-c", f"{before} exec {' '.join(COMMAND)} --config=ENV >> {states}"],
        input=b"".join(map(line, lines)),
        capture_output=True,
        env=ENVIRONMENT | {"TARGET_KLAR_API_URL": klar.url, "TARGET_KLAR_API_TOKEN": klar.token} | environment,
        check=False,
    )


def test_no_part_of_a_state_stays_in_a_file_that_is_full(klar: Sandbox, tmp_path: Path) -> None:
    """The next run's first STATE would stand behind it, in one line."""
    states = tmp_path / "state.jsonl"
    lines = [REFUNDS_SCHEMA, refund_record("a"), state(1), refund_record("b"), state("x" * 6000)]
    # A file of coverage or bytecode would be cut off too.
    no_files = {"COVERAGE_PROCESS_START": "", "PYTHONDONTWRITEBYTECODE": "1"}
    done = appended(states, klar, lines, "ulimit -f 4;", **no_files)
    assert done.returncode == 1
    assert b"A STATE could not be written to stdout (File too large)" in done.stderr
    assert all(json.loads(each) == 1 for each in states.read_text().splitlines())
    assert states.read_bytes().endswith(b"\n") or not states.read_bytes()


def test_a_state_stands_on_a_line_of_its_own_behind_what_a_killed_run_has_left(klar: Sandbox, tmp_path: Path) -> None:
    states = tmp_path / "state.jsonl"
    states.write_text('1\n{"bookmarks": {"refu')
    lines = [REFUNDS_SCHEMA, refund_record("a"), state(2), refund_record("b"), state(3)]
    settings = {"TARGET_KLAR_BATCH_SIZE_ROWS": "1", "TARGET_KLAR_CHECKPOINT_INTERVAL_SECONDS": "0"}
    done = appended(states, klar, lines, **settings)
    assert done.returncode == 0, done.stderr
    assert states.read_text() == '1\n{"bookmarks": {"refu\n2\n3\n'


def test_an_stdout_that_is_closed_ends_the_run_with_what_to_do(klar: Sandbox) -> None:
    process = start({"api_token": klar.token, "api_url": klar.url})
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    with process.stdin, process.stderr:
        process.stdin.write(
            b"".join(map(line, [REFUNDS_SCHEMA, refund_record("a"), state(1), refund_record("b"), state(2)]))
        )
        process.stdin.close()
        err = process.stderr.read().decode()
        code = process.wait(LONGEST_RUN)
    assert code == 1
    assert set(klar.refunds) == {"a", "b"}
    errors = Ended(code, "", err).errors
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
    assert process.stdout
    with process.stdin, process.stdout, process.stderr or io.BytesIO():
        process.stdin.write(b"".join(map(line, [REFUNDS_SCHEMA, refund_record("a"), state(large)])))
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


def test_a_reader_that_is_slow_but_reads_is_waited_for() -> None:
    reading, writing = os.pipe()
    data = os.urandom(1_200_000)
    got = bytearray()

    def read() -> None:
        while part := os.read(reading, 20_000):
            got.extend(part)
            time.sleep(0.05)

    thread = threading.Thread(target=read)
    thread.start()
    began = time.monotonic()
    write(writing, data, lambda last: last + 2)
    took = time.monotonic() - began
    os.close(writing)
    thread.join()
    os.close(reading)
    assert took > 2
    assert got == data


def test_what_no_longer_fits_into_an_stderr_that_nobody_reads_is_left_out_and_noted() -> None:
    reading, writing = os.pipe()
    stderr = io.TextIOWrapper(_Stderr(writing, patience=0.1), write_through=True)  # type: ignore[type-var]  # as typeshed has it
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "wb"):
        began = time.monotonic()
        for number in range(1000):
            print(f"{number:0>999}", file=stderr)
        assert time.monotonic() - began < 30
        os.set_blocking(reading, False)
        kept = pipe.read().decode()
        print("last", file=stderr)
        note = pipe.read().decode()

    numbers = [int(each) for each in kept.split("\n")[:-1]]
    assert numbers == list(range(len(numbers)))
    assert 10 < len(numbers) < 1000
    # Text and line end are written one by one, and each only as a whole.
    left_out = sum(len(f"{number:0>999}\n") for number in range(1000)) - len(kept)
    assert note == f"({left_out} bytes of log lines are missing here: nothing read stderr)\nlast\n"


def test_nothing_is_lost_of_an_stderr_that_is_read_late(klar: Sandbox) -> None:
    names = [f"{number:x<30}" for number in range(2000)]
    versions = [{"type": "ACTIVATE_VERSION", "stream": name, "version": 1} for name in names]
    with Watched(klar, reads_stderr=False) as run:
        run.feed([REFUNDS_SCHEMA, *versions, refund_record("a"), state(1)])
        time.sleep(3)
        assert run.process.poll() is None
        run.read_stderr()
        assert run.ended() == 0

    assert [text.split("|")[3].split(":")[0].strip() for text in run.err.splitlines() if "ignored" in text] == names
    assert run.states == [1]


def test_1100_inherited_descriptors_are_no_trouble(klar: Sandbox) -> None:
    opens = (
        "import os, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "for _ in range(1100): os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", opens, *COMMAND, "--config=ENV"],
        input=b"".join(map(line, [REFUNDS_SCHEMA, refund_record("a"), state(1), refund_record("b"), state(2)])),
        capture_output=True,
        timeout=LONGEST_RUN,
        env=ENVIRONMENT | {"TARGET_KLAR_API_TOKEN": klar.token, "TARGET_KLAR_API_URL": klar.url},
        check=False,
    )
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, b"2"), ended.stderr
    assert set(klar.refunds) == {"a", "b"}


def test_an_input_may_be_a_fifo_that_is_written_later(klar: Sandbox, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with Watched(klar, "--input", str(fifo)) as run:
        run.until(lambda: "target-klar v" in run.err)
        fifo.write_bytes(b"".join(map(line, [REFUNDS_SCHEMA, refund_record("a"), state(1)])))
        assert run.ended() == 0, run.err
    assert (run.states, set(klar.refunds)) == ([1], {"a"})


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="this is Linux's file that cannot be read")
def test_an_input_that_cannot_be_read_is_one_line_and_exit_1(klar: Sandbox) -> None:
    address = {"TARGET_KLAR_API_TOKEN": klar.token, "TARGET_KLAR_API_URL": klar.url}
    told = invoke("--config=ENV", "--input", "/proc/self/mem", env=address)
    assert (told.code, told.out, len(told.errors)) == (1, "", 1)
    assert told.errors[0].startswith("The input cannot be read (Input/output error).")
    assert told.errors[0].endswith("No STATE was written.")
    assert klar.requests == []


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="there is no /dev/null")
def test_an_empty_input_that_is_no_pipe_is_an_empty_input(wakeup: Wakeup) -> None:
    with Path(os.devnull).open("rb") as nothing:
        assert everything(wakeup, Input(nothing)) == b""
    assert Input(sys.__stdin__).fileno() == 0
