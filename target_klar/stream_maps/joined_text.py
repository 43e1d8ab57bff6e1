"""Text that an expression of a stream map joins by `+` or `*`: of "0.30" and "2" it makes "0.302", which is no sum."""

from __future__ import annotations

import ast
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from singer_sdk.mapper import CustomStreamMap

from target_klar.contract.schema import is_time
from target_klar.records.convert import fold
from target_klar.records.formatting import Unusable, describe
from target_klar.stream_maps.mapping import expressions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ADVICE: Final = "compute with numbers, and round the result: '%.2f' % (float(a) + float(b))"
_SIGNS: Final = ("", "+", "-")
"""What may stand before the digits of a number."""
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")


class _Joined(str):
    """A text that has been joined; what an expression makes of it otherwise is plain text again."""

    __slots__ = ()


def mark_joined_text(
    stream_map: object, definition: Mapping[str, Any], schema: Mapping[str, Any]
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what puts an `Unusable` in the place of each joined text of a mapped record where Klar wants a number.

    The evaluator of the stream map is changed for it: what it does for an operator such as `+` is replaced by what
    marks the text that comes of it.
    """
    computed = [name for name, text in expressions(definition) if any(map(_computes, ast.walk(ast.parse(text))))]
    if not computed or not isinstance(stream_map, CustomStreamMap):
        return lambda made: made
    nodes, operators = stream_map.expr_evaluator.nodes, stream_map.expr_evaluator.operators
    joined = is_whole = False
    evaluate, add = nodes[ast.BinOp], operators[ast.Add]

    def note(left: object, right: object) -> object:
        nonlocal is_whole
        # Its operands are evaluated by now, so that the next to read this is the addition itself.
        is_whole = type(left) is type(right) is str and (left.strip() in _SIGNS or not right.strip())
        return add(left, right)

    def mark(node: ast.BinOp) -> object:
        nonlocal joined
        value = evaluate(node)
        if type(value) is not str or not _computes(node) or _writes_text(node):
            return value
        if is_whole and isinstance(node.op, ast.Add):
            return value
        joined = True
        return _Joined(value)

    def replace(made: dict[str, Any]) -> dict[str, Any]:
        nonlocal joined
        if joined:
            joined = False
            with suppress(RecursionError):  # what is nested too deep is rejected anyway
                made |= _replaced({name: made[name] for name in computed if name in made}, schema)
        return made

    nodes[ast.BinOp], operators[ast.Add] = mark, note
    return replace


def _computes(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult)


def _writes_text(node: ast.AST) -> bool:
    """Tell whether it means text, as `whole + '.' + cents` does; a text such as `'0'` is the default of a number."""
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.IfExp):
        return any(map(_writes_text, ast.iter_child_nodes(node)))
    if isinstance(node, ast.Constant):
        text = node.value.strip() if isinstance(node.value, str) else ""
        return text not in _SIGNS and not _NUMBER.fullmatch(text)
    return isinstance(node, ast.JoinedStr)


def _replaced(value: Any, schema: Mapping[str, Any]) -> Any:
    if type(value) is _Joined:
        is_number = schema.get("type") == "number" and not is_time(schema)
        text = str(value)
        if not is_number:
            return text
        return Unusable(text, description=f"{describe(text)}, which `+` or `*` joined from text", advice=_ADVICE)
    if type(value) is dict:
        fields = {fold(name): node for name, node in schema.get("properties", {}).items()}
        return {_replaced(name, {}): _replaced(held, fields.get(fold(str(name)), {})) for name, held in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_replaced(each, schema.get("items", {})) for each in value)
    return value
