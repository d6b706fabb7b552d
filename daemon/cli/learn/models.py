"""`quantd models`: what an artifact says of itself, whether it is whole, and the training of the forests."""

import shlex
from collections.abc import Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from quantd import bundled
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import iso, print_json, progress, say, table
from quantd.models.artifacts import agent_manifest as learned
from quantd.models.artifacts import ensemble, signature
from quantd.models.artifacts import manifest as artifacts
from quantd.models.artifacts.agent_manifest import Manifest
from quantd.models.artifacts.loader import load_artifact
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError
from quantd.models.artifacts.versions import resolved
from quantd.models.forests import artifact as forests
from quantd.models.forests.card import verdict
from quantd.models.forests.forest_features import MEANING, PLAIN, Kind
from quantd.models.forests.prediction import load_forest
from quantd.trading.exit_codes import CONFIG, DONE

NEEDED = ("sklearn", "onnx", "polars")


def info(folder: Path, *, as_json: bool) -> int:
    """Everything the manifest says, every file checked first; the card for people."""
    place = place_of(folder)
    kind, manifest = manifest_in(place)
    said: Any = msgspec.to_builtins(manifest)
    if kind == forests.KIND:
        said["training_seconds"] = forests.load(place).seconds
    if as_json:
        print_json(said)
        return DONE
    say((place / "card.md").read_text())
    if isinstance(manifest, Manifest):
        for line in facts(manifest):
            say(line)
    for name, entry in sorted(said["files"].items()):
        say(f"{name}: {entry['size']} bytes, BLAKE2b {entry['blake2b'][:16]}…")
    say(f"{MANIFEST}: digest {said['digest']}")
    return DONE


def facts(manifest: Manifest) -> list[str]:
    """Of a learned policy, one line each: whatever its card says, this is what it is."""
    training, shape, sight = manifest.training, manifest.network, manifest.sight
    until = iso(training.until_ns)[:10]
    lines = [
        f"algorithm: {manifest.algorithm}{f', profile {manifest.profile}' if manifest.profile else ''}, {manifest.precision}",
        f"network: {shape.kind} {' '.join(map(str, shape.hidden))}, {shape.parameters} numbers",
        f"sight: {', '.join([*sight.features, 'known'])}; window {sight.window}; book {', '.join(sight.book) or 'unseen'}; "
        f"hash {manifest.sight_hash}",
        f"actions: {manifest.action.kind}",
        f"universe: {', '.join(manifest.universe)}",
        *(f"{name}: {w.first} to {w.last}" for name, w in training.windows.items()),
        f"trained until {until}; seeds {', '.join(map(str, training.seeds))}, of them {training.chosen_seed}",
        *(f"data {name}: BLAKE2b {digest[:16]}…" for name, digest in sorted(training.data.items())),
    ]
    if manifest.seats:
        lines.append(f"seats: {', '.join(seat.name for seat in manifest.seats)}")
    for name, result in manifest.results.items():
        lines.append(f"{name}: Sharpe {result.policy.sharpe:.2f}, equal weight {result.equal_weight.sharpe:.2f}")
    return lines


def manifest_in(place: Path) -> tuple[str, Any]:
    """(kind, manifest) of an artifact whose files are what it says; "policy" is the kind of a scorer. Raises ArtifactError."""
    match artifacts.kind_of(place):
        case "":
            return "policy", artifacts.load(place).manifest
        case forests.KIND:
            return forests.KIND, forests.load(place).manifest
        case learned.KIND:
            return learned.KIND, learned.load(place).manifest
        case ensemble.KIND:
            return ensemble.KIND, ensemble.manifest_in(place)
        case kind:
            raise ArtifactError(
                f"{place / MANIFEST}: an artifact of kind {kind[:40]!r}, which this quantd does not know"
            )


def verify(folder: Path, keys: Sequence[Path], *, as_json: bool) -> int:
    """Every check that trading makes: hashes, shape, features, and the probe on this machine; with keys, that one of them signed."""
    place = place_of(folder)
    policy = load_artifact(place, {})
    kind = artifacts.kind_of(place) or "policy"
    until = policy.trained_until_ns
    if keys:
        for where, digest in signature.artifacts_in(policy):
            if fault := signature.signature_fault(where, digest, keys):
                raise Failure(fault, CONFIG)
    if as_json:
        print_json(
            {
                "folder": str(place),
                "kind": kind,
                "whole": True,
                "digest": policy.digest,
                "trained_until": iso(until),
                "signed": bool(keys),
            }
        )
        return DONE
    signed = "; signed" if keys else ""
    named = {learned.KIND: "a learned policy", ensemble.KIND: "an ensemble"}.get(kind, f"a {kind}")
    say(f"{place}: {named}, whole; its probe answers as it should here; trained until {iso(until)[:10]}{signed}")
    return DONE


