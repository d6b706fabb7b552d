"""Runs a scorer: one network that scores each asset from the features of training. Imports no torch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.models.artifacts.folder import read
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError, ScorerManifest
from quantd.models.artifacts.runtime import (
    TOLERANCE,
    NoParams,
    Runtime,
    check_probe,
    open_session,
    probe_of,
    probing,
)
from quantd.models.artifacts.weights import tensors_fault
from quantd.models.isolation.session import OpenGraph, Session
from quantd.models.observation.return_features import columns_of, measure, spec_fault, spec_hash
from quantd.strategies.policies.params import parse
from quantd.trading.market import Floats
from quantd.trading.view import Memory, View


class ScorerArtifact(Struct, frozen=True):
    """A scorer's artifact in memory, checked against its manifest."""

    folder: Path
    manifest: ScorerManifest
    graph: bytes
    golden_returns: Floats
    golden_weights: Floats
    weights: bytes
    """safetensors, with the training means of the features where they were stored."""


def load(folder: Path) -> ScorerArtifact:
    """Load the artifact in `folder`. Raises ArtifactError for a fault of its files, manifest or features."""
    manifest, contents = read(folder, ScorerManifest)
    if manifest.features_hash != spec_hash(manifest.features):
        raise ArtifactError(f"{folder / MANIFEST}: features_hash does not match its features; train the policy again")
    if fault := spec_fault(manifest.features):
        raise ArtifactError(f"{folder / MANIFEST}: the policy needs {fault}. Train it again with this quantd")
    if fault := tensors_fault(contents["weights.safetensors"]):
        raise ArtifactError(f"{folder / 'weights.safetensors'}: {fault}")
    golden, lookback = manifest.golden, manifest.features.lookback
    returns, weights = probe_of(folder, golden, lookback, 1, golden.assets, contents["golden.bin"])
    return ScorerArtifact(folder, manifest, contents["policy.onnx"], returns, weights, contents["weights.safetensors"])


class LearnedPolicy(Runtime[ScorerArtifact]):
    """Implements quantd.trading.ports.Policy with the network of an artifact.

    An asset-equivariant network (one scoring function for every asset) trades any universe. Any other network trades
    exactly the symbols of its training, which are found by name; another universe raises ArtifactError.
    """

    __slots__ = ("_columns", "_session")

    def __init__(self, artifact: ScorerArtifact, opened: OpenGraph | None = None) -> None:
        manifest = artifact.manifest
        super().__init__(artifact, None if manifest.network.equivariant else manifest.universe)
        graph_path, inputs = artifact.folder / "policy.onnx", ["features", "mask"]
        self._session = open_session(artifact.graph, graph_path, inputs, ["weights"], 1, opened)
        columns = columns_of(manifest.features.names)
        self._columns = None if columns == list(range(len(columns))) else columns
        self._prove()

    @property
    def sessions(self) -> tuple[Session, ...]:
        return (self._session,)

    @property
    def trained_until_ns(self) -> int:
        return self.artifact.manifest.training.until_ns

    @property
    def candidates(self) -> dict[str, int]:
        """Number of trials behind the artifact, by its digest."""
        return {self.artifact.manifest.digest: self.artifact.manifest.training.candidates()}

    @property
    def lookback(self) -> int:
        """The number of samples of returns that the network's features read."""
        return self.artifact.manifest.features.lookback

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        """Return target weights for a view: the network's weights in the columns of its symbols, 0 elsewhere. The
        memory stays empty."""
        return self.placed(self.weights(self.returns_of(view))), memory

    def returns_of(self, view: View) -> Floats:
        """Return the view's returns float64[lookback, N], with columns in the order of the training."""
        if view.universe is not self._universe:
            self.fit(view.universe)
        returns = view.synchronous(self.lookback)
        return returns if self._order is None else returns[:, self._order]

    def features_of(self, returns: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the features float32[N, F] and the mask float32[N] (1 for a usable asset) from returns
        float64[lookback, N]."""
        features, mask = measure(returns)
        return features if self._columns is None else features[:, self._columns], mask

    def weights(self, returns: Floats) -> Floats:
        """Return weights float64[N] from returns float64[lookback, N], with columns in the order of the training."""
        return self.answer(*self.features_of(returns))

    def answer(self, features: NDArray[np.float32], mask: NDArray[np.float32]) -> Floats:
        """Return weights float64[N] from the features and the mask that `features_of` returns."""
        answer: Floats = self._session.run(None, {"features": features[None], "mask": mask[None]})[0][0]
        return answer.astype(np.float64)

    def _prove(self) -> None:
        """Check that this machine reproduces the recorded answer of the training machine."""
        artifact = self.artifact
        with probing(artifact.folder):
            answered = self.weights(artifact.golden_returns)
        if answered.shape != artifact.golden_weights.shape:
            raise ArtifactError(
                f"{artifact.folder / 'golden.bin'}: the graph answers the probe with shape {answered.shape}"
            )
        difference = float(np.abs(answered - artifact.golden_weights).max())
        check_probe(artifact.folder, difference, min(TOLERANCE, artifact.manifest.golden.tolerance))


def load_policy(folder: Path, params: Mapping[str, object], opened: OpenGraph | None = None) -> LearnedPolicy:
    """Load the policy in `folder` with all checks. Raises ArtifactError or ParamsError."""
    parse(str(folder), params, NoParams)
    return LearnedPolicy(load(folder), opened)
