"""The policy `learned_allocation`: risk parity on predicted volatilities and correlations, tilted by predicted scores.

The policy's memory has a track record of each forest. A forest that performs worse than its plain estimate is switched
off until it performs better again; a note to the operators reports each switch.

What can go wrong, and what prevents it. A forest could be worse in operation than in its test: a bad track record
switches it off. Correlations that are predicted pair by pair need not form a valid matrix: negative eigenvalues are cut
to 0. The memory would grow with the universe: the track record covers only some assets and pairs, chosen by name, so
that the order of columns does not matter.

What the order of the steps guarantees. Predictions are scored, and forests switched, before the weights are computed. A
forest therefore has no effect on the weights of the very answer that reports that it was switched off.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from zlib import crc32

import numpy as np
from msgspec import Struct

from quantd.models.artifacts.folder import digest_of
from quantd.models.artifacts.manifest import FOREST_KINDS, ForestKind
from quantd.models.forests import scorekeeper
from quantd.models.forests.forest_features import LOOKBACK, Past, look, pairs, realised, relative, see
from quantd.models.forests.params import NAME, AllocationParams
from quantd.models.forests.prediction import Forest, ForestArtifact, Prediction, load_forest
from quantd.models.forests.scorekeeper import Track
from quantd.models.isolation.graph_process import opener
from quantd.models.isolation.session import OpenGraph, Session
from quantd.strategies.allocators.risk_parity import equal_risk
from quantd.strategies.policies.params import ParamsError, parse
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats, Ints
from quantd.trading.view import Memory, Noted, View

MOST_ASSETS: Final = 64
MOST_PAIRS: Final = 192
"""Maximum number of assets and pairs whose predictions are scored, which limits the memory to 64 KiB."""

FULL_TILT: Final = 0.5
"""The predicted score, in standard deviations of the horizon's return, that gives the full tilt."""

LEAST_EIGENVALUE: Final = 1e-4
"""Minimum eigenvalue of a correlation matrix."""


class Standing(Struct, frozen=True):
    """The state of a forest: figures of its artifact and of this run. `running_*` are None before the first scored
    prediction."""

    predicts: ForestKind
    artifact: str
    on: bool
    r2: float
    plain_r2: float
    mse: float
    plain_mse: float
    seconds: float | None
    rounds: int
    running_mse: float | None
    running_plain_mse: float | None


