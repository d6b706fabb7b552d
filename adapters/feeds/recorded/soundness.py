"""Faults of recorded prices that need a decision: unexplained price levels, actions that the prices do not show,
suspicious bars, gaps and rejected bars.

What goes wrong otherwise. A backtest ends with a number, and nothing shows that it is wrong: a split that no action
announces multiplies the account, and a symbol without bars for months keeps its last price. A person must decide,
because prices alone cannot tell such a fault from a real move. Therefore nothing is run, and each fault is listed with
its remedies, all at once.

What the order of the steps guarantees. Bars that are read with a wrong interval, clock or calendar are listed first,
and no answer accepts them. The gaps and rejected bars that the wrong reading causes are not listed: their remedies
would hide the cause. A suspicious bar without an answer does not count as rejected, so that one fault is not listed
twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from quantd.adapters.feeds.bars.checks import REASON_TEXT, Reason, Reasons
from quantd.adapters.feeds.bars.rows import NO_STAMP
from quantd.adapters.feeds.recorded.misfit import MOST_LINES, listed, misfit_lines
from quantd.adapters.feeds.recorded.price_questions import HEADER, Questions
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.trading.display_text import session_date
from quantd.trading.events import Action
from quantd.trading.exit_codes import ExplainedError
from quantd.trading.instruments import Membership, Universe
from quantd.trading.market import Bools, Ints
from quantd.trading.sessions import Sessions

LONGEST_GAP: Final = 20
"""Sessions in a row without a bar from which on they count as a gap."""

MOST_REJECTED: Final = 0.01
"""Largest share of a symbol's bars that may be rejected."""


