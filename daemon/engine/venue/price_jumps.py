"""The hold (block of trading) of a symbol whose price jumped near a split ratio without a corporate action, until an
operator explains it.

While a symbol is held, agents' orders in it are refused, its open orders are cancelled except protective ones, and no
cross (trade between agents) or protective exit of it begins. A position is valued at the worse of the last price before
the jump and the newest one: the lower one where the whole account is long or flat, the higher one where it
is short. The history keeps the price before the jump, so that a split is no return.
"""

from collections.abc import Sequence

import numpy as np

from quantd.daemon.engine.planning.execution import end_symbol
from quantd.daemon.engine.safety.alerts import alert, refuse_command
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.price_holds import PriceHold
from quantd.daemon.engine.venue.splits import scale_mark, split_books
from quantd.trading.effects import Effect, Level
from quantd.trading.events import Action, split_of
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats, JumpExplained, MarketSlice, PriceJumped
from quantd.trading.orders import ENDED, OrderState, price_text


def on_price_jumped(state: State, jump: PriceJumped) -> Sequence[Effect]:
    """Block trading in a symbol after a price jump.

    A further jump of the symbol is reported, and changes nothing else.
    """
    symbol = jump.symbol
    if jump.ts <= state.carried[0]:
        return ()  # the jump came before the carry-over: the account that was carried into this run includes it
    if symbol not in state.restrictions.jumped:
        state.restrictions.jumped[symbol] = PriceHold.of(jump)
    effects = [*end_symbol(state, symbol, "a jump of the price"), *_cancel_orders(state, symbol)]
    state.crosses.drop(symbol)
    _mark_at_worse(state, [symbol])
    return [*_alerts(state, [symbol]), *effects]


def on_jump_explained(state: State, answer: JumpExplained) -> Sequence[Effect]:
    """End the block of trading in a symbol: its price jump was real, or a split, which is applied now as on its ex
    date."""
    symbol, who = answer.symbol, f"{answer.who}: {answer.reason}"
    if symbol not in state.restrictions.jumped:
        name = state.universe.symbols[symbol]
        return refuse_command(state, "agrees", "operator", f"{name} is not held after a jump of its price ({who})")
    split = split_of(answer)
    explanation = (
        f"it was a {answer.numerator}:{answer.denominator} split" if split is not None else "it was a real move"
    )
    return _end_hold(state, symbol, split, f"{explanation} ({who})")


def jump_announced(state: State, action: Action) -> Sequence[Effect]:
    """Handle a split from the feed in a symbol that is blocked after a price jump: a split that explains the jump ends
    the block, another one rescales the recorded prices. A fraction of a lot is paid at the price as traded, which the
    worse price of the valuation is not."""
    symbol, numerator, denominator = action.symbol, action.numerator, action.denominator
    jump = state.restrictions.jumped[symbol]
    text = f"{numerator}:{denominator} split of {state.universe.symbols[symbol]}"
    if jump.explained_by(action):
        return _end_hold(state, symbol, action, f"the feed has a {text}")
    jump.split(numerator, denominator)
    state.history.action(action.key, symbol, numerator / denominator, 0.0)  # no cash
    _set_mark(state, symbol, jump.newest_nano)
    booked = split_books(state, action.ts, symbol, numerator, denominator)
    _mark_at_worse(state, [symbol])
    state.booked()
    return [alert(state, "INFO", "action", text), *booked]


def _end_hold(state: State, symbol: int, split: Action | None, why: str) -> list[Effect]:
    """End the hold of a symbol after a price jump, and value the symbol at its newest price again.

    If the jump was a split, `split` is booked first, at the price before the jump. Returns the effects.
    """
    jump = state.restrictions.jumped.pop(symbol)
    effects: list[Effect] = []
    if split is not None:
        numerator, denominator = split.numerator, split.denominator
        _set_mark(state, symbol, jump.before_nano)
        scale_mark(state, symbol, numerator, denominator)
        # the key after the last sample: the split must not rescale the rows of earlier samples that are not final yet
        state.history.action(state.sample_key + 1, symbol, numerator / denominator, 0.0)
        effects.extend(split_books(state, split.ts, symbol, numerator, denominator))
    _set_mark(state, symbol, jump.newest_nano)
    state.keep_closes()
    # rows of coming samples have the price before the jump, which the hold wrote there: they get the newest price
    for key, row in state.history.pending.items():
        if key > state.sample_key and np.isfinite(row[symbol]):
            state.history.pending[key] = _replaced(row, symbol, jump.newest_nano / NANO)
    state.booked()  # drops what was computed from the lots before the split
    state.revalue()
    text = f"{state.universe.symbols[symbol]} is no longer held: {why}"
    return [*_alert(state, "INFO", symbol, text), *effects]


