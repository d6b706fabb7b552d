"""Measures the value of each risk limit on a portfolio: for verdicts of the gate, the monitor and `quantd why`."""

from collections.abc import Callable, Collection, Sequence
from math import inf, sqrt

import numpy as np

from quantd.risk.limits.average_correlation import KEY as AVERAGE
from quantd.risk.limits.average_correlation import average_of
from quantd.risk.limits.case import SLACK, Account
from quantd.risk.limits.catalogue import Correlation, Limits
from quantd.risk.limits.context import Context, Floats, Scenarios, Spread, scenarios_of
from quantd.risk.limits.correlation import joint_bound, joint_weight
from quantd.risk.limits.kinds import Losses, Quad, Row
from quantd.risk.limits.record import Held
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.limits.settings import reserved
from quantd.risk.measures.diversification import diversification
from quantd.risk.measures.portfolio import FEW, herfindahl, most, tail_count
from quantd.trading.history import RunningSums
from quantd.trading.statistics import sum_in_order

Values = dict[str, tuple[float, float]]
"""Key of a limit -> (value, bound). The bound of `cash` is a floor, in account currency."""

Sums = Callable[[int], RunningSums]
"""Lookback -> the running sums over the newest returns."""


class Portfolio:
    """One book to measure: after signed `lots` float64[N] and all open orders fill at reference prices.

    If `lots` is None, the book is measured at its present positions.
    """

    __slots__ = (
        "account", "equity", "found", "held", "keys", "limits", "lots", "rules", "traded", "values", "wanted",
    )  # fmt: skip

    def __init__(
        self,
        ctx: Context,
        account: Account,
        limits: Limits,
        lots: Floats | None,
        keys: Collection[str] = (),
        wanted: Collection[str] | None = None,
    ) -> None:
        """Compute the positions to measure: the present positions of the account, or with `lots` the positions after
        `lots` and all open orders fill.

        `account.up` are the lots of open buys and `account.down` those of open sells, both positive; None for none.
        """
        self.account = account
        self.limits = limits
        self.keys = keys
        """Limits that are measured even if their values are small."""
        self.wanted = wanted
        """The only limits that have to be measured; None for all."""
        self.rules = rules_of(limits, ctx.universe)
        self.lots = lots
        positions = account.lots
        if lots is not None:
            positions = positions + lots
            if account.up is not None:
                positions = positions + account.up
            if account.down is not None:
                positions = positions - account.down
        self.held = positions
        self.equity = account.equity
        self.traded: float
        self.values: Values = {}
        self.found: dict[int, Scenarios] | None = None
        """The scenarios of each lookback; None where there are too few."""

    def cash(self, traded: float, paid: float) -> None:
        """Write the limit on cash into the attribute `values`, store the `traded` value, and lower equity by the fees.

        `traded` is the value of all orders at reference prices, `paid` the cost of new and open purchases at worst
        prices with fees.
        """
        account, limits = self.account, self.limits
        self.equity -= traded * self.rules.fee
        self.traded = account.traded + traded
        self.values["cash"] = (account.cash - paid, (limits.cash_reserve - limits.max_cash_debit) * account.equity)

    def exposures(self, weights: Floats, size: Floats, net: float, gross: float) -> None:
        """Write the values of the limits that need no scenarios, from `weights` float64[N] and their absolute values
        `size`; `net` and `gross` are their sums."""
        values = self.values
        book = Held(most(size), net, gross, lambda: herfindahl(weights), self.traded / self.equity)
        for key, bound, measure in self.rules.held_measures:
            values[key] = (measure(book), bound)
        for family in self.rules.families:
            # label 0 is no group; the key may already have the value of the heaviest single symbol
            group_weight = max(np.bincount(family.labels, size)[1:].tolist(), default=0.0)
            single_weight = values.get(family.key, (0.0, None))[0]
            values[family.key] = (max(single_weight, group_weight), family.settled_bound)
        for key, bound, measure in self.rules.traded_measures:
            values[key] = (measure(book), bound)
        for row in self.rules.unmeasured:
            # where a limit has several rows, the row nearest to its bound counts
            before = values.get(row.key, (-inf, row.settled_bound))
            reading = (_linear(row, weights, book.traded), row.settled_bound)
            values[row.key] = max(before, reading, key=lambda pair: pair[0] - pair[1])

    def sources(self) -> list[Scenarios]:
        """Return the distinct sets of return scenarios that the limits of the book use."""
        if self.found is None:
            return [tail.fixed for tail in self.rules.tails if tail.fixed is not None]
        wanted = [tail.of(self.found)[0] for tail in self.rules.tails]
        wanted += [self.found[quad.lookback] for quad in self.rules.quads if quad.spread is not None]
        return list({id(scenarios): scenarios for scenarios in wanted}.values())

    def wants(self, key: str) -> bool:
        """Whether the value of the limit `key`, which is on, is required."""
        return self.wanted is None or key in self.wanted

    def wants_scenarios(self) -> bool:
        """Whether the value of a limit that is measured on scenarios of returns is required."""
        return self.wanted is None or not self.rules.over_scenarios.isdisjoint(self.wanted)

    def wants_losses(self) -> bool:
        """Whether the value of a limit on the book's losses over past returns (`Rules.over_losses`) is required."""
        return self.wanted is None or not self.rules.over_losses.isdisjoint(self.wanted)

    def wants_exposures(self) -> bool:
        """Whether the value of a limit that needs no scenarios is required."""
        return self.wanted is None or not self.rules.over_scenarios.issuperset(self.wanted)

    def doubtful(self, size: Floats, share: float, sums: Sums | None) -> set[str]:
        """Return the keys of the limits over scenarios that must be measured: those in the attribute `keys`, and those
        that may be near their bound.

        Near means `share` of the bound or more. A limit is omitted only if an upper bound of its value, which is cheap
        to compute from the absolute weights `size` float64[N], is below this share. `sums` returns the running sums
        of a lookback; without `sums` the limits over returns are measured.
        """
        rules = self.rules
        doubts = set()
        for tail_limit in rules.tails:
            loss_bound = inf  # no cheap upper bound: the limit is measured
            # the running sums are of unchanged past returns: they bound no fixed or filtered scenario
            if tail_limit.fixed is None and not tail_limit.filtered and sums is not None:
                running_sums = sums(tail_limit.lookback)
                rows = max(running_sums.rows, rules.limits.min_history)
                loss_bound = running_sums.norm(size) * tail_limit.scale / sqrt(tail_count(rows, tail_limit.confidence))
            # written with `not`, so that a NaN upper bound does not leave the limit out
            if tail_limit.key in self.keys or not loss_bound < share * tail_limit.bound:
                doubts.add(tail_limit.key)
        for quadratic in rules.quads:
            volatility_bound = inf
            if quadratic.key == "max_volatility" and sums is not None:
                running_sums = sums(quadratic.lookback)
                rows = max(running_sums.rows, rules.limits.min_history)
                volatility_bound = running_sums.norm(size) * sqrt(quadratic.scale / max(rows - 1, 1))
            must_measure = quadratic.key in self.keys or not volatility_bound < share * quadratic.settled_bound
            if quadratic.spread is not None and must_measure:
                doubts.add(quadratic.key)
        spec = rules.limits.correlation
        if spec is not None:
            must_measure = "correlation" in self.keys or not pairs_small(size, spec, share * joint_bound(spec))
            if must_measure:
                doubts.add("correlation")
        if rules.average is not None and (AVERAGE in self.keys or np.count_nonzero(size) > 1):
            doubts.add(AVERAGE)
        return doubts


