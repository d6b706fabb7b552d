"""Each reward against its formula, and the composite as the weighted sum of what it reports."""

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.training.market.episodes import Episodes
from quantd.training.market.rewards import USUAL_VARIANCE, Detail, Outcome, Reward
from quantd.training.market.simulator import Simulator
from quantd.training.market.terms import Composite, RewardPlan
from tests.support.examples import examples
from tests.support.panels import market, panel_of

F64 = torch.float64


def outcome(growth: float | list[float], **changed: object) -> Outcome:
    grown = torch.tensor([growth] if isinstance(growth, float) else growth, dtype=F64)
    zero = torch.zeros_like(grown)
    return Outcome(grown, zero, zero, zero)._replace(**changed)  # type: ignore[arg-type]


def reward(plan: RewardPlan, batch: int = 1) -> Reward:
    return Reward(plan, batch, torch.device("cpu"), F64)


@pytest.mark.requirement("R-049")
def test_log_and_simple_returns_are_those_of_the_equity() -> None:
    assert reward(RewardPlan())(outcome(1.1)).item() == pytest.approx(np.log(1.1))
    assert reward(RewardPlan(kind="simple"))(outcome(1.1)).item() == pytest.approx(0.1)
    assert np.isfinite(reward(RewardPlan())(outcome(-0.5)).item())


def test_a_relative_reward_is_less_the_growth_of_equal_weight() -> None:
    market_growth = torch.tensor([1.05], dtype=F64)
    plan = RewardPlan(benchmark="equal_weight")
    assert reward(plan)(outcome(1.1, market=market_growth)).item() == pytest.approx(np.log(1.1 / 1.05))
    simple = RewardPlan(kind="simple", benchmark="equal_weight")
    assert reward(simple)(outcome(1.1, market=market_growth)).item() == pytest.approx(0.05)
    ratio = RewardPlan(kind="sharpe", benchmark="equal_weight")
    alone = reward(RewardPlan(kind="sharpe"))(outcome(1.0 + 1.1 - 1.05)).item()
    assert reward(ratio)(outcome(1.1, market=market_growth)).item() == pytest.approx(alone)
    with pytest.raises(ValueError, match="uses no benchmark"):
        RewardPlan(kind="composite", benchmark="equal_weight")


def test_the_benchmark_of_a_simulator_is_the_mean_growth_of_what_is_priced() -> None:
    panel = panel_of(2, 60, 3)
    panel.open[:30, 2] = panel.close[:30, 2] = np.nan
    simulator = Simulator(
        market(panel, dtype=F64), batch=2, reward=RewardPlan(benchmark="equal_weight"), episodes=Episodes(length=10)
    )
    cash = torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=F64).expand(2, -1)
    simulator.reset(4)
    for _ in range(8):
        rows = simulator.row.tolist()
        step = simulator.step(cash)
        for account, row in enumerate(rows):
            priced = np.isfinite(panel.close[row])
            paid = panel.close[row + 1] * panel.split[row + 1] + panel.dividend[row + 1]
            grown = (paid / panel.close[row])[priced].mean()
            assert step.reward[account].item() == pytest.approx(-np.log(grown))


def test_a_scaled_reward_is_over_the_volatility_before_the_decision() -> None:
    panel = panel_of(2, 90, 3)
    panel.close[60:] = panel.close[59] * np.exp(np.log(panel.close[60:] / panel.close[59]) * 3.0)
    panel.open[:10, 2] = panel.close[:10, 2] = np.nan
    plain, scaled = (
        Simulator(market(panel, dtype=F64), batch=2, reward=RewardPlan(scale=scale), episodes=Episodes(length=20))
        for scale in ("none", "volatility")
    )
    growth = (panel.close[1:] * panel.split[1:] + panel.dividend[1:]) / panel.close[:-1] - 1.0
    squares = np.concatenate([[0.0], np.nanmean(growth, axis=1) ** 2])
    deviation = np.array([np.sqrt(squares[max(0, row - 19) : row + 1].mean()) for row in range(90)])
    relative = deviation / deviation[plain.market.first : plain.market.last].mean()
    weights = torch.tensor([[0.5, 0.3, 0.1, 0.1]], dtype=F64).expand(2, -1)
    for simulator in (plain, scaled):
        simulator.reset(4)
    quotients = []
    for _ in range(18):
        rows = plain.row.tolist()
        reward_plain, reward_scaled = plain.step(weights).reward, scaled.step(weights).reward
        for account, row in enumerate(rows):
            assert reward_scaled[account].item() * relative[row] == pytest.approx(reward_plain[account].item())
        quotients += [relative[row] for row in rows]
    assert max(quotients) > 2.0 * min(quotients)
    assert scaled.reward.terms["log"].tolist() == plain.reward.terms["log"].tolist(), "terms are not scaled"
    with pytest.raises(ValueError, match="only kinds log and simple are scaled by it"):
        RewardPlan(kind="sharpe", scale="volatility")


