"""Statements add up over trades, fees, dividends, splits, busts, flows, corrections and restarts."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.engine.state import State
from quantd.daemon.jobs.tasks.account_lines import AccountRecord, account_record
from quantd.daemon.runtime.journal import Journal
from quantd.risk.limits.catalogue import Limits
from quantd.trading.effects import Filled
from quantd.trading.events import Action, Busted, Correction, Event, Flow
from quantd.trading.execution import Costs
from quantd.trading.sessions import DAY_NS
from tests.support.engine import OPEN, START, World, block, walk
from tests.support.examples import examples

RUN = "run00001"


def varied(view: object) -> list[float]:
    """Weights that change every day."""
    day = view.time // DAY_NS  # type: ignore[attr-defined]
    return [0.1 + 0.05 * (day % 5), 0.4 - 0.07 * (day % 4)]


def recorded(seed: int, meddle: bool) -> tuple[World, AccountRecord]:
    """A run of 40 days with everything that moves cash, and its record."""
    rng = np.random.default_rng(seed)
    split, dividend = (START + int(d) * DAY_NS + 9 * DAY_NS // 24 for d in rng.integers(5, 35, 2))
    actions = [
        Action(split, split - split % DAY_NS, 0, "split", 3, 2),
        Action(dividend, dividend - dividend % DAY_NS, 1, "dividend", cash_nano=1_234_567_891),
    ]
    journal = Journal()
    of = World(
        block(walk(40, 2, seed)), [varied, varied], house=OPEN, agent=Limits(), log=journal,
        costs=Costs(commission_bp=1.3, spread_bp=2.0), actions=sorted(actions, key=lambda a: a.ts),
        borrow_bp_annual=50.0,
    )  # fmt: skip
    shell = of.shell
    for number, item in enumerate(of.items()):
        shell.take(item)
        if meddle and number in (20, 41):
            for event in meddling(shell.state, journal, number):
                shell.run(event)
        if meddle and number == 30:  # as after a restart
            frozen = shell.keep()
            shell = of.fresh(journal)
            shell.restore(of.rules, frozen)
    entries = list(enumerate(journal.entries, 1))
    return of, account_record(RUN, of.universe, entries)


def meddling(state: State, journal: Journal, number: int) -> list[Event]:
    """A deposit, a fee of the venue, a correction in cash, and the bust of the newest fill."""
    now = state.now
    events: list[Event] = [
        Flow(now, 12_345_678_912, "me", id=f"in {number}"),
        Flow(now, -17_000_003, kind="fee", id=f"fee {number}"),
        Correction(now, [0, 0], -5_010_001, "a1", "found", "me"),
    ]
    fills = [e for _, effects in journal.steps for e in effects if isinstance(e, Filled)]
    last = fills[-1]
    for symbol, lots, price in zip(last.sym, last.lots, last.price_nano, strict=True):
        work = state.basket((last.sample, last.n))
        if work is not None and abs(lots) > 3:
            row = work.basket.sym.index(symbol)
            events.append(
                Busted(last.sample, last.n, now, row, abs(lots), price, abs(lots) - 2, price + 10**7, f"bust {number}")
            )
            break
    return events


@settings(max_examples=examples(12), deadline=None)
@given(seed=st.integers(0, 10_000), meddle=st.booleans())
def test_the_lines_of_each_day_add_up_to_the_ledgers_cash_without_a_rest(seed: int, meddle: bool) -> None:
    of, record = recorded(seed, meddle)
    assert record.days
    for before, after in zip(record.days, record.days[1:], strict=False):
        assert before.closing_micro == after.opening_micro
    for day in record.days:
        assert sum(line.amount_micro for line in day.lines) == day.closing_micro - day.opening_micro
    lines = [line for day in record.days for line in day.lines]
    assert len({line.id for line in lines}) == len(lines)
    kinds = {line.kind for line in lines}
    assert "unexplained" not in kinds
    assert {"trade", "fee", "dividend", "split"} <= kinds
    if meddle:
        assert {"flow", "correction", "bust"} <= kinds
    assert record.days[0].opening_micro == of.rules.cash_micro
