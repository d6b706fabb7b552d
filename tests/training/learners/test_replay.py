"""The memory of off-policy learners: what is drawn is what was stored, n-step returns stop where episodes do,
priorities are kept."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from quantd.training.learners.replay import Replay, SumTree
from quantd.training.market.vector_env import Step
from tests.support.examples import examples
from tests.support.problems import DriftingAsset

GAMMA = 0.5


def memory(batch: int, capacity: int, n_step: int, alpha: float = 0.0, gamma: float = GAMMA) -> Replay:
    return Replay(DriftingAsset("discrete", batch=batch, assets=2), capacity, n_step, gamma, alpha)


def steps(count: int, batch: int, terminated: set[tuple[int, int]], truncated: set[tuple[int, int]]) -> list[Step]:
    """Step t of environment b observes (t, b) and earns 1 + t + 100 b; what follows is observed as (t + 1, b), or at an
    end as (-t - 1, b)."""

    def flags(at: set[tuple[int, int]], t: int) -> Tensor:
        return torch.tensor([(t, b) in at for b in range(batch)])

    transitions = []
    for t in range(count):
        ended = flags(terminated, t) | flags(truncated, t)
        who = torch.arange(batch).float()
        following = torch.stack([torch.full((batch,), t + 1.0), who], 1)
        final = torch.stack([torch.full((batch,), t + 1.0).where(~ended, torch.tensor(-t - 1.0)), who], 1)
        transitions.append(Step(following, 1.0 + t + 100.0 * who, flags(terminated, t), flags(truncated, t), final))
    return transitions


def fill(replay: Replay, transitions: list[Step]) -> None:
    for t, step in enumerate(transitions):
        batch = len(step.reward)
        observations = torch.stack([torch.full((batch,), float(t)), torch.arange(batch).float()], 1)
        replay.add(observations, torch.full((batch,), t % 2), step)


def expected(transitions: list[Step], t: int, b: int, n_step: int) -> tuple[float, float, float]:
    """(return, discount, first number of what follows), by the definition, one step after another."""
    total, factor = 0.0, 1.0
    for step in transitions[t : t + n_step]:
        total += factor * float(step.reward[b])
        factor *= GAMMA
        if step.terminated[b]:
            return total, 0.0, float(step.final[b, 0])
        if step.truncated[b]:
            return total, factor, float(step.final[b, 0])
    return total, factor, float(step.final[b, 0])


ENDS = st.sets(st.tuples(st.integers(0, 29), st.integers(0, 2)), max_size=12)


@settings(max_examples=examples(60), deadline=None)
@given(
    count=st.integers(4, 30),
    n_step=st.integers(1, 4),
    rows=st.integers(5, 40),
    alpha=st.sampled_from([0.0, 0.6]),
    terminated=ENDS,
    truncated=ENDS,
)
def test_every_draw_is_a_step_of_the_ring_with_the_return_of_its_definition(
    count: int, n_step: int, rows: int, alpha: float, terminated: set[tuple[int, int]], truncated: set[tuple[int, int]]
) -> None:
    transitions = steps(count, 3, terminated, truncated)
    replay = memory(3, rows * 3, n_step, alpha)
    fill(replay, transitions)
    oldest, newest = max(0, count - rows), count - n_step
    assert len(replay) == (newest - oldest + 1) * 3
    batch = replay.sample(500, torch.Generator().manual_seed(1))
    drawn = {(int(t), int(b)) for t, b in batch.observation.tolist()}
    assert drawn <= {(t, b) for t in range(oldest, newest + 1) for b in range(3)}
    if len(replay) < 40:
        assert len(drawn) == len(replay)
    for observation, action, reward, discount, following in zip(
        batch.observation, batch.action, batch.reward, batch.discount, batch.following, strict=True
    ):
        t, b = int(observation[0]), int(observation[1])
        assert int(action) == t % 2
        assert (float(reward), float(discount), float(following[0])) == expected(transitions, t, b, n_step)
        assert int(following[1]) == b


def test_what_was_added_before_a_cut_does_not_lead_to_what_was_added_after() -> None:
    replay = memory(1, 100, 3)
    fill(replay, steps(4, 1, set(), set()))
    replay.cut()
    fill(replay, steps(4, 1, set(), set()))
    batch = replay.sample(300, torch.Generator().manual_seed(3))
    # the last step before the cut earned 4 and saw 4 after it, whatever came then
    last = batch.observation[:, 0] == 3.0
    assert batch.reward[last].eq(4.0).any()
    assert set(batch.following[last & batch.reward.eq(4.0), 0].tolist()) == {4.0}


def test_drawing_before_anything_is_known_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        memory(2, 10, 3).sample(4, torch.Generator())


@pytest.mark.requirement("R-062")
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_steps_are_drawn_as_often_as_their_priorities_say_and_weighted_against_it(beta: float) -> None:
    replay = memory(1, 8, 1, alpha=0.6)
    fill(replay, steps(8, 1, set(), set()))
    errors = torch.tensor([0.0, 0.1, -0.2, 0.5, 1.0, -2.0, 4.0, 8.0])
    replay.tell(torch.arange(8), errors)
    chance = (errors.abs().numpy() + 1e-6) ** 0.6
    chance /= chance.sum()
    batch = replay.sample(40_000, torch.Generator().manual_seed(4), beta)
    drawn = np.bincount(batch.place.numpy(), minlength=8) / 40_000
    np.testing.assert_allclose(drawn, chance, atol=0.003)
    rarest = min(place for place in batch.place.tolist())
    weights = (chance[batch.place.numpy()] / chance[rarest]) ** -beta
    np.testing.assert_allclose(batch.weight.numpy(), weights, rtol=1e-3)


def test_a_memory_taken_up_again_draws_the_same() -> None:
    first_memory, second_memory = memory(3, 30, 2, 0.6), memory(3, 30, 2, 0.6)
    transitions = steps(25, 3, {(3, 1)}, {(7, 2)})
    fill(first_memory, transitions)
    first_memory.tell(torch.tensor([0, 5, 9]), torch.tensor([3.0, 0.2, 7.0]))
    second_memory.load(first_memory.state())
    drawn = [replay.sample(64, torch.Generator().manual_seed(6)) for replay in (first_memory, second_memory)]
    for column, other_column in zip(*drawn, strict=True):
        assert torch.equal(column, other_column)
    with pytest.raises(ValueError, match="saved steps of shape"):
        memory(2, 30, 2).load(first_memory.state())


@settings(max_examples=examples(60), deadline=None)
@given(
    size=st.integers(1, 70),
    writes=st.lists(st.tuples(st.integers(0, 69), st.floats(0.0, 1e6)), min_size=1, max_size=40),
    seed=st.integers(0, 1000),
)
def test_a_sum_tree_finds_the_leaf_that_a_running_sum_finds(
    size: int, writes: list[tuple[int, float]], seed: int
) -> None:
    tree, plain = SumTree(size), np.zeros(size)
    places = np.array([place % size for place, _ in writes])
    values = np.array([value for _, value in writes])
    tree.write(places, values)
    plain[places] = values
    assert tree.total == pytest.approx(plain.sum())
    if tree.total == 0.0:
        return
    heights = np.random.default_rng(seed).random(50) * tree.total * (1.0 - 1e-9)
    leaves = tree.find(heights)
    assert (plain[leaves] > 0.0).all()
    upto = np.cumsum(plain)
    slack = 1e-9 * tree.total
    assert (heights <= upto[leaves] + slack).all()
    assert (heights >= upto[leaves] - plain[leaves] - slack).all()
