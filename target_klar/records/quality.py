"""The contract's data quality rules at work on the records of a run: how many meet each, one of them, what to do.

Some records are looked at together, column by column: that shows fastest that none of them meets a rule.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from msgspec import UNSET

from target_klar.contract.quality import without_rules
from target_klar.records.formatting import counted, shorten

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

_OBJECTS: Final = 0
"""The place of the objects themselves among columns."""
_LOOK_BYTES: Final = 65_536
"""Bytes of JSON: typed objects take several times as much, and are fast to read while the processor still has them."""
_ONE_IN: Final = 20
"""A rule is warned of if it is met by one record in so many, or if there are fewer."""
_KEYS_ALIKE: Final = 5
_MOST_ALIKE: Final = 200
"""Of a rule that asks for few different things: how many keys there are for each, and how many things at most."""
_MAX_LINES: Final = 10
"""How many source streams have a line of their own for one rule."""


@dataclass(slots=True)
class _Count:
    """How many records of one source stream meet a rule, if any does."""

    met: int = 0
    not_among: int = 0
    """How many do not count, since the rule asks about some records only."""
    example: str = ""


@dataclass(slots=True)
class _Source:
    """What is known of the records of one source stream so far."""

    records: int = 0
    counts: dict[Rule, _Count] = field(default_factory=dict)
    """Of the rules of which there is something to say: with many source streams, this keeps them small."""
    disproved: set[Rule] = field(default_factory=set)
    alike: dict[Rule, tuple[set[int], set[int]]] = field(default_factory=dict)
    """Hashes of the different things that objects have, and of their keys, of the rules that ask for few things, until
    there are too many."""

    def may_hold(self, rule: Rule) -> bool:
        """Tell whether nothing has ruled out a rule."""
        things, keys = self.alike.get(rule, ((), ()))
        return rule not in self.disproved and len(things) * _KEYS_ALIKE <= len(keys)

    def disproves(self, rule: Rule, values: Values) -> bool:
        """Tell whether values rule out a rule, by themselves or beside those before them."""
        if rule.alike is not None:
            things, keys = self.alike.setdefault(rule, (set(), set()))
            for seen, found in zip((things, keys), rule.alike(values), strict=True):
                seen.update(map(hash, found) if len(seen) <= _MOST_ALIKE * _KEYS_ALIKE else ())
            return len(things) > _MOST_ALIKE
        return rule.disproved is not None and rule.disproved(values)


class _Tally(NamedTuple):
    """How many records meet a rule, of how many."""

    met: int
    of: int
    example: str
    sources: Sequence[str]
    """The source streams that they are of."""

    @property
    def level(self) -> int:
        """The level of a line about it, as `logging` has it."""
        return logging.WARNING if self.of < _ONE_IN or self.met * _ONE_IN >= self.of else logging.INFO


class QualityReport:
    """Counts the records of one stream in a run that meet the contract's data quality rules, by source stream.

    A record counts once a rule. The rules of the names in `ignored` are not asked.
    """

    def __init__(self, contract: Contract, ignored: Collection[str] = ()) -> None:
        self._contract = contract
        paths: dict[Rule, list[_Path]] = defaultdict(list)
        for rule, path in _rules(without_rules(contract.schema, ignored)):
            paths[rule].append(path)
        self._columns = _Columns(paths)
        self._rules = [*paths]
        self._narrowed = [rule for rule in paths if rule.narrowed]
        self._by_text: dict[Callable[[bytes], bool] | None, list[Rule]] = defaultdict(list)
        """The other rules, by what tells whether objects of a JSON text can meet them."""
        for rule in paths:
            if not rule.narrowed:
                self._by_text[rule.possible].append(rule)
        self._sources: dict[str, _Source] = defaultdict(_Source)
        self._waiting: dict[str, list[Conformed]] = defaultdict(list)
        """The records that are looked at next, by source stream; there is one limit for all of them together."""
        self._bytes = 0

    def ask_about(self, conformed: Conformed, source_stream: str) -> None:
        """Ask the rules about a record of the tap's stream `source_stream` that is going to be sent."""
        self._waiting[source_stream].append(conformed)
        self._bytes += len(conformed.sent)
        if self._bytes > _LOOK_BYTES:
            self._look()

    def lines(self) -> list[tuple[int, str]]:
        """Return log levels and lines for each rule that holds for the run so far: number, share, one key, advice."""
        self._look()
        return [line for rule in self._rules for line in self._lines(rule)]

    def _look(self) -> None:
        for name, records in self._waiting.items():
            self._look_at(self._sources[name], records)
        self._waiting.clear()
        self._bytes = 0

    def _look_at(self, source: _Source, records: list[Conformed]) -> None:
        objects = [each.typed for each in records]
        source.records += len(objects)
        text = b"".join([each.sent for each in records])
        possible = [rule for may, rules in self._by_text.items() if may is None or may(text) for rule in rules]
        self._ask(source, possible, objects)
        if beyond := [each.typed for each in records if not each.is_narrow]:
            self._ask(source, self._narrowed, beyond)

    def _ask(self, source: _Source, rules: Iterable[Rule], objects: list[Any]) -> None:
        """Ask rules about those objects of a source stream that may meet one."""
        columns, read = self._columns, {_OBJECTS: objects}
        for rule in rules:
            if rule in source.disproved:
                continue
            if (rule.disproved or rule.alike) and source.disproves(rule, columns.of(rule, read)):
                source.disproved.add(rule)
                source.counts.pop(rule, None)
                source.alike.pop(rule, None)
                continue
            if rule.counts_among and (not_among := len(objects) - len(columns.of(rule, read))):
                source.counts.setdefault(rule, _Count()).not_among += not_among
            if columns.meet(rule, read):
                self._count(rule, source.counts.setdefault(rule, _Count()), objects)

    def _count(self, rule: Rule, count: _Count, objects: list[Any]) -> None:
        for each in objects:
            if self._columns.meet(rule, {_OBJECTS: [each]}):
                count.met += 1
                count.example = count.example or self._contract.key_of(each)

    def _lines(self, rule: Rule) -> Iterator[tuple[int, str]]:
        """Yield a line for each source stream for which a rule holds, up to a limit, and one for those beyond it.

        The others are judged together: of many small ones none may have as many records as the rule asks for.
        """
        nothing = _Count()
        tallies = [
            _Tally(count.met, source.records - count.not_among, count.example, [name])
            for name, source in self._sources.items()
            for count in [source.counts.get(rule, nothing)]
            if source.may_hold(rule)
        ]
        holding = [each for each in tallies if rule.holds(each.met, each.of)]
        rest = _together([each for each in tallies if not rule.holds(each.met, each.of)])
        is_open = rule.alike is None and not any(rule in each.disproved for each in self._sources.values())
        if is_open and rule.holds(rest.met, rest.of):
            holding.append(rest)
        holding.sort(key=lambda tally: (tally.level, tally.met), reverse=True)
        for tally in holding[:_MAX_LINES]:
            key = shorten(self._contract.readable_key(tally.example))
            text = self._text(rule, tally, self._of(tally))
            yield tally.level, f"{text}, such as {key} [{rule.name}]. {rule.advice}"
        if more := holding[_MAX_LINES:]:
            tally = _together(more)
            text = self._text(rule, tally, f" of {counted(len(tally.sources), 'more source stream')}")
            yield more[0].level, f"{text} [{rule.name}]."

    def _of(self, tally: _Tally) -> str:
        """Return which source streams records are of, where there are several."""
        if len(self._sources) == 1:
            return ""
        first, *others = tally.sources
        return f" of {len(tally.sources):,} source streams together" if others else f" of {shorten(first)}"

    def _text(self, rule: Rule, tally: _Tally, of: str) -> str:
        share = f"{tally.met:,} of {tally.of:,} records{of} ({100 * tally.met / tally.of:.3g} %)"
        return f"{self._contract.stream}: {share} with {rule.what}"


