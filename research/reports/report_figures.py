"""Builds the report of a finished backtest from its record, its book history and the runs of its benchmarks."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import structs

from quantd.adapters.feeds.recorded.bar_files import digest as file_digest
from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.config import Config, digest
from quantd.daemon.runtime.version import code_version, commit
from quantd.daemon.views.run_summary import Summary
from quantd.daemon.views.struct_fields import struct_of
from quantd.research.attribution.book_history import BookHistory
from quantd.research.attribution.breakdown import Breakdown, breakdown
from quantd.research.attribution.risk_contributions import Basis, RiskContributions, risk_contributions
from quantd.research.doubts import doubt_lines
from quantd.research.metrics.calendar_tables import annual_returns, monthly_returns
from quantd.research.metrics.catalogue import METRICS, measure
from quantd.research.metrics.drawdown_measures import under_water
from quantd.research.metrics.rolling import Rolling, rolling
from quantd.research.metrics.round_trips import hit_rates
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.reports.account_tracks import Track, booked, tracks_of
from quantd.research.reports.report_contents import (
    BacktestReport,
    CostRow,
    Curves,
    Drawdown,
    Exposures,
    MetricRow,
    ReportHeader,
    Risk,
    RollingCurves,
    Row,
    RunFigures,
    Samples,
    SymbolWeight,
    Trading,
)
from quantd.research.reports.report_goals import check_goals, goals_of
from quantd.research.reports.report_statistics import known, statistics_of
from quantd.research.runs.benchmark_runs import UNTRADED, Benchmark, benchmark_of, benchmark_record
from quantd.research.runs.comparison import Drive, Settings, settings_of
from quantd.research.runs.run_record import Record
from quantd.research.verdict import TURNOVER_DEFINITION, Measured, Verdict
from quantd.trading.display_text import instant_text
from quantd.trading.exit_codes import ExplainedError
from quantd.trading.instruments import MICRO
from quantd.trading.market import Floats, Ints

POINTS: Final = 1_500
"""Maximum number of samples of a curve."""

DEEPEST: Final = 5
"""Number of drawdowns that a report lists."""

EXTREMES: Final = 10
"""Number of winners, and of losers, that a report lists."""

NO_HISTORY: Final = "Attribution, net exposure and risk contributions are missing: {}."
"""Note of a report without a history of the books; {} is the reason."""


def planned(config: Config, assembly: Assembly) -> tuple[Benchmark, ...]:
    """Return the benchmarks of `[study]`.

    Raises PolicyError for a benchmark that cannot be loaded, and ConfigError for a goal without a metric.
    """
    check_goals(config)
    return tuple(benchmark_of(assembly, name) for name in config.study.benchmarks)


def benchmark_records(
    benchmarks: Sequence[Benchmark], settings: Settings, drive: Callable[[str], Drive], finished: Mapping[str, Record]
) -> list[tuple[Benchmark, Record]]:
    """Return each benchmark with the record of its run. Benchmarks whose name is not in `finished` are run now.

    `drive(name)` returns the function that runs the benchmark of that name. `settings` are the settings of the reported
    run. If its policies never had enough bars to decide, the result has no benchmarks. Raises Incomparable where
    a benchmark's run has other settings.
    """
    if not settings.begins:
        return []
    return [
        (
            benchmark,
            finished[benchmark.name]
            if benchmark.name in finished
            else benchmark_record(benchmark, settings, drive(benchmark.name)),
        )
        for benchmark in benchmarks
    ]


class TooShort(ExplainedError, ValueError):
    """A run has too few samples for a report."""


def report_of(
    assembly: Assembly,
    record: Record,
    history: BookHistory | str,
    benchmarks: Sequence[tuple[Benchmark, Record]],
    result: Summary,
    verdict: Verdict,
) -> BacktestReport:
    """Build the report of a run. `history` is the history of its books, or the reason why there is none.

    Raises TooShort for fewer than two samples or an account that lost everything.
    """
    _check_length(record)
    books = None if isinstance(history, str) else history
    tracks = tracks_of(assembly, record, books, benchmarks)
    house = tracks[0].record
    assert house is not None
    accounts = tuple(track.account for track in tracks)
    metrics = metrics_of(tracks)
    benchmark_tracks = [(track.account.name, track.record) for track in tracks if track.account.kind == "benchmark"]
    stamps = np.asarray(record.ts, dtype=np.int64)
    curve_samples = thinned(house)
    attribution, attribution_notes = _attribution(books)
    return BacktestReport(
        header=_header(assembly, record, house, result, verdict.sharpe_definition),
        verdict=_with_benchmark_failures(verdict, benchmarks),
        accounts=accounts,
        metrics=metrics,
        goals=goals_of(assembly.config.study.goals, accounts, metrics),
        curves=_curves(stamps, tracks, curve_samples),
        rolling=_rolling(stamps, tracks, curve_samples),
        drawdowns=deepest(house, stamps),
        months=monthly_returns(house),
        years=annual_returns(house),
        exposures=_exposures(stamps, house, books, curve_samples),
        trading=_trading(house, result),
        risk=Risk(_risk(books, house, "last"), _risk(books, house, "average")),
        costs=(*_costs(tracks, record, benchmarks), *_agent_costs(tracks, record, books)),
        statistics=statistics_of(house, benchmark_tracks, verdict),
        attribution=attribution,
        notes=(
            _first_fills(record, benchmarks),
            *doubt_lines(verdict.doubts),
            *verdict.notes,
            *([NO_HISTORY.format(history)] if isinstance(history, str) else attribution_notes),
            *(f"{account.name}: {account.missing}." for account in accounts if account.missing),
        ),
        samples=_samples(record, house),
    )


def _with_benchmark_failures(verdict: Verdict, benchmarks: Sequence[tuple[Benchmark, Record]]) -> Verdict:
    """Return the verdict with the failed decisions of the benchmarks added.

    The verdict already names the failures of equal weight, which are not added a second time.
    """
    texts = {failure.text for failure in verdict.failures}
    benchmark_failures = [
        failure
        for benchmark, record in benchmarks
        for failure in record.failures.of((benchmark.name.replace("_", " "),))
    ]
    return structs.replace(
        verdict, failures=(*verdict.failures, *(failure for failure in benchmark_failures if failure.text not in texts))
    )


def _first_fills(record: Record, benchmarks: Sequence[tuple[Benchmark, Record]]) -> str:
    """Return a note with the date of the first fill of the run and of each benchmark, for those with fills."""
    runs = [("house", record), *((benchmark.name, run) for benchmark, run in benchmarks)]
    return f"First fills: {', '.join(f'{name} {run.first_fill}' for name, run in runs if run.first_fill)}."


def run_figures(
    assembly: Assembly, record: Record, history: BookHistory, result: Summary, state: Path | None = None
) -> RunFigures:
    """Return the figures of a finished run without benchmarks, for a comparison of two runs.

    `state` is the state folder; its ledger of looks (evaluations) may add a doubt about the run. Raises TooShort for
    fewer than two samples or an account that lost everything.
    """
    _check_length(record)
    tracks = tracks_of(assembly, record, history, ())[:1]
    house = tracks[0].record
    assert house is not None
    header = _header(assembly, record, house, result, assembly.sharpe_definition)
    failures = record.failures.of(assembly.rules.names())
    measured = Measured.of(assembly, record)
    # None: without a run of equal weight; without a ledger, no agent is known to know the future
    doubts = measured.doubts(assembly, None, "" if state is None else measured.marked(assembly, state))
    return RunFigures(header, metrics_of(tracks), _samples(record, house), failures, doubts)


def _check_length(record: Record) -> None:
    if len(record.ts) < 2 or min(record.equity_micro) <= 0:
        raise TooShort(
            "the run has fewer than two samples, or an equity of 0 or less, and no figures: lengthen [feed] start to "
            "end, or find out why the account was lost"
        )


def metrics_of(tracks: Sequence[Track]) -> tuple[MetricRow, ...]:
    """Measure each metric of the catalogue for each account."""
    columns = [measure(track.record) if track.record is not None else {} for track in tracks]
    return tuple(
        struct_of(MetricRow, metric, values=tuple(column.get(metric.name) for column in columns)) for metric in METRICS
    )


def thinned(house: TrackRecord, points: int = POINTS) -> Ints:
    """Return the indices of the samples that curves show, int64[at most `points`], in ascending order.

    The samples are evenly spaced. The samples of the highest wealth, the lowest wealth and the deepest drawdown are
    added.
    """
    extremes = [int(np.argmax(house.wealth)), int(np.argmin(house.wealth)), int(np.argmax(house.drawdowns))]
    last = len(house.wealth) - 1
    even = np.linspace(0, last, min(last + 1, points - len(extremes))).round().astype(np.int64)
    return np.unique(np.concatenate((even, extremes)))


def deepest(house: TrackRecord, stamps: Ints) -> tuple[Drawdown, ...]:
    """Return the periods in which wealth was below an earlier high: the deepest first, at most DEEPEST periods."""
    edges = np.flatnonzero(np.diff(under_water(house), prepend=False, append=False))
    periods = []
    # edges alternate: the first sample below the high, then the first one that is no longer below it
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        trough = start + int(np.argmax(house.drawdowns[start:end]))
        recovered = end < len(house.wealth)
        periods.append(
            Drawdown(
                float(house.drawdowns[trough]), _date(stamps[start - 1]), _date(stamps[trough]),
                _date(stamps[end]) if recovered else None, trough - start + 1, end - trough if recovered else None,
            )
        )  # fmt: skip
    return tuple(sorted(periods, key=lambda period: (-period.depth, period.high))[:DEEPEST])


def _date(ts: int) -> str:
    return instant_text(int(ts))[:10]


def _header(
    assembly: Assembly, record: Record, house: TrackRecord, result: Summary, sharpe_definition: str
) -> ReportHeader:
    """Return the facts of a run beside its figures: names, dates, costs, digests and definitions.

    With a table of fitted costs, `costs` of the result has the table's number of rows.
    """
    config, settings = assembly.config, settings_of(assembly, record)
    model, table = settings.costs, settings.costs.table
    costs = {name: float(getattr(model, name)) for name in model.__struct_fields__ if name not in ("seed", "table")}
    if table is not None:
        costs["fitted_rows"] = float(len(table.rows))
    return ReportHeader(
        name=config.quantd.name, run=result.run, first=_date(record.ts[0]), last=_date(record.ts[-1]),
        samples=len(record.ts), years=house.years, symbols=assembly.universe.symbols,
        currency=config.universe.currency, source=config.feed.path, interval_ns=assembly.feed.interval_ns,
        capital=settings.cash_micro / MICRO, costs=costs | {"borrow_bp_annual": settings.borrow_bp_annual},
        seed=model.seed, config=digest(config), market=assembly.market, digest=result.digest,
        version=code_version(), sharpe_definition=sharpe_definition,
        turnover_definition=TURNOVER_DEFINITION, risk_free_annual=house.mean_risk_free, settings=settings,
        beyond_bars=_beyond_bars(config), commit=commit(),
    )  # fmt: skip


def _beyond_bars(config: Config) -> dict[str, str]:
    """Return the digest of each market file beyond the bars and the table of costs, by its name.

    A constant interest rate on cash has no file: the result has its value instead of a digest.
    """
    # name -> (path, from when a value of the file is known; empty where the file has no such choice)
    files: dict[str, tuple[str, str]] = {
        f"macro series {series.name}": (series.path, series.available) for series in config.feed.macro
    }
    rate = config.document.account.cash_rate
    if config.universe.members:
        files["members of the universe by date"] = (config.universe.members, "")
    if isinstance(rate, str):
        files["interest rate on cash"] = (rate, "")
    digests = {name: file_digest((config.at(path),), selection) for name, (path, selection) in files.items()}
    return digests | ({"interest rate on cash": str(rate)} if isinstance(rate, float) else {})


def _row(values: Floats) -> Row:
    """Return the values as a tuple, with None in place of NaN and infinity."""
    return tuple(value if finite else None for value, finite in zip(values.tolist(), np.isfinite(values), strict=True))


def _by_account(tracks: Sequence[Track], chosen: Ints, series: Callable[[TrackRecord], Floats]) -> tuple[Row, ...]:
    """Return a row for each account: its `series` at the samples `chosen`, all None for an account without a record."""
    empty = (None,) * len(chosen)
    return tuple(empty if track.record is None else _row(series(track.record)[chosen]) for track in tracks)


def _curves(stamps: Ints, tracks: Sequence[Track], chosen: Ints) -> Curves:
    return Curves(
        tuple(stamps[chosen].tolist()),
        _by_account(tracks, chosen, lambda record: record.wealth / record.wealth[0]),
        _by_account(tracks, chosen, lambda record: record.drawdowns),
    )


def _rolling(stamps: Ints, tracks: Sequence[Track], chosen: Ints) -> RollingCurves:
    """Return the rolling figures at the `chosen` samples (indices) that have a full window behind them.

    The first sample has no return, so the return of sample k is in row k - 1.
    """
    rolling_figures = [None if track.record is None else rolling(track.record) for track in tracks]
    house = rolling_figures[0]
    assert house is not None
    samples = chosen[chosen >= house.window]
    returns = samples - 1
    empty = (None,) * len(samples)

    def rows(series: Callable[[Rolling], Floats]) -> tuple[Row, ...]:
        return tuple(empty if curve is None else _row(series(curve)[returns]) for curve in rolling_figures)

    return RollingCurves(
        house.window,
        tuple(stamps[samples].tolist()),
        rows(lambda curve: curve.sharpe),
        rows(lambda curve: curve.volatility),
        rows(lambda curve: curve.drawdown),
        _row(house.beta[returns]) if house.beta is not None else (),
    )


def _exposures(stamps: Ints, house: TrackRecord, books: BookHistory | None, chosen: Ints) -> Exposures:
    """Return exposure at the `chosen` samples, and each symbol's last, mean and largest weight.

    Without a history of the books (None) there are no weights.
    """
    gross = house.gross if house.gross is not None else np.zeros(len(stamps))
    symbol_weights: tuple[SymbolWeight, ...] = ()
    if books is not None:
        weights = books.weights()
        columns = zip(
            books.symbols, weights[-1].tolist(), weights.mean(axis=0).tolist(), np.abs(weights).max(axis=0).tolist(),
            strict=True,
        )  # fmt: skip
        symbol_weights = tuple(sorted((SymbolWeight(*column) for column in columns), key=lambda weight: weight.symbol))
    net = _row(house.net[chosen]) if house.net is not None else ()
    return Exposures(tuple(stamps[chosen].tolist()), _row(gross[chosen]), net, symbol_weights)


def _trading(house: TrackRecord, result: Summary) -> Trading:
    """Return the counts of orders and fills, and the round trips: totals, by symbol, largest winners and losers."""
    trips = house.trips or ()
    wins = sum(trip.profit > 0.0 for trip in trips)
    ordered = sorted(trips, key=lambda trip: (trip.profit, trip.symbol, trip.exit_ts))
    return Trading(
        orders=result.orders,
        fills=result.fills,
        cut=result.clipped,
        refused=result.refused,
        switch_trips=result.trips,  # times that a risk switch was triggered, no round trips
        round_trips=len(trips),
        wins=wins,
        hit_rate=wins / len(trips) if trips else None,
        profit=float(np.sum([trip.profit for trip in ordered])),
        by_symbol=hit_rates(trips),
        winners=tuple(trip for trip in ordered[::-1][:EXTREMES] if trip.profit > 0.0),
        losers=tuple(trip for trip in ordered[:EXTREMES] if trip.profit < 0.0),
    )


def _risk(books: BookHistory | None, house: TrackRecord, basis: Basis) -> RiskContributions | None:
    if books is None or house.samples < 2:
        return None
    return risk_contributions(books, basis, periods=house.periods)


def _costs(
    tracks: Sequence[Track], house_record: Record, benchmarks: Sequence[tuple[Benchmark, Record]]
) -> tuple[CostRow, ...]:
    """Return the costs of the whole account, then of each benchmark that is traded."""
    records = [house_record, *(record for _, record in benchmarks)]
    # in the order of `records`: the house, then the benchmarks
    traded_tracks = [track for track in tracks if track.account.kind != "agent" and track.account.limits != UNTRADED]
    return tuple(
        CostRow(
            account=track.account.name,
            traded=record.traded,
            commission=record.commission_micro / MICRO,
            slippage_paid=record.slippage_paid,
            borrow=record.borrow_micro / MICRO,
            interest=record.interest_micro / MICRO,
            total=record.costs,
            drag_annual=_drag(track.record),
            orders=sum(orders_filled(record).values()),
        )
        for track, record in zip(traded_tracks, records, strict=True)
    )


def _agent_costs(tracks: Sequence[Track], house_record: Record, books: BookHistory | None) -> Iterator[CostRow]:
    """Yield the costs of each agent's book; yields nothing without a history of the books (None)."""
    orders = orders_filled(house_record, by_agent=True)
    agents = [track for track in tracks if track.account.kind == "agent"]
    for agent, (account, record) in enumerate((track.account, track.record) for track in agents):
        if record is None or books is None:
            continue
        traded, commission, slippage, borrow = (
            amount or 0.0 for amount in (record.traded, record.commission, record.slippage_paid, record.borrow)
        )
        yield CostRow(
            account=account.name, traded=traded, commission=commission, slippage_paid=slippage, borrow=borrow,
            interest=booked(books, agent, "interest"), total=commission + slippage + borrow,
            drag_annual=_drag(record), orders=orders[agent],
        )  # fmt: skip


