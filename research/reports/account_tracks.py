"""Track records of a report's accounts: the house, each agent's book, and each benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from msgspec import structs

from quantd.daemon.assembly.parts import Assembly
from quantd.research.attribution.book_history import BOOKINGS, BookHistory
from quantd.research.metrics.outside_wealth import outside_of
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


@dataclass(frozen=True, slots=True)
class Track:
    """An account with its track record; None where its figures are undefined."""

    account: Account
    record: TrackRecord | None


def tracks_of(
    assembly: Assembly,
    house_record: Record,
    history: BookHistory | None,
    benchmarks: Sequence[tuple[Benchmark, Record]],
) -> tuple[Track, ...]:
    """Return the house, the benchmarks, then the agents' books. Raises ValueError for a lost account.

    A benchmark outside the universe is the first one.
    """
    base = benchmarks[0][1] if benchmarks and min(benchmarks[0][1].equity_micro) > 0 else None
    policies = ", ".join(agent.policy for agent in assembly.config.agents)
    house = track_record_of(assembly, house_record, base)
    if history is not None:
        weights = history.weights()
        house = replace(
            house,
            net=weights.sum(axis=1),
            gross=np.abs(weights).sum(axis=1) if house_record.own_closes else house.gross,
        )
    wealth, missing = outside_of(assembly, house_record.ts, house_record.days_ns)
    if wealth is not None:
        house = replace(house, benchmark=wealth)
    tracks = [Track(Account(HOUSE_NAME, "house", policies, HOUSE), house)]
    if assembly.outside is not None:
        account = Account(assembly.universe.benchmark, "benchmark", PRICES, UNTRADED, missing)
        tracks.append(Track(account, None if wealth is None else _untraded(house, wealth)))
    for benchmark, record in benchmarks:
        account = Account(benchmark.name, "benchmark", benchmark.policy, benchmark.limits)
        if min(record.equity_micro) > 0:
            track = track_record_of(benchmark.assembly, record, base)
            tracks.append(Track(account, track if wealth is None else replace(track, benchmark=wealth)))
        else:
            tracks.append(Track(structs.replace(account, missing="the benchmark lost its whole account"), None))
    tracks += [_book(assembly, house_record, history, k, house) for k in range(len(assembly.rules.agents))]
    return tuple(tracks)


def _untraded(house: TrackRecord, wealth: Floats) -> TrackRecord:
    """Return the track record of a wealth without an account, at the samples of the house."""
    return TrackRecord(wealth, house.days_ns, house.periods, house.risk_free_annual, benchmark=wealth)


def book_equity(record: Record, number: int) -> Floats:
    """Return float64[T+1], the equity of an agent's book at samples."""
    return np.array([books[number] for books in record.books_micro], dtype=np.float64) / MICRO


def _book(
    assembly: Assembly, house_record: Record, history: BookHistory | None, number: int, house: TrackRecord
) -> Track:
    """Return the track of an agent's book."""
    agent, configured = assembly.rules.agents[number], assembly.config.agents[number]
    account = Account(agent.name, "agent", configured.policy, configured.profile or HOUSE)
    equity = book_equity(house_record, number)
    if not bool(np.all(equity > 0.0)):
        return Track(structs.replace(account, missing="the book has no equity at some samples"), None)
    more: Mapping[str, object] = {}
    if history is not None:
        more = _positions(assembly, house_record, history, number)
        equity = _wealth(equity, np.diff(history.book_flows[:, number]))
    record = TrackRecord(
        equity, house.days_ns, house.periods, house.risk_free_annual,
        benchmark=house.benchmark, **more,  # type: ignore[arg-type]
    )  # fmt: skip
    return Track(account, record)


def _wealth(equity: Floats, moved: Floats) -> Floats:
    """Return the equity without float64[T] transfers, each of which follows the sample at an interval's beginning."""
    if not moved.any():
        return equity
    base = equity[:-1] + moved
    return float(equity[0]) * compounded(equity[1:] / base - 1.0)


def _positions(assembly: Assembly, house_record: Record, history: BookHistory, number: int) -> Mapping[str, object]:
    """Return exposure, value traded, costs and round trips of a book.

    A cross has no slippage. A price better than the open counts 0, as for the house.
    """
    value = history.quantity[:, number] * history.price
    equity = history.book_equity[:, number]
    trades = history.trades.rows(history.trades.agent == number)
    beyond = np.where(trades.crossed, 0.0, np.sign(trades.quantity) * (trades.price - trades.arrival))
    return {
        "gross": np.abs(value).sum(axis=1) / equity,
        "net": value.sum(axis=1) / equity,
        "traded": float((np.abs(trades.quantity) * trades.price).sum()),
        "commission": float(trades.fee.sum()),
        "slippage_paid": float((np.abs(trades.quantity) * np.maximum(beyond, 0.0)).sum()),
        "borrow": -booked(history, number, "borrow"),
        "trips": _book_trips(assembly, house_record, history, number),
    }


def booked(history: BookHistory, number: int, kind: str) -> float:
    """Return the sum of the cash bookings of a kind in a book; a gain is positive."""
    rows = history.bookings
    return float(rows.amount[(rows.agent == number) & (rows.kind == BOOKINGS.index(kind))].sum())


def _book_trips(assembly: Assembly, house_record: Record, history: BookHistory, number: int) -> tuple[RoundTrip, ...]:
    """Return the round trips of a book. A fill has the time of the sample that ends its interval."""
    trades = history.trades.rows(history.trades.agent == number)
    ts = np.asarray(house_record.ts, dtype=np.int64)
    fills = Fills(ts[trades.interval], trades.symbol, trades.quantity, trades.price, trades.fee)
    return round_trips(fills, history.symbols, ts, splits_of(assembly))
