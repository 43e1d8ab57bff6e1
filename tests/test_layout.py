"""The package keeps its shape: who may import whom, how long a file may be, how it is named."""

from __future__ import annotations

import ast
import re
import sys
from graphlib import TopologicalSorter
from importlib.metadata import files, requires
from pathlib import Path

import target_klar

PACKAGE = Path(target_klar.__file__).parent
FILES = {file.relative_to(PACKAGE).with_suffix("").as_posix(): file for file in sorted(PACKAGE.rglob("*.py"))}
OURS = {name: file for name, file in FILES.items() if not name.startswith("sandbox")}
SANDBOX = {name: file for name, file in FILES.items() if name.startswith("sandbox")}
SINGER = {"__main__", "command", "run", "target", "sinks", "settings", "environment", "stream_maps", "reader", "pipes"}
# The SDK hands every sink its target, so the sinks name the type of what makes them, and import nothing of it.
TYPE_ONLY = {("sinks", "target")}


def imports(name: str) -> set[str]:
    """The modules of the package that one of them imports, for types or at run time."""
    asked = {
        f"{node.module}.{alias.name}" if node.module == "target_klar" else node.module
        for node in ast.walk(ast.parse(FILES[name].read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    ours = {
        module.removeprefix("target_klar.").replace(".", "/") for module in asked if module.startswith("target_klar.")
    }
    return {f"{module}/__init__" if module == "sandbox" else module for module in ours}


GRAPH = {name: imports(name) for name in FILES}


def reach(name: str) -> set[str]:
    """Everything that a module imports, and what that imports."""
    seen: set[str] = set()
    left = [name]
    while left:
        found = GRAPH[left.pop()] - seen
        seen |= found
        left += found
    return seen


def test_imports_run_in_one_direction() -> None:
    graph = {name: {other for other in GRAPH[name] if (name, other) not in TYPE_ONLY} for name in GRAPH}
    assert set().union(*graph.values()) <= graph.keys()
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError where there is none
    assert order.index("ledger") < order.index("delivery") < order.index("target") < order.index("command")


def test_the_sandbox_and_the_target_check_each_other_and_so_share_nothing() -> None:
    assert not set().union(*(GRAPH[name] for name in OURS)) & SANDBOX.keys()
    assert not set().union(*(GRAPH[name] for name in SANDBOX)) & OURS.keys()


def test_what_talks_to_klar_and_what_judges_records_knows_nothing_of_singer_messages() -> None:
    for name in (
        "client",
        "no_answer",
        "deadlines",
        "framing",
        "answers",
        "contract",
        "conform",
        "convert",
        "explain",
        "times",
        "attribution",
    ):
        assert not reach(name) & (SINGER | {"delivery", "ledger", "rejects"}), name


def test_the_ledger_the_report_and_the_contract_import_nothing_of_ours() -> None:
    assert [name for name in ("ledger", "report", "contract", "stopping", "framing", "times") if GRAPH[name]] == []


def test_the_parts_are_put_together_in_one_place() -> None:
    assert {name for name in OURS if "target" in GRAPH[name]} == {"command", "run", "sinks"}
    assert {name for name in OURS if {"delivery", "sinks", "reader", "workers"} <= GRAPH[name]} == {"target"}


def test_nothing_is_imported_inside_a_function_but_the_program_after_its_signal_handlers() -> None:
    late = {
        name
        for name, file in FILES.items()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        for inner in ast.walk(node)
        if isinstance(inner, (ast.Import, ast.ImportFrom))
    }
    assert late == {"__main__"}


def test_no_file_is_over_300_lines() -> None:
    assert {
        name: len(file.read_text().splitlines()) for name, file in FILES.items() if file.read_text().count("\n") > 300
    } == {}


def test_files_are_named_for_what_they_are_about_and_not_for_a_kind() -> None:
    kinds = {
        "utils",
        "util",
        "helpers",
        "helper",
        "constants",
        "errors",
        "exceptions",
        "models",
        "config",
        "common",
        "base",
    }
    assert [name for name in FILES if name.rpartition("/")[2] in kinds] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [name for name, file in FILES.items() if not ast.get_docstring(ast.parse(file.read_text()))] == []


def test_every_module_that_a_run_imports_comes_from_a_dependency_that_is_declared() -> None:
    declared = {re.split(r"[^\w.-]", wanted)[0] for wanted in requires("target-klar") or []}
    imported = set().union(*(imported_at_run_time(ast.parse(file.read_text())) for file in FILES.values()))
    foreign = imported - sys.stdlib_module_names - {"target_klar"}
    provided = {file.parts[0].removesuffix(".py") for name in declared for file in files(name) or []}

    assert {"requests", "singer_sdk", "upath"} <= foreign
    assert foreign - provided == set()


def imported_at_run_time(tree: ast.Module) -> set[str]:
    """The packages that a module imports, without those that it needs for types alone."""
    typing = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    for_types = {inner for node in typing for inner in ast.walk(node)}
    at_run_time = [node for node in ast.walk(tree) if node not in for_types]
    named = {alias.name for node in at_run_time if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in at_run_time if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in named}


def test_it_says_that_it_is_typed_as_its_classifiers_do() -> None:
    assert (PACKAGE / "py.typed").is_file()
