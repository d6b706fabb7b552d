"""The reference rule earns what its signal is worth, trades less where trading costs more, and is equal weight without
a signal."""

import msgspec
import numpy as np
import pytest

from quantd.trading.execution import Costs
from quantd.training.plans.plan import MarketPlan
from quantd.training.power.plants import Plant, planted
from quantd.training.power.reference_rule import Grown, Rule, chosen_rules, run_cases
from tests.support.panels import panel_of

PANEL = panel_of(3, 900, 4, actions=False)
TRAIN, TEST = range(20, 500), range(500, 900)
OF = MarketPlan(costs=Costs(commission_bp=15.0), capital=10_000_000.0)


def expected(ic: float) -> np.ndarray:
    return planted(Plant(ic=ic), PANEL, TRAIN).expected


def run_rules(gains: np.ndarray, of: MarketPlan, rules: list[Rule]) -> list[Grown]:
    return run_cases(PANEL, TEST, TRAIN, [(gains, rule) for rule in rules], of)


@pytest.mark.long
def test_a_certain_signal_is_worth_nearly_the_best_asset_or_cash_of_each_day() -> None:
    gains = expected(1.0)
    (rule,) = chosen_rules(PANEL, TRAIN, [gains], OF, len(TEST) - 1)
    net = run_rules(gains, OF, [rule])[0]
    best = np.log1p(np.maximum(gains[TEST.start : TEST.stop - 1].max(axis=1), 0.0)).mean() * 252
    free = msgspec.structs.replace(OF, costs=Costs())
    gross = run_rules(gains, free, [Rule(32.0, 0.0)])[0]
    assert 0.95 * best < gross.annual < 1.02 * best  # the first and the last day are in part outside
    assert 0.6 * best < net.annual < gross.annual


def test_a_wider_band_trades_less() -> None:
    gains = expected(0.3)
    narrow, wide = run_rules(gains, OF, [Rule(2.0, 0.0), Rule(2.0, 4.0)])
    assert wide.turnover_annual < 0.7 * narrow.turnover_annual


def test_without_a_signal_the_rule_is_equal_weight() -> None:
    gains = expected(0.0)
    assert chosen_rules(PANEL, TRAIN, [gains], OF, len(TEST) - 1) == (Rule(),)
    one, other = run_rules(gains, OF, [Rule(), Rule(4.0, 0.0)])
    assert np.array_equal(one.daily, other.daily)
    assert 0.0 < one.turnover_annual < 15.0


@pytest.mark.long
def test_a_rule_of_a_batch_is_the_rule_alone() -> None:
    gains = expected(0.3)
    rules = [Rule(1.0, 0.5), Rule(32.0, 1.5)]
    together = run_rules(gains, OF, rules)
    for rule, growth in zip(rules, together, strict=True):
        assert run_rules(gains, OF, [rule])[0].daily == pytest.approx(growth.daily, abs=1e-12)


def test_a_signal_below_its_cost_is_left_alone() -> None:
    dear = msgspec.structs.replace(OF, costs=Costs(commission_bp=200.0))
    assert chosen_rules(PANEL, TRAIN, [expected(0.05)], dear, len(TEST) - 1) == (Rule(),)
