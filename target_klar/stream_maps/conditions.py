"""Columns in the conditions and comparisons of a stream map.

A number is compared as the tap wrote it: 0.19 of a column is a decimal, that of an expression a float, and Python calls
the two unequal. Text is counted where it says something else than it does: the text `false` is true to Python, and the
text `1` never equals 1.
"""

from __future__ import annotations

import ast
import math
import re
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from singer_sdk.mapper import MAPPER_FILTER_OPTION, CustomStreamMap

from target_klar.records.formatting import counted, shorten

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Mapping, Sequence

_FALSE: Final = ["", "false", "f", "no", "n", "off", "nein", "falsch", "null", "none", "nil", "nan", "[]", "{}"]
"""What text says that is false, in small letters, without blanks around it, and without zeros and points."""
_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "ja", "wahr", "1"})
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
_COMPARISONS: Final = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_EQUALITY: Final = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
_MAX_COUNTED: Final = 5
"""How many conditions and comparisons of the maps of a source stream are warned of."""
_LONGEST: Final = 200
_RECORDS: Final = "N records"
"""Stands for the number, which is not known until the end."""


class Conditions:
    """Counts the records in which a stream map misreads text, and compares numbers as they are written.

    It takes the place of what the SDK's evaluator of the map does with conditions and comparisons. `counts` are by what
    is misread, as a part of a sentence.
    """

    def __init__(self, stream_map: object, definition: Mapping[str, Any], counts: Counter[str]) -> None:
        self._counts = counts
        self._noted: set[str] = set()
        self._examples: dict[str, str] = {}
        """Of each condition, the first text that it misread."""
        self._expression: ast.AST = ast.Module([], [])
        """The whole one that is being evaluated."""
        self._then: list[ast.AST] = []
        """What is evaluated if the condition that is being evaluated is true."""
        if not isinstance(stream_map, CustomStreamMap):
            return
        text = definition.get(MAPPER_FILTER_OPTION)
        self._filter = ast.dump(ast.parse(text).body[0]) if isinstance(text, str) else ""
        evaluator = stream_map.expr_evaluator
        self._evaluate: Callable[[ast.AST], Any] = evaluator._eval  # noqa: SLF001  # no other way leads to a part of an expression
        self._operators = operators = evaluator.operators
        for comparison in _COMPARISONS:
            operators[comparison] = partial(_compared, operators[comparison])
        for membership in (ast.In, ast.NotIn):
            operators[membership] = partial(_is_among, membership is ast.In)
        self._of_the_sdk = nodes = dict(evaluator.nodes)
        evaluator.nodes = nodes | {
            ast.Expr: self._top,
            ast.IfExp: self._if_else,
            ast.BoolOp: self._both,
            ast.UnaryOp: self._negated,
            ast.Call: self._called,
            ast.Compare: self._comparison,
        }

    def begin(self) -> None:
        """Forget what was noted of a record that does not count."""
        self._noted.clear()

    def count(self) -> None:
        """Count what was noted of a record."""
        for what in self._noted:
            if what in self._counts or len(self._counts) < _MAX_COUNTED:
                self._counts[what] += 1
        self._noted.clear()

    def _top(self, node: ast.Expr) -> Any:
        self._expression, self._then = node, []
        value = self._evaluate(node.value)
        if type(value) is str and _says_false(value) and ast.dump(node) == self._filter:
            self._note_true(node.value, value)
        return value

    def _if_else(self, node: ast.IfExp) -> Any:
        value = self._condition(node.test, [node.body])
        return self._evaluate(node.body if value else node.orelse)

    def _both(self, node: ast.BoolOp) -> Any:
        if isinstance(node.op, ast.Or):
            return self._of_the_sdk[ast.BoolOp](node)
        value: Any = True
        for number, each in enumerate(node.values, start=1):
            rest = node.values[number:]
            value = self._condition(each, rest) if rest else self._evaluate(each)
            if not value:
                break
        return value

    def _negated(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not):
            return not self._condition(node.operand)
        return self._of_the_sdk[ast.UnaryOp](node)

    def _called(self, node: ast.Call) -> Any:
        match node:
            case ast.Call(func=ast.Name(id="bool"), args=[asked], keywords=[]):
                return bool(self._condition(asked))
        return self._of_the_sdk[ast.Call](node)

    def _condition(self, node: ast.AST, then: Sequence[ast.AST] = ()) -> Any:
        """Return the value of a condition; what is evaluated `then`, if it is true, may read it: `float(x) if x`."""
        before, self._then = self._then, [*self._then, *then]
        value = self._evaluate(node)
        misread = type(value) is str and _says_false(value)
        if misread and not any(_uses(each, ast.dump(node), value) for each in self._then):
            self._note_true(node, value)
        self._then = before
        return value

    def _comparison(self, node: ast.Compare) -> Any:
        right, result, before = self._evaluate(node.left), True, node.left
        for operation, each in zip(node.ops, node.comparators, strict=True):
            left, right = right, self._evaluate(each)
            if isinstance(operation, _EQUALITY) and _never_equal(left, right) and not self._is_compared_with_both(node):
                self._note_unequal(node, *((before, left, right) if type(left) is str else (each, right, left)))
            before = each
            result = self._operators[type(operation)](left, right)
            if not result:
                break
        return result

    def _is_compared_with_both(self, node: ast.Compare) -> bool:
        """Tell whether an expression compares something with text and with what is none: `x == 1 or x == '1'`."""
        left = ast.dump(node.left)
        texts = {
            type(inner.value) is str
            for each in ast.walk(self._expression)
            if isinstance(each, ast.Compare) and ast.dump(each.left) == left
            for operand in each.comparators
            for inner in ast.walk(operand)
            if isinstance(inner, ast.Constant)
        }
        return len(texts) > 1

    def _note_true(self, node: ast.AST, value: str) -> None:
        shown = _shown(node)
        example = self._examples.setdefault(shown, repr(value.strip()))
        part = shown if isinstance(node, ast.Name | ast.Call | ast.Subscript | ast.Attribute) else f"({shown})"
        advice = f"(str({part} or '').strip().lower().strip('0.') not in {_FALSE})"
        what = f"takes text for true that says the opposite: `{shown}` is {example} or the like in {_RECORDS}. "
        self._noted.add(f"{what}Write `{advice}`.")

    def _note_unequal(self, node: ast.Compare, part: ast.AST, text: str, other: object) -> None:
        """Note that text, the value of a part, is compared with what it never equals."""
        shown = _shown(node)
        if isinstance(part, ast.Constant):
            advice = "take the quotes off"
        elif type(other) is bool:
            example = self._examples.setdefault(shown, repr(text.strip()))
            advice = f"compare it with such text as it holds, {example}"
        else:
            advice = f"read it as a number, `float({_shown(part)})`"
        what = f"compares text with a number or a boolean, which it never equals: `{shown}`, in {_RECORDS}. "
        self._noted.add(f"{what}If it is meant to, {advice}.")


