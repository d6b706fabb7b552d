"""Bars of samples: merged, adjusted by what is known, the same after a restart, and only where a policy asks."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.policies.loading import answer
from quantd.daemon.policies.user_file import load_user_policy
from quantd.trading.bars import BarRing, Bars
from quantd.trading.effects import Ask
from quantd.trading.events import Action
from quantd.trading.history import History
from quantd.trading.market import Block, Floats, MarketSlice
from quantd.trading.view import View
from tests.support.engine import START, World, walk
from tests.support.engine import block as days
from tests.support.examples import examples

DAY = 86_400_000_000_000
NAMES = ("open", "high", "low", "close", "volume")


def slices(rows: Floats, volume: Floats) -> Block:
    """One block: open a little below, high above and low below each close; NaN where there is no bar."""
    t = len(rows)
    ts = np.arange(1, t + 1) * DAY
    return Block(
        ts_open=ts - DAY // 2, ts_event=ts, key=ts - DAY, open=rows - 0.5, high=rows + 1.0, low=rows - 2.0,
        close=rows.copy(), volume=volume, fresh=np.isfinite(rows),
    )  # fmt: skip


def test_splits_and_dividends_change_what_was_before_and_not_the_newest() -> None:
    ring = BarRing(1, 10)
    for price, actions in ((100.0, []), (49.0, [(0, 2.0, 0.0)]), (48.0, [(0, 1.0, 2.0)])):
        ring.forming[:] = [[price], [price + 2], [price - 2], [np.nan], [30.0]]
        ring.sample(0, np.array([price]), actions)
    bars = ring.bars(3)
    assert bars.close[-1, 0] == 48.0
    # 2:1 and a total return of (48 + 2) / 49
    np.testing.assert_allclose(bars.close[:, 0], [50.0 * 48 / 50, 49.0 * 48 / 50, 48.0])
    np.testing.assert_allclose(bars.volume[:, 0], [60.0, 30.0, 30.0])
    np.testing.assert_allclose(bars.high[0, 0], 51.0 * 48 / 50)


def test_a_split_between_slices_of_one_sample_is_seen_through() -> None:
    history = History(1, 5, BarRing(1, 5))
    block = slices(np.array([[100.0], [26.0]]), np.array([[10.0], [40.0]]))
    history.bars.slice(MarketSlice(block, 0))  # type: ignore[union-attr]
    history.action(DAY, 0, 4.0, 0.0)
    history.bars.slice(MarketSlice(block, 1))  # type: ignore[union-attr]
    history.sample(2 * DAY, DAY, 2 * DAY, np.array([26.0]))
    bars = history.bars.bars(1)  # type: ignore[union-attr]
    row = [float(getattr(bars, n)[0, 0]) for n in NAMES]
    assert row == [99.5 / 4, 27.0, 24.0, 26.0, 80.0]


@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
@settings(max_examples=examples(40), deadline=None)
def test_returns_of_the_closes_are_the_returns_of_the_view(seed: int, lookback: int) -> None:
    rng = np.random.default_rng(seed)
    history = History(3, lookback, BarRing(3, lookback))
    block = slices(np.exp(rng.normal(3, 0.1, (60, 3)).cumsum(axis=0) * 0.02 + 3), rng.uniform(1, 9, (60, 3)))
    for t in range(60):
        if rng.random() < 0.3:
            history.action(t * DAY, int(rng.integers(3)), float(rng.choice([1.0, 2.0, 0.5])), float(rng.random()))
        market = MarketSlice(block, t)
        history.bars.slice(market)  # type: ignore[union-attr]
        history.sample(market.ts_event, market.key, market.ts_event, market.close)
        k = min(t + 1, lookback)
        bars = history.bars.bars(k)  # type: ignore[union-attr]
        np.testing.assert_array_equal(bars.close[-1], market.close)
        np.testing.assert_allclose(
            bars.close[1:] / bars.close[:-1] - 1.0, history.known.returns(k)[1:], rtol=1e-9, atol=1e-12
        )


def test_bars_given_out_cannot_be_written_and_stay_as_they_were() -> None:
    ring = BarRing(1, 3)
    rng = np.random.default_rng(0)
    for _ in range(5):
        ring.sample(0, rng.uniform(1, 2, 1), [])
    view = ring.bars(3)
    before = view.close.copy()
    with pytest.raises(ValueError, match="read-only"):
        view.close[0] = 1.0
    for _ in range(40):
        ring.sample(0, rng.uniform(1, 2, 1), [(0, 2.0, 0.1)])
    np.testing.assert_array_equal(view.close, before)
    with pytest.raises(ValueError, match="between 1 and 3"):
        ring.bars(4)


def test_a_shorter_lookback_takes_the_newest_of_what_was_kept() -> None:
    long, short = BarRing(1, 40), BarRing(1, 3)
    for price in np.linspace(1.0, 2.0, 40):
        long.sample(0, np.array([price]), [])
    short.thaw(long.freeze())
    np.testing.assert_array_equal(short.bars(3).close, long.bars(3).close)


class Seen:
    """Notes what its view showed; trades on it."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.bars: list[Bars] = []
        self.returns: list[Floats] = []

    def __call__(self, view: View) -> Floats:
        bars = view.bars(self.k)
        self.bars.append(bars)
        self.returns.append(view.returns(self.k).copy())
        size = bars.close.shape[1]
        with np.errstate(invalid="ignore"):
            place = (bars.close - bars.low)[-1] / (bars.high - bars.low)[-1]
        return np.nan_to_num(place) / (2.0 * size)


