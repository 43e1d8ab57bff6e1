"""The files that a BATCH message names: JSON lines, plain or gzip, wherever `fsspec` can reach them."""

from __future__ import annotations

import gzip
import logging
import re
from contextlib import closing
from functools import partial
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.exceptions import FatalSyncError
from singer_sdk.singerlib.exceptions import InvalidInputLine
from upath import UPath

from target_klar.input_forms import is_packed, marked_encoding, what_writes_lines
from target_klar.records.formatting import shorten
from target_klar.records.json_codec import NotJSONError, decode, quoted
from target_klar.runtime.pipes import CHUNK, Input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_logger = logging.getLogger("target-klar")
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
        FatalSyncError: The files are of another kind, or one cannot be read to its end, or is not JSON lines.
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
    if not manifest:
        _logger.warning("A BATCH message of %s names no file. Check what writes it.", stream)
    for path in manifest:
        name = f"batch file {address_shown(path)} of {stream}"
        with closing(Input(_pieces(path, packed=packed), name, hidden=secrets_in(path))) as incoming:
            yield from _records(lines(incoming), name, unpacked=packed)


def _records(lines: Iterator[bytes], name: str, *, unpacked: bool) -> Iterator[bytes]:
    """Yield the JSON of every record.

    One of the first two lines has to be a JSON object. A tap may write one bad record first; but an array, CSV, objects
    on one line show in both lines, or in the only one, and are thousands of records that would be one bad one.
    """
    first, is_json_lines = b"", False
    for number, (line, after) in enumerate(pairwise(chain(lines, (b"\n",))), 1):
        row, is_last = line.strip(), after == b"\n"  # which is no line, but stands behind them all
        if not row:
            continue
        if not (first or is_json_lines) and is_packed(row):
            raise _packing_error(name, unpacked=unpacked)
        if not (first or is_json_lines) and (encoding := marked_encoding(row)):
            raise FatalSyncError(
                f"The {name} begins with a byte order mark ({encoding}). Write it as UTF-8 without one."
            )
        is_json = _fits_in_a_message(row)
        is_json_lines = is_json_lines or (is_json and row.startswith(b"{"))
        if not is_json_lines and (first or (is_last and (is_json or what_writes_lines(row)))):
            raise _not_json_lines(first or row, name)
        record = row if is_json else _as_text(row, number, name, is_last=is_last)
        if not is_json_lines:
            first, first_record = row, record
            continue
        if first:
            yield first_record
            first = b""
        yield record
    if first:
        raise _not_json_lines(first, name)
    if not is_json_lines:
        _logger.warning("The %s has no record. Check what writes it.", name)


def _as_text(row: bytes, number: int, name: str, *, is_last: bool) -> bytes:
    """Return a line that is not JSON as JSON text, which has all of it; `is_last` if no line break ends it.

    Raises:
        FatalSyncError: The file is cut in this line, or it is not UTF-8, so that no JSON text has all of it.
    """
    text = ""
    try:
        text = row.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        if not (is_last and error.reason == "unexpected end of data"):
            raise FatalSyncError(
                f"Line {number} of the {name}: not valid JSON (after byte {error.start}: not UTF-8). Have the tap "
                "write the file as UTF-8."
            ) from None
    if is_last:
        raise FatalSyncError(
            f"The {name} is truncated: its last line is not JSON and has no line break. Have the tap write it again."
        )
    return quoted(text)


def _packing_error(name: str, *, unpacked: bool) -> FatalSyncError:
    if unpacked:
        return FatalSyncError(f"The {name} is packed twice (gzip). Have the tap pack it once.")
    return FatalSyncError(
        f"The {name} is packed (gzip), and its BATCH message does not say so. Set `compression: gzip` under `encoding` "
        "in the tap's `batch_config`."
    )


def _not_json_lines(first: bytes, name: str) -> FatalSyncError:
    return FatalSyncError(
        f"The {name} is not JSON lines: neither its first line nor the next one is a JSON object."
        f"{what_writes_lines(first)} Have the tap write each record as a JSON object on a line of its own."
    )


def _pieces(path: str, *, packed: bool) -> Iterator[bytes]:
    with UPath(path).open("rb") as file:
        content = gzip.GzipFile(fileobj=file) if packed else file
        yield from iter(partial(content.read, CHUNK), b"")
        if packed and not file.tell():
            raise EOFError("The file is empty, which no packed one is")


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
