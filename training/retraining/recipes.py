"""Reconstructs how an artifact was made, so that it can be made again on later data. Torch is imported for training.

What can go wrong. A retraining would differ from the training that it repeats: so settings come from the manifest, and
for a scorer from its recorded command. A version of the same plan and data would get another name, which is a hash of
`settings`, when quantd has a new setting: so `settings` leaves out newer keys at their defaults. A copy or an ensemble
has no training plan: so it is refused.
"""

import shlex
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from quantd.models.artifacts.folder import kind_of
from quantd.models.artifacts.loader import checked
from quantd.models.artifacts.manifest import MANIFEST, AgentManifest, ArtifactError, ForestManifest, ScorerManifest
from quantd.models.artifacts.versions import resolved
from quantd.models.history.panel import MacroSource
from quantd.models.history.splits import Split, Splits
from quantd.trading.instruments import NANO, usual_lot_nano
from quantd.training.retraining.challenge import Rule

if TYPE_CHECKING:
    from quantd.training.forests.fit import Plan as ForestPlan
    from quantd.training.plans.plan import Plan as LearnerPlan
    from quantd.training.runs.scorer_run import Plan as ScorerPlan

Progress = Callable[[str], None]


def recipe_of(source: Path) -> "Recipe":
    """Return the recipe of an artifact, of a folder of versions, or of a TOML plan.

    Raises ValueError for a plan with mistakes, a folder without an artifact, and a kind that cannot be trained again.
    """
    if source.suffix == ".toml":
        from quantd.training.plans.plan import read

        return LearnedRecipe(read(source))
    folder = resolved(source)
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(f"{source}: no {MANIFEST} there; name the folder of an artifact, or of its versions")
    manifest = checked(folder).manifest
    if isinstance(manifest, ScorerManifest):
        return scorer_of(manifest)
    if isinstance(manifest, AgentManifest):
        return learned_of(manifest)
    if isinstance(manifest, ForestManifest):
        return forest_of(manifest)
    raise ArtifactError(
        f"{folder / MANIFEST}: an artifact of kind {kind_of(folder)!r} cannot be trained again by this quantd"
    )


def moved(splits: Splits, days: int, *, expanding: bool) -> Splits:
    """Return the parts (training, validation, test) moved by `days`; with `expanding` the start of the training part
    stays.
    """
    by = timedelta(days=days)
    train, validation, test = (
        Split(part.name, part.first + by, part.last + by) for part in (splits.train, splits.validation, splits.test)
    )
    if expanding:
        train = Split(train.name, splits.train.first, train.last)
    return Splits(train, validation, test)


class ScorerRecipe:
    """The recipe of a scorer: everything that repeats its training on later data.

    `first` is the first day of the training part, `last` the last day of data that the training uses. `capital`,
    `costs`, `cash_rate` (interest on cash) and `lots` (units, by symbol) are for evaluations.
    """

    cash_rate: float | str | None = None
    sources: tuple[MacroSource, ...] = ()
    """The series of the training."""

    def __init__(self, symbols: tuple[str, ...], plan: "ScorerPlan") -> None:
        self._plan = plan
        self.symbols, self.splits, self.costs, self.capital = symbols, plan.splits, plan.costs, plan.cash
        self.lots = tuple(usual_lot_nano(symbol) / NANO for symbol in symbols)
        self.first, self.last = plan.splits.train.first, plan.splits.test.last

    def settings(self) -> dict[str, Any]:
        """Return everything that determines the training, except the data."""
        return {"kind": "scorer", "symbols": list(self.symbols), **msgspec.to_builtins(self._plan)}

    def moved(self, days: int, *, expanding: bool) -> "ScorerRecipe":
        """Return the recipe with all parts moved by `days`; when `expanding`, the start of the training part stays."""
        plan = self._plan
        warmup = plan.warmup_from if expanding else plan.warmup_from + timedelta(days=days)
        plan = msgspec.structs.replace(
            plan,
            splits=moved(plan.splits, days, expanding=expanding),
            warmup_from=warmup,
            test_looks=plan.test_looks + 1,
        )
        return ScorerRecipe(self.symbols, plan)

    def changed(self, changes: Sequence[str]) -> "ScorerRecipe":
        """Return the recipe with KEY=VALUE settings of its plan. Raises ValueError for a wrong key or value."""
        from quantd.training.runs.scorer_run import Plan

        table = msgspec.to_builtins(self._plan)
        plain = [key for key, value in table.items() if not isinstance(value, dict)]
        changed = _parsed(changes, f"one of {', '.join(plain)}", plain)
        try:
            return ScorerRecipe(self.symbols, msgspec.convert(table | changed, Plan))
        except (msgspec.ValidationError, ValueError) as error:
            raise ValueError(f"--set {' '.join(changes)}: {error}") from None

    def train(self, bars: Path, actions: Path, out: Path, command: str, progress: Progress) -> None:
        """Train and write the artifact. No bar after the last part of the plan is read.

        Raises ValueError where the bars do not fit the plan.
        """
        from quantd.training.runs.scorer_run import train

        settings = [f"{key}={_plain(value)}" for key, value in self.settings().items() if key in _RECORDED]
        # the recorded command alone must repeat the training
        unrecorded = " ".join(
            f"--set {shlex.quote(setting)}" for setting in settings if f"--set {setting}" not in command
        )
        train(bars, actions, self.symbols, self._plan, out, f"{command} {unrecorded}", progress)


