"""Which of the objects sent an error of Klar's is about, in every style that its pages show.

Transaction costs come as `errors[]` whose `key` opens with the index of the object (Klar's Transaction Costs page):
that is certain. Refunds come as a tree of class-validator nodes whose `target` is the object that the property
belongs to, the refund or one of its line items (Klar's Refunds page; the meaning of `target` is our reading), and
some endpoints name ids alone (Klar's Magento module): those are hints, since a refund and a line item can look alike.
"""

from __future__ import annotations

import re
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

from target_klar.api.answers import FAILURE, NO_FAILURE
from target_klar.records.formatting import Problem, describe, shorten
from target_klar.records.json_codec import decode

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence

_INDEX = re.compile(r"(\d{1,9})(?:\.(.*))?$", re.ASCII | re.DOTALL)
_STEP = re.compile(r"[^.\[\]]+")
_FAILED_IDS = re.compile(r"failed\w*Ids$")
_MAX_CHARACTERS = 200
_TEXTS = ("message", "messages", "detail", "details", "errors", "error", "description", "reason", "title")
"""Where an answer in no style of Klar's pages may hold its reason, the likeliest first."""
_ECHOES = ("target", "value")
"""Where a node repeats what was sent."""


class Attribution(NamedTuple):
    """What Klar said, by index into the objects sent: for certain, and by a hint that names exactly one of them."""

    certain: dict[int, list[Problem]]
    hinted: dict[int, list[Problem]]
    unknown: list[Problem]
    """What Klar said without naming an object that was sent."""
    is_whole: bool
    """Whether nothing else in the answer says that something failed."""


class _Fault(NamedTuple):
    problem: Problem
    position: int | None = None
    target: Any = None
    name: Any = None


def attribute_errors(content: Any, sent: Sequence[bytes], key: str, *, personal: Collection[str] = ()) -> Attribution:
    """Attribute the errors in `content`, the JSON of an answer, to the objects `sent` as JSON.

    These are decoded only where an error names one, and one at a time. Of fields that are `personal`, and of those
    below them, neither the value nor Klar's words are shown.
    """
    result = Attribution({}, {}, [], is_whole=False)
    try:
        faults = [_hidden(each, personal) for each in _faults(content)]
        if not faults:
            result.unknown.extend(_hidden(_Fault(problem), personal).problem for problem in _reasons_in(content))
        result = result._replace(is_whole=_is_whole(content))
    except (RecursionError, ValueError):  # nested too deep, or with a number for text that Python cannot write
        return result
    positions = [each.position if each.position is not None and each.position < len(sent) else None for each in faults]
    vague = [
        each
        for each, position in zip(faults, positions, strict=True)
        if position is None or (each.name is not None and decode(sent[position]).get(key) != each.name)
    ]
    objects = _Sent(vague, map(decode, sent), key)
    for fault, position in zip(faults, positions, strict=True):
        named = objects.index_of(fault)
        if position is not None and named in (None, position):
            result.certain.setdefault(position, []).append(fault.problem)
        elif named is not None and position is None:
            result.hinted.setdefault(named, []).append(fault.problem)
        else:  # it names none, or one by its index and another one by its id
            result.unknown.append(fault.problem)
    return result


def _hidden(fault: _Fault, personal: Collection[str]) -> _Fault:
    path = fault.problem.path
    if not any(step in personal for step in _STEP.findall(path)):
        return fault
    return fault._replace(problem=Problem(path, "was rejected; Klar's reason is not shown: personal data"))


