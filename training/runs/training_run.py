"""A complete training: every seed, the choice by validation, the evaluation on the test part, and the artifact.

What can go wrong. The test part would be evaluated again and again until the result pleases: so each evaluation is
counted, and the model card has the count. An unfinished run would be begun anew, and its checkpoints lost: so an
unfinished run must be resumed, or the new run needs another name. A seed without a score would be chosen: so NaN counts
as the lowest score.

What the order guarantees. The seed is chosen by the validation part before the test part is read. An evaluation on the
test part (a look) is counted before it happens, so that an interrupted look counts too.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from quantd.bundled import find
from quantd.models.artifacts.card import agent_card
from quantd.models.artifacts.folder import kind_of, read_manifest
from quantd.models.artifacts.manifest import (
    MANIFEST,
    ActionSpec,
    AgentManifest,
    ArtifactError,
    Probes,
    Seat,
    Shape,
    Training,
    Window,
)
from quantd.models.artifacts.processor import processor
from quantd.models.history.panel_files import file_digest
from quantd.models.history.splits import day_of
from quantd.models.observation.sight import sight_hash
from quantd.regular_file import remove, remove_folder
from quantd.trading.exit_codes import CONFIG, INTERRUPTED, ExplainedError
from quantd.training.export import writer
from quantd.training.learners.record import learners
from quantd.training.plans.plan import Plan, described
from quantd.training.power.power_line import power_line
from quantd.training.runs.seed_pool import diverged, spread
from quantd.training.runs.workers import Executor
from quantd.training.seeds import checkpoints
from quantd.training.seeds.environment import allocations_of
from quantd.training.seeds.learner import policy_of
from quantd.training.seeds.markets import Markets, markets_of
from quantd.training.seeds.records import Tracker
from quantd.training.seeds.seed_run import STOPPED, Fitted, Progress, SeedDiverged, fit_all
from quantd.training.seeds.validation import evaluate, judge

LOOKS: Final = "test-looks"
"""File in a run's folder with the number of test evaluations."""

DONE: Final = "done"
"""File that marks the folder of an artifact that is trained once as complete."""

Track = Callable[[int, Path, int | None], Tracker]
"""(seed, folder, step of resumption or None) -> its tracker."""


class Interrupted(ExplainedError):
    """Training was stopped on request; its progress is saved."""

    exit_code = INTERRUPTED


class Unfinished(ExplainedError):
    """A folder has an unfinished run, and the request does not resume it."""

    exit_code = CONFIG


