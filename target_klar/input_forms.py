"""Recognises an input that is not a Singer stream (CSV, a JSON array, rows), to say in an error what would read it."""

from __future__ import annotations

import json
import re
from typing import Final

from singer_sdk.singerlib import SingerMessageType

from target_klar.records.json_codec import NotJSONError, decode

_MARKS: Final = ((b"\xef\xbb\xbf", "UTF-8"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
_GZIP: Final = b"\x1f\x8b"
_SEPARATORS: Final = (";", "\t", "|", ",")
# What a column is called, or a value: a few words, without the punctuation of a sentence.
_CELL: Final = re.compile(r"\s*(?:\"[^\"]{0,80}\"|[^\"!?{}\[\]<>]{0,80})\s*")
_LOOKED_AT: Final = 10_000
_ROWS: Final = "`target-klar --stream NAME` reads plain JSON lines, each one a record of that stream"


def likely_form(line: bytes, *, singer: bool) -> str:
    """Return a sentence, after a blank, about what the first line of an input looks like; empty if that is not clear.

    `singer` tells whether Singer messages are expected, or else plain JSON lines.
    """
    if is_packed(line):
        return f" It is packed (gzip): `zcat FILE | target-klar{' --stream NAME' * (not singer)}` unpacks it."
    if encoding := marked_encoding(line):
        return f" It begins with a byte order mark ({encoding}). Write the input as UTF-8 without one."
    if cure := what_writes_lines(line):
        return f"{cure} {_ROWS}."
    return f" If each line is a record: {_ROWS}." if singer and _is_row(line) else ""


def marked_encoding(line: bytes) -> str:
    """Return the encoding whose byte order mark a first line begins with; empty if there is none."""
    return next((encoding for mark, encoding in _MARKS if line.startswith(mark)), "")


def is_packed(line: bytes) -> bool:
    """Tell whether a first line begins as a gzip file does."""
    return line.startswith(_GZIP)


def what_writes_lines(line: bytes) -> str:
    """Return a sentence, after a blank, about what makes JSON lines of input that begins so; empty if unclear."""
    text = line.strip()
    if text.startswith(b"["):
        return " It looks like a JSON array: `jq -c '.[]'` (1.7 or newer) writes a line for each element."
    if text == b"{":
        return " It looks like JSON over several lines: `jq -c .` writes it on one."
    if _has_several_objects(text):
        return " It has several JSON objects on a line: `jq -c .` writes each on its own."
    if not text.startswith(b"{") and _looks_like_csv(text):
        return " It looks like CSV: `duckdb -jsonlines` reading `read_csv('FILE', all_varchar=true)` writes JSON lines."
    return ""


def _has_several_objects(text: bytes) -> bool:
    """Tell whether a line begins with a JSON object, and another one follows."""
    try:
        line = text.decode()
        first, end = json.JSONDecoder().raw_decode(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and line[end:].lstrip(" \t\r,").startswith("{")


def _is_row(text: bytes) -> bool:
    """Tell whether a line is a JSON object, but not a Singer message."""
    try:
        read = decode(text)
    except NotJSONError:
        return False
    return isinstance(read, dict) and read.get("type") not in list(SingerMessageType)


def _looks_like_csv(text: bytes) -> bool:
    try:
        line = text[:_LOOKED_AT].decode()
    except UnicodeDecodeError:
        line = text[:_LOOKED_AT].decode("latin-1")
    separator = max(_SEPARATORS, key=line.count)
    cells = line.split(separator)
    return len(cells) > 1 and all(map(_CELL.fullmatch, cells))
