"""The files of a trained forest, and the checks before any use of it. As in quantd.models.artifacts.manifest, no file
contains executable code.

The folder has manifest.json, policy.onnx, golden.bin (returns and the predictions that they must give) and card.md.
timing.json is only for metrics; it is not sealed, because it differs from run to run.
"""

from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec import Struct

from quantd.models.artifacts import manifest as artifacts
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError, FileEntry, Golden, Window
from quantd.models.forests.forest_features import (
    KINDS,
    ForestFeatures,
    Kind,
    features_hash,
    features_of,
)
from quantd.models.forests.trees import GraphFault, read
from quantd.trading.market import Floats

KIND: Final = "forest"
FILES: Final = ("card.md", "golden.bin", "policy.onnx")
TIMING: Final = "timing.json"
LEAST_ROWS: Final = 20
"""Minimum number of rows for a fit."""

THRESHOLD: Final = 0.6
"""The target R² out of sample, reported beside the achieved one."""

MOST_HORIZON: Final = 63
"""Half of the features' lookback, so that outcomes remain measurable from the same history."""

REACH: Final[dict[Kind, float]] = {"risk": 20.0, "correlation": 6.0, "allocation": 8.0}
"""Bound on a forest's addition to a plain estimate, larger than any possible difference of two outcomes."""


class Shape(Struct, frozen=True, forbid_unknown_fields=True):
    """Hyperparameters. `leaves` bounds the size of a tree and so of the file."""

    trees: int
    depth: int
    leaves: int
    least_in_leaf: int
    feature_share: float
    seed: int


class Scaler(Struct, frozen=True, forbid_unknown_fields=True):
    """Features are (value - centre) / scale, estimated on the training rows."""

    centre: tuple[float, ...]
    scale: tuple[float, ...]


class Score(Struct, frozen=True, forbid_unknown_fields=True):
    """Accuracy. `r2` is 1 - squared errors / squared deviations from the mean of these rows."""

    r2: float
    mse: float


class Judged(Struct, frozen=True, forbid_unknown_fields=True):
    """The forest and the plain estimate on the same out-of-sample rows."""

    first: str
    last: str
    fitted_until: str
    """Date of the newest training outcome."""
    rows_fitted: int
    rows: int
    model: Score
    plain: Score