def _together(tallies: Sequence[_Tally]) -> _Tally:
    """Return the tally of several source streams."""
    return _Tally(
        sum(each.met for each in tallies),
        sum(each.of for each in tallies),
        next((each.example for each in tallies if each.example), ""),
        [name for each in tallies for name in each.sources],
    )


class _Columns:
    """The values that rules ask about, as columns, which are read when the first rule asks about them or below them.

    Columns that have been read are by their places, that of the objects themselves being `_OBJECTS`.
    """

    def __init__(self, paths: Mapping[Rule, Iterable[_Path]]) -> None:
        self._steps: dict[int, tuple[int, _Step]] = {}
        """By the place of a column, that of the column above it, and the step from there."""
        self._places: dict[_Path, int] = {(): _OBJECTS}
        ends = {rule: [(*path, rule.among) if rule.among else path for path in each] for rule, each in paths.items()}
        self._values = {rule: [*map(self._place, each)] for rule, each in ends.items()}
        self._clean = {
            rule: [self._place((*path, rule.clean)) for path in each] for rule, each in ends.items() if rule.clean
        }

    def of(self, rule: Rule, read: dict[int, Any]) -> Values:
        """Return the values that a rule asks about: of a field those that are there."""
        values = [self._column(place, read) for place in self._values[rule]]
        return values[0] if len(values) == 1 else _items(values)

    def meet(self, rule: Rule, read: dict[int, Any]) -> bool:
        """Tell whether any of the values that a rule asks about meets it."""
        # An empty column stays empty.
        if rule.clean and all(self._column(place, read) is not False for place in self._clean[rule]):
            return False
        values = self.of(rule, read)
        return bool(values) and bool(rule.met_by(values))

    def _column(self, place: int, read: dict[int, Any]) -> Any:
        if place not in read:
            above, step = self._steps[place]
            values = self._column(above, read)
            read[place] = step(values) if values else values
        return read[place]

    def _place(self, path: _Path) -> int:
        if path not in self._places:
            above = self._place(path[:-1])
            self._places[path] = len(self._places)
            self._steps[self._places[path]] = above, path[-1]
        return self._places[path]


def _rules(node: Node, path: _Path = ()) -> Iterator[tuple[Rule, _Path]]:
    for rule in node.get("quality", ()):
        yield rule, path
    for name, child in node.get("properties", {}).items():
        yield from _rules(child, (*path, _field(name, optional=name not in node["required"])))
    if "items" in node:
        yield from _rules(node["items"], (*path, _items))


def _field(name: str, *, optional: bool) -> _Step:
    value = attrgetter(name)
    if optional:
        return lambda objects: [each for each in map(value, objects) if each is not UNSET]
    return lambda objects: list(map(value, objects))


def _items(arrays: Values) -> Values:
    return list(chain.from_iterable(arrays))
