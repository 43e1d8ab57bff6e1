"""The files that a BATCH message names: JSON lines, plain or gzip, wherever `fsspec` can reach them."""

from __future__ import annotations

import gzip
import re
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.exceptions import FatalSyncError
from singer_sdk.singerlib.exceptions import InvalidInputLine
from upath import UPath

from target_klar.records.formatting import shorten
from target_klar.records.json_codec import NotJSONError, decode, quoted
from target_klar.runtime.pipes import CHUNK, Input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DEEP = 100
"""Where a line opens fewer objects and arrays, no Python finds it too deep to read."""
_MAX_PATH = 300  # characters of it in a message
_SHORTEST_SECRET = 4  # characters; a shorter part, such as a user `u`, is masked where it stands in the address alone
# In the address of a file: the user and the password before the host, and the query, which may be signed.
_SECRET = re.compile(r"(?<=://)[^/?#]*@|[?#].*", re.DOTALL)
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode


def records(message: dict[str, Any], lines: Callable[[Input], Iterator[bytes]]) -> Iterator[bytes]:
    """Yield the JSON of every record in the files that a BATCH message names; a line that is not JSON becomes text.

    `lines` splits a file into lines, and waits for it as for stdin.

    Raises:
        InvalidInputLine: The message names no files.
        FatalSyncError: The files are of another kind, or one cannot be read to its end.
    """
    stream, encoding, manifest = shorten(message["stream"]), message["encoding"], message["manifest"]
    if not isinstance(encoding, dict):
        raise InvalidInputLine(f"a BATCH message of {stream} whose `encoding` is not an object")
    if not isinstance(manifest, list) or not all(isinstance(path, str) for path in manifest):
        raise InvalidInputLine(f"a BATCH message of {stream} whose `manifest` is not a list of file addresses")
    packed = encoding.get("compression") == "gzip"
    if encoding.get("format") != "jsonl" or not (packed or encoding.get("compression") in (None, "none")):
        raise FatalSyncError(
            f"The batch files of {stream} are not JSON lines, plain or gzip. Set `format: jsonl` and `compression: "
            "none` or `gzip` under `encoding` in the tap's `batch_config`."
        )
    for path in manifest:
        name = f"batch file {address_shown(path)} of {stream}"
        with closing(Input(_pieces(path, packed=packed), name, hidden=secrets_in(path))) as incoming:
            yield from _records(lines(incoming), name)


def _records(lines: Iterator[bytes], name: str) -> Iterator[bytes]:
    last = b""
    for line in lines:
        if last.strip():
            yield _record(last)
        last = line
    if last.strip():  # it has no end of its own
        if not _fits_in_a_message(last):
            raise FatalSyncError(
                f"The {name} is truncated: its last line is not JSON and has no line break. Have the tap write it "
                "again."
            )
        yield _record(last)


def _pieces(path: str, *, packed: bool) -> Iterator[bytes]:
    with UPath(path).open("rb") as file:
        content = gzip.GzipFile(fileobj=file) if packed else file
        yield from iter(partial(content.read, CHUNK), b"")
        if packed and not file.tell():
            raise EOFError("The file is empty, which no packed one is")


def _record(line: bytes) -> bytes:
    row = line.strip()
    return row if _fits_in_a_message(row) else quoted(row.decode(errors="replace"))


def _fits_in_a_message(row: bytes) -> bool:
    try:
        row.decode()  # what is inside of a text, the decoder does not look at
        _decode_raw(row)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    else:
        if row.count(b"[") + row.count(b"{") < _DEEP:
            return True
    try:
        # In brackets it is nested as deep as in a message, so that the rejects file can be read again.
        return len(decode(b"[%b]" % row)) == 1  # more than one where the line is `1, 2`
    except NotJSONError:
        return False


def address_shown(path: str) -> str:
    """Return the address of a file as a message may show it: shortened, without user, password and query."""
    return shorten(_SECRET.sub("", path), _MAX_PATH)


def secrets_in(path: str) -> tuple[str, ...]:
    """Return what of an address no message may show: it whole, and its parts that are too long to be within a word."""
    found = [each[0] for each in _SECRET.finditer(path)]
    parts = [part for each in found for part in re.split(r"[:@?&=]", each) if len(part) >= _SHORTEST_SECRET]
    return (*found, *parts)
