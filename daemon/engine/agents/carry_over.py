"""Carries an account over into a new run with another universe or other agents, exactly, by name.

At a real venue no order may be open; removed instruments and agents may not have positions. Records that cannot
continue are lost, and an alert names each loss.

What can go wrong: the same index is another agent or symbol in the new run. So everything is carried by name, and a
column without a symbol in the new universe is dropped. The books are placed first and the marks (last prices) after
them, because the valuation needs both; kill switches, returns and levels follow the valuation. Cash of removed agents
goes to the unallocated book, which funds new agents. What it lacks, the agents above their shares owe (`capital.owe`).

A policy that was promoted continues only while its shadow (agent on paper) challenges the same agent with the same
artifact: another artifact was never promoted. Verdicts on proposals are kept only under the same symbols; the ids of
proposals are always kept, so that none is executed twice.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from msgspec import Struct

from quantd.daemon.engine.agents.capital import owe
from quantd.daemon.engine.agents.promotion import exchange_policies, shadow_number
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import ActRecord, Portfolio, State
from quantd.daemon.engine.state.open_orders import Working
from quantd.daemon.engine.state.price_holds import PriceHold
from quantd.daemon.engine.state.proposal_log import ProposalLog
from quantd.daemon.engine.state.settings import Rules
from quantd.daemon.engine.state.snapshot import Frozen
from quantd.risk.monitor.realised import FrozenReturns, Realised
from quantd.risk.switch import FrozenSwitch
from quantd.risk.switch_state import Switch
from quantd.trading.effects import Effect
from quantd.trading.events import Carried
from quantd.trading.instruments import Universe
from quantd.trading.ledger.books import UNALLOCATED, FrozenBook, FrozenLedger
from quantd.trading.model_events import ModelLoaded


class Carry(Struct, frozen=True):
    """An account with the names of its symbols and agents.

    `accounts` are the books of the whole account, of each agent in order, and the unallocated one, each
    with lots and cost by column of `symbols`. `switches` (kill switches) and `returns` are of the house, then of each
    agent. `best` has by agent and column the best price since entry, for trailing stops. `marks` has by column (price,
    price in nano-currency, instant).
    """

    symbols: tuple[str, ...]
    lot_nano: tuple[int, ...]
    agents: tuple[str, ...]
    accounts: list[FrozenBook]
    switches: list[FrozenSwitch]
    returns: list[FrozenReturns]
    suspended: list[bool]
    best: list[list[float]]
    marks: list[tuple[float, int, int]]
    fenced: tuple[list[int], int]
    flows: list[str]
    entitled: list[tuple[int, list[tuple[int, int]]]]
    live_sessions: int
    dust: dict[int, int] = {}
    halted: dict[int, tuple[int, str]] = {}
    jumped: dict[int, PriceHold] = {}
    portfolios: dict[str, Portfolio] = {}
    """By place: the portfolio that is open in it."""
    lapsed: list[str] = []
    """Agents with orders, parent orders, follow-ups, proposals or transfers under way, which lapse."""
    artifacts: dict[str, str] = {}
    loaded: dict[str, ModelLoaded] = {}
    seats: list[str] = []
    """By agent: name of the agent or shadow whose policy decides for it."""
    shadows: dict[str, str] = {}
    """Name of a shadow -> the records that it loses, as text."""
    outside: dict[str, ProposalLog] = {}
    acts: dict[str, ActRecord] = {}


def carry_of(
    frozen: bytes, universe: Universe, agents: Sequence[str], *, simulated: bool, renamed: Mapping[str, str] = {}
) -> bytes:
    """Return the encoded account of a frozen state of `universe` and `agents`. `renamed` maps old symbols to new ones.
    At a `simulated` venue open orders lapse. Raises ValueError with the reason why the account cannot be carried."""
    frozen_state = msgspec.msgpack.decode(frozen, type=Frozen)
    if any(work.live for _, work in (*frozen_state.working, *frozen_state.stops)) and not simulated:
        raise ValueError(
            "the run stopped with open orders; start it again, "
            'and stop it with [quantd] on_stop = "cancel", or after the orders have ended'
        )
    if frozen_state.resting.own:
        raise ValueError("a position has a stop or target of an order by hand; close that position first")
    if any(exits for exits, _ in frozen_state.exits):
        raise ValueError("a protective exit is under way; try again after its end")
    if frozen_state.numbers[6]:  # a flatten
        raise ValueError("everything is being sold; try again when the sales have ended")
    if closing := [portfolio.name for portfolio in frozen_state.portfolios.values() if portfolio.closing]:
        raise ValueError(f"portfolio {closing[0]} is being closed; try again when it is closed")
    ledger = msgspec.convert(msgspec.msgpack.decode(frozen_state.ledger), FrozenLedger)
    best_prices = (
        np.frombuffer(frozen_state.best).reshape(-1, universe.size)
        if frozen_state.best
        else np.full((len(agents), universe.size), np.nan)
    )
    # marks: price, the same in nano-currency, and its instant
    price, nano, ts = (np.frombuffer(frozen_state.marks[k], dtype=kind) for k, kind in enumerate(("<f8", "<i8", "<i8")))
    return msgspec.msgpack.encode(
        Carry(
            symbols=tuple(renamed.get(symbol, symbol) for symbol in universe.symbols),
            lot_nano=tuple(universe.lot_nano),
            agents=tuple(agents),
            accounts=ledger.accounts(),
            switches=frozen_state.switches,
            returns=frozen_state.watch.returns,
            suspended=[mind[1] for mind in frozen_state.agents],  # of a mind, index 1 is `suspended`
            best=best_prices.tolist(),
            marks=list(zip(price.tolist(), nano.tolist(), ts.tolist(), strict=True)),
            fenced=frozen_state.venue.fenced,
            flows=frozen_state.venue.flows,
            entitled=frozen_state.venue.entitled,
            live_sessions=frozen_state.live_sessions,
            dust=frozen_state.venue.dust,
            halted=frozen_state.halted,
            jumped=frozen_state.jumped,
            portfolios={agents[number]: portfolio for number, portfolio in frozen_state.portfolios.items()},
            lapsed=[agents[number] for number in sorted(_agents_under_way(frozen_state, agents))],
            artifacts=frozen_state.artifacts,
            loaded=frozen_state.loaded,
            seats=frozen_state.seats,
            shadows={
                # index 3 is the number of the last sample
                name: f"its book, and its comparison of {pairing.known(frozen_state.numbers[3])} samples"
                for name, pairing in frozen_state.pairings.items()
            },
            outside=frozen_state.outside,
            acts=frozen_state.acts or {},
        )
    )


def loaded_of(account: bytes) -> dict[str, ModelLoaded]:
    """Return the artifacts that operators loaded, by agent, in an encoded account."""
    return msgspec.msgpack.decode(account, type=Carry).loaded


def _agents_under_way(frozen_state: Frozen, agents: Sequence[str]) -> set[int]:
    """Return the indices of the agents with orders, crosses, parent orders, plans, follow-ups or transfers that are in
    progress, and with proposals that wait for a person or for a first price.

    A new run does not continue any of them.
    """
    agent_count = len(frozen_state.agents)
    indices = {who for _, work in frozen_state.working for _, who, _ in Working.thaw(work, agent_count).open_shares()}
    indices |= {parent.agent for parent in frozen_state.parents} | {
        who for plan in frozen_state.resting.postponed for who in plan.answers
    }
    indices |= {who for cross in frozen_state.crosses for who, _ in cross.shares}
    # of a mind, index 2 is the follow-up
    indices |= {number for number, mind in enumerate(frozen_state.agents) if mind[2] is not None}
    indices |= {number for number, owed in enumerate(frozen_state.owed) if owed}
    waiting = {proposal.agent for queue in (frozen_state.reviews, frozen_state.awaiting) for proposal in queue or ()}
    indices |= {number for number, name in enumerate(agents) if name in waiting}
    return indices & set(range(len(frozen_state.agents)))  # only agents: not the unallocated book


def unfit(account: bytes, rules: Rules) -> str:
    """Return the reason why an account cannot be carried over to `rules`; empty when it can.

    `fenced` has the lots by column that are at the venue and not the daemon's. `entitled` has the dividends that are
    still to be paid, as (column, lots by book).
    """
    carry = msgspec.msgpack.decode(account, type=Carry)
    names, universe = {agent.name for agent in rules.agents}, rules.universe
    fenced_lots = carry.fenced[0] or [0] * len(carry.symbols)
    for column, (symbol, lot_nano) in enumerate(zip(carry.symbols, carry.lot_nano, strict=True)):
        is_held = fenced_lots[column] or any(account_book.lots[column] for account_book in carry.accounts)
        if is_held and symbol not in universe.index:
            return f"{symbol} is held and not in [universe] symbols; sell it first, or keep it there"
        if is_held and universe.lot_nano[universe.index[symbol]] != lot_nano:
            return f"{symbol} is held and its lot size has changed; sell it first, or restore the lot size"
        if symbol not in universe.index and any(
            symbol == carry.symbols[paying_column] for paying_column, _ in carry.entitled
        ):
            return f"a dividend of {symbol} is still to be paid; keep it in [universe] symbols until then"
    places = {agent.name for agent in rules.agents if agent.place}
    for place, portfolio in carry.portfolios.items():
        if place not in places:
            return (
                f"portfolio {portfolio.name} is open in the place {place}, and [portfolios] has {len(places)} places; "
                f"close it first, or keep the places"
            )
    # the first account is the house, the last one the unallocated book, for which `agents` has no name
    for agent, book in zip(carry.agents, carry.accounts[1:], strict=False):
        if agent not in names and any(book.lots):
            return f"agent {agent} holds positions and is not in [[agents]]; flatten it first, or keep it"
    return ""


def carried_books(carry: Carry, universe: Universe, agents: Sequence[str]) -> FrozenLedger:
    """Return the ledger of a carried account with the columns of `universe` and the books of `agents`, empty for an
    agent that the account has not.

    `carry.accounts` are the books of the whole account, of the old agents, and the unallocated one, in this order.
    """
    new_columns = [universe.index.get(symbol, -1) for symbol in carry.symbols]
    house, *old_books, unallocated = (_with_columns(book, new_columns, universe.size) for book in carry.accounts)
    books = dict.fromkeys(agents, FrozenBook([0] * universe.size, [0] * universe.size, 0, (0, 0), 0, 0, 0, 0))
    for name, book in zip(carry.agents, old_books, strict=True):
        if name in books:
            books[name] = book
        else:
            unallocated = _sum_of_books(unallocated, book)
    return FrozenLedger([*agents, UNALLOCATED], house, [*books.values(), unallocated])


def on_carried(state: State, carried: Carried) -> Sequence[Effect]:
    """Take over the account of another run; returns alerts about its changes and losses.

    The cash of removed agents goes to the unallocated book, which funds new agents.
    """
    carry = msgspec.msgpack.decode(carried.account, type=Carry)
    new_columns = [state.universe.index.get(symbol, -1) for symbol in carry.symbols]
    agent_indices = {agent.name: k for k, agent in enumerate(state.rules.agents)}
    state.ledger.thaw(msgspec.to_builtins(carried_books(carry, state.universe, tuple(agent_indices))))
    state.carried = carried.since, carried.until
    lacking = {}
    for k, rules in enumerate(state.rules.agents):
        if rules.name not in carry.agents:
            funded = max(0, min(rules.capital_micro, state.ledger.books[-1].cash_micro))
            state.ledger.allocate(k, funded)
            if funded < rules.capital_micro and not rules.place:
                lacking[k] = rules.capital_micro - funded
    state.acts = dict(carry.acts)
    state.portfolios = {agent_indices[place]: portfolio for place, portfolio in carry.portfolios.items()}
    _take_marks(state, carry, new_columns)
    state.booked()
    state.revalue()
    _take_records(state, carry, agent_indices, new_columns)
    owed = owe(state, lacking) if lacking else []
    new_symbols = [symbol for symbol in state.universe.symbols if symbol not in carry.symbols]
    removed_symbols = [symbol for symbol in carry.symbols if symbol not in state.universe.index]
    changes = [
        f"{verb} {', '.join(names)}" for verb, names in (("new", new_symbols), ("gone", removed_symbols)) if names
    ]
    changes += [f"agents {', '.join(agent_indices)}"] if tuple(agent_indices) != carry.agents else []
    text = f"the account of run {carried.run} is carried on: {'; '.join(changes) or 'nothing else changed'}"
    continued, lost = _take_models(state, carry, carried.loaded, agent_indices)
    _take_proposals(state, carry)
    shadows = {shadow.rules.agents[0].name for shadow in state.shadows}
    lost += [f"shadow {name} begins anew: {what} are lost" for name, what in carry.shadows.items() if name in shadows]
    lost += [
        f"orders and changes of {name} that were under way lapsed; {_remedy(state, agent_indices[name])}"
        for name in carry.lapsed
        if name in agent_indices
    ]
    return [
        alert(state, "INFO", "carried", text),
        *(alert(state, "INFO", "carried", line) for line in continued),
        *(alert(state, "WARNING", "carried", f"not carried over: {line}") for line in lost),
        *owed,
    ]


def _remedy(state: State, number: int) -> str:
    """Return the remedy for lapsed orders of the agent with index `number`, as text."""
    if number in state.portfolios:
        return f"rebalance portfolio {state.portfolios[number].name} again"
    return "it proposes again" if state.seats[number] in state.rules.outside else "it decides anew when it is due"


def _take_models(
    state: State, carry: Carry, loaded: Sequence[str], agent_indices: Mapping[str, int]
) -> tuple[list[str], list[str]]:
    """Take over loaded artifacts and promoted policies; returns texts on those that continue, and on those that are
    lost.

    `loaded` are the agents whose loaded artifact continues. `carry.seats` has, by agent, the name of the agent or
    shadow whose policy decided for it.
    """
    continued, lost = [], []
    state.loaded = {name: carry.loaded[name] for name in loaded}
    state.artifacts |= {name: artifact.digest for name, artifact in state.loaded.items()}
    for name, artifact in carry.loaded.items():
        if name in loaded:
            continued.append(f"{name} continues with {artifact.path}, which {artifact.who} loaded: {artifact.reason}")
        elif name in state.rules.names():
            lost.append(
                f"{artifact.path}, which {artifact.who} loaded for {name}: config.toml names another policy of {name} "
                "than at that time, which decides now"
            )
    for name, policy in zip(carry.agents, carry.seats, strict=False):
        if policy == name or name not in agent_indices:
            continue  # the agent decided by its own policy, or is removed
        shadow_index = shadow_number(state, policy)
        if shadow_index < 0 or state.rules.challenges[shadow_index] != agent_indices[name]:
            lost.append(f"the promotion of {policy}, which challenges {name} no more: {name} has its own policy again")
        elif state.artifacts.get(policy, "") != carry.artifacts.get(policy, ""):
            lost.append(f"the promotion of {policy}, whose artifact changed: {name} has its own policy again")
        else:
            exchange_policies(state, shadow_index, agent_indices[name])
            continued.append(f"the policy of {policy}, which was promoted, continues to decide for {name}")
    return continued, lost


def _take_proposals(state: State, carry: Carry) -> None:
    """Take over the ids of proposals, and, where the symbols and so the columns are the same, their verdicts."""
    same_symbols = carry.symbols == state.universe.symbols
    state.outside = {
        name: log.ended("the run ended before anybody decided") if same_symbols else ProposalLog(log.ids)
        for name, log in carry.outside.items()
        if name in state.rules.names() or state.rules.outside_seat(name) is not None
    }


def _with_columns(account: FrozenBook, new_columns: Sequence[int], size: int) -> FrozenBook:
    """Return a book with its columns moved to those of another universe of `size` symbols.

    `new_columns` has by old column the new one; -1 drops the column.
    """
    lots, cost = [0] * size, [0] * size
    for column, new_column in enumerate(new_columns):
        if new_column >= 0:
            lots[new_column], cost[new_column] = account.lots[column], account.cost_micro[column]
    return msgspec.structs.replace(account, lots=lots, cost_micro=cost)


def _sum_of_books(first: FrozenBook, second: FrozenBook) -> FrozenBook:
    """Return the sum of two books of accounts; `second` has cash but no lots."""
    totals = ("cash_micro", "fees_micro", "flows_micro", "income_micro", "realised_micro")
    sums = {name: getattr(first, name) + getattr(second, name) for name in totals}
    residue = first.residue[0] + second.residue[0], first.residue[1] + second.residue[1]
    return msgspec.structs.replace(first, residue=residue, **sums)


def _take_marks(state: State, carry: Carry, new_columns: Sequence[int]) -> None:
    """Take over the last prices, so that positions have a value before the first bar.

    `new_columns` has by old column the new one, -1 for none.
    """
    marks, marks_nano, mark_ts = state.marks.copy(), state.marks_nano.copy(), state.mark_ts.copy()
    for new_column, (price, price_nano, instant) in zip(new_columns, carry.marks, strict=True):
        if new_column >= 0:
            marks[new_column], marks_nano[new_column], mark_ts[new_column] = price, price_nano, instant
    state.set_marks(marks, marks_nano, mark_ts)


def _take_records(state: State, carry: Carry, agent_indices: dict[str, int], new_columns: Sequence[int]) -> None:
    """Take over kill switches, realised returns, best prices of trailing stops, and the venue's records.

    `agent_indices` has the new index of each agent by name, `new_columns` by old column the new one, -1 for none.
    `fenced` are lots and cash that are not the daemon's, `entitled` dividends to be paid, and `dust` parts of a lot.
    """
    state.switch = carry.switches[0].thaw()
    if carry.returns:
        state.watch.realised[0] = Realised.thaw(carry.returns[0])
    for k, name in enumerate(carry.agents):
        if name not in agent_indices:
            continue
        number = agent_indices[name]
        state.agents[number].switch = carry.switches[1 + k].thaw()
        state.agents[number].suspended = carry.suspended[k]
        if carry.returns:
            state.watch.realised[1 + number] = Realised.thaw(carry.returns[1 + k])
        for column, new_column in enumerate(new_columns):
            if new_column >= 0:
                state.best[number, new_column] = carry.best[k][column]
    for number, agent in enumerate(state.agents):
        if state.rules.agents[number].name not in carry.agents:
            agent.switch = Switch(high_water=state.books_micro[number])
    if carry.fenced[0]:
        lots = [0] * state.universe.size
        for column, new_column in enumerate(new_columns):
            if new_column >= 0:
                lots[new_column] = carry.fenced[0][column]
        state.venue.fenced = lots, carry.fenced[1]  # (lots by column, cash)
    state.venue.flows.extend(carry.flows)
    unallocated = len(agent_indices)  # the unallocated book
    books = [*(agent_indices.get(name, unallocated) for name in carry.agents), unallocated]
    state.venue.entitled = [
        (new_columns[column], [(books[book], lots) for book, lots in book_lots]) for column, book_lots in carry.entitled
    ]
    state.live_sessions = carry.live_sessions
    state.venue.dust = {
        new_columns[column]: fraction for column, fraction in carry.dust.items() if new_columns[column] >= 0
    }
    state.restrictions.halted = {
        new_columns[column]: why for column, why in carry.halted.items() if new_columns[column] >= 0
    }
    state.restrictions.jumped = {
        new_columns[column]: jump for column, jump in carry.jumped.items() if new_columns[column] >= 0
    }
