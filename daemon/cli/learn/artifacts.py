"""`quantd models` on artifacts of any kind: list, export, make smaller, teach, sign, combine, and choose a version."""

import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd import bundled
from quantd.daemon.cli.command import Folder, Json
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import iso, print_json, say, table
from quantd.trading.exit_codes import CONFIG, DONE

if TYPE_CHECKING:
    from quantd.models.artifacts.manifest import AgentManifest, Agreement, Combination, Precision


@dataclass(frozen=True, slots=True)
class Row:
    """One artifact in a list. `fault` is why it would not be traded; empty for a whole one."""

    folder: str
    kind: str
    algorithm: str
    precision: str
    trained_until: str
    test_sharpe: float | None
    signed: bool
    current: bool
    fault: str


class By(StrEnum):
    """How members' weights become one."""

    mean = "mean"
    vote = "vote"
    performance = "performance"


Out = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="A new folder.")]


def show(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Yours, beside those that came with quantd.")
    ] = None,
    as_json: Json = False,
) -> int:
    """List artifacts: kind, algorithm, until when they were trained, test Sharpe, and whether they would be traded."""
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
                r.folder, r.kind, r.algorithm, r.precision, r.trained_until[:10],
                "" if r.test_sharpe is None else f"{r.test_sharpe:.2f}",
                r.fault or " ".join(["whole", *(["signed"] if r.signed else []), *(["current"] if r.current else [])]),
            )
            for r in rows
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
    """Copy an artifact after every check, or its graph alone."""
    from quantd.daemon.cli.learn.artifact_files import place_of
    from quantd.models.artifacts import signature
    from quantd.models.artifacts.loader import checked, load_artifact
    from quantd.models.artifacts.manifest import MANIFEST, EnsembleManifest

    place = place_of(folder)
    manifest = checked(place).manifest
    load_artifact(place, {})
    if graph:
        if isinstance(manifest, EnsembleManifest):
            raise Failure(f"{place}: an ensemble has no graph of its own; name a member", CONFIG)
        if out.exists():
            raise Failure(f"{out}: there is something already; name a new file (--out)", CONFIG)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place / "policy.onnx", out)
        written = [out]
    else:
        _vacant(out)
        names = [MANIFEST, *manifest.files]
        names += [
            f"{m.folder}/{name}" for m in getattr(manifest, "members", ()) for name in _names_in(place / m.folder)
        ]
        names += [name for name in (signature.SIGNATURE, "timing.json") if (place / name).is_file()]
        for name in names:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place / name, out / name)
        load_artifact(out, {})
        written = [out / name for name in names]
    if as_json:
        print_json({"folder": str(place), "digest": manifest.digest, "written": [str(path) for path in written]})
    else:
        say(
            f"{out}: {len(written)} file{'s' if len(written) > 1 else ''}, "
            f"{sum(p.stat().st_size for p in written)} bytes"
        )
    return DONE


def quantize(
    folder: Folder,
    out: Out,
    int8: Annotated[bool, typer.Option("--int8", help="Linear layers in eight bits.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Numbers kept in half precision.")] = False,
    as_json: Json = False,
) -> int:
    """Make a smaller copy of a policy and measure size, speed and agreement; exit code 1 when it answers too
    differently."""
    if int8 == fp16:
        raise typer.BadParameter("one of --int8 and --fp16 is expected")
    precision: Precision = "int8" if int8 else "float16"
    _needs("onnx", "safetensors")
    from quantd.models.export import quantization

    place = _learned(folder)
    _vacant(out)
    flag = "--int8" if precision == "int8" else "--fp16"
    manifest = quantization.quantize(
        place, out, precision, shlex.join(["quantd", "models", "quantize", str(folder), "--out", str(out), flag])
    )
    return _told(out, manifest, as_json=as_json)


