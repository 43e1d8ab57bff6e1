"""Data quality rules: what Klar would take and no merchant can mean. Each stands in the contract beside what it judges.

No page of Klar's says any of this: it is our reading. A rule is either a limit, beyond which a record is
rejected (`limited`), or a `Rule`, which is counted over a run (`with_rules`). Each has a name, which its message shows
and `ignore_quality_rules` turns off.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from target_klar.contract.schema import with_children

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from target_klar.contract.schema import Node

Values: TypeAlias = Sequence[Any]

SMALLEST: Final = math.ulp(0.0)
"""The smallest number above 0."""


@dataclass(frozen=True, eq=False)
class Rule:
    """A question about a value of the contract, counted over the records of a run.

    A value is what the typed decoder reads at the node that bears the rule, where it is there: text, a number, an
    array, an object.
    """

    name: str
    what: str
    """What a record that meets the rule has, after "with"."""
    advice: str
    """What to do about it, as a sentence."""
    met_by: Callable[[Values], Values]
    """Returns those of many values that meet it: asked together, they cost no call each."""
    narrowed: Callable[[Node], Node] | None = None
    """Returns the node with limits within which no value meets it: the decoder tells that at no cost, and then only the
    records beyond the limits are asked about. It may leave out values that do not meet it."""
    possible: Callable[[bytes], bool] | None = None
    """Whether any value in objects of this JSON can meet it: where it says no, they are not even read. It may say yes
    where none does."""
    among: Callable[[Values], Values] | None = None
    """Returns those of many values that can meet it: no other is asked about."""
    counts_among: bool = False
    """Whether the records of all others do not count; of values of which each record has one."""
    clean: Callable[[Values], bool] | None = None
    """Whether none of many values can meet it, where that is faster to tell; it may say no to values that do not."""
    disproved: Callable[[Values], bool] | None = None
    """Whether one of many values rules out the rule for the whole run; of a rule that is not `narrowed`."""
    alike: Callable[[Values], tuple[Collection[Any], Collection[Any]]] | None = None
    """Returns the different things that many objects have, and the keys of these, of a rule that holds only where a
    source stream has one such thing for every five keys, or fewer. It says nothing of source streams together."""
    asked_of: str = ""
    """Which values alone it asks about, for the documentation; empty: all."""
    least: int = 1
    """How many records have to be there."""
    share: float = 0.0
    """Which share of them has to be exceeded, or reached with `or_equal`."""
    or_equal: bool = False

    def holds(self, met: int, of: int) -> bool:
        """Tell whether so many records of so many are worth a word."""
        return met > 0 and of >= self.least and (met > self.share * of or (self.or_equal and met == self.share * of))


def with_rules(node: Node, *rules: Rule) -> Node:
    """Return a node whose values are asked about by these rules."""
    return node | {"quality": (*node.get("quality", ()), *rules)}


def limited(node: Node, rule: str, advice: str, **limits: Any) -> Node:
    """Return a node with these limits, as a data quality rule; `advice` says what to do about a value beyond them."""
    return node | limits | {"rule": {"name": rule, "advice": advice, "limits": [*limits], "without": node}}


def without_rules(node: Node, ignored: Collection[str]) -> Node:
    """Return a node without the rules of these names, at any level."""
    if "rule" in node and node["rule"]["name"] in ignored:
        limits, plain = node["rule"]["limits"], node["rule"]["without"]
        node = plain | {name: value for name, value in node.items() if name != "rule" and name not in limits}
    if "quality" in node:
        node = node | {"quality": tuple(rule for rule in node["quality"] if rule.name not in ignored)}
    return with_children(node, partial(without_rules, ignored=ignored))


def with_field_limits(node: Node, name: str, **limits: Any) -> Node:
    """Return the node of an object with these limits on one of its fields, for a rule that narrows it."""
    return node | {"properties": node["properties"] | {name: node["properties"][name] | limits}}


def narrowed(node: Node) -> Node:
    """Return a node with the limits of all rules that have some, at any level: within them no value meets those."""
    for rule in node.get("quality", ()):
        node = rule.narrowed(node) if rule.narrowed else node
    return with_children(node, narrowed)


def rule_names(node: Node) -> Iterator[str]:
    """Yield the name of each rule of a node, at any level; one may come several times."""
    if "rule" in node:
        yield node["rule"]["name"]
    yield from (rule.name for rule in node.get("quality", ()))
    for field in [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else ())]:
        yield from rule_names(field)


# Times

_DAY: Final = 86_400
_FIRST: Final = 1_104_537_600  # 2005-01-01


def _latest() -> float:
    return time.time() + _DAY


def _implausible(times: Values) -> Values:
    latest = _latest()
    return [each for each in times if not _FIRST <= each <= latest]


IMPLAUSIBLE_TIME: Final = Rule(
    "implausible_time",
    "a time before 2005 or more than a day ahead",
    "Check the column's unit, and whether it is the one that you mean.",
    _implausible,
    narrowed=lambda node: node | {"minimum": _FIRST, "maximum": _latest()},  # of the start; later times are asked about
)


# Amounts

_MIN_DIGITS: Final = 15
_NOISE: Final = 1e-9
_LONG_FRACTION: Final = re.compile(rb"\.\d{10}")
"""In JSON: a number that is not one of four decimals, and no further from it than `_NOISE`, has ten or more."""
_ROUND: Final = 1.5 * 2**52


def _is_noisy(amount: float) -> bool:
    near = round(amount, 4)
    return near != amount and abs(near - amount) <= _NOISE and _significant_digits(amount) >= _MIN_DIGITS


def _significant_digits(amount: float) -> int:
    return len(repr(abs(amount)).partition("e")[0].replace(".", "").lstrip("0"))


def _has_long_fraction(text: bytes) -> bool:
    return _LONG_FRACTION.search(text) is not None


def _noisy(amounts: Values) -> Values:
    # A double that four decimals write is exactly the quotient of a whole number and 10,000; adding a large number
    # and subtracting it again rounds to a whole one.
    return [each for each in amounts if (each * 1e4 + _ROUND - _ROUND) / 1e4 != each and _is_noisy(each)]


FLOAT_NOISE: Final = Rule(
    "float_noise",
    "an amount with the rounding error of a float (1.5499999999999998)",
    "Say `numeric` or `round` at the source.",
    _noisy,
    possible=_has_long_fraction,
)


_MANY_PIECES: Final = 1000


def _any_fraction(amounts: Values) -> bool:
    return any([each % 1 for each in amounts])  # noqa: C419  # a list is faster, and most amounts have a fraction


NEGATIVE_COSTS: Final = Rule(
    "negative_costs",
    "costs below 0",
    "Payment providers and ledgers book costs negative: turn the sign around in a stream map.",
    lambda amounts: [each for each in amounts if each < 0],
    narrowed=lambda node: node | {"minimum": max(0, node.get("minimum", 0))},  # where 0 is not narrow either
    least=3,
    share=0.5,
)


def zero_amounts(what: str, any_other: Callable[[Values], bool], met_by: Callable[[Values], Values]) -> Rule:
    """Return the rule that all amounts of 20 or more records are 0; `any_other` finds one that is not."""
    # The first other amount disproves it. Limits would have each free order or fee of a usual run asked about.
    return Rule(
        "zero_amounts",
        what,
        "A default of 0, as in `get('fee', 0)`, hides a missing column: check it in the stream map. Ignore this if "
        "they really are 0.",
        met_by,
        disproved=any_other,
        least=20,
        share=1,
        or_equal=True,
    )


ZERO_COSTS: Final = zero_amounts("an amount of 0", any, lambda amounts: [each for each in amounts if not each])


def amounts_in_cents(
    largest: Callable[[Any], float | None], any_fraction: Callable[[Values], bool], usual: float, unless: str = ""
) -> Rule:
    """Return the rule that whole amounts look like cents, where more than half of 20 or more are `usual` or more.

    `largest` reads the largest amount of a value; `unless` says, after a blank, when to ignore the rule.
    """
    return Rule(
        "amounts_in_cents",
        f"an amount of {usual:g} or more, and all amounts of the source stream are whole",
        f"They look like cents: divide them by 100 in a stream map.{unless}",
        lambda values: [each for each in values if (largest(each) or 0) >= usual],
        disproved=any_fraction,
        least=20,
        share=0.5,
    )


HUGE_QUANTITY: Final = Rule(
    "huge_quantity",
    "a line of 1,000 or more pieces",
    "They look like amounts or ids: map the column that counts pieces. If you sell so many, ignore the rule "
    "(`ignore_quality_rules`).",
    lambda pieces: [each for each in pieces if each >= _MANY_PIECES],
    narrowed=lambda node: node | {"maximum": _MANY_PIECES - 1},
    least=20,
    share=0.5,
)


def not_empty(arrays: Values) -> list[Any]:
    """Return the arrays that have items."""
    return [items for items in arrays if items]


def fractional_quantities(field: str) -> Rule:
    """Return the rule that most items of an array have fractions of pieces in a field."""
    pieces = attrgetter(field)
    return Rule(
        "fractional_quantities",
        "fractions of pieces on most lines",
        f"They look like amounts: map the column that counts pieces to `{field}`. If you sell by weight or length, "
        "ignore the rule (`ignore_quality_rules`).",
        lambda arrays: [items for items in arrays if len([1 for item in items if pieces(item) % 1]) * 2 > len(items)],
        narrowed=lambda node: node | {"minItems": 1, "items": with_field_limits(node["items"], field, multipleOf=1)},
        among=not_empty,
        counts_among=True,
        least=20,  # a few that are sold by weight or length are no mistake
        share=0.5,
    )


def amount(node: Node) -> Node:
    """Return a node for an amount in major units."""
    return with_rules(node, FLOAT_NOISE)


def cost(node: Node) -> Node:
    """Return a node for an amount that is a cost."""
    return with_rules(amount(node), NEGATIVE_COSTS)


def only_cost(node: Node, usual_cents: int = 50) -> Node:
    """Return a node for the one amount of an object that is a cost, in cents mostly `usual_cents` or more."""
    # A cost bears no currency, so whole yen are warned of like cents. Who has them ignores the rule by its name, once;
    # fees a hundred times too high would spoil every figure at Klar, and nobody would notice.
    unless = " If their currency has none, ignore the rule (`ignore_quality_rules`)."
    return with_rules(cost(node), ZERO_COSTS, amounts_in_cents(abs, _any_fraction, usual_cents, unless))
