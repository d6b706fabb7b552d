"""The common part of allocating policies: the participating instruments, estimates, bounds, fallbacks and notes.

What can go wrong: a solver that fails, or returns weights that break a bound. So every result is checked. If a result
is invalid, the fallback allocations are tried in order; if all fail, the book is held, never sold. A note of the
decision names the reason without figures, because a note that changed each day would be published each day.

An instrument without a complete lookback, or whose price stands still, takes no part. The variance of a price that
stands still would be the smallest, and an allocator would buy an instrument that cannot be bought.

A form is a function from a Case to weights, such as minimum variance or risk parity.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, Generic, TypeVar

import numpy as np
from msgspec import Meta, Struct

from quantd.strategies.allocators.active_set import Infeasible
from quantd.strategies.allocators.constrained import prior
from quantd.strategies.allocators.estimates import VARIANCE_FLOOR, CovarianceKind, estimator
from quantd.strategies.allocators.mean_variance import Box, at_volatility, inverse_volatility, minimum_variance
from quantd.strategies.policies.params import Lookback, ParamsError, Share, nearest
from quantd.strategies.weights.stale_prices import standing_still
from quantd.trading.covariance import DECAY
from quantd.trading.display_text import some
from quantd.trading.instruments import Universe
from quantd.trading.market import Bools, Floats, Ints
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.trading.view import HOLD, BlockView, Hold, Memory, Noted, OfPart, View

NAMED: Final = 5
"""Maximum number of instruments that a note names; the others are counted."""


class EstimateParams(Struct, frozen=True, kw_only=True):
    """Parameters of the estimates, and of the invested fraction of the book.

    `decay` is the lambda of `covariance = "ewma"`. Weights with an annual volatility above `volatility_target` are
    scaled down to it; 0 means no target. `samples_a_year` converts annual figures.
    """

    lookback: Lookback = 252
    covariance: CovarianceKind = "ledoit_wolf"
    decay: Annotated[float, Meta(gt=0.0, lt=1.0)] = DECAY
    invested: Share = 1.0
    volatility_target: Annotated[float, Meta(ge=0.0, le=5.0)] = 0.0
    samples_a_year: Annotated[float, Meta(gt=0.0, le=1e6)] = float(PERIODS_PER_YEAR)

    @property
    def named(self) -> tuple[str, ...]:
        """The symbols that the parameters name; all of them must be in the universe."""
        return ()


class BoundedParams(EstimateParams, frozen=True, kw_only=True):
    """Bounds on each instrument's weight, as fractions of the book before the scaling to a volatility target.

    Raises ValueError for a lower bound above the upper one.
    """

    min_weight: Share = 0.0
    max_weight: Share = 1.0

    def __post_init__(self) -> None:
        if self.min_weight > self.max_weight:
            raise ValueError(f"min_weight = {self.min_weight:g} is above max_weight = {self.max_weight:g}")


P = TypeVar("P", bound=EstimateParams)
P_co = TypeVar("P_co", bound=EstimateParams, covariant=True)


@dataclass(frozen=True)
class Case(Generic[P_co]):
    """The input of one decision: the n participating of N instruments, with their estimates and bounds.

    `returns` are float64[S, n] of S samples, and `cov` is their covariance float64[n, n]. `book` returns the book's
    weights float64[N]. `moved` bool[N] marks the instruments that participate: their prices move. `symbols` are the
    symbols of the participating instruments.
    """

    params: P_co
    returns: Floats
    cov: Floats
    book: Callable[[], Floats]
    moved: Bools
    symbols: tuple[str, ...]
    universe: Universe

    @cached_property
    def held(self) -> Floats:
        """float64[n], the book's weights divided by the parameter `invested`: fractions of the invested amount."""
        invested = self.params.invested
        return self.book()[self.moved] / invested if invested > 0.0 else np.zeros(self.size)

    @property
    def size(self) -> int:
        return len(self.symbols)

    @cached_property
    def box(self) -> Box:
        """The bounds of one weight as fractions of the invested amount; no bounds where the parameters have none."""
        params = self.params
        if not isinstance(params, BoundedParams) or params.invested <= 0.0:
            return Box()
        return Box(params.min_weight / params.invested, params.max_weight / params.invested)


Form = Callable[[Case[P]], Floats]


def equal_form(case: Case[P]) -> Floats:
    """Return float64[n], 1 / n for each instrument that takes part."""
    return np.full(case.size, 1.0 / case.size)


