"""Doubts about prices whose harm is measured: repeated opens, shifted or filled symbols, dividends twice or unpaid.

What can go wrong: a result rests on a fault of the prices, and nothing says how much of it. So each clause of this
module states the part of the annual return that comes from the fault. A part is an estimate: it says "about".
"""

from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, Final, NamedTuple, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from quantd.adapters.calendars import ALWAYS_OPEN
from quantd.adapters.feeds.recorded.origin import origin_of
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.research.doubts.doubt import Found
from quantd.research.doubts.evidence import Evidence
from quantd.research.doubts.funds import PAYS_NONE
from quantd.research.doubts.price_doubts import (
    WHOLE_CENTS,
    bars_file,
    differing_adjusted_closes,
    falls_by,
    whole_cents,
)
from quantd.trading.instruments import MARK, MICRO, NANO, is_pair
from quantd.trading.market import Bools, Floats
from quantd.trading.sessions import DAY_NS

REPEATED: Final = 0.5
"""Share of opens equal to the close before above which the opens are no opens."""

MOVES_WITH: Final = 0.3
"""Correlation with the other symbols of the session before or after, above which a symbol may be shifted."""

MIN_ROWS: Final = 100
"""A symbol with fewer common sessions with the other symbols is not judged."""

FILLED_SESSIONS: Final = 10
"""With this number of equal bars in a row, a symbol was filled forward."""

MAX_ERROR: Final = 0.25
"""Standard error of the fall per dividend above which prices say nothing about dividends."""

MIN_DIVIDENDS: Final = 20
"""With fewer dividends the errors of their falls are not known well enough."""

USUAL_YIELD: Final = 0.015
"""A usual dividend yield of shares and their funds a year, for prices whose dividends are unknown."""


T = TypeVar("T")
P = ParamSpec("P")


def _once(measure: Callable[Concatenate[Replay, P], T]) -> Callable[Concatenate[Replay, P], T]:
    """Let a function measure each feed once: a sweep asks the same of one market at each of its points."""
    measured: WeakKeyDictionary[Replay, dict[object, T]] = WeakKeyDictionary()

    def call(feed: Replay, /, *further: P.args, **named: P.kwargs) -> T:
        results, key = measured.setdefault(feed, {}), (further, *named.items())
        if key not in results:
            results[key] = measure(feed, *further, **named)
        return results[key]

    return call


@_once
def _stale_opens(feed: Replay) -> tuple[Bools, float]:
    """Return bool[T, N], the opens of sessions that repeat the close before, and their share of all of these opens."""
    columns = feed.columns
    stale: Bools = np.zeros(columns.open.shape, dtype=bool)
    begins = 0
    days = (columns.key - (feed.interval_ns < DAY_NS)) // DAY_NS
    for column, instrument in enumerate(feed.universe.instruments):
        # where trading goes on at night, a bar begins where the last one ended
        if instrument.calendar == ALWAYS_OPEN or is_pair(instrument.symbol):
            continue
        rows = np.flatnonzero(columns.fresh[:, column])
        first = rows[1:][np.diff(days[rows]) > 0]  # first bar of a session
        before = rows[:-1][np.diff(days[rows]) > 0]
        flat = columns.high[first, column] == columns.low[first, column]  # no trade, or a forward-filled bar
        repeats = np.isclose(columns.open[first, column], columns.close[before, column], rtol=1e-7, atol=0.0) & ~flat
        stale[first, column] = repeats
        begins += int((~flat).sum())
    return stale, float(stale.sum()) / begins if begins else 0.0


def repeated_opens(evidence: Evidence) -> str | Found:
    """Opens of sessions that repeat the close before, at which the decision was made; more than half of them."""
    columns, (stale, share) = evidence.assembly.feed.columns, _stale_opens(evidence.assembly.feed)
    if share <= REPEATED:
        return ""
    record, gain = evidence.record, 0.0
    ts, equity = np.asarray(record.ts), np.asarray(record.equity_micro, dtype=np.float64) / MICRO
    for fills in evidence.fills():
        at_stale = stale[fills.row, fills.column] & (fills.ts <= columns.ts_event[fills.row])
        later = columns.close[fills.row, fills.column]
        sample = np.maximum(np.searchsorted(ts, fills.ts) - 1, 0)
        gain += float(np.where(at_stale, fills.quantity * (later - fills.price) / equity[sample], 0.0).sum())
    annual = evidence.performance.annual_return
    part = (1.0 + annual) * -float(np.expm1(-gain / max(evidence.years, 1e-9)))
    text = f"{share:.0%} of the opens repeat the close before, which the decision saw"
    return Found(f"{text}: of {annual:.0%} a year about {part:.0%} come from fills there", evidence.in_ratio(part))


