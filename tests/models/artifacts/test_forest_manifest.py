"""A forest is used only when every byte is what its manifest says and its trees are trees; a bad one is named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from quantd.models.artifacts import folder as folders
from quantd.models.artifacts.loader import load_artifact
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError, ForestManifest
from quantd.models.forests.prediction import TIMING, Forest, load, load_forest, write
from quantd.models.observation.return_features import spec_hash
from tests.support.forests import FOREST

SHIPPED = FOREST["risk"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "forest"))


def manifest_in(folder: Path) -> ForestManifest:
    return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=ForestManifest)


def rewritten(folder: Path, files: dict[str, bytes] | None = None, **changes: object) -> Path:
    """Other fields or files, with a manifest and hashes that fit: what somebody who means it would write."""
    contents = {name: (folder / name).read_bytes() for name in ForestManifest.FILES} | (files or {})
    folders.write(folder, msgspec.structs.replace(manifest_in(folder), **changes), contents)
    return folder


def with_leaves(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    model = onnx.load(folder / "policy.onnx")
    leaves = next(found for found in model.graph.node[0].attribute if found.name == "leaf_weights").t
    leaves.raw_data = change(np.frombuffer(leaves.raw_data, "<f4").copy()).tobytes()
    return rewritten(folder, {"policy.onnx": model.SerializeToString(deterministic=True)})


def one_leaf(value: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda leaves: np.where(np.arange(len(leaves)) == 7, value, leaves).astype("<f4")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        *((one_leaf(value), r"policy\.onnx: .*not finite") for value in (np.nan, np.inf, -np.inf)),
        (lambda leaves: leaves * np.float32(1.01), r"golden\.bin: the graph differs from the probe by"),
        (lambda leaves: np.full_like(leaves, 3e37), r"the forest adds .*; at most 20 is permitted"),
    ],
)
def test_leaves_that_answer_nothing_or_otherwise_are_refused_though_every_hash_fits(
    folder: Path, change: Callable[[np.ndarray], np.ndarray], reason: str
) -> None:
    with pytest.raises(ArtifactError, match=reason):
        load_forest(with_leaves(folder, change))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"features_hash": "00"}, "features_hash does not match its features"),
        ({"horizon": 0}, "horizon 0 must be 1 to 63 samples"),
        ({"horizon": 64}, "horizon 64 must be 1 to 63 samples"),
        ({"schema": 2}, "schema 2; this quantd reads 1"),
        ({"kind": "spell"}, "Invalid enum value 'spell'"),
        ({"predicts": "correlation"}, "train it again"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(folder: Path, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        load(rewritten(folder, **changes))


@pytest.mark.parametrize(
    ("part", "changes", "reason"),
    [
        ("features", lambda spec: {"names": spec.names[::-1]}, "train it again"),
        ("features", lambda spec: {"version": 2}, "train it again"),
        ("features", lambda spec: {"names": (*spec.names, "magic")}, "train it again"),
        ("scaler", lambda scaler: {"scale": (0.0, *scaler.scale[1:])}, "a scale that is not above 0"),
        ("scaler", lambda scaler: {"scale": (-1.0, *scaler.scale[1:])}, "a scale that is not above 0"),
        ("scaler", lambda scaler: {"centre": scaler.centre[1:]}, "13 and 14 numbers for 14 features"),
        ("training", lambda training: {"rows": 19}, "it was fitted on 19 rows; at least 20 are needed"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(folder: Path, part: str, changes: Callable, reason: str) -> None:
    before = getattr(manifest_in(folder), part)
    after = msgspec.structs.replace(before, **changes(before))
    hashed = {"features_hash": spec_hash(after)} if part == "features" else {}
    with pytest.raises(ArtifactError, match=reason):
        load(rewritten(folder, **{part: after}, **hashed))


def test_a_forest_in_the_place_of_another_is_refused() -> None:
    with pytest.raises(ArtifactError, match="it predicts risk; one that predicts correlation is needed here"):
        load(SHIPPED, "correlation")


def test_timing_is_for_metrics_and_decides_nothing(folder: Path) -> None:
    for text in (b"not json", b'{"seconds": "long"}', b"x" * 2_000):
        (folder / TIMING).write_bytes(text)
        assert load(folder).seconds is None
    (folder / TIMING).unlink()
    assert isinstance(load_forest(folder), Forest)


def test_an_artifact_of_an_unknown_kind_is_refused_by_its_name(folder: Path) -> None:
    (folder / MANIFEST).write_text('{"kind": "oracle"}')
    with pytest.raises(
        ArtifactError, match="an artifact of kind 'oracle'; this quantd knows policy, learned, ensemble, forest"
    ):
        load_artifact(folder, {})
    (folder / MANIFEST).write_bytes(b"\xff")
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        load_artifact(folder, {})


def test_what_is_written_is_what_was_meant(folder: Path) -> None:
    contents = {name: (folder / name).read_bytes() for name in ForestManifest.FILES}
    manifest = write(folder, manifest_in(folder), contents, 1.23456)
    assert load(folder).manifest == manifest
    assert load(folder).seconds == 1.235
