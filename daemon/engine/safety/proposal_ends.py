"""Ends of proposals that send no order: what must pass whole and does not, and what waited in vain."""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from msgspec.structs import replace

from quantd.daemon.engine.planning.targets import scaled_out
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.causes import OF_CODE
from quantd.daemon.engine.state.proposal_log import cuts_by_scale, cuts_of, plans_of
from quantd.trading.effects import Effect, ProposalEnded
from quantd.trading.orders import quantity_text

PAUSE_NS: Final = 60 * 10**9
"""Shortest time between two alerts about the orders of one program."""


def nothing_passes(effects: Sequence[Effect]) -> bool:
    """Whether the limits let nothing of a plan pass: no order, no parent order, and no cross with another agent."""
    plans = plans_of(effects)
    return bool(plans) and not any(
        planned.n or planned.portion is not None or np.frombuffer(planned.crossed, np.int64).any() for planned in plans
    )


def refused_whole(state: State, effects: Sequence[Effect]) -> str:
    """Why nothing of a plan was sent that must pass whole, with the largest orders that would pass; empty where it was
    sent, or waits."""
    plans = plans_of(effects)
    if not plans or any(planned.n for planned in plans):
        return ""
    universe, texts = state.universe, []
    by_scale = [
        (part.agent, cut)
        for planned in plans
        for part in planned.agents
        if part.scale < 1.0
        for cut in cuts_by_scale(scaled_out(state, part.agent, np.frombuffer(part.weights), part.scale), [planned])
    ]
    for who, cut in [*by_scale, *(cut for planned in plans for cut in cuts_of(planned))]:
        lot, owner = universe.lot_nano[cut.symbol], "the account" if who < 0 else state.rules.agents[who].name
        asked, allowed = (quantity_text(abs(lots), lot) for lots in (cut.asked, cut.allowed))
        symbol, why = universe.symbols[cut.symbol], OF_CODE[cut.code].text
        texts.append(f"at most {allowed} of {asked} {symbol} would pass now: {why} ({owner})")
    return "; ".join(texts) or "no limit was asked"


def end_late(
    state: State, agent: str, id: str, outcome: Literal["declined", "lapsed", "refused"], why: str
) -> list[Effect]:
    """Record the end of a proposal that waited and sent no order, in the log of its verdicts and as an effect."""
    log = state.outside.get(agent)
    verdict = None if log is None else log.find(id)
    if log is not None and verdict is not None:
        log.settle(replace(verdict, outcome=outcome, why=why))
    return [ProposalEnded(state.now, agent, id, outcome, why)]


def count_orders(state: State, sender: str, sent: bool) -> list[Effect]:
    """Count an order of a program; returns at most one alert a minute about those since the last alert.

    A program sends thousands, and each alert of its own would hide all others. The journal has each order.
    """
    log = state.outside[sender]
    log.orders = log.orders[0] + sent, log.orders[1] + (not sent), log.orders[2]
    return report_orders(state, sender)


def report_orders(state: State, sender: str) -> list[Effect]:
    """An alert about the counted orders of a program, unless the last one is less than a minute old.

    Each tick calls it, so that the last orders of a burst are told without a further order.
    """
    log = state.outside[sender]
    passed, refused, since = log.orders
    if since > 0 and state.now < since + PAUSE_NS:
        return []
    log.orders = 0, 0, state.now
    return [alert(state, "INFO", "proposal", f"orders of {sender}: {passed} sent, {refused} refused")]