class LearnedAllocation:
    """The policy `learned_allocation` (quantd.trading.ports.Policy). Long only; an asset without complete history
    gets no weight."""

    __slots__ = ("_places", "_universe", "forests", "params")

    def __init__(self, params: AllocationParams, forests: Mapping[ForestKind, Forest]) -> None:
        self.params = params
        self.forests = dict(forests)
        self._universe: Universe | None = None
        self._places: dict[ForestKind, Ints] = {}

    @property
    def lookback(self) -> int:
        """The number of samples of returns that the forests' features read."""
        return LOOKBACK

    @property
    def artifacts(self) -> tuple[ForestArtifact, ...]:
        return tuple(forest.artifact for forest in self.forests.values())

    @property
    def sessions(self) -> tuple[Session, ...]:
        return tuple(forest.session for forest in self.forests.values())

    @property
    def digest(self) -> str:
        """The digest of all forests together, which every start records in the journal."""
        return digest_of(
            "".join(self.forests[k].artifact.manifest.digest for k in FOREST_KINDS if k in self.forests).encode()
        )

    @property
    def trained_until_ns(self) -> int:
        """The end of the latest training window of a forest, in ns UTC."""
        return max((f.artifact.manifest.training.until_ns for f in self.forests.values()), default=0)

    def act(self, view: View, memory: Memory) -> tuple[Floats | Noted, Memory]:
        """Return target weights for a view, as fractions of the book's equity, and the new memory.

        A forest whose errors so far are not below the errors of the plain estimate is replaced by this estimate, with a
        warning.
        """
        returns = view.synchronous(LOOKBACK)
        past = look(returns)
        predictions = {kind: forest.predict(past) for kind, forest in self.forests.items()}
        memory_after: dict[str, Floats] = {}
        is_on: dict[ForestKind, bool] = {}
        for kind, prediction in predictions.items():
            track = self._followed(kind, prediction, view, returns, memory)
            memory_after |= scorekeeper.freeze(kind, track)
            is_on[kind] = track.on
        weights = self._weights(past, predictions, is_on)
        switched_off = [kind for kind in FOREST_KINDS if not is_on.get(kind, True)]
        if not switched_off:
            return weights, memory_after
        note = (
            f"{NAME}: the plain estimate stands in for {' and '.join(switched_off)}, whose forest was not better than "
            "it"
        )
        return Noted(weights, note, warns=True), memory_after

    def standing(self, memory: Memory, universe: Universe) -> list[Standing]:
        """Return the state of each forest, for reports and metrics."""
        standings = []
        for kind in (kind for kind in FOREST_KINDS if kind in self.forests):
            artifact, track = self.forests[kind].artifact, self._track(kind, universe, memory)
            comparison, (mse, plain_mse) = artifact.manifest.together, track.running or (None, None)
            scores = (comparison.model.r2, comparison.plain.r2, comparison.model.mse, comparison.plain.mse)
            name = artifact.manifest.name
            standings.append(Standing(kind, name, track.on, *scores, artifact.seconds, track.rounds, mse, plain_mse))
        return standings

    def _track(self, kind: ForestKind, universe: Universe, memory: Memory) -> Track:
        """Return the track record of a forest from the memory; a new record if the memory has the record of another
        forest or universe."""
        manifest = self.forests[kind].artifact.manifest
        identity = crc32("\n".join((manifest.digest, *sorted(universe.symbols))).encode())
        places = self._tracked(universe)[kind]
        return scorekeeper.thaw(
            kind, memory, scorekeeper.begin(identity, len(places), manifest.horizon, on=manifest.beats_plain())
        )

    def _followed(self, kind: ForestKind, prediction: Prediction, view: View, returns: Floats, memory: Memory) -> Track:
        """Return the track record of a forest after this decision.

        Its prediction is added, and the outcomes known by now are scored. `returns` float64[LOOKBACK, N] end at this
        decision.
        """
        horizon = self.forests[kind].horizon
        track = self._track(kind, view.universe, memory)
        places = self._places[kind]

        def outcome(samples_ago: int) -> Floats | None:
            """Return the outcome of the prediction made `samples_ago` samples ago; None where its returns are no longer
            known."""
            if samples_ago > LOOKBACK:
                return None
            start = LOOKBACK - samples_ago
            values = realised(kind, returns[start : start + horizon])[places]
            return relative(values) if kind == "allocation" else values

        return scorekeeper.follow(
            track, view.sample, horizon, outcome, prediction.model[places], prediction.plain[places]
        )

    def _tracked(self, universe: Universe) -> dict[ForestKind, Ints]:
        """Return, for each kind of forest, the rows (assets or pairs) whose predictions are scored.

        The rows are chosen by the names of the symbols, so that the order of the columns does not matter.
        """
        if universe is not self._universe:
            size = len(universe.symbols)
            by_name = np.array(sorted(range(size), key=lambda k: universe.symbols[k]), dtype=np.int64)
            row_of = np.zeros((size, size), dtype=np.int64)
            i, j = pairs(size)
            # the row of each pair of columns, in either order
            row_of[i, j] = row_of[j, i] = np.arange(len(i))
            rows = row_of[by_name[i], by_name[j]]
            # at most MOST_PAIRS pairs, evenly spread over all
            spread = np.arange(min(len(rows), MOST_PAIRS)) * len(rows) // max(1, min(len(rows), MOST_PAIRS))
            assets = by_name[:MOST_ASSETS]
            self._places = {"risk": assets, "correlation": rows[spread], "allocation": assets}
            self._universe = universe
        return self._places

    def _weights(
        self, past: Past, predictions: Mapping[ForestKind, Prediction], is_on: Mapping[ForestKind, bool]
    ) -> Floats:
        """Return the weights float64[N], from forests that are switched on and plain estimates for the others.

        An asset without known history has the weight 0. The weights fall with volatility; with the method risk_parity
        they also take correlations into account, and a forest of returns tilts them by `max_tilt` at most. They add up
        to the parameter `invested`.
        """
        mask = past.known
        weights = np.zeros(len(mask))
        if not mask.any():
            return weights
        volatility = past.ewma
        if "risk" in predictions:
            volatility = predictions["risk"].model if is_on["risk"] else predictions["risk"].plain
        raw_weights = np.exp(-volatility[mask])  # 1 / volatility, which is given as its logarithm
        if self.params.method == "risk_parity":
            if "correlation" in predictions:
                fisher = predictions["correlation"].model if is_on["correlation"] else predictions["correlation"].plain
            else:
                estimates = see("correlation", past)
                fisher = np.where(estimates.known, estimates.plain, np.nan)
            raw_weights *= equal_risk(correlation_matrix(fisher, mask))
        if "allocation" in predictions and is_on["allocation"]:
            score = relative(predictions["allocation"].model[mask])
            raw_weights *= 1.0 + self.params.max_tilt * np.clip(score / FULL_TILT, -1.0, 1.0)
        total = raw_weights.sum()
        if total > 0.0:
            weights[mask] = raw_weights * (self.params.invested / total)
        return weights


