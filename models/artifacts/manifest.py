"""The manifest of an artifact: one struct for each kind, with the fields that all of them have in `Manifest`. Values
only.

A manifest without a field `kind` is that of a scorer: the first artifacts had one kind.
"""

import re
from typing import ClassVar, Final, Literal

from msgspec import Struct

from quantd.models.observation.return_features import FeatureSpec
from quantd.models.observation.sight import SightSpec
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.statistics import Performance
from quantd.trading.view import MEMORY_BYTES

SCHEMA: Final = 1
MANIFEST: Final = "manifest.json"


class ArtifactError(ExplainedError, ValueError):
    """An artifact that is not what it says; the text names the file and what differs."""

    exit_code = CONFIG


class FileEntry(Struct, frozen=True, forbid_unknown_fields=True):
    size: int
    blake2b: str


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of every kind."""

    FILES: ClassVar[tuple[str, ...]]
    """Names of the files beside it."""

    schema: int = SCHEMA
    name: str
    files: dict[str, FileEntry] = {}
    digest: str = ""
    """BLAKE2b of this manifest without this field: what a journal calls the artifact."""


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
    """One window, after costs: the policy beside equal weight on the same days; `sharpe_by_seed` in order of
    the seeds."""

    policy: Performance
    equal_weight: Performance
    turnover_annual: float
    sharpe_by_seed: tuple[float | None, ...]


class Golden(Struct, frozen=True, forbid_unknown_fields=True):
    """Shapes in golden.bin: returns float64[lookback, assets], then weights float64[assets]."""

    lookback: int
    assets: int
    tolerance: float


class Network(Struct, frozen=True, forbid_unknown_fields=True):
    """`equivariant`: one scoring function for every asset, so any universe can be traded."""

    kind: str
    hidden: int
    equivariant: bool


class ScorerManifest(Manifest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a scorer that is not numbers of its network."""

    FILES: ClassVar = ("card.md", "golden.bin", "policy.onnx", "weights.safetensors")

    algorithm: str
    network: Network
    features: FeatureSpec
    features_hash: str
    universe: tuple[str, ...]
    training: Training
    results: dict[str, Result]
    golden: Golden


MOST_CARRY: Final = MEMORY_BYTES // 8 - 16
"""Numbers that a recurrent policy may remember: they travel in its memory."""

Precision = Literal["float32", "float16", "int8"]

TOLERANCES: Final[dict[Precision, float]] = {"float32": 1e-5, "float16": 2e-3, "int8": 5e-3}
"""In weights, between the answers of the network that was trained and those of the graph on this machine, whatever a
manifest asks for."""

SAME: Final = 5e-3
"""Weights no further apart are called equal."""


class ActionSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What the network decides: "simplex" weights of all assets and cash; "discrete" one of `allocations`, by name, of
    `parts` equal parts; "box" weights that may be short, scaled down to `gross`."""

    kind: Literal["simplex", "discrete", "box"]
    allocations: tuple[str, ...] = ()
    parts: int = 0
    cash: bool = False
    gross: float = 1.0


class Seat(Struct, frozen=True, forbid_unknown_fields=True):
    """One agent of several: the symbols it may hold (all when empty), how much of its equity at most, its share of the
    capital."""

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


class Probes(Struct, frozen=True, forbid_unknown_fields=True):
    """What golden.bin holds, little-endian float64: returns [count, lookback, assets], held weights [count, assets] and
    cash [count], then the answers [count, assets], and after them each seat's [count, seats, assets]. Asked in this
    order by one who remembers."""

    count: int
    lookback: int
    assets: int
    tolerance: float
    seats: int = 0


class AgentManifest(Manifest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a learned policy that is not numbers of its network."""

    FILES: ClassVar = ScorerManifest.FILES

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
    seats: tuple[Seat, ...] = ()
    precision: Precision = "float32"
    parent: str = ""
    """Digest of the artifact that this was made from; empty when it was trained."""
    made: str = ""
    """The command that made it from its parent."""
    agreement: Agreement | None = None
    kind: Literal["learned"] = "learned"


ForestKind = Literal["risk", "correlation", "allocation"]

FOREST_KINDS: Final[tuple[ForestKind, ...]] = ("risk", "correlation", "allocation")

