"""The records of a BATCH message: files of JSON lines, plain or gzip, wherever `fsspec` can reach them."""

from __future__ import annotations

import gzip
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import FatalSyncError
from singer_sdk.singerlib.exceptions import InvalidInputLine
from upath import UPath

from target_klar.pipes import CHUNK, Source
from target_klar.reader import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def records(message: dict[str, Any], lines: Callable[[Source], Iterator[bytes]]) -> Iterator[Any]:
    """Yield every record of the files that a BATCH message names; a line that is not JSON comes as the text it is.

    `lines` splits a source, and waits for it as for the input.

    Raises:
        InvalidInputLine: The message is none that names files, or a line is longer than any that is read.
        FatalSyncError: The files are of another kind, or one cannot be read.
    """
    encoding, manifest = message["encoding"], message["manifest"]
    if not isinstance(encoding, dict) or not isinstance(manifest, list):
        raise InvalidInputLine("a BATCH message whose `encoding` or `manifest` is not what it should be")
    packed = encoding.get("compression") == "gzip"
    if encoding.get("format") != "jsonl" or not (packed or encoding.get("compression") in (None, "none")):
        raise FatalSyncError(
            "A BATCH message has files other than JSON lines, plain or gzip. Set the tap's `batch_config`."
        )
    for path in manifest:
        with closing(Source(_pieces(path, packed=packed), f"batch file {path}")) as source:
            for line in lines(source):
                if line and not line.isspace():
                    yield _record(line)


def _pieces(path: Any, *, packed: bool) -> Iterator[bytes]:
    with UPath(path).open("rb") as file:
        content = gzip.GzipFile(fileobj=file) if packed else file
        yield from iter(partial(content.read, CHUNK), b"")


def _record(line: bytes) -> Any:
    try:
        return decode(line)
    except InvalidInputLine:
        return line.decode(errors="replace").strip()
