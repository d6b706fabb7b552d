"""The account beside its orders: deposits, withdrawals, the venue's bookings, and reconciliation.

What can go wrong: an order without an answer makes the venue differ from the books. Such an order once stopped the
comparison, the booking of differences to an agent, and the closing of all positions for ever, without a CRITICAL alert.
So lots and cash that the order may explain are no difference, and the comparison goes on while the order waits.

What can go wrong, too: a deposit looks like a profit, or a withdrawal like a loss that trips a limit. Therefore the
high-water marks move with the equity before the flow, and the flow is booked after that. A booking of the venue has an
id and is booked once. Units of a coin that a person moved belong to no book until an operator names one.

A difference permits only orders that reduce, until an operator or the configuration decides to which book it belongs,
or fences it (excludes it from the account). A difference that belongs to a book is booked as a flow, neither profit nor
loss. Orders that are not ours reserve risk and are never changed.
"""

from collections.abc import Sequence
from math import ceil

from quantd.daemon.engine.planning.closing_lots import new_names
from quantd.daemon.engine.safety.alerts import alert, refuse_command
from quantd.daemon.engine.safety.switch import move_switch
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.venue.availability import corrected, note_available
from quantd.daemon.engine.venue.coin_fees import book_units, count_fee
from quantd.daemon.engine.venue.order_comparison import put_right
from quantd.daemon.engine.venue.settlements import adopt_settled, corrected_orders
from quantd.daemon.engine.venue.unanswered import cash_reach, check_clocks, reach
from quantd.risk.switch import REDUCE, flow
from quantd.trading.effects import Booked, Effect
from quantd.trading.events import Action, Correction, Flow, ForeignFound, Reconciled
from quantd.trading.execution import round_micro
from quantd.trading.instruments import MICRO
from quantd.trading.orders import ENDED, ForeignOrder, OpenOrder, money_text, quantity_text
from quantd.trading.ports import VenueAccount
from quantd.trading.statistics import sum_in_order


def on_flow(state: State, moved: Flow) -> Sequence[Effect]:
    """Book a cash flow. Deposits and withdrawals move the high-water marks; the venue's other bookings are profit.

    A flow with an id is of the venue, and is booked once. A flow without one is refused beyond the free cash of its
    book. `moved.units_nano` are nano-units of the instrument, for example of a fee in a coin. Book -1 is the
    unallocated book (what no agent has).
    """
    if moved.id:
        if moved.id in state.venue.flows:
            return ()
        state.venue.flows.append(moved.id)
    if moved.units_nano and moved.kind == "flow":
        return _unassigned_units(state, moved)
    booked: list[Effect] = []
    if moved.kind == "fee":
        moved = count_fee(state, moved)
    if moved.units_nano:
        booked = book_units(state, moved)
        if not moved.amount_micro:
            return booked
    if moved.kind != "flow":
        if not moved.amount_micro:
            return ()  # a fee that was booked ahead leaves an amount of 0
        entitled_lots = entitled(state, moved.symbol) if moved.kind == "dividend" else []
        # -1: the unallocated book gets what no book is entitled to
        parts = state.ledger.income(moved.amount_micro, entitled_lots) or [(-1, moved.amount_micro)]
        state.booked()
        return (*booked, Booked(moved.ts, moved.kind, moved.symbol, moved.amount_micro, parts=parts))
    book = agent_of(state, moved.agent)
    if book is None:
        return refuse_command(state, "agent", "operator", f"no agent named {moved.agent!r}; no money was moved")
    if not moved.id and -moved.amount_micro > free_micro(state, book):
        amount, free = money_text(-moved.amount_micro), money_text(free_micro(state, book))
        return refuse_command(
            state, "conflict", "operator", f"{amount} was not moved: the book has {free} in free cash"
        )
    _deposit(state, moved.amount_micro, book)
    state.revalue()
    effects: list[Effect] = [Booked(moved.ts, "flow", -1, moved.amount_micro, book)]  # -1: of no symbol
    movement = f"{'deposit' if moved.amount_micro > 0 else 'withdrawal'} of {money_text(abs(moved.amount_micro))}"
    if moved.id:
        effects.append(alert(state, "INFO", "flow", f"{movement} at the venue: no profit, no loss"))
    elif moved.reason:
        text = f"{movement}, {moved.agent or 'unallocated'}: no profit, no loss ({moved.who}: {moved.reason})"
        effects.append(alert(state, "INFO", "flow", text, agent=book if book >= 0 else HOUSE))
    return effects


