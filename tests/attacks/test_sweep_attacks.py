"""Attacks by a policy file within a sweep: one line each, and one point of the sweep each.

A sweep runs a file with the rights of its caller, as a backtest does. What such a file may still not do is to change
the points of others, to end the sweep without a reason, or to take a module of Python.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

import quantd
from tests.support.checkout import DATA

HONEST = "as the honest points"


@dataclass(frozen=True)
class Attack:
    """What the policy does at its third decision, and the reason why its point has no result."""

    name: str
    does: str
    said: str


ATTACKS = (
    Attack("asks for more memory than there is", "bytes(1 << 50)", "MemoryError at mine.py"),
    Attack("exhausts the stack", "def f(): f()\nf()", "RecursionError"),
    Attack("ends the program", "raise SystemExit(0)", "SystemExit: 0 at mine.py"),
    Attack("returns a hundred megabytes", "return np.zeros(12_500_000)", "weights have shape (12500000,)"),
    Attack("returns a matrix", "return np.zeros((2, 2))", "weights have shape (2, 2)"),
    Attack("returns NaN", "return [float('nan'), 0.0]", "the weight of IWM is nan"),
    Attack("returns weights beyond any number", "return [1e308, 1e308]", "weights add up to inf"),
    Attack("returns an object", "return object()", "weights are object"),
    Attack("returns texts", "return ['0.1', 'x']", "weights are <U3"),
    Attack("returns an array that ends the program", "return Ends()", "SystemExit at mine.py"),
    Attack("changes the prices", "view.prices[:] = 1e9", "read-only"),
    Attack("changes the weights", "view.weights[:] = 0.0", "read-only"),
    Attack("changes the universe", "view.universe.symbols = ('X', 'Y')", "immutable"),
    Attack("makes the prices writable", "view.prices.flags.writeable = True\nview.prices[:] = 1e9", HONEST),
    Attack("makes the returns writable", "x = view.returns(3)\nx.flags.writeable = True\nx[:] = 9.0", HONEST),
    Attack("changes the names of others", "view.universe.index.clear()", HONEST),
    Attack("is an exception with an endless text", "raise ValueError('x' * 10**8)", "ValueError: xxx"),
    Attack("is an exception with an endless name", "raise type('x\\n' * 10**7, (Exception,), {})", "x x x"),
    Attack("is an exception whose text ends the program", "raise Mute", "Mute: (its text cannot be read)"),
    Attack("is an exception whose name ends the program", "raise Nameless", "exception: (its text cannot be read)"),
)

POLICY = """
import numpy as np

LOOKBACK = 5
seen = []


class Ends:
    def __array__(self, *given, **more):
        raise SystemExit


class Mute(Exception):
    def __str__(self):
        raise SystemExit


class Named(type):
    @property
    def __name__(self):
        raise SystemExit


class Nameless(Exception, metaclass=Named):
    pass


def act(view, number=-1):
    seen.append(1)
    found = attack(view, number) if len(seen) == 3 else None
    return [0.1] * len(view.prices) if found is None else found


def attack(view, number):
"""


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    """Two symbols over two months."""
    day = pl.col("ts").dt
    few = pl.col("symbol").is_in(("SPY", "IWM")) & (day.year() == 2013) & (day.month() <= 2)
    return pl.read_parquet(DATA / "us_daily.parquet").filter(few)


def written(folder: Path, attacks: tuple[Attack, ...]) -> None:
    """The policy file with a branch for each attack."""
    branches = (
        f"    if number == {number}:\n{textwrap.indent(attack.does, ' ' * 8)}\n"
        for number, attack in enumerate(attacks)
    )
    (folder / "mine.py").write_text(POLICY + "".join(branches) + "    return None\n")


@pytest.mark.long
def test_no_point_changes_another_or_ends_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bars: pl.DataFrame
) -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 20
    monkeypatch.chdir(tmp_path)
    written(tmp_path, ATTACKS)
    numbers = [-1, *range(len(ATTACKS)), -2]
    sweep = quantd.sweep("mine.py:act", {"number": numbers}, bars=bars, on_error="hold")
    first, last = sweep.points[0], sweep.points[-1]
    assert first.metrics == last.metrics
    assert not first.fault
    assert (first.returns, first.ts) == (last.returns, last.ts)
    wrong = {}
    for attack, point in zip(ATTACKS, sweep.points[1:-1], strict=True):
        honest = (point.fault, point.metrics, point.returns) == ("", first.metrics, first.returns)
        refused = attack.said in point.fault and not point.metrics and len(point.fault) < 500
        if not (honest if attack.said == HONEST else refused):
            wrong[attack.name] = point.fault[:300]
    assert wrong == {}


SHADOWS = ("colorsys", "sched", "quantd_is_not_here")
"""Modules that the file imports and that lie beside it; no part of quantd imports them."""


@pytest.mark.parametrize("name", SHADOWS)
def test_a_module_beside_a_policy_file_does_not_take_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bars: pl.DataFrame, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "mine.py").write_text(f"import {name}\ndef act(view, k=1):\n    return [0.1] * len(view.prices)\n")
    if name == SHADOWS[-1]:
        with pytest.raises(quantd.Error, match=f"No module named '{name}'"):
            quantd.sweep("mine.py:act", {"k": [1]}, bars=bars, on_error="hold")
    else:
        assert quantd.sweep("mine.py:act", {"k": [1]}, bars=bars, on_error="hold").points[0].fault == ""
    assert not (tmp_path / "ran").exists()


KILLS = (
    Attack("leaves without an answer", "import os\nos._exit(0)", "ended with code 0"),
    Attack(
        "kills the worker of the sweep",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "a worker process ended with code",
    ),
)


@pytest.mark.long
@pytest.mark.parametrize("attack", KILLS, ids=lambda attack: attack.name)
def test_a_worker_that_its_policy_ends_is_named_and_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bars: pl.DataFrame, attack: Attack
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, (attack,))
    with pytest.raises(quantd.Error, match=attack.said):
        quantd.sweep("mine.py:act", {"number": [-1, 0]}, bars=bars, workers=2, on_error="hold")
    written(tmp_path, ())
    assert quantd.sweep("mine.py:act", {"number": [-1]}, bars=bars, on_error="hold").points[0].fault == ""