def _moves(feed: Replay, column: int) -> Floats:
    """Return float64[T - 1], the changes of the log of one symbol's close; NaN where either row has no new bar.

    One symbol at a time: a table of a large market is 80 MB.
    """
    columns = feed.columns
    with np.errstate(divide="ignore", invalid="ignore"):
        moves: Floats = np.diff(np.log(np.where(columns.fresh[:, column], columns.close[:, column], np.nan)))
    moves[~np.isfinite(moves)] = np.nan
    return moves


class Shift(NamedTuple):
    """A symbol, by its column, that moves with the other symbols of another session: one later if `early`, else one
    before. `moved` is the correlation with those, `same` the size of the correlation on its own dates."""

    column: int
    early: bool
    moved: float
    same: float


@_once
def _shifts(feed: Replay) -> list[Shift]:
    """Return the symbols that move with the other symbols of the session before or after."""
    calendars = [instrument.calendar for instrument in feed.universe.instruments]
    # sums over all symbols of a calendar, from which the symbol's own move is taken away
    sums = {name: np.zeros(len(feed.columns.key) - 1) for name in calendars}
    counts = {name: np.zeros(len(feed.columns.key) - 1, dtype=np.int64) for name in calendars}
    for column, name in enumerate(calendars):
        moves = _moves(feed, column)
        sums[name] += np.nan_to_num(moves)
        counts[name] += np.isfinite(moves)
    shifts = []
    for column, name in enumerate(calendars):
        if name == ALWAYS_OPEN:
            continue
        moves = _moves(feed, column)
        rest, mean = counts[name] - np.isfinite(moves), np.full(len(moves), np.nan)
        np.divide(sums[name] - np.nan_to_num(moves), rest, out=mean, where=rest >= 2)
        same = abs(_correlation(moves, mean))
        early, late = _correlation(moves[:-1], mean[1:]), _correlation(moves[1:], mean[:-1])
        moved = max(early, late)
        if moved > MOVES_WITH and moved > 2.0 * same + 0.1:
            shifts.append(Shift(column, early > late, moved, same))
    return shifts


def shifted_symbols(evidence: Evidence) -> str | Found:
    """A symbol that moves with the other symbols of the session before or after, and not with those of its own."""
    feed, texts, harm = evidence.assembly.feed, [], 0.0
    if feed.interval_ns < DAY_NS:
        return ""
    for shift in _shifts(feed):
        share = evidence.gained(shift.column)
        harm = max(harm, evidence.in_ratio(share * evidence.performance.annual_return))
        texts.append(
            f"{feed.universe.symbols[shift.column]} is dated a session {'early' if shift.early else 'late'}: its "
            f"correlation with the other symbols is {shift.moved:.2f} one session "
            f"{'later' if shift.early else 'before'} and {shift.same:.2f} on its own dates; of the gain {share:.0%} is "
            "of this symbol"
        )
    return Found("; ".join(texts), harm)


def _correlation(one: Floats, other: Floats) -> float:
    """Return the correlation of two series where both are known; 0 for too few rows or a constant series."""
    known = np.isfinite(one) & np.isfinite(other)
    if int(known.sum()) < MIN_ROWS or not one[known].std() > 0.0 or not other[known].std() > 0.0:
        return 0.0
    return float(np.corrcoef(one[known], other[known])[0, 1])


@_once
def _filled(feed: Replay, reads_after: int) -> list[tuple[int, int, int]]:
    """Return the symbols that were filled forward after an instant in ns UTC: (column, first row, equal sessions)."""
    columns, filled = feed.columns, []
    for column in range(feed.universe.size):
        rows = np.flatnonzero(columns.fresh[:, column] & (columns.ts_event > reads_after))
        bars = np.stack([getattr(columns, name)[rows, column] for name in ("open", "high", "low", "close")])
        equal = (bars[:, 1:] == bars[:, :-1]).all(axis=0)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], equal.astype(np.int8), [0]])))
        longest = max(zip(edges[::2], edges[1::2], strict=True), key=lambda run: run[1] - run[0], default=(0, 0))
        count = int(longest[1] - longest[0])
        if count >= FILLED_SESSIONS:
            filled.append((column, int(rows[longest[0]]), count))
    return filled


