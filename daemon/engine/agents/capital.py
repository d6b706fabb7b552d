"""Reallocation of capital between agents: scheduled, by the configured method, and once for agents that are new in a
carried account.

Free cash moves at once, as exact flows between books, without profit or loss. An agent owes the rest: it plans with
less capital, sells, and pays at the next samples.

What can go wrong: an agent pays with cash that its open purchases need. So it pays from its free cash only. The parts
are integers with an exact sum, so that no micro-currency is lost between books.

What each agent owes is recorded before cash moves and sales are planned: both read it. An agent that decides now sells
by its own decision, which sees less capital. An agent whose parent orders are in progress sells nothing until they end.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from quantd.daemon.engine.planning.plan import plan
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.safety.monitor import watch_plan
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.capital_shares import CapitalRules, amounts, stepped, wanted
from quantd.daemon.engine.venue.account import free_micro
from quantd.risk.switch import HALT, flow
from quantd.trading.effects import Effect, Reallocated
from quantd.trading.instruments import MICRO
from quantd.trading.ledger.shares import share
from quantd.trading.statistics import volatility

SELL: Final = "carried"
"""Name of the job that sells, at the first sample of a carried account, for its new agents; and of their method."""


def reallocate(state: State, due: frozenset[int]) -> list[Effect]:
    """At a sample, set target shares, move cash, and sell for agents that owe capital and are not `due` to decide.

    `owed` is by agent in micro-currency: positive for capital to hand over, negative for capital to receive.
    `watch.realised` has the returns of the whole account at index 0, and those of agent k at k + 1.
    """
    rules = state.rules.capital
    if rules is None:
        return []
    agents, names = rules.agents, [state.rules.agents[k].name for k in rules.agents]
    equities_micro = [max(state.books_micro[k], 0) for k in agents]
    if sum(equities_micro) <= 0:
        return []
    present_shares = [equity / sum(equities_micro) for equity in equities_micro]
    realised = [state.watch.realised[k + 1] for k in agents]
    returns, risk_free = [series.returns() for series in realised], [series.risk_free_annual() for series in realised]
    decision = wanted(rules, returns, names, market_volatility(state, rules), risk_free)
    if not decision.shares:
        return [alert(state, "INFO", "capital", f"capital stays where it is: {decision.why}")]
    target = stepped(present_shares, decision.shares, rules.max_step)
    state.owed = [0] * len(state.agents)
    for k, equity, amount in zip(agents, equities_micro, amounts(sum(equities_micro), target), strict=True):
        state.owed[k] = equity - amount
    moved = _move_free_cash(state)
    moves = ", ".join(
        f"{name} {before:.1%} to {after:.1%}" for name, before, after in zip(names, present_shares, target, strict=True)
    )
    unsold = sum(amount for amount in state.owed if amount > 0)
    pending_text = f"; {unsold / MICRO:,.2f} follows once it is sold" if unsold else ""
    effects: list[Effect] = [
        Reallocated(state.now, rules.method, decision.why, moved, list(state.owed), list(present_shares), list(target)),
        alert(state, "INFO", "capital", f"capital by {rules.method}: {moves}{pending_text} ({decision.why})"),
    ]
    return [*effects, *sell_for_debts(state, due)]


def owe(state: State, lacking: dict[int, int]) -> list[Effect]:
    """Let the agents of a carried account that are above their shares owe its new agents what these lack.

    `lacking` has the missing capital by index of the agent, in micro-currency. Each agent owes in proportion to its
    equity above its share. Its free cash moves at once, and for the rest it sells at the first sample.
    """
    names, cash_micro = [rules.name for rules in state.rules.agents], state.rules.cash_micro
    above = {
        k: state.books_micro[k] - rules.capital_micro * state.equity_micro // cash_micro
        for k, rules in enumerate(state.rules.agents)
        if k not in lacking and not rules.place
    }
    above = {k: amount for k, amount in above.items() if amount > 0}
    missing = sum(lacking.values())
    funded = min(missing, sum(above.values()))
    text = f"{', '.join(names[k] for k in lacking)} lacks {missing / MICRO:,.2f} of capital"
    if not funded:
        return [alert(state, "WARNING", "capital", f"{text}, and no agent is above its share; `quantd cash add` pays")]
    state.owed = [0] * len(state.agents)
    for sign, weights in ((1, above), (-1, lacking)):
        for k, amount in share(funded, list(weights.items())):
            state.owed[k] = sign * amount
    owing = ", ".join(f"{names[k]} {state.owed[k] / MICRO:,.2f}" for k in above)
    moved = _move_free_cash(state)
    if unsold := sum(amount for amount in state.owed if amount > 0):
        state.later.add(SELL)
    text += f", which agents above their shares owe: {owing}; {unsold / MICRO:,.2f} of it follows once it is sold"
    if funded < missing:
        text += f"; {(missing - funded) / MICRO:,.2f} is above no share and stays missing: `quantd cash add` pays"
    return [alert(state, "INFO", "capital", text), Reallocated(state.now, SELL, text, moved, list(state.owed))]


def settle(state: State) -> list[Effect]:
    """At a sample, move cash that has become free towards the agents that wait for capital."""
    rules = state.rules.capital
    if not any(state.owed) or not any(moved := _move_free_cash(state)):
        return []
    return [Reallocated(state.now, SELL if rules is None else rules.method, "", moved, list(state.owed))]


def market_volatility(state: State, rules: CapitalRules) -> float:
    """Return the annual volatility of the benchmark (without one, of the whole account) over the lookback; NaN while
    unknown."""
    if rules.benchmark < 0:
        returns = state.watch.realised[0].returns()[-rules.lookback :]
    else:
        ring = state.history.known  # the newest samples of all symbols; n + 1 samples have n returns
        returns = (
            ring.returns(min(rules.lookback, ring.count - 1))[:, rules.benchmark] if ring.count > 1 else np.empty(0)
        )
        returns = returns[np.isfinite(returns)]
    # a shorter lookback needs all its returns, a longer one at least 20
    return volatility(returns) if len(returns) >= min(rules.lookback, 20) else float("nan")


def _move_free_cash(state: State) -> list[int]:
    """Move free cash of agents that owe capital to those that wait for it, in proportion to what each is due.

    Returns what each agent receives in micro-currency, negative for what it pays, with sum 0. `owed` is positive for
    capital to hand over, negative for capital to receive.
    """
    owed = state.owed
    moved = [0] * len(owed)
    for k, amount in enumerate(owed):
        if amount > 0:
            moved[k] = -min(amount, free_micro(state, k))
    paid = -sum(moved)
    if not paid:
        return moved
    for k, received in share(paid, [(k, -amount) for k, amount in enumerate(owed) if amount < 0]):
        moved[k] = received
    state.ledger.transfer(moved)
    for k, amount in enumerate(moved):
        if amount:
            owed[k] += amount
            flow(state.agents[k].switch, amount, state.books_micro[k])
            state.watch.realised[k + 1].moved(amount)  # the house is at 0
    state.booked()
    state.revalue()
    return moved


def sell_for_debts(state: State, due: frozenset[int]) -> Sequence[Effect]:
    """Reduce the positions of each agent that owes capital: it keeps its weights, on less capital.

    Agents that are `due` to decide are omitted: their own decision plans with less capital. So are agents with parent
    orders in progress. Nothing is sold during a halt or a flatten (the closing of all positions).
    """
    if state.switch.state == HALT or state.flattening:
        return ()
    busy = {parent.agent for parent in state.parents}
    answers = {
        k: state.held_weights(k).tobytes()
        for k, amount in enumerate(state.owed)
        if amount > 0 and k not in due and k not in busy and any(state.ledger.books[k].lots)
    }
    return plan(state, answers, watch=watch_plan, sample=state.sample) if answers else ()
