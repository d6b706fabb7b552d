"""One retraining: moves a plan to the end of the data, trains a version, compares it, and records the decision.

What can go wrong. A process that ends in the middle would leave half a version: so a version is made in a separate
folder, which is moved when the version is complete. Two retrainings would write into one folder: so the second is
refused. The same request would be trained twice: so the name of a version is a hash of plan and data, and an existing
version is used.

What the order guarantees. The bars are checked and the model in use is loaded before anything is written. The decision
is written before the pointer to the current version moves, so that every version in use has a recorded reason.
"""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
import polars as pl
from msgspec import Struct

from quantd.bundled import find
from quantd.models.artifacts.folder import locked
from quantd.models.artifacts.loader import checked, load_artifact
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError, Comparison, ForestManifest
from quantd.models.artifacts.runtime import Trained
from quantd.models.artifacts.versions import point, resolved
from quantd.models.history.panel_files import RequireSound, file_digest, read_panel, scan
from quantd.regular_file import move, remove_folder, write_whole
from quantd.training.retraining.challenge import SCHEMA, Rule, Verdict, judge
from quantd.training.retraining.recipes import ForestRecipe, LearnedRecipe, Progress, ScorerRecipe, recipe_of

WORTH: Final = "worth trying as a challenger"

SIGN_FIRST: Final = ", once it is signed: `quantd models sign`, then `quantd models use`"

MAKING: Final = ".making-"
"""Prefix of the folder in which a version is made."""
LOCK: Final = ".lock"
DECISIONS: Final = "decisions"
"""Folder of the recorded decisions."""


class RetrainingRequest(Struct, frozen=True):
    """A request to train a model again on newer data.

    Nothing after `until` is read; None means the last session of all symbols. `against` is the model in use. None means
    the current version in the folder `out`, or `source` where `out` has no current version.
    """

    source: Path
    out: Path
    bars: Path
    actions: Path
    until: date | None = None
    stale: date | None = None
    """The earliest permitted end of the data."""
    against: Path | None = None
    expanding: bool = False
    changes: tuple[str, ...] = ()
    rule: Rule = Rule()
    takes: bool = True
    """Whether the new version may become current; False where only signed artifacts are traded."""


class Decision(Struct, frozen=True, forbid_unknown_fields=True):
    """The recorded result of a retraining.

    `version` is the folder of the new version, and `current` the path of the model in use. `digest` and
    `current_digest` are the digests of their manifests. `current` and `current_digest` are "" without a model in use.
    `promoted` is True when the new version became current; agents that name the folder then have it as their
    challenger.
    """

    schema: int
    version: str
    digest: str
    current: str
    current_digest: str
    until: str
    promoted: bool
    reason: str
    rule: Rule
    verdict: Verdict | None
    """The comparison of a policy; None for a forest, which does not trade."""
    costs_bp: float
    """Commission, half spread and slippage of traded value."""
    capital: float
    parts: dict[str, tuple[str, str]]
    command: str
    held_out: Comparison | None = None
    """The walk-forward test of a forest beside its plain estimate; None for a policy."""


