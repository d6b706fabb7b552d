"""Factors: numbers per symbol that may predict returns, from a feature or a user's function, and their checks.

What can go wrong: a factor reads later bars, or has state from earlier calls. The check ("guard") against later bars is
the truncation test of the look-ahead study: the values on markets that end earlier must be the same. The guard against
state calls a freshly loaded factor on the whole market in reverse order, and on each cut market at its last rows only.

Order: the reversed calls come first. A factor that differs there is unsteady, and is not tested on cut markets. The
test in which all dates are later comes last, and only where nothing differs and no file was opened.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Final, Protocol

import msgspec
import numpy as np

from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.policies.loading import by_column
from quantd.daemon.policies.user_file import UserPolicy, load_user_policy, place_of
from quantd.research.file_audit import watching
from quantd.research.studies.altered_markets import Edge, altered_markets, edge_of, judged
from quantd.research.studies.factor_figures import FEWEST
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
    """Computes float64[N] from a view: one number per symbol, NaN where a symbol has none."""

    @property
    def lookback(self) -> int:
        """The number of samples of returns or bars that `values` reads."""
        ...

    def values(self, view: View) -> Floats:
        """Return float64[N], the value of each symbol at the sample of the view; NaN where a symbol has none."""
        ...


@dataclass(frozen=True, slots=True)
class FeatureFactor:
    """A feature of quantd, computed by the policy `signals`."""

    policy: Signals

    @property
    def lookback(self) -> int:
        return self.policy.lookback

    def values(self, view: View) -> Floats:
        return np.asarray(self.policy.features(view)[:, 0])


@dataclass(frozen=True, slots=True)
class FunctionFactor:
    """A user's function `signal(view)`: a number for each symbol, in their order or by name."""

    policy: UserPolicy

    @property
    def lookback(self) -> int:
        """The lookback that the user's function declares, in samples."""
        return self.policy.lookback

    def values(self, view: View) -> Floats:
        """Return float64[N], the number that the user's function returns for each symbol; NaN for a symbol without one.

        Raises ValueError for a symbol outside the universe, and for another number of values than symbols.
        """
        answer = self.policy.act(view, {})[0]  # with an empty memory, and without the memory that it returns
        if hasattr(answer, "to_dict"):  # a series of pandas
            values_by_key = answer.to_dict()
            answer = (
                values_by_key if all(isinstance(key, str) for key in values_by_key) else list(values_by_key.values())
            )
        if isinstance(answer, Mapping):
            row = np.full(len(view.prices), np.nan)
            for symbol, value in answer.items():
                if symbol not in view.universe.index:
                    raise ValueError(f"the signal has a value for {symbol!r}, which is not in the universe; remove it")
                row[view.universe.index[symbol]] = np.nan if value is None else float(value)
            return row
        row = np.asarray(answer if isinstance(answer, np.ndarray) else by_column(answer, view), dtype=np.float64)
        if row.shape != view.prices.shape:
            raise ValueError(
                f"the signal has shape {row.shape}; return one number for each of {len(view.prices)} symbols"
            )
        return row


@dataclass(frozen=True, slots=True)
class Source:
    """Where a factor comes from. `load` returns the factor freshly loaded; `identity` changes with the factor's code.

    `shared` is True for a factor with one number for all symbols, and `users` is True for a user's function. `captured`
    names tables in memory that the function refers to: a cut market does not truncate them.
    """

    name: str
    load: Callable[[], Factor]
    identity: str
    shared: bool = False
    users: bool = False
    captured: tuple[str, ...] = ()


