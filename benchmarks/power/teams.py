"""Several agents beside one of the same parameters and steps, on a planted signal of the bundled five stocks.

    python -m benchmarks.power.teams [--case NAME] [--seeds 3] [--ic 1] [--cost 15] [--device cuda] [--out FILE]

Each case and seed is fitted in a fresh process on one thread, and appends a line of JSON: growth on the test part of
2017 and 2018 after costs, CPU seconds of the fit, and the peak memory of the process. Lines that the file has are left
out. The plant is a column of each symbol, which all agents of a desk observe. A team trades the mean of its weights.

With `--device cuda` networks and accounts are on a GPU; `--together 8` fits so many seeds at the same time. A line then
has the wall seconds of the fit, and the peak memory that PyTorch took on the GPU.

| case | what it is |
|---|---|
| `ppo` | the plan examples/train/ppo.toml |
| `five-ppo` | five of it that know nothing of each other, each with a fifth of the parameters and of the steps |
| `lite`, `full` | the profiles of MADDPG, of four and of five agents |
| `lite-five` | `lite` with five agents |
| `lite-one` | one agent with the parameters, steps and updates of `lite-five` |
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from torch import Tensor

    from quantd.training.plans.plan import Plan
    from quantd.training.seeds.learner import Policy
    from quantd.training.seeds.markets import Markets

RECORDS: Final = Path(__file__).parent / "teams.jsonl"
PLAN: Final = Path(__file__).parents[2] / "examples" / "train" / "ppo.toml"

AGENTS: Final = 5
MEMBER_SEEDS: Final = 100
"""The members of team seed s have the seeds s x 100 + 1 and on."""

MIB: Final = 1024.0
"""KiB of a MiB: the kernel counts peak memory in KiB."""


class TeamRun(Struct, frozen=True, forbid_unknown_fields=True):
    """One seed of one case. Growths are logarithmic, a year, after costs; `low` and `high` bound the excess (95 %).

    `parameters` are those that are learned, of all agents and critics. `imported_mib` is the part of the peak memory
    that the process had before it read any data.
    """

    case: str
    agents: int
    parameters: int
    steps: int
    ic: float
    cost_bp: float
    seed: int
    growth: float
    equal_weight: float
    reference: float
    low: float | None
    high: float | None
    turnover_annual: float
    cpu_s: float
    peak_mib: float
    imported_mib: float
    commit: str
    device: str = "cpu"
    wall_s: float | None = None
    """Wall seconds of the fit; None on a CPU, where they depend on what else runs."""
    gpu_mib: float | None = None
    """Peak memory of PyTorch's tensors on the GPU; None on a CPU."""

    @property
    def share(self) -> float | None:
        """The share of (reference - equal weight) that was found; None without a signal."""
        return (self.growth - self.equal_weight) / (self.reference - self.equal_weight) if self.ic else None


