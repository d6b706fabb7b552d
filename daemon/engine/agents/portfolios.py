"""Portfolios: places of the whole account that are opened with capital, and closed again, by events.

Opening moves cash from the unallocated book into the book of a vacant place. Closing sells the positions, at once and
at later samples until none is left, and returns the cash; or it moves lots and cash in kind to another agent.

What can go wrong: records of a place's last portfolio count for its next one. So a place is vacant only without cash
and lots, and its kill switch, levels, returns and counted orders begin anew. A hand-over waits until no order, parent
order or waiting plan of the portfolio is left: lots that are being sold cannot be moved. The high-water mark of the
receiving book moves before the lots do, so that they are neither profit nor loss there.
"""

from collections.abc import Sequence

import numpy as np

from quantd.daemon.engine.planning.plan import give_up, plan
from quantd.daemon.engine.planning.targets import in_flight, withdraw
from quantd.daemon.engine.safety.alerts import alert, refuse_command
from quantd.daemon.engine.safety.monitor import watch_plan
from quantd.daemon.engine.state import Portfolio, State
from quantd.daemon.engine.venue.account import agent_of, free_micro
from quantd.risk.monitor.realised import Realised
from quantd.risk.switch import HALT, flow
from quantd.trading.effects import Effect, Transferred
from quantd.trading.events import PortfolioClosed, PortfolioOpened
from quantd.trading.execution import round_micro
from quantd.trading.orders import money_text


def place_of(state: State, name: str) -> int | None:
    """Return the index of the agent in whose place the portfolio `name` is open; None for an unknown name."""
    return next((agent_index for agent_index, portfolio in state.portfolios.items() if portfolio.name == name), None)


def book_name(state: State, number: int) -> str:
    """Return the name of a book: of the portfolio that is open in its place, else of its agent."""
    portfolio = state.portfolios.get(number)
    return state.rules.agents[number].name if portfolio is None else portfolio.name


def vacant_places(state: State) -> list[str]:
    """Return the names of the places (agents without capital) in which a portfolio can be opened."""
    books = state.ledger.books
    return [
        rules.name
        for agent_index, rules in enumerate(state.rules.agents)
        if state.vacant(agent_index) and not books[agent_index].cash_micro and not any(books[agent_index].lots)
    ]


def not_opened(state: State, opened: PortfolioOpened) -> str:
    """Return the reason why a portfolio cannot be opened; empty when it can."""
    if place_of(state, opened.name) is not None:
        return f"a portfolio {opened.name!r} is open already; choose another name, or rebalance it"
    if opened.agent not in vacant_places(state):
        places = sum(rules.place for rules in state.rules.agents)
        return (
            f"no place is vacant: {len(state.portfolios)} of {places} portfolios are open ([portfolios] places = "
            f"{places}). Close one, or configure more places and start with --carry"
        )
    if opened.capital_micro <= 0:
        return "its capital is not above 0"
    free = free_micro(state, -1)  # of the unallocated book
    if opened.capital_micro > free:
        return (
            f"a capital of {money_text(opened.capital_micro)} exceeds the free cash of the unallocated book, "
            f"{money_text(free)}. Choose less, add cash (`quantd cash add`), or give the agents smaller shares"
        )
    return ""


def on_portfolio_opened(state: State, opened: PortfolioOpened) -> Sequence[Effect]:
    """Open a portfolio: its capital is a flow from the unallocated book, which has the number -1."""
    if why := not_opened(state, opened):
        return refuse_command(state, "conflict", "portfolio", why, before=f"portfolio {opened.name} was not opened: ")
    agent_index = [rules.name for rules in state.rules.agents].index(opened.agent)
    _reset_records(state, agent_index, opened.capital_micro)
    state.ledger.allocate(agent_index, opened.capital_micro)
    # its returns begin at the capital, whatever flows the place had before
    state.watch.realised[agent_index + 1].begin(opened.capital_micro, state.ledger.books[agent_index].flows_micro)
    state.portfolios[agent_index] = Portfolio(
        opened.name, opened.ts, opened.capital_micro, opened.who, opened.reason, opened.basis
    )
    state.booked()
    state.revalue()
    amount = money_text(opened.capital_micro)
    text = f"portfolio {opened.name} is opened with {amount} ({opened.who}: {opened.reason})"
    return (
        Transferred(opened.ts, -1, agent_index, opened.capital_micro),
        alert(state, "INFO", "portfolio", text, agent=agent_index),
    )


def not_closed(state: State, request: PortfolioClosed) -> str:
    """Return the reason why the requested closing of a portfolio is refused; empty when it is accepted.

    A hand-over needs another agent, in use and not closing, to take over lots and cash.
    """
    agent_index = place_of(state, request.name)
    if agent_index is None:
        return "no portfolio has this name"
    if state.portfolios[agent_index].closing:
        return "it is being closed already"
    if request.how == "hand_over":
        receiver_index = agent_of(state, request.to)
        # -1 is the unallocated book, which no agent trades
        if receiver_index is None or receiver_index < 0 or receiver_index == agent_index:
            names = ", ".join(state.rules.agents[k].name for k in state.in_use() if k != agent_index)
            return f"there is no other agent {request.to!r} to take it over; the agents are {names}"
        if receiver_index in state.portfolios and state.portfolios[receiver_index].closing:
            return f"{request.to} is being closed too"
        if any(stop.agent == agent_index for stop in state.protection.rests.values()):
            return "protective stops of its positions are open at the venue, in its name; close it by flatten"
    return ""


