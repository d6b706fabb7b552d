"""`python -m scripts.results.benchmark_row NAME FILE...` checks runs of the reference test and prints their row.

Each file is what `quantd backtest --json` printed, one for each seed. docs/research/reference-test.md has the protocol.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, Final

TEST: Final = {"begins": "2022-12-14", "trials_of": "SPY, TLT, GLD, BTC-USD 2022 to 2024, daily"}
SAMPLES: Final = 514
EQUAL_WEIGHT_RETURN: Final = 0.87094621393
"""Total return of equal weight over the bars of the test: other bars, dates or costs have another one."""


def faults(run: Mapping[str, Any]) -> list[str]:
    """What makes a run no run of the reference test."""
    differences = [f"{key} is {run.get(key)!r}, not {value!r}" for key, value in TEST.items() if run.get(key) != value]
    if run["performance"]["samples"] != SAMPLES:
        differences.append(f"{run['performance']['samples']} samples, not {SAMPLES}")
    if abs(run["equal_weight"]["total_return"] - EQUAL_WEIGHT_RETURN) > 1e-9:
        differences.append(f"equal weight earned {run['equal_weight']['total_return']:.6f}: other bars, dates or costs")
    if run["failures"]:
        differences.append(f"{len(run['failures'])} decisions failed")
    return differences


def row(name: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """The row of a table: means over the seeds, the range of the Sharpe ratio, and the largest number of trials."""
    parts = [run["performance"] for run in runs]
    sharpe = [part["sharpe"] for part in parts]
    beside = mean(sharpe) - runs[0]["equal_weight"]["sharpe"]
    cells = [
        name, str(len(runs)), f"{mean(sharpe):.2f}", f"{min(sharpe):.2f} to {max(sharpe):.2f}", f"{beside:+.2f}",
        f"{mean(part['total_return'] for part in parts):.1%}", f"{mean(part['max_drawdown'] for part in parts):.1%}",
        f"{mean(part['turnover_annual'] for part in parts):.1f}", str(max(run["trials"] for run in runs)),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main(words: Sequence[str]) -> int:
    """The exit code: 1 where a file is no run of the test."""
    if len(words) < 2:
        print("usage: python -m scripts.results.benchmark_row NAME FILE...", file=sys.stderr)
        return 2
    runs = [json.loads(Path(file).read_text(encoding="utf-8")) for file in words[1:]]
    wrong = [f"{file}: {why}" for file, run in zip(words[1:], runs, strict=True) for why in faults(run)]
    print("\n".join(wrong) if wrong else row(words[0], runs))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
