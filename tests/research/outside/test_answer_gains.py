"""Gains of answers: to the next open, close and later ones, with splits and dividends."""

from datetime import date

import numpy as np
import pytest

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.research.outside.answer_gains import MEASURES, SampleReturns, gains_of, sample_returns
from quantd.trading.instruments import Instrument, Universe
from tests.support.checkout import DATA
from tests.support.planted_knowledge import part


def test_each_measure_has_the_mean_of_its_answers_over_its_own_period() -> None:
    returns = part(50, 12)
    assert returns.opens is not None
    assert returns.after_open is not None
    draw = np.random.default_rng(1)
    named, renamed = draw.random((12, 3)), draw.random((12, 3))
    times = returns.stamps[:-1].tolist()
    gains = gains_of(dict(zip(times, named, strict=True)), dict(zip(times, renamed, strict=True)), returns)
    assert [gain.measure for gain in gains] == list(MEASURES)
    gap, earned = named - renamed, returns.after_open[:-1] + returns.opens[1:]
    expected = {
        "to the next open": [gap[t] @ returns.opens[t] for t in range(12)],
        "to the next question": [gap[t] @ returns.closes[t] for t in range(11)],
        "from the next open to the one after": [gap[t] @ earned[t] for t in range(11)],
        "2 samples ahead": [gap[t] @ returns.closes[t : t + 2].sum(axis=0) for t in range(11)],
        "5 samples ahead": [gap[t] @ returns.closes[t : t + 5].sum(axis=0) for t in range(8)],
    }
    got = {gain.measure: (gain.answers, gain.by_sample.sum()) for gain in gains}
    # the last question is at the last sample but one: its answer has a next close, and no next question
    assert got["to the next question"][0] == 11
    for measure, terms in expected.items():
        assert got[measure] == (len(terms), pytest.approx(sum(terms))), measure


def test_an_agent_that_is_asked_seldom_gains_up_to_its_next_question() -> None:
    returns = part(50, 20)
    times = returns.stamps[:-1:5].tolist()
    named = {time: np.array([1.0, 0.0, 0.0]) for time in times}
    renamed = {time: np.array([0.0, 1.0, 0.0]) for time in times}
    gain = next(
        candidate for candidate in gains_of(named, renamed, returns) if candidate.measure == "to the next question"
    )
    assert gain.answers == 3
    assert gain.by_sample.sum() == pytest.approx((returns.closes[:15, 0] - returns.closes[:15, 1]).sum())
    assert gains_of(named, {}, returns) == ()


def market(symbol: str, first: date, last: date, *, opens: bool = True) -> SampleReturns:
    feed = Replay.load(
        DATA / "us_daily.parquet", universe=Universe((Instrument(symbol),)),
        sessions={"XNYS": sessions("XNYS", first, last)}, actions=DATA / "us_actions.csv", start=first, end=last,
    )  # fmt: skip
    if not opens:
        feed.columns.open[:] = feed.columns.close
    return sample_returns(feed, feed.columns.ts_event.tolist())


def test_a_split_and_a_dividend_at_the_open_are_no_move() -> None:
    """AAPL's 4:1 split of 2020-08-31 and its dividend of 2020-08-07."""
    returns = market("AAPL", date(2020, 8, 3), date(2020, 9, 30))
    assert returns.opens is not None
    assert returns.after_open is not None
    assert np.abs(returns.opens).max() < 0.1
    assert np.abs((1.0 + returns.opens) * (1.0 + returns.after_open) - 1.0 - returns.closes).max() < 1e-12


def test_bars_whose_opens_are_their_closes_have_no_opens() -> None:
    assert market("SPY", date(2019, 1, 2), date(2019, 2, 1), opens=False).opens is None
    assert market("SPY", date(2019, 1, 2), date(2019, 2, 1)).opens is not None
