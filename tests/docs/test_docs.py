"""What the documents say is what the program does.

README.md's shell commands run here, in a copy of the checkout, in their order there, in one shell. The first one
installs the copy into a virtual environment of its own, as it does for a newcomer:

- a `bash` block is a script; in a `console` block the lines after `$ ` are commands and the others are their
  output, where a line `...` stands for any lines and `...` inside a line for any text;
- `<!-- test command -->` right above a block marks the suite's own command, which is not run here;
- `<!-- not run: reason -->` right above a block says why it is left out;
- `<!-- in another terminal -->` right above a block keeps it running until the last block has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from importlib.metadata import metadata, version
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
import yaml
from forked import run
from invocation import invoke
from streams_page import page

import target_klar
from target_klar.contract.streams import CONTRACTS
from target_klar.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
KINDS = {
    "array": "array",
    "boolean": "boolean",
    "integer": "integer",
    "number": "decimal",
    "object": "object",
}


def read(name: str) -> str:
    path = ROOT / name
    if not path.is_file():
        pytest.fail(f"{name} is missing from the checkout; these tests hold it to the program.")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def about() -> dict[str, Any]:
    """What the program says of itself."""
    run = invoke("--about", "--format=json")
    assert run.code == 0, run.err
    answer: dict[str, Any] = json.loads(run.out)
    return answer


def settings_of(about: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the program's settings in the form in which Meltano writes settings down."""
    settings = []
    for name, schema in about["settings"]["properties"].items():
        types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        kind = next(one for one in types if one != "null")
        setting = {"name": name, "label": schema.get("title"), "description": schema.get("description")}
        # Meltano has two words for a secret's kind, `password` and `string`; `sensitive` is what hides it.
        setting |= {"sensitive": True} if schema.get("secret") else {"kind": KINDS.get(kind, "string")}
        setting |= {"value": schema["default"]} if "default" in schema else {}
        settings.append(setting)
    return settings


def loader_of(name: str) -> dict[str, Any]:
    """Give the definition of target-klar in a project file, or the definition that is the file."""
    document: dict[str, Any] = yaml.safe_load(read(name))
    if "plugins" not in document:
        return document
    loader: dict[str, Any] = next(one for one in document["plugins"]["loaders"] if one["name"] == "target-klar")
    return loader