class UnsoundPrices(ExplainedError):
    """Recorded prices whose faults would make a backtest wrong. The text names each fault and the remedies."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Sessions in a row without a good bar, between two bars of a symbol: their number, first and last date (ns)."""

    column: int
    sessions: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A symbol's number of rejected bars (`bars`) and of all bars read, and the first and last rejected stamp (ns).

    Both stamps are 0 if no rejected bar has a readable stamp. `why` is the most frequent reason in words.
    """

    column: int
    bars: int
    read: int
    first_ns: int
    last_ns: int
    why: str


def gaps(feed: Replay, sessions: Mapping[str, Sessions], members: Membership | None = None) -> list[Gap]:
    """Return the gaps of a recorded market: LONGEST_GAP sessions or more in a row without a good bar."""
    long_gaps: list[Gap] = []
    for column, instrument in enumerate(feed.universe.instruments):
        events = feed.columns.ts_event[feed.columns.fresh[:, column]]
        long_gaps += _gaps_of(column, events, sessions[instrument.calendar], feed.actions, members)
    return long_gaps


def gaps_between(
    column: Ints,
    ts_event: Ints,
    universe: Universe,
    sessions: Mapping[str, Sessions],
    actions: Sequence[Action] = (),
    members: Membership | None = None,
) -> list[Gap]:
    """Return the gaps of LONGEST_GAP sessions or more between a symbol's first and last good bar.

    `column` and `ts_event` int64[R] are the symbol and close of each good bar. Sessions are counted on the instrument's
    calendar. Sessions after a delisting, and sessions on which the symbol is no member of the universe, do not count.
    """
    long_gaps: list[Gap] = []
    order = np.lexsort((ts_event, column))
    bounds = np.searchsorted(column[order], np.arange(universe.size + 1)).tolist()
    for column_index, instrument in enumerate(universe.instruments):
        events = ts_event[order[bounds[column_index] : bounds[column_index + 1]]]
        long_gaps += _gaps_of(column_index, events, sessions[instrument.calendar], actions, members)
    return long_gaps


def _gaps_of(
    column: int, events: Ints, calendar: Sessions, actions: Sequence[Action], members: Membership | None
) -> Iterator[Gap]:
    """Yield the gaps of one symbol; `events` are the closes of its good bars in order."""
    places = np.minimum(np.searchsorted(calendar.closes, events), len(calendar.closes) - 1)
    bar_sessions = places[np.diff(places, prepend=-1) != 0]  # in ascending order, each once
    if not len(bar_sessions) or np.diff(bar_sessions).max(initial=0) <= LONGEST_GAP:
        return
    for start, stop in zip(bar_sessions[:-1].tolist(), bar_sessions[1:].tolist(), strict=True):
        if stop - start > LONGEST_GAP:
            yield from _runs(column, calendar, np.arange(start + 1, stop), actions, members)


def _runs(
    column: int, calendar: Sessions, absent: Ints, actions: Sequence[Action], members: Membership | None
) -> Iterator[Gap]:
    """Yield the runs of at least LONGEST_GAP consecutive sessions, within one gap, on which a bar was to be expected.

    `absent` are the indices in `calendar` of the gap's sessions.
    """
    expected: Bools = np.ones(len(absent), dtype=np.bool_)
    if members is not None:
        expected &= np.array([column in members.at(calendar.day_ns[row]) for row in absent.tolist()])
    for action in actions:
        if action.kind == "delisting" and action.symbol == column:
            expected &= calendar.opens[absent] < action.ts
    for run in np.split(absent[expected], np.flatnonzero(np.diff(absent[expected]) > 1) + 1):
        if len(run) >= LONGEST_GAP:
            yield Gap(column, len(run), calendar.day_ns[run[0]], calendar.day_ns[run[-1]])


def often_rejected(column: Ints, ts: Ints, reason: Reasons, read: Ints) -> list[Rejected]:
    """Return a record for each symbol with more than the share MOST_REJECTED of its bars rejected.

    `column` and `ts` int64[R] are the symbol and stamp of each rejected bar, `reason` int8[R] is its Reason, and
    `read` int64[N] counts all bars of each symbol.

    The record has the first and the last rejected stamp, 0 where no stamp can be read.
    """
    rejected_counts = np.bincount(column, minlength=len(read))
    rejections = []
    for column_index in np.flatnonzero(rejected_counts > MOST_REJECTED * read).tolist():
        stamps = ts[(column == column_index) & (ts != NO_STAMP)]
        why = REASON_TEXT[Reason(int(np.bincount(reason[column == column_index]).argmax()))]
        first, last = (int(stamps.min()), int(stamps.max())) if len(stamps) else (0, 0)
        rejections.append(
            Rejected(column_index, int(rejected_counts[column_index]), int(read[column_index]), first, last, why)
        )
    return rejections


def rejected_symbols(feed: Replay) -> list[Rejected]:
    """Return the symbols of a recorded market with more than the share MOST_REJECTED of their bars rejected.

    A suspicious bar that is omitted does not count as rejected, because a person decides about it. Prices of 0 after
    the last good bar do not count either: they are a question of their own.
    """
    zero = {(column, ts) for column, ts in zip(*(part.tolist() for part in _zeros(feed)[1]), strict=True)}
    rejected_bars = [
        (feed.universe.index[bar.symbol], bar.ts, Reason[bar.reason.upper()])
        for bar in feed.quarantined
        if bar.reason != "spike" and (feed.universe.index[bar.symbol], bar.ts_event) not in zero
    ]
    column, ts, reason = np.array(rejected_bars, dtype=np.int64).reshape(-1, 3).T
    return often_rejected(column, ts, reason.astype(np.int8), feed.read)


def gap_text(gap: Gap, universe: Universe) -> str:
    """Return a gap in words: symbol, number of sessions, first and last date."""
    return (
        f"{universe.symbols[gap.column]} has no good bar on {gap.sessions:,} sessions in a row, "
        f"{session_date(gap.first_ns)} to {session_date(gap.last_ns)}"
    )


def rejected_text(rejected: Rejected, universe: Universe) -> str:
    """Return a symbol's rejected bars in words: number, share, first and last date, most frequent reason."""
    dates = f", {session_date(rejected.first_ns)} to {session_date(rejected.last_ns)}" if rejected.last_ns else ""
    return (
        f"{universe.symbols[rejected.column]}: {rejected.bars:,} of {rejected.read:,} bars "
        f"({rejected.bars / rejected.read:.1%}) are rejected{dates}; most often, {rejected.why}"
    )


def trailing(good: tuple[Ints, Ints], zero: tuple[Ints, Ints], size: int) -> Bools:
    """Return bool[R], whether each bar whose prices are 0 is later than every good bar of its symbol.

    `good` and `zero` are (symbol, close) int64[R]; `size` is the number of symbols.
    """
    last = np.full(size, np.iinfo(np.int64).min)
    np.maximum.at(last, good[0], good[1])
    return zero[1] > last[zero[0]]


def worthless_texts(
    good: tuple[Ints, Ints], zero: tuple[Ints, Ints], universe: Universe, actions: Sequence[Action]
) -> list[str]:
    """Return a text for each symbol that ends with prices of 0 and has no delisting, with the line for its actions.

    `good` and `zero` are (symbol, close) int64[R] of the good bars and of the trailing bars whose prices are 0. A run
    ends with the last good bar of all symbols, so that the line is of that day at the latest.
    """
    delisted = {action.symbol for action in actions if action.kind == "delisting"}
    texts = []
    for column in sorted(set(zero[0].tolist()) - delisted):
        symbol, first = universe.symbols[column], int(zero[1][zero[0] == column].min())
        day = session_date(min(first, int(good[1].max()) if len(good[1]) else first))
        texts.append(
            f"{symbol} ends with prices of 0 on {session_date(first)}, and would be held at its last price above 0; "
            f"if it became worthless, add to the file of [feed] actions: {day},{symbol},delisting,,0"
        )
    return texts


