"""PPO and A2C learn what Stable-Baselines3 learns, from the same problem by the same hyper-parameters and network."""

import pytest

from quantd.training.learners.a2c import A2cPlan
from quantd.training.learners.ppo import PpoPlan
from tests.support.problems import DriftingAsset, Problem, RevertingPair, share
from tests.training.learners.peer import acting, peer_of
from tests.training.learners.trained_learner import trained

SEEDS = (1, 2, 3, 4, 5)
# stopped on the way, where learners can differ: at the end all are at the best
HALF_WAY: dict[str, tuple[PpoPlan | A2cPlan, int]] = {
    "ppo": (PpoPlan(hidden=(64,), horizon=64, gamma=0.9, learning_rate=1e-3), 8192),
    "a2c": (A2cPlan(hidden=(64,), gamma=0.9, learning_rate=1e-3), 8_000),
}
PROBLEMS = {
    "drift, discrete": lambda: DriftingAsset("discrete", 8),
    "pair, discrete": lambda: RevertingPair("discrete", 8),
    "pair, box": lambda: RevertingPair("box", 8),
}


def shares(name: str, problem: str, seeds: tuple[int, ...]) -> tuple[list[float], list[float]]:
    """What part of the best ours and the peer earn, a figure a seed."""
    plan, steps = HALF_WAY[name]
    own_shares, peer_shares = [], []
    for seed in seeds:
        env: Problem = PROBLEMS[problem]()
        own_shares.append(share(env, trained(plan, env, seed, steps).act))
        env = PROBLEMS[problem]()
        peer_shares.append(share(env, acting(peer_of(plan, env, seed).learn(steps), env)))
    return own_shares, peer_shares


@pytest.mark.slow
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", HALF_WAY)
def test_half_way_both_are_as_near_the_best_within_the_peers_spread(name: str, problem: str) -> None:
    own_shares, peer_shares = shares(name, problem, SEEDS)
    mean = sum(own_shares) / len(own_shares)
    print(f"{name}, {problem}: ours {sorted(own_shares)}, SB3 {sorted(peer_shares)}")  # noqa: T201
    assert mean >= min(peer_shares) - 0.02
