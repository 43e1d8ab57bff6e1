"""What a preview prints: of each source stream what came, what Klar would get, and which stream map would help."""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import yaml
from rich import box
from rich.console import Console
from rich.table import Table
from singer_sdk.exceptions import FatalSyncError
from singer_sdk.mapper import RemoveRecordTransform

from target_klar.contract.streams import CONTRACTS
from target_klar.preview.discarding import RECORDS_SHOWN, PreviewTarget
from target_klar.preview.first_lines import first_lines, samples_of
from target_klar.preview.kinds import kinds
from target_klar.preview.values import shown, shown_key, shown_problem
from target_klar.records.conform import Conformed, Deleted, Filtered, Rejection
from target_klar.records.convert import fold
from target_klar.records.deletions import DELETED_AT
from target_klar.records.formatting import counted, listed, shorten
from target_klar.records.json_codec import decode
from target_klar.settings.stream_maps import unused_maps
from target_klar.stream_maps.in_effect import definitions_of
from target_klar.stream_maps.members import members_read, unread
from target_klar.suggestions import likely_stream, propose, renaming

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from target_klar.contract.streams import Contract
    from target_klar.preview.discarding import Tally
    from target_klar.records.conform import Outcome
    from target_klar.suggestions import Proposal, Sample

    MembersRead = Mapping[str, Collection[str] | None]
    Shown = tuple[int, Any, Outcome | None]
    """The number of a record in its stream, the record as the tap wrote it, and what it becomes, if something."""

_WIDTH_FOR_TWO: Final = 120
"""The columns of a terminal that hold two records side by side; in fewer they stand below each other."""
_PIPED: Final = 1000
_INDENT: Final = 4 * " "
"""Before a stream map."""
_WIDEST_NAME: Final = 24
_TITLES: Final = {
    Conformed: "Klar gets",
    Rejection: "rejected",
    Filtered: "dropped by `__filter__`",
    Deleted: "deleted, and skipped",
}
"""What stands above what a record becomes."""
_FIELD: Final = re.compile(r"[.\[]")
_MAX_LEFT: Final = 6
_PADDING: Final = 4
"""What is between two columns of a table, and at its border."""


def show(target: PreviewTarget, path: str | None) -> None:
    """Print what the first lines of a file, or of stdin, become.

    Raises:
        FatalSyncError: There is nothing to show.
        SingerSDKError: A load would stop here; what comes before is shown.
        InvalidInputLine: The same, at a line that is not a message.
    """
    logging.disable(logging.INFO)
    lines, has_more = first_lines(path)
    stopped = target.try_lines(lines)
    samples = samples_of(lines, target.message_reader.stream)
    if not target.source_streams:
        raise stopped or FatalSyncError("The input has no stream, so there is nothing to show. Check the tap.")
    console = Console(width=_width(), highlight=False, markup=False, emoji=False)
    for part in _report(target, samples, lines, stopped):
        # Half a surrogate pair, which stdout does not take, is written as JSON has it.
        line = part.encode("utf-8", "backslashreplace").decode() if isinstance(part, str) else part
        # What is to be copied stays on its line.
        whole = isinstance(line, str) and (line.startswith(_INDENT) or not sys.stdout.isatty())
        console.print(line, no_wrap=whole, overflow="ignore" if whole else "fold", crop=False)
    if has_more:
        console.print(f"The input goes on: the preview read {counted(len(lines), 'line')} from its beginning.")
    if stopped:
        raise stopped


