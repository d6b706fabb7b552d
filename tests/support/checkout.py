"""The checkout that the tests run in, a copy of its package that a test may extend with a file, and its compiled
kernels."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    pass

ROOT: Final = Path(__file__).resolve().parents[2]
DATA: Final = ROOT / "data"
SHIPPED: Final = ROOT / "models" / "shipped"
BUILDINGS: Final = ("trading", "strategies", "risk", "models", "adapters", "training", "research", "daemon", "server")
"""The folders of source, each a package of `quantd`."""
PACKAGES: Final = (*BUILDINGS, "src")
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
