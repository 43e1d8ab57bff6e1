"""What an expression evaluates behind one of its conditions, and what that does with its value."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


def following(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> Iterator[tuple[ast.AST, bool]]:
    """Yield what is evaluated behind a condition, and behind those that it is in, and whether that is if it is true."""
    while node in parents:
        around = parents[node]
        match around:
            case ast.IfExp(test=asked, body=then, orelse=otherwise) if asked is node:
                yield from ((then, True), (otherwise, False))
            case ast.BoolOp(op=operation):
                yield from ((each, isinstance(operation, ast.And)) for each in _behind(node, around))
            case ast.comprehension(ifs=tests) if node in tests:
                made = (each for each in ast.iter_child_nodes(parents[around]) if not isinstance(each, type(around)))
                yield from ((each, True) for each in [*made, *_behind(node, around), *_behind(around, parents[around])])
        node = around


def _behind(node: ast.AST, around: ast.AST) -> list[ast.AST]:
    inner = [*ast.iter_child_nodes(around)]
    return inner[inner.index(node) + 1 :]


def uses(part: ast.AST, dumped: str, value: str) -> bool:
    """Tell whether a part of an expression reads a value, as `float(x)` does, or compares it with this text."""
    compared = comparisons(part, dumped)
    left = {node.left for node in compared}
    texts = {str(each.value).lower() for each in operands_of(compared) if isinstance(each, ast.Constant)}
    return value.lower() in texts or any(ast.dump(node) == dumped and node not in left for node in ast.walk(part))


def comparisons(part: ast.AST, dumped: str) -> list[ast.Compare]:
    """Return the comparisons in a part of an expression whose left side is, as `ast.dump` shows it, `dumped`."""
    return [node for node in ast.walk(part) if isinstance(node, ast.Compare) and ast.dump(node.left) == dumped]


def operands_of(comparisons: Iterable[ast.Compare]) -> list[ast.AST]:
    """Return what is compared with something in some comparisons, and all in it."""
    return [inner for node in comparisons for operand in node.comparators for inner in ast.walk(operand)]
