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

LAYERS = {
    "contract": "",
    "runtime": "",
    "sandbox": "",
    "records": "contract",
    "api": "contract records runtime",
    "delivery": "api contract records runtime",
    "settings": "api contract records",
    "stream_maps": "contract records settings",
    "suggestions": "contract records",
    "input_forms": "records",
    "batch_files": "input_forms records runtime",
    "reader": "input_forms records runtime",
    "source_streams": "delivery records stream_maps",
    "lookahead": "source_streams",
    "sinks": "delivery",
    "target": "api batch_files contract delivery lookahead reader records runtime settings sinks source_streams "
    "stream_maps suggestions",
    "progress": "",
    "run": "delivery progress records runtime settings target",
    "preview": "contract delivery records runtime settings stream_maps suggestions target",
    "cli": "api contract preview run runtime settings target",
    "__main__": "cli runtime",
}
"""The folders and the modules beside them, and which of them each imports from: those above it in this table alone."""
# The SDK hands every sink its target, so the sinks name the type of what makes them, and import nothing of it; the
# progress of a load is that of the target that it is shown. A stream submits its batches, and a batch knows its stream.
TYPE_ONLY = {
    ("sinks", "target"),
    ("progress", "target"),
    ("delivery/stream", "delivery/dispatcher"),
    ("delivery/batch", "delivery/stream"),
}


def layer(name: str) -> str:
    return name.partition("/")[0]


def imports(name: str) -> set[str]:
    """The modules of the package that one of them imports, for types or at run time."""
    asked = {
        f"{node.module}.{alias.name}" if f"{node.module.replace('.', '/')}.py" not in OURS else node.module
        for node in ast.walk(ast.parse(FILES[name].read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("target_klar")
        for alias in node.names
    }
    return {module.removeprefix("target_klar.").replace(".", "/") for module in asked}


OURS = {f"target_klar/{name}.py" for name in FILES}


def test_imports_between_layers_run_in_one_direction() -> None:
    graph = {name: {other for other in imports(name) if (name, other) not in TYPE_ONLY} for name in FILES}
    arrows = {(layer(name), layer(other)) for name in graph for other in graph[name] if layer(name) != layer(other)}
    order = list(LAYERS)

    assert {layer(name) for name in FILES} == {*LAYERS, "__init__"}
    assert arrows == {(name, other) for name in LAYERS for other in LAYERS[name].split()}
    assert [(name, other) for name, other in arrows if order.index(other) >= order.index(name)] == []
    TopologicalSorter(graph).prepare()  # raises CycleError where modules of a layer import each other in a circle


def test_nothing_is_imported_inside_a_function_but_the_program_and_what_only_a_refusal_needs() -> None:
    late = {
        name
        for name, file in FILES.items()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        for inner in ast.walk(node)
        if isinstance(inner, (ast.Import, ast.ImportFrom))
    }
    assert late == {"__main__", "cli", "records/conform"}


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
