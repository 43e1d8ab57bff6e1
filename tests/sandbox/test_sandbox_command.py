"""The command `target-klar-sandbox`, and what the local Klar tells of itself without a token."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from calls import COSTS_PATH, REFUNDS_PATH, call, post
from klar_objects import cost, refund

from target_klar.sandbox import FAULTS, Sandbox
from target_klar.sandbox.objects import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE = Path(__file__).parents[1] / "data" / "sample.jsonl"
COMMAND = [sys.executable, "-m", "target_klar.sandbox"]


@contextlib.contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Starts the command and gives what it prints at the start."""
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = dict(process.stdout.readline().rstrip("\n").split(": ", 1) for _ in range(3))
            yield process, said
        finally:
            process.kill()


def finished(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
    )


def read(said: dict[str, str], path: str, token: str | None = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {token or said['api_token']}"}
    with requests.Session() as session:
        session.trust_env = False
        return session.get(said["api_url"] + path, headers=headers, timeout=10)


def test_it_prints_its_address_its_token_and_its_page_and_serves() -> None:
    with serving() as (_, said):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", said["api_url"])
        assert said["page"] == said["api_url"] + "/"
        assert read(said, "/refunds/status").status_code == 200
        assert read(said, "/refunds/status", token="other").status_code == 401


def test_every_start_has_another_token_unless_one_is_given() -> None:
    with serving() as (_, one), serving() as (_, two), serving("--token", "mine") as (_, given):
        assert len({one["api_token"], two["api_token"]}) == 2
        assert given["api_token"] == "mine"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_quietly_with_0(signum: signal.Signals) -> None:
    with serving() as (process, _):
        process.send_signal(signum)
        output, errors = process.communicate(timeout=20)

        assert (process.returncode, output, errors) == (0, "", "")


def test_it_listens_on_loopback_alone_and_warns_if_told_otherwise() -> None:
    with serving("--host", "0.0.0.0") as (process, said):
        assert read(said, "/refunds/status").status_code == 200
        process.terminate()
        assert "warning: whoever can reach 0.0.0.0" in process.communicate(timeout=20)[1]


def test_a_port_that_is_taken_is_one_line_and_exit_code_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = finished("--port", port)

    assert done.returncode == 1
    assert (
        done.stderr == f"cannot listen on 127.0.0.1, port {port}: Address already in use; choose another with --port\n"
    )


def test_options_make_it_slow_lagging_and_faulty() -> None:
    with serving("--fault", "status:503@2", "--state-spelling", "--latency-ms", "300") as (_, said):
        began = time.monotonic()
        paths = ("/refunds/status", "/refunds/status", "/transaction-costs/state", "/transaction-costs/status")
        codes = [read(said, path).status_code for path in paths]

        assert codes == [200, 503, 200, 404]
        assert time.monotonic() - began > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fault", "510"], "'510' is no fault; there are 408, 425"),
        (["--latency-ms", "-1"], "'-1' is not a whole number from 0 to 86400000"),
        (["--latency-ms", "9" * 20], "is not a whole number from 0 to 86400000"),
        (["--port", "65536"], "'65536' is not a whole number from 0 to 65535"),
        (["--run"], "--run and a command belong together"),
        (["--load", "x", "--run", "--", "true"], "choose one"),
        (["--export", "/nowhere/held.jsonl"], "/nowhere/held.jsonl cannot be written: No such file or directory"),
        (["--config", "/nowhere/config.json"], "/nowhere/config.json cannot be read"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_allowed(options: list[str], message: str) -> None:
    done = finished(*options)

    assert (done.returncode, message in done.stderr) == (2, True)


def test_its_help_names_every_fault() -> None:
    told = finished("--help").stdout

    assert [fault.name for fault in FAULTS if f"  {fault.name} " not in told] == []


def test_a_file_is_loaded_and_what_arrived_is_told() -> None:
    done = finished("--load", str(SAMPLE))

    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert (told[0], told[1], told[3], told[5]) == (
        "At the local Klar:",
        "  refunds: 2345",
        "  transaction_costs: 1234",
        "STATE:",
    )
    assert told[2].startswith('    {"id": "')
    assert told[4].startswith('    {"orderId": "')
    assert told[6].startswith('  {"bookmarks":')


def test_the_example_of_a_load_is_the_first_by_key_whatever_arrived_last(tmp_path: Path) -> None:
    file = tmp_path / "refunds.jsonl"
    schema = '{"type": "SCHEMA", "stream": "refunds", "schema": {"properties": {"id": {}}}, "key_properties": ["id"]}'
    lines = [json.dumps({"type": "RECORD", "stream": "refunds", "record": refund(key)}) for key in ("R2", "R1", "R3")]
    file.write_text("\n".join([schema, *lines, ""]))
    done = finished("--load", str(file))

    assert done.stdout.splitlines()[1:3] == ["  refunds: 3", f"    {json.dumps(refund('R1'))}"]


@pytest.mark.slow
def test_a_load_exports_what_is_held_by_stream_and_key_and_every_run_writes_the_same(tmp_path: Path) -> None:
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for file in files:
        done = finished("--load", str(SAMPLE), "--export", str(file), "--latency-ms", "20")
        assert done.returncode == 0, done.stderr
    one, two = (file.read_bytes() for file in files)
    lines = [json.loads(line) for line in one.splitlines()]
    keys = [(line["stream"], line["object"].get("id") or line["object"]["orderId"]) for line in lines]

    assert one == two
    assert (len(lines), lines[0].keys()) == (2345 + 1234, {"stream", "object"})
    assert keys == sorted(keys)
    assert json.loads(done.stdout.splitlines()[2]) == lines[0]["object"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_exports_what_its_address_answers_digit_for_digit(tmp_path: Path, signum: signal.Signals) -> None:
    file = tmp_path / "held.jsonl"
    costs = ["1.50E+2", "19.990000000000000001", "-0", "7"]
    objects = [f'{{"orderId": "O{place}", "transactionCosts": {number}}}' for place, number in enumerate(costs)]
    expected = "".join(f'{{"stream": "transaction_costs", "object": {sent}}}\n' for sent in objects)
    with serving("--export", str(file)) as (process, said):
        with requests.Session() as session:
            session.trust_env = False
            headers = {"Authorization": f"Bearer {said['api_token']}", "Content-Type": "application/json"}
            for sent in reversed(objects):
                body = f'{{"items": [{sent}]}}'
                assert (
                    session.post(said["api_url"] + COSTS_PATH, data=body, headers=headers, timeout=10).status_code
                    == 201
                )
            answer = session.get(f"{said['api_url']}/sandbox/export", timeout=10)
        process.send_signal(signum)
        assert process.wait(20) == 0

    assert (answer.text, answer.headers["Content-Type"]) == (expected, "application/x-ndjson")
    assert file.read_text() == expected
    assert file.stat().st_mode & 0o777 == 0o600, "orders hold personal data"


@pytest.mark.slow
def test_a_load_that_a_signal_ends_exports_what_has_arrived(tmp_path: Path) -> None:
    file, config = tmp_path / "held.jsonl", tmp_path / "config.json"
    config.write_text('{"batch_size_rows": 50}')
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = {"api_url": f"http://127.0.0.1:{free.getsockname()[1]}", "api_token": ""}
    slowly = ["--load", str(SAMPLE), "--config", str(config), "--latency-ms", "500"]
    port = address["api_url"].rpartition(":")[2]
    with subprocess.Popen(
        [*COMMAND, *slowly, "--port", port, "--export", str(file)], stdout=subprocess.PIPE, text=True
    ) as process:
        for _ in range(200):
            time.sleep(0.1)
            with contextlib.suppress(requests.ConnectionError):
                if read(address, "/sandbox/export").text:
                    break
        process.terminate()
        told = process.communicate(timeout=60)[0]

    assert process.returncode == 143
    lines = file.read_text().splitlines()
    assert 0 < len(lines) < 2345 + 1234
    assert sum(map(int, re.findall(r"^  \w+: (\d+)$", told, re.MULTILINE))) == len(lines)


@pytest.mark.slow
def test_an_export_that_cannot_be_written_at_the_end_is_one_line_and_exit_code_1() -> None:
    done = finished("--load", str(SAMPLE), "--export", "/dev/full")

    assert done.returncode == 1
    assert done.stderr.endswith("cannot write /dev/full: No space left on device; what this Klar held is lost\n")


@pytest.mark.slow
def test_an_export_is_written_though_nobody_reads_what_is_printed(tmp_path: Path) -> None:
    file = tmp_path / "held.jsonl"
    script = f"{shlex.join([*COMMAND, '--load', str(SAMPLE), '--export', str(file)])} 2>/dev/null | true"
    subprocess.run(["sh", "-c", script], check=True, timeout=60)

    assert len(file.read_text().splitlines()) == 2345 + 1234


def test_a_load_that_fails_ends_with_the_targets_exit_code() -> None:
    done = finished("--load", str(SAMPLE), "--fault", "401@1+")

    assert done.returncode == 1
    assert "  refunds: 0\n" in done.stdout
    assert done.stdout.endswith("STATE:\n  none\n")


def test_a_load_takes_the_users_settings_but_never_the_users_klar(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    mapped = '{"refunds": {"__alias__": "refunds"}, "transaction_costs": "__NULL__"}'
    real = '"api_url": "http://127.0.0.1:1", "api_token": "a-real-one"'
    config.write_text(f'{{{real}, "batch_size_rows": 100, "stream_maps": {mapped}}}')
    done = finished("--load", str(SAMPLE), "--config", str(config))

    assert done.returncode == 0, done.stderr
    assert "  refunds: 2345\n" in done.stdout
    assert "  transaction_costs: 0\n" in done.stdout
    assert "a-real-one" not in done.stdout + done.stderr


def test_a_load_removes_nothing_from_the_rejects_file_of_the_real_klar(tmp_path: Path) -> None:
    """Nor does it write there: what this Klar takes, the real one still has to get."""
    config, rejects, own = (tmp_path / name for name in ("config.json", "rejects.jsonl", "rejects.jsonl.trial"))
    config.write_text(json.dumps({"rejects_path": str(rejects)}))
    head = (
        '{"type": "SCHEMA", "stream": "transaction_costs", "schema": {"properties": {}}, "key_properties": ["orderId"]}'
    )
    text = (
        '{"type": "RECORD", "stream": "transaction_costs", "record": {"orderId": "%s", "transactionCosts": "%s"}%s}\n'
    )
    rejects.write_text(head + "\n" + text % ("1", "1,10", ', "klar": {"stream": "transaction_costs", "key": "1"}'))
    before = rejects.read_bytes()
    (tmp_path / "in.jsonl").write_text(head + "\n" + text % ("1", "1.10", "") + text % ("2", "2,20", ""))
    for _ in range(2):
        done = finished("--load", str(tmp_path / "in.jsonl"), "--config", str(config))
        assert done.returncode == 0, done.stderr
        assert "  transaction_costs: 1\n" in done.stdout
        assert (rejects.read_bytes(), own.read_text().count("2,20")) == (before, 2)


def test_a_command_finds_the_local_klar_in_its_environment() -> None:
    script = 'printenv TARGET_KLAR_API_URL; test -n "$TARGET_KLAR_API_TOKEN" && exit 7'
    done = finished("--run", "--", "sh", "-c", script)

    assert done.returncode == 7
    assert done.stdout.startswith("http://127.0.0.1:")
    assert done.stdout.endswith("At the local Klar:\n  refunds: 0\n  transaction_costs: 0\n")


def test_a_command_that_is_not_there_is_one_line_and_exit_code_1() -> None:
    done = finished("--run", "--", "/nowhere/command")

    assert (done.returncode, done.stderr) == (1, "cannot run /nowhere/command: No such file or directory\n")


def test_what_it_holds_and_saw_is_there_as_json_without_a_token(klar: Sandbox) -> None:
    post(klar, COSTS_PATH, {"items": [cost("O1", transactionCosts=2)]})
    held = call(klar, "GET", "/sandbox/held", Authorization=None)
    seen = call(klar, "GET", "/sandbox/requests", Authorization=None).json()
    while seen["latest"][0]["end"] == "open":  # its answer is read a moment before the entry is closed
        seen = call(klar, "GET", "/sandbox/requests", Authorization=None).json()

    assert held.json() == {name: {} for name in STREAMS} | {
        "transaction_costs": {"O1": {"orderId": "O1", "transactionCosts": 2}}
    }
    (entry,) = seen["latest"]
    assert (entry["path"], entry["count"], entry["stored"], entry["status"], entry["end"]) == (
        COSTS_PATH,
        1,
        1,
        201,
        "answered",
    )


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/sandbox/held"), ("POST", "/sandbox/clear")])
def test_it_can_be_cleared_while_it_runs(klar: Sandbox, method: str, path: str) -> None:
    post(klar, REFUNDS_PATH, [refund("R1"), refund(7)])
    post(klar, REFUNDS_PATH, [refund("R1")])

    assert call(klar, method, path).status_code == 204
    assert (klar.refunds, klar.refused, klar.requests, klar.bodies) == ({}, [], [], [])
    assert call(klar, "GET", "/refunds/status").json() == {"total": "0", "lastBatchCount": "0"}


def test_faults_can_be_set_while_it_runs(klar: Sandbox) -> None:
    assert call(klar, "POST", "/sandbox/faults", {"faults": ["503@1"]}).status_code == 204
    assert [post(klar, REFUNDS_PATH, [refund()]).status_code for _ in range(2)] == [503, 201]
    assert call(klar, "POST", "/sandbox/faults", {"faults": ["510"]}).status_code == 400


@pytest.mark.parametrize(
    "headers", [{"Host": "klar.example"}, {"Host": "klar.example:80"}, {"Origin": "http://klar.example"}]
)
@pytest.mark.parametrize("path", ["/", "/sandbox/held", "/sandbox/overview"])
def test_the_page_of_another_site_learns_nothing(klar: Sandbox, path: str, headers: dict[str, str]) -> None:
    post(klar, REFUNDS_PATH, [refund("R1")])
    answer = call(klar, "GET", path, **headers)

    assert (answer.status_code, "R1" in answer.text) == (403, False)
