"""Functions, classes, objects, weights and tables of weights of the caller as policies."""

import inspect
import os
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import cloudpickle
import msgspec
import numpy as np
import polars as pl

from quantd.adapters.calendars import ALWAYS_OPEN
from quantd.adapters.feeds.table_files.moments import is_midnight
from quantd.adapters.feeds.table_files.roles import is_time
from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.policies.user_file import load_user_policy, policy_around
from quantd.models.isolation.graph_process import opener
from quantd.models.isolation.session import OpenGraph
from quantd.research.python_api.arguments import Misused
from quantd.research.python_api.bar_frame import dates_of, is_frame, is_pandas, of_pandas
from quantd.research.studies.sweep_points import Base, Market, Point, Work, run_point
from quantd.trading.display_text import instant_text
from quantd.trading.exit_codes import USAGE, ExplainedError
from quantd.trading.ports import Policy
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import View

FILE: Final = "caller.py"
"""Stands for a file in the configuration of a backtest of the caller's function."""


class TargetTable:
    """A policy that holds the weights of a table: a row for each date and a column for each symbol, or a row for each
    date and symbol (the long form).

    It decides at the first sample at or after the date of a row, and its orders fill at the next open. Between two rows
    it holds its positions, which drift with the prices.
    """

    lookback = 1

    def __init__(self, frame: object) -> None:
        """Read a polars or pandas frame. Raises Misused without dates, and for a weight that is no number."""
        table = of_pandas(frame) if is_pandas(frame) else frame
        assert isinstance(table, pl.DataFrame)
        dates = next(filter(is_time, table.columns), None)
        symbols = [name for name in table.columns if name != dates]
        if dates is None or not symbols:
            raise Misused(f"a table of weights needs a column of dates and one for each symbol, not {table.columns}")
        stamps = dates_of(table[dates], f"column {dates} of the weights")
        self.first = "" if getattr(stamps.dtype, "time_zone", None) else str(stamps[0])
        """The first date, or time of an unknown clock; empty if the rows have instants."""
        self.dated = is_midnight(stamps)
        table = _wide(table.with_columns(stamps.cast(pl.Datetime("ns")).cast(pl.Int64)), dates, symbols).sort(dates)
        symbols = [name for name in table.columns if name != dates]
        self.dates: list[int] = table[dates].to_list()
        if table[dates].is_duplicated().any():
            day = instant_text(table[dates].filter(table[dates].is_duplicated())[0])
            raise Misused(
                f"column {dates} of the weights has {day} in more than one row; give one row a date and one column a "
                f'symbol: pivot(on="symbol", index="{dates}", values="weight") makes it of a row for each symbol'
            )
        self.rows = [dict(zip(symbols, row, strict=True)) for row in table.select(symbols).iter_rows()]
        for ts, row in zip(self.dates, self.rows, strict=True):
            for symbol, weight in row.items():
                _require_weight(weight, f"{symbol} at {instant_text(ts)}")

    def act(self, view: View, memory: dict[str, int]) -> tuple[object, dict[str, int]]:
        """The weights of the newest row, once; then "hold"."""
        row = bisect_right(self.dates, view.sample_time) - 1
        return (self.rows[row], {"row": row}) if row > memory.get("row", -1) else ("hold", memory)

    def unused(self, first_ts: int, last_ts: int) -> list[str]:
        """Return notes on the rows that a run from the first to the last bar (ns UTC) does not reach, before and after
        it, and on a row from more than a week before that is its first decision. Raises Misused if all rows are after
        the last bar."""
        count = bisect_right(self.dates, first_ts)
        early = self.dates[: max(count - 1, 0)]
        late = self.dates[bisect_right(self.dates, last_ts) :]
        span = f"the bars, {instant_text(first_ts)} to {instant_text(last_ts)}"
        if late and late == self.dates:
            first = instant_text(late[0])
            raise Misused(
                f"all {len(late):,} rows of the weights are after {span}, the first on {first}; give later bars"
            )
        decided = self.dates[count - 1] if count else first_ts
        taken = f"The weights of {instant_text(decided)} are the decision of the first bar, {instant_text(first_ts)}."
        return [taken] * (first_ts - decided > 7 * DAY_NS) + [
            f"Not used: {len(rows):,} of {len(self.dates):,} rows of the weights are {place} {span}, the first on "
            f"{instant_text(rows[0])}."
            for place, rows in (("before", early), ("after", late)) if rows
        ]  # fmt: skip


