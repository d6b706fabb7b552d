"""Doubts about the prices of a run: rejected bars, symbols without recent bars, a partial last day, no dividends."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.checks import BadBar
from quantd.adapters.feeds.bars.rows import NO_STAMP
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import read_actions
from quantd.adapters.feeds.recorded.origin import origin_of
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.adapters.feeds.recorded.soundness import gap_text, gaps, rejected_symbols
from quantd.daemon.assembly.first_session import without_price
from quantd.research.doubts.evidence import DEAD_SESSIONS, Evidence
from quantd.trading.display_text import session_date, some
from quantd.trading.instruments import NANO, is_pair, usual_currency
from quantd.trading.market import Floats
from quantd.trading.sessions import DAY_NS

MAX_NAMED: Final = 3
"""Maximum number of bars, symbols or jumps that a doubt names; further ones are counted."""

LOW_VOLUME: Final = 0.5
"""A last day with less than this share of the median volume, and the least of VOLUME_SESSIONS, may be partial."""

VOLUME_SESSIONS: Final = 63
"""Number of sessions before the last one, with whose volumes its volume is compared."""

EARLY_END: Final = 0.02
"""Share of a session's length by which its last bar may end earlier than usual."""

ADJUSTED_CLOSE: Final = ("adjclose", "adjustedclose", "closeadj", "closeadjusted")
"""Accepted names of a column with adjusted closes, in lower case without spaces and underscores."""

FLOAT32: Final = 1.2e-7
"""Relative error of a price in single precision: Yahoo's close of 102.34 is 102.339996."""

WHOLE_CENTS: Final = 0.9
"""Share of closes in whole cents above which prices are as traded: adjusted closes are rarely whole cents."""


def rejected_bars(evidence: Evidence) -> str:
    """Bars that the checks rejected, suspicious prices that were accepted, and bars after a delisting, with symbols and
    dates.

    Only bars that the run can use count (`Evidence.reads_after`). With `[feed] holes = "known"` a person has accepted
    gaps: up to 1 % rejected bars of each symbol are then a note of `known_bars`, not a doubt.
    """
    feed, config = evidence.assembly.feed, evidence.assembly.config.feed
    after, clauses = evidence.reads_after, []
    if (rejected := _bars_of_run(feed.quarantined, after)) and not few_known(feed, config.holes):
        count = f"{len(rejected):,} bar{'' if len(rejected) == 1 else 's'} rejected"
        clauses.append(f"{count} and left out: {_bars_text(rejected)}")
    if spikes := _bars_of_run(feed.spikes, after):
        clauses.append(f"{len(spikes):,} out of all proportion and traded as real: {_bars_text(spikes)}")
    # jumps near a split ratio that the configuration takes as real, and accepted changes of the price level
    jumps = [jump for jump in (*(feed.jumps if config.jumps == "real" else ()), *feed.shifts) if jump.ts > after]
    if jumps:
        texts = [
            f"{feed.universe.symbols[jump.symbol]} {session_date(jump.ts - 1)} ({jump.numerator}:{jump.denominator})"
            for jump in jumps
        ]
        clauses.append(f"{len(texts):,} near a split ratio and traded as real: {some(texts, MAX_NAMED)}")
    for action in (listed for listed in feed.actions if listed.kind == "delisting"):
        last_ts = feed.columns.ts_event[feed.columns.fresh[:, action.symbol]].max(initial=0)
        if last_ts > action.ts + DAY_NS:
            name, day = feed.universe.symbols[action.symbol], session_date(action.ts - 1)
            clauses.append(
                f"{name} is delisted on {day} by the actions, and its bars go on to {session_date(last_ts - 1)}"
            )
    if config.holes == "known":
        holes = gaps(feed, evidence.assembly.sessions, evidence.assembly.members)
        if texts := [gap_text(hole, feed.universe) for hole in holes if hole.last_ns >= after]:
            clauses.append(some(texts, MAX_NAMED))
    return "; ".join(clauses)


def several_currencies(evidence: Evidence) -> str:
    """Bars in another currency than the account by their table, and symbols that are quoted in several by their
    spelling, whose prices are added as one."""
    account = evidence.assembly.config.universe.currency
    for table in evidence.assembly.feed.statements:
        if table.currency not in ("", account):
            return f"the prices of {table.name} are in {table.currency}, and the account is in {account}"
    first = {usual_currency(symbol): symbol for symbol in reversed(evidence.assembly.universe.symbols)}
    spelled = ", ".join(f"{symbol} in {code}" for code, symbol in reversed(first.items()))
    return f"by their symbols the prices are of several currencies, added as one: {spelled}" if len(first) > 1 else ""


