"""Proposals for one book: targets from outside, from the body of a request to the event of the engine.

A book is that of a portfolio or of an outside agent. Its targets are weights or orders of the request, or the weights
of a shipped policy or of an agent.

What can go wrong: a policy is foreign code. It may raise any error, decide to hold, or return weights that no book may
have. Then nothing is traded, and the text of the error names the field at fault with the remedy. The weights of every
source are checked last: they must be finite, negative only if limits allow it, and add up to at most 1.

A policy reads a copy of the state.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from math import isfinite
from typing import Annotated, ClassVar, Final

import numpy as np
from msgspec import Meta, Struct

from quantd.daemon.engine.agents.proposals import waiting_for
from quantd.daemon.engine.agents.shadows import place_of_book
from quantd.daemon.engine.rounds import view_of
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.proposal_log import ProposalVerdict, targets_bytes
from quantd.daemon.runtime.service import Service
from quantd.risk.switch import HALT
from quantd.server.requests.control import (
    Because,
    NotDone,
    check_priced,
    check_ready,
    exact_amount,
    journal_reason,
    market_now,
)
from quantd.strategies.policies import PASSIVE, POLICIES, ParamsError
from quantd.strategies.policies.members import unpacked
from quantd.strategies.policies.membership import part_of
from quantd.trading.display_text import instant_text, some
from quantd.trading.events import Proposed
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats
from quantd.trading.orders import THE_DAY, UNTIL_CANCELLED, Wish, price_text, quantity_text
from quantd.trading.view import EMPTY_MEMORY, Hold, PartView

ROUNDING: Final = 1e-9
"""How much a sum of weights may exceed 1, because floats are rounded."""

PREVIEWED: Final = "(preview)"
"""Id of the event in a preview. No proposal can have it, since an id has no brackets."""

Weights = Annotated[
    dict[str, float],
    Meta(
        description="Weight of each symbol, a fraction of the book's equity; the rest is cash. A symbol that is left "
        "out is sold, as with 0."
    ),
]
Until = Annotated[
    str,
    Meta(description="`day`, `cancelled` (it rests until then), or a market time; empty: as other orders."),
]


class OrderAsked(Struct, frozen=True, forbid_unknown_fields=True):
    """An order at `limit` or better, and never beyond the collar; `stop` and `target` protect the whole position.

    With `trigger` it is a stop order: the daemon holds it until a bar closes at this price or beyond it, above for a
    purchase and below for a sale.
    """

    units: str
    limit: str = ""
    until: Until = ""
    stop: str = ""
    target: str = ""
    trigger: str = ""


Orders = Annotated[
    dict[str, str | OrderAsked],
    Meta(
        description='Signed units by symbol as text, {"SPY": "-12"}, beside the open orders; or with a price of their '
        'own: {"SPY": {"units": "12", "limit": "95.50"}}.'
    ),
]
Whole = Annotated[bool, Meta(description="Nothing is sent unless all of it passes.")]
PolicyName = Annotated[str, Meta(description="A policy that computes the weights of `symbols` from the run's history.")]
Source = Annotated[str, Meta(description="An agent of the run, whose weights are taken.")]
Id = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9._:-]{1,64}(?!\n)$",
        description="1 to 64 letters, digits, . _ : and -; used once per book.",
    ),
]
Expires = Annotated[
    str,
    Meta(
        pattern=r"^[^\u0000-\u001f]*(?!\n)$",
        description="Market time after which it is refused: 2019-03-29T20:00:00Z; empty: never.",
    ),
]
PlanDigest = Annotated[
    str,
    Meta(pattern=r"^[0-9a-f]{0,32}(?!\n)$", description="`plan` of a preview: refused if the orders would differ now."),
]
Symbols = Annotated[tuple[str, ...], Meta(description="Symbols for `policy`, or a restriction of `agent`.")]


def _wrong(field: str, text: str) -> NotDone:
    """The refusal of targets that cannot be used; `field` is the field of the request at fault, `text` the remedy."""
    return NotDone("targets", text, field)


class Targets(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Targets for a book: one of `weights`, `orders`, `policy` with `symbols`, and `agent`.

    `symbols` alone have equal weights.
    """

    instead: ClassVar[str] = (
        "a limit price, an end and protective prices belong to an order: "
        'orders = {"SPY": {"units": "12", "limit": "95.50", "until": "day"}}; there is no side or order type; '
        "`preview` is the dry run, and the book is that of the path"
    )
    weights: Weights = {}
    orders: Orders = {}
    policy: PolicyName = ""
    agent: Source = ""
    symbols: Symbols = ()
    whole: Whole = False


