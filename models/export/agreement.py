"""Compares two learned policies of one observation and universe: agreement of answers, and latency on one machine."""

from time import perf_counter_ns
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.models.artifacts.agent_policy import LearnedAgent
from quantd.models.artifacts.manifest import SAME, Agreement
from quantd.models.observation.sight import SightSpec, observation
from quantd.trading.market import Floats

PROBES: Final = 500
EPISODE: Final = 50
"""Probes after which a recurrent policy starts a new episode."""

CALLS: Final = 1_000


def random_market(draw: np.random.Generator, spec: SightSpec, assets: int) -> tuple[Floats, Floats, float]:
    """Return (returns float64[lookback, N], weights float64[N], cash) of a random market, free of purchased data."""
    deviation = draw.uniform(0.004, 0.03, assets)
    returns = draw.normal(0.0004, deviation, (spec.lookback, assets))
    shares = draw.dirichlet(np.ones(assets + 1))
    return returns, shares[:assets], float(shares[assets])


def probes_of(spec: SightSpec, assets: int, count: int = PROBES, seed: int = 1) -> NDArray[np.float32]:
    """Return float32[count, D] observations of random markets and books."""
    draw = np.random.default_rng(seed)
    return np.stack([observation(spec, *random_market(draw, spec, assets)) for _ in range(count)])


def answers(agent: LearnedAgent, observed: NDArray[np.float32]) -> Floats:
    """Return float64[count, N] weights, in order of the observations."""
    carry, out = None, []
    for k, row in enumerate(observed):
        answer = agent.decide(row[None], None if k % EPISODE == 0 else carry)
        carry = answer.carried if answer.carried.size else None
        out.append(answer.weights)
    return np.stack(out)


def agreement(parent: LearnedAgent, child: LearnedAgent, observed: NDArray[np.float32]) -> Agreement:
    """Compare two policies over observations float32[count, D]."""
    apart = np.abs(answers(parent, observed) - answers(child, observed))
    discrete = parent.artifact.manifest.action.kind == "discrete"
    same = apart.max(axis=1) <= (1e-6 if discrete else SAME)
    before, after = latency(parent, child, observed)
    return Agreement(
        probes=len(observed),
        size_ratio=round(len(child.artifact.graph) / len(parent.artifact.graph), 4),
        p50_us=after[0],
        p99_us=after[1],
        parent_p50_us=before[0],
        parent_p99_us=before[1],
        largest_difference=float(apart.max()),
        mean_difference=float(apart.sum(axis=1).mean()),
        equal_actions=float(same.mean()),
    )


def latency(
    one: LearnedAgent, other: LearnedAgent, observed: NDArray[np.float32], calls: int = CALLS
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (p50, p99) in microseconds of each policy, batch 1. Calls alternate, so that both have the same load."""
    rows = [row[None] for row in observed[:64]]
    times: tuple[list[int], list[int]] = ([], [])
    for k in range(calls + 50):
        row = rows[k % len(rows)]
        for agent, spent in zip((one, other), times, strict=True):
            began = perf_counter_ns()
            agent.decide(row)
            spent.append(perf_counter_ns() - began)
    return _percentiles(times[0][50:]), _percentiles(times[1][50:])


def _percentiles(times_ns: list[int]) -> tuple[float, float]:
    p50, p99 = np.percentile(times_ns, (50, 99)) / 1e3
    return round(float(p50), 2), round(float(p99), 2)
