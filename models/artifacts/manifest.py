"""The manifest of an artifact: one struct per kind, with the common fields in `Manifest`.

A manifest without the field `kind` belongs to a scorer, which was the only kind of the first artifacts.
"""

import re
from typing import ClassVar, Final, Literal

from msgspec import Struct, convert

from quantd.models.artifacts.window_figures import WindowFigures
from quantd.models.history.panel import MacroSource, SeriesSource
from quantd.models.observation.return_features import FeatureSpec
from quantd.models.observation.sight import SightSpec
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.view import MEMORY_BYTES

SCHEMA: Final = 1
MANIFEST: Final = "manifest.json"


class ArtifactError(ExplainedError, ValueError):
    """An artifact that does not match its manifest; the message names the file and the difference."""

    exit_code = CONFIG


class FileEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of an artifact: its size in bytes, and its BLAKE2b digest in hexadecimal digits."""

    size: int
    blake2b: str


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields that the manifest of every kind of artifact has."""

    FILES: ClassVar[tuple[str, ...]]
    """Names of the other files."""
    LATER: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Paths of newer fields, which are left out while they are empty, so that older manifests keep their bytes."""

    schema: int = SCHEMA
    name: str
    files: dict[str, FileEntry] = {}
    digest: str = ""
    """BLAKE2b of this manifest with an empty `digest`. Journals name the artifact by it."""


class Window(Struct, frozen=True, forbid_unknown_fields=True):
    """Dates of one part of the data, both inclusive."""

    first: str
    last: str


class Training(Struct, frozen=True, forbid_unknown_fields=True):
    """The inputs of a training. Nothing after `until_ns` (ns UTC) affected the weights or the choice among them."""

    command: str
    data: dict[str, str]
    """File name -> hex BLAKE2b of its bytes."""
    windows: dict[str, Window]
    until_ns: int
    seeds: tuple[int, ...]
    chosen_seed: int
    chosen_iteration: int
    test_looks: int = 1
    """How often test results were seen during development, this time included."""
    processor: str = ""
    """The processor of the training and the instruction sets of its libraries; empty in records before this field."""

    def candidates(self, checkpoints: int = 1) -> int:
        """Return the number of trials behind the choice: each seed at each checkpoint, and each further look at test
        results."""
        return len(self.seeds) * max(checkpoints, 1) + self.test_looks - 1


class Result(Struct, frozen=True, forbid_unknown_fields=True):
    """Results over one window after costs, and the results of equal weight on the same days; `sharpe_by_seed` is in
    order of the seeds."""

    policy: WindowFigures
    equal_weight: WindowFigures
    turnover_annual: float
    sharpe_by_seed: tuple[float | None, ...]


class Golden(Struct, frozen=True, forbid_unknown_fields=True):
    """Shapes of the arrays in golden.bin: returns float64[lookback, assets], then weights float64[assets]."""

    lookback: int
    assets: int
    tolerance: float


class Network(Struct, frozen=True, forbid_unknown_fields=True):
    """The network of a scorer. `equivariant` means one scoring function for every asset, so that any universe can be
    traded."""

    kind: str
    hidden: int
    equivariant: bool


DISGUISE: Final = 0.05
"""Distance of weights below which a policy counts as equal weight, or as one asset, in disguise."""


class Likeness(Struct, frozen=True, forbid_unknown_fields=True):
    """How near the weights of a policy are to equal weight and to one asset, over the decisions of a window.

    A distance is the mean over decisions and assets of the absolute difference of weights: 0 is equal. `cash` is the
    mean share that is not invested.
    """

    window: Window
    decisions: int
    equal_weight: float
    asset: str
    """The nearest single asset."""
    single: float
    """The distance from all capital in that asset."""
    cash: float

    @property
    def disguise(self) -> str:
        """The simpler policy that this one nearly equals: "equal weight", a symbol, or empty for neither."""
        if min(self.equal_weight, self.single) >= DISGUISE:
            return ""
        return "equal weight" if self.equal_weight <= self.single else self.asset


class ScorerManifest(Manifest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The manifest of a scorer, a network that scores each asset."""

    FILES: ClassVar = ("card.md", "golden.bin", "policy.onnx", "weights.safetensors")
    LATER: ClassVar = (("likeness",), ("power",), ("training", "processor"))

    algorithm: str
    network: Network
    features: FeatureSpec
    features_hash: str
    universe: tuple[str, ...]
    training: Training
    results: dict[str, Result]
    golden: Golden
    likeness: Likeness | None = None
    """Measured by `scripts/likeness.py`; None where it was not."""
    power: str = ""
    """The weakest signal that could have been seen in its test part, in words; empty in records before this field."""


