"""Documents about an outside agent: its verdicts, and its standing with positions and the test of its challenge."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from quantd.daemon.engine.agents.shadows import shadow_of
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.proposal_log import ProposalVerdict
from quantd.daemon.views.headroom import SymbolRoom
from quantd.daemon.views.limit_rows import cut_text
from quantd.daemon.views.overview import SWITCH, LimitNow, total_return
from quantd.server.requests.portfolio_answers import valued
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Promotion
from quantd.trading.instruments import MICRO, Universe
from quantd.trading.orders import money_text, price_text, quantity_text


class CutLine(Struct, frozen=True):
    """Units that a limit of `by`, the agent's book or the house, cut or refused. `reason` is the code of the limit."""

    symbol: str
    side: str
    asked: str
    allowed: str
    by: str
    reason: str
    text: str


class VerdictLine(Struct, frozen=True):
    """A proposal and what became of it in `book`, whose orders are simulated in mode `shadow`.

    `passed`: all orders passed. `cut`: limits cut or refused some or all of them, by `cuts`. `nothing`: no position had
    to change. `waits`: open orders or stops are cancelled first. `refused`: nothing was planned; `text` has the reason.
    `approval`: it waits for a person until the next sample; then it is `declined` or `lapsed`, or one of the others.
    `who` and `reason` are words of the sender, and data.
    """

    id: str
    ts: int
    time: str
    who: str
    reason: str
    book: str
    mode: str
    outcome: str
    text: str
    orders: int
    cuts: list[CutLine]
    cuts_left_out: int


class PositionOf(Struct, frozen=True):
    """A position of the book; `weight` is a fraction of its equity."""

    symbol: str
    qty: str
    price: str
    value: str
    weight: float


class ChallengeNow(Struct, frozen=True):
    """The test between a champion's and a challenger's book.

    `samples` of `needed` returns are known, and `looks` of `most_looks` tests are used. `p` and `gain` are those of
    the last test, null before it; `why` is what the last comparison at `time` lacked. A test promotes with p at most
    `alpha`.
    """

    champion: str
    challenger: str
    measure: str
    samples: int
    needed: int
    looks: int
    most_looks: int
    alpha: float
    p: float | None = None
    gain: float | None = None
    why: str = ""
    time: str = ""


class AgentStanding(Struct, frozen=True):
    """An outside agent's place in the house at `time` (market time), from which `expires` of a proposal is counted.

    In mode `shadow` its orders are simulated; in mode `trading` it decides for the real `book`. `seat` is the name of
    the policy that decides for the book: the agent itself. `room` has the largest order per symbol and side that the
    book's own limits pass; the limits of the house apply after them, while it trades.
    """

    run: str
    agent: str
    mode: str
    book: str
    seat: str
    ts: int
    time: str
    switch: str
    switch_reason: str
    house_switch: str
    equity: str
    cash: str
    total: float
    positions: list[PositionOf]
    open_orders: int
    limits: list[LimitNow]
    room: list[SymbolRoom]
    challenges: list[ChallengeNow]
    proposals_a_minute: int


def place_of_agent(state: State, name: str) -> tuple[State, int, int | None] | None:
    """(house, number of the book in it, number of the shadow or None) where an outside agent decides; None if nowhere.

    The house is that of a shadow before a promotion.
    """
    policy_number = state.rules.outside_seat(name)
    if policy_number is None:
        return None
    k = shadow_of(state, name)
    house = state if k is None else state.shadows[k]
    return (house, house.seats.index(policy_number), k) if policy_number in house.seats else None


def mode_name(shadow: bool) -> str:
    """The mode of an outside agent in words: shadow or trading."""
    return "shadow" if shadow else "trading"


def verdict_line(universe: Universe, verdict: ProposalVerdict) -> VerdictLine:
    """The row of a verdict."""
    cuts = [CutLine(by="house" if cut.house else verdict.book, **cut_text(universe, cut)) for cut in verdict.cuts]
    return VerdictLine(
        id=verdict.id,
        ts=verdict.ts,
        time=instant_text(verdict.ts),
        who=verdict.who,
        reason=verdict.reason,
        book=verdict.book,
        mode=mode_name(verdict.shadow),
        outcome=verdict.outcome,
        text=verdict.why or _words(verdict, cuts),
        orders=verdict.orders,
        cuts=cuts,
        cuts_left_out=verdict.cuts_left_out,
    )


