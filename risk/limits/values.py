"""The value of each limit on a portfolio: for verdicts, the monitor and `quantd why`."""

from collections.abc import Sequence
from math import inf, sqrt

import numpy as np

from quantd.risk.limits.case import SLACK, Account
from quantd.risk.limits.catalogue import Correlation, Limits
from quantd.risk.limits.context import Context, Floats, Scenarios
from quantd.risk.limits.correlation import joint_bound, joint_weight
from quantd.risk.limits.kinds import Row
from quantd.risk.limits.record import Held
from quantd.risk.limits.ruleset import Rules, rules_of
from quantd.risk.measures.diversification import diversification
from quantd.risk.measures.portfolio import FEW, herfindahl, most

Values = dict[str, tuple[float, float]]
"""Key of a limit -> (value, bound). The bound of `cash` is a floor, in account currency."""


class Portfolio:
    """One book to measure: after signed `lots` float64[N] and all open orders fill at reference prices; None for the
    present positions."""

    __slots__ = ("account", "equity", "found", "held", "limits", "lots", "rules", "traded", "values")

    def __init__(self, ctx: Context, account: Account, limits: Limits, lots: Floats | None) -> None:
        self.account = account
        self.limits = limits
        self.rules = rules_of(limits, ctx.universe)
        self.lots = lots
        held = account.lots
        if lots is not None:
            held = held + lots
            if account.up is not None:
                held = held + account.up
            if account.down is not None:
                held = held - account.down
        self.held = held
        self.equity = account.equity
        self.traded: float
        self.values: Values = {}
        self.found: dict[int, Scenarios] | None = None
        """The scenarios of each lookback; None without enough of them."""

    def cash(self, traded: float, paid: float) -> None:
        """Cash after value `traded` at reference prices and cost `paid` of purchases."""
        account, limits = self.account, self.limits
        self.equity -= traded * self.rules.fee
        self.traded = account.traded + traded
        self.values["cash"] = (account.cash - paid, (limits.cash_reserve - limits.max_cash_debit) * account.equity)

    def exposures(self, weights: Floats, size: Floats, net: float, gross: float) -> None:
        """The measures without scenarios, of float64[N] `weights` and their absolute `size`."""
        values = self.values
        book = Held(most(size), net, gross, lambda: herfindahl(weights), self.traded / self.equity)
        for key, bound, measure in self.rules.held_measures:
            values[key] = (measure(book), bound)
        for family in self.rules.families:
            # of several sectors or assets the heaviest
            together = max(np.bincount(family.labels, size)[1:].tolist(), default=0.0)
            alone = values.get(family.key, (0.0, None))[0]
            values[family.key] = (max(alone, together), family.settled_bound)
        for key, bound, measure in self.rules.traded_measures:
            values[key] = (measure(book), bound)
        for row in self.rules.unmeasured:
            # of several rows of a limit the nearest to its bound
            before = values.get(row.key, (-inf, row.settled_bound))
            found = (_linear(row, weights, book.traded), row.settled_bound)
            values[row.key] = max(before, found, key=lambda pair: pair[0] - pair[1])

    def sources(self) -> list[Scenarios]:
        """The distinct scenarios of its limits."""
        if self.found is None:
            return [tail.fixed for tail in self.rules.tails if tail.fixed is not None]
        wanted = [tail.of(self.found)[0] for tail in self.rules.tails]
        wanted += [self.found[quad.lookback] for quad in self.rules.quads if quad.spread is not None]
        return list({id(scenarios): scenarios for scenarios in wanted}.values())


def _linear(row: Row, weights: Floats, traded: float) -> float:
    """The value of a row for float64[N] signed `weights` and `traded` value, shares of equity."""
    long = np.maximum(weights, 0.0)
    sides = np.concatenate((long - weights, long, -weights, weights))
    return float(row.held[:-2].dot(sides)) + float(row.held[-1]) * traded


