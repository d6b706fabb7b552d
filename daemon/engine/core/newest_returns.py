"""Makes the arrays of a scene (data of a sample) that few plans need: returns, covariances and linked symbols."""

from typing import Any, Final

import numpy as np

from quantd.risk.limits.context import Bools, Deviations, Scenarios, Window
from quantd.risk.limits.correlation import links_of
from quantd.risk.limits.ruleset import Rules
from quantd.risk.pretrade.gate_inputs import buffer_of
from quantd.risk.pretrade.scenes import Losses, Spread
from quantd.trading.history import Ring


def bounds_of(ring: Ring, rows: int) -> Deviations:
    """Return the deviations and mean sizes of the newest `rows` returns of a ring buffer whose running sums are
    incomplete."""
    return Deviations(ring.returns(rows))


class NewestReturns:
    """Computes the arrays that few plans need (`Rare`) for a set of limits: returns, covariances and links of symbols.

    They are computed from a ring buffer of returns by date.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules: Final = rules
        self.losses: Final[list[tuple[Losses, int]]] = []
        """Losses of sampled scenarios, each with its lookback."""
        self.spreads: Final[list[tuple[Spread, int]]] = []
        """Covariances, each with its lookback."""
        self._ring: Ring
        self._end = -1
        """The end of the ring at which `_known` (scenarios by lookback) and `_linked` (measured symbols) were made."""
        self._known: dict[int, Scenarios] = {}
        self._linked: Bools | None = None

    def begin(self, ring: Ring) -> None:
        self._ring, self._end = ring, -1

    def add_returns(self) -> None:
        """Fill in the returns of all sampled scenarios, by symbol."""
        for losses, lookback in self.losses:
            if not losses.ready:
                losses.returns, losses.ready = buffer_of(self._newest(lookback).by_symbol), True

    def add_matrices(self) -> None:
        """Fill in the covariance matrices that limits on quadratic forms (variances) need."""
        for spread, lookback in self.spreads:
            spread.matrix, spread.ready = buffer_of(self._newest(lookback).sample.cov), True

    def add_links(self, sides: list[int]) -> Any:
        """Return bool[N, N], True for symbols linked by correlation. Only the rows of the symbols of `sides`, and of
        earlier calls, are measured.

        A side is the column of a symbol held short, or N plus the column of a symbol held long.
        """
        spec, size = self._rules.limits.correlation, self._rules.size
        assert spec is not None
        scenarios = self._newest(spec.lookback)
        measured = np.zeros(size, dtype=np.bool_)
        measured[[side % size for side in sides]] = True
        if self._linked is not None:
            measured |= self._linked
        self._linked = measured
        return buffer_of(links_of(scenarios, measured, spec))

    def _newest(self, lookback: int) -> Scenarios:
        """Return the newest `lookback` returns by date, as `Scenarios`: the rows that the gate of the engine
        measures."""
        if self._end != self._ring.end:
            self._end, self._known, self._linked = self._ring.end, {}, None
        scenarios = self._known.get(lookback)
        if scenarios is None:
            scenarios = Window(self._ring.returns(lookback), self._rules.limits.min_history).all
            self._known[lookback] = scenarios
        return scenarios
