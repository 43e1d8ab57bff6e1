"""Which of the objects sent a refusal of Klar's means, in every style that its pages show.

Transaction costs come as `errors[]` whose `key` opens with the index of the object (Klar's Transaction Costs page):
that is certain. Refunds come as a tree of class-validator nodes whose `target` is the object that the property
belongs to, the refund or one of its line items (Klar's Refunds page; the meaning of `target` is our reading), and
some endpoints name ids alone (Klar's Magento module): those are hints, since a refund and a line item can look alike.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

from target_klar.records.formatting import Problem, describe, shorten

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence

_INDEX = re.compile(r"(\d{1,9})(?:\.(.*))?$", re.ASCII | re.DOTALL)
_STEP = re.compile(r"[^.\[\]]+")
_FAILED_IDS = re.compile(r"failed\w*Ids$")
_MAX_CHARACTERS = 200


class Attribution(NamedTuple):
    """Who is meant, by index into the objects sent: for certain, and by a hint that names exactly one of them."""

    certain: dict[int, list[Problem]]
    hinted: dict[int, list[Problem]]
    unknown: list[Problem]
    """What Klar said without naming an object that was sent."""


class _Fault(NamedTuple):
    problem: Problem
    position: int | None = None
    target: Any = None
    name: Any = None


def attribute_errors(
    content: Any, sent: Sequence[Mapping[str, Any]], key: str, *, private: Collection[str] = ()
) -> Attribution:
    """Read a refusal: `content` is Klar's JSON, or the start of the text where it was none.

    Of fields that are `private`, and of those below them, neither the value nor Klar's words are shown.
    """
    result = Attribution({}, {}, [])
    try:
        objects = _Sent(sent, key)
        for fault in (_hidden(each, private) for each in _faults(content)):
            if fault.position is not None and fault.position < len(sent):
                result.certain.setdefault(fault.position, []).append(fault.problem)
            elif (meant := objects.of(fault)) is not None:
                result.hinted.setdefault(meant, []).append(fault.problem)
            else:
                result.unknown.append(fault.problem)
    except RecursionError:  # no refusal is nested that deeply, so this is none that tells anything
        return Attribution({}, {}, [])
    if not any(result):
        said = content.get("message") if isinstance(content, dict) else content
        words = said if isinstance(said, list) else [said]
        result.unknown.extend(Problem("", _shown(word)) for word in words if isinstance(word, str))
    return result


def _hidden(fault: _Fault, private: Collection[str]) -> _Fault:
    path = fault.problem.path
    if not any(step in private for step in _STEP.findall(path)):
        return fault
    return fault._replace(problem=Problem(path, "is refused by Klar, whose words are not shown: personal data"))


class _Sent:
    """Finds the one object sent that a target or an id names, as the object itself or one in its lists."""

    def __init__(self, sent: Sequence[Mapping[str, Any]], key: str) -> None:
        self._key = key
        self._equal: defaultdict[Hashable, set[int]] = defaultdict(set)
        self._named: defaultdict[str, set[int]] = defaultdict(set)
        for index, whole in enumerate(sent):
            for part in _objects(whole):
                self._equal[_frozen(part)].add(index)
                self._named[str(part.get(key, part.get("id")))].add(index)

    def of(self, fault: _Fault) -> int | None:
        """Return its index; None where none or several could be meant."""
        indexes: set[int] = set()
        if isinstance(fault.target, dict):
            indexes = self._equal.get(_frozen(fault.target), indexes)
        if not indexes:
            name = fault.target.get(self._key) if isinstance(fault.target, dict) else fault.name
            indexes = indexes if name is None else self._named.get(str(name), indexes)
        return next(iter(indexes)) if len(indexes) == 1 else None


def _frozen(value: Any) -> Hashable:
    """Return what can be looked up and is equal where two JSON values are."""
    if isinstance(value, dict):
        return frozenset((name, _frozen(held)) for name, held in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _objects(whole: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield an object that was sent and the objects in its lists."""
    yield whole
    for value in whole.values():
        if isinstance(value, list | tuple):
            yield from (part for part in value if isinstance(part, dict))


def _faults(node: Any, path: str = "", target: Any = None) -> Iterator[_Fault]:
    if isinstance(node, list):
        for item in node:
            yield from _faults(item, path, target)
    elif isinstance(node, dict):
        yield from _faults_of(node, path, target)


def _faults_of(node: Mapping[str, Any], path: str, target: Any) -> Iterator[_Fault]:
    target = node.get("target", target)
    path = _joined(path, node.get("property"))
    constraints = node.get("constraints")
    if isinstance(constraints, dict):
        for message in constraints.values():
            yield _Fault(Problem(path, _worded(message, node)), target=target)
    elif "message" in node and ("key" in node or "id" in node):
        yield _flat(node)
    for name, value in node.items():
        if name in ("errors", "children"):
            yield from _faults(value, path, target)
        elif _FAILED_IDS.match(name) and isinstance(value, list):
            for failed in value:
                yield _Fault(Problem("", "Klar named it among those that failed"), name=failed)


def _flat(node: Mapping[str, Any]) -> _Fault:
    said = str(node.get("key", ""))
    match = _INDEX.match(said)
    steps = (match[2] or "" if match else said).split(".")
    problem = Problem(reduce(_joined, steps, ""), _worded(node["message"], node))
    return _Fault(problem, position=int(match[1]) if match else None, name=node.get("id"))


def _worded(message: object, node: Mapping[str, Any]) -> str:
    shown = _shown(str(message))
    return f"{shown} (found {describe(node['value'])})" if "value" in node else shown


def _shown(words: str) -> str:
    return shorten(words, _MAX_CHARACTERS)


def _joined(path: str, name: object) -> str:
    if name is None or name == "":
        return path
    if str(name).isdigit():
        return _shown(f"{path}[{name}]") if path else ""
    return _shown(f"{path}.{name}" if path else str(name))
