"""Plants: artificial signals of known strength about the real next returns, known at the close of a decision.

A plant is a function of each symbol's next return from open to open, in standard deviations of the training part, and
of noise drawn from the plant's seed. Its strength is the information coefficient (Grinold 1989), the correlation of
signal and return.
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
from quantd.trading.exit_codes import USAGE, ExplainedError
from quantd.trading.market import Floats
from quantd.training.plans.plan import Plan, replaced

Shape = Literal["feature", "ratio", "lag", "symbol", "turn", "file"]

SHAPES: Final = tuple(shape for shape in get_args(Shape) if shape != "file")
"""The generated shapes, in the order of the table."""

STRENGTHS: Final = (0.0, 0.05, 0.1, 0.3, 1.0)
"""Information coefficients of the plants of a study; 0 is noise alone."""

RATIO_SCALE: Final = 0.5
"""Scale of the two logarithms of a ratio, so that its columns stay within a factor of about five."""

LEAST: Final = 60
"""Minimum number of returns of a symbol in the training part for a standard deviation."""

NAME: Final = "plant"
"""The series of a plant; a second column has the name `plant_below` (ratio) or `plant_turn`."""


class PlantError(ExplainedError, ValueError):
    """A file that describes no plant (an artificial signal); the message names the file and the remedy."""

    exit_code = USAGE


class Plant(Struct, frozen=True, forbid_unknown_fields=True):
    """A planted signal of strength `ic`, an information coefficient from 0 to 1, in one of these shapes.

    "feature" is one column with the signal. "ratio" is two columns; the logarithm of their quotient is the signal.
    "lag" is one column that has the signal `lag` sessions early; the plan also shows its values of `lag` earlier
    sessions, because a learner without memory sees no others. "symbol" is one column with the signal of one symbol (by
    default the first) and noise for the other symbols. "turn" is two columns: noise, and the signal with its sign
    changed where the noise is negative; neither column alone is correlated with the return. "file" reads the parquet
    file `values`: ts (the session's date), symbol, `expected` (the expected return from the next open to the open after
    that, a fraction), and one or more further columns, which a learner sees.

    Raises ValueError for an `ic` outside 0 to 1, a lag below 1, `values` with another shape than "file", and a shape
    "file" without `values`.
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
            raise ValueError(f"shape {self.shape!r}: give `values`, a file, with shape file and with no other shape")


class Planted(Struct, frozen=True):
    """A plant (artificial signal) in a panel: the columns that a learner sees at each close, and the expected returns,
    which only the reference rule knows.

    `columns` are float64[T, N] by name; a learner also sees the values of each column in the `past` sessions before.
    `expected` float64[T, N] are expected returns from the next open to the open after that, as fractions. Axes: T
    sessions, N assets.
    """

    columns: dict[str, Floats]
    expected: Floats
    past: int = 0

    @property
    def seen(self) -> dict[str, Floats]:
        """All that a learner sees: the columns, then their values of earlier sessions, float64[T, N], by name of the
        feature.

        Rows without an earlier session are 0. Axes: T sessions, N assets.
        """
        seen = dict(self.columns)
        for name, values in self.columns.items():
            for sessions in range(1, self.past + 1):
                seen[f"{name}_ago_{sessions}"] = np.concatenate([np.zeros_like(values[:sessions]), values[:-sessions]])
        return seen


