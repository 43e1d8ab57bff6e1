"""A bad record in a run: the others arrive, and it is written to the rejects file or stops the run before it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from byte_server import Reply, Request, serve
from clients import ACCEPTED, answer
from forked import run, start
from klar_objects import REFUND_TIME
from measured import KLAR, timed
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, line, record, refund_record, schema, state

from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from program import Ended

STYLES = ["index", "tree", "tree-item", "ids", "failed-ids", "opaque", "207"]
PROGRAM = [sys.executable, "-m", "target_klar", "--config=ENV"]
BAD = ("R17", "R1500", "R2499")
WHOLE_BATCHES: dict[str, Any] = {"checkpoint_interval_seconds": 0, "batch_size_rows": 2, "max_parallel_requests": 1}


def environment(klar: Sandbox, rejects: Path) -> dict[str, str]:
    """Settings for a run that another program starts."""
    settings = {
        "API_TOKEN": klar.token,
        "API_URL": klar.url,
        "REJECTS_PATH": str(rejects),
        "CHECKPOINT_INTERVAL_SECONDS": "0",
    }
    return os.environ | {f"TARGET_KLAR_{name}": value for name, value in settings.items()}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(each) for each in path.read_text().splitlines()]


def unwanted(*keys: str) -> Any:
    return lambda sent: sent.get("id", sent.get("orderId")) in keys and "is not wanted here"


def broken(key: str, **fields: Any) -> dict[str, Any]:
    """A refund that does not meet the contract: it has no line items."""
    return record("refunds", id=key, createdAt=REFUND_TIME, **fields)


def stored(klar: Sandbox) -> set[str]:
    return set(klar.refunds)


# --- What Klar refuses ---


@pytest.mark.parametrize("style", STYLES)
def test_of_2500_refunds_the_three_that_klar_refuses_are_set_aside_and_can_be_sent_again(
    style: Any, rejects: Path
) -> None:
    with Sandbox(refuse=unwanted(*BAD), refuse_style=style) as klar:
        ended = run(
            klar,
            [REFUNDS_SCHEMA, *(refund_record(f"R{number}") for number in range(2500)), state("end")],
            rejects_path=str(rejects),
        )

        assert (ended.code, ended.states, len(klar.refunds)) == (0, ["end"], 2497)
        assert len(klar.posts()) <= (70 if style == "opaque" else 12)
        (head, *lines) = read(rejects)
        assert head == REFUNDS_SCHEMA
        assert {each["record"]["id"] for each in lines} == set(BAD)
        words = {"opaque": "Bad Request", "failed-ids": "lists it as failed", "207": "lists it as failed"}
        for each in lines:
            assert [words.get(style, "is not wanted here") in error["message"] for error in each["errors"]] == [True]
            assert each["source"] == "klar"

        klar.refuse = None
        again = run(klar, b"", "--input", str(rejects))

        assert (again.code, again.states, len(klar.refunds)) == (0, [], 2500)


@pytest.mark.parametrize("aside", [True, False], ids=["with rejects", "without rejects"])
@pytest.mark.parametrize("style", STYLES)
def test_a_klar_that_refuses_everything_stops_the_run_in_one_line_after_a_few_requests(
    style: Any, rejects: Path, *, aside: bool
) -> None:
    with Sandbox(refuse=lambda _: "no, thank you", refuse_style=style) as klar:
        ended = run(
            klar,
            [REFUNDS_SCHEMA, *(refund_record(f"R{number}") for number in range(1200)), state("end")],
            rejects_path=str(rejects) if aside else None,
        )

        assert (ended.code, ended.states, klar.refunds) == (1, [], {})
        assert len(klar.requests) < 30
        assert len(ended.errors) == 1
        assert "Traceback" not in ended.err
        assert not aside or read(rejects) == []


def test_without_a_rejects_file_what_klar_refuses_stops_the_run_with_all_before_it_acknowledged() -> None:
    with Sandbox(refuse=unwanted("R6")) as klar:
        lines = [each for number in range(1, 11) for each in (refund_record(f"R{number}"), state(number))]
        ended = run(klar, [REFUNDS_SCHEMA, *lines], checkpoint_interval_seconds=0)

        assert (ended.code, ended.states[-1:]) == (1, [5])
        assert {f"R{number}" for number in range(1, 6)} <= stored(klar)
        assert "R6" not in stored(klar)
        (said,) = ended.errors
        assert "refunds R6" in said
        assert "is not wanted here" in said
        assert "rejects_path" in said
        assert "The last STATE written covers 5" in said


@pytest.mark.parametrize("style", ["index", "opaque", "207"])
def test_with_many_requests_in_flight_still_exactly_the_state_before_the_refused_record_is_the_last(style: Any) -> None:
    lines = [each for number in range(400) for each in (refund_record(f"R{number}"), state(number))]

    with Sandbox(refuse=unwanted("R233", "R236", "R251", "R300"), refuse_style=style, jitter=0.05) as klar:
        ended = run(
            klar, [REFUNDS_SCHEMA, *lines], batch_size_rows=10, max_parallel_requests=6, checkpoint_interval_seconds=0
        )

        assert (ended.code, ended.states[-1]) == (1, 232)
        assert ended.states == sorted(set(ended.states))
        assert {f"R{number}" for number in range(233)} <= stored(klar)
        assert [each for each in ended.errors if "refunds R233: " in each] == ended.errors


def test_a_version_whose_successor_klar_refuses_is_not_sent_in_its_place(rejects: Path) -> None:
    lines = [
        REFUNDS_SCHEMA,
        refund_record("A"),
        state(1),
        refund_record("B", 1),
        state(2),
        refund_record("C"),
        state(3),
        refund_record("B", 2),
        state(4),
    ]

    with Sandbox(refuse=lambda sent: sent["id"] == "B" and sent["lineItems"][0]["refundedQuantity"] == 2) as klar:
        ended = run(klar, lines, checkpoint_interval_seconds=0)
        assert (ended.code, ended.states[-1:], "B" in klar.refunds) == (1, [1], False)

        ended = run(klar, lines, checkpoint_interval_seconds=0, rejects_path=str(rejects))
        assert (ended.code, ended.states[-1:], stored(klar)) == (0, [4], {"A", "C"})
        assert [each["record"]["lineItems"][0]["refundedQuantity"] for each in read(rejects)[1:]] == [2]


def test_a_batch_too_large_for_klar_is_halved_until_it_fits() -> None:
    with Sandbox(limit_bytes=6000) as klar:
        ended = run(klar, [REFUNDS_SCHEMA, *(refund_record(f"R{number}") for number in range(300)), state("end")])

        assert (ended.code, ended.states, len(klar.refunds)) == (0, ["end"], 300)
        assert len(klar.posts()) < 30


def test_a_record_too_large_for_klar_stops_the_run_before_it_and_is_not_set_aside(rejects: Path) -> None:
    with Sandbox(limit_bytes=6000) as klar:
        items = [{"lineItemId": "L" * 7000, "refundedQuantity": 1}]
        large = record("refunds", id="large", createdAt=REFUND_TIME, lineItems=items)
        lines = [REFUNDS_SCHEMA, refund_record("A"), state(1), large, refund_record("B"), state("end")]
        ended = run(klar, lines, rejects_path=str(rejects))

        assert (ended.code, ended.states, "large" in stored(klar), rejects.read_bytes()) == (1, [1], False, b"")
        assert stored(klar) >= {"A"}
    (error,) = ended.errors
    assert error.startswith(
        "refunds large: too large for Klar, or for a proxy before it, even alone in a request (HTTP"
    )


PAGES = {
    "a page": (b"<!doctype html><title>Request blocked</title>", 'an HTML page ("Request blocked")'),
    "text": (b"no healthy upstream", 'plain text ("no healthy upstream")'),
}


@pytest.mark.parametrize("status", ["400 Bad Request", "422 Unprocessable Entity"])
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("blocked", ["R2", "R17", "R"], ids=["one of the first batch", "one of a later batch", "all"])
def test_what_is_refused_by_a_page_and_not_by_klar_is_named_and_not_set_aside(
    page: str, status: str, blocked: str, rejects: Path
) -> None:
    body, shown = PAGES[page]

    def reply(request: Request) -> Reply:
        if request.head.startswith(b"GET"):
            return Reply(answer("200 OK", b"{}"))
        ids = {sent["id"] for sent in json.loads(request.body)}
        if blocked in ids or blocked == "R":
            return Reply(answer(status, body))
        taken.update(ids)
        return Reply(answer("201 Created"))

    taken: set[str] = set()
    lines = [line for number in range(20) for line in (refund_record(f"R{number}"), state(number))]
    settings: dict[str, Any] = {"batch_size_rows": 10, "status_timeout_seconds": 0, "retry_timeout_seconds": 0}
    with serve(choose=reply) as klar:
        ended = run(klar, [REFUNDS_SCHEMA, *lines], rejects_path=str(rejects), **settings)

    first = 0 if blocked == "R" else int(blocked[1:])
    assert (ended.code, ended.states[-1:], rejects.read_bytes()) == (1, [first - 1] if first else [], b"")
    assert taken >= {f"R{number}" for number in range(first)}
    (error,) = ended.errors
    assert error.startswith(
        f"refunds R{first}: refused by something that is not Klar (HTTP {status[:3]} with {shown}), "
        "even alone in a request. The run stops before this record. Check `api_url`, and the proxies and firewalls"
    )


@pytest.mark.parametrize("body", [each for each, _ in PAGES.values()], ids=["an HTML page", "text"])
def test_413_with_an_html_page_stops_the_run_before_the_record_and_is_not_set_aside(body: bytes, rejects: Path) -> None:
    def reply(request: Request) -> Reply:
        if request.head.startswith(b"GET"):
            return Reply(answer("200 OK", b"{}"))
        ids = {sent["id"] for sent in json.loads(request.body)}
        if "R17" in ids:
            return Reply(answer("413 Content Too Large", body))
        taken.update(ids)
        return Reply(answer("201 Created"))

    taken: set[str] = set()
    lines = [line for number in range(20) for line in (refund_record(f"R{number}"), state(number))]
    with serve(choose=reply) as klar:
        ended = run(
            klar,
            [REFUNDS_SCHEMA, *lines],
            rejects_path=str(rejects),
            batch_size_rows=10,
            status_timeout_seconds=0,
            retry_timeout_seconds=0,
        )

    assert (ended.code, ended.states[-1:], rejects.read_bytes()) == (1, [16], b"")
    assert taken >= {f"R{number}" for number in range(17)}
    assert "R17" not in taken
    (error,) = ended.errors
    assert error.startswith(
        "refunds R17: too large for Klar, or for a proxy before it, even alone in a request (HTTP 413"
    )


@pytest.mark.parametrize("size", [8, 500])
@pytest.mark.parametrize(
    "said",
    [
        {"message": "m-17"},
        {"error": "m-17"},
        {"errors": ["m-17"]},
        {"detail": "m-17"},
        [{"property": "id", "error": "m-17"}],
    ],
    ids=str,
)
def test_a_first_batch_that_klar_rejects_stops_the_run_with_klars_own_reason(
    said: Any, size: int, rejects: Path
) -> None:
    def reply(request: Request) -> Reply:
        if request.head.startswith(b"GET"):
            return Reply(answer("200 OK", b"{}"))
        posts.append(len(json.loads(request.body)))
        return Reply(answer("400 Bad Request", json.dumps(said).encode()))

    posts: list[int] = []
    with serve(choose=reply) as klar:
        lines = [REFUNDS_SCHEMA, *(refund_record(f"R{number}") for number in range(size)), state(1)]
        ended = run(klar, lines, rejects_path=str(rejects), status_timeout_seconds=0)

    assert (ended.code, ended.states, rejects.read_bytes()) == (1, [], b"")
    (error,) = ended.errors
    assert error.startswith(
        "Klar rejected the first batch of refunds, and each part of it that was sent alone "
        f"({size} records, 15 requests): "
    )
    assert "m-17. No record of refunds was stored." in error
    assert posts == [size, *[size // 2] * 2, *[size // 4] * 4, *[1] * 8]


@pytest.mark.slow
def test_large_orders_in_full_batches_that_klar_rejects_take_bounded_memory(tmp_path: Path) -> None:
    """84 MB of orders of 17 kB, of which one in a hundred is bad."""
    source, config = tmp_path / "orders.jsonl", tmp_path / "config.json"
    items = [{"id": f"L{number}", "quantity": 1, "productName": "x" * 330} for number in range(44)]
    whole = {"createdAt": REFUND_TIME, "currencyCodeIso3Letter": "EUR", "lineItems": items}
    with source.open("w") as lines:
        for each in (
            schema("orders"),
            *(record("orders", id=f"O{number}", **whole) for number in range(4800)),
            state(1),
        ):
            lines.write(json.dumps(each) + "\n")
    with Sandbox(refuse=lambda sent: sent["id"].endswith("77"), refuse_style="tree", keep_bodies=1) as klar:
        paths = {"rejects_path": str(tmp_path / "rejects.jsonl")}
        config.write_text(json.dumps({"api_token": klar.token, "api_url": klar.url} | paths))
        taken = timed([*KLAR, "--config", str(config), "--input", str(source)], tmp_path)
        assert len(klar.posts()) > 30
    assert source.stat().st_size > 80e6
    assert taken.peak < 400e6


# --- What the contract refuses ---


def test_without_a_rejects_file_the_first_bad_record_stops_the_run_with_all_before_it_acknowledged(
    klar: Sandbox,
) -> None:
    lines = [
        REFUNDS_SCHEMA,
        COSTS_SCHEMA,
        cost_record("O1"),
        state(1),
        refund_record("R1"),
        state(2),
        broken("bad"),
        state(3),
        refund_record("R2"),
    ]
    ended = run(klar, [*lines, state(4)], checkpoint_interval_seconds=0)

    assert (ended.code, ended.states[-1:]) == (1, [2])
    assert (stored(klar), set(klar.transaction_costs)) == ({"R1"}, {"O1"})
    (said,) = ended.errors
    assert "target-klar rejected refunds bad: lineItems is required." in said


def test_it_is_told_too_why_what_precedes_the_bad_record_could_not_be_delivered() -> None:
    with Sandbox(faults=["503@1+"]) as klar:
        lines = [REFUNDS_SCHEMA, refund_record("A"), state(1), broken("bad"), state(2)]
        ended = run(klar, lines, retry_timeout_seconds=1)

        assert (ended.code, ended.states, klar.refunds) == (1, [], {})
        (said,) = ended.errors
        assert "target-klar rejected refunds bad: lineItems is required." in said
        assert "HTTP 503" in said
        assert "No STATE was written." in said


def test_a_mapping_that_breaks_every_row_stops_after_the_limit_with_the_state_from_before(
    klar: Sandbox, rejects: Path
) -> None:
    lines = [
        REFUNDS_SCHEMA,
        refund_record("A"),
        state("before"),
        *(broken(f"R{number}") for number in range(500)),
        state("after"),
    ]
    ended = run(klar, lines, rejects_path=str(rejects), rejects_limit=7)

    assert (ended.code, ended.states, stored(klar)) == (1, ["before"], {"A"})
    assert [each["record"]["id"] for each in read(rejects)[1:]] == [f"R{number}" for number in range(7)]
    (said,) = ended.errors
    assert "`rejects_limit` (7) is reached" in said


def test_a_hundred_records_may_be_set_aside_and_no_more_unless_it_is_set_otherwise(
    klar: Sandbox, rejects: Path
) -> None:
    lines = [REFUNDS_SCHEMA, *(broken(f"R{number}") for number in range(100)), state(100), broken("R100"), state(101)]
    ended = run(klar, lines, rejects_path=str(rejects), checkpoint_interval_seconds=0)

    assert (ended.code, ended.states[-1:], len(read(rejects))) == (1, [100], 101)


def test_a_limit_of_none_at_all_is_a_limit(klar: Sandbox, rejects: Path) -> None:
    ended = run(klar, [REFUNDS_SCHEMA, broken("A"), state(1)], rejects_path=str(rejects), rejects_limit=0)

    assert (ended.code, ended.states, read(rejects)) == (1, [], [])


def test_what_is_refused_here_and_by_klar_counts_together(rejects: Path) -> None:
    with Sandbox(refuse=unwanted("R2", "R4", "R5")) as klar:
        lines = [REFUNDS_SCHEMA, broken("bad"), state(0)]
        lines += [each for number in range(1, 7) for each in (refund_record(f"R{number}"), state(number))]
        ended = run(klar, lines, rejects_path=str(rejects), rejects_limit=3, **WHOLE_BATCHES)

        assert (ended.code, ended.states[-1:]) == (1, [4])
        assert [each["record"]["id"] for each in read(rejects)[1:]] == ["bad", "R2", "R4"]


# --- The file ---


def test_the_file_is_a_singer_stream_with_the_taps_own_stream_and_record(klar: Sandbox, rejects: Path) -> None:
    orders = schema("order_refunds", order={"type": "object"})
    bad = record("order_refunds", id=7, order={"at": REFUND_TIME, "amount": 0.1}, _sdc_batched_at="2024-01-01")
    good = record("order_refunds", id=8, order={"at": REFUND_TIME, "amount": 5})
    maps = {
        "order_refunds": {
            "__alias__": "refunds",
            "createdAt": "order['at']",
            "lineItems": "[dict(lineItemId='1', refundedQuantity=order['amount'])] if order['amount'] > 1 else 'none'",
        }
    }
    before = datetime.now(UTC).replace(microsecond=0)
    ended = run(
        klar, [orders, bad, good, orders, bad, state("end")], rejects_path=str(rejects), stream_maps=json.dumps(maps)
    )

    assert (ended.code, ended.states, stored(klar)) == (0, ["end"], {"8"})
    head, first = read(rejects)
    assert head == orders
    assert first["stream"] == "order_refunds"
    assert first["record"] == bad["record"]
    assert (first["type"], first["source"]) == ("RECORD", "contract")
    assert [error["path"] for error in first["errors"]] == ["lineItems"]
    assert first["klar"] == {"stream": "refunds", "key": "7"}
    assert set(first) == {"type", "stream", "record", "klar", "errors", "source", "time"}
    assert before <= datetime.fromisoformat(first["time"]) <= datetime.now(UTC)


def test_numbers_are_set_aside_digit_for_digit(klar: Sandbox, rejects: Path) -> None:
    text = '{"type":"RECORD","stream":"refunds","record":{"id":"A","a":19.990,"b":1180591620717411303424,"c":1E+400}}'
    ended = run(klar, [REFUNDS_SCHEMA, text, state(1)], rejects_path=str(rejects))

    assert ended.code == 0
    assert '"record":{"id":"A","a":19.990,"b":1180591620717411303424,"c":1E+400}' in rejects.read_text()


def test_each_stream_has_its_schema_once_a_run_and_runs_are_appended(klar: Sandbox, rejects: Path) -> None:
    for night in "12":
        lines = [
            REFUNDS_SCHEMA,
            COSTS_SCHEMA,
            broken(f"A{night}"),
            cost_record(f"O{night}", "x"),
            REFUNDS_SCHEMA,
            broken(f"B{night}"),
            state(1),
        ]
        assert run(klar, lines, rejects_path=str(rejects)).code == 0

    one_run = [
        "SCHEMA refunds",
        "RECORD refunds",
        "SCHEMA transaction_costs",
        "RECORD transaction_costs",
        "RECORD refunds",
    ]
    assert [f"{each['type']} {each['stream']}" for each in read(rejects)] == one_run * 2


def test_fixed_rejects_load_and_what_is_refused_again_goes_to_another_file(klar: Sandbox, rejects: Path) -> None:
    assert run(klar, [REFUNDS_SCHEMA, broken("A"), broken("B"), state(1)], rejects_path=str(rejects)).code == 0
    fixed = rejects.with_name("again.jsonl")
    fixed.write_text(rejects.read_text().replace('"id": "A"', '"id": "A", "lineItems": []'))
    other = rejects.with_name("other.jsonl")
    ended = run(klar, b"", "--input", str(fixed), rejects_path=str(other))

    assert (ended.code, stored(klar)) == (0, {"A"})
    assert [each["record"]["id"] for each in read(other)[1:]] == ["B"]


def test_only_its_owner_may_read_the_file_and_the_mode_of_one_that_is_there_stays(klar: Sandbox, rejects: Path) -> None:
    run(klar, [REFUNDS_SCHEMA, broken("A")], rejects_path=str(rejects))
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600

    rejects.chmod(0o640)
    run(klar, [REFUNDS_SCHEMA, broken("A")], rejects_path=str(rejects))
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "tail",
    ['{"type":"RECORD","stream":"refunds","rec', '{"type":"RECORD","stream":"é'],
    ids=["text", "half a character"],
)
def test_a_line_that_a_crash_cut_off_does_not_keep_the_file_from_being_sent_again(
    klar: Sandbox, rejects: Path, tail: str
) -> None:
    whole = line(REFUNDS_SCHEMA) + line(broken("A", lineItems=[]))
    rejects.write_bytes(whole + tail.encode()[:41])
    assert run(klar, [REFUNDS_SCHEMA, broken("B")], rejects_path=str(rejects)).code == 0

    assert rejects.read_bytes().startswith(whole + b'{"type":"SCHEMA"')
    assert [each["record"]["id"] for each in read(rejects) if "record" in each] == ["A", "B"]


def test_a_whole_last_line_without_its_end_is_kept(klar: Sandbox, rejects: Path) -> None:
    rejects.write_bytes(line(REFUNDS_SCHEMA) + line(broken("A", lineItems=[])).rstrip())
    assert run(klar, [REFUNDS_SCHEMA, broken("B")], rejects_path=str(rejects)).code == 0

    assert [each["record"]["id"] for each in read(rejects) if "record" in each] == ["A", "B"]


def test_a_run_without_rejects_leaves_an_empty_file(klar: Sandbox, rejects: Path) -> None:
    assert run(klar, [REFUNDS_SCHEMA, refund_record("A")], rejects_path=str(rejects)).code == 0
    assert rejects.read_bytes() == b""


def stopped_before_the_start(klar: Sandbox, ended: Ended) -> str:
    """The one line it said; nothing was sent, nothing was acknowledged."""
    assert (ended.code != 0, ended.states, klar.requests, stored(klar)) == (True, [], [], set())
    assert "Traceback" not in ended.err
    (said,) = ended.errors
    return said


@pytest.mark.parametrize("name", ["no/such/folder/rejects.jsonl", ".", "/dev/full", "/dev/null"])
def test_a_path_that_cannot_be_written_stops_the_run_before_it_starts(klar: Sandbox, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("A"), state(1)], rejects_path=str(path))

    assert f"The rejects file {path} cannot be written" in stopped_before_the_start(klar, ended)


def test_it_does_so_without_waiting_for_the_tap(klar: Sandbox, tmp_path: Path) -> None:
    process = start({"api_token": klar.token, "api_url": klar.url, "rejects_path": str(tmp_path)})
    try:
        assert process.wait(timeout=30) == 1  # while stdin is open and silent
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written_stops_the_run_before_it_starts(klar: Sandbox, rejects: Path) -> None:
    rejects.touch(mode=0o400)
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("A"), state(1)], rejects_path=str(rejects))

    assert "Check `rejects_path`" in stopped_before_the_start(klar, ended)


@pytest.mark.parametrize("way", ["--input", "stdin"])
def test_the_file_cannot_be_the_input_too_under_whatever_name(klar: Sandbox, rejects: Path, way: str) -> None:
    content = (line(REFUNDS_SCHEMA) + line(refund_record("A"))).rstrip()
    rejects.write_bytes(content)
    other_name = rejects.with_name("other.jsonl")
    other_name.symlink_to(rejects)
    if way == "--input":
        ended = run(klar, b"", "--input", str(other_name), rejects_path=str(rejects))
        code, errors = ended.code, ended.err
    else:
        with other_name.open("rb") as stdin:
            done = subprocess.run(
                PROGRAM,
                stdin=stdin,
                capture_output=True,
                env=environment(klar, rejects),
                check=False,
            )
        code, errors = done.returncode, done.stderr.decode()

    assert code != 0
    assert "is both the input and `rejects_path`" in errors
    assert (klar.requests, rejects.read_bytes()) == ([], content)


@pytest.mark.parametrize("mode", ["r+b", "ab"], ids=["written over", "appended to"])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_the_file_cannot_be_an_output_too_under_whatever_name(
    klar: Sandbox, rejects: Path, tmp_path: Path, name: str, mode: str
) -> None:
    content = line(REFUNDS_SCHEMA) + line(refund_record("A"))
    other_name, lines = rejects.with_name("other.jsonl"), tmp_path / "lines.jsonl"
    lines.write_bytes(line(REFUNDS_SCHEMA) + line(refund_record("B", "many")) + line(state("x" * 900)))
    rejects.write_bytes(content)
    other_name.hardlink_to(rejects)
    other = tmp_path / "other output"
    with other_name.open(mode) as same, other.open("wb") as elsewhere, lines.open("rb") as stdin:
        out, err = (same, elsewhere) if name == "stdout" else (elsewhere, same)
        env = environment(klar, rejects)
        done = subprocess.run(PROGRAM, stdin=stdin, stdout=out, stderr=err, env=env, check=False)

    assert done.returncode == 1
    said = other if name == "stdout" else rejects
    assert f"{rejects} is both {name} and `rejects_path`. Send {name} to another file.\n" in said.read_text()
    assert klar.requests == []
    if name == "stdout":
        assert rejects.read_bytes() == content
    elif mode == "ab":
        assert rejects.read_bytes().startswith(content)


def test_outputs_that_are_one_file_of_another_name_are_the_users(klar: Sandbox, rejects: Path, tmp_path: Path) -> None:
    both, lines = tmp_path / "both", tmp_path / "lines.jsonl"
    lines.write_bytes(line(REFUNDS_SCHEMA) + line(refund_record("B", "many")) + line(state(1)))
    with both.open("ab") as out, lines.open("rb") as stdin:
        done = subprocess.run(PROGRAM, stdin=stdin, stdout=out, stderr=out, env=environment(klar, rejects), check=False)
    assert (done.returncode, b"\n1\n" in both.read_bytes(), b"RECORD" in rejects.read_bytes()) == (0, True, True)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace shows the order of system calls")
@pytest.mark.parametrize("by", ["contract", "klar"])
def test_a_record_is_on_disk_before_the_state_that_covers_it_is_written(
    klar: Sandbox, rejects: Path, tmp_path: Path, by: str
) -> None:
    """The order of the program's own calls: the line's write, an fsync of the file after it, then the STATE's write."""
    klar.refuse = unwanted("bad")
    bad = broken("bad") if by == "contract" else refund_record("bad")
    trace = tmp_path / "trace"
    lines = b"".join(map(line, [REFUNDS_SCHEMA, refund_record("A"), bad, state("it-covers-bad")]))
    done = subprocess.run(
        [*f"strace -f --seccomp-bpf -y -s 200 -e trace=write,fsync -o {trace}".split(), *PROGRAM],
        input=lines,
        capture_output=True,
        env=environment(klar, rejects),
        check=False,
    )
    calls = [
        (name, each)
        for each in trace.read_text().splitlines()
        for name in ("write(", "fsync(")
        if name in each and ("rejects.jsonl>" in each or "write(1<" in each)
    ]
    order = [
        "state" if "write(1<" in each else "record" if name == "write(" else "sync"
        for name, each in calls
        if "/rejects.jsonl>" in each or "it-covers-bad" in each
    ]

    assert (done.returncode, json.loads(done.stdout)) == (0, "it-covers-bad")
    assert order[order.index("record") :] == ["record", "sync", "state"]


