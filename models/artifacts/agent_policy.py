"""Runs a learned policy in ONNX Runtime, with the observation function of training. Imports no torch.

What can go wrong. The graph could give other weights on this machine than on the machine of its training, or its inputs
could be computed in another way. No error would be raised, and the policy would trade other weights than it was trained
to.

What the order of the steps guarantees. The hashes of the observation's declaration (sight) and of its features are
compared before anything runs, so that an artifact whose observation this version of quantd computes differently is
refused. Before the first decision, the constructor runs the graph on the golden probes (recorded inputs with recorded
answers), and compares the answers within a tolerance. The carry (state) of a recurrent graph goes through all probes in
order, as in a run: a graph whose carry differs gives other answers to later probes.
"""

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec import Struct, convert
from numpy.typing import NDArray

from quantd.models.artifacts.folder import read
from quantd.models.artifacts.manifest import MANIFEST, TOLERANCES, AgentManifest, ArtifactError, Seat, agent_fault
from quantd.models.artifacts.runtime import Runtime, check_probe, open_session, probing
from quantd.models.artifacts.weights import tensors_fault
from quantd.models.history.panel import MacroSource
from quantd.models.isolation.session import OpenGraph, Session
from quantd.models.observation import sight as sights
from quantd.models.observation.return_features import LOOKBACK
from quantd.models.observation.sight import columns_of_view, lacking, observation, sight_hash
from quantd.strategies.policies import nearest
from quantd.strategies.policies.params import ParamsError, parse
from quantd.trading.market import Bools, Floats
from quantd.trading.view import HOLD, Memory, Noted, View

CARRY: Final = "carry"
"""Name of the carry of a recurrent network in the policy's memory."""


class LearnedAgentParams(Struct, frozen=True):
    """Parameters of a learned policy.

    `seat` is the agent to trade, for an artifact that was trained with several agents (seats); by default all of them
    trade, weighted by capital.
    """

    seat: str = ""


class Answer(Struct, frozen=True):
    """Output of the graph, in the artifact's order of symbols.

    `weights` is float64[N] for N assets, `carried` float32[1, C] the next state of a recurrent network with C state
    values, and `seats` float64[S, N] the weights of each of S agents. `scores` float32[A] are probabilities or values
    of the A discrete allocations. Fields that do not apply to the artifact are empty.
    """

    weights: Floats
    scores: NDArray[np.float32]
    carried: NDArray[np.float32]
    seats: Floats


_NONE: Final = np.zeros(0, dtype=np.float32)
_NO_SEATS: Final = np.zeros((0, 0))


class Golden(Struct, frozen=True):
    """The content of golden.bin: recorded inputs (probes) and the recorded answers, in this order."""

    returns: Floats
    weights: Floats
    cash: Floats
    answers: Floats
    seats: Floats
    columns: Floats


class LearnedArtifact(Struct, frozen=True):
    """A learned policy's artifact in memory, checked against its manifest."""

    folder: Path
    manifest: AgentManifest
    graph: bytes
    weights: bytes
    """safetensors, for further training."""
    golden: Golden


def load(folder: Path) -> LearnedArtifact:
    """Load the artifact in `folder`. Raises ArtifactError for a fault of its files, manifest or observation."""
    manifest_path = folder / MANIFEST
    manifest, contents = read(folder, AgentManifest)
    if manifest.sight_hash != sight_hash(manifest.sight):
        raise ArtifactError(
            f"{manifest_path}: sight_hash does not match its sight: this quantd reads it otherwise; train it again"
        )
    for fault in (agent_fault(manifest), sights.fault(manifest.sight, manifest.universe)):
        if fault:
            raise ArtifactError(f"{manifest_path}: {fault}; train it again")
    if manifest.features_hash != (manifest.sight.declared.digest if manifest.sight.columns else ""):
        raise ArtifactError(
            f"{manifest_path}: features_hash does not match its columns: this quantd computes others; train it again"
        )
    if fault := tensors_fault(contents["weights.safetensors"]):
        raise ArtifactError(f"{folder / 'weights.safetensors'}: {fault}")
    return LearnedArtifact(
        folder, manifest, contents["policy.onnx"], contents["weights.safetensors"], _golden(folder, manifest, contents)
    )


