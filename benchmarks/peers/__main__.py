"""Speed beside bt, vectorbt, nautilus_trader and backtesting.py, on the same bars, in one interleaved run.

    make bench-peers        (or: python -m benchmarks.peers [--rounds 5] [--also CHECKOUT])

Each side is a process of its own. They take turns, and each turn is timed by CPU time. A ratio is a peer's time over
quantd's in the same round: above 1, quantd is faster. The first run of each side is not counted. The peers are pinned
in requirements.txt, and `make bench-peers` installs them into `.venv-peers`. A run of all cases writes ratios.csv.

Equal on all sides: bars, decisions and the session of the first one, starting cash, 2 bp of costs, whole shares. Not
equal: no peer has a gate, exact money or a digest of every step. bt and vectorbt get all weights before the run. Under
each row stand both equities, and why they differ. `roomy` needs no sale for its purchases, so that nothing waits.
`three` is three agents of quantd, each with its own book and gate, beside one strategy of bt.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.engine import machine_us, market

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
PEERS: Final = ROOT / ".venv-peers" / "bin" / "python"
RATIOS: Final = HERE / "ratios.csv"

BARS: Final = {"wide": (20, 5_000), "one": (1, 20_000)}
"""File -> (symbols, sessions)."""

CASES: Final = {
    "monthly": ("20 x 5,000, equal weight every 21 sessions", "wide", {"bt": "monthly", "vectorbt": "monthly"}),
    "daily": ("20 x 5,000, all 20 trade every day", "wide", {"bt": "daily", "vectorbt": "daily"}),
    "roomy": ("20 x 5,000, daily, no purchase needs a sale", "wide", {"bt": "roomy", "vectorbt": "roomy"}),
    "three": ("20 x 5,000, three agents every day", "wide", {"bt": "daily"}),
    "quiet": ("1 x 20,000, asked every bar, quiet", "one", {"nautilus_trader": "quiet", "backtesting.py": "quiet"}),
    "crossing": (
        "1 x 20,000, averages of 10 and 30 closes", "one",
        {"nautilus_trader": "crossing", "backtesting.py": "crossing"},
    ),
}  # fmt: skip
"""Case -> (text, file of bars, peer -> its case)."""

AT_OPEN: Final = "it sizes a position at the open that fills it, quantd at the close before"
WAITS: Final = f"its sales pay for purchases at the same open, quantd's purchases wait for the sales; {AT_OPEN}"
SELLS: Final = f"it sells at the last open, quantd holds to the last close; {AT_OPEN}"
AT_CLOSE: Final = "it fills at the close of the decision, quantd at the next open"
WHY: Final = {
    "monthly": dict.fromkeys(("bt", "vectorbt"), AT_OPEN),
    "daily": dict.fromkeys(("bt", "vectorbt"), WAITS),
    "roomy": dict.fromkeys(("bt", "vectorbt"), AT_OPEN),
    "three": {"bt": "it has the weights of `daily`, the agents of quantd have three other policies"},
    "quiet": {"nautilus_trader": f"{AT_CLOSE}, and here both prices are equal", "backtesting.py": SELLS},
    "crossing": {"nautilus_trader": AT_CLOSE, "backtesting.py": SELLS},
}  # fmt: skip
"""Case -> peer -> why its equity at the end is another one."""

HEAD: Final = (
    "case", "peer", "ratio_min", "ratio_median", "quantd_s", "peer_s", "quantd_orders", "peer_orders", "quantd_equity",
    "peer_equity", "rounds", "kernels", "machine_us"
)  # fmt: skip


class Side:
    """One side, ready to run cases."""

    def __init__(self, name: str, python: Path, checkout: Path = ROOT, *options: str) -> None:
        environ = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environ["PYTHONPATH"] = f"{checkout / 'src'}:{checkout}" if name == "quantd" else ""
        command = [str(python), str(HERE / "worker.py"), name, *options]
        self._process = subprocess.Popen(
            command, cwd=checkout, env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.ready: str = self._line()["ready"]

    def __call__(self, case: str, bars: Path) -> dict[str, Any]:
        """{"seconds", "orders", "equity"} of one run."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{case} {bars}\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self._process.args)} ended; run it alone to see why")  # type: ignore[arg-type]
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self._process.communicate()


