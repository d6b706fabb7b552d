"""Commands of `quantd models` on artifacts: list, export, quantize, distil, sign, combine, choose a version."""

import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from quantd import bundled
from quantd.daemon.cli.command import Folder, Json
from quantd.daemon.cli.failures import Failure, needs
from quantd.daemon.cli.output import answer, iso, print_json, say, table
from quantd.models.artifacts.manifest import (
    MANIFEST,
    AgentManifest,
    ArtifactError,
    Combination,
    EnsembleManifest,
    Precision,
)
from quantd.trading.exit_codes import CONFIG, DONE
from quantd.training.cli.learn.artifact_files import (
    ACTIONS_FILE,
    BARS_FILE,
    Actions,
    Bars,
    Seed,
    failing,
    market_files,
    place_of,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One artifact in the list. `fault` is the reason why the artifact cannot be traded; empty when it can."""

    folder: str
    kind: str
    algorithm: str
    precision: str
    trained_until: str
    test_sharpe: float | None
    signed: bool
    current: bool
    fault: str


Out = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="A new folder.")]


def show(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="A folder beside the shipped artifacts.")
    ] = None,
    as_json: Json = False,
) -> int:
    """List artifacts: kind, algorithm, end of training, test Sharpe, and whether they can be traded."""
    if folder is not None and not folder.is_dir():
        raise Failure(f"{folder}: no such folder", CONFIG)
    rows = [
        _row(place) for root in (bundled.SHIPPED, *([folder] if folder else [])) for place in _artifacts_under(root)
    ]
    if as_json:
        print_json(rows)
        return DONE
    table(
        ("artifact", "kind", "algorithm", "precision", "trained until", "test Sharpe", "state"),
        [
            (
                row.folder, row.kind, row.algorithm, row.precision, row.trained_until[:10],
                "" if row.test_sharpe is None else f"{row.test_sharpe:.2f}",
                row.fault
                or " ".join(["whole", *(["signed"] if row.signed else []), *(["current"] if row.current else [])]),
            )
            for row in rows
        ],
        right=("test Sharpe",),
    )  # fmt: skip
    return DONE


def export(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="A new folder; with --graph a new file.")],
    graph: Annotated[bool, typer.Option("--graph", help="Only the ONNX graph.")] = False,
    as_json: Json = False,
) -> int:
    """Check an artifact and copy it, or its graph only."""
    from quantd.models.artifacts import signature
    from quantd.models.artifacts.loader import checked, load_artifact

    place = place_of(folder)
    manifest = checked(place).manifest
    # every check of trading, before anything is written
    load_artifact(place, {})
    if graph:
        if isinstance(manifest, EnsembleManifest):
            raise Failure(f"{place}: an ensemble has no graph; name a member", CONFIG)
        if out.exists():
            raise Failure(f"{out}: there is something already; name a new file (--out)", CONFIG)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place / "policy.onnx", out)
        written = [out]
    else:
        _require_vacant(out)
        names = _names_in(place)
        # an ensemble has its members in folders
        for member in getattr(manifest, "members", ()):
            names += [f"{member.folder}/{name}" for name in _names_in(place / member.folder)]
        names += [name for name in (signature.SIGNATURE, "timing.json") if (place / name).is_file()]
        for name in names:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place / name, out / name)
        load_artifact(out, {})  # the copy passes the same checks
        written = [out / name for name in names]
    document = {"folder": str(place), "digest": manifest.digest, "written": [str(path) for path in written]}
    files = f"{len(written)} file{'s' if len(written) > 1 else ''}"
    answer(as_json, document, f"{out}: {files}, {sum(p.stat().st_size for p in written)} bytes")
    return DONE


def quantize(
    folder: Folder,
    out: Out,
    int8: Annotated[bool, typer.Option("--int8", help="Quantize linear layers to 8 bits.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Store numbers in half precision.")] = False,
    as_json: Json = False,
) -> int:
    """Make a smaller copy of a policy and measure its size, speed and agreement; exit code 1 below the tolerance."""
    if int8 == fp16:
        raise typer.BadParameter("--int8, --fp16: give one of the two options, and not both")
    needs("quantization", "onnx", "safetensors")
    from quantd.training.export import quantization

    place = _learned_place(folder)
    _require_vacant(out)
    precision: Precision = "int8" if int8 else "float16"
    words = ["quantd", "models", "quantize", str(folder), "--out", str(out), "--int8" if int8 else "--fp16"]
    return _copied(out, quantization.quantize(place, out, precision, shlex.join(words)), as_json=as_json)


def distil(
    folder: Folder,
    out: Out,
    hidden: Annotated[str, typer.Option(metavar="64,32", help="Widths of the small network's layers.")] = "64,32",
    bars: Bars = BARS_FILE,
    actions: Actions = ACTIONS_FILE,
    steps: Annotated[
        int, typer.Option(min=10, max=100_000, help="Sessions traded by 16 accounts of the policy.")
    ] = 500,
    epochs: Annotated[int, typer.Option(min=1, max=10_000, help="Epochs of the training.")] = 60,
    seed: Seed = 1,
    as_json: Json = False,
) -> int:
    """Train a smaller network to imitate a policy, on the policy's training window."""
    widths = [int(word) for word in hidden.split(",") if word.strip().isdigit()]
    if not widths or len(widths) != len(hidden.split(",")) or not all(0 < width <= 4096 for width in widths):
        raise typer.BadParameter(f"--hidden {hidden!r}: widths from 1 to 4096, joined by commas")
    needs("distillation", "torch", "onnx", "safetensors", "polars")
    from quantd.training.export import distillation
    from quantd.training.export.distillation import DistilPlan

    place = _learned_place(folder)
    _require_vacant(out)
    files = market_files(bars, actions)
    words = ["quantd", "models", "distil", str(folder), "--out", str(out), "--hidden", ",".join(map(str, widths))]
    words += ["--bars", str(bars), "--actions", actions, "--steps", str(steps), "--epochs", str(epochs)]
    command = shlex.join([*words, "--seed", str(seed)])
    with failing("models distil"):
        plan = DistilPlan(hidden=tuple(widths), steps=steps, epochs=epochs, seed=seed)
        manifest = distillation.distil(place, out, *files, plan, command, lambda line: None if as_json else say(line))
    return _copied(out, manifest, as_json=as_json)


def make_key(
    private: Annotated[Path, typer.Option(metavar="FILE", help="The signing key: keep it secret.")],
    public: Annotated[Path, typer.Option(metavar="FILE", help="The key that verifies signatures.")],
) -> int:
    """Generate a pair of Ed25519 keys."""
    from quantd.models.artifacts import signature

    signature.generate(private, public)
    say(f"{private}: private; never store it beside a configuration")
    say(f"{public}: public; name it in [models] trusted_keys")
    return DONE


def sign(
    folder: Folder,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="Your private key.")],
    as_json: Json = False,
) -> int:
    """Sign an artifact: the signature is a file beside it."""
    from quantd.models.artifacts import signature
    from quantd.models.artifacts.loader import checked, load_artifact

    place = place_of(folder)
    load_artifact(place, {})  # every check of trading; {}: no parameters
    digest = checked(place).manifest.digest
    path = signature.sign(place, digest, key)
    answer(as_json, {"folder": str(place), "digest": digest, "signature": str(path)}, f"{path}: signs {digest[:16]}…")
    return DONE