_RECORDED = {
    "seeds", "iterations", "check_every", "batch", "episode", "learning_rate", "weight_decay", "hidden",
    "risk_aversion", "keep",
}  # fmt: skip
"""Settings of a scorer that are written into the command of its manifest."""


class LearnedRecipe:
    """The recipe of a policy that one of the learners trained, with the attributes and methods of `ScorerRecipe`."""

    def __init__(self, plan: "LearnerPlan", looks: int = 0) -> None:
        self._plan, self._looks = plan, looks
        market, self.symbols, self.splits = plan.market, plan.data.symbols, plan.splits
        self.costs, self.capital, self.cash_rate = market.costs, market.capital, market.cash_rate
        self.sources = plan.data.sources
        self.lots = market.lots(self.symbols)
        self.first, self.last = plan.splits.train.first, plan.splits.test.last

    def settings(self) -> dict[str, Any]:
        """Return everything that determines the training, except the data and the names of its files.

        A setting that older releases of quantd lack is omitted at its default. So the name of a trained version, a hash
        of the settings, does not change with a new release.
        """
        table: dict[str, Any] = msgspec.to_builtins(self._plan)
        table.pop("data")  # the name of a version has the digests of the files instead
        # older versions, from the time without these settings, keep their names
        if self.cash_rate is None:
            del table["market"]["cash_rate"]
        if not self._plan.tuning_trials:
            del table["tuning_trials"]
        for key in ("columns", "benchmark"):
            if not table["sight"][key]:
                del table["sight"][key]
        return {"kind": "learned", "symbols": list(self.symbols), **table}

    def moved(self, days: int, *, expanding: bool) -> "LearnedRecipe":
        """Return the recipe with all parts (training, validation, test) moved by `days`; when `expanding`, the start of
        the training part stays. The count of evaluations on the test part stays too.
        """
        splits = moved(self._plan.splits, days, expanding=expanding)
        return LearnedRecipe(msgspec.structs.replace(self._plan, splits=splits), self._looks)

    def changed(self, changes: Sequence[str]) -> "LearnedRecipe":
        """Return the recipe with KEY=VALUE settings, by dotted keys: learner.gamma=0.95.

        Raises ValueError for a wrong key or value.
        """
        from quantd.training.plans.data_plan import PlanError
        from quantd.training.plans.plan import replaced

        changed = _parsed(changes, "learner.gamma=0.95")
        try:
            return LearnedRecipe(replaced(self._plan, changed), self._looks)
        except PlanError as error:
            raise ValueError(f"--set {' '.join(changes)}: {error}") from None

    def train(self, bars: Path, actions: Path, out: Path, command: str, progress: Progress) -> None:
        """Train the policy on the files `bars` and `actions`, and write the artifact to `out`, with `command` as its
        recorded command.

        `progress` gets a sentence at each evaluation of a seed. Raises ValueError also for a training that diverges.
        """
        from quantd.training.learners.record import Diverged
        from quantd.training.runs.training_run import train
        from quantd.training.seeds.seed_run import Progress as Fitting

        ratio = self._plan.ratio

        def report(so_far: Fitting) -> bool:
            score = "" if so_far.score is None else f", validation {ratio} {so_far.score:+.3f}"
            progress(f"seed {so_far.seed}: {so_far.steps:,} steps{score}")
            return False

        data = msgspec.structs.replace(
            self._plan.data, bars=str(bars), actions=str(actions) if actions != Path() else ""
        )
        try:
            train(msgspec.structs.replace(self._plan, data=data), out, command, report, looked=self._looks)
        except Diverged as error:
            raise ValueError(str(error)) from error