def test_a_disk_that_is_full_stops_the_run_and_no_state_covers_what_could_not_be_written(
    klar: Sandbox, rejects: Path
) -> None:
    """A limit on the size of files stands in for the full disk: the same short write, the same kind of error."""
    lines = [
        REFUNDS_SCHEMA,
        refund_record("A"),
        state(1),
        *(each for n in range(50) for each in (broken(f"R{n}"), state(f"R{n}"))),
    ]
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 4; exec {' '.join(PROGRAM)}"],
        input=b"".join(map(line, lines)),
        capture_output=True,
        # A file of coverage or bytecode would be cut off too.
        env=environment(klar, rejects) | {"COVERAGE_PROCESS_START": "", "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    errors = [each for each in done.stderr.decode().splitlines() if "| ERROR " in each]
    whole = [each["record"]["id"] for each in read(rejects)[1:]]
    last = json.loads(done.stdout.splitlines()[-1])

    assert (done.returncode, len(errors)) == (1, 1)
    assert "cannot be written" in errors[0]
    assert 0 < len(whole) < 50
    assert last in {1, *whole}


@pytest.mark.parametrize(
    "said",
    [
        b'{"status": "INVALID", "errors": [{"key": "1.id", "message": "caf\xe9\\r\\nb\\u0000"}]}',
        b'{"status": "INVALID", "errors": [{"key": "1.id", "message": "m", "value": 1E99999999999999999999}]}',
        b'{"status": "INVALID", "errors": [{"key": "1.id", "message": "m", "value": -1E-99999999999999999999}]}',
        b'{"status": "INVALID", "errors": [{"key": "1.id", "message": "m", "value": ' + b"9" * 5000 + b"}]}",
        b'{"status": "INVALID", "errors": [{"key": "1.id", "message": ' + b"9" * 4000 + b"}]}",
        b'{"status": "INVALID", "errors": [{"key": "1.id", "message": "\\ud800"}]}',
        b'{"status": "INVALID", "errors": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"status": "INVALID", "errors": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"message": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
        b'{"\xff\xfe": "\\u001b[31m"}',
        b'{"status": "INVALID", "errors": [{"key": "1.id", "key": "0.id", "message": "m"}]}',
        b'{"status": "INVALID", "status": "VALID", "failedOrderIds": ["R1"]}',
    ],
    ids=[
        "latin-1",
        "huge",
        "tiny",
        "digits",
        "4,000",
        "surrogate",
        "900",
        "deep",
        "objects",
        "no text",
        "a name twice, of an index",
        "a name twice, of the status",
    ],
)
def test_a_refusal_sets_its_one_record_aside_whatever_its_text_is(said: bytes, rejects: Path) -> None:
    key = "R\n2\x1b[31m" + "2" * 500

    def reply(request: Request) -> Reply:
        if request.head.startswith(b"GET"):
            return Reply(answer("200 OK", b"{}"))
        return Reply(answer("400 Bad Request", said) if b"2222" in request.body else ACCEPTED)

    lines = [REFUNDS_SCHEMA, refund_record("R1"), refund_record(key), refund_record("R3"), state(1)]
    with serve(choose=reply) as klar:
        ended = run(klar, lines, rejects_path=str(rejects), status_timeout_seconds=0)
    assert (ended.code, ended.states) == (0, [1])
    assert "Traceback" not in ended.err
    assert [each["record"]["id"] for each in read(rejects) if each["type"] == "RECORD"] == [key]
    (told,) = ended.said("refunds R")
    assert f"refunds R\\n2\\x1b[31m{'2' * 25}..." in told
    assert all(text.isprintable() and len(text) < 900 for text in ended.err.splitlines())


def test_a_record_that_a_partial_answer_names_neither_as_failed_nor_as_successful_is_sent_again(rejects: Path) -> None:
    stored: set[str] = set()

    def reply(request: Request) -> Reply:
        if request.head.startswith(b"GET"):
            return Reply(answer("200 OK", b"{}"))
        sent = [each["id"] for each in json.loads(request.body)]
        taken = [key for key in sent if key != "R2"][: 1 if len(sent) == 3 else None]
        stored.update(taken)
        listed = {"status": "PARTIALLY_VALID", "failedOrderIds": ["R2"], "successfulOrderIds": taken}
        return Reply(answer("207 Multi-Status", json.dumps(listed).encode()) if "R2" in sent else ACCEPTED)

    lines = [REFUNDS_SCHEMA, *(refund_record(key) for key in ("R1", "R2", "R3")), state(1)]
    with serve(choose=reply) as klar:
        ended = run(klar, lines, rejects_path=str(rejects), status_timeout_seconds=0)
    assert (ended.code, ended.states, stored) == (0, [1], {"R1", "R3"})
    assert [each["record"]["id"] for each in read(rejects) if each["type"] == "RECORD"] == ["R2"]


@pytest.mark.parametrize("fails", [True, False])
def test_rejects_fail_the_run_where_asked_with_everything_else_stored_and_acknowledged(
    klar: Sandbox, rejects: Path, *, fails: bool
) -> None:
    lines = [
        REFUNDS_SCHEMA,
        refund_record("a"),
        refund_record("bad", quantity="two"),
        refund_record("b"),
        state("last"),
    ]
    ended = run(klar, lines, rejects_path=str(rejects), fail_on_rejects=fails)
    assert (ended.code, ended.states, set(klar.refunds)) == (int(fails), ["last"], {"a", "b"})
    told = (
        f"fail_on_rejects: 1 record rejected, see {rejects}; everything else is loaded and acknowledged. Correct the "
        "mapping, move the file away, and send it with `--input`."
    )
    assert ended.errors == [told] * fails

    again = rejects.with_name("again.jsonl")  # as the line says
    rejects.rename(again)
    maps = {"refunds": {"quantity": "__NULL__", "lineItems": "[{'lineItemId': 'L', 'refundedQuantity': 2}]"}}
    ended = run(klar, b"", "--input", str(again), rejects_path=str(rejects), fail_on_rejects=fails, stream_maps=maps)
    assert (ended.code, ended.errors, set(klar.refunds)) == (0, [], {"a", "b", "bad"})


def test_a_first_batch_that_klar_rejects_is_not_said_to_be_all_that_the_run_sent(klar: Sandbox) -> None:
    klar.refuse, klar.refuse_style = lambda sent: "createdAt" in sent, "index"
    lines = [COSTS_SCHEMA, cost_record("c"), REFUNDS_SCHEMA, *(refund_record(f"R{each}") for each in range(8))]
    ended = run(klar, lines, max_parallel_requests=1)  # or the cost may not have been sent when the run ends
    assert (ended.code, [*klar.transaction_costs], [*klar.refunds]) == (1, ["c"], [])
    assert "(8 records, 1 request): " in ended.errors[0]
    assert "No record of refunds was stored." in ended.errors[0]


def test_a_run_that_may_fail_on_rejects_and_has_none_does_not(klar: Sandbox, rejects: Path) -> None:
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), state(1)], rejects_path=str(rejects), fail_on_rejects=True)
    assert (ended.code, ended.errors, ended.states) == (0, [], [1])
