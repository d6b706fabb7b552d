"""Equity, returns and drawdowns of the whole account and of each agent over spans of time."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from math import isfinite
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.adapters.store.read_models import Booking
from quantd.daemon.views.report.contents import Span
from quantd.trading.codec import effects_of
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Reallocated, Transferred, Valued
from quantd.trading.instruments import MICRO
from quantd.trading.market import Floats
from quantd.trading.statistics import (
    PERIODS_PER_YEAR,
    RISK_FREE_ANNUAL,
    RiskFree,
    annual_return,
    book_returns,
    compounded,
    drawdowns,
    newest,
    sharpe,
    volatility,
)

DAY_NS: Final = 86_400_000_000_000
POINTS: Final = 300
"""Maximum number of points in one chart."""

SAMPLES: Final = 60
"""Minimum number of samples for a ratio and for the VaR backtest."""


class Curves:
    """Equity and returns of the whole account and of each agent at samples.

    `every` are the valuations, at last known prices, and `entries` their journal entries.
    """

    def __init__(
        self,
        every: Sequence[Valued],
        entries: Sequence[int],
        agents: Sequence[str],
        bookings: Sequence[Booking],
        capital: Sequence[Reallocated] = (),
        transfers: Iterable[tuple[int, Transferred]] = (),
    ) -> None:
        """Compute the curves from the valuations `every` and the numbers of their journal `entries`.

        `bookings` are deposits and other cash, `capital` the moves of capital between agents. `transfers` are openings
        and closings of portfolios, with the numbers of their journal entries.
        """
        self.every = every
        self.ts = np.array([valued.ts for valued in every], dtype=np.int64)
        seqs = np.array(entries, dtype=np.int64)
        flows = [booking for booking in bookings if booking.kind in FLOWS]
        # 0 is the whole account, k + 1 the agent with index k
        house = np.array([valued.equity_micro / MICRO for valued in every])
        self.returns = book_returns(house, _cumulative_flows(seqs, flows))
        self.books = [np.array([valued.books[k] / MICRO for valued in every]) for k in range(len(agents))]
        # capital is reallocated at a sample, right after its valuation
        moved_capital = np.zeros((len(agents), len(every)))
        for reallocation in capital:
            sample = int(np.searchsorted(self.ts, reallocation.ts))
            if sample < len(every) and self.ts[sample] == reallocation.ts:
                moved_capital[:, sample] += np.array(reallocation.moved[: len(agents)]) / 1e6
        for seq, transfer in transfers:
            sample = int(np.searchsorted(seqs, seq, side="right")) - 1  # the newest one; -1: before the first one
            amount = (transfer.cash_micro + sum(value for _, _, value in transfer.lots)) / MICRO
            for book_index, sign in ((transfer.source, -1), (transfer.target, 1)):
                if sample >= 0 and 0 <= book_index < len(agents):
                    moved_capital[book_index, sample] += sign * amount
        self.agents = [
            book_returns(
                book,
                _cumulative_flows(seqs, [booking for booking in flows if booking.agent == name]),
                agent_capital,
            )
            for k, (name, book, agent_capital) in enumerate(zip(agents, self.books, moved_capital, strict=True))
        ]

    def drawdown(self, since: int) -> list[tuple[int, float]]:
        """(ns UTC, fraction lost since the highest value of the run) of the account, at the samples after `since`, and
        at the last 252 samples at least."""
        fall = drawdowns(compounded(self.returns))[1:]
        begin = span_start(self.ts, since)
        return list(zip(self.ts[begin:].tolist(), fall[begin:].tolist(), strict=True))


def transfers_of(data: bytes) -> list[Transferred]:
    """What an encoded entry of the journal moves between books when a portfolio is opened or closed."""
    if b"Transferred" not in data:
        return []
    return [effect for effect in effects_of(data) if isinstance(effect, Transferred)]


def span_start(ts: NDArray[np.int64], since: int) -> int:
    """The index of the first sample after `since` (ns UTC), or of the 252nd sample from the end if that is earlier."""
    return max(0, min(int(np.searchsorted(ts, since, side="right")), len(ts) - 252))


FLOWS: Final = frozenset({"flow", "in_kind"})
"""Kinds of bookings that are neither profit nor loss."""


def _cumulative_flows(seqs: NDArray[np.int64], flows: Sequence[Booking]) -> Floats:
    """Return the cumulative deposits at each sample, float64[T].

    `seqs` are the journal entries of the samples. A deposit counts from the first sample at or after it.
    """
    moved = np.zeros(len(seqs))
    for booking in flows:
        at = int(np.searchsorted(seqs, booking.seq))
        if at < len(moved):
            moved[at] += float(booking.amount)
    return moved.cumsum()


def span_of(
    name: str,
    ts: NDArray[np.int64],
    returns: Floats,
    alerts: Sequence[tuple[int, str]],
    since: int,
    until: int,
    risk_free_annual: RiskFree = RISK_FREE_ANNUAL,
) -> Span:
    """Performance over the samples in (since, until], including the return to the first of these samples.

    `returns` float64[T] belong to the samples `ts`, `alerts` are (instant, level). A figure is None with too few
    samples: ratios need SAMPLES of them.
    """
    in_span = (ts > since) & (ts <= until)
    span_returns = returns[in_span]
    risk_free = risk_free_annual if isinstance(risk_free_annual, float) else risk_free_annual[in_span]
    if len(span_returns) and in_span[0]:
        # the very first sample has no return
        span_returns, risk_free = span_returns[1:], newest(risk_free, len(span_returns) - 1)
    has_returns = len(span_returns) > 0
    wealth = compounded(span_returns)
    enough = len(span_returns) >= SAMPLES
    ratio = sharpe(span_returns, PERIODS_PER_YEAR, risk_free) if enough else float("nan")
    times = ts[in_span]
    return Span(
        name=name,
        samples=len(times),
        first=instant_text(int(times[0])) if len(times) else "",
        total=float(wealth[-1] - 1.0) if has_returns else None,
        annual=annual_return(wealth) if enough else None,
        volatility=volatility(span_returns) if enough else None,
        sharpe=ratio if isfinite(ratio) else None,
        max_drawdown=float(drawdowns(wealth).max()) if has_returns else None,
        alerts=counted(level for alert_ts, level in alerts if since < alert_ts <= until),
    )


SPANS: Final = {"day": 1, "week": 7, "month": 30, "quarter": 91, "year": 365}
"""Name of a span -> its days."""


def spans_of(
    curves: Curves, alerts: Sequence[tuple[int, str]], since: int, until: int, risk_free_annual: RiskFree
) -> list[Span]:
    """The figures of a report's span (since, until], then of the last day, week, month, quarter, year and all samples.

    `alerts` are (ns UTC, level); `risk_free_annual` has a value for each return or one for all.
    """
    spans = [("this report", since)] + [(name, until - days * DAY_NS) for name, days in SPANS.items()] + [("all", 0)]
    return [span_of(name, curves.ts, curves.returns, alerts, begin, until, risk_free_annual) for name, begin in spans]


def thin(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Thin a curve to about POINTS values: the first, the last, and the minimum and maximum of each of its parts."""
    if len(points) <= POINTS:
        return list(points)
    pieces = np.array_split(np.arange(len(points)), POINTS // 2)
    values = np.array([value for _, value in points])
    indices = {0, len(points) - 1}
    for piece in pieces:
        indices |= {int(piece[values[piece].argmin()]), int(piece[values[piece].argmax()])}
    return [points[k] for k in sorted(indices)]


def counted(names: Iterable[str]) -> dict[str, int]:
    """The number of occurrences of each name, the most frequent first."""
    return dict(Counter(names).most_common())


def day_start(ts: int, days: int) -> int:
    """The last nanosecond before a span of `days` whole UTC days, of which the day of `ts` is the last."""
    return (ts // DAY_NS + 1 - days) * DAY_NS - 1


def date_ns(day: date) -> int:
    """00:00 UTC of a date."""
    return int(datetime.combine(day, time(), UTC).timestamp()) * 1_000_000_000
