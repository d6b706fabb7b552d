"""Protective stops at a venue that speaks Alpaca's protocol: a whole daemon against it, over sockets."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from quantd.adapters.brokers.alpaca.broker import Alpaca
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Parts, assemble_live
from quantd.daemon.config import read
from quantd.daemon.runtime.service import Service
from quantd.trading.market import MarketSlice
from quantd.trading.sessions import DAY_NS
from tests.support.live_runs import NOW, RUN, TEXT, Left, _quick, stretch
from tests.support.stop_venue import Calm, Wire, market
from tests.support.venues.alpaca import AlpacaServer
from tests.support.venues.alpaca_book import Placed

__all__ = ["_quick"]


STOPS = "protective = { stop_loss = 0.08, cooldown = 30, at_venue = true }\n"


def parts() -> Parts:
    text = TEXT.replace("{broker}", "alpaca").replace("{policy}", "equal_weight")
    return assemble_live(read(text.replace("[risk]\n", f"[risk]\n{STOPS}"), known_names()), NOW)


def broker_at(server: AlpacaServer, of: Parts) -> Alpaca:
    settings = AlpacaSettings(
        url=server.url, stream_url=server.stream_url, key=server.key, secret=server.secret, timeout_s=2.0,
        patience_s=4.0,
        per_minute=100_000, settle_s=1.0, listing_s=0.2, backoff_s=(0.02, 0.1), heartbeat_s=5.0,
    )  # fmt: skip
    return Alpaca(settings, of.universe, RUN, lambda: time.time_ns() + server.offset_ns)


async def day_by_day(
    folder: Path,
    slices: list[MarketSlice],
    crashes: Sequence[int] = (),
    last: Callable[[AlpacaServer, Service], Awaitable[None]] | None = None,
) -> tuple[AlpacaServer, Wire, Left]:
    """The daemon from the first bar to the last, killed after so many bars and started again."""
    of = parts()
    server = AlpacaServer(cash="100000")
    await server.start()
    try:
        for symbol in ("S0", "S1", "S2"):
            server.list(symbol, "100.00")
        server.book.auto = True
        server.offset_ns = NOW - time.time_ns()
        wire = Wire(server)
        seen = NOW
        for until in [*crashes, None]:
            feed = Calm(of.universe, DAY_NS, slices, wire, seen)  # type: ignore[arg-type]
            feed.wire = wire
            run = await stretch(
                folder,
                of,
                feed,
                broker_at(server, of),
                until=until,
                brutal=until is not None,
                last=None if last is None else partial(last, server),
            )
            seen = feed._from_ts
    finally:
        await server.stop()
    return server, wire, run


FALL = market(
    [[100, 100, 100], [100, 108, 100], [100, 108, 100], [96, 108, 101], [97, 108, 101], [97, 109, 101]], {(3, 0): 90.0}
)


def stops_of(server: AlpacaServer, symbol: str) -> list[tuple[int, str, str]]:
    return [(int(o.qty), str(o.stop), o.status) for o in server.book.orders.values() if o.symbol == symbol and o.stop]


def require_equal(server: AlpacaServer, run: Left) -> None:
    state = run.service.shell.state
    held = [int(server.book.positions.get(s, Decimal(0))) for s in ("S0", "S1", "S2")]
    assert state.ledger.house.lots == held
    assert state.ledger.house.cash_micro == int(server.book.cash * 1_000_000)
    assert all(len(orders) == 1 for orders in server.book.by_client.values()), "no order twice"
    assert state.switch.state == 0
    for symbol, name in enumerate(("S0", "S1", "S2")):
        there = [int(o.left) for o in server.book.orders.values() if o.open and o.symbol == name and o.stop]
        assert there == ([held[symbol]] if held[symbol] else [])


@pytest.mark.long
async def test_stops_rest_equal_to_the_book_follow_a_rebalance_and_close_the_book_when_the_market_falls(
    tmp_path: Path,
) -> None:
    server, wire, run = await day_by_day(tmp_path, FALL)
    require_equal(server, run)
    for day in wire.days:
        assert all(covered == held for held, covered in day.values()), wire.days
    first = stops_of(server, "S1")
    assert len(first) > 1, "sold part of it when it had risen, with the stop out of the way"
    assert [status for _, _, status in first] == ["canceled"] * (len(first) - 1) + ["new"]
    # the fall of day 3 went through the level inside the bar: 90, while it closed at 96
    qty, stop, status = stops_of(server, "S0")[-1]
    assert (status, qty > 200) == ("filled", True)
    assert 91 < float(stop) < 93
    state = run.service.shell.state
    assert state.ledger.house.lots[0] == 0
    assert state.agents[0].blocked
    rejected = [o for o in server.book.orders.values() if o.status == "rejected"]
    assert not rejected
    assert not server.faults


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize("crashes", [(82, 84), (81, 83, 85)])
async def test_a_kill_at_any_moment_leaves_one_stop_for_each_position_and_no_order_twice(
    tmp_path: Path, crashes: tuple[int, ...]
) -> None:
    server, _, run = await day_by_day(tmp_path, FALL, crashes)
    require_equal(server, run)
    assert run.service.shell.state.ledger.house.lots[0] == 0


Change = Callable[[Placed], None]


def _set(**values: Decimal) -> Change:
    def change(order: Placed) -> None:
        for name, value in values.items():
            setattr(order, name, value * getattr(order, name) if value < 100 else value)

    return change


@pytest.mark.long
@pytest.mark.parametrize(
    "change",
    [
        _set(stop=Decimal(10), limit=Decimal(10)),
        _set(stop=Decimal("0.1"), limit=Decimal("0.1")),
        _set(stop=Decimal("1.01")),
        _set(limit=Decimal("0.9")),
        _set(qty=Decimal("0.5")),
    ],
    ids=["ten times the prices", "a tenth of them", "another trigger", "another limit", "half of it"],
)
async def test_a_stop_that_differs_at_the_venue_is_cancelled_and_the_right_one_rests_there(
    tmp_path: Path, change: Change
) -> None:
    before: dict[str, tuple[Decimal, Decimal | None, Decimal | None]] = {}

    async def last(server: AlpacaServer, service: Service) -> None:
        def resting() -> dict[str, Placed]:
            return {o.symbol: o for o in server.book.orders.values() if o.open and o.stop}

        async with asyncio.timeout(60):
            while len(resting()) < 3:
                await service.changed(0.05)
            before.update({s: (o.qty, o.stop, o.limit) for s, o in resting().items()})
            wrong = resting()["S1"]
            change(wrong)
            assert service.compare is not None
            while wrong.open or len(resting()) < 3:
                await service.compare()
                await service.changed(0.05)
        assert {s: (o.qty, o.stop, o.limit) for s, o in resting().items()} == before
        alerts = [alert for alert in service.recent if alert.kind == "reconciliation"]
        assert [alert.level for alert in alerts] == ["CRITICAL"]
        assert "differs at the venue" in alerts[0].text
        assert alerts[0].symbol == "S1"
        account = await service.compare()
        assert account is not None

    _, _, run = await day_by_day(tmp_path, market([[100, 100, 100], [100, 100, 100]], {}), last=last)
    assert run.service.shell.state.switch.state == 0
