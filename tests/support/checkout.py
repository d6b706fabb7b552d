"""The checkout that the tests run in, a copy of its package that a test may extend with a file, and its compiled
kernels."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
DATA: Final = ROOT / "data"
SHIPPED: Final = ROOT / "models" / "shipped"
PACKAGES: Final = ("adapters", "daemon", "models", "research", "risk", "src", "strategies", "trading")
LINKED: Final = ("config.toml", "constraints.txt", "data", "examples")


def copy_package(tmp_path: Path) -> Path:
    """The folder that holds the copied packages, with their compiled modules; what they only read is linked."""
    root = tmp_path / "checkout"
    half_written = shutil.ignore_patterns("*.pyc.*")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, root / name, symlinks=True, ignore=half_written)
    for name in LINKED:
        (root / name).symlink_to(ROOT / name)
    return root


def environment(root: Path) -> dict[str, str]:
    """The environment in which Python imports `quantd` from the copy."""
    return {**os.environ, "PYTHONPATH": str(root / "src")}


def kernel_cache(factory: "pytest.TempPathFactory") -> dict[str, str]:
    """The variable that names the cache of compiled kernels: one for all workers of a test session."""
    own = factory.getbasetemp()
    return {"XDG_CACHE_HOME": str((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache")}


def printed(code: str, argument: str, factory: "pytest.TempPathFactory") -> str:
    """What a program prints that may compile kernels."""
    env = {**os.environ, **kernel_cache(factory)}
    run = subprocess.run(
        [sys.executable, "-c", code, argument], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env
    )
    return run.stdout
