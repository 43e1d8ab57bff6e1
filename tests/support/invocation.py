"""The command as a shell calls it: arguments, a configuration file, standard input."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from forked import finished
from messages import line
from program import LONGEST_RUN, Ended, variables

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from target_klar.delivery.dispatcher import Dispatcher

COMMAND = [sys.executable, "-m", "target_klar"]
ENVIRONMENT = variables({})


def invoke(
    *arguments: str,
    lines: Iterable[Any] = (),
    env: dict[str, str] | None = None,
    folder: Path | None = None,
    stdout: Path | None = None,
) -> Ended:
    """Run the command with these arguments on Singer lines until it ends: in another folder, or into a device."""
    return finished(arguments, ENVIRONMENT | (env or {}), b"".join(map(line, lines)), folder, stdout)


def redirected(how: str, *arguments: str) -> Ended:
    """Run the command behind a redirection of the shell's, such as `<&-`, which closes stdin."""
    shell = ["/bin/sh", "-c", f'exec "$@" {how}', "sh", *COMMAND, *arguments]
    ended = subprocess.run(shell, capture_output=True, timeout=LONGEST_RUN, env=ENVIRONMENT, check=False)
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def unplug(dispatcher: Dispatcher) -> None:
    """Close what a target of this process holds open; a real one ends with its process."""
    dispatcher.workers.wakeup._receiver.close()
    dispatcher.workers.wakeup._sender.close()


def config_file(folder: Path, config: Any) -> str:
    """Write a configuration, text as it stands, and return its path."""
    path = folder / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return str(path)
