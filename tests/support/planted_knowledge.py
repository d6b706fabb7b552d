"""Answers with planted knowledge, and of agents without any, over the bundled days: how often they are named.

`python -m tests.support.planted_knowledge 400` prints the shares that docs/trade/external.md quotes.
"""

import sys
from datetime import date
from functools import cache
from typing import Final

import numpy as np

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.research.outside.answer_gains import SampleReturns, sample_returns
from quantd.research.outside.foresight import Foresight, foresight
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Floats
from tests.support.checkout import DATA

SYMBOLS: Final = ("SPY", "QQQ", "IWM")

IGNORANT: Final = ("random", "lasting", "place", "following")
"""Agents without knowledge: a random symbol, one for 10 samples on average, one by its place, the last winner or not.

Their answers under other names are drawn anew; those of `place` are one symbol throughout.
"""

KNOWN: Final = {
    "the next open": ("opens", 0, 1),
    "the next close": ("closes", 0, 1),
    "open to open": ("open to open", 0, 1),
    "the close after next": ("closes", 1, 2),
    "the sum of five closes": ("closes", 0, 5),
    "the fifth close alone": ("closes", 4, 5),
}
"""What is planted: the returns that an agent knows, from which sample to which."""


@cache
def whole() -> SampleReturns:
    """The returns of the three funds, 2005 to 2020."""
    feed = Replay.load(
        DATA / "us_daily.parquet",
        universe=Universe(tuple(Instrument(symbol) for symbol in SYMBOLS)),
        sessions={"XNYS": sessions("XNYS", date(2005, 1, 1), date(2020, 12, 31))},
        actions=DATA / "us_actions.csv",
        start=date(2005, 1, 3),
        end=date(2020, 12, 31),
    )
    return sample_returns(feed, feed.columns.ts_event.tolist())


def part(first: int, answers: int) -> SampleReturns:
    """The returns after `answers` samples from number `first` on."""
    returns = whole()
    assert returns.opens is not None
    assert returns.after_open is not None
    rows = slice(first, first + answers)
    return SampleReturns(
        returns.stamps[first : first + answers + 1], returns.closes[rows], returns.opens[rows], returns.after_open[rows]
    )


def ignorant(kind: str, returns: SampleReturns, draw: np.random.Generator) -> Floats:
    """Answers float64[S, N] without knowledge of the future: half of the book in one symbol, or in none."""
    count, size = returns.closes.shape
    chosen = draw.integers(0, size, count)
    if kind == "lasting":
        renewed = draw.random(count) < 0.1
        renewed[0] = True
        chosen = chosen[np.maximum.accumulate(np.where(renewed, np.arange(count), 0))]
    if kind == "place":
        chosen = np.full(count, chosen[0])
    weights = 0.5 * np.eye(size)[chosen]
    if kind == "following":
        past = np.concatenate((np.zeros((1, size)), returns.closes[:-1]))
        weights = np.where(draw.random((count, 1)) < 0.5, 0.5 * np.eye(size)[past.argmax(axis=1)], weights)
    return weights


def knowing(knowledge: str, share: float, returns: SampleReturns, draw: np.random.Generator) -> Floats:
    """Answers of an agent that knows some returns in this share of its answers; the others are random."""
    weights = ignorant("random", returns, draw)
    assert returns.opens is not None
    assert returns.after_open is not None
    what, begin, end = KNOWN[knowledge]
    following = np.concatenate((returns.opens[1:], np.zeros((1, returns.opens.shape[1]))))
    table = {"opens": returns.opens, "closes": returns.closes, "open to open": returns.after_open + following}[what]
    count = len(table)
    padded = np.concatenate((table, np.zeros((end, table.shape[1]))))
    future = sum(padded[later : later + count] for later in range(begin, end))
    best = 0.5 * np.eye(table.shape[1])[future.argmax(axis=1)] * (future.max(axis=1) > 0.0)[:, None]
    return np.where(draw.random((count, 1)) < share, best, weights)


def verdict(named: Floats, renamed: Floats, returns: SampleReturns) -> Foresight:
    """The verdict on answers at every sample."""
    times = returns.stamps[:-1].tolist()
    return foresight("guest", dict(zip(times, named, strict=True)), dict(zip(times, renamed, strict=True)), returns)


def found(kind: str, seed: int, answers: int, share: float = 0.0) -> Foresight:
    """The verdict on an ignorant agent, or on one with planted knowledge, over days that the seed chooses."""
    draw = np.random.default_rng((seed, answers))
    returns = part(int(draw.integers(0, len(whole().closes) - answers)), answers)
    named = knowing(kind, share, returns, draw) if kind in KNOWN else ignorant(kind, returns, draw)
    return verdict(named, ignorant("random" if kind in KNOWN else kind, returns, draw), returns)


def rate(kind: str, seeds: int, answers: int, level: float, share: float = 0.0) -> float:
    """The share of seeds at which the corrected p-value is below a level."""
    return rates(kind, seeds, answers, (level,), share)[0]


def rates(kind: str, seeds: int, answers: int, levels: tuple[float, ...], share: float = 0.0) -> tuple[float, ...]:
    p = [found(kind, seed, answers, share).p for seed in range(seeds)]
    return tuple(float(np.mean([p_value is not None and p_value < level for p_value in p])) for level in levels)


def main(seeds: int) -> None:
    """Print the rates of false verdicts, and the power at the level of the verdict."""
    for kind in IGNORANT:
        for answers in (60, 252):
            at = rates(kind, seeds, answers, (0.05, 0.01))
            sys.stdout.write(f"| {kind} | {answers} | {at[0]:.1%} | {at[1]:.1%} |\n")
    for kind in KNOWN:
        for share in (0.1, 0.2, 0.3, 1.0):
            cells = [f"{rates(kind, seeds // 4, answers, (0.01,), share)[0]:.0%}" for answers in (60, 252)]
            sys.stdout.write(f"| {kind} | {share:.0%} | {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