def _unassigned_units(state: State, moved: Flow) -> tuple[Effect, ...]:
    """The alert about units of an instrument that a person moved: they are in no book until an operator names one."""
    nano, symbol = moved.units_nano, state.universe.symbols[moved.symbol]
    movement = f"{'deposit' if nano > 0 else 'withdrawal'} of {quantity_text(abs(nano), 1)} {symbol} at the venue"
    text = f"{movement}: no book has it until `quantd reconcile --adopt AGENT --reason R`, or --fence"
    return (alert(state, "WARNING", "flow", text, symbol=moved.symbol),)


def _deposit(state: State, amount_micro: int, book: int) -> None:
    """Book a deposit (negative: a withdrawal), and move the high-water marks."""
    _move_marks(state, amount_micro, book)
    state.ledger.deposit(amount_micro, book)
    state.booked()


def _move_marks(state: State, amount_micro: int, book: int) -> None:
    """Move the high-water marks of the kill switches of the whole account and of the agent `book` (-1: none), so
    that a flow is neither profit nor loss."""
    state.revalue()  # the equity before the flow, at the present marks
    flow(state.switch, amount_micro, state.equity_micro)
    if book >= 0:
        flow(state.agents[book].switch, amount_micro, state.books_micro[book])


def free_micro(state: State, book: int) -> int:
    """Return the free cash of a book in micro-currency, 0 or more; `book` is an agent's number, -1 for what no agent
    has.

    Free cash is what open purchases at their worst prices, with fees, do not need. It is at most the free cash of the
    account.
    """
    with_fee = 1.0 + state.rules.house.fee_bp / 1e4

    def needed(owner: int) -> int:
        return ceil(
            sum_in_order(lots * worst for _, lots, worst, _ in state.open_rows(owner) if lots > 0) * with_fee * MICRO
        )

    book_free = state.ledger.books[book].cash_micro - (needed(book) if book >= 0 else 0)
    return max(0, min(book_free, state.ledger.house.cash_micro - needed(HOUSE)))


def agent_of(state: State, name: str) -> int | None:
    """The index of an agent's book: -1 (what no agent has) for "", None for an unknown name and for a place (an agent
    that waits for a portfolio) without a portfolio."""
    if not name:
        return -1
    names = [agent.name for agent in state.rules.agents]
    number = names.index(name) if name in names else None
    return None if number is not None and state.vacant(number) else number


def entitle(state: State, action: Action) -> None:
    """Record the books' positions on an ex date, for the division of the venue's later payment."""
    book_lots = [(number, book.held[action.symbol]) for number, book in enumerate(state.ledger.books)]
    state.venue.entitled.append((action.symbol, [(number, lots) for number, lots in book_lots if lots]))


def entitled(state: State, symbol: int) -> list[tuple[int, int]]:
    """(book, lots) of the oldest unpaid ex date of a symbol, which counts as paid from now on.

    Without an unpaid ex date, the result is the present positions.
    """
    for index, (column, book_lots) in enumerate(state.venue.entitled):
        if column == symbol:
            del state.venue.entitled[index]
            return book_lots
    if symbol < 0:
        return []
    return [(number, book.held[symbol]) for number, book in enumerate(state.ledger.books) if book.held[symbol]]


def on_reconciled(state: State, venue: Reconciled) -> Sequence[Effect]:
    """Compare the venue's account with ours; after a difference that is not fenced only reducing orders are
    permitted. As configured, the difference is then fenced (ignored) or booked to an agent.

    `venue.counted` are the baskets that the reported buying power includes. `venue.run` is empty in old journals.
    """
    state.venue.buying_power_micro = venue.buying_power_micro
    state.venue.unlent = tuple(venue.unlent)
    for key in venue.counted:
        state.venue.spending.pop((key[0], key[1]), None)
    if venue.run:
        state.venue.waits.run, state.venue.waits.compared = venue.run, state.now
    noted = [
        *note_available(state, venue.available),
        *(note_holdings(state, venue.others) if venue.run else ()),
        *put_right(state, venue.orders),
        *check_clocks(state),
    ]
    lots, cash = difference(state, venue)
    if not any(lots) and not cash:
        return noted
    found = [*differences_text(state, lots, cash), *new_names(state, lots)]
    text = f"reconciliation: the venue has {'; '.join(found)}"
    effects: list[Effect] = [
        *noted,
        alert(state, "CRITICAL", "reconciliation", text),
        *move_switch(state, HOUSE, REDUCE, "reconciliation", text),
    ]
    if how := state.rules.differences:
        if how != "fence":
            adopt_settled(state, lots, cash, venue.orders)
        effects.extend(_correct(state, lots, cash, how, "as configured"))
    return effects


