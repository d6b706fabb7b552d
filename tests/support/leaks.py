"""Planted leaks of the future, each with a twin that decides the same way from the past."""

from dataclasses import dataclass
from typing import Final, Literal

Guard = Literal[
    "truncated markets", "files of the market", "two runs", "later dates", "tables in memory", "next open",
    "availability date", "parts that refuse to overlap", "truncated bars",
]  # fmt: skip
"""What finds a leak."""


@dataclass(frozen=True)
class Leak:
    """A leak by name: the command and the guard that find it. `leak` and `twin` are bodies of `act(view, ...)`, or of
    `signal(view)`, after ABOVE; empty where the test builds something else."""

    name: str
    command: str
    guard: Guard
    leak: str = ""
    twin: str = ""


ABOVE: Final = '''
import numpy as np
import polars as pl

LOOKBACK = 30
DAY = 86_400_000_000_000
USES_BARS = True
SYMBOLS = ("SPY", "QQQ", "IWM", "AAPL")
TABLES = {}


def closes(path):
    """The instants and closes of the whole file, read once."""
    if path not in TABLES:
        frame = pl.read_parquet(path).pivot("symbol", index="ts", values="close").sort("ts")
        missing = [pl.lit(None, dtype=pl.Float64).alias(s) for s in SYMBOLS if s not in frame.columns]
        frame = frame.with_columns(missing)
        TABLES[path] = frame["ts"].dt.epoch("ns").to_numpy(), frame.select(SYMBOLS).to_numpy().astype(float)
    return TABLES[path]


def today(path, view):
    """The row of today, and the closes of the whole file."""
    ts, table = closes(path)
    return int(np.searchsorted(ts, view.time)) - 1, table


def weights(score):
    """Weights from scores around 0."""
    return np.nan_to_num(np.clip(0.15 + 0.05 * np.asarray(score, dtype=float), 0.0, 0.25))

'''
"""Code before every policy: it reads the market's file from the parameter `path`."""


def by_path(*lines: str) -> str:
    """A policy that reads the market's file: `t` is the row of today, `x` the closes of the whole file."""
    return by_view("t, x = today(path, view)", *lines).replace("(view)", "(view, *, path)", 1)


def by_view(*lines: str, name: str = "act(view)") -> str:
    """A policy of the view."""
    return "\n".join([f"def {name}:", *(f"    {line}" for line in lines)]) + "\n"


def factor(*lines: str) -> str:
    """A factor."""
    return by_view(*lines, name="signal(view)")


SMOOTHER: Final = '''
def likelihoods(returns):
    """Of a calm and of a volatile state, at each row."""
    spread = np.array([0.006, 0.02])
    return np.exp(-0.5 * (np.nan_to_num(returns)[:, None] / spread) ** 2) / spread


STAY = np.array([[0.95, 0.05], [0.05, 0.95]])


def forward(returns):
    given, out = likelihoods(returns), []
    state = np.array([0.5, 0.5])
    for row in given:
        state = (state @ STAY) * row
        state = state / state.sum()
        out.append(state)
    return np.array(out)


def smoothed(returns):
    """The forward-backward algorithm: each row knows the rows after it."""
    ahead, given = forward(returns), likelihoods(returns)
    out, back = ahead.copy(), np.ones(2)
    for row in range(len(ahead) - 1, -1, -1):
        out[row] = ahead[row] * back / (ahead[row] @ back)
        back = STAY @ (given[row] * back)
        back = back / back.sum()
    return out


'''

SPREAD = "(np.nanmean({0}, axis=0), np.nanstd({0}, axis=0))"
RETURNS = "r = np.nan_to_num(x[1:] / x[:-1] - 1)"
SLOPE = ("slope = (r[1:] * r[:-1]).sum(axis=0) / (r * r).sum(axis=0)", "return weights(slope * 5 + r[t - 1])")
WEEK = "week = (closes(path)[0] // DAY + 3) // 7"
COIN = "coin = pl.read_parquet(path).filter(pl.col('symbol') == 'BTC-USD').sort('ts')"
RISEN = "return [0.1, 0.3 if known[-1] > known[-2] else 0.0]"
CUTS: Final = "truncated markets"
FILES: Final = "files of the market"
TWICE: Final = "two runs"
DATES: Final = "later dates"
LOOKAHEAD: Final = "study lookahead"
SIGNAL: Final = "study signal"

