"""The next peers of target-klar, for the benchmark: each is installed into a virtual environment of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Peer:
    """A program that loads the same stream."""

    name: str
    requirement: str
    command: tuple[str, ...]
    """Its first word is a program of the environment."""
    settings: Callable[[str, int], dict[str, Any]]
    """Of the address to load into and the number of requests in flight."""
    marks: int = 0
    """How often the marker by which `CheapKlar` counts objects stands in a request beside them."""
    writes_state: bool = True

    def install(self, folder: Path) -> tuple[str, ...]:
        """Install it and return the command that runs it.

        Raises:
            subprocess.CalledProcessError: It cannot be installed here.
        """
        home = folder / self.name
        for command in (
            (sys.executable, "-m", "venv", str(home)),
            (str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", self.requirement),
        ):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return (str(home / "bin" / self.command[0]), *self.command[1:])


def _stitch(url: str, parallel: int) -> dict[str, Any]:
    return {
        "client_id": 1,
        "token": "benchmark",
        "small_batch_url": url,
        "big_batch_url": url,
        "batch_size_preferences": {},
        "turbo_boost_factor": parallel,
        "disable_collection": True,
    }


PEERS = (
    Peer(
        "target-stitch",
        "target-stitch==4.0.3",
        ("target-stitch", "--max-batch-records", "1000"),
        _stitch,
        marks=2,  # each of its requests carries the schema, which names lineItems twice
    ),
    Peer(
        "dlt",
        "dlt==1.31.0",
        ("python", str(Path(__file__).with_name("dlt_pipeline.py"))),
        lambda url, parallel: {"url": url, "parallel": parallel},
        writes_state=False,
    ),
)
"""target-stitch: Singer's own target for an HTTP API with several requests in flight; dlt: a loader beside Singer."""


def installed(folder: Path) -> dict[str, tuple[str, ...]]:
    """Install every peer into the folder and return the commands of those that could be; of the others say so."""
    commands = {}
    for peer in PEERS:
        try:
            commands[peer.name] = peer.install(folder)
        except subprocess.CalledProcessError as error:
            print(f"{peer.requirement} cannot be installed here and is left out ({error}).", file=sys.stderr)
    return commands
