"""The batched simulator against a plain account kept in fractions, and what episodes are made of."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.models.history.panel import Panel
from quantd.trading.execution import Costs
from quantd.training.market.episodes import WHOLE, Episodes, Stress
from quantd.training.market.simulator import Simulator
from quantd.training.market.tensors import Market, grid
from quantd.training.market.terms import USUAL_COSTS, Kind, RewardPlan
from quantd.training.market.vector_env import VectorEnv
from tests.support.examples import examples
from tests.support.panels import DAY, market, panel_of

FREE = Costs()
F64 = torch.float64


def simplex(seed: int, *shape: int) -> torch.Tensor:
    raw = np.random.default_rng(seed).random(shape) ** 3
    return torch.from_numpy(raw / raw.sum(-1, keepdims=True))


def by_hand(panel: Panel, weights: np.ndarray, costs: Costs, cash: int, whole_lots: bool) -> tuple[list, list]:
    """One account in exact fractions, one asset at a time, by the words of the design: (equity, lots) at each close."""
    slip = Fraction(str(costs.slippage_bp + costs.spread_bp / 2)) / 10_000
    fee, least = Fraction(str(costs.commission_bp)) / 10_000, Fraction(costs.commission_min_micro, 10**6)
    borrow = Fraction(str(costs.borrow_bp_annual)) / 10_000 / 365
    most = 1 / (1 + fee)  # of equity: the rest pays the commission
    free, held = Fraction(cash), [Fraction(0)] * len(panel.symbols)
    equity, kept = [free], []
    for t, row in enumerate(weights):
        value = Fraction(0)
        total = sum(map(Fraction, row.tolist()))
        worth = equity[-1] * (most / total if total > most else 1)
        for k, weight in enumerate(row):
            price, ratio = Fraction(float(panel.close[t, k])), Fraction(float(panel.split[t + 1, k]))
            target = Fraction(float(weight)) * worth / price
            if whole_lots:  # an order ends at zero and does not cross it
                target = Fraction(int(target)) if target * held[k] >= 0 else Fraction(0)
            free += held[k] * Fraction(float(panel.dividend[t + 1, k]))
            change, after = (target - held[k]) * ratio, held[k] * ratio
            if whole_lots:
                free += (after - int(after)) * price / ratio
                change, after = Fraction(int(change)), Fraction(int(after))
            fill = Fraction(float(panel.open[t + 1, k])) * (1 + slip if change > 0 else 1 - slip)
            free -= change * fill + (max(abs(change) * fill * fee, least) if change else 0)
            held[k] = after + change
            close = Fraction(float(panel.close[t + 1, k]))
            days = int(panel.day_ns[t + 1] - panel.day_ns[t]) // DAY
            free += min(held[k], 0) * close * borrow * days
            value += held[k] * close
        equity.append(free + value)
        kept.append([float(h) for h in held])
    return [float(e) for e in equity], kept


def run(env: Simulator, actions: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(equity float64[B, L + 1], lots float64[B, L, N]) of actions float64[B, L, A] in one episode."""
    env.reset()
    equity, lots = [env.equity], []
    for t in range(actions.shape[1]):
        env.move(env.targets(actions[:, t]))
        equity.append(env.equity)
        lots.append(env.lots())
    return torch.stack(equity, 1).numpy(), torch.stack(lots, 1).numpy()


@pytest.mark.requirement("R-051")
@settings(max_examples=examples(40), deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 4),
    whole_lots=st.booleans(),
    short=st.booleans(),
    commission=st.sampled_from([0.0, 10.0]),
    spread=st.sampled_from([0.0, 2.0]),
    least=st.sampled_from([0, 1_000_000]),
    borrow=st.sampled_from([0.0, 300.0]),
)
def test_every_account_of_a_batch_is_the_one_kept_by_hand(
    seed: int, size: int, whole_lots: bool, short: bool, commission: float, spread: float, least: int, borrow: float
) -> None:
    panel = panel_of(seed, 24, size)
    costs = Costs(
        commission_bp=commission, spread_bp=spread, slippage_bp=3.0, commission_min_micro=least, borrow_bp_annual=borrow
    )
    actions = simplex(seed + 1, 3, 20, size + 1)
    if short:
        actions = (actions[..., :-1] * 2.0 - 0.5).clamp(-1.0, 1.0)
        actions = actions / actions.abs().sum(-1, keepdim=True).clamp(min=1.0)
    env = Simulator(
        market(panel, dtype=F64), batch=3, kind="box" if short else "simplex", episodes=Episodes(30, False),
        costs=costs, lot=1.0 if whole_lots else None,
    )  # fmt: skip
    equity, lots = run(env, actions)
    for k in range(3):
        weights = actions[k].numpy() if short else actions[k, :, :-1].numpy()
        expected, held = by_hand(panel, weights, costs, 100_000, whole_lots)
        np.testing.assert_allclose(equity[k], expected, rtol=1e-11)
        np.testing.assert_allclose(lots[k], held, rtol=1e-9, atol=1e-6)


