"""Every indicator's output by TA-Lib, or its formula written out for one column, slowly."""
# ruff: noqa: E741 - l is the low, as o, h, c and v are the others

from collections.abc import Callable

import numpy as np
import talib

from quantd.trading.market import Floats

Talib = Callable[..., Floats | tuple[Floats, ...]]

# output -> the same by TA-Lib from (open, high, low, close, volume, benchmark) of one column
TALIB: dict[str, Talib] = {
    "sma": lambda o, h, l, c, v, b: talib.SMA(c, 20),
    "ema": lambda o, h, l, c, v, b: talib.EMA(c, 20),
    "wma": lambda o, h, l, c, v, b: talib.WMA(c, 20),
    "dema": lambda o, h, l, c, v, b: talib.DEMA(c, 20),
    "tema": lambda o, h, l, c, v, b: talib.TEMA(c, 20),
    "trima": lambda o, h, l, c, v, b: talib.TRIMA(c, 20),
    "kama": lambda o, h, l, c, v, b: talib.KAMA(c, 10),
    "t3": lambda o, h, l, c, v, b: talib.T3(c, 5, 0.7),
    "midpoint": lambda o, h, l, c, v, b: talib.MIDPOINT(c, 14),
    "midprice": lambda o, h, l, c, v, b: talib.MIDPRICE(h, l, 14),
    "linreg": lambda o, h, l, c, v, b: talib.LINEARREG(c, 14),
    "linreg_slope": lambda o, h, l, c, v, b: talib.LINEARREG_SLOPE(c, 14),
    "linreg_forecast": lambda o, h, l, c, v, b: talib.TSF(c, 14),
    "rsi": lambda o, h, l, c, v, b: talib.RSI(c, 14),
    "cmo": lambda o, h, l, c, v, b: talib.CMO(c, 14),
    "roc": lambda o, h, l, c, v, b: talib.ROC(c, 10),
    "macd": lambda o, h, l, c, v, b: talib.MACD(c, 12, 26, 9)[0],
    "macd_signal": lambda o, h, l, c, v, b: talib.MACD(c, 12, 26, 9)[1],
    "macd_histogram": lambda o, h, l, c, v, b: talib.MACD(c, 12, 26, 9)[2],
    "ppo": lambda o, h, l, c, v, b: talib.PPO(c, 12, 26, 1),
    "trix": lambda o, h, l, c, v, b: talib.TRIX(c, 15),
    "stochastic_k": lambda o, h, l, c, v, b: talib.STOCH(h, l, c, 14, 3, 0, 3, 0)[0],
    "stochastic_d": lambda o, h, l, c, v, b: talib.STOCH(h, l, c, 14, 3, 0, 3, 0)[1],
    "stochastic_fast_k": lambda o, h, l, c, v, b: talib.STOCHF(h, l, c, 14, 3, 0)[0],
    "stochastic_fast_d": lambda o, h, l, c, v, b: talib.STOCHF(h, l, c, 14, 3, 0)[1],
    "stochastic_rsi_k": lambda o, h, l, c, v, b: talib.STOCHRSI(c, 14, 14, 3, 0)[0],
    "stochastic_rsi_d": lambda o, h, l, c, v, b: talib.STOCHRSI(c, 14, 14, 3, 0)[1],
    "williams_r": lambda o, h, l, c, v, b: talib.WILLR(h, l, c, 14),
    "cci": lambda o, h, l, c, v, b: talib.CCI(h, l, c, 20),
    "ultimate": lambda o, h, l, c, v, b: talib.ULTOSC(h, l, c, 7, 14, 28),
    "bop": lambda o, h, l, c, v, b: talib.BOP(o, h, l, c),
    "mfi": lambda o, h, l, c, v, b: talib.MFI(h, l, c, v, 14),
    "plus_di": lambda o, h, l, c, v, b: talib.PLUS_DI(h, l, c, 14),
    "minus_di": lambda o, h, l, c, v, b: talib.MINUS_DI(h, l, c, 14),
    "dx": lambda o, h, l, c, v, b: talib.DX(h, l, c, 14),
    "adx": lambda o, h, l, c, v, b: talib.ADX(h, l, c, 14),
    "adxr": lambda o, h, l, c, v, b: talib.ADXR(h, l, c, 14),
    "aroon_up": lambda o, h, l, c, v, b: talib.AROON(h, l, 14)[1],
    "aroon_down": lambda o, h, l, c, v, b: talib.AROON(h, l, 14)[0],
    "aroon_oscillator": lambda o, h, l, c, v, b: talib.AROONOSC(h, l, 14),
    "bollinger_upper": lambda o, h, l, c, v, b: talib.BBANDS(c, 20, 2.0, 2.0, 0)[0],
    "bollinger_middle": lambda o, h, l, c, v, b: talib.BBANDS(c, 20, 2.0, 2.0, 0)[1],
    "bollinger_lower": lambda o, h, l, c, v, b: talib.BBANDS(c, 20, 2.0, 2.0, 0)[2],
    "donchian_upper": lambda o, h, l, c, v, b: talib.MAX(h, 20),
    "donchian_lower": lambda o, h, l, c, v, b: talib.MIN(l, 20),
    "atr": lambda o, h, l, c, v, b: talib.ATR(h, l, c, 14),
    "natr": lambda o, h, l, c, v, b: talib.NATR(h, l, c, 14),
    "stddev": lambda o, h, l, c, v, b: talib.STDDEV(c, 20),
    "beta": lambda o, h, l, c, v, b: talib.BETA(b, c, 60),
    "correlation": lambda o, h, l, c, v, b: np.r_[
        np.nan, talib.CORREL(c[1:] / c[:-1] - 1.0, b[1:] / b[:-1] - 1.0, 60)
    ],
}  # fmt: skip