def _drag(record: TrackRecord | None) -> float | None:
    """Return the annual costs of an account over its average equity; None where either is unknown."""
    return known(measure(record, ["cost_drag"])["cost_drag"]) if record is not None else None


def orders_filled(record: Record, *, by_agent: bool = False) -> Counter[int]:
    """Return the number of orders with a fill, by agent index if `by_agent`; else one number, under the key 0."""
    order_keys: set[tuple[int, int, int, int]] = set()
    for fills in record.fill_columns:
        for symbol, agent_shares in zip(fills.columns[0].tolist(), fills.effect().shares, strict=True):
            owners = [agent for agent, _ in agent_shares] if by_agent else [0]
            order_keys.update((fills.sample, fills.n, symbol, agent) for agent in owners)
    return Counter(agent for *_, agent in order_keys)


def _attribution(books: BookHistory | None) -> tuple[Breakdown | None, list[str]]:
    """Return (attribution or None, notes on why it is missing); (None, []) without a history of the books."""
    if books is None:
        return None, []
    try:
        return breakdown(books), []
    except ValueError as why:
        return None, [f"Attribution is missing: {why}."]


def _samples(record: Record, house: TrackRecord) -> Samples:
    rate = house.risk_free_annual
    json_rate = float(rate) if isinstance(rate, float | int) else tuple(rate.tolist())
    return Samples(tuple(record.ts), tuple(house.equity.tolist()), json_rate)
