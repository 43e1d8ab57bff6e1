"""The workflows are sound: pinned, without a right that they do not need, valid by GitHub's own schemas."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

GITHUB = Path(__file__).parents[2] / ".github"
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yml"))

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason=".github is not in the sdist")


def load(path: Path) -> dict[str, Any]:
    answer: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return answer


def jobs() -> list[tuple[str, dict[str, Any]]]:
    return [(f"{path.name}: {name}", job) for path in WORKFLOWS for name, job in load(path)["jobs"].items()]


def run_tool(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tool = shutil.which(name, path=sysconfig.get_path("scripts"))
    if tool is None:
        pytest.skip(f"{name} is not installed in this environment; the dependency group `lint` brings it")
    return subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it() -> None:
    uses = [
        line.strip() for path in WORKFLOWS for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line
    ]
    pinned = re.compile(
        r"(?:- )?uses: (?:\$/\.github/workflows/\w+\.yml|[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)"
    )

    assert [line for line in uses if not pinned.fullmatch(line)] == []


def test_no_job_may_do_more_than_read_the_checkout_except_the_one_that_publishes() -> None:
    granted = {name: job["permissions"] for name, job in jobs()}
    publishing = granted.pop("release.yml: publish")

    assert [path.name for path in WORKFLOWS if load(path)["permissions"] != {}] == []
    assert publishing == {"id-token": "write"}
    assert [name for name, rights in granted.items() if rights not in ({}, {"contents": "read"})] == []


def test_no_workflow_knows_a_secret() -> None:
    assert [path.name for path in WORKFLOWS if "secrets." in path.read_text(encoding="utf-8")] == []


def test_every_job_has_a_time_limit_and_no_checkout_leaves_its_credentials_behind() -> None:
    steps = [(name, step) for name, job in jobs() for step in job.get("steps", [])]
    checkouts = [(name, step.get("with", {})) for name, step in steps if "actions/checkout" in step.get("uses", "")]

    assert [name for name, job in jobs() if "steps" in job and "timeout-minutes" not in job] == []
    assert [name for name, options in checkouts if options.get("persist-credentials") is not False] == []


def test_only_what_was_built_and_tested_can_be_published() -> None:
    release = load(GITHUB / "workflows" / "release.yml")["jobs"]

    assert release["publish"]["needs"] == ["tag", "test"]
    assert release["test"]["uses"].endswith("/test.yml")
    assert not any("run" in step for step in release["publish"]["steps"])


@pytest.mark.slow
def test_zizmor_finds_nothing() -> None:
    run = run_tool("zizmor", "--offline", "--persona=pedantic", GITHUB)

    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ("vendor.github-workflows", "workflows/*.yml"),
        ("vendor.dependabot", "dependabot.yml"),
        ("vendor.github-issue-forms", "ISSUE_TEMPLATE/bug.yml"),
        ("vendor.github-issue-config", "ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_github_can_read_its_files(schema: str, pattern: str) -> None:
    files = sorted(GITHUB.glob(pattern))
    assert files
    run = run_tool("check-jsonschema", "--builtin-schema", schema, *files)

    assert run.returncode == 0, run.stdout + run.stderr


def test_the_bug_form_asks_for_what_a_maintainer_has_to_know() -> None:
    form = load(GITHUB / "ISSUE_TEMPLATE" / "bug.yml")["body"]
    required = [field["id"] for field in form if field.get("validations", {}).get("required")]

    assert required == ["version", "python", "meltano", "tap", "log", "expected"]
