"""The real Meltano for the tests: installed once into `.cache/`, run in project folders of their own.

What a test runs is `meltano run`, as a container does: without a terminal, with Meltano's own state. Only the
installing is shared: every project finds the plugins that one `meltano install` has made.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from forked import Forked, start_helper

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs" / "recipes.md"
DEFINITION = ROOT / "docs" / "target-klar.yml"
MELTANO = "meltano>=4.4,<5"
RUN_SECONDS = 600
"""The longest run takes a hundredth of it."""


@dataclass(frozen=True)
class Finished:
    """What a command left: its exit code, and what it printed for people and for programs."""

    code: int
    log: str
    output: str = ""

    def lines(self, text: str) -> list[str]:
        """Returns the lines of the log that hold a text, without Meltano's time stamp."""
        return [line.partition("Z ")[2] for line in self.log.splitlines() if text in line]


@dataclass
class Project:
    """A folder with a meltano.yml, and the environment in which its runs are started."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        """Starts Meltano as it is installed, in a process group of its own, without a terminal."""
        return subprocess.Popen(
            [installation() / "venv" / "bin" / "meltano", *arguments],
            cwd=self.folder,
            env=self._environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def meltano(self, *arguments: str, **settings: str) -> Finished:
        """Runs Meltano to its end; settings are environment variables. It is forked: its imports take a second."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            streams = (out.fileno(), err.fileno())
            run = Forked(
                arguments, self._environment(settings), *streams, self.folder, cleans_up=False, forks=_helper()
            )
            run.stdin.close()
            try:
                code = run.wait(RUN_SECONDS)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(run.pid, signal.SIGKILL)
            out.seek(0)
            err.seek(0)
            return Finished(code, err.read().decode(), out.read().decode())

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        return {**clean_environment(), **self.environment, **settings}

    def run(self, *blocks: str, **settings: str) -> Finished:
        """Runs a pipeline with the plugins as they are installed, for all tests."""
        return self.meltano("run", "--no-install", *blocks, **settings)

    def state(self, name: str) -> dict[str, Any] | None:
        """Returns the Singer state that Meltano keeps under a name, which `meltano state get` would show."""
        with contextlib.closing(sqlite3.connect(self.folder / ".meltano" / "meltano.db")) as database:
            found = "SELECT completed_state, partial_state FROM state WHERE state_id = ?"
            completed, partial = database.execute(found, [name]).fetchone() or ("{}", "{}")
        assert json.loads(partial or "{}") == {}, "a partial state, which Meltano would merge into the other"
        kept: dict[str, Any] = json.loads(completed or "{}")
        return kept.get("singer_state")


def project(folder: Path, plugins: str, addresses: Mapping[str, str], **environment: str) -> Project:
    """Makes a project of a text with plugins, whose loaders talk to a local Klar.

    What the text has of the loader is put under what `meltano add` writes of it, as the recipes say. The addresses, one
    a loader, go into the environment's configuration, where a user would put them too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    loaders = [{"name": loader, "config": {"api_url": url}} for loader, url in addresses.items()]
    head = {
        "project_id": "a-shop",
        "send_anonymous_usage_stats": False,
        "default_environment": "prod",
        "environments": [{"name": "prod", "config": {"plugins": {"loaders": loaders}}}],
    }
    listed = yaml.safe_load(plugins)["plugins"]
    added = yaml.safe_load(DEFINITION.read_text(encoding="utf-8"))
    listed["loaders"] = [added | one if one["name"] == added["name"] else one for one in listed["loaders"]]
    text = yaml.safe_dump(head | {"plugins": listed}, sort_keys=False)
    (folder / "meltano.yml").write_text(text, encoding="utf-8")
    return with_plugins(folder, environment)


def with_plugins(folder: Path, environment: Mapping[str, str]) -> Project:
    """Makes a project of a folder with a meltano.yml, in which the plugins are found as they are installed."""
    made = installation() / "plugins" / ".meltano"
    (folder / ".meltano").mkdir()
    for kind in ("extractors", "loaders"):
        (folder / ".meltano" / kind).mkdir()
        for plugin in (made / kind).iterdir():
            (folder / ".meltano" / kind / plugin.name).symlink_to(plugin, target_is_directory=True)
    return Project(folder, dict(environment))


def recipe(heading: str, language: str, holds: str = "") -> str:
    """Returns the one block of a language under a heading of the recipes that holds a text."""
    sections = re.split(r"^## ", RECIPES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (section,) = (text for text in sections if text.startswith(f"{heading}\n"))
    (block,) = (block for block in blocks(section, language) if holds in block)
    return block


def blocks(text: str, language: str) -> list[str]:
    """Returns the blocks of a language in a Markdown text; `meltano` stands for YAML that lists plugins."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    named = [("meltano" if block.startswith("plugins:") else name, block) for name, block in found]
    return [block for name, block in named if name == language]


