"""Targets and scripts run as whole processes, and what each run took: wall time, CPU time, peak memory.

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

from sources import KLAR_REFUNDS, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

OBJECTS_PER_REQUEST = 1000
KLAR = (sys.executable, "-m", "target_klar")
PLAIN, BARE, HAND_WRITTEN = (
    (sys.executable, str(Path(__file__).resolve().with_name(f"{name}.py")))
    for name in ("plain_target", "bare_loop", "hand_written")
)
_CHECKOUT = Path(__file__).resolve().parents[2]
"""Where the targets run: `-m` takes the package from there, so that what is measured stands beside this file."""
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
    """One way to run target-klar, or what is measured beside it."""

    command: tuple[str, ...] = KLAR
    source: Source = KLAR_REFUNDS
    rows: int = 0
    latency: float = 0
    """Seconds that a load takes."""
    slow_status: bool = False
    """A status read takes as long as a load; otherwise it is answered at once."""
    parallel: int = 4
    """Requests in flight; the plain target and the scripts know no more than one."""
    peer: str = ""
    """Whose command it is, if it is a peer's."""
    starts: bool = False
    """No load: the command is run as it is, to see how long it takes to start."""

    @property
    def plain(self) -> Case:
        """The same work for the plain target."""
        return self._by(PLAIN)

    @property
    def bare(self) -> Case:
        """The same work for the bare loop, which knows Klar's own form alone."""
        return self._by(BARE)

    @property
    def script(self) -> Case:
        """The same work for the script that is written by hand for this source."""
        return self._by((*HAND_WRITTEN, self.source.script))

    @property
    def empty(self) -> Case:
        """The same command with a stream that has no records."""
        return Case(self.command, self.source, parallel=4 if self.command == KLAR else 1)

    def _by(self, command: tuple[str, ...]) -> Case:
        return replace(self, command=command, parallel=1, slow_status=False)


def load(case: Case, config: dict[str, Any], folder: Path) -> tuple[Run, Any]:
    """Run a case that loads something with a configuration, and return its last STATE as well, None if there is none.

    Raises:
        RuntimeError: It ended with anything but 0.
    """
    source = folder / f"{case.source.name}-{case.rows}.jsonl"
    if not source.exists():
        with source.open("w") as file:
            file.writelines(case.source.lines(case.rows))
    if case.command == KLAR:
        maps = {"stream_maps": case.source.stream_maps} if case.source.stream_maps else {}
        config = config | {"max_parallel_requests": case.parallel} | maps
    (folder / "config.json").write_text(json.dumps(config))
    run = timed([*case.command, "--config", str(folder / "config.json")], folder, source)
    states = (folder / "out").read_text().splitlines()
    return run, json.loads(states[-1]) if states else None


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
