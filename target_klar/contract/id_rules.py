"""The data quality rules of keys and ids: what names nothing, and what no other source can write."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from target_klar.contract.quality import Rule, limited

if TYPE_CHECKING:
    from target_klar.contract.quality import Values
    from target_klar.contract.schema import Node

_PLACEHOLDERS: Final = ("none", "nan", "null", "undefined")
PLACEHOLDERS: Final = frozenset(
    spelled for word in _PLACEHOLDERS for spelled in (word, word.upper(), word.capitalize(), "NaN")
) | {"NaT", "<NA>", "<null>", "(null)", "N/A", "n/a", "#N/A"}
"""How programs write that there is nothing, where text is wanted."""
_FLOAT: Final = re.compile(r"\.0$|\d[eE]\+\d", re.ASCII)
_GLOBAL_ID: Final = "gid://"
# What Unicode shows as nothing though it counts as printable: variation selectors, fillers, an empty Braille cell.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# What stands in no id that can match nothing, unless it is a placeholder: visible ASCII without `+`, `.0` and `:/`.
_HARMLESS: Final = re.compile(r"(?:[!-*,\-/-9;-~]++|[.:](?![0/]))*+")


def not_a_placeholder(node: Node) -> Node:
    """Return a node for a key, of which `None`, `nan`, `<NA>` and other placeholders are none."""
    advice = "records with it would overwrite each other: drop them with `__filter__`, or map another column"
    return limited(node, "placeholder_key", advice, **{"not": {"enum": sorted(PLACEHOLDERS)}})


def _is_unmatchable(text: str) -> bool:
    return (
        text in PLACEHOLDERS
        or text != text.strip()
        or not text.isprintable()
        or _INVISIBLE.search(text) is not None
        or text.startswith(_GLOBAL_ID)
        or _FLOAT.search(text) is not None
    )


def _none_is_unmatchable(ids: Values) -> bool:
    text = "".join(ids)
    if _HARMLESS.fullmatch(text) is None:
        return False
    # Each placeholder has an n; to look for one takes a tenth of the time that looking each id up takes.
    return ("n" not in text and "N" not in text) or PLACEHOLDERS.isdisjoint(ids)


UNMATCHABLE_ID: Final = Rule(
    "unmatchable_id",
    "an id that cannot match one of another source",
    "Blanks, invisible characters, `gid://`, `.0`, `e+17` and words such as `nan` come from the source or a map: "
    "write the bare id.",
    lambda ids: [each for each in ids if _is_unmatchable(each)],
    clean=_none_is_unmatchable,
)
ORDER_NAME: Final = Rule(
    "order_name",
    "an order's name (`#1001`)",
    "Klar matches these costs by the order's id: map the column that has it.",
    lambda ids: [each for each in ids if each.startswith("#")],
    clean=lambda ids: "#" not in "".join(ids),
)
