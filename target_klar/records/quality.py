"""The contract's data quality rules at work on the records of a run: how many meet each, one of them, what to do.

Some records are looked at together, column by column: that shows fastest that none of them meets a rule.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from msgspec import UNSET

from target_klar.contract.quality import without_rules
from target_klar.records.formatting import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from target_klar.contract.quality import Rule, Values
    from target_klar.contract.schema import Node
    from target_klar.contract.streams import Contract
    from target_klar.records.conform import Conformed

_Step: TypeAlias = "Callable[[Values], Any]"
_Path: TypeAlias = tuple[_Step, ...]
"""The steps from a column of objects down to the column of one of their fields, or of an array's items, or to whether
its values are clean."""

_TOGETHER: Final = 65_536
"""Bytes of JSON: typed objects take several times as much, and are fast to read while the processor still has them."""
_ONE_IN: Final = 20
"""A rule is warned of if it is met by one record in so many, or if there are fewer."""


class QualityLine(NamedTuple):
    """What to log about one rule: the level, as `logging` has it, and one line."""

    level: int
    text: str


@dataclass
class _Count:
    """What is known of one rule so far."""

    columns: _Columns
    """What it alone asks about."""
    met: int = 0
    of: int = 0
    example: str = ""


class QualityReport:
    """Counts the records of one stream in a run that meet the contract's data quality rules.

    A record counts once a rule. The rules of the names in `ignored` are not asked; with `enabled` false none is.
    """

    def __init__(self, contract: Contract, ignored: Collection[str] = (), *, enabled: bool = True) -> None:
        self._contract = contract
        paths: dict[Rule, list[_Path]] = defaultdict(list)
        for rule, path in _rules(without_rules(contract.schema, ignored)) if enabled else ():
            paths[rule].append(path)
        self._counts = {rule: _Count(_Columns({rule: each})) for rule, each in paths.items()}
        self._narrowed = _Columns({rule: each for rule, each in paths.items() if rule.narrowed})
        others = {rule: each for rule, each in paths.items() if not rule.narrowed}
        self._by_text = {
            possible: _Columns({rule: each for rule, each in others.items() if rule.possible is possible})
            for possible in {rule.possible for rule in others}
        }
        self._waiting: list[Any] = []
        self._texts: list[bytes] = []
        """The JSON of each of them."""
        self._beyond: list[Any] = []
        """Those of them beyond the limits of a rule."""
        self._bytes = 0

    def add(self, conformed: Conformed) -> None:
        """Ask the rules about a record that is going to be sent."""
        self._waiting.append(conformed.typed)
        self._texts.append(conformed.sent)
        if not conformed.is_narrow:
            self._beyond.append(conformed.typed)
        self._bytes += len(conformed.sent)
        if self._bytes > _TOGETHER:
            self._look()

    def lines(self) -> list[QualityLine]:
        """Return a line for each rule that holds for the run so far: number, share, one key, and what to do."""
        self._look()
        return [
            _line(self._contract, rule, count)
            for rule, count in self._counts.items()
            if rule.holds(count.met, count.of)
        ]

    def _look(self) -> None:
        objects, self._waiting, self._bytes = self._waiting, [], 0
        beyond, self._beyond = self._beyond, []
        text, self._texts = b"".join(self._texts), []
        for possible, columns in self._by_text.items():
            asked = objects if possible is None or possible(text) else []
            if disproved := self._ask(columns, asked, len(objects)):
                self._by_text[possible] = columns.without(disproved)
        self._ask(self._narrowed, beyond, len(objects))

    def _ask(self, columns: _Columns, objects: list[Any], of: int) -> set[Rule]:
        """Ask rules about those of so many objects that may meet one; return those that are disproved."""
        disproved: set[Rule] = set()
        for rule in columns.rules:
            self._counts[rule].of += of - len(objects)
        if not objects:
            return disproved
        read = columns.read(objects)
        for rule in columns.rules:
            if rule.disproved is not None and rule.disproved(columns.of(rule, read)):
                del self._counts[rule]
                disproved.add(rule)
                continue
            count = self._counts[rule]
            count.of += len(columns.of(rule, read)) if rule.counts_among else len(objects)
            if columns.meet(rule, read):
                self._count(rule, count, objects)
        return disproved

    def _count(self, rule: Rule, count: _Count, objects: list[Any]) -> None:
        for each in objects:
            if count.columns.meet(rule, count.columns.read([each])):
                count.met += 1
                count.example = count.example or self._contract.key_of(each)


class _Columns:
    """The values that some rules ask about, as columns: each is read once, whatever asks about it or below it."""

    def __init__(self, paths: Mapping[Rule, Iterable[_Path]]) -> None:
        self._paths = paths
        self._steps: list[tuple[int, _Step]] = []
        """The place of the column above each other one, and the step from there."""
        self._places: dict[_Path, int] = {(): 0}
        ends = {rule: [(*path, rule.among) if rule.among else path for path in each] for rule, each in paths.items()}
        self._values = {rule: [*map(self._column_number, each)] for rule, each in ends.items()}
        self._clean = {
            rule: [self._column_number((*path, rule.clean)) for path in each]
            for rule, each in ends.items()
            if rule.clean
        }

    @property
    def rules(self) -> Iterable[Rule]:
        """The rules that ask."""
        return self._values

    def without(self, rules: Collection[Rule]) -> _Columns:
        """Return the columns that others than these rules ask about."""
        return _Columns({rule: each for rule, each in self._paths.items() if rule not in rules})

    def read(self, objects: Values) -> Sequence[Any]:
        """Return the columns of these objects: of a field the values that are there."""
        columns: list[Any] = [objects]
        for above, step in self._steps:
            values = columns[above]
            columns.append(step(values) if values else values)
        return columns

    def of(self, rule: Rule, columns: Sequence[Any]) -> Values:
        """Return the values that a rule asks about."""
        places = self._values[rule]
        return columns[places[0]] if len(places) == 1 else _items([columns[place] for place in places])

    def meet(self, rule: Rule, columns: Sequence[Any]) -> bool:
        """Tell whether any of the values that a rule asks about meets it."""
        if rule.clean and False not in map(columns.__getitem__, self._clean[rule]):  # an empty column stays empty
            return False
        values = self.of(rule, columns)
        return bool(values) and bool(rule.met_by(values))

    def _column_number(self, path: _Path) -> int:
        if path not in self._places:
            self._steps.append((self._column_number(path[:-1]), path[-1]))
            self._places[path] = len(self._steps)
        return self._places[path]


def _rules(node: Node, path: _Path = ()) -> Iterator[tuple[Rule, _Path]]:
    for rule in node.get("quality", ()):
        yield rule, path
    for name, field in node.get("properties", {}).items():
        yield from _rules(field, (*path, _field(name, optional=name not in node["required"])))
    if "items" in node:
        yield from _rules(node["items"], (*path, _items))


def _field(name: str, *, optional: bool) -> _Step:
    value = attrgetter(name)
    if optional:
        return lambda objects: [each for each in map(value, objects) if each is not UNSET]
    return lambda objects: list(map(value, objects))


def _items(arrays: Values) -> Values:
    return list(chain.from_iterable(arrays))


def _line(contract: Contract, rule: Rule, count: _Count) -> QualityLine:
    is_usual = count.of < _ONE_IN or count.met * _ONE_IN >= count.of
    key = shorten(contract.readable_key(count.example))
    return QualityLine(
        logging.WARNING if is_usual else logging.INFO,
        f"{contract.stream}: {count.met:,} of {count.of:,} records ({100 * count.met / count.of:.3g} %) with "
        f"{rule.what}, such as {key} [{rule.name}]. {rule.advice}",
    )
