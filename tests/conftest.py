from __future__ import annotations

import gc
import os
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

# The suite's own modules, such as messages.py, and what is measured.
sys.path[:0] = [str(Path(__file__).parent / folder) for folder in (".", "support", "benchmark")]

from thoroughness import THOROUGH  # noqa: E402 - one of them

gc.disable()  # what is imported and collected stays, and is no garbage

if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # The suite starts hundreds of processes: each would compile the package anew. What is compiled stays in `.cache`.
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(Path(__file__).parents[1] / ".cache" / "bytecode")

WAITING = ("test_client.py", "test_tls.py")
"""Files most of whose time is waiting."""


def pytest_xdist_auto_num_workers() -> int:
    """Four workers a core: most tests wait most of their time."""
    return 4 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long tests first, so that none of them begins when the others have ended; those that wait between."""

    def is_long(item: pytest.Item) -> bool:
        is_search = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
        return item.get_closest_marker("slow") is not None or (THOROUGH and is_search)

    def waits(item: pytest.Item) -> bool:
        return item.path.name in WAITING and not is_long(item)

    for item in items:
        _name_the_group(item)
    others = [item for item in items if not waits(item)]
    others.sort(key=is_long, reverse=True)
    # Tests that wait stand between the files of the others, some after each: one after another, they would leave the
    # processor idle. None stands inside of a file, which may have a fixture of its own.
    files = [list(file) for _, file in groupby(others, key=lambda item: item.path)] or [[]]
    waiting = [item for item in items if waits(item)]
    items.clear()
    for number, file in enumerate(files):
        items += file
        items += waiting[len(waiting) * number // len(files) : len(waiting) * (number + 1) // len(files)]


def _name_the_group(item: pytest.Item) -> None:
    """Put a test's `xdist_group` behind its id, where the scheduler of xdist looks for it.

    xdist 3.8 writes it into a field that pytest 9.2 no longer reads, and each worker would have a server, a browser and
    the whole table of signals of its own.
    """
    group = item.get_closest_marker("xdist_group")
    if group and "PYTEST_XDIST_WORKER" in os.environ and hasattr(item, "_id"):
        item._id = type(item._id).parse(f"{item.nodeid}@{group.args[0]}")


@pytest.fixture
def klar() -> Iterator[Sandbox]:
    """A local Klar of the test's own."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def rejects(tmp_path: Path) -> Path:
    """The path of a rejects file that is not there yet."""
    return tmp_path / "rejects.jsonl"


def pytest_collection_finish() -> None:
    """Spare the collector of garbage what stays until the end: thousands of tests, and all modules."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(10_000)  # each of thousands of tests makes a little, and most of it goes without the collector
