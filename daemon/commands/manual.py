"""What people order, pay in and out, and settle by hand: what it must be before it becomes an event, and what became of it."""

import time
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.daemon.commands.control import Fault, NotDone, one_line
from quantd.daemon.config.schema import MANUAL
from quantd.daemon.engine.safety.switch import SWITCH_NAMES
from quantd.daemon.engine.state import State
from quantd.daemon.engine.venue.account import agent_of, difference, free_micro, told
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.overview import READY
from quantd.risk.limits.catalogue import REASON_TEXT, Reason
from quantd.risk.switch import RUN
from quantd.trading.effects import Cancel, Effect, Planned, Publish
from quantd.trading.events import Correction, Flow, Halted, Reconciled, Wished
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.orders import OrderBasket, money_text, order_id, price_text, quantity_text
from quantd.trading.venue import VenueAccount

MOST: Final = 2**62
"""Above this an amount does not fit the journal's integers."""

WRITE_MANUAL: Final = """there is no book for orders by hand. Write into config.toml, and start anew with --fresh:

[manual]
capital = 0.1                  # shares of all agents and this one add up to at most 1
profile = "balanced"
limits = { max_position_weight = 0.10 }

Or name the agent whose book the order is for: --agent NAME. There are: """


class Ordered(Struct, frozen=True):
    """What became of an order by hand: `allowed` of `asked` passed the gate, as `order` with the worst price `limit`; empty
    when none did. `reason`, and in words `text`, is the limit that cut it, of the agent's book or of the house (`cut_by`).
    `stop` and `target` are levels that the position has from people; with `waits` it goes out once a stop that rests at the
    venue for what it sells has been cancelled."""

    agent: str
    side: str
    symbol: str
    asked: str
    allowed: str
    order: str
    limit: str
    reason: str
    cut_by: str
    text: str
    stop: str = ""
    target: str = ""
    waits: bool = False


class Paid(Struct, frozen=True):
    """What became of a deposit (positive) or withdrawal: the book's cash and the house's equity now. Money as text."""

    agent: str
    amount: str
    cash: str
    equity: str


class Compared(Struct, frozen=True):
    """What the venue has more, or less, than we know of, in `differences` in words; none when it agrees. `lots` by symbol,
    `cash` as text. `how` is what became of it: "", "fence" or the agent that took it."""

    agrees: bool
    differences: list[str]
    lots: dict[str, str]
    cash: str
    how: str
    switch: int


def wished(
    service: Service,
    agent: str,
    side: str,
    qty: str,
    symbol: str,
    reason: str,
    who: str,
    stop: str = "",
    target: str = "",
) -> Wished:
    """The event of an order by hand; `stop` and `target` are prices of the position that it makes. Raises NotDone."""
    state = service.shell.state
    _ready(service)
    names = [each.name for each in state.rules.agents]
    agent = agent or MANUAL
    if agent not in names:
        others = ", ".join(names)
        text = WRITE_MANUAL + others if agent == MANUAL else f"there is no agent {agent!r}; there are: {others}"
        raise NotDone("agent", text)
    universe = state.universe
    column = _column(state, symbol)
    lot = universe.lot_nano[column]
    nano = _exact(qty, NANO, "quantity", "10 or 0.25")
    lots, rest = divmod(nano, lot)
    if rest:
        raise NotDone("amount", f"{qty} {symbol} is not a whole number of lots of {quantity_text(1, lot)}")
    if not state.sample:
        raise NotDone(
            "not_ready", "no session has closed yet, so there is no price to trade by; try again after the first"
        )
    said = _reason(reason, "an order by hand")
    signed = lots if side == "buy" else -lots
    stop_nano, target_nano = _levels(state, names.index(agent), column, signed, stop, target)
    return Wished(_now(service), agent, column, signed, said, who, stop_nano, target_nano)


def _levels(state: State, book: int, column: int, lots: int, stop: str, target: str) -> tuple[int, int]:
    """Stop and target in nano, 0 for none, on the sides of the price where they belong. Raises NotDone."""
    if not (stop or target):
        return 0, 0
    symbol, mark = state.universe.symbols[column], int(state.marks_nano[column])
    after = state.ledger.books[book].lots[column] + lots
    if after * lots <= 0:
        raise NotDone("amount", f"a stop or a target is of the position that an order makes; this one closes {symbol}")
    found = []
    for name, text, below in (("stop", stop, lots > 0), ("target", target, lots < 0)):
        nano = _exact(text, NANO, f"price of a {name}", "95.50") if text else 0
        if nano and (nano >= mark if below else nano <= mark):
            where = "below" if below else "above"
            raise NotDone("amount", f"a {name} of {text} is not {where} the price of {symbol}, {price_text(mark)}")
        found.append(nano)
    return found[0], found[1]


