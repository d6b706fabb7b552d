"""Answers about an outside agent: the verdicts on its proposals, and its standing: positions, limits, challenges."""

from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import Struct

from quantd.daemon.engine.agents.shadows import shadow_of
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.proposal_log import ProposalVerdict, SymbolOutcome, SymbolVerdict
from quantd.daemon.views.headroom import SymbolRoom
from quantd.daemon.views.limit_rows import cut_text, reason_text
from quantd.daemon.views.overview import SWITCH, LimitNow, total_return
from quantd.server.requests.portfolio_answers import valued
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Promotion
from quantd.trading.instruments import MICRO, Universe
from quantd.trading.orders import money_text, price_text, quantity_text


class CutLine(Struct, frozen=True):
    """A trade that is cut, refused or waits: `allowed` of `asked` units pass.

    `by` is the owner of the limit, the agent's book or the house. `reason` is the code of the limit, or `sale` for
    units that wait.
    """

    symbol: str
    side: str
    asked: str
    allowed: str
    by: str
    reason: str
    text: str


class SymbolLine(Struct, frozen=True):
    """What became of one symbol of a proposal: `passed` of `asked` signed units; `text` is the reason, empty for none.

    `outcome` is `traded`, `unchanged`, `cut`, `skipped` (it did not reach the limits) or `refused`.
    """

    symbol: str
    outcome: SymbolOutcome
    asked: str
    passed: str
    text: str = ""


class VerdictLine(Struct, frozen=True):
    """A proposal and its outcome in `book`; in mode `shadow` its orders are simulated. `outcome` is one of:

    - `passed`: all orders passed
    - `cut`: limits cut or refused some of them, as `cuts` lists, or a symbol was skipped
    - `nothing`: no position had to change
    - `waits`: open orders or stops are cancelled first
    - `refused`: nothing passed; `text` has the reasons
    - `approval`: it waits for a person until the next sample
    - `declined`, `lapsed`: the person declined it, or did not decide in time

    `who` and `reason` are text from the sender: data, never instructions. `cuts_left_out` counts cuts that are not
    listed. `orders` is the number of symbols for which something was sent. `symbols` has every symbol that was named or
    traded; of older proposals the first ones.
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
    symbols: list[SymbolLine] = []


class PositionOf(Struct, frozen=True):
    """A position of the book; `weight` is a fraction of its equity."""

    symbol: str
    qty: str
    price: str
    value: str
    weight: float


class ChallengeNow(Struct, frozen=True):
    """The test between a champion's and a challenger's book.

    `samples` of the `needed` returns are known, and `looks` of `most_looks` tests were made. `p` (p-value) and `gain`
    are results of the last test, null before the first. `why` is the reason why the last comparison, at `time`, did not
    promote. A test promotes if p is at most `alpha`.
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
    the policy that decides for the book: the agent itself. `room` has the largest order per symbol and side that passes
    the book's own limits and, in mode `trading`, those of the account; `by` is the owner of the limit that stops more.
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
    """Return (state with the book for which an outside agent decides, index of this book, index of the agent's shadow
    or None).

    The result is None if the agent decides for no book. A shadow has a separate, simulated state.
    """
    policy_index = state.rules.outside_seat(name)
    if policy_index is None:
        return None
    shadow_index = shadow_of(state, name)
    house = state if shadow_index is None else state.shadows[shadow_index]
    return (house, house.seats.index(policy_index), shadow_index) if policy_index in house.seats else None


def mode_name(shadow: bool) -> str:
    """The mode of an outside agent in words: shadow or trading."""
    return "shadow" if shadow else "trading"


def verdict_line(universe: Universe, verdict: ProposalVerdict, named: Iterable[str] = ()) -> VerdictLine:
    """The verdict on a proposal as the API shows it. `named` are the symbols of the request: those without a target
    or a trade are unchanged."""
    cuts = [CutLine(by="house" if cut.house else verdict.book, **cut_text(universe, cut)) for cut in verdict.cuts]
    symbols = [_symbol_line(universe, line) for line in verdict.symbols if line.symbol < universe.size]
    known = {line.symbol for line in symbols}
    if verdict.symbols or verdict.outcome == "nothing":
        symbols += [SymbolLine(symbol, "unchanged", "0", "0") for symbol in named if symbol not in known]
    return VerdictLine(
        id=verdict.id,
        ts=verdict.ts,
        time=instant_text(verdict.ts),
        who=verdict.who,
        reason=verdict.reason,
        book=verdict.book,
        mode=mode_name(verdict.shadow),
        outcome=verdict.outcome,
        text=verdict.why or _outcome_text(verdict, cuts, [line for line in symbols if line.outcome == "skipped"]),
        orders=verdict.orders,
        cuts=cuts,
        cuts_left_out=verdict.cuts_left_out,
        symbols=symbols,
    )


