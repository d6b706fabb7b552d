"""Monitors the limits of the house and of each agent on their positions at every sample.

Measurements do not affect the effects: one is left out only where no level can have changed
(`quantd.risk.monitor.ceilings`), and records depend on levels and the number of the sample alone.
"""

from typing import Final

import numpy as np

from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force
from quantd.daemon.engine.safety.alerts import level_effects
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.context import Context
from quantd.risk.limits.values import Portfolio, Values, held_values, standing, standings
from quantd.risk.monitor.levels import QUIET, Crossing, observe
from quantd.risk.pretrade.gate import Account, Verdict
from quantd.risk.switch import STATE_LIMITS, losses, quiet, rearm
from quantd.risk.switch_state import Switch
from quantd.trading.effects import Assessed, Effect

RECORD_SAMPLES: Final = 25
"""Most samples, five weeks, between two records of all limits. The plan of a round is a record too."""

KNOWN_SAMPLES: Final = 5
"""Samples, a week, between two records of losses and realised returns, which need no measurement."""


def market_context(state: State) -> Context:
    """The shared inputs of all gates and of the monitor at this instant."""
    known = state.watch.context
    if known is not None and known[0] == state.now and known[1] is state.marks:
        return known[2]
    size = state.universe.lot_size
    made = Context(
        px=state.marks * size,
        prices_nano=state.marks_nano,
        age_ns=state.now - state.mark_ts,
        volume_lots=state.average_volume() / size,
        returns=state.history.synchronous.returns,
        sums=state.history.synchronous.sums,
        universe=state.universe,
    )
    state.watch.context = state.now, state.marks, made
    return made


def watch(state: State) -> list[Effect]:
    """Note the returns of a sample, then `watch_levels`."""
    books = watched(state)
    for book in books:
        returns = state.watch.realised[book + 1]
        returns.add(state.equity_of(book), state.account(book).flows_micro, state.earned)
    return watch_levels(state, books)


def watch_levels(state: State, books: list[int] | None = None) -> list[Effect]:
    """Alerts about limits whose level changed, and the record of the house where one is due. `books` are the
    `watched`."""
    memory, waits = state.watch, bool(state.working or state.crosses)
    if books is None:
        books = watched(state)
    due = state.sample_no - memory.recorded_no >= RECORD_SAMPLES
    measured = _measured(state, books) if due or not _settled(state, books) else None
    effects: list[Effect] = []
    crossed: list[tuple[int, Crossing]] = []
    for at, book in enumerate(books):
        values = _known(state, book)
        levels = levels_of(state, book)
        found = observe(levels, values) if values else []
        if measured is not None:
            values |= measured[at]
            # while orders are open a level may rise; it falls once they have ended
            found += observe(levels, measured[at], falling=not waits)
        if book == HOUSE and (found or due):
            if measured is None:
                values |= _measured(state, books)[at]  # all books: one alone may differ in the last bit
            memory.recorded_no = state.sample_no
            values = values | losses(state.switch, state.equity_micro, state.rules.house)
            effects.append(Assessed(state.now, values))
        elif book == HOUSE and state.sample_no % KNOWN_SAMPLES == 0:
            known = memory.realised[0].values(state.rules.house)
            known |= losses(state.switch, state.equity_micro, state.rules.house)
            if known:
                effects.append(Assessed(state.now, known))
        crossed.extend((book, each) for each in found)
    effects.extend(level_effects(state, crossed))
    return effects


def watch_plan(state: State, plans: list[tuple[int, Verdict]]) -> list[Effect]:
    """Alerts about limits whose level a round raises, of the verdicts by book, the house first."""
    lone = watched(state) == [HOUSE]
    crossed = [
        (book, each)
        for book, verdict in (plans[:1] if lone else plans)
        for each in observe(levels_of(state, book), verdict.recorded, falling=False)
    ]
    state.watch.recorded_no = state.sample_no  # the plan is a record
    return list(level_effects(state, crossed))


