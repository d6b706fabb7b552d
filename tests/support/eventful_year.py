"""A year of one account with all that replaces what the engine has in memory: rewinds, a split, a dividend, a
delisting, other limits, a restore from a snapshot, and a carry-over."""

from collections.abc import Callable, Iterator

import numpy as np
from msgspec.structs import replace

from quantd.daemon.engine.agents.carry_over import carry_of
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.settings import Rules
from quantd.daemon.engine.state.snapshot import freeze, in_force
from quantd.daemon.runtime.loop import Shell
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.settings import Correlation, Protective, Tail
from quantd.trading.events import Action, Carried, Reloaded, Tick
from quantd.trading.market import Floats, MarketSlice
from quantd.trading.view import View
from tests.support.engine import World, block, walk

SAMPLES = 340
LOOKBACK = 20
SYMBOLS = 4
SPLIT, DIVIDEND, RELOADED, RESTORED, DELISTED, CARRIED = 60, 90, 130, 210, 240, 280
"""Samples before which each happens."""


def rotating(view: View) -> Floats:
    """Other weights on each day, so that there are always orders."""
    weights = np.full(SYMBOLS, 0.1)
    weights[view.sample % SYMBOLS] = 0.3
    return weights


class Year:
    """The world, and the shell that drives it; `moments` are the names of what has happened."""

    def __init__(self, act: Callable[[View], object] = rotating) -> None:
        closes = walk(SAMPLES, SYMBOLS, 7)
        closes[4::5, 2] = np.nan  # no bar of that symbol: marks are then arrays of the engine, not of the slice
        bars = block(closes)
        opens, keys = bars.ts_open, bars.key
        house = Limits(
            min_history=5, max_position_weight=0.5, max_drawdown=0.9, max_volatility=0.6, volatility_lookback=LOOKBACK,
            var=Tail(0.05, lookback=LOOKBACK), cvar=Tail(0.06, confidence=0.9, lookback=LOOKBACK),
            correlation=Correlation(lookback=LOOKBACK), protective=Protective(stop_loss=0.08, trailing=True),
        )  # fmt: skip
        self.world = World(
            bars, [act], house=house, lookback=LOOKBACK, keep_bars=True,
            macro=("vix", *(f"esg S{k}" for k in range(SYMBOLS))),
            actions=[
                Action(opens[SPLIT], keys[SPLIT], 0, "split", numerator=3, denominator=1),
                Action(opens[DIVIDEND], keys[DIVIDEND], 1, "dividend", cash_nano=1_500_000_000),
                Action(opens[DELISTED], keys[DELISTED], 3, "delisting", cash_nano=10**9),
            ],
        )  # fmt: skip
        self.rules: Rules = self.world.rules
        self.shell: Shell = self.world.shell
        self.slices: list[MarketSlice] = []

    @property
    def state(self) -> State:
        return self.shell.state

    def moments(self) -> Iterator[str]:
        """Take the year; yields what has just happened, "" after each other sample."""
        samples = 0
        for item in self.world.items():
            if isinstance(item, MarketSlice):
                self.slices.append(item)
            if isinstance(item, Tick) and item.sample:
                vix = 10.0 + samples % 7
                # the rows of a date are complete a sample later, as with daily crypto beside shares
                item = replace(item, macro=(vix, *np.arange(4.0) + samples), final=item.final + (samples > 100))
            self.shell.take(item)
            if isinstance(item, Tick) and item.sample:
                samples += 1
                yield self._happens(samples)

    def _happens(self, samples: int) -> str:
        happened = {SPLIT + 1: "split", DIVIDEND + 1: "dividend", DELISTED + 1: "delisting"}.get(samples, "")
        if samples == RELOADED:
            tighter = replace(self.rules, house=replace(self.rules.house, max_position_weight=0.4))
            self.shell.run(Reloaded(self.state.now, "d", ("risk.max_position_weight",), in_force(tighter)))
            self.rules, happened = tighter, "reload"
        elif samples == RESTORED:
            self.shell.restore(self.rules, self.shell.keep())
            happened = "restore"
        elif samples == CARRIED:
            old = self.state
            account = carry_of(freeze(old), old.universe, ("a0",), simulated=True)
            self.shell = self.world.fresh(self.world)
            self.shell.run(Carried(old.now, "before", account, until=old.now))
            happened = "carry-over"
        return happened
