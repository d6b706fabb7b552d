"""The Dockerfile: what hadolint, its own reader and the configuration say of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.dockerfile import context, ignored, needed, settings_of, stages
from tests.support.checkout import ROOT
from tests.support.services import require

FOLDER = ROOT / "deploy" / "container"
TEXT = (FOLDER / "Dockerfile").read_text()
STAGES = stages(TEXT)
TARGETS = ("trade", "train", "train-gpu", "test")


def hadolint(path: Path) -> "subprocess.CompletedProcess[str]":
    command = [require("hadolint")["hadolint"], "--no-color", "--config", FOLDER / ".hadolint.yaml", path]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.requirement("R-217")
def test_hadolint_finds_nothing(tmp_path: Path) -> None:
    process = hadolint(FOLDER / "Dockerfile")
    assert (process.returncode, process.stdout) == (0, "")
    (tmp_path / "Dockerfile").write_text(TEXT.replace("USER 10001:10001", "USER root"))
    process = hadolint(tmp_path / "Dockerfile")
    assert (process.returncode, "DL3002" in process.stdout) == (1, True)


@pytest.mark.requirement("R-217")
def test_images_for_cpu_and_gpu_are_built_in_stages_from_a_slim_base() -> None:
    assert STAGES["base"].parent == "debian:bookworm-slim"
    for target in TARGETS:
        order = [stage.name for stage in needed(STAGES, target)]
        assert {"base", "build"} <= set(order)
        assert settings_of(STAGES, target).user == "10001:10001"
    for target in ("trade", "train", "train-gpu"):
        lineage = [STAGES[target].parent, STAGES[STAGES[target].parent].parent]
        assert lineage == ["settled", "base"], "no compiler is in the image"
    torch = {name: "\n".join(s.text for s in STAGES[name].steps) for name in ("build-train", "build-train-gpu")}
    assert "--only torch" in torch["build-train"]
    assert "--index-url" not in torch["build-train-gpu"]


@pytest.mark.requirement("R-218")
def test_the_image_checks_its_health_as_required() -> None:
    settings = settings_of(STAGES, "trade")
    assert settings.health == {"--interval": "30s", "--timeout": "10s", "--start-period": "5s", "--retries": "3"}
    assert settings.health_command == ["/opt/quantd/health"]
    assert (settings.entrypoint, settings.cmd, settings.stop_signal) == (["tini", "--", "quantd"], ["run"], "SIGTERM")
    text = (FOLDER / "Dockerfile").read_text()
    assert "install -m 0755 deploy/container/health.py /opt/quantd/health" in text, "the command of the check is tested"
    for target in ("train", "train-gpu", "test"):
        assert settings_of(STAGES, target).health_command == []


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [(["--only", "torch"], r"torch==[\d.]+\n"), (["postgres"], r"(?s)aiohttp.*\npsycopg\[binary\]>=.*\n")],
)
def test_the_packages_of_a_layer_are_those_of_pyproject(arguments: list[str], pattern: str) -> None:
    command = [sys.executable, FOLDER / "packages.py", *arguments]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.fullmatch(pattern, process.stdout)


@pytest.mark.parametrize("arguments", [["postgers"], ["--only", "tortch"]])
def test_a_package_that_pyproject_does_not_name_ends_the_build(arguments: list[str]) -> None:
    command = [sys.executable, FOLDER / "packages.py", *arguments]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (process.returncode, arguments[-1] in process.stderr, "Traceback" in process.stderr) == (1, True, False)


@pytest.mark.requirement("R-232")
def test_the_context_has_the_source_and_no_secret_or_state() -> None:
    left_out = ignored((ROOT / ".dockerignore").read_text())
    for name in (
        "state",
        "a/state",
        "secrets",
        "deploy/container/secrets",
        "a/b.pem",
        "x.key",
        ".git",
        ".venv",
        "a.db",
    ):
        assert left_out.fullmatch(name), name
    for name in (
        "stated",
        "daemon/engine/state/engine_state.py",
        "scripts/make-wheel",
        "data/us_daily.parquet",
        "src/quantd/daemon",
    ):
        assert not left_out.fullmatch(name), name
    files = {str(path) for path in context(ROOT)}
    assert {
        "pyproject.toml",
        "src/quantd/daemon",
        "deploy/container/health.py",
        "models/shipped/scorer/policy.onnx",
    } <= files
    assert not [name for name in files if ".git/" in name or name.endswith((".pyc", ".db", ".key", ".pem"))]
