"""Position sizing of a policy's weights: by regime, risk budgets, Kelly, volatility and momentum."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from msgspec import Struct

from quantd.strategies.allocators.risk_parity import risk_budgets
from quantd.strategies.policies.members import RULED, Ruled, noted, unpacked
from quantd.strategies.policies.params import nearest
from quantd.strategies.regimes import RegimeParams, in_force, model_of
from quantd.strategies.weights.rebalancing_rules import covariance_of
from quantd.strategies.weights.sizing_rules import (
    at_most,
    favourable,
    kelly_factor,
    spread_out,
    volatility_factor,
)
from quantd.strategies.weights.stale_prices import standing_still
from quantd.trading.market import Floats
from quantd.trading.view import Hold, Memory, Noted, View, own_memory, under


class RegimeExposure(Struct, frozen=True):
    """The factor on the policy's weights in each regime.

    In a volatile regime the weights also move by the fraction `spread` towards equal weights. A regime lasts at least
    `dwell` samples.
    """

    regime: RegimeParams = RegimeParams()
    bull: float = 1.0
    bear: float = 0.5
    volatile: float = 0.5
    spread: float = 0.5
    dwell: int = 5


class SizingRules(Struct, frozen=True):
    """Sizing rules in the order of their application; None turns a rule off.

    `risk_budget` are pairs of a symbol and its part of the annual volatility; the policy determines the sides. `kelly`
    is a fraction of Kelly's size, by `kelly_method`, from `kelly_lookback` samples. `volatility_target` is annual, from
    `volatility_lookback` samples. `max_gross` bounds the sum of absolute weights after the rules before it. With
    `momentum_filter`, a number of samples, no position is opened or increased against the total return over these
    samples.
    """

    regime: RegimeExposure | None = None
    risk_budget: tuple[tuple[str, float], ...] = ()
    risk_lookback: int = 126
    kelly: float | None = None
    kelly_method: Literal["moments", "bets"] = "moments"
    kelly_lookback: int = 252
    risk_free: float = 0.02
    volatility_target: float | None = None
    volatility_lookback: int = 63
    max_gross: float = 1.0
    momentum_filter: int | None = None


@dataclass(frozen=True, slots=True)
class Sized(Ruled):
    """A policy with the weights of `policy`, sized by `rules`. Where `policy` holds, its lots do not change."""

    rules: SizingRules

    @property
    def lookback(self) -> int:
        """The longest window of the policy and of the rules that are switched on, in samples."""
        rules = self.rules
        windows = [self.policy.lookback, rules.momentum_filter or 1]
        windows.append(rules.kelly_lookback if rules.kelly is not None else 1)
        windows.append(rules.volatility_lookback if rules.volatility_target is not None else 1)
        windows.append(rules.risk_lookback if rules.risk_budget else 1)
        windows.append(model_of(rules.regime.regime).lookback if rules.regime is not None else 1)
        return max(windows)

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        """Implements `Policy.act`: the weights of the policy after the sizing rules, which may depend on the regime.

        HOLD stays HOLD. With a regime rule, a note names the regime in force.
        """
        answer, remembered = self.policy.act(view, own_memory(memory, RULED))
        weights, note, warns = unpacked(answer)
        words, new_memory, regime = [(note, warns)], under(RULED, remembered), ""
        if self.rules.regime is not None:
            current = in_force(model_of(self.rules.regime.regime), view, memory, dwell=self.rules.regime.dwell)
            new_memory |= current.memory
            regime = current.regime
            words.append((current.word, False))
        return noted(weights if isinstance(weights, Hold) else self._sized(weights, view, regime), words), new_memory

    def _sized(self, weights: Floats, view: View, regime: str) -> Floats:
        """Return float64[N], `weights` after the rules, in the order of SizingRules."""
        rules = self.rules
        if rules.regime is not None:
            if regime == "volatile":
                weights = spread_out(weights, rules.regime.spread)
            weights = weights * float(getattr(rules.regime, regime))
        if rules.risk_budget:
            # replaces the sizes; only the sides of `weights` count, and a stale price has none
            budgets = _budgets(rules.risk_budget, view)
            still = view.shared_by_date(standing_still, rules.risk_lookback)
            risk = view.shared_by_date(covariance_of, rules.risk_lookback)
            weights = risk_budgets(np.where(still, 0.0, np.sign(weights)), risk, budgets)
        if rules.kelly is not None:
            returns = view.synchronous(rules.kelly_lookback)
            weights = weights * kelly_factor(weights, returns, rules.kelly, rules.kelly_method, rules.risk_free)
        if rules.volatility_target is not None:
            returns = view.synchronous(rules.volatility_lookback)
            weights = weights * volatility_factor(weights, returns, rules.volatility_target)
        weights = at_most(weights, rules.max_gross)
        if rules.momentum_filter is not None:
            weights = favourable(weights, view.weights, view.momentum(rules.momentum_filter))
        return weights


def _budgets(pairs: tuple[tuple[str, float], ...], view: View) -> Floats:
    """Return float64[N], the risk budget of each symbol, by default 0. Raises ValueError for a symbol not in `view`."""
    row = np.zeros(len(view.prices))
    for symbol, budget in pairs:
        if symbol not in view.universe.index:
            raise ValueError(
                f"risk_budget names {symbol!r}, which is not traded; {nearest(symbol, view.universe.index)}"
            )
        row[view.universe.index[symbol]] = budget
    return row
