"""The regime of the market by its volatility: while it is volatile, the whole account holds less.

The volatility is of past closes only. The volatility is updated at each sample, before any plan of that sample.
"""

import numpy as np

from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.settings import MarketRegime
from quantd.trading.effects import Effect
from quantd.trading.market import Floats
from quantd.trading.statistics import volatility


def watch_regime(state: State) -> list[Effect]:
    """Update whether the market is volatile; returns an alert when that changes. An unknown volatility counts as
    volatile."""
    rules = state.rules.regime
    if rules is None:
        return []
    value, before = market_volatility(state, rules), state.noted.volatile
    edge = rules.above * (1.0 - rules.margin) if before else rules.above
    state.noted.volatile = not value < edge  # True for NaN
    if state.noted.volatile == before:
        return []
    bound = f"the house may hold {rules.exposure:.0%} of its gross exposure"
    if value != value:  # NaN
        return [alert(state, "WARNING", "regime", f"the volatility of the market is unknown: {bound}")]
    level, text = ("WARNING", f"volatile market: {bound}") if state.noted.volatile else ("INFO", "calm market again")
    text += f"; volatility {value:.1%} a year over {rules.lookback} samples, {edge:.1%} is the edge"
    return [alert(state, level, "regime", text, value=value, bound=edge)]  # type: ignore[arg-type]


def market_volatility(state: State, rules: MarketRegime) -> float:
    """Annual volatility of the benchmark, or of the equally weighted universe, over the lookback; NaN where unknown."""
    ring = state.history.known
    if ring.count <= rules.lookback:
        return float("nan")
    returns = ring.returns(rules.lookback)
    series = returns[:, rules.benchmark] if rules.benchmark >= 0 else _mean_of_known(returns)
    return volatility(series) if np.isfinite(series).all() else float("nan")


def _mean_of_known(returns: Floats) -> Floats:
    """float64[S] (S samples): the mean of float64[S, N] over the symbols that have a return; NaN where none has."""
    has_return = np.isfinite(returns)
    count = has_return.sum(axis=1)
    return np.divide(
        np.where(has_return, returns, 0.0).sum(axis=1), count, out=np.full(len(count), np.nan), where=count > 0
    )


def regime_text(state: State) -> str:
    """The present regime and volatility as text; empty without [risk.regime] or before the first sample."""
    rules = state.rules.regime
    if rules is None or not state.sample:
        return ""
    value = market_volatility(state, rules)
    measured = f"volatility {value:.1%}, volatile from {rules.above:.1%}" if value == value else "volatility unknown"
    return f"{'volatile' if state.noted.volatile else 'calm'} ({measured})"