MOST_CARRY: Final = MEMORY_BYTES // 8 - 16
"""Maximum size of a recurrent network's carry, in numbers: it is part of the policy's memory."""

Precision = Literal["float32", "float16", "int8"]

TOLERANCES: Final[dict[Precision, float]] = {"float32": 1e-5, "float16": 2e-3, "int8": 5e-3}
"""Maximum difference of weights between trained network and graph on this machine; a manifest may permit less."""

SAME: Final = 5e-3
"""Weights with at most this difference count as equal."""


class ActionSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """The actions of a network.

    `kind` "simplex" is weights of all assets and cash. "discrete" is a choice among the named `allocations`, each of
    which divides the capital into `parts` equal parts. "box" is weights that may be negative (short positions); their
    gross sum is scaled down to `gross`. `cash` is True where an allocation may contain cash.
    """

    kind: Literal["simplex", "discrete", "box"]
    allocations: tuple[str, ...] = ()
    parts: int = 0
    cash: bool = False
    gross: float = 1.0


class Seat(Struct, frozen=True, forbid_unknown_fields=True):
    """One of several agents that were trained together: permitted symbols (all when empty), maximum invested
    fraction, share of the capital."""

    name: str
    symbols: tuple[str, ...] = ()
    invested: float = 1.0
    share: float = 1.0


class Shape(Struct, frozen=True, forbid_unknown_fields=True):
    """The size of a network: widths of its layers, number of learned parameters, and size of its carry (recurrent
    state)."""

    kind: str
    hidden: tuple[int, ...]
    parameters: int
    carry: int = 0
    settings: dict[str, int | float | str | bool] = {}
    """Further settings: heads, depth, samples."""


class Agreement(Struct, frozen=True, forbid_unknown_fields=True):
    """How closely a smaller copy of an artifact answers like its parent, measured on one machine in one run."""

    probes: int
    size_ratio: float
    """Size of the artifact's graph over the size of the parent's graph."""
    p50_us: float
    p99_us: float
    parent_p50_us: float
    parent_p99_us: float
    largest_difference: float
    """Largest absolute difference of a weight over all probes."""
    mean_difference: float
    """Sum of the absolute differences of all weights, mean over the probes."""
    equal_actions: float
    """Fraction of probes with the same allocation (discrete), or else no weight difference above SAME."""
    left: tuple[str, ...] = ()
    """Matrices that were not rounded, because rounding them had the largest effect."""


class Probes(Struct, frozen=True, forbid_unknown_fields=True):
    """Content of golden.bin, little-endian float64.

    The arrays are, for each of `count` probes: returns [count, lookback, assets], held weights [count, assets] and cash
    [count]; then the answers [count, assets], the answers of each agent [count, seats, assets], and the feature columns
    of the observation [count, assets, columns]. A recurrent policy answers the probes in their order.
    """

    count: int
    lookback: int
    assets: int
    tolerance: float
    seats: int = 0


