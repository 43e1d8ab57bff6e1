"""What a person has to decide about a column before Klar can take it, in words, with the expression that would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_klar.suggestions.choices import lines_of, shown_path
from target_klar.suggestions.fields import likely
from target_klar.suggestions.stream_map import lines_expression

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from target_klar.contract.schema import Node
    from target_klar.contract.streams import Contract
    from target_klar.suggestions.choices import Columns
    from target_klar.suggestions.values import Path


def advice(contract: Contract, columns: Columns) -> Iterator[str]:
    """Yield a sentence for each column that is called what Klar requires and cannot be proposed, with what would do."""
    for field in contract.schema["required"]:
        node = contract.schema["properties"][field]
        paths = columns.nearest(field, node)
        if len(paths) > 1:
            yield f"{_either(paths)} may be `{field}`: name the right one."
        elif paths and "properties" in node.get("items", {}):
            yield from _of_lines(field, node, paths[0], columns)
        elif paths:
            yield from filter(None, [columns.advise(field, node, paths[0])])


def _of_lines(field: str, node: Node, path: Path, columns: Columns) -> Iterator[str]:
    lines = lines_of(columns.values[path])
    if lines is None:
        return
    within, inner = columns.within(field, lines), node["items"]
    for name in inner["required"]:
        wanted = inner["properties"][name]
        near = within.nearest(name, wanted)
        if len(near) > 1:
            yield f"{_either(near)} in {shown_path(path)} may be `{name}`: name the right one."
        elif near:
            yield from filter(None, [within.advise(name, wanted, near[0])])
        else:
            names = [(column,) for column in likely(f"{within.place}.{name}", within.names)]
            here = shown_path(path)
            start = f"{_either(names)} in {here} may be" if names else f"No column in {here} has a name like"
            yield f"{start} `{name}` of `{field}`: {wanted['description']}."
    made, unknown = lines_expression(field, node, path, lines, columns)
    if unknown:
        yield f"{shown_path(path)} holds a list. Fill in {' and '.join(f'`{each}`' for each in unknown)}: `{made}`"


def _either(paths: Sequence[Path]) -> str:
    *others, last = map(shown_path, paths)
    return f"{', '.join(others)} or {last}" if others else last
