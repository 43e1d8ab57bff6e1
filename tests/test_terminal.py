"""What a person sees who loads at a terminal: one line that is rewritten, and none of it in the log's own lines."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import messages
import program
import pytest
from forked import Forked
from messages import REFUNDS_SCHEMA
from program import variables
from watched import numbered

from target_klar.sandbox import Request, Sandbox

CLEAR = "\r\x1b[2K"


def at_a_terminal(klar: Sandbox, *options: str, **settings: Any) -> tuple[Forked, list[str], threading.Thread]:
    """Start a run whose stderr is a terminal; what is shown comes piece by piece, as it is cleared."""
    ours, theirs = pty.openpty()
    config = variables({"api_token": klar.token, "api_url": klar.url} | settings)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        process = Forked(("--config=ENV", *options), config | {"COLUMNS": "80"}, nowhere.fileno(), theirs)
    os.close(theirs)
    shown: list[str] = []

    def look() -> None:
        seen = b""
        with suppress(OSError):  # its end, on Linux
            while chunk := os.read(ours, 1 << 16):
                seen += chunk
        os.close(ours)
        shown.extend(seen.decode().replace("\x1b[?25l", "").split(CLEAR))

    reading = threading.Thread(target=look)
    reading.start()
    return process, shown, reading


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "input.jsonl"
    path.write_bytes(b"".join(map(messages.line, [REFUNDS_SCHEMA, *numbered(1, 3000, every=100)])))
    return path


@pytest.mark.slow
def test_a_load_of_a_file_is_one_line_with_its_percent_that_is_gone_at_the_end(file: Path) -> None:
    with Sandbox(latency=0.4) as klar:
        process, shown, reading = at_a_terminal(klar, "--input", str(file), batch_size_rows=100)
        process.stdin.close()
        assert process.wait(60) == 0
        reading.join(10)

    lines = [piece for piece in shown if "Loading" in piece]
    assert len(lines) >= 3
    assert all("%" in line and " records, " in line and "\n" not in line for line in lines)
    assert all(len(line.strip("\r")) <= 80 for line in lines)
    assert "Loading" not in shown[-1], "what is said at the end has the line for itself"
    assert "3000 read, 3000 stored" in "".join(shown)
    assert shown[-1].startswith("\x1b[?25h"), "the cursor is back"


@pytest.mark.slow
def test_ctrl_c_says_at_once_what_it_waits_for_and_how_long_at_most(file: Path) -> None:
    first = threading.Event()

    def observe(moment: str, request: Request) -> None:
        if moment == "received" and request.on == "post":
            first.set()

    with Sandbox(latency=1, observer=observe) as klar:
        process, shown, reading = at_a_terminal(klar, "--input", str(file), batch_size_rows=100)
        process.stdin.close()
        assert first.wait(20)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        reading.join(10)

    said = "".join(shown)
    assert "Stopping: waiting for 1 request in flight, 9 s at most." in said
    assert said.index("Stopping: waiting for") < said.index("Stopped by SIGINT.")


@pytest.mark.slow
def test_a_terminal_that_is_closed_does_not_end_the_run(file: Path) -> None:
    """As by `setsid`, and then the end of the session."""
    ours, theirs = pty.openpty()
    first = threading.Event()
    with (
        Sandbox(latency=1, observer=lambda moment, _: first.set() if moment == "received" else None) as klar,
        subprocess.Popen(
            [sys.executable, "-m", "target_klar", "--config=ENV", "--input", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env=variables({"api_token": klar.token, "api_url": klar.url, "batch_size_rows": 500}),
            start_new_session=True,
        ) as process,
    ):
        os.close(theirs)
        assert first.wait(20)
        os.close(ours)
        out = process.communicate(timeout=60)[0]

    assert (process.returncode, out.splitlines()[-1], len(klar.refunds)) == (0, b"3000", 3000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "what"),
    [
        ([], b"Singer messages, as a tap writes them,"),
        (["--stream", "refunds"], b"JSON lines, each a record of refunds,"),
    ],
)
def test_who_starts_it_by_hand_is_told_what_it_waits_for(options: list[str], what: bytes) -> None:
    ours, theirs = pty.openpty()
    with Sandbox() as klar:
        process = subprocess.Popen(
            [sys.executable, "-m", "target_klar", "--config=ENV", *options],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=variables({"api_token": klar.token, "api_url": klar.url}),
        )
        os.close(theirs)
        os.write(ours, b"\x04")  # Ctrl-D
        out, err = process.communicate(timeout=60)
    os.close(ours)

    assert (process.returncode, out) == (0, b"")
    assert b"Waiting for " + what + b" on stdin. Ctrl-D ends the input." in err


@pytest.mark.slow
def test_in_a_pipe_nothing_is_rewritten(file: Path) -> None:
    with Sandbox(latency=0.2) as klar:
        ended = program.run(klar, file, batch_size_rows=500)

    assert (ended.code, ended.states[-1]) == (0, 3000)
    assert "\x1b" not in ended.err
    assert "Loading" not in ended.err


@pytest.mark.slow
def test_the_loads_that_the_documentation_shows_are_what_is_said(tmp_path: Path) -> None:
    """Each line of the page, its numbers aside, is one that such a load says."""
    page = (Path(__file__).parents[1] / "docs/loads.md").read_text()
    shown = {
        without_numbers(line)
        for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL)
        for line in block.splitlines()
    }
    file = tmp_path / "input.jsonl"
    # Large enough to be read in many pieces: the time left is shown after the second one.
    file.write_bytes(b"".join(map(messages.line, [REFUNDS_SCHEMA, *numbered(1, 12_000, every=400)])))
    said: set[str] = set()
    for event in ("none", "SIGINT", "revoked"):
        with Sandbox(latency=1) as klar:
            process, pieces, reading = at_a_terminal(klar, "--input", str(file), batch_size_rows=400)
            process.stdin.close()
            deadline = time.monotonic() + 100
            while klar.count("refunds") < 2000 and time.monotonic() < deadline:
                time.sleep(0.05)
            if event == "SIGINT":
                process.send_signal(signal.SIGINT)
            if event == "revoked":
                klar.token = "another"
            assert process.wait(60) == {"none": 0, "SIGINT": 130, "revoked": 1}[event]
            reading.join(60)
        said |= {without_numbers(line) for piece in pieces for line in piece.splitlines()}

    progress = {line for line in shown if "so far, " in line}
    assert len(shown) == 7
    assert shown - progress <= said
    assert {line.replace("so far, ", "") for line in progress} <= {
        re.sub(r" N (merged|deleted|filtered|rejected|cancelled|retries),", "", line) for line in said
    }


def without_numbers(line: str) -> str:
    """Return a line of the log, or the one that is rewritten, with N for each number and without what differs."""
    level, _, text = line.rpartition(" | ")
    kept = f"{level.split('|')[-2].strip()} | {text}" if level.count("|") >= 2 else line
    return re.sub(r"[\d,.:]*\d", "N", re.sub(r"[#-]{5,}", "bar", kept)).strip()
