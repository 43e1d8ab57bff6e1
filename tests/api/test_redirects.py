"""No redirect is followed, neither of a load nor of a status, to whatever address: the token stays with Klar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests
from byte_server import Reply, serve
from clients import ACCEPTED, answer, client_of, submit
from forked import run
from klar_objects import COSTS, REFUNDS
from messages import REFUNDS_SCHEMA, refund_record, state

from target_klar.api.client import KlarError

if TYPE_CHECKING:
    from collections.abc import Callable

    from byte_server import Request, Served

REDIRECTS = ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
HOSTS = ["127.0.0.1", "localhost"]
"""The same host, where only the port is another one, and another host's name."""


def address(elsewhere: Served, host: str, path: str) -> str:
    """Give an address of another server, under the name of a host, to which that server does answer."""
    url = f"{elsewhere.url.replace('127.0.0.1', host)}/{path}"
    with requests.Session() as session:
        session.trust_env = False
        assert session.get(url, timeout=10).ok
    elsewhere.received.clear()
    return url


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("host", HOSTS)
def test_the_token_of_a_load_does_not_follow_a_redirect(host: str, status: str) -> None:
    with serve(answer("200 OK", b"{}")) as elsewhere:
        to = address(elsewhere, host, "12.2022/refunds/json")
        with (
            serve(answer(status, b"", f"Location: {to}")) as (url, _),
            pytest.raises(KlarError, match="redirects"),
        ):
            submit(client_of(url))
        assert elsewhere.received == []


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("contract", "path"),
    [(REFUNDS, "refunds/status"), (COSTS, "transaction-costs/status"), (COSTS, "transaction-costs/state")],
    ids=["refunds", "costs", "costs' other spelling"],
)
def test_the_token_of_a_status_does_not_follow_a_redirect(contract: Any, path: str, host: str, status: str) -> None:
    with serve(answer("200 OK", b'{"total": "1", "lastBatchCount": "1"}')) as elsewhere:
        away = Reply(answer(status, b"", f"Location: {address(elsewhere, host, path)}"))
        unknown = Reply(answer("404 Not Found"))
        with (
            serve(choose=lambda asked: away if path.encode() in asked.head else unknown) as (url, received),
            pytest.raises(KlarError, match=f"/{path} redirects"),
        ):
            client_of(url).status(contract)
        assert path.encode() in received[-1].head
        assert elsewhere.received == []


def klar_that_redirects(nth: int, to: str) -> Callable[[Request], Reply]:
    """Answer as a Klar would that takes everything, but redirect from the n-th status on."""
    statuses = 0

    def choose(asked: Request) -> Reply:
        nonlocal statuses
        if asked.head.startswith(b"POST"):
            return Reply(ACCEPTED)
        statuses += 1
        if statuses >= nth:
            return Reply(answer("307 Temporary", b"", f"Location: {to}"))
        shown = b'{"total": "0", "lastBatchCount": "0"}'
        return Reply(answer("200 OK", shown))

    return choose


@pytest.mark.parametrize("nth", [1, 2], ids=["before the first load", "after it"])
def test_a_run_whose_status_redirects_to_another_host_stops_and_gives_the_token_to_nobody_else(nth: int) -> None:
    with serve(answer("200 OK", b'{"total": "1", "lastBatchCount": "1"}')) as elsewhere:
        to = address(elsewhere, "localhost", "refunds/status")
        with serve(choose=klar_that_redirects(nth, to)) as klar:
            ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), state(1)])
        assert elsewhere.received == []

    assert (ended.code, ended.out) == (1, "")
    assert len(ended.errors) == 1
    assert "/refunds/status redirects (HTTP 307" in ended.errors[0]
    assert "the token is sent to no other address" in ended.errors[0]
    posts = [asked for asked in klar.received if asked.head.startswith(b"POST")]
    assert len(posts) == nth - 1
    assert all(b"Bearer opens-nothing" in asked.head for asked in klar.received)
