"""Answers about portfolios: open ones as rows, and the orders, cuts and costs of an event that plans for one."""

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
    """An open portfolio. `agent` is its place, `state` is "open" or "closing"; money is text."""

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

    `basis` is the origin of its weights, `proposal` the id of the last targets, of the instant `proposed`. `total` is
    the return since it was opened.
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
    """An order of a plan. `order` is its id; empty for a parent order of `style`, whose child orders follow.

    `value` is at the last price; `commission` and `slippage` are the costs of a fill at that price.
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

    `crossed` are lots that cross with other agents' books without an order. `cancels` is the number of open orders
    cancelled for it; a symbol with an open order is traded at a later sample. `waits`: the plan waits for the
    cancellation of stops at the venue.
    """

    orders: list[OrderOf]
    cuts: list[Cut]
    crossed: dict[str, str]
    cancels: int
    waits: bool
    value: float
    commission: float
    slippage: float


def portfolio_line(state: State, number: int) -> PortfolioLine:
    """The row of the portfolio in this place."""
    portfolio = state.portfolios[number]
    return PortfolioLine(
        name=portfolio.name,
        agent=state.rules.agents[number].name,
        state="closing" if portfolio.closing else "open",
        created_ns=portfolio.opened,
        created=instant_text(portfolio.opened),
        capital=money_text(portfolio.capital_micro),
        equity=money_text(state.books_micro[number]),
        basis=portfolio.basis,
    )


def portfolio_now(state: State, number: int) -> PortfolioNow:
    """The portfolio in this place with its positions, between steps."""
    state.revalue()
    portfolio, switch = state.portfolios[number], state.agents[number].switch
    targets = np.frombuffer(portfolio.targets) if portfolio.targets else np.zeros(state.universe.size)
    return PortfolioNow(
        **structs.asdict(portfolio_line(state, number)),
        cash=money_text(state.ledger.books[number].cash_micro),
        total=total_return(state, number),
        switch=SWITCH[switch.state],
        switch_reason=switch.reason,
        who=portfolio.who,
        reason=portfolio.reason,
        proposal=portfolio.proposal,
        proposed=instant_text(portfolio.proposed) if portfolio.proposed else "",
        allocations=holdings(state, number, state.lots(number), targets),
        open_orders=len(state.open_rows(number)),
    )


def holdings(state: State, number: int, lots: Floats, targets: Floats) -> list[Holding]:
    """Rows of the symbols with `lots` or a target; weights are fractions of the present equity."""
    values, weights = valued(state, number, lots)
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


def valued(state: State, number: int, lots: Floats) -> tuple[Floats, Floats]:
    """float64[N] twice: the value of `lots` at the marks, and its fraction of the present equity of the book.

    A value is 0 without a price, and every weight is 0 without equity.
    """
    values = np.nan_to_num(lots * state.lot_values())
    equity = state.books_micro[number] / MICRO
    return values, values / equity if equity > 0 else np.zeros_like(values)


def traded_lots(state: State, number: int, effects: Sequence[Effect]) -> Floats:
    """float64[N] signed lots of a portfolio once all orders of its plans are filled."""
    lots = np.array(state.lots(number))
    for plan in plans_of(effects):
        for part in plan.agents:
            if part.agent == number:
                lots += np.frombuffer(part.allowed, dtype=np.int64)
    return lots


def trades_of(state: State, effects: Sequence[Effect], costs: Costs, run: str) -> Trades:
    """Return the outcome of an event that plans for a portfolio; `state` is the state after it."""
    plans = plans_of(effects)
    sent = {
        (e.sample, e.n): e for e in effects if isinstance(e, OrderBasket) and not e.stop_nano
    }  # a stop at the venue is of no plan
    orders = [row for plan in plans for row in _orders(state, plan, sent.get((plan.sample, plan.n)), costs, run)]
    crossed = sum((np.frombuffer(plan.crossed, dtype=np.int64) for plan in plans), np.zeros(state.universe.size))
    cancels = sum(isinstance(e, Cancel) for e in effects)
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
    """Hex BLAKE2b of a closing: of the lots before it, and of its orders with their worst prices; of no instant."""
    orders = [(order.side, order.symbol, order.qty, order.limit) for order in trades.orders]
    rows = [closed.name, closed.how, closed.to, lots, orders, trades.crossed, trades.cancels, trades.waits]
    return blake2b(msgspec.msgpack.encode(rows), digest_size=PLAN_BYTES).hexdigest()


def _orders(state: State, plan: Planned, basket: OrderBasket | None, costs: Costs, run: str) -> list[OrderOf]:
    if basket is not None:
        rows = list(zip(basket.sym, basket.lots, basket.worst_nano, strict=True))
    elif plan.portion is not None:
        rows = [(column, lots, worst) for column, lots, worst, _ in parent_rows(state, plan)]
    else:
        return []
    symbols, style = state.universe.symbols, plan.portion.style if plan.portion is not None else ""
    return [
        OrderOf(
            order=order_id(run, plan.sample, symbols[column], plan.n) if basket is not None else "",
            style=style,
            **order_text(state, costs, column, lots, worst),
        )
        for column, lots, worst in rows
    ]


def _cuts(state: State, plan: Planned) -> list[Cut]:
    """The cuts of each agent's own limits, then those of the house."""
    return [
        Cut(who="house" if cut.house else state.rules.agents[number].name, **cut_text(state.universe, cut))
        for number, cut in cuts_of(plan)
    ]
