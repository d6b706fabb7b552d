"""A sweep: the same configuration at every point of a grid, each after costs and under the risk limits.

What can go wrong: the best of many points is read as a single result. So the result states the number of trials from
which the best point was chosen. Its deflated Sharpe ratio counts every trial of the market. The probability of
overfitting refers to the choice of the best point of this sweep.

A sweep over a cost names no best point, because the lowest cost is always the best. A point whose policy failed is
never the best.

An interrupted sweep continues from its file of points. The file begins with the identity of the sweep, so that a sweep
with other values, bars, costs or code begins anew. A point that was written only in part is removed before the next
point is appended.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from msgspec.structs import replace

from quantd.daemon.runtime.version import code_version
from quantd.research.doubts import Doubt, doubt_lines, joined, named_doubts
from quantd.research.runs.failures import REMEDY, DecisionFailed
from quantd.research.runs.looks import try_note_looks
from quantd.research.runs.trials import Known, Look
from quantd.research.significance.overfitting import BLOCKS, Overfitting, overfitting
from quantd.research.studies.grid import Grid
from quantd.research.studies.sweep_points import METRICS, Base, Point, Run, Work, run_points
from quantd.trading.exit_codes import ExplainedError
from quantd.training.runs.workers import Executor, Failed

MOST_PER_WORK: Final = 25
"""Maximum number of points that a worker takes at a time."""

COSTS: Final = frozenset(
    f"broker.{name}" for name in (
        "commission_bp", "commission_min", "spread_bp", "slippage_bp", "slippage_noise", "impact", "participation",
        "costs", "borrow_bp_annual", "latency",
    )
)  # fmt: skip
"""Keys of costs, which the market decides and nobody chooses. The lowest cost is always the best."""

POINTS: Final = "points.bin"
TABLE: Final = "sweep.parquet"
RETURNS: Final = "returns.parquet"
MOST_COSTS: Final = 10
"""Maximum number of costs that the verdict names."""

LIKELY: Final = 0.5
"""A probability of overfitting above this is more likely than not."""

BELIEVED: Final = 0.95
"""The verdict says that a best point may be luck where its deflated Sharpe ratio is below this."""


class SweepFailed(ExplainedError):
    """A sweep that has no result; the text names the cause."""


class PointsFile:
    """The finished points of a sweep on disk, so that an interrupted sweep continues.

    The file has the identity of the sweep, then for each point its length (8 bytes, little endian) and its content.
    With another identity (other values, bars, costs or code) the file begins anew.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._head = path, identity.encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.points: dict[int, Point] = {}
        complete_bytes = self._read()
        with path.open("r+b" if complete_bytes else "wb") as file:
            file.truncate(complete_bytes)
            if not complete_bytes:
                file.write(self._head)

    def _read(self) -> int:
        """Read the complete points of the file.

        Returns the number of bytes up to the end of the last complete point; 0 for the file of another sweep.
        """
        data = self._path.read_bytes() if self._path.exists() else b""
        if not data.startswith(self._head):
            return 0
        offset = len(self._head)
        while offset + 8 <= len(data):  # 8 bytes have the length of the point that follows
            end = offset + 8 + int.from_bytes(data[offset : offset + 8], "little")
            if end > len(data):
                break  # a point that was not written completely
            point = msgspec.msgpack.decode(data[offset + 8 : end], type=Point)
            self.points[point.number] = point
            offset = end
        return offset

    def add(self, point: Point) -> None:
        data = msgspec.msgpack.encode(point)
        with self._path.open("ab") as file:
            file.write(len(data).to_bytes(8, "little") + data)
        self.points[point.number] = point


