"""Lookups of the future in eight containers, and honest rules, under the look-ahead study:

    python -m tests.proofs.lookups            # each plant in each container, and each control (about 15 minutes)
    python -m tests.proofs.lookups --short    # each plant in one container, and ten controls

A plant knows by a key which share rises most at its next open. It is found where the study does not call it clean. A
control is accused where the study calls it not clean; None is allowed. The market has five shares and 700 sessions.
"""

import argparse
import json
import sys
import types
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, Final

import numpy as np
import polars as pl

import quantd
from quantd.adapters.calendars import sessions
from quantd.research.python_api.signals import LooksAhead
from quantd.strategies.policies import PASSIVE, POLICIES

CONTAINERS: Final = ("dict", "list", "partial", "module", "class", "bytes", "string", "number")
KEYS: Final = ("exact", "rounded", "nearest", "date", "sample", "volume", "history")
SESSIONS: Final = 700
SHARES: Final = 5
CUTS: Final = 4

NEEDED: Final[dict[str, dict[str, Any]]] = {
    "fixed_mix": {"agents.policy.params.weights": {"S0": 0.4, "S1": 0.3, "S2": 0.2}},
    "signals": {"agents.policy.params.features": {"momentum_126": 1.0, "rsi_14": -0.5}},
}
"""The parameters of the shipped policies that have no default ones."""

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


