"""Time of 50 indicators for 100 symbols per new bar, compared with a recomputation over the window.

    OMP_NUM_THREADS=1 python -m benchmarks.features [bars]

TA-Lib and polars_talib are included where installed (neither is needed to trade). Ratios are of one run.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from time import perf_counter
from typing import Any

import numpy as np

from quantd.strategies.features import Inputs, compute, shipped
from quantd.strategies.indicators import INDICATORS, batch, build, stream
from quantd.trading.market import Floats

SYMBOLS, WINDOW, INDICATORS_TIMED = 100, 252, 50
DAY_NS = 86_400_000_000_000


def bars(rows: int, size: int) -> dict[str, Floats]:
    rng = np.random.default_rng(1)
    close = 100.0 * np.exp((rng.standard_t(4, (rows, size)) * 0.01).cumsum(axis=0))
    start = close * np.exp(rng.normal(0, 0.005, (rows, size)))
    return {
        "open": start,
        "high": np.maximum(start, close) * 1.004,
        "low": np.minimum(start, close) * 0.996,
        "close": close,
        "volume": np.round(rng.lognormal(13, 1, (rows, size))),
        "benchmark": np.repeat(close[:, :1], size, axis=1),
    }


def timed(work: Callable[[], object], times: int) -> float:
    """Return the median of `times` runs, in microseconds."""
    durations = []
    for _ in range(times):
        began = perf_counter()
        work()
        durations.append(perf_counter() - began)
    return float(np.median(durations)) * 1e6


def talib_calls(t: Any, o: Floats, h: Floats, low: Floats, c: Floats, v: Floats, b: Floats) -> list[Callable[[], Any]]:
    """Return the same indicators by TA-Lib for one column, one call each."""
    return [
        lambda: t.SMA(c, 20), lambda: t.EMA(c, 20), lambda: t.WMA(c, 20), lambda: t.DEMA(c, 20), lambda: t.TEMA(c, 20),
        lambda: t.TRIMA(c, 20), lambda: t.KAMA(c, 10), lambda: t.T3(c, 5, 0.7), lambda: t.MIDPOINT(c, 14),
        lambda: t.MIDPRICE(h, low, 14), lambda: t.LINEARREG(c, 14), lambda: t.RSI(c, 14), lambda: t.CMO(c, 14),
        lambda: t.MOM(c, 10), lambda: t.ROC(c, 10), lambda: t.MACD(c, 12, 26, 9), lambda: t.PPO(c, 12, 26, 1),
        lambda: t.APO(c, 12, 26, 1), lambda: t.TRIX(c, 15), lambda: t.STOCH(h, low, c, 14, 3, 0, 3, 0),
        lambda: t.STOCHF(h, low, c, 14, 3, 0), lambda: t.STOCHRSI(c, 14, 14, 3, 0), lambda: t.WILLR(h, low, c, 14),
        lambda: t.CCI(h, low, c, 20), lambda: t.ULTOSC(h, low, c, 7, 14, 28), lambda: t.BOP(o, h, low, c),
        lambda: t.MFI(h, low, c, v, 14), lambda: t.ADX(h, low, c, 14), lambda: t.AROON(h, low, 14),
        lambda: t.BBANDS(c, 20, 2.0, 2.0, 0), lambda: (t.MAX(h, 20), t.MIN(low, 20)), lambda: t.TRANGE(h, low, c),
        lambda: t.ATR(h, low, c, 14), lambda: t.STDDEV(c, 20), lambda: t.OBV(c, v), lambda: t.AD(h, low, c, v),
        lambda: t.ADOSC(h, low, c, v, 3, 10), lambda: t.BETA(b, c, 60), lambda: t.CORREL(c, b, 60),
    ]  # fmt: skip


def polars_calls(pl: Any) -> list[Any]:
    """Return some of the same indicators as expressions of polars_talib, over the symbols."""
    c = pl.col("close")
    pta = import_module("polars_talib")
    expressions = [
        pta.sma(c, timeperiod=20), pta.ema(c, timeperiod=20), pta.wma(c, timeperiod=20), pta.dema(c, timeperiod=20),
        pta.tema(c, timeperiod=20), pta.trima(c, timeperiod=20), pta.kama(c, timeperiod=10), pta.rsi(c, timeperiod=14),
        pta.cmo(c, timeperiod=14), pta.mom(c, timeperiod=10), pta.roc(c, timeperiod=10), pta.trix(c, timeperiod=15),
        pta.linearreg(c, timeperiod=14), pta.stddev(c, timeperiod=20),
    ]  # fmt: skip
    return [e.over("symbol").alias(f"x{i}") for i, e in enumerate(expressions)]


def optional(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


def main(count: int) -> None:
    fields = bars(WINDOW + count, SYMBOLS)
    in_talib = [n for n, i in INDICATORS.items() if i.talib]
    chosen = (in_talib + [n for n, i in INDICATORS.items() if not i.talib])[:INDICATORS_TIMED]
    outputs = {o: node for name in chosen for o, node in build(name).items()}
    indicators = stream(outputs, SYMBOLS)
    present = np.ones(SYMBOLS, dtype=np.bool_)
    spent = []
    for t in range(WINDOW + count):
        row = {name: column[t] for name, column in fields.items()}
        began = perf_counter()
        indicators.update(row, present)
        spent.append(perf_counter() - began)
    micro = np.array(spent[WINDOW:]) * 1e6
    usual = float(np.median(micro))
    print(f"{len(chosen)} indicators ({len(outputs)} columns) x {SYMBOLS} symbols, one bar, bar by bar: ")
    print(f"  p50 {usual:,.0f} us   p90 {np.quantile(micro, 0.9):,.0f} us   (budget 1,000 us)")

    window = {name: np.ascontiguousarray(column[-WINDOW:]) for name, column in fields.items()}
    ours = timed(lambda: batch(outputs, window), 3)
    print(f"  ours again over {WINDOW} bars: {ours:,.0f} us, {ours / usual:,.0f} times one bar")
    talib = optional("talib")
    if talib is not None:
        names = ("open", "high", "low", "close", "volume", "benchmark")
        columns = [[np.ascontiguousarray(window[n][:, s]) for n in names] for s in range(SYMBOLS)]
        calls = [call for column in columns for call in talib_calls(talib, *column)]
        same = stream({o: n for name in in_talib for o, n in build(name).items()}, SYMBOLS)
        for t in range(60):
            same.update({name: column[t] for name, column in window.items()}, present)
        last = {name: column[-1] for name, column in window.items()}
        one_bar_us = timed(lambda: same.update(last, present), 60)
        again = timed(lambda: [call() for call in calls], 3)
        print(f"  the {len(calls) // SYMBOLS} that TA-Lib has, by TA-Lib again over {WINDOW} bars: {again:,.0f} us, "
              f"{again / one_bar_us:,.1f} times ours for one bar ({one_bar_us:,.0f} us)")  # fmt: skip
    polars = optional("polars") if optional("polars_talib") is not None else None
    if polars is not None:
        symbols = np.repeat(np.arange(SYMBOLS), WINDOW)
        frame = polars.DataFrame({"symbol": symbols, "close": window["close"].T.ravel()})
        expressions = polars_calls(polars)
        again = timed(lambda: frame.select(expressions), 3)
        print(f"  {len(expressions)} of them by polars_talib again over {WINDOW} bars: {again:,.0f} us, "
              f"{again / usual:,.1f} times ours for all {len(chosen)} at one bar")  # fmt: skip

    pandas = optional("pandas")
    if pandas is not None:
        closes = pandas.DataFrame(window["close"])
        rolling = closes.rolling(20)
        five = [rolling.mean, rolling.std, rolling.max, rolling.min, closes.ewm(span=20, adjust=False).mean]
        again = timed(lambda: [indicator() for indicator in five], 3)
        print(f"  5 of them (mean, deviation, highest, lowest, ema) by pandas over {WINDOW} bars: {again:,.0f} us, "
              f"{again / usual:,.1f} times ours for all {len(chosen)} at one bar")  # fmt: skip

    spec = shipped("full")
    session = np.arange(WINDOW + count, dtype=np.int64) * DAY_NS
    row_bars = {name: column for name, column in fields.items() if name != "benchmark"}
    newest = Inputs(session[-WINDOW:], {n: c[-WINDOW:] for n, c in row_bars.items()}, 0)
    once = timed(lambda: compute(spec, newest, rows=1), 3)
    print(f"the set full ({len(spec.features)} features) x {SYMBOLS} symbols: "
          f"the newest row from {WINDOW} bars {once:,.0f} us")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 250)
