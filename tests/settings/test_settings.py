"""What the user sets: every wrong value is refused before anything is read, in words that say what is allowed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from forked import run, start
from invocation import config_file, invoke, unplug
from klar_objects import REFUND_TIME
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, record, refund_record, schema, state
from singer_sdk.exceptions import ConfigValidationError

from target_klar.contract.streams import QUALITY_RULES
from target_klar.target import TargetKlar

if TYPE_CHECKING:
    from pathlib import Path

    from target_klar.sandbox import Sandbox

TOKEN = "a-token-that-must-not-show"
ADDRESS = "`api_url` must be an address such as https://open-api.getklar.com, or http:// to a loopback address"
ODD_ADDRESS = f"{ADDRESS}, without user name, query or blanks."
OPEN_ADDRESS = f"{ADDRESS} (found {{}}): the token would travel in the open."
ODD_TOKEN = "`api_token` must be the token alone: it is empty, or has a blank, a line break or another odd character."
NO_TOKEN = (
    "`api_token` is not set. The access token of a data source in Klar: Settings, Store Configurator, the store, Data "
    "Sources, the data source, tab Access Token. One token belongs to one data source."
)
VERSION = "`{}` must be a version such as 12.2022, MM.YYYY (found {})."
WHOLE = "`{}` must be a whole number from {} to {} (found {})."
SDKS = "`{}` must be an object in the form that the Singer SDK documents, as JSON ({})."
HALF = "`{}` must not have a NUL or half a surrogate pair in its text."
QUOTES = "; put it in quotes"
TOO_LONG = f"a text of {len(TOKEN)} characters"

WRONG: list[tuple[str, Any, str]] = [
    ("api_token", None, NO_TOKEN),
    ("api_token", 12345678, "`api_token` must be text (found a number of 8 characters; put it in quotes)."),
    ("api_token", [TOKEN], "`api_token` must be text (found a list)."),
    ("api_token", f"{TOKEN}\0", HALF.format("api_token")),
    ("api_token", "", ODD_TOKEN),
    ("api_token", f"{TOKEN}\nX-Evil: 1", ODD_TOKEN),
    ("api_token", f" {TOKEN}", ODD_TOKEN),
    ("api_token", f"{TOKEN}\u00e9", ODD_TOKEN),
    ("api_url", "http://example.com", OPEN_ADDRESS.format("http://example.com")),
    ("api_url", "http://127.example.com", OPEN_ADDRESS.format("http://127.example.com")),
    ("api_url", "http://localhost.example.com", OPEN_ADDRESS.format("http://localhost.example.com")),
    ("api_url", "ftp://localhost", OPEN_ADDRESS.format("ftp://localhost")),
    ("api_url", f"https://user:{TOKEN}@example.com", ODD_ADDRESS),
    ("api_url", f"https://{TOKEN}@example.com", ODD_ADDRESS),
    ("api_url", f"https://example.com?token={TOKEN}", ODD_ADDRESS),
    ("api_url", "https://example.com#here", ODD_ADDRESS),
    ("api_url", "https://exa mple.com", ODD_ADDRESS),
    ("api_url", "https://example.com\n", ODD_ADDRESS),
    ("api_url", "https://example.com:99999", ODD_ADDRESS),
    ("api_url", "https://[::1", ODD_ADDRESS),
    ("api_url", "open-api.getklar.com", ODD_ADDRESS),
    ("api_url", 5, "`api_url` must be text (found the number 5; put it in quotes)."),
    ("refunds_api_version", "13.2022", VERSION.format("refunds_api_version", 'the text "13.2022"')),
    ("refunds_api_version", "2022", VERSION.format("refunds_api_version", 'the text "2022"')),
    ("refunds_api_version", "../12.2022", VERSION.format("refunds_api_version", 'the text "../12.2022"')),
    (
        "transaction_costs_api_version",
        6.2024,
        VERSION.format("transaction_costs_api_version", f"the number 6.2024{QUOTES}"),
    ),
    ("logistics_costs_api_version", "4.2024", VERSION.format("logistics_costs_api_version", 'the text "4.2024"')),
    ("cogs_api_version", "", VERSION.format("cogs_api_version", 'the text ""')),
    ("orders_api_version", "12-2022", VERSION.format("orders_api_version", 'the text "12-2022"')),
    ("batch_size_rows", 1001, WHOLE.format("batch_size_rows", 1, 1000, "the number 1001")),
    ("batch_size_rows", 0, WHOLE.format("batch_size_rows", 1, 1000, "the number 0")),
    ("batch_size_rows", "abc", WHOLE.format("batch_size_rows", 1, 1000, 'the text "abc"')),
    ("batch_size_rows", 1.5, WHOLE.format("batch_size_rows", 1, 1000, "the number 1.5")),
    ("batch_wait_limit_seconds", -1, WHOLE.format("batch_wait_limit_seconds", 0, 86400, "the number -1")),
    ("max_parallel_requests", 0, WHOLE.format("max_parallel_requests", 1, 16, "the number 0")),
    ("max_parallel_requests", 17, WHOLE.format("max_parallel_requests", 1, 16, "the number 17")),
    ("request_timeout_seconds", 0, WHOLE.format("request_timeout_seconds", 1, 86400, "the number 0")),
    ("retry_timeout_seconds", -1, WHOLE.format("retry_timeout_seconds", 0, 86400, "the number -1")),
    ("status_timeout_seconds", -1, WHOLE.format("status_timeout_seconds", 0, 86400, "the number -1")),
    ("checkpoint_interval_seconds", -1, WHOLE.format("checkpoint_interval_seconds", 0, 86400, "the number -1")),
    ("rejects_path", "", '`rejects_path` must be text that is not empty (found the text "").'),
    ("rejects_path", ["a"], "`rejects_path` must be text that is not empty (found a list)."),
    ("rejects_path", "a\0b", HALF.format("rejects_path")),
    ("rejects_path", "a\ud800", HALF.format("rejects_path")),
    ("rejects_limit", -1, WHOLE.format("rejects_limit", 0, 1_000_000_000, "the number -1")),
    ("extra_fields", "note", "`extra_fields` must be a list of names, as JSON (Expecting value at character 1)."),
    ("extra_fields", [1], "`extra_fields` must be a list of names, as JSON (found the number 1; put it in quotes)."),
    ("extra_fields", ["a", {"b": "\ud800"}], HALF.format("extra_fields")),
    ("fail_on_rejects", "ja", '`fail_on_rejects` must be true or false (found the text "ja").'),
    (
        "ignore_quality_rules",
        "all",
        "`ignore_quality_rules` must be a list of names, as JSON (Expecting value at character 1).",
    ),
    ("hard_delete", "maybe", '`hard_delete` must be true or false (found the text "maybe").'),
    ("validate_only", 1, "`validate_only` must be true or false (found the number 1)."),
    ("validate_records", "nein", '`validate_records` must be true or false (found the text "nein").'),
    ("stream_maps", [], "`stream_maps` must be an object with an entry for each stream, as JSON."),
    ("stream_map_config", "x", SDKS.format("stream_map_config", "Expecting value at character 1")),
    ("stream_map_config", [TOKEN], SDKS.format("stream_map_config", "found a list")),
    ("faker_config", "5", SDKS.format("faker_config", "found the number 5")),
    ("faker_config", {"seed": [TOKEN]}, SDKS.format("faker_config.seed", "found a list")),
    ("refunds_api_version", TOKEN, VERSION.format("refunds_api_version", TOO_LONG)),
    ("batch_size_rows", TOKEN, WHOLE.format("batch_size_rows", 1, 1000, TOO_LONG)),
    ("hard_delete", TOKEN, f"`hard_delete` must be true or false (found {TOO_LONG})."),
    ("extra_fields", TOKEN, "`extra_fields` must be a list of names, as JSON (Expecting value at character 1)."),
    ("api_url", TOKEN, ODD_ADDRESS),
    ("api_url", f"http://example.com/{TOKEN}", OPEN_ADDRESS.format("http://example.com")),
]


@pytest.mark.parametrize(("name", "value", "told"), WRONG)
def test_a_wrong_value_is_refused_with_what_is_allowed_and_a_secret_is_not_shown(
    name: str, value: Any, told: str
) -> None:
    with pytest.raises(ConfigValidationError, match="not usable") as refused:
        TargetKlar(config={"api_token": TOKEN, name: value})
    assert refused.value.errors == [told]
    assert TOKEN not in told + str(refused.value) + repr(refused.value)


def test_every_setting_of_ours_has_a_wrong_value_in_the_table() -> None:
    unplug(TargetKlar(config={"api_token": TOKEN}).dispatcher)  # which adds the SDK's own settings to the schema
    assert {name for name, _, _ in WRONG} == TargetKlar.config_jsonschema["properties"].keys()


@pytest.mark.parametrize(
    "value", ["http://localhost:8080", "http://127.0.0.2", "http://[::1]:1", "https://a.example/b/"]
)
def test_plain_http_is_for_this_machine_and_https_for_any(value: str) -> None:
    target = TargetKlar(config={"api_token": TOKEN, "api_url": value})
    unplug(target.dispatcher)
    assert target.config["api_url"] == value


def test_a_wrong_configuration_ends_the_run_before_anything_is_read_or_sent(klar: Sandbox) -> None:
    wrong = {"api_token": f"{klar.token} x", "batch_size_rows": 1001, "max_parallel_requests": 0}
    process = start({"api_url": klar.url, **wrong})
    process.stdin.write(json.dumps(REFUNDS_SCHEMA).encode() + b"\n" + json.dumps(refund_record("r")).encode() + b"\n")
    process.stdin.flush()
    assert process.wait(30) == 1  # although its stdin is still open
    assert process.stdout
    assert process.stderr
    out, err = process.stdout.read(), process.stderr.read().decode()
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()
    assert out == b""
    assert [found.split("|", 3)[3].strip() for found in err.splitlines() if "ERROR" in found] == [
        "`batch_size_rows` must be a whole number from 1 to 1000 (found the number 1001).",
        "`max_parallel_requests` must be a whole number from 1 to 16 (found the number 0).",
        ODD_TOKEN,
    ]
    assert "Traceback" not in err
    assert klar.token not in err
    assert klar.requests == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{api_token", "cannot be read (Expecting property name enclosed in double quotes"),
        ('"api_token"', "`--config` takes the path of a file with a JSON object, or ENV."),
        ("[]", "`--config` takes the path of a file with a JSON object, or ENV."),
    ],
)
def test_a_configuration_file_that_is_no_json_object_ends_the_run_in_one_line(
    tmp_path: Path, text: str, told: str
) -> None:
    ended = invoke("--config", config_file(tmp_path, text))
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1)
    assert told in ended.errors[0]
    assert "Traceback" not in ended.err


TWICE = "The configuration {} has `{}` twice in one object, with different values. Keep one of the two."
MAP = '"orders": {"__alias__": "refunds", "__filter__": "id"}'


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f'"stream_maps": {{{MAP}}}, "stream_maps": {{"*": null}}', "stream_maps"),
        ('"validate_only": true, "hard_delete": true, "validate_only": false', "validate_only"),
        ('"stream_maps": {"refunds": {"__filter__": "id", "id": "id", "__filter__": "not id"}}', "__filter__"),
        (f'"stream_maps": {{{MAP}, "x": null, "orders": null}}', "orders"),
        ('"faker_config": {"locale": ["a", {"b": 1, "b": 2}]}', "b"),
        (f'"api_token": "{TOKEN}"', "api_token"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--check"], ["--preview"]], ids=str)
def test_a_name_twice_in_one_object_of_a_configuration_file_stops_the_run_at_its_start(
    klar: Sandbox, tmp_path: Path, text: str, name: str, options: list[str]
) -> None:
    file = config_file(tmp_path, f'{{"api_token": "{klar.token}", "api_url": "{klar.url}", {text}}}')
    ended = invoke("--config", file, *options, lines=[REFUNDS_SCHEMA, refund_record("r")])
    assert (ended.code, ended.out, ended.errors) == (1, "", [TWICE.format(file, name)])
    assert (klar.requests, TOKEN in ended.err, klar.token in ended.err) == ([], False, False)


def test_a_name_twice_is_found_in_json_text_and_the_same_value_twice_and_two_files_are_no_matter(
    klar: Sandbox, tmp_path: Path
) -> None:
    lines = [REFUNDS_SCHEMA, refund_record("r")]
    ended = run(klar, lines, stream_maps='{"refunds": {}, "refunds": null}')
    told = SDKS.format("stream_maps", "`refunds` twice in one object, with different values")
    assert (ended.code, ended.errors, klar.requests) == (1, [told], [])

    file = config_file(
        tmp_path, f'{{"api_token": "t", "hard_delete": true, "api_url": "{klar.url}", "hard_delete": true}}'
    )
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"api_token": klar.token}))
    ended = invoke("--config", file, "--config", str(other), lines=lines)
    assert (ended.code, set(klar.refunds)) == (0, {"r"}), ended.err


def test_a_configuration_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = invoke("--config", str(tmp_path / "none.json"))
    assert ended.code == 1
    assert ended.errors == [
        (
            f"The configuration {tmp_path}/none.json cannot be read (No such file or directory). `--config` takes the "
            "path of a file with a JSON object, or ENV."
        )
    ]


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("BATCH_SIZE_ROWS", "abc", '`batch_size_rows` must be a whole number from 1 to 1000 (found the text "abc").'),
        ("BATCH_SIZE_ROWS", "1_0", '`batch_size_rows` must be a whole number from 1 to 1000 (found the text "1_0").'),
        ("VALIDATE_ONLY", "ture", '`validate_only` must be true or false (found the text "ture").'),
        ("EXTRA_FIELDS", "a,b", "`extra_fields` must be a list of names, as JSON (Expecting value at "),
        ("EXTRA_FIELDS", '"a"', '`extra_fields` must be a list of names, as JSON (found the text "a").'),
        ("STREAM_MAPS", "{orders", f"{SDKS.format('stream_maps', 'Expecting property name')[:-2]} "),
        ("FAKER_CONFIG", "[" * 100_000, SDKS.format("faker_config", "nested too deep, or a number is too long")),
        ("REJECTS_PATH", "a\udcff", HALF.format("rejects_path")),
    ],
)
def test_an_environment_variable_that_cannot_be_read_is_a_configuration_error(name: str, value: str, line: str) -> None:
    ended = invoke("--config=ENV", env={"TARGET_KLAR_API_TOKEN": TOKEN, f"TARGET_KLAR_{name}": value})
    assert (ended.code, len(ended.errors), "Traceback" in ended.err) == (1, 1, False)
    assert ended.errors[0].startswith(line)


def test_every_setting_can_come_from_the_environment(klar: Sandbox, tmp_path: Path) -> None:
    """All but `validate_only` are seen to take effect here; that one, which loads nothing, in test_environment.py."""
    klar.versions = {"refunds": ("01.2031",), "transaction_costs": ("02.2032",)}
    klar.extra_fields = ("note",)
    rejects = tmp_path / "rejects.jsonl"
    values: dict[str, Any] = {
        "api_token": klar.token + "\n",  # as a file that holds a secret ends
        "api_url": klar.url,
        "refunds_api_version": "01.2031",
        "transaction_costs_api_version": "02.2032",
        "logistics_costs_api_version": "03.2033",
        "cogs_api_version": "04.2034",
        "orders_api_version": "05.2035",
        "batch_size_rows": "2",
        "batch_wait_limit_seconds": "30",
        "max_parallel_requests": "1",
        "request_timeout_seconds": "20",
        "retry_timeout_seconds": "30",
        "status_timeout_seconds": "0",
        "checkpoint_interval_seconds": "0",
        "rejects_path": str(rejects),
        "rejects_limit": "1",
        "fail_on_rejects": "true",
        "ignore_quality_rules": '["negative_quantity"]',
        "extra_fields": '["note"]',
        "hard_delete": "true",
        "validate_only": "false",
        "validate_records": "false",
        "stream_maps": '{"returns": {"__alias__": "refunds", "note": "config[\'shop\']"}, "junk": "__NULL__"}',
        "stream_map_config": '{"shop": "north"}',
        "faker_config": '{"seed": 7}',
    }
    known = json.loads(invoke("--about", "--format=json").out)["settings"]["properties"]
    assert values.keys() == known.keys()
    lines = [
        schema("returns"),
        COSTS_SCHEMA,
        schema("junk"),
        refund_record("r-1") | {"stream": "returns"},
        record("junk", id="j"),
        record("returns", id="r-2", _sdc_deleted_at="2024-01-01T00:00:00Z"),
        refund_record("r-3", createdAt="yesterday") | {"stream": "returns"},
        record("transaction_costs", orderId="c-1"),  # left to Klar, which refuses it: one more than the limit
        state(1),
    ]
    ended = run(None, lines, **values)
    assert {key: found.get("note") for key, found in klar.refunds.items()} == {"r-1": "north", "r-2": None}
    assert klar.refunds["r-2"]["lineItems"] == []
    assert {(seen.path.split("/")[1], seen.count) for seen in klar.posts()} == {("01.2031", 2), ("02.2032", 1)}
    assert klar.peak_in_flight == 1
    assert "status_timeout_seconds is 0" in ended.err
    assert [json.loads(text)["record"]["id"] for text in rejects.read_text().splitlines()[1:]] == ["r-3"]
    assert ended.code == 1
    assert "`rejects_limit` (1) is reached" in ended.errors[0]


def test_null_means_the_default_and_settings_of_the_sdk_that_are_not_offered_have_no_effect(
    klar: Sandbox, tmp_path: Path
) -> None:
    config = dict.fromkeys(TargetKlar.config_jsonschema["properties"]) | {
        "api_token": klar.token,
        "api_url": klar.url,
        "add_record_metadata": True,
        "load_method": "overwrite",
        "flattening_enabled": True,
        "flattening_max_depth": 1,
        "_load_schema": "shop",
    }
    lines = [REFUNDS_SCHEMA, refund_record("r"), COSTS_SCHEMA, cost_record("c", 2), state(1)]
    ended = invoke("--config", config_file(tmp_path, config), lines=lines)
    assert (ended.code, ended.states) == (0, [1])
    item = {"lineItemId": "L-r", "refundedQuantity": 1}
    assert klar.refunds == {"r": {"id": "r", "createdAt": REFUND_TIME, "lineItems": [item]}}
    assert klar.transaction_costs == {"c": {"orderId": "c", "transactionCosts": 2}}
    assert ended.warnings == ["Unknown settings are ignored: _load_schema. Check the spelling."]


def test_a_path_among_the_extra_fields_stops_the_run_with_the_name_to_list() -> None:
    paths = ["lineItems[].note", "line_items[0].tax.rate", "lineItems.note", "customer.vip"]
    others = ["note", "a.b", "tags[].x", "[].x", "lineItems", "", "note[]"]
    with pytest.raises(ConfigValidationError, match="not usable") as refused:
        TargetKlar(config={"api_token": TOKEN, "extra_fields": [*paths, *others]})
    told = "`extra_fields` has the path `{}`. List the name alone, `{}`: it counts at every level."
    assert refused.value.errors == [
        told.format(path, name) for path, name in zip(paths, ["note", "rate", "note", "vip"], strict=True)
    ]


def test_a_data_quality_rule_that_does_not_exist_stops_the_run_with_the_closest_match_or_all_names() -> None:
    with pytest.raises(ConfigValidationError, match="not usable") as refused:
        TargetKlar(config={"api_token": TOKEN, "ignore_quality_rules": ["negativ_quantity", "x", "negative_quantity"]})
    unknown = "`ignore_quality_rules` has the unknown rule `{}`. {}"
    assert refused.value.errors == [
        unknown.format("negativ_quantity", "Did you mean `negative_quantity`?"),
        unknown.format("x", f"There are {', '.join(sorted(QUALITY_RULES))}."),
    ]
