"""Which code this is: the package's version with a digest of the source that decides."""

from functools import cache
from hashlib import blake2b
from pathlib import Path

import numpy as np

from models import bundled

VERSION = "0.1.0"

_DECIDES = (
    "trading", "strategies", "risk", "models/features.py", "models/forests", "models/learned/ensembles.py",
    "models/learned/manifest.py", "models/learned/runtime.py", "models/loading.py", "models/runtime.py", "models/sights.py",
    "adapters/brokers", "daemon/engine", "daemon/loop.py", "daemon/timeline.py", "daemon/policies.py", "daemon/digest.py", "daemon/tally.py",
)  # fmt: skip
"""Packages and modules that a replay depends on."""


@cache
def code_version() -> str:
    """`0.1.0+<12 hex>`: changes whenever a file changes that a replay depends on."""
    root = Path(__file__).resolve().parent.parent
    files: list[Path] = []
    for part in _DECIDES:
        path = root / part
        files += [path] if path.is_file() else list(path.rglob("*.py"))
    found = blake2b(digest_size=6)
    for file in sorted(files):
        found.update(str(file.relative_to(root)).encode())
        found.update(file.read_bytes())
    return f"{VERSION}+{found.hexdigest()}"


@cache
def lock_hash() -> str:
    """Digest of the exact versions of packages that quantd is tested with."""
    return blake2b((bundled.FOLDER / "constraints.txt").read_bytes(), digest_size=8).hexdigest()


@cache
def blas_name() -> str:
    """Name and version of the linear algebra numpy was built with."""
    blas = np.__config__.CONFIG["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"
