"""A screen keeps only where a full measurement finds every level unchanged: random books, prices and limits near an edge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import screen as screen_module
from risk.case import Account
from risk.limits import Correlation, Limits, Tail, override
from risk.monitor import observe
from risk.screen import SAMPLES, SPREAD, Screen, screen
from risk.standing import Values, standing
from tests.risk_cases import make_context, scenario_returns

LOOKBACK = 80


class Held:
    """A book that holds on while a market goes on; the window of returns may still be growing."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = np.random.default_rng(seed)
        n = self.n = int(rng.integers(1, 7))
        self.names = [f"S{k}" for k in range(n)]
        self.sectors = [str(rng.choice(["x", "y"])) for _ in range(n)]
        rows = int(rng.choice([62, 75, LOOKBACK, LOOKBACK + 9]))
        self.returns = scenario_returns(rng, n, rows)
        self.px = rng.uniform(5.0, 200.0, n)
        side = rng.choice([-1.0, 1.0], n) if rng.random() < 0.4 else np.ones(n)
        weights = side * rng.dirichlet(np.ones(n)) * rng.uniform(0.0, 1.3)
        weights[rng.random(n) < 0.2] = 0.0
        self.lots = np.round(weights * 1e6 / self.px)
        self.cash = 1e6 - float(self.lots.dot(self.px))
        if rng.random() < 0.3:
            self.returns[rng.random(rows) < 0.03] = np.nan
        self.quiet = float(rng.choice([0.1, 0.4, 1.0]))
        self.limits = self.near(self.wide())

    @property
    def equity(self) -> float:
        return round(self.cash + float(self.lots.dot(self.px)), 6)

    def wide(self) -> Limits:
        on = self.rng.random(10) < 0.6
        tail = Tail(limit=9.0, lookback=LOOKBACK, confidence=float(self.rng.choice([0.9, 0.95])))
        keys = {
            "max_position_weight": 9.0, "max_gross_exposure": 9.0, "max_net_exposure": 9.0, "max_leverage": 9.0,
            "max_sector_weight": 0.99, "max_herfindahl": 9.0, "var": tail, "cvar": tail, "max_volatility": 9.0,
            "correlation": Correlation(joint_weight=9.0, threshold=0.5, lookback=LOOKBACK),
        }  # fmt: skip
        chosen = {key: value for (key, value), each in zip(keys.items(), on, strict=True) if each}
        return override(Limits(min_history=60, volatility_lookback=LOOKBACK), **chosen)

    def near(self, limits: Limits) -> Limits:
        """Bounds of which the present values are shares about the edges of levels."""
        for key, (value, _) in self.values(limits).items():
            share = float(self.rng.choice([0.2, 0.5, 0.57, 0.62, 0.75, 0.82, 0.97, 1.02])) * self.rng.uniform(
                0.97, 1.03
            )
            bound = max(value, 1e-3) / share
            if key == "correlation":
                limits = override(limits, correlation=Correlation(joint_weight=bound, threshold=0.5, lookback=LOOKBACK))
            elif key in ("var", "cvar"):
                tail = getattr(limits, key)
                limits = override(limits, **{key: Tail(bound, confidence=tail.confidence, lookback=LOOKBACK)})
            elif key.startswith("max_") and key != "max_sector_weight":
                limits = override(limits, **{key: bound})
        return limits

    def context(self):
        return make_context(self.px, self.returns[-LOOKBACK:], self.names, self.sectors)

    def values(self, limits: Limits) -> Values:
        account = Account(lots=self.lots, cash=self.cash, equity=self.equity)
        return standing(self.context(), account, limits, None)

    def day(self) -> None:
        """A new row of returns, and prices by it; now and then a violent one."""
        scale = self.quiet * (6.0 if self.rng.random() < 0.05 else 1.0)
        row = scenario_returns(self.rng, self.n, 1)[0] * scale
        self.px = self.px * (1.0 + row)
        self.returns = np.vstack((self.returns, row))

    def screen(self, levels: dict[str, int]) -> Screen | None:
        exposures = self.lots * self.px
        return screen(self.context(), exposures, self.equity, self.limits, self.values(self.limits), levels)


def kept_samples(seed: int) -> tuple[int, int]:
    """(samples a screen kept, samples at which a level changed) of one book, with every kept one checked."""
    book = Held(seed)
    levels: dict[str, int] = {}
    observe(levels, book.values(book.limits))
    kept = changed = 0
    made = book.screen(levels)
    first = book.px
    for _ in range(40):
        book.day()
        ratios = (book.px / first)[book.lots != 0.0] if made else np.ones(0)
        low, high = (float(ratios.min()), float(ratios.max())) if len(ratios) else (1.0, 1.0)
        every = book.px / first
        keeps = made is not None and made.keeps(every, low, high, book.equity)
        crossings = observe(levels, book.values(book.limits))
        kept += keeps
        changed += bool(crossings)
        assert not (keeps and crossings), f"{crossings} were screened away"
        if not keeps:
            made, first = book.screen(levels), book.px
    return kept, changed


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_what_is_screened_away_is_never_a_crossing(seed: int) -> None:
    kept_samples(seed)