def comparable(setting: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a writer of YAML is free in: line breaks inside a description, a secret's kind."""
    kept = {key: value for key, value in setting.items() if key != "kind" or not setting.get("sensitive")}
    return {key: " ".join(value.split()) if isinstance(value, str) else value for key, value in kept.items()}


WALK = "The way of a record, the way of a STATE"


def section(text: str, heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        pytest.fail(f'there is no section "## {heading}".')
    return found[1]


def rows(text: str) -> list[list[str]]:
    lines = [line.strip() for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]


@pytest.mark.parametrize("name", ["meltano.yml", "docs/target-klar.yml"])
def test_a_loader_definition_offers_exactly_the_settings_that_the_program_has(name: str, about: dict[str, Any]) -> None:
    offered = [comparable(setting) for setting in loader_of(name)["settings"]]

    expected = [comparable(setting) for setting in settings_of(about)]
    assert expected == offered, f"What {name} has to say:\n" + yaml.safe_dump(expected, sort_keys=False, width=1000)


@pytest.mark.parametrize("name", ["meltano.yml", "docs/target-klar.yml"])
def test_a_loader_definition_claims_exactly_the_capabilities_that_the_program_has(
    name: str, about: dict[str, Any]
) -> None:
    loader = loader_of(name)

    assert sorted(about["capabilities"]) == sorted(loader["capabilities"])
    assert [about["settings"]["required"]] == loader["settings_group_validation"]
    assert loader["executable"] == "target-klar"
    assert loader["namespace"] == "target_klar"


def test_every_setting_has_a_title_and_a_description(about: dict[str, Any]) -> None:
    silent = [one["name"] for one in settings_of(about) if not (one["label"] and one["description"])]

    assert silent == []


def test_the_readme_lists_every_setting_with_its_default_and_says_which_are_secret(
    about: dict[str, Any],
) -> None:
    expected = {}
    for name, schema in about["settings"]["properties"].items():
        default = schema.get("default")
        cell = "none" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        marks = ["required"] * (name in about["settings"]["required"]) + ["secret"] * bool(schema.get("secret"))
        expected[name] = ", ".join(marks) or cell

    listed = {}
    for first, default, *rest in rows(section(read("README.md"), "Settings")):
        names = re.findall(r"`(\w+)`", first)
        defaults = default.replace("`", "").split(" / ")
        for at, name in enumerate(names):
            listed[name] = (defaults[at] if len(defaults) == len(names) else default.replace("`", "")) or "none"
            assert any(rest), f"README.md's table says nothing of {name}"

    assert expected == listed


def test_the_changelogs_top_version_is_the_packages() -> None:
    versions = re.findall(r"^## \[?(\d[^\]\s]*)", read("CHANGELOG.md"), re.MULTILINE)

    assert versions[:1] == [version("target-klar")]


def test_the_readme_names_the_pythons_that_the_package_names() -> None:
    classifiers = metadata("target-klar").get_all("Classifier") or []
    pythons = re.findall(r"Python :: (3\.\d+)", "\n".join(classifiers))
    named = re.findall(r"Python (3\.\d+) to (3\.\d+)\.", section(read("README.md"), "Install"))

    assert named == [(pythons[0], pythons[-1])]


def test_contributing_names_every_module_and_folder_of_the_package_and_nothing_else() -> None:
    package = Path(target_klar.__file__).parent
    modules = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if path.name != "__init__.py"}
    listed = {
        name.removeprefix("target_klar/")
        for first, *_ in rows(section(read(".github/CONTRIBUTING.md"), WALK))
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", first)
    }
    folders = tuple(name for name in listed if name.endswith("/"))

    assert {name for name in modules if not name.startswith(folders)} == listed - set(folders), (
        "left: modules that no row of the table names; right: rows without a module"
    )
    assert [name for name in folders if not (package / name).is_dir()] == []


def test_every_name_in_the_walk_is_one_of_the_package() -> None:
    walk = section(read(".github/CONTRIBUTING.md"), WALK)
    named = {name for name in re.findall(r"`(\w+\.\w+)`", walk) if not name.endswith(".py")}
    modules = [import_module(each.name) for each in walk_packages(target_klar.__path__, "target_klar.")]
    known: dict[str, object] = {module.__name__.rpartition(".")[2]: module for module in modules}
    known |= {name: held for module in modules for name, held in vars(module).items() if isinstance(held, type)}

    assert len(named) > 25
    assert {name for name in named if not hasattr(known.get(name.partition(".")[0]), name.partition(".")[2])} == set()


def test_the_readme_stays_short() -> None:
    assert len(read("README.md").splitlines()) <= 200


def test_the_page_of_the_streams_is_what_the_contract_says() -> None:
    assert read("docs/streams.md") == page(), "python tests/support/streams_page.py > docs/streams.md"


def test_the_readme_names_what_each_stream_requires() -> None:
    told = {first.strip("`"): " ".join(rest) for first, *rest in rows(section(read("README.md"), "Streams"))[2:]}

    assert list(told) == list(CONTRACTS)
    for stream, contract in CONTRACTS.items():
        wanted = {contract.key, *contract.also_key, *contract.schema["required"]}
        assert wanted <= set(re.findall(r"`(\w+)`", told[stream])), stream


def test_the_tests_that_the_documents_name_are_there() -> None:
    """A file by its name or its path, a test by its whole name."""
    texts = [
        read("README.md"),
        read(".github/CONTRIBUTING.md"),
        *(path.read_text() for path in ROOT.glob("docs/**/*.md")),
    ]
    files = {place.as_posix() for place in (ROOT / "tests").rglob("test_*.py")}
    defined = "\n".join(Path(file).read_text() for file in files)
    named = [name for text in texts for name in re.findall(r"`?\b((?:[\w/]+/)?test_\w+(?:\.py)?)\b`?", text)]

    assert len(named) > 16
    assert [
        name for name in named if name.endswith(".py") and not any(file.endswith(f"/{name}") for file in files)
    ] == []
    assert [name for name in named if not name.endswith(".py") and f"def {name}(" not in defined] == []


def test_the_map_that_the_readme_shows_makes_what_it_shows() -> None:
    text = section(read("README.md"), "Map your tap")
    blocks = re.findall(r"^```json(l?)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    taps, klars = (block.splitlines() for kind, block in blocks if kind)
    (config,) = (block for kind, block in blocks if not kind)
    with Sandbox() as klar:
        ended = run(klar, taps, stream_maps=json.loads(config)["stream_maps"])
        held = [*klar.refunds.values(), *klar.transaction_costs.values()]

    assert (ended.code, ended.errors, ended.said("WARNING"), ended.states) == (0, [], [], [{"page": 1}])
    assert held == [json.loads(line, parse_float=Decimal) for line in klars]


@dataclass
class Block:
    """A fenced block of shell commands in README.md."""

    line: int
    note: str
    commands: str
    output: list[str]

    @property
    def runs(self) -> bool:
        return self.note != "test command" and not self.note.startswith("not run:")

    @property
    def stays(self) -> bool:
        return self.note == "in another terminal"

    def shown(self, printed: str) -> bool:
        """Tell whether the block's output, with its ellipses, is what was printed; none stands for any."""
        any_lines = r"(?:.*\n)?"
        pattern = "".join(
            any_lines if line == "..." else re.escape(line).replace(r"\.\.\.", r"[^\n]*") + r"\n"
            for line in self.output
        )
        lines = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
        return not self.output or bool(re.fullmatch(pattern + (any_lines if self.stays else ""), lines, re.DOTALL))


def shell_blocks(text: str) -> list[Block]:
    blocks = []
    fence = re.compile(
        r"^(?:<!-- (?P<note>.+?) -->\n+)?```(?P<kind>bash|console|sh)\n(?P<body>.*?)^```$",
        re.MULTILINE | re.DOTALL,
    )
    for found in fence.finditer(text):
        commands, output, continued = [], [], False
        for line in found["body"].splitlines():
            if found["kind"] != "console" or continued or line.startswith("$ "):
                commands.append(line.removeprefix("$ ") if found["kind"] == "console" else line)
                continued = line.endswith("\\")
            else:
                output.append(line.rstrip())
        start = text.count("\n", 0, found.start("kind")) + 1
        blocks.append(Block(start, found["note"] or "", "\n".join(commands), output))
    return blocks


def test_the_readme_has_one_test_command_of_one_line_and_gives_a_reason_for_what_is_not_run() -> None:
    blocks = shell_blocks(read("README.md"))
    test_commands = [block.commands for block in blocks if block.note == "test command"]

    assert len(test_commands) == 1
    assert re.fullmatch(r"[^$\n].* -m pytest", test_commands[0]), (
        "a `bash` block of one line without a prompt: .ci/run runs it as it stands"
    )
    known = re.compile(r"|test command|in another terminal|not run: .{10,}")
    assert [block.note for block in blocks if not known.fullmatch(block.note)] == []


@pytest.mark.slow
def test_the_readmes_commands_do_what_it_shows(tmp_path: Path) -> None:
    blocks = [block for block in shell_blocks(read("README.md")) if block.runs]
    assert blocks, "README.md has no command that runs here"
    checkout = tmp_path / "target-klar"
    leave = shutil.ignore_patterns(
        ".git", ".venv*", ".*cache", "__pycache__", ".hypothesis", ".meltano", "dist", "build"
    )
    shutil.copytree(ROOT, checkout, ignore=leave)

    script = ["set -euo pipefail"]
    for number, block in enumerate(blocks):
        log = tmp_path / f"{number}.log"
        if block.stays:
            wait = f"for _ in $(seq 300); do [ -s {log} ] && break; sleep 0.1; done; [ -s {log} ]"
            script += [f"( {block.commands}\n) > {log} 2>&1 &", wait]
        else:
            script += [f"exec > {log} 2>&1", block.commands]

    foreign = ("TARGET_KLAR_", "MELTANO_", "PYTHON")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    clean |= {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    clean |= {"PIP_COMPILE": "0"}  # most of what pip would compile is never imported here
    shell = subprocess.Popen(
        ["bash", "-c", "\n".join(script)],
        cwd=checkout,
        env=clean,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = shell.wait(timeout=600)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)

    printed = [
        path.read_text(encoding="utf-8")
        for path in (tmp_path / f"{n}.log" for n in range(len(blocks)))
        if path.exists()
    ]
    reached = blocks[len(printed) - 1]
    assert code == 0, f"README.md, block at line {reached.line}, ended with {code}:\n{printed[-1]}"
    for block, output in zip(blocks, printed, strict=True):
        shown = "\n".join(block.output)
        assert block.shown(output), f"README.md, line {block.line}, shows\n{shown}\n\nand what is printed is\n{output}"
