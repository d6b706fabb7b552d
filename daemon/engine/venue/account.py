"""The account beside its orders: what people move in and out, what a venue pays and charges, and what differs
from it."""

from collections.abc import Sequence
from math import ceil

from quantd.daemon.engine.alerts import alert
from quantd.daemon.engine.safety.switch import move_switch
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.switch import REDUCE, flow
from quantd.trading.effects import Booked, Effect
from quantd.trading.events import Action, Correction, Flow, ForeignFound, Reconciled
from quantd.trading.execution import round_micro
from quantd.trading.instruments import MICRO
from quantd.trading.orders import ENDED, ForeignOrder, money_text, quantity_text
from quantd.trading.ports import OpenOrder


def on_flow(state: State, moved: Flow) -> Sequence[Effect]:
    """A deposit or a withdrawal is no profit, and the high-water marks move with it; what a venue pays and charges is
    one."""
    if moved.id:
        if moved.id in state.flows:
            return ()
        state.flows.append(moved.id)
    if moved.kind != "flow":
        parts = entitled(state, moved.symbol) if moved.kind == "dividend" else []
        state.ledger.income(moved.amount_micro, parts)
        state.booked()
        return (Booked(moved.ts, moved.kind, moved.symbol, moved.amount_micro),)
    book = agent_of(state, moved.agent)
    if book is None:
        return (alert(state, "WARNING", "operator", f"no agent named {moved.agent!r}; no money was moved"),)
    if not moved.id and -moved.amount_micro > free_micro(state, book):
        amount, free = money_text(-moved.amount_micro), money_text(free_micro(state, book))
        said = f"{amount} was not moved: the book has {free} in free cash"
        return (alert(state, "WARNING", "operator", said),)
    _move(state, moved.amount_micro, book)
    state.revalue()
    effects: list[Effect] = [Booked(moved.ts, "flow", -1, moved.amount_micro, book)]
    if moved.id:
        verb = "deposit of" if moved.amount_micro > 0 else "withdrawal of"
        effects.append(
            alert(
                state, "INFO", "flow", f"{verb} {money_text(abs(moved.amount_micro))} at the venue: no profit, no loss"
            )
        )
    elif moved.reason:
        verb, whose = "deposit of" if moved.amount_micro > 0 else "withdrawal of", moved.agent or "unallocated"
        said = (
            f"{verb} {money_text(abs(moved.amount_micro))}, {whose}: no profit, no loss ({moved.who}: {moved.reason})"
        )
        effects.append(alert(state, "INFO", "flow", said, agent=book if book >= 0 else HOUSE))
    return effects


def _move(state: State, amount_micro: int, book: int) -> None:
    """Money from outside; the marks of the house, and of the agent whose book it is, move with it."""
    _marks_move(state, amount_micro, book)
    state.ledger.deposit(amount_micro, book)
    state.booked()


def _marks_move(state: State, amount_micro: int, book: int) -> None:
    """What comes or goes now is neither profit nor loss of the house, nor of the book it is for."""
    state.revalue()  # the equity right before, at the marks now
    flow(state.switch, amount_micro, state.equity_micro)
    if book >= 0:
        flow(state.agents[book].switch, amount_micro, state.books_micro[book])


def free_micro(state: State, book: int) -> int:
    """Cash of a book (-1: the unallocated one) that no open purchase may need, micro-currency; never more than the
    house's."""
    paid = 1.0 + state.rules.house.fee_bp / 1e4

    def needed(of: int) -> int:
        return ceil(sum(lots * worst for _, lots, worst in state.open_rows(of) if lots > 0) * paid * MICRO)

    own = state.ledger.books[book].cash_micro - (needed(book) if book >= 0 else 0)
    return max(0, min(own, state.ledger.house.cash_micro - needed(HOUSE)))


def agent_of(state: State, name: str) -> int | None:
    """The book of a name: the unallocated one (-1) for none, None for an unknown one."""
    if not name:
        return -1
    names = [agent.name for agent in state.rules.agents]
    return names.index(name) if name in names else None


def entitle(state: State, action: Action) -> None:
    """Remember who held what on an ex date: the venue pays weeks later, and knows nothing of our books."""
    parts = [(number, book.lots[action.symbol]) for number, book in enumerate(state.ledger.books)]
    state.entitled.append((action.symbol, [(number, lots) for number, lots in parts if lots]))


def entitled(state: State, symbol: int) -> list[tuple[int, int]]:
    """(book, lots) of the oldest ex date of a symbol that has not been paid; it is paid now. None: whoever holds it."""
    for at, (column, parts) in enumerate(state.entitled):
        if column == symbol:
            del state.entitled[at]
            return parts
    if symbol < 0:
        return []
    return [(number, book.lots[symbol]) for number, book in enumerate(state.ledger.books) if book.lots[symbol]]


