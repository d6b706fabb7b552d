"""Rollouts keep what was executed; advantages and returns are what sums done by hand say."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from quantd.training.learners.algorithms.proximal_policy import Ppo
from quantd.training.learners.ppo import PpoPlan
from quantd.training.learners.rollout import Rollout, advantages, episode_returns
from quantd.training.market.terms import Kind
from quantd.training.market.vector_env import Step
from tests.support.examples import examples
from tests.support.problems import RevertingPair

SEEDS = st.integers(0, 10_000)


class Recorder:
    """An environment that keeps what it was told to do and what it answered. Every third step ends an episode: of the
    first half by itself, of the others by a time limit."""

    device = torch.device("cpu")
    observation_size = 2

    def __init__(self, kind: Kind, batch: int = 4) -> None:
        self.kind: Kind = kind
        self.batch = batch
        self.action_size = 3
        self.executed: list[Tensor] = []
        self.answers: list[Step] = []
        self._random = torch.Generator().manual_seed(1)

    def reset(self, seed: int | None = None) -> Tensor:
        return torch.zeros(self.batch, 2)

    def step(self, action: Tensor) -> Step:
        self.executed.append(action.clone())
        ended = torch.full((self.batch,), len(self.executed) % 3 == 0)
        terminal_rows = torch.arange(self.batch) < self.batch // 2
        final, reward = torch.randn((self.batch, 2), generator=self._random), torch.randn(self.batch)
        observations = torch.where(ended.unsqueeze(1), torch.zeros(2), final)
        self.answers.append(Step(observations, reward, ended & terminal_rows, ended & ~terminal_rows, final))
        return self.answers[-1]


def agent_of(kind: Kind, plan: PpoPlan | None = None, size: int = 2, actions: int = 3) -> Ppo:
    return Ppo(plan or PpoPlan(hidden=(8,)), size, actions, kind, seed=5)


@pytest.mark.requirement("R-069")
@pytest.mark.parametrize("kind", ["discrete", "simplex", "box"])
def test_the_action_stored_is_the_action_executed(kind: Kind) -> None:
    env, agent = Recorder(kind), agent_of(kind)
    rollout = Rollout(env, 7)
    now = rollout.collect(agent.network, agent.family, agent.enter(env), agent.random)
    assert torch.equal(rollout.action, torch.stack(env.executed))
    assert torch.equal(rollout.reward, torch.stack([step.reward for step in env.answers]))
    assert torch.equal(rollout.observation[1:], torch.stack([step.observation for step in env.answers[:-1]]))
    assert torch.equal(now.observation, env.answers[-1].observation)


def test_a_cut_episode_is_valued_at_its_last_observation_and_an_ended_one_not() -> None:
    env, agent = Recorder("discrete"), agent_of("discrete")
    agent.network.vector.add_(torch.randn(agent.network.vector.shape, generator=torch.Generator().manual_seed(1)))
    rollout = Rollout(env, 7)
    now = rollout.collect(agent.network, agent.family, agent.enter(env), agent.random)
    _, target, heads = rollout.value(agent.network, now, gamma=0.9, trace=0.0)

    def value(observation: Tensor) -> Tensor:
        return agent.network.run(observation.unsqueeze(0), torch.zeros(0), agent.network.begin(4)).value[0]

    for t, step in enumerate(env.answers):
        # one-step targets: reward and the value of what came next
        following = value(step.final) * (~step.terminated)
        torch.testing.assert_close(target[t], step.reward + 0.9 * following)
        assert bool(step.terminated.any()) == bool(step.truncated.any()) == (t in (2, 5))
    assert rollout.started[:, 0].tolist() == [True, False, False, True, False, False, True]
    assert float(heads.value.std()) > 0.1


@settings(max_examples=examples(50), deadline=None)
@given(seed=SEEDS, length=st.integers(1, 12), gamma=st.floats(0.0, 1.0), trace=st.floats(0.0, 1.0))
def test_advantages_are_the_discounted_sum_of_surprises_until_the_episode_ends(
    seed: int, length: int, gamma: float, trace: float
) -> None:
    random = torch.Generator().manual_seed(seed)
    reward, value, following = torch.randn((3, length, 2), generator=random, dtype=torch.float64)
    done = torch.rand((length, 2), generator=random) < 0.3
    estimates = advantages(reward, value, following, done, gamma, trace)
    for b in range(2):
        for t in range(length):
            total = 0.0
            for later in range(t, length):
                surprise = float(reward[later, b] + gamma * following[later, b] - value[later, b])
                total += (gamma * trace) ** (later - t) * surprise
                if done[later, b]:
                    break
            assert float(estimates[t, b]) == pytest.approx(total, abs=1e-9)


@settings(max_examples=examples(50), deadline=None)
@given(seed=SEEDS, length=st.integers(1, 12), chance=st.sampled_from([0.0, 0.2, 0.7, 1.0]))
def test_returns_of_episodes_are_sums_of_their_rewards(seed: int, length: int, chance: float) -> None:
    random = torch.Generator().manual_seed(seed)
    reward = torch.randn((length, 3), generator=random, dtype=torch.float64)
    done = torch.rand((length, 3), generator=random) < chance
    before = torch.randn(3, generator=random, dtype=torch.float64)
    ended, open_returns = episode_returns(reward, done, before)
    expected, running_totals = [], before.tolist()
    for b in range(3):
        for t in range(length):
            running_totals[b] += float(reward[t, b])
            if done[t, b]:
                expected.append(running_totals[b])
                running_totals[b] = 0.0
    assert ended.tolist() == pytest.approx(expected)
    assert open_returns.tolist() == pytest.approx(running_totals)


def test_an_environment_without_a_kept_place_is_refused_one() -> None:
    env = RevertingPair("box", batch=2)
    agent = agent_of("box", size=1, actions=1)
    agent.enter(env)
    state = agent.state()
    assert any(name.startswith("env.") for name in state)
    other = agent_of("box", size=1, actions=1)
    other.load(state)
    with pytest.raises(ValueError, match="Recorder cannot resume the saved episodes"):
        other.enter(Recorder("box"))
