"""No file of the repository has a secret, or an identifier of a machine or of a person."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.command_line import environment
from tests.support.secrets_in_files import secrets_of

OF_OTHERS = ("server/api/docs_page/swagger-ui-bundle.js",)
BINARY = (
    ".onnx",
    ".parquet",
    ".png",
    ".safetensors",
    ".bin",
    ".msgpack",
    ".tar.xz",
    ".feather",
    ".gz",
    ".zip",  # tests/adapters/feeds/table_files compares their members with text
)  # archives have a test of their own
PRIVATE = re.compile(
    r"(?:^|/)(?:\.cache|\.env|deviceid|(?<!daemon/engine/)state|tokens\.json|token|id_[a-z0-9]+)(?:/|$)|\.(?:key|pem|db)$"
)
"""Names of what is of one machine: caches, environments, states, keys and databases."""


@cache
def tracked() -> tuple[str, ...]:
    process = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return tuple(name for name in process.stdout.decode().split("\0") if name and not (ROOT / name).is_symlink())


@pytest.mark.long
@pytest.mark.requirement("R-232")
def test_no_tracked_file_has_a_secret_or_an_identifier() -> None:
    secrets, binary = {}, set()
    for name in tracked():
        if name in OF_OTHERS or not (ROOT / name).exists():
            continue
        data = (ROOT / name).read_bytes()
        if b"\0" in data:
            binary.add(name)
        elif wrong := secrets_of(data):
            secrets[name] = wrong
    assert secrets == {}
    assert len(tracked()) > 1_000
    # what these expressions cannot read is of a kind that has no texts
    assert {name for name in binary if not name.endswith(BINARY)} == set()


@pytest.mark.requirement("R-232")
def test_no_tracked_file_has_a_name_of_what_is_of_one_machine() -> None:
    assert [name for name in tracked() if PRIVATE.search(name)] == []


def test_the_import_of_the_runtime_of_models_leaves_no_identifier_of_this_machine(tmp_path: Path) -> None:
    variables = {k: v for k, v in environment().items() if k not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    code = (
        "import sys; from pathlib import Path; from quantd.models.artifacts.runtime import new_session; "
        "graph = next(Path(sys.argv[1]).rglob('*.onnx')); new_session(graph.read_bytes(), graph, 1)"
    )
    subprocess.run(
        [sys.executable, "-B", "-c", code, str(ROOT / "models" / "shipped")],
        env=variables | {"HOME": str(tmp_path)},
        check=True,
    )
    assert [name for _, _, files in os.walk(tmp_path) for name in files] == []