def _wide(table: pl.DataFrame, dates: str, names: list[str]) -> pl.DataFrame:
    """Return weights with a column for each symbol, if they have a row for each date and symbol; others unchanged.

    A symbol without a row on a date has weight 0 there.
    """
    of_symbols = [
        name for name in names
        if table[name].dtype in (pl.String, pl.Categorical, pl.Enum)
        and table[name].cast(pl.String).cast(pl.Float64, strict=False).is_null().all()
    ]  # fmt: skip
    if len(names) != 2 or len(of_symbols) != 1 or table.select(dates, *of_symbols).is_duplicated().any():
        return table
    (value,) = set(names) - set(of_symbols)
    if not table[value].dtype.is_numeric():
        return table.pivot(on=of_symbols, index=dates, values=value)
    weights = table.with_columns(pl.col(value).cast(pl.Float64).fill_null(float("nan")))
    return weights.pivot(on=of_symbols, index=dates, values=value).fill_null(0.0)


def _require_weight(weight: object, whose: str) -> None:
    """Raise Misused for a weight that is no number. A signal is none, because True would be a weight of 1."""
    if type(weight) in (bool, np.bool_) or not isinstance(weight, int | float | np.number) or weight != weight:
        remedy = "write a number, 0 for none; signals.div(signals.sum(axis=1), axis=0).fillna(0) makes some of signals"
        raise Misused(f"the weight of {whose} is {weight}; {remedy}")


def chosen(
    what: object, params: Mapping[str, object] | None
) -> "tuple[str, Mapping[str, object], CallerPolicy | None]":
    """Return the name of a policy in a configuration, its parameters, and what loads a policy of the caller, if it is.

    A mapping or series of symbol -> weight is a fixed mix, and a frame of weights by date is a TargetTable. Raises
    Misused for parameters beside weights.
    """
    if isinstance(what, str | os.PathLike):
        return str(what), params or {}, None
    weights: Any = what
    if hasattr(what, "to_dict") and hasattr(what, "index") and not is_pandas(what):  # a series
        dated = weights.index.nlevels > 1  # by date and symbol
        what = weights = weights.to_frame(weights.name or "weight") if dated else weights.to_dict()
    if (isinstance(weights, Mapping) or is_frame(what)) and params:
        raise Misused("params cannot go with weights, which are the whole policy; leave them out")
    if isinstance(what, list | tuple | np.ndarray):
        raise Misused('weights have the names of their symbols: {"SPY": 0.6, "TLT": 0.4}')
    if isinstance(weights, Mapping):
        for symbol, weight in weights.items():
            _require_weight(weight, str(symbol))
        return "fixed_mix", {"weights": {str(symbol): float(weight) for symbol, weight in weights.items()}}, None
    caller = CallerPolicy(TargetTable(what) if is_frame(what) else what)
    return f"{FILE}:{caller.known_as[1]}", params or {}, caller


