"""List, compress, import, sign, verify and combine trained artifacts, and choose a version."""

import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from quantd import bundled
from quantd.daemon.cli.command import Command, Folder, Json
from quantd.daemon.cli.failures import Failure, needs
from quantd.daemon.cli.output import answer, iso, records, say, table
from quantd.models.artifacts.folder import kind_of
from quantd.models.artifacts.manifest import MANIFEST, AgentManifest, ArtifactError, Combination, Precision
from quantd.trading.exit_codes import CONFIG, DONE
from quantd.training.cli.learn import plan_options
from quantd.training.cli.learn.artifact_files import failing, market_files, place_of
from quantd.training.cli.learn.plan_options import setting


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


def show(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="An artifact, or a folder of them beside the shipped ones."),
    ] = None,
    as_json: Json = False,
) -> int:
    """List artifacts with kind, algorithm, test Sharpe and faults; of one artifact print the card and the manifest."""
    if folder is not None and (not folder.is_dir() or (folder / MANIFEST).is_file()):
        return _describe(place_of(folder), as_json=as_json)
    rows = [
        _row(place) for root in (bundled.SHIPPED, *([folder] if folder else [])) for place in _artifacts_under(root)
    ]
    columns: dict[str, str | Callable[[Row], str]] = {
        "artifact": "folder", "kind": "kind", "algorithm": "algorithm", "precision": "precision",
        "trained until": lambda row: row.trained_until[:10], "test Sharpe": "test_sharpe:.2f", "state": _state,
    }  # fmt: skip
    answer(as_json, rows, lambda: records(rows, columns))
    return DONE


def _state(row: Row) -> str:
    """Return the fault of an artifact, or that it is whole, with its marks."""
    return row.fault or " ".join(["whole", *(["signed"] if row.signed else []), *(["current"] if row.current else [])])


def _describe(place: Path, *, as_json: bool) -> int:
    """Check an artifact and print its card and manifest."""
    from quantd.daemon.policies.model_facts import stated
    from quantd.models.artifacts.loader import checked

    artifact = checked(place)
    manifest = artifact.manifest
    document = stated(artifact)
    lines = [(place / "card.md").read_text(), *(facts(manifest) if isinstance(manifest, AgentManifest) else [])]
    if "training" in document:
        lines.append(f"processor of the training: {document['training']['processor'] or 'not recorded'}")
    for name, entry in sorted(document["files"].items()):
        lines.append(f"{name}: {entry['size']} bytes, BLAKE2b {entry['blake2b'][:16]}…")
    answer(as_json, document, *lines, f"{MANIFEST}: digest {document['digest']}")
    return DONE


