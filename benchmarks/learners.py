"""How fast PPO and A2C train: env-steps a second on one thread, beside Stable-Baselines3 in the same run.

python -m benchmarks.learners [--seconds N]: the same network (a trunk of 256 and 256 with LayerNorm), hyper-parameters and environment
(observation 200, 20 assets and cash, 8 at once, cheap to step). Needs the test tools. Both are given per second of
the processor's time, so that a busy machine does not decide; the wall clock is beside it.
"""

import argparse
import os
from collections.abc import Callable
from importlib.util import find_spec
from time import perf_counter, process_time
from typing import NamedTuple

BATCH, OBSERVATION, ASSETS, SEED = 8, 200, 20, 7


class Pace(NamedTuple):
    """Env-steps a second."""

    cpu: float
    wall: float


def pace(train: Callable[[int], int], rollout: int, seconds: float) -> Pace:
    """The best of repeats of one call; `train` makes about so many more steps and says how many they were."""
    train(rollout)
    best = Pace(0.0, 0.0)
    began = perf_counter()
    while perf_counter() - began < seconds:
        wall, cpu = perf_counter(), process_time()
        made = train(rollout)
        now = Pace(made / (process_time() - cpu), made / (perf_counter() - wall))
        best = Pace(max(best.cpu, now.cpu), max(best.wall, now.wall))
    return best


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seconds", type=float, default=6.0, help="of each row and side")
    seconds: float = asked.parse_args().seconds
    if not all(find_spec(name) for name in ("torch", "stable_baselines3")):
        print("learners: needs torch and stable-baselines3 (make test installs them); left out")
        return
    import torch

    from models.learners.a2c import A2c, A2cPlan
    from models.learners.ppo import Ppo, PpoPlan
    from tests.models.peer import peer_of
    from tests.models.problems import DriftingAsset

    torch.set_num_threads(1)

    def env() -> DriftingAsset:
        return DriftingAsset("simplex", BATCH, ASSETS, OBSERVATION)

    rows: list[tuple[str, PpoPlan | A2cPlan, int]] = [
        ("PPO, minibatch 64", PpoPlan(), 2048),
        ("PPO, minibatch 2048", PpoPlan(horizon=1024, minibatch=2048), 8192),
        ("PPO, minibatch 2048, bfloat16", PpoPlan(horizon=1024, minibatch=2048, bfloat16=True), 8192),
        ("A2C, 5 steps", A2cPlan(), 4000),
    ]
    load = os.getloadavg()[0]
    cores = os.cpu_count() or 1
    print(f"seed {SEED}, one thread, {cores} cores, load {load:.1f}{': BUSY' if load > 0.5 * cores else ''}")
    print(f"{'env-steps/s, best':<31}{'quantd/CPU':>11}{'SB3/CPU':>9}{'ratio':>7}{'quantd/wall':>13}{'SB3/wall':>10}")
    peers: dict[str, Pace] = {}
    for name, plan, rollout in rows:
        place, size = env(), (OBSERVATION, ASSETS + 1, "simplex", SEED)
        ours = Ppo(plan, *size) if isinstance(plan, PpoPlan) else A2c(plan, *size)  # type: ignore[arg-type]

        def train(steps: int, learner: Ppo | A2c = ours, place: DriftingAsset = place) -> int:
            before = learner.agent.steps
            learner.learn(place, before + steps, lambda _: False)
            return learner.agent.steps - before

        mine = pace(train, rollout, seconds)
        known = name.removesuffix(", bfloat16")
        if known not in peers:
            # the peer computes in float32 only
            peer = peer_of(plan, env(), SEED)

            def practise(steps: int, peer: object = peer) -> int:
                before = peer.num_timesteps  # type: ignore[attr-defined]
                peer.learn(steps, reset_num_timesteps=False)  # type: ignore[attr-defined]
                return peer.num_timesteps - before  # type: ignore[attr-defined]

            peers[known] = pace(practise, rollout, seconds)
        theirs = peers[known]
        ratio = mine.cpu / theirs.cpu
        print(f"{name:<31}{mine.cpu:>11,.0f}{theirs.cpu:>9,.0f}{ratio:>6.1f}x{mine.wall:>13,.0f}{theirs.wall:>10,.0f}")


if __name__ == "__main__":
    main()
