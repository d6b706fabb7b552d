"""Fits the three forests walk-forward, compares them with the plain estimates, and writes them as artifacts.

The rows of the data are (session, asset) or (session, pair of assets). Needs scikit-learn, onnx and polars: the extra
`train`.

What can go wrong. A forest would be tested on outcomes that it was fitted on: so each step fits on rows whose outcomes
ended before the embargo began. Outcomes overlap, so that neighbouring rows are nearly equal and a leaf would learn one
event: so a leaf needs at least one row of every LEAF_SHARE rows. A forest would look good because volatility is easy to
predict: so it is compared with the plain estimate, and predicts only the difference from it.

What the order guarantees. The features of a row end with its session, and its outcome begins with the next session. The
artifact is loaded with every check of trading after it is written.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Final

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from quantd.models.artifacts.card import forest_card
from quantd.models.artifacts.folder import numbers
from quantd.models.artifacts.manifest import (
    Comparison,
    Fitted,
    ForestKind,
    ForestManifest,
    ForestShape,
    Golden,
    Scaler,
    Score,
    Window,
)
from quantd.models.artifacts.processor import processor
from quantd.models.artifacts.runtime import TOLERANCE
from quantd.models.forests.forest_features import LOOKBACK, features_of, look, realised, relative, see
from quantd.models.forests.prediction import LEAST_ROWS, MOST_HORIZON, THRESHOLD, load_forest, write
from quantd.models.history.panel import Panel
from quantd.models.history.panel_files import file_digest, read_panel
from quantd.models.history.splits import DAY_NS, day_of, walk_forward
from quantd.models.observation.return_features import spec_hash
from quantd.trading.market import Floats, Ints

Progress = Callable[[str], None]

DEPTH: Final[dict[ForestKind, int]] = {"risk": 10, "correlation": 8, "allocation": 12}
TREES: Final = 100
FEATURE_SHARE: Final = 0.5
LEAF_SHARE: Final = 200
"""A leaf has at least 1 / LEAF_SHARE of the rows, since overlapping outcomes make neighbouring rows nearly equal."""


class Plan(Struct, frozen=True):
    """Everything that determines a forest, except the data.

    `horizon` and `embargo` are in sessions, and `stride` is the distance of two rows in sessions. Raises ValueError for
    a horizon that cannot be measured, and where `last` is not after `first`.
    """

    predicts: ForestKind
    first: date = date(1998, 1, 2)
    last: date = date(2018, 12, 31)
    horizon: int = 21
    stride: Annotated[int, Meta(ge=1, le=1_000)] = 5
    folds: Annotated[int, Meta(ge=1, le=100)] = 5
    embargo: Annotated[int, Meta(ge=0, le=1_000)] = 5
    leaves: Annotated[int, Meta(ge=2, le=4_096)] = 64
    seed: Annotated[int, Meta(ge=0)] = 1

    def __post_init__(self) -> None:
        if not 1 <= self.horizon <= MOST_HORIZON:
            raise ValueError(f"horizon {self.horizon} must be 1 to {MOST_HORIZON} samples")
        if self.last <= self.first:
            raise ValueError(f"the data end on {self.last}, which is not after their begin, {self.first}")


class Rows(Struct, frozen=True):
    """R rows of a panel: session indices `at` int64[R] and `features` float64[R, F], a row for each prediction.

    `plain` float64[R] are the plain estimates of the outcome, and `true` float64[R] the outcomes.
    """

    at: Ints
    features: Floats
    plain: Floats
    true: Floats

    def between(self, start: int, stop: int) -> "Rows":
        """Return the rows of the sessions [start, stop)."""
        part = slice(*np.searchsorted(self.at, (start, stop)).tolist())
        return Rows(self.at[part], self.features[part], self.plain[part], self.true[part])


class Learned(Struct, frozen=True):
    """A fitted sklearn forest with its scaler."""

    forest: Any
    scaler: Scaler

    def predict(self, rows: Rows) -> Floats:
        """Return float64[R]: the plain estimate plus the forest's addition."""
        return rows.plain + self.forest.predict(_scaled(rows.features, self.scaler))


def gather(kind: ForestKind, returns: Floats, horizon: int, stride: int) -> Rows:
    """Compute the rows with known features and outcome from returns float64[T, N] of T sessions (row 0 is NaN).

    The outcome is over the `horizon` sessions after a row, and `stride` is the distance of two rows in sessions. The
    plain estimate of a row is the estimate without a forest. Axes: N assets.
    """
    blocks: list[Rows] = []
    for t in range(LOOKBACK, len(returns) - horizon, stride):
        observed = see(kind, look(returns[t - LOOKBACK + 1 : t + 1]))
        outcome = realised(kind, returns[t + 1 : t + 1 + horizon])
        usable = observed.known & np.isfinite(outcome)
        # an allocation predicts outcomes relative to the mean of the usable assets
        if kind == "allocation":
            outcome = relative(np.where(usable, outcome, np.nan))
        if usable.any():
            blocks.append(
                Rows(np.full(int(usable.sum()), t), observed.features[usable], observed.plain[usable], outcome[usable])
            )
    if not blocks:
        width = len(features_of(kind).names)
        return Rows(np.zeros(0, dtype=np.int64), np.zeros((0, width)), np.zeros(0), np.zeros(0))
    columns = ([getattr(rows, name) for rows in blocks] for name in Rows.__struct_fields__)
    return Rows(*(np.concatenate(column) for column in columns))


