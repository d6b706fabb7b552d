"""A small invented market in files, and small plans of each learner on it, for tests of training."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from quantd.models.history.splits import Split, Splits
from quantd.training.plans.plan import Plan, default, replaced

SYMBOLS = ("AAA", "BBB", "CCC")
FIRST = date(2015, 1, 1)
SPLITS = Splits(
    Split("train", date(2015, 7, 1), date(2016, 6, 30)),
    Split("validation", date(2016, 7, 1), date(2016, 12, 31)),
    Split("test", date(2017, 1, 1), date(2017, 6, 30)),
)

PLAN = """
name = "small"
agent = "ppo"
steps = 800
evaluate_every = 400
checkpoint_every = 400
warmup_days = 170
seeds = [1, 2]
[data]
bars = "bars.parquet"
actions = ""
symbols = ["AAA", "BBB", "CCC"]
[splits]
train = { first = 2015-07-01, last = 2016-06-30 }
validation = { first = 2016-07-01, last = 2016-12-31 }
test = { first = 2017-01-01, last = 2017-06-30 }
[learner]
hidden = [8]
horizon = 8
minibatch = 16
epochs = 2
[market.episodes]
length = 30
"""
"""A plan of those bars, which lie beside it."""

SMALL: dict[str, dict[str, object]] = {
    "ppo": {"learner.hidden": [8], "learner.horizon": 8, "learner.epochs": 2, "learner.minibatch": 16},
    "lstm": {"learner.network": "lstm", "learner.hidden": [8], "learner.horizon": 8, "learner.epochs": 2},
    "a2c": {"learner.hidden": [8], "learner.horizon": 2},
    "dqn": {
        "learner.hidden": [8], "learner.streams": 8, "learner.double": True, "learner.n_step": 3, "learner.alpha": 0.6,
        "learner.buffer": 1_500, "learner.batch": 8, "learner.warmup": 200, "learner.train_every": 8,
    },
    "sac": {
        "learner.hidden": [8], "learner.buffer": 1_500, "learner.batch": 8, "learner.warmup": 200,
        "learner.train_every": 16,
    },
    "maddpg": {
        "learner.hidden": [8], "learner.buffer": 1_600, "learner.batch": 4, "learner.warmup": 200,
        "learner.train_every": 32,
    },
}  # fmt: skip
"""Learner -> what makes it small; all but DQN's memory is drawn from while a test lasts."""


def bars(folder: Path, *, flat: bool = False, poison: date | None = None, seed: int = 5) -> Path:
    """Daily bars of three assets over 2015 to mid 2017, every day a session; all prices 50 when `flat`; from `poison`
    on BBB costs a price that makes its return infinite in float32."""
    days = [FIRST + timedelta(days=k) for k in range(912)]
    draw = np.random.default_rng(seed)
    close = np.round(50.0 * np.cumprod(1.0 + draw.normal(0.0006, 0.012, (len(days), 3)), axis=0), 2)
    if flat:
        close[:] = 50.0
    opens = np.round(close * (1.0 + (0.0 if flat else 1.0) * draw.normal(0.0, 0.003, close.shape)), 2)
    if poison is not None:
        close[[k for k, day in enumerate(days) if day == poison], 1] = 1e60
    rows = {
        "ts": np.repeat(np.array(days, dtype="datetime64[us]"), 3),
        "symbol": list(SYMBOLS) * len(days),
        "open": opens.reshape(-1),
        "close": close.reshape(-1),
    }
    path = folder / "bars.parquet"
    pl.DataFrame(rows).with_columns(pl.col("ts").dt.replace_time_zone("UTC")).write_parquet(path)
    return path


def plan(path: Path, which: str = "ppo", **changes: object) -> Plan:
    """A plan of `which` that takes a second; changes by key, dots as two underscores."""
    agent = "ppo" if which == "lstm" else which
    small: dict[str, object] = {
        "name": which,
        "data.bars": str(path),
        "data.actions": "",
        "data.symbols": list(SYMBOLS),
        "warmup_days": 170,
        "market.batch": 8,
        "market.episodes.length": 30,
        "steps": 3_000,
        "seeds": [1],
        "evaluate_every": 1_000,
        "checkpoint_every": 1_000,
        "splits.train": {"first": SPLITS.train.first, "last": SPLITS.train.last},
        "splits.validation": {"first": SPLITS.validation.first, "last": SPLITS.validation.last},
        "splits.test": {"first": SPLITS.test.first, "last": SPLITS.test.last},
    }
    overrides = {key.replace("__", "."): value for key, value in changes.items()}
    return replaced(default(agent), {**small, **SMALL[which], **overrides})  # type: ignore[arg-type]
