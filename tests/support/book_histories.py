"""Histories of books: backtests of the bundled bars with three agents, and books made by hand."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.recovery.start import begin
from quantd.research.attribution.book_history import ACCOUNT, BOOKINGS, Actions, BookHistory, Bookings, Trades
from quantd.research.attribution.book_history_log import BookHistoryLog
from quantd.research.runs.run_record import Record
from quantd.trading.events import Flow, Tick
from quantd.trading.view import Memory, View
from tests.support.checkout import ROOT
from tests.support.command_line import write

CONFIG = f"""
[quantd]
state = "state"
[universe]
symbols = ["AAPL", "BAC", "IWM", "QQQ", "SPY"]
[[universe.instruments]]
symbol = "AAPL"
sector = "technology"
[[universe.instruments]]
symbol = "BAC"
sector = "finance"
[account]
cash_rate = 0.03
[feed]
path = "{ROOT}/data/us_daily.parquet"
actions = "{ROOT}/data/us_actions.csv"
stamps = "session"
start = 2020-01-02
end = 2020-12-31
warmup = 130
pace = "fast"
at_end = "stop"
[broker]
cash = "1000000.00"
commission_bp = 1.3
spread_bp = 2.0
slippage_bp = 3.0
participation = 0
borrow_bp_annual = 150
[risk]
profile = "research"
[[agents]]
name = "long"
policy = "equal_weight"
capital = 0.4
[[agents]]
name = "short"
policy = "equal_weight"
capital = 0.3
[[agents]]
name = "turning"
policy = "equal_weight"
capital = 0.2
[bus]
port = 0
[api]
port = 0
"""

DEPOSITS = ((40, "long", 50_000_000_000), (120, "", 20_000_000_000), (180, "", -30_000_000_000))
"""(samples before it, agent, micro-currency) of the flows of a run."""


class Weights:
    """A policy with fixed weights, which turn with the sample where `turns`."""

    lookback = 5

    def __init__(self, weights: list[float], turns: int = 0) -> None:
        self._weights = np.array(weights)
        self._turns = turns

    def act(self, view: View, memory: Memory) -> tuple[np.ndarray, Memory]:
        day = int(view.sample_time // 86_400_000_000_000)
        return np.roll(self._weights, day // self._turns) if self._turns else self._weights, memory


def assembly_of(folder: Path, text: str = CONFIG) -> Assembly:
    """A run of three agents: one long, one short in part, one whose weights turn."""
    assembly = assemble(read(write(folder, text)))
    policies = (
        Weights([0.3, 0.1, 0.1, 0.2, 0.2]),
        Weights([-0.3, 0.2, 0.1, -0.2, 0.1]),
        Weights([0.5, -0.2, 0.3, 0.0, 0.1], turns=3),
    )
    return replace(assembly, policies=policies)


def history_of(assembly: Assembly, deposits: tuple[tuple[int, str, int], ...] = ()) -> tuple[BookHistory, Record]:
    """Run the market with deposits between samples; the history and the record of the same run."""
    record = Record(assembly.universe)
    log = BookHistoryLog(assembly.rules, record)
    shell = assembly.shell(log)
    begin(shell, assembly, assembly.config, "x", fresh=True)
    samples = 0
    for item in assembly.items():
        shell.take(item)
        if type(item) is Tick and item.sample and not item.warmup:
            samples += 1
            for after, agent, amount in deposits:
                if after == samples:
                    shell.run(Flow(ts=item.ts, amount_micro=amount, who="test", agent=agent, reason="test"))
        shell.state.ledger.check()
    return log.history(), record


@cache
def real_history() -> tuple[BookHistory, Record]:
    """The year 2020 with deposits: AAPL splits 4:1 on 2020-08-31."""
    with TemporaryDirectory() as folder:
        return history_of(assembly_of(Path(folder)), DEPOSITS)


def three_trades() -> BookHistory:
    """A book of three trades with numbers to work by hand.

    10,000 of cash on day 0. Interval 1: `trend` buys 20 AAA. Interval 2: AAA pays 1 per share and splits 2:1, `value`
    sells 40 BBB short, and 1,000 is deposited with `trend`. Interval 3: `trend` sells its 40 AAA, BBB costs a borrow
    fee, and `value` earns interest.
    """
    quantity = np.zeros((4, 2, 2))
    quantity[1, 0, 0], quantity[2, 0, 0] = 20.0, 40.0
    quantity[2, 1, 1] = quantity[3, 1, 1] = -40.0
    day = 86_400_000_000_000
    return BookHistory(
        days_ns=np.arange(4) * day + 20_000 * day,
        agents=("trend", "value"),
        symbols=("AAA", "BBB"),
        sectors=("energy", ""),
        quantity=quantity,
        mark=np.array([[100.0, 50.0], [104.0, 50.0], [51.0, 48.0], [55.0, 47.0]]),
        # trend: 6,000, less 20 x 101.50 and a fee of 2, plus dividend and deposit, plus 40 x 52 less a fee of 2
        # value: 4,000, plus 40 x 48.90 less a fee of 1, less a borrow fee of 0.50, plus interest of 3
        book_equity=np.array(
            [
                [6_000.0, 4_000.0],
                [3_968.0 + 20 * 104.0, 4_000.0],
                [4_988.0 + 40 * 51.0, 5_955.0 - 40 * 48.0],
                [7_066.0, 5_957.5 - 40 * 47.0],
            ]
        ),
        book_flows=np.array([[6_000.0, 4_000.0], [6_000.0, 4_000.0], [7_000.0, 4_000.0], [7_000.0, 4_000.0]]),
        trades=Trades.of(
            [
                (1, 0, 0, 20.0, 101.5, 100.0, 101.0, 2.0, False),
                (2, 1, 1, -40.0, 48.9, 50.0, 49.0, 1.0, False),
                (3, 0, 0, -40.0, 52.0, 51.0, 52.0, 2.0, False),
            ]
        ),
        bookings=Bookings.of(
            [
                (2, 0, 0, BOOKINGS.index("dividend"), 20.0),
                (3, 1, 1, BOOKINGS.index("borrow"), -0.5),
                (3, 1, ACCOUNT, BOOKINGS.index("interest"), 3.0),
            ]
        ),
        actions=Actions.of([(2, 0, 1.0, 1.0), (2, 0, 2.0, 0.0)]),
    )


def idle(samples: int = 4) -> BookHistory:
    """A book without a trade, with a symbol that never had a price."""
    return BookHistory(
        days_ns=np.arange(samples) * 86_400_000_000_000,
        agents=("one",),
        symbols=("AAA", "NEW"),
        sectors=("", ""),
        quantity=np.zeros((samples, 1, 2)),
        mark=np.column_stack([np.arange(samples) + 10.0, np.full(samples, np.nan)]),
        book_equity=np.full((samples, 1), 500.0),
        book_flows=np.full((samples, 1), 500.0),
        trades=Trades.of([]),
        bookings=Bookings.of([]),
        actions=Actions.of([]),
    )


def reordered(history: BookHistory, symbols: tuple[str, ...]) -> BookHistory:
    """The history with its symbols in another order."""
    # old[k] is the column that becomes column k, and new[k] is where the old column k goes
    old = [history.symbols.index(symbol) for symbol in symbols]
    new = np.empty(len(old) + 1, dtype=np.int64)
    new[old] = np.arange(len(old))
    new[ACCOUNT] = ACCOUNT  # the last element, for bookings without a symbol
    trades, bookings, actions = history.trades, history.bookings, history.actions
    return BookHistory(
        history.days_ns, history.agents, symbols, tuple(history.sectors[k] for k in old), history.quantity[:, :, old],
        history.mark[:, old], history.book_equity, history.book_flows,
        Trades(
            trades.interval, trades.agent, new[trades.symbol], trades.quantity, trades.price, trades.decision,
            trades.arrival, trades.fee, trades.crossed,
        ),
        Bookings(bookings.interval, bookings.agent, new[bookings.symbol], bookings.kind, bookings.amount),
        Actions(actions.interval, new[actions.symbol], actions.ratio, actions.cash),
    )  # fmt: skip