def _words(verdict: ProposalVerdict, cuts: Sequence[CutLine]) -> str:
    match verdict.outcome:
        case "passed":
            later = f"; {verdict.cancels} open orders are cancelled, and their symbols traded later"
            return f"every order passed the limits{later if verdict.cancels else ''}"
        case "approval":
            return "a person must approve it before the next sample, else it lapses"
        case "nothing":
            return "no position has to change"
        case "waits":
            return "open orders or stops are cancelled first, and the orders follow"
        case _:
            cut_texts = [f"{c.allowed} of {c.asked} {c.symbol} pass ({c.side}; {c.by}): {c.text}" for c in cuts[:4]]
            more = len(cuts) - 4 + verdict.cuts_left_out
            return "; ".join([*cut_texts, f"and {more} more"] if more > 0 else cut_texts)


def positions_of(house: State, number: int) -> list[PositionOf]:
    """The positions of a book, after a revaluation."""
    lots = house.lots(number)
    values, weights = valued(house, number, lots)
    return [
        PositionOf(
            symbol=house.universe.symbols[k],
            qty=quantity_text(int(lots[k]), house.universe.lot_nano[k]),
            price=price_text(int(house.marks_nano[k])),
            value=money_text(round(float(values[k]) * MICRO)),
            weight=float(weights[k]),
        )
        for k in np.flatnonzero(lots).tolist()
    ]


def challenges_of(
    state: State, number: int, shadow: int | None, comparisons: Sequence[Promotion]
) -> list[ChallengeNow]:
    """The tests of a shadow with its champion, or of an agent with its challengers. `comparisons` are the past ones."""
    rules = state.rules.promotion
    if rules is None:
        return []
    challenges = []
    for k, champion in enumerate(state.rules.challenges):
        if champion < 0 or (k != shadow if shadow is not None else champion != number):
            continue
        names = state.rules.agents[champion].name, state.rules.shadows[k].agents[0].name
        pairing, promotions = state.pairings[k], [promotion for promotion in comparisons if promotion.names == names]
        last = promotions[-1] if promotions else None
        newest_look = next((promotion for promotion in reversed(promotions) if promotion.look), None)
        known_samples = pairing.known(min(state.sample_no, state.shadows[k].sample_no))
        challenges.append(
            ChallengeNow(
                champion=names[0],
                challenger=names[1],
                measure=rules.measure,
                samples=min(known_samples, rules.samples),
                needed=rules.samples,
                looks=pairing.looks,
                most_looks=rules.looks,
                alpha=rules.alpha,
                p=newest_look.p if newest_look is not None else None,
                gain=newest_look.gain if newest_look is not None else None,
                why=last.why if last is not None else "",
                time=instant_text(last.ts) if last is not None else "",
            )
        )
    return challenges


def standing_of(
    state: State, name: str, run: str, ts: int, limits: list[LimitNow], looked: Sequence[Promotion], a_minute: int
) -> AgentStanding:
    """The standing of an outside agent that has a place; headroom per symbol is added by the caller."""
    place = place_of_agent(state, name)
    assert place is not None
    house, number, shadow = place
    house.revalue()
    book, switch = house.ledger.books[number], house.agents[number].switch
    return AgentStanding(
        run=run,
        agent=name,
        mode=mode_name(shadow is not None),
        book=house.rules.agents[number].name,
        seat=state.rules.seats[house.seats[number]],
        ts=ts,
        time=instant_text(ts),
        switch=SWITCH[switch.state],
        switch_reason=switch.reason,
        house_switch=SWITCH[house.switch.state],
        equity=money_text(house.books_micro[number]),
        cash=money_text(book.cash_micro),
        total=total_return(house, number),
        positions=positions_of(house, number),
        open_orders=len(house.open_rows(number)),
        limits=limits,
        room=[],
        challenges=challenges_of(state, number, shadow, looked),
        proposals_a_minute=a_minute,
    )
