"""The arguments of `quantd why`: an order id, an address of a symbol in a decision (d4812:QQQ), or a symbol.

A symbol alone means the newest decision about it. An argument that ends with @NAME is looked up in the simulated book
of the shadow NAME, and the name of a shadow means its newest decision.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
from msgspec import Struct

from quantd.adapters.store.queries import END, Reader
from quantd.adapters.store.read_models import Decision
from quantd.adapters.store.shadow_reader import Paced, check_shadow, reader_of_shadow
from quantd.daemon.engine.state.proposal_log import LotCut
from quantd.daemon.views.limit_rows import cut_text
from quantd.trading.display_text import instant_text
from quantd.trading.effects import AgentPlan, Planned
from quantd.trading.exit_codes import USAGE, ExplainedError
from quantd.trading.orders import Order

_ADDRESS: Final = re.compile(r"d(\d{1,18})(?:\.(\d{1,4}))?(?::(.+))?")
PAGE: Final = 200
"""Most decisions read per query. The first query reads FIRST, and each further one twice as many as the one before."""

FIRST: Final = 4
"""Decisions of the first query: often it is the newest, and one of 500 symbols and 20 agents has 250 kB."""

SEARCHED: Final = 2_000
"""Most decisions that are searched for one of an agent's own."""


class AddressWrong(ExplainedError, ValueError):
    """The argument names no decision or symbol; the text lists the valid forms or the nearest names."""

    exit_code = USAGE


class Found(Struct, frozen=True):
    """One symbol of one decision, with its order if there is one; `reader` reads the account or the shadow (agent on
    paper) that decided."""

    reader: Reader
    decision: Decision
    column: int
    order: Order | None


class AskedLine(Struct, frozen=True):
    """One requested trade of a decision and what the limits passed of it.

    `who` is the agent whose limits judged it, or "house". Quantities are unsigned; `address` is an argument for
    `quantd why`.
    """

    address: str
    ts: int
    time: str
    who: str
    side: str
    symbol: str
    asked: str
    allowed: str
    reason: str
    text: str


def find(reader: Reader, what: str, at: str | None = None, paced: Paced = iter, own: str = "") -> Found:
    """The decision and symbol that `what` names. Raises AddressWrong (with the nearest names) or StoreFailing.

    `what` is an order (q-…), a decision (d4812, with a plan d4812.2 or a symbol d4812:QQQ), a symbol, or the name of a
    shadow (agent on paper); @NAME behind it means the book of that shadow, or behind a symbol of that agent. `at` is
    the latest instant for a symbol. `paced` wraps the iterator over the journal from which a shadow is read. Of a
    symbol, the newest decision of the agent or shadow `own` comes before those of the others.
    """
    symbols = reader.run.universe.index
    if own and what in symbols and own in reader.shadows():
        with suppress(AddressWrong):
            return _of_shadow(reader, what, own, at, paced)
    address, at_sign, name = what.rpartition("@")
    if at_sign and what not in symbols:
        if address in symbols and name in reader.run.agents and name not in reader.shadows():
            return _of_agent(reader, address, name, at)
        return _of_shadow(reader, address, name, at, paced)
    if what not in symbols and not what.startswith("q-") and what in reader.shadows():
        return _of_shadow(reader, "", what, at, paced)  # "": its newest decision with a trade
    if at is not None and what not in symbols:
        raise AddressWrong(f"--at needs a symbol, but {what} already names one decision; leave --at out")
    if what.startswith("q-"):
        id = f"{what}@{reader.of_shadow}" if reader.of_shadow else what
        decision, order = reader.decision(id), reader.order(id)
        return Found(reader, decision, symbols[order.symbol], order)
    address_match = _ADDRESS.fullmatch(what)
    if address_match is not None:
        decision = reader.decision_at(int(address_match[1]), int(address_match[2] or 1))
        if address_match[3] is None:
            return _only_symbol(reader, decision)
        check_symbol(reader, address_match[3])
        return _symbol_in(reader, decision, address_match[3])
    if what in symbols:
        return _newest_trade(reader, what, at, own)
    raise AddressWrong(
        f"run {reader.run.run} has no order (q-…), decision (d4812:QQQ) or symbol {what}; {_near(what, reader)}"
    )


