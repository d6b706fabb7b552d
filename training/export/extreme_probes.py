"""Test inputs (probes) for an eight-bit copy of a policy, at the extremes of its integer products. Needs onnx.

The answers of a processor that cuts sums of products at 16 bits differ most where two neighbouring inputs of a layer
are rounded to 255 and their weights are large. This module searches for such inputs among random markets of extreme
moves. The recorded answers come from the onnx package's reference implementation, which adds in 32 bits on every
processor.

A discrete policy answers with its best allocation. So its probes show a cut sum only where the cut changes the best
allocation.

What can go wrong. Usual inputs never reach the sums that are cut: a copy would pass its probes and answer differently
in extreme markets. So extreme inputs are searched. Expected answers from this machine's own runtime would contain its
error: so they are computed in exact integers. A probe between two nearly equal allocations would fail by rounding
alone: so its best allocation needs a clear lead.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from quantd.models.artifacts.agent_policy import CARRY, Golden, LearnedAgent, LearnedArtifact
from quantd.models.artifacts.runtime import open_session
from quantd.models.observation.return_features import LOOKBACK
from quantd.models.observation.sight import SightSpec, observation
from quantd.trading.market import Floats
from quantd.training.export.agreement import random_columns, random_market

CANDIDATES: Final = 96
"""Random markets among which the extremes are searched; a third of them have usual moves."""

DRIFT: Final = 0.04
"""Return a day in an extreme market, large enough that its features reach the limit at which they are cut."""

BEYOND: Final = 4.0
"""Distance of an extreme column from the middle of the usual columns, in multiples of their range."""

ROWS: Final = 4
"""Rows of a layer's input whose products are measured: the rows with the largest sums."""

NEAR: Final = 0.95
"""Fraction of the largest value among the candidates from which an extreme counts as reached."""

CLEAR: Final = 0.05
"""Minimum lead of the best discrete allocation in a probe, in standard deviations of the scores."""

LEAST, MOST = 0, 255
"""Smallest and largest value of an input that is rounded to uint8."""


class Market(NamedTuple):
    """A probe, one test input: `returns` float64[LOOKBACK, N], the held `weights` float64[N], the share `cash`, and
    `columns` float64[N, F], the further inputs of the policy.

    Axes: N assets.
    """

    returns: Floats
    weights: Floats
    cash: float
    columns: Floats


class ExactAgent(LearnedAgent):
    """A policy whose ONNX graph is computed by the onnx package's reference implementation, in exact integers."""

    __slots__ = ()

    def __init__(self, artifact: LearnedArtifact) -> None:
        super().__init__(artifact, prove=False)
        self._run = ReferenceEvaluator(artifact.graph).run


def with_extremes(golden: Golden, copy: LearnedArtifact) -> Golden:
    """Return the probes (test inputs) `golden` with further probes: random markets that reach the extremes of each
    rounded layer of `copy`.

    The state of a recurrent policy is carried from probe to probe, as it is when the artifact is loaded.
    """
    spec, assets = copy.manifest.sight, len(copy.manifest.universe)
    markets = extreme_markets(spec, assets)
    observed = [
        observation(spec, market.returns, market.weights, market.cash, market.columns if spec.columns else None)
        for market in markets
    ]
    agent, carry = ExactAgent(copy), None
    for k in range(len(golden.cash)):
        columns = golden.columns[k] if spec.columns else None
        golden_answer = agent.answer(
            golden.returns[k], golden.weights[k], float(golden.cash[k]), carry, columns=columns
        )
        carry = golden_answer.carried if golden_answer.carried.size else None
    probes: list[tuple[Floats, Floats, float, Floats, Floats, Floats]] = []
    for k in extremes(copy, observed):
        answer, market = agent.decide(observed[k][None], carry), markets[k]
        # another processor could choose another allocation where two scores are nearly equal
        if not _has_clear_lead(answer.scores):
            continue
        carry = answer.carried if answer.carried.size else None
        probes.append((market.returns, market.weights, market.cash, answer.weights, answer.seats, market.columns))
    if not probes:
        return golden
    golden_arrays = (golden.returns, golden.weights, golden.cash, golden.answers, golden.seats, golden.columns)
    added_arrays = (
        np.stack([np.asarray(value, dtype=np.float64) for value in values]) for values in zip(*probes, strict=True)
    )
    return Golden(
        *(
            np.concatenate([old, new.reshape(len(probes), *old.shape[1:])])
            for old, new in zip(golden_arrays, added_arrays, strict=True)
        )
    )