class Fitted(Struct, frozen=True, forbid_unknown_fields=True):
    """The training data: every `stride`-th session of the window. No data after `until_ns` were used."""

    command: str
    data: dict[str, str]
    window: Window
    until_ns: int
    stride: int
    embargo: int
    rows: int


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about a forest except its trees. `together` combines all steps of the walk forward."""

    schema: int
    kind: Literal["forest"]
    name: str
    predicts: Kind
    horizon: int
    forest: Shape
    features: ForestFeatures
    features_hash: str
    scaler: Scaler
    universe: tuple[str, ...]
    training: Fitted
    together: Judged
    folds: tuple[Judged, ...]
    threshold: float
    golden: Golden
    files: dict[str, FileEntry]
    digest: str = ""


class Timing(Struct, frozen=True, forbid_unknown_fields=True):
    """Duration of training, walk forward and final fit together."""

    seconds: float


class ForestArtifact(Struct, frozen=True):
    """A checked artifact in memory. `golden_answers` is NaN where the probe has no history."""

    folder: Path
    manifest: Manifest
    graph: bytes
    golden_returns: Floats
    golden_answers: Floats
    seconds: float | None


def load(folder: Path, predicts: Kind | None = None) -> ForestArtifact:
    """Load the forest in `folder`. Raises ArtifactError unless every check passes.

    Every file must match the manifest, the manifest must be consistent, and the trees must have its shape. With
    `predicts`, the forest must predict that.
    """
    where = folder / MANIFEST
    manifest = artifacts.read_manifest(where, Manifest)
    contents = artifacts.read_files(folder, manifest.files, FILES)
    fault = _fault(manifest)
    if fault:
        raise ArtifactError(f"{where}: {fault}")
    if predicts is not None and manifest.predicts != predicts:
        raise ArtifactError(f"{where}: it predicts {manifest.predicts}; one that predicts {predicts} is needed here")
    try:
        trees = read(contents["policy.onnx"], len(manifest.features.names))
    except GraphFault as why:
        raise ArtifactError(f"{folder / 'policy.onnx'}: {why}") from None
    if len(trees.roots) != manifest.forest.trees or trees.depth() > manifest.forest.depth:
        raise ArtifactError(
            f"{folder / 'policy.onnx'}: {len(trees.roots)} trees of depth {trees.depth()}; "
            f"the manifest says {manifest.forest.trees} of at most {manifest.forest.depth}"
        )
    reach = len(trees.roots) * float(np.abs(trees.leaves).max())
    if reach > REACH[manifest.predicts]:
        raise ArtifactError(f"{folder / 'policy.onnx'}: its leaves add up to {reach:.3g}, which nothing can be")
    golden, data = manifest.golden, contents["golden.bin"]
    answers = golden.assets * (golden.assets - 1) // 2 if manifest.predicts == "correlation" else golden.assets
    cells = golden.lookback * golden.assets
    if golden.lookback != manifest.features.lookback or golden.assets < 2 or len(data) != 8 * (cells + answers):
        raise ArtifactError(f"{folder / 'golden.bin'}: {len(data)} bytes are not {golden.lookback} x {golden.assets}")
    values = np.frombuffer(data, dtype="<f8")
    return ForestArtifact(
        folder=folder,
        manifest=manifest,
        graph=contents["policy.onnx"],
        golden_returns=values[:cells].reshape(golden.lookback, golden.assets),
        golden_answers=values[cells:],
        seconds=_seconds(folder / TIMING),
    )


def _fault(manifest: Manifest) -> str:
    """Return what in a manifest does not fit this program or itself; empty without a fault."""
    expected = features_of(manifest.predicts)
    if manifest.features_hash != features_hash(manifest.features):
        return "features_hash is not that of its features"
    if manifest.features != expected:
        return (
            f"it reads {', '.join(manifest.features.names)} over {manifest.features.lookback} samples (version "
            f"{manifest.features.version}); this quantd computes {', '.join(expected.names)} over {expected.lookback} "
            f"(version {expected.version}); train it again"
        )
    width = len(expected.names)
    scaler = manifest.scaler
    if len(scaler.centre) != width or len(scaler.scale) != width:
        return f"its scaler has {len(scaler.centre)} and {len(scaler.scale)} numbers for {width} features"
    if not np.isfinite(scaler.centre).all() or not all(0.0 < s < float("inf") for s in scaler.scale):
        return "its scaler has a scale that is not above 0, or a number that is not finite"
    if not 1 <= manifest.horizon <= MOST_HORIZON:
        return f"a horizon of {manifest.horizon} samples; from 1 to {MOST_HORIZON} can be measured"
    if manifest.training.rows < LEAST_ROWS:
        return f"it was fitted on {manifest.training.rows} rows; {LEAST_ROWS} are the least"
    return ""


def _seconds(path: Path) -> float | None:
    """Return the recorded seconds, None for a missing or invalid file; the value has no effect on decisions."""
    try:
        if path.stat().st_size > 1_000:
            return None
        return msgspec.json.decode(path.read_bytes(), type=Timing).seconds
    except (OSError, msgspec.MsgspecError):
        return None


def write(folder: Path, manifest: Manifest, contents: dict[str, bytes], seconds: float) -> Manifest:
    """Write the folder. Returns the manifest as written."""
    written = artifacts.write(folder, manifest, contents, FILES)
    (folder / TIMING).write_bytes(msgspec.json.encode(Timing(round(seconds, 3))) + b"\n")
    return written


__all__ = ["KIND", "KINDS", "ForestArtifact", "Manifest", "load", "write"]
