"""Studies of factors over bars in memory, or over the recorded market of a configuration."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.recorded.bar_files import BarFrame
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import Config
from quantd.daemon.policies.user_file import UserPolicy
from quantd.daemon.views.report.rendering import html
from quantd.daemon.views.report.section_parts import Note, Part, Row, Table
from quantd.research.python_api.arguments import Misused
from quantd.research.python_api.bar_frame import bar_frame
from quantd.research.python_api.frames import Frame
from quantd.research.python_api.functions import FILE, CallerPolicy, name_of, source_digest
from quantd.research.python_api.run_config import Settings, around, loaded, with_adjusted
from quantd.research.runs.comparison import unlimited
from quantd.research.studies import signal_study
from quantd.research.studies.factors import FunctionFactor, Source, require_function, source_of
from quantd.trading.exit_codes import ExplainedError

TABLE_ROWS: Final = 64
"""A table in memory with at least this many rows counts as history of the market."""

DEPTH: Final = 4
"""Levels of objects in objects that are searched for tables."""


class LooksAhead(ExplainedError, ValueError):
    """A factor that the check against look-ahead refuses. The text states what differs."""


def study_signal(
    factor: object,
    bars: object,
    settings: Settings | None = None,
    *,
    horizons: Sequence[int] = signal_study.HORIZONS,
    quantiles: int = signal_study.QUANTILES,
    cuts: int = signal_study.CUTS,
    adjusted: bool = False,
    family: str = "",
) -> "Signals":
    """Measure factors: information coefficient, decay, quantile spread, turnover and cost.

    `factor` is a feature ("momentum_126"), a file ("mine.py:signal"), a function `signal(view)` with one number per
    symbol, or a list of these. `bars` is a polars or pandas frame, a configuration of `quantd.load`, or the path of a
    TOML file. `settings` replace keys of the configuration. `horizons` are in samples. `adjusted` states
    that prices are adjusted for splits. Each factor counts as a trial in the state folder, for its own market and for
    the `family`. Raises LooksAhead for a factor that fails the look-ahead guard, Misused for `settings` beside a
    configuration, and ConfigError or another Error.
    """
    require_cuts(cuts)
    settings = with_adjusted(settings, adjusted=adjusted)
    frame: BarFrame | None = None
    if isinstance(bars, Config | str | os.PathLike):
        config = loaded(bars, settings)
    else:
        frame = bar_frame(bars)
        config = around(frame, "equal_weight", {}, settings)
    factors = list(factor) if isinstance(factor, list | tuple) else [factor]
    inputs = config.feed.inputs
    sources = [
        source_of(entry, Path.cwd(), inputs) if isinstance(entry, str) else _source_in_memory(entry)
        for entry in factors
    ]
    folder = config.state_folder(None)
    # factors are measured without trading: one agent without limits stands in for the configured agents
    unlimited_config = unlimited(config, {}, name="studied", policy="equal_weight", params={})
    assembly = assemble(unlimited_config, cache=folder / "cache", bars=frame)
    result = signal_study.study_signals(
        assembly, sources, horizons=horizons, quantiles=quantiles, cuts=cuts, state=folder, family=family
    )
    refused = [line for study in result.studies if study.refused for line in signal_study.title(study)]
    if refused:
        raise LooksAhead("\n".join(refused))
    return Signals(result)


def require_cuts(cuts: int) -> None:
    """Raise Misused for a check against look-ahead without any shortened market."""
    if cuts < 1:
        raise Misused(f"cuts={cuts}: no earlier end of the market to compare; give 1 or more")


def _source_in_memory(function: object) -> Source:
    """Return the source of a factor from the caller's function.

    The function cannot be loaded anew, so each call of `load` returns the same function.
    """
    name = name_of(function)
    policy = CallerPolicy(function).file(Path(FILE), name, {})
    assert isinstance(policy, UserPolicy)
    require_function(name, policy)
    return Source(
        name=name,
        load=lambda: FunctionFactor(policy),
        identity=source_digest(function),
        users=True,  # a function of the user
        captured=captured_tables(function),
    )


def captured_tables(function: object) -> tuple[str, ...]:
    """Return the names of tables in memory that a function refers to: frames, and arrays of TABLE_ROWS or more rows.

    Functions, containers and objects that it refers to are searched DEPTH levels deep.
    """
    return tuple(f"{name} (in memory)" for name in dict.fromkeys(_table_names(function, "", DEPTH)))


def _table_names(value: object, name: str, depth: int) -> Iterator[str]:
    if _is_table(value):
        yield name
    elif depth:
        for inner, inner_value in _members(value):
            yield from _table_names(inner_value, inner if callable(value) or not name else f"{name}.{inner}", depth - 1)


def _members(value: Any) -> Iterator[tuple[str, object]]:
    """Iterate over (name, value) of the objects to which `value` (a function, container or object) refers."""
    if isinstance(value, Mapping):
        yield from ((str(key), entry) for key, entry in value.items())
    elif isinstance(value, list | tuple | set):
        yield from ((str(k), entry) for k, entry in enumerate(value))
    elif isinstance(value, ModuleType | type):
        return
    elif (code := getattr(value, "__code__", None)) is not None:
        for inner, cell in zip(code.co_freevars, getattr(value, "__closure__", None) or (), strict=False):
            with suppress(ValueError):  # a variable that is not assigned yet
                yield inner, cell.cell_contents
        namespace = getattr(value, "__globals__", {})
        yield from ((name, namespace[name]) for name in _global_names(code) if name in namespace)
        for k, default in enumerate(getattr(value, "__defaults__", None) or (), 1):
            yield f"default {k}", default
        yield from (getattr(value, "__kwdefaults__", None) or {}).items()
        if (bound := getattr(value, "__self__", None)) is not None:
            yield "self", bound
    elif hasattr(value, "__dict__"):
        yield from vars(value).items()
        if hasattr(value, "act"):
            yield "act", value.act


def _global_names(code: CodeType) -> Iterator[str]:
    """Iterate over the global names of a function and of the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


