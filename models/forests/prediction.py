"""Runs a forest in ONNX Runtime on past returns, without torch and scikit-learn.

What can go wrong, and what prevents it. A branch of a tree could lead to nothing, or back: ONNX Runtime refuses such
trees, in a process without rights where the forest is not a shipped one. The leaves could add up to an impossible
number: each answer is compared with a bound. This machine could compute other numbers than the training
machine: the constructor compares its answers to the probe (a recorded input) with the recorded ones. A row of the probe
without a recorded answer must have none on this machine either.

A forest predicts a correction that is added to a plain estimate, so that a forest of zeros gives the plain estimate.
"""

from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from quantd.models.artifacts import folder as folders
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError, ForestKind, ForestManifest
from quantd.models.artifacts.runtime import TOLERANCE, check_probe, open_session, probe_of, probing
from quantd.models.forests.forest_features import Past, features_of, look, see
from quantd.models.isolation.session import OpenGraph, PolicyFailed
from quantd.models.observation.return_features import spec_hash
from quantd.trading.market import Floats

INPUT: Final = "features"
OUTPUT: Final = "prediction"

TIMING: Final = "timing.json"
LEAST_ROWS: Final = 20
"""Minimum number of rows for a fit."""

THRESHOLD: Final = 0.6
"""The target R² out of sample, reported beside the achieved one."""

MOST_HORIZON: Final = 63
"""Maximum horizon in samples: half of the features' lookback, so that outcomes can be measured in the same history."""

REACH: Final[dict[ForestKind, float]] = {"risk": 20.0, "correlation": 6.0, "allocation": 8.0}
"""Maximum of a forest's addition to a plain estimate, larger than any possible difference of two outcomes."""


class Timing(Struct, frozen=True, forbid_unknown_fields=True):
    """Duration in seconds of training, walk-forward test and final fit together."""

    seconds: float


class ForestArtifact(Struct, frozen=True):
    """A forest's artifact in memory, checked against its manifest.

    `golden_answers` are the recorded answers to the probe, NaN where an asset or pair of the probe has no history.
    """

    folder: Path
    manifest: ForestManifest
    graph: bytes
    golden_returns: Floats
    golden_answers: Floats
    seconds: float | None


def load(folder: Path, predicts: ForestKind | None = None) -> ForestArtifact:
    """Load the forest in `folder`. Raises ArtifactError unless every check passes.

    Every file must match the manifest, and the manifest must be consistent. With `predicts`, the forest must predict
    this quantity.
    """
    manifest_path = folder / MANIFEST
    manifest, contents = folders.read(folder, ForestManifest)
    if fault := _fault(manifest):
        raise ArtifactError(f"{manifest_path}: {fault}")
    if predicts is not None and manifest.predicts != predicts:
        raise ArtifactError(
            f"{manifest_path}: it predicts {manifest.predicts}; one that predicts {predicts} is needed here"
        )
    golden, lookback = manifest.golden, manifest.features.lookback
    answers = golden.assets * (golden.assets - 1) // 2 if manifest.predicts == "correlation" else golden.assets
    # at least 2 assets, so that there is a pair
    returns, answered = probe_of(folder, golden, lookback, 2, answers, contents["golden.bin"])
    return ForestArtifact(folder, manifest, contents["policy.onnx"], returns, answered, _seconds(folder / TIMING))


def _fault(manifest: ForestManifest) -> str:
    """Return why the manifest of a forest is inconsistent, or does not fit this program; empty without a fault."""
    expected = features_of(manifest.predicts)
    if manifest.features_hash != spec_hash(manifest.features):
        return "features_hash does not match its features"
    # the hash above shows an edited manifest, this check a manifest of another version
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
        return f"horizon {manifest.horizon} must be 1 to {MOST_HORIZON} samples"
    if manifest.training.rows < LEAST_ROWS:
        return f"it was fitted on {manifest.training.rows} rows; at least {LEAST_ROWS} are needed"
    return ""


def _seconds(path: Path) -> float | None:
    """Return the recorded seconds, None for a missing or invalid file; the value has no effect on decisions."""
    try:
        if path.stat().st_size > 1_000:
            return None
        return msgspec.json.decode(path.read_bytes(), type=Timing).seconds
    except (OSError, msgspec.MsgspecError):
        return None


def write(folder: Path, manifest: ForestManifest, contents: dict[str, bytes], seconds: float) -> ForestManifest:
    """Write the folder of a forest, with the duration `seconds` of its training. Returns the manifest as written."""
    written = folders.write(folder, manifest, contents)
    (folder / TIMING).write_bytes(msgspec.json.encode(Timing(round(seconds, 3))) + b"\n")
    return written


class Prediction(Struct, frozen=True):
    """Predictions of the forest and of the plain estimate by asset or pair, float64[R] each, NaN without history."""

    model: Floats
    plain: Floats


class Forest:
    """A forest that can predict. The constructor raises ArtifactError if the graph does not run or its answer to the
    probe (a recorded input) is wrong."""

    __slots__ = ("_centre", "_scale", "artifact", "horizon", "kind", "session")

    def __init__(self, artifact: ForestArtifact, opened: OpenGraph | None = None) -> None:
        self.artifact = artifact
        self.kind: ForestKind = artifact.manifest.predicts
        self.horizon = artifact.manifest.horizon
        self._centre = np.array(artifact.manifest.scaler.centre)
        self._scale = np.array(artifact.manifest.scaler.scale)
        graph_path = artifact.folder / "policy.onnx"
        self.session = open_session(artifact.graph, graph_path, [INPUT], [OUTPUT], 1, opened)
        self._prove()

    def predict(self, past: Past) -> Prediction:
        """Predict the values over the forest's horizon, by the forest and by the plain estimate."""
        observed = see(self.kind, past)
        model, plain = (np.full(len(observed.known), np.nan) for _ in range(2))
        if observed.known.any():
            plain[observed.known] = observed.plain[observed.known]
            model[observed.known] = plain[observed.known] + self.added(observed.features[observed.known])
        return Prediction(model, plain)

    def added(self, features: Floats) -> Floats:
        """Return the correction float64[R] that the trees add to the plain estimate, for features float64[R, F].

        Raises PolicyFailed for a correction that is not finite or larger than REACH.
        """
        rows = ((features - self._centre) / self._scale).astype(np.float32)
        addition: Floats = self.session.run(None, {INPUT: rows})[0][:, 0].astype(np.float64)
        largest, reach = float(np.abs(addition).max(initial=0.0)), REACH[self.kind]
        if not largest <= reach:
            raise PolicyFailed(f"{self.artifact.folder}: the forest adds {largest:.3g}; at most {reach:g} is permitted")
        return addition

    def _prove(self) -> None:
        """Check that this machine reproduces the recorded answers of the training machine."""
        artifact = self.artifact
        with probing(artifact.folder):
            answers = self.predict(look(artifact.golden_returns)).model
        expected = artifact.golden_answers
        finite = np.isfinite(expected)
        if not finite.any() or (np.isfinite(answers) != finite).any():
            raise ArtifactError(
                f"{artifact.folder / 'golden.bin'}: the graph answers for other rows of the probe than were recorded"
            )
        difference = float(np.abs(answers[finite] - expected[finite]).max())
        check_probe(artifact.folder, difference, min(TOLERANCE, artifact.manifest.golden.tolerance))


def load_forest(folder: Path, predicts: ForestKind | None = None, opened: OpenGraph | None = None) -> Forest:
    """Load the forest in `folder` with all checks. Raises ArtifactError for a fault, or a forest that does not predict
    `predicts`."""
    return Forest(load(folder, predicts), opened)