def check_symbol(reader: Reader, symbol: str | None) -> None:
    """Raises AddressWrong for a symbol that the run of a reader has not."""
    if symbol is not None and symbol not in reader.run.universe.index:
        raise AddressWrong(f"{symbol} is not in the universe of run {reader.run.run}; {_near(symbol, reader)}")


def _of_agent(reader: Reader, symbol: str, name: str, at: str | None) -> Found:
    """The newest decision, up to `at`, in which the agent `name` has a trade or a target of a symbol."""
    newest = _newest_trade(reader, symbol, at, name)
    parts = (part for part in newest.decision.plan.agents if _mentions(part, newest.column))
    if all(newest.decision.agents[part.agent] != name for part in parts):
        when = "" if at is None else f" up to {at}"
        raise AddressWrong(f"agent {name} decided nothing about {symbol}{when}; `quantd why` lists the decisions")
    return newest


def _of_shadow(reader: Reader, what: str, name: str, at: str | None, paced: Paced) -> Found:
    """The decision and symbol that `what` names in the book of the shadow `name` (agent on paper).

    Without `what` the result is the shadow's newest decision with a trade, up to `at`.
    """
    check_shadow(reader, name)
    shadow_reader = reader_of_shadow(reader, name, paced=paced)
    if what:
        return find(shadow_reader, what, at)
    newest = _newest_first(shadow_reader, END if at is None else _instant_of(at))
    traded = next((decision for decision in newest if asked_lines(shadow_reader, decision)), None)
    if traded is None:
        raise AddressWrong(f"the shadow {name} of run {reader.run.run} has no decision with a trade")
    return _only_symbol(shadow_reader, traded)


def _near(name: str, reader: Reader) -> str:
    symbols = reader.run.universe.symbols
    by_case = {s.upper(): s for s in symbols}
    near = [by_case[s] for s in get_close_matches(name.upper(), list(by_case), n=3, cutoff=0.5)]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"its symbols are {', '.join(symbols[:8])}{', …' if len(symbols) > 8 else ''}"


def _only_symbol(reader: Reader, decision: Decision) -> Found:
    """The only symbol of a decision, or else the only symbol that limits cut.

    Raises AddressWrong for several symbols.
    """
    lines = asked_lines(reader, decision)
    cut_symbols = sorted({line.symbol for line in lines if line.asked != line.allowed})
    symbols = sorted({line.symbol for line in lines})
    for names in (symbols, cut_symbols):
        if len(names) == 1:
            return _symbol_in(reader, decision, names[0])
    addresses = ", ".join(decision.of(name) for name in (cut_symbols or symbols)[:8])
    raise AddressWrong(f"decision {decision.address} has {len(symbols)} symbols; write one of {addresses}")


def _symbol_in(reader: Reader, decision: Decision, symbol: str) -> Found:
    """A symbol of a decision with its order. Raises AddressWrong where no agent traded the symbol or had a target."""
    column = reader.run.universe.index[symbol]
    if not any(_mentions(agent_plan, column) for agent_plan in decision.plan.agents):
        names = sorted({line.symbol for line in asked_lines(reader, decision)})
        raise AddressWrong(
            f"no agent traded {symbol} in decision {decision.address}; its symbols are {', '.join(names[:8]) or 'none'}"
        )
    order = None
    if decision.plan.n and int(ints(decision.plan.allowed)[column]):
        order = reader.order(decision.order(reader.run.run, symbol))
    return Found(reader, decision, column, order)


def _mentions(part: AgentPlan, column: int) -> bool:
    """Whether an agent's part of a plan has a trade or a target in a column."""
    return bool(ints(part.asked)[column] or np.frombuffer(part.weights)[column])


def _newest_trade(reader: Reader, symbol: str, at: str | None, own: str) -> Found:
    """The newest decision, up to `at`, in which an agent traded a symbol, else in which it had a target.

    A decision of the agent `own` among the newest SEARCHED comes first, also one without a trade. Raises AddressWrong
    if there is none.
    """
    column = reader.run.universe.index[symbol]
    traded = targeted = None
    for count, decision in enumerate(_newest_first(reader, END if at is None else _instant_of(at))):
        parts = [part for part in decision.plan.agents if _mentions(part, column)]
        if own and any(decision.agents[part.agent] == own for part in parts):
            return _symbol_in(reader, decision, symbol)
        if traded is None and any(ints(part.asked)[column] for part in parts):
            traded = decision
        if traded is not None and (not own or count >= SEARCHED):
            break
        targeted = targeted or (decision if parts else None)
    if (found := traded or targeted) is not None:
        return _symbol_in(reader, found, symbol)
    when, whose = "" if at is None else f" up to {at}", f" of the shadow {reader.of_shadow}" if reader.of_shadow else ""
    raise AddressWrong(
        f"no decision{whose} of run {reader.run.run}{when} trades {symbol}; `quantd why` lists the decisions"
    )