def minimum_variance_form(case: Case[P]) -> Floats:
    """Return float64[n], the weights with the smallest variance within the bounds."""
    return minimum_variance(case.cov, case.box)


def inverse_volatility_form(case: Case[P]) -> Floats:
    """Return float64[n], weights in proportion to inverse volatility, within the bounds."""
    return inverse_volatility(case.cov, case.box)


RISK_ONLY_FALLBACKS: Final = (("inverse volatility", inverse_volatility_form), ("equal weight", equal_form))
"""Fallbacks of a form that fails, in order; equal weight cannot fail."""

RETURN_FALLBACKS: Final = (("minimum variance", minimum_variance_form), *RISK_ONLY_FALLBACKS)
"""Fallbacks of forms that need expected returns."""


@dataclass(frozen=True, slots=True)
class Allocator(Generic[P]):
    """A policy that allocates by a form, a function from estimates to weights.

    Instruments with a complete lookback and a moving price participate. If `sums_to_one`, the form's weights add up to
    1 and are multiplied by `invested`. Otherwise the form's weights are used as they are, and add up to at most 1. If
    the form fails or its weights are invalid, the `fallbacks` are tried in order; if all fail, the book is held. A
    `worker` runs in a process of its own, because its solver is slow.
    """

    name: str
    params: P
    form: Form[P]
    fallbacks: tuple[tuple[str, Form[P]], ...] = ()
    sums_to_one: bool = True
    worker: bool = False

    @property
    def lookback(self) -> int:
        """The number of samples of returns from which moments and scenarios are estimated."""
        return self.params.lookback

    def fit(self, universe: Universe) -> None:
        """Raise ParamsError if a parameter has a symbol that is not in `universe`."""
        by_symbol(self.name, "params", self.params.named, universe.symbols)

    def prepare(self) -> None:
        """Import the solver in advance, which takes seconds."""
        if self.worker:
            prior()

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        """Implements `Policy.act`: the weights that the form computes from the estimates.

        A form is a function from estimates to weights, such as minimum variance. A note names the instruments left out,
        or the reason why the policy holds. The memory is not used.
        """
        weights, note, warns = self.weights(view)
        return (Noted(weights, note, warns=warns) if note else weights), memory

    def act_rows(self, view: BlockView, rows: Ints) -> Floats:
        """Return float64[T, N], the weights that `act` would return at T samples, the `rows` of a block of samples.

        A row is NaN where the decision has a note or the form reads the book; `act` then makes this decision.
        """
        weights_by_row = np.full((len(rows), view.prices.shape[1]), np.nan)
        for position, row in enumerate(rows.tolist()):
            weights, note, _ = self.weights(view.at(row))
            if not note and not isinstance(weights, Hold):
                weights_by_row[position] = weights
        return weights_by_row

    def weights(self, view: View) -> tuple[Floats | Hold, str, bool]:
        """Return weights float64[N] or HOLD, a note (empty without one), and True if the note is a warning.

        Instruments whose price does not move are left out: they have weight 0. Weights that sum to one are multiplied
        by `invested`, the invested fraction of the book. The allocation holds if no solution is valid.
        """
        returns = view.synchronous(self.params.lookback)
        moved = view.shared_by_date(moving, self.params.lookback)
        size = len(moved)
        if moved.all():
            note = ""
        elif moved.any():
            returns, note = returns[:, moved], self._without(view, moved)
        else:
            return np.zeros(size), f"no instrument has {self.params.lookback} samples of a price that moves", False
        case, warning = self._case(view, returns, moved)
        case_weights, why = self._allocated(case)
        # the reasons for a fallback come first; instruments left out are no warning
        warning = "; ".join(text for text in (warning, why) if text)
        note = "; ".join(text for text in (warning, note) if text)
        if case_weights is None:
            return HOLD, note, True
        if self.sums_to_one:
            case_weights = case_weights * self.params.invested
        if self.params.volatility_target > 0.0:
            case_weights = at_volatility(
                case.cov, case_weights, self.params.volatility_target, self.params.samples_a_year
            )
        if case.size == size:
            return case_weights, note, bool(warning)
        weights = np.zeros(size)
        weights[moved] = case_weights
        return weights, note, bool(warning)

    def _case(self, view: View, returns: Floats, moved: Bools) -> tuple[Case[P], str]:
        """Return (input of the decision, warning); the warning says that Ledoit-Wolf replaces the covariance, else it
        is empty.

        `returns` float64[S, n] are the returns of the n instruments that `moved` bool[N] marks. The book's weights are
        a function in the input, because only some forms (rules that compute weights) read them.
        """
        params = self.params
        warning = ""
        columns = None if len(moved) == returns.shape[1] else tuple(np.flatnonzero(moved).tolist())

        def covariance(kind: CovarianceKind) -> Floats:
            estimate = estimator(kind, params.decay)
            return view.shared_by_date(estimate if columns is None else OfPart(estimate, columns), params.lookback)

        try:
            cov = covariance(params.covariance)
        except (Infeasible, np.linalg.LinAlgError) as why:
            warning = f"{why}: Ledoit-Wolf in its place"
            cov = covariance("ledoit_wolf")
        all_symbols = view.universe.symbols
        symbols = all_symbols if len(all_symbols) == returns.shape[1] else tuple(np.array(all_symbols)[moved].tolist())
        return Case(params, returns, cov, lambda: view.weights, moved, symbols, view.universe), warning

    def _allocated(self, case: Case[P]) -> tuple[Floats | None, str]:
        """Return the first valid weights float64[n] of the form or its fallbacks, and why a fallback was used.

        A form is the rule that computes the weights, such as minimum variance. The weights are None if every form
        fails. The reason is empty for the weights of the form. A form that does not sum to one has no fallbacks.
        """
        if not self.sums_to_one:
            try:
                # any weights from 0 to 1 whose sum is at most 1
                return checked(self.form(case), Box(), 0.0), ""
            except (Infeasible, np.linalg.LinAlgError) as why:
                return None, f"{self.name}: {plainly(why)}; the book is held"
        box = case.box
        # the tolerance is for the division by `invested`
        if case.size * box.upper < 1.0 - 1e-9:
            return np.full(case.size, box.upper), "max_weight is too small for so few instruments; the rest is cash"
        if case.size * box.lower > 1.0 + 1e-9:
            return equal_form(case), "min_weight is too large for so many instruments; equal weight in its place"
        failure = ""
        for words, form in ((self.name, self.form), *self.fallbacks):
            try:
                weights = checked(form(case), box)
            except (Infeasible, np.linalg.LinAlgError) as why:
                failure = failure or f"{self.name}: {plainly(why)}"
                continue
            return weights, f"{failure}; {words} in its place" if failure else ""
        return None, f"{failure}; the book is held"

    def _without(self, view: View, moved: Bools) -> str:
        names = [view.universe.symbols[k] for k in np.flatnonzero(~moved).tolist()]
        return f"without {some(names, NAMED)}: not {self.params.lookback} samples of a price that moves"


