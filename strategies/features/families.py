"""Feature families by name, as nodes (computed columns) without a unit: scaling prices or volumes changes nothing.

A family takes its parameters from the feature's name (`rsi_14`) or has none (`macd_histogram`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from quantd.strategies.features.signals import SIGNALS
from quantd.strategies.indicators import INDICATORS, build
from quantd.strategies.indicators.bars import BENCHMARK, CLOSE, TRUE_RANGE, VOLUME
from quantd.strategies.indicators.nodes import Field, Node, deviation, growth, highest, lag, mean, point, ratio, wilder


@dataclass(frozen=True, slots=True)
class Family:
    """One feature family.

    `make(**parameters)` returns its node (computed column); `needs` names the inputs other than the instrument's bars.
    """

    group: str
    make: Callable[..., Node]
    words: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    shared: bool = False
    """True for one number for all instruments, which has a value also in rows without a bar of an instrument."""


def _maker_of_output(output: str, scaled: Callable[[Node], Node] = lambda node: node) -> Callable[..., Node]:
    """Return a function from parameters to the node (computed column) of an indicator's `output`.

    `scaled` removes the unit of an output that has one, such as a price.
    """
    return lambda **parameters: scaled(build(SOURCE_OF[output], **parameters)[output])


def _maker_in_ranges(indicator: str, output: str) -> Callable[..., Node]:
    """Return a function that makes, for a period, an output of `indicator` divided by the average true range."""
    return lambda period: ratio(build(indicator, period=period)[output], wilder(TRUE_RANGE, period))


SCALE_FREE: Final = {
    "oscillator": (
        "rsi", "cmo", "roc", "ppo", "trix", "stochastic_k", "stochastic_d", "stochastic_fast_k", "stochastic_fast_d",
        "stochastic_rsi_k", "stochastic_rsi_d", "williams_r", "cci", "ultimate", "bop", "mfi", "tsi", "coppock", "kst",
        "kst_signal", "fisher", "percent_rank", "up_share", "gain_to_pain",
    ),
    "trend": (
        "plus_di", "minus_di", "dx", "adx", "adxr", "aroon_up", "aroon_down", "aroon_oscillator", "vortex_plus",
        "vortex_minus", "choppiness", "efficiency", "bollinger_position", "bollinger_width", "donchian_position",
        "keltner_position", "z_score", "mass_index", "trend_strength", "from_high", "from_low", "vhf",
    ),
    "volatility": (
        "natr", "volatility", "downside", "ewma_volatility", "parkinson", "garman_klass", "rogers_satchell",
        "yang_zhang", "ulcer", "max_drawdown", "drawdown", "skewness", "kurtosis", "autocorrelation", "sharpe", "gap",
    ),
    "volume": (
        "cmf", "volume_ratio", "volume_z", "pvo", "signed_volume", "illiquidity", "price_volume", "range_share",
    ),
    "benchmark": ("beta", "correlation", "residual_volatility", "relative_strength"),
}  # fmt: skip
"""Outputs of indicators without a unit, used unchanged."""

LEVELS: Final = (
    "sma", "ema", "wma", "dema", "tema", "trima", "kama", "t3", "hma", "vwma", "midpoint", "midprice", "linreg",
    "linreg_forecast",
)  # fmt: skip
"""Outputs that are prices: the feature `sma_distance_20` is the close over the mean, less 1."""

DIFFERENCES: Final = ("macd", "macd_signal", "macd_histogram", "awesome", "dpo", "qstick", "stddev")
"""Outputs that are differences of prices: the feature is a fraction of the close."""

SOURCE_OF: Final = {output: name for name in INDICATORS for output in build(name)}
"""Name of an output -> name of the indicator that has it."""


def _own_z(x: Node, period: int) -> Node:
    """Return the distance of x from its mean over `period` bars, in standard deviations."""
    return ratio(x - mean(x, period), deviation(x, period))


def _regime_maker(state: int) -> Callable[..., Node]:
    """Return a function that makes a node (computed column): 1 while the benchmark is in one of three states, else 0.

    `state` 0 is volatile: a volatility above 25 % a year over 20 rows. Otherwise 1 is bull and 2 is bear, by the growth
    over 60 rows.
    """
    # over 20 rows, with the divisor 20 - 1; a year has 252 sessions
    volatility_node = deviation(growth(BENCHMARK), 20, 1) * 252.0**0.5
    growth_node = growth(BENCHMARK, 60)

    def choose(volatility: np.ndarray, rise: np.ndarray) -> np.ndarray:
        is_volatile = volatility > 0.25
        chosen = (is_volatile, ~is_volatile & (rise >= 0.0), ~is_volatile & (rise < 0.0))[state]
        return np.where(np.isnan(volatility + rise), np.nan, chosen)

    return lambda: point(f"regime{state}", choose, volatility_node, growth_node)


def _calendar_wave(part: int, what: str) -> Callable[..., Node]:
    """Return a function that makes the sine (`part` 0) or cosine (1) of the elapsed fraction of a period.

    The period `what` is a week, month or year. Sine and cosine together show a date's position in it, without a jump at
    its end.
    """
    function = (np.sin, np.cos)[part]
    return lambda: point(f"turn{part}({what})", lambda x: function(2.0 * np.pi * x), Field(f"progress_{what}"))


def _words(output: str) -> str:
    """Return "NAME: " and the first paragraph of the docstring of the output's indicator; without a docstring, the
    name.
    """
    paragraph = " ".join((INDICATORS[SOURCE_OF[output]].make.__doc__ or "").strip().split("\n\n")[0].split())
    name = output.replace("_", " ")
    return f"{name}: {paragraph}" if paragraph else name


def _families() -> dict[str, Family]:
    return _of_prices() | _of_indicators() | _of_signals_and_dates() | _of_macro() | _of_book()


def _of_prices() -> dict[str, Family]:
    """Families of prices and volumes. Figures with a unit are divided by the price, or by the mean traded value.

    A family is its group, a function from parameters to its node (computed column), a description, and the usual
    parameters in bars.
    """
    usual = {"fast": 20, "slow": 60}
    return {
        "daily_return": Family(
            "returns", lambda back: lag(growth(CLOSE), back - 1), "return of one bar; 1 is the newest", {"back": 1}
        ),
        "momentum": Family("returns", lambda period: growth(CLOSE, period), "growth over a window", {"period": 126}),
        "momentum_skip": Family(
            "returns", lambda period, skip: lag(growth(CLOSE, period), skip),
            "growth over a window that ended some bars ago", {"period": 231, "skip": 21},
        ),
        "sma_cross": Family(
            "trend", lambda fast, slow: ratio(mean(CLOSE, fast), mean(CLOSE, slow)) - 1.0,
            "short mean over long mean, less 1", usual,
        ),
        "volatility_change": Family(
            "volatility",
            # the last argument 1: the divisor is one less than the number of values
            lambda fast, slow: ratio(deviation(growth(CLOSE), fast, 1), deviation(growth(CLOSE), slow, 1)) - 1.0,
            "short volatility over long, less 1", usual,
        ),
        "linreg_slope": Family(
            "trend", lambda period: ratio(build("linreg", period=period)["linreg_slope"], mean(CLOSE, period)),
            "slope of the line, of the mean", {"period": 20},
        ),
        "force": Family(
            "volume", lambda period: ratio(build("force", period=period)["force"], CLOSE * mean(VOLUME, period)),
            "force index, of what is usually traded", {"period": 13},
        ),
        "ease": Family(
            "volume", lambda period: ratio(build("ease", period=period)["ease"], CLOSE * CLOSE),
            "ease of movement, of the price squared", {"period": 14},
        ),
        "bull_power": Family(
            "oscillator", _maker_in_ranges("elder_ray", "bull_power"), "high over the mean, in ranges", {"period": 13}
        ),
        "bear_power": Family(
            "oscillator", _maker_in_ranges("elder_ray", "bear_power"), "low over the mean, in ranges", {"period": 13}
        ),
    }  # fmt: skip


def _of_indicators() -> dict[str, Family]:
    """Families of indicators' outputs. Outputs with a unit are divided by the close.

    Families of the group "benchmark" also need the closes of the benchmark.
    """
    families: dict[str, Family] = {}
    for group, outputs in SCALE_FREE.items():
        for output in outputs:
            needs = ("benchmark",) if group == "benchmark" else ()
            parameters = INDICATORS[SOURCE_OF[output]].parameters
            families[output] = Family(group, _maker_of_output(output), _words(output), parameters, needs)
    # (outputs, group, suffix of the name, division by the close, words in front of the description)
    scales: tuple[tuple[tuple[str, ...], str, str, Callable[[Node], Node], str], ...] = (
        (LEVELS, "trend", "_distance", lambda x: ratio(CLOSE, x) - 1.0, "close over the level, less 1: "),
        (DIFFERENCES, "oscillator", "", lambda x: ratio(x, CLOSE), "of the close: "),
    )
    for outputs, group, suffix, scaled, relative in scales:
        for output in outputs:
            parameters = INDICATORS[SOURCE_OF[output]].parameters
            families[output + suffix] = Family(
                group, _maker_of_output(output, scaled), relative + _words(output), parameters
            )
    return families


def _of_signals_and_dates() -> dict[str, Family]:
    """Families of signals, of the position in the week, month and year, and of the state of the benchmark.

    A `shared` family has one value for all instruments. `needs` names its inputs other than bars.
    """
    families: dict[str, Family] = {}
    for name, signal in SIGNALS.items():
        families[name] = Family("signal", signal.make, f"{signal.horizon} horizon: {signal.words}", signal.parameters)
    for what in ("week", "month", "year"):
        for part, name in enumerate(("sin", "cos")):
            families[f"{what}_{name}"] = Family(
                "time", _calendar_wave(part, what), f"{name} of how much of the {what} has gone", shared=True
            )
    for state, name in enumerate(("volatile", "bull", "bear")):
        families[f"regime_{name}"] = Family(
            "regime", _regime_maker(state),
            "one of three: benchmark above 25 % volatility, else up or down over 60 rows",
            needs=("benchmark",), shared=True,
        )  # fmt: skip
    return families


def _of_macro() -> dict[str, Family]:
    """Families of macro series. Each has one value for all instruments: `shared`, the last argument of Family, is True.

    `needs` names the series that a family reads. A VIX or yield of 20 is 20 %, hence the factor 0.01.
    """
    vix = Field("vix")
    return {
        "vix": Family("macro", lambda: vix * 0.01, "VIX, as a fraction", needs=("vix",), shared=True),
        "vix_change": Family(
            "macro", lambda period: growth(vix, period), "growth of VIX", {"period": 5}, ("vix",), True
        ),
        "vix_z": Family(
            "macro", lambda period: _own_z(vix, period), "VIX in its own deviations", {"period": 252}, ("vix",), True
        ),
        "yield_10y": Family(
            "macro", lambda: Field("yield_10y") * 0.01, "10-year yield, as a fraction", needs=("yield_10y",),
            shared=True,
        ),
    }  # fmt: skip


def _of_book() -> dict[str, Family]:
    """Families of the agent's book: its weights, its cash and its equity.

    `needs` names the figures of the book that a family reads. All but "weight" have one value for all instruments:
    `shared`, the last argument of Family, is True.
    """
    equity = Field("equity")
    # the 1 of `deviation` makes the divisor one less than the number of values
    return {
        "weight": Family("portfolio", lambda: Field("weight"), "the book's weight", needs=("weight",)),
        "cash": Family("portfolio", lambda: Field("cash"), "cash, of the book", needs=("cash",), shared=True),
        "gross": Family("portfolio", lambda: Field("gross"), "sum of absolute weights", needs=("weight",), shared=True),
        "concentration": Family(
            "portfolio", lambda: Field("concentration"), "sum of squared weights", needs=("weight",), shared=True
        ),
        "value": Family("portfolio", lambda: equity, "the book's equity, of its start", needs=("equity",), shared=True),
        "equity_return": Family(
            "risk", lambda period: growth(equity, period), "growth of the book", {"period": 20}, ("equity",), True
        ),
        "equity_volatility": Family(
            "risk", lambda period: deviation(growth(equity), period, 1), "volatility of the book",
            {"period": 20}, ("equity",), True,
        ),
        "equity_drawdown": Family(
            "risk", lambda period: ratio(equity, highest(equity, period)) - 1.0, "equity below its high of a window",
            {"period": 252}, ("equity",), True,
        ),
        "equity_sharpe": Family(
            "risk", lambda period: ratio(mean(growth(equity), period), deviation(growth(equity), period, 1)),
            "mean return of the book over its deviation", {"period": 60}, ("equity",), True,
        ),
    }  # fmt: skip


FAMILIES: Final[Mapping[str, Family]] = _families()

UNAVAILABLE: Final[Mapping[str, str]] = {
    "sentiment": "needs the files of a FinBERT-class model and headlines (quantd data import --sentiment); neither "
    "comes with quantd. With values of your own, name a file in [feed] series and write series_sentiment"
}
"""Known features that cannot be computed, with the reason."""

OWN_DATA: Final = ("esg", "implied_volatility", "news", "regime")
"""Names that a reader may expect among the features, of data that only a file can provide."""

SERIES: Final = "series"
"""The group of features of a series per symbol."""


def series_input(series: str) -> str:
    """Return the name of an input of features: the series `series`, which has a value for each symbol."""
    return f"{SERIES} {series}"


def series_family(series: str, change: str) -> Family:
    """Return the family of a series per symbol, that is a series of the user with a value for each symbol.

    `change` is "" for the value itself, "ago" for an earlier value, "change" for the difference over a window, "z" for
    the deviation from the mean of a window in standard deviations, and "is" for 1 where the value equals a code.
    """
    need = series_input(series)
    x = Field(need)
    match change:
        case "ago":
            words, usual = f"value of the series {series} a number of samples ago", {"samples": 1.0}
            return Family(SERIES, lambda samples: lag(x, samples), words, usual, (need,))
        case "change":
            words, usual = f"difference of {series} over a window", {"period": 5.0}
            return Family(SERIES, lambda period: x - lag(x, period), words, usual, (need,))
        case "z":
            words, usual = f"{series} in its own deviations", {"period": 60.0}
            return Family(SERIES, lambda period: _own_z(x, period), words, usual, (need,))
        case "is":
            words, usual = f"1 where {series} equals a number, else 0", {"code": 1.0}
            return Family(SERIES, lambda code: _equals(x, code), words, usual, (need,))
    return Family(SERIES, lambda: x, f"value of the series {series}", needs=(need,))


def _equals(x: Node, code: float) -> Node:
    """Return 1 where x equals `code`, else 0; NaN where x is unknown."""
    return point(f"({x.key} == {code})", lambda value: np.where(np.isnan(value), np.nan, value == code), x)