def source_of(name: str, folder: Path, inputs: Collection[str]) -> Source:
    """Return the source of the factor `name`: a feature, or a user's FILE.py:signal relative to `folder`.

    `inputs` are the names of the market's series. Raises FactorError for an unknown or unusable name, a
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
            require_function(name, load_user_policy(file, attribute, {}))  # {}: no parameters
            code = file.read_bytes()
        except ValueError as why:
            raise FactorError(str(why)) from None
        return Source(name, load, blake2b(code + attribute.encode(), digest_size=16).hexdigest(), users=True)
    try:
        definition = feature(name)
    except FeatureError as why:
        raise FactorError(f"{why}; a function of your own is FILE.py:signal") from None
    if definition.about.group in ("portfolio", "risk"):
        raise FactorError(f"feature {name!r} needs a portfolio, which a study does not have; choose another feature")
    spec = spec_of([name])
    if missing_names := sorted(spec.needs - {"benchmark", *inputs}):
        key, series_kind = ("series", "series per symbol") if definition.series else ("macro", "macro series")
        missing_series = definition.series or missing_names[0]
        remedy = f'write [feed] {key} = [{{ name = "{missing_series}", path = "FILE" }}]'
        if definition.series:
            remedy += ", without use = false"
        raise FactorError(f"feature {name!r} needs the {series_kind} {missing_series!r}; {remedy}")
    # a signal of this feature alone, with weight 1
    policy = Signals(SignalsParams(features={name: 1.0}), spec, (1.0,))
    return Source(name, lambda: FeatureFactor(policy), spec.digest, shared=definition.about.shared)


def require_function(name: str, policy: UserPolicy) -> None:
    if policy.with_memory:
        raise FactorError(f"{name} takes a memory, which a factor has not; define signal(view), with the view alone")


@dataclass(frozen=True, slots=True)
class FactorValues:
    """The values float64[T, N] of a factor, NaN where there is none.

    The object also has the failures by row index (sample), and the files that the factor opened.
    """

    values: Floats
    failed: dict[int, str]
    opened: dict[str, None]


def values_of(source: Source, rows: SynchronousRows, progress: Callable[[float], object]) -> FactorValues:
    """Compute a factor at every row of the trading period; `progress` receives the finished share."""
    opened: dict[str, None] = {}
    with _watched(source, opened):
        factor = source.load()
    values, failed = np.full((rows.count, rows.universe.size), np.nan), dict[int, str]()
    trading = np.flatnonzero(rows.trading).tolist()
    for index, row in enumerate(trading):
        with _watched(source, opened):
            values[row], fault = _value(factor, rows, row)
        if fault:
            failed[row] = fault
        if index % 256 == 0:
            progress(index / len(trading))
    return FactorValues(values, failed, opened)


def _watched(source: Source, opened: dict[str, None]) -> AbstractContextManager[None]:
    """Return a context that adds the files opened in it to `opened`; only a user's function is watched."""
    return watching(opened) if source.users else nullcontext()


def _value(factor: Factor, rows: SynchronousRows, row: int, later_ns: int = 0) -> tuple[Floats, str]:
    """Return (float64[N], "") for the factor at one row (sample), with NaN in place of infinite values.

    Where the factor fails, return (NaN for all symbols, the reason). `later_ns` moves all dates of the view.
    """
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
    """Check factors on markets that end at `cuts` instants, and on the whole market in reverse order.

    `studied` has each factor with its values on the whole market. The results are in the same order.
    """
    cut_instants = points((int(rows.decided[row]) for row in np.flatnonzero(rows.trading)), cuts)
    checked = sorted({row for end in cut_instants for row in _checked(rows, end)})
    full_answers = [_answers(values.values, values.failed, rows, checked) for _, values in studied]
    # the newest answer is the limit: all answers are compared
    reversed_differences = [
        differences(assembly, full, _recomputed(source.load(), rows, reversed(checked)), max(full, default=0))
        for (source, _), full in zip(studied, full_answers, strict=True)
    ]
    first_differences: list[dict[tuple[str, str], Differing]] = [{} for _ in studied]
    for count, end in enumerate(cut_instants, 1):
        progress(count / len(cut_instants))
        cut = synchronous_rows(replace(assembly, feed=assembly.feed.until(end)))
        # a row whose last bar comes after the cut is complete in the longer market only
        last_rows = [row for row in _checked(rows, end) if row < cut.count]
        for index, (source, _) in enumerate(studied):
            if reversed_differences[index]:
                continue
            expected = {int(rows.ts[row]): full_answers[index][int(rows.ts[row])] for row in last_rows}
            cut_answers = _recomputed(source.load(), cut, last_rows)
            for difference in differences(assembly, expected, cut_answers, end):
                first_differences[index].setdefault((difference.date, difference.symbol), difference)
    verdicts = []
    for index, (source, values) in enumerate(studied):
        dated_count = 0  # later dates are tried only on a factor with no other finding
        if not (reversed_differences[index] or first_differences[index] or values.opened):
            later_answers = _recomputed(source.load(), rows, checked, LATER_NS)
            later_answers = {
                ts: full_answers[index][ts] if answer.failed else answer for ts, answer in later_answers.items()
            }
            dated_count = len(differences(assembly, full_answers[index], later_answers, max(later_answers, default=0)))
        verdicts.append(
            _verdict(
                assembly,
                rows,
                source,
                values,
                len(cut_instants),
                first_differences[index],
                len(reversed_differences[index]),
                dated_count,
            )
        )
    clean = [index for index, verdict in enumerate(verdicts) if verdict.clean is not False]
    for index, edge in zip(clean, _edges(assembly, rows, [studied[index] for index in clean]), strict=True):
        verdicts[index] = msgspec.structs.replace(verdicts[index], edge=edge)
    return verdicts