def mark_held(state: State, market: MarketSlice) -> list[int]:
    """After a slice (bars of one instant), set the marks of symbols that are blocked after a price jump to the worse
    price; returns their columns."""
    held = [symbol for symbol, jump in state.restrictions.jumped.items() if market.ts_event > jump.since]
    for symbol in held:
        if market.fresh[symbol]:
            state.restrictions.jumped[symbol].newest_nano = int(market.close_nano[symbol])
    _mark_at_worse(state, held)
    return held


def closes_before(state: State, closes: Floats, ts: int) -> Floats:
    """Return `closes`, float64[N] at `ts` (ns UTC), but with the price before the jump for each symbol that is held
    since an earlier price jump."""
    adjusted_closes = closes.copy()
    for symbol, jump in state.restrictions.jumped.items():
        if ts > jump.since:
            adjusted_closes[symbol] = jump.before_nano / NANO
    return adjusted_closes


def jump_alerts(state: State) -> list[Effect]:
    """Repeat the alert of each symbol that is held after a price jump."""
    return _alerts(state, sorted(state.restrictions.jumped))


def hold_text(state: State, symbol: int) -> str:
    """The hold of a symbol after a price jump as text: its prices and the ratio."""
    jump = state.restrictions.jumped[symbol]
    return (
        f"the price jumped from {price_text(jump.before_nano)} to {price_text(jump.after_nano)}, "
        f"near {jump.numerator}:{jump.denominator}, without a corporate action"
    )


def _alerts(state: State, symbols: Sequence[int]) -> list[Effect]:
    """A CRITICAL alert for each of these symbols, which are blocked after a price jump, with the commands that explain
    the jump."""
    messages: list[Effect] = []
    for symbol in symbols:
        jump, name = state.restrictions.jumped[symbol], state.universe.symbols[symbol]
        command = f"`quantd resume --symbol {name} --jump"
        text = (
            f"{name} is held: {hold_text(state, symbol)}; its orders are refused, and it is valued at the worse price. "
            f"A real move: {command} real --reason TEXT`. A split: {command} {jump.numerator}:{jump.denominator} "
            "--reason TEXT`"
        )
        messages.extend(_alert(state, "CRITICAL", symbol, text))
    return messages


def _alert(state: State, level: Level, symbol: int, text: str) -> list[Effect]:
    """An alert of the whole account about a symbol held after a price jump; a shadow (agent on paper) raises none."""
    if state.rules.first_seat:
        return []
    return [alert(state, level, "price_jump", text, symbol=symbol)]


def _cancel_orders(state: State, symbol: int) -> list[Effect]:
    """Cancel the open orders of a symbol, except orders of a protective exit.

    Protective stops at the venue stay open.
    """
    effects: list[Effect] = []
    for work in state.working.values():
        for row, column in enumerate(work.basket.sym):
            if column != symbol or work.state[row] in ENDED or work.state[row] == OrderState.CANCELLING:
                continue
            if not all(symbol in state.agents[who].exits for who, _ in work.shares_of(row)):
                effects.append(work.cancel(row, state.now))
    return effects


def _mark_at_worse(state: State, symbols: Sequence[int]) -> None:
    """Set the mark of symbols held after a price jump to the worse of the two prices."""
    for symbol in symbols:
        jump = state.restrictions.jumped[symbol]
        _set_mark(state, symbol, jump.worse_nano(state.ledger.house.held[symbol]))


def _set_mark(state: State, symbol: int, nano: int) -> None:
    """Replace the arrays of marks by copies in which one symbol has the mark `nano`."""
    marks_nano = state.marks_nano.copy()
    marks_nano[symbol] = nano
    state.set_marks(_replaced(state.marks, symbol, nano / NANO), marks_nano)


def _replaced(row: Floats, symbol: int, value: float) -> Floats:
    """A copy of float64[N] with another value of one symbol."""
    row_copy = row.copy()
    row_copy[symbol] = value
    return row_copy
