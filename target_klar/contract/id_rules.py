"""The data quality rules of keys and ids: what names nothing, and what no other source can write."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from target_klar.contract.quality import Rule, limited

if TYPE_CHECKING:
    from target_klar.contract.quality import Values
    from target_klar.contract.schema import Node

_PLACEHOLDERS: Final = ("none", "nan", "null", "undefined")
_EXCEL_ERRORS: Final = (
    "#REF!",
    "#VALUE!",
    "#NAME?",
    "#NULL!",
    "#DIV/0!",
    "#NUM!",
    "#BEZUG!",
    "#WERT!",
    "#ZAHL!",
    "#NV",
)
"""In English and, where German has other words, in German."""
PLACEHOLDERS: Final = frozenset(
    spelled for word in _PLACEHOLDERS for spelled in (word, word.upper(), word.capitalize(), "NaN")
) | {"NaT", "<NA>", "<null>", "(null)", "<nil>", "N/A", "n/a", "#N/A", *_EXCEL_ERRORS}
"""How programs write that there is nothing, where text is wanted."""
_NO_IDS: Final = PLACEHOLDERS | {"nil", "Nil", "NIL"}  # which may be meant as a SKU, or as a refund's own key
_NOTHING_BEHIND_A_PREFIX: Final = tuple(
    sign + word for sign in "-_:/#" for word in ("None", "nan", "NaN", "null", "undefined")
)
"""What a map makes of a prefix and of nothing: `'DE-' + str(order_id)`."""
_WRAPPED: Final = re.compile(r"""=?["'\[{]|gid://""")
"""How text begins that is a formula, quoted, JSON, or an object that was made text."""
_EXPONENT: Final = re.compile(r"\d[eE]\+\d", re.ASCII)
_SCIENTIFIC: Final = re.compile(r"\d[.,]\d+[eE]\d+", re.ASCII)
_ZERO_DECIMALS: Final = re.compile(r"\d++(?:(?:,\d{3})*+\.0++|(?:\.\d{3})*+,0++)", re.ASCII)
# What Unicode shows as nothing though it counts as printable: variation selectors, fillers, an empty Braille cell.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_SEVERAL: Final = re.compile(r"\d{4} ?[,;] ?\d{4}", re.ASCII)
_ADDRESS: Final = re.compile(r"://|[^@]@[^@]+\.\w+$")
# What stands in no id that can match nothing, unless it is a placeholder with an n: visible ASCII without `!`, quotes,
# `+`, `;`, `@`, `[`, `{`, and without `.` and `,` before a 0 or before digits with an exponent, `,` before digits of
# another id, and `:/`.
_HARMLESS: Final = re.compile(r"(?:[#-&(-*\-/-9<-?A-Z\\-z|-~]++|[.,:](?![0/]|\d+[eE]\d)(?!(?<=,)\d{4}))*+")


def not_a_placeholder(node: Node) -> Node:
    """Return a node for a key, of which `None`, `nan`, `<NA>` and other placeholders are none."""
    advice = "records with it would overwrite each other: drop them with `__filter__`, or map another column"
    return limited(node, "placeholder_key", advice, **{"not": {"enum": sorted(PLACEHOLDERS)}})


def _is_mangled(text: str) -> bool:
    return (
        text in PLACEHOLDERS
        or text != text.strip()
        or not text.isprintable()
        or _INVISIBLE.search(text) is not None
        or _WRAPPED.match(text) is not None
        or _EXPONENT.search(text) is not None
        or _SCIENTIFIC.fullmatch(text) is not None
    )


def _is_unmatchable(text: str) -> bool:
    return (
        _is_mangled(text)
        or text in _NO_IDS
        or text.endswith((".0", *_NOTHING_BEHIND_A_PREFIX))
        or _SEVERAL.search(text) is not None
        or _ADDRESS.search(text) is not None
        or _ZERO_DECIMALS.fullmatch(text) is not None
    )


def _none_is_unmatchable(ids: Values) -> bool:
    text = "".join(ids)
    if _HARMLESS.fullmatch(text) is None:
        return False
    # Those of harmless signs have an n each; to look for one takes a tenth of the time that looking each id up takes.
    if "n" not in text and "N" not in text:
        return True
    return _NO_IDS.isdisjoint(ids) and not any([each.endswith(_NOTHING_BEHIND_A_PREFIX) for each in ids])  # noqa: C419  # a list is faster


UNMATCHABLE_ID: Final = Rule(
    "unmatchable_id",
    "an id that cannot match one of another source",
    "Blanks, quotes, brackets, commas, invisible characters, `gid://`, addresses, `.0`, `e+17`, `#REF!` and words such "
    "as `nan` come from the source, a spreadsheet or a map: write one bare id.",
    lambda ids: [each for each in ids if _is_unmatchable(each)],
    clean=_none_is_unmatchable,
)
UNMATCHABLE_SKU: Final = Rule(
    "unmatchable_id",
    "a SKU that cannot match one of another source",
    "Blanks at an end, quotes and brackets before it, invisible characters and `e+17` come from the source, a "
    "spreadsheet or a map: write the bare SKU.",
    lambda skus: [each for each in skus if _is_mangled(each)],  # 4711.0 and 12,0 may be sizes
    clean=_none_is_unmatchable,
)
ORDER_NAME: Final = Rule(
    "order_name",
    "an order's name (`#1001`)",
    "Klar matches these costs by the order's id: map the column that has it.",
    lambda ids: [each for each in ids if each.startswith("#")],
    clean=lambda ids: "#" not in "".join(ids),
)
_PAYMENT: Final = re.compile(r"(?:ch|cs|in|ord|pay|pi|po|py|re|src|tr|txn)_\w{4,}", re.ASCII)
"""How ids of Stripe (`ch_`, `pi_`, `txn_`) and Mollie (`tr_`, `ord_`) begin, for what is no order of a shop."""
PAYMENT_ID: Final = Rule(
    "payment_id",
    "the id of a payment (`ch_...`, `txn_...`, `tr_...`)",
    "Klar matches these costs by the order's id: map the column that has it, often in the payment's `metadata`.",
    lambda ids: [each for each in ids if _PAYMENT.fullmatch(each)],
    clean=lambda ids: "_" not in "".join(ids),
    least=3,
    share=0.5,
)