def train(
    predicts: Kind,
    out: Path,
    *,
    bars: Path,
    actions: Path | None,
    symbols: list[str],
    first: date,
    last: date,
    horizon: int,
    stride: int,
    folds: int,
    embargo: int,
    leaves: int,
    seed: int,
    as_json: bool,
) -> int:
    """Fits and judges one forest, writes its folder, and says how it did beside the plain estimate."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise Failure(f"training needs {', '.join(missing)}: install quantd with its extra `train`", CONFIG)
    from quantd.models.forests import fit as training

    files = market_files(bars, actions)
    if (out / MANIFEST).is_file() and artifacts.kind_of(out) != forests.KIND:
        raise Failure(f"{out} holds another kind of artifact; write to a new folder (--out)", CONFIG)
    try:
        plan = training.Plan(
            predicts, first=first, last=last, horizon=horizon, stride=stride, folds=folds, embargo=embargo,
            leaves=leaves, seed=seed,
        )  # fmt: skip
        command = _command(plan, out, bars, actions, symbols)
        with progress(f"training {predicts}", shown=not as_json) as bar:
            steps: list[str] = []

            def note(line: str) -> None:
                steps.append(line)
                bar(len(steps) / (folds + 1))

            manifest = training.train(*files, symbols, plan, out, command, note)
    except (ValueError, OSError) as error:
        raise Failure(f"quantd models train-{predicts}: {error}") from error
    seconds = load_forest(out).artifact.seconds
    if as_json:
        print_json({"folder": str(out), "training_seconds": seconds, **msgspec.to_builtins(manifest)})
        return DONE
    say(f"{out}: {MEANING[predicts]}, of the next {horizon} samples")
    say(f"plain estimate: {PLAIN[predicts]}")
    rows = [*((each, "") for each in manifest.folds), (manifest.together, "all ")]
    columns = ("held out", "rows", "R²", "plain R²", "MSE", "plain MSE")
    table(
        columns,
        [
            (
                f"{label}{each.first} to {each.last}", str(each.rows), f"{each.model.r2:.3f}", f"{each.plain.r2:.3f}",
                f"{each.model.mse:.4f}", f"{each.plain.mse:.4f}",
            )
            for each, label in rows
        ],
        right=columns[1:],
    )  # fmt: skip
    say(verdict(manifest))
    size = sum((out / name).stat().st_size for name in forests.FILES)
    say(f"{manifest.training.rows} rows, {seconds:.1f} s, {size / 1024:.0f} KiB")
    return DONE


def evaluate(
    folder: Path, *, bars: Path, actions: Path | None, symbols: list[str], first: date, last: date, as_json: bool
) -> int:
    """A forest as it trades beside its plain estimate, on other data than it was made from."""
    files = market_files(bars, actions)
    from quantd.models.forests import fit as training

    place = place_of(folder)
    try:
        judged, seen = training.evaluate(place, *files, symbols, first, last)
    except ArtifactError:
        raise
    except ValueError as error:
        raise Failure(f"quantd models evaluate: {error}") from error
    if as_json:
        print_json({"folder": str(place), "sessions_in_training": seen, **msgspec.to_builtins(judged)})
        return DONE
    say(f"{place}, {judged.first} to {judged.last}, {judged.rows} rows; fitted until {judged.fitted_until}")
    table(
        ("", "R²", "MSE"),
        [(name, f"{s.r2:.3f}", f"{s.mse:.4f}") for name, s in (("forest", judged.model), ("plain", judged.plain))],
        right=("R²", "MSE"),
    )
    if seen:
        say(f"{seen} of these sessions lie in its training window: there it proves nothing.")
    return DONE


def market_files(bars: Path, actions: Path | None) -> tuple[Path, Path | None]:
    """Where the two files lie, here or among the bundled. Raises Failure."""
    files = bundled.find(bars), None if actions is None else bundled.find(actions)
    for path in files:
        if path is not None and not path.is_file():
            text = (
                f"{path}: {bundled.absent(path)}; name the market with --bars, its splits and dividends with --actions"
            )
            raise Failure(text, CONFIG)
    return files


def _command(plan: Any, out: Path, bars: Path, actions: Path | None, symbols: list[str]) -> str:
    """As it would be typed, every setting named: the card says how to make the same again."""
    words = ["quantd", "models", f"train-{plan.predicts}", "--out", str(out), "--bars", str(bars)]
    words += ["--actions", str(actions) if actions is not None else "", "--symbols", ",".join(symbols)]
    words += ["--from", str(plan.first), "--to", str(plan.last)]
    for name in ("horizon", "stride", "folds", "embargo", "leaves", "seed"):
        words += [f"--{name}", str(getattr(plan, name))]
    return shlex.join(words)


def place_of(folder: Path) -> Path:
    """As given, or among those that came with quantd; of a folder of versions the one it points to. Raises Failure."""
    for place in (bundled.find(folder), bundled.SHIPPED / folder):
        found = resolved(place)
        if (found / MANIFEST).is_file():
            return found
    raise Failure(
        f"{folder}: no {MANIFEST} there; name the folder of an artifact, such as models/shipped/scorer", CONFIG
    )