def pairs_small(size: Floats, spec: Correlation, bound: float) -> bool:
    """Whether in every pair of instruments both together surely weigh less than `bound`, or one is too light to count.

    `size` float64[N] are absolute weights.
    """
    *_, second, first = sorted([0.0, 0.0, *size.tolist()])
    return first + second < bound or second < spec.min_weight * (1.0 - 1e-9)


def _linear(row: Row, weights: Floats, traded: float) -> float:
    """Return the value of a linear limit for signed `weights` float64[N] and the `traded` value, both as fractions
    of equity."""
    long = np.maximum(weights, 0.0)
    sides = np.concatenate((long - weights, long, -weights, weights))
    return float(row.held[:-2].dot(sides)) + float(row.held[-1]) * traded


def _trades(ctx: Context, portfolios: Sequence[Portfolio]) -> None:
    """Write cash, buying power and traded value, at reference prices, into the attributes of each book."""
    # without `lots` a book has no new orders: its present positions are measured
    moving = [portfolio for portfolio in portfolios if portfolio.lots is not None]
    if moving:
        order_values = np.array([portfolio.lots for portfolio in moving]) * ctx.px
        bought = np.maximum(order_values, 0.0)
        nets, buys = _sums(order_values), _sums(bought)
        for place, portfolio in enumerate(moving):
            worst_cost = buys[place] * (1.0 + reserved(portfolio.limits.collar))
            if most(-portfolio.account.lots) > 0.0:
                # a purchase that covers a short position has the wider collar
                paid = np.where(
                    portfolio.account.lots < 0.0,
                    reserved(portfolio.limits.reduce_collar),
                    reserved(portfolio.limits.collar),
                )
                worst_cost = float(bought[place].dot(1.0 + paid))
            # twice the purchases less the net value (purchases less sales) are purchases plus sales
            portfolio.cash(
                2.0 * buys[place] - nets[place], worst_cost * (1.0 + portfolio.rules.fee) + portfolio.account.up_cash
            )
    for portfolio in portfolios:
        if portfolio.limits.buying_power is not None:
            portfolio.values["buying_power"] = (_cost_of_adding(ctx, portfolio), portfolio.limits.buying_power.money)
        if portfolio.lots is None:
            portfolio.cash(0.0, 0.0)
        else:
            # open buys and sells count as traded too
            for open_lots in (portfolio.account.up, portfolio.account.down):
                portfolio.traded += 0.0 if open_lots is None else float(open_lots.dot(ctx.px))