def clean_environment() -> dict[str, str]:
    """Returns this process's environment without what would configure Meltano, its plugins or Python."""
    foreign = ("MELTANO", "TARGET_KLAR", "TAP_", "PYTHON", "PYTEST", "VIRTUAL_ENV", "NO_COLOR", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"NO_COLOR": "1", "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false"}


@functools.cache
def _helper() -> socket.socket:
    return start_helper("meltano", installation() / "venv" / "bin" / "python", clean_environment())


@functools.cache
def installation() -> Path:
    """Installs Meltano, the taps of meltano.yml and the recipes, and this checkout; returns the folder."""
    plugins = _plugins()
    made_of = "\n".join([sys.version, MELTANO, plugins, (ROOT / "pyproject.toml").read_text(encoding="utf-8")])
    return installed_once("meltano", made_of, lambda folder: _install(folder, plugins))


def installed_once(name: str, made_of: str, install: Callable[[Path], None]) -> Path:
    """Installs into a folder in `.cache/`, unless that has been done; returns the folder.

    It stays for the next session until the text that says what it is made of changes. Two sessions that start at
    once share it: the second waits for the first.
    """
    folder = ROOT / ".cache" / name / hashlib.sha256(made_of.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            install(folder)
            (folder / "complete").touch()
    return folder


def _plugins() -> str:
    """Writes down each plugin once: this checkout, and every tap that meltano.yml or a recipe names."""
    texts = [
        (ROOT / "meltano.yml").read_text(encoding="utf-8"),
        *blocks(RECIPES.read_text(encoding="utf-8"), "meltano"),
    ]
    taps = {
        tap["name"]: {name: tap[name] for name in ("name", "namespace", "pip_url", "executable")}
        for text in texts
        for tap in yaml.safe_load(text)["plugins"].get("extractors", ())
        if "pip_url" in tap
    }
    target = {"name": "target-klar", "namespace": "target_klar", "pip_url": f"-e {ROOT}"}
    plugins = {"extractors": list(taps.values()), "loaders": [target]}
    return yaml.safe_dump({"project_id": "plugins", "plugins": plugins}, sort_keys=False)


def _install(folder: Path, plugins: str) -> None:
    shutil.rmtree(folder / "plugins", ignore_errors=True)
    (folder / "plugins").mkdir()
    (folder / "plugins" / "meltano.yml").write_text(plugins, encoding="utf-8")
    binaries = folder / "venv" / "bin"
    do([sys.executable, "-m", "venv", "--clear", folder / "venv"], folder)
    do([binaries / "python", "-m", "pip", "install", "--quiet", "uv"], folder)
    do([binaries / "uv", "pip", "install", "--quiet", "--python", binaries / "python", MELTANO], folder)
    do([binaries / "meltano", "install"], folder / "plugins")


def do(command: list[str | Path], folder: Path) -> None:
    """Run one step of an installation in a folder; what it printed is shown if it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
