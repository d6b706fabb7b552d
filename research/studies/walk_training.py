"""Walk-forward of a training plan: at each refit a policy is trained on the bars before it.

The plan's parts keep their proportion: the bars of a refit are split into training and validation as the plan's dates
split theirs. Its period is the test part. The best seed by validation trades.

What can go wrong: a walk is killed within a refit. Its training goes on from the last checkpoint, and its looks are
removed first. An evaluation that is repeated is the same look and would count twice. The mark of a finished refit is
written last, so that an unfinished one is never read.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from hashlib import blake2b
from math import isfinite, sqrt
from pathlib import Path
from typing import Final

import msgspec

from quantd.daemon.runtime.version import code_version
from quantd.models.artifacts.folder import read_manifest
from quantd.models.artifacts.loader import load_artifact
from quantd.models.artifacts.manifest import MANIFEST, AgentManifest
from quantd.models.history.panel_files import file_digest
from quantd.models.history.splits import Split, Splits
from quantd.regular_file import remove, remove_folder
from quantd.research.runs.trials import Look
from quantd.research.studies.walk import Choice
from quantd.research.studies.walk_calendar import Refit, Steps, WalkError
from quantd.trading.exit_codes import ExplainedError
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.training.plans.plan import Plan
from quantd.training.runs import training_run
from quantd.training.runs.workers import Executor
from quantd.training.seeds.seed_run import Progress

SHOWN: Final = ("seed", "step")
"""Return the choice of a refit as the table shows it: the seed and the step of its best checkpoint."""

DONE: Final = "done"
"""File in the folder of a refit whose artifact is complete."""

COMMAND: Final = "quantd walk"
"""The command on the card of each artifact."""


def settings_of(plan: Plan) -> dict[str, object]:
    """Return the keys of the configuration that trades a plan: its costs, account and actions."""
    costs, actions = plan.market.costs, plan.data.files[1]
    settings: dict[str, object] = {
        "quantd.name": plan.name,
        "feed.start": plan.splits.train.first.isoformat(),
        "broker.cash": f"{plan.market.capital:.2f}",
        "broker.latency": f"{costs.latency_ns // 10**9}s",
        **{
            f"broker.{key}": getattr(costs, key)
            for key in (
                "commission_bp", "slippage_bp", "spread_bp", "slippage_noise", "impact", "participation",
                "borrow_bp_annual", "seed",
            )
        },
    }  # fmt: skip
    if actions is not None:
        settings["feed.actions"] = str(actions.resolve())
    if plan.market.cash_rate is not None:
        settings["account.cash_rate"] = plan.market.cash_rate
    return settings


def require_plan(plan: Plan) -> None:
    """Raise WalkError for a plan that a walk cannot trade over its bars."""
    if plan.data.sources:
        names = ", ".join(source.name for source in plan.data.sources)
        raise WalkError(f"data.macro and data.series ({names}): a walk trades plans of bars only; leave them out")


def identity_of(plan: Plan, steps: Steps) -> str:
    """Return the hex BLAKE2b of everything that decides the policies of a walk-forward."""
    digests = [file_digest(path) for path in plan.data.files if path is not None]
    return blake2b(msgspec.json.encode((plan, steps, digests, code_version())), digest_size=16).hexdigest()


def plan_at(plan: Plan, refit: Refit, until: Refit | None, last: date) -> Plan:
    """Return the plan of one refit. `until` is the next one, `last` the last session of the bars.

    Raises WalkError where its window is too short for a training and a validation part.
    """
    given = plan.splits
    begin = refit.first or given.train.first
    share = (given.validation.last - given.validation.first) / (given.validation.last - given.train.first)
    chosen = refit.last - timedelta(days=round((refit.last - begin).days * share))
    end = last if until is None else until.day - timedelta(days=1)
    try:
        splits = Splits(
            Split("train", begin, chosen - timedelta(days=1)),
            Split("validation", chosen, refit.last),
            Split("test", refit.day, max(end, refit.day + timedelta(days=1))),
        )
    except ValueError as error:
        raise WalkError(f"refit {refit.day}: {error}; write a longer window or a longer --refit") from None
    return msgspec.structs.replace(plan, splits=splits)


def trained(
    plan: Plan,
    planned: Sequence[Refit],
    last: date,
    folder: Path,
    where: Executor | None,
    progress: Callable[[float], object],
    periods: float,
) -> tuple[Choice, ...]:
    """Train the policy of each refit in `folder`, where finished ones are read. Raises as `training_run.train`.

    Ratios are annual by `periods` samples a year, as those of the run.
    """
    choices = []
    for k, refit in enumerate(planned):
        refit_plan = plan_at(plan, refit, planned[k + 1] if k + 1 < len(planned) else None, last)
        place = folder / f"refit-{refit.day}"
        if not (place / DONE).exists():
            _train(refit_plan, place, where, partial(_part, progress, k, len(planned)))
        choices.append(_choice(refit_plan, refit, place / "artifact", periods))
        progress((k + 1) / len(planned))
    return tuple(choices)


def _part(progress: Callable[[float], object], number: int, parts: int, share: float) -> None:
    progress((number + share) / parts)


def _train(plan: Plan, place: Path, where: Executor | None, progress: Callable[[float], object]) -> None:
    run = place / "run"
    # an evaluation that is repeated after a kill is the same look, which would else be counted twice
    remove(run / training_run.LOOKS, missing_ok=True)
    remove_folder(place / "artifact", ignore_errors=True)
    shares = dict.fromkeys(plan.seeds, 0.0)

    def report(at: Progress) -> bool:
        shares[at.seed] = min(1.0, at.steps / plan.steps)
        progress(sum(shares.values()) / len(shares))
        return False

    try:
        training_run.train(plan, place / "artifact", COMMAND, report, folder=run, resume=True, executor=where)
    except ExplainedError as error:
        error.add_note(f"(refit {plan.splits.test.first})")
        raise
    (place / DONE).write_text(f"{plan.name}\n")


def _choice(plan: Plan, refit: Refit, artifact: Path, periods: float) -> Choice:
    manifest = read_manifest(artifact / MANIFEST, AgentManifest)
    ratio = float(manifest.results["validation"].policy.sharpe) * sqrt(periods / PERIODS_PER_YEAR)
    if not isfinite(ratio):
        raise WalkError(f"refit {refit.day}: the policy has no Sharpe ratio on the validation part; give longer bars")
    candidates: dict[str, int] = getattr(load_artifact(artifact, {}), "candidates", {})
    train, chosen = plan.splits.train, plan.splits.validation
    look = Look(
        "walk", plan.name, manifest.digest, "", train.first.isoformat(), chosen.last.isoformat(), ratio,
        periods, candidates,
    )  # fmt: skip
    shown = str(manifest.training.chosen_seed), f"{manifest.training.chosen_iteration}"
    return Choice(refit, (str(artifact.resolve()),), look, shown)