LEAKS: Final = (
    Leak(
        "a scaler fitted on the whole sample", LOOKAHEAD, CUTS,
        by_path("mean, spread = " + SPREAD.format("x"), "return weights((x[t] - mean) / spread)"),
        by_path("mean, spread = " + SPREAD.format("x[: t + 1]"), "return weights((x[t] - mean) / spread)"),
    ),
    Leak(
        "gaps filled backwards", LOOKAHEAD, CUTS,
        by_path(
            "x = pl.DataFrame(x).fill_nan(None).fill_null(strategy='backward').to_numpy()",
            "return weights(100 * (x[t] / x[t - 1] - 1))",
        ),
        by_path(
            "x = pl.DataFrame(x).fill_nan(None).fill_null(strategy='forward').to_numpy()",
            "return weights(100 * (x[t] / x[t - 1] - 1))",
        ),
    ),
    Leak(
        "a centred moving average", LOOKAHEAD, CUTS,
        by_path("return weights(50 * (x[t] / (np.nansum(x[t - 5 : t + 6], axis=0) / 11) - 1))"),
        by_path("return weights(50 * (x[t] / (np.nansum(x[t - 10 : t + 1], axis=0) / 11) - 1))"),
    ),
    Leak(
        "a smoothed regime", LOOKAHEAD, CUTS,
        SMOOTHER + by_path("r = x[1:, 0] / x[:-1, 0] - 1", "return [0.25 * smoothed(r)[t - 1, 0]] * 4"),
        SMOOTHER + by_path("r = x[1:, 0] / x[:-1, 0] - 1", "return [0.25 * forward(r)[t - 1, 0]] * 4"),
    ),
    Leak(
        "a regime's threshold from the whole sample", LOOKAHEAD, CUTS,
        by_path(RETURNS, "return weights((np.abs(r[t - 1]) - np.quantile(np.abs(r), 0.7, axis=0)) * 100)"),
        by_path(RETURNS, "return weights((np.abs(r[t - 1]) - np.quantile(np.abs(r[:t]), 0.7, axis=0)) * 100)"),
    ),
    Leak(
        "the target itself by shift(-1)", LOOKAHEAD, CUTS,
        by_path(
            "r = pl.DataFrame(x).select(pl.all().shift(-1) / pl.all() - 1).to_numpy()",
            "return weights(100 * r[t].astype(float))",
        ),
        by_path(
            "r = pl.DataFrame(x).select(pl.all() / pl.all().shift(1) - 1).to_numpy()",
            "return weights(100 * r[t].astype(float))",
        ),
    ),
    Leak(
        "a rank over the full sample", LOOKAHEAD, CUTS,
        by_path("return weights(np.argsort(np.argsort(np.nan_to_num(x[-1] / x[0]))) - 1.5)"),
        by_path("return weights(np.argsort(np.argsort(np.nan_to_num(x[t] / x[0]))) - 1.5)"),
    ),
    Leak(
        "a later delisting: a universe of survivors", LOOKAHEAD, CUTS,
        by_path("return np.where(np.isfinite(x[-1]), 0.2, 0.0)"),
        by_path("return np.where(np.isfinite(x[t]), 0.2, 0.0)"),
    ),
    Leak(
        "the close of a week that has not ended", LOOKAHEAD, CUTS,
        by_path(WEEK, "last = np.flatnonzero(week == week[t])[-1]", "return weights(30 * (x[last] / x[t - 5] - 1))"),
        by_path(WEEK, "last = np.flatnonzero(week < week[t])[-1]", "return weights(30 * (x[last] / x[t - 5] - 1))"),
    ),
    Leak(
        "a model fitted on the whole sample", LOOKAHEAD, CUTS,
        by_path(RETURNS, *SLOPE), by_path(RETURNS + "[:t]", *SLOPE),
    ),
    Leak(
        "another calendar's bar of the same date", LOOKAHEAD, CUTS,
        by_view(
            COIN, "known = coin.filter(pl.col('ts').dt.epoch('ns') <= view.time)['close'].to_list()", RISEN,
            name="act(view, *, path)",
        ),
        by_view(
            COIN, "known = coin.filter(pl.col('ts').dt.epoch('ns') + DAY <= view.time)['close'].to_list()", RISEN,
            name="act(view, *, path)",
        ),
    ),
    Leak(
        "the market behind the view, through the stack", LOOKAHEAD, CUTS,
        "import sys\n" + by_view(
            "frame = sys._getframe()",
            "while 'assembly' not in frame.f_locals:",
            "    frame = frame.f_back",
            "feed = frame.f_locals['assembly'].feed",
            "return weights(100 * (feed.slice_at(feed.count - 1).close / view.prices - 1))",
        ),
        by_view("return weights(100 * view.returns(1)[-1])"),
    ),
    Leak(
        "the last row of a frame loaded at import", LOOKAHEAD, FILES,
        "LAST = dict(pl.read_parquet(BARS).sort('ts').group_by('symbol').agg(pl.col('close').last()).iter_rows())\n"
        + by_view("return [0.2 * (price < LAST[s]) for price, s in zip(view.prices, SYMBOLS)]"),
        by_view("bars = view.bars(20)", "return weights(10 * (bars.close[-1] / bars.close[0] - 1))"),
    ),
    Leak(
        "splits and dividends of later dates", LOOKAHEAD, FILES,
        by_view("return [0.001 * (open(ACTIONS).read().count(s) % 200) for s in SYMBOLS]"),
        by_view("bars = view.bars(20)", "return weights(5 * (bars.close[-1] / bars.open[-1] - 1))"),
    ),
    Leak(
        "restated data by the date of the value", LOOKAHEAD, FILES,
        "VIX = pl.read_parquet(MACRO)\n" + by_view(
            "known = VIX.filter(pl.col('ts').cast(pl.Datetime('ns')).dt.epoch('ns') < view.time)['close']",
            "return [0.2 if known[-1] < 16 else 0.1] * 4",
        ),
        by_view("return [0.2 if view.macro('vix', 1)[-1] < 16 else 0.1] * 4"),
    ),
    Leak(
        "a memo in the process from an earlier run", LOOKAHEAD, TWICE,
        "import sys\n" + by_view(
            "seen = sys.__dict__.setdefault(MEMO, {})",
            "seen[view.time] = view.prices[0]",
            "later = [price for ts, price in seen.items() if ts > view.time]",
            "return [0.2 if later and later[0] > view.prices[0] else 0.1] * 4",
        ),
        "SEEN = {}\n" + by_view(
            "earlier = [price for ts, price in SEEN.items() if ts < view.time]",
            "SEEN[view.time] = view.prices[0]",
            "return [0.2 if earlier and earlier[-1] > view.prices[0] else 0.1] * 4",
        ),
    ),
    Leak(
        "a memo on disk from an earlier run", LOOKAHEAD, TWICE,
        "import json, pathlib\n" + by_view(
            "note = pathlib.Path(HERE) / 'memo.json'",
            "seen = json.loads(note.read_text()) if note.exists() else {}",
            "seen[str(view.time)] = float(view.prices[0])",
            "note.write_text(json.dumps(seen))",
            "later = [price for ts, price in sorted(seen.items()) if int(ts) > view.time]",
            "return [0.2 if later and later[0] > view.prices[0] else 0.1] * 4",
        ),
        by_view(
            "before = memory.get('price', view.prices[:1])",
            "return [0.2 if before[0] > view.prices[0] else 0.1] * 4, {'price': view.prices[:1]}",
            name="act(view, memory)",
        ),
    ),
    Leak(
        "a table of dates", LOOKAHEAD, DATES,
        by_view(
            "day = str(np.datetime64(view.time, 'ns').astype('datetime64[D]'))",
            "return [0.25 if day in {'2019-02-15', '2019-03-01', '2019-03-08'} else 0.1] * 4",
        ),
        by_view(
            "month = np.datetime64(view.time, 'ns').astype('datetime64[M]').astype(int) % 12",
            "return [0.25 if month == 1 and (view.time // DAY + 3) % 7 < 3 else 0.1] * 4",
        ),
    ),
    Leak(
        "the clock: whether a date is over", LOOKAHEAD, DATES,
        "import time\n" + by_view("return [0.25 if view.time < time.time_ns() - 30 * DAY else 0.1] * 4"),
        by_view("return [0.25 if view.prices[0] > 275 else 0.1] * 4"),
    ),
    Leak("a factor from a frame in a notebook", "quantd.study_signal", "tables in memory"),
    Leak(
        "a factor whose calls know later ones", SIGNAL, TWICE,
        "SEEN = {}\n" + factor("SEEN[view.time] = view.prices", "return view.prices / SEEN[max(SEEN)] + len(SEEN)"),
        factor("return view.prices / view.bars(20).close[0]"),
    ),
    Leak(
        "a factor over the market's own file", SIGNAL, FILES,
        factor("return np.nan_to_num(closes(BARS)[1][-1]) / view.prices"), factor("return view.momentum(20)"),
    ),
    Leak("a feature that uses tomorrow's bar", "quantd.strategies.features", "truncated bars"),
    Leak("a fill at the close that the decision saw", "backtest", "next open"),
    Leak("a value of the VIX on its own date", "backtest", "availability date"),
    Leak("a test range inside the training window", "train", "parts that refuse to overlap"),
)  # fmt: skip
