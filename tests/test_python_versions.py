"""Results are the same bits on each version of Python that quantd runs on."""

import builtins
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from quantd.daemon.engine.state.capital_shares import shrunken, within
from quantd.daemon.engine.state.parents import Execution, vwap_lots
from quantd.risk.limits.values import _sums
from quantd.strategies.regimes.detectors import by_name

USUAL = sum


def compensated(values: Iterable[Any], /, start: Any = 0) -> Any:
    """`sum` as it is from Python 3.12 on: floats are added without loss."""
    numbers = list(values)
    return (
        math.fsum(numbers)
        if numbers and all(isinstance(number, float) for number in numbers)
        else USUAL(numbers, start)
    )


def lots_of(row: list[float]) -> list[int]:
    rules = Execution(style="vwap", over_ns=100, slices=9, profile=tuple(abs(weight) for weight in row))
    return [vwap_lots(rules, 10**15, due, 0, 0, 100) for due in range(9)]


@pytest.mark.requirement("R-010")
@pytest.mark.parametrize(
    "figure",
    [
        lambda row: _sums(np.array([row])),
        lambda row: shrunken(row, 100),
        lambda row: within([abs(weight) for weight in row], 0.01, 0.2),
        lambda row: by_name(np.array(row), [0] * len(row)).tolist(),
        lots_of,
    ],
    ids=["sums", "shrunken", "within", "by_name", "vwap_lots"],
)
def test_a_figure_has_the_same_bits_however_this_python_adds_floats(
    figure: Callable[[list[float]], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(5).normal(size=(200, 13)).tolist()
    plain = [figure(row) for row in rows]
    monkeypatch.setattr(builtins, "sum", compensated)
    assert [figure(row) for row in rows] == plain
