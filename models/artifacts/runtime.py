"""Common parts of trained policies: ONNX Runtime session, order of symbols, and check of probes. Imports no torch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import numpy as np
from msgspec import Struct

from quantd.models.artifacts.folder import first_line
from quantd.models.artifacts.inspection import OPERATORS, graph_fault
from quantd.models.artifacts.manifest import ArtifactError, Golden, Manifest
from quantd.models.isolation.graph_process import GraphFailed, opener
from quantd.models.isolation.session import OpenGraph, Session
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats
from quantd.trading.ports import Policy

TOLERANCE: Final = 1e-5
"""Maximum difference of an answer to the golden probe on this machine; a manifest may permit less."""


def open_session(
    graph: bytes,
    where: Path,
    takes: list[str],
    gives: list[str] | None = None,
    threads: int = 1,
    opened: OpenGraph | None = None,
) -> Session:
    """Check an ONNX graph, and load it into a session by calling `opened`, by default an `opener`.

    `takes` are the names of the expected inputs, `gives` the names of the expected outputs (None for any). Raises
    ArtifactError for an invalid graph, and for one with other inputs or outputs.
    """
    session = new_session(graph, where, threads, opened=opened)
    inputs, outputs = [i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()]
    if inputs != takes or (gives is not None and outputs != gives):
        expected = f"{', '.join(takes)} and {', '.join(gives or outputs)}"
        raise ArtifactError(f"{where}: it takes {inputs} and gives {outputs}; {expected} are expected")
    return session


def new_session(
    graph: bytes,
    where: Path,
    threads: int,
    operators: frozenset[str] = OPERATORS,
    infinite: bool = False,
    opened: OpenGraph | None = None,
) -> Session:
    """Check an ONNX graph of permitted `operators`, with any inputs and outputs, and load it by calling `opened`.

    `where` is the graph's path. With `infinite` its constants may be infinite. Without `opened` it is loaded in a
    separate process, unless it is a shipped graph (`opener`). Raises ArtifactError for an invalid graph.
    """
    if fault := graph_fault(graph, operators, infinite):
        raise ArtifactError(f"{where}: {fault}; it is not loaded")
    try:
        return (opened or opener())(graph, where, threads)
    except Exception as error:  # the runtime raises several classes, none of them public
        raise ArtifactError(f"{where}: not a graph that ONNX Runtime loads: {first_line(error)}") from None


class Checked(Protocol):
    """A checked artifact in memory."""

    @property
    def folder(self) -> Path: ...

    @property
    def manifest(self) -> Manifest:
        """The manifest, whose digest covers every file."""
        ...


class Trained(Policy, Protocol):
    """The policy of an artifact."""

    @property
    def artifacts(self) -> Sequence[Checked]: ...

    @property
    def digest(self) -> str:
        """The digest of the artifact, which every start records in the journal."""
        ...

    @property
    def sessions(self) -> Sequence[Session]:
        """The open graphs, in this process or in another one."""
        ...

    @property
    def trained_until_ns(self) -> int:
        """Instant, ns UTC, after which nothing affected the weights or the choice among them."""
        ...

    @property
    def candidates(self) -> dict[str, int]:
        """Number of trials behind each trained policy, by its digest."""
        ...


class NoParams(Struct, frozen=True):
    """The empty parameters of a policy that has none."""


A = TypeVar("A", bound=Checked)


class Runtime(Generic[A]):
    """Base class of a policy of one graph. With `symbols` the policy trades exactly these, found by name; without
    them, any universe."""

    __slots__ = ("_order", "_symbols", "_universe", "artifact")

    def __init__(self, artifact: A, symbols: Sequence[str] | None) -> None:
        self.artifact = artifact
        self._symbols = symbols
        self._universe: Universe | None = None
        self._order: list[int] | None = None
        """Columns of the universe in the order of the artifact; None where both are the same."""

    @property
    def artifacts(self) -> tuple[A, ...]:
        """The policy's only artifact, as a tuple."""
        return (self.artifact,)

    @property
    def digest(self) -> str:
        """The digest of the artifact's manifest."""
        return self.artifact.manifest.digest

    def fit(self, universe: Universe) -> None:
        """Find the policy's symbols among the columns of `universe`. Raises ArtifactError where the symbols differ."""
        if self._symbols is not None:
            trained, offered = set(self._symbols), set(universe.symbols)
            if offered != trained:
                raise ArtifactError(
                    f"{self.artifact.folder}: trained on {', '.join(self._symbols)}; the universe lacks "
                    f"{', '.join(sorted(trained - offered)) or 'none'} and adds "
                    f"{', '.join(sorted(offered - trained)) or 'none'}; write the trained symbols into [universe], or "
                    "train a policy on the symbols of the universe"
                )
            order = universe.columns(self._symbols)
            self._order = None if order == list(range(len(self._symbols))) else order
        self._universe = universe

    def placed(self, weights: Floats) -> Floats:
        """Return weights float64[N] in the universe's order of symbols, from weights in the artifact's order."""
        if self._order is None:
            return weights
        in_order = np.zeros(len(weights))
        in_order[self._order] = weights
        return in_order


def probe_of(
    folder: Path, golden: Golden, lookback: int, least: int, answers: int, data: bytes
) -> tuple[Floats, Floats]:
    """Return the golden probe (recorded input): returns float64[lookback, assets], and the recorded outputs
    float64[answers].

    `data` is the content of golden.bin. Raises ArtifactError for another lookback or size, and for fewer than `least`
    assets.
    """
    cells = golden.lookback * golden.assets
    if golden.lookback != lookback or golden.assets < least or len(data) != 8 * (cells + answers):
        raise ArtifactError(f"{folder / 'golden.bin'}: {len(data)} bytes are not {golden.lookback} x {golden.assets}")
    values = np.frombuffer(data, dtype="<f8")
    return values[:cells].reshape(golden.lookback, golden.assets), values[cells:]


@contextmanager
def probing(folder: Path) -> Iterator[None]:
    """A context manager that converts a failure while a probe (recorded input) runs to ArtifactError. A GraphFailed
    stays what it is."""
    try:
        yield
    except (ArtifactError, GraphFailed):
        raise
    except Exception as error:
        raise ArtifactError(
            f"{folder / 'golden.bin'}: the graph does not take the probe: {first_line(error)}"
        ) from None


def check_probe(folder: Path, difference: float, allowed: float, words: str = "") -> None:
    """Raise ArtifactError where `difference` exceeds `allowed`, or is NaN.

    `difference` is the largest absolute difference between the graph's output for the golden probe on this machine and
    the output that the training machine recorded. `words` end the message.
    """
    if not difference <= allowed:
        raise ArtifactError(
            f"{folder / 'golden.bin'}: the graph differs from the probe by {difference:.2g}; {allowed:g} is "
            f"allowed{words}"
        )
