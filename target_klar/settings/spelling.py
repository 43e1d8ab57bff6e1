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
    """Return the Damerau-Levenshtein distance: the fewest such mistakes that make one text of the other."""
    far = len(one) + len(other)
    table = {(i, 0): i for i in range(len(one) + 1)} | {(0, j): j for j in range(len(other) + 1)}
    rows: dict[str, int] = {}
    """The last row of each letter of `one` so far."""
    for i, letter in enumerate(one, 1):
        column = 0  # the last one of this row whose letter is the same
        for j, opposite in enumerate(other, 1):
            row = rows.get(opposite, 0)
            same = letter == opposite
            swapped = table.get((row - 1, column - 1), far) + (i - row - 1) + 1 + (j - column - 1)
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (not same), swapped)
            column = j if same else column
        rows[letter] = i
    return table[len(one), len(other)]
