"""Paper against live: each cause planted, found and named, and the money adds up."""

from fractions import Fraction

import numpy as np
import pytest

from quantd.daemon.engine.state.parents import Execution
from quantd.research.studies.parity import CAUSES, Book, lines, market_of, parity
from quantd.trading.events import Reports, Tick
from quantd.trading.execution import Costs
from quantd.trading.market import Block, MarketSlice
from quantd.trading.orders import Cause
from tests.support.command_line import answer, quantd
from tests.support.command_line import write as config_file
from tests.support.minutes import MINUTE, SESSION, Minutes, at, drift, minutes

NOON = at(0, 120)
CLOSE = drift(1, 2, 3, 0.002)


def trend(view) -> np.ndarray:
    return 0.4 * np.array([1.0, 1.0]) * (view.prices / 100.0) / 2.0


def world(log: Book, costs: Costs | None = None, volume: float = 10_000.0, **keys) -> Minutes:
    return Minutes(
        minutes(CLOSE, np.full((SESSION, 2), volume)), [trend], Execution(**keys), [NOON], costs=costs, log=log
    )


def backtest(costs: Costs | None = None, volume: float = 10_000.0, **keys) -> Book:
    log = Book()
    world(log, costs, volume, **keys).run()
    return log


def compared(run: Book, other: Book):
    report = parity("run00001", world(Book()).universe, run.entries, other.entries, MINUTE)
    for row in report.worst:
        assert sum(Fraction(money) for money in row.money.values()) == Fraction(row.total)
        assert set(row.causes) == set(row.money) <= set(CAUSES)
    assert sum(map(Fraction, report.money.values())) == Fraction(report.total)
    assert set(report.money) == set(CAUSES)
    return report


def causes(report) -> set[str]:
    return {cause for row in report.worst for cause in row.causes}


def wealth(log: Book, costs: Costs | None = None) -> Fraction:
    """Fills at the last marks, less fees, from the journal alone."""
    marks = np.round(CLOSE[-1] * 1e9).astype(int).tolist()
    total = Fraction(0)
    for entry in log.entries:
        for effect in entry.effects:
            if type(effect).__name__ == "Filled":
                for k, lots, price, fee in zip(
                    effect.sym, effect.lots, effect.price_nano, effect.fee_micro, strict=True
                ):
                    total += Fraction(lots * (marks[k] - price), 10**9) - Fraction(fee, 10**6)
    return total


def test_the_same_run_differs_in_nothing() -> None:
    report = compared(backtest(), backtest())
    assert report.same
    assert (report.decisions, report.different, report.total) == (2, 0, "0.00")
    assert lines(report) == ["run run00001: 2 decisions, all as in a backtest over the same bars"]


@pytest.mark.parametrize(
    ("cause", "costs", "volume"),
    [
        ("fee", Costs(commission_bp=5.0), 10_000.0),
        ("price", Costs(slippage_bp=5.0), 10_000.0),
        ("latency", Costs(latency_ns=90 * 10**9), 10_000.0),
        ("not filled", Costs(participation=0.0001), 10_000.0),
    ],
)
def test_each_cost_or_doubt_of_a_venue_is_named(cause, costs, volume) -> None:
    run, other = backtest(costs, volume), backtest()
    report = compared(run, other)
    assert cause in causes(report)
    if cause in ("fee", "price", "latency"):
        assert causes(report) == {cause}
        assert report.different == 2
    gap = wealth(run) - wealth(other)
    assert abs(gap - Fraction(report.total)) < Fraction(1, 10**5)
    assert any(cause in line for line in lines(report))


def test_an_order_that_the_venue_refused_is_named() -> None:
    log = Book()
    one = world(log)
    for item in one.items():
        one.shell.take(item)
        if isinstance(item, Tick) and item.due:
            ((sample, n),) = one.shell.state.working
            one.shell.run(Reports(sample, n, item.ts, [0], [0], [0], [0], [0], [Cause.REJECTED], "no buying power"))
            one.shell.broker.cancel(sample, n, 0, item.ts)
    report = compared(log, backtest())
    (row,) = report.worst
    assert row.causes == ["refused"]
    assert row.symbol == "S0"
    assert row.run.ended == "rejected: no buying power"
    assert row.run.filled == "0"


def test_another_answer_of_a_policy_is_a_decision() -> None:
    log = Book()
    one = Minutes(minutes(CLOSE), [lambda view: np.array([0.3, 0.0])], Execution(), [NOON], log=log)
    one.run()
    assert causes(compared(log, backtest())) == {"decision"}


def late(log: Book) -> Minutes:
    """A run in which the newest bar of the second symbol came after the decision."""
    one = world(log)
    held = None
    for item in one.items():
        if isinstance(item, MarketSlice) and item.ts_event == NOON:
            now, held = (_only(item, column) for column in (0, 1))
            one.shell.take(now)
            continue
        one.shell.take(item)
        if isinstance(item, Tick) and item.ts == NOON:
            one.shell.take(held)
    return one


def _only(market: MarketSlice, column: int) -> MarketSlice:
    block, row = market.block, market.row
    mask = np.arange(2) == column

    def of(values: np.ndarray) -> np.ndarray:
        return np.where(mask, values[row], np.nan)[None]

    return MarketSlice(
        Block(
            ts_open=np.array([market.ts_open]), ts_event=np.array([market.ts_event]), key=np.array([market.key]),
            open=of(block.open), high=of(block.high), low=of(block.low), close=of(block.close), volume=of(block.volume),
            fresh=mask[None],
        ),
        0,
    )  # fmt: skip


def test_a_bar_that_came_after_the_decision_is_named() -> None:
    log = Book()
    late(log)
    other = Book()
    again = world(Book())
    shell = again.fresh(other)
    for item in market_of(log.entries):
        shell.take(item)
    report = compared(log, other)
    assert causes(report) & {"late bar"}
    assert {row.symbol for row in report.worst if "late bar" in row.causes} == {"S1"}
    straight = compared(backtest(), other)
    assert straight.same  # the journal's bars, each in time, are those of the feed


def test_what_is_worked_is_one_decision_with_all_its_children() -> None:
    keys = {"style": "twap", "slices": 3, "over_ns": 9 * MINUTE}
    assert compared(backtest(**keys), backtest(**keys)).same
    report = compared(backtest(Costs(commission_bp=2.0), **keys), backtest(**keys))
    assert report.decisions == 2
    assert causes(report) == {"fee"}


@pytest.mark.long
def test_a_paper_run_is_as_its_backtest_and_the_command_says_so(tmp_path) -> None:
    config_file(tmp_path)
    answer(quantd(tmp_path, "run", "--json", "--quiet"))
    document = answer(quantd(tmp_path, "replay", "--against", "backtest", "--json"))
    assert document["same"] is True
    assert document["decisions"] > 10
    assert document["total"] == "0.00"
    assert answer(quantd(tmp_path, "replay", "--against", "backtest", "--day", "2019-01-03", "--json"))["same"] is True
    for wrong, text in (
        (("--against", "backtest", "--policies"), "omit --policies"),
        (("--day", "2018-01-03"), "add --against backtest"),
        (("--against", "backtest", "--day", "2050-01-01"), "has no sample on it; its samples: from 2019-01-02"),
    ):  # fmt: skip
        refused = quantd(tmp_path, "replay", *wrong)
        assert refused.returncode == 2
        assert text in refused.stderr
