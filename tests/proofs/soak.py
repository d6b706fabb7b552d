"""A long live day at a wire-level venue with outages all along, and what the daemon holds of memory, files, threads and
store: python -m tests.proofs.soak --venue kraken --hours 24 --scale 60

The daemon is a process of its own. A figure is read every few seconds; its slope is by hour of the day's clock, with
the interval of 95 % of a line (ordinary least squares) through the means of BLOCKS parts of the second half: single
readings follow one another too closely to count as so many.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from aiohttp import ClientError, ClientSession, ClientTimeout
from scipy import stats

from tests.proofs.live_day import KINDS, VENUES, day

PAGE_KIB: Final = 4
EVERY_S: Final = 2.0
BLOCKS: Final = 20
PROCESS: Final = ("memory MiB", "handles", "threads", "sockets", "store MiB")
FIGURES: Final = (*PROCESS, "bus queue")


@dataclass
class Figures:
    """The figures of a daemon by the hour of the day's clock."""

    scale: float
    hours: list[float] = field(default_factory=list)
    rows: list[tuple[float, ...]] = field(default_factory=list)

    async def look(self, child: Any) -> None:
        """Read the figures of the process until the day ends."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            await asyncio.sleep(EVERY_S)
            if child.process is None or not (child.state / "api.json").exists():
                continue
            try:
                row = (*read(child.process.pid, child.state), await queued(child.state))
            except (FileNotFoundError, ProcessLookupError, ClientError, TimeoutError):
                continue
            self.hours.append((loop.time() - began) * self.scale / 3600)
            self.rows.append(row)

    def lines(self) -> list[str]:
        """One line for each figure: first, last, most, and the slope of the second half with its interval."""
        half = len(self.hours) // 2
        lines = []
        for name, values in zip(FIGURES, np.array(self.rows).T, strict=True):
            slope, reach = slope_of(self.hours[half:], values[half:].tolist())
            lines.append(
                f"{name:12} {values[0]:9.1f} first {values[-1]:9.1f} last {values.max():9.1f} most "
                f"{slope:+9.4f} an hour ({slope - reach:+.4f} to {slope + reach:+.4f})"
            )
        return lines


def slope_of(hours: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """The slope of figures by hour, and half the width of its interval of 95 %."""
    blocks = [np.array_split(np.array(column), min(BLOCKS, len(hours))) for column in (hours, values)]
    x, y = ([block.mean() for block in part] for part in blocks)
    fit = stats.linregress(x, y)
    reach = float(stats.t.ppf(0.975, max(len(x) - 2, 1))) * float(np.nan_to_num(fit.stderr))
    return float(fit.slope), reach


async def queued(state: Path) -> float:
    """The messages that wait for the bus, by the metrics of the daemon."""
    place, token = json.loads((state / "api.json").read_text()), (state / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        ClientSession(timeout=ClientTimeout(5.0)) as http,
        http.get(f"http://{place['host']}:{place['port']}/metrics", headers=headers) as answer,
    ):
        (depth,) = re.findall(r"^quantd_bus_queue_depth\{.*\} (\S+)$", await answer.text(), re.MULTILINE)
    return float(depth)


def read(pid: int, state: Path) -> tuple[float, ...]:
    """The figures of a process and the files of its state folder, in the order of PROCESS."""
    place = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    memory = int((place / "statm").read_text().split()[1]) * PAGE_KIB / 1024
    links = [one.readlink() for one in (place / "fd").iterdir() if one.is_symlink()]
    store = sum(one.stat().st_size for one in state.rglob("*") if one.is_file()) / 2**20
    sockets = sum(str(link).startswith("socket:") for link in links)
    return memory, float(len(links)), float(status["Threads"]), float(sockets), store


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.proofs.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--venue", choices=VENUES, default="alpaca")
    parser.add_argument("--hours", type=float, default=24.0, help="hours of the day's clock")
    parser.add_argument("--scale", type=float, default=60.0)
    parser.add_argument("--outages", type=int, default=4, help="outages of each kind in an hour of the day's clock")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    figures = Figures(asked.scale)
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(
            day(
                Path(folder), minutes=asked.hours * 60, scale=asked.scale, kinds=list(KINDS), seed=asked.seed,
                times=max(1, round(asked.outages * asked.hours)), venue=asked.venue, look=figures.look,
            )
        )  # fmt: skip
    print("\n".join(figures.lines()))
    s = outcome.summary
    print(f"{asked.venue}: {s.slices} slices, {s.orders} orders, {s.fills} fills, {dict(outcome.cut)} cut off")
    print("\n".join(outcome.wrong) or "every book is the venue's, to the last unit; no order is there twice")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
