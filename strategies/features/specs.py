"""Feature specifications of artifacts and policies: declared lists with a hash, and the bundled sets.

The name of a feature defines it completely: `rsi_14`, `macd_histogram`, `sma_cross_20_60`, `rsi_14.week` (on completed
weeks), `momentum_126.rank` (across the instruments of a row), `rsi_14.month.z`, `series_esg_change_5` (of a series per
symbol).
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Literal

import msgspec
from msgspec import Struct

from quantd.strategies.features.families import (
    FAMILIES,
    OWN_DATA,
    SERIES,
    UNAVAILABLE,
    Family,
    series_family,
    series_input,
)
from quantd.strategies.indicators.nodes import Node
from quantd.trading.exit_codes import USAGE, ExplainedError

FEATURES_VERSION: Final = 1
"""Version of the meaning of features, a part of every hash: increase it when the meaning of a feature changes."""

MOST_SAMPLES: Final = 2520
"""Maximum lookback in samples; a recursion over months would require a century."""

Every = Literal["day", "week", "month"]
Across = Literal["", "rank", "z", "excess"]

ONE_BAR: Final = ("daily_return", "momentum", "momentum_skip", "roc", "equity_return", "vix_change")
"""Families with windows of at least one bar; the windows of others have at least two."""

BARS_PER: Final = {"day": 1, "week": 7, "month": 31}
"""Maximum number of samples in a bar of each period."""


class FeatureError(ExplainedError, ValueError):
    """An unknown feature; the message names it and the most similar one."""

    exit_code = USAGE


class Feature(Struct, frozen=True):
    """One feature: `every` is the period of its completed bars, `across` its transform across the instruments."""

    name: str
    family: str
    parameters: tuple[float, ...] = ()
    every: Every = "day"
    across: Across = ""

    @property
    def about(self) -> Family:
        """The family of the feature."""
        return _about(self.family)

    @property
    def series(self) -> str:
        """The name of the series per symbol that the feature reads; empty for none."""
        return self.family.split(" ")[1] if self.about.group == SERIES else ""

    @property
    def series_input(self) -> str:
        """The name of the feature's series per symbol among the inputs; empty for none."""
        return series_input(self.series) if self.series else ""

    def node(self) -> Node:
        """Return the node that computes the feature. Raises the family's error for parameters that it cannot use."""
        return _node(self.family, self.parameters)

    @property
    def lookback(self) -> int:
        """The number of samples after which the starting point of the computation has no effect.

        The number is at most MOST_SAMPLES.
        """
        settled = self.node().settled
        # plus the week or month that is not complete, and a first one whose beginning is missing
        bar_count = settled + 1 if self.every == "day" else settled + 3
        return min(MOST_SAMPLES, bar_count * BARS_PER[self.every])


def _about(family: str) -> Family:
    """Return the feature family called `family`. Names such as `series esg` mean a series per symbol."""
    if family.startswith(f"{SERIES} "):
        _, series, change = f"{family} ".split(" ")[:3]
        return series_family(series, change)
    return FAMILIES[family]


@lru_cache(maxsize=4096)
def _node(family: str, parameters: tuple[float, ...]) -> Node:
    """Return the node (computed column) of a feature family; without `parameters` the family's defaults are used."""
    about = _about(family)
    defaults = dict(about.parameters)
    arguments = {
        k: int(v) if v == int(v) else v for k, v in zip(defaults, parameters or tuple(defaults.values()), strict=True)
    }
    return about.make(**arguments)


class FeatureSpec(Struct, frozen=True):
    """An ordered set of features."""

    features: tuple[Feature, ...]
    version: int = FEATURES_VERSION

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features, in their order."""
        return tuple(f.name for f in self.features)

    @property
    def lookback(self) -> int:
        """The number of newest bars that the features need together: the largest lookback of a feature."""
        return max(f.lookback for f in self.features)

    @property
    def needs(self) -> set[str]:
        """The names of the inputs other than bars that the features require."""
        return {need for f in self.features for need in f.about.needs}

    @property
    def digest(self) -> str:
        """The hex BLAKE2b of the features' names, parameters and version."""
        return blake2b(msgspec.json.encode(self, order="sorted"), digest_size=16).hexdigest()

    def columns(self, symbols: tuple[str, ...]) -> list[str]:
        """Return the names of the features as one list: each instrument's (`rsi_14 SPY`), then the shared ones once."""
        by_instrument = [f for f in self.features if not f.about.shared]
        shared = [f.name for f in self.features if f.about.shared]
        return [f"{f.name} {symbol}" for f in by_instrument for symbol in symbols] + shared


