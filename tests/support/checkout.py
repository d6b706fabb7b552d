"""The checkout that the tests run in, and a copy of its package that a test may extend with a file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

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


def printed(code: str, argument: str, cache: Path) -> str:
    """What a program prints, whose compiled kernels are kept in `cache`."""
    env = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    run = subprocess.run(
        [sys.executable, "-c", code, argument], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env
    )
    return run.stdout
