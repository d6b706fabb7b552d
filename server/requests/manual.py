"""Manual orders, deposits, halts and corrections: their validation before they become events."""

from collections.abc import Sequence
from difflib import get_close_matches
from math import log
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from msgspec import Meta, Struct

from quantd.daemon.config.agent_tables import MANUAL
from quantd.daemon.engine.planning.closing_lots import new_names
from quantd.daemon.engine.planning.late_orders import uncertain_rows
from quantd.daemon.engine.safety.switch import SWITCH_NAMES
from quantd.daemon.engine.state import State
from quantd.daemon.engine.venue.account import account_difference, agent_of, differences_text, free_micro
from quantd.daemon.engine.venue.halts import ANNOUNCED, SUSPICIOUS
from quantd.daemon.engine.venue.price_jumps import hold_text
from quantd.daemon.engine.venue.settlements import settled_orders
from quantd.daemon.engine.venue.unanswered import order_name
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.limit_rows import reason_text
from quantd.risk.limits.catalogue import Reason
from quantd.risk.switch import RUN
from quantd.server.requests.control import (
    REASON_CHARS,
    AgentName,
    Because,
    NotDone,
    check_agent,
    check_priced,
    check_ready,
    exact_amount,
    journal_reason,
    market_now,
    names_in_use,
    seat_of,
)
from quantd.server.requests.manual_answers import Compared, Ordered, Paid, Stopped
from quantd.server.requests.proposals import OrderAsked, Until, wish_of
from quantd.trading.effects import Cancel, Effect, OrdersHeld, Planned
from quantd.trading.events import Correction, Flow, Halted, Proposed
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.market import JumpExplained
from quantd.trading.orders import (
    OrderBasket,
    Side,
    limit_text,
    money_text,
    order_id,
    price_text,
    quantities,
    quantity_text,
    side_text,
)
from quantd.trading.ports import VenueAccount

VIA: Final = "api"
"""The sender of a manual event in the journal, if no token names one."""

SPLIT_MISS: Final = 0.25
"""Largest |log| of the ratio between the price after a split, as computed, and the newest price; more is a typing
error."""

WRITE_MANUAL: Final = """there is no book for manual orders. Write into config.toml, and start a new run with --fresh:

[manual]
capital = 0.1                  # shares of all agents and this one add up to at most 1
profile = "balanced"
limits = { max_position_weight = 0.10 }

Or name the agent whose book takes the order: --agent NAME. The agents are """


def _decimal_meta(words: str, whole_digits: int, places: int) -> Meta:
    """The pattern of a decimal number above 0, for the OpenAPI document; `exact_amount` checks the number itself.

    `words` describe the number, which has at most `whole_digits` digits before the point and `places` after it.
    """
    pattern = rf"(?=.*[1-9])[0-9]{{1,{whole_digits}}}(\.[0-9]{{1,{places}}})?"
    return Meta(min_length=1, description=words, extra_json_schema={"pattern": f"^{pattern}$"})


Positive = Annotated[str, _decimal_meta("A number of units above 0.", 8, 9)]
Money = Annotated[str, _decimal_meta("An amount of money above 0.", 11, 6)]
Level = Annotated[str, _decimal_meta("A price; none where it is left out.", 8, 9)]
JumpName = Annotated[
    str, Meta(min_length=1, description="What the jump was: real, or a split such as 2:1; left out for a halt.")
]
SymbolName = Annotated[str, Meta(min_length=1, description="One of [universe] symbols.")]


class OrderByHand(Struct, frozen=True, forbid_unknown_fields=True):
    """A manual order; `qty` (in units), the worst price `limit`, and the protective prices `stop` and `target` are
    decimal text. `until` is `day`, `cancelled` or an instant. With `trigger` it is a stop order, which waits until a
    bar closes at this price or beyond it.

    Without `agent` the order is for the book `manual`. `as_planned` is the `plan` of a preview: the order is refused if
    it would now differ from the preview.
    """

    instead: ClassVar[str] = (
        "without `limit` an order is sent at the collar; a stop order has a `trigger`; its preview is the dry run"
    )
    side: Side
    qty: Positive
    symbol: SymbolName
    reason: Because
    agent: AgentName = ""
    stop: Level = ""
    target: Level = ""
    limit: Level = ""
    until: Until = ""
    trigger: Level = ""
    as_planned: Annotated[str, Meta(max_length=64)] = ""