def feature(name: str) -> Feature:
    """Return the feature called `name`. Raises FeatureError with the mistake and the most similar name.

    A name is a family with its parameters (`rsi_14`), then perhaps `.week` or `.month` for bars of that period, then
    perhaps `.rank`, `.z` or `.excess` for the value relative to the other instruments.
    """
    plain, *marks = name.split(".")
    every: Every = "day"
    across: Across = ""
    for mark in marks:
        if mark in ("week", "month") and every == "day" and not across:
            every = mark  # type: ignore[assignment]
        elif mark in ("rank", "z", "excess") and not across:
            across = mark  # type: ignore[assignment]
        else:
            raise FeatureError(
                f"feature {name!r}: {mark!r} is not week or month, then rank, z or excess; write rsi_14.week.rank"
            )
    family, parameters = _family_and_parameters(plain, name)
    about = _about(family)
    if about.shared and (every != "day" or across):
        raise FeatureError(f"feature {name!r}: {family} is one number for all instruments; it has no week and no rank")
    # series, macro figures and the book have no bars; only the benchmark has
    if every != "day" and about.needs and about.needs != ("benchmark",):
        raise FeatureError(f"feature {name!r}: {plain} has no bars of weeks and months; leave the period out")
    candidate = Feature(name, family, parameters, every, across)
    try:
        candidate.node()
    except (ValueError, TypeError, ZeroDivisionError, ArithmeticError):
        usual_numbers = "_".join(f"{value:g}" for value in about.parameters.values())
        raise FeatureError(
            f"feature {name!r}: these numbers make no {family}; usual is {family}_{usual_numbers}"
        ) from None
    return candidate


def _family_and_parameters(plain: str, name: str) -> tuple[str, tuple[float, ...]]:
    """Split a feature's name into (family, parameters), with the longest matching family.

    `plain` is the name without its marks (`.week`, `.rank`), `name` the whole name for messages. No parameters mean the
    family's usual ones. Raises FeatureError for an unknown family, and for a number of bars that is out of range.
    """
    if plain in FAMILIES:
        return plain, ()
    if of_series := _SERIES.fullmatch(plain):
        return _series_family_and_parameters(*of_series.groups(), name=name)
    words = plain.split("_")
    numbers: list[float] = []
    # one more number from the end of the name at a time, until a family with as many parameters fits
    while words and words[-1].isdecimal():
        numbers.insert(0, float(words.pop()))
        family = "_".join(words)
        about = FAMILIES.get(family)
        if about is not None and len(numbers) == len(about.parameters):
            least = 1 if family in ONE_BAR else 2
            if min(numbers) < least or max(numbers) > MOST_SAMPLES:
                raise FeatureError(f"feature {name!r}: give {least} to {MOST_SAMPLES} bars")
            return family, tuple(numbers)
    if plain in UNAVAILABLE:
        raise FeatureError(f"feature {name!r} is not available: {UNAVAILABLE[plain]}")
    if plain in OWN_DATA:
        remedy = f"name a file in [feed] series and write series_{plain}"
        raise FeatureError(f"feature {name!r} is not available: it needs data of your own; {remedy}")
    similar = get_close_matches(plain, [*FAMILIES, *DEFAULT], n=1, cutoff=0.4)
    raise FeatureError(
        f"there is no feature {name!r}; " + (f"did you mean {similar[0]!r}?" if similar else "see quantd features list")
    )


_SERIES: Final = re.compile(r"series_([a-z][a-z0-9_]*?)(?:_(ago|change|z|is)_(\d{1,9}))?")


