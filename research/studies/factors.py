"""Factors: numbers per symbol that may predict returns, as features of quantd or a user's function, and their guard.

What can go wrong: a factor knows later bars, or has a state from earlier calls. The guard is the truncation test of the
look-ahead study: values on markets that end earlier must be equal. A factor is a function of its view. So the guard
makes its calls without those before them, and on the whole market in reverse order.

Order: a factor that differs in reverse order is unsteady, and is not cut. Later dates are tried only where nothing else
differs and no file was opened.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.policies.loading import by_column
from quantd.daemon.policies.user_file import UserPolicy, load_user_policy, place_of
from quantd.research.file_audit import watching
from quantd.research.studies.lookahead import (
    LATER_NS,
    Answers,
    Differing,
    Lookahead,
    differences,
    earliest,
    forget_modules,
    market_files,
    points,
)
from quantd.research.studies.synchronous_rows import SynchronousRows, synchronous_rows
from quantd.strategies.features import FeatureError, feature, spec_of
from quantd.strategies.policies.feature_rank import Signals, SignalsParams
from quantd.trading.display_text import session_date
from quantd.trading.events import Decided
from quantd.trading.exit_codes import USAGE, ExplainedError
from quantd.trading.market import Floats
from quantd.trading.view import View, dated_later

LAST_ROWS: Final = 5
"""Number of rows before each cut that the guard computes again."""


class FactorError(ExplainedError, ValueError):
    """A factor that cannot be studied; the text names the remedy."""

    exit_code = USAGE


class Factor(Protocol):
    """Computes float64[N] from a view: one number per symbol, NaN for none."""

    @property
    def lookback(self) -> int:
        """The number of samples of returns or bars that `values` reads."""
        ...

    def values(self, view: View) -> Floats:
        """Return float64[N], the value of each symbol at the sample of the view; NaN without one."""
        ...


@dataclass(frozen=True, slots=True)
class FeatureFactor:
    """A feature, computed as the policy `signals` does."""

    policy: Signals

    @property
    def lookback(self) -> int:
        """The lookback of the feature, in samples."""
        return self.policy.lookback

    def values(self, view: View) -> Floats:
        return np.asarray(self.policy.features(view)[:, 0])


@dataclass(frozen=True, slots=True)
class FunctionFactor:
    """A user's function `signal(view)`: a number for each symbol, by column or by name."""

    policy: UserPolicy

    @property
    def lookback(self) -> int:
        """The lookback that the user's function declares, in samples."""
        return self.policy.lookback

    def values(self, view: View) -> Floats:
        """Return float64[N], the function's numbers by name or by column; a symbol that it does not name has NaN.
        Raises ValueError for a symbol outside the universe, and for another number of values than symbols."""
        given = self.policy.act(view, {})[0]
        if hasattr(given, "to_dict"):  # a series of pandas
            named = given.to_dict()
            given = named if all(isinstance(key, str) for key in named) else list(named.values())
        if isinstance(given, Mapping):
            row = np.full(len(view.prices), np.nan)
            for symbol, value in given.items():
                if symbol not in view.universe.index:
                    raise ValueError(f"the signal names {symbol!r}, which is not in the universe")
                row[view.universe.index[symbol]] = np.nan if value is None else float(value)
            return row
        row = np.asarray(given if isinstance(given, np.ndarray) else by_column(given, view), dtype=np.float64)
        if row.shape != view.prices.shape:
            raise ValueError(f"the signal has shape {row.shape}; one number for each of the {len(view.prices)} symbols")
        return row


@dataclass(frozen=True, slots=True)
class Source:
    """Where a factor comes from. `load` makes it as on a first start; `identity` changes with its code.

    `shared` marks one number for all symbols, `users` a function of the user. `captured` names tables in memory that
    the function holds, which no cut truncates.
    """

    name: str
    load: Callable[[], Factor]
    identity: str
    shared: bool = False
    users: bool = False
    captured: tuple[str, ...] = ()


def source_of(name: str, folder: Path, inputs: Collection[str]) -> Source:
    """Return the factor `name`: a feature, or a user's FILE.py:signal beside `folder`.

    `inputs` are the market's series, as `Feed.inputs` names them. Raises FactorError for an unknown or unusable name, a
    feature of a book, and a feature whose series the market lacks.
    """
    path, colon, attribute = name.partition(":")
    if path.endswith(".py"):
        file = (folder / path).resolve()
        attribute = attribute if colon else "signal"

        def load() -> Factor:
            forget_modules(file.parent)
            return FunctionFactor(load_user_policy(file, attribute, {}))

        try:
            require_function(name, load_user_policy(file, attribute, {}))
            text = file.read_bytes()
        except ValueError as why:
            raise FactorError(str(why)) from None
        return Source(name, load, blake2b(text + attribute.encode(), digest_size=16).hexdigest(), users=True)
    try:
        definition = feature(name)
    except FeatureError as why:
        raise FactorError(f"{why}; a function of your own is FILE.py:signal") from None
    if definition.about.group in ("portfolio", "risk"):
        raise FactorError(f"feature {name!r} is a number of a book; a factor is studied without one")
    spec = spec_of([name])
    if missing := sorted(spec.needs - {"benchmark", *inputs}):
        key, what = ("series", "series per symbol") if definition.series else ("macro", "macro series")
        lacks = definition.series or missing[0]
        remedy = f'write [feed] {key} = [{{ name = "{lacks}", path = "FILE" }}]'
        if definition.series:
            remedy += ", without use = false"
        raise FactorError(f"feature {name!r} needs the {what} {lacks!r}; {remedy}")
    policy = Signals(SignalsParams(features={name: 1.0}), spec, (1.0,))
    return Source(name, lambda: FeatureFactor(policy), spec.digest, shared=definition.about.shared)


