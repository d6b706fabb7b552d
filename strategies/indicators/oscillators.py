"""Momentum and oscillators."""

import numpy as np

from quantd.strategies.indicators import windows
from quantd.strategies.indicators.averages import Outputs, wma_of
from quantd.strategies.indicators.bars import (
    CLOSE,
    GAIN,
    HIGH,
    LOSS,
    LOW,
    TIE,
    TRUE_LOW,
    TRUE_RANGE,
    TYPICAL,
    VOLUME,
    place_in_range,
)
from quantd.strategies.indicators.nodes import (
    Node,
    absolute,
    change,
    ema,
    growth,
    highest,
    lag,
    lowest,
    mean,
    point,
    positive,
    ratio,
    total,
    wilder,
    window,
)


def rsi_of_gains(period: int) -> Node:
    """Wilder's relative strength index (1978), 0 to 100: smoothed gains over smoothed gains and losses."""
    up, down = wilder(GAIN, period), wilder(LOSS, period)
    return 100.0 * ratio(up, up + down)


def cmo(period: int) -> Outputs:
    """Chande's momentum oscillator (1994), -100 to 100, with Wilder's smoothing."""
    up, down = wilder(GAIN, period), wilder(LOSS, period)
    return {"cmo": 100.0 * ratio(up - down, up + down)}


def macd(fast: int, slow: int, signal: int) -> Outputs:
    """Moving average convergence divergence (G. Appel): fast less slow exponential mean, its mean, and the difference.

    The fast mean begins at the same bar as the slow one, as in TA-Lib.
    """
    line = ema(CLOSE, fast, seed_at=slow - 1) - ema(CLOSE, slow)
    smooth = ema(line, signal)
    return {"macd": line, "macd_signal": smooth, "macd_histogram": line - smooth}


def ppo(fast: int, slow: int) -> Outputs:
    """The fast exponential mean less the slow one, in percent of the slow one."""
    long = ema(CLOSE, slow)
    return {"ppo": 100.0 * ratio(ema(CLOSE, fast) - long, long)}


def trix(period: int) -> Outputs:
    """The growth in percent of a threefold exponential mean (J. Hutson, 1983)."""
    return {"trix": 100.0 * growth(ema(ema(ema(CLOSE, period), period), period))}


def stochastic(fast: int, slow: int, signal: int) -> Outputs:
    """Lane's stochastic: the close's place in the range of `fast` bars, 0 to 100, smoothed over `slow`, and its mean
    over `signal`."""
    unsmoothed = 100.0 * place_in_range(CLOSE, HIGH, LOW, fast)
    smoothed = mean(unsmoothed, slow)
    return {"stochastic_k": smoothed, "stochastic_d": mean(smoothed, signal)}


def stochastic_fast(fast: int, signal: int) -> Outputs:
    """Lane's fast stochastic: as `stochastic`, without the mean over `slow`."""
    unsmoothed = 100.0 * place_in_range(CLOSE, HIGH, LOW, fast)
    return {"stochastic_fast_k": unsmoothed, "stochastic_fast_d": mean(unsmoothed, signal)}


def stochastic_rsi(period: int, fast: int, signal: int) -> Outputs:
    """The place of the relative strength index in its own range (T. Chande and S. Kroll, 1994)."""
    strength = rsi_of_gains(period)
    unsmoothed = 100.0 * place_in_range(strength, strength, strength, fast)
    return {"stochastic_rsi_k": unsmoothed, "stochastic_rsi_d": mean(unsmoothed, signal)}


def williams_r(period: int) -> Outputs:
    """Williams' %R, -100 to 0: the distance of the close below the high of the range."""
    top = highest(HIGH, period)
    return {"williams_r": -100.0 * ratio(top - CLOSE, top - lowest(LOW, period))}


def cci(period: int) -> Outputs:
    """Lambert's commodity channel index (1980): the typical price's distance from its mean, in mean deviations.

    0.015 is Lambert's constant, with which most values are between -100 and 100.
    """
    return {"cci": ratio(TYPICAL - mean(TYPICAL, period), 0.015 * window(windows.MEAN_DEVIATION, period, TYPICAL))}


def ultimate(short: int, middle: int, long: int) -> Outputs:
    """Williams' ultimate oscillator (1985), 0 to 100: buying pressure over true range, of three windows together."""
    pressure = CLOSE - TRUE_LOW
    parts = [ratio(total(pressure, p), total(TRUE_RANGE, p)) for p in (short, middle, long)]
    return {"ultimate": (100.0 / 7.0) * (4.0 * parts[0] + 2.0 * parts[1] + parts[2])}


def money_flow_index(period: int) -> Outputs:
    """Money flow index (G. Quong and A. Soudack, 1989), 0 to 100. A change within `TIE` counts on neither side."""
    flow, rose = TYPICAL * VOLUME, growth(TYPICAL)
    up = total(point("flow_up", lambda f, d: f * (d > TIE) + 0.0 * d, flow, rose), period)
    down = total(point("flow_down", lambda f, d: f * (d < -TIE) + 0.0 * d, flow, rose), period)
    return {"mfi": 100.0 * ratio(up, up + down)}


def true_strength(long: int, short: int) -> Outputs:
    """Blau (1991): a twice smoothed change over its twice smoothed absolute value."""
    step = change(CLOSE)
    return {"tsi": 100.0 * ratio(ema(ema(step, long), short), ema(ema(absolute(step), long), short))}


def coppock(long: int, short: int, period: int) -> Outputs:
    """Coppock's curve (1962): a weighted mean of the growth over two windows, in percent."""
    return {"coppock": wma_of(100.0 * (growth(CLOSE, long) + growth(CLOSE, short)), period)}


def know_sure_thing() -> Outputs:
    """Pring's know sure thing (1992), in daily bars: smoothed growth of four windows, weighted 1 to 4."""
    parts = [
        mean(growth(CLOSE, back), width) * (100.0 * weight)
        for weight, (back, width) in enumerate(((10, 10), (15, 10), (20, 10), (30, 15)), 1)
    ]
    line = parts[0] + parts[1] + parts[2] + parts[3]
    return {"kst": line, "kst_signal": mean(line, 9)}


def detrended(period: int) -> Outputs:
    """The close of half a period ago less the mean, without future data."""
    return {"dpo": lag(CLOSE, period // 2 + 1) - mean(CLOSE, period)}


def elder_ray(period: int) -> Outputs:
    """Elder's bull and bear power (1993): the high and the low less the exponential mean of the close."""
    smooth = ema(CLOSE, period)
    return {"bull_power": HIGH - smooth, "bear_power": LOW - smooth}


def fisher(period: int) -> Outputs:
    """Fisher's transform of the close's position in its range, without the recursion of Ehlers (2002)."""
    position = 2.0 * place_in_range(CLOSE, HIGH, LOW, period) - 1.0
    return {"fisher": point(f"fisher({period})", lambda v: np.arctanh(np.clip(v, -0.999, 0.999)), position)}


def percent_rank(period: int) -> Outputs:
    """Share of the window's earlier closes below the newest."""
    return {"percent_rank": window(windows.BELOW, period, CLOSE)}


def up_share(period: int) -> Outputs:
    """Share of rising bars."""
    return {"up_share": mean(point("rose", lambda d: (d > 0.0) + 0.0 * d, change(CLOSE)), period)}


def gain_to_pain(period: int) -> Outputs:
    """Sum of the changes over the sum of the falls."""
    return {"gain_to_pain": ratio(total(change(CLOSE), period), total(positive(-change(CLOSE)), period))}
