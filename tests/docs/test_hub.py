"""The loader's definition, docs/target-klar.yml, is one that the Meltano Hub can take.

Its settings and capabilities are compared with the program in test_docs.py. The Hub's schemas are not part of
this project: TARGET_KLAR_HUB_SCHEMAS names a folder that has them, `shared/hub` beside the checkout if unset.
"""

from __future__ import annotations

import json
import os
import re
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from referencing import Registry

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(os.environ.get("TARGET_KLAR_HUB_SCHEMAS", ROOT.parent / "shared" / "hub"))


@pytest.fixture
def definition() -> dict[str, Any]:
    text = (ROOT / "docs" / "target-klar.yml").read_text(encoding="utf-8")
    answer: dict[str, Any] = yaml.safe_load(text)
    return answer


@pytest.mark.skipif(
    not SCHEMAS.is_dir(), reason="the Hub's schemas are not here; TARGET_KLAR_HUB_SCHEMAS names their folder"
)
def test_the_definition_meets_the_hubs_own_schemas(definition: dict[str, Any]) -> None:
    # The schemas name each other by relative path, so each one's place in the folder becomes its address.
    schemas = {
        path.as_uri(): json.loads(path.read_text(encoding="utf-8")) | {"$id": path.as_uri()}
        for path in SCHEMAS.resolve().rglob("*.schema.json")
    }
    registry: Registry[Any] = Registry().with_contents(schemas.items())
    start = (SCHEMAS.resolve() / "plugin_definitions" / "loaders.schema.json").as_uri()
    validator = Draft7Validator(schemas[start], registry=registry)

    assert [error.message for error in validator.iter_errors(definition)] == []
    assert [error.message for error in validator.iter_errors(definition | {"settings": [{"label": "x"}]})] == [
        "'name' is a required property"
    ]


def test_the_definition_keeps_its_keys_sorted_as_the_hub_does(definition: dict[str, Any]) -> None:
    assert list(definition) == sorted(definition)
    assert [list(setting) for setting in definition["settings"]] == [sorted(one) for one in definition["settings"]]


def test_the_hub_takes_the_token_for_a_password(definition: dict[str, Any]) -> None:
    secrets = [one["name"] for one in definition["settings"] if one["kind"] == "password" and one["sensitive"]]

    assert secrets == ["api_token"]


def test_the_definition_names_the_pythons_that_the_package_names(definition: dict[str, Any]) -> None:
    classifiers = metadata("target-klar").get_all("Classifier") or []
    pythons = re.findall(r"Python :: (3\.\d+)", "\n".join(classifiers))

    assert pythons == definition["supported_python_versions"]


def test_what_the_definition_still_lacks_is_named_for_whoever_submits_it(definition: dict[str, Any]) -> None:
    contributing = ROOT / ".github" / "CONTRIBUTING.md"
    if not contributing.is_file():
        pytest.skip("CONTRIBUTING.md is not in the sdist")
    text = contributing.read_text(encoding="utf-8")
    lacking = {"logo_url", "repo"} - set(definition)

    assert [name for name in lacking if not re.search(rf"`{name}\b", text)] == []
