"""Lines from any input: Singer messages, or with `--stream` plain JSON lines, each one a record of that stream.

Between two chunks of input the delivery is polled.
"""

from __future__ import annotations

import io
import json
import logging
from collections import Counter
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec
from singer_sdk.exceptions import FatalSyncError, RecordsWithoutSchemaException
from singer_sdk.singerlib.encoding.base import GenericSingerReader
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_klar.input_forms import likely_form
from target_klar.records.formatting import counted, shorten
from target_klar.records.json_codec import NotJSONError, TwoValuesError, decode, quoted, require_each_once
from target_klar.runtime import shutdown
from target_klar.runtime.pipes import MAX_LINE, Input

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from target_klar.runtime.pipes import Wakeup

LINE: Final = "line"
"""Under this name a message carries the bytes that it was read from."""
_BLANKS: Final = b" \t\r"
_LOOKED_AT: Final = 1000  # rows of which each column has to come once
_LINES_PER_LOOK = 20  # with a slow stream map they take a second
_logger = logging.getLogger("target-klar")


class _RecordLine(msgspec.Struct, tag_field="type", tag="RECORD", forbid_unknown_fields=True, gc=False):
    """A RECORD message that has what Singer knows and nothing else."""

    stream: str
    record: msgspec.Raw
    version: int | None = None
    time_extracted: str | None = None


class _Envelope(msgspec.Struct):
    """What tells a Singer message from a row that has a `type` of its own, as Stripe's have."""

    type: Any = None
    stream: Any = msgspec.UNSET
    value: Any = msgspec.UNSET


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_record = msgspec.json.Decoder(_RecordLine).decode


