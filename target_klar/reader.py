"""Singer lines from any input, each one a message, and those of the files that a BATCH message names.

Between two chunks of input the delivery is tended. The files of a BATCH are JSON lines, plain or gzip, wherever
`fsspec` can reach them.
"""

from __future__ import annotations

import gzip
import logging
import re
from collections import Counter
from contextlib import closing
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec
from singer_sdk.exceptions import FatalSyncError, RecordsWithoutSchemaException
from singer_sdk.singerlib.encoding.base import GenericSingerReader
from singer_sdk.singerlib.exceptions import InvalidInputLine
from upath import UPath

from target_klar.records.formatting import shorten
from target_klar.records.json_codec import NotJSONError, decode, members, quoted
from target_klar.runtime import shutdown
from target_klar.runtime.pipes import CHUNK, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from target_klar.runtime.pipes import Wakeup

MAX_LINE = 64 << 20
LINE: Final = "line"
"""Under this name a message carries the bytes that it was read from."""
_LINES_PER_LOOK = 20  # with a slow stream map they take a second
_MAX_PATH = 300  # characters of it in a message
# In the address of a file: the user and the password before the host, and the query, which may be signed.
_SECRET = re.compile(r"(?<=://)[^/?#]*@|[?#].*", re.DOTALL)
_logger = logging.getLogger("target-klar")


class _RecordLine(msgspec.Struct, tag_field="type", tag="RECORD", forbid_unknown_fields=True, gc=False):
    """A RECORD message that has what Singer knows and nothing else."""

    stream: str
    record: msgspec.Raw
    version: int | None = None
    time_extracted: str | None = None


class _StateLine(msgspec.Struct):
    value: msgspec.Raw
    """The JSON text as the tap wrote it, so that it goes out digit for digit."""


_decode_record = msgspec.json.Decoder(_RecordLine).decode
_decode_state = msgspec.json.Decoder(_StateLine).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode


class KlarReader(GenericSingerReader[bytes]):
    """Reads without ever blocking: `poll` is called between chunks, and says how long the next wait may be.

    The JSON of each record and its line go to what `sources` has for its stream, any other message to its callback.
    """

    def __init__(self, wakeup: Wakeup, poll: Callable[[], float]) -> None:
        super().__init__()
        self.sources: dict[str, Callable[[msgspec.Raw | bytes, bytes], None]] = {}
        self.bytes_read = 0
        self._wakeup = wakeup
        self._poll = poll

    @property
    def default_input(self) -> IO[bytes]:
        """Never asked for: without a file the source is stdin's descriptor."""
        raise NotImplementedError

    def deserialize_json(self, line: bytes) -> Any:
        """Return the message of one line.

        Raises:
            NotJSONError: The line is not JSON.
        """
        return decode(line)

    def process_lines(
        self, file_input: IO[Any] | None, callbacks: dict[str, Callable[[dict[str, Any]], None]]
    ) -> Counter[str]:
        """Call back with every message, in order, and count them by type.

        Raises:
            InvalidInputLine: A line is no message; the text names its number and shows nothing of it.
            RecordsWithoutSchemaException: The same for a record whose stream is not known yet.
        """
        counts = dict.fromkeys(callbacks, 0)
        with closing(Source(file_input)) as source:
            for number, line in enumerate(self.lines(source), 1):
                try:
                    kind = self._pass_on(line, callbacks)
                except (InvalidInputLine, RecordsWithoutSchemaException, NotJSONError) as error:
                    if not line.strip():
                        continue
                    wrong = str(error).rstrip(".")
                    look = f"It has {len(line):,} bytes; `sed -n {number}p` on the tap's output shows it."
                    known = InvalidInputLine if isinstance(error, NotJSONError) else type(error)
                    raise known(f"Line {number} of the input: {wrong}. {look}") from error
                counts[kind] += 1
        if not any(counts.values()):
            _logger.warning("The input held no Singer message, so nothing was loaded. Check what the tap writes.")
        return Counter(counts)

    def _pass_on(self, line: bytes, callbacks: dict[str, Callable[[dict[str, Any]], None]]) -> str:
        """Pass on the message of a line, and return its type."""
        try:
            plain = _decode_record(line)
            add = self.sources[plain.stream]
        except (msgspec.MsgspecError, UnicodeError, RecursionError, KeyError):
            message = _message(line, callbacks)
            kind: str = message["type"]
            callbacks[kind](message)
            return kind
        try:
            add(plain.record, line)
        except NotJSONError:
            _message(line, callbacks)  # whose words name the place in the line
            raise
        return "RECORD"

    def lines(self, source: Source) -> Iterator[bytes]:
        """Yield every line without its end, waiting for input, workers and signals alike.

        Raises:
            InvalidInputLine: A line is longer than any that is read.
            FatalSyncError: The source cannot be read to its end.
        """
        beginning: list[bytes] = []
        length = 0
        while True:
            if not self._wakeup.wait(self._poll(), source):
                continue
            chunk = source.read()
            self.bytes_read += len(chunk)
            first, *others = chunk.split(b"\n")
            beginning.append(first)
            length += len(first)
            if length > MAX_LINE:
                raise InvalidInputLine(f"A line of the {source.name} is longer than {MAX_LINE >> 20} MB")
            if others:
                yield b"".join(beginning)
                last = others.pop()
                for some in range(0, len(others), _LINES_PER_LOOK):
                    yield from others[some : some + _LINES_PER_LOOK]
                    if shutdown.received() is not None:
                        self._poll()
                beginning, length = [last], len(last)
            if not chunk:
                yield b"".join(beginning)
                return


