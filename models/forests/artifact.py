"""What a trained forest is on disk, and the checks before any use of it; like quantd.models.artifacts.manifest, nothing in here runs.

A folder: manifest.json, policy.onnx, golden.bin (returns and the predictions they must give) and card.md. Beside them, for
metrics only and not sealed, since it differs from run to run: timing.json.
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
"""A forest is fitted on no fewer rows."""

THRESHOLD: Final = 0.6
"""The R² out of sample that was asked for; a figure to report beside the one that was reached."""

MOST_HORIZON: Final = 63
"""Half of what the features read: what came true can still be measured from the same history."""

REACH: Final[dict[Kind, float]] = {"risk": 20.0, "correlation": 6.0, "allocation": 8.0}
"""The most that a forest may add to a plain estimate: more than any two outcomes can differ by."""


class Shape(Struct, frozen=True, forbid_unknown_fields=True):
    """What was set before fitting. `leaves` bounds the size of a tree and so of the file."""

    trees: int
    depth: int
    leaves: int
    least_in_leaf: int
    feature_share: float
    seed: int


class Scaler(Struct, frozen=True, forbid_unknown_fields=True):
    """Features are (value - centre) / scale, fitted on the rows that the forest was fitted on."""

    centre: tuple[float, ...]
    scale: tuple[float, ...]


class Score(Struct, frozen=True, forbid_unknown_fields=True):
    """Against what came true. `r2` is 1 - squared errors / squared deviations from the mean of these rows."""

    r2: float
    mse: float


class Judged(Struct, frozen=True, forbid_unknown_fields=True):
    """The forest beside the plain estimate on the same rows, none of which it was fitted on."""

    first: str
    last: str
    fitted_until: str
    """The newest outcome that was fitted on."""
    rows_fitted: int
    rows: int
    model: Score
    plain: Score


class Fitted(Struct, frozen=True, forbid_unknown_fields=True):
    """What it was made from: every `stride`-th session of the window. `until_ns`: nothing later touched it."""

    command: str
    data: dict[str, str]
    window: Window
    until_ns: int
    stride: int
    embargo: int
    rows: int


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about a forest that is not its trees. `together`: all steps of the walk forward in one."""

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
    """How long training took, walk forward and final fit together."""

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
    """The forest in `folder`; ArtifactError unless every file is what the manifest says, the manifest is consistent and
    the trees are trees of the shape it gives, and, where `predicts` is given, unless it predicts that."""
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
    """What in a manifest does not fit this program or itself; empty when all does."""
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
    """None where nobody wrote it down, or not as a number: it decides nothing."""
    try:
        if path.stat().st_size > 1_000:
            return None
        return msgspec.json.decode(path.read_bytes(), type=Timing).seconds
    except (OSError, msgspec.MsgspecError):
        return None


def write(folder: Path, manifest: Manifest, contents: dict[str, bytes], seconds: float) -> Manifest:
    """Writes the folder; gives the manifest as written."""
    written = artifacts.write(folder, manifest, contents, FILES)
    (folder / TIMING).write_bytes(msgspec.json.encode(Timing(round(seconds, 3))) + b"\n")
    return written


__all__ = ["KIND", "KINDS", "ForestArtifact", "Manifest", "load", "write"]
