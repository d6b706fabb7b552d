"""The files for a forge: each step of a workflow is a target of the Makefile, and forms and settings can be read."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.checkout import ROOT

FORGE = ROOT / ".github"
WORKFLOWS = sorted((FORGE / "workflows").glob("*.yml"))
EXPRESSION = re.compile(r"\$\{\{ *([^}]+?) *\}\}")
ACTION = re.compile(r"actions/[\w-]+@v\d+")


def read(path: Path) -> dict[str, Any]:
    """A workflow; YAML 1.1 takes the key `on` for a truth value."""
    document: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {("on" if key is True else key): value for key, value in document.items()}


def jobs() -> list[tuple[str, dict[str, Any]]]:
    return [(f"{path.name} {name}", job) for path in WORKFLOWS for name, job in read(path)["jobs"].items()]


def targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return {name for line in re.findall(r"(?m)^([a-z][\w .-]*):(?!=)", text) for name in line.split()}


def commands(job: dict[str, Any]) -> set[str]:
    """The commands of a job, with each value of its matrix."""
    texts = {step["run"] for step in job["steps"] if "run" in step}
    for key, values in job.get("strategy", {}).get("matrix", {}).items():
        mark = f"${{{{ matrix.{key} }}}}"
        texts = {text.replace(mark, value) for text in texts for value in (values if mark in text else [""])}
    return texts


def stray(job: dict[str, Any], target_names: set[str]) -> list[str]:
    """Commands of a job that are no call of a known target."""
    return sorted(
        text
        for text in commands(job)
        if not (call := re.fullmatch(r"make ([a-z][\w-]*)(?: ARGS=[\w=.-]+)?", text)) or call[1] not in target_names
    )


@pytest.mark.parametrize(("name", "job"), jobs(), ids=[name for name, _ in jobs()])
def test_each_step_is_a_target_of_the_makefile_or_an_action_of_the_forge(name: str, job: dict[str, Any]) -> None:
    assert stray(job, targets()) == []
    for step in job["steps"]:
        assert ("run" in step) != ("uses" in step), step
        assert "uses" not in step or ACTION.fullmatch(step["uses"]), step
    assert job["timeout-minutes"] if commands(job) else True


def test_a_step_that_is_no_target_is_seen() -> None:
    job = {"steps": [{"run": "make tests"}, {"run": "pip install x"}, {"run": "make ${{ matrix.a }}"}],
           "strategy": {"matrix": {"a": ["check", "chek"]}}}  # fmt: skip
    assert stray(job, targets()) == ["make chek", "make tests", "pip install x"]


def test_the_digest_is_asserted_on_every_python_and_system_with_and_without_a_compiler() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = [c.rpartition(" ")[2] for c in project["classifiers"] if re.search(r":: 3\.\d+$", c)]
    jobs_by_name = dict(jobs())
    systems = set()
    for name in ("tests.yml digest-debian", "tests.yml digest-ubuntu"):
        matrix = jobs_by_name[name]["strategy"]["matrix"]
        assert matrix["python"] == stated == ["3.11", "3.12", "3.13", "3.14"]
        assert matrix["engine"] == ["compiled", "uncompiled"]
        assert {"make digest ARGS=--engine=compiled", "make digest ARGS=--engine=uncompiled"} <= commands(
            jobs_by_name[name]
        )
        assert "no-compiler" in jobs_by_name[name]["env"]["CC"]
        systems |= set(matrix.get("debian", [])) | set(matrix.get("system", []))
    assert systems == {"bookworm", "trixie", "ubuntu-22.04", "ubuntu-24.04"}


def test_continuous_integration_audit_site_and_nightly_proofs_are_run() -> None:
    run = {path.name: set().union(*(commands(job) for job in read(path)["jobs"].values())) for path in WORKFLOWS}
    assert {"make ci", "make wheel", "make wheel-pure", "make sbom"} <= run["tests.yml"]
    assert run["site.yml"] == {"make docs-site"}
    assert run["audit.yml"] == {"make audit"}
    assert {"make prove", "make prove-long"} <= run["nightly.yml"]
    assert "schedule" in read(FORGE / "workflows" / "nightly.yml")["on"]


def test_a_workflow_may_only_read_unless_a_job_says_what_it_writes() -> None:
    for path in WORKFLOWS:
        workflow = read(path)
        assert workflow["permissions"] == {"contents": "read"}, path.name
        writing = {name for name, job in workflow["jobs"].items() if "write" in job.get("permissions", {}).values()}
        assert writing <= {"publish"}, path.name
        assert "secrets." not in path.read_text()
        assert "pull_request_target" not in workflow["on"]


def test_forms_of_issues_have_questions_with_own_names() -> None:
    forms = [path for path in (FORGE / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    assert len(forms) == 3
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= set(form)
        ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
        assert len(set(ids)) == len(ids) >= 3
        for part in form["body"]:
            assert part["type"] in {"markdown", "input", "textarea", "dropdown", "checkboxes"}
            assert "value" in part["attributes"] if part["type"] == "markdown" else "label" in part["attributes"]


def test_paths_that_the_files_for_a_forge_name_are_there() -> None:
    files = [*FORGE.rglob("*.yml"), *FORGE.rglob("*.md"), ROOT / ".pre-commit-config.yaml"]
    named_paths = {
        (path.name, word)
        for path in files
        for word in re.findall(r"\b(?:docs|tests|scripts|deploy)/[\w./-]+\w", path.read_text(encoding="utf-8"))
    }
    assert len(named_paths) >= 4
    assert [
        (where, word) for where, word in sorted(named_paths) if not (ROOT / word).exists() and word != "docs/site"
    ] == []
    steps = set(re.findall(r"`make ([\w-]+)`", (FORGE / "PULL_REQUEST_TEMPLATE.md").read_text()))
    assert {"check", "test"} == steps <= targets()


def test_dependabot_looks_into_folders_that_have_what_it_updates() -> None:
    holds = {"pip": "constraints.txt", "docker": "Dockerfile", "github-actions": ".github/workflows"}
    updates = yaml.safe_load((FORGE / "dependabot.yml").read_text())["updates"]
    assert {update["package-ecosystem"] for update in updates} == set(holds)
    for update in updates:
        assert (ROOT / update["directory"].lstrip("/") / holds[update["package-ecosystem"]]).exists()


def test_hooks_before_a_commit_and_the_container_of_an_editor_use_the_environment_of_make() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert all(hook["entry"].startswith(".venv/bin/") for hook in repository["hooks"])
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert container["postCreateCommand"] == "make .venv/.full"