def retrain(request: RetrainingRequest, progress: Progress, require_sound: RequireSound = lambda *_: None) -> Decision:
    """Train a version, compare it with the model in use and record the decision.

    A repeated request trains nothing and returns the recorded decision. `require_sound` checks the bars, and raises an
    exception for bars that must not be used. Raises ArtifactError, ValueError (unsuitable data, a failing policy) and
    OSError; after an error nothing has changed.
    """
    recipe = recipe_of(request.source).changed(request.changes)
    last = last_session(request.bars, recipe.symbols, request.until)
    recipe = recipe.moved((last - recipe.last).days, expanding=request.expanding)
    if request.stale is not None and last < request.stale:
        raise ValueError(f"{request.bars}: bars of all symbols end {last}, before {request.stale}; fetch newer bars")
    actions = request.actions if request.actions != Path() else None
    require_sound(request.bars, actions, recipe.symbols, recipe.first, last)
    version = _name(recipe, request, last)
    against = request.against or in_use(request.out) or (request.source if request.source.suffix != ".toml" else None)
    current_model = None if against is None else load_artifact(against, {})
    current_digest = "" if against is None else _digest(against)
    version_folder = request.out / version
    with _locked_out(request.out):
        recorded_decision = _recorded_decision(request.out, version) if (version_folder / MANIFEST).is_file() else None
        is_unchanged = recorded_decision is not None and recorded_decision.digest == _digest(version_folder)
        # a version that was trained and compared with the present model before: nothing is left to do
        if (
            recorded_decision is not None
            and is_unchanged
            and current_digest
            and current_digest in (recorded_decision.digest, recorded_decision.current_digest)
        ):
            return recorded_decision
        if not (version_folder / MANIFEST).is_file():
            for leftover in request.out.glob(f"{MAKING}*"):  # a folder of a retraining that was killed
                remove_folder(leftover, ignore_errors=True)
            making = request.out / f"{MAKING}{version}"
            making.mkdir()
            try:
                recipe.train(request.bars, request.actions, making / version, _command(request, last), progress)
                move(making / version, version_folder)
            finally:
                remove_folder(making, ignore_errors=True)
        if isinstance(recipe, ForestRecipe):
            decision = _decision_on_forest(request, version, against)
        else:
            decision = _decision_on_policy(request, recipe, version, against, current_model, progress)
        decisions_folder = request.out / DECISIONS
        decisions_folder.mkdir(exist_ok=True)
        document = msgspec.json.format(msgspec.json.encode(decision), indent=1) + b"\n"
        write_whole(decisions_folder / f"{version}.json", document)
        # last: a version in use has a recorded decision
        if decision.promoted:
            now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            point(request.out, version, decision.digest, now, f"retrained until {decision.until}: {decision.reason}")
        return decision


@contextmanager
def _locked_out(out: Path) -> Iterator[None]:
    """Lock `out` against other retrainings. Raises ValueError where another one runs."""
    created = not out.is_dir()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out / LOCK, ValueError(f"{out}: another retraining is at work there; wait for it")):
            yield
    finally:
        if created and not any(path.name != LOCK for path in out.iterdir()):
            remove_folder(out, ignore_errors=True)


def in_use(out: Path) -> Path | None:
    """Return the current version of a folder of versions; None without one.

    Raises ArtifactError if `out` is itself an artifact.
    """
    if (out / MANIFEST).exists():
        raise ArtifactError(
            f"{out}: this folder is an artifact itself, so versions cannot be stored in it; "
            "name another folder with --out"
        )
    current = resolved(out)
    return None if current == out else current


def _decision_on_policy(
    request: RetrainingRequest,
    recipe: ScorerRecipe | LearnedRecipe,
    version: str,
    against: Path | None,
    current_model: Trained | None,
    progress: Progress,
) -> Decision:
    """Compare a new version of a policy with the model in use, and return the decision."""
    # `against` is the folder of the model in use, None without one
    version_folder, splits = request.out / version, recipe.splits
    challenger = load_artifact(version_folder, {})  # {}: no parameters
    if current_model is not None and current_model.digest == challenger.digest:
        current_model = None  # the version is already in use: there is nothing to compare it with
    progress(f"judging {version} on {splits.test.first} to {splits.test.last}")
    lookback = max(p.lookback for p in (challenger, current_model or challenger))
    # 1.6 calendar days for a session, and a month for holidays
    begins = splits.test.first - timedelta(days=int(lookback * 1.6) + 30)
    actions = request.actions if request.actions != Path() else None
    sources = {
        source.name: source for policy in (current_model, challenger) for source in getattr(policy, "sources", ())
    }
    panel = read_panel(
        request.bars, actions, recipe.symbols, begins, splits.test.last, recipe.cash_rate, tuple(sources.values())
    )
    verdict = judge(
        challenger,
        current_model,
        panel,
        splits.test,
        request.rule,
        costs=recipe.costs,
        capital=recipe.capital,
        lot=recipe.lots,
        key=f"{splits.test.first}|{splits.test.last}|{','.join(recipe.symbols)}",
    )
    reason = verdict.why or (WORTH if current_model is not None else f"{WORTH}: no model is in use to compare it with")
    if verdict.worth and not request.takes:
        reason += SIGN_FIRST
    costs = recipe.costs
    return Decision(
        schema=SCHEMA,
        version=version,
        digest=challenger.digest,
        current="" if current_model is None or against is None else str(against),
        current_digest="" if current_model is None else current_model.digest,
        until=str(splits.test.last),
        promoted=verdict.worth and request.takes,
        reason=reason,
        rule=request.rule,
        verdict=verdict,
        costs_bp=costs.commission_bp + costs.spread_bp / 2.0 + costs.slippage_bp,
        capital=recipe.capital,
        parts={s.name: (str(s.first), str(s.last)) for s in (splits.train, splits.validation, splits.test)},
        command=_command(request, splits.test.last),
    )


