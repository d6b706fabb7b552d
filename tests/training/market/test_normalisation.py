"""Running statistics equal those of everything seen, are kept with the model, and are frozen when judged."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.training.market.episodes import Episodes
from quantd.training.market.normalisation import Normalised, Running
from quantd.training.market.simulator import Simulator
from quantd.training.market.vector_env import VectorEnv
from tests.support.examples import examples
from tests.support.panels import market, panel_of


@pytest.mark.requirement("R-037")
@settings(max_examples=examples(30), deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8), shift=st.sampled_from([0.0, 1e6]))
def test_running_moments_are_those_of_all_rows_at_once(sizes: list[int], shift: float) -> None:
    rows = np.random.default_rng(0).normal(shift, 2.0, (sum(sizes), 3))
    running = Running(3, torch.device("cpu"))
    for part in np.split(rows, np.cumsum(sizes)[:-1]):
        running.add(torch.from_numpy(part))
    np.testing.assert_allclose(running.mean.numpy(), rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(running.deviation().numpy(), np.sqrt(rows.var(0) + 1e-8), rtol=1e-6)


def world(seed: int = 0) -> Simulator:
    return Simulator(market(panel_of(1, 200, 2)), batch=16, episodes=Episodes(20), seed=seed)


def play(env: VectorEnv, steps: int) -> torch.Tensor:
    env.reset(1)
    return torch.stack(
        [torch.cat([s.observation, s.reward[:, None]], 1) for s in (env.step(torch.ones(16, 3)) for _ in range(steps))]
    )


def test_what_is_shown_has_mean_nought_and_deviation_one_and_rewards_keep_their_sign() -> None:
    env: VectorEnv = Normalised(world())
    shown = play(env, 300)[100:]
    assert shown[..., 0].mean().abs() < 0.2
    assert abs(float(shown[..., 0].std()) - 1.0) < 0.15
    plain = play(world(), 300)[100:, :, -1]
    assert torch.equal(shown[..., -1].sign(), plain.sign())


@pytest.mark.requirement("R-037")
def test_kept_statistics_show_the_same_and_do_not_move_when_frozen() -> None:
    learnt = Normalised(world())
    play(learnt, 50)
    again = Normalised(world())
    again.load(learnt.state())
    for env in (learnt, again):
        env.frozen = True
    count = again.observations.count
    assert torch.equal(play(learnt, 30), play(again, 30))
    assert again.observations.count == count
    bare = play(world(), 30)
    assert torch.equal(play(again, 30)[..., -1], bare[..., -1])
