"""Targets run as whole processes, and what each run took: wall time, CPU time, peak memory.

Run as a script, this is the small process between the one that measures and the one that is measured: the kernel
counts the memory of whoever starts a process into the peak of that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OBJECTS_PER_REQUEST = 1000
KLAR = (sys.executable, "-m", "target_klar")
PLAIN = (sys.executable, str(Path(__file__).resolve().with_name("plain_target.py")))
_CHECKOUT = Path(__file__).resolve().parents[1]
"""Where the targets run: `-m` takes the package from there, so that what is measured stands beside this file."""

# As the SDK's `singer_sdk.typing` writes them for a tap.
_TEXT, _TIME, _NUMBER = ({"type": [name, "null"]} for name in ("string", "integer", "number"))
_SCHEMAS: dict[str, dict[str, Any]] = {
    "refunds": {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "createdAt": {"type": "integer"},
            "updatedAt": _TIME,
            "lineItems": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "id": _TEXT,
                        "lineItemId": {"type": "string"},
                        "refundedQuantity": {"type": "number"},
                        "reasonDescriptor": _TEXT,
                        "createdAt": _TIME,
                        "processedAt": _TIME,
                    },
                    "required": ["lineItemId", "refundedQuantity"],
                },
            },
        },
        "required": ["id", "createdAt", "lineItems"],
    },
    "transaction_costs": {
        "type": "object",
        "properties": {"orderId": {"type": "string"}, "transactionCosts": _NUMBER},
        "required": ["orderId"],
    },
}
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""As for a user: Python compiles what it imports once, not at every start."""
_BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss


class Run(NamedTuple):
    """What one process took: seconds, seconds of user and system time, bytes."""

    wall: float
    cpu: float
    peak: int


@dataclass(frozen=True)
class Case:
    """One way to run one of the targets."""

    command: tuple[str, ...] = KLAR
    stream: str = "refunds"
    rows: int = 0
    latency: float = 0
    """Seconds that a load takes."""
    slow_status: bool = False
    """A status read takes as long as a load; otherwise it is answered at once."""
    parallel: int = 4
    """Requests in flight; the plain target knows no more than one."""
    peer: str = ""
    """Whose command it is, if it is neither."""
    version: bool = False
    """No load: the target only shows its version."""

    @property
    def plain(self) -> Case:
        """The same work for the plain target."""
        return replace(self, command=PLAIN, parallel=1, slow_status=False)

    @property
    def empty(self) -> Case:
        """The same target with a stream that has no records."""
        return Case(self.command, self.stream, parallel=self.plain.parallel if self.command == PLAIN else 4)


def singer_lines(stream: str, rows: int) -> Iterator[str]:
    """Yield records that meet Klar's contract as a tap writes them, with a STATE after every thousand."""
    yield _line(type="SCHEMA", stream=stream, schema=_SCHEMAS[stream], key_properties=_SCHEMAS[stream]["required"][:1])
    make = {"refunds": _refund, "transaction_costs": _cost}[stream]
    for position in range(1, rows + 1):
        yield _line(type="RECORD", stream=stream, record=make(position))
        if position % 1000 == 0 or position == rows:
            yield _line(type="STATE", value={"rows": position})


def timed(command: Sequence[str], folder: Path, stdin: Path = Path(os.devnull)) -> Run:
    """Run a command to its end, with its output in `out` of the folder.

    Raises:
        RuntimeError: It ended with anything but 0.
    """
    with stdin.open("rb") as source, (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        between = [sys.executable, str(Path(__file__).resolve()), str(folder / "run.json"), *command]
        ended = subprocess.run(
            between, stdin=source, stdout=out, stderr=err, cwd=_CHECKOUT, env=_ENVIRONMENT, check=False
        )
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}:\n{(folder / 'err').read_text()}")
    return Run(*json.loads((folder / "run.json").read_text()))


def _line(**message: Any) -> str:
    return json.dumps(message) + "\n"


def _refund(position: int) -> dict[str, Any]:
    created = 1_700_000_000 + position
    items = [
        {
            "id": f"RL{position}-{each}",
            "lineItemId": f"L{position}-{each}",
            "refundedQuantity": each,
            "reasonDescriptor": "too small",
            "createdAt": created,
            "processedAt": created + 60,
        }
        for each in range(1, 2 + position % 2)
    ]
    return {"id": f"R{position}", "createdAt": created, "updatedAt": created + 60, "lineItems": items}


def _cost(position: int) -> dict[str, Any]:
    return {"orderId": str(5_300_000_000 + position), "transactionCosts": (35 + position * 7919 % 1200) / 100}


def _main(result: str, *command: str) -> int:
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)  # so that Popen knows of its end
    Path(result).write_text(json.dumps([wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _BYTES]))
    return process.returncode


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