def _golden(folder: Path, manifest: AgentManifest, contents: dict[str, bytes]) -> Golden:
    """Return the probes (recorded inputs) of golden.bin. Raises ArtifactError if the size differs from the
    manifest's."""
    probes, assets, data = manifest.golden, len(manifest.universe), contents["golden.bin"]
    shapes = [
        (probes.count, probes.lookback, assets), (probes.count, assets), (probes.count,), (probes.count, assets),
        (probes.count, probes.seats, assets), (probes.count, assets, len(manifest.sight.columns)),
    ]  # fmt: skip
    cells = [prod(shape) for shape in shapes]
    is_other_shape = probes.lookback != LOOKBACK or probes.assets != assets or probes.seats != len(manifest.seats)
    if is_other_shape or probes.count < 1 or len(data) != 8 * sum(cells):  # 8 bytes of a float64
        raise ArtifactError(
            f"{folder / 'golden.bin'}: {len(data)} bytes are not {probes.count} probes of {probes.lookback} x "
            f"{probes.assets}"
        )
    values = np.frombuffer(data, dtype="<f8")
    arrays = [part.reshape(shape) for part, shape in zip(np.split(values, np.cumsum(cells)[:-1]), shapes, strict=True)]
    # the first and last arrays, returns and columns, may have NaN: an asset without history
    if not all(np.isfinite(part).all() for part in arrays[1:-1]):
        raise ArtifactError(f"{folder / 'golden.bin'}: a weight, cash or an answer is NaN or infinite")
    return Golden(*arrays)