def on_portfolio_closed(state: State, closed: PortfolioClosed) -> Sequence[Effect]:
    """Begin to close a portfolio; a portfolio without positions and orders is closed at once.

    `postponed` are plans that wait for cancelled stops: those of this portfolio are dropped.
    """
    if why := not_closed(state, closed):
        return refuse_command(state, "conflict", "portfolio", why, before=f"portfolio {closed.name} was not closed: ")
    agent_index = place_of(state, closed.name)
    assert agent_index is not None
    portfolio = state.portfolios[agent_index]
    portfolio.closing, portfolio.to = closed.how, closed.to
    for waiting in state.protection.postponed:
        waiting.answers.pop(agent_index, None)
    state.protection.postponed = [waiting for waiting in state.protection.postponed if waiting.answers]
    action = "its positions are sold" if closed.how == "flatten" else f"lots and cash go to {closed.to}"
    text = f"portfolio {closed.name} is closed: {action} ({closed.who}: {closed.reason})"
    portfolio.because = text
    return [
        alert(state, "INFO", "portfolio", text, agent=agent_index),
        *give_up(state, [parent for parent in state.parents if parent.agent == agent_index], "portfolio closed"),
        *_continue_closing(state, agent_index),
    ]


def finish_closing(state: State) -> list[Effect]:
    """At a sample, go on with the closing of portfolios that are being closed."""
    closing = [agent_index for agent_index, portfolio in state.portfolios.items() if portfolio.closing]
    return [effect for agent_index in closing for effect in _continue_closing(state, agent_index)]


def _continue_closing(state: State, agent_index: int) -> list[Effect]:
    """Go on with the closing of a portfolio: sell its positions, or cancel its orders before a hand-over.

    The portfolio's place is freed once no order is in progress and, unless the portfolio is handed over, no position
    remains.
    """
    portfolio, book = state.portfolios[agent_index], state.ledger.books[agent_index]
    state.agents[agent_index].follow_up.drop()
    busy = (
        bool(in_flight(state, agent_index).any())
        or any(parent.agent == agent_index for parent in state.parents)
        or any(agent_index in waiting.answers for waiting in state.protection.postponed)
        or any(any(who == agent_index for _, who, _ in work.open_shares()) for work in state.working.values())
    )
    if portfolio.closing == "hand_over":
        if busy:
            return withdraw(state, agent_index, np.ones(state.universe.size, dtype=np.bool_))
        target = agent_of(state, portfolio.to)
        return _release(state, agent_index, -1 if target is None else target)
    if not busy and not any(book.lots):
        return _release(state, agent_index, -1)
    if state.switch.state == HALT or state.flattening or not state.sample:
        return []  # the sales begin once orders are allowed
    state.revalue()
    zero_weights = np.zeros(state.universe.size).tobytes()
    effects = list(plan(state, {agent_index: zero_weights}, watch=watch_plan, sample=state.sample))
    state.agents[agent_index].follow_up.drop()  # what is left is planned by the next call
    return effects


def _release(state: State, agent_index: int, target: int) -> list[Effect]:
    """Move lots and cash of a portfolio to the book `target` (-1: unallocated), as flows at the marks (last prices),
    and free its place.

    `entitled` has the unpaid dividends as (column, lots by book): they go to the receiver too.
    """
    portfolio, book = state.portfolios.pop(agent_index), state.ledger.books[agent_index]
    lots = [
        (column, count, round_micro(count * state.universe.lot_nano[column] * int(state.marks_nano[column]))[0])
        for column, count in enumerate(book.lots)
        if count
    ]
    cash = book.cash_micro
    # `lots` has (column, lots, value in micro-currency without the residue of rounding)
    moved_micro = cash + sum(value for _, _, value in lots)
    state.revalue()  # the equity before the flow, at the present marks
    if target >= 0:
        flow(state.agents[target].switch, moved_micro, state.books_micro[target])
    state.ledger.hand_over(agent_index, target, cash, lots)
    unallocated = len(state.agents)
    receiver = target if target >= 0 else unallocated
    state.venue.entitled = [
        (column, [(receiver if who == agent_index else who, count) for who, count in book_lots])
        for column, book_lots in state.venue.entitled
    ]
    _reset_records(state, agent_index, 0)  # 0: the place has no capital
    state.booked()
    state.revalue()
    whose = state.rules.agents[target].name if target >= 0 else "the unallocated book"
    text = f"portfolio {portfolio.name} is closed: {money_text(moved_micro)} went to {whose}"
    return [
        Transferred(state.now, agent_index, target, cash, lots),
        alert(state, "INFO", "portfolio", text, agent=agent_index),
    ]


def _reset_records(state: State, agent_index: int, capital_micro: int) -> None:
    """Empty the records of a portfolio's agent: its kill switch, verdicts, levels, returns, and counted orders.

    The high-water mark of the kill switch begins at `capital_micro`.
    """
    state.agents[agent_index].begin(capital_micro)
    if (log := state.outside.get(state.rules.agents[agent_index].name)) is not None:
        log.verdicts = []  # the ids stay: none is carried out twice
    state.activity.books[agent_index].forget()
    state.watch.levels[agent_index], state.watch.ended[agent_index + 1] = {}, {}
    state.watch.realised[agent_index + 1] = Realised()
    state.watch.bands[agent_index + 1] = None  # the ranges of measures in which no alert level changes
    # both keys begin with the agent
    state.protection.own = {key: levels for key, levels in state.protection.own.items() if key[0] != agent_index}
    state.protection.retries = {key: retry for key, retry in state.protection.retries.items() if key[0] != agent_index}
    state.best = state.best.copy()
    state.best[agent_index] = np.nan
    state.levels = None  # the protective levels are computed anew