def _report(
    target: PreviewTarget, samples: dict[str, Sample], lines: Sequence[bytes], stopped: Exception | None
) -> Iterator[str | Table]:
    proposals = _proposals(target, samples)
    maps = {name: each.stream_map for name, each in proposals.items() if each.stream_map}
    final, then = target, stopped
    if maps:
        final = PreviewTarget(config={**target.config, "stream_maps": {**target.config.get("stream_maps", {}), **maps}})
        final.message_reader.stream = target.message_reader.stream
        logging.disable(logging.WARNING)  # which the first one gave
        then = final.try_lines(lines)
    for name, sample in samples.items():
        yield from _of_source(name, sample, target, final if name in maps else target, proposals.get(name))
        yield ""
    if then is not None and str(then) != str(stopped):
        yield f"With these stream maps a load would stop: {then}"
    streams = [each for each in final.streams if each.read]
    if streams:
        yield f"In all, of {counted(len(lines), 'line')}{' with these stream maps' * bool(maps)}:"
    for each in streams:
        yield from (f"  {line}" for line in (each.summary(zeros=False), *(text for _, text in each.lines())))
    for source in final.source_streams.values():
        yield from (f"  {line}" for line in source.warnings())
    for name, count in target.batch_messages.items():
        yield f"The files of {counted(count, 'BATCH message')} of {name} were not read."
    of_one_stream = final.message_reader.stream is not None
    missing = unused_maps(final.mapper.stream_maps_dict, final.mapper.stream_maps, of_one_stream=of_one_stream)
    if missing:
        yield f"`stream_maps` has maps for streams that did not come: {missing}."


def _proposals(target: PreviewTarget, samples: dict[str, Sample]) -> dict[str, Proposal]:
    """Return a proposal for each source stream of which Klar misses something."""
    proposals: dict[str, Proposal] = {}
    maps = target.config.get("stream_maps", {})
    for name, sample in samples.items():
        tallies = target.tallies(name)
        contract: Contract | None = None
        if name in target.unknown:
            contract = likely_stream(name, sample.columns)
        elif len(tallies) == 1 and tallies[0][1].counts[Rejection]:
            contract = tallies[0][0]
        if contract is not None:
            theirs = _definitions(target, name)
            proposals[name] = propose(name, sample, contract, theirs, by_pattern=name not in maps)
    return proposals


def _of_source(
    name: str, sample: Sample, target: PreviewTarget, final: PreviewTarget, proposal: Proposal | None
) -> Iterator[str | Table]:
    tallies = final.tallies(name)
    streams = [contract.stream for contract, _ in target.tallies(name)]
    read = tallies[0][1].read if tallies else len(sample.records)
    become = f" that become{'s' * (read == 1)} {' and '.join(streams)}" if streams not in ([], [name]) else ""
    yield f"{shorten(name)}: {counted(read, 'record') + become if read else 'no RECORD message came'}"
    if name in target.unknown:
        yield f"  Klar has no stream of this name, only {', '.join(CONTRACTS)}."
        likely = likely_stream(name, sample.columns)
        if likely is None:
            yield "  Nothing in its name or its columns suggests one. Name it with `__alias__`, or drop it:"
            yield from (f"{_INDENT}{setting}" for setting in renaming(name, None))
        else:
            yield f"  Its name and its columns suggest `{likely.stream}`."
    elif all(isinstance(each, RemoveRecordTransform) for each in target.mapper.stream_maps.get(name, [None])):
        yield "  A stream map drops this stream."
    if final is not target:
        yield "  What Klar gets is shown with the stream map below."
    for contract, tally in tallies:
        if len(tallies) > 1:
            yield f"  As {contract.stream}:"
        yield from _tables(tally.first, contract, members_read(_definitions(final, name)))
    if not tallies and sample.records:
        yield from _tables([(at, record, None) for at, record in enumerate(sample.records[:RECORDS_SHOWN], 1)])
    for contract, tally in target.tallies(name):
        of = f"{contract.stream}: " * (len(tallies) > 1)
        yield from (f"  {of}{line}" for line in tally.verdicts())
    cancels_by = next((contract.cancels_by for contract, _ in tallies if contract.cancels_by), None)
    yield from (f"  {line}" for line in kinds(sample, _definitions(target, name), cancels_by))
    if proposal is not None:
        yield from _of_proposal(name, proposal, tallies if final is not target else [])


def _definitions(target: PreviewTarget, name: str) -> list[dict[str, Any]]:
    return definitions_of(target.config.get("stream_maps", {}), name)


