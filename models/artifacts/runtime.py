"""Runs a trained policy in ONNX Runtime, on one thread, from the features that training used. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from msgspec import Struct
from numpy.typing import NDArray

from quantd.models.artifacts import manifest as artifacts
from quantd.models.artifacts.inspection import graph_fault
from quantd.models.artifacts.manifest import Artifact, ArtifactError
from quantd.models.observation.return_features import columns_of, measure
from quantd.strategies.policies.params import parse
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats
from quantd.trading.view import Memory, View

TOLERANCE: Final = 1e-5
"""The most by which the golden probe may differ on this machine, whatever a manifest asks for."""


def open_session(graph: bytes, where: Path, takes: list[str], gives: list[str] | None = None, threads: int = 1) -> Any:
    """A graph in ONNX Runtime on `threads` of the processor. ArtifactError, naming `where`, when it is none or has
    other inputs and outputs."""
    if fault := graph_fault(graph):
        raise ArtifactError(f"{where}: {fault}; it is not loaded")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has many kinds, none of them public
        raise ArtifactError(f"{where}: not a graph that ONNX Runtime loads: {first_line(error)}") from None
    inputs, outputs = [i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()]
    if inputs != takes or (gives is not None and outputs != gives):
        expected = f"{', '.join(takes)} and {', '.join(gives or outputs)}"
        raise ArtifactError(f"{where}: it takes {inputs} and gives {outputs}; {expected} are expected")
    return session


def places(universe: Universe, trained: Sequence[str], folder: Path) -> list[int]:
    """Where the symbols that an artifact was trained on stand in `universe`; ArtifactError when they are not all of it."""
    if set(universe.symbols) != set(trained):
        missing = sorted(set(trained) - set(universe.symbols))
        extra = sorted(set(universe.symbols) - set(trained))
        raise ArtifactError(
            f"{folder}: trained on {', '.join(trained)}; the universe lacks {', '.join(missing) or 'none'} "
            f"and adds {', '.join(extra) or 'none'}; write these symbols into [universe], or train a policy on those of the universe"
        )
    return universe.columns(trained)


class LearnedParams(Struct, frozen=True):
    """A trained policy has nothing to set: what it does was fixed when it was trained."""


class LearnedPolicy:
    """Implements quantd.trading.ports.Policy with the network of an artifact.

    An asset-equivariant network trades any universe. Another one trades exactly the symbols it was trained on,
    found by name; it raises ArtifactError when asked about others.
    """

    __slots__ = ("_columns", "_order", "_session", "_universe", "artifact")

    def __init__(self, artifact: Artifact) -> None:
        self._session = open_session(artifact.graph, artifact.folder / "policy.onnx", ["features", "mask"], ["weights"])
        columns = columns_of(artifact.manifest.features)
        self._columns = None if columns == list(range(len(columns))) else columns
        self.artifact = artifact
        self._universe: Universe | None = None
        self._order: list[int] | None = None
        self._prove()

    @property
    def lookback(self) -> int:
        return self.artifact.manifest.features.lookback

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """What it was loaded from."""
        return (self.artifact,)

    @property
    def digest(self) -> str:
        """What every start records of the artifact, so that a journal says which model decided."""
        return self.artifact.manifest.digest

    @property
    def trained_until_ns(self) -> int:
        """Bars up to this instant are inside the training window: what it earns there proves nothing."""
        return self.artifact.trained_until_ns

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        if view.universe is not self._universe:
            self.fit(view.universe)
        returns = view.synchronous(self.lookback)
        order = self._order
        if order is None:
            return self.weights(returns), memory
        out = np.zeros(returns.shape[1])
        out[order] = self.weights(returns[:, order])
        return out, memory

    def fit(self, universe: Universe) -> None:
        """Finds its columns in `universe`; ArtifactError when it cannot trade it."""
        manifest = self.artifact.manifest
        if not manifest.network.equivariant:
            self._order = places(universe, manifest.universe, self.artifact.folder)
        self._universe = universe

    def weights(self, returns: Floats) -> Floats:
        """float64[N] of float64[lookback, N] returns, columns as trained."""
        features, mask = measure(returns)
        if self._columns is not None:
            features = features[:, self._columns]
        return self._run(features[None], mask[None])[0].astype(np.float64)

    def _run(self, features: NDArray[np.float32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
        answer: list[NDArray[np.float32]] = self._session.run(None, {"features": features, "mask": mask})
        return answer[0]

    def _prove(self) -> None:
        """The golden probe: this machine gives the answer that the training machine wrote down."""
        artifact, where = self.artifact, self.artifact.folder / "golden.bin"
        try:
            given = self.weights(artifact.golden_returns)
        except Exception as error:
            raise ArtifactError(f"{where}: the graph does not take the probe: {first_line(error)}") from None
        if given.shape != artifact.golden_weights.shape:
            raise ArtifactError(f"{where}: the graph answers the probe with shape {given.shape}")
        difference = float(np.abs(given - artifact.golden_weights).max())
        if not difference <= min(TOLERANCE, artifact.manifest.golden.tolerance):
            raise ArtifactError(
                f"{where}: the graph differs from the probe by {difference:.2g}; {TOLERANCE:g} is allowed"
            )


def first_line(error: Exception) -> str:
    """Of an exception's text, shortened."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def load_policy(folder: Path, params: Mapping[str, object]) -> LearnedPolicy:
    """The policy of the artifact in `folder`, all of it checked. Raises ArtifactError or ParamsError."""
    parse(str(folder), params, LearnedParams)
    return LearnedPolicy(artifacts.load(folder))