def _edges(
    assembly: Assembly, rows: SynchronousRows, studied: Sequence[tuple[Source, FactorValues]]
) -> list[Edge | None]:
    """Return the edge of each of a user's functions beside that on markets of the same law; None for a feature, whose
    code reads the view alone."""
    own = [index for index, (source, _) in enumerate(studied) if source.users]
    edges: list[Edge | None] = [None] * len(studied)
    recorded = {index: _traded(assembly, rows, studied[index][1].values, studied[index][0]) for index in own}
    others: dict[int, list[tuple[str, float]]] = {index: [] for index in own}
    by_dates = dict.fromkeys(own, True)
    for kind, market in altered_markets(assembly) if own else ():
        market_rows = synchronous_rows(market)
        for index in own:
            source, values = studied[index]
            found = values_of(source, market_rows, lambda share: None).values
            others[index].append((kind, _traded(market, market_rows, found, source)))
            same = found.shape == values.values.shape and np.array_equal(found, values.values, equal_nan=True)
            by_dates[index] &= kind != "other prices" or same
    for index in own:
        traded = studied[index][1].values[rows.trading]
        constant = bool(len(traded)) and bool(np.array_equal(traded, traded[:1].repeat(len(traded), 0), equal_nan=True))
        edges[index] = judged(
            recorded[index], others[index], by_dates=by_dates[index] and not constant, either_sign=True
        )
    return edges


def _traded(assembly: Assembly, rows: SynchronousRows, values: Floats, source: Source) -> float:
    """Return the edge (t-statistic) of weights by a factor: the ranks of each row, or for a factor that is one number
    for all symbols, and for fewer than FEWEST symbols, its deviations from its mean."""
    chosen = values[rows.trading]
    with np.errstate(all="ignore"):
        if source.shared or chosen.shape[1] < FEWEST or bool((np.nanstd(chosen, axis=1) < 1e-15).all()):
            weights = np.clip((chosen - np.nanmean(chosen, axis=0)) / np.nanstd(chosen, axis=0), -3.0, 3.0)
        else:
            ranks = np.argsort(np.argsort(np.nan_to_num(chosen), axis=1), axis=1)
            weights = ranks - ranks.mean(axis=1, keepdims=True)
    return edge_of(assembly, rows.decided[rows.trading], np.nan_to_num(weights))


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
    """Return the result of the checks of one factor.

    `cuts` is the number of shortened markets. `unsteady` counts the differences in reverse order, and `dated` the
    differences where all dates are later.
    """
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
    """Return the indices of the last LAST_ROWS rows (samples) known at the instant `end`, within the trading period."""
    last = int(np.searchsorted(rows.decided, end, side="right"))
    return [row for row in range(max(0, last - LAST_ROWS), last) if rows.trading[row]]


def _recomputed(factor: Factor, rows: SynchronousRows, chosen: Iterable[int], later_ns: int = 0) -> Answers:
    """Compute `factor`, which must be freshly loaded, at the rows (samples) `chosen` only, in the order of `chosen`."""
    answers: Answers = {}
    for row in chosen:
        value, fault = _value(factor, rows, row, later_ns)
        answers[int(rows.ts[row])] = Decided(0, 0, value.tobytes(), fault)
    return answers


def _answers(values: Floats, failed: Mapping[int, str], rows: SynchronousRows, chosen: Sequence[int]) -> Answers:
    return {int(rows.ts[row]): Decided(0, 0, values[row].tobytes(), failed.get(row, "")) for row in chosen}
