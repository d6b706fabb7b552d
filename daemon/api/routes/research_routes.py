"""GET /api/v1/research: the ledger of looks, and the run beside a stored backtest.

Both read files of the state folder in a thread. No backtest is computed here.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from aiohttp import web
from msgspec import Meta, Struct

from quantd.adapters.store.errors import StoreError
from quantd.adapters.store.queries import Reader
from quantd.daemon.api.documents import PLAIN, Query
from quantd.daemon.api.problems import Refused
from quantd.daemon.api.route_records import Read, Route
from quantd.daemon.api.run_reader import RunReader
from quantd.daemon.views.rows import LIMIT_ROWS
from quantd.research.runs.looks import Look, read_looks
from quantd.trading.effects import Valued

BACKTESTS: Final = "backtests"
"""The folder in the state folder whose store has the backtests that are compared with a run."""

MOST_RUNS: Final = 50

HINT: Final = "quantd backtest --journal makes one"


class NewestLooks(Query, frozen=True):
    """The newest looks."""

    limit: Annotated[int, Meta(ge=1, le=LIMIT_ROWS, description="Most looks.")] = 200


class LookLine(Struct, frozen=True):
    """A configuration that was evaluated on a market: its annual Sharpe ratio between two dates."""

    kind: str
    name: str
    digest: str
    market: str
    first: str
    last: str
    sharpe: float
    family: str
    values: dict[str, str]


class Looks(Struct, frozen=True):
    """The ledger of looks, newest first. `count` are all looks, and `trials` counts those behind each model too.

    `trials` is null where the ledger is not believed; `text` has the reason and the remedy.
    """

    count: int
    trials: int | None
    text: str
    looks: list[LookLine]


class OfBacktest(Query, frozen=True):
    """A stored backtest."""

    backtest: Annotated[str, Meta(pattern=PLAIN, description="Its run; the newest without it.")] = ""
    points: Annotated[int, Meta(ge=2, le=LIMIT_ROWS, description="Number of points; others are left out.")] = 600


class Beside(Struct, frozen=True):
    """The run beside a stored backtest, both worth 1 at the first sample that they share.

    `gap` is the run's worth less the backtest's at the last one. `commissions` is the part of it by the difference of
    the commissions paid, and `rest` by prices, sizes and times of fills. `missing` is the reason for absent curves.
    """

    run: str
    backtest: str
    backtests: list[str]
    ts: list[int]
    own: list[float]
    tested: list[float]
    gap: float | None
    commissions: float | None
    rest: float | None
    missing: str = ""


class ResearchRoutes:
    """The routes of one running service."""

    def __init__(self, run: RunReader) -> None:
        self._run = run
        self._one = asyncio.Lock()

    def routes(self) -> tuple[Route, ...]:
        """The routes of this module."""
        v1 = "/api/v1/research"
        return (
            Read(f"{v1}/looks", self.looks, Looks, "The ledger of looks: backtests, sweeps, studies.", NewestLooks),
            Read(f"{v1}/beside", self.beside, Beside, "The run beside a stored backtest.", OfBacktest),
        )

    async def looks(self, request: web.Request, query: NewestLooks) -> Looks:
        try:
            known = await asyncio.to_thread(read_looks, self._run.folder)
        except OSError as why:
            raise Refused(503, "unavailable", f"the ledger of looks cannot be read: {why}") from None
        newest = known.looks[::-1][: query.limit]
        return Looks(len(known.looks), known.trials, known.text, [_line(each) for each in newest])

    async def beside(self, request: web.Request, query: OfBacktest) -> Beside:
        """Raises Refused."""
        async with self._one:
            tested = await asyncio.to_thread(self._tested, query.backtest)
            run = self._run.service.run
            if tested is None:
                return Beside(run, "", [], [], [], [], None, None, None, f"there is no stored backtest; {HINT}")
            return await self._run.read(lambda reader: _beside(reader, *tested, query.points))

    def _tested(self, run: str) -> tuple[Reader, list[str]] | None:
        """The reader of a stored backtest, and the newest runs of its store. Raises Refused."""
        where = self._run.folder / BACKTESTS
        if not _has_store(where):
            return None
        try:
            reader = Reader.open(where, run or None)
        except StoreError as why:
            raise Refused(404, "not_found", f"backtest: {why}; {HINT}") from None
        assert reader.records is not None
        return reader, [each.run for each in reader.records.runs()][: -MOST_RUNS - 1 : -1]


def _has_store(where: Path) -> bool:
    return where.is_dir() and any(where.iterdir())


def _line(look: Look) -> LookLine:
    return LookLine(
        look.kind,
        look.name,
        look.digest,
        look.market_text,
        look.first,
        look.last,
        look.sharpe,
        look.family,
        look.values,
    )


def _worth(points: Sequence[Valued]) -> dict[int, float]:
    return {point.ts: point.equity_micro / 1e6 for point in points}


def _beside(own: Reader, tested: Reader, backtests: list[str], points: int) -> Beside:
    """The growth of both at the samples that they share."""
    ours, theirs = _worth(own.equity()), _worth(tested.equity())
    shared = sorted(ours.keys() & theirs.keys())
    run, other = own.run.run, tested.run.run
    if len(shared) < 2 or min(ours[shared[0]], theirs[shared[0]]) <= 0.0:
        text = f"the run and the backtest {other} share fewer than two samples"
        return Beside(run, other, backtests, [], [], [], None, None, None, text)
    begin, end = shared[0], shared[-1]
    thin = max(1, -(-len(shared) // points))
    kept = shared[::-1][::thin][::-1]
    one, two = (np.array([worth[ts] for ts in kept]) / worth[begin] for worth in (ours, theirs))
    paid = [
        sum(float(fill.fee) for fill in reader.fills() if begin < fill.ts <= end) / worth[begin]
        for reader, worth in ((own, ours), (tested, theirs))
    ]
    gap, fees = float(one[-1] - two[-1]), paid[1] - paid[0]
    return Beside(run, other, backtests, kept, one.tolist(), two.tolist(), gap, fees, gap - fees)