def extreme_markets(spec: SightSpec, assets: int) -> list[Market]:
    """Return random markets, some usual and some in which every asset moves at the limit of its features."""
    draw = np.random.default_rng(3)
    usual = random_columns(spec, assets, CANDIDATES)
    low, high = (usual.min(axis=(0, 1)), usual.max(axis=(0, 1))) if spec.columns else (np.zeros(0), np.zeros(0))
    markets = []
    for k in range(CANDIDATES):
        returns, weights, cash = random_market(draw, assets)
        columns = usual[k]
        if k % 3:  # two of three markets are extreme
            # from some session on, every asset drifts up or down
            recent = np.arange(LOOKBACK)[:, None] >= draw.integers(0, LOOKBACK, assets)
            signs = draw.choice((-1.0, 1.0), assets)
            returns = np.clip(returns * draw.choice((0.1, 1.0, 10.0)) + DRIFT * signs * recent, -0.5, 1.0)
            # 0.05: nearly all in one asset or in cash
            shares = draw.dirichlet(np.full(assets + 1, 0.05))
            weights, cash = shares[:assets], float(shares[assets])
            sides = draw.choice((-1.0, 1.0), columns.shape)
            columns = (low + high) / 2 + BEYOND * sides * (high - low)
        markets.append(Market(returns, weights, cash, columns))
    return markets


def extremes(copy: LearnedArtifact, observed: list[NDArray[np.float32]]) -> list[int]:
    """Return the indices of a small set of observations that together reach the extremes of every rounded layer.

    The extremes are the largest sum of the products of two neighbouring inputs with their weights, and the largest
    share of inputs at 0 or 255, the bounds of a rounded input.
    """
    model = onnx.load_from_string(copy.graph)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = {
        node.input[0]: numpy_helper.to_array(constants[node.input[1]]).astype(np.int32)
        for node in model.graph.node
        if node.op_type == "MatMulInteger"
    }
    if not layers:
        return []
    for name in layers:
        # None: any shape
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.UINT8, None))
    size = copy.manifest.network.carry
    first_state: dict[str, Any] = {CARRY: np.zeros((1, size), np.float32)} if size else {}
    session = open_session(
        model.SerializeToString(deterministic=True), copy.folder / "policy.onnx", ["observation", *first_state]
    )
    measured = np.zeros((len(observed), 2, len(layers)))  # [observation, sum of a pair or share at a bound, layer]
    for k, row in enumerate(observed):
        layer_inputs = session.run(list(layers), first_state | {"observation": row[None]})
        for layer, (values, matrix) in enumerate(zip(layer_inputs, layers.values(), strict=True)):
            measured[k, 0, layer] = pair_sum(values, matrix)
            measured[k, 1, layer] = float(np.isin(values, (LEAST, MOST)).mean())
    table = measured.reshape(len(observed), -1)
    reached = table >= NEAR * table.max(axis=0)
    chosen: list[int] = []
    remaining = np.ones(table.shape[1], dtype=bool)
    while remaining.any():  # greedily: next the observation that reaches most of the extremes not reached yet
        best = int((reached & remaining).sum(axis=1).argmax())
        chosen.append(best)
        remaining &= ~reached[best]
    return sorted(chosen)


def pair_sum(values: NDArray[Any], matrix: NDArray[Any]) -> int:
    """Return the largest absolute sum of two neighbouring inputs times their weights: `values` uint8[.., K] are the
    inputs, `matrix` int[K, N] the weights. Axes: K inputs, N outputs of a layer.
    """
    rows = values.reshape(-1, values.shape[-1]).astype(np.int32)
    rows = rows[np.argsort(rows.sum(axis=1))[-ROWS:]]
    odd = matrix.shape[0] % 2  # an odd number of inputs gets a zero, so that the last input has a neighbour
    rows, weights = np.pad(rows, ((0, 0), (0, odd))), np.pad(matrix.astype(np.int32), ((0, odd), (0, 0)))
    sums = rows[:, ::2, None] * weights[None, ::2] + rows[:, 1::2, None] * weights[None, 1::2]
    return int(np.abs(sums).max(initial=0))


def _has_clear_lead(scores: NDArray[np.float32]) -> bool:
    """Return True when one allocation has a clearly higher score than the others, and for a policy without scores."""
    if len(scores) < 2:
        return True
    second, best = np.sort(scores)[-2:]
    return float(best - second) > CLEAR * max(float(scores.std()), 1e-6)