def _zeros(feed: Replay) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
    """Return (symbol, close) of the good bars of a market, and of the trailing bars whose prices are 0; of none if no
    price is 0."""
    bars = [
        (feed.universe.index[bar.symbol], bar.ts_event)
        for bar in feed.quarantined if bar.reason == "non_positive" and bar.open == bar.close == 0.0
    ]  # fmt: skip
    if not bars:  # the columns of all good bars take as much memory as two prices
        none = np.zeros(0, dtype=np.int64)
        return (none, none), (none, none)
    rows, column = np.nonzero(feed.columns.fresh)
    good = column, feed.columns.ts_event[rows]
    zero_column, zero_ts = np.array(bars, dtype=np.int64).reshape(-1, 2).T
    after = trailing(good, (zero_column, zero_ts), feed.universe.size)
    return good, (zero_column[after], zero_ts[after])


def hole_texts(long_gaps: Sequence[Gap], rejected: Sequence[Rejected], universe: Universe) -> list[str]:
    return [
        *(gap_text(gap, universe) for gap in long_gaps),
        *(rejected_text(rejection, universe) for rejection in rejected),
    ]


def require_sound(
    feed: Replay,
    sessions: Mapping[str, Sessions],
    members: Membership | None = None,
    *,
    holes_known: bool = False,
) -> None:
    """Raise UnsoundPrices for prices that need a decision, with every fault and its remedies.

    `holes_known` accepts gaps and rejected bars. A person's answers about prices take effect earlier, when the feed is
    read. No answer accepts bars that are read with a wrong interval, clock or calendar, unless the bars do not decide
    which of them is wrong. The gaps and rejected bars of such symbols are not listed: the wrong reading causes them.
    """
    misfits = [misfit for misfit in feed.misfits if misfit.decided or not holes_known]
    texts = misfit_lines(misfits) if misfits else []
    texts += Questions(feed.open, feed.universe, sessions).lines()
    if not holes_known:
        explained = {feed.universe.index[symbol] for misfit in feed.misfits for symbol in misfit.symbols}
        own_gaps = [gap for gap in gaps(feed, sessions, members) if gap.column not in explained]
        rejected = [symbol_bars for symbol_bars in rejected_symbols(feed) if symbol_bars.column not in explained]
        worthless = worthless_texts(*_zeros(feed), feed.universe, feed.actions)
        holes = [*hole_texts(own_gaps, rejected, feed.universe), *worthless]
        if holes:
            delisting = '  - it became worthless: [feed] actions = "FILE" (Python: settings={"feed.actions": "FILE"}), '
            texts += [
                *listed(holes), f"  one of {'four' if worthless else 'three'} remedies:",
                *([f"{delisting}a CSV with the line ts,symbol,kind,ratio,cash above the line of the delisting"]
                  if worthless else []),
                "  - begin later or end earlier: another [feed] start or end (--from, --to)",
                "  - leave the symbol out of [universe] symbols",
                '  - the holes do no harm: [feed] holes = "known" (Python: settings={"feed.holes": "known"})',
            ]  # fmt: skip
    if texts:
        raise UnsoundPrices("\n".join((*texts, "Nothing was run.")))


def require_announced(feed: Replay, sessions: Mapping[str, Sessions]) -> None:
    """Raise UnsoundPrices for faults of bars that are read without a configuration, so that files are the only
    remedies.

    The faults are unexplained price levels, actions that the prices do not show, suspicious bars without an answer, and
    bars of another length than a day. A calendar is not judged: such a reader uses the dates of the bars only.
    """
    if wrong_intervals := [misfit for misfit in feed.misfits if misfit.kind == "interval"]:
        raise UnsoundPrices("\n".join((*misfit_lines(wrong_intervals), "Nothing was run.")))
    questions = Questions(feed.open, feed.universe, sessions)
    jumps, texts = feed.open.jumps, list[str]()
    if jumps:
        split, real = (
            "; ".join(questions.action_line(jump, ratio) for jump in jumps[:MOST_LINES]) for ratio in ("", "1:1")
        )
        texts += [
            *listed([questions.jump_text(jump) for jump in jumps]),
            "  one of two remedies, in the file of actions:",
            f"  - it was a split: add {split}",
            f"  - the move was real: add {real}",
        ]
    for fault in feed.open.faults[:MOST_LINES]:
        texts += [questions.fault_text(fault), f"  - {questions.fault_remedies(fault)[0]}"]
    if bars := feed.open.bars:
        lines = "; ".join(dict.fromkeys(questions.exception_line(bar) for bar in bars[:MOST_LINES]))
        texts += [
            *listed([questions.bar_text(bar) for bar in bars]),
            f"  the remedy, in the file exceptions.csv beside the bars: lines {HEADER}; {lines}",
            "  - (or reject, for a bad print; it is read as it is, since nothing replaces a bar)",
        ]
    if texts:
        raise UnsoundPrices("\n".join((*texts, "Nothing was run.")))