class KlarReader(GenericSingerReader[bytes]):
    """Reads without ever blocking: `poll` is called between chunks, and says how long the next wait may be.

    The JSON of a record and its line go to its stream's entry in `record_handlers`, any other message to its callback.
    """

    def __init__(self, wakeup: Wakeup, poll: Callable[[], float]) -> None:
        super().__init__()
        self.record_handlers: dict[str, Callable[[msgspec.Raw | bytes, bytes], None]] = {}
        """What takes the records of each of the tap's streams."""
        self.stream: str | None = None
        """The stream whose records plain JSON lines are; None where the lines are Singer messages."""
        self.bytes_read = 0
        self.has_records = False
        """Whether the input had a record, or files of them."""
        self._wakeup = wakeup
        self._poll = poll
        self._left_to_look_at = _LOOKED_AT

    @property
    def default_input(self) -> IO[bytes]:
        """Never asked for: without a file the input is stdin's descriptor."""
        raise NotImplementedError

    def deserialize_json(self, line: bytes) -> Any:
        """Never asked for: what a line becomes depends on what it is."""
        raise NotImplementedError

    def process_lines(
        self, file_input: IO[Any] | None, callbacks: dict[str, Callable[[dict[str, Any]], None]]
    ) -> Counter[str]:
        """Call back with every message, in order, and count them by type.

        Raises:
            InvalidInputLine: A line is not a message; the error names its number and quotes nothing of it.
            RecordsWithoutSchemaException: The same for a record whose stream is not known yet.
        """
        counts = dict.fromkeys(callbacks, 0)
        read = self._dispatch_line if self.stream is None else self._add_json_line
        with closing(Input(file_input)) as incoming:
            for number, line in enumerate(self.lines(incoming), 1):
                try:
                    kind = read(line, callbacks)
                except (InvalidInputLine, RecordsWithoutSchemaException, NotJSONError) as error:
                    if not line.strip():
                        continue
                    wrong = str(error).rstrip(".")
                    look = f"It has {counted(len(line), 'byte')}; `sed -n {number}p` on the tap's output shows it."
                    if not any(counts.values()):
                        look += likely_form(line, singer=self.stream is None)
                    known = InvalidInputLine if isinstance(error, NotJSONError) else type(error)
                    raise known(f"Line {number} of the input: {wrong}. {look}") from error
                counts[kind] += 1
        self.has_records = bool(counts["RECORD"] or counts["BATCH"])
        if not any(counts.values()):
            wanted = "Singer message" if self.stream is None else "record"
            _logger.warning("The input has no %s, so nothing was loaded. Check what writes it.", wanted)
        elif not (counts["SCHEMA"] or counts["RECORD"]):
            # As from a tap that was given a STATE of a first run that failed, and takes it for one that has read all.
            _logger.warning(
                "The input has a STATE and no stream, so nothing was loaded. If the first run failed before, run once "
                "with a full refresh."
            )
        return Counter(counts)

    def _dispatch_line(self, line: bytes, callbacks: dict[str, Callable[[dict[str, Any]], None]]) -> str:
        """Pass on the message of a line, and return its type."""
        try:
            plain = _decode_record(line)
            add = self.record_handlers[plain.stream]
        except (msgspec.MsgspecError, UnicodeError, RecursionError, KeyError):
            # Any other message, and a record whose stream has no handler yet.
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

    def _add_json_line(self, line: bytes, callbacks: dict[str, Callable[[dict[str, Any]], None]]) -> str:
        """Add a plain JSON line as a record, and return the type of its message."""
        assert self.stream is not None
        try:
            envelope = _decode_envelope(line)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            if not isinstance(decode(line), dict):
                raise InvalidInputLine("not a JSON object: under `--stream` each line has to be one") from None
        else:
            singer = isinstance(envelope.type, str) and envelope.type in callbacks
            if singer and (envelope.stream is not msgspec.UNSET or envelope.value is not msgspec.UNSET):
                raise InvalidInputLine(
                    "a Singer message: under `--stream` each line has to be a record. Leave out `--stream`"
                )
        if self._left_to_look_at:
            self._left_to_look_at -= 1
            _require_each_once(line)
        if self.stream not in self.record_handlers:
            # The columns of the first record stand for a schema, of which stream maps want the names.
            callbacks["SCHEMA"](schema_message(self.stream, decode(line)))
        row = line.strip(_BLANKS)  # or the same row with another end would be another rejected record
        self.record_handlers[self.stream](row, record_message(self.stream, row))
        return "RECORD"

    def lines(self, incoming: Input) -> Iterator[bytes]:
        """Yield every line without its end, waiting for input, workers and signals alike.

        Raises:
            FatalSyncError: A line is longer than any that is read, or the input cannot be read to its end.
        """
        beginning: list[bytes] = []
        length = 0
        number = 1
        while True:
            patience = self._poll()
            if not self._wakeup.wait(patience, incoming):
                continue
            chunk = incoming.read()
            self.bytes_read += len(chunk)
            end = chunk.rfind(b"\n") + 1
            whole = [line[:-1] for line in io.BytesIO(chunk[:end])]  # `split` would look at each byte
            beginning.append(whole.pop(0) if whole else chunk)
            length += len(beginning[-1])
            if length > MAX_LINE:
                raise FatalSyncError(
                    f"Line {number} of the {incoming.name}: longer than {MAX_LINE >> 20} MB. Have the tap leave out "
                    "what makes it so long."
                )
            if end:
                number += 1 + len(whole)
                yield b"".join(beginning)
                for some in range(0, len(whole), _LINES_PER_LOOK):
                    yield from whole[some : some + _LINES_PER_LOOK]
                    if shutdown.signal_received() is not None:
                        self._poll()
                beginning, length = [chunk[end:]], len(chunk) - end
            if not chunk:
                yield b"".join(beginning)
                return


def _require_each_once(row: bytes) -> None:
    """Check that a row has each column once, as a query's result may not: `SELECT r.*, o.*`.

    Raises:
        InvalidInputLine: Two values stand under one name.
    """
    try:
        require_each_once(row.decode())
    except TwoValuesError as error:
        raise InvalidInputLine(
            f"two values for {shorten(error.name)} in one record. Give one of the columns another name in the query, "
            "such as `o.id AS order_id`"
        ) from error
    except (ValueError, RecursionError):
        pass  # another error tells


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


def schema_message(stream: str, columns: Iterable[str]) -> dict[str, Any]:
    """Return the SCHEMA message of rows with these columns, with its line; they have no key."""
    properties: dict[str, Any] = {name: {} for name in columns}
    message = {"type": "SCHEMA", "stream": stream, "schema": {"properties": properties}, "key_properties": []}
    return message | {LINE: json.dumps(message).encode()}


def record_message(stream: str, record: bytes) -> bytes:
    """Return the line of a RECORD message with this JSON as its record."""
    return b'{"type":"RECORD","stream":%b,"record":%b}' % (quoted(stream), record)
