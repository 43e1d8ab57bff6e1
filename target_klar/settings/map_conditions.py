"""Conditions of stream maps that cannot mean what they say, whatever a record holds."""

from __future__ import annotations

import ast
import operator
from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from target_klar.records.formatting import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_COMPARED: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda item, held: item in held,
    ast.NotIn: lambda item, held: item not in held,
}
_LONGEST: Final = 200


def senseless_conditions(expression: ast.Expr, *, is_filter: bool) -> Iterator[str]:
    """Yield what is wrong with the conditions of an expression; one may come twice."""
    nodes = [*ast.walk(expression)]
    for node in nodes:
        yield from _parts_of_text(node)
    asked = [*_conditions(nodes), *([expression.value] if is_filter else [])]
    beside = [wrong for each in asked for wrong in _constants_beside(each)]
    yield from beside
    # Whoever writes True, and nothing else, says that all shall pass.
    if is_filter and not beside and _truth(expression.value) and ast.unparse(expression) != "True":
        yield (
            "is true whatever a record holds, so it drops nothing. Leave it out, or ask for a column, which has no "
            "quotes around it."
        )


def _parts_of_text(node: ast.AST) -> Iterator[str]:
    """Yield what is wrong with `x in ('a')`; without the parentheses, as in `x in 'SML'`, any part may be meant."""
    match node:
        case ast.Compare(ops=[*_, ast.In() | ast.NotIn()], comparators=[*_, ast.Constant(value=str()) as text]):
            # A comparison ends with the parenthesis around what it ends with.
            if (node.end_lineno, node.end_col_offset) != (text.end_lineno, text.end_col_offset):
                shown = shown_part(text)
                yield (
                    f"asks for any part of the text {shown}. Write ({shown},) for the text itself, or leave the "
                    f"parentheses out: `{shown_part(node)}`."
                )


def _conditions(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in nodes:
        match node:
            case ast.IfExp(test=asked) | ast.UnaryOp(op=ast.Not(), operand=asked):
                yield asked
            case ast.Call(func=ast.Name(id="bool"), args=[asked]):
                yield asked
            case ast.comprehension(ifs=tests):
                yield from tests


def _constants_beside(condition: ast.AST) -> Iterator[str]:
    """Yield what is wrong with `x == 'a' or 'b'`, which is right as a value, and says nothing in a condition."""
    if not isinstance(condition, ast.BoolOp):
        return
    for number, each in enumerate(condition.values, start=1):
        yield from _constants_beside(each)
        constants = [*takewhile(_is_value, condition.values[number:])]
        if constants and isinstance(each, ast.Compare):
            shown = ", ".join(map(ast.unparse, constants))
            yield (
                f"has {shorten(shown)} beside `{shown_part(each)}`, which alone is true whatever a record holds. "
                f"{_meant(each, constants)}."
            )


def _meant(comparison: ast.Compare, constants: Sequence[ast.expr]) -> str:
    match comparison:
        case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq() as operation], comparators=[ast.Constant() as first]):
            among = ast.In() if isinstance(operation, ast.Eq) else ast.NotIn()
            return f"Write `{shown_part(ast.Compare(left, [among], [ast.Tuple([first, *constants], ast.Load())]))}`"
    return "Compare each with its column"


def shown_part(node: ast.AST) -> str:
    """Return what a message shows of a part of an expression."""
    return shorten(ast.unparse(node), _LONGEST)


def _is_value(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (str, int, float) and bool(node.value)


def _truth(node: ast.AST) -> bool | None:
    """Tell whether something is true whatever a record holds, or false; None if that depends."""
    truth: bool | None = None
    match node:
        case ast.Constant(value=value):
            truth = bool(value)
        case ast.Tuple(elts=held) | ast.List(elts=held) if not any(isinstance(each, ast.Starred) for each in held):
            truth = bool(held)
        case ast.UnaryOp(op=ast.Not(), operand=asked):
            truth = None if (inner := _truth(asked)) is None else not inner
        case ast.Call(func=ast.Name(id="bool"), args=[asked]):
            truth = _truth(asked)
        case ast.IfExp(body=one, orelse=other):
            truths = {_truth(one), _truth(other)}
            truth = truths.pop() if len(truths) == 1 else None
        case ast.BoolOp(op=operation, values=values):
            decides, truths = isinstance(operation, ast.Or), {_truth(each) for each in values}
            if decides in truths or None not in truths:
                truth = decides is (decides in truths)
        case ast.Compare(left=left, ops=[compared], comparators=[right]) if type(compared) in _COMPARED:
            with suppress(ValueError, TypeError):
                truth = bool(_COMPARED[type(compared)](ast.literal_eval(left), ast.literal_eval(right)))
    return truth
