"""Policies that look up the future by a key, and honest rules, under the look-ahead study.

A plant knows by a key which share rises most at its next open. The market has five shares and 700 sessions.
"""

import json
import sys
import types
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, Final

import numpy as np
import polars as pl
import pytest

import quantd
from quantd.adapters.calendars import sessions
from quantd.research.python_api.signals import LooksAhead

SESSIONS: Final = 700
SHARES: Final = 5
CUTS: Final = 4

Rows = list[list[float]]
"""Rows of a key's numbers, and at last the number of the share that rises most."""


def market(seed: int = 3) -> pl.DataFrame:
    """Bars of SHARES random shares that move together, with a little momentum from day to day."""
    draw = np.random.default_rng(seed)
    days = np.array(sessions("XNYS", date(2015, 1, 1), date(2018, 12, 31)).day_ns[:SESSIONS])
    shocks = 0.008 * draw.normal(size=(SESSIONS, 1)) + 0.012 * draw.normal(size=(SESSIONS, SHARES))
    moves = 0.0003 + shocks + 0.03 * np.vstack([np.zeros((1, SHARES)), shocks[:-1]])
    close = 50.0 * np.exp(np.cumsum(moves, axis=0))
    opened = np.vstack([close[:1], close[:-1]]) * np.exp(0.003 * draw.normal(size=close.shape))
    high, low = np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998
    volume = np.round(np.exp(15.0 + 0.4 * draw.normal(size=close.shape)))
    prices = {"open": opened, "high": high, "low": low, "close": close}
    return pl.DataFrame(
        {
            "ts": pl.from_epoch(pl.Series(np.repeat(days, SHARES)), "ns"),
            "symbol": [f"S{k}" for k in range(SHARES)] * SESSIONS,
            **{name: np.round(values, 4).ravel() for name, values in prices.items()},
            "volume": volume.ravel(),
        }
    )


def key_of(kind: str, view: Any) -> list[float]:
    """Return the numbers by which a plant of this kind looks up the future."""
    return {
        "exact": lambda: [float(view.prices[0])],
        "rounded": lambda: [round(float(view.prices[0]), 1), round(float(view.prices[1]), 1)],
        "nearest": lambda: view.returns(1)[-1].tolist(),
        "sample": lambda: [float(view.sample)],
        "volume": lambda: [float(view.bars(1).volume[-1][0])],
    }[kind]()


