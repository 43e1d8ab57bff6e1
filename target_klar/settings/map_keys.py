"""Keys that a stream map makes of something else than the columns of a record.

Klar keeps an object under its key, so that a record that is read again replaces itself. That needs a key which is the
same each time, and another one for another record.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Final

from singer_sdk.mapper import MAPPER_ALIAS_OPTION

from target_klar.contract.streams import CONTRACTS
from target_klar.records.convert import fold
from target_klar.settings.map_conditions import shown_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CHANCE: Final = frozenset({"rand", "randint"})
_CLOCK: Final = frozenset({"now", "utcnow", "today"})
_OF_NO_RECORD: Final = frozenset({"config", "datetime", "json", "__stream_name__", "__original_stream_name__"})
"""Names that say nothing of a record."""


def wrong_key(stream: str, entry: Mapping[str, Any], field: str, expression: ast.AST) -> Iterator[str]:
    """Yield what is wrong with an expression for Klar's key, of which the map is for a stream, or a pattern of some."""
    contract = CONTRACTS.get(str(entry.get(MAPPER_ALIAS_OPTION, stream)))
    contracts = [contract] if contract else CONTRACTS.values()
    first = {fold(each.key) for each in contracts}
    if fold(field) not in first.union(fold(name) for each in contracts for name in each.also_key):
        return
    nodes = [*ast.walk(expression)]
    changing = next((node for node in nodes if _changes(node, nodes)), None)
    if changing is not None:
        yield (
            f"makes Klar's key of the clock or by chance, `{shown_part(changing)}`: a record that is read again would "
            "be another one, which stays beside the first. Read the key from columns."
        )
    elif fold(field) in first and not _reads_a_record(nodes):
        yield "makes Klar's key of no column, so that each record would replace the one before it. Read it from one."


def _changes(node: ast.AST, nodes: list[ast.AST]) -> bool:
    """Tell whether a part of an expression is another each time."""
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name in _CHANCE
        case ast.Attribute(value=ast.Name(id="fake")):
            return not any(isinstance(each, ast.Attribute) and each.attr == "seed_instance" for each in nodes)
        case ast.Attribute(attr=name):
            return name in _CLOCK and any(
                isinstance(each, ast.Name) and each.id == "datetime" for each in ast.walk(node)
            )
    return False


def _reads_a_record(nodes: list[ast.AST]) -> bool:
    called = {node.func for node in nodes if isinstance(node, ast.Call)}
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    names = {node.id for node in nodes if isinstance(node, ast.Name) and node not in called}
    return not names <= bound | _OF_NO_RECORD