class AgentManifest(Manifest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The manifest of a learned policy."""

    FILES: ClassVar = ScorerManifest.FILES
    LATER: ClassVar = (
        ("sight", "columns"),
        ("sight", "benchmark"),
        ("features_hash",),
        ("macro",),
        ("series",),
        ("likeness",),
        ("power",),
        ("training", "processor"),
    )

    algorithm: str
    profile: str
    network: Shape
    sight: SightSpec
    sight_hash: str
    features_hash: str = ""
    """Digest of the declaration of the sight's columns; empty without columns."""
    macro: tuple[MacroSource, ...] = ()
    """Files of the macro series in training."""
    series: tuple[SeriesSource, ...] = ()
    """Files of the series per symbol in training."""
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
    """Digest of the artifact that it was made from; empty when it was trained."""
    made: str = ""
    """The command that made it from its parent."""
    agreement: Agreement | None = None
    likeness: Likeness | None = None
    """Measured by `scripts/likeness.py`; None where it was not."""
    power: str = ""
    """As in ScorerManifest, with the share that its learner found of a planted signal."""
    kind: Literal["learned"] = "learned"

    @property
    def sources(self) -> tuple[MacroSource, ...]:
        """The macro series and the series per symbol from which the columns of the observation are computed."""
        return (*self.macro, *self.series)

    @property
    def tuning_trials(self) -> int:
        """Number of trials of the search that chose the settings; 0 if there was no search."""
        return max(convert(self.plan.get("tuning_trials", 0), int), 0)


ForestKind = Literal["risk", "correlation", "allocation"]

FOREST_KINDS: Final[tuple[ForestKind, ...]] = ("risk", "correlation", "allocation")

PLAIN: Final[dict[ForestKind, str]] = {
    "risk": "trailing volatility, exponentially weighted (0.94 a sample)",
    "correlation": "trailing correlation of 126 samples",
    "allocation": "no view: every asset scores 0",
}
"""The reference estimate for a forest."""

MEANING: Final[dict[ForestKind, str]] = {
    "risk": "logarithm of the volatility a sample (root mean square return)",
    "correlation": "Fisher's z of the correlation of two assets",
    "allocation": "return over its own volatility and the root of the horizon, less the mean of all assets",
}
"""The predicted quantity of the next `horizon` samples."""


class ForestFeatures(Struct, frozen=True, forbid_unknown_fields=True):
    """Features of a forest, in order, and their history length."""

    names: tuple[str, ...]
    lookback: int
    version: int


class ForestShape(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a forest before fitting. `leaves` bounds the size of a tree, and so the size of the file."""

    trees: int
    depth: int
    leaves: int
    least_in_leaf: int
    feature_share: float
    seed: int


class Scaler(Struct, frozen=True, forbid_unknown_fields=True):
    """Features are (value - centre) / scale, fitted on the training rows of the forest."""

    centre: tuple[float, ...]
    scale: tuple[float, ...]


class Score(Struct, frozen=True, forbid_unknown_fields=True):
    """Accuracy of predictions against outcomes. `r2` is 1 - squared errors / squared deviations from the mean
    outcome of the same rows."""

    r2: float
    mse: float


class Comparison(Struct, frozen=True, forbid_unknown_fields=True):
    """The accuracy of the forest and of the plain estimate (the formula that it improves), on rows outside its
    training."""

    first: str
    last: str
    fitted_until: str
    """Date of the newest training outcome."""
    rows_fitted: int
    rows: int
    model: Score
    plain: Score


class Fitted(Struct, frozen=True, forbid_unknown_fields=True):
    """The data of a fit: every `stride`-th session of the window, nothing after `until_ns` (ns UTC)."""

    command: str
    data: dict[str, str]
    window: Window
    until_ns: int
    stride: int
    embargo: int
    rows: int
    processor: str = ""
    """As in Training."""


class ForestManifest(Manifest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The manifest of a forest. `together` compares it with the plain estimate over all walk-forward steps at once."""

    FILES: ClassVar = ("card.md", "golden.bin", "policy.onnx")
    LATER: ClassVar = (("training", "processor"),)

    kind: Literal["forest"] = "forest"
    predicts: ForestKind
    horizon: int
    forest: ForestShape
    features: ForestFeatures
    features_hash: str
    scaler: Scaler
    universe: tuple[str, ...]
    training: Fitted
    together: Comparison
    folds: tuple[Comparison, ...]
    threshold: float
    golden: Golden

    def beats_plain(self) -> bool:
        """True when the forest's squared error out of sample is below the error of the plain estimate."""
        return self.together.model.mse < self.together.plain.mse


MOST_MEMBERS: Final = 16

Combination = Literal["mean", "vote", "performance"]
"""`mean`: equal shares. `vote`: the median weight of each symbol. `performance`: by the shares in the manifest."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class MemberEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """A member of an ensemble: its folder within the artifact, the digest of its manifest, and its share of the
    weights."""

    folder: str
    digest: str
    share: float


class EnsembleManifest(Manifest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The manifest of an ensemble: members by folder and digest, and how their weights are combined."""

    FILES: ClassVar = ("card.md",)

    combination: Combination
    members: tuple[MemberEntry, ...]
    made: str
    measured: str = ""
    """Basis of the shares of "performance"."""
    kind: Literal["ensemble"] = "ensemble"


def agent_fault(manifest: AgentManifest) -> str:
    """Return the first inconsistency in the manifest of a learned policy; empty when there is none."""
    assets, action, network = len(manifest.universe), manifest.action, manifest.network
    if not assets or len(set(manifest.universe)) != assets:
        return f"universe {', '.join(manifest.universe) or 'nothing'}: one or more symbols, each once, are expected"
    if (action.kind == "discrete") != bool(action.allocations):
        return f"{len(action.allocations)} allocations for {action.kind} actions: discrete actions alone have some"
    if not 0.0 < action.gross <= 10.0:
        return f"a gross of {action.gross:g}; above 0 and at most 10 is expected"
    if not 0 <= network.carry <= MOST_CARRY:
        return f"a carry of {network.carry} numbers; at most {MOST_CARRY} fit into a memory"
    # seats: the agents that trade one book
    names = [agent.name for agent in manifest.seats]
    if len(set(names)) != len(names) or "" in names:
        return "seats without a name, or two with the same name"
    for agent in manifest.seats:
        if unknown := set(agent.symbols) - set(manifest.universe):
            return f"seat {agent.name} holds {', '.join(sorted(unknown))}, which is not in the universe"
        if not 0.0 < agent.invested <= 1.0 or not 0.0 < agent.share <= 1.0:
            return f"seat {agent.name}: invested {agent.invested:g} and share {agent.share:g} are above 0 and at most 1"
    if manifest.seats and abs(sum(agent.share for agent in manifest.seats) - 1.0) > 1e-9:
        return "shares of seats do not add up to 1"
    if manifest.seats and action.kind != "simplex":
        return f"seats with {action.kind} actions: only simplex actions are permitted with seats"
    return ""


def ensemble_fault(manifest: EnsembleManifest) -> str:
    """Return an inconsistency in the manifest of an ensemble; empty when there is none."""
    names = [entry.folder for entry in manifest.members]
    if not 2 <= len(names) <= MOST_MEMBERS:
        return f"{len(names)} members; 2 to {MOST_MEMBERS} are expected"
    for name in names:
        if not _NAME.fullmatch(name):
            return f"the member {name[:80]!r} is no permitted name of a folder in the ensemble"
    if len(set(names)) != len(names):
        return "a member is named twice"
    shares = [entry.share for entry in manifest.members]
    if not all(0.0 <= share <= 1.0 for share in shares) or abs(sum(shares) - 1.0) > 1e-9:
        return f"shares {', '.join(f'{share:g}' for share in shares)}: each must be 0 to 1, and their sum 1"
    return ""
