"""Plants: signals of known strength in real prices, known at the close of a decision.

A plant is a function of each symbol's next return from open to open, in deviations of the training part, and of noise
drawn from its seed. Its strength is the information coefficient (Grinold 1989), the correlation of signal and return.
"""

from pathlib import Path
from typing import Final, Literal, get_args

import msgspec
import numpy as np
import polars as pl
from msgspec import Struct

from quantd.models.history.panel import Panel
from quantd.models.history.splits import day_of
from quantd.regular_file import write_whole
from quantd.trading.market import Floats
from quantd.training.plans.plan import Plan, replaced

Shape = Literal["feature", "ratio", "lag", "symbol", "turn", "file"]

SHAPES: Final = tuple(shape for shape in get_args(Shape) if shape != "file")
"""The generated shapes, in the order of the table."""

STRENGTHS: Final = (0.0, 0.05, 0.1, 0.3, 1.0)

RATIO_SCALE: Final = 0.5
"""Deviation of both logarithms of a ratio: its two columns stay within a factor of about five."""

LEAST: Final = 60
"""Fewest returns of a symbol in the training part for a deviation."""

NAME: Final = "plant"
"""The series of a plant; a second column has the name `plant_below` (ratio) or `plant_turn`."""


class PlantError(ValueError):
    """A file that is no plant; the message names it and the remedy."""


class Plant(Struct, frozen=True, forbid_unknown_fields=True):
    """A signal of strength `ic`, 0 to 1. Raises ValueError for a strength outside, or a lag below 1.

    "feature" is one column with the signal. "ratio" is two columns, of which the logarithm of the quotient is the
    signal. "lag" is one column that tells the return of the decision `lag` sessions later; a plan names its values of
    so many earlier sessions, because a learner without memory sees no others. "symbol" is one column with the signal of
    one symbol (by default the first) and noise for the others. "turn" is two columns: noise, and the signal with its
    sign changed where the noise is negative; neither column alone is correlated with the return. "file" reads the
    parquet file `values`: ts (the session's date), symbol, `expected` (the expected return from the next open to the
    one after, a fraction), and one or more further columns, which are what a learner sees.
    """

    shape: Shape = "feature"
    ic: float = 1.0
    seed: int = 1
    lag: int = 1
    symbol: str = ""
    values: str = ""

    def __post_init__(self) -> None:
        if not 0.0 <= self.ic <= 1.0 or self.lag < 1:
            raise ValueError(f"ic {self.ic:g} must be from 0 to 1, and lag {self.lag} 1 or more")
        if (self.shape == "file") != bool(self.values):
            raise ValueError(f"shape {self.shape!r}: `values` names the file of shape file, and of no other")


class Planted(Struct, frozen=True):
    """A plant in a panel: what is seen at each close, and what a rule that knows the plant expects.

    `columns` are float64[T, N] by name, each seen with its values of `past` earlier sessions. `expected` float64[T, N]
    are expected returns from the next open to the one after, as fractions.
    """

    columns: dict[str, Floats]
    expected: Floats
    past: int = 0

    @property
    def seen(self) -> dict[str, Floats]:
        """The columns, then their values of earlier sessions, float64[T, N], as features of series name them.

        Rows before the first value are 0.
        """
        seen = dict(self.columns)
        for name, values in self.columns.items():
            for sessions in range(1, self.past + 1):
                seen[f"{name}_ago_{sessions}"] = np.concatenate([np.zeros_like(values[:sessions]), values[:-sessions]])
        return seen


