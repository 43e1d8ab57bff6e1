"""TLS and proxies, and attempts that end through both: against servers and a proxy of the test's own."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from byte_server import Reply, serve, tunnel
from clients import ACCEPTED, answer, client_of, submit
from klar_objects import REFUNDS

from target_klar.api.answers import Verdict
from target_klar.api.client import KlarError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KLAR = "https://klar.example"
"""An address that nothing is asked for but the proxy: loopback never goes through one."""
NO_TIME = r"after 1 attempt in \d s \(no full response within 1 s\)"
SECRET = "proxy-password-91d3"


def seconds(call: Callable[[], object]) -> float:
    before = time.monotonic()
    call()
    return time.monotonic() - before


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 and klar.example, with its key in the same file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the command openssl is not here to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "both.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:klar.example",
         "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    made.write_text((folder / "certificate.pem").read_text() + (folder / "key.pem").read_text())
    return made


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_certificate_that_is_not_trusted_stops_at_once(tls: ssl.SSLContext) -> None:
    def give_up() -> None:
        with pytest.raises(
            KlarError, match=r"^The certificate of https://127\.0\.0\.1:\d+/.* is not trusted\. Check `api_url`"
        ):
            submit(client_of(url, retry_timeout=60))

    with serve(ACCEPTED, tls=tls) as (url, received):
        assert seconds(give_up) < 20
        assert received == []


def test_a_certificate_of_ones_own_is_trusted_where_the_environment_names_it(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serve(ACCEPTED, tls=tls) as (url, received):
        assert submit(client_of(url)).verdict is Verdict.ACCEPTED
        assert b"authorization: bearer" in received[0].head.lower()


@pytest.mark.parametrize(
    "begins", [b"HTTP/1.1 201 Created\r\nX-Slow: ", b"HTTP/1.1 201 Created\r\nContent-Length: 9999\r\n\r\n"]
)
def test_an_answer_that_trickles_is_cut_under_tls_too(
    begins: bytes, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up() -> None:
        with pytest.raises(KlarError, match=NO_TIME):
            submit(client_of(url, request_timeout=1, retry_timeout=0))

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serve(Reply(begins, b" "), tls=tls) as (url, _):
        assert 0.9 < seconds(give_up) < 10


def test_https_to_a_server_without_it_is_no_answer() -> None:
    with serve(ACCEPTED) as (url, _), pytest.raises(KlarError, match="after 1 attempt"):
        submit(client_of(url.replace("http://", "https://"), request_timeout=1, retry_timeout=0))


# Proxies


@pytest.fixture(autouse=True)
def _no_proxy_of_the_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("secure", [False, True])
def test_a_request_goes_through_a_tunnel(*, secure: bool, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(Reply(ACCEPTED, stays=5), tls=tls) as klar, tunnel(klar.url, tls=tls if secure else None) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        client = client_of(KLAR)
        assert [submit(client).verdict for _ in range(3)] == [Verdict.ACCEPTED] * 3
        (asked,) = proxy.received  # in HTTP/1.0, and by newer Pythons in 1.1
        assert asked.head.startswith(b"CONNECT klar.example:443 HTTP/1.")
        assert [request.connection for request in klar.received] == [1, 1, 1]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    "begins", [b"HTTP/1.1 201 Created\r\nX-Slow: ", b"HTTP/1.1 201 Created\r\nContent-Length: 9999\r\n\r\n", b""]
)
def test_an_answer_that_trickles_through_a_tunnel_is_cut_too(
    begins: bytes, *, secure: bool, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up() -> None:
        with pytest.raises(KlarError, match=NO_TIME):
            submit(client_of(KLAR, request_timeout=1, retry_timeout=0))

    slow = Reply(begins, b" " if begins else b"HTTP/1.1 100 Continue\r\n\r\n")
    with serve(slow, tls=tls) as klar, tunnel(klar.url, tls=tls if secure else None) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert 0.9 < seconds(give_up) < 10


def test_a_tunnel_that_never_opens_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up() -> None:
        with pytest.raises(KlarError, match=NO_TIME):
            submit(client_of(KLAR, request_timeout=1, retry_timeout=0))

    with serve(Reply(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert 0.9 < seconds(give_up) < 10


@contextmanager
def trickling_handshake() -> Iterator[int]:
    """A port where a handshake begins and does not end."""

    def trickle() -> None:
        connection, _ = listener.accept()
        with suppress(OSError), connection:
            connection.recv(1)  # the client speaks first, once a tunnel is open
            connection.sendall(b"\x16\x03\x03\x40\x00")  # the head of a TLS record of 16 KB
            while not over.wait(0.05):
                connection.sendall(b"\x02")

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join(20)


def test_a_handshake_that_trickles_is_left_in_time() -> None:
    def give_up() -> None:
        with pytest.raises(KlarError, match=NO_TIME):
            submit(client_of(f"https://127.0.0.1:{port}", request_timeout=1, retry_timeout=0))

    with trickling_handshake() as port:
        assert 0.9 < seconds(give_up) < 10


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("secure", [False, True])
def test_a_handshake_that_trickles_through_a_tunnel_is_left_in_time(
    *, secure: bool, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up() -> None:
        with pytest.raises(KlarError, match=NO_TIME):
            submit(client_of(KLAR, request_timeout=1, retry_timeout=0))

    with trickling_handshake() as port, tunnel(f"https://127.0.0.1:{port}", tls=tls if secure else None) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert 0.9 < seconds(give_up) < 10


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"HTTP/1.1 200 OK\r\n", "the connection was closed before the end of the response"),
        (b"HTTP/1.1 200 OK\r\nX: y", "the connection was closed before the end of the response"),
        (b"HTTP/1.1 200 OK\n\n", "malformed status line"),
        (b"HTTP/1.1 103 Early\r\n\r\n", "the connection was closed before the end of the response"),
    ],
)
def test_no_tunnel_opens_by_half_an_answer(raw: bytes, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(raw) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(KlarError, match=rf"after 1 attempt in \d s \({why}\)"):
            submit(client_of(KLAR, retry_timeout=0))
        assert len(proxy.received) == 1


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden", "400 Bad Request", "302 No"])
def test_a_proxy_that_refuses_stops_at_once_and_is_named(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = rf"^The proxy does not let requests through to {KLAR}/.* \(HTTP {status[:3]}\)\. Check HTTPS_PROXY"
    with serve(answer(status, b"<html>")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", f"//user:{SECRET}@"))
        for call in (lambda: submit(client_of(KLAR)), lambda: client_of(KLAR).status(REFUNDS)):
            with pytest.raises(KlarError, match=words) as raised:
                call()
            assert SECRET not in str(raised.value)
        assert len(proxy.received) == 2


@pytest.mark.parametrize("status", ["408 Timeout", "429 Too Many", "502 Bad Gateway", "503 Unavailable"])
def test_a_proxy_that_is_busy_is_asked_again(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    notices: list[str] = []
    with serve(answer(status), answer("407 Proxy Authentication Required")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(KlarError, match="407"):
            submit(client_of(KLAR, notices=notices))
        assert len(proxy.received) == 2
    assert f"(the proxy answered HTTP {status[:3]})" in notices[0]


@pytest.mark.parametrize(
    "proxy",
    [
        f"http://user:{SECRET}@",
        f"http://user:{SECRET}@:3128",
        f"http://user:{SECRET}@proxy.example:port",
        f"http://user:{SECRET}@proxy.example:99999",
        f"http://user:{SECRET}@[::1",
        f"ftp://user:{SECRET}@proxy.example",
        f"socks5://user:{SECRET}@proxy.example",
        f"http://user:{SECRET}@{'x' * 70}.example",
        f"http://user:{SECRET}@proxy..example",
        f"http://user:{SECRET}@pro xy",
        "proxy:3128",
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "all_proxy"])
def test_a_proxy_setting_that_cannot_be_used_stops_at_once_and_is_not_shown(
    proxy: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices: list[str] = []
    monkeypatch.setenv(name, proxy)
    words = rf"^{KLAR}/12\.2022/refunds/json cannot be called: .* Check `api_url`, and HTTPS_PROXY and ALL_PROXY"
    with pytest.raises(KlarError, match=words) as raised:
        submit(client_of(KLAR, notices=notices))
    assert SECRET not in str(raised.value)
    assert notices == []


def test_a_proxy_where_nobody_listens_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed.getsockname()[1]}")
    notices: list[str] = []
    with pytest.raises(KlarError, match=r"after \d attempts in \d s \(connection refused\)"):
        submit(client_of(KLAR, retry_timeout=2, notices=notices))
    assert notices != []
