"""How an artifact was made, so that it can be made again on later data: its parts move on, everything else stays.

Imports torch only where something is trained.
"""

import shlex
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from models import artifacts
from models.artifacts import MANIFEST, ArtifactError, kind_of
from models.splits import Split, Splits
from models.versions import resolved
from trading.execution import Costs

if TYPE_CHECKING:
    from models.training import Plan as ScorerPlan

Progress = Callable[[str], None]


class Recipe(Protocol):
    """One training, whatever kind of artifact comes of it."""

    @property
    def symbols(self) -> tuple[str, ...]: ...

    @property
    def splits(self) -> Splits: ...

    @property
    def costs(self) -> Costs: ...

    @property
    def capital(self) -> float: ...

    def settings(self) -> dict[str, Any]:
        """Everything that determines it, but the data."""
        ...

    def moved(self, days: int, *, expanding: bool) -> "Recipe":
        """All parts so many days later; expanding, the training part begins where it did."""
        ...

    def changed(self, changes: Sequence[str]) -> "Recipe":
        """With KEY=VALUE of its plan. Raises ValueError."""
        ...

    def train(self, bars: Path, actions: Path, out: Path, command: str, progress: Progress) -> None:
        """Writes the artifact. Reads nothing later than its last part. Raises ValueError."""
        ...


def recipe_of(source: Path) -> Recipe:
    """That of an artifact's folder, of the version a folder stands for, or of a plan in TOML. ArtifactError or ValueError."""
    if source.suffix == ".toml":
        raise ValueError(f"{source}: this version trains again from artifacts only; name the folder of one")
    folder = resolved(source)
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(f"{source}: no {MANIFEST} there; name the folder of an artifact, or of its versions")
    kind = kind_of(folder)
    if kind == "":
        return scorer_of(artifacts.load(folder).manifest)
    raise ArtifactError(
        f"{folder / MANIFEST}: an artifact of kind {kind[:40]!r} cannot be trained again by this quantd"
    )


def moved(splits: Splits, days: int, *, expanding: bool) -> Splits:
    """All parts so many days later, as long as they were; expanding, `train` begins where it did."""
    by = timedelta(days=days)
    train, validation, test = (
        Split(part.name, part.first + by, part.last + by) for part in (splits.train, splits.validation, splits.test)
    )
    if expanding:
        train = Split(train.name, splits.train.first, train.last)
    return Splits(train, validation, test)


class ScorerRecipe:
    """Of the scorer, trained through the simulator."""

    def __init__(self, symbols: tuple[str, ...], plan: "ScorerPlan") -> None:
        self._symbols = symbols
        self._plan = plan

    @property
    def symbols(self) -> tuple[str, ...]:
        return self._symbols

    @property
    def splits(self) -> Splits:
        return self._plan.splits

    @property
    def costs(self) -> Costs:
        return self._plan.costs

    @property
    def capital(self) -> float:
        return self._plan.cash

    def settings(self) -> dict[str, Any]:
        said: dict[str, Any] = msgspec.to_builtins(self._plan)
        return {"kind": "scorer", "symbols": list(self._symbols), **said}

    def moved(self, days: int, *, expanding: bool) -> "ScorerRecipe":
        plan = self._plan
        warmup = plan.warmup_from if expanding else plan.warmup_from + timedelta(days=days)
        plan = msgspec.structs.replace(
            plan,
            splits=moved(plan.splits, days, expanding=expanding),
            warmup_from=warmup,
            test_looks=plan.test_looks + 1,
        )
        return ScorerRecipe(self._symbols, plan)

    def changed(self, changes: Sequence[str]) -> "ScorerRecipe":
        from models.training import Plan

        table = msgspec.to_builtins(self._plan)
        for change in changes:
            key, sign, value = change.partition("=")
            if not sign or key not in table or isinstance(table[key], dict):
                plain = ", ".join(k for k, v in table.items() if not isinstance(v, dict))
                raise ValueError(f"--set {change}: write KEY=VALUE, one of {plain}")
            table[key] = [int(each) for each in value.split(",")] if key == "seeds" else _number(value)
        try:
            return ScorerRecipe(self._symbols, msgspec.convert(table, Plan))
        except (msgspec.ValidationError, ValueError) as error:
            raise ValueError(f"--set {' '.join(changes)}: {error}") from None

    def train(self, bars: Path, actions: Path, out: Path, command: str, progress: Progress) -> None:
        from models.training import train

        said = [f"{key}={_plain(value)}" for key, value in self.settings().items() if key in _KEPT]
        train(bars, actions, self._symbols, self._plan, out, f"{command} {_sets(said)}", progress)


_KEPT = (
    "seeds",
    "iterations",
    "check_every",
    "batch",
    "episode",
    "learning_rate",
    "weight_decay",
    "hidden",
    "risk_aversion",
    "keep",
)


def scorer_of(manifest: artifacts.Manifest) -> ScorerRecipe:
    """The plan behind a scorer: its windows and seeds from the manifest, the rest from its command, or as usual."""
    from models.training import Plan

    training, usual = manifest.training, Plan()
    parts = {
        name: Split(name, date.fromisoformat(window.first), date.fromisoformat(window.last))
        for name, window in training.windows.items()
    }
    splits = Splits(parts["train"], parts["validation"], parts["test"])
    before = usual.splits.train.first - usual.warmup_from
    plan = Plan(
        splits=splits,
        warmup_from=splits.train.first - before,
        seeds=training.seeds,
        hidden=manifest.network.hidden,
        test_looks=training.test_looks,
    )
    return ScorerRecipe(manifest.universe, plan).changed(_settings_in(training.command))


def _settings_in(command: str) -> list[str]:
    """KEY=VALUE of a recorded command: of its --set, and of --iterations."""
    words = shlex.split(command)
    found = []
    for flag, value in pairwise(words):
        if flag == "--set":
            found.append(value)
        elif flag == "--iterations":
            found.append(f"iterations={value}")
    return found


def _sets(settings: Sequence[str]) -> str:
    return " ".join(f"--set {shlex.quote(each)}" for each in settings)


def _plain(value: Any) -> str:
    return ",".join(str(each) for each in value) if isinstance(value, list) else str(value)


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
