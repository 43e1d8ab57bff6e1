"""The contract's data quality rules at work on the records of a run: how many meet each, one of them, what to do.

Some records are looked at together, column by column: that shows fastest that none of them meets a rule.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from msgspec import UNSET

from target_klar.contract.quality import without_rules
from target_klar.records.formatting import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from target_klar.contract.quality import Rule
    from target_klar.contract.schema import Node
    from target_klar.contract.streams import Contract
    from target_klar.records.conform import Conformed

_Step: TypeAlias = "Callable[[list[Any]], list[Any]]"
_Path: TypeAlias = tuple[_Step, ...]
"""The steps from a column of objects down to the column of one of their fields, or of an array's items."""

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

    paths: list[_Path]
    met: int = 0
    of: int = 0
    example: str = ""


class QualityReport:
    """Counts the records of one stream in a run that meet the contract's data quality rules.

    A record counts once a rule. The rules of the names in `ignored` are not asked; with `enabled` false none is.
    """

    def __init__(self, contract: Contract, ignored: Collection[str] = (), *, enabled: bool = True) -> None:
        self._contract = contract
        self._counts: dict[Rule, _Count] = {}
        for rule, path in _rules(without_rules(contract.schema, ignored)) if enabled else ():
            self._counts.setdefault(rule, _Count([])).paths.append(path)
        self._waiting: list[Any] = []
        self._beyond: list[Any] = []
        """Those of them beyond the limits of a rule."""
        self._bytes = 0

    def add(self, conformed: Conformed) -> None:
        """Ask the rules about a record that is going to be sent."""
        self._waiting.append(conformed.typed)
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
        if not objects or not self._counts:
            return
        all_columns, columns_beyond = _Columns(objects), _Columns(beyond)
        for rule, count in [*self._counts.items()]:
            columns = columns_beyond if rule.narrowed else all_columns
            values = columns.below(count.paths)
            if rule.disproved is not None and rule.disproved(values):
                del self._counts[rule]
                continue
            asked = columns.objects
            count.of += len(objects) - len(asked) + (len(asked) if rule.counted is None else rule.counted(values))
            if values and not columns.are_clean(rule, count.paths) and rule.met_by(values):
                self._count(rule, count, asked)

    def _count(self, rule: Rule, count: _Count, objects: list[Any]) -> None:
        for each in objects:
            if rule.met_by(_Columns([each]).below(count.paths)):
                count.met += 1
                count.example = count.example or self._contract.key_of(each)


class _Columns:
    """The fields of some objects as columns: each is read once, whatever rules ask about it or below it."""

    def __init__(self, objects: list[Any]) -> None:
        self.objects = objects
        self._known: dict[_Path, list[Any]] = {(): objects}
        self._clean: dict[Any, bool] = {}

    def below(self, paths: list[_Path]) -> list[Any]:
        """Return the values at the ends of some paths, those that are there."""
        return self._at(paths[0]) if len(paths) == 1 else _items(map(self._at, paths))

    def are_clean(self, rule: Rule, paths: list[_Path]) -> bool:
        """Tell whether no value there can meet a rule, if that is fast to tell; rules that ask the same ask once."""
        if rule.clean is None:
            return False
        asked = (rule.clean, *paths)
        if asked not in self._clean:
            self._clean[asked] = rule.clean(self.below(paths))
        return self._clean[asked]

    def _at(self, path: _Path) -> list[Any]:
        values = self._known.get(path)
        if values is None:
            above = self._at(path[:-1])
            values = self._known[path] = path[-1](above) if above else []
        return values


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


def _items(arrays: Iterable[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(arrays))


def _line(contract: Contract, rule: Rule, count: _Count) -> QualityLine:
    is_usual = count.of < _ONE_IN or count.met * _ONE_IN >= count.of
    key = shorten(contract.readable_key(count.example))
    return QualityLine(
        logging.WARNING if is_usual else logging.INFO,
        f"{contract.stream}: {count.met:,} of {count.of:,} records ({100 * count.met / count.of:.3g} %) with "
        f"{rule.what}, such as {key} [{rule.name}]. {rule.advice}",
    )
