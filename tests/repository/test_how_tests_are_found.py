"""tests/README.md holds for the tree: each test file is named there or by its rule, and what it names is there."""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from pathlib import Path

import target_klar

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
PACKAGE = Path(target_klar.__file__).parent
PAGE = (TESTS / "README.md").read_text(encoding="utf-8")
FILES = sorted(TESTS.rglob("test_*.py"))
BESIDE_THE_PACKAGE = {"docs", "repository", "benchmark"}
ROOTS = (TESTS, ROOT, TESTS / "support", PACKAGE, PACKAGE.parent)
"""Where the page's names lie; the package lies elsewhere than the checkout where its wheel is tested."""


@functools.cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def place(file: Path) -> str:
    return file.relative_to(TESTS).as_posix()


def is_named_for_its_subject(file: Path) -> bool:
    """Tell whether a file has the name of a module, a folder of the package, a document or what lies beside both."""
    folder, subject = file.parent.relative_to(TESTS), file.stem.removeprefix("test_")
    recipe = subject.removeprefix("recipes_").removeprefix("of_").replace("_", "-")
    return (
        (PACKAGE / folder / f"{subject}.py").is_file()
        or (folder.as_posix() == subject and (PACKAGE / subject).is_dir())
        or (folder.name == "docs" and (subject == "docs" or (ROOT / "docs" / "recipes" / f"{recipe}.md").is_file()))
        or (folder.name == "repository" and subject in {"github", "layout", "samples", "how_tests_are_found"})
    )


def top_level_names(tree: ast.Module) -> set[str]:
    """Give the functions, classes and variables that a module defines."""
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assigned = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
    names = [name for node in assigned for name in ast.walk(node) if isinstance(name, ast.Name)]
    return defined | {name.id for name in names if isinstance(name.ctx, ast.Store)}


def fixtures(tree: ast.Module) -> set[str]:
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        for mark in node.decorator_list
        if ast.unparse(mark).startswith("pytest.fixture") and "autouse=True" not in ast.unparse(mark)
    }


def test_every_test_file_is_named_on_the_page_or_for_its_subject() -> None:
    named = set(re.findall(r"`((?:\w+/)*test_\w+\.py)`", PAGE))

    assert len(named) > 40
    assert [place(file) for file in FILES if place(file) not in named and not is_named_for_its_subject(file)] == []


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`([\w./-]+\.(?:py|md|jsonl))`", PAGE)) - {
        "docs/recipes/NAME.md",
        "docs/test_recipes_of_NAME.py",
    }

    assert [name for name in named if not any((root / name).is_file() for root in ROOTS)] == []
    assert [name for name in named if Path(name).name.startswith("test_") and not (TESTS / name).is_file()] == []


def test_every_folder_with_tests_is_one_of_the_package_or_one_that_the_page_tells_of() -> None:
    folders = {file.parent.relative_to(TESTS).as_posix() for file in FILES if file.parent != TESTS}
    of_the_package = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}

    assert folders - of_the_package == BESIDE_THE_PACKAGE
    assert [name for name in BESIDE_THE_PACKAGE if f"`{name}/" not in PAGE] == []


def test_what_the_page_names_of_a_module_is_defined_there() -> None:
    known = {file.stem: top_level_names(parsed(file)) for file in TESTS.glob("support/*.py")}
    calls = [
        (module, name)
        for module, name in re.findall(r"`(\w+)\.(\w+)(?=[`(])", PAGE)
        if module in known and name != "py"
    ]
    rows = [
        (name, file)
        for names, file in re.findall(r"((?:`[A-Z_]+`(?: and )?)+) in `([\w/.]+)`", PAGE)
        for name in re.findall(r"[A-Z_]+", names)
    ]
    lists = [
        (file, name)
        for file, names in re.findall(r"`(\w+)\.py`: ((?:`\w+`(?:, )?)+)", PAGE)
        for name in re.findall(r"\w+", names)
    ]

    assert (len(calls) > 10, len(rows) > 8, len(lists) > 10) == (True, True, True)
    assert [call for call in calls if call[1] not in known[call[0]]] == []
    assert [each for each in lists if each[1] not in known[each[0]]] == []
    for name, file in rows:
        path = next(root / file for root in ROOTS if (root / file).is_file())
        assert name in top_level_names(parsed(path)), (name, file)


def test_the_fixtures_of_every_test_are_on_the_page_and_are_not_defined_again() -> None:
    shared = fixtures(parsed(TESTS / "conftest.py"))

    assert [name for name in shared if f"fixture `{name}`" not in PAGE] == []
    assert {place(file): again for file in FILES if (again := fixtures(parsed(file)) & shared)} == {}


def test_the_first_line_of_every_test_file_says_what_it_is_about() -> None:
    told = {place(file): (ast.get_docstring(parsed(file)) or "").partition("\n")[0] for file in FILES}

    assert [name for name, line in told.items() if len(line) < 30 or line[-1] not in ".:"] == []
    assert len(set(told.values())) == len(told)


def test_the_documents_lead_to_the_page_and_its_links_lead_somewhere() -> None:
    for document, link in (("README.md", "tests/README.md"), (".github/CONTRIBUTING.md", "../tests/README.md")):
        assert f"]({link})" in (ROOT / document).read_text(encoding="utf-8"), document
    for target, _, heading in (link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", PAGE)):
        text = (TESTS / target).resolve().read_text(encoding="utf-8")
        titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        headings = [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]
        assert heading in headings, (target, heading)


def test_the_sdist_has_the_page() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    sdist = build["targets"]["sdist"]

    assert "/tests" in sdist["include"]
    assert sdist.get("exclude", []) == []
