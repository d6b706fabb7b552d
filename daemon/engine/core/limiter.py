"""The gate (check of orders) of a set of limits, with the scene: the market data of the newest sample."""

from math import sqrt
from typing import Any, Final

from quantd.risk.pretrade.gate_bounds import Bounds, Cap
from quantd.risk.pretrade.judge import Gate
from quantd.risk.pretrade.scenes import READY, TOO_FEW, Losses, Scene, Spread
from quantd.trading.history.rings import Ring, RunningSums
from quantd.trading.number_types import Floats, Ints, ReadFloats, float_zeros

HISTORY: Final = 0
"""A limit needs a history of returns."""
DEVIATION: Final = 1
"""Upper bounds of deviations, for a covariance."""
DEVIATION_AND_MEAN: Final = 2
"""Upper bounds of deviations and of mean sizes, for a tail."""
TAIL_OF: Final = 3
"""Number of the worst returns of a tail."""


class Statistic:
    """A statistic of the newest returns that a limit needs: its kind, and the number `lookback` of returns.

    `place` is the index of the losses or spread in the scene (market data of a sample). With fewer than `least` returns
    nothing is measured. `counts` has by number of returns how many of the worst ones make the tail. `array` is a numpy
    array on the memory of the deviations in the scene.
    """

    kind: int
    place: int
    lookback: int
    least: int
    counts: Ints
    array: Any

    def __init__(self, kind: int, place: int, lookback: int, least: int, counts: Ints, array: Any) -> None:
        self.kind, self.place, self.lookback, self.least, self.counts = kind, place, lookback, least, counts
        self.array = array


class Limiter:
    """The checks of a set of limits.

    `caps` are the caps of its rules, `fee` is the rate at which trades cost equity.
    """

    gate: Gate
    bounds: Bounds
    scene: Scene
    caps: list[Cap]
    statistics: list[Statistic]
    bounds_of: Any
    """Function of a ring and a number of returns: their deviations and mean sizes, where sums are incomplete."""
    fee: float
    most: Floats
    """By limit on a number of orders: the largest number, before open orders are subtracted."""
    renewed: int
    """The number of rows of the ring at the last renewal."""

    def __init__(self, gate: Gate, bounds: Bounds, scene: Scene, caps: list[Cap], fee: float) -> None:
        self.gate, self.bounds, self.scene, self.caps = gate, bounds, scene, caps
        self.statistics, self.bounds_of, self.fee, self.renewed = [], None, fee, -1
        self.most = float_zeros(len(gate.rooms))

    def renew(self, ring: Ring, px: Floats) -> None:
        """Update the scene (market data) to the newest returns and prices `px`, float64[N], of one lot.

        A second call for the same row of the ring buffer of returns does nothing. The scene is READY, or TOO_FEW where
        a limit lacks returns. Arrays that are needed only where bounds leave a doubt are marked as missing (`ready`,
        `has_links`). `sums` are running sums of returns; where they are not `complete`, the statistics are computed
        anew.
        """
        if self.renewed == ring.count:
            return
        self.renewed = ring.count
        scene: Scene = self.scene
        count: int = ring.count - 1
        losses: Losses
        spread: Spread
        statistic: Statistic
        sums: RunningSums
        newest: Any
        copy(scene.px, px)
        scene.rows, scene.has_links = READY, False
        for number in range(len(self.statistics)):
            statistic = self.statistics[number]
            rows: int = min(count, statistic.lookback)
            if rows < statistic.least:
                scene.rows = TOO_FEW
                return
            if statistic.kind == TAIL_OF:
                losses = scene.losses[statistic.place]
                tail_rows: int = statistic.counts[rows]
                losses.size, losses.worst, losses.ready = rows, tail_rows, False  # `worst`: how many rows are the tail
                # the bound of `quantd.risk.limits.context.Scenarios.beyond`, in standard deviations
                losses.beyond = sqrt(float(rows - tail_rows) / float(tail_rows)) + 0.5
            elif statistic.kind == DEVIATION_AND_MEAN:
                losses = scene.losses[statistic.place]
                sums = ring.sums(statistic.lookback)
                if sums.complete:
                    sums.write_deviation(losses.deviation, statistic.array)
                    sums.write_mean_size(losses.mean)
                else:
                    newest = self.bounds_of(ring, rows)
                    read(losses.deviation, newest.deviation().data)
                    read(losses.mean, newest.mean_size().data)
            elif statistic.kind == DEVIATION:
                spread = scene.spreads[statistic.place]
                spread.ready = False
                sums = ring.sums(statistic.lookback)
                if sums.complete:
                    sums.write_deviation(spread.deviation, statistic.array)
                else:
                    newest = self.bounds_of(ring, rows)
                    read(spread.deviation, newest.deviation().data)


def copy(out: Floats, values: Floats) -> None:
    """Copy float64[N] `values`, which are writable, to `out`. A call of `read` would be slower: compiled code
    would make a Python object of `values` for it."""
    for k in range(len(out)):
        out[k] = values[k]


def read(out: Floats, values: ReadFloats) -> None:
    """Copy float64[N] from `values`, which may be read-only, to `out`."""
    for k in range(len(out)):
        out[k] = values[k]