def scenarios_of(ctx: Context, lookbacks: tuple[int, ...], least: int, held: Floats) -> dict[int, Scenarios] | None:
    """Lookback in samples -> scenarios of the samples in which every instrument `held` (float64[N], any unit) has a
    return; None where one has fewer than `least`."""
    found = ctx.whole(lookbacks, least)
    if found is not None:
        return found
    matters, found = held != 0.0, {}
    for k in lookbacks:
        window = ctx.window(k, least)
        if window.short is not None and np.count_nonzero(window.short & matters):
            return None
        found[k] = window.scenarios(matters)
        if len(found[k]) < least:
            return None
    return found


def _trades(ctx: Context, portfolios: Sequence[Portfolio]) -> None:
    """The cash of each book, and its traded value at reference prices."""
    moving = [p for p in portfolios if p.lots is not None]
    if moving:
        value = np.array([p.lots for p in moving]) * ctx.px
        bought = np.maximum(value, 0.0)
        nets, buys = _sums(value), _sums(bought)
        for k, p in enumerate(moving):
            worst = buys[k] * (1.0 + p.limits.collar)
            if most(-p.account.lots) > 0.0:
                # a purchase that covers a short position has the wider collar
                paid = np.where(p.account.lots < 0.0, 1.0 + p.limits.reduce_collar, 1.0 + p.limits.collar)
                worst = float(bought[k].dot(paid))
            p.cash(2.0 * buys[k] - nets[k], worst * (1.0 + p.rules.fee) + p.account.up_cash)
    for p in portfolios:
        if p.limits.buying_power is not None:
            p.values["buying_power"] = (_paid(ctx, p), p.limits.buying_power.money)
        if p.lots is None:
            p.cash(0.0, 0.0)
        else:
            for open_lots in (p.account.up, p.account.down):
                p.traded += 0.0 if open_lots is None else float(open_lots.dot(ctx.px))


def _paid(ctx: Context, p: Portfolio) -> float:
    """The cost of adding orders at worst prices with fees; the venue's figure already includes open orders."""
    if p.lots is None:
        return 0.0
    adding = np.where(p.lots * p.account.lots < 0.0, 0.0, np.abs(p.lots))
    return float(adding.dot(ctx.px)) * (1.0 + p.limits.collar) * (1.0 + p.rules.fee)


def _sums(rows: Floats) -> list[float]:
    """Sums of the rows of float64[K, N]."""
    if rows.shape[1] <= FEW:
        return [sum(row) for row in rows.tolist()]
    found: list[float] = np.add.reduce(rows, axis=1).tolist()
    return found


def standing(ctx: Context, account: Account, limits: Limits, lots: Floats | None) -> Values:
    """Values of all limits that are on, after all fills of `lots` and of open orders at reference prices; with None, of
    the present positions. Exact. Measures without enough history are left out."""
    return standings(ctx, [Portfolio(ctx, account, limits, lots)])[0]


def standings(ctx: Context, portfolios: Sequence[Portfolio]) -> list[Values]:
    """`standing` of several books in one pass."""
    _trades(ctx, portfolios)
    solvent = [p for p in portfolios if p.equity > 0.0]
    if solvent:
        _exposures(ctx, solvent)
    return [portfolio.values for portfolio in portfolios]


def _exposures(ctx: Context, portfolios: list[Portfolio]) -> None:
    """All measures of solvent books."""
    weights = np.array([p.held for p in portfolios]) * ctx.px
    weights /= np.array([[p.equity] for p in portfolios])
    size = np.abs(weights)
    net, gross = _sums(weights), _sums(size)
    groups: dict[int, tuple[Scenarios, list[int]]] = {}
    for k, portfolio in enumerate(portfolios):
        portfolio.exposures(weights[k], size[k], net[k], gross[k])
        rules, spec = portfolio.rules, portfolio.limits.correlation
        found = scenarios_of(ctx, rules.lookbacks, rules.limits.min_history, portfolio.held)
        if found is not None and spec is not None:
            portfolio.values["correlation"] = (_correlation(ctx, portfolio, found, spec), joint_bound(spec))
        portfolio.found = found
        for scenarios in portfolio.sources():
            group = groups.setdefault(id(scenarios), (scenarios, []))
            group[1].append(k)
    for scenarios, rows in groups.values():
        _losses(scenarios, portfolios, rows, weights)