class _Sent:
    """Finds the one object sent that a target or an id names, as the object itself or one in its lists.

    Of the objects nothing is kept but which of them has a hash or an id that one of the faults names.
    """

    def __init__(self, faults: Iterable[_Fault], sent: Iterable[Mapping[str, Any]], key: str) -> None:
        self._key = key
        self._indexes: dict[int | str | None, set[int]] = {name: set() for each in faults for name in self._names(each)}
        if self._indexes:
            for index, whole in enumerate(sent):
                for part in _objects(whole):
                    for name in {_hash(part), str(part.get(key, part.get("id")))} & self._indexes.keys():
                        self._indexes[name].add(index)

    def index_of(self, fault: _Fault) -> int | None:
        """Return its index; None where a fault names none, or could name several."""
        indexes = next(filter(None, map(self._indexes.get, self._names(fault))), ())
        return next(iter(indexes)) if len(indexes) == 1 else None

    def _names(self, fault: _Fault) -> list[int | str | None]:
        """Return what a fault names an object by, the surest first: the hash of the whole object, an id as text."""
        if not isinstance(fault.target, dict):
            return [] if fault.name is None else [str(fault.name)]
        name = fault.target.get(self._key)
        return [_hash(fault.target)] if name is None else [_hash(fault.target), str(name)]


def _hash(value: Any) -> int | None:
    """Return what is equal where two JSON values are; None of one that is nested too deep."""
    try:
        return hash(_frozen(value))
    except RecursionError:
        return None


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
    path = _path_to(path, node.get("property"))
    if "constraints" in node or "property" in node:
        for problem in _reasons_in(node.get("constraints"), at=path, by_name=True) or _reasons_in(node, at=path):
            yield _Fault(Problem(path, _worded(problem.message, node)), target=target)
    elif "key" in node or "id" in node:
        yield from _flat(node)
    for name, value in node.items():
        if name in ("errors", "children"):
            yield from _faults(value, path, target)
        elif _FAILED_IDS.match(name) and isinstance(value, list):
            for failed in value:
                yield _Fault(Problem("", "Klar lists it as failed, without a reason"), name=failed)


def _is_whole(node: Any, *, among_errors: bool = False) -> bool:
    """Tell whether `_faults` yields one for each thing in a part of an answer that says that something failed."""
    if isinstance(node, list):
        return all(_is_whole(item, among_errors=among_errors) for item in node)
    if not isinstance(node, dict):
        return not among_errors
    parts = [*filter(node.get, ("errors", "children"))]
    if among_errors and any(name in node for name in ("constraints", "property", "key", "id")):
        return all(_is_whole(node[name], among_errors=True) for name in parts)
    return (bool(parts) or not among_errors) and all(
        _is_whole(value, among_errors=True)
        if name in parts
        else (_FAILED_IDS.match(name) and isinstance(value, list))
        or value in NO_FAILURE
        or (not FAILURE.search(name) and _is_whole(value))
        for name, value in node.items()
    )


def _flat(node: Mapping[str, Any]) -> Iterator[_Fault]:
    key = str(node.get("key", ""))
    match = _INDEX.match(key)
    steps = (match[2] or "" if match else key).split(".")
    path = reduce(_path_to, steps, "")
    for problem in _reasons_in(node):
        fault = Problem(path, _worded(problem.message, node))
        yield _Fault(fault, position=int(match[1]) if match else None, name=node.get("id"))


def _reasons_in(node: Any, *, at: str = "", by_name: bool = False) -> list[Problem]:
    """Return the reasons that (a part of) an answer gives in words, with `by_name` every text of an object."""
    if isinstance(node, str):
        return [Problem(at, _shown(node))] if node.strip() else []
    if isinstance(node, list):
        return [problem for item in node for problem in _reasons_in(item, at=at, by_name=by_name)]
    if not isinstance(node, dict):
        return []
    for name in _TEXTS:
        if found := _reasons_in(node.get(name), at=at, by_name=True):
            return found
    others = ((name, value) for name, value in node.items() if by_name and name not in _ECHOES)
    return [problem for name, value in others for problem in _reasons_in(value, at=_path_to(at, name), by_name=True)]


def _worded(message: str, node: Mapping[str, Any]) -> str:
    return f"{message} (found {describe(node['value'])})" if "value" in node else message


def _shown(words: str) -> str:
    return shorten(words, _MAX_CHARACTERS)


def _path_to(path: str, name: object) -> str:
    if name is None or name == "":
        return path
    if str(name).isdigit():
        return _shown(f"{path}[{name}]") if path else ""
    return _shown(f"{path}.{name}" if path else str(name))
