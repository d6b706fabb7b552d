"""Combines the weights of several policies: mean, median, by past performance, or by agreement.

Pure functions of arrays: votes are the weights float64[M, N] of N symbols by M members (policies), one row each.
"""

import numpy as np

from quantd.strategies.weights.sizing_rules import within
from quantd.trading.market import Floats


def mean_of(votes: Floats, shares: Floats | None = None) -> Floats:
    """Return float64[N], the weights of M members averaged by `shares` (float64[M], summing to 1), or equally."""
    return votes.mean(axis=0) if shares is None else shares @ votes


def median_of(votes: Floats) -> Floats:
    """Return float64[N], the median weight of each symbol.

    Medians may add up to a larger gross (the sum of absolute weights) than any member's; the medians are then scaled
    down to the largest gross of a member.
    """
    medians: Floats = np.median(votes, axis=0)
    gross, most = float(np.abs(medians).sum()), float(np.abs(votes).sum(axis=1).max())
    return medians * (most / gross) if gross > most else medians


def agreed_of(votes: Floats, held: Floats, quorum: float, tolerance: float) -> Floats:
    """Return float64[N]: the mean weight of agreeing members where a quorum agrees, else the held weight.

    Members agree on a symbol when at least the fraction `quorum` would change it in one direction by more than
    `tolerance`. If the gross of the result (its sum of absolute weights) exceeds the gross of the holdings and of every
    vote, purchases are reduced proportionally. `held` is float64[N].
    """
    change = votes - held
    up, down = change > tolerance, change < -tolerance
    rises, falls = up.mean(axis=0) >= quorum, down.mean(axis=0) >= quorum
    rises, falls = rises & ~falls, falls & ~rises  # a quorum of a half or less may be met in both directions
    agreeing = np.where(rises, up, np.where(falls, down, False))
    target = np.where(rises | falls, (votes * agreeing).sum(axis=0) / np.maximum(agreeing.sum(axis=0), 1), held)
    return within(target, held, max(float(np.abs(held).sum()), float(np.abs(votes).sum(axis=1).max())))


def drifted(weights: Floats, returns: Floats) -> tuple[Floats, Floats]:
    """Return (returns float64[k, M], final weights float64[M, N]) of M books that begin at `weights` and do not trade.

    `weights` are float64[M, N] and the `returns` of the symbols float64[k, N], oldest first; NaN counts as 0.
    """
    known_returns = np.where(np.isfinite(returns), returns, 0.0)
    earned = np.empty((len(known_returns), len(weights)))
    weights_now = weights.copy()
    for k, row in enumerate(known_returns):
        earned[k] = weights_now @ row
        weights_now = weights_now * (1.0 + row) / np.maximum(1.0 + earned[k], 1e-9)[:, None]
    return earned, weights_now


def performance_shares(earned: Floats, measure: str, shrink: float, window: int) -> Floats:
    """Return float64[M], summing to 1: shares of an ensemble's members by past performance, shrunk towards equal.

    `earned` are the members' net returns float64[k, M], oldest first; rows with a NaN are ignored. `measure` is the
    score: the mean ("return"), or the mean over the standard deviation ("sharpe"); a negative score counts as zero.
    The shares are w x scores (scaled to sum 1) + (1 - w) x equal shares. The weight w of the scores is (1 - shrink) x
    min(1, complete rows / window), because a short record is unreliable. Without a positive score all shares are equal.
    """
    members = earned.shape[1]
    equal = np.full(members, 1.0 / members)
    complete = earned[np.isfinite(earned).all(axis=1)]
    if len(complete) < 2:
        return equal
    score = complete.mean(axis=0)
    if measure == "sharpe":
        deviation = complete.std(axis=0, ddof=1)
        score = np.divide(score, deviation, out=np.zeros(members), where=deviation > 1e-12)
    score = np.maximum(score, 0.0)
    total = float(score.sum())
    if total <= 0.0:
        return equal
    weight_of_scores = (1.0 - shrink) * min(1.0, len(complete) / window)
    return (1.0 - weight_of_scores) * equal + weight_of_scores * (score / total)
