"""Every message of a run that fails, word for word, and that none of them gives away a secret or a customer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from byte_server import Reply, Request, serve
from calls import closed_port
from clients import answer
from forked import run
from invocation import config_file, invoke
from klar_objects import REFUND_TIME
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, record, refund_record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_klar.sandbox import Sandbox

README = Path(__file__).parents[1] / "README.md"
TOKEN = "klar-token-7d41f0c2"
EMAIL = "anna.schmidt@customer.example"
NOTHING_KEPT = "No STATE was written."
KEPT = "The last STATE written covers 1 of the {} records read."
KEPT_ALL = "The last STATE written covers 1 of the 1 record read."
STOPS = "The run stops before this record. Set `rejects_path` to write rejected records to a file and continue."
LIMIT = (
    "The run stops before this record. `rejects_limit` ({}) is reached: correct the mapping, or raise the limit if the "
    "records themselves are bad."
)
WHERE_TO_GET_ONE = (
    "Check `api_token`: Klar shows it under Settings, Store Configurator, the store, Data Sources, the data source, "
    "tab Access Token."
)


def planted(key: str, **fields: Any) -> dict[str, Any]:
    """A refund with a customer's address in a column that Klar does not know."""
    return refund_record(key, customer_email=EMAIL, **fields)


@dataclass
class Failure:
    """One way to fail, and what the program says: `<any>` stands for what differs from run to run."""

    says: str
    lines: list[Any] = field(default_factory=lambda: [REFUNDS_SCHEMA, planted("a"), state(1)])
    settings: Mapping[str, Any] = field(default_factory=dict)
    klar: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    states: list[Any] = field(default_factory=list)


def after_a(*more: Any) -> list[Any]:
    """Lines that fail only after one record and its STATE have come through."""
    return [REFUNDS_SCHEMA, planted("a"), state(1), *more, state(2)]


def batch(encoding: dict[str, Any], *manifest: str) -> dict[str, Any]:
    return {"type": "BATCH", "stream": "refunds", "encoding": encoding, "manifest": list(manifest)}