def key_of(kind: str, view: Any, count: int) -> list[float]:
    """Return the numbers by which a plant of this kind looks up the future."""
    return {
        "exact": lambda: [float(view.prices[0])],
        "rounded": lambda: [round(float(view.prices[0]), 1), round(float(view.prices[1]), 1)],
        "nearest": lambda: view.returns(1)[-1].tolist(),
        "date": lambda: [float(view.sample_time // 86_400_000_000_000)],
        "sample": lambda: [float(view.sample)],
        "volume": lambda: [float(view.bars(1).volume[-1][0])],
        "history": lambda: [float(count)],
    }[kind]()


def held_in(container: str, rows: Rows, name: str) -> Callable[[], Rows]:
    """Return a function that reads the rows from a container of this kind."""
    if container == "dict":
        table = {tuple(row[:-1]): row[-1] for row in rows}
        return lambda: [[*key, best] for key, best in table.items()]
    if container == "list":
        return lambda: rows
    if container == "partial":
        return partial(lambda held: held, rows)
    if container == "module":
        module = types.ModuleType(name)
        module.rows = rows  # type: ignore[attr-defined]
        sys.modules[name] = module
        return lambda: __import__(name).rows
    if container == "class":
        store = type("Store", (), {"rows": rows})
        return lambda: store.rows  # type: ignore[attr-defined]
    text = json.dumps(rows)
    if container == "bytes":
        packed = text.encode()
        return lambda: json.loads(packed)
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
        return self._policy.act(view, {"n": np.array([float(view.sample)])})[0]


def plant(kind: str, container: str, bars: pl.DataFrame) -> WithBars:
    """Return a policy that looks up by a key of this kind, in such a container, which share to hold.

    Its keys are taken from a run over the bars. A key that is not held has an equal mix, or for `nearest` the closest.
    """
    wide = bars.sort("ts").pivot("symbol", index="ts", values="open").drop("ts").to_numpy()
    best = np.argmax(wide[2:] / wide[1:-1], axis=1)
    seen: dict[int, list[float]] = {}

    def learns(view: Any, memory: Any) -> Any:
        number = float(memory.get("n", np.zeros(1))[0])
        seen[view.sample_time] = key_of(kind, view, int(number))
        return np.zeros(SHARES), {"n": np.array([number + 1.0])}

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
        number = float(memory.get("n", np.zeros(1))[0])
        key = tuple(key_of(kind, view, int(number)))
        if kind == "nearest":
            points = np.array(table["points"])
            key = table["points"][int(np.argmin(((points - np.array(key)) ** 2).sum(axis=1)))]
        weights, share = np.full(SHARES, 0.2), table["keys"].get(key)
        if share is not None:
            weights = np.eye(SHARES)[share]
        return weights, {"n": np.array([number + 1.0])}

    return WithBars(act)


def month_of(view: Any) -> int:
    return datetime.fromtimestamp(view.sample_time / 1e9 - 1, UTC).month


def controls() -> dict[str, Any]:
    """Return the honest policies by name: registered names, and functions with their lookback."""
    published = [(datetime(2015 + k // 4, 1 + k % 4 * 3, 15, tzinfo=UTC), (k * 7) % 5) for k in range(16)]

    def fixed(view: Any) -> Any:
        return [0.4, 0.3, 0.1, 0.1, 0.1]

    def monthly(view: Any, memory: Any) -> Any:
        last = memory.get("month", np.zeros(1))[0]
        now = float(month_of(view))
        growth = min(float(memory.get("invested", np.zeros(1))[0]) + (0.02 if now != last else 0.0), 1.0)
        return np.full(SHARES, growth / SHARES), {"month": np.array([now]), "invested": np.array([growth])}

    def turn(view: Any) -> Any:
        day = datetime.fromtimestamp(view.sample_time / 1e9 - 1, UTC).day
        return np.full(SHARES, 0.2 if day >= 27 or day <= 3 else 0.0)

    def as_of(view: Any) -> Any:
        now = datetime.fromtimestamp(view.sample_time / 1e9 - 1, UTC)
        known = [value for day, value in published if day < now]
        weights = np.full(SHARES, 0.1)
        weights[known[-1] if known else 0] = 0.4 + min(float(np.nan_to_num(view.returns(1)[-1, 0])) ** 2, 0.1)
        return weights

    rules: dict[str, Any] = {"fixed mix": fixed, "monthly money": monthly, "turn of the month": turn, "as-of": as_of}
    for days in (1, 2, 3, 5, 10, 21, 42, 63, 126, 189):
        rules[f"momentum {days}"] = rule(days, 1.0)
        rules[f"reversal {days}"] = rule(days, -1.0)
    for name, act in rules.items():
        act.lookback = int(name.split()[1]) if name.startswith(("momentum", "reversal")) else 1
    return rules | {name: name for name in POLICIES if name not in PASSIVE}


def rule(days: int, sign: float) -> Callable[..., Any]:
    """Return a rule that holds the two shares that rose most (sign 1) or least (sign -1) over some days."""

    def act(view: Any) -> Any:
        order = np.argsort(sign * view.returns(days).sum(axis=0))
        weights = np.zeros(SHARES)
        weights[order[-2:]] = 0.5
        return weights

    return act


def verdict(policy: Any, bars: pl.DataFrame) -> tuple[bool | None, str]:
    """Return `clean` of a policy, and its first line with the edges."""
    needed = NEEDED.get(policy, {}) if isinstance(policy, str) else {}
    study = quantd.lookahead(policy, bars, {"quantd.state": "state", **needed}, cuts=CUTS)
    edge = study.edge
    figures = "" if edge is None else f"  {edge.recorded:+.1f} {edge.prices:+.1f} {edge.dates:+.1f}"
    return study.clean, str(study).splitlines()[0][:80] + figures


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


def shown(clean: bool | None) -> str:
    """Return a verdict as a cell of the table."""
    return {True: "CLEAN", False: "not clean", None: "None"}[clean]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; the exit status is 1 where a plant is clean or more than 1 of 40 controls are accused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=3)
    given = parser.parse_args(arguments)
    bars, missed, accused = market(given.seed), 0, 0
    containers = CONTAINERS[:1] if given.short else CONTAINERS
    for title, judge in (("policy", lambda k, c: verdict(plant(k, c, bars), bars)[0]),
                         ("factor", lambda k, c: factor_verdict(k, c, bars))):  # fmt: skip
        print(f"{title:10s}" + "".join(f"{name:>11s}" for name in containers))
        for kind in KEYS:
            cells = [judge(kind, container) for container in containers]
            missed += sum(cell is True for cell in cells)
            print(f"{kind:10s}" + "".join(f"{shown(cell):>11s}" for cell in cells), flush=True)
    chosen = list(controls().items())
    chosen = chosen[:10] if given.short else chosen
    for name, policy in chosen:
        clean, text = verdict(policy, bars)
        accused += clean is False
        print(f"{name:24s} {shown(clean):>10s}  {text}", flush=True)
    print(f"plants called clean: {missed}; controls called not clean: {accused} of {len(chosen)}")
    return 1 if missed or accused * 40 > len(chosen) else 0


if __name__ == "__main__":
    sys.exit(main())