# Long because the order is the guarantee: the look is counted before the test part is read, and the manifest records
# what the seeds, the choice and the files were.
def train(
    plan: Plan,
    out: Path,
    command: str,
    report: Callable[[Progress], bool],
    *,
    folder: Path | None = None,
    resume: bool = False,
    track: Track | None = None,
    looked: int = 0,
    executor: Executor | None = None,
) -> AgentManifest:
    """Run a complete training and write the artifact `out`; `folder` (by default `out`.run) gets records and
    checkpoints of each seed.

    `looked` is the number of times that test results of earlier forms of this policy were seen. `executor` trains
    several seeds at once; on a CPU the results are bit-identical. Raises PlanError, Diverged, CheckpointError,
    Interrupted when `report` returned True, Unfinished, OSError.
    """
    folder = folder or out.with_name(out.name + ".run")
    if not resume and (remainder := unfinished(plan, folder)):
        raise Unfinished(
            f"{folder} has an unfinished run ({remainder}): go on with it (--resume), or give the new run "
            f"another name (--experiment)"
        )
    markets = markets_of(plan)
    with _tracked(plan, folder, report, track, resume) as tracked_report:
        if executor is not None:
            if spread(plan, lambda seed: folder / f"seed-{seed}", executor, tracked_report, resume=resume):
                raise Interrupted(_stopped("seeds under way are", folder))
            resume = True  # every seed has ended: its checkpoint is read, and nothing is trained
        fitted = _fitted(plan, markets, folder, tracked_report, resume)
    chosen = max(range(len(fitted)), key=lambda k: -math.inf if math.isnan(fitted[k].score) else fitted[k].score)
    policies = [policy_of(seed_fit.learner, seed_fit.normaliser, plan.market, markets.symbols) for seed_fit in fitted]
    looks = _count_look(folder, out, looked)  # before the test part is read: an interrupted look counts too
    results = judge(plan, markets, policies, chosen)
    rate, series = plan.market.cash_rate, [find(source.path) for source in plan.data.sources]
    files = (*plan.data.files, Path(rate) if isinstance(rate, str) else None, *series)
    data = [path for path in files if path is not None]
    splits, best, days = plan.splits, fitted[chosen], markets.panel.day_ns
    windows = {
        split.name: Window(str(day_of(days[market.first])), str(day_of(days[market.last])))
        for split, market in ((splits.train, markets.in_sample), (splits.validation, markets.validation))
    }
    windows["test"] = Window(str(splits.test.first), str(splits.test.last))
    training = Training(
        command=command,
        data={path.name: file_digest(path) for path in data},
        windows=windows,
        until_ns=splits.validation.end_ns,
        seeds=plan.seeds,
        chosen_seed=best.seed,
        chosen_iteration=best.step,
        test_looks=looks,
        processor=processor().text,
    )
    manifest = AgentManifest(
        name=plan.name,
        algorithm=plan.agent,
        profile=plan.profile,
        network=shape_of(plan, best),
        sight=plan.sight,
        sight_hash=sight_hash(plan.sight),
        macro=tuple(source for source in plan.data.macro if source.name in plan.sight.macro),
        series=tuple(source for source in plan.data.series if source.name in plan.sight.series),
        action=action_of(plan),
        universe=markets.symbols,
        training=training,
        plan=msgspec.to_builtins(plan),
        results=results,
        golden=Probes(0, 0, 0, 0.0),
        seats=seats_of(plan),
        power=power_line(plan),
    )
    card = agent_card(
        manifest, plan.market.costs, plan.market.capital, plan.market.lots(markets.symbols), markets.panel.cash_rate
    ).encode()
    mean = None
    if best.normaliser is None:
        mean = evaluate(policies[chosen], markets.in_sample, plan.market).seen
    written = writer.write(out, manifest, best.learner, best.normaliser, card, mean=mean)
    if track is not None:
        tracker = track(best.seed, folder / f"seed-{best.seed}", best.steps)
        tracker.log_artifact(out)
        tracker.close()
    return written


def trained_once(
    plan: Plan, folder: Path, command: str, report: Callable[[Progress], bool], executor: Executor | None = None
) -> Path:
    """Return the artifact of `plan` in `folder`, trained where there is none. Raises the errors of `train`.

    A training that was killed goes on from its last checkpoint. The file DONE is written last, so that an unfinished
    artifact is never read.
    """
    if not (folder / DONE).exists():
        # an evaluation that is repeated after a kill is the same look, which would else be counted twice
        remove(folder / "run" / LOOKS, missing_ok=True)
        remove_folder(folder / "artifact", ignore_errors=True)
        train(plan, folder / "artifact", command, report, folder=folder / "run", resume=True, executor=executor)
        (folder / DONE).write_text(f"{plan.name}\n")
    return folder / "artifact"


def mean_share(plan: Plan, progress: Callable[[float], object]) -> Callable[[Progress], bool]:
    """Return a report for `train` that stops no seed and gives `progress` the finished share of all seeds, 0 to 1."""
    shares = dict.fromkeys(plan.seeds, 0.0)

    def report(news: Progress) -> bool:
        shares[news.seed] = min(1.0, news.steps / plan.steps)
        progress(sum(shares.values()) / len(shares))
        return False  # True would stop the seed

    return report


def unfinished(plan: Plan, folder: Path) -> str:
    """Return the progress of an unfinished run in `folder`; empty when no run there is unfinished."""
    for seed in plan.seeds:
        stored = checkpoints.there(folder / f"seed-{seed}")
        if stored and not (progress := checkpoints.place_of(stored[-1])).ended:
            return f"seed {seed} at step {progress.step:,}"
    return ""


def action_of(plan: Plan) -> ActionSpec:
    """Return the actions of a plan's policy."""
    account = plan.market
    grid = allocations_of(account, plan.data.symbols)
    if grid is not None:
        return ActionSpec("discrete", grid.names, account.held(len(plan.data.symbols)) or account.parts, account.cash)
    return ActionSpec(account.kind, cash=account.kind == "simplex", gross=account.gross)


