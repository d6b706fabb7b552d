"""The recipes of docs/develop/extending.md, a copy of the repository in which one is tried, and its limit renamed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.checkout import LINKED, ROOT, copy_package, environment

PAGE: Final = (ROOT / "docs/develop/extending.md").read_text(encoding="utf-8")


def section_of(heading: str) -> str:
    """The text of a section of the page."""
    return f"{PAGE}\n".split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def blocks_of(heading: str) -> list[str]:
    """The Python blocks that a section of the page shows."""
    return re.findall(r"```python\n(.*?)```", section_of(heading), re.DOTALL)


def complete(root: Path) -> None:
    """Add the rest of the repository to a copy of the package: tests, documents and scripts."""
    caches = shutil.ignore_patterns("__pycache__")
    for entry in ROOT.iterdir():
        if entry.name in LINKED or entry.name.startswith(".") or (root / entry.name).exists():
            continue
        if entry.is_file():
            shutil.copy(entry, root)
        elif entry.name in ("benchmarks", "deploy", "docs", "scripts", "systemd", "tests"):
            shutil.copytree(entry, root / entry.name, ignore=caches)


def copy_repository(folder: Path) -> Path:
    """The root of a copy with the packages, the tests, the scripts and the documents."""
    root = copy_package(folder)
    complete(root)
    return root


def run_python(root: Path, *words: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run Python with the copied package, in `folder`, or at the root of the copy."""
    variables = environment(root) | {"COLUMNS": "200", "XDG_CACHE_HOME": str(root / "cache")}
    return subprocess.run(
        [sys.executable, *words], cwd=folder or root, env=variables, text=True, capture_output=True, timeout=250
    )


def passes(root: Path, *tests: str) -> None:
    """Fail unless these tests of the copy pass there."""
    process = run_python(root, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *tests)
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-1000:]


def dearest() -> str:
    """The first limit of the page with the key `dearest`, the code 127 and the reason DEAREST."""
    text = blocks_of("A limit")[0]
    for name, other in (("max_price", "dearest"), ("Refusal(120,", "Refusal(127,"), ('"PRICE"', '"DEAREST"')):
        assert name in text
        text = text.replace(name, other)
    return text