def compress(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="A new folder; with --onnx a new file.")],
    int8: Annotated[bool, typer.Option("--int8", help="Quantize linear layers to 8 bits.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Store numbers in half precision.")] = False,
    distil: Annotated[
        str,
        typer.Option(metavar="WIDTHS", help="Train a network of these layer widths, such as 64,32, to imitate it."),
    ] = "",
    onnx: Annotated[bool, typer.Option("--onnx", help="Check it, and copy its ONNX graph only.")] = False,
    bars: plan_options.Bars = None,
    actions: plan_options.Actions = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="With --distil: steps=500, epochs=60, seed=1; repeatable."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Make a smaller copy of a policy and measure its size, speed and agreement; exit code 1 below the tolerance."""
    if [int8, fp16, bool(distil), onnx].count(True) != 1:
        raise typer.BadParameter("--int8, --fp16, --distil, --onnx: give one of them, and no other")
    if not distil and (bars or actions or sets):
        raise typer.BadParameter("--bars, --actions and --set are of --distil: omit them, or add --distil WIDTHS")
    place = place_of(folder)
    if onnx:
        return _copy_graph(place, out, as_json=as_json)
    needs("compression", *(("torch", "polars") if distil else ()), "onnx")
    kind = kind_of(place)
    if kind != "learned":
        raise Failure(
            f"{place}: its kind is {kind}; only policies of kind learned can be quantized or distilled", CONFIG
        )
    _require_new(out)
    words = ["quantd", "models", "compress", str(folder), "--out", str(out)]
    if not distil:
        from quantd.training.export import quantization

        precision: Precision = "int8" if int8 else "float16"
        command = shlex.join([*words, "--int8" if int8 else "--fp16"])
        return _copied(out, quantization.quantize(place, out, precision, command), as_json=as_json)
    from quantd.training.export import distillation

    widths = distil.split(",")
    if not all(width.isdigit() and 0 < int(width) <= 4096 for width in widths):
        raise typer.BadParameter(f"--distil {distil!r}: widths from 1 to 4096, joined by commas")
    files = market_files(bars, actions)
    words += ["--distil", distil, "--bars", str(files[0]), "--actions", str(files[1] or "")]
    command = shlex.join([*words, *(word for change in sets or () for word in ("--set", change))])
    with failing("models compress"):
        settings = dict(map(setting, sets or ()))
        plan = msgspec.convert({**settings, "hidden": [int(width) for width in widths]}, distillation.DistilPlan)
        manifest = distillation.distil(place, out, *files, plan, command, lambda line: None if as_json else say(line))
    return _copied(out, manifest, as_json=as_json)


def _copy_graph(place: Path, out: Path, *, as_json: bool) -> int:
    """Make every check of trading, and copy the ONNX graph of an artifact to the new file `out`."""
    from quantd.models.artifacts.loader import load_artifact

    digest = load_artifact(place, {}).digest
    if kind_of(place) == "ensemble":
        raise Failure(f"{place}: an ensemble has no graph; name a member", CONFIG)
    if out.exists():
        raise Failure(f"{out}: there is something already; name a new file (--out)", CONFIG)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(place / "policy.onnx", out)
    document = {"folder": str(place), "digest": digest, "written": [str(out)]}
    answer(as_json, document, f"{out}: {out.stat().st_size} bytes")
    return DONE


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .zip of Stable-Baselines3, or an .onnx graph.")],
    observation: Annotated[
        Path, typer.Option("--observation", metavar="FILE", help="TOML: symbols, features and action of its training.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="A new folder.")],
    as_json: Json = False,
) -> int:
    """Make an artifact of a policy that was trained elsewhere; nothing in its file is run or unpickled."""
    needs("import", "torch", "onnx")
    from quantd.training.export.imported_policy import import_policy

    if file.suffix not in (".zip", ".onnx"):
        raise typer.BadParameter(f"{file}: a file .zip of Stable-Baselines3 or .onnx is expected")
    _require_new(out)
    command = shlex.join(
        ["quantd", "models", "import", str(file), "--observation", str(observation), "--out", str(out)]
    )
    with failing("models import"):
        manifest = import_policy(file, observation, out, command)
    answer(
        as_json, {"folder": str(out), "digest": manifest.digest, "algorithm": manifest.algorithm},
        f"{out}: {manifest.algorithm}, {manifest.action.kind} of {', '.join(manifest.universe)}; "
        f"digest {manifest.digest[:16]}…; its probes answer as the imported policy does",
    )  # fmt: skip
    return DONE


def _require_new(out: Path) -> None:
    """Raise Failure where there is something at `out`."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Failure(f"{out}: there is something already; name a new folder (--out)", CONFIG)