@pytest.mark.requirement("R-049")
@settings(max_examples=examples(30), deadline=None)
@given(returns=st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=40), mean=st.sampled_from([0.0, 0.004, -0.009]))
def test_the_differential_sharpe_ratio_is_how_the_moving_one_changes(returns: list[float], mean: float) -> None:
    decay = 1e-7
    paid = reward(RewardPlan(kind="sharpe", decay=decay))
    first, second = mean, USUAL_VARIANCE + mean**2
    paid.moments.first[:], paid.moments.second[:] = first, second
    for sample_return in returns:
        before = first / (second - first**2) ** 0.5
        first, second = first + decay * (sample_return - first), second + decay * (sample_return**2 - second)
        after = first / (second - first**2) ** 0.5
        assert paid(outcome(1.0 + sample_return)).item() == pytest.approx((after - before) / decay, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("kind", ["sharpe", "composite"])
def test_cash_that_earns_its_rate_pays_no_sharpe_reward(kind: str) -> None:
    paid = reward(RewardPlan(kind=kind))  # type: ignore[arg-type]
    earned = torch.tensor([0.001], dtype=F64)
    none = torch.zeros((1, 2), dtype=F64)
    detail = Detail(torch.zeros(1, dtype=F64), none, none, none)
    for _ in range(50):
        paid(outcome(1.001, earned=earned, detail=detail))
        assert paid.terms["sharpe"].item() == pytest.approx(0.0, abs=1e-9)
    paid(outcome(1.002, earned=earned, detail=detail))
    assert paid.terms["sharpe"].item() > 0.001


@pytest.mark.requirement("R-058")
def test_penalties_are_taken_off_a_rising_drawdown_and_off_turnover() -> None:
    deeper = outcome(0.9, drawdown_before=torch.tensor([0.05]), drawdown=torch.tensor([0.15]))
    assert reward(RewardPlan(kind="simple", drawdown_penalty=2.0))(deeper).item() == pytest.approx(-0.1 - 0.2)
    better = outcome(1.1, drawdown_before=torch.tensor([0.15]), drawdown=torch.tensor([0.05]))
    assert reward(RewardPlan(kind="simple", drawdown_penalty=2.0))(better).item() == pytest.approx(0.1)
    traded = outcome(1.0, turnover=torch.tensor([0.5]))
    assert reward(RewardPlan(kind="simple", turnover_penalty=0.01))(traded).item() == pytest.approx(-0.005)


@pytest.mark.requirement("R-050")
def test_the_seven_parts_have_the_weights_of_the_requirements() -> None:
    assert msgspec.structs.asdict(Composite()) == {
        "profit": 2.0, "risk": -0.5, "cost": -0.1, "stability": -0.05, "sharpe": 1.0, "momentum": 0.3,
        "diversification": 0.2,
    }  # fmt: skip


@pytest.mark.requirement("R-050")
@pytest.mark.parametrize("name", Composite().__struct_fields__)
def test_each_part_is_reported_and_its_weight_counts(name: str) -> None:
    usual, changed = (
        Simulator(
            market(panel_of(3, 60, 3), dtype=F64),
            batch=4,
            episodes=Episodes(40, False),
            reward=RewardPlan(kind="composite", composite=c),
        )
        for c in (Composite(), msgspec.structs.replace(Composite(), **{name: getattr(Composite(), name) + 1.0}))
    )
    draw = torch.Generator().manual_seed(1)
    for env in (usual, changed):
        env.reset()
    for _ in range(30):
        action = torch.rand((4, 4), generator=draw)
        step, changed_step = usual.step(action), changed.step(action)
        parts = usual.reward.terms
        assert set(parts) == set(Composite().__struct_fields__)
        total = sum(usual.reward.weights[n] * parts[n] for n in parts)
        torch.testing.assert_close(step.reward, total)
        torch.testing.assert_close(changed_step.reward - step.reward, parts[name])
    assert parts[name].abs().max() > 0.0


def test_parts_of_the_composite_measure_what_they_say() -> None:
    half = torch.tensor([[0.5, 0.5], [1.0, 0.0]], dtype=F64)
    paid = reward(RewardPlan(kind="composite"), 2)
    detail = Detail(
        cost=torch.tensor([0.001, 0.002]),
        weights=half,
        trades=torch.tensor([[0.2, 0.0], [0.2, 0.1]]),
        momentum=torch.tensor([[0.1, 0.0], [0.1, 0.0]], dtype=F64),
    )
    paid(outcome([1.02, 1.02], detail=detail))
    terms = {k: v.tolist() for k, v in paid.terms.items()}
    assert terms["profit"] == pytest.approx([0.02, 0.02])
    assert terms["cost"] == pytest.approx([0.001, 0.002])
    assert terms["stability"] == [0.5, 1.0]
    assert terms["momentum"] == pytest.approx([0.05, 0.1])
    assert terms["diversification"] == pytest.approx([0.75, 0.0])


def test_a_new_episode_forgets_the_moments_of_the_last() -> None:
    paid = reward(RewardPlan(kind="sharpe"), 2)
    fresh = paid(outcome([1.02, 1.02])).clone()
    paid(outcome([0.97, 0.97]))
    paid.moments.reset(torch.tensor([1]))
    again = paid(outcome([1.02, 1.02]))
    assert again[1] == fresh[1]
    assert again[0] != fresh[0]


def test_a_decay_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        reward(RewardPlan(kind="sharpe", decay=1.5))
