"""The records of a BATCH message: files of JSON lines, plain or gzip, wherever `fsspec` can reach them."""

from __future__ import annotations

import gzip
import json
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import FatalSyncError
from singer_sdk.singerlib.exceptions import InvalidInputLine
from upath import UPath

from target_klar.exact import NotJSONError, decode
from target_klar.explain import shorten
from target_klar.pipes import CHUNK, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LONGEST_PATH = 300  # characters of it in a message


def records(message: dict[str, Any], lines: Callable[[Source], Iterator[bytes]]) -> Iterator[tuple[Any, bytes]]:
    """Yield every record of the files that a BATCH message names, and its JSON; a line that is none becomes text.

    `lines` splits a source, and waits for it as for the input.

    Raises:
        InvalidInputLine: The message is none that names files, or a line is longer than any that is read.
        FatalSyncError: The files are of another kind, or one cannot be read.
    """
    encoding, manifest = message["encoding"], message["manifest"]
    if not isinstance(encoding, dict) or not isinstance(manifest, list):
        raise InvalidInputLine("a BATCH message whose `encoding` or `manifest` is not what it should be")
    if not all(isinstance(path, str) for path in manifest):
        raise InvalidInputLine("a BATCH message whose `manifest` names something that is no file")
    packed = encoding.get("compression") == "gzip"
    if encoding.get("format") != "jsonl" or not (packed or encoding.get("compression") in (None, "none")):
        raise FatalSyncError(
            "A BATCH message has files other than JSON lines, plain or gzip. Set the tap's `batch_config`."
        )
    for path in manifest:
        name = f"batch file {shorten(path, _LONGEST_PATH)}"
        with closing(Source(_pieces(path, packed=packed), name)) as source:
            for line in lines(source):
                if line and not line.isspace():
                    yield _record(line)


def _pieces(path: str, *, packed: bool) -> Iterator[bytes]:
    with UPath(path).open("rb") as file:
        content = gzip.GzipFile(fileobj=file) if packed else file
        yield from iter(partial(content.read, CHUNK), b"")


def _record(line: bytes) -> tuple[Any, bytes]:
    text = line.strip()
    try:
        # In brackets it is nested as deep as in a message, so that the rejects file can be read again.
        held = decode(b"[%b]" % text)
    except NotJSONError:
        held = []
    if len(held) == 1:  # more than one where the line is `1, 2`
        return held[0], text
    words = text.decode(errors="replace")
    return words, json.dumps(words).encode()