PLAIN: Final[dict[ForestKind, str]] = {
    "risk": "trailing volatility, exponentially weighted (0.94 a sample)",
    "correlation": "trailing correlation of 126 samples",
    "allocation": "no view: every asset scores 0",
}
"""The estimate that a forest has to beat."""

MEANING: Final[dict[ForestKind, str]] = {
    "risk": "logarithm of the volatility a sample (root mean square return)",
    "correlation": "Fisher's z of the correlation of two assets",
    "allocation": "return over its own volatility and the root of the horizon, less the mean of all assets",
}
"""What is predicted of the next `horizon` samples."""


class ForestFeatures(Struct, frozen=True, forbid_unknown_fields=True):
    """Which features a forest reads, in order, and how much history they need."""

    names: tuple[str, ...]
    lookback: int
    version: int


class ForestShape(Struct, frozen=True, forbid_unknown_fields=True):
    """What was set before fitting. `leaves` bounds the size of a tree and so of the file."""

    trees: int
    depth: int
    leaves: int
    least_in_leaf: int
    feature_share: float
    seed: int


class Scaler(Struct, frozen=True, forbid_unknown_fields=True):
    """Features are (value - centre) / scale, fitted on the rows that the forest was fitted on."""

    centre: tuple[float, ...]
    scale: tuple[float, ...]


class Score(Struct, frozen=True, forbid_unknown_fields=True):
    """Against what came true. `r2` is 1 - squared errors / squared deviations from the mean of these rows."""

    r2: float
    mse: float


class Judged(Struct, frozen=True, forbid_unknown_fields=True):
    """The forest beside the plain estimate on the same rows, none of which it was fitted on."""

    first: str
    last: str
    fitted_until: str
    """The newest outcome that was fitted on."""
    rows_fitted: int
    rows: int
    model: Score
    plain: Score


class Fitted(Struct, frozen=True, forbid_unknown_fields=True):
    """What it was made from: every `stride`-th session of the window. `until_ns`: nothing later touched it."""

    command: str
    data: dict[str, str]
    window: Window
    until_ns: int
    stride: int
    embargo: int
    rows: int


class ForestManifest(Manifest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a forest that is not its trees. `together`: all steps of the walk forward in one."""

    FILES: ClassVar = ("card.md", "golden.bin", "policy.onnx")

    kind: Literal["forest"] = "forest"
    predicts: ForestKind
    horizon: int
    forest: ForestShape
    features: ForestFeatures
    features_hash: str
    scaler: Scaler
    universe: tuple[str, ...]
    training: Fitted
    together: Judged
    folds: tuple[Judged, ...]
    threshold: float
    golden: Golden

    def beats_plain(self) -> bool:
        """Whether the forest's squared error out of sample was smaller than that of the plain estimate."""
        return self.together.model.mse < self.together.plain.mse


MOST_MEMBERS: Final = 16

Combination = Literal["mean", "vote", "performance"]
"""`mean`: all alike. `vote`: of each symbol the median weight, so that what most agree on holds. `performance`: by
shares that were fixed when the ensemble was made."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class MemberEntry(Struct, frozen=True, forbid_unknown_fields=True):
    folder: str
    digest: str
    share: float


class EnsembleManifest(Manifest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Members by folder and digest, and how their weights become one."""

    FILES: ClassVar = ("card.md",)

    combination: Combination
    members: tuple[MemberEntry, ...]
    made: str
    measured: str = ""
    """What the shares of "performance" were set by."""
    kind: Literal["ensemble"] = "ensemble"


def agent_fault(manifest: AgentManifest) -> str:
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


def ensemble_fault(manifest: EnsembleManifest) -> str:
    """What in a manifest contradicts itself; empty when nothing does."""
    names = [entry.folder for entry in manifest.members]
    if not 2 <= len(names) <= MOST_MEMBERS:
        return f"{len(names)} members; 2 to {MOST_MEMBERS} are expected"
    for name in names:
        if not _NAME.fullmatch(name):
            return f"the member {name[:80]!r} is no name of a folder inside it"
    if len(set(names)) != len(names):
        return "a member is named twice"
    shares = [entry.share for entry in manifest.members]
    if not all(0.0 <= share <= 1.0 for share in shares) or abs(sum(shares) - 1.0) > 1e-9:
        return f"shares {', '.join(f'{share:g}' for share in shares)} are not 0 or more that add up to 1"
    return ""