def misread_text(source_stream: str, counts: Counter[str]) -> Iterator[str]:
    """Yield a warning for each condition or comparison that misread text: what, in how many records, what to do."""
    for what, count in counts.items():
        yield f"The stream map of {shorten(source_stream)} {what.replace(_RECORDS, counted(count, 'record'))}"


def _shown(node: ast.AST) -> str:
    return shorten(ast.unparse(node), _LONGEST)


def _uses(part: ast.AST, dumped: str, value: str) -> bool:
    """Tell whether a part of an expression reads a value, as `float(x)` does, or compares it with this text."""
    nodes = [*ast.walk(part)]
    compared = [node for node in nodes if isinstance(node, ast.Compare) and ast.dump(node.left) == dumped]
    left = {id(node.left) for node in compared}
    texts = {
        str(inner.value).lower()
        for node in compared
        for operand in node.comparators
        for inner in ast.walk(operand)
        if isinstance(inner, ast.Constant)
    }
    return value.lower() in texts or any(ast.dump(node) == dumped and id(node) not in left for node in nodes)


def _says_false(text: str) -> bool:
    return text != "" and text.strip().lower().strip("0.") in _FALSE


def _never_equal(left: Any, right: Any) -> bool:
    """Tell whether one is text that spells a number or a boolean, and the other is one, or an array of those."""
    if isinstance(right, list | tuple | set):
        return not any(type(each) is str for each in right) and any(_never_equal(left, each) for each in right)
    return _spells(left, right) or _spells(right, left)


def _spells(text: Any, value: Any) -> bool:
    if type(text) is not str:
        return False
    if type(value) is bool:
        return text.strip().lower() in _TRUE or _says_false(text)
    return isinstance(value, int | float | Decimal) and _NUMBER.fullmatch(text.strip()) is not None


def _compared(compare: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    return compare(_decimal_beside(right, left), _decimal_beside(left, right))


def _decimal_beside(other: Any, value: Any) -> Any:
    """Return a float beside a decimal as the decimal that it is written as."""
    is_beside = type(value) is float and type(other) is Decimal and math.isfinite(value)
    return Decimal(repr(value)) if is_beside else value


def _is_among(expected: bool, item: Any, held: Any) -> bool:  # noqa: FBT001  # the SDK's evaluator calls it
    found = item in held
    if not found and type(item) in (Decimal, float) and isinstance(held, list | tuple | set | dict):
        found = any(_decimal_beside(each, item) == _decimal_beside(item, each) for each in held)
    return found is expected
