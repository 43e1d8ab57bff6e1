"""What a person sees who loads at a terminal: one line that is rewritten, and none of it in the log's own lines."""

from __future__ import annotations

import os
import pty
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import program
import pytest
from forked import Forked
from program import REFUNDS, variables
from watched import numbered

from target_klar.sandbox import Request, Sandbox

if TYPE_CHECKING:
    from pathlib import Path

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
    path.write_bytes(b"".join(map(program.line, [REFUNDS, *numbered(1, 3000, every=100)])))
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
    assert "3000 stored, 3000 read" in "".join(shown)
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
def test_in_a_pipe_nothing_is_rewritten(file: Path) -> None:
    with Sandbox(latency=0.2) as klar:
        ended = program.run(klar, file, batch_size_rows=500)

    assert (ended.code, ended.states[-1]) == (0, 3000)
    assert "\x1b" not in ended.err
    assert "Loading" not in ended.err
