"""Training speed of PPO and A2C: env-steps per second on one thread, compared with Stable-Baselines3 in one run.

    python -m benchmarks.learners [--seconds N]

Network (256 and 256 with LayerNorm), hyper-parameters and environment are equal (observation 200, 20 assets and cash, 8
at once, cheap to step). Needs the test tools. The ratio is of steps per CPU second, with the wall clock beside it.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from time import perf_counter, process_time
from typing import NamedTuple

from msgspec import structs

BATCH, OBSERVATION, ASSETS, SEED = 8, 200, 20, 7


class Pace(NamedTuple):
    """Env-steps per second."""

    cpu: float
    wall: float


def paces(sides: Sequence[Callable[[], int]], seconds: float) -> list[Pace]:
    """Return the best of each side's rounds. Sides alternate, so that other load affects all equally.

    A side continues its training and returns the number of steps.
    """
    best = [Pace(0.0, 0.0) for _ in sides]
    for side in sides:
        side()
    began = perf_counter()
    while perf_counter() - began < seconds:
        for k, side in enumerate(sides):
            wall, cpu = perf_counter(), process_time()
            made = side()
            now = Pace(made / (process_time() - cpu), made / (perf_counter() - wall))
            best[k] = Pace(max(best[k].cpu, now.cpu), max(best[k].wall, now.wall))
    return best


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seconds", type=float, default=10.0, help="of each row")
    seconds: float = asked.parse_args().seconds
    if not all(find_spec(name) for name in ("torch", "stable_baselines3")):
        print("learners: needs torch and stable-baselines3 (make test installs them); left out")
        return
    import torch

    from quantd.models.learners.a2c import A2c, A2cPlan
    from quantd.models.learners.ppo import Ppo, PpoPlan
    from tests.models.learners.peer import peer_of
    from tests.support.problems import DriftingAsset

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
    load = os.getloadavg()[0]
    cores = os.cpu_count() or 1
    print(f"seed {SEED}, one thread, {cores} cores, load {load:.1f}{': BUSY' if load > 0.5 * cores else ''}")
    print(f"{'env-steps/s, best of rounds':<30}{'a CPU second':>13}{'a second':>10}{'to SB3':>9}")
    for name, plan, rollout in rows:
        sides = {"quantd": ours(plan, rollout), "SB3": theirs(plan, rollout)}
        if isinstance(plan, PpoPlan) and plan.minibatch > 64:
            # the peer computes in float32 only
            sides["quantd, bfloat16"] = ours(structs.replace(plan, bfloat16=True), rollout)
        measured = dict(zip(sides, paces(list(sides.values()), seconds), strict=True))
        print(name)
        for side, speed in measured.items():
            ratio = "" if side == "SB3" else f"{speed.cpu / measured['SB3'].cpu:.1f}x"
            print(f"  {side:<28}{speed.cpu:>13,.0f}{speed.wall:>10,.0f}{ratio:>9}")


if __name__ == "__main__":
    main()
