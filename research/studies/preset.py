"""Presets: each seed of a training plan is trained, and backtested alone over the plan's test part beside equal weight.

The accounts begin in cash, and every policy decides at the first sample. Each seed is a recorded trial.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

from quantd.daemon.assembly.broker_costs import costs_of
from quantd.daemon.assembly.first_session import longest_history
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import Config
from quantd.daemon.policies.loading import fit, load
from quantd.research.runs.comparison import NAME, Drive
from quantd.research.studies.ablation.ablation_trials import artifact_of, digest_of
from quantd.research.studies.standings import Standing, Standings, standings
from quantd.trading.exit_codes import ExplainedError
from quantd.trading.instruments import MICRO
from quantd.trading.ports import Policy
from quantd.training.plans.plan import Plan
from quantd.training.power.power_line import power_line
from quantd.training.seeds.seed_run import Progress


class Preset(NamedTuple):
    """The files of a preset: the plan of its training and the configuration that trades it, both bundled."""

    plan: str
    config: str


PRESETS: Final[Mapping[str, Preset]] = {
    name: Preset(f"examples/train/{name}.toml", "examples/allocators-seed4.toml")
    for name in ("reference", "reference-tuned", "reference-ppo", "reference-ppo-tuned")
}
"""The reference test with DQN and with PPO, each with hand-set settings and with settings that `quantd tune` found."""

FIGURES: Final[Mapping[str, Callable[[Standing], float | None]]] = {
    "sharpe": lambda row: row.figures.sharpe,
    "total_return": lambda row: row.figures.total_return,
    "max_drawdown": lambda row: row.figures.max_drawdown,
    "sortino": lambda row: row.figures.sortino,
    "calmar": lambda row: calmar(row),
}
"""Figures whose spread over the seeds is shown."""


class Unlike(ExplainedError, ValueError):
    """A plan and the configuration that trades it differ in symbols, capital or costs; the message names them."""


class Spread(Struct, frozen=True):
    """One figure: its mean, smallest and largest value over the seeds, and its value for equal weight.

    A value is None where it is undefined. The values over the seeds are all None if one seed has no value.
    """

    mean: float | None
    least: float | None
    largest: float | None
    equal_weight: float | None


class PresetResult(Struct, frozen=True):
    """The result of a preset (a bundled training plan and its backtest).

    `power` is the sentence on the statistical power of the plan's test part. `steps` is the number of environment steps
    of each seed. `train` and `validation` are the first and last dates of these parts of the plan. `ahead` is the
    number of seeds whose Sharpe ratio is above equal weight's. `commands` are the shell commands that repeat the
    training and the comparison.
    """

    power: str
    preset: str
    agent: str
    seeds: tuple[int, ...]
    steps: int
    train: tuple[str, str]
    validation: tuple[str, str]
    ahead: int
    spread: dict[str, Spread]
    standings: Standings
    commands: tuple[str, ...]


def calmar(row: Standing) -> float | None:
    """Return the annual return over the maximum drawdown (T. Young, 1991); None without a drawdown."""
    figures = row.figures
    return figures.annual_return / figures.max_drawdown if figures.max_drawdown > 0.0 else None


def window_of(plan: Plan) -> dict[str, str]:
    """Return the overrides (key -> value) that limit a configuration to the test part of a plan."""
    test = plan.splits.test
    return {"feed.start": test.first.isoformat(), "feed.end": test.last.isoformat()}


def require_alike(plan: Plan, config: Config) -> None:
    """Raise Unlike where the plan was trained on other symbols, costs or capital than the configuration trades."""
    plan_costs, config_costs = plan.market.costs, costs_of(config)
    terms = {
        "symbols": (sorted(plan.data.symbols), sorted(config.instruments().symbols)),
        "capital": (plan.market.capital, config.broker.cash_micro / MICRO),
        **{
            key: (getattr(plan_costs, key), getattr(config_costs, key))
            for key in ("commission_bp", "spread_bp", "slippage_bp")
        },
    }
    differing = [f"{key} {trained} and {traded}" for key, (trained, traded) in terms.items() if trained != traded]
    if differing:
        text = f"plan {plan.name} and the configuration that trades it differ: {'; '.join(differing)}"
        raise Unlike(f"{text}; set the same values in the plan and in the configuration")


def run_preset(
    name: str,
    plan: Plan,
    config: Config,
    state: Path,
    drive: Callable[[str], Drive],
    progress: Callable[[float, str], object],
    family: str = "",
) -> PresetResult:
    """Train each seed of a plan in the folder `state`, and backtest each over the test part.

    Policies that are already trained are read from the folder. `config` must have the dates of the plan's test
    part (`window_of`). Raises Unlike, PolicyError, and PlanError, Diverged, CheckpointError or OSError from a training.
    """
    require_alike(plan, config)
    policies: dict[str, Policy] = {}
    for index, seed in enumerate(plan.seeds):
        label = f"{plan.agent} seed {seed}"

        # the defaults bind the seed of this turn of the loop
        def report(at: Progress, index: int = index, label: str = label) -> bool:
            progress((index + min(1.0, at.steps / plan.steps)) / len(plan.seeds), label)
            return False  # True would stop the seed

        folder = state / "presets" / f"{name}-{digest_of(plan, seed)}"
        artifact = artifact_of(plan, seed, folder, f"quantd backtest --preset {name}", report)
        policies[label] = load(str(artifact.resolve()), {}, Path())
    policies[NAME] = load(NAME, {}, Path())  # equal weight
    for policy in policies.values():
        fit(policy, config.instruments())
    history = longest_history(policies.values(), config.instruments())
    assembly = assemble(config, cache=state / "cache", history=history)
    seed_standings = standings(assembly, policies, state, drive, "day", family)
    return result_of(name, plan, seed_standings)


def result_of(name: str, plan: Plan, seed_standings: Standings) -> PresetResult:
    """Return the result of a preset from the rows of its seeds and of equal weight."""
    seeds = [row for row in seed_standings.rows if row.policy != NAME]
    equal_weight = next(row for row in seed_standings.rows if row.policy == NAME)
    equal_weight_sharpe, ratios = equal_weight.figures.sharpe, [row.figures.sharpe for row in seeds]
    splits, preset = plan.splits, PRESETS[name]
    return PresetResult(
        power=power_line(plan),
        preset=name,
        agent=plan.agent,
        seeds=plan.seeds,
        steps=plan.steps,
        train=(splits.train.first.isoformat(), splits.train.last.isoformat()),
        validation=(splits.validation.first.isoformat(), splits.validation.last.isoformat()),
        ahead=sum(
            equal_weight_sharpe is not None and ratio is not None and ratio > equal_weight_sharpe for ratio in ratios
        ),
        spread={key: _spread([figure(row) for row in seeds], figure(equal_weight)) for key, figure in FIGURES.items()},
        standings=seed_standings,
        commands=(
            f"quantd train {preset.plan} --out OUT",
            f"quantd study compare OUT --every day -c {preset.config} --set feed.start={splits.test.first} "
            f"--set feed.end={splits.test.last}",
        ),
    )


def _spread(values: list[float | None], equal: float | None) -> Spread:
    """Return the spread of one figure over the seeds; undefined where a seed has no value.

    A mean over the other seeds would mislead.
    """
    defined_values = [value for value in values if value is not None]
    if len(defined_values) < len(values) or not defined_values:
        return Spread(None, None, None, equal)
    return Spread(sum(defined_values) / len(defined_values), min(defined_values), max(defined_values), equal)
