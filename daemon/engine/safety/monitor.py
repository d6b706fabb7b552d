"""Monitors the limits of the house and of each agent on their positions at every sample.

A measurement is omitted only where no level can have changed (`quantd.risk.monitor.ceilings`), so that omissions do not
change the effects: records depend on levels and the number of the sample alone.

What can go wrong: a level goes up and down while orders are filled. So while orders or crosses (trades between agents)
are open a level may rise only; it falls once they have ended. The last bits of a value depend on the books that are
measured with it. So all books are measured together, also those whose values are not needed.

A lone agent with all the money and the limits of the house is the same book as the house: both share one memory of
levels, and one alert is raised. When the agent begins to differ, it gets a copy of the memory, so that no level is
reported again.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from quantd.daemon.engine.core.sample_columns import KNOWN_SAMPLES, RECORD_SAMPLES
from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force, market_context
from quantd.daemon.engine.safety.alerts import level_effects
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.values import Portfolio, Values, held_values, standing, standings
from quantd.risk.monitor.ceilings import SPREAD
from quantd.risk.monitor.levels import QUIET, Crossing, observe, sure
from quantd.risk.pretrade.gate import Account
from quantd.risk.switch import STATE_LIMITS, losses, quiet, rearm
from quantd.risk.switch_state import Switch
from quantd.trading.effects import Assessed, Effect

Wanted = Collection[str] | None
"""Keys of limits; None for all."""

Doubt = tuple[str, float, float, float]
"""Key, least possible value, largest possible value, and bound of a limit, as in
`quantd.risk.monitor.ceilings.Doubts`."""


def watch(state: State) -> list[Effect]:
    """Note the returns of the watched books at a sample, then check the alert levels (`watch_levels`)."""
    books = watched(state)
    for book in books:
        returns = state.watch.realised[book + 1]
        returns.add(state.equity_of(book), state.account(book).flows_micro, state.earned)
    return watch_levels(state, books)


class Review(NamedTuple):
    """Which limits of a book must be measured at a sample, as bounds show before any measurement; used without a
    journal.

    `values` are (least possible value, bound) of limits whose alert level these two numbers decide. `wanted` are the
    limits that must be measured; None means all. `realised` is True where the level of a measure of past returns
    (volatility, Sharpe ratio) may change.
    """

    values: Values
    wanted: Wanted
    realised: bool


def review(levels: Mapping[str, int], doubts: Sequence[Doubt] | None, *, realised: bool = False) -> Review:
    """Return which limits of a book must be measured, from its `doubts`; `levels` are its present alert levels by
    limit.

    A doubt is (key, least possible value, largest possible value, bound) of a limit whose level may change. If
    `doubts` is None, every limit must be measured.
    """
    if doubts is None:
        return Review({}, None, realised)
    values: Values = {}
    unsure_limits: list[str] = []
    for key, least, most, bound in doubts:
        if sure(key, least, most, bound, levels.get(key, 0)):
            values[key] = (least, bound)
        else:
            unsure_limits.append(key)
    return Review(values, unsure_limits, realised)


def watch_levels(
    state: State, books: list[int] | None = None, reviews: Mapping[int, Review] | None = None
) -> list[Effect]:
    """Alerts about limits whose level changed, and the record of the whole account where a record is due.

    `books` are the books to check, None for all that are watched. With `reviews` (by book) no record is made: they are
    used only where nothing is journalled.
    """
    memory, orders_open = state.watch, bool(state.working or state.crosses)
    if books is None:
        books = watched(state)
    record_due = state.sample_no - memory.recorded_no >= RECORD_SAMPLES
    makes_record = reviews is None
    wanted = _limits_in_doubt(state, books) if reviews is None else {book: reviews[book].wanted for book in books}
    if makes_record and (record_due or wanted[HOUSE] is None or wanted[HOUSE]):
        wanted[HOUSE] = None  # None measures every limit: the record has the values of all
    measured = _measured(state, wanted)
    effects: list[Effect] = []
    crossed: list[tuple[int, Crossing]] = []
    for book in books:
        values = _unmeasured_values(state, book, realised=reviews is None or reviews[book].realised)
        levels = levels_of(state, book)
        crossings = observe(levels, values) if values else []
        position_values = (
            measured.get(book, {}) if reviews is None else {**measured.get(book, {}), **reviews[book].values}
        )
        if position_values:
            # while orders are open a level may rise; it falls once they have ended
            crossings += observe(levels, position_values, falling=not orders_open)
        if book == HOUSE and (crossings or record_due):
            memory.recorded_no = state.sample_no
            if makes_record:
                if wanted[HOUSE] is not None:
                    position_values = _measured(state, {**wanted, HOUSE: None})[HOUSE]
                values |= position_values
                values |= losses(state.switch, state.equity_micro, state.rules.house)
                effects.append(Assessed(state.now, values))
        elif book == HOUSE and makes_record and state.sample_no % KNOWN_SAMPLES == 0:
            effects.extend(record_known(state, state.equity_micro))
        crossed.extend((book, crossing) for crossing in crossings)
    effects.extend(level_effects(state, crossed))
    return effects


def record_known(state: State, equity_micro: int) -> list[Effect]:
    """The record of the losses and of the measures of past returns (volatility, Sharpe ratio) of the whole account.


    `equity_micro` is the house's equity in micro-currency. The list is empty where the house has no such limits.
    """
    values = state.watch.realised[0].values(state.rules.house)
    values |= losses(state.switch, equity_micro, state.rules.house)
    return [Assessed(state.now, values)] if values else []


def watch_plan(state: State, plans: Sequence[tuple[int, Values]]) -> list[Effect]:
    """Alerts about limits whose level a plan raises; `plans` are (book, values of limits), the whole account
    first."""
    house_only = watched(state) == [HOUSE]
    crossed = [
        (book, crossing)
        for book, values in (plans[:1] if house_only else plans)
        for crossing in observe(levels_of(state, book), values, falling=False)
    ]
    # the plan is a record of the values: the next is due RECORD_SAMPLES later
    state.watch.recorded_no = state.sample_no
    return list(level_effects(state, crossed))


def watched(state: State) -> list[int]:
    """The books that are watched: the whole account and each agent. A lone agent with the same book as the
    house is left out: the two share alert levels and returns."""
    rules, ledger, memory, house = state.rules, state.ledger, state.watch, limits_in_force(state, HOUSE)
    if len(rules.agents) > 1:
        return [HOUSE, *state.in_use()]
    agent_limits = rules.agents[0].limits
    if ledger.house.flows_micro == ledger.books[0].flows_micro and (agent_limits is house or agent_limits == house):
        memory.levels[0], memory.realised[1] = state.monitor.levels, memory.realised[0]
        return [HOUSE]
    if memory.levels[0] is state.monitor.levels:  # a lone agent shared the levels of the house: now it needs a copy
        memory.levels[0], memory.realised[1] = dict(state.monitor.levels), memory.realised[0].copy()
    return [HOUSE, 0]


def levels_of(state: State, book: int) -> dict[str, int]:
    """The present level of each limit of the whole account or of an agent, by key."""
    return state.monitor.levels if book == HOUSE else state.watch.levels[book]


def _unmeasured_values(state: State, book: int, *, realised: bool) -> Values:
    """Values of a book's limits that do not depend on its positions: losses and, with `realised`, measures of past
    returns.

    Losses are omitted while they are far below their bounds and no loss limit has a raised alert level.
    """
    switch, equity, levels = state.switch_at(book), state.equity_of(book), levels_of(state, book)
    limits = state.rules.house if book == HOUSE else state.rules.agents[book].limits
    values = state.watch.realised[book + 1].values(limits) if realised else {}
    if not quiet(switch, equity, limits, QUIET) or (levels and any(levels.get(key) for key in STATE_LIMITS)):
        values |= losses(switch, equity, limits)
    return values


def _measured(state: State, wanted: Mapping[int, Wanted]) -> dict[int, Values]:
    """The values of the `wanted` limits on positions by book, without open orders; empty where no value is wanted.

    Books without a wanted limit are measured too: the last bits of a value depend on the books measured with it.
    """
    if not any(keys is None or keys for keys in wanted.values()):
        return {}
    ctx = market_context(state)
    portfolios = []
    for book, keys in wanted.items():
        account = Account(lots=state.lots(book), cash=state.account(book).cash_micro / 1e6, equity=_equity(state, book))
        # None: at the present positions, without trades
        portfolios.append(Portfolio(ctx, account, limits_in_force(state, book), None, wanted=keys))
    for portfolio, values in zip(portfolios, standings(ctx, portfolios), strict=True):
        values.pop("max_turnover", None)  # a limit of trades, measured when one is planned
        if portfolio.wants(SPREAD):
            values |= held_values(ctx, portfolio.account, portfolio.limits)
    return {book: portfolio.values for book, portfolio in zip(wanted, portfolios, strict=True)}


def _equity(state: State, book: int) -> float:
    return state.equity_of(book) / 1e6


def limit_values(state: State) -> Values:
    """(value, bound) of each limit of the whole account, with open orders counted as filled; empty before the
    first sample."""
    if not state.sample:
        return {}
    limits = limits_in_force(state, HOUSE)
    values = basket_values(state, HOUSE) | state.watch.realised[0].values(limits)
    return values | state_losses(state.switch, state.equity_micro, limits)


def basket_values(state: State, book: int) -> Values:
    """(value, bound) of each limit on the positions of a book, with all its open orders counted as filled."""
    ctx, account, limits = market_context(state), account_of(state, book), limits_in_force(state, book)
    return standing(ctx, account, limits, None) | held_values(ctx, account, limits)


def state_losses(switch: Switch, equity_micro: int, limits: Limits) -> dict[str, tuple[float, float]]:
    """(value, bound) of the drawdown and the loss limits of a book; the values are 0 before the kill switch has
    observed a sample."""
    if switch.day_key < 0:
        switch = Switch()
        rearm(switch, max(equity_micro, 1), 0)
    return losses(switch, equity_micro, limits)


def _limits_in_doubt(state: State, books: list[int]) -> dict[int, Wanted]:
    """Book -> keys of the limits on positions whose level may have changed since the last sample; None for all limits.

    The bands of a book are the ranges of measures within which no level changes.
    """
    # a ring has the newest samples: this one those of one date in all calendars
    memory, ring = state.watch, state.history.synchronous
    px = state.marks * state.universe.lot_size
    holdings = memory.holdings_of(len(px))
    doubts: dict[int, Wanted] = {}
    for book in books:
        doubts[book] = ()
        equity = _equity(state, book)
        if not equity > 0.0:
            continue  # at an equity of 0 or less no fraction of equity is defined
        bands = memory.bands_of(book, limits_in_force(state, book), state.universe, levels_of(state, book))
        np.multiply(state.lots(book), px, out=holdings.values)
        holdings.weigh(equity)
        if not bands.keep(holdings, ring):
            limits = bands.doubts(holdings, ring)
            doubts[book] = None if limits is None else [key for key, *_ in limits]
    return doubts