class Propose(Targets, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Targets to trade. The same id with the same fields, whatever the reason, is answered with the first verdict."""

    id: Id
    reason: Because
    expires: Expires = ""
    plan: PlanDigest = ""


def known_place(state: State, name: str) -> tuple[State, int, int | None]:
    """Return `place_of_book`. Raises NotDone for a name that is neither an open portfolio nor an outside agent."""
    if (place := place_of_book(state, name)) is not None:
        return place
    outside = ", ".join(state.rules.seats[number] for number in state.rules.outside)
    portfolios = ", ".join(sorted(portfolio.name for portfolio in state.portfolios.values()))
    text = f"there is no outside agent and no open portfolio {name[:40]!r}"
    raise NotDone("agent", f"{text}; the outside agents are {outside or 'none'}, the portfolios {portfolios or 'none'}")


def proposer(state: State, name: str) -> str:
    """The name in the events of proposals, by which the state keeps their verdicts: of an outside agent, or of the
    place of a portfolio."""
    house, book_index, _ = known_place(state, name)
    return house.rules.agents[book_index].name if book_index in house.portfolios else name


def proposed(
    service: Service, state: State, name: str, asked: Targets, sender: str, decided: Mapping[str, float]
) -> Proposed:
    """Return the event of targets for the book of `name` in a state; without an id, that of a preview.

    `decided` has the weights of `asked.agent` by symbol. Raises NotDone.
    """
    check_ready(service)
    check_priced(state)
    now, id, reason, plan, expires = market_now(service), PREVIEWED, "preview", "", 0
    if isinstance(asked, Propose):
        id, reason, plan, expires = (
            asked.id,
            journal_reason(asked.reason, "a proposal"),
            asked.plan,
            _instant(asked.expires, "expires"),
        )
    house, book_index, _ = known_place(state, name)
    weights, orders, basis = targets_of(house, book_index, asked, decided)
    # a place may have another portfolio by the time of the event
    portfolio = name if book_index in house.portfolios else ""
    agent = proposer(state, name)
    whole = asked.whole
    return Proposed(now, agent, id, reason, sender, weights, orders, expires, basis, plan, portfolio, whole)


def earlier_verdict(state: State, proposal: Proposed) -> ProposalVerdict | None:
    """The verdict on an earlier proposal with the same id; None for a new id.

    Raises NotDone if the earlier proposal had other targets or conditions, or was refused before it was planned.
    """
    log = state.outside.get(proposal.agent)
    if log is None or proposal.id not in log.ids:
        return None
    verdict = log.find(proposal.id)
    if verdict is None or verdict.targets != targets_bytes(proposal):
        what = "and its verdict is no longer remembered" if verdict is None else "with other fields"
        raise NotDone("duplicate", f"the id {proposal.id} was used earlier {what}; choose a new id")
    if verdict.outcome == "refused" and verdict.why:
        raise NotDone("refused", refused_text(verdict.id) + verdict.why)
    return verdict


def waiting_proposal(state: State, agent: str, id: str) -> Proposed:
    """Return the proposal `id` of an agent that waits for a person. Raises NotDone if it does not wait."""
    known_place(state, agent)
    proposal = waiting_for(state, agent, id)
    if proposal is None:
        log = state.outside.get(agent)
        verdict = None if log is None else log.find(id)
        became = "it was decided, replaced or has lapsed" if verdict is None else f"it {verdict.outcome}: {verdict.why}"
        text = f"no proposal {id!r} of {agent} waits for a person: {became}"
        raise NotDone("conflict", text)
    return proposal


def refused_text(id: str, service: Service | None = None, name: str = "") -> str:
    """The beginning of the error message about a refused proposal `id`; the reason follows.

    With a service it names who halted the account or the book of `name`, with the reason given.
    """
    halts = ""
    if service is not None:
        state, causes = service.shell.state, service.histories.causes
        house, book_index, _ = known_place(state, name)
        switches = {"": state.switch, house.rules.agents[book_index].name: house.agents[book_index].switch}
        halt_causes = [causes.of(owner) for owner, switch in switches.items() if switch.state == HALT]
        halts = "".join(
            f"{halt.who or 'quantd'} gave the reason {halt.text!r}; " for halt in halt_causes if halt is not None
        )
    return f"the proposal {id} was refused: {halts}"


def _instant(text: str, field: str) -> int:
    """Return the instant in the text of a `field`, in ns UTC; 0 for empty text.

    Raises NotDone for text that is no instant with a zone.
    """
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None or not 1970 < moment.year < 2262:  # later instants in ns exceed 64 bits
            raise ValueError
        return round(moment.timestamp() * 1e6) * 1000
    except (ValueError, OverflowError):
        named = "day, cancelled or " if field == "until" else ""
        fault = f"{field} = {text[:40]!r} is not an instant with its zone; write {named}2019-03-29T20:00:00Z"
        raise NotDone("expires" if field == "expires" else "targets", fault, field) from None


def targets_of(
    state: State, book_index: int, asked: Targets, decided: Mapping[str, float]
) -> tuple[bytes, tuple[Wish, ...], str]:
    """Return (weights float64[N] or empty, orders, name of the source of the weights).

    N is the number of symbols of the universe. `decided` has the weights of `asked.agent` by symbol. Raises
    NotDone unless the request has exactly one source, and if that source has no targets that the book may have.
    """
    sources = [field for field in ("weights", "orders", "policy", "agent") if getattr(asked, field)]
    if not sources and asked.symbols:
        return policy_weights(state, book_index, "equal_weight", asked.symbols).tobytes(), (), "equal_weight"
    if len(sources) != 1:
        text = f"the targets are {' and '.join(sources) or 'missing'}; send one of weights, orders, policy and agent"
        raise _wrong(sources[-1] if sources else "weights", f"{text} (a weight of 0 sells a position)")
    if asked.symbols and sources[0] in ("weights", "orders"):
        text = f"both {sources[0]} and symbols were sent; {sources[0]} name their symbols, so leave symbols out"
        raise _wrong("symbols", text)
    match sources[0]:
        case "weights":
            return given_weights(state, book_index, asked.weights).tobytes(), (), "weights"
        case "orders":
            return b"", given_orders(state, book_index, asked.orders), ""
        case "policy":
            return policy_weights(state, book_index, asked.policy, asked.symbols).tobytes(), (), asked.policy
        case _:
            return agent_weights(state, book_index, decided, asked.symbols).tobytes(), (), asked.agent


def given_orders(state: State, book_index: int, orders: Mapping[str, str | OrderAsked]) -> tuple[Wish, ...]:
    """Return orders by symbol, which are signed units as text or have terms, in the order of the universe.

    Raises NotDone for an unknown symbol, for a quantity that is no whole number of lots, and for a price or an end that
    cannot be.
    """
    columns_of(state, tuple(orders), "orders")
    wishes = []
    for symbol, asked in orders.items():
        try:
            wishes.append(wish_of(state, book_index, symbol, OrderAsked(asked) if isinstance(asked, str) else asked))
        except NotDone as why:
            raise _wrong("orders", f"{symbol}: {why}") from None
    return tuple(sorted(wishes, key=lambda wish: wish.symbol))


def wish_of(state: State, book_index: int, symbol: str, asked: OrderAsked) -> Wish:
    """Return the order of a request in `symbol` for a book. Raises NotDone."""
    column = state.universe.index[symbol]
    lot = state.universe.lot_nano[column]
    nano = exact_amount(asked.units[asked.units[:1] in ("+", "-") :][:40], NANO, "quantity", "10 or 0.25")
    lots, remainder = divmod(nano, lot)
    if remainder:
        text = f"{asked.units[:40]} {symbol} is not whole lots; write a multiple of {quantity_text(1, lot)}"
        raise NotDone("conflict", text)
    signed_lots = -lots if asked.units.startswith("-") else lots
    limit_nano = exact_amount(asked.limit, NANO, "price of a limit", "95.50") if asked.limit else 0
    trigger_nano = exact_amount(asked.trigger, NANO, "price of a trigger", "95.50") if asked.trigger else 0
    if why := uncovered(state, book_index, column, signed_lots):
        raise NotDone("conflict", why)
    levels = exit_levels(state, book_index, column, signed_lots, asked.stop, asked.target)
    return Wish(column, signed_lots, limit_nano, end_of(asked.until), *levels, trigger_nano=trigger_nano)


def may_short(state: State, book_index: int) -> bool:
    """Whether a book may hold short positions: its limits and those of the account both allow them."""
    return state.rules.agents[book_index].limits.allow_short and state.rules.house.allow_short


def uncovered(state: State, book_index: int, column: int, lots: int) -> str:
    """Why an order of signed `lots` would leave a short position that the limits do not allow; empty if it would not.

    The gate alone would let it pass where another book of the account holds the symbol; where none does, the gate cuts
    the order to what the book holds, and says so.
    """
    held, lot = state.ledger.books[book_index].lots[column], state.universe.lot_nano[column]
    in_others = sum(book.lots[column] for book in state.ledger.books) - held
    if lots >= 0 or held + lots >= 0 or in_others <= 0 or may_short(state, book_index):
        return ""
    return f"the limits allow no short position, and the book holds {quantity_text(held, lot)}; sell at most that"


def wish_text(wish: Wish, lot_nano: int) -> str:
    """An order that waits, as text: 12 at 95.50 until cancelled, stop 90."""
    ends = {0: "", THE_DAY: " for the day", UNTIL_CANCELLED: " until cancelled"}
    levels = (("stop", wish.stop_nano), ("target", wish.target_nano))
    return "".join((
        quantity_text(wish.lots, lot_nano),
        f" from {price_text(wish.trigger_nano)} on" if wish.trigger_nano else "",
        f" at {price_text(wish.limit_nano)}" if wish.limit_nano else "",
        ends[wish.end] if wish.end in ends else f" until {instant_text(wish.end)}",
        *(f", {name} {price_text(nano)}" for name, nano in levels if nano),
    ))  # fmt: skip


def exit_levels(state: State, book: int, column: int, lots: int, stop: str, target: str) -> tuple[int, int]:
    """(Stop, target) of an order as prices in nano-currency, 0 for none.

    `stop` and `target` are prices as text, empty for none; `lots` are the signed lots of the order. Raises NotDone for
    a price on the wrong side of the market price, and for an order that opens no position.
    """
    if not (stop or target):
        return 0, 0
    symbol, mark = state.universe.symbols[column], int(state.marks_nano[column])
    lots_after = state.ledger.books[book].lots[column] + lots
    if lots_after * lots <= 0:
        raise NotDone("conflict", f"this order closes {symbol}, so a stop or target has no position; leave them out")
    prices_nano = []
    # the stop of a purchase is below the price and its target above it; of a sale the other way round
    for name, text, below in (("stop", stop, lots > 0), ("target", target, lots < 0)):
        nano = exact_amount(text, NANO, f"price of a {name}", "95.50") if text else 0
        if nano and (nano >= mark if below else nano <= mark):
            where = "below" if below else "above"
            raise NotDone(
                "conflict", f"{name} {text} is not {where} the price of {symbol}, {price_text(mark)}; correct it"
            )
        prices_nano.append(nano)
    return prices_nano[0], prices_nano[1]


def end_of(until: str) -> int:
    """Return the end of an order from its text: `day`, `cancelled`, an instant, or empty. Raises NotDone."""
    named = {"": 0, "day": THE_DAY, "cancelled": UNTIL_CANCELLED}
    return named[until] if until in named else _instant(until, "until")


def columns_of(state: State, symbols: Sequence[str], field: str) -> tuple[int, ...]:
    """Return the columns of symbols, ascending. Raises NotDone for an empty list, and for an unknown symbol."""
    universe = state.universe
    if not symbols:
        raise _wrong(field, f"{field} names no symbol; name some of {some(universe.symbols, 24)}")
    if twice := next((symbol for symbol in symbols if symbols.count(symbol) > 1), ""):
        raise _wrong(field, f"{field} names {twice[:40]} twice; name each symbol once")
    for symbol in symbols:
        if symbol not in universe.index:
            raise _wrong(
                field,
                f"{symbol[:40]!r} is not in the universe of this run, {some(universe.symbols, 24)}. "
                f"{remedy_of(symbol, state)}",
            )
    return tuple(sorted({universe.index[symbol] for symbol in symbols}))


def given_weights(state: State, book_index: int, weights: Mapping[str, float]) -> Floats:
    """Return weights by symbol as float64[N], 0 for the other symbols.

    Raises NotDone for an unknown symbol, and for weights that no portfolio may have (`_permitted`).
    """
    columns_of(state, tuple(weights), "weights")
    targets = np.zeros(state.universe.size)
    for symbol, weight in weights.items():
        if not isfinite(weight):
            raise _wrong("weights", f"the weight of {symbol} is not a finite number; correct it")
        targets[state.universe.index[symbol]] = weight
    return _permitted(state, book_index, targets, "weights")


def policy_weights(state: State, book_index: int, policy: str, symbols: Sequence[str]) -> Floats:
    """Return the weights float64[N] of a registered policy for these symbols over the run's history.

    Raises NotDone for an unknown policy or symbol, a policy that needs parameters or more history, a policy that
    raises an error or answers "hold", and weights that no portfolio may have (`_permitted`).
    """
    names = sorted(name for name in POLICIES if name not in PASSIVE)
    if policy in PASSIVE or policy not in POLICIES:
        raise _wrong("policy", f"{policy[:40]!r} is no policy that computes weights; write one of {some(names, 24)}")
    columns = columns_of(state, symbols, "symbols")
    try:
        instance = POLICIES[policy]({})
    except ParamsError as why:
        raise _wrong("policy", f"{policy} needs parameters: {why}. Name an agent that runs it instead") from None
    if instance.lookback > state.rules.lookback:
        raise _wrong(
            "policy",
            f"{policy} reads {instance.lookback} samples of history, and the run stores only {state.rules.lookback}. "
            "Choose a policy that reads fewer",
        )
    view = PartView(view_of(state, book_index, state.now), part_of(state.universe, columns), columns)
    try:
        # `act` returns (answer, memory), and the memory is dropped
        answer, _, _ = unpacked(instance.act(view, EMPTY_MEMORY)[0])
    except Exception as error:
        # a policy is foreign code: whatever it raises, nothing is traded
        failure = f"{policy} failed on {some(symbols, 24)}: {type(error).__name__}: {error}"
        raise _wrong("policy", failure[:400]) from None
    if isinstance(answer, Hold):
        raise _wrong("policy", f"{policy} returned no weights now; it may need more history, or other symbols")
    targets = np.zeros(state.universe.size)
    targets[list(columns)] = answer
    return _permitted(state, book_index, targets, "policy")


def agent_weights(state: State, book_index: int, answer: Mapping[str, float], symbols: Sequence[str]) -> Floats:
    """Return an agent's weights float64[N]: of `symbols` only, 0 for the others; of all where `symbols` is empty.

    `answer` maps symbols to the agent's weights. Raises NotDone for an unknown symbol in `symbols`, and for
    weights that no portfolio may have (`_permitted`).
    """
    chosen_columns = set(columns_of(state, symbols, "symbols")) if symbols else set(range(state.universe.size))
    targets = np.zeros(state.universe.size)
    for symbol, weight in answer.items():
        if state.universe.index[symbol] in chosen_columns:
            targets[state.universe.index[symbol]] = weight
    return _permitted(state, book_index, targets, "agent")


def _permitted(state: State, book_index: int, weights: Floats, field: str) -> Floats:
    """Return the weights if a portfolio may have them; `field` is the field of the request that they came from.

    Raises NotDone unless all weights are finite, add up to at most 1, and are negative only where limits permit
    it.
    """
    if not np.isfinite(weights).all():
        raise _wrong(field, "a weight is not a finite number")
    if not may_short(state, book_index) and (weights < 0.0).any():
        symbol = state.universe.symbols[int(weights.argmin())]
        raise _wrong(
            field,
            f"the weight of {symbol} is {weights.min():g}; the limits allow no short position, so it must be 0 or more",
        )
    if float(weights.sum()) > 1.0 + ROUNDING:
        text = f"the weights add up to {weights.sum():.6g}; lower them to a sum of at most 1 (the rest is cash)"
        raise _wrong(field, f"{text}; a weight is a fraction, 0.6 for 60 %")
    return weights


def remedy_of(symbol: str, state: State) -> str:
    """The remedy for an unknown symbol: the nearest one of the universe, else how to add it."""
    near = get_close_matches(symbol.upper(), state.universe.symbols, n=1)
    if near:
        return f"Did you mean {near[0]}?"
    return "Add it to [universe] symbols, with bars in the feed, and restart with --carry; or leave it out"