class Cash(Struct, frozen=True, forbid_unknown_fields=True):
    """A deposit (`do` "add") or a withdrawal ("remove") of `amount`, which is decimal text.

    Without `agent` the money goes to, or comes from, the unallocated book. A withdrawal that breaks a limit is refused
    unless `beyond_limits` is true.
    """

    do: Literal["add", "remove"]
    amount: Money
    reason: Because
    agent: AgentName = ""
    beyond_limits: bool = False


class Settle(Struct, frozen=True, forbid_unknown_fields=True):
    """A comparison with the venue's account, or a correction of the books.

    `how` is "" to compare only, "fence" to leave the differences untraded, else the agent whose book gets them.
    """

    how: str = ""
    reason: str = ""


class Halt(Struct, frozen=True, forbid_unknown_fields=True):
    """A trading halt of one symbol: `do` "halt" refuses new orders for it until "resume".

    With `jump`, "resume" instead ends the hold after a jump of the price. `jump` is "real", or the split as new shares
    to old ones: "2:1".
    """

    do: Literal["halt", "resume"]
    symbol: SymbolName
    reason: Because
    jump: JumpName = ""


def manual_order(service: Service, order: OrderByHand, who: str = VIA) -> Proposed:
    """Return the event of a manual order.

    Raises NotDone for an unknown agent or symbol, the agent of a portfolio, a quantity that is not whole lots, and a
    missing reason. It also raises NotDone before the first close, and for a stop or target price that does not fit.
    """
    state = service.shell.state
    check_ready(service)
    names = state.rules.names()
    agent, symbol = seat_of(state, order.agent or MANUAL), order.symbol
    if agent == MANUAL and agent not in names:
        raise NotDone("agent", WRITE_MANUAL + ", ".join(names_in_use(state)))
    check_agent(service, agent)
    if (book_index := agent_of(state, agent)) in state.portfolios:
        name = state.portfolios[book_index].name
        raise NotDone("conflict", f"{agent} is the portfolio {name}; it changes only by `quantd portfolio rebalance`")
    column = _column(state, symbol)
    exact_amount(order.qty, NANO, "quantity", "10 or 0.25")  # the sign is that of the side
    check_priced(state)
    reason = journal_reason(order.reason, "a manual order")
    sign = "-" if order.side == "sell" else ""
    asked = OrderAsked(f"{sign}{order.qty}", order.limit, order.until, order.stop, order.target, order.trigger)
    wish = wish_of(state, names.index(agent), symbol, asked)
    if book_index is not None:
        _check_review(state, book_index, column, wish.lots)
    # the engine gives the order an id
    return Proposed(market_now(service), agent, "", reason, who, orders=(wish,), by_hand=True)


def _check_review(state: State, book: int, column: int, lots: int) -> None:
    """Raises NotDone for an order that enlarges a position of a book whose trades need an approval.

    `book` is the index of the book, and `lots` are signed. Whether a person must approve its trades depends on the
    policy that decides for it (`state.seats[book]`).
    """
    if not (approval := state.rules.approval_of(state.seats[book])):
        return
    name = state.rules.names()[state.seats[book]]
    held_lots = state.ledger.books[book].lots[column]
    # the position grows, or changes its side
    if abs(held_lots + lots) > abs(held_lots) or (held_lots + lots) * held_lots < 0:
        second = "with the key of a device" if approval == "device" else "with another token"
        way = f"POST /api/v1/agents/{name}/propose, and `quantd review {name}` {second}"
        raise NotDone(
            "conflict", f'{name} has approval = "{approval}": propose the order ({way}); a sale of its lots passes'
        )


