"""Computes a feature set sample by sample: float64[N, F] per row, equal to the result over the whole history.

Inputs are unadjusted prices. A split or dividend arrives as the factor that adjusts older prices. Internally prices are
adjusted forward, so that stored values never change.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from quantd.strategies.features.batch import timelines
from quantd.strategies.features.cross_section import across
from quantd.strategies.features.inputs import book_fields, periods, progress, refuse_missing
from quantd.strategies.features.specs import FeatureSpec
from quantd.strategies.indicators.batch import bars_present
from quantd.strategies.indicators.stream import Stream
from quantd.trading.bars import FIELDS
from quantd.trading.market import Bools, Floats

_NONE: Final[Mapping[str, Any]] = {}


class _Period:
    """Aggregates daily bars into weeks or months; holds the features of the last completed one."""

    __slots__ = ("held", "number", "running", "stream")

    def __init__(self, stream: Stream, size: int) -> None:
        self.stream = stream
        self.number = -1.0
        self.running: Floats = np.full((len(FIELDS) + 1, size), np.nan)
        """Open, high, low, close, volume and benchmark of the running period."""
        self.held: Floats = np.full((len(stream.keys), size), np.nan)

    def update(self, number: float, fields: Mapping[str, Floats], present: Bools) -> Floats:
        if number != self.number:
            if self.number >= 0.0:
                self._over("benchmark" in fields)
            self.number = number
            self.running = np.full_like(self.running, np.nan)
        running = self.running
        running[0] = np.where(np.isnan(running[0]), fields["open"], running[0])
        running[1] = np.fmax(running[1], fields["high"])
        running[2] = np.fmin(running[2], fields["low"])
        running[3] = np.where(present, fields["close"], running[3])
        running[4] = np.where(present, np.where(np.isnan(running[4]), 0.0, running[4]) + fields["volume"], running[4])
        if "benchmark" in fields:
            running[5] = fields["benchmark"]
        return self.held

    def _over(self, with_benchmark: bool) -> None:
        present = np.isfinite(self.running[3])
        names = (*FIELDS, "benchmark") if with_benchmark else FIELDS
        bars = {n: np.where(present, self.running[i], np.nan) for i, n in enumerate(names)}
        self.held = np.array(self.stream.update(bars, present)).reshape(self.held.shape)


class FeatureStream:
    """Computes `spec` over `size` instruments; `benchmark` is a column."""

    def __init__(self, spec: FeatureSpec, size: int, *, benchmark: int | None = None) -> None:
        self.spec = spec
        self.size = size
        self.benchmark = benchmark
        self._placed = timelines(spec)
        self._streams = {
            line: Stream(placed.nodes, 1 if line == "shared" else size) for line, placed in self._placed.items()
        }
        self._periods = {
            line: _Period(stream, size) for line, stream in self._streams.items() if line in ("week", "month")
        }
        self._scale: Floats = np.ones(size)
        self._shares: Floats = np.ones(size)
        self._close = np.nan
        self._shared: dict[str, float] = {}

    def update(
        self,
        session: int,
        bars: Mapping[str, Floats],
        *,
        factor: Floats | None = None,
        shares: Floats | None = None,
        by_symbol: Mapping[str, Floats] = _NONE,
        shared: Mapping[str, float] = _NONE,
    ) -> Floats:
        """Return the row float64[N, F] for `bars`, float64[N] by field, unadjusted, NaN without a bar.

        `factor` float64[N] multiplies prices older than the previous row (1: no action; 0.25: a 4:1 split), and
        `shares` older volumes. `by_symbol` and `shared` are the inputs beside bars, as in Inputs.
        """
        refuse_missing(self.spec, {*by_symbol, *shared} | ({"benchmark"} if self.benchmark is not None else set()))
        if factor is not None:
            self._scale /= factor
        if shares is not None:
            self._shares /= shares
        present = bars_present(bars)
        fields = self._linked(bars, present)
        dates = np.array([session])
        out = np.full((self.size, len(self.spec.features)), np.nan)
        for line, placed in self._placed.items():
            if line == "shared":
                values = self._streams[line].update(self._rows(dates, by_symbol, shared), np.ones(1, dtype=np.bool_))
            elif line == "own":
                values = self._streams[line].update(by_symbol, np.ones(self.size, dtype=np.bool_))
            elif line == "day":
                values = self._streams[line].update(fields, present)
            else:
                values = list(self._periods[line].update(float(periods(dates, line)[0]), fields, present))
            for place, feature, value in zip(placed.places, placed.features, values, strict=True):
                out[:, place] = across(value, feature.across) if feature.across else value
        return out

    def _linked(self, bars: Mapping[str, Floats], present: Bools) -> dict[str, Floats]:
        """Return the row in prices and shares that continue those of the first row."""
        fields = {name: np.where(present, bars[name] * self._scale, np.nan) for name in FIELDS[:-1]}
        fields["volume"] = np.where(present, np.nan_to_num(bars["volume"], nan=0.0) * self._shares, np.nan)
        if self.benchmark is not None:
            if present[self.benchmark]:
                self._close = float(fields["close"][self.benchmark])
            fields["benchmark"] = np.full(self.size, self._close)
        return fields

    def _rows(
        self,
        dates: np.ndarray[tuple[int], np.dtype[np.int64]],
        by_symbol: Mapping[str, Floats],
        shared: Mapping[str, float],
    ) -> dict[str, Floats]:
        for name, value in shared.items():
            if np.isfinite(value) or name not in self._shared:
                self._shared[name] = float(value)
        fields = {name: np.array([value]) for name, value in self._shared.items()}
        fields |= {name: np.atleast_1d(value) for name, value in book_fields(by_symbol.get("weight")).items()}
        fields |= progress(dates)
        fields["benchmark"] = np.array([self._close])
        return fields

    def state(self) -> dict[str, Floats]:
        """Return the complete state as named arrays."""
        saved = {"scale": self._scale.copy(), "shares": self._shares.copy(), "close": np.array([self._close])}
        saved |= {f"shared {name}": np.array([value]) for name, value in self._shared.items()}
        for line, stream in self._streams.items():
            saved |= {f"{line}: {name}": array for name, array in stream.state().items()}
        for line, period in self._periods.items():
            saved[f"{line} running"] = period.running.copy()
            saved[f"{line} held"] = period.held.copy()
            saved[f"{line} number"] = np.array([period.number])
        return saved

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Restore a state; KeyError when it belongs to another set."""
        self._scale, self._shares = state["scale"].copy(), state["shares"].copy()
        self._close = float(state["close"][0])
        self._shared = {name[7:]: float(v[0]) for name, v in state.items() if name.startswith("shared ")}
        for line, stream in self._streams.items():
            mark = f"{line}: "
            stream.restore({name[len(mark) :]: v for name, v in state.items() if name.startswith(mark)})
        for line, period in self._periods.items():
            period.running, period.held = state[f"{line} running"].copy(), state[f"{line} held"].copy()
            period.number = float(state[f"{line} number"][0])
