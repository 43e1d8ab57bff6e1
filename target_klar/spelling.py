"""Which name was meant by one that does not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LETTERS = 2
"""How many letters may be wrong in a name for it to be taken for another."""


def meant(name: str, known: Iterable[str]) -> str | None:
    """Return the nearest of the known names, or None if each is more than two letters away.

    A letter too many, too few or another one counts as one, and so do two that changed places; case, and `-` for
    `_`, count as none.
    """
    folded = _fold(name)
    near = [
        (letters, other)
        for other in known
        if abs(len(other) - len(name)) <= MAX_LETTERS and (letters := _letters(folded, _fold(other))) <= MAX_LETTERS
    ]
    return min(near)[1] if near else None


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")


def _letters(one: str, other: str) -> int:
    """Return the optimal string alignment distance, row by row of its table."""
    earlier: list[int] = []
    above: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        earlier, above, row = above, row, [i]
        for j, opposite in enumerate(other, 1):
            steps = [above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != opposite)]
            if i > 1 and j > 1 and letter == other[j - 2] and opposite == one[i - 2]:
                steps.append(earlier[j - 2] + 1)
            row.append(min(steps))
    return row[-1]
