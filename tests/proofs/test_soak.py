"""What a soak prints: figures of a process, and the slope of each with its interval."""

import os
import re
from pathlib import Path

from tests.proofs.soak import FIGURES, Figures, read


def test_the_figures_of_a_process_follow_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b"x" * 2**20)
    before = dict(zip(FIGURES, read(os.getpid(), tmp_path), strict=True))
    held = [(tmp_path / "journal").open() for _ in range(7)]
    after = dict(zip(FIGURES, read(os.getpid(), tmp_path), strict=True))
    for one in held:
        one.close()
    assert after["handles"] - before["handles"] == 7
    assert before["store MiB"] == 1.0
    assert before["memory MiB"] > 20
    assert before["threads"] >= 1


def test_a_leak_has_a_slope_whose_interval_is_above_zero_and_a_constant_has_none() -> None:
    hours = [k / 10 for k in range(100)]
    noise = [(-1) ** k * 0.5 for k in range(100)]
    rows = [(200.0 + 3.0 * hour + n, 30.0 + n, 18.0, 9.0, 1.0) for hour, n in zip(hours, noise, strict=True)]
    lines = dict(zip(FIGURES, Figures(60.0, hours, rows).lines(), strict=True))
    bounds = {name: tuple(map(float, re.findall(r"[+-][0-9.]+", line))) for name, line in lines.items()}
    slope, low, high = bounds["memory MiB"]
    assert 2.9 < slope < 3.1
    assert 0 < low < slope < high
    _, low, high = bounds["handles"]
    assert low < 0 < high
    assert bounds["threads"] == (0.0, 0.0, 0.0)
