"""`--preview`: what the first records of a tap become, column by column, before anything is set or sent."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import yaml
from rich import box
from rich.console import Console
from rich.table import Table
from singer_sdk.exceptions import FatalSyncError
from singer_sdk.mapper import PluginMapper, RemoveRecordTransform

from target_klar import suggestions
from target_klar.contract.streams import CONTRACTS
from target_klar.map_columns import expressions_of
from target_klar.mapping import definitions_of, mapped, names_of, registered
from target_klar.reader import MAX_LINE
from target_klar.records.conform import DELETED_AT, Conformed, Conformer, Rejection
from target_klar.records.convert import Conversions, fold
from target_klar.records.explain import explain
from target_klar.records.formatting import describe, shorten
from target_klar.records.json_codec import ENCODE_ERRORS, NotJSONError, decode, encode
from target_klar.runtime.pipes import NO_INPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from singer_sdk.mapper import StreamMap

    from target_klar.contract.schema import Node
    from target_klar.contract.streams import Contract, Record

_RECORDS = 2
"""How many of a stream are shown, side by side."""
_MAX_LINES = 10_000
_PIPED = 1000
"""Characters of a line where there is no terminal that it has to fit."""
_LONGEST_VALUE = 40
_WIDEST_NAME = 20
_PADDING = 4
"""What is between two columns of a table, and at its border."""
_LONGEST_OBJECT = 2000


@dataclass
class _Stream:
    """A stream of the tap: its columns, and its first records."""

    schema: Record
    keys: list[str]
    records: list[Record] = field(default_factory=list)
    read: int = 0

    @property
    def columns(self) -> list[str]:
        """Those of the schema, and others that records bring."""
        return list(dict.fromkeys([*self.schema["properties"], *(name for record in self.records for name in record)]))


def show(config: Mapping[str, Any], path: str | None) -> None:
    """Print a table for each stream at the beginning of a file or of stdin, and what a stream map has to say.

    Raises:
        FatalSyncError: There is no Singer stream to read.
    """
    streams = _read(path)
    if not streams:
        raise FatalSyncError("The input begins with no SCHEMA message, so there is nothing to show. Check the tap.")
    logging.getLogger("singer_sdk.mapper").setLevel(logging.WARNING)  # it tells of every filter that it finds
    console = Console(width=_width(), highlight=False, markup=False, emoji=False)
    for name, stream in streams.items():
        for told in _told(name, stream, config):
            # Half a surrogate pair, which stdout does not take, is written as JSON has it.
            line = told.encode("utf-8", "backslashreplace").decode() if isinstance(told, str) else told
            console.print(line, no_wrap=isinstance(line, str), overflow="ignore", crop=False)


def _read(path: str | None) -> dict[str, _Stream]:
    if path is None and sys.stdin is None:
        raise FatalSyncError(NO_INPUT)
    try:
        with Path(path).open("rb") if path else sys.stdin.buffer as source:
            return _streams(source)
    except OSError as error:
        raise FatalSyncError(f"The input cannot be read ({error.strerror}).") from None


def _streams(source: IO[bytes]) -> dict[str, _Stream]:
    streams: dict[str, _Stream] = {}
    batches = 0
    for number, line in enumerate(iter(partial(source.readline, MAX_LINE), b""), 1):
        if number > _MAX_LINES:
            break
        try:
            message = decode(line) if line.strip() else {}
        except NotJSONError as error:
            raise FatalSyncError(f"Line {number} of the input: {error}. Run the tap alone and look.") from None
        match message:
            case {"type": "SCHEMA", "stream": str(name), "schema": {"properties": dict()} as schema}:
                streams.setdefault(name, _Stream(schema, names_of(message.get("key_properties"))))
            case {"type": "RECORD", "stream": str(name), "record": dict(record)} if name in streams:
                stream = streams[name]
                stream.read += 1
                if len(stream.records) < _RECORDS:
                    stream.records.append(record)
            case {"type": "BATCH"}:
                batches += 1
    if batches:
        logging.getLogger("target-klar").warning("The files of %d BATCH messages are not shown.", batches)
    return streams


def _told(name: str, stream: _Stream, config: Mapping[str, Any]) -> Iterator[str | Table]:
    yield f"{shorten(name)}: {stream.read} records among the first {_MAX_LINES:,} lines"
    for stream_map in _maps(name, stream, config.get("stream_maps", {}), config):
        if isinstance(stream_map, RemoveRecordTransform):
            yield "  A stream map drops this stream."
            continue
        contract = CONTRACTS.get(stream_map.stream_alias)
        if contract is None:
            contract = suggestions.likely_stream(name, stream.columns)
            yield f"  Klar has no stream of this name, only {', '.join(CONTRACTS)}."
            if contract is None:
                yield "  Nothing in its name or its columns suggests one. Name it with `__alias__`, or drop it:"
                for setting in suggestions.renaming(name, None):
                    yield f"    {setting}"
                yield _table(stream.records)
                continue
            yield f"  Its name and its columns suggest `{contract.stream}`."
        yield from _shown(name, stream, stream_map, contract, config)
    yield ""


def _shown(
    name: str, stream: _Stream, stream_map: StreamMap, contract: Contract, config: Mapping[str, Any]
) -> Iterator[str | Table]:
    conformer = Conformer(contract, extra_fields=config.get("extra_fields", ()), hard_delete=config["hard_delete"])
    definitions = definitions_of(config.get("stream_maps", {}), name)
    reads = frozenset().union(*(each.columns for each in expressions_of(definitions)))
    sent = [mapped(stream_map, record, definitions, contract.key) for record in stream.records]
    private = {fold(each) for each in contract.private}
    received = [partial(_received, made=made, reads=reads, conformer=conformer, private=private) for made in sent]
    made_up = dict.fromkeys(column for made in sent if isinstance(made, dict) for column in made)
    yield _table(stream.records, received, private, made_up)
    yield from _verdicts(sent, conformer)
    columns = {column for made in sent if isinstance(made, dict) for column in made} or {*stream.columns}
    lacking = suggestions.missing(contract, columns)
    for each in lacking:
        near = [shorten(column) for column in suggestions.likely(contract, each, stream.columns)]
        hint = f" It may be {' or '.join(near)}." if near else " No column looks like it."
        yield f"  Klar wants `{each}` ({_described(contract.schema['properties'][each])}), which is missing.{hint}"
        line = [shorten(column) for column in suggestions.is_line(each, contract, stream.columns)]
        if line:
            yield f"  With {' and '.join(line)} a record looks like one of the {each}. Klar wants all of them in one "
            yield "  record, and keeps the last record of a key: bring them together before target-klar."
    refused = any(isinstance(conformer.conform(each), Rejection) for each in sent if isinstance(each, dict))
    if stream_map.stream_alias not in CONTRACTS or lacking or refused:
        yield from _proposed(name, stream, contract, conformer, config)


def _proposed(
    name: str, stream: _Stream, contract: Contract, conformer: Conformer, config: Mapping[str, Any]
) -> Iterator[str]:
    for told in suggestions.advice(contract, stream.records, _fits):
        yield f"  {told}"
    made = suggestions.map_for(name, contract, stream.records, _fits)
    theirs = definitions_of(config.get("stream_maps", {}), name)
    if not made or any(each.keys() - {"__alias__"} for each in theirs):
        return
    setting = {"stream_maps": {name: made}}
    yield "  A stream map to begin with, as JSON for a configuration file:"
    yield f"    {json.dumps(setting, ensure_ascii=False)}"
    yield "  The same as YAML for meltano.yml, under `config:`:"
    for line in yaml.safe_dump(setting, sort_keys=False, allow_unicode=True, width=_PIPED).splitlines():
        yield f"    {line}"
    yield "  With it:"
    for stream_map in _maps(name, stream, setting["stream_maps"], config):
        sent = [mapped(stream_map, record, [made], contract.key) for record in stream.records]
        yield from _verdicts(sent, conformer, shown=True)


def _maps(name: str, stream: _Stream, maps: Mapping[str, Any], config: Mapping[str, Any]) -> list[StreamMap]:
    wanted = {each: config[each] for each in ("stream_map_config", "faker_config") if each in config}
    mapper = PluginMapper(plugin_config={**wanted, "stream_maps": dict(maps)}, logger=logging.getLogger("mapper"))
    return registered(mapper, name, stream.schema, stream.keys)


def _table(
    records: list[Record],
    received: Sequence[Callable[[str], str]] = (),
    private: Collection[str] = (),
    made: Iterable[str] = (),
) -> Table:
    """Lay out the columns of the records; beside each record what Klar gets, and below what a map has `made`."""
    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else box.ASCII2, pad_edge=False)
    columns = dict.fromkeys([*(column for record in records for column in record), *made])
    wide = min(_WIDEST_NAME, max(map(len, columns), default=0))
    table.add_column("column", no_wrap=True, overflow="ellipsis", min_width=wide, max_width=_WIDEST_NAME)
    titles = [title for n, _ in enumerate(records, 1) for title in (f"record {n}", "Klar gets")[: 1 + bool(received)]]
    remaining = (_width() - wide) // max(1, len(titles)) - _PADDING
    for title in titles:
        table.add_column(title, no_wrap=True, overflow="ellipsis", max_width=remaining)
    for column in columns:
        cells = [
            [_value(record[column], hidden=fold(column) in private) if column in record else ""] for record in records
        ]
        for cell, gets in zip(cells, received, strict=False):
            cell.append(gets(column))
        table.add_row(shorten(column), *(text for cell in cells for text in cell))
    return table


def _received(column: str, *, made: Any, reads: frozenset[str], conformer: Conformer, private: set[str]) -> str:
    """Return what Klar gets of a column of the record that a map made."""
    if not isinstance(made, dict):
        return ""
    name = conformer.name_of(column)
    if name == DELETED_AT:
        return "the mark of a deletion"
    if column in made and name is not None:
        received = conformer.convert({column: made[column]})
        wrong = [problem for problem in conformer.explain(received) if problem.path.startswith(name)]
        if wrong and name in received:
            return f"{wrong[0]}"
        hidden = fold(name) in private
        return f"{name} {_value(received[name], hidden=hidden)}" if name in received else f"no {name}"
    return "used by the map" if column in reads else "left out"


def _verdicts(sent: list[Any], conformer: Conformer, *, shown: bool = False) -> Iterator[str]:
    for number, made in enumerate(sent, 1):
        result = made if made is None or isinstance(made, Rejection) else conformer.conform(made)
        if isinstance(result, Conformed):
            told = shorten(result.text.decode(), _LONGEST_OBJECT) if shown and not conformer.private else "is sent"
        elif isinstance(result, Rejection):
            told = f"is refused: {'; '.join(map(str, result.problems))}"
        else:
            told = "is dropped by `__filter__`" if made is None else "is deleted at its source, and skipped"
        yield f"  record {number} {told}"


def _fits(node: Node, value: object) -> bool:
    """Tell whether a value can be made into what a node of the contract wants."""
    schema = {"type": "object", "properties": {"it": node}, "required": ["it"], "additionalProperties": False}
    return not explain(schema, Conversions().of_object(schema).convert({"it": value}))


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPED


def _value(value: object, *, hidden: bool) -> str:
    if hidden:
        return describe(value, of_many=True)
    if isinstance(value, str):
        return shorten(value, _LONGEST_VALUE)
    try:
        return shorten(encode(value).decode(), _LONGEST_VALUE)
    except ENCODE_ERRORS:
        return describe(value)


def _described(node: Node) -> str:
    return f"{node['type']}: {node['description']}"
