"""Runs at a venue on the wire: Alpaca's protocol over sockets, as the vendor's own client speaks it to the same server.

Store, recovery, loop, order sender, reconciler and broker are the daemon's; the feed is a script of daily bars.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from quantd.adapters.brokers.alpaca.broker import Alpaca
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Parts, assemble_live
from quantd.daemon.config import load
from quantd.daemon.live import order_sender, reconciliation
from quantd.daemon.monitoring.signals import reload
from quantd.daemon.recovery.replay import save_config
from quantd.daemon.runtime.service import Service
from quantd.trading.events import Approved, Event
from quantd.trading.market import MarketSlice
from quantd.trading.sessions import DAY_NS
from tests.support.command_line import write
from tests.support.live_runs import NOW, RUN, TEXT, stretch
from tests.support.stop_venue import WARMUP, Calm, Wire, market
from tests.support.venues.alpaca import AlpacaServer

SYMBOLS = ("S0", "S1", "S2")
DAILY = TEXT.replace("{broker}", "alpaca").replace("{policy}", "equal_weight")
STOPS = "protective = { stop_loss = 0.08, cooldown = 2, at_venue = true }\n"
LIVE = (
    '[quantd]\nmode = "live"\nlive = true\n'
    + DAILY.replace(
        "[risk]\n",
        "[risk]\nmax_position_weight = 0.35\nmax_gross_exposure = 1.0\nmax_drawdown = 0.2\nmax_daily_loss = 0.08\n"
        "var = { limit = 0.2 }\ncorrelation = { joint_weight = 1.0 }\n",
    )
    + '[live]\nmax_account_notional = "90000.00"\nmax_order_notional = "40000.00"\nmax_orders_per_day = 50\n'
    'loosen_after = "72h"\n'
)


@dataclass
class Stretch:
    """One start of the daemon: its configuration, the bars after which it is killed (0: it stops in order), commands
    by the number of bars before them, and the configurations that are reloaded at its end."""

    text: str
    killed_after: int = 0
    bars: int = 0
    commands: Sequence[tuple[int, Event]] = ()
    reloaded: Sequence[str] = ()


class Faulty(Wire):
    """A venue whose answers fail on some days: day -> (kind of request, fault) in order."""

    def __init__(self, server: AlpacaServer, faults: Mapping[int, Sequence[tuple[str, str]]]) -> None:
        super().__init__(server)
        self._faults = faults
        self._day = 0

    def on_slice(self, bar: MarketSlice) -> None:
        super().on_slice(bar)
        self.server.accept_late()
        for on, fault in self._faults.get(self._day, ()):
            self.server.misbehave(fault, on)
        self._day += 1


def broker_at(server: AlpacaServer, of: Parts) -> Alpaca:
    settings = AlpacaSettings(
        url=server.url, stream_url=server.stream_url, key=server.key, secret=server.secret, timeout_s=0.4,
        patience_s=1.0, per_minute=100_000, settle_s=0.4, listing_s=0.2, backoff_s=(0.02, 0.1), heartbeat_s=5.0,
    )  # fmt: skip
    return Alpaca(settings, of.universe, RUN, lambda: time.time_ns() + server.offset_ns)


def parts_in(folder: Path, text: str) -> Parts:
    """The parts under a configuration, which is saved as a start saves it."""
    path = write(folder, text)
    config = load(path, known_names())
    (folder / "state").mkdir(exist_ok=True)
    save_config(folder / "state", config, path, (), {})
    return assemble_live(config, NOW)


async def traded(
    folder: Path,
    bars: Sequence[MarketSlice],
    stretches: Sequence[Stretch],
    faults: Mapping[int, Sequence[tuple[str, str]]],
) -> None:
    """The daemon from the first bar to the last, in several starts."""
    order_sender.AGAIN_S, order_sender.SELDOM_S, reconciliation.AGAIN_S = 0.005, 0.02, 0.005  # type: ignore[misc]
    server = await AlpacaServer(cash="100000").start()
    try:
        for symbol in SYMBOLS:
            server.list(symbol, "100.00")
        server.book.auto = True
        server.offset_ns = NOW - time.time_ns()
        wire, seen = Faulty(server, faults), NOW
        for segment in stretches:
            of = parts_in(folder, segment.text)
            feed = Calm(of.universe, DAY_NS, bars, wire, seen)  # type: ignore[arg-type]
            feed.wire = wire
            brutal = bool(segment.killed_after)
            last = partial(changed, folder, of, segment.reloaded) if segment.reloaded else None
            broker: Any = broker_at(server, of)  # a Broker, as Remote is one
            await stretch(
                folder / "state", of, feed, broker, until=segment.killed_after or segment.bars or None,
                commands=segment.commands, brutal=brutal, last=last,  # type: ignore[arg-type]
            )  # fmt: skip
            seen = feed._from_ts
    finally:
        await server.stop()


async def changed(folder: Path, of: Parts, texts: Sequence[str], service: Service) -> None:
    """Reloads configurations one after another, as SIGHUP does."""
    for text in texts:
        mistakes = await reload(service, lambda text=text: load(write(folder, text), known_names()), of)  # type: ignore[misc]
        if mistakes:
            raise RuntimeError(f"the reload was refused: {mistakes}")
        await service.changed(0.2)


def recorded(
    folder: Path, bars: Sequence[MarketSlice], stretches: Sequence[Stretch],
    faults: Mapping[int, Sequence[tuple[str, str]]] | None = None,
) -> None:  # fmt: skip
    asyncio.run(traded(folder, bars, stretches, faults or {}))


def stops_at_venue(folder: Path) -> None:
    """Stops rest at the venue, follow rebalances, and close books in three falls inside a bar; three kills."""
    rng = np.random.default_rng(17)
    walk = 100 * np.exp(rng.normal(0.0005, 0.008, (36, 3)).cumsum(axis=0))
    falls = {(4, 0), (11, 1), (18, 2), (25, 0), (30, 1)}
    for day, symbol in falls:
        walk[day:, symbol] *= 0.93
    lows = {(day, symbol): round(float(walk[day, symbol]) * 0.93, 2) for day, symbol in falls}
    bars = market(np.round(walk, 2).tolist(), lows)
    text = DAILY.replace("[risk]\n", f"[risk]\n{STOPS}")
    kills = [Stretch(text, killed_after=WARMUP + 6), Stretch(text, bars=7), Stretch(text, killed_after=8)]
    recorded(folder, bars, [*kills, Stretch(text, killed_after=7), Stretch(text)])


def unknown_orders(folder: Path) -> None:
    """Mode live with its caps: answers to submissions, cancels and queries are lost, late or errors; two kills."""
    walk = 100 * np.exp(np.random.default_rng(23).normal(0.0, 0.03, (30, 3)).cumsum(axis=0))
    bars = market(np.round(walk, 2).tolist(), {})
    kinds = ("time-out after", "reset before", "500 after", "late", "time-out before", "malformed", "reset after")
    faults = {day: [("submit", kinds[day % len(kinds)])] * (1 + day % 2) for day in range(1, 28) if day % 3}
    faults[9] = [("submit", "time-out after"), ("query", "503"), ("query", "reset before")]
    text = LIVE
    recorded(
        folder, bars,
        [Stretch(text, killed_after=WARMUP + 8), Stretch(text, bars=6), Stretch(text, killed_after=7), Stretch(text)],
        faults,
    )  # fmt: skip


def config_reload(folder: Path) -> None:
    """Mode live: reloads tighten limits at once; starts with looser ones wait three days, or for an approval."""
    walk = 100 * np.exp(np.random.default_rng(29).normal(0.0, 0.02, (46, 3)).cumsum(axis=0))
    bars = market(np.round(walk, 2).tolist(), {})

    def limits(drawdown: float, weight: float, loss: float = 0.08) -> str:
        text = LIVE.replace("max_drawdown = 0.2", f"max_drawdown = {drawdown}")
        text = text.replace("max_daily_loss = 0.08", f"max_daily_loss = {loss}")
        return text.replace("max_position_weight = 0.35", f"max_position_weight = {weight}")

    approved = [(1, Approved(NOW, "agreed", "api:second"))]
    recorded(
        folder, bars,
        [
            Stretch(limits(0.2, 0.35), bars=WARMUP + 5, reloaded=[limits(0.18, 0.35), limits(0.16, 0.3)]),
            Stretch(limits(0.25, 0.3), bars=5, reloaded=[limits(0.2, 0.28), limits(0.2, 0.25)]),
            Stretch(limits(0.2, 0.35), killed_after=3, commands=approved),
            Stretch(limits(0.2, 0.35, 0.1), bars=3, commands=approved, reloaded=[limits(0.15, 0.35, 0.09)]),
            Stretch(limits(0.22, 0.35, 0.09), killed_after=5),
            Stretch(limits(0.22, 0.4, 0.09), bars=3, commands=approved),
            Stretch(limits(0.22, 0.4, 0.12), bars=2),
            Stretch(limits(0.22, 0.4, 0.12)),
        ],
    )  # fmt: skip
