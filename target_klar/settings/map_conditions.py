"""Conditions of stream maps that cannot mean what they say, whatever a record holds."""

from __future__ import annotations

import ast
import io
import tokenize
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from target_klar.records.formatting import shorten
from target_klar.settings.constant_conditions import is_literal, is_singleton, made_of, outcome, reads_a_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_LONGEST: Final = 200


def senseless_conditions(expression: ast.Expr, text: str, *, is_filter: bool) -> Iterator[str]:
    """Yield what is wrong with the conditions of an expression, written as a `text`; one may come twice."""
    nodes = [*ast.walk(expression)]
    for node in nodes:
        yield from _parts_of_text(node)
        yield from _joined_texts(node, text)
    asked = [*_conditions(nodes), *([expression.value] if is_filter else [])]
    wrong = [each for condition in asked for each in _constants_beside(condition)]
    wrong += [each for condition in asked for each in _constant_parts(condition)]
    yield from wrong
    # Whoever writes True or False, and nothing else, says that all or none shall pass.
    if not is_filter or wrong or ast.unparse(expression) in ("True", "False"):
        return
    always = outcome(expression.value)
    if always is not None:
        what = "true whatever a record holds, so it drops nothing" if always else "false whatever a record holds"
        yield f"is {what}. Leave it out, or ask for a column, which has no quotes around it."


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


def _joined_texts(node: ast.AST, text: str) -> Iterator[str]:
    """Yield what is wrong with `x in ['a' 'b']`, where Python reads one text."""
    match node:
        case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[ast.List() | ast.Tuple() | ast.Set() as among]):
            for each in among.elts:
                source = ast.get_source_segment(text, each) if isinstance(each, ast.Constant) else None
                tokens = tokenize.generate_tokens(io.StringIO(f"({source or ''})").readline)
                written = [token.string for token in tokens if token.type == tokenize.STRING]
                if len(written) > 1:
                    yield (
                        f"has {shorten(' '.join(written))} in `{shown_part(node)}`, which Python reads as one text. "
                        f"Write {shorten(', '.join(written))}."
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


def _constant_parts(condition: ast.AST) -> Iterator[str]:
    """Yield what is wrong with the smallest parts of a condition that are true, or false, whatever a record holds."""
    waiting: list[ast.AST] = [condition]
    parts: list[ast.BoolOp | ast.Compare] = []
    for node in waiting:  # from the outside in
        match node:
            case ast.BoolOp(values=inner):
                parts.append(node)
                waiting += inner
            case ast.Compare():
                parts.append(node)
            case ast.UnaryOp(op=ast.Not(), operand=asked) | ast.Call(func=ast.Name(id="bool"), args=[asked]):
                waiting.append(asked)
            case ast.IfExp(test=asked, body=one, orelse=other):
                waiting += [asked, one, other]
    found: set[ast.AST] = set()
    for part in reversed(parts):
        within = [*ast.walk(part)]
        with_constant = any(isinstance(each, ast.BoolOp) and any(map(is_literal, each.values)) for each in within)
        if with_constant or not found.isdisjoint(within) or not reads_a_record(part):
            continue
        always = outcome(part)
        if always is not None:
            found.add(part)
            yield (
                f"has `{shown_part(part)}`, which is {str(always).lower()} whatever a record holds. "
                f"{_instead(part, always=always)}."
            )


def _instead(part: ast.BoolOp | ast.Compare, *, always: bool) -> str:
    """Say what to write in the place of a part that is the same whatever a record holds."""
    compared = [each for each in ast.walk(part) if isinstance(each, ast.Compare)]
    constants = [each for node in compared for each in _constants_in(node.comparators[0])]
    for node in compared:
        match node:
            case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() as asked], comparators=[ast.Constant() as held]):
                if not is_singleton(held.value):
                    equality = ast.Eq() if isinstance(asked, ast.Is) else ast.NotEq()
                    return f"Write `{shown_part(ast.Compare(left, [equality], [held]))}`"
        for each in _constants_in(node.comparators[0]):
            made = made_of(node.left, each.value)
            if made != each.value:
                never = f"`{shown_part(node.left)}` is never {shown_part(each)}"
                return f"{never}. Write {shown_part(ast.Constant(made))}"
    equalities = all(isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.Is | ast.IsNot) for node in compared)
    of_one = len({ast.dump(node.left) for node in compared}) == 1
    if equalities and of_one and len(constants) == len(compared) > 1:
        among = ast.NotIn() if always else ast.In()
        values = ast.Tuple(list({ast.dump(each): each for each in constants}.values()), ast.Load())
        return f"Write `{shown_part(ast.Compare(compared[0].left, [among], [values]))}`"
    return "Correct it, or leave it out"


def _constants_in(node: ast.AST) -> list[ast.Constant]:
    return [each for each in ast.walk(node) if isinstance(each, ast.Constant)]


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