def _decision_on_forest(request: RetrainingRequest, version: str, against: Path | None) -> Decision:
    """Judge a new forest by its walk-forward test: it becomes the current version only where it beats the plain
    estimate.

    A forest does not trade by itself: the decision has no verdict on trades, and costs and capital are 0.
    """
    manifest = checked(request.out / version).manifest
    assert isinstance(manifest, ForestManifest)
    # `against` is the folder of the model in use, None without one
    held_out, window, current = manifest.together, manifest.training.window, "" if against is None else _digest(against)
    # the version is already in use
    if current == manifest.digest:
        against, current = None, ""
    beats = manifest.beats_plain()
    reason = (
        f"its {manifest.predicts} forest {'beats' if beats else 'does not beat'} the plain estimate out of sample "
        f"(MSE {held_out.model.mse:.4f} against {held_out.plain.mse:.4f} on {held_out.rows} rows)"
    )
    if beats and not request.takes:
        reason += SIGN_FIRST
    return Decision(
        schema=SCHEMA,
        version=version,
        digest=manifest.digest,
        current="" if against is None else str(against),
        current_digest=current,
        until=window.last,
        promoted=beats and request.takes,
        reason=reason,
        rule=request.rule,
        verdict=None,
        costs_bp=0.0,
        capital=0.0,
        parts={"train": (window.first, window.last), "walk forward": (held_out.first, held_out.last)},
        command=manifest.training.command,
        held_out=held_out,
    )


def _digest(folder: Path) -> str:
    """Return the digest of the manifest of an artifact, or of the current version of a folder of versions."""
    return checked(resolved(folder)).manifest.digest


def last_session(bars: Path, symbols: Sequence[str], until: date | None) -> date:
    """Return the last day, `until` at the latest, with bars of every symbol. Raises ValueError where there is none."""
    frame = scan(bars).filter(pl.col("symbol").is_in(list(symbols)))
    if until is not None:
        frame = frame.filter(pl.col("ts").cast(pl.Date) <= until)
    days = frame.group_by(pl.col("ts").cast(pl.Date).alias("day")).agg(pl.col("symbol").n_unique().alias("n"))
    newest_day = days.filter(pl.col("n") == len(set(symbols))).select(pl.col("day").max()).collect().item()
    if newest_day is None:
        limit = "" if until is None else f" up to {until}"
        raise ValueError(f"{bars}: no day{limit} has bars of all of {', '.join(symbols)}")
    day: date = newest_day
    return day


def _name(recipe: ScorerRecipe | LearnedRecipe | ForestRecipe, request: RetrainingRequest, last: date) -> str:
    """Return the name of a version, v20190329-1a2b3c: the last day, and a hash of plan and data."""
    series = [find(source.path) for source in recipe.sources]
    data = [file_digest(path) for path in (request.bars, request.actions, *series) if path != Path()]
    identity = msgspec.json.encode([recipe.settings(), data], order="sorted", enc_hook=str)
    return f"v{last:%Y%m%d}-{blake2b(identity, digest_size=3).hexdigest()}"


def _command(request: RetrainingRequest, last: date) -> str:
    words = ["quantd", "train", str(request.source), "--retrain", "--out", str(request.out), "--until", str(last)]
    words += ["--bars", str(request.bars), "--actions", str(request.actions) if request.actions != Path() else ""]
    if request.against is not None:
        words += ["--against", str(request.against)]
    if request.expanding:
        words.append("--expanding")
    for change in request.changes:
        words += ["--set", change]
    return shlex.join(words)


def _recorded_decision(out: Path, version: str) -> Decision | None:
    """Return the recorded decision on a version; None where it is missing or cannot be read."""
    path = out / DECISIONS / f"{version}.json"
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Decision)
    except (msgspec.MsgspecError, OSError):
        return None  # a decision that was not written completely: the version is judged again


def decisions(out: Path) -> list[Decision]:
    """Return all recorded decisions, oldest version first."""
    folder = out / DECISIONS
    files = sorted(folder.glob("v*.json")) if folder.is_dir() else []
    return [msgspec.json.decode(path.read_bytes(), type=Decision) for path in files]