def require_function(name: str, policy: UserPolicy) -> None:
    """Raise FactorError for a function with a memory."""
    if policy.with_memory:
        raise FactorError(f"{name}: a factor has no memory; define signal(view), a function of its view alone")


@dataclass(frozen=True, slots=True)
class FactorValues:
    """Values float64[T, N] at the rows, NaN without one, with the failures by row and the files that were opened."""

    values: Floats
    failed: dict[int, str]
    opened: dict[str, None]


def values_of(source: Source, rows: SynchronousRows, progress: Callable[[float], object]) -> FactorValues:
    """Compute a factor at every row of the trading period."""
    opened: dict[str, None] = {}
    with _watched(source, opened):
        factor = source.load()
    out, failed = np.full((rows.count, rows.universe.size), np.nan), dict[int, str]()
    trading = np.flatnonzero(rows.trading).tolist()
    for number, row in enumerate(trading):
        with _watched(source, opened):
            out[row], fault = _value(factor, rows, row)
        if fault:
            failed[row] = fault
        if number % 256 == 0:
            progress(number / len(trading))
    return FactorValues(out, failed, opened)


def _watched(source: Source, opened: dict[str, None]) -> AbstractContextManager[None]:
    return watching(opened) if source.users else nullcontext()


def _value(factor: Factor, rows: SynchronousRows, row: int, later_ns: int = 0) -> tuple[Floats, str]:
    """Return the factor at one row, infinite values as NaN; NaN with the reason where it fails."""
    view = rows.view(row, factor.lookback)
    if later_ns:
        view = dated_later(view, later_ns)
    try:
        with np.errstate(all="ignore"):
            value = factor.values(view)
        return np.where(np.isfinite(value), value, np.nan), ""
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a SystemExit in a user's file must not end the study
        why = place_of(error, factor.policy) if isinstance(factor, FunctionFactor) else str(error)
        return np.full(rows.universe.size, np.nan), why or type(error).__name__


def guards(
    assembly: Assembly,
    rows: SynchronousRows,
    studied: Sequence[tuple[Source, FactorValues]],
    cuts: int,
    progress: Callable[[float], object],
) -> list[Lookahead]:
    """Check factors on markets that end at `cuts` instants, and on the whole market in reverse order."""
    ends = points((int(rows.decided[row]) for row in np.flatnonzero(rows.trading)), cuts)
    checked = sorted({row for end in ends for row in _checked(rows, end)})
    full_answers = [_answers(values.values, values.failed, rows, checked) for _, values in studied]
    again = [
        differences(assembly, full, _called(source.load(), rows, reversed(checked)), max(full, default=0))
        for (source, _), full in zip(studied, full_answers, strict=True)
    ]
    first_differences: list[dict[tuple[str, str], Differing]] = [{} for _ in studied]
    for number, end in enumerate(ends, 1):
        progress(number / len(ends))
        cut = synchronous_rows(replace(assembly, feed=assembly.feed.until(end)))
        # a row whose last bar is missing is complete in the longer market only
        last = [row for row in _checked(rows, end) if row < cut.count]
        for place, (source, _) in enumerate(studied):
            if again[place]:
                continue
            expected = {int(rows.ts[row]): full_answers[place][int(rows.ts[row])] for row in last}
            part = _called(source.load(), cut, last)
            for difference in differences(assembly, expected, part, end):
                first_differences[place].setdefault((difference.date, difference.symbol), difference)
    out = []
    for place, (source, values) in enumerate(studied):
        dated = 0
        if not (again[place] or first_differences[place] or values.opened):
            moved = _called(source.load(), rows, checked, LATER_NS)
            moved = {ts: full_answers[place][ts] if answer.failed else answer for ts, answer in moved.items()}
            dated = len(differences(assembly, full_answers[place], moved, max(moved, default=0)))
        out.append(
            _verdict(assembly, rows, source, values, len(ends), first_differences[place], len(again[place]), dated)
        )
    return out


def _verdict(
    assembly: Assembly,
    rows: SynchronousRows,
    source: Source,
    values: FactorValues,
    cuts: int,
    first_differences: Mapping[tuple[str, str], Differing],
    unsteady: int,
    dated: int,
) -> Lookahead:
    market_paths = market_files(assembly.config)
    failures = [f"{session_date(int(rows.ts[row]))}: {why}" for row, why in values.failed.items()]
    return Lookahead(
        policy=source.name,
        cuts=cuts,
        answers=int(rows.trading.sum()),
        differences=len(first_differences),
        first=earliest(first_differences.values()),
        unsteady=unsteady,
        failed=len(failures),
        failure=failures[0] if failures else "",
        opened=tuple(sorted(values.opened.keys() - market_paths)),
        market_files=(*sorted(market_paths & values.opened.keys()), *source.captured),
        dated=dated,
    )


def _checked(rows: SynchronousRows, end: int) -> list[int]:
    """Return the last rows that are known at an instant."""
    last = int(np.searchsorted(rows.decided, end, side="right"))
    return [row for row in range(max(0, last - LAST_ROWS), last) if rows.trading[row]]


def _called(factor: Factor, rows: SynchronousRows, chosen: Iterable[int], later_ns: int = 0) -> Answers:
    """Compute a freshly loaded factor at the chosen rows only, in that order."""
    answers: Answers = {}
    for row in chosen:
        value, fault = _value(factor, rows, row, later_ns)
        answers[int(rows.ts[row])] = Decided(0, 0, value.tobytes(), fault)
    return answers


def _answers(values: Floats, failed: Mapping[int, str], rows: SynchronousRows, chosen: Sequence[int]) -> Answers:
    return {int(rows.ts[row]): Decided(0, 0, values[row].tobytes(), failed.get(row, "")) for row in chosen}