def windows_of(x: Floats, width: int) -> list[Floats]:
    return [x[t - width + 1 : t + 1] for t in range(width - 1, len(x))]


def rolled(x: Floats, width: int, measure: Callable[[Floats], float]) -> Floats:
    return np.r_[np.full(width - 1, np.nan), [measure(w) for w in windows_of(x, width)]]


def returns(c: Floats) -> Floats:
    return np.r_[np.nan, c[1:] / c[:-1] - 1.0]


def ewm(x: Floats, alpha: float, count: int) -> Floats:
    """Exponential mean begun with the mean of the first `count` known values, step by step."""
    out = np.full(len(x), np.nan)
    start = int(np.argmax(np.isfinite(x)))
    out[start + count - 1] = x[start : start + count].mean()
    for t in range(start + count, len(x)):
        out[t] = out[t - 1] + alpha * (x[t] - out[t - 1])
    return out


def wma(x: Floats, width: int) -> Floats:
    return rolled(x, width, lambda w: float(np.average(w, weights=np.arange(1, width + 1))))


def sma(x: Floats, width: int) -> Floats:
    return rolled(x, width, np.mean)


def rolled_sum(x: Floats, width: int) -> Floats:
    return rolled(x, width, np.sum)


def true_range(h: Floats, l: Floats, c: Floats) -> Floats:
    before = np.r_[np.nan, c[:-1]]
    return np.maximum(h, before) - np.minimum(l, before)


def lagged(x: Floats, back: int) -> Floats:
    return np.r_[np.full(back, np.nan), x[:-back]]


def linked(x: Floats, y: Floats, width: int, measure: Callable[[Floats, Floats], float]) -> Floats:
    return np.r_[
        np.full(width - 1, np.nan),
        [measure(a, b) for a, b in zip(windows_of(x, width), windows_of(y, width), strict=True)],
    ]


def rogers(o: Floats, h: Floats, l: Floats, c: Floats) -> Floats:
    return np.log(h / c) * np.log(h / o) + np.log(l / c) * np.log(l / o)


def percent(x: Floats, back: int) -> Floats:
    return 100.0 * (x / lagged(x, back) - 1.0)


def tsi(c: Floats) -> Floats:
    step = np.r_[np.nan, np.diff(c)]
    up, size = ewm(ewm(step, 2 / 26, 25), 2 / 14, 13), ewm(ewm(np.abs(step), 2 / 26, 25), 2 / 14, 13)
    return 100.0 * up / size


def kst(c: Floats) -> Floats:
    return sum(k * sma(percent(c, b), w) for k, (b, w) in enumerate(((10, 10), (15, 10), (20, 10), (30, 15)), 1))


def fisher(h: Floats, l: Floats, c: Floats) -> Floats:
    low, high = rolled(l, 10, np.min), rolled(h, 10, np.max)
    x = np.clip(2 * (c - low) / (high - low) - 1, -0.999, 0.999)
    return 0.5 * np.log((1 + x) / (1 - x))


def flow(h: Floats, l: Floats, c: Floats, v: Floats) -> Floats:
    return v * (2 * c - h - l) / (h - l)


def third(w: Floats, power: int) -> float:
    return float(np.mean(((w - w.mean()) / w.std()) ** power))


