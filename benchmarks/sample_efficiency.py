"""Env-steps until a learner converges, what three parts of DQN change, and the time of 500,000 steps.

    python -m benchmarks.sample_efficiency [--seeds 1,2,3,4,5] [--only PART]

The assets, dates and costs are those of examples/train/reference.toml. A variant differs from "plain" in one setting.

`convergence`: five seeds a variant. A seed converges at the first evaluation whose Sharpe ratio on the validation part
is at most NEAR below the best of its whole training. "Overestimation" is the mean of the highest value of a state less
the discounted reward that followed it under the greedy policy, over HORIZON steps, in accounts of the training part;
its share is of the mean size of those rewards (van Hasselt et al. 2016 compare the same two). The ratio of the test
part is after costs, of the weights that were the best on the validation part.

`pace`: one seed, 500,000 steps with an evaluation every 50,000, in CPU seconds of one thread, and the peak memory of a
process of its own. `environments`: steps a CPU second of the simulator alone.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from quantd.training.learners.record import Algorithm, Report
    from quantd.training.plans.plan import Plan
    from quantd.training.seeds.environment import Ground
    from quantd.training.seeds.markets import Markets

HERE: Final = Path("examples/train")

NEAR: Final = 0.05
"""Of a Sharpe ratio."""

HORIZON: Final = 100
"""Steps of reward: with gamma 0.9 what follows weighs 0.00003."""

PLAYED: Final = 200
"""Steps of each of the 8 accounts in which values are compared with rewards."""

EVERY: Final = 2_000
"""Env-steps between evaluations."""

LONG: Final = 500_000

PLAIN: Final[Mapping[str, object]] = {
    "learner.network": "mlp", "learner.hidden": [64, 64], "learner.streams": 0, "learner.double": False,
    "learner.noisy": False, "learner.n_step": 1, "learner.alpha": 0.0,
}  # fmt: skip
"""DQN of 2015: one network of two layers for the whole observation, epsilon, one step, uniform draws."""

VARIANTS: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "DQN, plain": ("reference", PLAIN),
    "DQN, double": ("reference", {**PLAIN, "learner.double": True}),
    "DQN, dueling": ("reference", {**PLAIN, "learner.hidden": [64], "learner.streams": 64}),
    "DQN, prioritised": ("reference", {**PLAIN, "learner.alpha": 0.6}),
    "DQN, as the example": ("reference", {}),
    "PPO": ("reference-ppo", {}),
}

PACES: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "DQN, plain": ("reference", PLAIN),
    "DQN, prioritised": ("reference", {**PLAIN, "learner.alpha": 0.6}),
    "PPO, 1 account": ("reference-ppo", {"market.batch": 1}),
    "PPO, 8 accounts": ("reference-ppo", {"market.batch": 8}),
    "PPO, 32 accounts": ("reference-ppo", {}),
    "SAC": ("sac", {}),
}


def plan_of(file: str, changes: Mapping[str, object], steps: int, every: int) -> "Plan":
    """Return the plan of a variant, with the data, dates and costs of the reference test."""
    from quantd.training.plans.plan import read

    like: Mapping[str, object] = {}
    if not file.startswith("reference"):
        like = {
            "data.bars": "data/seed4_daily.parquet", "data.actions": "data/seed4_actions.csv",
            "data.symbols": ["SPY", "TLT", "GLD", "BTC-USD"], "splits.train.first": "2015-10-01",
            "splits.train.last": "2020-12-31", "splits.validation.first": "2021-01-04",
            "splits.validation.last": "2022-12-13", "splits.test.first": "2022-12-14",
            "splits.test.last": "2024-12-31", "market.capital": 100_000.0, "market.costs.commission_bp": 10.0,
            "market.costs.slippage_bp": 0.0,
        }  # fmt: skip
    more = {"steps": steps, "evaluate_every": every, "patience": 0}
    return read(HERE / f"{file}.toml", {**like, **changes, **more})


def overestimated(learner: "Algorithm", ground: "Ground", gamma: float) -> tuple[float, float] | None:
    """Return the mean of value less discounted reward, and the mean size of that reward; None without values.

    Both are in units of the learner's rewards, over PLAYED steps of each account of `ground`, none of them beyond the
    end of an episode.
    """
    import torch

    from quantd.training.seeds.learner import ValueBased

    if not isinstance(learner, ValueBased):
        return None
    values, rewards, alive = [], [], []
    observation = ground.reset(12_345)
    with torch.no_grad():
        for _ in range(PLAYED):
            q = learner.q_values(observation)
            step = ground.step(q.argmax(-1))
            values.append(q.amax(-1).double())
            rewards.append(step.reward.double())
            alive.append(~(step.terminated | step.truncated))
            observation = step.observation
    value, reward, going = torch.stack(values), torch.stack(rewards), torch.stack(alive)
    errors, sizes = [], []
    for t in range(PLAYED - HORIZON):
        complete = going[t : t + HORIZON].all(0)
        weights = gamma ** torch.arange(HORIZON, dtype=torch.float64)
        earned = (reward[t : t + HORIZON] * weights.unsqueeze(1)).sum(0)
        errors.append((value[t] - earned)[complete])
        sizes.append(earned.abs()[complete])
    return float(torch.cat(errors).mean()), float(torch.cat(sizes).mean())


def trained(plan: "Plan", markets: "Markets", seed: int) -> dict[str, Any]:
    """Train one seed. Returns its validation curve, CPU seconds, overestimation and ratio of the test part."""
    import torch

    from quantd.training.seeds.environment import Ground
    from quantd.training.seeds.learner import learner_of, policy_of, policy_state
    from quantd.training.seeds.markets import window_market
    from quantd.training.seeds.validation import evaluate

    torch.set_num_threads(1)
    ground = Ground(plan, markets.train, seed)
    learner = learner_of(plan.learner, ground, seed)
    curve: list[tuple[int, float]] = []
    best: dict[str, Any] = {}

    def evaluate_if_due(report: "Report") -> bool:
        last_steps = curve[-1][0] if curve else 0
        if report.steps // plan.evaluate_every > last_steps // plan.evaluate_every or report.steps >= plan.steps:
            policy = policy_of(learner, ground.scale, plan.market, markets.symbols)
            score = evaluate(policy, markets.validation, plan.market).performance.sharpe
            if not curve or score > max(earlier for _, earlier in curve):
                state = {name: value.clone() if hasattr(value, "clone") else value
                        for name, value in policy_state(learner.state()).items()}  # fmt: skip
                best.update(state=state, scale=ground.scale)
            curve.append((report.steps, score))
        return False

    began = process_time()
    learner.learn(ground, plan.steps, evaluate_if_due)
    seconds = process_time() - began
    bias = overestimated(learner, ground, plan.learner.gamma)
    learner.load(best["state"])
    part = plan.splits.test
    test = evaluate(
        policy_of(learner, best["scale"], plan.market, markets.symbols),
        window_market(plan, part.first, part.last), plan.market,
    ).performance.sharpe  # fmt: skip
    return {"seed": seed, "curve": curve, "seconds": seconds, "bias": bias, "test": test}


def converged(curve: list[tuple[int, float]]) -> int:
    """Return the env-steps at which a curve of (env-steps, score) first is at most NEAR below its best."""
    most = max(score for _, score in curve)
    return next(steps for steps, score in curve if score >= most - NEAR)


def convergence(seeds: list[int], steps: int) -> None:
    """Print the table of the variants, five seeds each."""
    from quantd.training.seeds.markets import markets_of

    print(f"convergence: {steps:,} steps, evaluated every {EVERY:,}; median over the seeds (least, most)")
    print(f"{'':<21}{'steps':>26}{'validation':>12}{'test':>7}{'least':>7}{'most':>7}{'overestimated':>15}{'share':>8}")
    for name, (file, changes) in VARIANTS.items():
        plan = plan_of(file, changes, steps, EVERY)
        markets = markets_of(plan)
        runs = [trained(plan, markets, seed) for seed in seeds]
        at = sorted(converged(run["curve"]) for run in runs)
        best = median(max(score for _, score in run["curve"]) for run in runs)
        test = sorted(run["test"] for run in runs)
        bias = [run["bias"] for run in runs if run["bias"] is not None]
        over = f"{median(b for b, _ in bias):>15.4f}{median(b / s for b, s in bias):>8.1%}" if bias else ""
        shown = f"{median(at):,.0f} ({at[0]:,}, {at[-1]:,})"
        mean = sum(test) / len(test)
        print(f"{name:<21}{shown:>26}{best:>12.2f}{mean:>7.2f}{test[0]:>7.2f}{test[-1]:>7.2f}{over}", flush=True)


def pace(name: str) -> dict[str, float]:
    """Return CPU seconds of LONG steps of a variant, and the peak memory of this process in MB."""
    from quantd.training.seeds.markets import markets_of

    file, changes = PACES[name]
    plan = plan_of(file, changes, LONG, 50_000)
    run = trained(plan, markets_of(plan), 1)
    return {"seconds": run["seconds"], "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}


def paces() -> None:
    """Print the time of LONG steps of each variant, in a process each."""
    print(f"pace: {LONG:,} steps of one seed, CPU time of one thread")
    print(f"{'':<21}{'minutes':>9}{'steps a s':>11}{'peak MB':>9}")
    for name in PACES:
        command = [sys.executable, "-m", "benchmarks.sample_efficiency", "--one", name]
        process = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        row = json.loads(process.stdout)
        print(f"{name:<21}{row['seconds'] / 60:>9.1f}{LONG / row['seconds']:>11,.0f}{row['peak']:>9.0f}", flush=True)


def environments(rounds: int = 5, steps: int = 2_000) -> None:
    """Print the steps a CPU second of 1, 4 and 8 accounts with random weights, sides in turn."""
    import torch

    from quantd.training.seeds.environment import Ground
    from quantd.training.seeds.markets import markets_of

    torch.set_num_threads(1)
    sides = {}
    for batch in (1, 4, 8):
        plan = plan_of("reference-ppo", {"market.batch": batch}, LONG, LONG)
        ground = Ground(plan, markets_of(plan).train, 1)
        ground.reset(1)
        sides[batch] = ground, torch.rand((batch, ground.action_size), generator=torch.Generator().manual_seed(1))
    rates: dict[int, list[float]] = {batch: [] for batch in sides}
    for _ in range(rounds):
        for batch, (ground, action) in sides.items():
            began = process_time()
            for _ in range(steps):
                ground.step(action)
            rates[batch].append(batch * steps / (process_time() - began))
    base = median(rates[1])
    print("environments: steps a CPU second, median of rounds in turn; to one account")
    for batch, batch_rates in rates.items():
        print(f"{batch:<4}{median(batch_rates):>10,.0f}{median(batch_rates) / base:>8.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--steps", type=int, default=80_000, help="of each seed of `convergence`")
    parser.add_argument("--only", choices=("convergence", "pace", "environments"))
    parser.add_argument("--one", choices=PACES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not find_spec("torch"):
        print("sample_efficiency: needs torch (the extra `train`); left out")
        return
    if options.one:
        print(json.dumps(pace(options.one)))
        return
    if options.only in (None, "environments"):
        environments()
    if options.only in (None, "pace"):
        paces()
    if options.only in (None, "convergence"):
        convergence([int(seed) for seed in options.seeds.split(",")], options.steps)


if __name__ == "__main__":
    main()
