"""Monitors the limits of the house and of each agent on their positions at every sample.

Measurements do not affect the effects: one is left out only where no level can have changed (`quantd.risk.screen`), and
records depend on levels and the number of the sample alone.
"""

from typing import Final

import numpy as np

from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force
from quantd.daemon.engine.safety.alerts import limit_alerts
from quantd.daemon.engine.safety.monitor_state import Corridor
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.context import Context
from quantd.risk.limits.values import Portfolio, Values, held_values, standing, standings
from quantd.risk.monitor.levels import QUIET, Crossing, observe
from quantd.risk.pretrade.gate import Account, Verdict
from quantd.risk.screen import Screen, screen
from quantd.risk.switch import STATE_LIMITS, Switch, losses, quiet
from quantd.trading.effects import Assessed, Effect
from quantd.trading.market import Floats

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
        universe=state.universe,
    )
    state.watch.context = state.now, state.marks, made
    return made


def watch(state: State) -> list[Effect]:
    """Alerts about limits whose level changed, and the record of the house where one is due."""
    memory = state.watch
    books = watched(state)
    for book in books:
        memory.realised[book + 1].add(state.equity_of(book), state.account(book).flows_micro, state.earned)
    due = state.sample_no - memory.recorded_no >= RECORD_SAMPLES
    screened = _screened(state)
    measured = _measured(state, books) if due or not screened else None
    effects: list[Effect] = []
    crossed: list[tuple[int, Crossing]] = []
    for at, book in enumerate(books):
        values = _known(state, book)
        levels = levels_of(state, book)
        found = observe(levels, values) if values else []
        if measured is not None:
            values |= measured[at]
            # while orders are open a level may rise; it falls once they have ended
            found += observe(levels, measured[at], falling=not (state.working or state.crosses))
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
    effects.extend(limit_alerts(state, crossed))
    if measured is not None and not screened:
        memory.corridor = None
        if not (memory.changed and memory.busy):  # a book that trades at every sample is measured at every sample
            plans = [(b, state.lots(b), _equity(state, b), own) for b, own in zip(books, measured, strict=True)]
            memory.corridor = _corridor(state, plans, None)
    memory.busy, memory.changed = memory.changed, False
    return effects


def watch_plan(state: State, plans: list[tuple[int, Account, Verdict]], whole: bool) -> list[Effect]:
    """Alerts about limits whose level a round raises: (book, account before, verdict), the house first.

    With `whole` the verdicts describe the books at the next sample if all orders fill.
    """
    lone = watched(state) == [HOUSE]
    crossed = [
        (book, each)
        for book, _, verdict in (plans[:1] if lone else plans)
        for each in observe(levels_of(state, book), verdict.values, falling=False)
    ]
    state.watch.recorded_no = state.sample_no  # the plan is a record
    state.watch.corridor = _planned(state, plans) if whole and not state.watch.busy else None
    return list(limit_alerts(state, crossed))


def watched(state: State) -> list[int]:
    """The house and the agents. A lone agent with all the money and the house's limits is the house."""
    rules, ledger, memory, house = state.rules, state.ledger, state.watch, limits_in_force(state, HOUSE)
    if len(rules.agents) > 1:
        return [HOUSE, *range(len(rules.agents))]
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
    ctx, account, limits = market_context(state), account_of(state, HOUSE), limits_in_force(state, HOUSE)
    values = standing(ctx, account, limits, None) | held_values(ctx, account, limits)
    values |= state.watch.realised[0].values(limits)
    return values | state_losses(state.switch, state.equity_micro, limits)


def state_losses(switch: Switch, equity_micro: int, limits: Limits) -> dict[str, tuple[float, float]]:
    """Drawdown and losses of a book; 0 before the switch has observed a sample."""
    if switch.day_key < 0:
        now = max(equity_micro, 1)
        switch = Switch(high_water=now, day_open=now, week_open=now)
    return losses(switch, equity_micro, limits)


def _screened(state: State) -> bool:
    """Whether no level of a basket limit can have changed since it was measured."""
    corridor = state.watch.corridor
    if corridor is None or (state.watch.changed if corridor.lots is None else not _as_planned(state, corridor)):
        return False
    ring = state.history.synchronous
    corridor.rows += 1
    # the newest synchronous row is this sample's: one more of them, none waiting, and of these very marks
    if ring.count != corridor.rows or state.history.waiting or ring.prices[ring.end - 1, 0] != state.marks[0]:
        return False
    ratios = (state.marks if corridor.columns is None else state.marks[corridor.columns]) * corridor.inverse
    low, high = _range(ratios)
    for book, one in corridor.screens:
        if corridor.lots is not None:
            one.begin(ratios, _equity(state, book))
        if not one.keeps(ratios, low, high, _equity(state, book)):
            return False
    corridor.lots = None
    return True


def _as_planned(state: State, corridor: Corridor) -> bool:
    """Whether every screened book has the positions of its plan."""
    return corridor.lots is not None and all(
        state.account(book).lots == lots for (book, _), lots in zip(corridor.screens, corridor.lots, strict=True)
    )


def _range(ratios: Floats) -> tuple[float, float]:
    """Smallest and largest; 1 without any."""
    if not len(ratios):
        return 1.0, 1.0
    if len(ratios) <= 64:
        plain = ratios.tolist()
        return min(plain), max(plain)
    return float(np.minimum.reduce(ratios)), float(np.maximum.reduce(ratios))


def _planned(state: State, plans: list[tuple[int, Account, Verdict]]) -> Corridor | None:
    """Screens of the positions after all orders of a plan have filled."""
    found: dict[int, tuple[Floats, float, Values]] = {}
    for book, account, verdict in plans:
        traded = float(np.abs(verdict.lots).dot(market_context(state).px))
        equity = account.equity - traded * limits_in_force(state, book).fee_bp * 1e-4
        found[book] = account.lots + verdict.lots, equity, verdict.values
    books = watched(state)
    others = [book for book in books if book not in found]
    for book, values in zip(others, _measured(state, others) if others else (), strict=True):
        found[book] = state.lots(book), _equity(state, book), values
    rows = [(book, *found[book]) for book in books]
    return _corridor(state, rows, [lots.astype(np.int64).tolist() for _, lots, _, _ in rows])


def _corridor(
    state: State, plans: list[tuple[int, Floats, float, Values]], lots: list[list[int]] | None
) -> Corridor | None:
    """Screens of (book, lots, equity, values); None when one book cannot be screened: all are measured together."""
    if state.rules.live is not None:
        return None  # a cap in money is a different fraction at each equity
    ctx, ring = market_context(state), state.history.synchronous
    if not ctx.all_priced or state.history.waiting or not np.array_equal(ring.prices[ring.end - 1], state.marks):
        return None
    held = np.zeros(state.universe.size, dtype=np.bool_)
    for _, own, _, _ in plans:
        held |= own != 0.0
    columns = None if held.all() else np.flatnonzero(held)
    screens: list[tuple[int, Screen]] = []
    for book, own, equity, values in plans:
        limits, levels = limits_in_force(state, book), levels_of(state, book)
        made = screen(ctx, own * ctx.px, equity, limits, values, levels, columns)
        if made is None:
            return None
        screens.append((book, made))
    inverse = 1.0 / (state.marks if columns is None else state.marks[columns])
    return Corridor(columns, inverse, ring.count, screens, lots)
