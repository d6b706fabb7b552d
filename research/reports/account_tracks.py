"""Track records of a report's accounts: the whole account, each agent's book, and each benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from msgspec import structs

from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.views.outside_wealth import outside_of
from quantd.research.attribution.book_history import BOOKINGS, BookHistory
from quantd.research.metrics.round_trips import Fills, RoundTrip, round_trips
from quantd.research.metrics.run_track import splits_of, track_record_of
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.reports.report_contents import Account
from quantd.research.runs.benchmark_runs import HOUSE, UNTRADED, Benchmark
from quantd.research.runs.run_record import Record
from quantd.trading.instruments import MICRO
from quantd.trading.market import Floats
from quantd.trading.statistics import compounded

HOUSE_NAME: Final = "house"
PRICES: Final = "its prices and dividends"
"""The policy that the report names for a benchmark that is not traded."""


@dataclass(frozen=True, slots=True)
class Track:
    """An account with its track record. `record` is None where no figure is defined; `account.missing` says why."""

    account: Account
    record: TrackRecord | None


def tracks_of(
    assembly: Assembly,
    house_record: Record,
    history: BookHistory | None,
    benchmarks: Sequence[tuple[Benchmark, Record]],
) -> tuple[Track, ...]:
    """Return the tracks of the whole account, of the benchmarks, then of the agents' books.

    If `[universe] benchmark` is outside the universe and so not traded, it is the first benchmark, and metrics relative
    to a benchmark use it. Without such a benchmark, or without its prices, these metrics use the first of `benchmarks`.
    Raises ValueError where the house lost its whole account.
    """
    # a benchmark that lost its whole account has no returns to compare with
    first_benchmark = benchmarks[0][1] if benchmarks and min(benchmarks[0][1].equity_micro) > 0 else None
    policies = ", ".join(agent.policy for agent in assembly.config.agents)
    house = track_record_of(assembly, house_record, first_benchmark)
    if history is not None:
        weights = history.weights()  # float64[T+1, symbols], of the house
        house = replace(house, net=weights.sum(axis=1))
    wealth, missing_reason = outside_of(assembly, house_record.ts)
    if wealth is not None:
        house = replace(house, benchmark=wealth)
    tracks = [Track(Account(HOUSE_NAME, "house", policies, HOUSE), house)]
    if assembly.outside is not None:
        account = Account(assembly.universe.benchmark, "benchmark", PRICES, UNTRADED, missing_reason)
        tracks.append(Track(account, None if wealth is None else _untraded(house, wealth)))
    for benchmark, record in benchmarks:
        account = Account(benchmark.name, "benchmark", benchmark.policy, benchmark.limits)
        if min(record.equity_micro) > 0:
            run_track = track_record_of(benchmark.assembly, record, first_benchmark)
            tracks.append(Track(account, run_track if wealth is None else replace(run_track, benchmark=wealth)))
        else:
            tracks.append(Track(structs.replace(account, missing="the benchmark lost its whole account"), None))
    tracks += [_book_track(assembly, house_record, history, k, house) for k in range(len(assembly.rules.agents))]
    return tuple(tracks)


def _untraded(house: TrackRecord, wealth: Floats) -> TrackRecord:
    """Return the track record of an untraded benchmark: its `wealth` at the samples of the whole account."""
    return TrackRecord(wealth, house.days_ns, house.periods, house.risk_free_annual, benchmark=wealth)


def book_equity(record: Record, book: int) -> Floats:
    """Return float64[T+1], the equity of an agent's book at each of the T+1 samples, in account currency.

    `book` is the index of the agent in the configuration.
    """
    return np.array([books[book] for books in record.books_micro], dtype=np.float64) / MICRO


def _book_track(
    assembly: Assembly, house_record: Record, history: BookHistory | None, book: int, house: TrackRecord
) -> Track:
    """Return the track of an agent's book; `book` is the index of the agent in the configuration.

    Without a `history`, transfers between books count as returns, and exposure, costs and round trips are unknown.
    """
    agent, configured = assembly.rules.agents[book], assembly.config.agents[book]
    account = Account(agent.name, "agent", configured.policy, configured.profile or HOUSE)
    equity = book_equity(house_record, book)
    if not bool(np.all(equity > 0.0)):
        return Track(structs.replace(account, missing="the book has no equity at some samples"), None)
    optional_fields: Mapping[str, object] = {}
    if history is not None:
        optional_fields = _position_fields(assembly, house_record, history, book)
        if np.ptp(history.book_flows[:, book]):
            equity = float(equity[0]) * compounded(history.book_returns(book)[1:])
    else:
        equity = house_record.wealth_micro(book) / MICRO
    record = TrackRecord(
        equity, house.days_ns, house.periods, house.risk_free_annual,
        benchmark=house.benchmark, **optional_fields,  # type: ignore[arg-type]
    )  # fmt: skip
    return Track(account, record)


def _position_fields(assembly: Assembly, house_record: Record, history: BookHistory, book: int) -> Mapping[str, object]:
    """Return the fields of a book's TrackRecord that need positions: exposure, value traded, costs and round trips.

    A cross, a trade between two agents, has no slippage. A fill better than the open has slippage 0, as for the whole
    account.
    """
    value = history.quantity[:, book] * history.price  # float64[T+1, symbols]
    equity = history.book_equity[:, book]
    trades = history.trades.rows(history.trades.agent == book)
    slippage = np.where(trades.crossed, 0.0, np.sign(trades.quantity) * (trades.price - trades.arrival))
    return {
        "gross": np.abs(value).sum(axis=1) / equity,
        "net": value.sum(axis=1) / equity,
        "traded": float((np.abs(trades.quantity) * trades.price).sum()),
        "commission": float(trades.fee.sum()),
        "slippage_paid": float((np.abs(trades.quantity) * np.maximum(slippage, 0.0)).sum()),
        "borrow": -booked(history, book, "borrow"),  # a booking is positive for a gain, a cost is positive here
        "trips": _book_trips(assembly, house_record, history, book),
    }


def booked(history: BookHistory, book: int, kind: str) -> float:
    """Return the sum of a book's cash bookings of a `kind` of BOOKINGS, in account currency; positive for a gain."""
    rows = history.bookings
    return float(rows.amount[(rows.agent == book) & (rows.kind == BOOKINGS.index(kind))].sum())


def _book_trips(assembly: Assembly, house_record: Record, history: BookHistory, book: int) -> tuple[RoundTrip, ...]:
    """Return the round trips of a book. A fill has the time of the sample that ends its interval."""
    trades = history.trades.rows(history.trades.agent == book)
    ts = np.asarray(house_record.ts, dtype=np.int64)
    fills = Fills(ts[trades.interval], trades.symbol, trades.quantity, trades.price, trades.fee)
    return round_trips(fills, history.symbols, ts, splits_of(assembly))