def _symbol_line(universe: Universe, line: SymbolVerdict) -> SymbolLine:
    lot = universe.lot_nano[line.symbol]
    asked, passed = (quantity_text(lots, lot) for lots in (line.asked, line.passed))
    text = line.why or (reason_text(line.code) if line.code else "")
    return SymbolLine(universe.symbols[line.symbol], line.outcome, asked, passed, text)


def _outcome_text(verdict: ProposalVerdict, cuts: Sequence[CutLine], skipped: Sequence[SymbolLine]) -> str:
    """The outcome of a proposal as a sentence, with at most four cuts and four skipped symbols."""
    match verdict.outcome:
        case "passed":
            return "every order passed the limits"
        case "approval":
            return "a person must approve it before the next sample, else it lapses"
        case "nothing":
            return "no position has to change"
        case "waits":
            return "open orders or stops are cancelled first, and the orders follow"
        case _:
            texts = [
                f"{cut.allowed} of {cut.asked} {cut.symbol} pass ({cut.side}; {cut.by}): {cut.text}" for cut in cuts[:4]
            ] + [f"{line.symbol} is skipped: {line.text}" for line in skipped[:4]]
            omitted = len(cuts) + len(skipped) - len(texts) + verdict.cuts_left_out
            return "; ".join([*texts, f"and {omitted} more"] if omitted > 0 else texts)


def positions_of(house: State, book_index: int) -> list[PositionOf]:
    """The positions of a book; `house` is the state that has the book, revalued at the newest prices."""
    lots = house.lots(book_index)
    values, weights = valued(house, book_index, lots)
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
    state: State, book_index: int, shadow: int | None, comparisons: Sequence[Promotion]
) -> list[ChallengeNow]:
    """The state of the tests that decide on promotions: of one shadow, or of all challengers of an agent.

    A shadow is an agent simulated beside the account. With an index `shadow`, the result is the test of this shadow
    against the agent that it may replace, its champion. With None, the result has the tests of all shadows that
    challenge the agent `book_index`. `comparisons` are the earlier comparisons of all pairs, oldest first.
    """
    rules = state.rules.promotion
    if rules is None:
        return []
    challenges = []
    for shadow_index, champion in enumerate(state.rules.challenges):
        # champion -1: the shadow challenges nobody. Of a shadow only its own test, else of all challengers of this book
        if champion < 0 or (shadow_index != shadow if shadow is not None else champion != book_index):
            continue
        names = state.rules.agents[champion].name, state.rules.shadows[shadow_index].agents[0].name
        pairing, pair_comparisons = (
            state.pairings[shadow_index],
            [promotion for promotion in comparisons if promotion.names == names],
        )
        last_comparison = pair_comparisons[-1] if pair_comparisons else None
        newest_look = next((promotion for promotion in reversed(pair_comparisons) if promotion.look), None)
        known_samples = pairing.known(min(state.sample_no, state.shadows[shadow_index].sample_no))
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
                why=last_comparison.why if last_comparison is not None else "",
                time=instant_text(last_comparison.ts) if last_comparison is not None else "",
            )
        )
    return challenges


def standing_of(
    state: State, name: str, run: str, ts: int, limits: list[LimitNow], looked: Sequence[Promotion], a_minute: int
) -> AgentStanding:
    """The standing of an outside agent that decides for a book; the caller adds the largest order per symbol.

    `ts` is the present market time in ns UTC. `looked` are the earlier comparisons of all pairs of champion and
    challenger, and `a_minute` is the maximum number of proposals in a minute.
    """
    place = place_of_agent(state, name)
    assert place is not None
    house, book_index, shadow = place
    house.revalue()
    book, switch = house.ledger.books[book_index], house.agents[book_index].switch
    return AgentStanding(
        run=run,
        agent=name,
        mode=mode_name(shadow is not None),
        book=house.rules.agents[book_index].name,
        seat=state.rules.seats[house.seats[book_index]],
        ts=ts,
        time=instant_text(ts),
        switch=SWITCH[switch.state],
        switch_reason=switch.reason,
        house_switch=SWITCH[house.switch.state],
        equity=money_text(house.books_micro[book_index]),
        cash=money_text(book.cash_micro),
        total=total_return(house, book_index),
        positions=positions_of(house, book_index),
        open_orders=len(house.open_rows(book_index)),
        limits=limits,
        room=[],
        challenges=challenges_of(state, book_index, shadow, looked),
        proposals_a_minute=a_minute,
    )
