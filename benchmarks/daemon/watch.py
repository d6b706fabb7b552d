"""Wall time from a save of a policy file to the last line of its test, under `quantd init --policy mine.py --watch`.

    python -m benchmarks.daemon.watch [--saves 10]

The command runs in a process of its own, in an empty folder with the configuration and the policy that `quantd init`
writes. The first test also loads the market and runs equal weight; it has a row of its own. Each save after it replaces
the file, as an editor does, by one with another LOOKBACK. The clock runs from the replacement until the line of the
look-ahead is read, which is the last one of a test. Other work on the machine adds to these times, so that the number
of runnable processes (load average) is printed beside them. The exit status is 1 where the median is above 2 s.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final

PROMISED_S: Final = 2.0
"""Time within which a save is answered (docs/trade/backtest.md)."""

LAST: Final = "looks only backwards"
"""Beginning of the last line of a test of a policy without a fault."""

QUANTD: Final = (sys.executable, "-P", "-m", "quantd.daemon.cli")


def until_last(lines: IO[str]) -> None:
    """Reads the lines of a test, up to its last one. Raises SystemExit where the command ends or names a fault."""
    for line in lines:
        if line.strip().startswith(LAST):
            return
        if line.startswith("  ") and ("mine.py:" in line or "looks ahead" in line):
            raise SystemExit(f"the test of the policy names a fault: {line.strip()}")
    raise SystemExit("the command has ended")


def measured(folder: Path, saves: int) -> tuple[float, list[float]]:
    """Seconds of the start with the first test, and of each save."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    for words in (("init",), ("init", "--policy", "mine.py")):
        subprocess.run([*QUANTD, *words], cwd=folder, env=environment, check=True, capture_output=True)
    policy, replacement = folder / "mine.py", folder / "mine.py.new"
    text = policy.read_text(encoding="utf-8")
    lookback = int(re.findall(r"^LOOKBACK = (\d+)", text, re.MULTILINE)[0])
    began = time.monotonic()
    command = [*QUANTD, "init", "--policy", "mine.py", "--watch"]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        until_last(process.stdout)
        first_s, seconds = time.monotonic() - began, []
        for number in range(1, saves + 1):
            changed = f"LOOKBACK = {lookback + number}"
            replacement.write_text(re.sub(r"^LOOKBACK = \d+", changed, text, flags=re.MULTILINE), encoding="utf-8")
            began = time.monotonic()
            replacement.replace(policy)
            until_last(process.stdout)
            seconds.append(time.monotonic() - began)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
    return first_s, seconds


def main() -> int:
    """Prints the two rows; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.daemon.watch")
    parser.add_argument("--saves", type=int, default=10)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="quantd-watch-") as folder:
        first_s, seconds = measured(Path(folder), options.saves)
    median = statistics.median(seconds)
    print(f"start and first test: {first_s:.2f} s")
    print(f"{len(seconds)} saves: median {median:.2f} s, least {min(seconds):.2f} s, most {max(seconds):.2f} s")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    return 1 if median > PROMISED_S else 0


if __name__ == "__main__":
    sys.exit(main())