def read_plants(path: Path) -> dict[str, Plant]:
    """Return the plants (artificial signals) of a TOML file by name: each is a table with the fields of Plant. Raises
    PlantError.
    """
    try:
        plants = msgspec.toml.decode(path.read_bytes(), type=dict[str, Plant])
    except OSError as error:
        raise PlantError(f"{path}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise PlantError(f"{path}: {error}") from None
    if not plants:
        raise PlantError(
            f'{path}: no planted signal; write a table for each, such as [mine] with shape = "feature", ic = 0.1'
        )
    return {name: _with_path(path, plant) for name, plant in plants.items()}


def _with_path(path: Path, plant: Plant) -> Plant:
    """Return the plant with its path `values` resolved. In the TOML file `path` it is relative to that file."""
    return msgspec.structs.replace(plant, values=str(path.parent / plant.values)) if plant.values else plant


def next_returns(panel: Panel) -> Floats:
    """Return float64[T, N], the return after each decision: from the next open to the open after that.

    The returns include splits and dividends.

    The last decision of a panel ends at its last close. The last row, and rows without both prices, are NaN. Axes: T
    sessions, N assets.
    """
    wealth = np.full_like(panel.open, np.nan)
    # for a share at open t, its holder has `split` shares at open t + 1, and the dividend of the old share
    wealth[:-1] = (panel.open[1:] * panel.split[1:] + panel.dividend[1:]) / panel.open[:-1] - 1.0
    wealth[-1] = panel.close[-1] / panel.open[-1] - 1.0
    return np.concatenate([wealth[1:], np.full_like(wealth[:1], np.nan)])


def planted(plant: Plant, panel: Panel, train: range) -> Planted:
    """Put a plant into a panel; `train` are the rows whose standard deviations scale the returns. Raises PlantError.

    A plant is an artificial signal. Its strength `ic` is the correlation of the signal with the return after the
    decision. The shape decides which columns a learner sees.
    """
    if plant.shape == "file":
        return _of_file(plant, panel)
    returns = next_returns(panel)
    fitted = returns[train.start : train.stop]
    if (too_few := np.isfinite(fitted).sum(axis=0) < LEAST).any():
        name = panel.symbols[int(np.argmax(too_few))]
        raise PlantError(f"{name} has fewer than {LEAST} returns in the training part, which scale its signal")
    deviation, returns = np.nanstd(fitted, axis=0), np.nan_to_num(returns)
    # a constant price: its returns are 0, and must not be divided by 0
    deviation[deviation == 0.0] = 1.0
    draw = np.random.default_rng(plant.seed)
    noise, second_noise = draw.standard_normal(returns.shape), draw.standard_normal(returns.shape)
    strength = np.full(len(panel.symbols), plant.ic)
    if plant.shape == "symbol":
        strength[:] = 0.0
        strength[_column(plant, panel)] = plant.ic
    signal = strength * (returns / deviation) + np.sqrt(1.0 - strength**2) * noise
    expected = strength * deviation * signal
    match plant.shape:
        case "ratio":
            # the signal is the logarithm of the quotient of the two columns
            log_divisor = RATIO_SCALE * second_noise
            columns = {NAME: np.exp(log_divisor + RATIO_SCALE * signal), f"{NAME}_below": np.exp(log_divisor)}
        case "turn":
            # the second column tells whether the sign is changed
            columns = {NAME: np.where(second_noise < 0.0, -signal, signal), f"{NAME}_turn": second_noise}
        case "lag":
            # the column has the signal `lag` sessions early
            early = np.zeros_like(signal)
            early[: -plant.lag] = signal[plant.lag :]
            return Planted({NAME: early}, expected, plant.lag)
        case _:
            columns = {NAME: signal}
    return Planted(columns, expected)


def _column(plant: Plant, panel: Panel) -> int:
    """Return the panel's column of the symbol of a plant (artificial signal). Raises PlantError for a symbol that the
    panel lacks.
    """
    if not plant.symbol:
        return 0
    if plant.symbol not in panel.symbols:
        raise PlantError(f"symbol {plant.symbol} is not in the plan; name one of {', '.join(panel.symbols)}")
    return panel.symbols.index(plant.symbol)


def _of_file(plant: Plant, panel: Panel) -> Planted:
    """Read the plant (artificial signal) of shape "file" for the panel's sessions and symbols; a missing value is 0."""
    path = Path(plant.values)
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise PlantError(f"{path}: it cannot be read as parquet: {str(error).splitlines()[0][:120]}") from None
    if missing := [name for name in ("ts", "symbol", "expected") if name not in frame.columns]:
        raise PlantError(f"{path}: column {missing[0]} is missing (it has {', '.join(frame.columns)})")
    learner_columns = [name for name in frame.columns if name not in ("ts", "symbol", "expected")]
    if not learner_columns:
        raise PlantError(f"{path}: it has no column for a learner; add the signal beside ts, symbol and expected")
    try:
        frame = frame.with_columns(pl.col("ts").cast(pl.Date), pl.col("expected", *learner_columns).cast(pl.Float64))
    except pl.exceptions.PolarsError as error:
        fault = f"{path}: ts is no date, or a column has no numbers: {str(error).splitlines()[0][:120]}"
        raise PlantError(f"{fault}; write dates, and floats in the other columns than symbol") from None
    rows = {day_of(ns): row for row, ns in enumerate(panel.day_ns)}
    columns = {symbol: column for column, symbol in enumerate(panel.symbols)}
    frame = frame.filter(pl.col("ts").is_in(list(rows)) & pl.col("symbol").is_in(list(columns)))
    # (rows, columns) of the values in a table float64[T, N]
    cells = [rows[day] for day in frame["ts"]], [columns[symbol] for symbol in frame["symbol"]]
    if not len(frame):
        raise PlantError(f"{path}: no row is of a session and a symbol of the plan")
    tables = {}
    for name in ("expected", *learner_columns):
        tables[name] = np.zeros_like(panel.open)
        tables[name][cells] = frame[name].fill_null(0.0).fill_nan(0.0).to_numpy()
    return Planted({f"{NAME}_{name}": tables[name] for name in learner_columns}, tables["expected"])


def planted_plan(plan: Plan, plant: Planted, panel: Panel, folder: Path) -> Plan:
    """Return the plan with the columns of a plant (artificial signal) in its sight (the input of the policy); the files
    of these columns are written to `folder`.

    Raises OSError.
    """
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
        # known at the close of its date, when the learner decides
        series.append({"name": name, "path": str(path.absolute()), "available": "close"})
    columns = [*plan.sight.columns, *(f"series_{name}" for name in plant.seen)]
    return replaced(plan, {"data.series": series, "sight.columns": columns})
