"""An artifact is used only when every byte is what its manifest says, and a bad one is named."""

import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantd.models.artifacts.folder import render, sealed
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError, FileEntry, ScorerManifest
from quantd.models.artifacts.scorer_policy import load
from quantd.models.observation.return_features import FeatureSpec, spec_hash
from tests.support.checkout import ROOT
from tests.support.examples import examples

SHIPPED = ROOT / "models" / "shipped" / "scorer"
FILES = ScorerManifest.FILES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "scorer"))


def rewritten(folder: Path, **changes: object) -> None:
    """A manifest with other fields but a digest that fits: what an unlucky tool, not an accident, would write."""
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=ScorerManifest)
    changed = msgspec.structs.replace(manifest, **changes)
    (folder / MANIFEST).write_bytes(render(sealed(changed)))


@pytest.mark.requirement("R-236")
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from((MANIFEST, *FILES)), where=st.floats(0.0, 1.0, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_refused(folder: Path, name: str, where: float, bit: int) -> None:
    path = folder / name
    original = path.read_bytes()
    data = bytearray(original)
    data[int(where * len(data))] ^= 1 << bit
    path.write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match=name):
        load(folder)
    path.write_bytes(original)
    load(folder)


def test_a_size_is_checked_before_anything_is_read(folder: Path) -> None:
    entries = {n: FileEntry(1 << 40, "") for n in FILES}
    rewritten(folder, files=entries)
    with pytest.raises(ArtifactError, match="at most 268435456 are permitted"):
        load(folder)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (FeatureSpec(version=2), "features of version 2"),
        (FeatureSpec(lookback=10), "a lookback of 10"),
        (FeatureSpec(names=("momentum_21", "magic")), "features magic"),
        (FeatureSpec(names=("drawdown", "drawdown")), "names one twice"),
    ],
)
def test_features_that_cannot_be_computed_are_refused(folder: Path, spec: FeatureSpec, reason: str) -> None:
    rewritten(folder, features=spec, features_hash=spec_hash(spec))
    with pytest.raises(ArtifactError, match=reason):
        load(folder)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff\xfe", b'{"schema":1}', b"[" * 100_000, b"null", b'{"schema": 1e999}']
)
def test_a_manifest_that_is_none_is_refused(folder: Path, data: bytes) -> None:
    (folder / MANIFEST).write_bytes(data)
    with pytest.raises(ArtifactError, match=r"manifest\.json: "):
        load(folder)