# output -> the formula written out for one column, slowly
PLAIN: dict[str, Talib] = {
    "hma": lambda o, h, l, c, v, b: wma(2 * wma(c, 8) - wma(c, 16), 4),
    "vwma": lambda o, h, l, c, v, b: rolled_sum(c * v, 20) / rolled_sum(v, 20),
    "tsi": lambda o, h, l, c, v, b: tsi(c),
    "coppock": lambda o, h, l, c, v, b: wma(percent(c, 14) + percent(c, 11), 10),
    "kst": lambda o, h, l, c, v, b: kst(c),
    "kst_signal": lambda o, h, l, c, v, b: sma(kst(c), 9),
    "awesome": lambda o, h, l, c, v, b: sma((h + l) / 2, 5) - sma((h + l) / 2, 34),
    "dpo": lambda o, h, l, c, v, b: lagged(c, 11) - sma(c, 20),
    "bull_power": lambda o, h, l, c, v, b: h - ewm(c, 2 / 14, 13),
    "bear_power": lambda o, h, l, c, v, b: l - ewm(c, 2 / 14, 13),
    "fisher": lambda o, h, l, c, v, b: fisher(h, l, c),
    "percent_rank": lambda o, h, l, c, v, b: rolled(c, 60, lambda w: float((w[:-1] < w[-1]).mean())),
    "up_share": lambda o, h, l, c, v, b: np.r_[np.nan, rolled((np.diff(c) > 0) * 1.0, 12, np.mean)],
    "gain_to_pain": lambda o, h, l, c, v, b: np.r_[
        np.nan, rolled(np.diff(c), 60, lambda d: float(d.sum() / -d[d < 0].sum()))
    ],
    "vortex_plus": lambda o, h, l, c, v, b: rolled_sum(np.abs(h - lagged(l, 1)), 14) / rolled_sum(true_range(h, l, c),
    14),
    "vortex_minus": lambda o, h, l, c, v,
    b: rolled_sum(np.abs(l - lagged(h, 1)), 14) / rolled_sum(true_range(h, l, c), 14),
    "choppiness": lambda o, h, l, c, v, b: 100 / np.log10(14) * np.log10(
        rolled_sum(true_range(h, l, c), 14) / (rolled(h, 14, np.max) - rolled(l, 14, np.min))
    ),
    "efficiency": lambda o, h, l, c, v, b: np.r_[
        np.nan, rolled(np.diff(c), 10, lambda d: float(abs(d.sum()) / np.abs(d).sum()))
    ],
    "bollinger_position": lambda o, h, l, c, v,
    b: rolled(c, 20, lambda w: float((w[-1] - w.mean() + 2 * w.std()) / (4 * w.std()))),
    "bollinger_width": lambda o, h, l, c, v, b: rolled(c, 20, lambda w: float(4 * w.std() / w.mean())),
    "donchian_position": lambda o, h, l, c, v,
    b: (c - rolled(l, 20, np.min)) / (rolled(h, 20, np.max) - rolled(l, 20, np.min)),
    "keltner_upper": lambda o, h, l, c, v, b: ewm(c, 2 / 21, 20) + 2 * ewm(true_range(h, l, c), 1 / 20, 20),
    "keltner_lower": lambda o, h, l, c, v, b: ewm(c, 2 / 21, 20) - 2 * ewm(true_range(h, l, c), 1 / 20, 20),
    "keltner_position": lambda o, h, l, c, v, b: (
        (c - ewm(c, 2 / 21, 20)) / (4 * ewm(true_range(h, l, c), 1 / 20, 20)) + 0.5
    ),
    "z_score": lambda o, h, l, c, v, b: rolled(c, 20, lambda w: float((w[-1] - w.mean()) / w.std())),
    "mass_index": lambda o, h, l, c, v, b: rolled_sum(ewm(h - l, 0.2, 9) / ewm(ewm(h - l, 0.2, 9), 0.2, 9), 25),
    "trend_strength": lambda o, h, l, c, v,
    b: rolled(np.log(c), 60, lambda w: float(np.corrcoef(w, np.arange(60))[0, 1])),
    "from_high": lambda o, h, l, c, v, b: c / rolled(h, 252, np.max) - 1,
    "from_low": lambda o, h, l, c, v, b: c / rolled(l, 252, np.min) - 1,
    "qstick": lambda o, h, l, c, v, b: sma(c - o, 8),
    "vhf": lambda o, h, l, c, v, b: np.r_[
        np.full(28, np.nan), [np.ptp(c[t - 27 : t + 1]) / np.abs(np.diff(c[t - 28 : t + 1])).sum() for t in range(28,
        len(c))]
    ],
    "volatility": lambda o, h, l, c, v, b: rolled(returns(c), 20, lambda w: float(np.std(w, ddof=1))),
    "downside": lambda o, h, l, c, v, b: rolled(returns(c), 20,
    lambda w: float(np.sqrt(np.mean(np.minimum(w, 0) ** 2))) if np.isfinite(w[0]) else np.nan),
    "ewma_volatility": lambda o, h, l, c, v, b: np.sqrt(ewm(returns(c) ** 2, 1 / 33, 33)),
    "parkinson": lambda o, h, l, c, v, b: np.sqrt(sma(np.log(h / l) ** 2, 20) / (4 * np.log(2))),
    "garman_klass": lambda o, h, l, c, v, b: np.sqrt(
        sma(0.5 * np.log(h / l) ** 2 - (2 * np.log(2) - 1) * np.log(c / o) ** 2, 20)
    ),
    "rogers_satchell": lambda o, h, l, c, v, b: np.sqrt(sma(rogers(o, h, l, c), 20)),
    "yang_zhang": lambda o, h, l, c, v, b: np.sqrt(
        rolled(np.log(o / lagged(c, 1)), 20, lambda w: float(np.var(w, ddof=1)))
        + (k := 0.34 / (1.34 + 21 / 19)) * rolled(np.log(c / o), 20, lambda w: float(np.var(w, ddof=1)))
        + (1 - k) * sma(rogers(o, h, l, c), 20)
    ),
    "ulcer": lambda o, h, l, c, v, b: np.sqrt(sma((100 * (c / rolled(c, 14, np.max) - 1)) ** 2, 14)),
    "max_drawdown": lambda o, h, l, c, v, b: np.r_[
        np.full(125, np.nan), [np.min(w / np.maximum.accumulate(w)) - 1 for w in windows_of(c, 126)]
    ],
    "drawdown": lambda o, h, l, c, v, b: c / rolled(c, 126, np.max) - 1,
    "skewness": lambda o, h, l, c, v, b: rolled(returns(c), 60, lambda w: third(w, 3)),
    "kurtosis": lambda o, h, l, c, v, b: rolled(returns(c), 60, lambda w: third(w, 4)),
    "autocorrelation": lambda o, h, l, c, v, b: linked(
        returns(c), lagged(returns(c), 1), 60, lambda x, y: float(np.corrcoef(x, y)[0, 1])
    ),
    "sharpe": lambda o, h, l, c, v, b: rolled(returns(c), 60, lambda w: float(w.mean() / w.std(ddof=1))),
    "gap": lambda o, h, l, c, v, b: sma(np.abs(o / lagged(c, 1) - 1), 20),
    "cmf": lambda o, h, l, c, v, b: rolled_sum(flow(h, l, c, v), 20) / rolled_sum(v, 20),
    "force": lambda o, h, l, c, v, b: ewm(np.r_[np.nan, np.diff(c)] * v, 2 / 14, 13),
    "ease": lambda o, h, l, c, v, b: sma(
        (h + l - lagged(h + l, 1)) / 2 * (h - l) / (v / sma(v, 14)), 14
    ),
    "volume_ratio": lambda o, h, l, c, v, b: v / sma(v, 20),
    "volume_z": lambda o, h, l, c, v, b: rolled(v, 20, lambda w: float((w[-1] - w.mean()) / w.std())),
    "pvo": lambda o, h, l, c, v, b: 100 * (ewm(v, 2 / 13, 12) / ewm(v, 2 / 27, 26) - 1),
    "signed_volume": lambda o, h, l, c, v,
    b: rolled_sum(np.r_[np.nan, np.sign(np.diff(c))] * v, 20) / rolled_sum(v, 20),
    "illiquidity": lambda o, h, l, c, v, b: sma(np.abs(returns(c)) / (v / sma(v, 20)), 20),
    "price_volume": lambda o, h, l, c, v, b: linked(
        returns(c), returns(v), 60, lambda x, y: float(np.corrcoef(x, y)[0, 1])
    ),
    "range_share": lambda o, h, l, c, v, b: sma((h - l) / c, 20),
    "residual_volatility": lambda o, h, l, c, v, b: linked(
        returns(c), returns(b), 60, lambda y,
        x: float(np.std(y - np.polyval(np.polyfit(x, y, 1), x))) if np.isfinite(x[0]) else np.nan
    ),
    "relative_strength": lambda o, h, l, c, v, b: (percent(c, 60) - percent(b, 60)) / 100,
}  # fmt: skip
