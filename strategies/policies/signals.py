"""Ranks the instruments by a weighted sum of the ranks of their features, and holds the first few.

Features are imported where they are used: their tables would be a tenth of every start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from msgspec import Meta, Struct

from strategies.policies.inverse_volatility import inverse_deviations
from strategies.policies.params import ParamsError, parse
from trading.bars import FIELDS
from trading.market import Floats
from trading.view import Memory, View

if TYPE_CHECKING:
    from strategies.features import FeatureSpec

VOLATILITY_SAMPLES = 63
"""What the size `inverse_volatility` is measured on."""


class SignalsParams(Struct, frozen=True):
    """`features`: name -> weight in the score; a weight below 0 prefers low values. The `top` instruments by score are
    held in equal parts, or by inverse volatility; `invested` is the fraction of the book that is spread."""

    features: dict[str, float] = {}
    top: Annotated[int, Meta(ge=1, le=1000)] = 5
    size: Literal["equal", "inverse_volatility"] = "equal"
    invested: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0


@dataclass(frozen=True, slots=True)
class Signals:
    """An instrument takes part once all its features are known. It forgets nothing between samples because it remembers
    nothing: every answer is made of the newest `lookback` bars."""

    params: SignalsParams
    spec: "FeatureSpec"
    weights: tuple[float, ...]

    @property
    def lookback(self) -> int:
        measured = VOLATILITY_SAMPLES if self.params.size == "inverse_volatility" else 1
        return max(self.spec.lookback, measured)

    @property
    def uses_bars(self) -> bool:
        return True

    def scores(self, view: View) -> Floats:
        """float64[N], weighted sum of ranks about their middle; NaN for who takes no part."""
        from strategies.features import Inputs, compute
        from strategies.features.across import across

        bars = view.bars(self.spec.lookback)
        universe = view.universe
        inputs = Inputs(bars.session, {n: getattr(bars, n) for n in FIELDS}, universe.index.get(universe.benchmark))
        features = compute(self.spec, inputs, rows=1)[0]
        features[~np.isfinite(features).all(axis=1)] = np.nan
        scores = np.zeros(universe.size)
        for place, weight in enumerate(self.weights):
            scores += weight * (across(features[:, place], "rank") - 0.5)
        return scores

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        scores = self.scores(view)
        places = np.zeros(len(scores))
        # equal scores go by name, so that the order of the columns does not matter
        symbols = view.universe.symbols
        order = sorted(
            np.flatnonzero(np.isfinite(scores)).tolist(), key=lambda n: (-round(float(scores[n]), 9), symbols[n])
        )
        chosen = order[: self.params.top]
        if not chosen:
            return places, memory
        places[chosen] = 1.0
        if self.params.size == "inverse_volatility":
            places *= inverse_deviations(view.returns(VOLATILITY_SAMPLES))
        total = float(places.sum())
        return (places * (self.params.invested / total) if total > 0.0 else places), memory


def make_signals(params: Mapping[str, object]) -> Signals:
    own = parse("signals", params, SignalsParams)
    if not own.features:
        raise ParamsError("signals needs features, such as { momentum_126 = 1.0, rsi_14 = -0.5 }")
    if not all(isfinite(w) for w in own.features.values()):
        raise ParamsError("signals: features has a finite weight for each name")
    from strategies.features import FeatureError, spec_of

    try:
        spec = spec_of(own.features)
    except FeatureError as error:
        raise ParamsError(f"signals: {error}") from None
    for each in spec.features:
        if each.about.shared or each.about.group == "portfolio":
            raise ParamsError(f"signals: feature {each.name!r} does not tell instruments apart by their bars")
    return Signals(own, spec, tuple(own.features.values()))