def sign(
    folder: Folder,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="Your private key; keep it secret.")],
    new_key: Annotated[
        Path | None,
        typer.Option(
            "--new-key", metavar="FILE", help="Make the pair of Ed25519 keys first, with the public one here."
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Sign an artifact: the signature is a file beside it."""
    from quantd.models.artifacts import signature
    from quantd.models.artifacts.loader import checked, load_artifact

    place = place_of(folder)
    load_artifact(place, {})  # every check of trading; {}: no parameters
    key_lines = []
    if new_key is not None:
        signature.generate(key, new_key)
        key_lines = [f"{key}: private; never store it beside a configuration",
                     f"{new_key}: public; name it in [models] trusted_keys"]  # fmt: skip
    digest = checked(place).manifest.digest
    path = signature.sign(place, digest, key)
    document = {"folder": str(place), "digest": digest, "signature": str(path)}
    answer(as_json, document, *key_lines, f"{path}: signs {digest[:16]}…")
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
    answer(
        as_json, {"folder": str(out), "digest": manifest.digest, "members": manifest.members},
        f"{out}: {len(manifest.members)} members by {by}, digest {manifest.digest[:16]}…",
        lambda: records(manifest.members, {"member": "folder", "share": "share:.3f"}),
    )  # fmt: skip
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


def _copied(out: Path, manifest: AgentManifest, *, as_json: bool) -> int:
    """Print how far a smaller copy of a policy agrees with the policy that was copied."""
    agreement = manifest.agreement
    assert agreement is not None
    times = (
        ("p50 µs", agreement.parent_p50_us, agreement.p50_us),
        ("p99 µs", agreement.parent_p99_us, agreement.p99_us),
    )
    rows = [(name, f"{parent:.1f}", f"{copy:.1f}", f"{copy / parent:.2f}") for name, parent, copy in times]
    size = ("bytes of the graph", "", "", f"{agreement.size_ratio:.2f}")
    unrounded = f"left in float32, because rounding them costs most: {', '.join(agreement.left)}"
    answer(
        as_json,
        {"folder": str(out), "digest": manifest.digest, "precision": manifest.precision, "agreement": agreement},
        f"{out}: {manifest.precision}, made from {manifest.parent[:16]}…",
        lambda: table(("", "parent", "copy", "ratio"), [size, *rows], right=("parent", "copy", "ratio")),
        f"{agreement.equal_actions:.1%} of {agreement.probes} probes with equal actions; largest difference of a "
        f"weight {agreement.largest_difference:.2g}", *([unrounded] if agreement.left else []),
    )  # fmt: skip
    return DONE


def verify(
    folder: Folder,
    keys: Annotated[
        list[Path] | None, typer.Option("--key", metavar="FILE", help="The public key of the signature.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Make every check of a start, with the probe on this machine; exit code 78 when one fails."""
    from quantd.models.artifacts import signature
    from quantd.models.artifacts.loader import kind_in, load_artifact

    place = place_of(folder)
    policy = load_artifact(place, {})  # {}: no parameters
    kind = kind_in(place).name
    until = policy.trained_until_ns
    if keys:
        for artifact_folder, digest in signature.artifacts_in(policy):
            if fault := signature.signature_fault(artifact_folder, digest, keys):
                raise Failure(fault, CONFIG)
    document = {
        "folder": str(place), "kind": kind, "whole": True, "digest": policy.digest, "trained_until": iso(until),
        "signed": bool(keys),
    }  # fmt: skip
    named = {"learned": "a learned policy", "ensemble": "an ensemble"}.get(kind, f"a {kind}")
    state = f"trained until {iso(until)[:10]}{'; signed' if keys else ''}"
    answer(as_json, document, f"{place}: {named}, whole; its probe answers as it should here; {state}")
    return DONE


def columns_text(manifest: "AgentManifest") -> list[str]:
    """Describe the market columns of a policy's sight, its input, in one line; the list is empty without columns."""
    sight = manifest.sight
    if not sight.columns:
        return []
    files = ", ".join(f"{source.name} ({source.path})" for source in (*manifest.macro, *manifest.series))
    macro = f"; series {files}" if files else ""
    benchmark = f"; benchmark {sight.benchmark}" if sight.benchmark else ""
    return [f"columns: {', '.join(sight.columns)}{benchmark}{macro}; hash {manifest.features_hash}"]


def facts(manifest: "AgentManifest") -> list[str]:
    """Describe a learned policy by its manifest, one line for each property.

    The sight of a policy is the input that it reads. The seats of a policy are the agents that trade one account
    together, if there are several.
    """
    training, shape, sight = manifest.training, manifest.network, manifest.sight
    until = iso(training.until_ns)[:10]
    lines = [
        f"algorithm: {manifest.algorithm}{f', profile {manifest.profile}' if manifest.profile else ''}, "
        f"{manifest.precision}",
        f"network: {shape.kind} {' '.join(map(str, shape.hidden))}, {shape.parameters} numbers",
        f"sight: {', '.join([*sight.features, 'known'])}; window {sight.window}; "
        f"book {', '.join(sight.book) or 'unseen'}; hash {manifest.sight_hash}",
        *columns_text(manifest),
        f"actions: {manifest.action.kind}",
        f"universe: {', '.join(manifest.universe)}",
        *(f"{name}: {window.first} to {window.last}" for name, window in training.windows.items()),
        f"trained until {until}; seeds {', '.join(map(str, training.seeds))}, of them {training.chosen_seed}",
        *(f"data {name}: BLAKE2b {digest[:16]}…" for name, digest in sorted(training.data.items())),
    ]
    if manifest.seats:
        lines.append(f"seats: {', '.join(agent.name for agent in manifest.seats)}")
    return lines + [
        f"{name}: Sharpe {result.policy.sharpe:.2f}, equal weight {result.equal_weight.sharpe:.2f}"
        for name, result in manifest.results.items()
    ]


COMMAND: Final = Command(
    "Set up", 100,
    {
        "list": show, "verify": verify, "compress": compress, "import": import_, "sign": sign, "combine": combine,
        "use": use,
    },
)  # fmt: skip