def combine(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Two artifacts or more.")],
    by: Annotated[Combination, typer.Option("--by", help="The mean, the median per symbol, or fixed shares.")] = "mean",
    share: Annotated[
        list[float] | None,
        typer.Option("--share", help="Share of each member in order; by performance the validation Sharpe decides."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Combine several policies into one: an artifact of artifacts."""
    from quantd.models.artifacts import ensemble

    if share and by != "performance":
        raise Failure(f"--share has no effect by {by}, where all members count alike; add --by performance", CONFIG)
    words = ["quantd", "models", "combine", str(out), *map(str, folders), "--by", by]
    command = shlex.join([*words, *(word for fraction in share or () for word in ("--share", f"{fraction:g}"))])
    # who decided the shares, for the card
    author = "the one who made it" if share else ""
    manifest = ensemble.combine(out, [place_of(folder) for folder in folders], by, command, share or None, author)
    if as_json:
        print_json({"folder": str(out), "digest": manifest.digest, "members": manifest.members})
        return DONE
    say(f"{out}: {len(manifest.members)} members by {by}, digest {manifest.digest[:16]}…")
    table(("member", "share"), [(m.folder, f"{m.share:.3f}") for m in manifest.members], right=("share",))
    return DONE


def use(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="A folder of versions.")],
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="Without it: list the versions.")] = None,
    why: Annotated[str, typer.Option("--why", help="Reason, for the history.")] = "",
    as_json: Json = False,
) -> int:
    """Choose the current version of a name, or roll it back."""
    from quantd.models.artifacts import versions
    from quantd.models.artifacts.loader import load_artifact

    version_names = versions.versions(name)
    if not version_names:
        raise Failure(f"{name}: it has no versions; name a folder whose folders are artifacts", CONFIG)
    if version is None:
        current_name = versions.current(name) if (name / versions.CURRENT).exists() else ""
        lines = (
            f"{version_name}{' (current)' if version_name == current_name else ''}" for version_name in version_names
        )
        answer(as_json, {"name": str(name), "current": current_name, "versions": version_names}, *lines)
        return DONE
    digest = load_artifact(versions.version_in(name, version), {}).digest
    previous = versions.point(name, version, digest, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), why)
    document = {"name": str(name), "before": previous, "current": version, "digest": digest}
    previous_text = f", before: {previous}" if previous else ""
    answer(as_json, document, f"{name}: {version} ({digest[:16]}…){previous_text}; used from the next start")
    return DONE


def _artifacts_under(root: Path) -> list[Path]:
    """The artifacts in a folder, and the versions in its folders."""
    from quantd.models.artifacts import versions

    if (root / MANIFEST).is_file():
        return [root]
    artifacts: list[Path] = []
    for folder in sorted(root.iterdir()):
        if folder.is_dir() and not folder.is_symlink():
            artifacts += (
                [folder] if (folder / MANIFEST).is_file() else [folder / name for name in versions.versions(folder)]
            )
    # versions of `root` itself, where it is a folder of versions
    return artifacts + [root / name for name in versions.versions(root) if root / name not in artifacts]


def _row(place: Path) -> Row:
    """Return the row of an artifact; for an artifact that does not load, the row has what was read before the fault."""
    from quantd.models.artifacts import signature
    from quantd.models.artifacts.loader import checked, kind_in, load_artifact

    kind = algorithm = precision = until = ""
    sharpe: float | None = None
    fault = ""
    try:
        kind, manifest = kind_in(place).name, checked(place).manifest
        algorithm = getattr(manifest, "algorithm", "") or str(getattr(manifest, "combination", ""))
        precision = getattr(manifest, "precision", "float32")
        result = getattr(manifest, "results", {}).get("test")
        sharpe = None if result is None else result.policy.sharpe
        until = iso(load_artifact(place, {}).trained_until_ns)
    except (ArtifactError, ValueError) as error:
        fault = str(error)
    folder = f"shipped/{place.name}" if place.parent == bundled.SHIPPED else str(place)
    return Row(
        folder, kind, algorithm, precision, until, sharpe,
        signed=(place / signature.SIGNATURE).is_file(), current=_is_current(place), fault=fault,
    )  # fmt: skip


def _is_current(place: Path) -> bool:
    from quantd.models.artifacts import versions

    try:
        return versions.current(place.parent) == place.name
    except ArtifactError:
        return False


def _names_in(place: Path) -> list[str]:
    """The names of the artifact's manifest and of the files that it lists."""
    from quantd.models.artifacts.loader import checked

    return [MANIFEST, *checked(place).manifest.files]


def _copied(out: Path, manifest: AgentManifest, *, as_json: bool) -> int:
    """Print how far a smaller copy of a policy agrees with the policy that was copied."""
    agreement = manifest.agreement
    assert agreement is not None
    if as_json:
        print_json(
            {"folder": str(out), "digest": manifest.digest, "precision": manifest.precision, "agreement": agreement}
        )
        return DONE
    say(f"{out}: {manifest.precision}, made from {manifest.parent[:16]}…")
    times = (
        ("p50 µs", agreement.parent_p50_us, agreement.p50_us),
        ("p99 µs", agreement.parent_p99_us, agreement.p99_us),
    )
    rows = [(name, f"{parent:.1f}", f"{copy:.1f}", f"{copy / parent:.2f}") for name, parent, copy in times]
    size = ("bytes of the graph", "", "", f"{agreement.size_ratio:.2f}")
    table(("", "parent", "copy", "ratio"), [size, *rows], right=("parent", "copy", "ratio"))
    say(
        f"{agreement.equal_actions:.1%} of {agreement.probes} probes with equal actions; largest difference of a "
        f"weight {agreement.largest_difference:.2g}"
    )
    if agreement.left:
        say(f"left in float32, because rounding them costs most: {', '.join(agreement.left)}")
    return DONE


def _learned_place(folder: Path) -> Path:
    """Return the folder of an artifact of kind `learned`. Raises Failure for another kind."""
    from quantd.models.artifacts.loader import kind_in

    place = place_of(folder)
    kind = kind_in(place).name
    if kind != "learned":
        raise Failure(
            f"{place}: its kind is {kind}; only policies of kind learned can be quantized or distilled", CONFIG
        )
    return place


def _require_vacant(out: Path) -> None:
    """Raise Failure where a file, or a folder that is not empty, is already at `out`."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Failure(f"{out}: there is something already; name a new folder (--out)", CONFIG)


COMMANDS: Final[dict[str, Callable[..., int]]] = {
    "list": show, "export": export, "quantize": quantize, "distil": distil, "key": make_key, "sign": sign,
    "combine": combine, "use": use,
}  # fmt: skip
"""Commands of `quantd models` by name."""
