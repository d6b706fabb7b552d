"""Why an order does not pass whole: the limit, its owner, its value with the order asked, and the largest that passes.

What can go wrong: a client shows the message of an answer and nothing else, so that a program that is refused without
figures tries sizes by chance. The largest order is that of the plan in the journal. The value of the limit is computed
for the order asked, which no plan has: a plan has the value of the part that would pass.
"""

from collections.abc import Sequence
from typing import Final

from quantd.daemon.engine.agents.proposals import lots_of
from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force, market_context
from quantd.daemon.engine.planning.rests import weighed
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.proposal_log import LotCut, cuts_of, plans_of
from quantd.risk.limits.catalogue import FLOORS, LIMIT_OF
from quantd.risk.limits.values import standing
from quantd.trading.effects import Effect
from quantd.trading.orders import Wish

REASONS: Final = {int(reason): key for reason, key in LIMIT_OF.items()}
"""Reason code -> the limit's key; other causes of a cut have none."""

INSTEAD: Final = {
    "trailing_stop": "send a stop order, and replace its stop_price as the price moves",
    "ioc": "send a day order, and cancel what is not filled",
    "fok": "send a day order, and cancel what is not filled",
    "opg": "send a day order while the market is closed",
    "cls": "send a day order before the close",
    "oco": "send a stop order, and take profit by closing the position at the market, which ends the stop order",
}  # fmt: skip
"""Type, time in force or class of an order that is not supported -> what to send instead."""


def instead(asked: str) -> str:
    """The end of a refusal of a type, time in force or class: what to send instead, if that is known."""
    return f"; {INSTEAD[asked]}" if asked in INSTEAD else ""


def cuts(effects: Sequence[Effect], wish: Wish) -> list[tuple[int, LotCut]]:
    """(agent, or -1 for the account, cut) of the plan of a refused order."""
    return [cut for plan in plans_of(effects) for cut in cuts_of(plan) if cut[1].symbol == wish.symbol]


def largest(effects: Sequence[Effect], wish: Wish) -> int:
    """The signed lots of the largest order that would pass in place of a refused one; 0 where none would."""
    return min((cut.allowed for _, cut in cuts(effects, wish)), key=abs, default=0)


def figures(state: State, effects: Sequence[Effect], wish: Wish) -> str:
    """The values of the limits that refused an order, as they would be with the whole order; empty where a limit has
    no value."""
    if state.counting and state.now >= state.activity.session_end:
        return ""  # a session has begun since: the account would count its orders anew, which only a step may do
    texts = []
    for owner, cut in cuts(effects, wish):
        key = REASONS.get(cut.code, "")
        account, limits = account_of(state, owner), limits_in_force(state, owner)
        asked = weighed(state, account, lots_of((wish,), state.universe.size), (wish,))
        values = standing(market_context(state), account, limits, asked)
        broken = [
            (value, bound)
            for name, (value, bound) in values.items()
            if name.partition(".")[0] == key and (value < bound if key in FLOORS else value > bound)
        ]
        if broken:
            value, bound = max(broken, key=lambda pair: abs(pair[0] - pair[1]))
            who = "the account" if owner < 0 else state.rules.agents[owner].name
            texts.append(f"with the whole order {key} of {who} would be {_short(value, bound)}, bound {bound:.6g}")
    return "; ".join(dict.fromkeys(texts))


def _short(value: float, bound: float) -> str:
    """A value with as few digits as tell it from its bound."""
    return next((text for digits in (4, 6, 9) if (text := f"{value:.{digits}g}") != f"{bound:.{digits}g}"), f"{value}")