def test_single_and_double_precision_agree_to_what_a_float_holds() -> None:
    panel = panel_of(4, 260, 3, deviation=0.01)
    actions = simplex(5, 2, 250, 4)
    wide, narrow = (
        run(Simulator(market(panel, dtype=d), batch=2, episodes=Episodes(250, False)), actions)[0]
        for d in (F64, torch.float32)
    )
    np.testing.assert_allclose(narrow, wide, rtol=2e-5)


def test_a_weight_that_is_exactly_what_whole_lots_are_worth_buys_them_all() -> None:
    price = np.full((3, 1), 33.33)
    panel = Panel(("A",), np.arange(3) * DAY, price, price, np.ones((3, 1)), np.zeros((3, 1)))
    lots = np.arange(1.0, 3000.0)
    env = Simulator(market(panel, dtype=F64), batch=len(lots), episodes=WHOLE, costs=FREE, lot=1.0)
    env.move(torch.from_numpy(lots * 33.33 / 100_000.0)[:, None])
    np.testing.assert_allclose(env.lots()[:, 0].numpy(), lots, rtol=1e-12)


def test_a_new_episode_is_rewarded_as_if_there_had_been_none_before() -> None:
    world = market(panel_of(1, 40, 2), dtype=F64)
    plan = RewardPlan(kind="sharpe")
    used, fresh = (Simulator(world, batch=1, episodes=Episodes(5, False), reward=plan) for _ in range(2))
    for _ in range(5):
        used.step(torch.ones(1, 3))
    assert used.step(torch.ones(1, 3)).reward == fresh.step(torch.ones(1, 3)).reward


def test_momentum_is_the_total_return_of_twenty_sessions() -> None:
    panel = panel_of(3, 60, 2)
    expected = np.prod(1.0 + panel.returns()[31:51], axis=0) - 1.0
    np.testing.assert_allclose(market(panel, dtype=F64).momentum[50].numpy(), expected, rtol=1e-9)


@pytest.mark.requirement("R-048", "R-052")
def test_costs_are_ten_basis_points_and_five_of_slippage_unless_said() -> None:
    flat = np.full((4, 1), 10.0)
    panel = Panel(("A",), np.arange(4) * DAY, flat, flat, np.ones((4, 1)), np.zeros((4, 1)))
    env = Simulator(market(panel, dtype=F64), batch=1, episodes=Episodes(3, False))
    step = env.step(torch.tensor([[1.0, 0.0]]))
    assert Costs(commission_bp=10.0, slippage_bp=5.0) == USUAL_COSTS
    bought = 100_000 / 1.001  # the rest pays the commission
    assert float(env.equity) == pytest.approx(100_000 - bought * 0.0005 - bought * 1.0005 * 0.001)
    assert float(step.reward) == pytest.approx(np.log(float(env.equity) / 100_000))


@pytest.mark.requirement("R-047")
@settings(max_examples=examples(30), deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.01, 1.0, 50.0]))
def test_any_action_becomes_weights_from_nought_to_one_that_add_up_to_one(seed: int, scale: float) -> None:
    env = Simulator(market(panel_of(1, 9, 3)), batch=5)
    action = torch.from_numpy(np.random.default_rng(seed).normal(0.0, scale, (5, 4)))
    weights = env.targets(action)
    assert (weights >= 0.0).all()
    assert (weights.sum(-1) <= 1.0 + 1e-6).all()
    nothing = env.targets(torch.zeros(5, 4))
    assert (nothing == 0.0).all()


def test_a_box_of_shorts_holds_no_more_than_its_gross() -> None:
    env = Simulator(market(panel_of(1, 9, 3)), batch=2, kind="box", gross=1.5)
    weights = env.targets(torch.tensor([[1.0, -1.0, 1.0], [0.2, -0.3, 0.0]]))
    np.testing.assert_allclose(weights.numpy(), [[0.5, -0.5, 0.5], [0.2, -0.3, 0.0]], rtol=1e-6)


