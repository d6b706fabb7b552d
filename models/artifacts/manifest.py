"""What a trained policy is on disk, and the checks that come before any use of it. Nothing in here runs anything.

A folder: manifest.json, policy.onnx (to trade with), weights.safetensors (to train on), golden.bin (an input and
the answer it must give, as little-endian float64) and card.md (for people).
"""

from hashlib import blake2b
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import numpy as np
from msgspec import Struct

from quantd.models.observation.return_features import FeatureSpec, spec_fault, spec_hash
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.market import Floats
from quantd.trading.statistics import Performance

SCHEMA: Final = 1
MANIFEST: Final = "manifest.json"
FILES: Final = ("card.md", "golden.bin", "policy.onnx", "weights.safetensors")
MANIFEST_BYTES: Final = 1 << 20
FILE_BYTES: Final = 1 << 28
"""No file of an artifact is read that claims to be larger (256 MiB)."""


class ArtifactError(ExplainedError, ValueError):
    """An artifact that is not what it says; the text names the file and what differs."""

    exit_code = CONFIG


class Network(Struct, frozen=True, forbid_unknown_fields=True):
    """`equivariant`: one scoring function for every asset, so any universe can be traded."""

    kind: str
    hidden: int
    equivariant: bool


class Window(Struct, frozen=True, forbid_unknown_fields=True):
    """Dates, inclusive, of one part of the data."""

    first: str
    last: str


class Training(Struct, frozen=True, forbid_unknown_fields=True):
    """What it was made from. `until_ns`: nothing later touched the weights or the choice among them."""

    command: str
    data: dict[str, str]
    """File name -> hex BLAKE2b of its bytes."""
    windows: dict[str, Window]
    until_ns: int
    seeds: tuple[int, ...]
    chosen_seed: int
    chosen_iteration: int
    test_looks: int = 1
    """How often anybody saw test figures while this policy was made, this time included."""


class Result(Struct, frozen=True, forbid_unknown_fields=True):
    """One window, after costs: the policy beside equal weight on the same days; `sharpe_by_seed` in order of the seeds."""

    policy: Performance
    equal_weight: Performance
    turnover_annual: float
    sharpe_by_seed: tuple[float | None, ...]


class FileEntry(Struct, frozen=True, forbid_unknown_fields=True):
    size: int
    blake2b: str


class Golden(Struct, frozen=True, forbid_unknown_fields=True):
    """Shapes in golden.bin: returns float64[lookback, assets], then weights float64[assets]."""

    lookback: int
    assets: int
    tolerance: float


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about an artifact that is not numbers of its network."""

    schema: int
    name: str
    algorithm: str
    network: Network
    features: FeatureSpec
    features_hash: str
    universe: tuple[str, ...]
    training: Training
    results: dict[str, Result]
    golden: Golden
    files: dict[str, FileEntry]
    digest: str = ""
    """BLAKE2b of this manifest without this field: what a journal calls the artifact."""


class Artifact(Struct, frozen=True):
    """A checked artifact in memory."""

    folder: Path
    manifest: Manifest
    graph: bytes
    golden_returns: Floats
    golden_weights: Floats

    @property
    def trained_until_ns(self) -> int:
        """Bars up to this instant are inside the training window."""
        return self.manifest.training.until_ns


M = TypeVar("M", bound=Struct)


def render(manifest: Struct) -> bytes:
    """The one text of a manifest; a float that is not a number is null."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def digest_of(data: bytes) -> str:
    return blake2b(data, digest_size=32).hexdigest()


def sealed(manifest: M) -> M:
    """With its own digest filled in."""
    bare = msgspec.structs.replace(manifest, digest="")
    return msgspec.structs.replace(bare, digest=digest_of(render(bare)))


