"""Why a request had no answer: what broke, in a few words, and which setting to check."""

from __future__ import annotations

import http.client
import re
import ssl
from typing import TYPE_CHECKING, Final

import urllib3.exceptions

from target_klar.api.answers import is_temporary
from target_klar.api.framing import BrokenAnswerError, NothingReceivedError

if TYPE_CHECKING:
    from collections.abc import Iterator

# The status stands in http.client's words alone.
_PROXY_REFUSAL: Final = re.compile(r"Tunnel connection failed: (\d{3})\b")


def setting_to_check(error: Exception, url: str) -> str | None:
    """Say what to check where another try would fail like this one; None where it may not."""
    root = _root(error)
    if type(error) is OSError and error.errno is None:  # how `pool_to` says that there are no certificates
        return f"{error}. Check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE."
    if isinstance(root, ssl.SSLCertVerificationError):
        return (
            f"The certificate of {url} is not trusted. Check `api_url`, or name your proxy's certificates in "
            "REQUESTS_CA_BUNDLE."
        )
    if isinstance(error, ValueError):  # how requests and urllib3 say that they cannot use an address
        return (
            f"{url} cannot be called: its address, or that of a proxy, cannot be used ({type(error).__name__}). Check "
            "`api_url`, and HTTPS_PROXY and ALL_PROXY in the environment."
        )
    status = _status_of_proxy(root)
    if status is not None and not is_temporary(status):
        return (
            f"The proxy does not let requests through to {url} (HTTP {status}). Check HTTPS_PROXY and ALL_PROXY in the "
            "environment: the address of the proxy, and the user and password in it."
        )
    return None


def what_broke(error: Exception) -> str | None:
    """Say why there was no answer, in words of ours or the system's; None where there was no time for one."""
    root = _root(error)
    if isinstance(root, BrokenAnswerError):
        return str(root)
    if status := _status_of_proxy(root):
        return f"the proxy answered HTTP {status}"
    if isinstance(root, OSError) and root.strerror:
        return root.strerror.lower()
    return None if isinstance(root, TimeoutError) else type(root).__name__


def received_nothing(error: Exception) -> bool:
    """Tell whether the server closed the connection before the first byte of an answer."""
    return any(isinstance(each, NothingReceivedError) for each in _wrapped_in(error))


def _status_of_proxy(root: BaseException) -> int | None:
    refusal = _PROXY_REFUSAL.match(str(root)) if isinstance(root, OSError) else None
    return int(refusal[1]) if refusal else None


def _root(error: BaseException) -> BaseException:
    """Return what broke, without what urllib3 wraps around it."""
    *_, root = _wrapped_in(error)
    return root


def _wrapped_in(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and each further one within what urllib3 wraps around it."""
    while isinstance(error, (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError)):
        yield error
        error = error.__cause__ or error.__context__