def read_plants(path: Path) -> dict[str, Plant]:
    """Return the plants of a TOML file by name: a table for each, with the fields of Plant. Raises PlantError."""
    try:
        plants = msgspec.toml.decode(path.read_bytes(), type=dict[str, Plant])
    except OSError as error:
        raise PlantError(f"{path}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise PlantError(f"{path}: {error}") from None
    if not plants:
        raise PlantError(f'{path}: no plant; write a table for each, such as [mine] with shape = "feature", ic = 0.1')
    return {name: _beside(path, plant) for name, plant in plants.items()}


def _beside(path: Path, plant: Plant) -> Plant:
    """Return the plant with the path of its values relative to the file that names them."""
    return msgspec.structs.replace(plant, values=str(path.parent / plant.values)) if plant.values else plant


def next_returns(panel: Panel) -> Floats:
    """Return float64[T, N], the return of each decision: from the next open to the one after, splits and dividends in.

    The last decision of a panel ends at its last close. The last row, and rows without both prices, are NaN.
    """
    wealth = np.full_like(panel.open, np.nan)
    # a holder at open t has `split` shares at open t + 1, and the dividend of each share held before
    wealth[:-1] = (panel.open[1:] * panel.split[1:] + panel.dividend[1:]) / panel.open[:-1] - 1.0
    wealth[-1] = panel.close[-1] / panel.open[-1] - 1.0
    return np.concatenate([wealth[1:], np.full_like(wealth[:1], np.nan)])


def planted(plant: Plant, panel: Panel, train: range) -> Planted:
    """Put a plant into a panel; `train` are the rows whose deviations scale the returns. Raises PlantError."""
    if plant.shape == "file":
        return _of_file(plant, panel)
    returns = next_returns(panel)
    fitted = returns[train.start : train.stop]
    if (still := np.isfinite(fitted).sum(axis=0) < LEAST).any():
        name = panel.symbols[int(np.argmax(still))]
        raise PlantError(f"{name} has fewer than {LEAST} returns in the training part, which scale its signal")
    deviation, returns = np.nanstd(fitted, axis=0), np.nan_to_num(returns)
    deviation[deviation == 0.0] = 1.0
    draw = np.random.default_rng(plant.seed)
    noise, common = draw.standard_normal(returns.shape), draw.standard_normal(returns.shape)
    strength = np.full(len(panel.symbols), plant.ic)
    if plant.shape == "symbol":
        strength[:] = 0.0
        strength[_column(plant, panel)] = plant.ic
    signal = strength * (returns / deviation) + np.sqrt(1.0 - strength**2) * noise
    expected = strength * deviation * signal
    match plant.shape:
        case "ratio":
            below = RATIO_SCALE * common
            columns = {NAME: np.exp(below + RATIO_SCALE * signal), f"{NAME}_below": np.exp(below)}
        case "turn":
            columns = {NAME: np.where(common < 0.0, -signal, signal), f"{NAME}_turn": common}
        case "lag":
            later = np.zeros_like(signal)
            later[: -plant.lag] = signal[plant.lag :]
            return Planted({NAME: later}, expected, plant.lag)
        case _:
            columns = {NAME: signal}
    return Planted(columns, expected)


def _column(plant: Plant, panel: Panel) -> int:
    if not plant.symbol:
        return 0
    if plant.symbol not in panel.symbols:
        raise PlantError(f"symbol {plant.symbol}: the plan has {', '.join(panel.symbols)}")
    return panel.symbols.index(plant.symbol)


def _of_file(plant: Plant, panel: Panel) -> Planted:
    path = Path(plant.values)
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise PlantError(f"{path}: it cannot be read as parquet: {str(error).splitlines()[0][:120]}") from None
    if missing := [name for name in ("ts", "symbol", "expected") if name not in frame.columns]:
        raise PlantError(f"{path}: column {missing[0]} is missing (it has {', '.join(frame.columns)})")
    seen = [name for name in frame.columns if name not in ("ts", "symbol", "expected")]
    if not seen:
        raise PlantError(f"{path}: it has no column for a learner; add one beside expected")
    try:
        frame = frame.with_columns(pl.col("ts").cast(pl.Date), pl.col("expected", *seen).cast(pl.Float64))
    except pl.exceptions.PolarsError as error:
        text = f"{path}: ts is no date, or a column no number: {str(error).splitlines()[0][:120]}"
        raise PlantError(f"{text}; write dates, and floats in the other columns than symbol") from None
    rows = {day_of(ns): row for row, ns in enumerate(panel.day_ns)}
    places = {symbol: place for place, symbol in enumerate(panel.symbols)}
    frame = frame.filter(pl.col("ts").is_in(list(rows)) & pl.col("symbol").is_in(list(places)))
    at = [rows[day] for day in frame["ts"]], [places[symbol] for symbol in frame["symbol"]]
    if not len(frame):
        raise PlantError(f"{path}: no row is of a session and a symbol of the plan")
    tables = {}
    for name in ("expected", *seen):
        tables[name] = np.zeros_like(panel.open)
        tables[name][at] = frame[name].fill_null(0.0).fill_nan(0.0).to_numpy()
    return Planted({f"{NAME}_{name}": tables[name] for name in seen}, tables["expected"])


def planted_plan(plan: Plan, plant: Planted, panel: Panel, folder: Path) -> Plan:
    """Return the plan that also sees the columns of a plant, whose files are written to `folder`. Raises OSError."""
    series = list(msgspec.to_builtins(plan.data.series))
    days = [day_of(ns) for ns in panel.day_ns]
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in plant.columns.items():
        path = folder / f"{name}.csv"
        frame = pl.DataFrame({
            "ts": np.repeat(np.array(days, dtype="datetime64[D]"), len(panel.symbols)),
            "symbol": list(panel.symbols) * len(days),
            "value": values.ravel(),
        })  # fmt: skip
        write_whole(path, frame.write_csv().encode())
        series.append({"name": name, "path": str(path.absolute()), "available": "close"})
    columns = [*plan.sight.columns, *(f"series_{name}" for name in plant.seen)]
    return replaced(plan, {"data.series": series, "sight.columns": columns})
