"""Where an answer ends: what a server sends is one whole HTTP answer, or no answer.

http.client and urllib3 take much that is cut or unclear: headers that stop anywhere, `+5` for a length, chunks without
the last one, any 1xx but 100 as the answer itself. Here only what RFC 9112 writes is read, and all of it at once.
"""

from __future__ import annotations

import http.client
import io
import re
import ssl
from http.client import HTTPMessage
from typing import TYPE_CHECKING, Any, Final

from target_klar.api.deadlines import current_attempt

if TYPE_CHECKING:
    import socket

MAX_BODY: Final = 2 << 20
"""The bytes of a body that are kept; what comes after them is read, for the end of the answer, and dropped."""
_MAX_LENGTH: Final = 64 << 20
_MAX_HEAD: Final = 1 << 16
_AT_ONCE: Final = 1 << 16
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t -~\x80-\xff]*))?\r\n")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)\r\n")
# Extensions behind a chunk's size are of RFC 9112, and so are the blanks before them; some servers send blanks alone.
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n")
_LENGTH: Final = re.compile("[0-9]{1,9}")


class BrokenAnswerError(http.client.HTTPException):
    """The answer is incomplete or malformed; the text says why, in our words."""


class NothingReceivedError(BrokenAnswerError):
    """The connection ended before the first byte of an answer."""


class WholeResponse(http.client.HTTPResponse):
    """The final answer to a request, read to its end before anything of it is looked at.

    A body whose length was announced, as such or in chunks, is shown with a Content-Length. One that ended with the
    connection is shown without, so that whoever reads it can judge whether it is all there. Of the other headers only
    Retry-After is shown: no cookie, coding or address of a server's is for the libraries above to act on.
    """

    _held: bytearray
    _silent = True
    """Nothing has come yet."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._socket = sock

    def begin(self) -> None:
        """Read the whole answer, passing over interim ones (1xx).

        Raises:
            BrokenAnswerError: It is cut, malformed, contradicts itself, or goes on after its end.
            OSError: The connection broke, or the time of the attempt is over.
        """
        minor, status, reason, headers = self._read_final_head()
        body, length = self._read_body(minor, status, headers)
        if self._held:
            raise BrokenAnswerError("more than one response")
        self._show(body)
        self.version, self.code, self.status, self.reason = 10 + minor, status, status, reason
        self.headers = self.msg = HTTPMessage()
        for value in headers.get_all("Retry-After", []):
            self.headers["Retry-After"] = value
        if length is not None:
            self.headers["Content-Length"] = str(length)
        options = {option.strip().lower() for value in headers.get_all("Connection", []) for option in value.split(",")}
        self.will_close = length is None or minor == 0 or not options <= {"keep-alive"}
        self.chunked, self.length = False, len(body)

    def _read_status(self) -> tuple[str, int, str]:
        """Read the head of a proxy's answer to CONNECT: http.client asks for it here, and would take a cut one."""
        minor, status, reason, _ = self._read_final_head()
        self._show(b"\r\n")
        return f"HTTP/1.{minor}", status, reason

    def _show(self, rest: bytes) -> None:
        """Let what is left to read be this."""
        self.fp.close()
        self.fp = io.BytesIO(rest)  # type: ignore[assignment]  # typeshed asks for more than is read

    def _read_final_head(self) -> tuple[int, int, str, HTTPMessage]:
        self._held = bytearray()
        while True:
            minor, status, reason, headers = self._read_head()
            if status >= http.client.OK:
                return minor, status, reason, headers
            if status == http.client.SWITCHING_PROTOCOLS:
                raise BrokenAnswerError("a protocol that was not requested")

    def _read_head(self) -> tuple[int, int, str, HTTPMessage]:
        line = _STATUS_LINE.fullmatch(self._read_line())
        if not line:
            raise BrokenAnswerError("malformed status line")
        return int(line[1]), int(line[2]), (line[3] or b"").decode("latin-1"), self._read_headers()

    def _read_headers(self) -> HTTPMessage:
        headers = HTTPMessage()
        remaining = _MAX_HEAD
        while (line := self._read_line()) != b"\r\n":
            field = _FIELD.fullmatch(line)
            if not field:
                raise BrokenAnswerError("malformed header line")
            remaining -= len(line)
            if remaining < 0:
                raise BrokenAnswerError("endless headers")
            headers[field[1].decode()] = field[2].decode("latin-1").strip("\t ")  # beside another one of that name
        return headers

    def _read_body(self, minor: int, status: int, headers: HTTPMessage) -> tuple[bytes, int | None]:
        """Return what is kept of the body and, unless it ended with the connection, its length."""
        bodiless = status == http.client.NO_CONTENT
        match headers.get_all("Content-Length", []), headers.get_all("Transfer-Encoding", []):
            case [length], [] if _LENGTH.fullmatch(length) and not (bodiless and int(length)):
                body = self._read_sized(int(length))
            case [], [coding] if coding.lower() == "chunked" and minor and not bodiless:
                body = self._read_chunks()
            case [], [] if bodiless:
                body = b""
            case [], []:
                return self._read_to_the_end(), None
            case _:
                raise BrokenAnswerError("ambiguous body length")
        return body, len(body)

    def _read_chunks(self) -> bytes:
        body = bytearray()
        remaining = _MAX_LENGTH
        while True:
            line = _CHUNK_SIZE.fullmatch(self._read_line())
            if not line:
                raise BrokenAnswerError("malformed chunk size")
            size = int(line[1], 16)
            if not size:
                self._read_headers()
                return bytes(body)
            remaining -= size
            body += self._read_sized(size, remaining)[: MAX_BODY - len(body)]
            if self._read_exactly(2) != b"\r\n":
                raise BrokenAnswerError("malformed end of a chunk")

    def _read_line(self) -> bytes:
        while not (end := self._held.find(b"\n") + 1):
            if len(self._held) > _MAX_HEAD:
                raise BrokenAnswerError("endless line")
            self._receive()
        return self._read_exactly(end)

    def _read_exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            self._receive()
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def _read_sized(self, size: int, remaining: int = _MAX_LENGTH) -> bytes:
        """Read so many bytes of the body, and return the first ones of them."""
        if size > _MAX_LENGTH or remaining < 0:
            raise BrokenAnswerError("endless body")
        kept = self._read_exactly(min(size, MAX_BODY))
        size -= len(kept)
        while size:
            size -= len(self._read_exactly(min(size, _AT_ONCE)))
        return kept

    def _read_to_the_end(self) -> bytes:
        length = len(self._held)
        while received := self._read_some():
            length += len(received)
            if length > _MAX_LENGTH:
                raise BrokenAnswerError("endless body")
            self._held += received[: max(0, MAX_BODY - len(self._held))]
        return self._read_exactly(min(len(self._held), MAX_BODY))

    def _receive(self) -> None:
        try:
            received = self._read_some()
        except (ConnectionError, ssl.SSLEOFError) as error:
            if self._silent:
                raise NothingReceivedError from error
            raise
        if not received:
            kind = NothingReceivedError if self._silent else BrokenAnswerError
            raise kind("the connection was closed before the end of the response")
        self._silent = False
        self._held += received

    def _read_some(self) -> bytes:
        self._socket.settimeout(current_attempt().remaining())
        return self.fp.read1(_AT_ONCE)