def _cost_of_adding(ctx: Context, p: Portfolio) -> float:
    """Return the cost at worst prices, with fees, of orders that add to positions, without open orders.

    The venue's buying power already includes open orders.
    """
    if p.lots is None:
        return 0.0
    adding = np.where(p.lots * p.account.lots < 0.0, 0.0, np.abs(p.lots))
    return float(adding.dot(ctx.px)) * (1.0 + reserved(p.limits.collar)) * (1.0 + p.rules.fee)


def _sums(rows: Floats) -> list[float]:
    """Return the sum of each row of float64[K, N]."""
    if rows.shape[1] <= FEW:
        return [sum_in_order(row) for row in rows.tolist()]
    totals: list[float] = np.add.reduce(rows, axis=1).tolist()
    return totals


def standing(ctx: Context, account: Account, limits: Limits, lots: Floats | None) -> Values:
    """Return the values of all limits that are on, after all fills of `lots` and of open orders at reference prices.

    If `lots` is None, the values are of the present positions. The values are exact. Measures without enough history
    are omitted.
    """
    return standings(ctx, [Portfolio(ctx, account, limits, lots)])[0]


def standings(
    ctx: Context,
    portfolios: Sequence[Portfolio],
    share: float = 0.0,
    beside: Sequence[Portfolio] = (),
    sums: Sums | None = None,
) -> list[Values]:
    """Return the result of `standing` (values of the limits) for several books, computed in one pass.

    With `share`, a limit over scenarios is omitted where an upper bound of its value is below that share of the limit's
    bound; `sums` gives the running sums of a lookback, from which upper bounds follow. Only limits that their book
    requires are measured. The values of the books `beside` are not computed, but their rows take part in the
    matrix products, because the last bits of a value depend on the books measured with it. Results are therefore equal
    to the last bit only for the same books in the same order, whatever is omitted.
    """
    _trades(ctx, portfolios)
    solvent = [p for p in portfolios if p.equity > 0.0]
    if solvent:
        _exposures(ctx, solvent, share, [p for p in beside if p.equity > 0.0], sums)
    return [portfolio.values for portfolio in portfolios]