def became_of_order(service: Service, wish: Wished, effects: Sequence[Effect]) -> Ordered:
    """What the gate said of it. The effects are those of the event."""
    universe = service.shell.state.universe
    column, lot = wish.symbol, universe.lot_nano[wish.symbol]
    state = service.shell.state
    waits = not any(isinstance(each, Planned) for each in effects) and any(isinstance(each, Cancel) for each in effects)
    plan = next((each for each in effects if isinstance(each, Planned)), None)
    basket = next(
        (each for each in effects if isinstance(each, OrderBasket) and column in each.sym and not each.stop_nano), None
    )
    own_levels = state.own.get((agent_of(state, wish.agent) or 0, column))
    own = house = Reason.NONE
    if plan is not None:
        own = Reason(int(np.frombuffer(plan.agents[0].reason, dtype=np.int8)[column]))
        house = Reason(int(np.frombuffer(plan.reason, dtype=np.int8)[column]))
    reason = house or own
    cut_by = "" if not reason else "house" if house else wish.agent
    lots, limit, name = 0, "", ""
    if basket is not None:
        row = basket.sym.index(column)
        lots, limit = abs(basket.lots[row]), price_text(basket.worst_nano[row])
        name = order_id(service.run, basket.sample, universe.symbols[column], basket.n)
    text = REASON_TEXT[reason]
    who = agent_of(state, wish.agent)
    switches = {"house": state.switch.state, wish.agent: RUN if who is None else state.agents[who].switch.state}
    stopped = max(switches, key=lambda name: switches[name])
    if not lots and not waits and reason in (Reason.NONE, Reason.SWITCH) and switches[stopped] != RUN:
        reason, cut_by = Reason.SWITCH, stopped
        text = f"the switch of {stopped} is {SWITCH_NAMES[switches[stopped]]}; `quantd resume --reason R` re-arms it"
    return Ordered(
        agent=wish.agent,
        side="buy" if wish.lots > 0 else "sell",
        symbol=universe.symbols[column],
        asked=quantity_text(abs(wish.lots), lot),
        allowed=quantity_text(lots, lot),
        order=name,
        limit=limit,
        reason=reason.name.lower() if reason else "",
        cut_by=cut_by,
        text=text,
        stop=price_text(own_levels.stop_nano) if own_levels is not None and own_levels.stop_nano else "",
        target=price_text(own_levels.target_nano) if own_levels is not None and own_levels.target_nano else "",
        waits=waits,
    )


class Stopped(Struct, frozen=True):
    """What became of a symbol: `halted` now, and why; empty when it trades."""

    symbol: str
    halted: bool
    why: str


def halted(service: Service, symbol: str, halts: bool, reason: str, who: str) -> Halted:
    """The event of a person's halt of one symbol, or of its end. Raises NotDone."""
    _ready(service)
    state = service.shell.state
    column = _column(state, symbol)
    if not halts and column not in state.halted:
        raise NotDone("agrees", f"{symbol} is not halted")
    return Halted(_now(service), column, halts, _reason(reason, "a halt" if halts else "trading that goes on"), who)


def became_of_halt(service: Service, event: Halted) -> Stopped:
    state = service.shell.state
    found = state.halted.get(event.symbol)
    return Stopped(state.universe.symbols[event.symbol], found is not None, found[1] if found is not None else "")


def _column(state: State, symbol: str) -> int:
    """Raises NotDone, with the nearest names."""
    universe = state.universe
    if symbol not in universe.index:
        near = get_close_matches(symbol.upper(), universe.symbols, n=3, cutoff=0.5) or universe.symbols[:8]
        raise NotDone("symbol", f"{symbol!r} is not traded here; there are: {', '.join(near)}")
    return universe.index[symbol]


