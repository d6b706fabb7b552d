"""Doubts about the prices of a run: rejected bars, dead symbols, a partial last day, missing dividends."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.checks import BadBar
from quantd.adapters.feeds.bars.rows import NO_STAMP
from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import read_actions
from quantd.adapters.feeds.recorded.origin import origin_of
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.adapters.feeds.recorded.soundness import gap_text, gaps, rejected_symbols
from quantd.daemon.assembly.first_session import without_price
from quantd.research.doubts.evidence import GONE, Evidence
from quantd.trading.display_text import session_date
from quantd.trading.instruments import NANO, is_pair
from quantd.trading.sessions import DAY_NS

NAMED: Final = 3
"""Bars, symbols or jumps that a doubt names; the others are counted."""

QUIET: Final = 0.5
"""A last day with less than this share of the usual volume, and the least of MONTHS, may be partial."""

MONTHS: Final = 63
"""Sessions before the last one that its volume is compared with."""

LATE_END: Final = 0.02
"""Share of a session by which the last bar of a day may end early."""

ADJUSTED_CLOSE: Final = ("adjclose", "adjustedclose", "closeadj", "closeadjusted")
"""Names of a column with adjusted closes, in lower case without spaces and underscores."""

CENTS: Final = 0.9
"""Share of closes in whole cents above which prices are as traded: adjusted ones have other digits."""


def rejected_bars(evidence: Evidence) -> str:
    """Bars that the checks rejected, and suspicious prices that were accepted, with symbols and dates.

    Only bars that the run can use count (`Evidence.reads_after`). With `[feed] holes = "known"` at most 1 % rejected
    bars of each symbol are a note, as a person has stated.
    """
    feed, config = evidence.assembly.feed, evidence.assembly.config.feed
    after, parts = evidence.reads_after, []
    if (bad := _of_run(feed.quarantined, after)) and not few_known(feed, config.holes):
        count = f"{len(bad):,} bar{'' if len(bad) == 1 else 's'} rejected"
        parts.append(f"{count} and left out: {_bars(bad)}")
    if spikes := _of_run(feed.spikes, after):
        parts.append(f"{len(spikes):,} out of all proportion and traded as real: {_bars(spikes)}")
    jumps = [jump for jump in (*(feed.jumps if config.jumps == "real" else ()), *feed.shifts) if jump.ts > after]
    if jumps:
        texts = [
            f"{feed.universe.symbols[jump.symbol]} {session_date(jump.ts - 1)} ({jump.numerator}:{jump.denominator})"
            for jump in jumps
        ]
        parts.append(f"{len(texts):,} near a split ratio and traded as real: {_listed(texts)}")
    if config.holes == "known":
        holes = gaps(feed, evidence.assembly.sessions, evidence.assembly.members)
        if texts := [gap_text(hole, feed.universe) for hole in holes if hole.last_ns >= after]:
            parts.append(_listed(texts))
    return "; ".join(parts)


def few_known(feed: Replay, holes: str) -> bool:
    """Whether a person called the holes known, and no symbol has more rejected bars than one may have without that."""
    return holes == "known" and not rejected_symbols(feed)


def known_bars(evidence: Evidence) -> list[str]:
    """Return notes on bars that are no doubt: rejected ones that are known, and real ones that a line answers for."""
    feed, notes = evidence.assembly.feed, []
    bad = _of_run(feed.quarantined, evidence.reads_after)
    if bad and few_known(feed, evidence.assembly.config.feed.holes):
        notes.append(f"The checks of the feed rejected {len(bad):,} bar{'' if len(bad) == 1 else 's'}: {_bars(bad)}.")
    if real := _of_run(feed.answered, evidence.reads_after):
        count = f"{len(real):,} bar{'' if len(real) == 1 else 's'}"
        notes.append(f"By the file of exceptions, {count} out of all proportion are real: {_bars(real)}.")
    return notes


def _of_run(bars: Sequence[BadBar], after: int) -> list[BadBar]:
    """The bars that became known after an instant, and those without a readable time."""
    return [bar for bar in bars if bar.ts_event > after or bar.ts == NO_STAMP]


def _bars(bars: Sequence[BadBar]) -> str:
    return _listed([
        f"{bar.symbol} {session_date(bar.ts) if bar.ts != NO_STAMP else 'without a date'} ({bar.reason})"
        for bar in bars
    ])  # fmt: skip


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - NAMED
    return ", ".join(texts[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def dead_symbols(evidence: Evidence) -> str:
    """A symbol without a bar for 5 sessions or more at the end, which the run or equal weight still holds."""
    feed, texts = evidence.assembly.feed, []
    beside = {} if evidence.other is None else evidence.held(evidence.other)
    positions = evidence.held(evidence.record)
    for column in {**positions, **beside}:
        quantity, price, share = positions.get(column) or beside[column]
        who = "" if column in positions else " by equal weight beside it"
        if column in positions and column in beside:
            who = f", and by equal weight ({beside[column][2]:.0%})"
        since = evidence.date_of(int(evidence.last_row[column]))
        text = f"{feed.universe.symbols[column]} has no bar since {since} and is held at its last price to the end"
        if column not in positions:
            text = f"{feed.universe.symbols[column]} has no bar since {since}, held at its last price to the end"
        texts.append(f"{text}{who}: {quantity:,.10g} at {price:.6g}, {share:.0%} of equity")
    return _listed(texts)


def late_prices(evidence: Evidence) -> str:
    """An instrument whose newest bar was at some samples too old for orders, so that targets were left out."""
    assembly, record = evidence.assembly, evidence.record
    most_age_ns = min(agent.limits.max_price_age_ns for agent in assembly.rules.agents)
    late = without_price(assembly.feed, record.ts, most_age_ns).sum(axis=0)
    texts = [
        f"at {late[column]:,} of {len(record.ts):,} samples the newest bar of {assembly.universe.symbols[column]} was "
        "older than orders allow (max_price_age), and what a policy wanted of it there was left out"
        for column in np.flatnonzero(late).tolist()
    ]
    return "; ".join(texts)


def last_day(evidence: Evidence) -> str:
    """A last day that is partial, that had not ended when its bars were written, or that lacks symbols."""
    feed = evidence.assembly.feed
    day = evidence.date_of(feed.count - 1)
    texts = [text for text in (_unended(evidence), _early_end(evidence), _quiet(evidence)) if text][:1]
    late = np.flatnonzero((evidence.missing > 0) & (evidence.missing < GONE)).tolist()
    if late:
        names = [f"{feed.universe.symbols[k]} (since {evidence.date_of(int(evidence.last_row[k]))})" for k in late]
        texts.append(f"it lacks {len(late):,} of {feed.universe.size:,} symbols: {_listed(names)}")
    return f"the last day, {day}, is not complete: {'; '.join(texts)}" if texts else ""


def _unended(evidence: Evidence) -> str:
    """Whether the last bar had not ended at the time of the run, or when its file was written."""
    feed = evidence.assembly.feed
    if feed.last_ts > time.time_ns():
        return "it has not ended yet"
    path = _file(evidence)
    if path is not None and path.stat().st_mtime_ns < feed.last_ts:
        return "its file was written before the close"
    return ""


def _early_end(evidence: Evidence) -> str:
    """Whether shorter bars end earlier before the close of the last session than on the days before."""
    feed = evidence.assembly.feed
    if feed.interval_ns >= DAY_NS:
        return ""
    worst = ""
    house = evidence.assembly.sessions[feed.universe.calendar]
    events = feed.columns.ts_event
    rows = np.searchsorted(house.closes, events)
    last = int(rows[-1])
    if last >= len(house.closes) or events[-1] <= house.opens[last]:
        return ""
    ends = np.flatnonzero(np.diff(rows, append=last + 1))[-21:]
    early_ns = house.closes[rows[ends]] - events[ends]
    usual = float(np.median(early_ns[:-1])) if len(early_ns) > 1 else 0.0
    slack = max(feed.interval_ns, LATE_END * float(house.closes[last] - house.opens[last]))
    if float(early_ns[-1]) > usual + slack:
        hours = float(early_ns[-1]) / 3.6e12
        worst = f"its bars end {hours:.1f} hours before the close"
    return worst


def _quiet(evidence: Evidence) -> str:
    """Whether the volume of the last daily bars is the least of MONTHS and below QUIET of the usual one."""
    feed = evidence.assembly.feed
    if feed.interval_ns < DAY_NS or _shortened(evidence):
        return ""
    shares = []
    for column in range(feed.universe.size):
        if evidence.missing[column]:
            continue
        volume = feed.columns.volume[feed.columns.fresh[:, column], column][-MONTHS - 1 :]
        if len(volume) == MONTHS + 1 and volume[:-1].min() > 0.0:
            before = volume[:-1]
            share = float(volume[-1] / np.median(before))
            shares.append(share if volume[-1] < before.min() else 1.0)
    usual = float(np.median(shares)) if shares else 1.0
    return f"its volume is {usual:.0%} of the usual, the least of {MONTHS} sessions" if usual < QUIET else ""


def _shortened(evidence: Evidence) -> bool:
    """Whether the last session of the house is shorter than the one before, as a half day is."""
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
    path = _file(evidence)
    origin = None if path is None else origin_of(path)
    if origin is not None and origin.adjusted:
        return ""
    said = "the prices are called adjusted"
    if origin is not None:
        return f"{said}, and their file has raw prices of {origin.source}: dividends are absent"
    if path is not None and (text := _second_column(path, payers) or _listed_dividends(evidence, path)):
        return f"{said}, {text}: dividends are absent"
    columns = [feed.universe.index[symbol] for symbol in payers]
    close = feed.columns.close[:, columns]
    cents = np.abs(close * 100.0 - np.round(close * 100.0))[np.isfinite(close)] < 1e-4
    if cents.size and float(cents.mean()) > CENTS:
        share = float(cents.mean())
        return f"{said}, and {share:.0%} of the closes are whole cents, as traded prices are: dividends are absent"
    return f"{said}, which is for splits; whether they hold dividends cannot be seen, and none is paid in the run"


def _second_column(path: Path, symbols: Sequence[str]) -> str:
    """Compare the closes with a column of adjusted closes in the same file."""
    try:
        frame = pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_csv(path)
        names = frame.collect_schema().names()
        plain = {name.lower().replace(" ", "").replace("_", ""): name for name in names}
        adjusted = next((plain[name] for name in ADJUSTED_CLOSE if name in plain), None)
        if adjusted is None or not {"symbol", "close"} <= plain.keys():
            return ""
        chosen = frame.filter(pl.col(plain["symbol"]).is_in(list(symbols)))
        deviation = chosen.select((pl.col(adjusted) / pl.col(plain["close"]) - 1.0).abs().max()).collect().item()
    except (pl.exceptions.PolarsError, OSError):
        return ""
    if deviation is None or not float(deviation) > 1e-3:
        return ""
    return f"and the column {adjusted} of the file differs from close by up to {float(deviation):.1%}"


def _listed_dividends(evidence: Evidence, path: Path) -> str:
    """Compare the opens of ex-dividend dates with the closes before, by the file of actions beside the bars."""
    feed = evidence.assembly.feed
    beside = [path.with_name(f"{path.stem}.actions.csv"), path.with_name(f"{path.stem.split('_')[0]}_actions.csv")]
    actions = next((file for file in beside if file.is_file()), None)
    if actions is None:
        return ""
    try:
        listed = [row for row in read_actions(actions, feed.universe) if row.kind == "dividend"]
    except FeedError:
        return ""
    falls, yields = [], []
    days = feed.columns.key - feed.columns.key % DAY_NS
    for row in listed:
        rows = np.flatnonzero(feed.columns.fresh[:, row.column])
        at = int(np.searchsorted(days[rows], row.day_ns))
        if 0 < at < len(rows) and days[rows[at]] == row.day_ns:
            before = float(feed.columns.close[rows[at - 1], row.column])
            falls.append(1.0 - float(feed.columns.open[rows[at], row.column]) / before)
            yields.append(row.cash_nano / NANO / before)
    if len(yields) < 4:
        return ""
    paid, fall = np.array(yields), np.array(falls)
    slope = float((paid * fall).sum() / (paid * paid).sum())
    error = float(np.std(fall - slope * paid) / np.sqrt((paid * paid).sum()))
    if slope < 0.5 or slope < 2.0 * error:
        return ""
    return f"and they fall on the {len(yields):,} ex-dividend dates of {actions.name}"


def _file(evidence: Evidence) -> Path | None:
    """The file of the bars; None for bars in memory."""
    path = evidence.assembly.config.at(evidence.assembly.config.feed.path)
    return path if path.is_file() else None


def ended_symbols(evidence: Evidence) -> list[str]:
    """The symbols whose bars end before the market does, or that were delisted."""
    feed = evidence.assembly.feed
    delisted = {action.symbol for action in feed.actions if action.kind == "delisting"}
    gone = {*delisted, *np.flatnonzero(evidence.missing >= GONE).tolist()}
    return [feed.universe.symbols[column] for column in sorted(gone)]
