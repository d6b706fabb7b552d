"""What a learned policy is on disk, and the checks before any use of it: like quantd.models.artifacts.manifest, nothing in here runs."""

from math import prod
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec import Struct

from quantd.models.artifacts import manifest as artifacts
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError, FileEntry, Result, Training
from quantd.models.artifacts.weights import tensors_fault
from quantd.models.observation import sight as sights
from quantd.models.observation.sight import SightSpec
from quantd.trading.market import Floats
from quantd.trading.view import MEMORY_BYTES

KIND: Final = "learned"
FILES: Final = artifacts.FILES

MOST_CARRY: Final = MEMORY_BYTES // 8 - 16
"""Numbers that a recurrent policy may remember: they travel in its memory."""

Precision = Literal["float32", "float16", "int8"]

TOLERANCES: Final[dict[Precision, float]] = {"float32": 1e-5, "float16": 2e-3, "int8": 5e-3}
"""In weights, between the answers of the network that was trained and those of the graph on this machine, whatever a
manifest asks for."""


class ActionSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What the network decides: "simplex" weights of all assets and cash; "discrete" one of `allocations`, by name, of `parts` equal
    parts; "box" weights that may be short, scaled down to `gross`."""

    kind: Literal["simplex", "discrete", "box"]
    allocations: tuple[str, ...] = ()
    parts: int = 0
    cash: bool = False
    gross: float = 1.0


class Seat(Struct, frozen=True, forbid_unknown_fields=True):
    """One agent of several: the symbols it may hold (all when empty), how much of its equity at most, its share of the capital."""

    name: str
    symbols: tuple[str, ...] = ()
    invested: float = 1.0
    share: float = 1.0


class Shape(Struct, frozen=True, forbid_unknown_fields=True):
    """A network: widths of its layers, how many numbers it learned, how many it carries from one answer to the next."""

    kind: str
    hidden: tuple[int, ...]
    parameters: int
    carry: int = 0
    settings: dict[str, int | float | str | bool] = {}
    """What else made it: heads, depth, samples."""


class Agreement(Struct, frozen=True, forbid_unknown_fields=True):
    """Measured when this was made from its parent, both on one machine in one run."""

    probes: int
    size_ratio: float
    """Bytes of its graph over those of the parent's."""
    p50_us: float
    p99_us: float
    parent_p50_us: float
    parent_p99_us: float
    largest_difference: float
    """In weights, over all probes;"""
    mean_difference: float
    """summed over assets, in the mean of all probes."""
    equal_actions: float
    """Share of probes with the same allocation (discrete), or else no weight further apart than SAME."""
    left: tuple[str, ...] = ()
    """Matrices that were left as they are, as rounding them did most harm."""


SAME: Final = 5e-3