def _losses(scenarios: Scenarios, portfolios: list[Portfolio], rows: list[int], weights: Floats) -> None:
    """Tails and forms over one set of scenarios, of the books `rows` of float64[K, N] `weights`."""
    losses: Floats = weights.dot(scenarios.returns.T)
    np.negative(losses, out=losses)
    # of the series itself where the covariance is dear: the same figure; before the tails put the losses in order
    deviations = None if scenarios.sample.small() else _deviations(losses)
    sets = {id(portfolios[k].rules): portfolios[k] for k in rows}
    columns = {key: _tails(one.rules, one.found or {}, scenarios, losses) for key, one in sets.items()}
    for k in rows:
        portfolio = portfolios[k]
        rules, known = portfolio.rules, portfolio.found or {}
        for key, column, bound in columns[id(rules)]:
            portfolio.values[key] = (column[k], bound)
        for quad in rules.quads:
            if quad.spread is None or known.get(quad.lookback) is not scenarios:
                continue
            spread = quad.spread(scenarios)
            if deviations is not None and spread is scenarios.sample:
                deviation = deviations[k]
            else:
                deviation = sqrt(max(float(weights[k].dot(spread.cov).dot(weights[k])), 0.0))
            portfolio.values[quad.key] = (sqrt(quad.scale) * deviation, quad.settled_bound)


def _tails(
    rules: Rules, known: dict[int, Scenarios], scenarios: Scenarios, losses: Floats
) -> list[tuple[str, list[float], float]]:
    """(key, value of each book, bound) of the tails of `scenarios`; reorders float64[K, S] `losses`."""
    found = []
    for tail in rules.tails:
        if tail.fixed is None and not known:
            continue
        source, m = tail.of(known)
        if source is scenarios:
            rank = losses.shape[1] - m
            losses.partition(rank)
            found.append((tail.key, (tail.measure(losses[:, rank:]) * tail.scale).tolist(), tail.bound))
    return found


def _deviations(series: Floats) -> list[float]:
    """Sample standard deviation (divisor S - 1) of each row of float64[K, S]."""
    rows = series.shape[1]
    centred = series - (np.add.reduce(series, axis=1) / rows)[:, None]
    return [sqrt(float(own.dot(own)) / (rows - 1)) for own in centred]


def _correlation(ctx: Context, portfolio: Portfolio, found: dict[int, Scenarios], spec: Correlation) -> float:
    """The joint weight of the heaviest correlated pair."""
    n = portfolio.rules.size
    value = portfolio.held * ctx.px
    sides = np.empty(2 * n)
    np.maximum(value, 0.0, out=sides[n:])
    np.subtract(sides[n:], value, out=sides[:n])
    near = SLACK * abs(portfolio.account.equity)
    return joint_weight(found[spec.lookback], sides, portfolio.equity, near, spec)


def held_values(ctx: Context, account: Account, limits: Limits) -> Values:
    """`min_diversification` of the positions, which only raises alerts: 1 - 1 / diversification ratio, and its bound.

    Left out where the limit is off, nothing is held, equity is not positive or synchronous returns are too few.
    """
    least, held = limits.min_diversification, account.lots != 0.0
    if least is None or not account.equity > 0.0 or not np.count_nonzero(held):
        return {}
    found = scenarios_of(ctx, (limits.volatility_lookback,), limits.min_history, account.lots)
    if found is None:
        return {}
    cov = found[limits.volatility_lookback].sample.cov[np.ix_(held, held)]
    # the ratio knows no size: values do as well as weights
    value = diversification(account.lots[held] * ctx.px[held], cov)
    return {"min_diversification": (value, least)} if value == value else {}
