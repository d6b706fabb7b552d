"""Holds the best instruments by a weighted sum of the ranks of their features.

Features are imported where they are used, because their tables would take a tenth of every start.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Final, Literal

import numpy as np
from msgspec import Meta, Struct, structs

from quantd.strategies.policies.inverse_volatility import inverse_deviations
from quantd.strategies.policies.params import ParamsError, Share
from quantd.strategies.policies.record import record
from quantd.trading.market import Floats
from quantd.trading.statistics import sum_in_order
from quantd.trading.view import Memory, View

if TYPE_CHECKING:
    from quantd.strategies.features import FeatureSpec

VOLATILITY_SAMPLES = 63
"""Number of returns from which the size "inverse_volatility" measures the volatility."""


class SignalsParams(Struct, frozen=True):
    """Parameters of Signals: features with their weights in the score; a negative weight prefers low values.

    The `top` instruments by score share the fraction `invested` of the book equally, or by inverse volatility.
    `exposure` maps features with one value for all instruments (macro series, regimes, the season) to weights. The
    invested fraction is multiplied by a factor: 1 plus the weighted sum of these features, clipped to 0 .. 1. Raises
    ValueError without features, and for a weight that is not finite.
    """

    features: dict[str, float] = {}
    exposure: dict[str, float] = {}
    top: Annotated[int, Meta(ge=1, le=1000)] = 5
    size: Literal["equal", "inverse_volatility"] = "equal"
    invested: Share = 1.0

    def __post_init__(self) -> None:
        if not self.features:
            raise ValueError("it needs features, such as { momentum_126 = 1.0, rsi_14 = -0.5 }")
        for key, weights in (("features", self.features), ("exposure", self.exposure)):
            if not all(map(isfinite, weights.values())):
                raise ValueError(f"each weight of {key} must be a finite number")


@dataclass(frozen=True, slots=True)
class Signals:
    """Ranks instruments by their features; an instrument takes part once all its features are known.

    `weights` are the weights of the ranked features. Decisions use the newest `lookback` bars and no memory.
    """

    params: SignalsParams
    spec: "FeatureSpec"
    """The ranked features, then those of `exposure`."""
    weights: tuple[float, ...]
    left_out: tuple[str, ...] = ()
    """Features of series that are switched off."""

    @property
    def lookback(self) -> int:
        """The most bars that a feature needs, or the inverse volatility if it sizes the positions."""
        measured = VOLATILITY_SAMPLES if self.params.size == "inverse_volatility" else 1
        return max(self.spec.lookback, measured)

    @property
    def uses_bars(self) -> bool:
        """True: features are computed from whole bars."""
        return True

    @property
    def uses_macro(self) -> tuple[str, ...]:
        """The series of [feed] macro that the features require."""
        return tuple(sorted(self.spec.needs - {"benchmark", *(feature.series_input for feature in self.spec.features)}))

    @property
    def uses_series(self) -> tuple[str, ...]:
        """The series of [feed] series that the features require."""
        return tuple(sorted({feature.series for feature in self.spec.features} - {""}))

    def without_series(self, unused: Collection[str]) -> "Signals":
        """Return the policy without the features of the `unused` series. Raises ParamsError when none is left."""
        dropped = tuple(feature.name for feature in self.spec.features if feature.series in unused)
        if not dropped:
            return self
        remaining = {name: weight for name, weight in self.params.features.items() if name not in dropped}
        if not remaining:
            raise ParamsError(
                f"signals: every feature is of a series that is switched off ({', '.join(dropped)}); "
                "write use = true in [feed] series, or add another feature"
            )
        return replace(_signals_of(structs.replace(self.params, features=remaining)), left_out=dropped)

    def features(self, view: View) -> Floats:
        """Return float64[N, F], the F features of each instrument at the newest sample.

        Features relative to the benchmark are computed at the newest date of which every instrument's bar is known.
        """
        from quantd.strategies.features import newest_row, series_input

        by_symbol = {series_input(name): _traded_rows(view, name, self.spec.lookback) for name in self.uses_series}
        return newest_row(self.spec, view, view.universe.index.get(view.universe.benchmark), by_symbol)

    def scores(self, features: Floats) -> Floats:
        """Return float64[N], the weighted sum of centred ranks; NaN for an instrument that takes no part."""
        from quantd.strategies.features.cross_section import across

        # the ranked features are the first columns; an instrument without one of them takes no part
        features = features[:, : len(self.weights)].copy()
        features[~np.isfinite(features).all(axis=1)] = np.nan
        scores = np.zeros(len(features))
        for column, weight in enumerate(self.weights):
            # a rank is 0 to 1, and 0.5 in the middle
            scores += weight * (across(features[:, column], "rank") - 0.5)
        return scores

    def exposure(self, features: Floats) -> float:
        """Return the factor on the invested fraction, 0 to 1; 0 while a feature of `params.exposure` is unknown."""
        # one number for all instruments: each column has it in every row
        change = sum_in_order(
            w * float(v) for w, v in zip(self.params.exposure.values(), features[0, len(self.weights) :], strict=True)
        )
        return min(max(1.0 + change, 0.0), 1.0) if isfinite(change) else 0.0

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        """Implements `Policy.act`: holds the instruments with the highest scores, in the number of the parameter `top`.

        Their weights add up to the invested fraction times the exposure, in equal parts or by inverse volatility. Equal
        scores are ordered by symbol.
        """
        features = self.features(view)
        scores = self.scores(features)
        shares = np.zeros(len(scores))
        # equal scores are ordered by name, so that the order of the columns does not matter
        symbols = view.universe.symbols
        # rounded, so that rounding errors of the sums do not order equal scores
        order = sorted(
            np.flatnonzero(np.isfinite(scores)).tolist(),
            key=lambda column: (-round(float(scores[column]), 9), symbols[column]),
        )
        chosen = order[: self.params.top]
        if not chosen:
            return shares, memory
        shares[chosen] = 1.0
        if self.params.size == "inverse_volatility":
            shares *= view.shared(inverse_deviations, VOLATILITY_SAMPLES)
        total = float(shares.sum())
        return (shares * (self.params.invested * self.exposure(features) / total) if total > 0.0 else shares), memory


def _traded_rows(view: View, series: str, rows: int) -> Floats:
    """Return float64[rows, N] of a series per symbol, NaN in the newest row where an instrument has no price now.

    A file may have values before an instrument's first bar and after its delisting; they must not count in ranks.
    """
    table = view.series(series, rows).copy()
    table[-1, ~np.isfinite(view.prices)] = np.nan
    return table


def _signals_of(params: SignalsParams) -> Signals:
    """Return the policy. Raises ParamsError for an unknown feature, and for a feature in the wrong table.

    The parameter `features` names features of each instrument, `exposure` features with one value for all instruments.
    Features of the book are refused.
    """
    from quantd.strategies.features import FeatureError, spec_of

    try:
        spec = spec_of((*params.features, *params.exposure))
    except FeatureError as error:
        raise ParamsError(f"signals: {error}") from None
    for feature in spec.features:
        of_the_book = feature.about.group in ("portfolio", "risk")
        if feature.name in params.features and (feature.about.shared or of_the_book):
            hint = "" if of_the_book else "; name it in exposure instead"
            raise ParamsError(
                f"signals: feature {feature.name!r} cannot rank instruments: it does not come from their own bars{hint}"
            )
        if feature.name in params.exposure and (not feature.about.shared or of_the_book):
            raise ParamsError(
                f"signals: exposure {feature.name!r} is no macro series, regime or season; name it in features instead"
            )
    return Signals(params, spec, tuple(params.features.values()))


RECORDS: Final = (record("signals", SignalsParams, _signals_of),)
