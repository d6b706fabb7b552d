"""The monitor at every sample: each limit of the house and of each agent on what is held, measured where its level may
have changed; and now and then a record of the house's.

Whether something was measured never shows in the effects: a measurement is left out only where no level can have
changed (`quantd.risk.screen`), and what is recorded, and when, hangs on levels and the count of samples alone.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from quantd.daemon.engine.alerts import limit_alerts
from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force
from quantd.daemon.engine.safety.monitor_state import Corridor
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.context import Context
from quantd.risk.limits.values import Portfolio, Values, standing, standings
from quantd.risk.monitor.levels import QUIET, Crossing, observe
from quantd.risk.monitor.watched import held_values
from quantd.risk.pretrade.gate import Account, Verdict
from quantd.risk.screen import Screen, screen
from quantd.risk.switch import STATE_LIMITS, Switch, losses, quiet
from quantd.trading.effects import Assessed, Effect
from quantd.trading.market import Floats

RECORD_SAMPLES: Final = 25
"""At least one record of all limits in so many samples, five weeks. What a round was planned with is one too."""

KNOWN_SAMPLES: Final = 5
"""What is known without measuring, losses and realised returns, is recorded every so many samples: a week."""


def market_context(state: State) -> Context:
    """What every gate of this instant shares, and the monitor: values of lots, ages, volumes, the synchronous
    returns."""
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
    """Alerts about limits that came nearer or went away again, and the record of the house where one is due."""
    kept = state.watch
    books = watched(state)
    for book in books:
        _returned(state, book)
    due = state.sample_no - kept.recorded_no >= RECORD_SAMPLES
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
            # with orders on their way a level may rise by what is held, and falls once they are done
            found += observe(levels, measured[at], falling=not (state.working or state.crosses))
        if book == HOUSE and (found or due):
            if (
                measured is None
            ):  # what crossed is known at every sample; all books, as one alone may differ in the last bit
                values |= _measured(state, books)[at]
            kept.recorded_no = state.sample_no
            values = values | losses(state.switch, state.equity_micro, state.rules.house)
            effects.append(Assessed(state.now, values))
        elif book == HOUSE and state.sample_no % KNOWN_SAMPLES == 0:
            known = state.watch.realised[0].values(state.rules.house)
            known |= losses(state.switch, state.equity_micro, state.rules.house)
            if known:
                effects.append(Assessed(state.now, known))
        crossed.extend((book, each) for each in found)
    effects.extend(limit_alerts(state, crossed))
    if measured is not None and not screened:
        # a book that trades at every sample is measured at every sample
        kept.corridor = None if kept.changed and kept.busy else _corridor(state, books, measured)
    kept.busy, kept.changed = kept.changed, False
    return effects


def watch_plan(state: State, plans: list[tuple[int, Account, Verdict]], whole: bool) -> list[Effect]:
    """Alerts about limits that a round brings nearer: (book, account before, verdict), the house first. With `whole`
    these verdicts are of the books as the next sample finds them, if all orders fill."""
    kept = state.watch
    lone = watched(state) == [HOUSE]
    crossed = [
        (book, each)
        for book, _, verdict in (plans[:1] if lone else plans)
        for each in observe(levels_of(state, book), verdict.values, falling=False)
    ]
    kept.recorded_no = state.sample_no  # the plan is a record
    kept.corridor = _planned(state, plans) if whole and not kept.busy else None
    return list(limit_alerts(state, crossed))


def watched(state: State) -> list[int]:
    """The house, and each agent's book that is another one: a lone agent that has all the money and the house's own
    limits is the house, and is told of once."""
    rules, ledger, kept, house = state.rules, state.ledger, state.watch, limits_in_force(state, HOUSE)
    if len(rules.agents) > 1:
        return [HOUSE, *range(len(rules.agents))]
    own = rules.agents[0].limits
    one = ledger.house.flows_micro == ledger.books[0].flows_micro and (own is house or own == house)
    if one:
        kept.levels[0], kept.realised[1] = state.monitor.levels, kept.realised[0]
        return [HOUSE]
    if kept.levels[0] is state.monitor.levels:  # until now it was the house
        kept.levels[0], kept.realised[1] = dict(state.monitor.levels), kept.realised[0].copy()
    return [HOUSE, 0]


def limits_of(state: State, book: int) -> Limits:
    return limits_in_force(state, book)


def levels_of(state: State, book: int) -> dict[str, int]:
    """Level of each limit of the house or of an agent."""
    return state.monitor.levels if book == HOUSE else state.watch.levels[book]


def _returned(state: State, book: int) -> None:
    """Note the equity of a book at this sample."""
    if book == HOUSE:
        state.watch.realised[0].add(state.equity_micro, state.ledger.house.flows_micro, state.earned)
    else:
        state.watch.realised[book + 1].add(state.books_micro[book], state.ledger.books[book].flows_micro, state.earned)


def _known(state: State, book: int) -> Values:
    """What is known at each sample without measuring: what returns were, and the losses that move the switch unless
    they are far from their bounds and were."""
    if book == HOUSE:
        switch, equity, limits, levels = state.switch, state.equity_micro, state.rules.house, state.monitor.levels
    else:
        switch, equity, levels = state.agents[book].switch, state.books_micro[book], state.watch.levels[book]
        limits = state.rules.agents[book].limits
    values = state.watch.realised[book + 1].values(limits)
    if not quiet(switch, equity, limits, QUIET) or (levels and any(levels.get(key) for key in STATE_LIMITS)):
        values |= losses(switch, equity, limits)
    return values


def _measured(state: State, books: list[int]) -> list[Values]:
    """Every basket limit of these books on what they hold."""
    ctx = market_context(state)
    accounts = [_held(state, book) for book in books]
    found = standings(ctx, [Portfolio(ctx, a, limits_of(state, b), None) for a, b in zip(accounts, books, strict=True)])
    for values, account, book in zip(found, accounts, books, strict=True):
        values.pop("max_turnover", None)  # belongs to a trade: looked at when one is planned
        values |= held_values(ctx, account, limits_of(state, book))
    return found


def _held(state: State, book: int) -> Account:
    """A book as it is held, nothing open counted."""
    account = state.ledger.house if book == HOUSE else state.ledger.books[book]
    return Account(lots=state.lots(book), cash=account.cash_micro / 1e6, equity=_equity(state, book))


def _equity(state: State, book: int) -> float:
    return (state.equity_micro if book == HOUSE else state.books_micro[book]) / 1e6


def limit_values(state: State) -> Values:
    """Each limit of the house as it stands now, all that is open counted as filled; empty before the first sample."""
    if not state.sample:
        return {}
    ctx, account, limits = market_context(state), account_of(state, HOUSE), limits_in_force(state, HOUSE)
    values = standing(ctx, account, limits, None) | held_values(ctx, account, limits)
    values |= state.watch.realised[0].values(limits)
    return values | state_losses(state.switch, state.equity_micro, limits)


def state_losses(switch: Switch, equity_micro: int, limits: Limits) -> dict[str, tuple[float, float]]:
    """Drawdown and losses of a book; a switch that has not observed a sample yet has no marks: nothing is lost."""
    if switch.day_key < 0:
        now = max(equity_micro, 1)
        switch = Switch(high_water=now, day_open=now, week_open=now)
    return losses(switch, equity_micro, limits)


# ---- what need not be measured ------------------------------------------------------------------


def _screened(state: State) -> bool:
    """Whether no level of a basket limit can have changed since it was measured."""
    corridor, kept = state.watch.corridor, state.watch
    if corridor is None or (kept.changed if corridor.lots is None else not _as_planned(state, corridor)):
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
    """Whether every screened book holds what its plan was to bring."""
    ledger = state.ledger
    return corridor.lots is not None and all(
        (ledger.house if book == HOUSE else ledger.books[book]).lots == lots
        for (book, _), lots in zip(corridor.screens, corridor.lots, strict=True)
    )


def _range(ratios: Floats) -> tuple[float, float]:
    """Least and largest; 1 of nothing."""
    if not len(ratios):
        return 1.0, 1.0
    if len(ratios) <= 64:
        plain = ratios.tolist()
        return min(plain), max(plain)
    return float(np.minimum.reduce(ratios)), float(np.maximum.reduce(ratios))


def _corridor(state: State, books: list[int], measured: Sequence[Values]) -> Corridor | None:
    """Screens for the samples to come, of what is held and was just measured."""
    return _corridor_of(
        state,
        [(book, state.lots(book), _equity(state, book), v) for book, v in zip(books, measured, strict=True)],
        None,
    )


def _planned(state: State, plans: list[tuple[int, Account, Verdict]]) -> Corridor | None:
    """Screens of what will be held once all that was just planned has filled."""
    found: dict[int, tuple[Floats, float, Values]] = {}
    for book, account, verdict in plans:
        traded = float(np.abs(verdict.lots).dot(market_context(state).px))
        equity = account.equity - traded * limits_of(state, book).fee_bp * 1e-4
        found[book] = account.lots + verdict.lots, equity, verdict.values
    books = watched(state)
    others = [book for book in books if book not in found]
    for book, values in zip(others, _measured(state, others) if others else (), strict=True):
        found[book] = state.lots(book), _equity(state, book), values
    rows = [(book, *found[book]) for book in books]
    return _corridor_of(state, rows, [lots.astype(np.int64).tolist() for _, lots, _, _ in rows])


def _corridor_of(
    state: State, plans: list[tuple[int, Floats, float, Values]], lots: list[list[int]] | None
) -> Corridor | None:
    """None where one book's limits cannot be screened: the others are measured with it."""
    if state.rules.live is not None:
        return None  # a cap in money is another share of each equity
    ctx, ring = market_context(state), state.history.synchronous
    if not ctx.all_priced or state.history.waiting or not np.array_equal(ring.prices[ring.end - 1], state.marks):
        return None
    held = np.zeros(state.universe.size, dtype=np.bool_)
    for _, own, _, _ in plans:
        held |= own != 0.0
    columns = None if held.all() else np.flatnonzero(held)
    screens: list[tuple[int, Screen]] = []
    for book, own, equity, values in plans:
        levels = levels_of(state, book)
        made = screen(ctx, own * ctx.px, equity, limits_of(state, book), values, levels, columns)
        if made is None:
            return None
        screens.append((book, made))
    inverse = 1.0 / (state.marks if columns is None else state.marks[columns])
    return Corridor(columns, inverse, ring.count, screens, lots)