def write_bars(folder: Path) -> dict[str, Path]:
    paths = {}
    for name, (symbols, days) in BARS.items():
        block = market(symbols, days)[0]
        paths[name] = folder / f"{name}.npz"
        np.savez(
            paths[name], ts=block.ts_event, open=block.open, high=block.high, low=block.low, close=block.close
        )  # fmt: skip
    return paths


def compare(
    case: str, sides: dict[str, Side], files: dict[str, Path], rounds: int
) -> dict[str, tuple[list[float], dict[str, Any]]]:
    """Side -> (seconds of each round, its last answer)."""
    _, file, peers = CASES[case]
    own_sides = [name for name in sides if name.startswith("quantd")]
    cases = {**dict.fromkeys(own_sides, case), **{name: theirs for name, theirs in peers.items() if name in sides}}
    measurements: dict[str, tuple[list[float], dict[str, Any]]] = {}
    for number in range(rounds + 1):
        # every second round in the other order
        for name in sorted(cases, reverse=bool(number % 2)):
            answer = sides[name](cases[name], files[file])
            times = measurements[name][0] if name in measurements else []
            measurements[name] = ([*times, answer["seconds"]] if number else [], answer)
    return measurements


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--cases", default=",".join(CASES), help="with commas")
    options.add_argument("--also", type=Path, help="another checkout of quantd with its environment, as one more side")
    args = options.parse_args()
    if not PEERS.exists():
        raise SystemExit("there is no .venv-peers; `make bench-peers` makes it")
    sides = {"quantd": Side("quantd", Path(sys.executable), ROOT)}
    if args.also is not None:
        other = args.also.resolve()
        sides["quantd, other checkout"] = Side("quantd", other / ".venv" / "bin" / "python", other)
    kernels = sides["quantd"].ready
    peers = {peer for case in args.cases.split(",") for peer in CASES[case][2]}
    sides |= {name: Side(name, PEERS) for name in sorted(peers)}
    machine = machine_us()
    print(f"this machine now: sum(range(1000)) takes {machine:.1f} us; kernels {kernels}; {args.rounds} rounds")
    print(f"{'':44s}{'beside':24s}{'ratio min':>10s}{'median':>8s}{'quantd s':>10s}{'peer s':>9s}  orders")
    rows: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory() as name:
        files = write_bars(Path(name))
        for case in args.cases.split(","):
            measurements = compare(case, sides, files, args.rounds)
            own_times, own_answer = measurements.pop("quantd")
            for peer, (times, theirs) in measurements.items():
                ratios = [other / ours for ours, other in zip(own_times, times, strict=True)]
                least, middle = min(ratios), median(ratios)
                print(
                    f"{CASES[case][0]:44s}{peer:24s}{least:10.2f}{middle:8.2f}{median(own_times):10.3f}"
                    f"{median(times):9.3f}  {own_answer['orders']:,} and {theirs['orders']:,}\n"
                    f"    equity {own_answer['equity']:,.0f} and {theirs['equity']:,.0f}, "
                    f"{own_answer['equity'] / theirs['equity'] - 1.0:+.2%}: {WHY[case].get(peer, 'another version')}",
                    flush=True,
                )
                if peer in peers:
                    rows.append((
                        case, peer, f"{least:.3f}", f"{middle:.3f}", f"{median(own_times):.4f}", f"{median(times):.4f}",
                        own_answer["orders"], theirs["orders"], f"{own_answer['equity']:.2f}",
                        f"{theirs['equity']:.2f}", args.rounds, kernels, f"{machine:.1f}",
                    ))  # fmt: skip
    for side in sides.values():
        side.close()
    if args.cases == ",".join(CASES):
        with RATIOS.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([HEAD, *rows])


if __name__ == "__main__":
    main()