def test_screens_keep_and_levels_change_in_these_books() -> None:
    found = [kept_samples(seed) for seed in range(60)]
    assert sum(kept for kept, _ in found) > 400
    assert sum(changed for _, changed in found) > 80


@pytest.mark.parametrize("name", ["growth", "rows", "leaving"])
def test_each_part_of_the_bound_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one part of it taken away, some book crosses a level behind the screen's back."""
    if name == "growth":
        monkeypatch.setattr(Screen, "bound", lambda self, lower, upper, within: True)
    elif name == "rows":
        monkeypatch.setattr(Screen, "rows_below", lambda self, most: None)
        monkeypatch.setattr(Screen, "expect", lambda self, tail: None)
        monkeypatch.setattr(Screen, "vary", lambda self, deviation: None)
    else:
        monkeypatch.setattr(screen_module, "band", lambda key, at, bound: (-np.inf, _above(at, bound)))
    with pytest.raises(AssertionError, match="screened away"):
        [kept_samples(seed) for seed in range(200)]


def _above(at: int, bound: float) -> float:
    return (0.6, 0.8, 1.0, np.inf)[at] * bound


def drifting_hedge() -> bool:
    """Whether a screen keeps all the way while a hedge of two shares that move alike drifts apart by 8 % and VaR crosses."""
    rng = np.random.default_rng(3)
    returns = np.repeat(rng.normal(0.0, 0.1, (LOOKBACK, 1)), 2, axis=1)
    px, lots = np.array([100.0, 100.0]), np.array([5_000.0, -5_000.0])
    limits = Limits(min_history=60, var=Tail(limit=0.008, lookback=LOOKBACK))
    account = Account(lots=lots, cash=1e6, equity=1e6)
    values = standing(make_context(px, returns, ["A", "B"]), account, limits, None)
    assert values["var"][0] < 1e-12
    made = screen(make_context(px, returns, ["A", "B"]), lots * px, 1e6, limits, values, {})
    if made is None:
        return False
    for _ in range(16):
        row = np.array([0.005, 0.0])
        px, returns = px * (1.0 + row), np.vstack((returns, row))[-LOOKBACK:]
        equity = 1e6 + float(lots.dot(px))
        ratios = px / 100.0
        if not made.keeps(ratios, float(ratios.min()), float(ratios.max()), equity):
            return False
        account = Account(lots=lots, cash=1e6, equity=equity)
        value, bound = standing(make_context(px, returns, ["A", "B"]), account, limits, None)["var"]
        if value > 0.6 * bound:
            return True
    return False


def test_a_hedge_that_drifts_apart_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not drifting_hedge()
    moves = screen_module._moves
    monkeypatch.setattr(
        screen_module, "_moves", lambda scenarios, book: (moves(scenarios, book)[0], np.zeros(LOOKBACK))
    )
    assert drifting_hedge()  # without what positions move by alone it would not have been


def test_it_serves_for_so_many_samples_and_so_wide_a_range_of_prices_only() -> None:
    context = make_context(np.array([10.0]), np.zeros((80, 1)), ["S0"])
    limits = Limits(max_gross_exposure=1.0)
    values = {"max_gross_exposure": (0.1, 1.0)}
    one = np.ones(1)
    made = screen(context, np.array([100.0]), 1_000.0, limits, values, {})
    assert made is not None
    assert [made.keeps(one, 1.0, 1.0, 1_000.0) for _ in range(SAMPLES + 1)] == [True] * SAMPLES + [False]
    wide = (1.0 + SPREAD) / (1.0 - SPREAD)
    for high, keeps in ((wide * 0.999, True), (wide * 1.001, False), (float("nan"), False)):
        made = screen(context, np.array([100.0]), 1_000.0, limits, values, {})
        assert made is not None
        assert made.keeps(one, 1.0, high, 1_000.0) is keeps


def test_a_limit_it_does_not_know_is_always_measured() -> None:
    context = make_context(np.array([10.0]), np.zeros((80, 1)), ["S0"])
    values = {"max_of_something_new": (0.0, 1.0)}
    assert screen(context, np.array([1.0]), 1_000.0, Limits(), values, {}) is None
    assert screen(context, np.array([1.0]), 1_000.0, Limits(min_diversification=0.3), {}, {}) is None
