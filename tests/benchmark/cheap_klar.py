"""A Klar that costs next to nothing, for measuring: it answers every request alike and counts objects by a marker.

`CheapKlar` runs this file as a process of its own, so that its work is in nobody else's figures.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from typing import Self

_MARKERS = (b'"lineItems"', b'"orderId"')
"""Each stands once in an object of its stream."""


class Figures(NamedTuple):
    """What arrived."""

    objects: int
    requests: int
    peak_in_flight: int


class CheapKlar:
    """The server as a context; a load takes `latency` seconds, a status read `status_latency`."""

    def __init__(self, latency: float = 0, status_latency: float = 0) -> None:
        command = [sys.executable, __file__, "--latency", str(latency), "--status-latency", str(status_latency)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self._line())}"

    def figures(self) -> Figures:
        """What has arrived so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("figures\n")
        self._process.stdin.flush()
        return Figures(*json.loads(self._line()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@dataclass
class _Server:
    latency: float
    status_latency: float
    objects: int = 0
    requests: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    last_batch: int = 0
    last_success: float = field(default_factory=time.time)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while start := stream.readline():
                length = 0
                while (header := stream.readline()) not in (b"\r\n", b""):
                    name, _, value = header.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                body = stream.read(length)
                content = self._loaded(body) if start.startswith(b"POST") else self._status()
                head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)

    def _loaded(self, body: bytes) -> bytes:
        count = max(map(body.count, _MARKERS))
        with self.lock:
            self.in_flight += 1
            self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        time.sleep(self.latency)
        with self.lock:
            self.in_flight -= 1
            self.requests += 1
            self.objects += count
            self.last_batch = count
            self.last_success = max(time.time(), self.last_success + 0.002)  # by more than the status rounds off
        return b'{"status": "VALID"}'

    def _status(self) -> bytes:
        time.sleep(self.status_latency)
        with self.lock:
            moment = datetime.fromtimestamp(self.last_success, UTC)
            figures: dict[str, Any] = {
                "total": str(self.objects),
                "lastBatchCount": str(self.last_batch),
                "lastSuccess": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            }
        return json.dumps(figures).encode()


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0)
    parser.add_argument("--status-latency", type=float, default=0)
    options = parser.parse_args()
    server = _Server(options.latency, options.status_latency)
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=server.serve, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    while sys.stdin.readline():  # its end is the end of whoever started this
        with server.lock:
            print(json.dumps([server.objects, server.requests, server.peak_in_flight]), flush=True)
    os._exit(0)


if __name__ == "__main__":
    _main()
