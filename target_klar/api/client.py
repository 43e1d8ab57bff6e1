"""HTTP to Klar, without Singer: token, timeouts, retries. Every call ends accepted, rejected or failed.

What Klar answers is described on its help pages for Refunds and Transaction Costs; what those pages leave open
(which statuses are worth another try, an answer of 207) follows Klar's own Magento module.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError

from target_klar.api.answers import (
    REFUSES_TOKEN,
    Answer,
    Status,
    is_foreign_refusal,
    judge,
    seconds_to_wait,
    what_to_check,
    why_no_answer,
)
from target_klar.api.connections import pool_to
from target_klar.api.deadlines import Attempt
from target_klar.api.network_errors import received_nothing, setting_to_check, what_broke
from target_klar.api.pages import is_klars
from target_klar.api.token_mask import TokenMask
from target_klar.records.formatting import counted
from target_klar.runtime.endings import StopSendingError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from urllib3.connectionpool import HTTPConnectionPool

    from target_klar.contract.streams import Contract

_FOREIGN_TRIES = 3
"""After so many refusals by a page that is not Klar's, the request itself is taken for the cause."""
_FROZEN_SECONDS = 1.0
"""An attempt that took longer than its time by this much stood still, with its process."""


class KlarError(StopSendingError):
    """Klar cannot be loaded into as things stand; the message is one line that says what to do."""


class _Response(NamedTuple):
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _TryAgain(NamedTuple):
    """An attempt that did not bring an answer of Klar's."""

    reason: str
    retry_after: float = 0
    """The seconds that the server asks to wait."""
    foreign: _Response | None = None
    """What somebody else refused the request with."""
    frozen: bool = False
    """The process stood still meanwhile."""


class TokenRefusedError(KlarError):
    """Klar does not take the token."""


@dataclass(frozen=True)
class Connection:
    """Where Klar is and how long to wait for it; timeouts in seconds."""

    url: str
    token: str
    versions: Mapping[str, str]
    """The API version of each stream, MM.YYYY."""
    request_timeout: float
    retry_timeout: float
    user_agent: str
    first_wait: float = 0.5
    """Before the second try, doubled for each further one up to 30; as much again at the most is left to chance."""

    def __repr__(self) -> str:
        """Show the address alone: the token is in no repr."""
        return f"Connection({self.url})"


