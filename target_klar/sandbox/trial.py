"""Loads into a local Klar that lives no longer than the load, and tells what arrived."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from target_klar.sandbox.answers import json_text
from target_klar.sandbox.objects import STREAMS, without_personal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_klar.sandbox.shapes import Json
    from target_klar.sandbox.stand_in import Sandbox

# What arrived is told below; of the target's own log a trial needs what went wrong.
_ALWAYS = ("refunds", "transaction_costs")
_LOG_LEVEL = "TARGET_KLAR_LOGLEVEL"


def run(sandbox: Sandbox, command: Sequence[str]) -> int:
    """Runs a command that finds this Klar in its environment; returns its exit code."""
    environment = {"TARGET_KLAR_API_URL": sandbox.url, "TARGET_KLAR_API_TOKEN": sandbox.token}
    return _finish(command, environment)[0]


def load(sandbox: Sandbox, files: Sequence[Path], settings: Mapping[str, Json]) -> tuple[int, str]:
    """Loads Singer files one after the other until one fails; returns the exit code and the last STATE.

    The target gets these settings, but this Klar's address and token, and a rejects file of the trial's own, anew
    each time: what a configuration for the real Klar says of those is never used. Otherwise what this Klar takes would
    remove from that file what the real one still has to get.
    """
    code, state = 0, ""
    own = {"api_url": sandbox.url, "api_token": sandbox.token}
    if rejects := settings.get("rejects_path"):
        own["rejects_path"] = f"{rejects}.trial"
        Path(own["rejects_path"]).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({**settings, **own}))
        for file in files:
            target = [sys.executable, "-m", "target_klar", "--config", str(config), "--input", str(file)]
            code, states = _finish(target, {_LOG_LEVEL: os.environ.get(_LOG_LEVEL, "WARNING")}, stdout=subprocess.PIPE)
            state = (states.splitlines() or [state])[-1]
            if code:
                break
    return code, state


def arrived(sandbox: Sandbox) -> str:
    """Tells for each stream how many objects Klar holds, with the first one by key as an example."""
    lines = ["At the local Klar:"]
    for name in STREAMS:
        if sandbox.count(name) or name in _ALWAYS:
            lines.append(f"  {name}: {sandbox.count(name)}")
        lines += [f"    {json_text(without_personal(first))}" for first in sandbox.by_key(name)[:1]]
    return "\n".join(lines)


def _finish(command: Sequence[str], environment: Mapping[str, str], stdout: int | None = None) -> tuple[int, str]:
    """Runs a command, passes SIGTERM and SIGINT on to it, and returns its exit code as a shell counts it."""
    with subprocess.Popen(  # noqa: S603  # what the user asked to run
        command, env={**os.environ, **environment}, stdout=stdout, text=True
    ) as process:
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, lambda number, _: process.send_signal(number))
        said = process.communicate()[0] or ""
    return (process.returncode if process.returncode >= 0 else 128 - process.returncode), said