class Probes(Struct, frozen=True, forbid_unknown_fields=True):
    """What golden.bin holds, little-endian float64: returns [count, lookback, assets], held weights [count, assets] and cash [count],
    then the answers [count, assets], and after them each seat's [count, seats, assets]. Asked in this order by one who remembers."""

    count: int
    lookback: int
    assets: int
    tolerance: float
    seats: int = 0


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about a learned policy that is not numbers of its network."""

    schema: int
    name: str
    algorithm: str
    profile: str
    network: Shape
    sight: SightSpec
    sight_hash: str
    action: ActionSpec
    universe: tuple[str, ...]
    training: Training
    plan: dict[str, object]
    """Every hyper-parameter."""
    results: dict[str, Result]
    golden: Probes
    files: dict[str, FileEntry]
    seats: tuple[Seat, ...] = ()
    precision: Precision = "float32"
    parent: str = ""
    """Digest of the artifact that this was made from; empty when it was trained."""
    made: str = ""
    """The command that made it from its parent."""
    agreement: Agreement | None = None
    kind: Literal["learned"] = "learned"
    digest: str = ""


class Golden(Struct, frozen=True):
    """The probes and what was answered."""

    returns: Floats
    weights: Floats
    cash: Floats
    answers: Floats
    seats: Floats


class LearnedArtifact(Struct, frozen=True):
    """A checked artifact in memory."""

    folder: Path
    manifest: Manifest
    graph: bytes
    weights: bytes
    """safetensors, to train on."""
    golden: Golden

    @property
    def trained_until_ns(self) -> int:
        """Bars up to this instant are inside the training window."""
        return self.manifest.training.until_ns


def golden_bytes(golden: Golden) -> bytes:
    parts = (golden.returns, golden.weights, golden.cash, golden.answers, golden.seats)
    return b"".join(each.astype("<f8").tobytes() for each in parts)


def load(folder: Path) -> LearnedArtifact:
    """The artifact in `folder`; ArtifactError unless every file is exactly what the manifest says, and the manifest is whole and asks
    for what this program can show."""
    where = folder / MANIFEST
    manifest = artifacts.read_manifest(where, Manifest)
    contents = artifacts.read_files(folder, manifest.files, FILES)
    if manifest.sight_hash != sights.digest(manifest.sight):
        raise ArtifactError(f"{where}: sight_hash is not that of its sight")
    for fault in (sights.fault(manifest.sight), fault_of(manifest)):
        if fault:
            raise ArtifactError(f"{where}: {fault}; train it again")
    if fault := tensors_fault(contents["weights.safetensors"]):
        raise ArtifactError(f"{folder / 'weights.safetensors'}: {fault}")
    return LearnedArtifact(
        folder, manifest, contents["policy.onnx"], contents["weights.safetensors"], _golden(folder, manifest, contents)
    )


def fault_of(manifest: Manifest) -> str:
    """What in a manifest contradicts itself; empty when nothing does."""
    assets, action, network = len(manifest.universe), manifest.action, manifest.network
    if not assets or len(set(manifest.universe)) != assets:
        return f"a universe of {', '.join(manifest.universe) or 'nothing'}: symbols, each once, are expected"
    if (action.kind == "discrete") != bool(action.allocations):
        return f"{len(action.allocations)} allocations for {action.kind} actions"
    if not 0.0 < action.gross <= 10.0:
        return f"a gross of {action.gross:g}; above 0 and at most 10 is expected"
    if not 0 <= network.carry <= MOST_CARRY:
        return f"a carry of {network.carry} numbers; at most {MOST_CARRY} fit into a memory"
    names = [seat.name for seat in manifest.seats]
    if len(set(names)) != len(names) or "" in names:
        return "seats without names of their own"
    for seat in manifest.seats:
        if unknown := set(seat.symbols) - set(manifest.universe):
            return f"seat {seat.name} holds {', '.join(sorted(unknown))}, which is not in the universe"
        if not 0.0 < seat.invested <= 1.0 or not 0.0 < seat.share <= 1.0:
            return f"seat {seat.name}: invested {seat.invested:g} and share {seat.share:g} are above 0 and at most 1"
    if manifest.seats and abs(sum(seat.share for seat in manifest.seats) - 1.0) > 1e-9:
        return "shares of seats do not add up to 1"
    if manifest.seats and action.kind != "simplex":
        return f"seats with {action.kind} actions"
    return ""


def _golden(folder: Path, manifest: Manifest, contents: dict[str, bytes]) -> Golden:
    said, assets, data = manifest.golden, len(manifest.universe), contents["golden.bin"]
    shapes = [
        (said.count, said.lookback, assets), (said.count, assets), (said.count,), (said.count, assets),
        (said.count, said.seats, assets),
    ]  # fmt: skip
    cells = [prod(shape) for shape in shapes]
    wrong = said.lookback != manifest.sight.lookback or said.assets != assets or said.seats != len(manifest.seats)
    if wrong or said.count < 1 or len(data) != 8 * sum(cells):
        raise ArtifactError(
            f"{folder / 'golden.bin'}: {len(data)} bytes are not {said.count} probes of {said.lookback} x {said.assets}"
        )
    values = np.frombuffer(data, dtype="<f8")
    parts = [part.reshape(shape) for part, shape in zip(np.split(values, np.cumsum(cells)[:-1]), shapes, strict=True)]
    if not all(np.isfinite(part).all() for part in parts[1:]):
        raise ArtifactError(f"{folder / 'golden.bin'}: an answer is not a number")
    return Golden(*parts)


def plain(plan: object) -> dict[str, object]:
    """A plan as a manifest keeps it."""
    kept: dict[str, object] = msgspec.json.decode(msgspec.json.encode(plan), type=dict[str, object])
    return kept
