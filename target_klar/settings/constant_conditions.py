"""Conditions whose outcome is the same whatever a record holds.

A condition is tried with all that can make a difference to it. What it reads of a record is each of the constants that
it compares with that, something else, or nothing else: `status != 'a' or status != 'b'` is true with each. What it does
not compare with a constant, as in `paid < total`, may be true or false.
"""

from __future__ import annotations

import ast
import operator
from contextlib import suppress
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    _Reader = Callable[[Mapping[str, Any]], Any]
    """Returns the value of a part of a condition, given the values of what that reads."""

_MAX_TRIALS: Final = 5_000
"""A condition that would need more is left alone."""
_CONTAINERS: Final = (list, tuple, set, dict)
_OPERATORS: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda item, held: item in held,
    ast.NotIn: lambda item, held: item not in held,
    # Text, or a number, is never the same object as a constant, but by chance.
    ast.Is: lambda one, other: one is other and is_singleton(other),
    ast.IsNot: lambda one, other: one is not other or not is_singleton(other),
}
_MADE_ONCE: Final = frozenset({"upper", "lower", "casefold", "strip", "lstrip", "rstrip"})
"""Methods of text that make the same of what they have made."""


class _Else:
    """A value that equals no constant."""

    def __init__(self, *, truth: bool) -> None:
        self._truth = truth

    def __bool__(self) -> bool:
        return self._truth


_SOMETHING: Final = _Else(truth=True)
_NOTHING: Final = _Else(truth=False)


def outcome(condition: ast.AST) -> bool | None:
    """Tell whether a condition is true whatever a record holds, or false; None if that depends, or cannot be told."""
    trial = _Trial(condition)
    truths: set[bool] = set()
    tried = product(*trial.values.values())
    for number, values in enumerate(tried):
        truths.add(bool(trial.read(dict(zip(trial.values, values, strict=True)))))
        if len(truths) > 1 or number == _MAX_TRIALS:
            return None
    return truths.pop()


def reads_a_record(condition: ast.AST) -> bool:
    """Tell whether there is anything in a condition but constants."""
    return bool(_Trial(condition).values)


def is_literal(node: ast.AST) -> bool:
    """Tell whether a part of an expression is a constant, or a list or the like of constants."""
    return bool(_literal(node))


def is_singleton(constant: object) -> bool:
    """Tell whether `is` can be asked of a constant."""
    return constant is None or type(constant) is bool


def made_of(node: ast.AST, constant: Any) -> Any:
    """Return what a part of an expression can return in the place of a constant: `status.upper()` no small letters."""
    made = constant
    match node:
        case ast.Call(func=ast.Attribute(attr=method), args=[], keywords=[]) if method in _MADE_ONCE:
            made = getattr(constant, method)() if isinstance(constant, str) else constant
        case ast.Subscript(slice=ast.Slice(lower=None, upper=ast.Constant(value=int(length)), step=None)):
            made = constant[:length] if isinstance(constant, str) else constant
        case ast.Subscript(
            slice=ast.Slice(lower=ast.UnaryOp(ast.USub(), ast.Constant(value=int(length))), upper=None, step=None)
        ):
            made = constant[-length:] if isinstance(constant, str) else constant
    return made


def _literal(node: ast.AST) -> tuple[Any, ...]:
    """Return the value of a constant, or of a list or the like of constants, in a tuple; of anything else nothing."""
    if isinstance(node, ast.Constant | ast.Tuple | ast.List | ast.Set | ast.Dict | ast.UnaryOp):
        with suppress(ValueError, TypeError):
            return (ast.literal_eval(node),)
    return ()


def _value_of(literal: tuple[Any, ...], _: Mapping[str, Any]) -> Any:
    return literal[0]


class _Trial:
    """A condition, with the values of what it reads that can make a difference."""

    def __init__(self, condition: ast.AST) -> None:
        self.values: dict[str, list[Any]] = {}
        """By what it reads of a record, as `ast.dump` shows that."""
        self.read = self._reader(condition, ())

    def _reader(self, node: ast.AST, constants: Sequence[Any]) -> _Reader:
        """Return what reads the value of a part, which is compared with some constants."""
        reader: _Reader | None = None
        match node:
            case _ if literal := _literal(node):
                reader = partial(_value_of, literal)
            case ast.BoolOp(op=operation, values=values):
                reader = self._several(values, constants, decides=isinstance(operation, ast.Or))
            case ast.UnaryOp(op=ast.Not(), operand=asked):
                reader = self._truth(asked, expected=False)
            case ast.Call(func=ast.Name(id="bool"), args=[asked], keywords=[]):
                reader = self._truth(asked, expected=True)
            case ast.IfExp(test=asked, body=one, orelse=other):
                reader = _if_else(self._reader(asked, ()), self._reader(one, constants), self._reader(other, constants))
            case ast.Compare(left=left, ops=[operation], comparators=[right]) if type(operation) in _OPERATORS:
                reader = self._comparison(left, operation, right)
            case ast.Tuple(elts=held) | ast.List(elts=held) | ast.Set(elts=held) | ast.Dict(values=held):
                if _has_members(node, held) and not any(isinstance(each, _CONTAINERS) for each in constants):
                    reader = partial(_value_of, (_SOMETHING,))
        return reader or self._anything(node, constants)

    def _truth(self, node: ast.AST, *, expected: bool) -> _Reader:
        asked = self._reader(node, ())
        return lambda held: bool(asked(held)) is expected

    def _several(self, nodes: Iterable[ast.AST], constants: Sequence[Any], *, decides: bool) -> _Reader:
        readers = [*map(partial(self._reader, constants=constants), nodes)]

        def read(held: Mapping[str, Any]) -> Any:
            value = None
            for each in readers:
                value = each(held)
                if bool(value) is decides:
                    break
            return value

        return read

    def _comparison(self, left: ast.AST, operation: ast.cmpop, right: ast.AST) -> _Reader | None:
        """Return what reads a comparison with a constant; None if it is with something else."""
        compare, one, other = _OPERATORS[type(operation)], _literal(left), _literal(right)
        if one and other:
            with suppress(TypeError):
                return partial(_value_of, (compare(one[0], other[0]),))
            return None
        if isinstance(operation, ast.In | ast.NotIn):
            if not other or not isinstance(other[0], _CONTAINERS):
                return None
            among = [*other[0]]
            item = self._reader(left, among)
            return lambda held: compare(item(held), among)
        constants = one or other
        if not constants:
            return None
        asked = self._reader(right if one else left, constants)
        return lambda held: compare(asked(held), constants[0])

    def _anything(self, node: ast.AST, constants: Sequence[Any]) -> _Reader:
        key = ast.dump(node)
        values = self.values.setdefault(key, [_SOMETHING, _NOTHING])
        # The number 1 equals True, and is another.
        for each in [*constants, *(int(each) for each in constants if type(each) is bool)]:
            is_new = not any(type(each) is type(value) and each == value for value in values)
            if is_new and made_of(node, each) == each:
                values.append(each)
        return lambda held: held[key]


def _if_else(asked: _Reader, one: _Reader, other: _Reader) -> _Reader:
    return lambda held: one(held) if asked(held) else other(held)


def _has_members(node: ast.AST, held: Iterable[ast.AST]) -> bool:
    keys = node.keys if isinstance(node, ast.Dict) else ()
    return None not in keys and any(not isinstance(each, ast.Starred) for each in held)
