"""What the tests of docs/recipes/fees-from-files.md share: exports, written and changed, and what a run lists."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from program import Ended

Row = dict[str, str]


def change(path: Path, old: str, new: str) -> None:
    """Replace a text in a file; it has to be there once at least."""
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new), encoding="utf-8")


def write(path: Path, rows: Iterable[Row], delimiter: str = ",") -> None:
    """Write an export, with the headings of its first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *more = rows
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(first), delimiter=delimiter)
        writer.writeheader()
        writer.writerows([first, *more])


def not_sent(ended: Ended) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return the list of a run in `-jsonlines`, by provider, type and reason."""
    listed = [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    found = {(row["provider"], row["type"], row["why"]): row for row in listed}
    assert len(found) == len(listed)
    return found
