"""Answers about portfolios: the open portfolios, and the orders, cuts and costs of an event that plans for one."""

from collections.abc import Sequence
from hashlib import blake2b

import msgspec
import numpy as np
from msgspec import Struct, structs

from quantd.daemon.engine.agents.proposals import PLAN_BYTES
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.proposal_log import cuts_of, plans_of
from quantd.daemon.views.limit_rows import cut_text
from quantd.daemon.views.overview import SWITCH, total_return
from quantd.daemon.views.preview import order_text, parent_rows
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Cancel, Effect, Planned
from quantd.trading.events import PortfolioClosed
from quantd.trading.execution import Costs
from quantd.trading.instruments import MICRO
from quantd.trading.market import Floats
from quantd.trading.orders import OrderBasket, money_text, order_id, quantities, quantity_text


class Holding(Struct, frozen=True):
    """One symbol of a portfolio: `weight` of its equity, `target` weight, `shares` and `value` at the last price."""

    symbol: str
    weight: float
    target: float
    shares: str
    value: str


class PortfolioLine(Struct, frozen=True):
    """An open portfolio. `agent` is the name of its place, `state` is "open" or "closing".

    A place is an agent that the configuration reserves for a portfolio. Amounts of money are text.
    """

    name: str
    agent: str
    state: str
    created_ns: int
    created: str
    capital: str
    equity: str
    basis: str


class PortfolioNow(PortfolioLine, frozen=True):
    """An open portfolio with its positions.

    `basis` is the source of its weights: "weights", a policy or an agent. `proposal` is the id of the newest targets,
    which were proposed at `proposed`. `total` is the return since the portfolio was opened.
    """

    cash: str
    total: float
    switch: str
    switch_reason: str
    who: str
    reason: str
    proposal: str
    proposed: str
    allocations: list[Holding]
    open_orders: int


class OrderOf(Struct, frozen=True):
    """An order of a plan. `order` is its id; it is empty for a parent order of `style`, whose child orders come later.

    A parent order is worked over time in child orders. `value` is at the last price; `commission` and `slippage` are
    the costs of a fill at that price.
    """

    order: str
    side: str
    symbol: str
    qty: str
    price: str
    limit: str
    value: float
    commission: float
    slippage: float
    style: str = ""


class Cut(Struct, frozen=True):
    """A trade that the limits of the portfolio (`who`) or of the house cut or refused."""

    who: str
    side: str
    symbol: str
    asked: str
    allowed: str
    reason: str
    text: str


class Trades(Struct, frozen=True):
    """The orders of a plan, the cuts, and the sums of value and costs.

    `crossed` has the units that are traded with other agents' books, without an order. `cancels` is the number of open
    orders that are cancelled for the plan; their symbols are traded at a later sample. `waits` is true if the plan
    waits for the cancellation of stops at the venue.
    """

    orders: list[OrderOf]
    cuts: list[Cut]
    crossed: dict[str, str]
    cancels: int
    waits: bool
    value: float
    commission: float
    slippage: float


def portfolio_line(state: State, book_index: int) -> PortfolioLine:
    """The portfolio that the agent with index `book_index` holds, as a row of the list of open portfolios."""
    portfolio = state.portfolios[book_index]
    return PortfolioLine(
        name=portfolio.name,
        agent=state.rules.agents[book_index].name,
        state="closing" if portfolio.closing else "open",
        created_ns=portfolio.opened,
        created=instant_text(portfolio.opened),
        capital=money_text(portfolio.capital_micro),
        equity=money_text(state.books_micro[book_index]),
        basis=portfolio.basis,
    )


def portfolio_now(state: State, book_index: int) -> PortfolioNow:
    """The portfolio that the agent with index `book_index` holds, with its positions at the newest prices.

    The function revalues the state, and may only be called while the engine processes no event.
    """
    state.revalue()
    portfolio, switch = state.portfolios[book_index], state.agents[book_index].switch
    targets = np.frombuffer(portfolio.targets) if portfolio.targets else np.zeros(state.universe.size)
    return PortfolioNow(
        **structs.asdict(portfolio_line(state, book_index)),
        cash=money_text(state.ledger.books[book_index].cash_micro),
        total=total_return(state, book_index),
        switch=SWITCH[switch.state],
        switch_reason=switch.reason,
        who=portfolio.who,
        reason=portfolio.reason,
        proposal=portfolio.proposal,
        proposed=instant_text(portfolio.proposed) if portfolio.proposed else "",
        allocations=holdings(state, book_index, state.lots(book_index), targets),
        open_orders=len(state.open_rows(book_index)),
    )


