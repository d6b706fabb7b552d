"""Runs a forest in ONNX Runtime on past returns, without torch and scikit-learn."""

from pathlib import Path

import numpy as np
from msgspec import Struct

from quantd.models.artifacts.manifest import ArtifactError
from quantd.models.artifacts.runtime import TOLERANCE, first_line, open_session
from quantd.models.forests.artifact import ForestArtifact, load
from quantd.models.forests.forest_features import Kind, Past, look, see
from quantd.models.forests.trees import INPUT, OUTPUT
from quantd.trading.market import Floats


class Prediction(Struct, frozen=True):
    """Predictions of the forest and of the plain estimate by asset or pair, float64[R] each, NaN without history."""

    model: Floats
    plain: Floats


class Forest:
    """A runnable artifact. The constructor raises ArtifactError if the graph does not run or fails its probe."""

    __slots__ = ("_centre", "_scale", "_session", "artifact", "horizon", "kind")

    def __init__(self, artifact: ForestArtifact) -> None:
        self.artifact = artifact
        self.kind: Kind = artifact.manifest.predicts
        self.horizon = artifact.manifest.horizon
        self._centre = np.array(artifact.manifest.scaler.centre)
        self._scale = np.array(artifact.manifest.scaler.scale)
        self._session = open_session(artifact.graph, artifact.folder / "policy.onnx", [INPUT], [OUTPUT])
        self._prove()

    def predict(self, past: Past) -> Prediction:
        """Predict the next `horizon` samples, with the plain estimate."""
        seen = see(self.kind, past)
        model, plain = (np.full(len(seen.known), np.nan) for _ in range(2))
        if seen.known.any():
            plain[seen.known] = seen.plain[seen.known]
            model[seen.known] = plain[seen.known] + self.added(seen.features[seen.known])
        return Prediction(model, plain)

    def added(self, features: Floats) -> Floats:
        """Return float64[R] of float64[R, F]:

        the trees' addition to the plain estimate, so that they learn no level.
        """
        rows = ((features - self._centre) / self._scale).astype(np.float32)
        given: Floats = self._session.run(None, {INPUT: rows})[0][:, 0].astype(np.float64)
        return given

    def _prove(self) -> None:
        """Check that this machine reproduces the recorded answers of the training machine."""
        artifact, where = self.artifact, self.artifact.folder / "golden.bin"
        try:
            given = self.predict(look(artifact.golden_returns)).model
        except Exception as error:
            raise ArtifactError(f"{where}: the graph does not take the probe: {first_line(error)}") from None
        expected = artifact.golden_answers
        known = np.isfinite(expected)
        allowed = min(TOLERANCE, artifact.manifest.golden.tolerance)
        if not known.any() or (np.isfinite(given) != known).any():
            raise ArtifactError(f"{where}: the graph knows other rows of the probe than it holds")
        difference = float(np.abs(given[known] - expected[known]).max())
        if not difference <= allowed:
            raise ArtifactError(
                f"{where}: the graph differs from the probe by {difference:.2g}; {allowed:g} is allowed"
            )


def load_forest(folder: Path, predicts: Kind | None = None) -> Forest:
    """Load the forest in `folder` with all checks. Raises ArtifactError."""
    return Forest(load(folder, predicts))