def distil(
    folder: Folder,
    out: Out,
    hidden: Annotated[str, typer.Option(metavar="64,32", help="Widths of the pupil's layers.")] = "64,32",
    bars: Annotated[Path, typer.Option(help="Daily raw bars, those of the teacher's training.")] = Path(
        "data/us_daily.parquet"
    ),
    actions: Annotated[str, typer.Option(help='Splits and dividends; "" for none.')] = "data/us_actions.csv",
    steps: Annotated[
        int, typer.Option(min=10, max=100_000, help="Sessions that 16 accounts of the teacher trade.")
    ] = 500,
    epochs: Annotated[int, typer.Option(min=1, max=10_000, help="Times that each answer is taught.")] = 60,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1)] = 1,
    as_json: Json = False,
) -> int:
    """Teach a smaller network to answer as a policy does, on that policy's training window."""
    from quantd.daemon.cli.learn.artifact_files import market_files
    from quantd.models.artifacts.manifest import ArtifactError

    widths = [int(word) for word in hidden.split(",") if word.strip().isdigit()]
    if not widths or len(widths) != len(hidden.split(",")) or not all(0 < width <= 4096 for width in widths):
        raise typer.BadParameter(f"--hidden {hidden!r}: widths from 1 to 4096, joined by commas")
    listed = Path(actions) if actions else None
    _needs("torch", "onnx", "safetensors", "polars")
    from quantd.models.export import distillation
    from quantd.models.export.distillation import DistilPlan

    place = _learned(folder)
    _vacant(out)
    files = market_files(bars, listed)
    words = ["quantd", "models", "distil", str(folder), "--out", str(out), "--hidden", ",".join(map(str, widths))]
    words += ["--bars", str(bars), "--actions", str(listed or ""), "--steps", str(steps), "--epochs", str(epochs)]
    command = shlex.join([*words, "--seed", str(seed)])
    try:
        plan = DistilPlan(hidden=tuple(widths), steps=steps, epochs=epochs, seed=seed)
        manifest = distillation.distil(place, out, *files, plan, command, lambda line: None if as_json else say(line))
    except ArtifactError:
        raise
    except ValueError as error:
        raise Failure(f"quantd models distil: {error}") from error
    return _told(out, manifest, as_json=as_json)


def make_key(
    private: Annotated[Path, typer.Option(metavar="FILE", help="The key to sign with: keep it to yourself.")],
    public: Annotated[Path, typer.Option(metavar="FILE", help="The key to check with.")],
) -> int:
    """Make a pair of Ed25519 keys."""
    from quantd.models.artifacts import signature

    signature.generate(private, public)
    say(f"{private}: private, yours alone; never put it beside a configuration")
    say(f"{public}: public; name it in [models] trusted_keys")
    return DONE


def sign(
    folder: Folder,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="Your private key.")],
    as_json: Json = False,
) -> int:
    """Sign an artifact: a file beside it that says who made it."""
    from quantd.daemon.cli.learn.artifact_files import place_of
    from quantd.models.artifacts import signature
    from quantd.models.artifacts.loader import checked, load_artifact

    place = place_of(folder)
    load_artifact(place, {})
    digest = checked(place).manifest.digest
    path = signature.sign(place, digest, key)
    if as_json:
        print_json({"folder": str(place), "digest": digest, "signature": str(path)})
    else:
        say(f"{path}: signs {digest[:16]}…")
    return DONE