def few_known(feed: Replay, holes: str) -> bool:
    """Return whether `[feed] holes` is "known" and no symbol has too many rejected bars (`rejected_symbols`)."""
    return holes == "known" and not rejected_symbols(feed)


def known_bars(evidence: Evidence) -> list[str]:
    """Return notes on bars that raise no doubt.

    These are few rejected bars where `[feed] holes` accepts gaps, and suspicious bars that the file of exceptions
    calls real.
    """
    feed, notes = evidence.assembly.feed, []
    rejected = _bars_of_run(feed.quarantined, evidence.reads_after)
    if rejected and few_known(feed, evidence.assembly.config.feed.holes):
        notes.append(
            f"The checks of the feed rejected {len(rejected):,} bar{'' if len(rejected) == 1 else 's'}: "
            f"{_bars_text(rejected)}."
        )
    if accepted := _bars_of_run(feed.answered, evidence.reads_after):
        count = f"{len(accepted):,} bar{'' if len(accepted) == 1 else 's'}"
        notes.append(f"By the file of exceptions, {count} out of all proportion are real: {_bars_text(accepted)}.")
    return notes


def _bars_of_run(bars: Sequence[BadBar], after: int) -> list[BadBar]:
    """Return the bars that became known after the instant `after` (ns UTC), and the bars without a readable time."""
    return [bar for bar in bars if bar.ts_event > after or bar.ts == NO_STAMP]


def _bars_text(bars: Sequence[BadBar]) -> str:
    """Return the first bars with symbol, date and reason, and the number of further bars."""
    texts = [
        f"{bar.symbol} {session_date(bar.ts) if bar.ts != NO_STAMP else 'without a date'} ({bar.reason})"
        for bar in bars
    ]
    return some(texts, MAX_NAMED)


def dead_symbols(evidence: Evidence) -> str:
    """A symbol without a bar for 5 sessions or more at the end, which the run or equal weight still holds.

    `evidence.held` gives (quantity, last price, share of equity) by column; `evidence.other` is the run of equal
    weight.
    """
    feed, texts = evidence.assembly.feed, []
    equal_weight_positions = {} if evidence.other is None else evidence.held(evidence.other)
    positions = evidence.held(evidence.record)
    for column in {**positions, **equal_weight_positions}:
        quantity, price, share = positions.get(column) or equal_weight_positions[column]
        holder = "" if column in positions else " by equal weight beside it"
        if column in positions and column in equal_weight_positions:
            holder = f", and by equal weight ({equal_weight_positions[column][2]:.0%})"
        last_date = evidence.date_of(int(evidence.last_row[column]))
        text = f"{feed.universe.symbols[column]} has no bar since {last_date} and is held at its last price to the end"
        if column not in positions:
            text = f"{feed.universe.symbols[column]} has no bar since {last_date}, held at its last price to the end"
        texts.append(f"{text}{holder}: {quantity:,.10g} at {price:.6g}, {share:.0%} of equity")
    return some(texts, MAX_NAMED)


def late_prices(evidence: Evidence) -> str:
    """An instrument whose newest bar was at some samples too old for orders, so that targets were left out."""
    assembly, record = evidence.assembly, evidence.record
    most_age_ns = min(agent.limits.max_price_age_ns for agent in assembly.rules.agents)
    late = without_price(assembly.feed, record.ts, most_age_ns).sum(axis=0)
    texts = [
        f"at {late[column]:,} of {len(record.ts):,} samples the newest bar of {assembly.universe.symbols[column]} was "
        "older than orders allow (max_price_age), and the targets of policies for it were left out there"
        for column in np.flatnonzero(late).tolist()
    ]
    return "; ".join(texts)


def last_day(evidence: Evidence) -> str:
    """A last day that is partial, that had not ended when its bars were written, or that lacks symbols."""
    feed = evidence.assembly.feed
    day = evidence.date_of(feed.count - 1)
    # one clause is enough: the later checks often find the same cause again
    texts = [text for text in (_unended(evidence), _early_end(evidence), _low_volume(evidence)) if text][:1]
    # symbols without bars for longer are dead, not late (`dead_symbols`)
    late_columns = np.flatnonzero((evidence.missing > 0) & (evidence.missing < DEAD_SESSIONS)).tolist()
    if late_columns:
        names = [
            f"{feed.universe.symbols[k]} (since {evidence.date_of(int(evidence.last_row[k]))})" for k in late_columns
        ]
        texts.append(f"it lacks {len(late_columns):,} of {feed.universe.size:,} symbols: {some(names, MAX_NAMED)}")
    return f"the last day, {day}, is not complete: {'; '.join(texts)}" if texts else ""