def held_in(container: str, rows: Rows, name: str) -> Callable[[], Rows]:
    """Return a function that reads the rows from a container of this kind."""
    if container == "dict":
        table = {tuple(row[:-1]): row[-1] for row in rows}
        return lambda: [[*key, best] for key, best in table.items()]
    if container == "module":
        module = types.ModuleType(name)
        module.rows = rows  # type: ignore[attr-defined]
        sys.modules[name] = module
        return lambda: __import__(name).rows
    if container == "class":
        store = type("Store", (), {"rows": rows})
        return lambda: store.rows  # type: ignore[attr-defined]
    text = json.dumps(rows)
    if container == "string":
        return lambda: json.loads(text)
    number = int.from_bytes(text.encode(), "big")
    return lambda: json.loads(number.to_bytes((number.bit_length() + 7) // 8, "big"))


class WithBars:
    """A policy that reads one sample of history, with its bars."""

    lookback, uses_bars = 1, True

    def __init__(self, act: Callable[..., Any]) -> None:
        """Make the policy of a function `act(view, memory)`."""
        self._act = act

    def act(self, view: Any, memory: Any) -> Any:
        """Return weights, and the memory for the next decision."""
        return self._act(view, memory)


class Ranked:
    """A factor that reads one sample of history, with its bars."""

    lookback, uses_bars = 1, True

    def __init__(self, policy: WithBars) -> None:
        """Make the factor whose numbers are the weights of a policy."""
        self._policy = policy

    def act(self, view: Any) -> Any:
        """Return a number for each symbol."""
        return self._policy.act(view, {})[0]


def plant(kind: str, container: str, bars: pl.DataFrame) -> WithBars:
    """Return a policy that looks up by a key of this kind, in such a container, which share to hold.

    Its keys are taken from a run over the bars. A key that is not held has an equal mix, or for `nearest` the closest.
    """
    wide = bars.sort("ts").pivot("symbol", index="ts", values="open").drop("ts").to_numpy()
    best = np.argmax(wide[2:] / wide[1:-1], axis=1)
    seen: dict[int, list[float]] = {}

    def learns(view: Any, memory: Any) -> Any:
        seen[view.sample_time] = key_of(kind, view)
        return np.zeros(SHARES), memory

    settings = {"quantd.state": "state"}
    quantd.backtest(WithBars(learns), bars, settings, compare=False)
    offset = SESSIONS - len(seen)  # of the first decision
    rows = [
        [*key, float(best[offset + k])]
        for k, key in enumerate(seen.values())
        if offset + k < len(best) and np.isfinite(key).all()
    ]
    read = held_in(container, rows, f"held_{kind}_{container}")
    kept: dict[str, Any] = {}

    def act(view: Any, memory: Any) -> Any:
        table = kept.get("table")
        if table is None:
            table = kept["table"] = {"keys": {tuple(row[:-1]): int(row[-1]) for row in read()}}
            table["points"] = list(table["keys"])
        key = tuple(key_of(kind, view))
        if kind == "nearest":
            points = np.array(table["points"])
            key = table["points"][int(np.argmin(((points - np.array(key)) ** 2).sum(axis=1)))]
        weights, share = np.full(SHARES, 0.2), table["keys"].get(key)
        if share is not None:
            weights = np.eye(SHARES)[share]
        return weights, memory

    return WithBars(act)


def turn_of_the_month(view: Any) -> Any:
    day = datetime.fromtimestamp(view.sample_time / 1e9 - 1, UTC).day
    return np.full(SHARES, 0.2 if day >= 27 or day <= 3 else 0.0)


def fixed_mix(view: Any) -> Any:
    return [0.4, 0.3, 0.1, 0.1, 0.1]


def momentum(view: Any) -> Any:
    weights = np.zeros(SHARES)
    weights[np.argsort(view.returns(5).sum(axis=0))[-2:]] = 0.5
    return weights


turn_of_the_month.lookback, fixed_mix.lookback, momentum.lookback = 1, 1, 5  # type: ignore[attr-defined]


def verdict(policy: Any, bars: pl.DataFrame) -> tuple[bool | None, str]:
    """Return `clean` of a policy, and the text of the study."""
    study = quantd.lookahead(policy, bars, {"quantd.state": "state"}, cuts=CUTS)
    return study.clean, str(study)


def factor_verdict(kind: str, container: str, bars: pl.DataFrame) -> bool | None:
    """Return `clean` of a plant as a factor: None where the study is not decided, False where it refuses it."""
    factor = Ranked(plant(kind, container, bars))
    settings = {"quantd.state": "state"}
    try:
        studied = quantd.study_signal(factor, bars, settings, horizons=(1,), cuts=CUTS)
        return studied.studies[0].guard.clean
    except quantd.Error as refused:
        if not isinstance(refused, LooksAhead):
            raise
        return False


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "container"), [("exact", "dict"), ("nearest", "class"), ("sample", "module"), ("volume", "number")]
)
def test_a_lookup_is_not_called_clean(kind, container, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clean, text = verdict(plant(kind, container, market()), market())
    expected = (None, "not decided: answers by date only") if kind == "sample" else (False, "not clean, or in sample")
    assert (clean, text.startswith(expected[1])) == (expected[0], True), text


@pytest.mark.long
def test_a_factor_that_looks_up_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert factor_verdict("rounded", "string", market()) is False


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize(("rule", "clean"), [(turn_of_the_month, None), (fixed_mix, True), (momentum, True)])
def test_an_honest_rule_is_not_accused(rule, clean, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert verdict(rule, market())[0] is clean
