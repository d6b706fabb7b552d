"""The environments pass the libraries' own checkers, work with their wrappers, and are the simulator and
nothing more."""

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import parallel_api_test
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from quantd.training.market.environments import Agents, Portfolio, read_market
from quantd.training.market.episodes import WHOLE, Episodes
from quantd.training.market.simulator import Simulator
from quantd.training.market.terms import PROFILES, RewardPlan, by_sector
from tests.support.checkout import ROOT
from tests.support.panels import market, panel_of

BARS = ROOT / "data" / "us_daily.parquet"
WINDOW = {"path": BARS, "symbols": ["SPY", "AAPL", "BAC"], "start": "2013-06-03", "end": "2015-06-30"}


@pytest.fixture(scope="module")
def real():
    return read_market(**WINDOW)


@pytest.mark.requirement("R-045")
@pytest.mark.parametrize("action", ["continuous", "discrete", "short"])
@pytest.mark.parametrize("reward", ["log", "simple", "sharpe", "composite"])
def test_gymnasiums_checker_finds_no_fault(real, action, reward):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it advises boxes from -1 to 1
        env = Portfolio(market=real, action=action, reward=reward, length=20)
        check_env(env, skip_render_check=True)  # an AssertionError of its own names a fault
    assert env.observation_space.contains(env.reset(seed=1)[0])


def test_it_is_made_by_name_from_a_file():
    env = gymnasium.make("quantd/Portfolio-v0", **WINDOW, length=30)
    observation, _ = env.reset(seed=1)
    assert observation.shape == env.observation_space.shape == (len(env.unwrapped.state_names),)
    for k in range(30):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert np.isfinite(observation).all()
        assert truncated == (k == 29)
        assert not terminated
    assert info["terms"]["log"] == pytest.approx(reward)
    assert observation[-1] == 1.0  # progress: the last observation is that of the episode that ended


def test_one_portfolio_is_the_simulators(real):
    env = Portfolio(market=real, episodes=WHOLE, reward="sharpe")
    batched = Simulator(real, batch=1, episodes=WHOLE, reward=RewardPlan(kind="sharpe"))
    first, _ = env.reset()
    np.testing.assert_array_equal(first, batched.reset()[0].numpy())
    draw = np.random.default_rng(0)
    for _ in range(60):
        action = draw.random(4, dtype=np.float32)
        observation, reward, *_ = env.step(action)
        step = batched.step(torch.from_numpy(action)[None])
        np.testing.assert_array_equal(observation, step.observation[0].numpy())
        assert reward == step.reward.item()


@pytest.mark.requirement("R-056")
def test_episodes_are_a_year_from_a_drawn_day_and_evaluation_is_the_whole_window(real):
    assert Portfolio(market=real).simulator.episodes == Episodes(252, True)
    starts = set()
    env = Portfolio(market=real)
    for seed in range(8):
        env.reset(seed=seed)
        starts.add(int(env.simulator.row))
    assert len(starts) > 4
    evaluation = Portfolio(market=real, episodes=WHOLE)
    evaluation.reset(seed=3)
    steps, done = 0, False
    while not done:
        *_, done, _ = evaluation.step(np.full(4, 0.25, np.float32))
        steps += 1
    assert steps == real.last - real.first


def test_splits_and_dividends_beside_the_bars_are_found_and_their_absence_is_a_choice(real):
    assert (real.split != 1.0).any()  # AAPL, seven for one
    bare = read_market(**WINDOW, actions="")
    assert bare.dividend is None
    assert float(bare.total[:, 1].min()) < 0.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": "June"}, "start = 'June' is no date"),
        ({"path": "nothing.parquet"}, "there is no file nothing.parquet"),
        ({"symbols": ["SPY", "XYZ"]}, "no bars of XYZ"),
        ({"start": "1998-01-05", "end": "1998-03-31", "symbols": ["SPY"]}, "begin later or give earlier bars"),
    ],
)
def test_a_wrong_window_is_refused_with_the_remedy(change, message):
    with pytest.raises(ValueError, match=message):
        Portfolio(**(WINDOW | change))


@pytest.mark.requirement("R-057")
def test_workers_in_processes_walk_the_same_trajectories_as_in_one(real):
    def play(kind, **options):
        env = kind([lambda: Portfolio(market=real, length=9)] * 2, **options)
        env.seed(5)
        trajectory = [env.reset()]
        for k in range(12):
            trajectory += env.step(np.full((2, 4), 0.1 * k, np.float32))[:2]
        env.close()
        return trajectory

    for observation, other_observation in zip(play(DummyVecEnv), play(SubprocVecEnv, start_method="fork"), strict=True):
        np.testing.assert_array_equal(observation, other_observation)


@pytest.mark.long
def test_stable_baselines_trains_on_it_behind_its_normalising_wrapper(real):
    torch.set_num_threads(1)
    env = VecNormalize(DummyVecEnv([lambda: Portfolio(market=real, length=30)] * 2))
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=2, seed=1)
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(128)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))
    discrete = A2C("MlpPolicy", Portfolio(market=real, action="discrete"), n_steps=16, seed=1).learn(64)
    action, _ = discrete.predict(discrete.env.reset())
    assert 0 <= int(action[0]) < 6


def test_pettingzoos_checker_finds_no_fault(real):
    env = Agents(real, length=25)
    parallel_api_test(env, num_cycles=60)  # an AssertionError of its own names a fault
    observations, _ = env.reset(seed=1)
    assert observations.keys() == set(env.possible_agents)


def play(env: Agents, steps: int, action=lambda name, k: 0.5):
    env.reset(seed=2)
    outcomes = []
    for k in range(steps):
        actions = {n: np.full(env.action_space(n).shape, action(n, k), np.float32) for n in env.agents}
        outcomes.append(env.step(actions))
    return outcomes


@pytest.mark.requirement("R-052", "R-053")
def test_agents_have_books_of_their_own_in_one_market(real):
    env = Agents(real, length=40)
    play(env, 20)
    cash = env.desk.simulator.cash.clone()
    rows = env.desk.simulator.row
    assert (rows == rows[0]).all()
    other = Agents(real, length=40)
    play(other, 20, lambda name, k: 0.9 if name == "bold" and k % 2 else 0.5)
    np.testing.assert_array_equal(other.desk.simulator.cash[:4], cash[:4])
    total = sum(info["equity"] for info in play(env, 20)[-1][4].values())
    assert total == pytest.approx(float(env.desk.simulator.equity.sum()), rel=1e-6)
    assert total == pytest.approx(5e6, rel=0.2)


@pytest.mark.requirement("R-054")
def test_four_agents_by_sector_and_five_by_risk_run_an_episode():
    world = market(panel_of(1, 90, 24))
    sectors = {s: f"sector {k % 4}" for k, s in enumerate(world.symbols)}
    for seats in (by_sector(sectors), PROFILES):
        env = Agents(world, seats, length=40)
        *_, last = play(env, 40)
        assert all(last[3].values())
        assert len(last[0]) == len(seats) == (4 if seats is not PROFILES else 5)
        assert env.agents == []


def test_an_agent_is_made_from_a_file_and_holds_its_own_assets_only():
    seats = by_sector({"SPY": "index", "AAPL": "single", "BAC": "single"})
    env = Agents(read_market(**WINDOW), seats, length=10)
    play(env, 5)
    held = env.desk.simulator.weights
    assert (held[0] > 0).tolist() == [True, False, False]
    assert (held[1] > 0).tolist() == [False, True, True]