def watched(state: State) -> list[int]:
    """The house and the agents. A lone agent with all the money and the house's limits is the house."""
    rules, ledger, memory, house = state.rules, state.ledger, state.watch, limits_in_force(state, HOUSE)
    if len(rules.agents) > 1:
        return [HOUSE, *state.in_use()]
    own = rules.agents[0].limits
    if ledger.house.flows_micro == ledger.books[0].flows_micro and (own is house or own == house):
        memory.levels[0], memory.realised[1] = state.monitor.levels, memory.realised[0]
        return [HOUSE]
    if memory.levels[0] is state.monitor.levels:  # until now it was the house
        memory.levels[0], memory.realised[1] = dict(state.monitor.levels), memory.realised[0].copy()
    return [HOUSE, 0]


def levels_of(state: State, book: int) -> dict[str, int]:
    """Level of each limit of the house or of an agent."""
    return state.monitor.levels if book == HOUSE else state.watch.levels[book]


def _known(state: State, book: int) -> Values:
    """Values that need no measurement: realised returns, and losses unless these are and were far from their bounds."""
    switch, equity, levels = state.switch_at(book), state.equity_of(book), levels_of(state, book)
    limits = state.rules.house if book == HOUSE else state.rules.agents[book].limits
    values = state.watch.realised[book + 1].values(limits)
    if not quiet(switch, equity, limits, QUIET) or (levels and any(levels.get(key) for key in STATE_LIMITS)):
        values |= losses(switch, equity, limits)
    return values


def _measured(state: State, books: list[int]) -> list[Values]:
    """Every basket limit of these books on their positions, without open orders."""
    ctx = market_context(state)
    accounts = [
        Account(lots=state.lots(b), cash=state.account(b).cash_micro / 1e6, equity=_equity(state, b)) for b in books
    ]
    limits = [limits_in_force(state, book) for book in books]
    found = standings(ctx, [Portfolio(ctx, a, own, None) for a, own in zip(accounts, limits, strict=True)])
    for values, account, own in zip(found, accounts, limits, strict=True):
        values.pop("max_turnover", None)  # a limit of trades, measured when one is planned
        values |= held_values(ctx, account, own)
    return found


def _equity(state: State, book: int) -> float:
    return state.equity_of(book) / 1e6


def limit_values(state: State) -> Values:
    """Each limit of the house with all open orders counted as filled; empty before the first sample."""
    if not state.sample:
        return {}
    limits = limits_in_force(state, HOUSE)
    values = basket_values(state, HOUSE) | state.watch.realised[0].values(limits)
    return values | state_losses(state.switch, state.equity_micro, limits)


def basket_values(state: State, book: int) -> Values:
    """Each limit on the positions of a book, with all its open orders counted as filled."""
    ctx, account, limits = market_context(state), account_of(state, book), limits_in_force(state, book)
    return standing(ctx, account, limits, None) | held_values(ctx, account, limits)


def state_losses(switch: Switch, equity_micro: int, limits: Limits) -> dict[str, tuple[float, float]]:
    """Drawdown and losses of a book; 0 before the switch has observed a sample."""
    if switch.day_key < 0:
        switch = Switch()
        rearm(switch, max(equity_micro, 1), 0)
    return losses(switch, equity_micro, limits)


def _settled(state: State, books: list[int]) -> bool:
    """Whether no level of a basket limit can have changed since the last sample, by `quantd.risk.monitor.ceilings`."""
    memory, ring = state.watch, state.history.synchronous
    px = state.marks * state.universe.lot_size
    held = memory.holdings_of(len(px))
    for book in books:
        equity = _equity(state, book)
        if not equity > 0.0:
            continue  # nothing is measured without equity
        bands = memory.bands_of(book, limits_in_force(state, book), state.universe, levels_of(state, book))
        if bands.unsettled:
            return False
        np.multiply(state.lots(book), px, out=held.values)
        held.weigh(equity)
        if not bands.keep(held, ring):
            return False
    return True