def on_reconciled(state: State, venue: Reconciled) -> Sequence[Effect]:
    """Compare the venue's account with ours and what is fenced off; a difference leaves only reducing orders."""
    state.buying_power_micro = venue.buying_power_micro
    state.unlent = tuple(venue.unlent)
    for key in venue.counted:
        state.spending.pop((key[0], key[1]), None)
    lots, cash = difference(state, venue)
    if not any(lots) and not cash:
        return ()
    said = "; ".join(told(state, lots, cash))
    text = f"reconciliation: the venue has {said}"
    effects: list[Effect] = [
        alert(state, "CRITICAL", "reconciliation", text),
        *move_switch(state, HOUSE, REDUCE, "reconciliation", text),
    ]
    how = state.rules.differences
    if how:
        effects.extend(correct(state, lots, cash, how, "as configured"))
    return effects


def difference(state: State, venue: Reconciled) -> tuple[list[int], int]:
    """(lots by column, cash in micro beyond the tolerance) that the venue has more than we know of."""
    house, (fenced_lots, fenced_cash) = state.ledger.house, state.fenced
    lots = [t - o - f for t, o, f in zip(venue.lots, house.lots, fenced_lots, strict=True)]
    cash = 0 if venue.cash_micro is None else venue.cash_micro - house.cash_micro - fenced_cash
    return lots, cash if abs(cash) > state.rules.cash_tolerance_micro else 0


def told(state: State, lots: Sequence[int], cash: int) -> list[str]:
    """A difference in words."""
    universe = state.universe
    found = [
        f"{quantity_text(abs(more), universe.lot_nano[k])} {universe.symbols[k]} {'more' if more > 0 else 'less'}"
        for k, more in enumerate(lots)
        if more
    ]
    if cash:
        found.append(f"{money_text(abs(cash))} {universe.currency} {'more' if cash > 0 else 'less'}")
    return found


def on_correction(state: State, correction: Correction) -> Sequence[Effect]:
    """A person says whose a difference is."""
    said = f"{correction.who}: {correction.reason}"
    return correct(state, correction.lots, correction.cash_micro, correction.how, said)


def correct(state: State, lots: Sequence[int], cash: int, how: str, said: str) -> list[Effect]:
    """Take a difference into an agent's book (`how` is its name), or fence it off: then it is known and left alone.
    What is taken is a flow in kind at the marks, neither profit nor loss; so is its cash."""
    if how == "fence":
        fenced, fenced_cash = state.fenced
        state.fenced = [f + more for f, more in zip(fenced, lots, strict=True)], fenced_cash + cash
        return [alert(state, "WARNING", "reconciliation", f"fenced off: {'; '.join(told(state, lots, cash))} ({said})")]
    book = agent_of(state, how)
    if book is None:
        return [alert(state, "CRITICAL", "reconciliation", f"no agent named {how!r}; nothing was corrected")]
    effects: list[Effect] = []
    for column, more in enumerate(lots):
        if more:
            value = round_micro(more * state.universe.lot_nano[column] * int(state.marks_nano[column]))[0]
            _marks_move(state, value, book)
            state.ledger.in_kind(column, more, value, book)
            effects.append(Booked(state.now, "in_kind", column, value, book))
    if cash:
        _move(state, cash, book)
        effects.append(Booked(state.now, "flow", -1, cash, book))
    state.booked()
    state.revalue()
    text = f"taken into the book of {how}: {'; '.join(told(state, lots, cash))} ({said})"
    return [*effects, alert(state, "WARNING", "reconciliation", text)]


def strays(state: State, ours: Sequence[OpenOrder]) -> list[ForeignOrder]:
    """Orders of ours that are open at the venue and have ended here: nobody waits for them, so they reserve risk as
    another's do, and people are told. `cum` of each says what is left."""
    ended = dict(state.ended)
    found = []
    for each in ours:
        work = ended.get((each.sample, each.n))
        if work is None or each.row >= len(work.lots) or work.state[each.row] not in ENDED:
            continue
        lots, left = work.lots[each.row], abs(work.lots[each.row]) - each.cum
        if left > 0:
            name = f"{each.sample}/{each.n}/{each.row}, ours and ended here,"
            found.append(
                ForeignOrder(name, work.basket.sym[each.row], left if lots > 0 else -left, work.worst_nano[each.row])
            )
    return found


def on_foreign_found(state: State, found: ForeignFound) -> Sequence[Effect]:
    """Orders that are not ours reserve risk; they are never touched. Each is told of once."""
    known = state.foreign_ids
    state.foreign_ids = [order.venue_id for order in found.orders]
    state.foreign = [(o.symbol, o.lots, o.limit_nano) for o in found.orders]
    return tuple(
        alert(state, "WARNING", "foreign", f"order {o.venue_id} at the venue is not ours", symbol=o.symbol)
        for o in found.orders
        if o.venue_id not in known
    )
