"""The oracle of the gate through the fold: each verdict of a round that the fold planned, judged in every state.

    python -m tests.proofs.adversary.folded --intents 200000 [--seed S]

The markets and policies are random, the limits are drawn as tight as the books need to meet them. The fold takes one
tick a call, so that the lots that were asked, passed and cut can be read from its columns before the next. Prints each
breach with its seed, and a line of figures; exit 1 when there was a breach. QUANTD_UNCOMPILED=1 runs the source.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from quantd.daemon.engine.core.agent_columns import AgentColumns
from quantd.daemon.engine.planning.gate_account import market_context
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import NoLog
from quantd.engine_build.state import label
from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import Correlation, Limits, Tail
from quantd.risk.pretrade.gate import Verdict
from quantd.trading.events import Tick
from quantd.trading.execution import Costs
from quantd.trading.instruments import MICRO
from quantd.trading.market import Floats
from quantd.trading.view import View
from tests.proofs.adversary.judge import judge
from tests.support.engine import World, block
from tests.support.fold import decided_every
from tests.support.risk_books import Book

SYMBOLS, AGENTS, DAYS = 6, 3, 100


@dataclass
class Tally:
    """Lots asked of a symbol, verdicts, fill states that were looked at, and breaches."""

    intents: int = 0
    verdicts: int = 0
    cut: int = 0
    states: int = 0
    wrong: list[str] = field(default_factory=list)


def limits_of(rng: np.random.Generator) -> Limits:
    """Limits of which some cut what the policies ask for."""

    def some(bound: float) -> float | None:
        return bound * float(rng.uniform(0.5, 1.5)) if rng.random() < 0.5 else None

    return Limits(
        max_gross_exposure=float(rng.uniform(0.5, 1.5)),
        max_position_weight=some(0.3),
        max_net_exposure=some(0.6),
        max_volatility=some(0.25),
        max_open_orders=int(rng.integers(2, 6)) if rng.random() < 0.2 else None,
        allow_short=bool(rng.random() < 0.7),
        var=None if (bound := some(0.025)) is None else Tail(limit=bound, lookback=30),
        cvar=None if (bound := some(0.04)) is None else Tail(limit=bound, lookback=40),
        correlation=Correlation(threshold=0.3, joint_weight=0.5, min_weight=0.05) if rng.random() < 0.4 else None,
        fee_bp=float(rng.integers(0, 20)),
        min_history=20,
    )


def world_of(seed: int) -> World:
    """A market, agents that change their minds each day, and limits of each."""
    rng = np.random.default_rng([seed, 1])
    factor = rng.standard_t(4, (DAYS, 1)) * 0.008
    returns = factor * rng.choice([-0.5, 1.0, 1.5], SYMBOLS) + rng.standard_t(4, (DAYS, SYMBOLS)) * 0.008
    close = np.round(rng.uniform(20.0, 200.0, SYMBOLS) * np.exp(np.clip(returns, -0.2, 0.2).cumsum(axis=0)), 2)

    def act(number: int, view: View) -> Floats:
        draw = np.random.default_rng([seed, number, view.sample])
        weights = draw.dirichlet(np.full(SYMBOLS, 0.5)) * draw.uniform(0.2, 1.6)
        return np.where(draw.random(SYMBOLS) < 0.3, -weights, weights)

    acts = [lambda view, number=number: act(number, view) for number in range(AGENTS)]
    world = World(block(close.clip(1.0)), acts, house=limits_of(rng), costs=Costs(commission_bp=1.0, spread_bp=2.0))
    agents = tuple(
        type(agent)(**{name: getattr(agent, name) for name in agent.__struct_fields__} | {"limits": limits_of(rng)})
        for agent in world.rules.agents
    )
    world.rules = type(world.rules)(
        **{name: getattr(world.rules, name) for name in world.rules.__struct_fields__} | {"agents": agents}
    )
    return world


def account_before(state: State, book: int, repeated: Floats | None) -> Account:
    """The account of a book at the last sample, without the orders of its plan."""
    return Account(
        lots=np.array(state.account(book).lots, dtype=np.float64), cash=state.account(book).cash_micro / MICRO,
        equity=state.equity_of(book) / MICRO, repeated=repeated,
    )  # fmt: skip


def _gate_reasons(agent: AgentColumns) -> list[int]:
    """The reasons of an agent's gate, without those of lots that were not asked of it."""
    rows = zip(agent.reason, agent.why, agent.change, agent.passed, strict=True)
    return [0 if reason == why and passed == change else reason for reason, why, change, passed in rows]


def verdicts(shell: Shell, before: dict[int, Floats | None]) -> Iterator[tuple[int, Floats, Verdict]]:
    """(book, lots asked, verdict) of the plan that the fold has just made."""
    state, plan = shell.state, shell.state.round_plan
    assert shell._host is not None
    shell._host.show()
    context = market_context(state)
    columns = [(HOUSE, plan.net, plan.passed, plan.reason)]
    columns += [
        (number, agent.change, agent.passed, _gate_reasons(agent))
        for number, agent in enumerate(state.agent_columns)
        if agent.taking
    ]
    for book, asked, passed, reason in columns:
        limits = state.rules.house if book == HOUSE else state.rules.agents[book].limits
        account = account_before(state, book, before.get(book))
        yield (
            book,
            np.array(asked),
            Verdict(np.array(passed), np.array(reason, dtype=np.int8), context, account, limits),
        )


def judge_world(seed: int, tally: Tally) -> None:
    """Run a world, and judge each plan of a round without open orders."""
    world, rng = world_of(seed), np.random.default_rng([seed, 2])
    shell = world.fresh(NoLog())
    host, state = shell._fold_host(), shell.state
    for item in decided_every(list(world.items()), 1, AGENTS):
        rounds, waits = state.rounds_taken, bool(state.venue_orders.baskets or len(state.crosses))
        before = {
            number: state.activity.repeated(number, item.ts, agent.limits) if type(item) is Tick else None
            for number, agent in enumerate(state.rules.agents)
        }
        shell.take(item)
        if state.rounds_taken != rounds + 1 or waits:
            continue
        ring = state.history.synchronous
        returns = np.array(ring.returns(min(ring.lookback, ring.count - 1)))  # every row that a limit may look back
        for book, asked, verdict in verdicts(shell, before):
            px = np.asarray(verdict._ctx.px)
            case = Book(
                verdict._ctx, verdict._account, asked, verdict._limits, [], returns, px, list(world.universe.symbols)
            )
            judgement = judge(case, verdict, rng, partial=8)
            tally.intents += int(np.count_nonzero(asked))
            tally.verdicts += 1
            tally.cut += int(np.count_nonzero(verdict.reason))
            tally.states += judgement.states
            tally.wrong += [f"seed {seed}, sample {state.sample_no}, book {book}: {text}" for text in judgement.wrong]
    host.end()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--intents", type=int, default=20_000, help="lots of a symbol asked of the gate, in all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first world")
    options = parser.parse_args()
    tally, seed, began = Tally(), options.seed, time.monotonic()
    while tally.intents < options.intents:
        judge_world(seed, tally)
        seed += 1
    print(*tally.wrong, sep="\n", end="\n" if tally.wrong else "")
    print(
        f"{label()}: {tally.intents:,} intents of {seed - options.seed} worlds, {tally.verdicts:,} verdicts, "
        f"{tally.cut:,} cut, {tally.states:,} subsets and partial fills, {len(tally.wrong):,} breaches; "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