def filled_symbols(evidence: Evidence) -> str | Found:
    """A symbol whose bars are equal for 10 sessions or more in a row, as those that were filled forward."""
    feed, texts, harm = evidence.assembly.feed, [], 0.0
    if feed.interval_ns < DAY_NS:
        return ""
    for column, row, count in _filled(feed, evidence.reads_after):
        share = evidence.gained(column)
        harm = max(harm, evidence.in_ratio(share * evidence.performance.annual_return))
        texts.append(
            f"the bars of {feed.universe.symbols[column]} are equal for {count:,} sessions from "
            f"{evidence.date_of(row)} on, as if filled forward; of the gain {share:.0%} is of this symbol"
        )
    return Found("; ".join(texts), harm)


def _dividends(evidence: Evidence) -> list[tuple[int, int, float]]:
    """Return the dividends that the run paid: (column of the symbol, ex-date in ns UTC, cash)."""
    feed, record = evidence.assembly.feed, evidence.record
    return [
        (action.symbol, action.ts - action.ts % DAY_NS, action.cash_nano / NANO)
        for action in feed.actions
        if action.kind == "dividend" and record.ts[0] <= action.ts <= record.ts[-1]
    ]


def double_dividends(evidence: Evidence) -> str | Found:
    """Dividends that are paid in the run while the prices do not fall by them: they are counted twice."""
    fall = falls_by(evidence.assembly.feed, _dividends(evidence))
    # consistent with no fall, measured well enough that a fall by the whole dividend would have been seen
    if (
        fall is None
        or len(fall.yields) < MIN_DIVIDENDS
        or fall.error > MAX_ERROR
        or abs(fall.slope) > max(2.0 * fall.error, 0.1)
    ):
        return ""
    invested = sum(evidence.record.gross) / len(evidence.record.gross)
    paid = float(fall.yields.sum()) / evidence.assembly.universe.size / max(evidence.years, 1e-9) * invested
    return Found(
        f"the prices do not fall on the {len(fall.yields):,} ex-dividend dates, so they hold the dividends, which the "
        f"run pays once more: of {evidence.performance.annual_return:.0%} a year about {paid:.1%} are counted twice "
        "(leave the dividends out of [feed] actions)",
        evidence.in_ratio(paid),
    )


@_once
def _as_traded(feed: Replay, path: Path | None, payers: tuple[str, ...]) -> tuple[str, str]:
    """Return why the closes of `payers` are those of trades, and the remedy; both empty where nothing shows it."""
    if path is not None and (difference := differing_adjusted_closes(path, payers)):
        return f"the closes are traded {difference}", "`quantd data import` reads them from that column"
    if (share := whole_cents(feed, payers)) > WHOLE_CENTS:
        return f"the prices are as traded ({share:.0%} of the closes are whole cents)", "[feed] actions"
    return "", ""


def unpaid_dividends(evidence: Evidence) -> str | Found:
    """Prices of shares or funds as traded, or beside adjusted closes, without a dividend in a run of a year or more."""
    feed, config = evidence.assembly.feed, evidence.assembly.config.feed
    payers = [
        symbol
        for symbol in feed.universe.symbols
        if not (is_pair(symbol) or symbol in PAYS_NONE or symbol.startswith(("^", MARK)) or symbol.endswith("=F"))
    ]
    path = bars_file(evidence)
    origin = None if path is None else origin_of(path)
    if config.adjusted or not payers or evidence.years < 1.0 or (origin is not None and origin.adjusted):
        return ""
    if _dividends(evidence):
        return ""
    why, remedy = _as_traded(feed, path, tuple(payers))
    if not why:
        return ""
    invested = sum(evidence.record.gross) / len(evidence.record.gross)
    missing = USUAL_YIELD * invested * len(payers) / feed.universe.size
    return Found(
        f"{why}, and no dividend is paid in {evidence.years:.0f} years: with a usual yield of {USUAL_YIELD:.1%} about "
        f"{missing:.1%} a year are missing ({remedy})",
        evidence.in_ratio(missing),
    )
