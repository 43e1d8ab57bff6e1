"""A `.env` file where the SDK finds one: in a folder above its own, which for these runs is a link from there.

Of a process that is traced, as for coverage, it takes the working directory instead; so that is the same folder.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import singer_sdk
from invocation import ENVIRONMENT
from program import LONGEST_RUN, Ended


def above_the_sdk(folder: Path) -> Path:
    """Make a folder one in which the SDK looks for a `.env` file."""
    (folder / "singer_sdk").symlink_to(Path(singer_sdk.__file__).parent, target_is_directory=True)
    return folder


def beside_the_sdk(folder: Path, command: list[str], given: bytes, **variables: str) -> Ended:
    """Run a command that imports the SDK through the folder's link, with what it is given on stdin."""
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
    ended = subprocess.run(
        command,
        input=given,
        capture_output=True,
        timeout=LONGEST_RUN,
        cwd=folder,
        env=ENVIRONMENT | {"PYTHONPATH": path} | variables,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())
