"""`quantd models` on artifacts of any kind: list, export, make smaller, teach, sign, combine, and which version a name means."""

import shlex
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from quantd import bundled
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.learn.models import manifest_in, market_files, place_of
from quantd.daemon.cli.output import iso, print_json, say, table
from quantd.models.artifacts import ensemble, signature
from quantd.models.artifacts import versions as pointing
from quantd.models.artifacts.agent_manifest import Agreement
from quantd.models.artifacts.loader import load_artifact
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError
from quantd.trading.exit_codes import CONFIG, DONE

if TYPE_CHECKING:
    from quantd.models.artifacts.agent_manifest import Manifest, Precision
    from quantd.models.artifacts.ensemble import Combination


class Row(Struct, frozen=True):
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


def show(folder: Path | None, *, as_json: bool) -> int:
    """Every artifact that came with quantd and every one under `folder`, each checked as trading checks it."""
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


def _artifacts_under(root: Path) -> list[Path]:
    """Artifacts in a folder, and versions in folders of it."""
    if (root / MANIFEST).is_file():
        return [root]
    found: list[Path] = []
    for each in sorted(root.iterdir()):
        if each.is_dir() and not each.is_symlink():
            found += [each] if (each / MANIFEST).is_file() else [each / name for name in pointing.versions(each)]
    return found + [root / name for name in pointing.versions(root) if root / name not in found]


def _row(place: Path) -> Row:
    kind = algorithm = precision = until = ""
    sharpe: float | None = None
    fault = ""
    try:
        kind, manifest = manifest_in(place)
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
    try:
        return pointing.current(place.parent) == place.name
    except ArtifactError:
        return False


def export(folder: Path, out: Path, *, graph_only: bool, as_json: bool) -> int:
    """Copies a checked artifact to a new folder, its signature too; or only its graph to a file."""
    place = place_of(folder)
    kind, manifest = manifest_in(place)
    load_artifact(place, {})
    if graph_only:
        if kind == ensemble.KIND:
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
            f"{out}: {len(written)} file{'s' if len(written) > 1 else ''}, {sum(p.stat().st_size for p in written)} bytes"
        )
    return DONE


def _names_in(place: Path) -> list[str]:
    return [MANIFEST, *manifest_in(place)[1].files]


def quantize(folder: Path, out: Path, precision: "Precision", *, as_json: bool) -> int:
    """A copy in fewer bits, with its size, speed and agreement measured beside its parent's."""
    _needs("onnx", "safetensors")
    from quantd.models.export.quantization import quantize as smaller

    place = _learned(folder)
    _vacant(out)
    flag = "--int8" if precision == "int8" else "--fp16"
    manifest = smaller(
        place, out, precision, shlex.join(["quantd", "models", "quantize", str(folder), "--out", str(out), flag])
    )
    return _told(out, manifest, as_json=as_json)


def distil(
    folder: Path, out: Path, *, hidden: Sequence[int], bars: Path, actions: Path | None, steps: int, epochs: int, seed: int, as_json: bool
) -> int:  # fmt: skip
    """A smaller network taught by an artifact's answers, compared with it on answers it was not taught."""
    _needs("torch", "onnx", "safetensors", "polars")
    from quantd.models.export.distillation import DistilPlan
    from quantd.models.export.distillation import distil as teach

    place = _learned(folder)
    _vacant(out)
    files = market_files(bars, actions)
    words = ["quantd", "models", "distil", str(folder), "--out", str(out), "--hidden", ",".join(map(str, hidden))]
    words += ["--bars", str(bars), "--actions", str(actions or ""), "--steps", str(steps), "--epochs", str(epochs)]
    command = shlex.join([*words, "--seed", str(seed)])
    try:
        plan = DistilPlan(hidden=tuple(hidden), steps=steps, epochs=epochs, seed=seed)
        manifest = teach(place, out, *files, plan, command, lambda line: None if as_json else say(line))
    except ArtifactError:
        raise
    except ValueError as error:
        raise Failure(f"quantd models distil: {error}") from error
    return _told(out, manifest, as_json=as_json)


def _told(out: Path, manifest: "Manifest", *, as_json: bool) -> int:
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


def _figures(found: Agreement) -> list[tuple[str, str, str, str]]:
    return [
        ("bytes of the graph", "", "", f"{found.size_ratio:.2f}"),
        ("p50 µs", f"{found.parent_p50_us:.1f}", f"{found.p50_us:.1f}", f"{found.p50_us / found.parent_p50_us:.2f}"),
        ("p99 µs", f"{found.parent_p99_us:.1f}", f"{found.p99_us:.1f}", f"{found.p99_us / found.parent_p99_us:.2f}"),
    ]


def make_key(private: Path, public: Path) -> int:
    """A new pair of keys in two files."""
    signature.generate(private, public)
    say(f"{private}: private, yours alone; never put it beside a configuration")
    say(f"{public}: public; name it in [models] trusted_keys")
    return DONE


def sign(folder: Path, key: Path, *, as_json: bool) -> int:
    """Signs an artifact that passes every check."""
    place = place_of(folder)
    load_artifact(place, {})
    digest = manifest_in(place)[1].digest
    path = signature.sign(place, digest, key)
    if as_json:
        print_json({"folder": str(place), "digest": digest, "signature": str(path)})
    else:
        say(f"{path}: signs {digest[:16]}…")
    return DONE


def combine(
    out: Path, folders: Sequence[Path], combination: "Combination", shares: Sequence[float] | None, *, as_json: bool
) -> int:
    """An ensemble of copies of artifacts."""
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


def use(folder: Path, version: str | None, why: str, *, as_json: bool) -> int:
    """Makes a name mean one of its versions, after every check; without a version says what it means now."""
    there = pointing.versions(folder)
    if not there:
        raise Failure(f"{folder}: no versions in it: a folder of artifacts is expected, one folder for each", CONFIG)
    if version is None:
        now = pointing.current(folder) if (folder / pointing.CURRENT).exists() else ""
        if as_json:
            print_json({"folder": str(folder), "current": now, "versions": there})
        else:
            say("\n".join(f"{name}{' (current)' if name == now else ''}" for name in there))
        return DONE
    place = pointing.version_in(folder, version)
    digest = load_artifact(place, {}).digest
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = pointing.point(folder, version, digest, when, why)
    if as_json:
        print_json({"folder": str(folder), "before": before, "current": version, "digest": digest})
    else:
        say(
            f"{folder}: {version} ({digest[:16]}…){f', before: {before}' if before else ''}; used from the next start on"
        )
    return DONE


def _learned(folder: Path) -> Path:
    place = place_of(folder)
    kind, _ = manifest_in(place)
    if kind != "learned":
        raise Failure(f"{place}: a {kind or 'scorer'}; policies of kind learned can be made smaller or teach", CONFIG)
    return place


def _vacant(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Failure(f"{out}: there is something already; name a new folder (--out)", CONFIG)


def _needs(*packages: str) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise Failure(f"this needs {', '.join(missing)}: install quantd with its extra `train`", CONFIG)
