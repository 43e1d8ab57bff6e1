"""The first lines of the input, and the tap's streams as far as they hold them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from singer_sdk.exceptions import FatalSyncError

from target_klar.records.json_codec import NotJSONError, decode
from target_klar.runtime.pipes import MAX_LINE, NO_INPUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_klar.contract.streams import Record

_MAX_LINES: Final = 10_000
_MAX_BYTES: Final = 64 << 20
"""What is read and held at the most, with the line that passes it."""


@dataclass
class Sample:
    """A stream of the tap: its columns, and its records among the lines that were read."""

    columns: dict[str, None] = field(default_factory=dict)
    """Those of its SCHEMA, and others that records bring."""
    records: list[Record] = field(default_factory=list)


def first_lines(path: str | None) -> tuple[list[bytes], bool]:
    """Return the first lines of a file, or of stdin, and whether there are others: up to 10,000, or 64 MB and a line.

    Raises:
        FatalSyncError: The input cannot be read.
    """
    if path is None and sys.stdin is None:
        raise FatalSyncError(NO_INPUT)
    lines: list[bytes] = []
    size = 0
    try:
        with Path(path).open("rb") if path else sys.stdin.buffer as source:
            for line in iter(partial(source.readline, MAX_LINE + 2), b""):
                if len(lines) == _MAX_LINES or size > _MAX_BYTES:
                    return lines, True
                lines.append(line)
                size += len(line)
    except OSError as error:
        raise FatalSyncError(f"The input cannot be read ({error.strerror}).") from None
    return lines, False


def samples_of(lines: Iterable[bytes], stream: str | None) -> dict[str, Sample]:
    """Return the tap's streams by name; with a `stream` the lines are its records."""
    samples: dict[str, Sample] = {}
    for line in lines:
        try:
            message = decode(line)
        except NotJSONError:  # a blank line, or where a load stops
            continue
        match message if stream is None else {"type": "RECORD", "stream": stream, "record": message}:
            case {"type": "SCHEMA", "stream": str(name), "schema": {"properties": dict(columns)}}:
                samples.setdefault(name, Sample()).columns.update(dict.fromkeys(columns))
            case {"type": "RECORD", "stream": str(name), "record": dict(record)} if name in samples or stream:
                sample = samples.setdefault(name, Sample())
                sample.records.append(record)
                sample.columns.update(dict.fromkeys(record))
    return samples
