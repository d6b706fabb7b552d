"""Walk-forward of a training plan: at each refit a policy is trained on the bars before the refit.

The bars of a refit are split into a training and a validation part, in the proportion of the plan's dates. The period
that the refit trades is the test part. The seed that is best on the validation part trades.

What can go wrong: the process is killed during a refit. So the training goes on from its last checkpoint. The recorded
looks (evaluations) of the unfinished refit are removed first: a repeated evaluation would be counted a second time.
The file that marks a refit as finished is written last, so that an unfinished refit is never read.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from hashlib import blake2b
from math import isfinite, sqrt
from pathlib import Path
from typing import Final

import msgspec

from quantd.adapters.feeds.recorded.sound_bars import EXCEPTIONS
from quantd.daemon.runtime.version import code_version
from quantd.models.artifacts.folder import read_manifest
from quantd.models.artifacts.loader import load_artifact
from quantd.models.artifacts.manifest import MANIFEST, AgentManifest
from quantd.models.history.panel_files import file_digest
from quantd.models.history.splits import Split, Splits
from quantd.research.runs.trials import Look
from quantd.research.studies.walk import Choice
from quantd.research.studies.walk_calendar import Refit, Steps, WalkError
from quantd.trading.exit_codes import ExplainedError
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.training.plans.plan import Plan
from quantd.training.runs import training_run
from quantd.training.runs.workers import Executor

SHOWN: Final = ("seed", "step")
"""Columns of the table that show a choice: the best seed, and the step of its best checkpoint."""

COMMAND: Final = "quantd walk"
"""The command that the card of each artifact names."""


def settings_of(plan: Plan) -> dict[str, object]:
    """Return the keys and values of a configuration that trades like a plan: costs, account and corporate actions."""
    costs, actions = plan.market.costs, plan.data.files[1]  # the file of corporate actions; None without one
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
    answers = plan.data.files[0].with_name(EXCEPTIONS)  # those that the training takes
    if answers.is_file():
        settings["feed.exceptions"] = str(answers.resolve())
    if plan.market.cash_rate is not None:
        settings["account.cash_rate"] = plan.market.cash_rate
    return settings


def require_plan(plan: Plan) -> None:
    """Raise WalkError for a plan that reads more than bars, because a walk-forward trades over bars only."""
    if plan.data.sources:
        names = ", ".join(source.name for source in plan.data.sources)
        raise WalkError(f"the plan reads {names} (data.macro, data.series), and a walk has bars only; leave them out")


def identity_of(plan: Plan, steps: Steps) -> str:
    """Return the hex BLAKE2b of everything that decides the policies of a walk-forward: plan, data files, code, and
    `steps`, the lengths of its refits and windows."""
    digests = [file_digest(path) for path in plan.data.files if path is not None]
    return blake2b(msgspec.json.encode((plan, steps, digests, code_version())), digest_size=16).hexdigest()


def plan_at(plan: Plan, refit: Refit, until: Refit | None, last: date) -> Plan:
    """Return `plan` with the dates of one refit: the training and validation part, and as test part the period that
    the refit trades.

    `until` is the next refit, None for the last refit, whose period ends at `last`, the last session of the bars. A
    refit without a first date has a window that begins with the plan's training part.
    Raises WalkError where the window of the refit is too short for a training and a validation part.
    """
    plan_splits = plan.splits
    begin = refit.first or plan_splits.train.first
    validation_share = (plan_splits.validation.last - plan_splits.validation.first) / (
        plan_splits.validation.last - plan_splits.train.first
    )
    validation_first = refit.last - timedelta(days=round((refit.last - begin).days * validation_share))
    end = last if until is None else until.day - timedelta(days=1)
    try:
        splits = Splits(
            Split("train", begin, validation_first - timedelta(days=1)),
            Split("validation", validation_first, refit.last),
            Split("test", refit.day, max(end, refit.day + timedelta(days=1))),  # a part has at least two dates
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
    """Train a policy for each of the refits `planned` in `folder`, and return the choice of each refit.

    A refit that is finished is not trained again. `last` is the last session of the bars. `where` is an executor that
    trains several seeds at once; None for this process. `progress` receives the finished share of all refits, from 0 to
    1. The Sharpe ratios are annual, with `periods` samples a year as in the run. Raises the errors of
    `training_run.train`.
    """
    choices = []
    for k, refit in enumerate(planned):
        refit_plan = plan_at(plan, refit, planned[k + 1] if k + 1 < len(planned) else None, last)
        report = training_run.mean_share(plan, partial(_report_part, progress, k, len(planned)))
        try:
            artifact = training_run.trained_once(refit_plan, folder / f"refit-{refit.day}", COMMAND, report, where)
        except ExplainedError as error:
            error.add_note(f"(refit {refit.day})")
            raise
        choices.append(_choice(refit_plan, refit, artifact, periods))
        progress((k + 1) / len(planned))
    return tuple(choices)


def _report_part(progress: Callable[[float], object], number: int, parts: int, share: float) -> None:
    """Report the finished share of all `parts` refits, where the refit at index `number` has finished `share`."""
    progress((number + share) / parts)


def _choice(plan: Plan, refit: Refit, artifact: Path, periods: float) -> Choice:
    """Return the choice of a refit: the artifact (folder of the trained policy), and a look, the record of its
    evaluation for the count of trials.

    The look has the annual Sharpe ratio of the validation part, with `periods` samples a year. Raises WalkError where
    this ratio is not finite.
    """
    manifest = read_manifest(artifact / MANIFEST, AgentManifest)
    # the artifact's ratio is annual by PERIODS_PER_YEAR
    ratio = float(manifest.results["validation"].policy.sharpe) * sqrt(periods / PERIODS_PER_YEAR)
    if not isfinite(ratio):
        raise WalkError(f"refit {refit.day}: the policy has no Sharpe ratio on the validation part; give more bars")
    candidates: dict[str, int] = getattr(load_artifact(artifact, {}), "candidates", {})
    train, validation = plan.splits.train, plan.splits.validation
    # "": the look names no market
    look = Look(
        "walk", plan.name, manifest.digest, "", train.first.isoformat(), validation.last.isoformat(), ratio,
        periods, candidates,
    )  # fmt: skip
    table_texts = str(manifest.training.chosen_seed), f"{manifest.training.chosen_iteration}"
    return Choice(refit, (str(artifact.resolve()),), look, table_texts)