def _of_proposal(name: str, proposal: Proposal, tallies: Iterable[tuple[Contract, Tally]]) -> Iterator[str]:
    yield from (f"  {sentence}" for sentence in proposal.sentences)
    if not proposal.stream_map:
        return
    setting = {"stream_maps": {name: proposal.stream_map}}
    yield "  A stream map to begin with, as JSON for a configuration file:"
    yield f"{_INDENT}{json.dumps(setting, ensure_ascii=False)}"
    yield "  The same as YAML for meltano.yml, under `config:`:"
    for line in yaml.safe_dump(setting, sort_keys=False, allow_unicode=True, width=_PIPED).splitlines():
        yield f"{_INDENT}{line}"
    for line in chain.from_iterable(tally.verdicts() for _, tally in tallies):
        yield f"  With it: {line}"


def _tables(
    records: Sequence[Shown], contract: Contract | None = None, reads: MembersRead = MappingProxyType({})
) -> Iterator[Table]:
    """Lay out the columns of some records; beside each what Klar gets, and below what a stream map makes."""
    size = len(records) if _width() >= _WIDTH_FOR_TWO else 1
    for at in range(0, len(records), size):
        yield _table(records[at : at + size], contract, reads)


def _table(records: Sequence[Shown], contract: Contract | None, reads: MembersRead) -> Table:
    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else box.ASCII2, pad_edge=False)
    rows = [_cells(record, outcome, contract, reads) for _, record, outcome in records]
    columns = dict.fromkeys(chain.from_iterable(rows))
    wide = min(_WIDEST_NAME, max((len(shorten(column)) for column in columns), default=0))
    titles = [(f"record {at:,}", *([_TITLES[type(each)]] if contract else [])) for at, _, each in records]
    remaining = (_width() - wide) // (len(titles) * len(titles[0])) - _PADDING
    table.add_column("column", overflow="fold", max_width=wide)
    for title in chain.from_iterable(titles):
        table.add_column(title, overflow="fold", max_width=remaining)
    for column in columns:
        empty = ("",) * len(titles[0])
        table.add_row(shorten(column), *chain.from_iterable(row.get(column, empty) for row in rows))
    return table


def _cells(
    record: Any, outcome: Outcome | None, contract: Contract | None, reads: MembersRead
) -> dict[str, tuple[str, ...]]:
    """Return for each column what came, and with a contract also what Klar gets of it; then what a map makes."""
    came = record if isinstance(record, dict) else {}
    if contract is None:
        return {column: (shown(value, column),) for column, value in came.items()}
    made = _received(outcome)
    otherwise = {Conformed: "no {}", Rejection: "{}"}.get(type(outcome), "")
    fields = {fold(field): field for field in (*contract.schema["properties"], DELETED_AT)}
    cells: dict[str, tuple[str, ...]] = {}
    shown_beside: set[str] = set()
    for column, value in came.items():
        field = column if column in made else fields.get(fold(column))
        if field is None:
            gets = _used(unread(value, reads[column])) if column in reads else "omitted"
        elif field == DELETED_AT:
            gets = "the mark of a deletion"
        else:
            gets = made.get(field, otherwise.format(field))
            shown_beside.add(field)
        cells[column] = shown(value, column), gets
    return cells | {field: ("", gets) for field, gets in made.items() if field not in shown_beside}


def _used(left: Sequence[str]) -> str:
    return f"used by the map{', without ' * bool(left)}{listed(map(shown_key, left), _MAX_LEFT)}"


def _received(outcome: Outcome | None) -> dict[str, str]:
    """Return by field what Klar gets, or what is wrong with it."""
    match outcome:
        case Conformed():
            return {field: f"{field} {shown(value, field)}" for field, value in decode(outcome.sent).items()}
        case Rejection():
            return {_FIELD.split(each.path)[0]: "".join(shown_problem(each)) for each in reversed(outcome.problems)}
    return {}


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPED
