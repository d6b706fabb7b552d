"""How the weights of several policies become one: mean, median, by past performance, or where they agree. Pure arrays:
votes are float64[M, N], one row for each member that has a say."""

import numpy as np

from quantd.strategies.weights.sizing import within
from quantd.trading.market import Floats


def mean_of(votes: Floats, shares: Floats | None = None) -> Floats:
    """float64[N], the members' weights by `shares` (float64[M], summing to 1), or evenly."""
    return votes.mean(axis=0) if shares is None else shares @ votes


def median_of(votes: Floats) -> Floats:
    """float64[N], the median member's weight of each symbol. Never grosser than the grossest member is: medians of
    different members may add up to more, and are then scaled down."""
    middle: Floats = np.median(votes, axis=0)
    gross, most = float(np.abs(middle).sum()), float(np.abs(votes).sum(axis=1).max())
    return middle * (most / gross) if gross > most else middle


def agreed_of(votes: Floats, held: Floats, quorum: float, tolerance: float) -> Floats:
    """float64[N]: where at least `quorum` of the members would change a holding in one direction by more than
    `tolerance`, the mean of those that would; elsewhere what is held.

    If the bought and the kept come to more gross than held and every vote, purchases are cut evenly to fit.
    """
    change = votes - held
    up, down = change > tolerance, change < -tolerance
    rises, falls = up.mean(axis=0) >= quorum, down.mean(axis=0) >= quorum
    rises, falls = rises & ~falls, falls & ~rises  # a quorum of a half or less may be met both ways
    agreeing = np.where(rises, up, np.where(falls, down, False))
    counted = np.maximum(agreeing.sum(axis=0), 1)
    target = np.where(rises | falls, (votes * agreeing).sum(axis=0) / counted, held)
    return within(target, held, max(float(np.abs(held).sum()), float(np.abs(votes).sum(axis=1).max())))


def drifted(weights: Floats, returns: Floats) -> tuple[Floats, Floats]:
    """What books that held `weights` (float64[M, N]) earned over `returns` (float64[k, N], NaN counts as 0), untraded:
    (earned float64[k, M], the weights at the end float64[M, N])."""
    growth = np.where(np.isfinite(returns), returns, 0.0)
    earned = np.empty((len(growth), len(weights)))
    held = weights.copy()
    for k, row in enumerate(growth):
        earned[k] = held @ row
        held = held * (1.0 + row) / np.maximum(1.0 + earned[k], 1e-9)[:, None]
    return earned, held


def performance_shares(earned: Floats, measure: str, shrink: float, window: int) -> Floats:
    """float64[M], summing to 1: shares of members by what they `earned` (float64[k, M], net, oldest first; rows of NaN
    are not counted), shrunk towards equal.

    The score is the trailing mean (`return`) or mean over deviation (`sharpe`); below zero counts as zero. The weight of
    the scores against equal shares is (1 - shrink) k / window: a short record says little. Where no member has a score
    above zero all shares are equal.
    """
    members = earned.shape[1]
    equal = np.full(members, 1.0 / members)
    known = earned[np.isfinite(earned).all(axis=1)]
    if len(known) < 2:
        return equal
    score = known.mean(axis=0)
    if measure == "sharpe":
        deviation = known.std(axis=0, ddof=1)
        score = np.divide(score, deviation, out=np.zeros(members), where=deviation > 1e-12)
    score = np.maximum(score, 0.0)
    total = float(score.sum())
    if total <= 0.0:
        return equal
    trust = (1.0 - shrink) * min(1.0, len(known) / window)
    return (1.0 - trust) * equal + trust * (score / total)