def note_holdings(state: State, holdings: Sequence[tuple[str, str]]) -> list[Effect]:
    """Record what the venue holds beside whole lots of the universe, with one alert about new holdings.

    A remainder of a lot after fees in the instrument itself is known, and raises no alert.
    """
    before = dict(state.venue.waits.holdings)
    state.venue.waits.holdings = tuple(holdings)
    symbols = {symbol: state.universe.index.get(symbol, -1) for symbol, _ in holdings}
    new = [
        f"{size} {symbol}"
        for symbol, size in holdings
        if symbol not in before and not (symbols[symbol] >= 0 and state.venue.dust.get(symbols[symbol]))
    ]
    if not new:
        return []
    text = (
        f"the venue holds what is in no book: {', '.join(new)}; it is not traded and in no limit{_staked(state, new)}"
    )
    return [alert(state, "INFO", "holdings", text)]


def _staked(state: State, holdings: Sequence[str]) -> str:
    """A sentence about coins or money of the universe that earn rewards, else empty: a venue lists them as BTC.F, or
    with the days for which they are bonded, as SOL03.S."""
    bases = {symbol.partition("/")[0] for symbol in state.universe.symbols if "/" in symbol}
    traded = bases | {state.universe.currency}
    names = [name for name in (text.rpartition(" ")[2] for text in holdings) if "." in name]
    coins = {name: name.partition(".")[0] for name in names}
    staked = [name for name, coin in coins.items() if coin in traded or coin.rstrip("0123456789") in traded]
    if not staked:
        return ""
    return (
        f". {', '.join(staked)} earns rewards at the venue and is in no order: end that there (staking, auto earn), "
        "then `quantd reconcile`"
    )


def difference(state: State, venue: Reconciled) -> tuple[list[int], int]:
    """(lots by column, cash in micro-currency) of the venue, less ours and less fenced (excluded) amounts.

    Cash within the tolerance is 0. Lots and cash that an order without an answer may explain are no difference. Where
    the venue's cash, or a bound on the cash of such an order, is unknown, the difference in cash is 0.
    """
    house, (fenced_lots, fenced_cash) = state.ledger.house, state.venue.fenced
    lots = [
        venue_lots - our_lots - fenced
        for venue_lots, our_lots, fenced in zip(venue.lots, house.lots, fenced_lots, strict=True)
    ]
    bounds = reach(state)
    possible = cash_reach(state, lots) if bounds else (0, 0)
    for column, (low, high) in bounds.items():
        lots[column] -= min(max(lots[column], low), high)
    if venue.cash_micro is None or possible is None:
        return lots, 0
    cash = venue.cash_micro - house.cash_micro - fenced_cash
    cash -= min(max(cash, possible[0]), possible[1])
    return lots, cash if abs(cash) > state.rules.cash_tolerance_micro else 0


def account_difference(state: State, account: VenueAccount) -> tuple[list[int], int]:
    """The `difference` of a venue's account: (lots by column, cash in micro-currency); negative where it has less."""
    return difference(state, Reconciled(account.ts, compared_lots(state, account), account.cash_micro))


def compared_lots(state: State, account: VenueAccount) -> list[int]:
    """The venue's lots by column for a comparison; for a holding that cannot be read, the lots of the books."""
    lots, fenced = list(account.lots), state.venue.fenced[0]
    for column in account.unread:
        lots[column] = state.ledger.house.lots[column] + fenced[column]
    return lots


def closable_lots(state: State, account: VenueAccount) -> list[int]:
    """The lots by column that the venue lets us close; for a holding that cannot be read, the lots of the books."""
    available = list(account.available)
    if available:
        lots = compared_lots(state, account)
        for column in account.unread:
            available[column] = lots[column]
    return available