def write(folder: Path, manifest: M, contents: dict[str, bytes], names: tuple[str, ...] = FILES) -> M:
    """Writes the files `names` and the manifest that names their hashes; gives the manifest as written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(contents[name])
    entries = {name: FileEntry(len(contents[name]), digest_of(contents[name])) for name in names}
    manifest = sealed(msgspec.structs.replace(manifest, files=entries))
    (folder / MANIFEST).write_bytes(render(manifest))
    return manifest


def golden_bytes(returns: Floats, weights: Floats) -> bytes:
    return returns.astype("<f8").tobytes() + weights.astype("<f8").tobytes()


def load(folder: Path) -> Artifact:
    """The artifact in `folder`; ArtifactError unless every file is exactly what the manifest says, and the manifest
    is whole and asks for features this program computes."""
    manifest = read_manifest(folder / MANIFEST, Manifest)
    contents = read_files(folder, manifest.files, FILES)
    if manifest.features_hash != spec_hash(manifest.features):
        raise ArtifactError(f"{folder / MANIFEST}: features_hash is not that of its features")
    fault = spec_fault(manifest.features)
    if fault:
        raise ArtifactError(f"{folder / MANIFEST}: it needs {fault}; train it again")
    golden, data = manifest.golden, contents["golden.bin"]
    cells = golden.lookback * golden.assets
    if golden.lookback != manifest.features.lookback or golden.assets < 1 or len(data) != 8 * (cells + golden.assets):
        raise ArtifactError(f"{folder / 'golden.bin'}: {len(data)} bytes are not {golden.lookback} x {golden.assets}")
    values = np.frombuffer(data, dtype="<f8")
    return Artifact(
        folder=folder,
        manifest=manifest,
        graph=contents["policy.onnx"],
        golden_returns=values[:cells].reshape(golden.lookback, golden.assets),
        golden_weights=values[cells:],
    )


def read_bytes(path: Path, limit: int) -> bytes:
    """At most `limit` bytes of a regular file; more, or no file, is an ArtifactError."""
    try:
        if path.is_symlink() or not path.is_file():
            raise ArtifactError(f"{path}: no such file (links are not followed)")
        if path.stat().st_size > limit:
            raise ArtifactError(f"{path}: {path.stat().st_size} bytes; {limit} are expected at most")
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror}") from None


class _Kind(Struct):
    kind: str = ""


def kind_of(folder: Path) -> str:
    """What its manifest says it is, "" for a policy; before any check, only to choose the code that checks."""
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(read_bytes(path, MANIFEST_BYTES), type=_Kind).kind
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{path}: {error}") from None


def read_manifest(path: Path, kind: type[M]) -> M:
    """A manifest exactly as it was written. Raises ArtifactError."""
    data = read_bytes(path, MANIFEST_BYTES)
    try:
        manifest = msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{path}: {error}") from None
    schema = getattr(manifest, "schema", None)
    if schema != SCHEMA:
        raise ArtifactError(f"{path}: schema {schema}; this quantd reads {SCHEMA}")
    if render(manifest) != data or manifest != sealed(manifest):
        raise ArtifactError(f"{path}: it was changed after it was written (its digest differs)")
    return manifest


def read_files(folder: Path, entries: dict[str, FileEntry], names: tuple[str, ...]) -> dict[str, bytes]:
    """The content of exactly the files `names`, each as its entry says. Raises ArtifactError."""
    if set(entries) != set(names):
        raise ArtifactError(f"{folder / MANIFEST}: files are {sorted(entries)}; {list(names)} are expected")
    return {name: _checked(folder / name, entries[name]) for name in names}


def _checked(path: Path, entry: FileEntry) -> bytes:
    if not 0 <= entry.size <= FILE_BYTES:
        raise ArtifactError(f"{path}: the manifest gives it {entry.size} bytes; {FILE_BYTES} are allowed")
    data = read_bytes(path, entry.size)
    if len(data) != entry.size:
        raise ArtifactError(f"{path}: {len(data)} bytes; the manifest says {entry.size}")
    if digest_of(data) != entry.blake2b:
        raise ArtifactError(f"{path}: its content is not what the manifest says (BLAKE2b differs)")
    return data
