"""The table of indicators by name: parameters with default values, output columns, source.

The node (computed column) of an output defines the rest: its input fields, the bars until its first value (`first` +
1), and the bars until the starting point has no effect (`settled`). Indicators that TA-Lib
has are equal to TA-Lib's, after the warm-up that TA-Lib uses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from quantd.strategies.indicators import averages, oscillators, trend, volatility, volume
from quantd.strategies.indicators.averages import Outputs
from quantd.strategies.indicators.bars import CLOSE, HIGH, LOW, MONEY_FLOW, OPEN, RANGE, VOLUME, share
from quantd.strategies.indicators.batch import bars_present, by_bars
from quantd.strategies.indicators.nodes import Node, deviation, ema, growth, highest, lowest, mean, ratio
from quantd.strategies.indicators.stream import Stream
from quantd.trading.market import Floats


@dataclass(frozen=True, slots=True)
class Indicator:
    """One indicator; `make(**parameters)` returns the output columns by name, or the only column."""

    group: str
    make: Callable[..., Outputs | Node]
    parameters: Mapping[str, float] = field(default_factory=dict)
    talib: str = ""
    """Its TA-Lib name; empty without one."""


def _one(group: str, make: Callable[..., Outputs | Node], period: int, talib: str = "") -> Indicator:
    return Indicator(group, make, {"period": period}, talib)


INDICATORS: Final[Mapping[str, Indicator]] = {
    # averages
    "sma": _one("average", lambda period: mean(CLOSE, period), 20, "SMA"),
    "ema": _one("average", lambda period: ema(CLOSE, period), 20, "EMA"),
    "wma": _one("average", lambda period: averages.wma_of(CLOSE, period), 20, "WMA"),
    "dema": _one("average", averages.dema, 20, "DEMA"),
    "tema": _one("average", averages.tema, 20, "TEMA"),
    "trima": _one("average", averages.trima, 20, "TRIMA"),
    "kama": _one("average", averages.kama, 10, "KAMA"),
    "t3": Indicator("average", averages.t3, {"period": 5, "volume_factor": 0.7}, "T3"),
    "hma": _one("average", averages.hma, 16),
    "vwma": _one("average", averages.vwma, 20),
    "midpoint": _one("average", lambda period: (highest(CLOSE, period) + lowest(CLOSE, period)) * 0.5, 14, "MIDPOINT"),
    "midprice": _one("average", lambda period: (highest(HIGH, period) + lowest(LOW, period)) * 0.5, 14, "MIDPRICE"),
    "linreg": _one("average", averages.linear_regression, 14, "LINEARREG"),
    # momentum and oscillators
    "rsi": _one("oscillator", oscillators.rsi_of_gains, 14, "RSI"),
    "cmo": _one("oscillator", oscillators.cmo, 14, "CMO"),
    "roc": _one("oscillator", lambda period: 100.0 * growth(CLOSE, period), 10, "ROC"),
    "macd": Indicator("oscillator", oscillators.macd, {"fast": 12, "slow": 26, "signal": 9}, "MACD"),
    "ppo": Indicator("oscillator", oscillators.ppo, {"fast": 12, "slow": 26}, "PPO"),
    "trix": _one("oscillator", oscillators.trix, 15, "TRIX"),
    "stochastic": Indicator("oscillator", oscillators.stochastic, {"fast": 14, "slow": 3, "signal": 3}, "STOCH"),
    "stochastic_fast": Indicator("oscillator", oscillators.stochastic_fast, {"fast": 14, "signal": 3}, "STOCHF"),
    "stochastic_rsi": Indicator(
        "oscillator", oscillators.stochastic_rsi, {"period": 14, "fast": 14, "signal": 3}, "STOCHRSI"
    ),
    "williams_r": _one("oscillator", oscillators.williams_r, 14, "WILLR"),
    "cci": _one("oscillator", oscillators.cci, 20, "CCI"),
    "ultimate": Indicator("oscillator", oscillators.ultimate, {"short": 7, "middle": 14, "long": 28}, "ULTOSC"),
    "bop": Indicator("oscillator", lambda: ratio(CLOSE - OPEN, RANGE), {}, "BOP"),
    "mfi": _one("oscillator", oscillators.money_flow_index, 14, "MFI"),
    "tsi": Indicator("oscillator", oscillators.true_strength, {"long": 25, "short": 13}),
    "coppock": Indicator("oscillator", oscillators.coppock, {"long": 14, "short": 11, "period": 10}),
    "kst": Indicator("oscillator", oscillators.know_sure_thing),
    "awesome": Indicator("oscillator", averages.awesome, {"fast": 5, "slow": 34}),
    "dpo": _one("oscillator", oscillators.detrended, 20),
    "elder_ray": _one("oscillator", oscillators.elder_ray, 13),
    "fisher": _one("oscillator", oscillators.fisher, 10),
    "percent_rank": _one("oscillator", oscillators.percent_rank, 60),
    "up_share": _one("oscillator", oscillators.up_share, 12),
    "gain_to_pain": _one("oscillator", oscillators.gain_to_pain, 60),
    # trend and channels
    "adx": _one("trend", trend.directional, 14, "ADX"),
    "aroon": _one("trend", trend.aroon, 14, "AROON"),
    "vortex": _one("trend", trend.vortex, 14),
    "choppiness": _one("trend", trend.choppiness, 14),
    "efficiency": _one("trend", averages.efficiency_ratio, 10),
    "bollinger": Indicator("trend", trend.bollinger, {"period": 20, "deviations": 2.0}, "BBANDS"),
    "donchian": _one("trend", trend.donchian, 20, "MAX"),
    "keltner": Indicator("trend", trend.keltner, {"period": 20, "ranges": 2.0}),
    "z_score": _one("trend", lambda period: ratio(CLOSE - mean(CLOSE, period), deviation(CLOSE, period)), 20),
    "mass_index": Indicator("trend", trend.mass_index, {"smooth": 9, "period": 25}),
    "trend_strength": _one("trend", trend.trend_strength, 60),
    "distance": _one("trend", trend.distance, 252),
    "qstick": _one("trend", trend.qstick, 8),
    "vhf": _one("trend", trend.vertical_horizontal, 28),
    # volatility
    "atr": _one("volatility", volatility.average_true_range, 14, "ATR"),
    "stddev": _one("volatility", volatility.standard_deviation, 20, "STDDEV"),
    "volatility": _one("volatility", volatility.realised, 20),
    "downside": _one("volatility", volatility.downside, 20),
    "ewma_volatility": _one("volatility", volatility.ewma, 33),
    "parkinson": _one("volatility", volatility.parkinson, 20),
    "garman_klass": _one("volatility", volatility.garman_klass, 20),
    "rogers_satchell": _one("volatility", volatility.rogers_satchell, 20),
    "yang_zhang": _one("volatility", volatility.yang_zhang, 20),
    "ulcer": _one("volatility", volatility.ulcer, 14),
    "drawdown": _one("volatility", volatility.drawdown, 126),
    "shape": _one("volatility", volatility.shape, 60),
    "autocorrelation": _one("volatility", volatility.autocorrelation, 60),
    "sharpe": _one("volatility", volatility.sharpe, 60),
    "gap": _one("volatility", volatility.gap, 20),
    # volume
    "cmf": _one("volume", lambda period: share(MONEY_FLOW, VOLUME, period), 20),
    "force": _one("volume", volume.force, 13),
    "ease": _one("volume", volume.ease_of_movement, 14),
    "volume_ratio": _one("volume", lambda period: ratio(VOLUME, mean(VOLUME, period)), 20),
    "volume_z": _one("volume", lambda period: ratio(VOLUME - mean(VOLUME, period), deviation(VOLUME, period)), 20),
    "pvo": Indicator("volume", volume.volume_oscillator, {"fast": 12, "slow": 26}),
    "signed_volume": _one("volume", volume.signed_volume, 20),
    "illiquidity": _one("volume", volume.illiquidity, 20),
    "price_volume": _one("volume", volume.price_volume, 60),
    "range_share": _one("volume", volume.high_low_volume, 20),
    # against the benchmark
    "beta": _one("benchmark", volume.beta, 60, "BETA"),
    "correlation": _one("benchmark", volume.correlation, 60, "CORREL"),
    "residual_volatility": _one("benchmark", volume.residual_volatility, 60),
    "relative_strength": _one("benchmark", volume.relative_strength, 60),
}


def build(name: str, **parameters: float) -> Outputs:
    """Return the output columns of an indicator.

    `parameters` replace the default values. Raises KeyError for an unknown indicator, and TypeError for an unknown
    parameter.
    """
    indicator = INDICATORS[name]
    outputs = indicator.make(**{**indicator.parameters, **parameters})
    return outputs if isinstance(outputs, dict) else {name: outputs}


def batch(outputs: Mapping[str, Node], fields: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return float64[T, N] for each of `outputs`, from bar fields float64[T, N]; NaN where a bar is missing."""
    present = bars_present(fields)
    values = by_bars(list(outputs.values()), fields, present, len(present))
    return {name: values[node.key] for name, node in outputs.items()}


def stream(outputs: Mapping[str, Node], size: int) -> Stream:
    """Return a stream that computes `outputs` bar by bar; its `update` returns the values in the order of `outputs`."""
    return Stream(list(outputs.values()), size)