def combine(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Two artifacts or more.")],
    by: Annotated[By, typer.Option("--by", help="All alike, the median of each symbol, or fixed shares.")] = By.mean,
    share: Annotated[
        list[float] | None,
        typer.Option("--share", help="Of each member in order, by performance; else by validation Sharpe."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Make one policy of several: an artifact of artifacts."""
    from quantd.daemon.cli.learn.artifact_files import place_of
    from quantd.models.artifacts import ensemble

    combination: Combination = by.value
    shares = share
    if shares and combination != "performance":
        raise Failure(f"--share goes with --by performance; by {combination} all members count alike", CONFIG)
    words = ["quantd", "models", "combine", str(out), *map(str, folders), "--by", combination]
    command = shlex.join([*words, *(word for share in shares or () for word in ("--share", f"{share:g}"))])
    manifest = ensemble.combine(
        out,
        [place_of(folder) for folder in folders],
        combination,
        command,
        shares or None,
        "the one who made it" if shares else "",
    )
    if as_json:
        print_json({"folder": str(out), "digest": manifest.digest, "members": manifest.members})
        return DONE
    say(f"{out}: {len(manifest.members)} members by {combination}, digest {manifest.digest[:16]}…")
    table(("member", "share"), [(m.folder, f"{m.share:.3f}") for m in manifest.members], right=("share",))
    return DONE


def use(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="A folder of versions, each an artifact.")],
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="Without: what the name means now.")
    ] = None,
    why: Annotated[str, typer.Option("--why", help="Written into the history.")] = "",
    as_json: Json = False,
) -> int:
    """Choose, or roll back to, the version that a name means."""
    from quantd.models.artifacts import versions
    from quantd.models.artifacts.loader import load_artifact

    there = versions.versions(name)
    if not there:
        raise Failure(f"{name}: no versions in it: a name of artifacts is expected, one name for each", CONFIG)
    if version is None:
        now = versions.current(name) if (name / versions.CURRENT).exists() else ""
        if as_json:
            print_json({"name": str(name), "current": now, "versions": there})
        else:
            say("\n".join(f"{each}{' (current)' if each == now else ''}" for each in there))
        return DONE
    place = versions.version_in(name, version)
    digest = load_artifact(place, {}).digest
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = versions.point(name, version, digest, when, why)
    if as_json:
        print_json({"name": str(name), "before": before, "current": version, "digest": digest})
    else:
        say(f"{name}: {version} ({digest[:16]}…){f', before: {before}' if before else ''}; used from the next start on")
    return DONE


def _artifacts_under(root: Path) -> list[Path]:
    """Artifacts in a folder, and versions in folders of it."""
    from quantd.models.artifacts import versions
    from quantd.models.artifacts.manifest import MANIFEST

    if (root / MANIFEST).is_file():
        return [root]
    found: list[Path] = []
    for each in sorted(root.iterdir()):
        if each.is_dir() and not each.is_symlink():
            found += [each] if (each / MANIFEST).is_file() else [each / name for name in versions.versions(each)]
    return found + [root / name for name in versions.versions(root) if root / name not in found]


def _row(place: Path) -> Row:
    from quantd.models.artifacts import signature
    from quantd.models.artifacts.loader import checked, kind_in, load_artifact
    from quantd.models.artifacts.manifest import ArtifactError

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
    from quantd.models.artifacts.manifest import ArtifactError

    try:
        return versions.current(place.parent) == place.name
    except ArtifactError:
        return False


def _names_in(place: Path) -> list[str]:
    from quantd.models.artifacts.loader import checked
    from quantd.models.artifacts.manifest import MANIFEST

    return [MANIFEST, *checked(place).manifest.files]


def _told(out: Path, manifest: "AgentManifest", *, as_json: bool) -> int:
    found = manifest.agreement
    assert found is not None
    if as_json:
        print_json({"folder": str(out), "digest": manifest.digest, "precision": manifest.precision, "agreement": found})
        return DONE
    say(f"{out}: {manifest.precision}, made from {manifest.parent[:16]}…")
    table(("", "parent", "copy", "ratio"), _figures(found), right=("parent", "copy", "ratio"))
    say(
        f"{found.equal_actions:.1%} of {found.probes} probes with equal actions; largest difference of a weight "
        f"{found.largest_difference:.2g}"
    )
    if found.left:
        say(f"left in float32, as rounding them did most harm: {', '.join(found.left)}")
    return DONE


def _figures(found: "Agreement") -> list[tuple[str, str, str, str]]:
    return [
        ("bytes of the graph", "", "", f"{found.size_ratio:.2f}"),
        ("p50 µs", f"{found.parent_p50_us:.1f}", f"{found.p50_us:.1f}", f"{found.p50_us / found.parent_p50_us:.2f}"),
        ("p99 µs", f"{found.parent_p99_us:.1f}", f"{found.p99_us:.1f}", f"{found.p99_us / found.parent_p99_us:.2f}"),
    ]


def _learned(folder: Path) -> Path:
    from quantd.daemon.cli.learn.artifact_files import place_of
    from quantd.models.artifacts.loader import kind_in

    place = place_of(folder)
    kind = kind_in(place).name
    if kind != "learned":
        raise Failure(f"{place}: a {kind}; policies of kind learned can be made smaller or teach", CONFIG)
    return place


def _vacant(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Failure(f"{out}: there is something already; name a new folder (--out)", CONFIG)


def _needs(*packages: str) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise Failure(f"this needs {', '.join(missing)}: install quantd with its extra `train`", CONFIG)


ACTIONS: Final[dict[str, Callable[..., int]]] = {
    "list": show, "export": export, "quantize": quantize, "distil": distil, "key": make_key, "sign": sign,
    "combine": combine, "use": use,
}  # fmt: skip
"""Commands of `quantd models` by name."""