def _weights(ctx: Context, portfolios: Sequence[Portfolio]) -> Floats:
    """Return float64[K, N], the signed weights of K books."""
    weights = np.array([p.held for p in portfolios]) * ctx.px
    weights /= np.array([[p.equity] for p in portfolios])
    return weights


def _exposures(
    ctx: Context, portfolios: list[Portfolio], share: float, beside: list[Portfolio], sums: Sums | None
) -> None:
    """Write exposures and measures over scenarios into the `values` of books with positive equity.

    With `share`, limits that cheap bounds from `sums` show to be below that share of their bound are omitted. The books
    `beside` get no values: they only take part in the matrix products, on which the last bits of the values depend.
    """
    weights = _weights(ctx, portfolios)
    size = np.abs(weights)
    net, gross = _sums(weights), _sums(size)
    for k, portfolio in enumerate(portfolios):
        if portfolio.wants_exposures():
            portfolio.exposures(weights[k], size[k], net[k], gross[k])
        if share and portfolio.wanted is None:
            portfolio.wanted = portfolio.doubtful(size[k], share, sums)
    if not any(portfolio.wants_scenarios() for portfolio in portfolios):
        return
    losses_wanted = any(portfolio.wants_losses() for portfolio in portfolios)
    if beside and losses_wanted:
        # their rows only take part in the products: no value of theirs is wanted
        weights = np.concatenate((weights, _weights(ctx, beside)))
        portfolios = [*portfolios, *beside]
    for portfolio in beside:
        portfolio.wanted = ()
    groups: dict[int, tuple[Scenarios, list[int]]] = {}
    for k, portfolio in enumerate(portfolios):
        if not losses_wanted and not portfolio.wants_scenarios():
            continue
        rules = portfolio.rules
        by_lookback = portfolio.found = scenarios_of(ctx, rules.lookbacks, rules.limits.min_history, portfolio.held)
        spec = portfolio.limits.correlation
        if by_lookback is not None and spec is not None and portfolio.wants("correlation"):
            portfolio.values["correlation"] = (_correlation(ctx, portfolio, by_lookback, spec), joint_bound(spec))
        average_bound = rules.average
        if by_lookback is not None and average_bound is not None and portfolio.wants(AVERAGE):
            scenarios_of_average = by_lookback[portfolio.limits.volatility_lookback]
            portfolio.values[AVERAGE] = (average_of(scenarios_of_average, portfolio.held), average_bound)
        # books with the same scenarios are measured together
        for scenarios in portfolio.sources():
            group = groups.setdefault(id(scenarios), (scenarios, []))
            group[1].append(k)
    for scenarios, rows in groups.values():
        _losses(scenarios, portfolios, rows, weights)


