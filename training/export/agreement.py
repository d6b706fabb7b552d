"""Compares two learned policies that read the same observation and trade the same universe: agreement of answers, and
latency on one machine.

What can go wrong. A comparison on real markets would publish purchased data: so the probes (test inputs) are random
markets. One of the two policies could be timed while the machine is busy: so their calls alternate. The state of a
recurrent policy would drift along one long series of probes: so the policy begins anew after EPISODE probes.
"""

from time import perf_counter_ns
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.models.artifacts.agent_policy import LearnedAgent
from quantd.models.artifacts.manifest import SAME, Agreement
from quantd.models.observation.return_features import LOOKBACK
from quantd.models.observation.sight import SightSpec, observation
from quantd.strategies.features import Inputs, compute, series_input
from quantd.trading.market import Floats
from quantd.trading.sessions import DAY_NS

PROBES: Final = 500
"""Random observations on which two policies are compared."""
EPISODE: Final = 50
"""Probes after which a recurrent policy starts a new episode."""

CALLS: Final = 1_000
"""Timed decisions of each policy."""

HISTORY: Final = 800
"""Sessions before the first columns of a random market."""


def random_market(draw: np.random.Generator, assets: int) -> tuple[Floats, Floats, float]:
    """Return (returns float64[LOOKBACK sessions, N assets], weights float64[N], cash weight) of a random market."""
    deviation = draw.uniform(0.004, 0.03, assets)
    returns = draw.normal(0.0004, deviation, (LOOKBACK, assets))
    shares = draw.dirichlet(np.ones(assets + 1))
    return returns, shares[:assets], float(shares[assets])


def random_columns(spec: SightSpec, assets: int, count: int) -> Floats:
    """Return float64[count, N, F]: the F input columns of N assets at the last `count` sessions of a random market."""
    if not spec.columns:
        return np.zeros((count, assets, 0))
    draw, rows = np.random.default_rng(2), HISTORY + count
    # moves and ranges of the size that daily bars usually have
    moves = draw.normal(0.0003, 0.012, (rows, assets))
    close = 100.0 * np.exp(np.cumsum(moves, axis=0))
    high, low = (close * np.exp(sign * np.abs(draw.normal(0.0, 0.006, close.shape))) for sign in (1.0, -1.0))
    bars = {
        "open": np.clip(close * np.exp(draw.normal(0.0, 0.003, close.shape)), low, high), "high": high, "low": low,
        "close": close, "volume": draw.uniform(0.5e6, 2e6, close.shape),
    }  # fmt: skip
    shared = {name: 20.0 * np.exp(draw.normal(0.0, 0.2, rows)) for name in spec.macro}
    series_inputs = {series_input(name): draw.normal(0.0, 1.0, close.shape) for name in spec.series}
    # the first asset stands for the benchmark
    inputs = Inputs(np.arange(rows) * DAY_NS, bars, 0 if spec.benchmark else None, series_inputs, shared)
    return compute(spec.declared, inputs)[-count:]


def probes_of(spec: SightSpec, assets: int, count: int = PROBES) -> NDArray[np.float32]:
    """Return float32[count, D]: `count` observations of D numbers, of random markets and books."""
    draw = np.random.default_rng(1)
    columns = random_columns(spec, assets, count)
    market_columns = (asset_columns if spec.columns else None for asset_columns in columns)
    return np.stack(
        [observation(spec, *random_market(draw, assets), asset_columns) for asset_columns in market_columns]
    )


def answers(agent: LearnedAgent, observed: NDArray[np.float32]) -> Floats:
    """Return the weights float64[count, N] of an agent for observations float32[count, D], in their order.

    Axes: N assets, D entries of an observation.
    """
    carried, weights = None, []
    for k, row in enumerate(observed):
        answer = agent.decide(row[None], None if k % EPISODE == 0 else carried)
        carried = answer.carried if answer.carried.size else None
        weights.append(answer.weights)
    return np.stack(weights)


def agreement(parent: LearnedAgent, child: LearnedAgent, observed: NDArray[np.float32]) -> Agreement:
    """Compare the answers of two policies to the same observations float32[count, D].

    Axes: D entries of an observation.
    """
    differences = np.abs(answers(parent, observed) - answers(child, observed))
    discrete = parent.artifact.manifest.action.kind == "discrete"
    # a discrete policy answers weights of the same allocation, or of another one
    same = differences.max(axis=1) <= (1e-6 if discrete else SAME)
    parent_times, child_times = latency(parent, child, observed)
    return Agreement(
        probes=len(observed),
        size_ratio=round(len(child.artifact.graph) / len(parent.artifact.graph), 4),
        p50_us=child_times[0],
        p99_us=child_times[1],
        parent_p50_us=parent_times[0],
        parent_p99_us=parent_times[1],
        largest_difference=float(differences.max()),
        mean_difference=float(differences.sum(axis=1).mean()),
        equal_actions=float(same.mean()),
    )


def latency(first: LearnedAgent, second: LearnedAgent, observed: NDArray[np.float32]) -> list[tuple[float, float]]:
    """Return (median, 99th percentile) of the latency of each policy in microseconds, one observation per call.

    The calls alternate, so that both policies meet the same load of the machine.
    """
    rows = [row[None] for row in observed[:64]]
    times = np.zeros((2, CALLS + 50))  # the first 50 calls are slower, and are not counted
    for k in range(CALLS + 50):
        row = rows[k % len(rows)]
        for index, agent in enumerate((first, second)):
            began = perf_counter_ns()
            agent.decide(row)
            times[index, k] = perf_counter_ns() - began
    return [
        (round(float(p50), 2), round(float(p99), 2)) for p50, p99 in np.percentile(times[:, 50:] / 1e3, (50, 99), 1).T
    ]
