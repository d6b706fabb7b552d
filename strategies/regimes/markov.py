"""Gaussian hidden Markov models: Baum-Welch for the fit, the forward algorithm for the current state.

What can go wrong: today's state is revised by later samples. So there is no smoothing outside the fit: `filtered` at t
uses rows up to t only. The function `expected` uses later samples, too, so only the fit on past samples calls it.
Products of many densities underflow: each row is scaled to at most 1, and the scale counts in the likelihood.

Sources: Baum et al. 1970; scaling after Rabiner 1989. Arrays: samples float64[T, D] of T times and D observed figures;
chain float64[K, K], the probability of a move from state (row) to state (column); initial float64[K].
"""

from typing import Final, NamedTuple

import numpy as np

from quantd.strategies.regimes.mixture import FLOOR, TOLERANCE, States, log_densities, starts, states_from
from quantd.trading.market import Floats

STAY: Final = 0.95
"""Probability of staying in a state from one sample to the next at which a fit starts: about a month per regime."""


class Markov(NamedTuple):
    """A hidden Markov model. `score` is the log-likelihood of its training samples, -inf before the first round."""

    initial: Floats
    chain: Floats
    states: States
    score: float


def _scaled_densities(samples: Floats, states: States) -> tuple[Floats, Floats]:
    """Return (float64[T, K] densities scaled to at most 1 in each row, float64[T] log of the scale)."""
    logs = log_densities(samples, states)
    peak = logs.max(axis=1)
    return np.exp(logs - peak[:, None]), peak


def filtered(samples: Floats, model: Markov) -> Floats:
    """Return float64[T, K], the probability of each of K states at t given the samples up to t."""
    densities, _ = _scaled_densities(samples, model.states)
    by_sample = np.empty_like(densities)
    probabilities = model.initial
    for t, row in enumerate(densities):
        probabilities = (probabilities @ model.chain if t else probabilities) * row
        probabilities = probabilities / probabilities.sum()
        by_sample[t] = probabilities
    return by_sample


def fit_markov(samples: Floats, count: int, iterations: int) -> Markov:
    """Fit `count` persistent states from each start of a mixture, and return the likeliest model.

    The fit is deterministic: equal samples give bit-identical results.
    """
    chain = np.full((count, count), (1.0 - STAY) / max(1, count - 1))
    np.fill_diagonal(chain, STAY if count > 1 else 1.0)
    begun = (Markov(np.full(count, 1.0 / count), chain, states, -np.inf) for states in starts(samples, count))
    return max((refined(samples, model, iterations) for model in begun), key=lambda model: model.score)


def refined(samples: Floats, model: Markov, iterations: int, floor: float = FLOOR) -> Markov:
    """Improve `model` by at most `iterations` rounds of Baum-Welch, until the gain is negligible. Each round raises the
    likelihood of `samples` (up to the floor under the covariances). `score` of the result is its log-likelihood."""
    for _ in range(iterations):
        weight, moves, score = expected(samples, model)
        if score - model.score < TOLERANCE * len(samples):
            return model._replace(score=score)
        moves_from = np.maximum(moves.sum(axis=1, keepdims=True), 1e-300)
        model = Markov(weight[0], moves / moves_from, states_from(samples, weight, floor), score)
    return model._replace(score=expected(samples, model)[2])


def expected(samples: Floats, model: Markov) -> tuple[Floats, Floats, float]:
    """Return (float64[T, K] probability of each state given all samples, float64[K, K] expected moves, log-likelihood).

    The result at t uses samples after t, too, so it is for the fit on past samples only.
    """
    densities, log_scales = _scaled_densities(samples, model.states)
    steps = model.chain * densities[1:, None, :]  # from i to j, with the next sample observed in j
    initial_weights = model.initial * densities[0]
    # the forward-backward algorithm: both passes are scaled to the sum 1 at each sample
    forward = _scaled_products(initial_weights, steps)
    backward = _scaled_products(np.ones(len(initial_weights)), steps[::-1].transpose(0, 2, 1))[::-1]
    weight = forward * backward
    weight /= weight.sum(axis=1, keepdims=True)
    joint = forward[:-1, :, None] * steps * backward[1:, None, :]
    moves = (joint / joint.sum(axis=(1, 2), keepdims=True)).sum(axis=0)
    scales = np.concatenate([initial_weights[None], forward[:-1] @ model.chain * densities[1:]]).sum(axis=1)
    return weight, moves, float((np.log(scales) + log_scales).sum())


def _scaled_products(first: Floats, steps: Floats) -> Floats:
    """Return float64[S + 1, K]: the vector `first`, and its products with the matrices steps[0], steps[1], ..

    `first` is float64[K] and `steps` float64[S, K, K]. Each row of the result is scaled to the sum 1.

    The steps are divided into about sqrt(S) blocks. The product of the steps of a block does not depend on earlier
    blocks, so that all blocks are multiplied at once and then joined.
    """
    count, size = len(steps), len(first)
    block_length = max(1, round(count**0.5))
    block_count = -(-count // block_length)
    padded = np.empty((block_count * block_length, size, size))
    padded[:count], padded[count:] = steps, np.eye(size)
    padded = padded.reshape(block_count, block_length, size, size)
    products = np.empty_like(padded)
    running = np.broadcast_to(np.eye(size), (block_count, size, size))
    for k in range(block_length):
        running = running @ padded[:, k]
        # a common scale does not affect probabilities; without it products underflow
        running = running / running.sum(axis=(1, 2), keepdims=True)
        products[:, k] = running
    entering_by_block = np.empty((block_count, size))
    entering = first / first.sum()
    for block in range(block_count):
        entering_by_block[block] = entering
        entering = entering @ products[block, -1]
        entering = entering / entering.sum()
    within_blocks = (entering_by_block[:, None, None, :] @ products).reshape(-1, size)[:count]
    return np.concatenate([(first / first.sum())[None], within_blocks / within_blocks.sum(axis=1, keepdims=True)])
