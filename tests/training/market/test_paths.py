"""Differentiable paths against a plain account kept in fractions, day by day."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.models.history.panel import Panel
from quantd.trading.execution import Costs
from quantd.training.market.paths import episodes, simulate
from tests.support.examples import examples

FREE = Costs()


def panel_of(seed: int, rows: int, size: int, actions: bool = True) -> Panel:
    draw = np.random.default_rng(seed)
    close = np.round(50.0 * np.cumprod(1.0 + draw.normal(0.0, 0.03, (rows, size)), axis=0), 2)
    opens = np.round(close * (1.0 + draw.normal(0.0, 0.01, (rows, size))), 2)
    split, dividend = np.ones((rows, size)), np.zeros((rows, size))
    if actions:
        split[draw.random((rows, size)) < 0.05] = 2.0
        dividend[draw.random((rows, size)) < 0.1] = 0.37
    return Panel(tuple(f"S{k}" for k in range(size)), np.arange(rows), opens, close, split, dividend)


def weights_of(seed: int, batch: int, rows: int, size: int) -> torch.Tensor:
    draw = np.random.default_rng(seed + 1)
    raw = draw.random((batch, rows, size + 1))
    return torch.from_numpy((raw / raw.sum(-1, keepdims=True))[..., :-1])


def by_hand(panel: Panel, weights: np.ndarray, start: int, costs: Costs, cash: int, whole_lots: bool) -> list[float]:
    """One portfolio in exact fractions, one asset at a time, by the words of the design."""
    slip = Fraction(str(costs.slippage_bp + costs.spread_bp / 2)) / 10_000
    fee = Fraction(str(costs.commission_bp)) / 10_000
    free, held = Fraction(cash), [Fraction(0)] * len(panel.symbols)
    equity = [free]
    most = 1 / (1 + fee)  # of equity: the rest pays the commission
    for t, row in enumerate(weights):
        targets = []
        total = sum(map(Fraction, row.tolist()))
        worth = equity[-1] * (most / total if total > most else 1)
        for k, weight in enumerate(row):
            units = Fraction(float(weight)) * worth / Fraction(float(panel.close[start + t, k]))
            targets.append(Fraction(int(units)) if whole_lots else units)
        value = Fraction(0)
        for k, units in enumerate(targets):
            ratio = Fraction(float(panel.split[start + t + 1, k]))
            free += held[k] * Fraction(float(panel.dividend[start + t + 1, k]))
            change = (units - held[k]) * ratio
            price = Fraction(float(panel.open[start + t + 1, k])) * (1 + slip if change > 0 else 1 - slip)
            free -= change * price + abs(change) * price * fee
            held[k] = units * ratio
            value += held[k] * Fraction(float(panel.close[start + t + 1, k]))
        equity.append(free + value)
    return [float(e) for e in equity]


@settings(max_examples=examples(25), deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 4),
    whole_lots=st.booleans(),
    commission=st.sampled_from([0.0, 1.0, 10.0]),
    spread=st.sampled_from([0.0, 2.0]),
    slippage=st.sampled_from([0.0, 3.0]),
)
def test_every_portfolio_of_a_batch_is_the_account_kept_by_hand(
    seed: int, size: int, whole_lots: bool, commission: float, spread: float, slippage: float
) -> None:
    panel = panel_of(seed, 30, size)
    starts = np.array([0, 7, 11])
    weights = weights_of(seed, 3, 12, size)
    costs = Costs(commission_bp=commission, spread_bp=spread, slippage_bp=slippage)
    path = simulate(episodes(panel, starts, 12), weights, costs, 100_000.0, 1.0 if whole_lots else None)
    for k, start in enumerate(starts):
        expected = by_hand(panel, weights[k].numpy(), int(start), costs, 100_000, whole_lots)
        np.testing.assert_allclose(path.equity[k].numpy(), expected, rtol=1e-12)


def test_nothing_after_the_fill_touches_an_earlier_day() -> None:
    panel = panel_of(3, 20, 3)
    later = Panel(*(getattr(panel, f) for f in ("symbols", "day_ns")), *(
        np.concatenate([getattr(panel, f)[:12], getattr(panel, f)[12:] * 1.5])
        for f in ("open", "close", "split", "dividend")
    ))  # fmt: skip
    weights = weights_of(3, 1, 19, 3)
    equity, changed_equity = (simulate(episodes(p, np.array([0]), 19), weights, FREE).equity[0] for p in (panel, later))
    assert equity[:12].tolist() == changed_equity[:12].tolist()
    assert equity[12].item() != changed_equity[12].item()


def test_its_gradient_is_that_of_the_account() -> None:
    panel = panel_of(5, 8, 2)
    weights = weights_of(5, 2, 6, 2).requires_grad_()
    prices = episodes(panel, np.array([0, 1]), 6)
    costs = Costs(commission_bp=10.0, spread_bp=5.0)
    assert torch.autograd.gradcheck(lambda w: simulate(prices, w, costs).equity[:, -1], (weights,))


def test_a_panel_with_a_hole_is_refused_and_the_day_named() -> None:
    panel = panel_of(1, 10, 2)
    close = panel.close.copy()
    close[:3, 1] = np.nan
    Panel(panel.symbols, panel.day_ns, panel.open, close, panel.split, panel.dividend)
    close[6, 0] = np.nan
    days = np.arange("2020-01-01", "2020-01-11", dtype="datetime64[D]").astype("datetime64[ns]").astype(np.int64)
    with pytest.raises(ValueError, match="S0 has no bar on 2020-01-07"):
        Panel(panel.symbols, days, panel.open, close, panel.split, panel.dividend)
