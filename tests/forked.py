"""Runs of the whole program, each a process of its own, that do not import everything anew.

Importing the SDK takes a second, a run a few hundredths of one. Here one process imports it once and forks for every
run; the rest is as in `program.run`, which starts afresh and so also covers how the program starts.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any

from invocation import ENVIRONMENT
from program import LONGEST_RUN, Ended, line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_klar.sandbox import Sandbox


def run(klar: Sandbox | None, lines: Iterable[Any], *options: str, **settings: Any) -> Ended:
    """Run target-klar on Singer lines (messages, text or bytes) until it ends."""
    config = ({"api_token": klar.token, "api_url": klar.url} if klar else {}) | settings
    environment = {
        f"TARGET_KLAR_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in config.items()
    }
    reading, writing = os.pipe()
    feed = threading.Thread(target=_feed, args=(writing, b"".join(map(line, lines))))
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        asked = json.dumps([["--config=ENV", *options], environment]).encode() + b"\n"
        socket.send_fds(_forks(), [asked], [reading, out.fileno(), err.fileno()])
        os.close(reading)
        feed.start()
        code = int(_forks().recv(16))
        feed.join()
        out.seek(0)
        err.seek(0)
        return Ended(code, out.read().decode(), err.read().decode())


def _feed(pipe: int, data: bytes) -> None:
    with open(pipe, "wb") as stdin:
        try:
            stdin.write(data)
            stdin.flush()
        except BrokenPipeError:  # the run has ended early, as some are meant to
            stdin.detach()


@functools.cache
def _forks() -> socket.socket:
    ours, theirs = socket.socketpair()
    ours.settimeout(LONGEST_RUN)
    process = subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=ENVIRONMENT
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(asked: socket.socket) -> None:
    """Fork for every run that is asked for, and answer with its exit code."""
    import target_klar.command  # noqa: F401, PLC0415 - this is what takes a second
    from target_klar.__main__ import main  # noqa: PLC0415 - not for the tests' own process

    while True:
        told, descriptors, _, _ = socket.recv_fds(asked, 1 << 16, 3)
        if not told:
            return
        while not told.endswith(b"\n"):
            told += asked.recv(1 << 16)
        child = os.fork()
        if not child:
            asked.close()
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
                os.close(descriptor)
            sys.argv[1:], settings = json.loads(told)
            os.environ.update(settings)
            main()
        for descriptor in descriptors:
            os.close(descriptor)
        asked.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
