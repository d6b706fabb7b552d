"""Presets: a training plan with each of its seeds, each then alone over the test part of the plan beside equal weight.

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
    """Files of a preset: the plan of its training and the configuration that trades it, both bundled."""

    plan: str
    config: str


PRESETS: Final[Mapping[str, Preset]] = {
    name: Preset(f"examples/train/{name}.toml", "examples/allocators-seed4.toml")
    for name in ("reference", "reference-tuned", "reference-ppo", "reference-ppo-tuned")
}
"""The reference test with DQN and with PPO, each with given settings and with those that `quantd tune` found."""

FIGURES: Final[Mapping[str, Callable[[Standing], float | None]]] = {
    "sharpe": lambda row: row.figures.sharpe,
    "total_return": lambda row: row.figures.total_return,
    "max_drawdown": lambda row: row.figures.max_drawdown,
    "sortino": lambda row: row.figures.sortino,
    "calmar": lambda row: calmar(row),
}
"""Figures whose spread over the seeds is shown."""


class Unlike(ExplainedError, ValueError):
    """A plan and the configuration that trades it differ; the message names the differences."""


class Spread(Struct, frozen=True):
    """One figure: its mean, least and largest value over the seeds, and that of equal weight. None: undefined."""

    mean: float | None
    least: float | None
    largest: float | None
    equal_weight: float | None


class PresetResult(Struct, frozen=True):
    """Result of a preset. `steps` are environment steps of each seed; dates are first and last of a part of the plan.

    `power` is the sentence of what could have been seen in its test part. `ahead` is the number of seeds whose Sharpe
    ratio is above that of equal weight.
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
    """Return the keys of the configuration that trades the test part of a plan."""
    test = plan.splits.test
    return {"feed.start": test.first.isoformat(), "feed.end": test.last.isoformat()}


def require_alike(plan: Plan, config: Config) -> None:
    """Raise Unlike where the plan was trained on other symbols, costs or capital than the configuration trades."""
    plan_costs, paid = plan.market.costs, costs_of(config)
    pairs = {
        "symbols": (sorted(plan.data.symbols), sorted(config.instruments().symbols)),
        "capital": (plan.market.capital, config.broker.cash_micro / MICRO),
        **{
            key: (getattr(plan_costs, key), getattr(paid, key)) for key in ("commission_bp", "spread_bp", "slippage_bp")
        },
    }
    differing = [f"{key} {one} and {other}" for key, (one, other) in pairs.items() if one != other]
    if differing:
        text = f"{plan.name}: trained and traded with other terms: {'; '.join(differing)}"
        raise Unlike(f"{text}; set the same in the plan and in [broker] of the configuration")


def run_preset(
    name: str,
    plan: Plan,
    config: Config,
    state: Path,
    drive: Callable[[str], Drive],
    progress: Callable[[float, str], object],
    family: str = "",
) -> PresetResult:
    """Train each seed of a plan in the folder `state`, and trade all over the test part.

    Finished seeds are read again. `config` is that of `window_of`. Raises Unlike, PolicyError, and as
    `training_run.train`.
    """
    require_alike(plan, config)
    policies: dict[str, Policy] = {}
    for number, seed in enumerate(plan.seeds):
        label = f"{plan.agent} seed {seed}"

        def report(at: Progress, number: int = number, label: str = label) -> bool:
            progress((number + min(1.0, at.steps / plan.steps)) / len(plan.seeds), label)
            return False

        folder = state / "presets" / f"{name}-{digest_of(plan, seed)}"
        artifact = artifact_of(plan, seed, folder, f"quantd backtest --preset {name}", report)
        policies[label] = load(str(artifact.resolve()), {}, Path())
    policies[NAME] = load(NAME, {}, Path())
    for policy in policies.values():
        fit(policy, config.instruments())
    history = longest_history(policies.values(), config.instruments())
    assembly = assemble(config, cache=state / "cache", history=history)
    seed_standings = standings(assembly, policies, state, drive, "day", family)
    return result_of(name, plan, seed_standings)


def result_of(name: str, plan: Plan, seed_standings: Standings) -> PresetResult:
    """Return the result of a preset from the rows of its seeds and of equal weight."""
    seeds = [row for row in seed_standings.rows if row.policy != NAME]
    equal = next(row for row in seed_standings.rows if row.policy == NAME)
    base, ratios = equal.figures.sharpe, [row.figures.sharpe for row in seeds]
    splits, preset = plan.splits, PRESETS[name]
    return PresetResult(
        power=power_line(plan),
        preset=name,
        agent=plan.agent,
        seeds=plan.seeds,
        steps=plan.steps,
        train=(splits.train.first.isoformat(), splits.train.last.isoformat()),
        validation=(splits.validation.first.isoformat(), splits.validation.last.isoformat()),
        ahead=sum(base is not None and ratio is not None and ratio > base for ratio in ratios),
        spread={key: _spread([of(row) for row in seeds], of(equal)) for key, of in FIGURES.items()},
        standings=seed_standings,
        commands=(
            f"quantd train {preset.plan} --out OUT",
            f"quantd study compare OUT --every day -c {preset.config} --set feed.start={splits.test.first} "
            f"--set feed.end={splits.test.last}",
        ),
    )


def _spread(values: list[float | None], equal: float | None) -> Spread:
    defined_values = [value for value in values if value is not None]
    if len(defined_values) < len(values) or not defined_values:
        return Spread(None, None, None, equal)
    return Spread(sum(defined_values) / len(defined_values), min(defined_values), max(defined_values), equal)