def holdings(state: State, book_index: int, lots: Floats, targets: Floats) -> list[Holding]:
    """The symbols of a book with lots or a target weight.

    `lots` (signed) and `targets` (fractions of the book's equity) are float64[N] by column of the universe.
    """
    values, weights = valued(state, book_index, lots)
    return [
        Holding(
            symbol=state.universe.symbols[k],
            weight=float(weights[k]),
            target=float(targets[k]),
            shares=quantity_text(int(lots[k]), state.universe.lot_nano[k]),
            value=money_text(round(float(values[k]) * MICRO)),
        )
        for k in np.flatnonzero((lots != 0) | (targets != 0.0)).tolist()
    ]


def valued(state: State, book_index: int, lots: Floats) -> tuple[Floats, Floats]:
    """(Values of `lots` at the valuation prices, these values as fractions of the book's equity), each float64[N].

    A value is 0 without a price, and every fraction is 0 without equity.
    """
    values = np.nan_to_num(lots * state.lot_values())
    equity = state.books_micro[book_index] / MICRO
    return values, values / equity if equity > 0 else np.zeros_like(values)


def traded_lots(state: State, book_index: int, effects: Sequence[Effect]) -> Floats:
    """Signed lots float64[N] of a portfolio if all trades of its plans in `effects` are executed."""
    lots = np.array(state.lots(book_index))
    for plan in plans_of(effects):
        for agent_plan in plan.agents:
            if agent_plan.agent == book_index:
                lots += np.frombuffer(agent_plan.allowed, dtype=np.int64)
    return lots


def trades_of(state: State, effects: Sequence[Effect], costs: Costs, run: str) -> Trades:
    """Return the orders, cuts and costs of an event that plans for a portfolio, from the event's `effects`.

    `state` is the state after the event. `costs` is the cost model for the estimates, and `run` is part of the orders'
    ids. Without a plan, but with cancelled orders, `waits` of the result is True: the orders follow after the
    cancellations.
    """
    plans = plans_of(effects)
    basket_by_key = {
        (effect.sample, effect.n): effect
        for effect in effects
        if isinstance(effect, OrderBasket) and not effect.stop_nano
    }  # a stop at the venue belongs to no plan
    orders = [
        row for plan in plans for row in _orders(state, plan, basket_by_key.get((plan.sample, plan.n)), costs, run)
    ]
    crossed = sum((np.frombuffer(plan.crossed, dtype=np.int64) for plan in plans), np.zeros(state.universe.size))
    cancels = sum(isinstance(effect, Cancel) for effect in effects)
    return Trades(
        orders=orders,
        cuts=[cut for plan in plans for cut in _cuts(state, plan)],
        crossed=quantities(state.universe, [int(lots) for lots in crossed]),
        cancels=cancels,
        waits=not plans and bool(cancels),
        value=sum(order.value for order in orders),
        commission=sum(order.commission for order in orders),
        slippage=sum(order.slippage for order in orders),
    )


def closing_digest(closed: PortfolioClosed, lots: Sequence[int], trades: Trades) -> str:
    """The digest (hex BLAKE2b) of the closing of a portfolio.

    The digest covers the request, the portfolio's lots before the closing, and the orders with their worst prices. The
    digest covers no instant, so that a later equal closing has the same digest.
    """
    orders = [(order.side, order.symbol, order.qty, order.limit) for order in trades.orders]
    rows = [closed.name, closed.how, closed.to, lots, orders, trades.crossed, trades.cancels, trades.waits]
    return blake2b(msgspec.msgpack.encode(rows), digest_size=PLAN_BYTES).hexdigest()


def _orders(state: State, plan: Planned, basket: OrderBasket | None, costs: Costs, run: str) -> list[OrderOf]:
    """The orders of a plan: of its `basket` (orders of one instant), or the parent orders worked over time; empty
    without both.

    `plan.portion` is present for lots that are worked over time. A parent order has no id at the venue yet.
    """
    if basket is not None:
        rows = list(zip(basket.sym, basket.lots, basket.worst_nano, strict=True))
    elif plan.portion is not None:
        rows = [(column, lots, worst_nano) for column, lots, worst_nano, _ in parent_rows(state, plan)]
    else:
        return []
    symbols, style = state.universe.symbols, plan.portion.style if plan.portion is not None else ""
    return [
        OrderOf(
            order=order_id(run, plan.sample, symbols[column], plan.n) if basket is not None else "",
            style=style,
            **order_text(state, costs, column, lots, worst_nano),
        )
        for column, lots, worst_nano in rows
    ]


def _cuts(state: State, plan: Planned) -> list[Cut]:
    """The trades that limits reduced or refused: first by each agent's own limits, then by those of the house.

    The house is the whole account.
    """
    return [
        Cut(who="house" if cut.house else state.rules.agents[book_index].name, **cut_text(state.universe, cut))
        for book_index, cut in cuts_of(plan)
    ]
