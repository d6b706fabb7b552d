"""Training and evaluation of learned policies, as by `quantd train` and `quantd evaluate`."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from quantd.adapters.feeds.recorded.bar_files import probe
from quantd.adapters.feeds.recorded.sound_bars import require_sound_bars
from quantd.bundled import find
from quantd.extras import lack
from quantd.models.artifacts.manifest import AgentManifest
from quantd.research.python_api.arguments import Misused
from quantd.trading.exit_codes import ExplainedError, PackageMissing
from quantd.training.runs.workers import Place

if TYPE_CHECKING:
    from quantd.training.plans.plan import Plan
    from quantd.training.runs.evaluation import Evaluated


@dataclass(frozen=True)
class Trained:
    """A trained artifact: its folder, which `quantd.backtest` and `quantd.evaluate` take, and its manifest."""

    folder: Path
    manifest: AgentManifest

    @property
    def card(self) -> str:
        """The model card (a description of the policy and its results) in Markdown, poor results included."""
        return (self.folder / "card.md").read_text(encoding="utf-8")

    def __str__(self) -> str:
        return self.card

    def _repr_markdown_(self) -> str:
        return self.card


def train(
    plan: "Plan | str | os.PathLike[str]",
    out: str | os.PathLike[str],
    settings: Mapping[str, object] | None = None,
    *,
    resume: bool = False,
    workers: int = 1,
    on: Place = "local",
    address: str = "",
    looked: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> Trained:
    """Train every seed of a plan, and write the best by validation as the artifact `out`, as `quantd train`.

    `plan` is a TOML file or a Plan. `settings` replace its values by dotted keys: {"steps": 4000}. Records and
    checkpoints are in the folder OUT.run. `resume` continues an interrupted training there. `workers` is the number of
    seeds that train at the same time, in processes or with `on="ray"` in a Ray cluster at `address`. `looked` is the
    number of earlier evaluations on the test part by other runs. `progress` receives the completed share of all seeds,
    from 0 to 1.

    Raises PackageMissing without the extra `train`, PlanError for a mistake of the plan, Unfinished for an interrupted
    training without `resume`, and UnsoundPrices for a jump that no action announces; all are Errors. A plan
    that does not exist raises Misused.
    """
    _require("training", "torch", "onnx")
    from quantd.training.plans.plan import Plan, parsed, replaced
    from quantd.training.runs import training_run
    from quantd.training.runs.workers import executor

    changes = dict(settings or {})
    if isinstance(plan, Plan):
        training_plan, name = replaced(plan, changes), plan.name
    else:
        path = find(Path(plan))
        if not path.is_file():
            raise Misused(f"{path}: no such plan file; name a TOML file, such as examples/train/a2c.toml")
        training_plan, name = parsed(path.read_text(encoding="utf-8"), str(path), changes), str(plan)
    _probe(training_plan.data.files[0])
    begins = training_plan.splits.train.first - timedelta(days=training_plan.warmup_days)
    require_sound_bars(*training_plan.data.files, training_plan.data.symbols, begins, training_plan.splits.test.last)
    arguments = [repr(name), repr(str(out)), *([repr(changes)] if changes else [])]
    seed_executor = None if (on, workers, address) == ("local", 1, "") else executor(on, workers, address)
    manifest = training_run.train(
        training_plan,
        Path(out),
        f"quantd.train({', '.join(arguments)})",
        training_run.mean_share(training_plan, progress),
        resume=resume,
        looked=looked,
        executor=seed_executor,
    )
    return Trained(Path(out), manifest)


def evaluate(
    artifact: "Trained | str | os.PathLike[str]",
    first: date,
    until: date,
    bars: str | os.PathLike[str] | None = None,
    actions: str | None = None,
    *,
    symbols: Sequence[str] = (),
    state: str | os.PathLike[str] = "state",
    family: str = "",
) -> "Evaluated":
    """Run a learned policy over a window in whole shares, after costs, beside equal weight, as `quantd evaluate`.

    `artifact` is the folder of an artifact, or the result of `quantd.train`. `first` and `until` are the first and the
    last day. `bars` is a file of daily raw bars with its `actions` ("" for none), by default the files of the training;
    `symbols` are by default the artifact's. The result has `policy` and `equal_weight` (returns and drawdowns as
    fractions, ratios a year), `inside` (the sessions inside the training window) and the costs. The evaluation counts
    as a trial in the folder `state`, for its own market and for the `family`.

    Raises PackageMissing without the extra `train`, ArtifactError where `artifact` is no policy, UnsoundPrices for a
    jump of a price that no action announces, and Misused for a window without sessions; all are Errors.
    """
    _require("evaluation", "torch")
    from quantd.research.runs.evaluation_look import noted
    from quantd.training.runs import evaluation

    folder = artifact.folder if isinstance(artifact, Trained) else Path(artifact)
    bars_file = None if bars is None else Path(bars)
    if bars_file is not None:
        _probe(find(bars_file))
    try:
        figures = evaluation.evaluate(folder, first, until, bars_file, actions, list(symbols), require_sound_bars)
    except ExplainedError:
        raise
    except ValueError as error:
        raise Misused(str(error)) from None
    noted(Path(state), folder.name, figures, family)
    return figures


def _require(purpose: str, *modules: str) -> None:
    """Raise PackageMissing where one of the modules, from the extra `train`, is not installed."""
    if missing := lack(purpose, "train", *modules):
        raise PackageMissing(missing)


def _probe(bars: Path) -> None:
    """Read a parquet file in a child process, because a damaged file could crash its reader.

    Raises FeedError for such a file.
    """
    if bars.is_file() and bars.suffix == ".parquet":
        probe(bars)