def seats_of(plan: Plan) -> tuple[Seat, ...]:
    """Return the agents (seats) of a policy of several agents, each with its share of the capital."""
    seats = plan.market.seats
    capital = sum(agent.capital for agent in seats)
    return tuple(Seat(agent.name, agent.symbols, agent.invested, agent.capital / capital) for agent in seats)


def shape_of(plan: Plan, fitted: Fitted) -> Shape:
    """Return kind, layer widths and number of parameters of the acting network. A transformer has one width."""
    learner, count = msgspec.to_builtins(plan.learner), writer.parameters_of(fitted.learner)
    kind, settings = learner.get("network", "mlp"), {name: learner[name] for name in learners()[plan.agent].shape}
    if kind == "transformer":
        sizes = learner["transformer"]
        transformer_settings = {name: sizes[name] for name in ("layers", "heads", "widening")} | {
            "samples": plan.sight.window
        }
        return Shape(kind, (sizes["width"],), count, settings=transformer_settings | settings)
    return Shape(kind, tuple(learner["hidden"]), count, settings=settings)


@contextmanager
def _tracked(
    plan: Plan, folder: Path, report: Callable[[Progress], bool], track: Track | None, resume: bool
) -> Iterator[Callable[[Progress], bool]]:
    """Yield a `report` that also logs to a tracker of each seed; the tracker is opened at the seed's first report.

    `track` opens a tracker for a seed, its folder and the step at which the seed is resumed (None: it begins anew).
    With `track` None, nothing is logged.
    """
    trackers: dict[int, Tracker] = {}

    def tracked_report(progress: Progress) -> bool:
        seed = progress.seed
        if track is not None:
            if seed not in trackers:
                seed_folder = folder / f"seed-{seed}"
                newest = checkpoints.there(seed_folder)[-1:] if resume else []
                trackers[seed] = track(seed, seed_folder, checkpoints.place_of(newest[0]).step if newest else None)
                trackers[seed].log_params(described(plan) | {"processor": processor().text})
            metrics = {name: value for name, value in progress.metrics.items() if not math.isnan(value)}
            trackers[seed].log_metrics(metrics, progress.steps)
        return report(progress)

    try:
        yield tracked_report
    finally:
        for tracker in trackers.values():
            tracker.close()


def _fitted(
    plan: Plan, markets: Markets, folder: Path, report: Callable[[Progress], bool], resume: bool
) -> list[Fitted]:
    """Train all seeds in this process. Raises Diverged, and Interrupted when `report` stopped a seed."""

    def folder_of(seed: int) -> Path:
        return folder / f"seed-{seed}"

    try:
        fitted = fit_all(plan, markets, folder_of, report, resume=resume)
    except SeedDiverged as error:
        raise diverged(plan, error.seed, folder_of(error.seed), str(error)) from None
    for seed_fit in fitted:
        if seed_fit.ended == STOPPED:
            text = f"seed {seed_fit.seed} after {seed_fit.steps:,} of {plan.steps:,} steps, all of it"
            raise Interrupted(_stopped(text, folder))
    return fitted


def _stopped(what: str, folder: Path) -> str:
    """Return the message about a stopped training; `what` names the progress that is stored in `folder`."""
    return (
        f"stopped: {what} kept in {folder}. "
        "The same command with --resume goes on from there, to the same result as if it had not been stopped"
    )


def _count_look(folder: Path, out: Path, looked: int) -> int:
    """Count one more evaluation on the test part, before it happens. Returns the number of evaluations.

    The number of earlier evaluations is the largest of three: in the file in `folder`, in the artifact `out`, and
    `looked`.
    """
    path = folder / LOOKS
    earlier = int(path.read_text()) if path.exists() else 0
    try:
        if (out / MANIFEST).exists() and kind_of(out) == "learned":
            earlier = max(earlier, read_manifest(out / MANIFEST, AgentManifest).training.test_looks)
    except ArtifactError:
        earlier = max(earlier, 1)  # an unreadable artifact was evaluated at least once
    looks = max(earlier, looked) + 1
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{looks}\n")
    return looks