def became_of_order(state: State, effects: Sequence[Effect], order: Proposed, run: str) -> Ordered:
    """The verdict of the risk checks on a manual order, from the `effects` (output of the engine) of its event.

    `state` is the state after the event.
    """
    (wish,) = order.orders
    column = wish.symbol
    universe, lot = state.universe, state.universe.lot_nano[column]
    plan = next((effect for effect in effects if isinstance(effect, Planned)), None)
    waits = plan is None and any(isinstance(effect, Cancel | OrdersHeld) for effect in effects)
    basket = next(
        (
            effect
            for effect in effects
            if isinstance(effect, OrderBasket) and column in effect.sym and not effect.stop_nano
        ),
        None,
    )
    agent_index = agent_of(state, order.agent)
    exits = state.protection.own.get((agent_index or 0, column))
    stop_nano, target_nano = (exits.stop_nano, exits.target_nano) if exits is not None else (0, 0)
    agent_reason = house_reason = Reason.NONE
    if plan is not None:  # it has one agent; codes are by column of the universe
        agent_reason = Reason(int(np.frombuffer(plan.agents[0].reason, dtype=np.int8)[column]))
        house_reason = Reason(int(np.frombuffer(plan.reason, dtype=np.int8)[column]))
    reason = house_reason or agent_reason
    cut_by = "" if not reason else "house" if house_reason else order.agent
    passed_lots, limit, order_name = 0, "", ""
    if basket is not None:
        row = basket.sym.index(column)
        passed_lots, limit = abs(basket.lots[row]), limit_text(basket.worst_nano[row])
        order_name = order_id(run, basket.sample, universe.symbols[column], basket.n)
    text = reason_text(reason, {} if plan is None else plan.agents[0].values, universe.symbols[column])
    strictest, switch = _strictest(state, order.agent, agent_index)
    # nothing passes and no limit says why: a switch that is not RUN stopped it
    if not passed_lots and not waits and reason in (Reason.NONE, Reason.SWITCH) and switch != RUN:
        reason, cut_by = Reason.SWITCH, strictest
        whose = "" if strictest == "house" else f" --agent {strictest}"
        text = f"the switch of {strictest} is {SWITCH_NAMES[switch]}; `quantd resume{whose} --reason R` sets it to RUN"
    if reason == Reason.HALTED and column in state.restrictions.halted:
        symbol, (_, why) = universe.symbols[column], state.restrictions.halted[column]
        text = f"{symbol} is halted: {why}; `quantd resume --symbol {symbol} --reason R`"
    if held := [effect for effect in effects if isinstance(effect, OrdersHeld)]:
        order_name, text = held[0].id, held[0].why
    return Ordered(
        agent=order.agent,
        side=side_text(wish.lots),
        symbol=universe.symbols[column],
        asked=quantity_text(abs(wish.lots), lot),
        allowed=quantity_text(passed_lots, lot),
        order=order_name,
        limit=limit,
        reason=reason.name.lower() if reason else "",
        cut_by=cut_by,
        text=text,
        stop=price_text(stop_nano) if stop_nano else "",
        target=price_text(target_nano) if target_nano else "",
        waits=waits,
    )


def _strictest(state: State, agent: str, agent_index: int | None) -> tuple[str, int]:
    """(Owner, state) of the strictest switch on the orders of an agent: the account's, or its own."""
    agent_state = RUN if agent_index is None else state.agents[agent_index].switch.state
    return ("house", int(state.switch.state)) if state.switch.state >= agent_state else (agent, int(agent_state))


def halted(service: Service, asked: Halt, who: str = VIA) -> Halted | JumpExplained:
    """Return the event that halts or resumes one symbol, or ends its hold after a jump of the price.

    Raises NotDone for an unknown symbol, a missing reason, and a resume of a symbol that is not halted, or that is held
    after a jump.
    """
    check_ready(service)
    state = service.shell.state
    column, halts = _column(state, asked.symbol), asked.do == "halt"
    if asked.jump and halts:
        raise NotDone("command", "jump ends a hold, and a halt has none; leave it out, or write do = resume")
    if asked.jump:
        return _jump_explained(service, asked, column, who)
    if not halts and column not in state.restrictions.halted:
        if column in state.restrictions.jumped:
            hold = f"{hold_text(state, column)}; end the hold with --jump real or --jump N:M, and --reason"
            raise NotDone("conflict", f"{asked.symbol} is held: {hold}")
        raise NotDone("agrees", f"{asked.symbol} is not halted, so there is nothing to resume")
    # a halt is not refused for its length
    reason = asked.reason[:REASON_CHARS] if halts else asked.reason
    reason = journal_reason(reason, "a halt" if halts else "resuming a symbol")
    return Halted(market_now(service), column, halts, reason, who)