def plans() -> "dict[str, Plan]":
    """Return the plan of each case; that of `five-ppo` is of one member."""
    from quantd.training.market.terms import PROFILES
    from quantd.training.plans.plan import default, read, replaced

    ppo = read(PLAN)
    lite, full = default("maddpg", "lite"), default("maddpg", "full")
    seats = msgspec.to_builtins(PROFILES)

    def with_agents(agents: int, accounts: int, **changes: object) -> "Plan":
        steps = lite.steps // lite.learner.agents * AGENTS  # type: ignore[attr-defined]
        sizes = {
            name: getattr(lite.learner, name) // lite.learner.agents * AGENTS  # type: ignore[attr-defined]
            for name in ("train_every", "warmup", "buffer", "noise_steps")
        }
        return replaced(
            lite,
            {
                "learner.agents": agents,
                "market.seats": seats[:agents],
                "market.batch": accounts,
                "steps": steps,
                "evaluate_every": steps // 20,
                **{f"learner.{name}": size for name, size in sizes.items()},
                **changes,
            },
        )

    return {
        "ppo": ppo,
        "five-ppo": replaced(ppo, {"steps": ppo.steps // AGENTS}),
        "lite": lite,
        "lite-five": with_agents(AGENTS, 8 * AGENTS),
        "lite-one": with_agents(1, 8 * AGENTS),
        "full": full,
    }


def parameters(plan: "Plan", markets: "Markets") -> int:
    """Return the number of learned parameters."""
    from quantd.training.seeds.environment import Ground
    from quantd.training.seeds.learner import learner_of

    learner = learner_of(plan.learner, Ground(plan, markets.train, 1), 1)
    return sum(vector.numel() for vector in learner.vectors())


def sized(plan: "Plan", markets: "Markets", wanted: int) -> "Plan":
    """Return the plan with equal-wide layers, as many as before, whose number of parameters is nearest to `wanted`."""
    from quantd.training.plans.plan import replaced

    layers = len(plan.learner.hidden)  # type: ignore[attr-defined]

    def of(width: int) -> "Plan":
        return replaced(plan, {"learner.hidden": [width] * layers})

    low, high = 1, 2
    while parameters(of(high), markets) < wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if parameters(of(middle), markets) < wanted else (low, middle)
    return min((of(low), of(high)), key=lambda near: abs(parameters(near, markets) - wanted))


def mean_of(policies: "Sequence[Policy]") -> "Policy":
    """Return the policy that trades the mean of the weights."""
    import torch

    def acts(observation: "Tensor", first: bool) -> "Tensor":
        return torch.stack([policy(observation, first) for policy in policies]).mean(0)

    return acts


def fitted(case: str, plan: "Plan", markets: "Markets", seed: int) -> "tuple[Policy, int, int]":
    """Fit one seed of a case. Returns its policy, the number of its parameters, and its env-steps."""
    from quantd.training.seeds.learner import policy_of
    from quantd.training.seeds.seed_run import fit

    seeds = [seed] if case != "five-ppo" else [seed * MEMBER_SEEDS + member for member in range(1, AGENTS + 1)]
    runs = [fit(plan, markets, one, None, lambda news: False) for one in seeds]
    policies = [policy_of(run.learner, run.normaliser, plan.market, markets.symbols) for run in runs]
    policy = policies[0] if len(policies) == 1 else mean_of(policies)
    return policy, parameters(plan, markets) * len(runs), sum(run.steps for run in runs)


def planned(case: str, to_market: "Callable[[Plan], Plan]", read_markets: "Callable[[Plan], Markets]") -> "Plan":
    """Return the plan of a case on the planted market, with the parameters that its row asks for."""
    everything = plans()
    plan = to_market(everything[case])
    if case == "five-ppo":
        one = to_market(everything["ppo"])
        markets = read_markets(one)
        return sized(plan, markets, parameters(one, markets) // AGENTS)
    if case == "lite-one":
        team = to_market(everything["lite-five"])
        markets = read_markets(team)
        return sized(plan, markets, parameters(team, markets))
    return plan


def measured(case: str, seed: int, ic: float, cost_bp: float, device: str) -> TeamRun:
    """Fit and evaluate one seed of a case, in this process."""
    import numpy as np
    import torch

    from quantd.daemon.runtime.version import commit
    from quantd.research.power.power_study import Field
    from quantd.training.plans.plan import replaced
    from quantd.training.power.attainable import interval
    from quantd.training.power.cells import costing
    from quantd.training.power.plants import Plant, planted_plan
    from quantd.training.seeds.markets import markets_of, window_market
    from quantd.training.seeds.validation import equal_weight, evaluate

    torch.set_num_threads(1)
    imported = _peak_mib()
    field = Field(plans()[case], {"plant": Plant(ic=ic)})
    cell = field.attainable("plant", cost_bp)
    with TemporaryDirectory() as folder:

        def to_market(plan: "Plan") -> "Plan":
            planted = planted_plan(costing(plan, cost_bp), field.planted("plant"), field.panel, Path(folder))
            return replaced(planted, {"device": device})

        plan = planned(case, to_market, markets_of)
        markets, test = markets_of(plan), window_market(plan, plan.splits.test.first, plan.splits.test.last)
        began, cpu_began = time.perf_counter(), time.process_time()
        policy, count, steps = fitted(case, plan, markets, seed)
        spent, waited = time.process_time() - cpu_began, time.perf_counter() - began
        walked = evaluate(policy, test, plan.market)
        equal = equal_weight(test, plan.market)
    daily = np.diff(np.log(walked.equity))
    low, high = interval(daily - np.diff(np.log(equal.equity))) or (None, None)
    return TeamRun(
        case=case,
        agents=AGENTS if case == "five-ppo" else max(1, len(plan.market.seats)),
        parameters=count,
        steps=steps,
        ic=ic,
        cost_bp=cost_bp,
        seed=seed,
        growth=float(daily.mean()) * 252.0,
        equal_weight=float(np.diff(np.log(equal.equity)).mean()) * 252.0,
        reference=cell.reference,
        low=low,
        high=high,
        turnover_annual=walked.turnover_annual,
        cpu_s=round(spent, 1),
        peak_mib=round(_peak_mib(), 1),
        imported_mib=round(imported, 1),
        commit=commit(),
        device="cpu" if device == "cpu" else torch.cuda.get_device_name(device),
        wall_s=None if device == "cpu" else round(waited, 1),
        gpu_mib=None if device == "cpu" else round(torch.cuda.max_memory_allocated(device) / MIB**2, 1),
    )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def read_runs(path: Path) -> list[TeamRun]:
    """Return the runs of a file, none where there is no file. Raises msgspec.MsgspecError."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    return [msgspec.json.decode(line, type=TeamRun) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ic", type=float, default=1.0)
    parser.add_argument("--cost", type=float, default=15.0)
    parser.add_argument("--out", type=Path, default=RECORDS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--together", type=int, default=1, help="seeds that are fitted at the same time")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    cases = options.case or [*plans()]
    if options.one is not None:
        run = measured(cases[0], options.one, options.ic, options.cost, options.device)
        print(msgspec.json.encode(run).decode())
        return
    done = {
        (run.case, run.ic, run.cost_bp, run.seed) for run in read_runs(options.out)
        if (run.device == "cpu") == (options.device == "cpu")
    }  # fmt: skip

    def run_case(case: str, seed: int) -> None:
        command = [sys.executable, "-m", "benchmarks.power.teams", "--case", case, "--one", str(seed)]
        command += ["--ic", str(options.ic), "--cost", str(options.cost), "--device", options.device]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        run = msgspec.json.decode(process.stdout.splitlines()[-1], type=TeamRun)
        with options.out.open("ab") as file:
            file.write(msgspec.json.encode(run) + b"\n")
        print(f"{case}, seed {seed}: share {run.share}, {run.cpu_s:.0f} s, {run.peak_mib:.0f} MiB", flush=True)

    remaining = [
        (case, seed)
        for seed in range(1, options.seeds + 1)
        for case in cases
        if (case, options.ic, options.cost, seed) not in done
    ]
    with ThreadPoolExecutor(options.together) as pool:
        for future in [pool.submit(run_case, case, seed) for case, seed in remaining]:
            future.result()


if __name__ == "__main__":
    main()