def _unended(evidence: Evidence) -> str:
    """Return a clause if the last bar has not ended yet, or had not ended when its file was written; else ""."""
    feed = evidence.assembly.feed
    if feed.last_ts > time.time_ns():
        return "it has not ended yet"
    path = bars_file(evidence)
    if path is not None and path.stat().st_mtime_ns < feed.last_ts:
        return "its file was written before the close"
    return ""


def _early_end(evidence: Evidence) -> str:
    """Return a clause if the intraday bars of the last day end longer before its close than usual; else empty.

    Usual is the median of the 20 sessions before.
    """
    feed = evidence.assembly.feed
    if feed.interval_ns >= DAY_NS:
        return ""
    clause = ""
    calendar = evidence.assembly.sessions[feed.universe.calendar]
    events = feed.columns.ts_event  # the closes of the bars (ns UTC)
    session_of_bar = np.searchsorted(calendar.closes, events)
    last_session = int(session_of_bar[-1])
    # no session closes after the last bar, or the bar closed before its session opened
    if last_session >= len(calendar.closes) or events[-1] <= calendar.opens[last_session]:
        return ""
    # the index of the newest bar of each of the last 21 sessions
    last_bars = np.flatnonzero(np.diff(session_of_bar, append=last_session + 1))[-21:]
    early_ns = calendar.closes[session_of_bar[last_bars]] - events[last_bars]
    usual = float(np.median(early_ns[:-1])) if len(early_ns) > 1 else 0.0
    slack = max(feed.interval_ns, EARLY_END * float(calendar.closes[last_session] - calendar.opens[last_session]))
    if float(early_ns[-1]) > usual + slack:
        hours = float(early_ns[-1]) / 3.6e12  # from ns
        clause = f"its bars end {hours:.1f} hours before the close"
    return clause


def _low_volume(evidence: Evidence) -> str:
    """Return a clause if the last day's volume is the least of VOLUME_SESSIONS and below LOW_VOLUME; else ""."""
    feed = evidence.assembly.feed
    if feed.interval_ns < DAY_NS or _shortened(evidence):  # a half day has less volume
        return ""
    shares = []  # of the usual volume, one for each symbol with enough bars
    for column in range(feed.universe.size):
        if evidence.missing[column]:
            continue
        # `fresh` is True where the symbol has a bar of its own: its newest volumes, the last day's at the end
        volume = feed.columns.volume[feed.columns.fresh[:, column], column][-VOLUME_SESSIONS - 1 :]
        if len(volume) == VOLUME_SESSIONS + 1 and volume[:-1].min() > 0.0:
            earlier_volume = volume[:-1]
            share = float(volume[-1] / np.median(earlier_volume))
            shares.append(share if volume[-1] < earlier_volume.min() else 1.0)  # 1: as usual, not the least
    median_share = float(np.median(shares)) if shares else 1.0
    return (
        f"its volume is {median_share:.0%} of the usual, the least of {VOLUME_SESSIONS} sessions"
        if median_share < LOW_VOLUME
        else ""
    )


def _shortened(evidence: Evidence) -> bool:
    """Return whether the last session of the account's calendar is shorter than the session before it (a half day)."""
    house = evidence.assembly.sessions[evidence.assembly.universe.calendar]
    row = int(np.searchsorted(house.closes, evidence.assembly.feed.last_ts))
    if not 0 < row < len(house.closes):
        return False
    lengths = house.closes[row - 1 : row + 1] - house.opens[row - 1 : row + 1]
    return bool(lengths[1] < 0.9 * lengths[0])


def absent_dividends(evidence: Evidence) -> str:
    """Prices that are called adjusted, while the file contradicts it or nothing shows that they hold dividends."""
    config, feed = evidence.assembly.config.feed, evidence.assembly.feed
    payers = [symbol for symbol in feed.universe.symbols if not is_pair(symbol) and not symbol.startswith("^")]
    if not config.adjusted or not payers or evidence.years < 1.0:
        return ""
    path = bars_file(evidence)
    origin = None if path is None else origin_of(path)
    if origin is not None and origin.adjusted:
        return ""
    claim = "the prices are called adjusted"
    if origin is not None:
        return f"{claim}, and their file has raw prices of {origin.source}: dividends are absent"
    if path is not None and (
        contradiction := differing_adjusted_closes(path, payers) or _falls_by_dividends(evidence, path)
    ):
        return f"{claim}, {contradiction}: dividends are absent"
    if (share := whole_cents(feed, payers)) > WHOLE_CENTS:
        return f"{claim}, and {share:.0%} of the closes are whole cents, as traded prices are: dividends are absent"
    return f"{claim}, which is for splits; whether they hold dividends cannot be seen, and none is paid in the run"