def _series_family_and_parameters(
    series: str, change: str | None, number: str | None, *, name: str
) -> tuple[str, tuple[float, ...]]:
    if change is None or number is None:
        return f"{SERIES} {series}", ()
    least = {"ago": 1, "change": 1, "z": 2}.get(change)
    if least is not None and not least <= int(number) <= MOST_SAMPLES:
        raise FeatureError(f"feature {name!r}: give {least} to {MOST_SAMPLES} samples")
    return f"{SERIES} {series} {change}", (float(number),)


def spec_of(names: Iterable[str]) -> FeatureSpec:
    """Return the feature set with these names. Raises FeatureError for an unknown or repeated name."""
    features = tuple(feature(name) for name in names)
    repeated = [f.name for i, f in enumerate(features) if f.name in {g.name for g in features[:i]}]
    if repeated:
        raise FeatureError(f"feature {repeated[0]!r} is named twice; remove one of them")
    if not features:
        raise FeatureError("a set needs at least one feature, such as rsi_14")
    return FeatureSpec(features)


DEFAULT: Final = (
    "daily_return_1", "daily_return_2", "daily_return_3", "daily_return_4", "daily_return_5", "momentum_20",
    "momentum_60", "momentum_126", "volatility_20", "volatility_change_20_60", "rsi_14", "macd_histogram", "macd",
    "macd_signal", "bollinger_position", "bollinger_width", "natr_14", "adx_14", "stochastic_k", "cci_20", "mfi_14",
    "sma_distance_60", "from_high_252", "drawdown_126", "momentum_60.rank", "volatility_20.rank",
)  # fmt: skip
"""The default observation: about twenty indicators and returns."""

FOUR_ASSET: Final = (
    "weight", "daily_return_1", "daily_return_2", "daily_return_3", "daily_return_4", "daily_return_5", "volatility_20",
    "regime_bull", "regime_bear", "regime_volatile", "vix", "yield_10y", "value",
)  # fmt: skip
"""With four instruments 34 numbers: weights, five returns and a volatility of each; regime, VIX, yield, value."""