@pytest.mark.requirement("R-046")
def test_four_assets_in_halves_are_ten_named_allocations() -> None:
    four = grid(("SPY", "TLT", "GLD", "BTC"))
    assert four.weights.shape == (10, 5)
    assert four.weights.sum(axis=1).tolist() == [1.0] * 10
    assert four.names[:2] == ("SPY 100%", "SPY 50% TLT 50%")
    assert len(set(four.names)) == 10
    assert len(grid(("A", "B"), 4, cash=True).names) == 15
    assert grid(("A",), 2, cash=True).names == ("A 100%", "A 50% cash 50%", "cash 100%")
    allocations = grid(("A", "B"), 1, cash=True, equal_weight=True)
    assert allocations.names == ("A 100%", "B 100%", "cash 100%", "equal weight")
    assert allocations.weights[-1].tolist() == [0.5, 0.5, 0.0]
    pairs = grid(("A", "B", "C"), 2, cash=True, equal_weight=True, distinct=True)
    assert pairs.names == ("A 50% B 50%", "A 50% C 50%", "B 50% C 50%", "cash 100%", "equal weight")
    assert pairs.weights[3].tolist() == [0.0, 0.0, 0.0, 1.0]
    single = grid(("A", "B"), 1, cash=True, equal_weight=True, distinct=True)
    assert single.names == allocations.names
    with pytest.raises(ValueError, match="3 distinct parts over 2 symbols: lower parts"):
        grid(("A", "B"), 3, distinct=True)
    panel = panel_of(1, 9, 2)
    env = Simulator(market(panel, dtype=F64), batch=3, kind="discrete", allocations=grid(panel.symbols))
    assert env.action_size == 3
    assert env.targets(torch.tensor([0, 1, 2])).tolist() == [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    with pytest.raises(ValueError, match="allocations"):
        Simulator(market(panel), batch=1, kind="discrete")


def test_every_entry_of_an_observation_has_its_name() -> None:
    panel = panel_of(1, 30, 2)
    env: VectorEnv = Simulator(market(panel, dtype=F64), batch=2, episodes=Episodes(20, False))
    assert isinstance(env, Simulator)
    names = env.observation_names
    assert names == ("S0.row", "S1.row", "S0.weight", "S1.weight", "cash", "drawdown", "progress")
    first = env.reset()
    assert first.shape == (2, env.observation_size)
    assert first[0].tolist() == [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    kept = first.clone()
    step = env.step(simplex(1, 2, 3))
    assert torch.equal(first, kept)  # what was given out stays as it was
    shown = dict(zip(names, step.observation[0].tolist(), strict=True))
    assert shown["S0.row"] == 1.0
    assert shown["S0.weight"] + shown["S1.weight"] + shown["cash"] == pytest.approx(1.0)
    assert shown["progress"] == pytest.approx(1 / 20)
    assert shown["drawdown"] == pytest.approx(max(0.0, 1 - float(env.equity[0]) / 100_000))


def test_an_asset_without_a_price_stays_in_cash_until_it_has_one() -> None:
    panel = panel_of(1, 12, 2, actions=False)
    panel.open[:5, 1] = panel.close[:5, 1] = np.nan
    env = Simulator(market(panel, dtype=F64), batch=1, episodes=Episodes(11, False), costs=FREE)
    env.reset()
    for row in range(8):
        env.step(torch.tensor([[0.0, 1.0, 0.0]]))
        assert (float(env.weights[0, 1]) > 0.0) == (row >= 5)
    assert env.equity.isfinite().all()


def test_an_episode_ends_by_time_and_its_last_observation_is_kept() -> None:
    env = Simulator(market(panel_of(1, 40, 2)), batch=3, episodes=Episodes(length=5))
    env.reset(seed=3)
    for _ in range(4):
        step = env.step(torch.ones(3, 3))
        assert not (step.truncated | step.terminated).any()
        assert torch.equal(step.final, step.observation)
    step = env.step(torch.ones(3, 3))
    assert step.truncated.all()
    assert not step.terminated.any()
    assert (step.final[:, -1] == 1.0).all()
    assert (step.observation[:, -1] == 0.0).all()
    assert (env.equity == 100_000.0).all()


@pytest.mark.requirement("R-060")
def test_bankruptcy_ends_an_episode_and_its_last_observation_is_kept() -> None:
    panel = panel_of(1, 12, 1, actions=False)
    panel.open[4:] *= 0.02
    panel.close[4:] *= 0.02
    env = Simulator(market(panel, dtype=F64), batch=2, episodes=Episodes(10, False))
    env.reset()
    action = torch.tensor([[1.0, 0.0], [0.1, 0.9]])
    for _ in range(3):
        assert not env.step(action).terminated.any()
    step = env.step(action)
    assert step.terminated.tolist() == [True, False]
    assert not step.truncated.any()
    assert float(step.final[0, -2]) > 0.9  # the drawdown that ended it
    assert float(step.observation[0, -2]) == 0.0
    assert torch.equal(step.final[1], step.observation[1])
    assert torch.isfinite(step.reward).all()
    assert (env.steps == torch.tensor([0, 4])).all()


def test_a_short_that_loses_more_than_all_is_bankrupt_with_finite_figures() -> None:
    panel = panel_of(1, 8, 1, actions=False)
    panel.open[3:] *= 4.0
    panel.close[3:] *= 4.0
    env = Simulator(market(panel, dtype=F64), batch=1, kind="box", episodes=Episodes(6, False, ruin=0.0))
    env.reset()
    steps = [env.step(torch.tensor([[-1.0]])) for _ in range(3)]
    assert steps[-1].terminated.item()
    assert torch.isfinite(steps[-1].final).all()
    assert torch.isfinite(steps[-1].reward).all()


def test_an_action_that_is_not_a_number_is_an_error_and_not_a_result() -> None:
    env = Simulator(market(panel_of(1, 12, 2)), batch=2)
    with pytest.raises(FloatingPointError, match="not a number"):
        env.step(torch.full((2, 3), float("nan")))


def test_a_seed_decides_every_draw_and_another_draws_otherwise() -> None:
    world = market(panel_of(1, 200, 2))
    plan = Episodes(length=7, block=5, stress=Stress(chance=0.2), together=2)

    def play(seed: int) -> list[torch.Tensor]:
        env = Simulator(world, batch=8, episodes=plan)
        first = env.reset(seed)
        return [first] + [x for _ in range(20) for x in env.step(torch.ones(8, 3))]

    draws, repetition, other_draws = play(1), play(1), play(2)
    assert all(torch.equal(a, b) for a, b in zip(draws, repetition, strict=True))
    assert not torch.equal(draws[0], other_draws[0])


def played(world: Market, kind: Kind, reward: RewardPlan) -> list[torch.Tensor]:
    """Observations, rewards and ends of 40 steps with restarts, resampling, stress, whole lots and every cost."""
    costs = Costs(commission_bp=10.0, spread_bp=2.0, commission_min_micro=1_000_000, borrow_bp_annual=300.0)
    env = Simulator(
        world, batch=6, kind=kind, costs=costs, lot=1.0, reward=reward, capital=[1e4, 1e5, 1e6] * 2,
        episodes=Episodes(length=9, stress=Stress(chance=0.1), together=2, ruin=0.9),
    )  # fmt: skip
    env.reset(3)
    actions = torch.from_numpy(np.random.default_rng(0).random((40, 6, env.action_size)) * 2 - (kind == "box"))
    return [part.cpu() for a in actions for part in env.step(a.to(env.device))]


@pytest.mark.parametrize("kind", ["simplex", "box"])
def test_tensors_alone_as_on_a_gpu_make_the_same_steps_as_numpy_in_their_memory(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = panel_of(1, 200, 3)
    panel.open[:20, 1] = panel.close[:20, 1] = np.nan
    plays = []
    for _ in range(2):
        world = market(panel, dtype=F64)
        plays.append(played(world, kind, RewardPlan(kind="composite")))
        for module in ("quantd.training.market.tensors", "quantd.training.market.simulator"):
            monkeypatch.setattr(f"{module}.view", lambda tensor: tensor)
    for plain, tensors in zip(*plays, strict=True):
        torch.testing.assert_close(plain, tensors, rtol=1e-9, atol=1e-9)
    assert any(bool(part.any()) for part in plays[0][2::5])  # some went bankrupt


def test_a_simulator_goes_on_from_its_state_bit_for_bit() -> None:
    world = market(panel_of(1, 200, 2))
    plan, reward = Episodes(length=7, block=5, stress=Stress(chance=0.2)), RewardPlan(kind="sharpe")
    env = Simulator(world, batch=4, episodes=plan, reward=reward)
    env.reset(1)
    for _ in range(10):
        env.step(torch.ones(4, 3))
    kept = env.state()
    expected = [x for _ in range(10) for x in env.step(torch.ones(4, 3))]
    again = Simulator(world, batch=4, episodes=plan, reward=reward, seed=99)
    again.load(kept)
    continuation = [x for _ in range(10) for x in again.step(torch.ones(4, 3))]
    assert all(torch.equal(a, b) for a, b in zip(expected, continuation, strict=True))


def test_drawn_episodes_begin_everywhere_and_never_look_past_the_window() -> None:
    world = market(panel_of(1, 60, 2), rows=range(10, 40))
    env = Simulator(world, batch=512, episodes=Episodes(length=9))
    env.reset(0)
    assert set(env.row.tolist()) == set(range(10, 31))
    for _ in range(8):
        env.step(torch.ones(512, 3))
    assert int(env.row.max()) == 38
    step = env.step(torch.ones(512, 3))
    assert int(step.final[:, 0].max()) == 39  # the observed feature is the row


def test_a_resampled_history_jumps_about_once_a_block_and_goes_on_between() -> None:
    env = Simulator(market(panel_of(1, 500, 1)), batch=64, episodes=Episodes(length=100, block=10))
    before = env.reset(4)[:, 0]
    jumps = 0
    for _ in range(100):
        after = env.step(torch.ones(64, 2)).final[:, 0]
        jumps += int((after != before + 1).sum())
        before = after
    assert 0.08 < jumps / 6400 < 0.12
    assert int(env.row.min()) >= 0


def test_a_decision_and_its_outcome_stay_together_when_history_is_resampled() -> None:
    panel = panel_of(1, 50, 1)
    world = market(panel, dtype=F64)
    env = Simulator(world, batch=16, episodes=Episodes(length=40, block=2), costs=FREE)
    row = env.reset(4)[:, 0].long()
    weights = env.weights
    for _ in range(39):
        step = env.step(torch.tensor([[0.5, 0.5]], dtype=F64).expand(16, 2))
        gap, total = world.gap[row + 1, 0], world.total[row + 1, 0]
        paid = world.dividend[row + 1, 0] * weights[:, 0]
        expected = 1.0 + 0.5 * (total - gap) + weights[:, 0] * (gap - 1.0) + paid
        np.testing.assert_allclose(env.outcome.growth.numpy(), expected.numpy(), rtol=1e-12)
        row, weights = step.observation[:, 0].long(), env.weights


def test_stress_strikes_as_often_and_as_hard_as_said_and_only_closes() -> None:
    panel = panel_of(1, 300, 3, actions=False)
    quiet, hit = (
        Simulator(market(panel, dtype=F64), batch=64, episodes=Episodes(60, stress=s), costs=FREE)
        for s in (None, Stress(chance=0.1, least=0.05, most=0.10))
    )
    action = torch.full((64, 4), 0.25, dtype=F64)
    falls = []
    for env in (quiet, hit):
        env.reset(5)
    hit.load({**hit.state(), "row": quiet.row})
    for _ in range(50):
        weights = quiet.weights, hit.weights
        for env in (quiet, hit):
            env.move(env.targets(action))
        assert weights is not None
        falls.append((quiet.outcome.growth - hit.outcome.growth).numpy())
    struck = np.stack(falls) > 0.015
    assert 0.07 < struck.mean() < 0.13
    assert np.stack(falls).max() < 0.75 * 0.15 * 1.5


def test_accounts_of_one_path_share_its_days_and_end_together() -> None:
    panel = panel_of(1, 100, 1, actions=False)
    panel.open[50:] *= 0.02
    panel.close[50:] *= 0.02
    env = Simulator(market(panel, dtype=F64), batch=6, episodes=Episodes(60, together=2, block=30))
    env.reset(1)
    action = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=F64).repeat(3, 1)
    ends = 0
    for _ in range(150):
        step = env.step(action)
        rows = step.observation[:, 0].view(3, 2)
        assert torch.equal(rows[:, 0], rows[:, 1])
        broke = step.terminated.view(3, 2)
        assert not broke[:, 1].any()
        assert torch.equal(step.truncated.view(3, 2)[:, 1] & broke[:, 0], broke[:, 0])
        ends += int(broke.sum())
    assert ends > 0


def test_a_window_that_cannot_hold_an_episode_is_refused_with_the_day() -> None:
    with pytest.raises(ValueError, match="begin later or give earlier bars"):
        market(panel_of(1, 20, 1), rows=range(19, 20))


def test_costs_that_the_simulator_does_not_know_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="participation"):
        Simulator(market(panel_of(1, 20, 1)), batch=1, costs=Costs(participation=0.1))