def _suspicion_ended(service: Service, asked: Halt, column: int, who: str) -> Halted | None:
    """The event that accepts a suspicious price as real; None if the symbol is not halted for such a price.

    The event is a further halt with a new reason: the symbol remains halted until the next bar, because the state still
    has the price from before the move.
    """
    halt = service.shell.state.restrictions.halted.get(column)
    # halt[1] is the text of its reason
    if halt is None or service.accept_price is None or not halt[1].startswith(ANNOUNCED + SUSPICIOUS):
        return None
    reason = journal_reason(asked.reason, "the explanation of a price")
    service.accept_price(column)
    detail = f"{SUSPICIOUS}it is real ({who}: {reason}), and trading goes on with the next bar"
    return Halted(market_now(service), column, True, detail, announced=True)


def _jump_explained(service: Service, asked: Halt, column: int, who: str) -> Halted | JumpExplained:
    """Return the event that ends the hold of a symbol after a jump of its price.

    Raises NotDone for the action "halt", a symbol that is not held, a missing reason, and a split that does not fit.
    """
    state = service.shell.state
    if asked.do == "halt":
        raise NotDone(
            "command", "halt was sent with a jump; explain a jump by resume --symbol SYMBOL --jump real | N:M"
        )
    if column not in state.restrictions.jumped:
        if asked.jump == "real" and (accepted := _suspicion_ended(service, asked, column, who)) is not None:
            return accepted
        held_symbols = ", ".join(sorted(state.universe.symbols[k] for k in state.restrictions.jumped)) or "none"
        raise NotDone("agrees", f"{asked.symbol} is not held after a jump of its price; held symbols: {held_symbols}")
    numerator, denominator = _split_ratio(asked.jump)  # (new shares, old shares); (1, 1) for "real"
    hold = state.restrictions.jumped[column]
    implied_nano = hold.before_nano * denominator // numerator
    if numerator != denominator and abs(log(implied_nano / hold.newest_nano)) > SPLIT_MISS:
        text = f"a split of {asked.jump} would make {price_text(implied_nano)} of {price_text(hold.before_nano)}"
        remedy = "Write new shares to old ones, as 2:1, or --jump real"
        raise NotDone("conflict", f"{text}, but {asked.symbol} is at {price_text(hold.newest_nano)}. {remedy}")
    reason = journal_reason(asked.reason, "the explanation of a jump")
    return JumpExplained(market_now(service), column, reason, who, numerator, denominator)


def _split_ratio(jump: str) -> tuple[int, int]:
    """Return (new shares, old shares) of a split; (1, 1) for "real". Raises NotDone for any other text."""
    if jump == "real":
        return 1, 1
    parts = jump.split(":")
    if len(parts) == 2 and all(part.isdecimal() and part.isascii() and len(part) <= 6 for part in parts):
        numerator, denominator = int(parts[0]), int(parts[1])
        if numerator and denominator and numerator != denominator:
            return numerator, denominator
    raise NotDone("amount", f"jump {jump!r} is no split: write real, or new shares to old ones, such as 2:1")


def became_of_halt(state: State, symbol: str, replayed: bool = False) -> Stopped:
    """The trading state of a symbol of the universe: halted or held, and why. `replayed` is copied into the answer."""
    column = state.universe.index[symbol]
    if column in state.restrictions.halted:
        why = state.restrictions.halted[column][1]
    else:
        why = hold_text(state, column) if column in state.restrictions.jumped else ""
    return Stopped(symbol, column in state.restrictions.halted or column in state.restrictions.jumped, why, replayed)


def _column(state: State, symbol: str) -> int:
    """The column of a symbol. Raises NotDone for an unknown symbol, with similar names."""
    universe = state.universe
    if symbol not in universe.index:
        near = get_close_matches(symbol.upper(), universe.symbols, n=3, cutoff=0.5) or universe.symbols[:8]
        raise NotDone("symbol", f"{symbol!r} is not in [universe] symbols; write one of {', '.join(near)}")
    return universe.index[symbol]


