"""A recipe of docs/recipes/, followed: its files written into a folder, its commands run there as they stand."""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import target_klar_forked
from forked import helper
from pipelines import ROOT, blocks, clean_environment, do, installed_once
from program import LONGEST_RUN, Ended

if TYPE_CHECKING:
    from target_klar.sandbox import Sandbox

DOCUMENTS = ROOT / "docs" / "recipes"
_NAMED = re.compile(r"\A(?:#!.*\n)?(?:--|#) (\w[\w-]*\.(?:sql|py|sh))\n")
_INSTALL = re.compile(r"^(?:\S*/)?pip install (.+)$", re.MULTILINE)


class Followed:
    """A folder with the files of recipes, in which their commands find DuckDB and this checkout's programs.

    Those hundreds of commands would spend most of their time on the imports of `target-klar`, so it forks as in
    `forked`, unless a test wants it as it is installed.
    """

    def __init__(self, folder: Path, *documents: str, forks: bool = True) -> None:
        """Write the files that the documents give a name to, in the first line of a block."""
        self.folder = folder
        self._forks = forks
        texts = [(DOCUMENTS / name).read_text(encoding="utf-8") for name in documents]
        shown = [block for text in texts for language in ("sql", "python", "bash") for block in blocks(text, language)]
        for block in shown:
            if name := _NAMED.match(block):
                (folder / name[1]).write_text(block, encoding="utf-8")
                (folder / name[1]).chmod(0o755)
        self._commands = [block for block in shown if not _NAMED.match(block)]

    def configure(self, klar: Sandbox, folder: str = ".", **settings: object) -> None:
        """Write the `config.json` of the recipe, for a local Klar."""
        config = {"api_token": klar.token, "api_url": klar.url, **settings}
        (self.folder / folder / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def command(self, holds: str) -> str:
        """Return the one block of shell commands that holds a text."""
        (found,) = (block for block in self._commands if holds in block)
        return found

    def run(self, command: str, **environment: str) -> Ended:
        """Run shell commands in the folder until they have ended."""
        programs = [installation() / "bin", Path(sys.executable).parent, os.environ["PATH"]]
        if self._forks:
            programs.insert(0, forking())
            environment[target_klar_forked.HELPER] = str(helper().fileno())
        ended = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={**clean_environment(), "PATH": os.pathsep.join(map(str, programs)), **environment},
            pass_fds=[helper().fileno()] if self._forks else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_RUN,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)


@functools.cache
def forking() -> Path:
    """Make a folder with the `target-klar` that forks, without all that Python reads at its start but needs not."""
    folder = Path(tempfile.mkdtemp(prefix="target-klar-forked-"))
    atexit.register(shutil.rmtree, folder)
    program = Path(target_klar_forked.__file__).read_text(encoding="utf-8")
    (folder / "target-klar").write_text(f"#!{sys.executable} -IS\n{program}", encoding="utf-8")
    (folder / "target-klar").chmod(0o755)
    return folder


@functools.cache
def installation() -> Path:
    """Install what the recipes' `pip install` commands name beside target-klar; return the environment that has it."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(DOCUMENTS.glob("*.md"))]
    commands = [command for text in texts for block in blocks(text, "bash") for command in _INSTALL.findall(block)]
    named = sorted({name for command in commands for name in command.split()} - {"./target-klar"})

    def install(folder: Path) -> None:
        do([sys.executable, "-m", "venv", "--clear", folder / "venv"], folder)
        do([folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", *named], folder)

    return installed_once("recipes", "\n".join([sys.version, *named]), install) / "venv"