FAILURES: dict[str, Failure] = {
    # Klar
    "wrong token": Failure(
        f"The API token was refused (HTTP 401, <url>/refunds/status). {WHERE_TO_GET_ONE} {NOTHING_KEPT}",
        settings={"api_token": f"{TOKEN}-but-wrong"},
    ),
    "token revoked": Failure(
        f"The API token was refused (HTTP 403, <url>/12.2022/refunds/json). {WHERE_TO_GET_ONE} {NOTHING_KEPT}",
        faults=("403@1",),
    ),
    "wrong version": Failure(
        "Not found: <url>/01.2020/refunds/json (HTTP 404). Check `refunds_api_version` (01.2020) and `api_url"
        f"`. {NOTHING_KEPT}",
        settings={"refunds_api_version": "01.2020"},
    ),
    "wrong address": Failure(
        f"Not found: <url>/nowhere/refunds/status (HTTP 404). Check `api_url`. {NOTHING_KEPT}",
        settings={"api_url": "<url>/nowhere"},
    ),
    "redirect": Failure(
        "<url>/12.2022/refunds/json redirects (HTTP 307 with an empty body); the token is sent to no other address. "
        "Check "
        f"`refunds_api_version` (12.2022) and `api_url`. {NOTHING_KEPT}",
        faults=("redirect@1",),
    ),
    "another refusal": Failure(
        f"Unexpected response from <url>/12.2022/refunds/json (HTTP 409): <any> Check "
        f"`refunds_api_version` (12.2022) and `api_url`. {NOTHING_KEPT}",
        faults=("409@1",),
    ),
    "no server": Failure(
        "refunds: no usable response from <closed>/refunds/status after <any> attempt<any> in <any> s (connection "
        f"refused). Run again later; if it persists, check `api_url`. {NOTHING_KEPT}",
        settings={"api_url": "<closed>", "retry_timeout_seconds": 1},
    ),
    "server errors": Failure(
        "refunds: no usable response from <url>/12.2022/refunds/json after <any> attempt<any> in <any> s (HTTP 503). "
        f"Run again later; if it persists, check `api_url`. {NOTHING_KEPT}",
        settings={"retry_timeout_seconds": 1},
        faults=("503@1+",),
    ),
    "a login page": Failure(
        "refunds: no usable response from <url>/12.2022/refunds/json after 1 attempt in <any> s (HTTP 200 with "
        f'an HTML page ("Not Klar") that is not Klar\'s). Run again later; if it persists, check '
        f"`api_url`. {NOTHING_KEPT}",
        settings={"retry_timeout_seconds": 0},
        faults=("2xx-html@1+",),
    ),
    "silence": Failure(
        "refunds: no usable response from <url>/12.2022/refunds/json after 1 attempt in <any> s (no full response "
        f"within 3 s). Run again later; if it persists, check `api_url`. {NOTHING_KEPT}",
        settings={"retry_timeout_seconds": 0, "request_timeout_seconds": 3},
        faults=("hang@1+",),
    ),
    "status frozen": Failure(
        "refunds: Klar accepted records, but 1 s later its status "
        "shows no load (last batch: 0). Run again, which loads nothing twice, or raise "
        "`status_timeout_seconds` (0: the status only has to answer). It was the first request of refunds in this "
        "run, with 1 record. "
        f"{NOTHING_KEPT}",
        settings={"status_timeout_seconds": 1},
        klar={"status_frozen": True},
    ),
    "nothing counted": Failure(
        "refunds: Klar accepted the first request, but its status counts 0, not the 1 sent, so it may have misread "
        "them. After a run that was killed, run again. Else check `refunds_api_version`, and that nothing else loads "
        f"into this data source at the same time. `status_timeout_seconds: 0` turns the comparison off. {NOTHING_KEPT}",
        klar={"counts_nothing": True},
    ),
    "a list of successes that leaves one out": Failure(
        "Unexpected response from <url>/12.2022/refunds/json (HTTP 201): "
        '{"status": "VALID", "successfulOrderIds": ["3"]}. '
        f"Check `refunds_api_version` (12.2022) and `api_url`. {NOTHING_KEPT}",
        lines=[REFUNDS_SCHEMA, planted("2"), planted("3"), state(1)],
        settings={"rejects_path": "<rejects>"},
        faults=("2xx-fewer-ids",),
    ),
    "everything refused": Failure(
        "Klar rejected the first batch of refunds, and each part of it that was sent alone (8 records, <any> "
        "requests): <any>. No record of refunds was stored. Check the mapping and `refunds_api_version`. "
        f"{NOTHING_KEPT}",
        lines=[REFUNDS_SCHEMA, *(planted(str(number)) for number in range(8)), state(1)],
        settings={"rejects_path": "<rejects>"},
        klar={"refuse": lambda _: True, "refuse_style": "opaque"},
    ),
    # Single records
    "a bad record": Failure(
        "target-klar rejected refunds b: updatedAt must be a time, as Unix seconds or as a date (found text of 4 "
        "characters); "
        "lineItems[0].refundedQuantity must be a number (found text of 4 characters). "
        f"{STOPS} {KEPT.format(2)}",
        lines=after_a(planted("b", quantity="many", updatedAt="soon")),
        states=[1],
    ),
    "a record without a key": Failure(
        f"target-klar rejected refunds (no key, record 2 of the run): id is required. {STOPS} {KEPT.format(2)}",
        lines=after_a(record("refunds", createdAt=REFUND_TIME, lineItems=[], customer_email=EMAIL)),
        states=[1],
    ),
    "a record that is no object": Failure(
        f"target-klar rejected refunds (no key, record 2 of the run): record must be an object (found an array of "
        f"1). {STOPS} {KEPT.format(2)}",
        lines=after_a({"type": "RECORD", "stream": "refunds", "record": [EMAIL]}),
        states=[1],
    ),
    **{
        f"a record that Klar refuses, in style {style}": Failure(
            f"Klar rejected refunds b: {told}. {STOPS} {KEPT.format(3)}",
            lines=after_a(planted("b"), planted("c")),
            klar={"refuse": lambda sent: sent["id"] == "b" and "is not wanted", "refuse_style": style},
            states=[1],
        )
        for style, told in {
            "index": "<any>id is not wanted (found text of 1 character)",
            "tree": "<any>id is not wanted (found text of 1 character)",
            "tree-item": "<any>refundedQuantity is not wanted (found number 1)",
            "ids": "id is not wanted (found text of 1 character)",
            "failed-ids": "Klar lists it as failed, without a reason",
            "opaque": "Bad Request",
            "207": "Klar lists it as failed, without a reason",
        }.items()
    },
    "too many rejects": Failure(
        f"target-klar rejected refunds c: createdAt is required. {LIMIT.format(1)} {KEPT.format(3)}",
        lines=after_a(*(record("refunds", id=key, lineItems=[], customer_email=EMAIL) for key in "bc")),
        settings={"rejects_path": "<rejects>", "rejects_limit": 1},
        states=[1],
    ),
    # Stream maps
    "a map that fails on a record": Failure(
        f"target-klar rejected refunds a: fee could not be mapped by `float(customer_email)` (ValueError). {STOPS} "
        f"{NOTHING_KEPT}",
        settings={"stream_maps": {"refunds": {"fee": "float(customer_email)"}}},
    ),
    "a map that looks a value up in vain": Failure(
        f"target-klar rejected refunds a: fee could not be mapped by `{{'DE': 19}}[customer_email]` (KeyError). "
        f"{STOPS} {NOTHING_KEPT}",
        settings={"stream_maps": {"refunds": {"fee": "{'DE': 19}[customer_email]"}}},
    ),
    "a map that calls what a value does not have": Failure(
        f"target-klar rejected refunds a: fee could not be mapped by `customer_email.fee` (AttributeDoesNotExist). "
        f"{STOPS} {NOTHING_KEPT}",
        settings={"stream_maps": {"refunds": {"fee": "customer_email.fee"}}},
    ),
    "a map that reads a column that is not there": Failure(
        "The stream map of refunds reads `fees` for `fee`, found neither in the SCHEMA nor in the first record "
        f"(found: id, createdAt, lineItems, customer_email). Correct it in `stream_maps`. {NOTHING_KEPT}",
        settings={"stream_maps": {"refunds": {"fee": "fees + 1"}}},
    ),
    "a map that reads a column that one record lacks": Failure(
        "target-klar rejected refunds a: fee could not be mapped by `fees + 1` (the record has no fees, only id, "
        "createdAt, lineItems, "
        f"customer_email). {STOPS} {NOTHING_KEPT}",
        lines=[schema("refunds", fees={"type": "number"}), planted("a"), state(1)],
        settings={"stream_maps": {"refunds": {"fee": "fees + 1"}}},
    ),
    "a map that cannot be read": Failure(
        "`stream_maps.refunds.id` must be one expression as text, or __NULL__ to leave the field out (<any>).",
        settings={"stream_maps": {"refunds": {"id": "((("}}},
    ),
    "an unknown stream": Failure(
        "Klar has no stream 'fees', only refunds, transaction_costs, logistics_costs, cogs and orders. Rename it with "
        'a stream map: {"stream_maps": {"fees": {"__alias__": "transaction_costs"}}}, or drop it: '
        '{"stream_maps": {"fees": "__NULL__"}}. `target-klar --preview` shows what its records would become. '
        f"{KEPT_ALL}",
        lines=after_a(schema("fees"), record("fees", id=1, customer_email=EMAIL)),
        states=[1],
    ),
    # Input
    "a line that is cut off": Failure(
        "Line 4 of the input: not valid JSON (after byte 166: <any>). It has 194 bytes; `sed -n 4p` on the tap's "
        f"output shows it. {KEPT_ALL}",
        lines=after_a(json.dumps(planted("b"))[:-5]),
        states=[1],
    ),
    "a record before its SCHEMA": Failure(
        "Line 4 of the input: a record of transaction_costs before the SCHEMA of its stream, which the tap has to "
        "write first. It has 151 bytes; "
        f"`sed -n 4p` on the tap's output shows it. {KEPT_ALL}",
        lines=after_a(record("transaction_costs", orderId="c", transactionCosts=1, customer_email=EMAIL)),
        states=[1],
    ),
    "batch files of another kind": Failure(
        "The batch files of refunds are not JSON lines, plain or gzip. Set `format: jsonl` and `compression: none` or "
        f"`gzip` under `encoding` in the tap's `batch_config`. {KEPT_ALL}",
        lines=after_a(batch({"format": "parquet"}, "rows.parquet")),
        states=[1],
    ),
    "a batch file that is not there": Failure(
        "The batch file no-such-file.jsonl of refunds cannot be read (No such file or directory). Check that it is "
        "there, "
        f"whole and readable. {KEPT_ALL}",
        lines=after_a(batch({"format": "jsonl"}, "no-such-file.jsonl")),
        states=[1],
    ),
    # Rejects file and dry run
    "a rejects file that cannot be written": Failure(
        "The rejects file /no/such/folder/rejects.jsonl cannot be written (No such file or directory). Check "
        "`rejects_path`.",
        settings={"rejects_path": "/no/such/folder/rejects.jsonl"},
    ),
    "a dry run with a refusal": Failure(
        "validate_only: 1 of 2 records rejected. The warnings above name field and reason: correct the mapping "
        "or the source.",
        lines=after_a(planted("b", createdAt="soon")),
        settings={"validate_only": True},
    ),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
def test_a_failure_is_one_line_that_says_what_to_do_and_gives_nothing_away(
    failure: Failure, klar: Sandbox, tmp_path: Path
) -> None:
    klar.token = TOKEN
    for name, value in failure.klar.items():
        setattr(klar, name, value)
    klar.misbehave(*failure.faults)
    rejects = tmp_path / "rejects.jsonl"
    with closed_port() as closed:
        names = {"<url>": klar.url, "<closed>": closed, "<rejects>": str(rejects)}
        settings = {name: names_in(value, names) for name, value in failure.settings.items()}
        ended = run(klar, failure.lines, **({"batch_size_rows": 1000} | settings))
    wanted = re.escape(names_in(failure.says, names)).replace("<any>", ".*")
    assert [text for text in ended.errors if not re.fullmatch(wanted, text)] == []
    assert (ended.code, len(ended.errors), ended.states) == (1, 1, failure.states)
    assert "Traceback" not in ended.err
    assert all("|" in text for text in ended.err.splitlines())  # each a line of the log, none a stray one
    written = rejects.read_text() if rejects.exists() else ""
    assert TOKEN not in ended.out + ended.err + written
    assert EMAIL not in ended.out + ended.err


def names_in(value: Any, names: Mapping[str, str]) -> Any:
    """The value with what stands for an address or a file filled in."""
    if isinstance(value, str):
        for name, meant in names.items():
            value = value.replace(name, meant)
    return value


CONFIGURATIONS: dict[str, Callable[[Path], list[str]]] = {
    "a token with a line break": lambda folder: [
        "--config",
        config_file(folder, {"api_token": f"{TOKEN}\nX: {TOKEN}"}),
    ],
    "a token that is a list": lambda folder: ["--config", config_file(folder, {"api_token": [TOKEN]})],
    "a token in another setting": lambda folder: [
        "--config",
        config_file(folder, {"api_token": "t", "api_url": f"https://{TOKEN}:x@example.com"}),
    ],
    "a file that is no JSON": lambda folder: ["--config", config_file(folder, f'{{"api_token": "{TOKEN}" oops}}')],
    "a file that is not UTF-8": lambda folder: ["--config", not_utf8(folder)],
    "a token for another setting": lambda folder: ["--config", config_file(folder, {"api_tokn": TOKEN})],
}


def not_utf8(folder: Path) -> str:
    path = folder / "config.json"
    path.write_bytes(f'{{"api_token": "{TOKEN}'.encode() + b'\xff"}')
    return str(path)


def quoted() -> list[str]:
    """The lines that the README explains."""
    section = README.read_text().partition("| the line | what to do |")[2].partition("\n\n")[0]
    return [row.split(" | ")[0].removeprefix("| ") for row in section.splitlines()[2:]]


@pytest.mark.parametrize("line", quoted())
def test_a_line_that_the_readme_explains_is_one_that_the_program_says(line: str) -> None:
    # Its numbers, its values in quotes and its dots stand for anything.
    parts = re.split(r"""\s*\.\.\.|R-\d+:|\d+|"[^"]*"|'[^']*'""", line)
    pattern = re.compile(".*".join(map(re.escape, parts)))
    said = [failure.says.replace("attempt<any>", "attempts") for failure in FAILURES.values()]
    assert any(pattern.match(message) for message in said)


def test_the_readme_explains_ten_lines() -> None:
    assert len(quoted()) == 10


@pytest.mark.parametrize("make", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_a_configuration_error_does_not_show_the_token(make: Callable[[Path], list[str]], tmp_path: Path) -> None:
    ended = invoke(*make(tmp_path))
    assert (ended.code, ended.out) == (1, "")
    assert ended.errors
    assert "Traceback" not in ended.err
    assert TOKEN not in ended.err


def test_a_rejects_file_that_is_the_input_too_is_left_alone(klar: Sandbox, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    first = run(klar, [REFUNDS_SCHEMA, planted("a", createdAt="soon")], rejects_path=str(rejects))
    assert first.code == 0
    before = rejects.read_bytes()
    ended = run(klar, [], "--input", str(rejects), rejects_path=str(rejects))
    assert (ended.code, ended.errors) == (
        1,
        [f"{rejects} is both the input and `rejects_path`. Move it away before you send it again."],
    )
    assert rejects.read_bytes() == before


def test_what_is_said_on_the_way_names_no_token_and_no_customer_either(klar: Sandbox, tmp_path: Path) -> None:
    klar.token = TOKEN
    klar.misbehave("503@1", "status:502-html@2")
    klar.refuse = lambda sent: sent.get("id") == "c" and f"is unknown to {TOKEN}"
    rejects = tmp_path / "rejects.jsonl"
    lines = [
        REFUNDS_SCHEMA,
        COSTS_SCHEMA,
        planted("a"),
        planted("b", createdAt="soon"),
        planted("c"),
        cost_record("o"),
        cost_record("o", 2),
        state(1),
    ]
    ended = run(klar, lines, rejects_path=str(rejects))
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a"})
    warnings = ended.warnings
    wanted = [
        (
            r"target-klar rejected refunds b: createdAt must be a time, as Unix seconds or as a date \(found text of "
            r".*\)\. Written to .*\."
        ),
        r"(refunds|transaction_costs): no usable response from .* \(HTTP 503\); next try in \d+\.\d s",
        r"(refunds|transaction_costs): no usable response from .*/status \(HTTP 502 with an HTML page .*\); next .*",
        r"Klar rejected refunds c: .* Written to .*\.",
        r"refunds: fields that Klar does not know were omitted: customer_email\. .*",
        r"transaction_costs: 1 key \(orderId\) came again with other transactionCosts, and Klar keeps the last .*",
        r"Records rejected: 2, see .*\. Most often: .*",
    ]
    assert [pattern for pattern in wanted if not any(re.fullmatch(pattern, text) for text in warnings)] == []
    assert [text for text in warnings if not any(re.fullmatch(pattern, text) for pattern in wanted)] == []
    assert TOKEN not in ended.out + ended.err + rejects.read_text()
    assert EMAIL not in ended.out + ended.err
    assert rejects.read_text().count(EMAIL) == 2


def test_a_token_that_is_spelled_with_escaped_slashes_is_in_no_log_line_of_a_whole_run() -> None:
    r"""JSON may write `/` as `\/`; here a notice of a retry and the error that ends the run quote what has it so."""
    token = "eyJhbGci/T2tlbk9m/QVRlc3Q/c2lnbmF0dXJl"
    spelled = token.replace("/", "\\/")

    def reply(request: Request) -> Reply:
        if request.head.startswith(b"GET"):
            return Reply(answer("200 OK", b"{}"))
        posts.append(request)
        if len(posts) == 1:
            return Reply(answer("503 Service Unavailable", f"no such header: Bearer {spelled}".encode()))
        return Reply(answer("409 Conflict", f'{{"message": "the header Bearer {spelled} is odd"}}'.encode()))

    posts: list[Request] = []
    with serve(choose=reply) as klar:
        ended = run(klar, [REFUNDS_SCHEMA, planted("a"), state(1)], api_token=token)

    assert (ended.code, ended.states, len(posts)) == (1, [], 2)
    assert token.encode() in posts[0].head
    assert len(ended.said("no such header: Bearer ***")) == 1
    assert "the header Bearer *** is odd" in ended.errors[0]
    pieces = [text[at : at + 8] for text in (token, spelled) for at in range(len(text) - 7)]
    assert [piece for piece in pieces if piece in ended.out + ended.err] == []