def _message(line: bytes, types: Collection[str]) -> dict[str, Any]:
    """Return the message of a line, with the line."""
    message = decode(line)
    try:
        known = message["type"] in types
    except (KeyError, TypeError):
        known = False
    if not known:
        raise InvalidInputLine(_wrong(message))
    message[LINE] = line
    return message  # type: ignore[no-any-return]  # nothing else has a member of that name


def _wrong(message: Any) -> str:
    if not isinstance(message, dict):
        return "not a Singer message, which is a JSON object"
    return "a Singer message of an unknown `type`" if "type" in message else "not a Singer message: it has no `type`"


def state_of(line: bytes) -> bytes:
    """Return the value of a STATE as the text that it is; `line` is its message."""
    try:
        return bytes(_decode_state(line).value)
    except (msgspec.MsgspecError, RecursionError):
        return members(line)["value"]


def record_line(stream: str, record: bytes) -> bytes:
    """Return the line of a RECORD message with this JSON as its record."""
    return b'{"type":"RECORD","stream":%b,"record":%b}' % (quoted(stream), record)


def records(message: dict[str, Any], lines: Callable[[Source], Iterator[bytes]]) -> Iterator[bytes]:
    """Yield the JSON of every record in the files that a BATCH message names; a line that is no JSON becomes text.

    `lines` splits a source, and waits for it as for the input.

    Raises:
        InvalidInputLine: The message is none that names files, or a line is longer than any that is read.
        FatalSyncError: The files are of another kind, or one cannot be read to its end.
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
        name = f"batch file {address_shown(path)}"
        with closing(Source(_pieces(path, packed=packed), name, hidden=secrets_in(path))) as source:
            yield from _records(lines(source), name)


def _records(lines: Iterator[bytes], name: str) -> Iterator[bytes]:
    last = b""
    for line in lines:
        if last.strip():
            yield _record(last)
        last = line
    if last.strip():  # it has no end of its own
        if not _is_json(last):
            raise FatalSyncError(
                f"The {name} was cut: its last line is no JSON and has no end. Have the tap write it again."
            )
        yield _record(last)


def _pieces(path: str, *, packed: bool) -> Iterator[bytes]:
    with UPath(path).open("rb") as file:
        content = gzip.GzipFile(fileobj=file) if packed else file
        yield from iter(partial(content.read, CHUNK), b"")


def _record(line: bytes) -> bytes:
    text = line.strip()
    return text if _is_json(text) else quoted(text.decode(errors="replace"))


def _is_json(text: bytes) -> bool:
    try:
        text.decode()  # what is inside of it, the other one does not look at
        _decode_raw(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        try:
            # In brackets it is nested as deep as in a message, so that the rejects file can be read again.
            return len(decode(b"[%b]" % text)) == 1  # more than one where the line is `1, 2`
        except NotJSONError:
            return False
    return True


def address_shown(path: str) -> str:
    """Return the address of a file as a message may show it: shortened, without user, password and query."""
    return shorten(_SECRET.sub("", path), _MAX_PATH)


def secrets_in(path: str) -> tuple[str, ...]:
    """Return the parts of an address that no message may show."""
    return tuple(part for found in _SECRET.finditer(path) for part in re.split(r"[:@?&=]", found[0]) if part)