def fit(rows: Rows, plan: Plan) -> Learned:
    """Fit a forest. Raises ValueError for fewer than LEAST_ROWS rows."""
    from sklearn.ensemble import RandomForestRegressor  # type: ignore[import-untyped]

    count = len(rows.true)
    if count < LEAST_ROWS:
        raise ValueError(
            f"{count} rows to fit on; a forest needs {LEAST_ROWS}: give more history (--set first=DATE) or symbols"
        )
    centre, scale = rows.features.mean(axis=0), rows.features.std(axis=0)
    scaler = Scaler(tuple(centre.tolist()), tuple(np.where(scale > 1e-12, scale, 1.0).tolist()))
    forest = RandomForestRegressor(
        n_estimators=TREES,
        max_depth=DEPTH[plan.predicts],
        max_leaf_nodes=plan.leaves,
        min_samples_leaf=_least_in_leaf(count),
        max_features=FEATURE_SHARE,
        random_state=plan.seed,
        n_jobs=1,
    )
    forest.fit(_scaled(rows.features, scaler), rows.true - rows.plain)
    return Learned(forest, scaler)


def _least_in_leaf(rows: int) -> int:
    return max(1, rows // LEAF_SHARE)


def _scaled(features: Floats, scaler: Scaler) -> NDArray[np.float32]:
    return ((features - np.array(scaler.centre)) / np.array(scaler.scale)).astype(np.float32)


def score(predicted: Floats, true: Floats) -> Score:
    """Return R² against the mean of `true` (minus infinity for a constant `true`), and the mean squared error."""
    error = float(np.mean((predicted - true) ** 2))
    spread = float(np.mean((true - true.mean()) ** 2))
    return Score(r2=1.0 - error / spread if spread > 0.0 else float("-inf"), mse=error)


def judge(rows: Rows, panel_days: Ints, plan: Plan, progress: Progress) -> tuple[Comparison, tuple[Comparison, ...]]:
    """Validate walk-forward, with a forest fitted anew in each step.

    Returns the comparison with the plain estimate over all steps together, and the comparison of each step. Raises
    ValueError for too few rows.
    """
    if len(rows.true) < LEAST_ROWS:
        raise ValueError(
            f"{len(rows.true)} rows with a known outcome; a forest needs {LEAST_ROWS}: give more history "
            "(--set first=DATE) or symbols"
        )
    comparisons, predictions_by_step, judged_rows = [], [], []
    first, stop = int(rows.at[0]), int(rows.at[-1]) + 1
    for step, fold in enumerate(walk_forward(first, stop, plan.folds, plan.horizon, plan.embargo), 1):
        train, test = rows.between(*fold.train), rows.between(*fold.test)
        if not len(test.true):
            raise ValueError(f"step {step} of {plan.folds} has no rows to judge; ask for fewer (--set folds=N)")
        predictions = fit(train, plan).predict(test)
        span = _day(panel_days, int(test.at[0])), _day(panel_days, int(test.at[-1]))
        # the last fitted outcome ends `horizon` sessions after its row
        until = _day(panel_days, int(train.at[-1]) + plan.horizon)
        comparison = _comparison(*span, until, len(train.true), predictions, test.plain, test.true)
        progress(
            f"{comparison.first} to {comparison.last}: R² {comparison.model.r2:+.3f}, of the plain estimate "
            f"{comparison.plain.r2:+.3f} ({comparison.rows} rows)"
        )
        comparisons.append(comparison)
        predictions_by_step.append(predictions)
        judged_rows.append(test)
    true, plain = (np.concatenate([getattr(rows, name) for rows in judged_rows]) for name in ("true", "plain"))
    last = comparisons[-1]
    period = comparisons[0].first, last.last, last.fitted_until, last.rows_fitted
    return _comparison(*period, np.concatenate(predictions_by_step), plain, true), tuple(comparisons)


def _comparison(
    first: str, last: str, until: str, fitted: int, model: Floats, plain: Floats, true: Floats
) -> Comparison:
    """Compare the predictions `model` with the estimates `plain`, for a forest that was fitted on `fitted` rows up to
    the date `until`.
    """
    return Comparison(first, last, until, fitted, len(true), score(model, true), score(plain, true))


def _day(days: Ints, row: int) -> str:
    """The date of a row of the panel, as text."""
    return str(day_of(int(days[row])))


def train(
    bars: Path, actions: Path | None, symbols: Sequence[str], plan: Plan, out: Path, command: str, progress: Progress
) -> ForestManifest:
    """Validate walk-forward, fit on all data up to `plan.last`, and write the artifact to `out`.

    Nothing after `plan.last` is read. Raises ValueError for data that do not fit the plan.
    """
    panel = read_panel(bars, actions, symbols, plan.first, plan.last)
    data = {p.name: file_digest(p) for p in (bars, actions) if p is not None}
    return train_on(panel, data, plan, out, command, progress)


def _golden(predicts: ForestKind, learned: Learned) -> tuple[Floats, Floats]:
    """Return a probe of random returns, which contains no purchased data, and the forest's answers to it.

    One column of the probe is unknown.
    """
    probe = np.random.default_rng(0).normal(0.0004, 0.012, (LOOKBACK, 8))
    probe[:40, 5] = np.nan
    observed = see(predicts, look(probe))
    answers = np.full(len(observed.known), np.nan)
    known_rows = Rows(
        np.zeros(0, dtype=np.int64), observed.features[observed.known], observed.plain[observed.known], np.zeros(0)
    )
    answers[observed.known] = learned.predict(known_rows)
    return probe, answers


def train_on(
    panel: Panel, data: dict[str, str], plan: Plan, out: Path, command: str, progress: Progress
) -> ForestManifest:
    """Validate, fit on all rows of `panel`, and write the artifact. `data` maps each source to its hex BLAKE2b."""
    from quantd.training.forests.conversion import to_onnx, trees_of

    began = perf_counter()
    rows = gather(plan.predicts, panel.returns(), plan.horizon, plan.stride)
    together, folds = judge(rows, panel.day_ns, plan, progress)
    learned = fit(rows, plan)
    spec = features_of(plan.predicts)
    probe, answers = _golden(plan.predicts, learned)
    manifest = ForestManifest(
        kind="forest",
        name=out.name,
        predicts=plan.predicts,
        horizon=plan.horizon,
        forest=ForestShape(
            trees=TREES,
            depth=DEPTH[plan.predicts],
            leaves=plan.leaves,
            least_in_leaf=_least_in_leaf(len(rows.true)),
            feature_share=FEATURE_SHARE,
            seed=plan.seed,
        ),
        features=spec,
        features_hash=spec_hash(spec),
        scaler=learned.scaler,
        universe=panel.symbols,
        training=Fitted(
            command=command,
            data=data,
            window=Window(_day(panel.day_ns, 0), _day(panel.day_ns, -1)),
            until_ns=int(panel.day_ns[-1]) + DAY_NS,
            stride=plan.stride,
            embargo=plan.embargo,
            rows=len(rows.true),
            processor=processor().text,
        ),
        together=together,
        folds=folds,
        threshold=THRESHOLD,
        golden=Golden(LOOKBACK, probe.shape[1], TOLERANCE),
    )
    contents = {
        "card.md": forest_card(manifest).encode(),
        "golden.bin": numbers(probe, answers),
        "policy.onnx": to_onnx(trees_of(learned.forest), len(spec.names)),
    }
    written = write(out, manifest, contents, perf_counter() - began)
    load_forest(out)  # the written artifact must pass every check of trading
    return written


WARM_UP_DAYS: Final = 365
"""Calendar days read before an evaluation begins, for the features of its first session."""


def evaluate(
    folder: Path, bars: Path, actions: Path | None, symbols: Sequence[str], first: date, last: date
) -> tuple[Comparison, int]:
    """Evaluate an artifact beside the plain estimate, on decisions from `first` with outcomes until `last`.

    Returns the comparison, and how many of these sessions lie in the artifact's training window. Raises ArtifactError,
    or ValueError for data that do not fit.
    """
    forest = load_forest(folder)
    manifest = forest.artifact.manifest
    panel = read_panel(bars, actions, symbols, first - timedelta(days=WARM_UP_DAYS), last)
    begin = int(np.searchsorted(panel.day_ns, np.datetime64(first, "ns").astype(np.int64)))
    rows = gather(manifest.predicts, panel.returns(), manifest.horizon, 1).between(begin, len(panel.day_ns))
    if len(rows.true) < LEAST_ROWS:
        raise ValueError(
            f"{len(rows.true)} rows with a known outcome from {first} to {last}; an evaluation needs {LEAST_ROWS}"
        )
    sessions_in_training = len(np.unique(rows.at[panel.day_ns[rows.at] < manifest.training.until_ns]))
    span = _day(panel.day_ns, int(rows.at[0])), _day(panel.day_ns, int(rows.at[-1]))
    until, fitted = manifest.training.window.last, manifest.training.rows
    return _comparison(
        *span, until, fitted, rows.plain + forest.added(rows.features), rows.plain, rows.true
    ), sessions_in_training