class Client:
    """One connection to Klar, for one thread.

    A request without an answer of Klar's (408, 425, 429, 5xx, none at all, a broken one, a page of somebody else's) is
    sent again after min(30, 0.5 * 2^(n-1)) seconds plus up to 0.5 of jitter, or after Retry-After if that is longer,
    until the next try would begin `retry_timeout` seconds after the first one, or `stop` is set.
    """

    def __init__(self, connection: Connection, stop: threading.Event, tell: Callable[[str], None]) -> None:
        self.requests = 0
        self.retries = 0
        self.longest_answer = 0.0
        """The seconds that the slowest POST took of those that Klar answered, its other attempts not counted."""
        self._connection = connection
        self._stop = stop
        self._tell = tell
        self._status_paths: dict[str, str] = {}
        self._mask = TokenMask(connection.token)
        self._pool: HTTPConnectionPool | None = None

    def submit(self, contract: Contract, body: bytes, *, validate: bool = False) -> Answer:
        """Send 1 to 1000 objects and return Klar's verdict; with `validate` nothing is loaded.

        Raises:
            KlarError: There was no verdict, and asking again will not bring one.
        """
        version = self._connection.versions[contract.stream]
        url = f"{self._connection.url}/{version}/{contract.path}/{'validate' if validate else 'json'}"
        response = self._call("POST", url, contract.stream, body)
        answer = judge(response.status, response.body, partial(contract.keys_in, body))
        if answer is None:
            raise _unexpected(response, url, f"`{contract.version_setting}` ({version}) and `api_url`")
        return answer

    def status(self, contract: Contract) -> Status:
        """Read the status of one stream, under the spelling of its path that Klar knows.

        Raises:
            KlarError: There was no answer, and asking again will not bring one.
        """
        known = self._status_paths.get(contract.stream)
        for path in (known,) if known else contract.status_paths:
            url = f"{self._connection.url}/{path}"
            response = self._call("GET", url, contract.stream)
            if response.status != HTTPStatus.NOT_FOUND:
                break
        status = Status.read(response.body) if response.status == HTTPStatus.OK else None
        if status is None:
            raise _unexpected(response, url, "`api_url`")
        self._status_paths[contract.stream] = path
        return status

    def _call(self, method: str, url: str, stream: str, body: bytes | None = None) -> _Response:
        first_wait, limit = self._connection.first_wait, self._connection.retry_timeout
        began, wait = time.monotonic(), first_wait
        tries, foreign, frozen = 0, 0, False
        while True:
            came = self._try_once(method, url, body)
            if isinstance(came, _Response):
                return came
            seconds = time.monotonic() - began
            tries += 1
            foreign += came.foreign is not None
            pause = max(wait + random.uniform(0, first_wait), came.retry_after)  # noqa: S311  # no secret
            # The limit is for tries, and there were none while the process stood still.
            thaws = came.frozen and not frozen and came.retry_after <= limit
            if self._stop.is_set() or foreign == _FOREIGN_TRIES or not (thaws or pause < limit - seconds):
                break
            frozen = frozen or thaws
            self.retries += body is not None
            self._tell(f"{stream}: no usable response from {url} ({came.reason}); next try in {pause:.1f} s")
            self._stop.wait(pause)
            wait = min(30, 2 * wait)
        if came.foreign is not None:
            return came.foreign
        asked = ""
        if came.retry_after and came.retry_after >= limit - seconds:
            asked = f", asking to wait {came.retry_after:,.0f} s, more than `retry_timeout_seconds` leaves"
        raise KlarError(
            f"{stream}: no usable response from {url} after {counted(tries, 'attempt')} in {round(seconds)} s "
            f"({came.reason}{asked}). Run again later; if it persists, check `api_url`."
        )

    def _try_once(self, method: str, url: str, body: bytes | None) -> _Response | _TryAgain:
        if body is not None:
            if self._stop.is_set():
                raise KlarError(f"The run is stopping: a request to {url} was not sent.")
            self.requests += 1
        seconds = self._connection.request_timeout
        began = time.monotonic()
        with Attempt(seconds) as attempt:
            came = self._try_in(attempt, method, url, body)
        took = time.monotonic() - began
        if took >= seconds or came is None:
            return _TryAgain(f"no full response within {seconds:g} s", frozen=took > seconds + _FROZEN_SECONDS)
        if isinstance(came, _Response) and body is not None:
            self.longest_answer = max(self.longest_answer, took)
        return came

    def _try_in(self, attempt: Attempt, method: str, url: str, body: bytes | None) -> _Response | _TryAgain | None:
        """Return what an attempt brings; None if there was no time for it."""
        try:
            response = self._exchange(method, url, body)
        except (HTTPError, OSError) as error:
            was_closed = not attempt.has_connected and received_nothing(error)  # since it was used before
            if was_closed and not (body is not None and self._stop.is_set()):
                return self._try_in(attempt, method, url, body)
            if advice := setting_to_check(error, url):
                raise KlarError(advice) from error
            reason = what_broke(error)
            return None if reason is None else _TryAgain(reason)
        announced = "Content-Length" in response.headers
        why = why_no_answer(response.status, response.body, announced=announced, may_be_empty=method == "POST")
        if why is None:
            return response
        foreign = response if is_foreign_refusal(response.status, response.body) else None
        return _TryAgain(why, seconds_to_wait(response.headers.get("Retry-After")), foreign)

    def _exchange(self, method: str, url: str, body: bytes | None) -> _Response:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {self._connection.token}",
            "Connection": "keep-alive",
            "User-Agent": self._connection.user_agent,
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._pool is None:
            self._pool = pool_to(self._connection.url, direct=is_loopback(self._connection.url))
        path = urlsplit(url).path
        response = self._pool.urlopen(method, path, body, headers, retries=False, redirect=False)
        return _Response(response.status, response.headers, self._mask(response.data))


def is_loopback(url: str) -> bool:
    """Tell whether an address is on this machine, so that plain http does not carry the token away."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _unexpected(response: _Response, url: str, settings: str) -> KlarError:
    by_klar = is_klars(response.body) or not response.body.strip()
    kind = TokenRefusedError if response.status in REFUSES_TOKEN and by_klar else KlarError
    return kind(what_to_check(response.status, response.body, url, settings))