def flow(service: Service, asked: Cash, who: str = VIA) -> Flow:
    """Return the event of a deposit or a withdrawal.

    Raises NotDone at a real venue, for an unknown agent, a wrong amount, a missing reason, and a withdrawal of more
    than the free cash.
    """
    state = service.shell.state
    check_ready(service)
    kind = service.config.broker.kind
    if kind != "paper":
        text = f"the venue ({kind}) reports deposits and withdrawals itself: move the money there"
        raise NotDone("venue", f"{text}. The daemon books it at the next reconciliation ([broker] reconcile)")
    agent = seat_of(state, asked.agent)
    check_agent(service, agent, ". Without --agent: the unallocated book")
    micro = exact_amount(asked.amount, MICRO, "amount of money", "1000.00")
    reason = journal_reason(asked.reason, "a deposit or withdrawal")
    removes = asked.do == "remove"
    if asked.beyond_limits and not removes:
        raise NotDone("command", "beyond_limits is of a withdrawal, and a deposit breaks no limit; leave it out")
    book = agent_of(state, agent)
    if removes and micro > (free := 0 if book is None else free_micro(state, book)):
        whose = f"the book of {agent}" if agent else "the unallocated book"
        text = f"{money_text(micro)} exceeds the free cash of {whose}, {money_text(free)} (cash less open orders)"
        raise NotDone("conflict", f"{text}. Sell first, or withdraw less")
    return Flow(market_now(service), -micro if removes else micro, who, agent=agent, reason=reason)


def became_of_flow(state: State, moved: Flow) -> Paid:
    """The answer to the deposit or withdrawal `moved`, from the state after it.

    Without an agent, the answer is about the unallocated book, which is the last.
    """
    book_index = agent_of(state, moved.agent)
    book = state.ledger.books[-1 if book_index is None else book_index]
    return Paid(moved.agent, *map(money_text, (moved.amount_micro, book.cash_micro, state.equity_micro)))


def compared(state: State, account: VenueAccount, how: str = "") -> Compared:
    """The differences between the books and the venue's newest account report; the answer repeats `how`."""
    lots, cash = account_difference(state, account)
    differences = [*differences_text(state, lots, cash), *new_names(state, lots)]
    waits = [order_name(state, key, work.basket.sym[row]) for key, work, row in uncertain_rows(state)]
    return Compared(
        not differences, differences, quantities(state.universe, lots), money_text(cash), how, int(state.switch.state),
        state.venue.waits.account, waits,
    )  # fmt: skip


def correction(service: Service, account: VenueAccount, how: str, reason: str, who: str = VIA) -> Correction:
    """Return the event that books the differences of a reconciliation in the book of the agent `how`.

    "fence" as `how` keeps the differences apart from all agents.
    Raises NotDone without a difference, and if every difference may come from orders that the venue has not answered.
    """
    state = service.shell.state
    lots, cash = account_difference(state, account)
    if not any(lots) and not cash:
        if waits := [order_name(state, key, work.basket.sym[row]) for key, work, row in uncertain_rows(state)]:
            text = f"the only differences may come from {', '.join(waits)}, which the venue has not answered"
            raise NotDone("agrees", f"{text}; settle these orders by `quantd settle`, then reconcile again")
        raise NotDone("agrees", "the venue's account agrees with the books: there is no difference to fence or adopt")
    orders = settled_orders(state, account.ours)
    return Correction(market_now(service), lots, cash, how, reason, who, orders)


def how_of(service: Service, how: str, reason: str) -> str:
    """Return the reason of a correction for the journal; empty for a comparison alone.

    `how` is "" for a comparison, and for a correction "fence" (the surplus is left out of the account) or the name of
    the agent that gets it. Raises NotDone while the
    daemon is not ready, for an unknown agent, and for a correction without a reason.
    """
    check_ready(service)
    if not how:
        return ""
    names = service.shell.state.rules.names()
    if how not in ("fence", *names):
        raise NotDone("agent", f"there is no agent {how!r} to adopt the differences; the agents are {', '.join(names)}")
    return journal_reason(reason, "a correction")