def whole_cents(feed: Replay, symbols: Sequence[str]) -> float:
    """Return the share of the closes of `symbols` that are whole cents, as traded prices are; 0 without closes."""
    whole = closes = 0
    for symbol in symbols:  # one at a time: the closes of a large market are 80 MB
        cents = feed.columns.close[:, feed.universe.index[symbol]] * 100.0
        cents = cents[np.isfinite(cents)]
        whole += int(np.sum(np.abs(cents - np.round(cents)) < np.maximum(1e-4, FLOAT32 * cents)))
        closes += len(cents)
    return whole / closes if closes else 0.0


def differing_adjusted_closes(path: Path, symbols: Sequence[str]) -> str:
    """Return a clause if the file has a column of adjusted closes that differs from its closes; else empty."""
    try:
        frame = pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_csv(path)
        names = frame.collect_schema().names()
        name_by_plain_name = {name.lower().replace(" ", "").replace("_", ""): name for name in names}
        adjusted = next((name_by_plain_name[name] for name in ADJUSTED_CLOSE if name in name_by_plain_name), None)
        if adjusted is None or not {"symbol", "close"} <= name_by_plain_name.keys():
            return ""
        symbol_rows = frame.filter(pl.col(name_by_plain_name["symbol"]).is_in(list(symbols)))
        deviation = (
            symbol_rows.select((pl.col(adjusted) / pl.col(name_by_plain_name["close"]) - 1.0).abs().max())
            .collect()
            .item()
        )
    except (pl.exceptions.PolarsError, OSError):
        return ""
    # "not above" in place of "below": NaN is no difference, too
    if deviation is None or not float(deviation) > 1e-3:
        return ""
    return f"and the column {adjusted} of the file differs from close by up to {float(deviation):.1%}"


def _falls_by_dividends(evidence: Evidence, path: Path) -> str:
    """Return a clause if opens fall by the listed dividends on ex-dividend dates; else empty.

    The dividends are those in the file of corporate actions that belongs to the bars.
    """
    feed = evidence.assembly.feed
    # beside X_daily.csv: X_daily.actions.csv or X_actions.csv
    candidates = [path.with_name(f"{path.stem}.actions.csv"), path.with_name(f"{path.stem.split('_')[0]}_actions.csv")]
    actions = next((file for file in candidates if file.is_file()), None)
    if actions is None:
        return ""
    try:
        dividends = [row for row in read_actions(actions, feed.universe) if row.kind == "dividend"]
    except FeedError:
        return ""
    fall = falls_by(feed, [(row.column, row.day_ns, row.cash_nano / NANO) for row in dividends])
    if fall is None or fall.slope < 0.5 or fall.slope < 2.0 * fall.error:
        return ""
    return f"and they fall on the {len(fall.yields):,} ex-dividend dates of {actions.name}"


class Falls(NamedTuple):
    """How far opens fall by dividends: about 1 in raw prices, 0 in prices that hold dividends.

    `yields` are the dividends over the close before, and `error` is the standard error of `slope`.
    """

    slope: float
    error: float
    yields: Floats


def falls_by(feed: Replay, dividends: Iterable[tuple[int, int, float]]) -> Falls | None:
    """Return the fall of opens by dividends (column of the symbol, ex-date in ns UTC, cash); None for fewer than 4."""
    falls, yields = [], []
    days = feed.columns.key - feed.columns.key % DAY_NS
    for column, day_ns, cash in dividends:
        rows = np.flatnonzero(feed.columns.fresh[:, column])
        index = int(np.searchsorted(days[rows], day_ns))
        if 0 < index < len(rows) and days[rows[index]] == day_ns:
            close_before = float(feed.columns.close[rows[index - 1], column])
            falls.append(1.0 - float(feed.columns.open[rows[index], column]) / close_before)
            yields.append(cash / close_before)
    if len(yields) < 4:  # too few for a slope
        return None
    dividend_yield, open_fall = np.array(yields), np.array(falls)
    # fall per dividend, both over the close before
    slope = float((dividend_yield * open_fall).sum() / (dividend_yield * dividend_yield).sum())
    error = float(np.std(open_fall - slope * dividend_yield) / np.sqrt((dividend_yield * dividend_yield).sum()))
    return Falls(slope, error, dividend_yield)


def bars_file(evidence: Evidence) -> Path | None:
    """Return the path of the file of the bars; None for bars in memory."""
    path = evidence.assembly.config.at(evidence.assembly.config.feed.path)
    return path if path.is_file() else None


def ended_symbols(evidence: Evidence) -> list[str]:
    """Return the symbols that were delisted, or whose bars end DEAD_SESSIONS or more before the market's end."""
    feed = evidence.assembly.feed
    delisted = {action.symbol for action in feed.actions if action.kind == "delisting"}
    ended = {*delisted, *np.flatnonzero(evidence.missing >= DEAD_SESSIONS).tolist()}
    return [feed.universe.symbols[column] for column in sorted(ended)]
