"""The exact environment has the engine's own steps: its answers give the digest, the equity and the costs of a backtest
with the same answers."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.config import read
from quantd.daemon.runtime.step_log import Unanswered
from quantd.models.observation.return_features import LOOKBACK
from quantd.research.runs.backtest import drive
from quantd.trading.effects import Effect, Filled, Valued
from quantd.trading.events import Event
from quantd.trading.view import HOLD, Hold, Memory, View
from quantd.training.exact.engine_environment import Exact
from quantd.training.market.episodes import WHOLE, Episodes, Stress
from quantd.training.market.terms import RewardPlan
from tests.support.checkout import ROOT
from tests.support.fold import by_handlers

SHIPPED = ("agents.learned.policy=equal_weight", f"feed.path={ROOT}/data/us_daily.parquet")

ALONE = f"""
[quantd]
name = "exact"
[universe]
symbols = ["SPY", "AAPL", "BAC"]
[feed]
path = "{ROOT}/data/us_daily.parquet"
actions = "{ROOT}/data/us_actions.csv"
stamps = "session"
interval = "1d"
start = 2014-01-02
end = 2015-06-30
[broker]
cash = "100000.00"
commission_bp = 10.0
spread_bp = 0.0
slippage_bp = 0.0
[risk]
max_position_weight = 0.6
max_gross_exposure = 1.0
[[agents]]
name = "learner"
policy = "hold"
capital = 1.0
min_trade = 0.0
"""


class Replayed:
    """A policy that gives the answers of an episode, then holds."""

    lookback = LOOKBACK

    def __init__(self, answers: Sequence[NDArray[np.float64]]) -> None:
        self.answers: Iterator[NDArray[np.float64]] = iter(answers)

    def act(self, view: View, memory: Memory) -> tuple[NDArray[np.float64] | Hold, Memory]:
        return next(self.answers, HOLD), memory


class Books(Unanswered):
    """A log that keeps the valuations of a book, and the commissions and traded values of its fills."""

    def __init__(self, agent: int) -> None:
        self.agent = agent
        self.equity: dict[int, float] = {}
        self.fees = self.traded = 0.0

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Valued):
                self.equity[effect.ts] = effect.books[self.agent] / 1e6
            elif isinstance(effect, Filled):
                self.fees += sum(effect.fee_micro) / 1e6
                self.traded += sum(
                    abs(lots) * price / 1e9 for lots, price in zip(effect.lots, effect.price_nano, strict=True)
                )


@cache
def alone(*settings: str) -> Assembly:
    return assemble(read(ALONE, known_names(), file="alone.toml", sets=settings), history=LOOKBACK)


@cache
def shipped() -> Assembly:
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    text = text.replace('"data/', f'"{ROOT}/data/')
    return assemble(read(text, known_names(), file="config.toml", sets=SHIPPED[:1]), history=LOOKBACK)


def played(env: Exact, seed: int, *, handled: bool = False) -> tuple[list[NDArray[np.float64]], list[dict]]:
    draw = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    if handled:
        by_handlers(env.shell)
    answers, infos, ended = [], [info | {"observation": observation}], False
    while not ended:
        action = draw.dirichlet(np.full(env.action_space.shape, 0.5)) * draw.choice([0.2, 1.0])
        answers.append(action[:-1] / action.sum())
        observation, reward, terminated, truncated, info = env.step(action)
        infos.append(info | {"observation": observation, "reward": reward})
        ended = terminated or truncated
    return answers, infos


def backtest(assembly: Assembly, agent: int, answers: Sequence[NDArray[np.float64]], books: Books | None = None) -> str:
    policies = list(assembly.policies)
    policies[agent] = Replayed(answers)
    shell, _ = drive(
        replace(assembly, policies=tuple(policies)), assembly.config, "exact", books, None, lambda share: None
    )
    return shell.digest.hexdigest()


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize("action", ["continuous", "discrete", "short"])
@pytest.mark.parametrize("reward", ["log", "sharpe", "composite"])
def test_gymnasiums_checker_finds_no_fault(action, reward):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it advises boxes from -1 to 1
        env = Exact(assembly=alone(), action=action, reward=reward, length=10)
        check_env(env, skip_render_check=True)  # an AssertionError of its own names a fault
    assert env.observation_space.contains(env.reset(seed=1)[0])


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_an_episode_is_the_backtest_of_its_answers_to_the_bit(seed):
    env = Exact(assembly=alone(), episodes=WHOLE)
    answers, infos = played(env, seed)
    samples = env.shell.samples
    books = Books(0)
    assert backtest(alone(), 0, answers) == backtest(alone(), 0, answers, books) == env.shell.digest.hexdigest()
    equity = [info["equity"] for info in infos]
    assert equity == [books.equity[ts] for ts in books.equity]
    assert len(equity) == len(answers) + 1 > 370
    growth = [torch.tensor(after / before, dtype=torch.float64) for before, after in pairwise(equity)]
    assert [info["reward"] for info in infos[1:]] == [ratio.log().item() for ratio in growth]
    assert sum(info["cost"] for info in infos[1:]) == pytest.approx(books.fees, abs=1e-4)
    traded = sum(info["turnover"] * before for info, before in zip(infos[1:], equity, strict=False))
    assert traded == pytest.approx(books.traded, rel=1e-12)
    assert samples[0] > 10 * samples[1]  # the rest is the first sample, and those of splits


@pytest.mark.long
def test_the_place_of_one_agent_among_others_is_that_of_the_shipped_configuration():
    numbers = {agent.name: k for k, agent in enumerate(shipped().config.agents)}
    for name in ("learned", "trend"):  # asked each day, and each week
        env = Exact(assembly=shipped(), agent=name, episodes=WHOLE)
        answers, infos = played(env, 3)
        books = Books(numbers[name])
        assert backtest(shipped(), numbers[name], answers, books) == env.shell.digest.hexdigest()
        for info in infos[1:]:  # on the eve of a holiday the agent is asked after the close
            assert info["equity"] == books.equity[max(ts for ts in books.equity if ts <= info["time"])]
        assert len(answers) > 100


@pytest.mark.long
@pytest.mark.parametrize("assembly", [alone, shipped])
def test_a_step_of_the_fold_is_that_of_the_handlers(assembly):
    env = Exact(assembly=assembly(), agent="" if assembly is alone else "learned", episodes=WHOLE, reward="composite")
    folded, infos = played(env, 5)
    digest, samples = env.shell.digest.hexdigest(), env.shell.samples
    stepped, stepped_infos = played(env, 5, handled=True)
    np.testing.assert_array_equal(folded, stepped)
    assert env.shell.digest.hexdigest() == digest
    assert env.shell.samples[1] > samples[1]
    for info, stepped_info in zip(infos, stepped_infos, strict=True):
        np.testing.assert_equal(info, stepped_info)


@pytest.mark.long
def test_a_later_episode_is_a_run_that_begins_there():
    env = Exact(assembly=alone(), length=60)
    starts = set()
    for seed in range(4):
        answers, infos = played(env, seed)
        assert len(answers) == 60
        starts.add(infos[1]["time"])
    assert len(starts) == 4
    later = alone("feed.start=2014-06-02")
    first = Exact(assembly=later, episodes=WHOLE)
    first.reset()
    env.reset(options={"start": "2014-06-02"})
    for k in range(60):
        action = np.roll([0.5, 0.3, 0.1, 0.1], k)
        outcome, later_outcome = first.step(action), env.step(action)
        np.testing.assert_array_equal(
            outcome[0][:-1], later_outcome[0][:-1]
        )  # the last entry is the progress of the episode
        assert outcome[1] == later_outcome[1]
        assert outcome[4]["equity"] == later_outcome[4]["equity"]


def test_it_is_made_by_name_and_ends_at_ruin(tmp_path):
    file = tmp_path / "alone.toml"
    file.write_text(ALONE, encoding="utf-8")
    ruin = Episodes(length=20, ruin=0.9999)
    env = gymnasium.make("quantd/Exact-v0", config=file, episodes=ruin, reward=RewardPlan(drawdown_penalty=1.0))
    env.reset(seed=1)
    ended = False
    while not ended:
        _, reward, terminated, truncated, info = env.step([1.0, 0.0, 0.0, 0.0])
        ended = terminated or truncated
    assert terminated
    assert info["equity"] <= 99_990.0
    assert reward < info["terms"]["log"] < 0.0
    with pytest.raises(ValueError, match="no episode is open"):
        env.unwrapped.step([1.0, 0.0, 0.0, 0.0])


def test_a_step_without_an_episode_and_an_action_that_is_no_number_are_refused():
    env = Exact(assembly=alone())
    with pytest.raises(ValueError, match="no episode is open"):
        env.step([0.0, 0.0, 0.0, 1.0])
    env.reset(seed=1)
    with pytest.raises(ValueError, match="a date after its history"):
        env.reset(options={"start": "2013-06-03"})
    with pytest.raises(FloatingPointError, match="is NaN or infinite"):
        env.step([np.nan, 0.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("options", "settings", "text"),
    [
        ({"agent": "other"}, (), "agent 'other' is not in the configuration; name one of its agents: learner"),
        ({}, ("agents.learner.sizing.volatility_target=0.1",), "would change the answers of a learner"),
        ({"episodes": Episodes(block=60)}, (), "change the recorded market of the engine"),
        ({"episodes": Episodes(stress=Stress())}, (), "change the recorded market of the engine"),
        ({}, ("feed.start=2015-06-30",), "0 after it"),
    ],
)
def test_what_it_cannot_be_is_refused(options, settings, text):
    with pytest.raises(ValueError, match=text):
        Exact(assembly=alone(*settings), **options)
    with pytest.raises(ValueError, match="learned, parity, trend"):
        Exact(assembly=shipped())