def correlation_matrix(fisher: Floats, mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Floats:
    """Return the correlation matrix float64[n, n] of the n known assets, from Fisher's z float64[pairs] of all pairs of
    N assets.

    Separate predictions need not form a valid matrix. Negative eigenvalues are therefore cut, and the diagonal is
    scaled back to 1 (Rousseeuw and Molenberghs 1993). NaN counts as 0.
    """
    size = len(mask)
    i, j = pairs(size)
    full = np.eye(size)
    full[i, j] = full[j, i] = np.tanh(np.nan_to_num(fisher))
    matrix = full[np.ix_(mask, mask)]
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < LEAST_EIGENVALUE:
        matrix = (vectors * np.maximum(values, LEAST_EIGENVALUE)) @ vectors.T
        scale = 1.0 / np.sqrt(matrix.diagonal())
        matrix = matrix * scale * scale[:, None]
    return matrix


def make_learned_allocation(
    params: Mapping[str, object], find: Callable[[str], Path], opened: OpenGraph | None = None
) -> LearnedAllocation:
    """Create the policy `learned_allocation`; `find` resolves a configured folder. Raises ParamsError or
    ArtifactError."""
    parameters = parse(NAME, params, AllocationParams)
    folders: dict[ForestKind, str] = {
        "risk": parameters.risk,
        "correlation": parameters.correlation,
        "allocation": parameters.allocation,
    }
    opened = opened or opener()
    forests = {kind: load_forest(find(folder), kind, opened) for kind, folder in folders.items() if folder}
    if not forests:
        raise ParamsError(f"{NAME}: risk, correlation and allocation are all empty; name the folder of one forest")
    return LearnedAllocation(parameters, forests)


def allocation_with(folder: Path, params: Mapping[str, object], opened: OpenGraph | None = None) -> LearnedAllocation:
    """Create the policy `learned_allocation` with one forest, and plain estimates for the rest. Raises ParamsError
    or ArtifactError."""
    forest = load_forest(folder, opened=opened)
    for key in FOREST_KINDS:
        if key in params:
            raise ParamsError(f"{folder}: {key} = {params[key]!r}: for several forests write policy = {NAME!r}")
    no_other_forests: dict[str, object] = dict.fromkeys(FOREST_KINDS, "")
    return LearnedAllocation(
        parse(str(folder), {**no_other_forests, **params}, AllocationParams), {forest.kind: forest}
    )