def _full() -> tuple[str, ...]:
    """The names of the features of the set "full"."""
    names = [f"daily_return_{k}" for k in range(1, 6)]
    names += [f"momentum_{k}" for k in (5, 10, 20, 40, 60, 90, 126, 189, 252)]
    names += ["momentum_skip_231_21", "momentum_skip_105_21"]
    names += [f"{family}_{k}" for family in ("rsi", "cmo", "williams_r", "mfi") for k in (7, 14, 28)]
    names += [f"cci_{k}" for k in (14, 20, 40)] + [f"roc_{k}" for k in (3, 15)] + [f"trix_{k}" for k in (9, 15)]
    names += ["macd", "macd_signal", "macd_histogram", "ppo", "stochastic_k", "stochastic_d", "stochastic_fast_k",
              "stochastic_fast_d", "stochastic_rsi_k", "stochastic_rsi_d", "ultimate", "bop", "tsi", "coppock", "kst",
              "kst_signal", "fisher_10", "awesome", "dpo_20", "qstick_8", "bull_power_13", "bear_power_13",
              "percent_rank_60", "percent_rank_252", "up_share_12", "gain_to_pain_60", "pvo"]  # fmt: skip
    names += [f"{family}_distance_{k}" for family in ("sma", "ema") for k in (5, 10, 20, 50, 100, 200)]
    names += [
        f"{family}_distance_20" for family in ("wma", "dema", "tema", "trima", "vwma", "linreg", "linreg_forecast")
    ]
    names += ["kama_distance_10", "hma_distance_16", "t3_distance", "midpoint_distance_14", "midprice_distance_14"]
    names += [f"sma_cross_{k}" for k in ("5_20", "20_60", "50_200")]
    names += [f"volatility_change_{k}" for k in ("5_20", "20_60")]
    names += [f"linreg_slope_{k}" for k in (10, 20, 60, 126)] + [f"z_score_{k}" for k in (10, 20, 60)]
    names += [f"{family}_14" for family in ("adx", "adxr", "plus_di", "minus_di", "dx", "aroon_up", "aroon_down",
              "aroon_oscillator", "vortex_plus", "vortex_minus", "choppiness")] + ["adx_28"]  # fmt: skip
    names += [f"efficiency_{k}" for k in (10, 20, 60)] + [f"trend_strength_{k}" for k in (20, 60, 126)]
    names += ["bollinger_position", "bollinger_width", "keltner_position", "mass_index", "vhf_28"]
    names += [f"donchian_position_{k}" for k in (10, 20, 55, 126)]
    names += [f"{family}_{k}" for family in ("from_high", "from_low") for k in (60, 252)]
    names += [f"volatility_{k}" for k in (5, 10, 20, 60, 126, 252)]
    names += ["downside_20", "downside_60", "ewma_volatility_33"]
    ranges = ("parkinson", "garman_klass", "rogers_satchell", "yang_zhang")
    names += [f"{family}_{k}" for family in ranges for k in (10, 20, 60)]
    names += ["natr_7", "natr_14", "natr_28", "ulcer_14", "ulcer_60", "max_drawdown_60", "max_drawdown_126",
              "drawdown_60", "drawdown_126", "drawdown_252", "skewness_60", "skewness_126", "kurtosis_60",
              "kurtosis_126", "autocorrelation_60", "sharpe_20", "sharpe_60", "sharpe_126", "gap_20",
              "range_share_20", "stddev_20"]  # fmt: skip
    names += ["cmf_20", "force_13", "ease_14", "volume_ratio_5", "volume_ratio_20", "volume_ratio_60", "volume_z_20",
              "volume_z_60", "signed_volume_20", "signed_volume_60", "illiquidity_20", "illiquidity_60",
              "price_volume_60"]  # fmt: skip
    names += [f"{family}_{k}" for family in ("beta", "correlation", "relative_strength") for k in (20, 60, 126)]
    names += ["residual_volatility_60"]
    names += [f"{name}.rank" for name in ("momentum_5", "momentum_20", "momentum_60", "momentum_126", "momentum_252",
              "rsi_14", "volatility_20", "volatility_60", "drawdown_126", "volume_z_20", "sharpe_126", "beta_60",
              "z_score_20", "from_high_252", "illiquidity_20")]  # fmt: skip
    names += ["momentum_20.z", "momentum_126.z", "volatility_20.z", "rsi_14.z", "momentum_20.excess"]
    names += [f"{name}.week" for name in ("momentum_4", "momentum_13", "momentum_26", "rsi_14", "adx_14",
              "bollinger_position", "volatility_13", "sma_distance_10", "natr_14", "macd_histogram", "stochastic_k",
              "z_score_26")]  # fmt: skip
    names += [f"{name}.month" for name in ("momentum_3", "momentum_6", "momentum_12", "rsi_6", "volatility_12",
              "sma_distance_10")]  # fmt: skip
    names += [f"{what}_{part}" for what in ("week", "month", "year") for part in ("sin", "cos")]
    names += ["momentum_signal_20_2", "reversion_signal_20", "trend_signal_20_60", "breakout_signal_55",
              "value_signal_252", "growth_signal_231_21"]  # fmt: skip
    return (*names, "regime_bull", "regime_bear", "regime_volatile")


PORTFOLIO: Final = (
    "weight", "cash", "gross", "concentration", "value", "equity_return_5", "equity_return_20", "equity_volatility_20",
    "equity_volatility_60", "equity_drawdown_252", "equity_sharpe_60",
)  # fmt: skip
MACRO: Final = ("vix", "vix_change_5", "vix_change_20", "vix_z_60", "vix_z_252")


SETS: Final[dict[str, tuple[str, ...]]] = {
    "default": DEFAULT,
    "four_asset": FOUR_ASSET,
    "full": _full(),
    "observation": (*_full(), *PORTFOLIO, *MACRO),
}
"""The bundled sets. `full` uses bars alone; `observation` adds the book and VIX."""


@lru_cache(maxsize=16)
def shipped(name: str) -> FeatureSpec:
    """Return a bundled feature set. Raises KeyError for an unknown name."""
    return spec_of(SETS[name])
