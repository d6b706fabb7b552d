"""Training speed of PPO and A2C: env-steps per second on one thread, compared with Stable-Baselines3 in one run.

    python -m benchmarks.learners [--seconds N]

Network (256 and 256 with LayerNorm), hyper-parameters and environment are equal (observation 200, 20 assets and cash, 8
at once, cheap to step). Needs the test tools. Sides alternate; a ratio is of steps per CPU second in one round.
"""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from statistics import median
from time import perf_counter, process_time
from typing import Final

from msgspec import structs

PEER: Final = "SB3"
ROUNDS: Final = 5
"""At least."""

BATCH, OBSERVATION, ASSETS, SEED = 8, 200, 20, 7


def paces(sides: Mapping[str, Callable[[], int]], seconds: float) -> dict[str, list[float]]:
    """Return each side's env-steps per CPU second, round by round. Sides alternate, so that other load affects all.

    A side continues its training and returns the number of steps.
    """
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()
    began = perf_counter()
    while perf_counter() - began < seconds or len(rates[PEER]) < ROUNDS:
        for name, side in sides.items():
            cpu = process_time()
            steps = side()
            rates[name].append(steps / (process_time() - cpu))
    return rates


def printed(row: str, rates_by_side: Mapping[str, Sequence[float]]) -> None:
    """Print the median and slowest round of each side, and the median, least and most ratio of a round to the peer."""
    print(row)
    for name, rates in rates_by_side.items():
        ratios = sorted(rate / peer for rate, peer in zip(rates, rates_by_side[PEER], strict=True))
        ratio = "" if name == PEER else f"{median(ratios):>9.2f}x{ratios[0]:>8.2f}{ratios[-1]:>8.2f}"
        print(f"  {name:<24}{median(rates):>10,.0f}{min(rates):>10,.0f}{ratio}")


def heading() -> str:
    """Return the machine's load and the columns of `printed`."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    machine = f"one thread, {cores} cores, load {load:.1f}{': BUSY' if load > 0.5 * cores else ''}"
    return f"{machine}\n{'env-steps a CPU second':<26}{'median':>10}{'least':>10}{'to SB3':>10}{'least':>8}{'most':>8}"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seconds", type=float, default=10.0, help="of each row")
    seconds: float = asked.parse_args().seconds
    if not all(find_spec(name) for name in ("torch", "stable_baselines3")):
        print("learners: needs torch and stable-baselines3 (make test installs them); left out")
        return
    import torch

    from quantd.training.learners.a2c import A2cPlan
    from quantd.training.learners.algorithms.proximal_policy import Ppo
    from quantd.training.learners.algorithms.synchronous_actor_critic import A2c
    from quantd.training.learners.ppo import PpoPlan
    from tests.support.problems import DriftingAsset
    from tests.training.learners.peer import peer_of

    torch.set_num_threads(1)

    def env() -> DriftingAsset:
        return DriftingAsset("simplex", BATCH, ASSETS, OBSERVATION)

    def ours(plan: PpoPlan | A2cPlan, rollout: int) -> Callable[[], int]:
        place = env()
        sizes = (OBSERVATION, ASSETS + 1, place.kind, SEED)
        learner = Ppo(plan, *sizes) if isinstance(plan, PpoPlan) else A2c(plan, *sizes)

        def train() -> int:
            before = learner.steps
            learner.learn(place, before + rollout, lambda _: False)
            return learner.steps - before

        return train

    def theirs(plan: PpoPlan | A2cPlan, rollout: int) -> Callable[[], int]:
        peer = peer_of(plan, env(), SEED)

        def train() -> int:
            before = peer.num_timesteps
            peer.learn(rollout, reset_num_timesteps=False)
            return peer.num_timesteps - before

        return train

    rows: list[tuple[str, PpoPlan | A2cPlan, int]] = [
        ("PPO, minibatch 64", PpoPlan(), 2048),
        ("PPO, minibatch 2048", PpoPlan(horizon=1024, minibatch=2048), 8192),
        ("A2C, 5 steps", A2cPlan(), 2000),
    ]
    print(f"seed {SEED}, {heading()}")
    for name, plan, rollout in rows:
        sides = {PEER: theirs(plan, rollout), "quantd": ours(plan, rollout)}
        if isinstance(plan, PpoPlan) and plan.minibatch > 64:
            # the peer computes in float32 only
            sides["quantd, bfloat16"] = ours(structs.replace(plan, bfloat16=True), rollout)
        printed(name, paces(sides, seconds))


if __name__ == "__main__":
    main()