class LearnedAgent(Runtime[LearnedArtifact]):
    """Implements quantd.trading.ports.Policy with the graph of an artifact.

    The policy trades exactly the symbols of its training, which are found by name; another universe raises
    ArtifactError. An asset without a price gets no weight. `by_rows` is True when one run of the graph answers several
    observations.
    """

    __slots__ = ("_gives", "_invested", "_recurrent", "_run", "_seat", "_session", "_shares", "by_rows")

    def __init__(
        self,
        artifact: LearnedArtifact,
        *,
        seat_name: str = "",
        prove: bool = True,
        threads: int = 1,
        opened: OpenGraph | None = None,
    ) -> None:
        """Load the ONNX graph, and with `prove` check that it reproduces the golden probes (recorded answers).

        `seat_name` selects the weights of one agent (seat). By default the policy answers the sum of all agents'
        weights, each multiplied by the agent's share of the capital.
        """
        manifest = artifact.manifest
        super().__init__(artifact, manifest.universe)
        self._seat = _seat_index(manifest.seats, seat_name, artifact.folder)
        self._recurrent = manifest.network.carry > 0
        inputs = ["observation", *([CARRY] if self._recurrent else [])]
        self._gives = ["weights"]  # the outputs of the graph
        if manifest.seats:
            self._gives.append("seats")
        if manifest.action.kind == "discrete":
            self._gives.append("scores")
        if self._recurrent:
            self._gives.append("carried")
        graph_path = artifact.folder / "policy.onnx"
        self._session = open_session(artifact.graph, graph_path, inputs, self._gives, threads, opened)
        self._run: Any = self._session.run
        # a first dimension with a name in place of a number takes any number of observations
        self.by_rows: bool = isinstance(self._session.get_inputs()[0].shape[0], str)
        # by seat (one of the agents that were trained together): most invested, and share of the equity
        self._invested = np.array([[s.invested] for s in manifest.seats])
        self._shares = np.array([s.share for s in manifest.seats])
        if prove:
            self._prove()

    @property
    def sessions(self) -> tuple[Session, ...]:
        return (self._session,)

    @property
    def trained_until_ns(self) -> int:
        return self.artifact.manifest.training.until_ns

    @property
    def candidates(self) -> dict[str, int]:
        """Return digest of the artifact -> number of trials behind it, the trials of the search for its settings
        included."""
        manifest = self.artifact.manifest
        steps, every = (convert(manifest.plan.get(key, 1), int) for key in ("steps", "evaluate_every"))
        checkpoints = steps // max(every, 1)
        return {manifest.digest: manifest.training.candidates(checkpoints) + manifest.tuning_trials}

    @property
    def lookback(self) -> int:
        """The number of samples (closes) that one observation of the network contains."""
        return self.artifact.manifest.sight.lookback

    @property
    def uses_bars(self) -> bool:
        """True when the observation has columns of features, which need whole bars: open, high, low, close, volume."""
        return bool(self.artifact.manifest.sight.columns)

    @property
    def sources(self) -> tuple[MacroSource, ...]:
        """The macro series and series per symbol that the policy was trained with."""
        return self.artifact.manifest.sources

    @property
    def uses_macro(self) -> tuple[str, ...]:
        """The names of the series under [feed] macro that the policy requires."""
        return self.artifact.manifest.sight.macro

    @property
    def uses_series(self) -> tuple[str, ...]:
        """The names of the series under [feed] series that the policy requires."""
        return self.artifact.manifest.sight.series

    def seen(self, view: View) -> NDArray[np.float32]:
        """Return the observation float32[D] of a view, in the artifact's order of symbols.

        A shared column (one value for all assets, such as VIX) is NaN where no value is known.
        """
        if view.universe is not self._universe:
            self.fit(view.universe)
        returns, weights, order = view.synchronous(LOOKBACK), view.weights, self._order
        columns = columns_of_view(self.artifact.manifest.sight, view)
        if order is not None:
            returns, weights = returns[:, order], weights[order]
            columns = None if columns is None else columns[order]
        return observation(self.artifact.manifest.sight, returns, weights, view.cash, columns)

    def lacking(self, seen: NDArray[np.float32]) -> str:
        """Return the name of the first shared column (one value for all assets) that is missing in an observation;
        empty when none is."""
        return lacking(self.artifact.manifest.sight, seen)

    def question(self, view: View, memory: Memory) -> tuple[NDArray[np.float32], NDArray[Any] | None, Bools]:
        """Return the arguments of `decide` for a view: the observation float32[1, D], the network's state (None if not
        recurrent), and bool[N], True for an asset with a price."""
        seen, carry, order = self.seen(view), memory.get(CARRY), self._order
        prices = view.prices if order is None else view.prices[order]
        return seen[None], None if carry is None else carry[None], np.isfinite(prices)

    def act(self, view: View, memory: Memory) -> tuple[Floats | Noted, Memory]:
        """Return target weights for a view, as fractions of the book's equity, and the new memory.

        While a column of the observation has no value, all lots are kept (HOLD), with a warning. The memory is the
        state (carry) of a recurrent network, float64[R].
        """
        observed, carry, priced = self.question(view, memory)
        if name := self.lacking(observed[0]):
            return Noted(HOLD, f"{name} has no value yet; every lot is kept", warns=True), memory
        answer = self.decide(observed, carry, priced)
        weights = self.placed(answer.weights)
        if not self._recurrent:
            return weights, memory
        return weights, {CARRY: answer.carried[0].astype(np.float64)}

    def answer(
        self,
        returns: Floats,
        weights: Floats,
        cash: float,
        carry: NDArray[Any] | None = None,
        priced: Bools | None = None,
        columns: Floats | None = None,
    ) -> Answer:
        """Return the network's answer to returns float64[.., N], held weights float64[N] and cash, in the artifact's
        order of symbols.

        `carry` [1, C], the network's state, is the field `carried` of the previous answer, None at first. `priced`
        bool[N] is True for an asset with a price, or None when all have one. `columns` float64[N, F] are the values of
        the F feature columns of the observation.
        """
        seen = observation(self.artifact.manifest.sight, returns, weights, cash, columns)
        return self.decide(seen[None], carry, priced)

    def decide(
        self, observed: NDArray[np.float32], carry: NDArray[Any] | None = None, priced: Bools | None = None
    ) -> Answer:
        """Return the network's answer to an observation float32[1, D].

        `carry` is the state of a recurrent network after its last answer, None at first. `priced` bool[N] is True for
        an asset with a price, None when all have one; an asset without a price gets the weight 0. The answers of seats
        (agents that were trained together) are added by share, or one of them is taken.
        """
        inputs = {"observation": observed}
        if self._recurrent:
            size = self.artifact.manifest.network.carry
            inputs[CARRY] = np.zeros((1, size), np.float32) if carry is None else carry.astype(np.float32)
        outputs = dict(zip(self._gives, self._run(None, inputs), strict=True))  # None: all outputs
        weights: Floats = outputs["weights"][0].astype(np.float64)
        seats = _NO_SEATS
        # nothing to exclude
        if priced is not None and priced.all():
            priced = None
        if "seats" in outputs:
            seats = self._capped(outputs["seats"][0].astype(np.float64), priced)
            weights = seats[self._seat] if self._seat is not None else self._shares @ seats
        elif priced is not None:
            weights[~priced] = 0.0
        # `_NONE`: the graph has no such output
        return Answer(weights, outputs.get("scores", _NONE[None])[0], outputs.get("carried", _NONE[None]), seats)

    def decide_all(self, observed: NDArray[np.float32]) -> Floats:
        """Return weights float64[B, N] for B observations float32[B, D], without memory; in one run of the graph
        where the graph permits it."""
        if not self.by_rows or self._seat is not None:
            return np.stack([self.decide(row[None]).weights for row in observed])
        inputs = {"observation": observed}
        if self._recurrent:
            inputs[CARRY] = np.zeros((len(observed), self.artifact.manifest.network.carry), np.float32)
        weights: Floats = self._run(["weights"], inputs)[0].astype(np.float64)
        return weights

    def _capped(self, seats: Floats, priced: Bools | None) -> Floats:
        """Return the weights float64[S, N] of S agents (seats), 0 for assets without a price, scaled down to each
        agent's maximum.

        `quantd.training.market.desks` does the same in training.
        """
        if priced is not None:
            seats[:, ~priced] = 0.0
        invested = np.maximum(seats.sum(axis=1, keepdims=True), 1e-12)
        return seats * np.minimum(1.0, self._invested / invested)

    def _prove(self) -> None:
        """Check that this machine reproduces the recorded answers of the training machine."""
        manifest = self.artifact.manifest
        allowed = min(TOLERANCES[manifest.precision], manifest.golden.tolerance)
        check_probe(self.artifact.folder, self.difference(), allowed, f" ({manifest.precision})")

    def difference(self) -> float:
        """Return the largest difference of a weight from the recorded weight over the golden probes (recorded inputs);
        NaN where an answer is not finite.

        Raises ArtifactError for an answer of another shape.
        """
        golden, probe_path = self.artifact.golden, self.artifact.folder / "golden.bin"
        carry, largest = None, 0.0
        shares = self._shares if self.artifact.manifest.seats else None
        for k in range(len(golden.cash)):
            with probing(self.artifact.folder):
                columns = golden.columns[k] if self.uses_bars else None
                answer = self.answer(
                    golden.returns[k], golden.weights[k], float(golden.cash[k]), carry, columns=columns
                )
            weights = answer.weights if shares is None else shares @ answer.seats
            if weights.shape != golden.answers[k].shape or answer.seats.size != golden.seats[k].size:
                raise ArtifactError(f"{probe_path}: the graph answers the probe with shape {weights.shape}")
            differences = np.abs(
                np.concatenate([weights - golden.answers[k], answer.seats.ravel() - golden.seats[k].ravel()])
            )
            largest = max(largest, float(differences.max())) if np.isfinite(differences).all() else float("nan")
            if largest != largest:  # NaN
                return largest
            # a recurrent policy carries its state from probe to probe
            carry = answer.carried if self._recurrent else None
        return largest


def _seat_index(seats: tuple[Seat, ...], name: str, folder: Path) -> int | None:
    """Return the index of the agent (seat) named `name`; None for an empty name, which means all of them together."""
    if not name:
        return None
    names = [agent.name for agent in seats]
    if not names:
        raise ParamsError(f"{folder}: seat = {name!r}: this policy is of one agent and has no seats; omit seat")
    if name not in names:
        raise ParamsError(f"{folder}: seat = {name!r}: its seats are {', '.join(names)}; {nearest(name, names)}")
    return names.index(name)


def load_agent(folder: Path, params: Mapping[str, object], opened: OpenGraph | None = None) -> LearnedAgent:
    """Load the policy in `folder` with all checks. Raises ArtifactError or ParamsError."""
    return LearnedAgent(load(folder), seat_name=parse(str(folder), params, LearnedAgentParams).seat, opened=opened)
