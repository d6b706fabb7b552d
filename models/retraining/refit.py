"""One retraining: the parts of a plan moved to where the data end, a new version trained, judged beside the one in use,
and written with the decision."""

import fcntl
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
import polars as pl
from msgspec import Struct

from quantd.models.artifacts.loader import load_artifact
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError
from quantd.models.artifacts.runtime import Trained
from quantd.models.artifacts.versions import point, resolved
from quantd.models.history.panel_files import file_digest, read_panel, scan
from quantd.models.retraining.challenge import SCHEMA, Rule, Verdict, judge
from quantd.models.retraining.recipes import Progress, Recipe, recipe_of

WORTH: Final = "worth trying as a challenger"

MAKING: Final = ".making-"
LOCK: Final = ".lock"
DECISIONS: Final = "decisions"
"""Folder of what was found about each version, beside them."""


class Asked(Struct, frozen=True):
    """What to train again, on which data. `until`: nothing later is read (None: the last session that all symbols
    have);
    `against`: what is in use (None: the version that `out` stands for, or else `source`)."""

    source: Path
    out: Path
    bars: Path
    actions: Path
    until: date | None = None
    stale: date | None = None
    """The data have to reach to this day."""
    against: Path | None = None
    expanding: bool = False
    changes: tuple[str, ...] = ()
    rule: Rule = Rule()
    takes: bool = True
    """Whether `out` may stand for what is worth a try; not where only what somebody signed is traded."""


class Decision(Struct, frozen=True, forbid_unknown_fields=True):
    """What a retraining found, as it is written. `version` is the folder of what was trained; `digest` of its manifest,
    `current_digest` of the one it was held against ("" for none). `promoted` is whether the folder stands for the new
    version now: it then is the challenger of whoever names the folder, and nothing more."""

    schema: int
    version: str
    digest: str
    current: str
    current_digest: str
    until: str
    promoted: bool
    reason: str
    rule: Rule
    verdict: Verdict
    costs_bp: float
    """Commission, half the spread and slippage of what is traded."""
    capital: float
    parts: dict[str, tuple[str, str]]
    command: str


def retrain(asked: Asked, progress: Progress) -> Decision:
    """Trains, judges and writes. What was asked and answered before is answered alike, without training; then the
    folder goes on to stand for what it does now.

    Raises ArtifactError, ValueError (data that do not fit, a policy that fails) and OSError; then nothing has changed.
    """
    recipe = recipe_of(asked.source).changed(asked.changes)
    last = last_session(asked.bars, recipe.symbols, asked.until)
    recipe = recipe.moved((last - recipe.splits.test.last).days, expanding=asked.expanding)
    if asked.stale is not None and last < asked.stale:
        raise ValueError(f"{asked.bars}: bars of all symbols end {last}, before {asked.stale}; fetch newer ones")
    version = _name(recipe, asked, last)
    against = asked.against or in_use(asked.out) or (asked.source if asked.source.suffix != ".toml" else None)
    held = None if against is None else load_artifact(against, {})
    with _alone(asked.out):
        return _retrained(asked, recipe, version, against, held, last, progress)