class CallerPolicy:
    """Loads the policies of a configuration, with the caller's function as one of them.

    In the configuration, the placeholder FILE stands for the caller's function. Any other policy is loaded as usual.
    The class has the methods of `Apart`, which loads policies of files.
    """

    def __init__(self, policy: object, known_as: tuple[Path, str, str] | None = None) -> None:
        """`policy` is the caller's function, class or object.

        `known_as` is the policy's (file, name, digest of the source) in the caller's process, because a worker process
        cannot read the source. With None, all three are computed here.
        """
        self._policy = policy
        code = _code_of(policy)
        source_path = Path(code.co_filename if code is not None else f"<{name_of(policy)}>")
        self._first_digest = source_digest(policy)
        self.known_as = known_as or (source_path, name_of(policy), self._first_digest)

    @property
    def changed(self) -> bool:
        """True if the policy's variables changed since the start. A change that `repr` does not show is missed."""
        return source_digest(self._policy) != self._first_digest

    def unused_rows(self, assembly: Assembly) -> list[str]:
        """Return notes on the rows of a table of weights outside the bars of a run. Raises Misused if all are after
        them, for times of day of an unknown clock beside an exchange's sessions, and for dates beside shorter bars."""
        if not isinstance(self._policy, TargetTable):
            return []
        first, dated = self._policy.first, self._policy.dated
        always_open = all(item.calendar == ALWAYS_OPEN for item in assembly.universe.instruments)
        if first and (assembly.interval_ns < DAY_NS if dated else not always_open):
            what = (
                f"dates ({first[:10]}), and the bars are shorter" if dated else f"the time {first} of an unknown clock"
            )
            index = '(index + pd.Timedelta("16h"))' if dated else "index"
            column = '(pl.col("date").cast(pl.Datetime) + pl.duration(hours=16))' if dated else 'pl.col("date")'
            raise Misused(
                f'the weights have {what}; write the instants: in pandas {index}.tz_localize("America/New_York"), in '
                f'polars {column}.dt.replace_time_zone("America/New_York")'
            )
        return self._policy.unused(max(assembly.feed.first_ts, assembly.start_ns), assembly.feed.last_ts)

    def file(self, path: Path, attribute: str, params: Mapping[str, object]) -> Policy:
        """Return the caller's function as a policy if `path` is FILE, else the policy in the file `path`.

        Raises ParamsError for wrong parameters.
        """
        if path.name != FILE:
            return load_user_policy(path, attribute, params)
        source_path, name, digest = self.known_as
        return policy_around(source_path, name, self._policy, params, digest=digest)

    def registered(self, name: str, params: Mapping[str, object], policy: Policy) -> Policy:
        """Return `policy` itself, which runs in this process."""
        return policy

    def graphs(self) -> OpenGraph:
        """Return the function that opens the graphs of one trained policy, as a command does."""
        return opener()

    def reading(self, folders: Sequence[Path]) -> "CallerPolicy":
        """Return this object unchanged: the caller's function can read whatever its process can, not just `folders`."""
        return self

    def packed(self) -> bytes:
        """Return (the caller's function, `known_as`) pickled for another process, with all that the function refers to.

        `known_as` is (file, name, digest of the source). Raises Unsendable where cloudpickle cannot pack one of these
        objects.
        """
        module = inspect.getmodule(self._policy if hasattr(self._policy, "__name__") else type(self._policy))
        # cloudpickle packs __main__ by value in any case; a module that the caller registered must stay registered
        registers_module = module is not None and module.__name__ not in (
            "__main__",
            *cloudpickle.list_registry_pickle_by_value(),
        )
        if registers_module:
            # without this, pickle stores only the name of the module, whose file another machine does not have
            cloudpickle.register_pickle_by_value(module)
        try:
            return bytes(cloudpickle.dumps((self._policy, self.known_as)))
        except Exception as error:  # the objects that the function refers to can raise any exception
            name = self.known_as[1]
            raise Unsendable(
                f"{name} cannot be sent to a worker process ({type(error).__name__}: {error}); use workers=1, or write "
                "the function into a file and name it FILE.py:act"
            ) from None
        finally:
            if registers_module:
                cloudpickle.unregister_pickle_by_value(module)


class Unsendable(ExplainedError, TypeError):
    """A function that refers to an object of this process only: an open file, a lock, a connection."""

    exit_code = USAGE


class SentPoints:
    """Runs the points of a sweep with the caller's function as the policy, in a worker process."""

    def __init__(self, caller: CallerPolicy, *, stop: bool) -> None:
        self._packed, self._stop = caller.packed(), stop

    def __call__(self, work: Work, tell: Callable[[Point], bool]) -> int:
        """Run the points of `work`, and pass each to `tell` until it returns True. Return how many points ran."""
        market = _market_of(self._packed, msgspec.msgpack.encode(work.base))
        for done, (index, values) in enumerate(work.points):
            if tell(run_point(market, work.base, work.keys, index, values, stop=self._stop)):
                return done + 1
        return len(work.points)


@lru_cache(maxsize=1)
def _market_of(packed: bytes, encoded: bytes) -> Market:
    """Return the market of an encoded `Base` (shared input of a sweep), cached for the sweep's further points."""
    policy, known_as = cloudpickle.loads(packed)
    return Market.open(msgspec.msgpack.decode(encoded, type=Base), CallerPolicy(policy, known_as))


def name_of(policy: object) -> str:
    """Return the name of a function or class, or of an object's class; "act" for a lambda."""
    name = str(getattr(policy, "__name__", type(policy).__name__))
    return name if name.isidentifier() else "act"


def source_digest(policy: object) -> str:
    """Return hex BLAKE2b of a policy's source text and of its captured values: defaults, closure, attributes."""
    target: Any = policy if hasattr(policy, "__name__") else type(policy)
    code = _code_of(policy)
    try:
        source = inspect.getsource(target)
    except (OSError, TypeError):
        source = repr((code.co_code, code.co_consts, code.co_names)) if code is not None else repr(target)
    captured = [getattr(policy, "__defaults__", None), getattr(policy, "__kwdefaults__", None)]
    captured += [_cell_content(cell) for cell in getattr(policy, "__closure__", None) or ()]
    captured.append(None if target is policy else vars(policy) if hasattr(policy, "__dict__") else None)
    return blake2b(f"{source}\n{captured!r}".encode(), digest_size=16).hexdigest()


def _cell_content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that is not assigned yet
        return None


def _code_of(policy: object) -> Any:
    """Return the code object of a function or of the method `act` of an object; None for neither."""
    function = policy if hasattr(policy, "__code__") else getattr(policy, "act", None)
    return getattr(function, "__code__", None)
