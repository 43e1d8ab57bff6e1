"""Stream maps: what the SDK has passes; anything else stops the run before it reads, or is said."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import program
import pytest
from forked import run
from hypothesis import given, settings
from hypothesis import strategies as st
from invocation import unplug
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, line, record, refund_record, schema, state
from singer_sdk.exceptions import ConfigValidationError, FatalSyncError, StreamMapConfigError
from singer_sdk.mapper import MAPPER_FILTER_OPTION, CustomStreamMap, PluginMapper
from thoroughness import size

from target_klar.reader import LINE
from target_klar.settings.stream_maps import _OF_A_MAP, FUNCTIONS, MODULES, map_mistakes
from target_klar.target import TargetKlar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from target_klar.sandbox import Sandbox

pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")

OPTIONS = "The options are __alias__, __else__, __filter__, __key_properties__, __source__."
NO_OPTION = "`stream_maps.refunds.{}` is not an option of a stream map.{} " + OPTIONS
EXPRESSION = "`stream_maps.refunds.{}` must be one expression as text, {}"
FIELD = "or __NULL__ to leave the field out"
FILTER = "that is true for the records to keep"
STREAM = "`stream_maps.refunds.{}` must be the name of a stream."
KLAR_HAS = "Klar has refunds, transaction_costs, logistics_costs, cogs and orders."
LINES = [REFUNDS_SCHEMA, refund_record("a"), state(1)]

WRONG: list[tuple[Any, str]] = [
    ([], "`stream_maps` must be an object with an entry for each stream, as JSON."),
    ({"refunds": 5}, "`stream_maps.refunds` must be an object of fields, or __NULL__ to drop the stream."),
    ({"refunds": "x"}, "`stream_maps.refunds` must be an object of fields, or __NULL__ to drop the stream."),
    ({"__else__": "x"}, "`stream_maps.__else__` must be __NULL__."),
    ({"__else__": {}}, "`stream_maps.__else__` must be __NULL__."),
    (
        {"_else_": "__NULL__"},
        "`stream_maps._else_` is not an option of a stream map. Did you mean `__else__`? The options are __else__.",
    ),
    ({"__filter__": "x"}, "`stream_maps.__filter__` is not an option of a stream map. The options are __else__."),
    ({"refunds": {"__filtr__": "id == 'b'"}}, NO_OPTION.format("__filtr__", " Did you mean `__filter__`?")),
    ({"refunds": {"__Filter__": "id == 'b'"}}, NO_OPTION.format("__Filter__", " Did you mean `__filter__`?")),
    ({"refunds": {"_filter_": "id == 'b'"}}, NO_OPTION.format("_filter_", " Did you mean `__filter__`?")),
    ({"refunds": {"__where__": "id == 'b'"}}, NO_OPTION.format("__where__", "")),
    ({"refunds": {"filter": "id == 'b'"}}, NO_OPTION.format("filter", " Did you mean `__filter__`?")),
    ({"refunds": {"_Alias": "'refunds'"}}, NO_OPTION.format("_Alias", " Did you mean `__alias__`?")),
    ({"refunds": {"__else__": "x"}}, "`stream_maps.refunds.__else__` must be __NULL__."),
    ({"refunds": {"__else__": ["x"]}}, "`stream_maps.refunds.__else__` must be __NULL__."),
    ({"refunds": {"__filter__": True}}, f"{EXPRESSION.format('__filter__', FILTER)}."),
    ({"refunds": {"__filter__": ""}}, f"{EXPRESSION.format('__filter__', FILTER)}."),
    ({"refunds": {"__filter__": None}}, f"{EXPRESSION.format('__filter__', FILTER)}."),
    ({"refunds": {"__filter__": "id = 'b'"}}, f"{EXPRESSION.format('__filter__', FILTER)}."),
    ({"refunds": {"id": ["x"]}}, f"{EXPRESSION.format('id', FIELD)}."),
    ({"refunds": {"id": 5}}, f"{EXPRESSION.format('id', FIELD)}."),
    ({"refunds": {"id": "a; b"}}, f"{EXPRESSION.format('id', FIELD)}."),
    ({"refunds": {"id": "x = 1"}}, f"{EXPRESSION.format('id', FIELD)}."),
    ({"refunds": {"id": "((("}}, f"{EXPRESSION.format('id', FIELD)} ('(' was never closed)."),
    *(
        ({"refunds": {"__alias__": alias}}, f"{STREAM.format('__alias__')} {KLAR_HAS}")
        for alias in (None, "", "transaction costs", "<one of these>", "refunds; x", "a = b", "[", "\0")
    ),
    ({"refunds": {"__source__": ["rows"]}}, STREAM.format("__source__")),
    (
        {"refunds": {"__source__": "rows", "__alias__": "refunds"}},
        "`stream_maps.refunds` must have __alias__ or __source__, not both.",
    ),
    ({"refunds": {"__key_properties__": "id"}}, "`stream_maps.refunds.__key_properties__` must be a list of names."),
    ({"refunds": {"__key_properties__": [1]}}, "`stream_maps.refunds.__key_properties__` must be a list of names."),
]


@pytest.mark.parametrize(("maps", "told"), WRONG, ids=[json.dumps(maps) for maps, _ in WRONG])
def test_a_map_that_the_sdk_could_not_use_or_would_misunderstand_is_refused_in_one_line(maps: Any, told: str) -> None:
    assert list(map_mistakes(maps)) == [told]


@pytest.mark.parametrize("maps", [{"refunds": {"__filtr__": "id == 'b'"}}, {"refunds": {"__else__": "x"}}])
def test_a_run_with_a_wrong_map_reads_and_loads_nothing(maps: Any, klar: Sandbox) -> None:
    ended = run(klar, LINES, stream_maps=maps)
    assert (ended.code, ended.out, len(ended.errors), klar.requests) == (1, "", 1, [])
    assert ended.errors == list(map_mistakes(maps))
    assert "Traceback" not in ended.err


def test_every_option_that_the_sdk_has_passes() -> None:
    of_sdk = TargetKlar.config_jsonschema["properties"]["stream_maps"]["additionalProperties"]["anyOf"][2]["properties"]
    assert set(_OF_A_MAP) == of_sdk.keys()
    maps = {
        "rows": {
            "__alias__": "refunds",
            "__filter__": "bool(id)",
            "__key_properties__": ["id"],
            "__else__": "__NULL__",
        },
        **{f"rows{number}": {"__alias__": alias} for number, alias in enumerate(["shop-de", " refunds ", "'a b'"])},
        "refunds": {"__source__": "*_refunds", "__key_properties__": None, "__else__": None},
        "junk_*": "__NULL__",
        "more": None,
        "costs": {"id": "str(id)", "note": None, "_source": "__NULL__", "filter": None, "_sdc_deleted_at": "None"},
        "__else__": "__NULL__",
    }
    assert list(map_mistakes(maps)) == []


@pytest.mark.parametrize(
    ("maps", "told"),
    [
        ({"refunds": {"__alias__": "5"}}, "The stream map of refunds has an `__alias__` that is not a name."),
        ({"refunds": {"__alias__": "[]"}}, "The stream map of refunds has an `__alias__` that is not a name."),
        ({"refunds": {"__alias__": "1/0"}}, "The stream map of refunds cannot be used (ZeroDivisionError: "),
        ({"refunds": {"__key_properties__": ["no"]}}, "The stream map of refunds cannot be used (StreamMapConfigError"),
    ],
)
def test_what_is_seen_only_at_a_schema_is_one_line_too(maps: Any, told: str, klar: Sandbox) -> None:
    ended = run(klar, LINES, stream_maps=maps)
    assert (ended.code, ended.out, len(ended.errors), klar.posts()) == (1, "", 1, [])
    assert ended.errors[0].startswith(told)
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("keys", "of_map", "told"),
    [
        (["return_id"], {"id": "return_id", "__else__": None}, '"__key_properties__": ["id"]'),
        (["return_id"], {"id": "return_id", "return_id": None}, '"__key_properties__": ["id"]'),
        (["return_id"], {"__else__": None}, '"id": "return_id", "__key_properties__": ["id"]'),
        (["Return No"], {"__else__": None}, '"id": "record[\'Return No\']", "__key_properties__": ["id"]'),
        (["id"], {"id": None}, '"id": "id"'),
        (["shop", "no"], {"id": "no", "__else__": None}, '"__key_properties__": ["id"]'),
        (["shop", "no"], {"__else__": None}, ""),
    ],
)
def test_a_map_that_drops_the_taps_key_is_told_with_what_to_add(
    keys: list[str], of_map: dict[str, Any], told: str, klar: Sandbox
) -> None:
    row = dict.fromkeys(keys, "7") | {"createdAt": 1_777_887_000, "lineItems": []}
    lines = [
        {
            "type": "SCHEMA",
            "stream": "returns",
            "schema": {"properties": {name: {} for name in row}},
            "key_properties": keys,
        }
    ]
    lines += [record("returns", **row), state(1)]
    fields = {"createdAt": "createdAt", "lineItems": "lineItems", "__alias__": "refunds"}
    ended = run(klar, lines, stream_maps={"returns": fields | of_map})

    lost = ", ".join(keys)
    add = (
        f"Add to the map {told}." if told else "Set Klar's key in it, and `__key_properties__` to a list with its name."
    )
    assert (ended.code, ended.out, klar.posts()) == (1, "", [])
    assert ended.errors == [
        f"The stream map of returns drops {lost}, the tap's key, and a map has to have one. {add} No STATE was written."
    ]
    if '"id"' in told:  # what it says is enough
        again = run(klar, lines, stream_maps={"returns": fields | of_map | json.loads(f"{{{told}}}")})
        assert (again.code, again.states, [*klar.refunds]) == (0, [1], ["7"]), again.err


def test_a_map_that_keeps_the_taps_key_or_names_another_passes() -> None:
    maps: list[dict[str, Any]] = [
        {},
        {"__else__": None, "return_id": "return_id"},
        {"__else__": None, "__key_properties__": []},
    ]
    for of_map in maps:
        target = TargetKlar(config={"api_token": "t", "stream_maps": {"refunds": {"id": "return_id"} | of_map}})
        message = schema("refunds", "return_id")
        target._process_schema_message(message | {LINE: line(message)})
        unplug(target.dispatcher)
        assert [route.name for route in target.source_streams["refunds"].routes] == ["refunds"]


@pytest.mark.parametrize("expression", ["sum(amounts)", "bool(id) and any(x for x in y)", "id if id else len(rows)"])
def test_a_function_that_maps_do_not_have_stops_the_run_at_its_start_with_those_they_have(expression: str) -> None:
    name = re.search(r"(sum|any|len)\(", expression)
    assert name
    for field in ("lineItems", "__filter__"):
        (told,) = map_mistakes({"refunds": {field: expression}})
        assert told == (
            f"`stream_maps.refunds.{field}` calls {name[1]}(), which stream maps do not have. The functions are bool, "
            "dict, float, int, list, md5, rand, randint, set, sha256, str, tuple, and those of datetime and json."
        )


def test_every_function_that_the_sdk_has_passes_and_so_do_methods() -> None:
    mapper = PluginMapper({"stream_maps": {"refunds": {"id": "str(id)"}}}, logging.getLogger("maps"))
    mapper.register_raw_stream_schema("refunds", {"properties": {}}, [])
    (of_sdk,) = mapper.stream_maps["refunds"]
    assert isinstance(of_sdk, CustomStreamMap)
    assert set(of_sdk.expr_evaluator.functions) == FUNCTIONS | MODULES
    calls = [f"{name}(id)" for name in FUNCTIONS] + [
        "json.loads(id)",
        "id.split('/')[0]",
        "record.get('id')",
        "datetime.datetime.fromisoformat(id).date()",
        "datetime.split(' ')[0]",  # a column may be called so
        "[fake.name for fake in lines]",
        "record['fake']",
        "config['rate'] + config.rate",
        "config.get('other') or ('more' in config and config['more'])",
    ]
    config = {"rate": 2}
    assert list(map_mistakes({"refunds": {f"f{at}": call for at, call in enumerate(calls)}}, config)) == []


HAS_NO = "which stream maps do not have. If `{}` is a column, write record['{}']."


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("datetime.now()", f"uses datetime.now, {HAS_NO.format('datetime', 'datetime')}"),
        ("datetime.datetime.today2() or id", f"uses datetime.datetime.today2, {HAS_NO.format('datetime', 'datetime')}"),
        ("[json.parse(line) for line in lines]", f"uses json.parse, {HAS_NO.format('json', 'json')}"),
        ("config['rat'] * 2", "reads `rat` of config, which `stream_map_config` does not have. Did you mean `rate`?"),
        ("config.shop", "reads `shop` of config, which `stream_map_config` does not have."),
        ("'{}'.format(id)", "uses .format, which stream maps do not allow."),
        ("record._id", "uses ._id, which stream maps do not allow. A column is record['_id']."),
    ],
)
@pytest.mark.parametrize("field", ["id", "__filter__"])
def test_a_name_that_cannot_work_whatever_a_record_holds_stops_the_run_at_its_start(
    field: str, expression: str, told: str
) -> None:
    maps = {"refunds": {field: expression}}
    assert list(map_mistakes(maps, {"rate": 2})) == [f"`stream_maps.refunds.{field}` {told}"]


ALWAYS = (
    "is true whatever a record holds, so it drops nothing. Leave it out, or ask for a column, which has no quotes "
    "around it."
)


@pytest.mark.parametrize(
    "text",
    [
        "'status'",
        "bool('lines')",
        "True or status == 'paid'",
        "status or 'unknown'",
        "status == 'paid',",
        "[status == 'paid']",
        "'yes' if paid else 'no'",
        "not (status and None)",
        "not 0",
        "1 == 1",
        "'status' != 'failed'",
        "'status' not in ('failed', 'open')",
        "1 and 'a' or status",
        "bool(" * 90 + "1" + ")" * 90,
    ],
)
def test_a_filter_that_is_true_whatever_a_record_holds_stops_the_run_at_its_start(text: str) -> None:
    assert list(map_mistakes({"refunds": {"__filter__": text}})) == [f"`stream_maps.refunds.__filter__` {ALWAYS}"]
    assert list(map_mistakes({"refunds": {"note": text}})) == []


BESIDE = "has {} beside `{}`, which alone is true whatever a record holds. {}."
PART = "asks for any part of the text {0}. Write ({0},) for the text itself, or leave the parentheses out: `{1}`."


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("x == 'a' or 'b'", BESIDE.format("'b'", "x == 'a'", "Write `x in ('a', 'b')`")),
        ("y or x == 'a' or 'b' or 'c'", BESIDE.format("'b', 'c'", "x == 'a'", "Write `x in ('a', 'b', 'c')`")),
        ("y and (x != 1 and 2)", BESIDE.format("2", "x != 1", "Write `x not in (1, 2)`")),
        ("x > 5 or 'b'", BESIDE.format("'b'", "x > 5", "Compare each with its column")),
        ("x in ('a')", PART.format("'a'", "x in 'a'")),
        ("x.lower() not in (\n'\u00e4')", PART.format("'\u00e4'", "x.lower() not in '\u00e4'")),
    ],
)
def test_a_condition_that_cannot_mean_what_it_says_stops_the_run_at_its_start(condition: str, told: str) -> None:
    for field, text in (
        ("__filter__", condition),
        ("__filter__", f"bool({condition})"),
        ("note", f"1 if {condition} else 2"),
        ("note", f"[x for x in y if ({condition})]"),
        ("note", f"not ({condition})"),
        ("note", f"bool({condition})"),
    ):
        assert list(map_mistakes({"refunds": {field: text}})) == [f"`stream_maps.refunds.{field}` {told}"]


@pytest.mark.parametrize("field", ["__filter__", "note"])
@pytest.mark.parametrize(
    "text",
    [
        "True",
        "status in ('paid', 'captured')",
        "status in ('paid',)",
        "size in 'SML'",
        "bool(size in 'SML')",
        "'@' in email",
        "'@' in (email)",
        "status == 'paid' or captured",
        "status == (name or 'unknown')",
        "name and 'unknown'",
        "status == 'paid' or ''",
        "status == 'paid' or True and paid",
        "'yes' if paid else None",
        "bool(lines or record.get('_sdc_deleted_at'))",
        "config['all'] or status == 'paid'",
        "[*lines]",
        "not " * 290 + "id",
    ],
)
def test_a_condition_that_depends_on_the_record_passes(field: str, text: str) -> None:
    assert list(map_mistakes({"refunds": {field: text}}, {"all": 1})) == []


SAME = "has `{}`, which is {} whatever a record holds. {}."


@pytest.mark.parametrize(
    ("part", "outcome", "advice"),
    [
        ("x != 'a' or x != 'b'", "true", "Write `x not in ('a', 'b')`"),
        ("x == 'a' and x == 'b'", "false", "Write `x in ('a', 'b')`"),
        ("not x == 1 or not x == 2", "true", "Write `x not in (1, 2)`"),
        ("x is not None or x != ''", "true", "Write `x not in (None, '')`"),
        ("x and x == ''", "false", "Correct it, or leave it out"),
        ("x in ('a', 'b') and x == 'c'", "false", "Correct it, or leave it out"),
        ("x == 'a' or y > 5 or x != 'a'", "true", "Correct it, or leave it out"),
        ("paid < 5 or not paid < 5", "true", "Correct it, or leave it out"),
        ("x not in []", "true", "Correct it, or leave it out"),
        ("(x or y) != 'a' or (x or y) != 'b'", "true", "Write `(x or y) not in ('a', 'b')`"),
        ("x is not 'a'", "true", "Write `x != 'a'`"),
        ("x is 1", "false", "Write `x == 1`"),
        ("x.upper() != 'failed'", "true", "`x.upper()` is never 'failed'. Write 'FAILED'"),
        ("x.strip().lower() in ('Paid', 'OK')", "false", "`x.strip().lower()` is never 'Paid'. Write 'paid'"),
        ("x[:4] != 'failed'", "true", "`x[:4]` is never 'failed'. Write 'fail'"),
        ("x[-2:] == 'abc'", "false", "`x[-2:]` is never 'abc'. Write 'bc'"),
    ],
)
def test_a_condition_that_no_record_can_change_stops_the_run_at_its_start(part: str, outcome: str, advice: str) -> None:
    for field, text in (
        ("__filter__", part),
        ("__filter__", f"z and ({part})"),
        ("__filter__", f"bool({part}) or z == 1"),
        ("note", f"1 if {part} else 2"),
        ("note", f"[z for z in y if ({part})]"),
        ("note", f"not ({part})"),
    ):
        told = f"`stream_maps.refunds.{field}` {SAME.format(part, outcome, advice)}"
        assert list(map_mistakes({"refunds": {field: text}})) == [told]
    assert list(map_mistakes({"refunds": {"note": part}})) == []  # as a value it may be meant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{'status': 'paid'}", ALWAYS),
        ("[status] != 'failed'", ALWAYS),
        ("status and None", ALWAYS.replace("true", "false").replace(", so it drops nothing", "")),
        ("0", ALWAYS.replace("true", "false").replace(", so it drops nothing", "")),
        (
            "x not in ['a' 'b', 'c']",
            "has 'a' 'b' in `x not in ['ab', 'c']`, which Python reads as one text. Write 'a', 'b'.",
        ),
    ],
)
def test_a_filter_whose_form_decides_stops_the_run_at_its_start(text: str, told: str) -> None:
    assert list(map_mistakes({"refunds": {"__filter__": text}})) == [f"`stream_maps.refunds.__filter__` {told}"]


@pytest.mark.parametrize("field", ["__filter__", "note"])
@pytest.mark.parametrize(
    "condition",
    [
        "False",
        "x != 'a' or y != 'b'",
        "x != 'a' and x != 'b'",
        "x is None or x == ''",
        "x not in ('a', None) and x",
        "not x and x is not None and x != ''",
        "(x or 'a') == 'a'",
        "x is True or x is False",
        "x == 1 or x == '1'",
        "x.lower() in ('paid', 'PAID')",
        "x[-4:] == 'ab'",
        "x[1:] != 'b'",
        "x == (y or 'a')",
        "x != y or x == 'a'",
        "[x] == ['a']",
        "[l for l in lines if l]",
        "x != 'a\\'b'",
        "x in ('''a''', 'b')",
        "a if x == 'a' else b != 'b'",
        " and ".join(f"a{at} not in {tuple(range(9))}" for at in range(9)),
        "(a and (b or " * 70 + "c" + "))" * 70,
        "(x == 'a') == " * 290 + "True",
    ],
)
def test_a_condition_that_a_record_can_change_passes(field: str, condition: str) -> None:
    text = condition if field == "__filter__" else f"[z for z in y if ({condition})]"
    assert list(map_mistakes({"refunds": {field: text}})) == []


def test_a_value_with_a_default_is_no_condition() -> None:
    values = [
        "name or 'unknown'",
        "status == 'paid' and 'a' or 'b'",
        "[x or 'a' for x in y]",
        "z if y else x == 1 or 2",
    ]
    assert list(map_mistakes({"refunds": {f"f{at}": text for at, text in enumerate(values)}})) == []


CHANGES = (
    "makes Klar's key of the clock or by chance, `{}`: a record that is read again would be another one, which stays "
    "beside the first. Read the key from columns."
)
OF_NONE = "makes Klar's key of no column, so that each record would replace the one before it. Read it from one."


@pytest.mark.parametrize(
    ("field", "expression", "told"),
    [
        ("id", "str(datetime.datetime.now())", CHANGES.format("datetime.datetime.now")),
        ("Id", "str(nr) + datetime.date.today().isoformat()", CHANGES.format("datetime.date.today")),
        ("id", "datetime.datetime.utcnow().timestamp() if nr else nr", CHANGES.format("datetime.datetime.utcnow")),
        ("id", "randint(1000000000)", CHANGES.format("randint(1000000000)")),
        ("id", "md5(str(nr) + str(rand()))", CHANGES.format("rand()")),
        ("id", "'R-1'", OF_NONE),
        ("id", "config['rate']", OF_NONE),
        ("id", "__stream_name__ + str(1)", OF_NONE),
    ],
)
def test_a_key_that_is_made_of_no_column_or_changes_with_each_run_stops_the_run_at_its_start(
    field: str, expression: str, told: str
) -> None:
    for stream, options in (("refunds", {}), ("returns", {"__alias__": "refunds"}), ("re*", {})):
        entry = {field: expression} | options
        mistakes = list(map_mistakes({stream: entry}, {"rate": 2}))
        assert mistakes == [f"`stream_maps.{stream}.{field}` {told}"]


@pytest.mark.parametrize(
    ("stream", "field", "expression"),
    [
        ("refunds", "id", "str(nr) + created_at"),
        ("refunds", "id", "record['nr']"),
        ("refunds", "id", "self"),
        ("refunds", "id", "md5(str(_))"),
        ("refunds", "id", "datetime.datetime.fromisoformat(created_at).isoformat()"),
        ("refunds", "id", "record.get('now') or now"),
        ("refunds", "updatedAt", "str(datetime.datetime.now())"),
        ("refunds", "note", "str(randint(9))"),
        ("cogs", "sku", "'ALL'"),
        ("transaction_costs", "id", "str(randint(9))"),
    ],
)
def test_a_key_of_columns_and_a_field_that_is_no_key_pass(stream: str, field: str, expression: str) -> None:
    assert list(map_mistakes({stream: {field: expression}})) == []


FAKED = {"refunds": {"note": "fake.name() + fake.name()"}}
INSTALL = (
    "`stream_maps.refunds.note` uses fake, for which the package faker has to be installed in target-klar's "
    "environment (`pip install faker`). If `fake` is a column, write record['fake']."
)


@pytest.mark.parametrize("options", [[], ["--preview"], ["--check"]], ids=str)
def test_a_map_with_fake_stops_the_run_at_its_start_where_faker_is_not_installed(
    options: list[str], klar: Sandbox
) -> None:
    ended = run(klar, LINES, *options, stream_maps=FAKED)
    assert (ended.code, ended.out, ended.errors, klar.requests) == (1, "", [INSTALL], [])


def test_a_map_with_fake_works_where_faker_is_installed(klar: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "faker.py").write_text(
        "class Faker:\n    def name(self):\n        return 'Anna'\n    def seed_instance(self, _):\n        pass\n"
    )
    maps = {"refunds": {"id": "fake.seed_instance(id) or fake.name()"}}
    ended = program.run(klar, LINES, env={"PYTHONPATH": str(tmp_path)}, stream_maps=maps)
    assert (ended.code, ended.states, [*klar.refunds]) == (0, [1], ["Anna"]), ended.err


NAMES = st.sampled_from([*_OF_A_MAP, "__filtr__", "refunds", "rows", "*", "id"]) | st.text(max_size=5)
EXPRESSIONS = st.sampled_from(["id", "__NULL__", "'refunds'", "f'{id}'", "record", "1", "[]", "(", "x = 1", ""])
VALUES = st.none() | st.booleans() | st.integers() | EXPRESSIONS | st.text(max_size=5) | st.lists(EXPRESSIONS)
MAPS = st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES, max_size=4), max_size=3)


@given(VALUES | MAPS)
@settings(max_examples=size(100, 3_000), derandomize=True, deadline=None, database=None)
def test_no_map_is_a_traceback_and_no_map_that_passes_holds_an_unknown_option(maps: Any) -> None:
    try:
        target = TargetKlar(config={"api_token": "t", "stream_maps": maps})
    except ConfigValidationError:
        assert all(text.isprintable() for text in map_mistakes(maps))
        return
    try:
        target._process_schema_message(REFUNDS_SCHEMA | {LINE: line(REFUNDS_SCHEMA)})
    except (StreamMapConfigError, FatalSyncError):
        pass
    finally:
        unplug(target.dispatcher)
    # Text that spells the maps as JSON is read as them.
    for entry in ((json.loads(maps) if isinstance(maps, str) else maps) or {}).values():
        assert not isinstance(entry, dict) or {name for name in entry if name.startswith("__")} <= {*_OF_A_MAP}


# Maps that meet no stream


def warned(klar: Sandbox, lines: list[Any], **maps: Any) -> list[str]:
    ended = run(klar, lines, stream_maps=maps)
    assert ended.code == 0, ended.err
    return [text.split("|", 3)[3].strip() for text in ended.said("WARNING") if "map" in text]


def test_a_map_whose_stream_never_came_is_named_at_once_and_at_the_end(klar: Sandbox) -> None:
    assert warned(klar, [REFUNDS_SCHEMA, *LINES], refund={MAPPER_FILTER_OPTION: "id == 'b'"}, junk="__NULL__") == [
        "refunds has no stream map. If the map of refund is meant for it, rename the map.",
        "`stream_maps` has maps for streams that did not come: refund (did you mean refunds?), junk. Check the names.",
    ]


LONG = "public-shop_production_westeurope_order_refunds"


@pytest.mark.parametrize("name", [LONG, LONG + "\u2028\x1b[2J"])
def test_the_map_for_an_unknown_stream_can_be_pasted_however_long_its_name_is(klar: Sandbox, name: str) -> None:
    lines = [schema(name, createdAt={}, lineItems={}), refund_record("a") | {"stream": name}, state(1)]
    (error,) = run(klar, lines).errors
    assert error.isprintable()
    settings, _ = json.JSONDecoder().raw_decode(error[error.index("{") :])
    assert settings == {"stream_maps": {name: {"__alias__": "refunds"}}}
    assert (run(klar, lines, **settings).code, set(klar.refunds)) == (0, {"a"})


def test_two_long_names_are_shown_from_where_they_differ(klar: Sandbox) -> None:
    lines = [schema(LONG, createdAt={}, lineItems={})]
    maps: dict[str, Any] = {LONG[:-1]: {"__alias__": "refunds"}, "*": {"__alias__": "refunds"}}
    assert warned(klar, lines, **maps)[-1] == (
        "`stream_maps` has maps for streams that did not come: ...order_refund (did you mean ...order_refunds?). "
        "Check the names."
    )
    said = run(klar, lines, stream_maps={LONG[:-1]: {"__alias__": "refunds"}}).warnings[0]
    assert said.startswith("...order_refunds has no stream map. If the map of ...order_refund is meant for it")


@pytest.mark.parametrize(
    ("maps", "told"),
    [
        ({"refunds": {}, "versand": {"__alias__": "logistics_costs"}, "refund": {}}, None),
        ({"ref*": {}, "refund": {}}, None),
        ({"versand": {"__alias__": "logistics_costs"}}, None),
        ({"versand": {"__alias__": "logistics_costs"}, "refund": {}}, "refund (did you mean refunds?)"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--preview",)], ids=["a load", "a preview"])
def test_of_one_stream_by_its_option_a_map_of_another_is_named_only_where_it_may_be_misspelled(
    klar: Sandbox, maps: dict[str, Any], told: str | None, options: tuple[str, ...]
) -> None:
    ended = run(klar, [refund_record("a")["record"]], "--stream", "refunds", *options, stream_maps=maps)
    said = re.findall(r"`stream_maps` has maps for streams that did not come: (.*?)\.", ended.out + ended.err)
    assert (ended.code, said) == (0, [told] if told else []), ended.err


def test_maps_that_meet_their_stream_by_name_pattern_or_source_are_not_warned_of(klar: Sandbox) -> None:
    rows = [schema("rows"), record("rows", **refund_record("a")["record"]), schema("junk_1"), schema("junk_2")]
    maps = {"refunds": {"__source__": "row?"}, "junk_*": "__NULL__", "rows": "__NULL__", "__else__": "__NULL__"}
    assert warned(klar, rows, **maps) == []
    assert klar.refunds.keys() == {"a"}


def test_a_stream_beside_one_of_nearly_its_name_that_has_a_map_and_came_is_not_warned_of(klar: Sandbox) -> None:
    lines = [schema("refund"), record("refund", **refund_record("a")["record"]), *LINES]
    assert warned(klar, lines, refund={"__alias__": "refunds"}) == []


def test_an_input_with_a_state_and_no_stream_is_said(klar: Sandbox) -> None:
    ended = run(klar, [state({"currently_syncing": None})])
    assert (ended.code, ended.states) == (0, [{"currently_syncing": None}])
    assert ended.said("The input has a STATE and no stream, so nothing was loaded.")


@pytest.mark.parametrize("lines", [[], ["", "  "]])
def test_an_input_without_a_message_is_said(lines: list[Any], klar: Sandbox) -> None:
    ended = run(klar, lines)
    assert (ended.code, ended.out) == (0, "")
    assert ended.warnings == ["The input has no Singer message, so nothing was loaded. Check what writes it."]


def test_an_input_with_a_stream_and_no_record_is_not_warned_of(klar: Sandbox) -> None:
    assert run(klar, [COSTS_SCHEMA, state(1)]).said("WARNING") == []


ALL_DROPPED = (
    "`stream_maps` drops every stream that came ({}), so nothing was loaded. Check its maps of those streams and its "
    "`__else__`."
)


@pytest.mark.parametrize(
    "maps",
    [
        {"__else__": None},
        {"refunds": "__NULL__", "transaction_costs": None},
        {"*": None},
        {"*": None, "__else__": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("validate_only", [False, True])
def test_a_run_of_which_stream_maps_drop_every_stream_is_warned_of(
    klar: Sandbox, maps: dict[str, Any], *, validate_only: bool
) -> None:
    lines = [REFUNDS_SCHEMA, COSTS_SCHEMA, refund_record("a"), state(1)]
    ended = run(klar, lines, stream_maps=maps, validate_only=validate_only)
    assert (ended.code, ended.states, klar.posts()) == (0, [] if validate_only else [1], [])
    assert ended.warnings == [ALL_DROPPED.format("refunds, transaction_costs")]


def test_plain_json_lines_that_stream_maps_drop_are_warned_of(klar: Sandbox) -> None:
    ended = run(klar, [refund_record("a")["record"]], "--stream", "refunds", stream_maps={"__else__": None})
    assert (ended.code, ended.out, klar.posts()) == (0, "", [])
    assert ended.warnings == [ALL_DROPPED.format("refunds")]


@pytest.mark.parametrize(
    ("lines", "maps"),
    [
        ([REFUNDS_SCHEMA, COSTS_SCHEMA, refund_record("a"), state(1)], {"refunds": None}),  # no costs today
        ([REFUNDS_SCHEMA, state(1)], {"refunds": None}),
        ([REFUNDS_SCHEMA, refund_record("a"), state(1)], {"refunds": None, "cogs": {"__source__": "refunds"}}),
    ],
    ids=["another-stream-without-records", "no-records", "read-by-another-map"],
)
def test_a_run_in_which_a_stream_is_kept_or_no_record_comes_is_not_said_to_drop_all(
    klar: Sandbox, lines: list[Any], maps: dict[str, Any]
) -> None:
    assert not run(klar, lines, stream_maps=maps).said("drops every stream")


DEEP = {
    "terms of a sum": lambda levels: "+".join(["1"] * levels),
    "choices": lambda levels: "1 if id else " * levels + "2",
    "negations": lambda levels: "not " * levels + "id",
    "attributes": lambda levels: "id" + ".real" * levels,
    "texts": lambda levels: "+".join(["id"] * levels) + ".upper()",
}


@pytest.mark.parametrize("levels", [305, 900, 100_000])
@pytest.mark.parametrize("nested", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("name", ["note", "__filter__"])
def test_an_expression_nested_too_deep_stops_the_run_in_one_line(
    klar: Sandbox, name: str, nested: Callable[[int], str], levels: int
) -> None:
    ended = run(klar, LINES, stream_maps={"refunds": {name: nested(levels)}})
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1), ended.err[-500:]
    assert ended.errors[0].startswith(f"`stream_maps.refunds.{name}` must be one expression as text, ")
    assert ended.errors[0].endswith(" (nested deeper than 300 levels).")
    assert "Traceback" not in ended.err
    assert 'File "' not in ended.err


@pytest.mark.parametrize("options", [(), ("--preview",)], ids=["a load", "a preview"])
def test_an_expression_of_290_terms_can_be_used(klar: Sandbox, options: tuple[str, ...]) -> None:
    maps = {"refunds": {"id": f"str({'+'.join(['1'] * 290)}) + id[:0]", "__key_properties__": ["id"]}}
    ended = run(klar, LINES, *options, stream_maps=maps)
    assert (ended.code, ended.errors, set(klar.refunds)) == (0, [], set() if options else {"290"}), ended.err
    assert "1 rejected" not in ended.out
