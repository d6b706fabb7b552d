"""Brackets: the two exits of an order from outside, of which one at most fills.

A group has the entry, a take-profit order with a limit, and a stop-loss order. The stop order waits in the engine from
the first fill on (`stop_orders`), for what is filled. The limit order is sent when the entry has ended, and rests. The
exits only reduce, and count once: the stop order counts while the limit order does not rest (`State.held_stops`).

What can go wrong: both exits fill, and a closed position is opened on the other side. So a stop order that is reached
first cancels the other orders of its group, waits for their end, and sells what is left then. The end of an exit ends
the group: the other exit is cancelled, and an alert tells if a position remains.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from quantd.daemon.engine.agents.proposals import awaited_price, book_of, lots_of, not_planned, plan_targets
from quantd.daemon.engine.agents.stop_orders import reached, reducing, wait_text, with_expiry
from quantd.daemon.engine.core.idle import idle_when
from quantd.daemon.engine.planning.gate_account import market_context
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.stop_records import Bracket
from quantd.risk.pretrade.baskets import worst_nano
from quantd.trading.effects import Effect, Filled, OrdersHeld, ProposalEnded, Refused
from quantd.trading.events import Event, Proposed, Tick
from quantd.trading.orders import OrderState, Wish, quantity_text


@idle_when(lambda state: not state.brackets)
def follow_brackets(state: State, event: Event, effects: Sequence[Effect]) -> Sequence[Effect]:
    """Return the effects of an event, followed by what it means for the groups of entries and exits."""
    exits = isinstance(event, Proposed) and event.orders and event.orders[0].exits
    if isinstance(event, Proposed) and exits and not any(isinstance(effect, Refused) for effect in effects):
        state.brackets.append(Bracket(event))
    if not state.brackets:
        return effects
    _count_fills(state, effects)
    going = state.causes_under_way()
    more: list[Effect] = []
    for bracket in list(state.brackets):
        more += _follow(state, bracket, going, isinstance(event, Tick) and event.sample)
    return [*effects, *more] if more else effects


def _count_fills(state: State, effects: Sequence[Effect]) -> None:
    """Add the fills of entries and exits to what their brackets have left to close."""
    of_cause = {cause: bracket for bracket in state.brackets for cause in bracket.causes}
    for effect in effects:
        if isinstance(effect, Filled):
            work = state.working.get((effect.sample, effect.n)) or state.ended.find((effect.sample, effect.n))
            if work is not None and work.cause in of_cause:
                of_cause[work.cause].left += sum(effect.lots)


def _follow(state: State, bracket: Bracket, going: set[str], sampled: bool) -> list[Effect]:
    """Bring the exits of a bracket in line with its fills; `going` are the causes of all orders that have not ended."""
    opened, target_open = bracket.entry.cause in going, bracket.target_cause in going
    target_nano, stop_nano, _ = bracket.entry.orders[0].exits
    effects = _guard(state, bracket) if stop_nano else []
    held = next((proposal for proposal in state.awaiting if proposal.cause == bracket.stop_cause), None)
    if not opened and not bracket.left:
        return [*effects, *_finish(state, bracket, held, "its position is closed, or was never opened")]
    if bracket.guarded and held is None and bracket.stop_cause not in going:
        return [*effects, *_finish(state, bracket, held, "its stop-loss order has ended")]
    if bracket.resting and not target_open:
        if not bracket.stopping:
            return [*effects, *_finish(state, bracket, held, "its take-profit order has ended")]
        bracket.resting = False
    stops = held is not None and not awaited_price(state, held.orders) and reached(state, held.orders[0])
    bracket.stopping = bracket.stopping or (stops and (opened or target_open))
    if bracket.stopping:
        return [*effects, *_cancel_others(state, bracket)]
    ready = target_nano and bracket.left and not (opened or bracket.sent)
    if ready and (sampled or not bracket.tried) and state.round is None:
        effects += _send_target(state, bracket)
    return effects


def _guard(state: State, bracket: Bracket) -> list[Effect]:
    """Hold the stop-loss order of a bracket for the lots that are left to close."""
    (_, stop_nano, limit_nano), entry = bracket.entry.orders[0].exits, bracket.entry
    held = next((proposal for proposal in state.awaiting if proposal.cause == bracket.stop_cause), None)
    if held is not None and bracket.left and held.orders[0].lots != -bracket.left:
        k = state.awaiting.index(held)
        state.awaiting[k] = replace(held, orders=(replace(held.orders[0], lots=-bracket.left),))
    if bracket.guarded or not bracket.left:
        return []
    bracket.guarded = True
    wish = Wish(entry.orders[0].symbol, -bracket.left, limit_nano, entry.orders[0].end, trigger_nano=stop_nano)
    leg = with_expiry(state, replace(entry, ts=state.now, id=bracket.stop_id, orders=(wish,), plan="", expires=0))
    state.awaiting.append(leg)
    return [OrdersHeld(state.now, leg.agent, leg.id, wait_text(state, wish))]


def _send_target(state: State, bracket: Bracket) -> list[Effect]:
    """Send the take-profit order of a bracket at its limit, or at the collar where the market is far beyond it.

    An order that is refused is tried again at the next sample.
    """
    entry, book = bracket.entry, book_of(state, bracket.entry)
    if book is None:
        return []
    bracket.tried = True
    wish = Wish(entry.orders[0].symbol, -bracket.left, entry.orders[0].exits[0], entry.orders[0].end)
    wish = reducing(state, book, wish)
    limits, held = state.rules.agents[book].limits, state.lots(book)
    bound = worst_nano(market_context(state), lots_of((wish,), state.universe.size), limits, held)[wish.symbol]
    wish = replace(wish, limit_nano=min(wish.limit_nano, bound) if wish.lots > 0 else max(wish.limit_nano, bound))
    leg = replace(entry, ts=state.now, id=bracket.target_id, orders=(wish,), plan="", expires=0)
    if not_planned(state, leg):
        return []
    bracket.resting = True  # before the plan: the stop order does not count beside it
    planned = plan_targets(state, leg)
    bracket.sent = bracket.resting = not any(isinstance(effect, Refused) for effect in planned)
    return [effect for effect in planned if not isinstance(effect, Refused)]


def _cancel_others(state: State, bracket: Bracket) -> list[Effect]:
    """Cancel the entry and the take-profit order of a bracket, also where they are not sent yet."""
    others = {bracket.entry.cause, bracket.target_cause}
    state.protection.postponed = [plan for plan in state.protection.postponed if plan.intent.cause not in others]
    return [
        work.cancel(row, state.now)
        for work in state.working.values()
        if work.cause in others
        for row in dict.fromkeys(row for row, _, _ in work.open_shares())
        if work.state[row] != OrderState.CANCELLING
    ]


def _finish(state: State, bracket: Bracket, held: Proposed | None, why: str) -> list[Effect]:
    """End a bracket: cancel what is open of it, and tell if a position remains."""
    state.brackets.remove(bracket)
    entry, (target_nano, stop_nano, _) = bracket.entry, bracket.entry.orders[0].exits
    if held is not None:
        state.awaiting.remove(held)
    ended = [bracket.stop_id] * bool(stop_nano and (held is not None or not bracket.guarded))
    ended += [bracket.target_id] * bool(target_nano and not bracket.sent)
    effects: list[Effect] = _cancel_others(state, bracket)
    effects += [ProposalEnded(state.now, entry.agent, id, "withdrawn", why) for id in ended]
    if bracket.left:
        symbol = entry.orders[0].symbol
        size = quantity_text(abs(bracket.left), state.universe.lot_nano[symbol])
        text = (
            f"the exits of {entry.id} of {entry.agent} have ended: {why}; {size} {state.universe.symbols[symbol]} of it"
        )
        book = book_of(state, entry)
        effects.append(
            alert(state, "WARNING", "proposal", f"{text} remain", agent=-1 if book is None else book, symbol=symbol)
        )
    return effects