@dataclass(frozen=True)
class Sweep:
    """The result of a sweep: its keys, and its points in the order of the grid.

    `known` are the trials of the best point's market, the trials of this sweep included. `grid` has the values of the
    keys, and says whether the points were drawn.
    """

    keys: tuple[str, ...]
    points: tuple[Point, ...]
    known: Known
    grid: Grid | None = field(default=None, kw_only=True, compare=False)

    @cached_property
    def best(self) -> Point | None:
        """The point with the highest Sharpe ratio; None where no point has one, or where a key is a cost."""
        if self.costs:
            return None
        return max(self.ran, key=lambda p: p.look.sharpe, default=None)  # type: ignore[union-attr]

    def values(self, key: int) -> list[str]:
        """Return the values that the points have for the key with index `key`, in the order of the grid."""
        present = dict.fromkeys(point.values[key] for point in self.points)
        # the first of a value's drawn points may come after that of a later value
        return list(present) if self.grid is None else [v for v in self.grid.axes[self.keys[key]] if v in present]

    @property
    def costs(self) -> tuple[str, ...]:
        return tuple(key for key in self.keys if key in COSTS)

    @cached_property
    def ran(self) -> tuple[Point, ...]:
        """The points with a result: they ran to the end without a failed decision, and have a ratio."""
        return tuple(p for p in self.points if p.look is not None and not p.fault)

    @property
    def failure_lines(self) -> list[str]:
        return [f"{self._values_text(point)}: {failure.text}" for point in self.points for failure in point.failures]

    @property
    def faults(self) -> tuple[Point, ...]:
        """The points without a result."""
        return tuple(point for point in self.points if point.fault)

    @cached_property
    def table(self) -> pl.DataFrame:
        """One row per point: the values of the keys, then the metrics, then the fault."""
        columns: dict[str, Any] = {
            key: _typed([point.values[k] for point in self.points]) for k, key in enumerate(self.keys)
        }
        for name in METRICS:
            columns[name] = pl.Series(name, [point.metrics.get(name) for point in self.points], pl.Float64)
        columns["fault"] = [point.fault for point in self.points]
        return pl.DataFrame(columns)

    @cached_property
    def returns(self) -> pl.DataFrame:
        """The returns of the points with a ratio: the column ts, and a column for each point, named by its number.

        Points with fewer samples than the longest are left out.
        """
        points = self._full_length
        ts = pl.Series("ts", np.frombuffer(points[0].ts if points else b"", dtype=np.int64), pl.Int64)
        columns = [
            ts.cast(pl.Datetime("ns", "UTC")),
            *(pl.Series(str(point.number), point.series()) for point in points),
        ]
        return pl.DataFrame(columns)

    @cached_property
    def _full_length(self) -> list[Point]:
        """The points with a ratio that have as many samples as the longest one, so that their returns align."""
        sizes = [len(point.returns) for point in self.ran]
        return [point for point in self.ran if len(point.returns) == max(sizes)]

    @cached_property
    def overfitting(self) -> Overfitting | None:
        """The probability that choosing the best point overfits; None for too few points or samples, or where a key is
        a cost."""
        if self.costs or len({point.returns for point in self._full_length}) < 2:
            return None
        returns = np.column_stack([point.series() for point in self._full_length])
        # an even number of blocks, each with at least 4 samples
        blocks = min(BLOCKS, len(returns) // 4 // 2 * 2)
        varying_returns = returns[:, returns.std(axis=0) > 0.0]
        if blocks < 2 or varying_returns.shape[1] < 2:
            return None
        return overfitting(varying_returns, blocks=blocks)

    @property
    def without_effect(self) -> tuple[str, ...]:
        """The keys whose values change nothing: points that differ in one of them alone have equal returns."""
        unused = []
        for k, key in enumerate(self.keys):
            alike: dict[tuple[str, ...], list[bytes]] = {}
            for point in self.ran:
                alike.setdefault((*point.values[:k], *point.values[k + 1 :]), []).append(point.returns)
            if max(map(len, alike.values()), default=0) > 1 and all(len(set(group)) == 1 for group in alike.values()):
                unused.append(key)
        return tuple(unused)

    @cached_property
    def deflated(self) -> float | None:
        """The deflated Sharpe ratio of the best point, by all trials of its market; None where their number is
        unknown."""
        best = self.best
        if best is None or best.look is None:
            return None
        return self.known.deflated(best.series(), best.look.sharpe, best.look.periods)

    @cached_property
    def doubts(self) -> tuple[Doubt, ...]:
        """The reasons to doubt the best point (where a key is a cost, every point), the heaviest first."""
        if self.costs:
            return named_doubts({_key_values(self.keys, point.values): point.doubts for point in self.ran})
        return () if self.best is None else self.best.doubts

    def doubt_lines(self) -> list[str]:
        """Return the doubts as sentences, without the worst one, which is in the text of `verdict`."""
        return doubt_lines(self.doubts)

    def _cost_verdict(self) -> str:
        """Return a sentence on the best point at each cost, without a choice among costs."""
        cost_indices = [self.keys.index(key) for key in self.costs]
        other_indices = [k for k in range(len(self.keys)) if k not in cost_indices]
        groups: dict[tuple[str, ...], list[Point]] = {}
        for point in self.ran:
            groups.setdefault(tuple(point.values[k] for k in cost_indices), []).append(point)
        plural = "is a cost" if len(self.costs) == 1 else "are costs"
        text = f"{', '.join(self.costs)} {plural}, which nobody chooses, so no cost is called the best."
        for costs, points in list(groups.items())[:MOST_COSTS]:
            best = max(points, key=lambda point: point.look.sharpe)  # type: ignore[union-attr]
            assert best.look is not None
            chosen = _key_values([self.keys[k] for k in other_indices], [best.values[k] for k in other_indices])
            best_text = f" the best of {len(points)} points is {chosen}:" if other_indices else ""
            text += f" At {_key_values(self.costs, costs)}{best_text} Sharpe {best.look.sharpe:.2f}."
        if len(groups) > MOST_COSTS:
            text += f" The table has {len(groups) - MOST_COSTS} more."
        return f"{text} {self.known.text}"

    def _values_text(self, point: Point) -> str:
        return ", ".join(f"{key}={value}" for key, value in zip(self.keys, point.values, strict=True))

    @property
    def fault_lines(self) -> list[str]:
        """One line for each point without a result whose policy did not fail: its values and the fault."""
        return [
            f"  without a result: {self._values_text(point)}: {point.fault}"
            for point in self.faults if not point.failures
        ]  # fmt: skip

    def verdict(self) -> str:
        """Return what the sweep shows, in sentences, with the worst reason to doubt it."""
        drawing = self.grid.drawing if self.grid is not None else ""
        equal = "".join(
            f"{key} changes nothing here: points that differ in it alone are equal. " for key in self.without_effect
        )
        return joined(f"{equal}{self._verdict_without_doubts()} {drawing}".rstrip(), self.doubts)

    def _verdict_without_doubts(self) -> str:
        """Return the best point with its Sharpe ratio, plain and deflated, and the probability of overfitting, as text.

        A sweep of costs has a sentence for each cost instead.
        """
        if self.costs and self.ran:
            return self._cost_verdict()
        best = self.best
        if best is None or best.look is None:
            return "No point has a Sharpe ratio."
        values = _key_values(self.keys, best.values)
        count = f"{len(self.ran):,} point{'' if len(self.ran) == 1 else 's'}"
        text = f"The best of {count} is {values}: Sharpe {best.look.sharpe:.2f}"
        if self.deflated is None:
            text += f". {self.known.text}"
        else:
            text += f", deflated {self.deflated:.2f} ({self.known.counted})."
            if self.deflated < BELIEVED:
                text += " It may be luck."
        if (validation := self.overfitting) is not None:
            text += f" Probability of overfitting {validation.probability:.2f}"
            overfit_text = "more likely than not, the best point of this sweep is in the lower half out of sample"
            text += f": {overfit_text}." if validation.probability > LIKELY else "."
        return text


def _key_values(keys: Sequence[str], values: Sequence[str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in zip(keys, values, strict=True))


def _typed(values: Sequence[str]) -> pl.Series:
    """Return `values` as a column: integers if all are integers, floats if all are numbers, else text."""
    text = pl.Series(values, dtype=pl.String)
    for kind in (pl.Int64, pl.Float64):
        numbers = text.cast(kind, strict=False)
        if not numbers.null_count():
            return numbers
    return text


def identity_of(base: Base, grid: Grid, market: str) -> str:
    """Return the hex BLAKE2b of everything that decides the results of a sweep."""
    # without paths: the same sweep in another folder has the same results
    shared = msgspec.structs.replace(base, cache="", bars="", folder="")
    parts = msgspec.json.encode((shared, market, grid.identity, code_version()))
    return blake2b(parts, digest_size=16).hexdigest()


def folder_of(state: Path, identity: str) -> Path:
    return state / "sweeps" / identity[:12]


Progress = Callable[[float], object]
"""Receives the completed share of a sweep, from 0 to 1."""


class Collector:
    """Receives the points of the workers, stores each and reports the progress."""

    def __init__(self, file: PointsFile, total: int, progress: Progress, *, stop: bool) -> None:
        self._file, self._total, self._progress, self._stop = file, total, progress, stop

    def told(self, number: int, point: Point) -> bool:
        """Store a finished point. Returns True where the sweep must end: after a failed decision, if `stop` is set."""
        self._file.add(point)
        self._progress(len(self._file.points) / self._total)
        return self._stop and bool(point.failures)

    def ended(self, number: int, outcome: int | Failed) -> None:
        """Check how a worker ended.

        Raises SweepFailed for a worker that stopped early and, if `stop` is set, DecisionFailed for a failed policy.
        """
        if self._stop:
            stop_at(self._file.points.values())
        if isinstance(outcome, Failed):
            raise SweepFailed(f"a worker stopped: {outcome.reason}; run the same command again to continue the sweep")


def stop_at(points: Iterable[Point]) -> None:
    """Raise DecisionFailed for the first point whose policy failed."""
    for point in points:
        if point.failures:
            raise DecisionFailed(f"the point {', '.join(point.values)}: {point.fault}; {REMEDY}")


def sweep(
    base: Base,
    grid: Grid,
    identity: str,
    folder: Path,
    state: Path,
    where: Executor,
    progress: Progress = lambda share: None,
    run: Run = run_points,
    *,
    stop: bool = False,
    family: str = "",
) -> Sweep:
    """Run every point of `grid` that `folder` does not have yet, and note all points as looks (evaluations) in the
    ledger of `state`.

    The looks belong to `family`, if it is named. `identity` is the digest of all that decides the results
    (`identity_of`). `where` runs the workers, and each worker calls `run`. An interrupted sweep continues when this
    function is called again. If `stop` is True, the first point whose policy failed raises DecisionFailed. Raises
    SweepFailed for a sweep without a result, WorkerLost where a worker process ended early, and OSError for a
    file that cannot be written.
    """
    file = PointsFile(folder / POINTS, identity)
    if stop:
        stop_at(file.points.values())
    open_points = [(number, values) for number, values in enumerate(grid) if number not in file.points]
    # about four works for each worker, so that a slow one does not hold up the end
    points_per_work = min(MOST_PER_WORK, max(1, ceil(len(open_points) / (4 * where.workers))))

    def arguments() -> Iterator[Work]:
        for first in range(0, len(open_points), points_per_work):
            yield Work(base, grid.keys, tuple(open_points[first : first + points_per_work]))

    where.run(run, arguments(), Collector(file, len(grid), progress, stop=stop))
    points = _identified([point for _, point in sorted(file.points.items())], family)
    looks: list[Look] = [point.look for point in points if point.look is not None]
    known_trials = try_note_looks(state, looks)
    if looks:
        known_trials = known_trials.like(max(looks, key=lambda look: look.sharpe))
    grid_sweep = Sweep(grid.keys, points, known_trials, grid=grid)
    grid_sweep.table.write_parquet(folder / TABLE)
    # written only where no point was left out of the returns
    if grid_sweep.returns.width == 1 + len(grid_sweep.ran):
        grid_sweep.returns.write_parquet(folder / RETURNS)
    return grid_sweep


def _identified(points: Sequence[Point], family: str) -> tuple[Point, ...]:
    """Return the points, each with the family and the market's identity in its look (entry for the ledger).

    Of the stored points of one market only the first has the identity, to save space.
    """
    looks = [point.look for point in points if point.look is not None]
    identities = {look.market: look.identity for look in looks if look.identity is not None}
    return tuple(
        point
        if point.look is None
        else replace(point, look=replace(point.look, family=family, identity=identities.get(point.look.market)))
        for point in points
    )