def world(seen: Seen, rows: int = 80, **rules: object) -> World:
    close = walk(rows, 3, 5)
    close[20:23, 1] = np.nan
    block = days(close)
    actions = [
        Action(block.ts_open[30], block.key[30], 0, "split", numerator=3, denominator=1),
        Action(block.ts_open[40], block.key[40], 2, "dividend", cash_nano=1_500_000_000),
    ]
    return World(block, [seen], actions=actions, **rules)


def test_a_policy_sees_bars_in_a_run_that_keeps_them_and_a_refusal_in_another() -> None:
    seen = Seen(20)
    market = world(seen, keep_bars=True).run()
    assert len(seen.bars) > 70
    assert market.shell.state.history.bars is not None
    for bars, returns in zip(seen.bars[25:], seen.returns[25:], strict=True):
        np.testing.assert_allclose(bars.close[1:] / bars.close[:-1] - 1.0, returns[1:], rtol=1e-9, atol=1e-12)
    without = Seen(20)
    other = world(without).run()
    assert not without.bars
    assert other.shell.state.history.bars is None
    assert any("uses_bars = True" in str(e) for e in other.effects)


def test_a_frozen_state_gives_the_same_bars_to_the_last_bit() -> None:
    seen = Seen(60)
    market = world(seen, keep_bars=True)
    items = list(market.items())
    for item in items[: len(items) // 2]:
        market.shell.take(item)
    state = market.shell.state
    again = thaw(market.rules, freeze(state))
    assert freeze(again) == freeze(state)
    one, other = state.history.bars, again.history.bars
    assert one is not None and other is not None  # noqa: PT018
    for ring in (one, other):
        ring.forming[1, 0] = 5.0
        ring.sample(7, np.array([1.0, 2.0, 3.0]), [(1, 2.0, 0.5)])
    for name in ("session", *NAMES):
        np.testing.assert_array_equal(getattr(one.bars(60), name), getattr(other.bars(60), name))


def test_a_snapshot_of_before_there_were_bars_begins_with_none() -> None:
    market = world(Seen(20))
    frozen = freeze(market.run().shell.state)
    with_bars = world(Seen(20), keep_bars=True)
    thawed = thaw(with_bars.rules, frozen)
    assert isinstance(thawed, State)
    assert thawed.history.bars is not None
    assert np.isnan(thawed.history.bars.bars(5).close).all()


def test_a_users_file_reads_bars_when_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "USES_BARS = True\n"
        "def act(view):\n"
        "    bars = view.bars(3)\n"
        "    bars.close.flags.writeable = True\n"
        "    bars.close[:] = 0.0\n"
        "    return [0.1] * bars.high.shape[1]\n"
    )
    policy = load_user_policy(path, "act", {})
    assert policy.uses_bars
    ring = BarRing(2, 5)
    ring.sample(START, np.array([1.0, 2.0]), [])
    market = world(Seen(3), keep_bars=True)
    view = View(
        universe=market.universe, ring=History(3, 5).known, prices=np.ones(3), weights=np.zeros(3), cash=1.0,
        equity=1.0, time=0, sample_time=0, bars=ring,
    )  # fmt: skip
    assert "weights have shape (2,)" in answer(policy, Ask(0, 0, view, {})).failed  # it got as far as answering
    np.testing.assert_array_equal(ring.bars(3).close[-1], [1.0, 2.0])
    path.write_text("def act(view):\n    return [0.0]\n")
    assert not load_user_policy(path, "act", {}).uses_bars
