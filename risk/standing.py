"""What each limit measures on a portfolio as it stands: for verdicts before and after, for the monitor and for `why`."""

from collections.abc import Sequence
from math import sqrt

import numpy as np

from risk.case import Account, Case
from risk.context import Context, Floats, Scenarios
from risk.limits import Correlation, Limits
from risk.measures import SAMPLES_PER_YEAR, herfindahl, tail_count, worst_of
from risk.pairs import joint_bound, joint_weight
from risk.rules import rules_of

Values = dict[str, tuple[float, float]]
"""Key of a limit -> (value, bound). For `cash` the bound is a floor, in account currency."""

FLOORS = frozenset({"cash"})
"""Keys whose value must not fall below the bound."""


class Portfolio:
    """One book to be measured: `lots` float64[N] signed that fill, with all that is open, at reference prices;
    None for what is held now."""

    __slots__ = ("account", "equity", "held", "limits", "rules", "values", "weights")

    def __init__(self, ctx: Context, account: Account, limits: Limits, lots: Floats | None) -> None:
        self.account = account
        self.limits = limits
        self.rules = rules_of(limits, ctx.universe)
        held, equity, traded, cash = account.lots, account.equity, 0.0, account.cash
        if lots is not None:
            held = held + lots
            if account.up is not None:
                held = held + account.up
            if account.down is not None:
                held = held - account.down
            traded, worst = _bought_and_sold(ctx, account, limits, lots)
            cash -= worst * (1.0 + self.rules.fee) + account.up_cash
            equity -= traded * self.rules.fee
        self.held = held
        self.equity = equity
        self.values: Values = {"cash": (cash, (limits.cash_reserve - limits.max_cash_debit) * account.equity)}
        self.weights = held * ctx.px
        if equity > 0.0:
            self.weights /= equity
            self._exposures()
            if limits.max_turnover is not None and lots is not None:
                self.values["max_turnover"] = (traded / equity, limits.max_turnover)

    def _exposures(self) -> None:
        """The measures that need no scenario."""
        values, limits, weights = self.values, self.limits, self.weights
        size = np.abs(weights)
        if limits.max_position_weight is not None:
            values["max_position_weight"] = (max(size.tolist()), limits.max_position_weight)
        if limits.max_gross_exposure is not None:
            values["max_gross_exposure"] = (float(np.add.reduce(size)), limits.max_gross_exposure)
        if limits.max_net_exposure is not None:
            values["max_net_exposure"] = (abs(float(np.add.reduce(weights))), limits.max_net_exposure)
        if limits.max_concentration is not None:
            values["max_concentration"] = (herfindahl(weights), limits.max_concentration)
        if limits.max_sector_weight is not None and self.rules.sectors is not None:
            values["max_sector_weight"] = (max(self.rules.sectors.dot(size).tolist()), limits.max_sector_weight)

    def scenarios(self, ctx: Context) -> dict[int, Scenarios] | None:
        """The rows of each lookback in which all that is held has a return; None without enough of them."""
        least = self.limits.min_history
        whole = ctx.whole(self.rules.lookbacks, least)
        if whole is not None:
            return whole
        windows = {k: ctx.window(k, least) for k in self.rules.lookbacks}
        matters = self.held != 0.0
        found = {}
        for k, window in windows.items():
            if window.short is not None and np.count_nonzero(window.short & matters):
                return None
            found[k] = window.scenarios(matters)
            if len(found[k]) < least:
                return None
        return found


def _bought_and_sold(ctx: Context, account: Account, limits: Limits, lots: Floats) -> tuple[float, float]:
    """What `lots` trade at reference prices, and what their purchases can cost at worst prices, without fees."""
    value = lots * ctx.px
    bought = np.maximum(value, 0.0)
    traded = float(np.add.reduce(np.abs(value)))
    covers = account.lots < 0.0
    if covers.nonzero()[0].size:
        return traded, float(bought.dot(np.where(covers, 1.0 + limits.reduce_collar, 1.0 + limits.collar)))
    return traded, float(np.add.reduce(bought)) * (1.0 + limits.collar)


def standing(ctx: Context, account: Account, limits: Limits, lots: Floats | None) -> Values:
    """Values of all basket limits that are on, after all fills of `lots` and of the open orders at reference
    prices, or with `lots` None of what is held now. Exact, no bounds. Measures without enough history are left out.
    """
    return standings(ctx, [Portfolio(ctx, account, limits, lots)])[0]


def standings(ctx: Context, portfolios: Sequence[Portfolio]) -> list[Values]:
    """`standing` of several books at once: those with the same scenarios share one matrix product."""
    groups: dict[int, tuple[int, Scenarios, list[Portfolio]]] = {}
    for portfolio in portfolios:
        if not (portfolio.rules.lookbacks and portfolio.equity > 0.0):
            continue
        found = portfolio.scenarios(ctx)
        if found is None:
            continue
        for lookback, scenarios in found.items():
            groups.setdefault(id(scenarios), (lookback, scenarios, []))[2].append(portfolio)
        if portfolio.limits.correlation is not None:
            _correlation(ctx, portfolio, found, portfolio.limits.correlation)
    for lookback, scenarios, members in groups.values():
        _losses(lookback, scenarios, members)
    return [portfolio.values for portfolio in portfolios]


def _losses(lookback: int, scenarios: Scenarios, members: list[Portfolio]) -> None:
    """Tails and volatility over `lookback` of the books that look at these scenarios."""
    losses = np.array([p.weights for p in members]).dot(scenarios.returns.T)
    np.negative(losses, out=losses)
    tails: dict[int, Floats] = {}
    measured: dict[tuple[str, int], list[float]] = {}
    deviations: list[float] = []
    for k, portfolio in enumerate(members):
        for tail in portfolio.rules.tails:
            if tail.lookback == lookback:
                m = tail_count(len(scenarios), tail.confidence)
                if m not in tails:
                    tails[m] = worst_of(losses, m)
                if (tail.key, m) not in measured:
                    measured[tail.key, m] = tail.measure(tails[m]).tolist()
                portfolio.values[tail.key] = (measured[tail.key, m][k] * tail.scale, tail.bound)
        most = portfolio.limits.max_volatility
        if most is not None and portfolio.limits.volatility_lookback == lookback:
            # of the series itself: the same figure as with the covariance, without making it
            deviations = deviations or _deviations(losses)
            portfolio.values["max_volatility"] = (sqrt(SAMPLES_PER_YEAR) * deviations[k], most)


def _deviations(series: Floats) -> list[float]:
    """Sample standard deviation (divisor S - 1) of each row of float64[K, S]."""
    rows = series.shape[1]
    centred = series - (np.add.reduce(series, axis=1) / rows)[:, None]
    return [sqrt(float(own.dot(own)) / (rows - 1)) for own in centred]


def _correlation(ctx: Context, portfolio: Portfolio, found: dict[int, Scenarios], spec: Correlation) -> None:
    """The heaviest pair that moves together."""
    n = portfolio.rules.size
    case = Case(ctx, portfolio.account, portfolio.rules, np.zeros(n, dtype=np.bool_), [])
    case.scenarios = found
    value = portfolio.held * ctx.px
    sides = np.empty(2 * n)
    np.maximum(value, 0.0, out=sides[n:])
    np.subtract(sides[n:], value, out=sides[:n])
    portfolio.values["correlation"] = (joint_weight(case, sides, portfolio.equity, spec), joint_bound(spec))