class ForestRecipe:
    """The recipe of a forest.

    A forest has no validation and test parts and does not trade: its training includes a walk-forward test, which
    judges it.
    """

    sources: tuple[MacroSource, ...] = ()

    def __init__(self, symbols: tuple[str, ...], plan: "ForestPlan") -> None:
        self._plan = plan
        self.symbols, self.first, self.last = symbols, plan.first, plan.last

    def settings(self) -> dict[str, Any]:
        """Return everything that determines the training, except the data: kind, symbols and plan."""
        return {"kind": "forest", "symbols": list(self.symbols), **msgspec.to_builtins(self._plan)}

    def moved(self, days: int, *, expanding: bool) -> "ForestRecipe":
        """Return the recipe with its first and last day moved by `days`; with `expanding` the first day stays."""
        plan, by = self._plan, timedelta(days=days)
        first = plan.first if expanding else plan.first + by
        return ForestRecipe(self.symbols, msgspec.structs.replace(plan, first=first, last=plan.last + by))

    def changed(self, changes: Sequence[str]) -> "ForestRecipe":
        """Return the recipe with KEY=VALUE settings: first, last, horizon, stride, folds, embargo, leaves, seed.

        Raises ValueError for other keys and for wrong values.
        """
        from quantd.training.forests.fit import Plan

        keys = ("first", "last", "horizon", "stride", "folds", "embargo", "leaves", "seed")
        changed = _parsed(changes, f"one of {', '.join(keys)}", keys)
        try:
            return ForestRecipe(self.symbols, msgspec.convert(msgspec.to_builtins(self._plan) | changed, Plan))
        except (msgspec.ValidationError, ValueError) as error:
            raise ValueError(f"--set {' '.join(changes)}: {error}") from None

    def train(self, bars: Path, actions: Path, out: Path, command: str, progress: Progress) -> None:
        """Train the forest on the files `bars` and `actions`, and write the artifact to `out`, with `command` as its
        recorded command.

        An empty path `actions` means that splits and dividends are not read.
        """
        from quantd.training.forests.fit import train

        train(bars, actions if actions != Path() else None, self.symbols, self._plan, out, command, progress)


Recipe = ScorerRecipe | LearnedRecipe | ForestRecipe


def forest_of(manifest: ForestManifest) -> ForestRecipe:
    from quantd.training.forests.fit import Plan

    window = manifest.training.window
    plan = Plan(
        predicts=manifest.predicts,
        first=date.fromisoformat(window.first),
        last=date.fromisoformat(window.last),
        horizon=manifest.horizon,
        stride=manifest.training.stride,
        folds=len(manifest.folds),
        embargo=manifest.training.embargo,
        leaves=manifest.forest.leaves,
        seed=manifest.forest.seed,
    )
    return ForestRecipe(manifest.universe, plan)


def learned_of(manifest: AgentManifest) -> LearnedRecipe:
    """Return the recipe of a learned policy. Raises ArtifactError where this version cannot read its plan."""
    from quantd.training.plans.data_plan import PlanError
    from quantd.training.plans.plan import restored

    if manifest.parent:
        raise ArtifactError(
            f"{manifest.name} was made from another artifact ({manifest.made or manifest.parent[:16]}), not trained: "
            f"train that artifact again"
        )
    try:
        plan = restored(manifest.plan)
    except PlanError as error:
        raise ArtifactError(f"{manifest.name}: the plan in its manifest cannot be read: {error}") from None
    return LearnedRecipe(plan, manifest.training.test_looks)


def scorer_of(manifest: ScorerManifest) -> ScorerRecipe:
    """Return the recipe of a scorer: windows and seeds from its manifest, the rest from its command or the defaults."""
    from quantd.training.runs.scorer_run import Plan

    training, defaults = manifest.training, Plan()
    parts = {
        name: Split(name, date.fromisoformat(window.first), date.fromisoformat(window.last))
        for name, window in training.windows.items()
    }
    splits = Splits(parts["train"], parts["validation"], parts["test"])
    warmup = defaults.splits.train.first - defaults.warmup_from
    plan = Plan(
        splits=splits,
        warmup_from=splits.train.first - warmup,
        seeds=training.seeds,
        hidden=manifest.network.hidden,
        test_looks=training.test_looks,
    )
    return ScorerRecipe(manifest.universe, plan).changed(_settings_in(training.command))


def _settings_in(command: str) -> list[str]:
    """Return the KEY=VALUE settings in a recorded command line."""
    words = shlex.split(command)
    settings = []
    for flag, value in pairwise(words):
        if flag == "--set":
            settings.append(value)
        elif flag == "--iterations":
            settings.append(f"iterations={value}")
    return settings


def _plain(value: Any) -> str:
    """Return a setting's value as the text that follows --set KEY=."""
    return ",".join(str(part) for part in value) if isinstance(value, (list, tuple)) else str(value)


def rule_of(changes: Sequence[str]) -> Rule:
    """Return the rule of a comparison with KEY=VALUE settings. Raises ValueError for a wrong key or value."""
    keys = Rule.__struct_fields__
    return msgspec.convert(_parsed(changes, f"one of {', '.join(keys)}", keys, "--rule"), Rule)


def _parsed(
    changes: Sequence[str], expected: str, keys: Sequence[str] | None = None, option: str = "--set"
) -> dict[str, Any]:
    """Return the values of KEY=VALUE settings of an option.

    Raises ValueError for text of another form, and for a key outside `keys` (None: any key). `expected` is the end of
    the error's text.
    """
    values: dict[str, Any] = {}
    for change in changes:
        key, sign, text = change.partition("=")
        if not sign or (keys is not None and key not in keys):
            raise ValueError(f"{option} {change}: write KEY=VALUE, {expected}")
        try:
            values[key] = [int(seed) for seed in text.split(",")] if key == "seeds" else msgspec.json.decode(text)
        except msgspec.DecodeError:
            values[key] = text
        except ValueError:
            raise ValueError(f"{option} {change}: seeds are no whole numbers; write some, joined by commas") from None
    return values