def flow(service: Service, agent: str, amount: str, removes: bool, reason: str, who: str) -> Flow:
    """The event of a deposit or a withdrawal. Raises NotDone."""
    state = service.shell.state
    _ready(service)
    kind = service.config.broker.kind
    if kind != "paper":
        text = f"the venue ({kind}) reports what is paid in and out itself: move the money there, and it is taken as a flow"
        raise NotDone("venue", f"{text} within [broker] reconcile")
    names = [each.name for each in state.rules.agents]
    if agent and agent not in names:
        raise NotDone(
            "agent", f"there is no agent {agent!r}; there are: {', '.join(names)}; without one, the unallocated"
        )
    micro = _exact(amount, MICRO, "amount of money", "1000.00")
    said = _reason(reason, "money that moves")
    if removes and micro > (free := _free(state, agent)):
        whose = f"the book of {agent}" if agent else "the unallocated book"
        text = f"{money_text(micro)} is more than {whose} has in cash that no open order may need: {money_text(free)}"
        raise NotDone("amount", f"{text}. Sell first, or take less")
    return Flow(_now(service), -micro if removes else micro, who, agent=agent, reason=said)


def became_of_flow(service: Service, moved: Flow, effects: Sequence[Effect]) -> Paid:
    """The books after it. Raises NotDone where the engine moved nothing."""
    refused = next((e.text for e in effects if isinstance(e, Publish) and e.level == "WARNING"), "")
    if refused:
        raise NotDone("amount", refused)
    state = service.shell.state
    number = agent_of(state, moved.agent)
    book = state.ledger.books[-1 if number is None else number]
    return Paid(
        moved.agent, money_text(moved.amount_micro), money_text(book.cash_micro), money_text(state.equity_micro)
    )


def compared(state: State, account: VenueAccount, how: str = "") -> Compared:
    """Our books beside the newest comparison."""
    lots, cash = found(state, account)
    said = told(state, lots, cash)
    universe = state.universe
    by_symbol = {universe.symbols[k]: quantity_text(more, universe.lot_nano[k]) for k, more in enumerate(lots) if more}
    return Compared(not said, said, by_symbol, money_text(cash), how, int(state.switch.state))


def found(state: State, account: VenueAccount) -> tuple[list[int], int]:
    """(lots by column, cash in micro) that the venue has more than we know of."""
    return difference(state, Reconciled(account.ts, list(account.lots), account.cash_micro))


def correction(service: Service, account: VenueAccount, how: str, reason: str, who: str) -> Correction:
    """The event that settles what a comparison found. Raises NotDone."""
    state = service.shell.state
    lots, cash = found(state, account)
    if not any(lots) and not cash:
        raise NotDone("agrees", "the venue's account is ours: there is nothing to fence or to adopt")
    return Correction(_now(service), lots, cash, how, reason, who)


def how_of(service: Service, how: str, reason: str) -> str:
    """The reason of a correction as it is journalled; empty for a comparison alone. Raises NotDone."""
    _ready(service)
    if not how:
        return ""
    names = [each.name for each in service.shell.state.rules.agents]
    if how != "fence" and how not in names:
        raise NotDone("agent", f"there is no agent {how!r} to adopt it; there are: {', '.join(names)}")
    return _reason(reason, "a correction")


def _free(state: State, agent: str) -> int:
    book = agent_of(state, agent)
    return 0 if book is None else free_micro(state, book)


def _now(service: Service) -> int:
    """The instant of an event by hand: the market's time, which goes on between bars where the feed keeps its pace."""
    state, ahead = service.shell.state, service.market_ahead_ns
    known = max(state.now, service.shell.ts)
    return known if ahead is None else max(known, ahead + time.monotonic_ns())


def _ready(service: Service) -> None:
    if service.status not in READY:
        raise NotDone("not_ready", f"the daemon is {service.status}; try again")


def _reason(text: str, what: str) -> str:
    said = one_line(text)
    if not said:
        raise NotDone("reason", f'{what} needs a reason (--reason "…"): it goes into the journal')
    return said


def _exact(text: str, unit: int, what: str, example: str) -> int:
    """A positive decimal number as an exact integer of 1/`unit`. Raises NotDone."""
    fault: Fault = "amount"
    try:
        number = Decimal(text) if text.replace(".", "", 1).isdecimal() and text.isascii() else None
    except InvalidOperation:
        number = None
    if number is None or number <= 0:
        raise NotDone(fault, f"{text!r} is no {what}; write digits with a point and above 0, {example}")
    exact = number * unit
    if exact != int(exact) or exact >= MOST:
        raise NotDone(fault, f"{text} as {what} is too large or has too many decimal places")
    return int(exact)
