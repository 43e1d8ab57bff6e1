"""A rejects file without a run around it, and what stands in it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from target_klar.delivery.rejects import Rejects
from target_klar.delivery.rejects_lines import Origin

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = b'{"type":"SCHEMA","stream":"order_refunds","schema":{"properties":{"id":{}}},"key_properties":["id"]}'


def opened(path: Path, *, dry_run: bool = False) -> Rejects:
    """The rejects of a new run, which has read the SCHEMA of `order_refunds`."""
    rejects = Rejects(str(path), 1_000_000, dry_run=dry_run)
    rejects.open(None)
    rejects.schema("order_refunds", SCHEMA)
    return rejects


def release(rejects: Rejects) -> None:
    """End the run: a real one ends with its process, and its lock with it."""
    if rejects._file is not None:
        os.close(rejects._file._file)


def origin(record: bytes, number: int, stream: str = "order_refunds") -> Origin:
    return Origin(stream, record, number)


def records(path: Path) -> list[dict[str, Any]]:
    """The RECORD lines of a file."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [line for line in lines if line["type"] == "RECORD"]
