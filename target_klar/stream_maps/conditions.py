"""Columns in the conditions and comparisons of a stream map.

Text is counted where it says something else than it does: the text `false` is true to Python, and the text `1` never
equals 1. Numbers are compared as they are written.
"""

from __future__ import annotations

import ast
from copy import copy
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

from singer_sdk.mapper import MAPPER_FILTER_OPTION, CustomStreamMap

from target_klar.settings.constant_conditions import is_literal
from target_klar.settings.map_conditions import shown_part
from target_klar.stream_maps.columns import column_of, parents_of
from target_klar.stream_maps.decimals import compare_as_written
from target_klar.stream_maps.evaluated import comparisons, following, operands_of, uses
from target_klar.stream_maps.spelled import (
    have_points,
    is_in_other_letters,
    is_list,
    is_list_beside_another,
    is_no_answer,
    is_nothing_spelled_otherwise,
    is_same_nothing,
    never_equal,
    numbers_or_dates,
    says_false,
    spelling_of_nothing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from target_klar.stream_maps.misread_text import MisreadText

_EQUALITY: Final = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
_ORDER: Final = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_SAMENESS: Final = (*_EQUALITY, ast.Is, ast.IsNot)
_KINDS: Final = (str, list, tuple, set)
_LITERALS: Final = (ast.Constant, ast.List, ast.Dict)
_COMPREHENSIONS: Final = (ast.ListComp, ast.GeneratorExp, ast.DictComp)

_Operand = tuple[ast.AST, Any]
"""A part of a comparison, with its value."""


class _Iterated(ast.expr):
    """What a comprehension makes objects of: a column, as in `lines` or `lines or []`."""

    def __init__(self, source: ast.expr, column: ast.expr) -> None:
        super().__init__()
        self.source, self.column = source, column


class Conditions:
    """Notes the text that a stream map misreads in a record, and compares numbers as they are written."""

    def __init__(self, definition: Mapping[str, Any], misread: MisreadText) -> None:
        self._misread = misread
        self._expression: ast.AST = ast.Module([], [])
        """The whole one that is being evaluated."""
        self._parents: dict[ast.AST, ast.AST] = {}
        """The nodes of all expressions that have been evaluated, each with the one around it."""
        self._comprehensions: dict[ast.AST, ast.AST] = {}
        """By each comprehension its copy of which the conditions are watched."""
        self._harmless: dict[tuple[ast.AST, str], bool] = {}
        """By a part of a comparison, and how it spells nothing, whether it does no harm that this is misread."""
        self._no_answers: set[ast.AST] = set()
        """The conditions whose text is not always yes or no."""
        self._met: set[ast.AST] = set()
        """The comparisons of text that have found it as the expression has it."""
        self._is_read = lru_cache(maxsize=256)(self._find_read)
        text = definition.get(MAPPER_FILTER_OPTION)
        self._filter = ast.dump(ast.parse(text).body[0]) if isinstance(text, str) else ""

    def watch(self, stream_map: object) -> None:
        """Take the place of what the evaluator of a stream map does with conditions and comparisons."""
        if not isinstance(stream_map, CustomStreamMap):
            return
        evaluator = stream_map.expr_evaluator
        self._evaluate: Callable[[ast.AST], Any] = evaluator._eval  # noqa: SLF001  # no other way leads to a part of an expression
        self._operators = operators = evaluator.operators
        compare_as_written(operators)
        self._of_the_sdk = nodes = dict(evaluator.nodes)
        evaluator.nodes = nodes | {
            ast.Expr: self._top,
            ast.IfExp: self._if_else,
            ast.BoolOp: self._both,
            ast.UnaryOp: self._negated,
            ast.Call: self._called,
            ast.Compare: self._comparison,
            **dict.fromkeys(_COMPREHENSIONS, self._comprehension),
            _Iterated: self._iterated,
        }

    def _top(self, node: ast.Expr) -> Any:
        self._expression = node
        if node.value not in self._parents:
            self._parents |= parents_of(node)
        value = self._evaluate(node.value)
        if callable(value) or (type(value) is str and ast.dump(node) == self._filter):
            self._note_truth(node.value, value)
        return value

    def _if_else(self, node: ast.IfExp) -> Any:
        return self._evaluate(node.body if self._condition(node.test) else node.orelse)

    def _both(self, node: ast.BoolOp) -> Any:
        if isinstance(node.op, ast.Or):
            return self._of_the_sdk[ast.BoolOp](node)
        *others, last = node.values
        for each in others:
            if not (value := self._condition(each)):
                return value
        return self._evaluate(last)

    def _negated(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not):
            return not self._condition(node.operand)
        return self._of_the_sdk[ast.UnaryOp](node)

    def _called(self, node: ast.Call) -> Any:
        match node:
            case ast.Call(func=ast.Name(id="bool"), args=[asked], keywords=[]):
                return bool(self._condition(asked))
        return self._of_the_sdk[ast.Call](node)

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> Any:
        watched = self._comprehensions.get(node)
        if watched is None:
            watched = self._comprehensions[node] = _watched(node)
        return self._of_the_sdk[type(node)](watched)

    def _iterated(self, node: _Iterated) -> Any:
        value = self._evaluate(node.source)
        if type(value) is str and value:
            self._misread.letters(node.column)
        return value

    def _condition(self, node: ast.AST) -> Any:
        """Return the value of a condition; what is evaluated if it is true may read it: `float(x) if x`."""
        value = self._evaluate(node)
        if type(value) is str or callable(value):
            self._note_truth(node, value)
        return value

    def _note_truth(self, node: ast.AST, value: Any) -> None:
        """Note text that a condition takes for true."""
        if callable(value):
            _refuse_uncalled(node)
        if says_false(value):
            if not self._is_read(node, value):
                self._misread.true(node, value)
        elif node not in self._no_answers and is_no_answer(value):
            self._no_answers.add(node)
            self._misread.no_answer(node)

    def _find_read(self, node: ast.AST, value: str) -> bool:
        """Tell whether what is evaluated if a condition is true reads its value."""
        then = (each for each, if_true in following(node, self._parents) if if_true)
        return any(uses(each, ast.dump(node), value) for each in then)

    def _comparison(self, node: ast.Compare) -> Any:
        right, result, before = self._evaluate(node.left), True, node.left
        for operation, each in zip(node.ops, node.comparators, strict=True):
            left, right = right, self._evaluate(each)
            if node not in self._met and isinstance(operation, _EQUALITY):
                self._read_as_written(node, (before, left), (each, right))
            if type(left) is type(right) is str:
                if isinstance(operation, _ORDER):
                    self._read_ordered(node, operation, (before, left), (each, right))
            elif callable(left) or callable(right):
                _refuse_uncalled(before if callable(left) else each)
            elif type(left) is not type(right) and (type(left) in _KINDS or type(right) in _KINDS):
                self._read_beside_another(node, operation, (before, left), (each, right))
            before = each
            result = self._operators[type(operation)](left, right)
            if not result:
                break
        return result

    def _read_as_written(self, node: ast.Compare, left: _Operand, right: _Operand) -> None:
        """Note text that is compared with itself in other letters, where it never is as the expression has it."""
        (part, text), (asked, value) = (right, left) if isinstance(left[0], ast.Constant) else (left, right)
        others = value if is_list(value) else [value]
        if type(text) is not str or not is_literal(asked):
            return
        if text in others:
            self._met.add(node)
            self._misread.as_written(node)
        elif is_in_other_letters(text, others):
            beside = [each.value for each in self._operands_beside(part) if isinstance(each, ast.Constant)]
            if text not in beside:
                self._misread.in_other_letters(node, part)

    def _read_beside_another(self, node: ast.Compare, operation: ast.cmpop, left: _Operand, right: _Operand) -> None:
        """Note what is compared with what it never equals, since that is of another kind."""
        (part, text), (_, value) = (left, right) if type(left[1]) is str else (right, left)
        if isinstance(operation, ast.Eq | ast.NotEq) and is_list_beside_another(left[1], right[1]):
            if not self._is_compared_with_lists_too(node):
                self._misread.list_beside_another(node, of_left=is_list(left[1]))
        elif isinstance(operation, _EQUALITY) and never_equal(left[1], right[1]):
            if not self._is_compared_with_both(node):
                self._misread.unequal(node, part, text, value)
        elif isinstance(operation, _SAMENESS) and is_nothing_spelled_otherwise(
            left[1], _compared_by(operation, right[1])
        ):
            asked, held = right if isinstance(left[0], _LITERALS) else left
            spelled = spelling_of_nothing(held)
            if (asked, spelled) not in self._harmless:
                self._harmless[asked, spelled] = self._is_harmless(node, asked, held, str(text))
            if not self._harmless[asked, spelled]:
                self._misread.nothing(node, operation, asked, spelled)

    def _is_harmless(self, node: ast.Compare, part: ast.AST, held: object, text: str) -> bool:
        """Tell whether a part that is nothing is compared with its own spelling too, or is nothing to what reads it."""
        behind = following(node, self._parents)
        return self._is_compared_with(part, held) or any(uses(each, ast.dump(part), text) for each, _ in behind)

    def _read_ordered(self, node: ast.Compare, operation: ast.cmpop, left: _Operand, right: _Operand) -> None:
        """Note text that is ordered otherwise than what it spells."""
        meant, order = numbers_or_dates(left[1], right[1]), self._operators[type(operation)]
        if meant and order(*meant) is not order(left[1], right[1]):
            part = right[0] if isinstance(left[0], _LITERALS) else left[0]
            self._misread.order(node, part, meant, have_points=have_points(left[1], right[1]))

    def _is_compared_with_both(self, node: ast.Compare) -> bool:
        """Tell whether an expression compares something with text and with what is none: `x == 1 or x == '1'`."""
        operands = self._operands_beside(node.left)
        return (
            len(
                {
                    type(each.value) is str
                    for each in operands
                    if isinstance(each, ast.Constant) and each.value is not None
                }
            )
            > 1
        )

    def _is_compared_with_lists_too(self, node: ast.Compare) -> bool:
        """Tell whether an expression compares something with a list and with what is none: `x == 1 or x == [1]`."""
        beside = [each for other in comparisons(self._expression, ast.dump(node.left)) for each in other.comparators]
        return len({isinstance(each, ast.List | ast.Tuple | ast.Set) for each in beside}) > 1

    def _is_compared_with(self, part: ast.AST, held: object) -> bool:
        """Tell whether an expression compares a part with the nothing that it holds: `x is None or x == ''`."""
        return any(
            is_same_nothing(held, ast.literal_eval(each))
            for each in self._operands_beside(part)
            if isinstance(each, ast.Constant) or ast.unparse(each) in ("[]", "{}")
        )

    def _operands_beside(self, part: ast.AST) -> list[ast.AST]:
        """Return what an expression compares a part with, and all in it."""
        return operands_of(comparisons(self._expression, ast.dump(part)))


def _watched(node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> ast.AST:
    """Return a copy of a comprehension whose conditions are a `bool(...)` each, and columns an `_Iterated`."""
    watched = copy(node)
    watched.generators = []
    for each in node.generators:
        column = each.iter.values[0] if isinstance(each.iter, ast.BoolOp) else each.iter
        # Of anything else than objects the letters may be meant.
        makes_objects = not isinstance(node, ast.DictComp) and isinstance(node.elt, ast.Dict)
        source = _Iterated(each.iter, column) if makes_objects and column_of(column) else each.iter
        ifs: list[ast.expr] = [ast.Call(ast.Name("bool", ast.Load()), [test], []) for test in each.ifs]
        watched.generators.append(ast.comprehension(each.target, source, ifs, each.is_async))
    return watched


def _refuse_uncalled(node: ast.AST) -> NoReturn:
    """Take no method for a value, as that of `status.lower`, which is true and equals nothing.

    Raises:
        TypeError: Always.
    """
    raise TypeError(f"`{shown_part(node)}` is a method: call it, `{shown_part(node)}()`")


def _compared_by(operation: ast.cmpop, right: Any) -> Collection[Any]:
    if not isinstance(operation, ast.In | ast.NotIn):
        return [right]
    return right if isinstance(right, list | tuple | set) else ()
