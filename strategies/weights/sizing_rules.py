"""Position sizing: Kelly fractions, volatility targets, risk budgets, and entry filters.

Pure functions of arrays: weights are float64[N], returns float64[k, N] per sample, oldest first.
"""

from math import sqrt
from typing import Final

import numpy as np

from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR, volatility

FINE: Final = 1e-12
"""Variance per sample below which a series counts as constant."""


def kelly_of_bets(win_rate: float, payoff: float) -> float:
    """Return the growth-optimal fraction for bets (Kelly 1956): p - (1 - p) / b, at least 0.

    p is `win_rate`, and b is `payoff`, the mean win over the mean loss.
    """
    return max(0.0, win_rate - (1.0 - win_rate) / payoff) if payoff > 0.0 else 0.0


def kelly_of_moments(mean: float, variance: float) -> float:
    """Return the growth-optimal fraction for continuous returns (Thorp 2006): `mean` / `variance`, at least 0.

    `mean` is in excess of the return of cash.
    """
    return max(0.0, mean / variance) if variance > FINE else 0.0


def bets_of(returns: Floats) -> tuple[float, float]:
    """Return (win rate, payoff) of returns float64[k]; the payoff is the mean win over the mean loss.

    A return of 0 does not count. Without a win both figures are 0; without a loss the payoff is infinite.
    """
    wins, losses = returns[returns > 0.0], -returns[returns < 0.0]
    if not len(wins):
        return 0.0, 0.0
    return len(wins) / (len(wins) + len(losses)), float(wins.mean() / losses.mean()) if len(losses) else float("inf")


def earned_by(weights: Floats, returns: Floats) -> Floats:
    """Return float64[k'], the returns of a book constantly at `weights`, from samples with a return of each held
    symbol.
    """
    rows = returns[:, weights != 0.0]
    return rows[np.isfinite(rows).all(axis=1)] @ weights[weights != 0.0]


def volatility_factor(weights: Floats, returns: Floats, target: float) -> float:
    """Return the factor that gives `weights` the annual volatility `target`; 1 if their volatility is unknown or 0."""
    deviation = volatility(earned_by(weights, returns))
    return target / deviation if deviation > sqrt(FINE) else 1.0


def kelly_factor(weights: Floats, returns: Floats, fraction: float, method: str, risk_free: float) -> float:
    """Return the factor on `weights` for `fraction` of Kelly's size, from their historical returns.

    The method "moments" uses the mean in excess of cash (`risk_free` a year) and the variance. "bets" uses win rate and
    payoff, where one bet stakes the mean loss. The factor is 0 where no gain is expected. It is 1 with fewer than 20
    samples, for constant returns, and for "bets" without a loss.
    """
    earned = earned_by(weights, returns)
    if len(earned) < 20 or float(earned.var()) <= FINE:
        return 1.0
    if method == "moments":
        excess = float(earned.mean()) - risk_free / PERIODS_PER_YEAR
        return fraction * kelly_of_moments(excess, float(earned.var(ddof=1)))
    losses = -earned[earned < 0.0]
    stake = float(losses.mean()) if len(losses) else 0.0
    # to stake a fraction f of wealth on each bet, hold f / stake times the book, which loses `stake` per losing bet
    return fraction * kelly_of_bets(*bets_of(earned)) / stake if stake > 0.0 else 1.0


def favourable(weights: Floats, held: Floats, momentum: Floats) -> Floats:
    """Return float64[N], `weights` in which no position is opened or increased against `momentum` (float64[N]).

    To open or increase a long position, momentum must be above 0, and for a short position below 0. Existing positions
    (`held` float64[N]) may stay or be reduced. Unknown momentum permits no increase.
    """
    with np.errstate(invalid="ignore"):
        allowed_long = np.where(momentum > 0.0, weights, np.minimum(weights, np.maximum(held, 0.0)))
        allowed_short = np.where(momentum < 0.0, weights, np.maximum(weights, np.minimum(held, 0.0)))
    return np.where(weights > 0.0, allowed_long, np.where(weights < 0.0, allowed_short, weights))


def spread_out(weights: Floats, spread: float) -> Floats:
    """Return float64[N], `weights` moved by `spread` (0 to 1) towards equal weights of the held symbols.

    The sum of absolute weights and the signs do not change.
    """
    holds = weights != 0.0
    count = int(holds.sum())
    if not count:
        return weights
    equal = np.sign(weights) * (float(np.abs(weights).sum()) / count)
    return (1.0 - spread) * weights + spread * equal


def at_most(weights: Floats, gross: float) -> Floats:
    """Return float64[N], `weights` scaled down to the gross weight `gross` if their absolute values add up to more."""
    total = float(np.abs(weights).sum())
    return weights * (gross / total) if total > gross else weights


def within(target: Floats, held: Floats, most: float) -> Floats:
    """Return float64[N], `target` with its increases over `held` reduced in proportion, so that the gross is at most
    `most`.

    The gross is the sum of absolute weights.
    """
    gross = float(np.abs(target).sum())
    if gross <= most:
        return target
    retained_weights = np.where(target * held > 0.0, np.sign(target) * np.minimum(np.abs(target), np.abs(held)), 0.0)
    retained_gross = float(np.abs(retained_weights).sum())
    added = gross - retained_gross
    return (
        retained_weights + (target - retained_weights) * (max(0.0, most - retained_gross) / added)
        if added > 0.0
        else target
    )
