"""HTTP to Klar and nothing of Singer: token, timeouts, retries. Every call ends accepted, refused or failed.

What Klar answers is described on its help pages for Refunds and Transaction Costs; what those pages leave open
(which statuses are worth another try, an answer of 207) follows Klar's own Magento module.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple, NoReturn
from urllib.parse import urlsplit

import requests
import tenacity
import urllib3.exceptions
from singer_sdk.exceptions import FatalAPIError

from target_klar.api.answers import Answer, Status, judge, quote, why_no_answer
from target_klar.api.deadlines import Attempt, WatchedAdapter
from target_klar.api.network_errors import setting_to_check, what_broke
from target_klar.records.json_codec import read_strictly

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from target_klar.contract.streams import Contract

_MIN_TOKEN = 8  # Klar's are JWTs of hundreds of characters; of a shorter one any answer may hold the letters


class KlarError(FatalAPIError):
    """Klar cannot be loaded into as things stand; the message is one line that says what to do."""

    lets_in_flight_end = True
    """Nothing new can be sent, but what is in flight may end; an error without this lets all be sent that has come."""


class _Response(NamedTuple):
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _TryAgain(NamedTuple):
    """An attempt that did not bring an answer of Klar's."""

    reason: str
    retry_after: float | None = None


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

    A request that gets no answer of Klar's (408, 425, 429, 5xx, nothing, something broken, a page that is not
    Klar's) is sent again after min(30, 0.5 * 2^(n-1)) seconds plus up to 0.5 of jitter, or after Retry-After if
    that is longer, until the next try would begin `retry_timeout` seconds after the first one, or `stop` is set.
    """

    def __init__(self, connection: Connection, stop: threading.Event, tell: Callable[[str], None]) -> None:
        self.requests = 0
        self.retries = 0
        self._connection = connection
        self._stop = stop
        self._tell = tell
        self._status_paths: dict[str, str] = {}
        self._prepared: dict[tuple[str, str], requests.PreparedRequest] = {}
        wait = connection.first_wait
        self._backoff = tenacity.wait_exponential(multiplier=wait, max=30) + tenacity.wait_random(0, wait)
        self._session = requests.Session()
        self._session.auth = _Bearer(connection.token)  # an auth object, or a .netrc would take its place
        # No proxy sees loopback traffic; of the environment the certificates count there too.
        proxies = dict.fromkeys(("http", "https"), "") if is_loopback(connection.url) else {}
        # Read once: requests would go through the whole environment before every call.
        environment = self._session.merge_environment_settings(connection.url, proxies, None, None, None)
        self._session.proxies, self._session.verify = environment["proxies"], environment["verify"]
        self._session.trust_env = False
        self._session.headers.update(
            {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": connection.user_agent}
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, WatchedAdapter())

    def submit(self, contract: Contract, body: bytes, *, validate: bool = False) -> Answer:
        """Send 1 to 1000 objects and return Klar's verdict; with `validate` nothing is loaded.

        Raises:
            KlarError: There was no verdict, and asking again will not bring one.
        """
        version = self._connection.versions[contract.stream]
        url = f"{self._connection.url}/{version}/{contract.path}/{'validate' if validate else 'json'}"
        response = self._call("POST", url, contract.stream, body)
        answer = judge(response.status, response.body)
        if answer is not None:
            return answer
        if response.status == requests.codes.not_found:
            raise KlarError(
                f"Klar does not know {url} (HTTP 404). Check `{contract.version_setting}` ({version}) and `api_url`."
            )
        raise _says_something_else(response, url)

    def status(self, contract: Contract) -> Status:
        """Read the status of one stream, under the spelling of its path that Klar knows.

        Raises:
            KlarError: There was no answer, and asking again will not bring one.
        """
        known = self._status_paths.get(contract.stream)
        for path in (known,) if known else contract.status_paths:
            url = f"{self._connection.url}/{path}"
            response = self._call("GET", url, contract.stream)
            if response.status != requests.codes.not_found:
                break
        else:
            raise KlarError(f"Klar does not know {url} (HTTP 404). Check `api_url`.")
        content = read_strictly(response.body)
        if response.status != requests.codes.ok or not isinstance(content, dict):
            raise _says_something_else(response, url)
        self._status_paths[contract.stream] = path
        return Status.of(content)

    def _call(self, method: str, url: str, stream: str, body: bytes | None = None) -> _Response:
        def give_up(state: tenacity.RetryCallState) -> NoReturn:
            seconds = round(state.seconds_since_start or 0)
            tries = f"{state.attempt_number} attempt{'s' * (state.attempt_number > 1)} in {seconds} s"
            reason = state.outcome.result().reason if state.outcome else ""
            raise KlarError(f"{stream}: no answer from Klar at {url} after {tries} ({reason}). Run again later.")

        def before_sleep(state: tenacity.RetryCallState) -> None:
            self.retries += method == "POST"  # naming the body would keep it for as long as tenacity's cycles live
            reason = state.outcome.result().reason if state.outcome else ""
            self._tell(f"{stream}: no answer from Klar at {url} ({reason}); next try in {state.upcoming_sleep:.1f} s")

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda result: isinstance(result, _TryAgain)),
            stop=tenacity.stop_before_delay(self._connection.retry_timeout) | tenacity.stop_when_event_set(self._stop),
            wait=lambda state: max(self._backoff(state), (state.outcome and state.outcome.result().retry_after) or 0),
            sleep=tenacity.sleep_using_event(self._stop),
            before_sleep=before_sleep,
            retry_error_callback=give_up,
        )
        response = retrying(self._attempt, method, url, body)
        assert isinstance(response, _Response)
        return response

    def _attempt(self, method: str, url: str, body: bytes | None) -> _Response | _TryAgain:
        if body is not None:
            if self._stop.is_set():
                raise KlarError(f"The run is stopping: a request to {url} was not sent.")
            self.requests += 1
        late = f"no full answer within {self._connection.request_timeout:g} s"
        with Attempt(self._connection.request_timeout) as attempt:
            try:
                response = self._exchange(method, url, body)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                if attempt.expired:
                    return _TryAgain(late)
                if not isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError, OSError)):
                    raise
                if advice := setting_to_check(error, url):
                    raise KlarError(advice) from error
                return _TryAgain(what_broke(error) or late)
            if attempt.expired:  # its cut looks like the end of a body whose length was not announced
                return _TryAgain(late)
        ends = "Content-Length" in response.headers
        if why := why_no_answer(response.status, response.body, ends=ends):
            return _TryAgain(why, _retry_after(response.headers.get("Retry-After")))
        return response

    def _exchange(self, method: str, url: str, body: bytes | None) -> _Response:
        request = self._prepared.get((method, url))
        if request is None:  # which takes a quarter of the time of a call
            headers = {"Content-Type": "application/json"} if method == "POST" else None
            request = self._session.prepare_request(requests.Request(method, url, headers))
            self._prepared[method, url] = request
        if body is not None:
            request.body, request.headers["Content-Length"] = body, str(len(body))
        try:
            timeout = self._connection.request_timeout
            response = self._session.send(request, timeout=timeout, allow_redirects=False)
        finally:
            request.body = None  # of which there may be 16 MB
        return _Response(response.status_code, response.headers, self._masked(response.content))

    def _masked(self, body: bytes) -> bytes:
        """Take the token out of an answer that repeats it, before any of it can come into a message."""
        token = self._connection.token.encode()
        return body.replace(token, b"***") if len(token) >= _MIN_TOKEN else body


class _Bearer(requests.auth.AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def is_loopback(url: str) -> bool:
    """Tell whether an address is on this machine, so that plain http does not carry the token away."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _retry_after(value: str | None) -> float | None:
    """Read the header's seconds or HTTP date; None where there is neither."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - time.time())


def _says_something_else(response: _Response, url: str) -> KlarError:
    """Return what to do about an answer that says nothing of the objects, and will not change."""
    status = response.status
    if status in (401, 403):
        return TokenRefusedError(
            f"Klar refused the API token (HTTP {status}, {url}). Check `api_token`: Klar shows it under Settings, "
            "Store Configurator, the store, Data Sources, the data source, tab Access Token."
        )
    if status in range(300, 400):
        return KlarError(f"{url} redirects (HTTP {status}), and the token does not follow. Check `api_url`.")
    return KlarError(f"Klar answered HTTP {status} at {url}: {quote(response.body)}")
