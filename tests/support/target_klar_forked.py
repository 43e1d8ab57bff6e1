"""`target-klar` as the shell commands of recipes find it: it has the process of `forked` fork, and imports nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

HELPER = "FORKED"
"""The variable with the descriptor that leads to that process."""


def main() -> int:
    """Be what is forked: with its streams, its exit code, and the signals that come here."""
    try:
        helper = socket.socket(fileno=int(os.environ[HELPER]))
    except OSError:  # a program between the shell and this one has closed it
        installed = f"{os.path.dirname(sys.executable)}/target-klar"  # noqa: PTH120 - pathlib takes long to import
        os.execv(installed, [installed, *sys.argv[1:]])
    ours, theirs = socket.socketpair()
    with helper, theirs:
        socket.send_fds(helper, [b"!"], [0, 1, 2, theirs.fileno()])
    asked = [sys.argv[1:], dict(os.environ), os.getcwd(), False]  # noqa: PTH109 - as above
    ours.sendall(json.dumps(asked).encode() + b"\n")
    with ours.makefile() as told:
        pid = int(told.readline())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(pid, number))
        code = int(told.readline())
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