def _retrained(
    asked: Asked,
    recipe: Recipe,
    version: str,
    against: Path | None,
    held: Trained | None,
    last: date,
    progress: Progress,
) -> Decision:
    place = asked.out / version
    if (place / MANIFEST).is_file() and (known := _written(asked.out, version)) is not None:
        challenger = load_artifact(place, {}).digest
        if known.digest == challenger and held is not None and held.digest in (challenger, known.current_digest):
            return known
    if not (place / MANIFEST).is_file():
        for left in asked.out.glob(f"{MAKING}*"):  # of one that was ended
            shutil.rmtree(left, ignore_errors=True)
        making = asked.out / f"{MAKING}{version}"
        making.mkdir()
        try:
            recipe.train(asked.bars, asked.actions, making / version, _command(asked, last), progress)
            (making / version).rename(place)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    decision = _decided(asked, recipe, version, against, held, progress)
    _write(asked.out, decision)
    if decision.promoted:
        when = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        point(asked.out, version, decision.digest, when, f"retrained until {decision.until}: {decision.reason}")
    return decision


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """While this holds nobody else trains into `out`. ValueError where somebody does."""
    fresh = not out.is_dir()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with (out / LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{out}: another retraining is at work there; wait for it") from None
            yield
    finally:
        if fresh and not any(each.name != LOCK for each in out.iterdir()):
            shutil.rmtree(out, ignore_errors=True)


def in_use(out: Path) -> Path | None:
    """The version that a folder of versions stands for; None where it stands for none yet. ArtifactError for a pointer
    to nowhere, or for an artifact: versions lie in a folder of their own."""
    if (out / MANIFEST).exists():
        raise ArtifactError(
            f"{out}: is one artifact; versions are written into a folder of their own, give another --out"
        )
    found = resolved(out)
    return None if found == out else found


def _decided(
    asked: Asked, recipe: Recipe, version: str, against: Path | None, held: Trained | None, progress: Progress
) -> Decision:
    place, splits = asked.out / version, recipe.splits
    challenger = load_artifact(place, {})
    if held is not None and held.digest == challenger.digest:
        held = None
    progress(f"judging {version} on {splits.test.first} to {splits.test.last}")
    lookback = max(p.lookback for p in (challenger, held or challenger))
    begins = splits.test.first - timedelta(days=int(lookback * 1.6) + 30)
    actions = asked.actions if asked.actions != Path() else None
    panel = read_panel(asked.bars, actions, recipe.symbols, begins, splits.test.last, recipe.cash_rate)
    verdict = judge(
        challenger,
        held,
        panel,
        splits.test,
        asked.rule,
        costs=recipe.costs,
        capital=recipe.capital,
        lot=recipe.lots,
        key=f"{splits.test.first}|{splits.test.last}|{','.join(recipe.symbols)}",
    )
    reason = verdict.why or (WORTH if held is not None else f"{WORTH}: there is none in use to hold it against")
    if verdict.worth and not asked.takes:
        reason += ", once it is signed: `quantd models sign`, then `quantd models use`"
    costs = recipe.costs
    return Decision(
        schema=SCHEMA,
        version=version,
        digest=challenger.digest,
        current="" if held is None or against is None else str(against),
        current_digest="" if held is None else held.digest,
        until=str(splits.test.last),
        promoted=verdict.worth and asked.takes,
        reason=reason,
        rule=asked.rule,
        verdict=verdict,
        costs_bp=costs.commission_bp + costs.spread_bp / 2.0 + costs.slippage_bp,
        capital=recipe.capital,
        parts={s.name: (str(s.first), str(s.last)) for s in (splits.train, splits.validation, splits.test)},
        command=_command(asked, splits.test.last),
    )


def last_session(bars: Path, symbols: Sequence[str], until: date | None) -> date:
    """The last day, `until` at the latest, of which every symbol has a bar. ValueError where there is none."""
    frame = scan(bars).filter(pl.col("symbol").is_in(list(symbols)))
    if until is not None:
        frame = frame.filter(pl.col("ts").cast(pl.Date) <= until)
    days = frame.group_by(pl.col("ts").cast(pl.Date).alias("day")).agg(pl.col("symbol").n_unique().alias("n"))
    found = days.filter(pl.col("n") == len(set(symbols))).select(pl.col("day").max()).collect().item()
    if found is None:
        to = "" if until is None else f" up to {until}"
        raise ValueError(f"{bars}: no day{to} has bars of all of {', '.join(symbols)}")
    day: date = found
    return day


def _name(recipe: Recipe, asked: Asked, last: date) -> str:
    """v20190329-1a2b3c: the last day, and a hash of plan and data."""
    data = [file_digest(path) for path in (asked.bars, asked.actions) if path != Path()]
    text = msgspec.json.encode([recipe.settings(), data], order="sorted", enc_hook=str)
    return f"v{last:%Y%m%d}-{blake2b(text, digest_size=3).hexdigest()}"


def _command(asked: Asked, last: date) -> str:
    """As it would be typed."""
    words = ["quantd", "retrain", str(asked.source), "--out", str(asked.out), "--until", str(last)]
    words += ["--bars", str(asked.bars), "--actions", str(asked.actions) if asked.actions != Path() else ""]
    if asked.against is not None:
        words += ["--against", str(asked.against)]
    if asked.expanding:
        words.append("--expanding")
    for change in asked.changes:
        words += ["--set", change]
    return shlex.join(words)


def _written(out: Path, version: str) -> Decision | None:
    path = out / DECISIONS / f"{version}.json"
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Decision)
    except (msgspec.MsgspecError, OSError):
        return None  # judged again, and written again


def _write(out: Path, decision: Decision) -> None:
    folder = out / DECISIONS
    folder.mkdir(exist_ok=True)
    unfinished = folder / f".{decision.version}.new"
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(decision), indent=1) + b"\n")
    unfinished.replace(folder / f"{decision.version}.json")


def decisions(out: Path) -> list[Decision]:
    """All that were written, oldest version first."""
    folder = out / DECISIONS
    files = sorted(folder.glob("v*.json")) if folder.is_dir() else []
    return [msgspec.json.decode(path.read_bytes(), type=Decision) for path in files]
