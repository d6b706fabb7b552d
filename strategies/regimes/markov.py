"""Gaussian hidden Markov models: Baum-Welch for the fit, the forward algorithm for the current state.

What can go wrong: a state of today that later samples revise. There is no smoothing outside the fit: `filtered` at t
uses rows up to t only. `expected` uses later samples too, so it serves only the fit on past ones. Products of many
densities underflow; each row is scaled to at most 1 and the scale counts in the likelihood.

Sources: Baum et al. 1970; scaling after Rabiner 1989. Arrays: samples float64[T, D], chain float64[K, K] (rows: from),
initial float64[K].
"""

from typing import Final, NamedTuple

import numpy as np

from quantd.strategies.regimes.mixture import FLOOR, TOLERANCE, States, log_densities, starts, states_from
from quantd.trading.market import Floats

STAY: Final = 0.95
"""Initial probability of staying in a state: regimes last about a month."""


class Markov(NamedTuple):
    """A fitted model. `score` is the log-likelihood of its training samples."""

    initial: Floats
    chain: Floats
    states: States
    score: float


def _densities(samples: Floats, states: States) -> tuple[Floats, Floats]:
    """Return (float64[T, K] densities scaled to at most 1 in each row, float64[T] log of the scale)."""
    logs = log_densities(samples, states)
    peak = logs.max(axis=1)
    return np.exp(logs - peak[:, None]), peak


def filtered(samples: Floats, model: Markov) -> Floats:
    """Return float64[T, K], the probability of each state at t given the samples up to t."""
    likely, _ = _densities(samples, model.states)
    out = np.empty_like(likely)
    now = model.initial
    for t, row in enumerate(likely):
        now = (now @ model.chain if t else now) * row
        now = now / now.sum()
        out[t] = now
    return out


def fit_markov(samples: Floats, count: int, iterations: int) -> Markov:
    """Fit `count` persistent states from each start of a mixture, and return the likeliest model. Deterministic: equal
    samples give bit-identical results."""
    chain = np.full((count, count), (1.0 - STAY) / max(1, count - 1))
    np.fill_diagonal(chain, STAY if count > 1 else 1.0)
    begun = (Markov(np.full(count, 1.0 / count), chain, states, -np.inf) for states in starts(samples, count))
    return max((refined(samples, model, iterations) for model in begun), key=lambda model: model.score)


def refined(samples: Floats, model: Markov, iterations: int, floor: float = FLOOR) -> Markov:
    """Improve `model` by at most `iterations` rounds of Baum-Welch, until the gain is negligible. Each round raises the
    likelihood of `samples` (up to the floor under the covariances). `score` belongs to the returned model."""
    for _ in range(iterations):
        weight, moves, score = expected(samples, model)
        if score - model.score < TOLERANCE * len(samples):
            return model._replace(score=score)
        rows = np.maximum(moves.sum(axis=1, keepdims=True), 1e-300)
        model = Markov(weight[0], moves / rows, states_from(samples, weight, floor), score)
    return model._replace(score=expected(samples, model)[2])


def expected(samples: Floats, model: Markov) -> tuple[Floats, Floats, float]:
    """Return (float64[T, K] probability of each state given all samples, float64[K, K] expected moves, log-likelihood).
    It uses later samples too, so it serves only the fit on past samples."""
    likely, peak = _densities(samples, model.states)
    steps = model.chain * likely[1:, None, :]  # from i to j, with the next sample observed in j
    first = model.initial * likely[0]
    before = _scan(first, steps)
    after = _scan(np.ones(len(first)), steps[::-1].transpose(0, 2, 1))[::-1]
    weight = before * after
    weight /= weight.sum(axis=1, keepdims=True)
    joint = before[:-1, :, None] * steps * after[1:, None, :]
    moves = (joint / joint.sum(axis=(1, 2), keepdims=True)).sum(axis=0)
    scales = np.concatenate([first[None], before[:-1] @ model.chain * likely[1:]]).sum(axis=1)
    return weight, moves, float((np.log(scales) + peak).sum())


def _scan(first: Floats, steps: Floats) -> Floats:
    """Return float64[S + 1, K]: `first` and its products with steps[0], steps[1], .. (float64[S, K, K]), each scaled to
    sum 1.

    The loop runs over about sqrt(S) blocks in parallel. Within a block the product of the steps does not depend on
    earlier blocks, so that all blocks are multiplied at once and then joined.
    """
    count, size = len(steps), len(first)
    length = max(1, round(count**0.5))
    blocks = -(-count // length)
    padded = np.empty((blocks * length, size, size))
    padded[:count], padded[count:] = steps, np.eye(size)
    padded = padded.reshape(blocks, length, size, size)
    products = np.empty_like(padded)
    now = np.broadcast_to(np.eye(size), (blocks, size, size))
    for k in range(length):
        now = now @ padded[:, k]
        # a common scale does not affect probabilities; without it products underflow
        now = now / now.sum(axis=(1, 2), keepdims=True)
        products[:, k] = now
    entry = np.empty((blocks, size))
    at = first / first.sum()
    for block in range(blocks):
        entry[block] = at
        at = at @ products[block, -1]
        at = at / at.sum()
    inside = (entry[:, None, None, :] @ products).reshape(-1, size)[:count]
    return np.concatenate([(first / first.sum())[None], inside / inside.sum(axis=1, keepdims=True)])
