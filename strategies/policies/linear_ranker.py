"""Holds the best instruments by a linear score, whose weights a ridge regression fits anew at each decision.

Features are imported where they are used, because their tables would take a tenth of every start.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
from msgspec import Meta, Struct

from quantd.strategies.policies.params import Lookback, ParamsError, Share
from quantd.strategies.policies.record import record
from quantd.trading.market import Bools, Floats
from quantd.trading.view import Memory, View

if TYPE_CHECKING:
    from quantd.strategies.features import FeatureSpec

EXACT: Final = 1e-9
"""Scores that differ by less than this fraction of the largest score are equal, so that rounding does not choose."""


class LinearRankerParams(Struct, frozen=True):
    """Parameters of LinearRanker.

    Scores predict returns over the next `ahead` samples, relative to all instruments' mean.

    The regression uses the newest `history` samples with a known outcome. `penalty` is the ridge penalty as a multiple
    of the mean variance of the features. The `top` instruments by score share the fraction `invested` equally; 0 means
    the better half of them. Raises ValueError without features.
    """

    features: tuple[str, ...] = ("momentum_20", "momentum_126", "volatility_20", "rsi_14")
    history: Lookback = 504
    ahead: Annotated[int, Meta(ge=1, le=250)] = 5
    penalty: Annotated[float, Meta(ge=0.0, le=1e9)] = 0.1
    top: Annotated[int, Meta(ge=0, le=1000)] = 0
    invested: Share = 1.0

    def __post_init__(self) -> None:
        if not self.features:
            raise ValueError('it needs features, such as ["momentum_126", "rsi_14"]')


def centred_ranks(features: Floats) -> Floats:
    """Return features float64[T, N, F] as ranks across the N instruments of each row, from -0.5 to 0.5.

    T are samples, N instruments and F features. An instrument that lacks one feature has NaN in all its ranks. Equal
    values have equal ranks.
    """
    complete: Bools = np.asarray(np.isfinite(features).all(axis=2))
    values = np.where(complete[:, :, None], features, np.nan)
    with np.errstate(invalid="ignore"):
        below = (values[:, None, :, :] < values[:, :, None, :]).sum(axis=2)
        above = (values[:, None, :, :] > values[:, :, None, :]).sum(axis=2)
    other_count = np.maximum(complete.sum(axis=1) - 1, 1)[:, None, None]
    return np.where(complete[:, :, None], (below - above) / (2.0 * other_count), np.nan)


def relative(outcomes: Floats) -> Floats:
    """Return outcomes float64[T, N] less the mean of each row (one sample, all instruments); NaN without an outcome."""
    finite = np.isfinite(outcomes)
    counts = np.maximum(finite.sum(axis=1), 1)
    return outcomes - (np.where(finite, outcomes, 0.0).sum(axis=1) / counts)[:, None]


def ridge_weights(ranks: Floats, outcomes: Floats, penalty: float) -> Floats:
    """Return float64[F], the coefficients of a ridge regression of outcomes float64[T, N] on ranks float64[T, N, F].

    Pairs of sample and instrument without a rank or an outcome are left out. The penalty is a multiple of the mean
    variance of the ranks. The coefficients are 0 if no pair is known. Source: A. Hoerl and R. Kennard 1970.
    """
    # bool[T, N]; the selection joins samples and instruments into one axis
    complete_pairs = np.isfinite(ranks).all(axis=2) & np.isfinite(outcomes)
    known_ranks, known_outcomes = ranks[complete_pairs], outcomes[complete_pairs]
    width = ranks.shape[2]
    moments = known_ranks.T @ known_ranks
    scale = float(np.trace(moments)) / width
    if scale <= 0.0:
        return np.zeros(width)
    # least squares, because with no penalty two equal features have no single solution
    weights: Floats = np.linalg.lstsq(
        moments / scale + penalty * np.eye(width), known_ranks.T @ known_outcomes / scale, rcond=None
    )[0]
    return weights


@dataclass(frozen=True, slots=True)
class LinearRanker:
    """A policy that ranks instruments by a regression, fitted anew at each decision; memory is not used.

    An instrument takes part once all its features are known. Nothing is held before the history is complete.
    """

    params: LinearRankerParams
    spec: "FeatureSpec"

    @property
    def lookback(self) -> int:
        """The number of bars that a fit needs: the lookback of the features, plus the parameters `history` (regression)
        and `ahead` (outcomes).
        """
        return self.spec.lookback + self.params.history + self.params.ahead

    @property
    def uses_bars(self) -> bool:
        """True: features are computed from whole bars."""
        return True

    def scores(self, view: View) -> Floats:
        """Return float64[N], the predicted relative return; NaN for an instrument that takes no part."""
        from quantd.strategies.features import Inputs, compute
        from quantd.trading.bars import FIELDS

        params = self.params
        bars, rows = view.bars(self.lookback), params.history + params.ahead
        fields = {name: getattr(bars, name) for name in FIELDS}
        ranks = centred_ranks(compute(self.spec, Inputs(bars.session, fields), rows=min(rows, len(bars.close))))
        if not np.isfinite(ranks[0]).any():
            return np.full(len(view.prices), np.nan)  # the history is not complete
        close = bars.close[len(bars.close) - len(ranks) :]
        with np.errstate(invalid="ignore", divide="ignore"):
            outcomes = relative(close[params.ahead :] / close[: -params.ahead] - 1.0)
        # the newest rows have no outcome yet: they are scored, not fitted
        scores: Floats = ranks[-1] @ ridge_weights(ranks[: len(outcomes)], outcomes, params.penalty)
        return np.where(np.isfinite(view.prices), scores, np.nan)

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        """Implements `Policy.act`: the best instruments by score share the invested fraction equally. The parameter
        `top` is their number, by default half of the instruments that take part. Equal scores are ordered by symbol.
        """
        scores = self.scores(view)
        weights = np.zeros(len(scores))
        candidates = np.flatnonzero(np.isfinite(scores)).tolist()
        if not candidates:
            return weights, memory
        rounding_unit = EXACT * float(np.abs(scores[candidates]).max()) or 1.0  # 1 where all scores are 0
        # equal scores are ordered by name, so that the order of the columns does not matter
        symbols = view.universe.symbols
        order = sorted(candidates, key=lambda column: (-round(float(scores[column]) / rounding_unit), symbols[column]))
        chosen = order[: self.params.top or (len(order) + 1) // 2]
        weights[chosen] = self.params.invested / len(chosen)
        return weights, memory


def _ranker_of(params: LinearRankerParams) -> LinearRanker:
    """Return the policy. Raises ParamsError for a feature that does not come from the bars of each instrument."""
    from quantd.strategies.features import FeatureError, spec_of

    try:
        spec = spec_of(params.features)
    except FeatureError as error:
        raise ParamsError(f"linear_ranker: {error}") from None
    for feature in spec.features:
        if feature.about.shared or feature.about.group in ("portfolio", "risk"):
            raise ParamsError(
                f"linear_ranker: feature {feature.name!r} cannot rank instruments: it does not come from their own bars"
            )
    if spec.needs:
        names = ", ".join(sorted(spec.needs))
        raise ParamsError(
            f"linear_ranker: the features need {names}; linear_ranker reads bars only, so leave those features out"
        )
    return LinearRanker(params, spec)


RECORDS: Final = (record("linear_ranker", LinearRankerParams, _ranker_of),)
