"""The whole program as a process, fed with Singer lines until it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from messages import line

if TYPE_CHECKING:
    from collections.abc import Iterable


LONGEST_RUN = 120
"""Seconds after which a run counts as hanging; nothing here takes a tenth of it."""


class Klar(Protocol):
    """Whatever a run may take for Klar: a local one, a scripted one, bytes, nobody."""

    @property
    def url(self) -> str: ...
    @property
    def token(self) -> str: ...


@dataclass(frozen=True)
class Ended:
    """What a run left behind."""

    code: int
    out: str
    err: str

    @property
    def states(self) -> list[Any]:
        """The STATE values on stdout, in order."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def errors(self) -> list[str]:
        """The ERROR lines on stderr, without time and logger."""
        return self.told("ERROR")

    @property
    def warnings(self) -> list[str]:
        """The WARNING lines on stderr, without time and logger."""
        return self.told("WARNING")

    def told(self, level: str) -> list[str]:
        """The lines on stderr at a level, without time and logger."""
        return [line.split("|", 3)[3].strip() for line in self.err.splitlines() if f"| {level} " in line]

    def counts(self, stream: str) -> dict[str, int]:
        """The counts in the last line about a stream."""
        last = [text for text in self.told("INFO") if text.startswith(f"{stream}: ") and " read, " in text][-1]
        plural = {"request": "requests", "retry": "retries"}
        parts = (part.split(" ", 1) for part in last.partition(": ")[2].split(", "))
        return {plural.get(name, name): int(number) for number, name in parts if number.isdigit()}

    def said(self, text: str) -> list[str]:
        """The lines on stderr that hold a text."""
        return [line for line in self.err.splitlines() if text in line]


def start(config: dict[str, Any], *options: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start target-klar with a configuration, its three streams as pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "target_klar", "--config=ENV", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=variables(config) | (env or {}),
    )


def run(
    klar: Klar | None, lines: Iterable[Any] | Path, *options: str, env: dict[str, str] | None = None, **settings: Any
) -> Ended:
    """Run target-klar on Singer lines (messages, text or bytes), or on a file, until it ends."""
    config = {"api_token": klar.token, "api_url": klar.url} if klar else {}
    process = start(config | settings, *options, env=env)
    try:
        out, err = process.communicate(content(lines), timeout=LONGEST_RUN)
    finally:
        process.kill()
    return Ended(process.returncode, out.decode(), err.decode())


def variables(config: dict[str, Any]) -> dict[str, str]:
    """This process's environment with a configuration, and nothing else of target-klar's; None is not set."""
    foreign = {name: value for name, value in os.environ.items() if not name.startswith("TARGET_KLAR_")}
    return foreign | {
        f"TARGET_KLAR_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in config.items()
        if value is not None
    }


def content(lines: Iterable[Any] | Path) -> bytes:
    """What goes into stdin: Singer lines, or a file as it is."""
    return lines.read_bytes() if isinstance(lines, Path) else b"".join(map(line, lines))