def moving(returns: Floats) -> Bools:
    """Return bool[N]: which of N instruments have complete `returns` float64[S, N] that vary, and no stale price."""
    rows = len(returns)
    centred = returns - returns.sum(axis=0) / rows
    variance = np.einsum("ij,ij->j", centred, centred)
    # NaN compares false
    return (variance > VARIANCE_FLOOR * (rows - 1)) & (variance < np.inf) & ~standing_still(returns)


def checked(weights: Floats, box: Box, least: float = 1.0) -> Floats:
    """Return float64[n], `weights` without negative rounding errors, scaled to the sum 1.

    If `least` is 0, the sum may be anything from 0 to 1, and is scaled only if it is above 1.

    Raises Infeasible where the sum is wrong, or a weight is outside the bounds `box`, by more than 1e-6.
    """
    sum_fits = least - 1e-6 <= float(weights.sum()) <= 1.0 + 1e-6
    if not (sum_fits and float(weights.min()) >= box.lower - 1e-6 and float(weights.max()) <= box.upper + 1e-6):
        raise Infeasible("the solution found does not meet the constraints")
    weights = np.maximum(weights, 0.0)
    return weights / float(weights.sum()) if least else weights / max(1.0, float(weights.sum()))


def plainly(why: Exception) -> str:
    """Return the text of a failure, without figures that change from day to day."""
    return str(why) if isinstance(why, Infeasible) else "the system has no single solution"


def by_symbol(name: str, key: str, wanted: Iterable[str], symbols: Sequence[str]) -> None:
    """Raise ParamsError if the parameter `key` of the policy `name` names a symbol that is not among `symbols`.

    `wanted` are the symbols that the parameter names.
    """
    for symbol in wanted:
        if symbol not in symbols:
            raise ParamsError(f"{name}: {key} name {symbol!r}, which is not traded; {nearest(symbol, symbols)}")