def _losses(scenarios: Scenarios, portfolios: list[Portfolio], rows: list[int], weights: Floats) -> None:
    """Write the values of tail limits (VaR, CVaR) and quadratic limits over one set of scenarios, of the books in
    `rows` of `weights` float64[K, N].

    The last bit of a loss depends on the books measured with it, and the last bit of a mean on the tails measured
    earlier, which reorder the losses. Every book therefore keeps its row, and the losses are also sorted for a tail
    that no book requires, except after the last required tail.
    """
    rows_by_rules: dict[int, list[int]] = {}
    for k in rows:
        rows_by_rules.setdefault(id(portfolios[k].rules), []).append(k)
    tails = [
        (tail, count, [k for k in members if portfolios[k].wants(tail.key)])
        for members in rows_by_rules.values()
        for tail, count in _tails(portfolios[members[0]], scenarios)
    ]
    # the tails at the end that no book requires
    while tails and not tails[-1][2]:
        tails.pop()
    quadratics = [(k, *form) for k in rows for form in _forms(portfolios[k], scenarios)]
    # for many symbols a deviation is measured on the losses, because the covariance is expensive. That holds even if
    # the covariance was already computed for another use: a value must not depend on that
    on_series = weights.shape[1] > FEW and any(spread is scenarios.sample for _, _, spread in quadratics)
    if tails or on_series:
        losses: Floats = weights.dot(scenarios.returns.T)
        np.negative(losses, out=losses)
    deviations = _deviations(losses) if on_series else []  # before the tails put the losses in order
    for tail, count, members in tails:
        rank = losses.shape[1] - count
        losses.partition(rank)  # the `count` worst losses of each book are at the end of its row
        if members:
            column = (tail.measure(losses[:, rank:]) * tail.scale).tolist()
            for k in members:
                portfolios[k].values[tail.key] = (column[k], tail.bound)
    for k, quad, spread in quadratics:
        if on_series and spread is scenarios.sample:
            deviation = deviations[k]
        else:
            deviation = sqrt(max(float(weights[k].dot(spread.cov).dot(weights[k])), 0.0))
        portfolios[k].values[quad.key] = (sqrt(quad.scale) * deviation, quad.settled_bound)


def _tails(portfolio: Portfolio, scenarios: Scenarios) -> list[tuple[Losses, int]]:
    """Return the tail limits (VaR, CVaR) of a book over `scenarios`, with the number of worst losses of each."""
    history = portfolio.found or {}
    tails = [(tail, *tail.of(history)) for tail in portfolio.rules.tails if tail.fixed is not None or history]
    return [(tail, count) for tail, source, count in tails if source is scenarios]


def _forms(portfolio: Portfolio, scenarios: Scenarios) -> list[tuple[Quad, Spread]]:
    """Return the required quadratic limits of a book over `scenarios`, with their covariances."""
    history = portfolio.found or {}
    return [
        (quad, quad.spread(scenarios))
        for quad in portfolio.rules.quads
        if quad.spread is not None and history.get(quad.lookback) is scenarios and portfolio.wants(quad.key)
    ]


def _deviations(series: Floats) -> list[float]:
    """Return the sample standard deviation (divisor S - 1) of each row of float64[K, S]."""
    rows = series.shape[1]
    centred = series - (np.add.reduce(series, axis=1) / rows)[:, None]
    return [sqrt(float(row.dot(row)) / (rows - 1)) for row in centred]


def _correlation(ctx: Context, portfolio: Portfolio, by_lookback: dict[int, Scenarios], spec: Correlation) -> float:
    """Return the joint weight of the heaviest correlated pair of positions."""
    n = portfolio.rules.size
    value = portfolio.held * ctx.px
    sides = np.empty(2 * n)
    np.maximum(value, 0.0, out=sides[n:])
    np.subtract(sides[n:], value, out=sides[:n])
    near = SLACK * abs(portfolio.account.equity)
    return joint_weight(by_lookback[spec.lookback], sides, portfolio.equity, near, spec)


def held_values(ctx: Context, account: Account, limits: Limits) -> Values:
    """Return the value and the bound of `min_diversification`, 1 - 1 / diversification ratio of the positions. This
    limit only raises alerts.

    The result is empty where the limit is off, nothing is held, equity is not positive or synchronous returns are too
    few.
    """
    lowest_value, is_held = limits.min_diversification, account.lots != 0.0
    if lowest_value is None or not account.equity > 0.0 or not np.count_nonzero(is_held):
        return {}
    by_lookback = scenarios_of(ctx, (limits.volatility_lookback,), limits.min_history, account.lots)
    if by_lookback is None:
        return {}
    cov = by_lookback[limits.volatility_lookback].sample.cov[np.ix_(is_held, is_held)]
    # the ratio does not depend on scale: values in currency give the same as weights
    value = diversification(account.lots[is_held] * ctx.px[is_held], cov)
    return {"min_diversification": (value, lowest_value)} if value == value else {}
