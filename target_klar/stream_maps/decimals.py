"""Numbers in the comparisons of a stream map, as they are written.

0.19 of a column is a decimal, that of an expression a float, and Python calls the two unequal.
"""

from __future__ import annotations

import ast
import math
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping


def compare_as_written(operators: MutableMapping[type, Callable[[Any, Any], Any]]) -> None:
    """Take the place of those operators of an evaluator that compare: a float beside a decimal is one too."""
    for comparison in (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE):
        operators[comparison] = partial(_compared, operators[comparison])
    for membership in (ast.In, ast.NotIn):
        operators[membership] = partial(_is_among, membership is ast.In)


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
