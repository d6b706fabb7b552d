"""What a soak prints: figures of a process, and the slope of each with its interval."""

import os
import re
from pathlib import Path

import numpy as np

from tests.proofs.soak import FIGURES, PROCESS, Figures, read, slope_of


def test_the_figures_of_a_process_follow_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b"x" * 2**20)
    before = dict(zip(PROCESS, read(os.getpid(), tmp_path), strict=True))
    held = [(tmp_path / "journal").open() for _ in range(7)]
    after = dict(zip(PROCESS, read(os.getpid(), tmp_path), strict=True))
    for one in held:
        one.close()
    assert after["handles"] - before["handles"] == 7
    assert before["store MiB"] == 1.0
    assert before["memory MiB"] > 20
    assert before["threads"] >= 1


def test_a_leak_has_a_slope_whose_interval_is_above_zero_and_a_constant_has_none() -> None:
    hours = [k / 10 for k in range(100)]
    noise = np.random.default_rng(1).normal(0.0, 0.5, 100).tolist()
    rows = [(200.0 + 3.0 * hour + n, 30.0 + n, 18.0, 9.0, 1.0, 0.0) for hour, n in zip(hours, noise, strict=True)]
    lines = dict(zip(FIGURES, Figures(60.0, hours, rows).lines(), strict=True))
    bounds = {name: tuple(map(float, re.findall(r"[+-][0-9.]+", line))) for name, line in lines.items()}
    slope, low, high = bounds["memory MiB"]
    assert 2.9 < slope < 3.1
    assert 0 < low < slope < high
    _, low, high = bounds["handles"]
    assert low < 0 < high
    assert bounds["threads"] == (0.0, 0.0, 0.0)


def test_readings_that_follow_one_another_do_not_count_as_so_many() -> None:
    """Figures without a slope whose readings depend on the one before: single readings show one in 23 of 40."""
    rng, shown = np.random.default_rng(2), 0
    for _ in range(40):
        values = [0.0]
        for step in rng.normal(0.0, 1.0, 399).tolist():
            values.append(0.8 * values[-1] + step)
        slope, reach = slope_of(np.linspace(0.0, 12.0, 400).tolist(), values)
        shown += abs(slope) > reach
    assert shown < 10
    assert slope_of([0.0, 1.0, 2.0], [1.0, 3.0, 5.0])[0] == 2.0
