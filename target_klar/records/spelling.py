"""The closest match for a name that does not exist."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def closest_match(name: str, known: Iterable[str], similarity: float = 0.8) -> str | None:
    """Return the known name that is the closest match, or None if none is close.

    So much of the two names must be the same, by the standard library's measure: of `cogs` and `tags` it is half. Case,
    and `-` for `_`, do not count.
    """
    names = {_without_case_and_dashes(each): each for each in known}
    matches = get_close_matches(_without_case_and_dashes(name), names, n=1, cutoff=similarity)
    return names[matches[0]] if matches else None


def _without_case_and_dashes(name: str) -> str:
    return name.lower().replace("-", "_")