def _newest_first(reader: Reader, until: int = END) -> Iterator[Decision]:
    key: tuple[int, ...] = ()
    size = FIRST
    while True:
        page = reader.decision_page(size, key, until=until)
        yield from page.rows
        if not page.more:
            return
        key, size = page.next, min(2 * size, PAGE)


def _instant_of(text: str) -> int:
    """The instant of a text in ns UTC; a date means the last nanosecond of the day.

    Raises AddressWrong for text that is no date or time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise AddressWrong(f"--at {text} is not a date or time; write 2020-02-28 or 2020-02-28T21:00:00Z") from None
    ts = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 10**9
    # a date without a time has at most 10 characters
    return ts + 86_400 * 10**9 - 1 if len(text) <= 10 else ts


def ints(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Recorded lots by symbol, from the bytes of an int64[N] array."""
    return np.frombuffer(data, dtype="<i8")


class Judged(NamedTuple):
    """The request to one owner of limits, and what these limits passed.

    `who` is an agent or "house", `asked` the bytes of int64[N] requested lots, `verdicts` the part of the plan with the
    lots that passed.
    """

    who: str
    asked: bytes
    verdicts: AgentPlan | Planned


def judged(decision: Decision) -> list[Judged]:
    """The requests of a plan to each owner of limits: the agents, then the whole account, which gets their net."""
    plan, names = decision.plan, decision.agents
    agents = [
        Judged(names[part.agent] if part.agent < len(names) else str(part.agent), part.asked, part)
        for part in plan.agents
    ]
    return [*agents, Judged("house", plan.net, plan)]


def lots_passed(
    plan: Planned, asked: bytes, verdicts: AgentPlan | Planned
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """int64[N] of the lots `asked`, those that passed: none of a trade that a limit cut of a proposal that is carried
    out whole or not at all."""
    passed = ints(verdicts.allowed)
    unsent = not plan.n and plan.portion is None and ints(plan.allowed).any()
    return np.where(passed == ints(asked), passed, 0) if unsent else passed


def asked_lines(reader: Reader, decision: Decision, who: str = "") -> list[AskedLine]:
    """Every requested trade of a decision: the agents' trades, then the net trades of the whole account.

    `who` limits them to those of one agent, or of the "house".
    """
    return [
        line_of(reader, decision, part, column)
        for part in judged(decision)
        if who in ("", part.who)
        for column in np.flatnonzero(ints(part.asked)).tolist()
    ]


def line_of(reader: Reader, decision: Decision, part: Judged, column: int) -> AskedLine:
    """The requested trade in one symbol (`column` is its index) to one owner of limits.

    `part` has what was asked of the owner's limits, and their verdict.
    """
    universe, verdicts = reader.run.universe, part.verdicts
    code = int(np.frombuffer(verdicts.reason, dtype=np.int8)[column])
    asked, allowed = int(ints(part.asked)[column]), int(lots_passed(decision.plan, part.asked, verdicts)[column])
    return AskedLine(
        address=decision.of(universe.symbols[column]),
        ts=decision.plan.ts,
        time=instant_text(decision.plan.ts),
        who=part.who,
        **cut_text(universe, LotCut(column, asked, allowed, code, part.who == "house"), verdicts.values),
    )


def refused_lines(reader: Reader, *, last: int, symbol: str | None = None) -> list[AskedLine]:
    """The `last` newest requested trades that were cut or refused, oldest first; `symbol` None means every symbol."""
    lines = (line for decision in _newest_first(reader) for line in reversed(asked_lines(reader, decision)))
    cut = (line for line in lines if line.asked != line.allowed and symbol in (None, line.symbol))
    return list(islice(cut, last))[::-1]