def _is_table(value: object) -> bool:
    """Return True for an array, series or frame with TABLE_ROWS rows or more, and for every lazy frame."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0 and value.shape[0] >= TABLE_ROWS
    kind = type(value)
    if kind.__module__.partition(".")[0] not in ("polars", "pandas") or not hasattr(value, "columns"):
        series = isinstance(value, pl.Series) or (kind.__name__ == "Series" and kind.__module__.startswith("pandas"))
        return series and len(value) >= TABLE_ROWS  # type: ignore[arg-type]
    return isinstance(value, pl.LazyFrame) or len(value) >= TABLE_ROWS  # type: ignore[arg-type]


class Signals:
    """The result of a study of factors. `str()` is the text of `quantd study signal`, without the tables."""

    def __init__(self, result: signal_study.SignalStudies) -> None:
        self.studies = result.studies
        """One result per factor, the smallest adjusted p-value first."""
        self.trials = result.known.trials
        """Number of trials known in the state folder; None where it is unknown."""
        self._result = result

    @cached_property
    def table(self) -> pl.DataFrame:
        """One row per factor and horizon; returns and spreads are annual fractions, missing numbers null."""
        return Frame(signal_study.flat(self._result), infer_schema_length=None)

    @cached_property
    def quantiles(self) -> pl.DataFrame:
        """The mean annual return of each quantile: factor, horizon, quantile (1 is the lowest), annual_return."""
        rows = [
            (study.factor, horizon.horizon, k, value)
            for study in self.studies
            for horizon in study.horizons
            for k, value in enumerate(horizon.quantiles, 1)
        ]
        kinds = {"factor": pl.String, "horizon": pl.Int64, "quantile": pl.Int64, "annual_return": pl.Float64}
        return Frame(rows, schema=kinds, orient="row")

    def __str__(self) -> str:
        lines = [line for study in self.studies for line in signal_study.title(study)]
        return "\n".join([*lines, *signal_study.footnotes(self._result)])

    def _repr_html_(self) -> str:
        """Return the tables that a notebook shows."""
        parts: list[Part] = []
        for study in self.studies:
            parts += map(Note, signal_study.title(study))
            for head, rows in (
                (signal_study.HEAD, signal_study.table(study)),
                (signal_study.SPREAD_HEAD, signal_study.spread_table(study)),
                (signal_study.quantile_head(study), signal_study.quantile_table(study)),
            ):
                parts.append(Table(head, [Row(name, cells) for name, *cells in rows]))
        return html([*parts, *map(Note, signal_study.footnotes(self._result))])

    def __repr__(self) -> str:
        return str(self)
