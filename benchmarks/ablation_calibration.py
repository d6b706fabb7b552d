"""Size and power of the comparison of `quantd ablate`, in simulated markets with a linear ranker.

    python -m benchmarks.ablation_calibration [--uniform 200] [--draws 500]

The first lines test whether the p-values of a group of noise are uniform (Kolmogorov-Smirnov) over `uniform` draws, in
markets that nothing predicts.
The table has the share of p-values up to 5 % over `draws` draws: of noise, which is the size, and of the signal, which
is the power, by its strength. "dates" is the p-value of the study, "seeds" the paired t-test over the seeds alone. The
strength is the daily mean return that one deviation of the signal predicts, over an asset's daily deviation.
"""

import argparse
from collections.abc import Sequence
from typing import Final

from scipy import stats

from quantd.research.studies.ablation.noise_groups import Simulation, p_values, rejected

STRENGTHS: Final = (0.02, 0.04, 0.08)

FIRST: Final = 100_000
"""Seed of the first market of the second table, away from those of the first."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.ablation_calibration", description=__doc__)
    options.add_argument("--uniform", type=int, default=200, help="draws of the test of uniform p-values (200)")
    options.add_argument("--draws", type=int, default=500, help="draws of size and power (500)")
    args = options.parse_args(arguments)
    usual = Simulation()
    print(f"{usual.assets} assets, {usual.train} sessions to train and {usual.test} to test, {usual.seeds} seeds")
    rows = p_values(Simulation(strength=0.0), "noise", args.uniform)
    for name, values in (("dates", [row.p for row in rows]), ("seeds", [row.p_seeds for row in rows])):
        defined = [value for value in values if value is not None]
        print(f"noise, {args.uniform} draws, {name}: uniform with p = {stats.kstest(defined, 'uniform').pvalue:.3g}")
    print(f"{'share of p <= 5 %':<28}{'dates':>8}{'seeds':>8}")
    _line("size: noise, no signal", p_values(Simulation(strength=0.0), "noise", args.draws, FIRST))
    # where a signal is learned, noise beside it costs ratio: this share has a true drop below zero in it
    _line("noise beside a signal", p_values(usual, "noise", args.draws, FIRST))
    for strength in STRENGTHS:
        rows = p_values(Simulation(strength=strength), "signal", args.draws, FIRST)
        _line(f"power: signal of {strength:g}", rows)
    return 0


def _line(name: str, rows: Sequence[object]) -> None:
    dates, seeds = ([getattr(row, key) for row in rows] for key in ("p", "p_seeds"))
    print(f"{name:<28}{rejected(dates):>8.3f}{rejected(seeds):>8.3f}")


if __name__ == "__main__":
    raise SystemExit(main())