def differences_text(state: State, lots: Sequence[int], cash: int) -> list[str]:
    """One text for each difference of `lots` (by column) and `cash` (micro-currency), the venue less ours."""
    universe = state.universe
    texts = [
        f"{quantity_text(abs(change), universe.lot_nano[k])} {universe.symbols[k]} {'more' if change > 0 else 'less'}"
        for k, change in enumerate(lots)
        if change
    ]
    if cash:
        texts.append(f"{money_text(abs(cash))} {universe.currency} {'more' if cash > 0 else 'less'}")
    return texts


def on_correction(state: State, correction: Correction) -> Sequence[Effect]:
    """Apply an operator's decision on a difference between the venue's account and the books."""
    reason = f"{correction.who}: {correction.reason}"
    if correction.how != "fence" and agent_of(state, correction.how) is None:
        why = f"no agent named {correction.how!r}; nothing was corrected"
        return refuse_command(state, "agent", "reconciliation", why, level="CRITICAL")
    corrected_orders(state, correction)
    return _correct(state, correction.lots, correction.cash_micro, correction.how, reason)


def _correct(state: State, lots: Sequence[int], cash: int, how: str, reason: str) -> list[Effect]:
    """Book a difference to the agent named `how`, or fence it ("fence"), so that it is ignored from now on.

    The difference is booked as a flow, in kind at the marks and in cash, neither profit nor loss.
    """
    differences = "; ".join(differences_text(state, lots, cash))
    if how == "fence":
        fenced, fenced_cash = state.venue.fenced
        state.venue.fenced = [old + added for old, added in zip(fenced, lots, strict=True)], fenced_cash + cash
        return [alert(state, "WARNING", "reconciliation", f"fenced off: {differences} ({reason})")]
    book = agent_of(state, how)
    if book is None:
        return [alert(state, "CRITICAL", "reconciliation", f"no agent named {how!r}; nothing was corrected")]
    effects: list[Effect] = []
    for column, added in enumerate(lots):
        if added:
            # [0]: without the residue of rounding
            value = round_micro(added * state.universe.lot_nano[column] * int(state.marks_nano[column]))[0]
            _move_marks(state, value, book)  # before the booking: else the flow would be a profit or a loss
            state.ledger.in_kind(column, added, value, book)
            corrected(state, column, added)
            effects.append(Booked(state.now, "in_kind", column, value, book, lots=added))
    if cash:
        _deposit(state, cash, book)
        effects.append(Booked(state.now, "flow", -1, cash, book))  # -1: of no symbol
    state.booked()
    state.revalue()
    return [
        *effects,
        alert(state, "WARNING", "reconciliation", f"taken into the book of {how}: {differences} ({reason})"),
    ]


def strays(state: State, ours: Sequence[OpenOrder]) -> list[ForeignOrder]:
    """Our orders that are open at the venue but ended in the books.

    The result lists them as foreign orders (orders that are not ours), because they reserve risk in the same way.
    """
    ended = dict(state.ended)
    foreign = []
    for order in ours:
        work = ended.get((order.sample, order.n))
        if work is None or order.row >= len(work.lots) or work.state[order.row] not in ENDED:
            continue
        lots, unfilled = work.lots[order.row], abs(work.lots[order.row]) - order.cum
        if unfilled > 0:
            name = f"{order.sample}/{order.n}/{order.row}, ours and ended here,"
            foreign.append(
                ForeignOrder(
                    name, work.basket.sym[order.row], unfilled if lots > 0 else -unfilled, work.worst_nano[order.row]
                )
            )
    return foreign


def on_foreign_found(state: State, report: ForeignFound) -> Sequence[Effect]:
    """Reserve risk for orders at the venue that are not ours, with one alert for each; they are never changed."""
    earlier_ids = state.venue.foreign_ids
    state.venue.foreign_ids = [order.venue_id for order in report.orders]
    state.venue.foreign = [(order.symbol, order.lots, order.limit_nano) for order in report.orders]
    return tuple(
        alert(state, "WARNING", "foreign", f"order {order.venue_id} at the venue is not ours", symbol=order.symbol)
        for order in report.orders
        if order.venue_id not in earlier_ids
    )
