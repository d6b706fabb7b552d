"""A daemon that runs through nights: a split, a dividend, daylight saving, a half day and a renamed symbol, beside the
wire-level Alpaca for shares of New York. The account is compared all night."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest

from quantd.adapters.feeds.live.feed import Live
from quantd.adapters.feeds.live.slice_builder import PutAside
from quantd.adapters.feeds.sources.alpaca import AlpacaBars
from quantd.adapters.feeds.wrappers.retry import Retried
from quantd.daemon.app import Options
from quantd.daemon.assembly.parts import Parts
from quantd.trading.ports import Broker, LiveFeed
from tests.proofs.live_day import CONFIG, KEY, POLICY, SECRET, World, stamp
from tests.proofs.live_scene import SCALE, Scene, market, running

pytestmark = pytest.mark.long

SHARES: Final = {"KO": 60.0, "PG": 150.0, "SOFI": 8.0}
HOP_NS: Final = 1800 * 10**9
"""Step of the clock while the exchange is closed."""


def at(text: str) -> int:
    """ns UTC of an instant."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


class Night(World):
    """Two sessions, and the night between them in steps of half an hour. `overnight` happens at the venue at the
    instant `morning`, before the second open."""

    def __init__(self, folder: Path, sessions: list[tuple[str, str]], begins: str, morning: str) -> None:
        super().__init__(folder, SCALE, 1)
        self.sessions = [(at(opened), at(closed)) for opened, closed in sessions]
        self.morning = at(morning)
        self.overnight: Callable[[], None] = lambda: None
        self.price = dict(SHARES)
        self.jumped = 1.0
        self._jump(at(begins))

    def _jump(self, to_ns: int) -> None:
        self.clock.base += to_ns - self.clock()

    def _bar(self) -> None:
        for symbol, opened in self.price.items():
            close = round(opened * (1.0 + self.rng.gauss(0.0, 0.002)), 2)
            high, low = max(opened, close) + 0.01, min(opened, close) - 0.01
            bar = (stamp(self.minute), f"{opened:.2f}", f"{high:.2f}", f"{low:.2f}", f"{close:.2f}", "1000000")
            self.data.bars.setdefault(symbol, []).append(bar)
            self.price[symbol] = close
        self.minute += 60

    def open_at(self, ns: int) -> bool:
        """Whether the exchange is open."""
        return any(opened <= ns < closed for opened, closed in self.sessions)

    async def market(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            now, (opened, _) = self.clock(), self.sessions[1]
            if self.minute * 10**9 >= self.sessions[0][1] and now < opened - 300 * 10**9:
                # the first step waits for the orders of the closing bar, also on a slow machine
                await asyncio.sleep(2.0 if now < self.sessions[0][1] + HOP_NS else 0.1)
                self._jump(min(now + HOP_NS, opened - 290 * 10**9))
                if now < self.morning <= self.clock():
                    self.overnight()
                self.minute = opened // 10**9
            elif now // 10**9 >= self.minute + 60:
                self._bar()
                for symbol, price in self.price.items():
                    self.venue.price(symbol, f"{price:.2f}")

    def find(
        self, parts: Parts, run: str, folder: Path, put_aside: PutAside, now: Callable[[], int]
    ) -> tuple[LiveFeed, Broker | None]:
        _, venue = super().find(parts, run, folder, put_aside, now)
        url = f"http://127.0.0.1:{self.data_port}"
        source = AlpacaBars(
            parts.universe, "1m", key=KEY, secret=SECRET, crypto=False, url=url, rate=None, timeout_s=2.0
        )
        feed = Live(
            Retried(source, deadline_s=0.5, first_s=0.05),
            universe=parts.universe, sessions=parts.sessions, interval_ns=parts.interval_ns, grace_ns=10 * 10**9,
            now=now, put_aside=put_aside, sleep=self.clock.sleep,
        )  # fmt: skip
        return feed, venue


def configured(folder: Path) -> Options:
    """A configuration that trades three shares in turn."""
    (folder / "rotating.py").write_text(POLICY)
    text = CONFIG.format(store="", bus="port = 0")
    first, last = text.index("[universe]"), text.index("[feed]")
    universe = f'[universe]\nsymbols = {list(SHARES)}\ncalendar = "XNYS"\nbenchmark = "KO"\n'.replace("'", '"')
    (folder / "config.toml").write_text(text[:first] + universe + text[last:])
    return Options(config=folder / "config.toml", quiet=True)


async def through(scene: Scene, world: Night, until_ns: int) -> None:
    """Compare all night, until an instant of the second session."""
    await scene.until(lambda: scene.read("status"))
    while world.clock() < until_ns:
        async with scene.api() as http, http.post("reconcile", json={"how": "", "reason": "look"}) as answer:
            await answer.read()
        await asyncio.sleep(0.2)


async def criticals(scene: Scene) -> list[str]:
    """The texts of all CRITICAL alerts."""
    return [alert["text"] for alert in (await scene.read("alerts"))["alerts"] if alert["level"] == "CRITICAL"]


def outside(world: Night) -> list[str]:
    """Orders that reached the venue while the exchange was closed; those of the closing bar's decision follow it."""
    late = 60 * 10**9
    return [
        f"{order.symbol} {stamp(order.created // 10**9)}"
        for order in world.venue.book.orders.values()
        if not world.open_at(order.created) and not world.open_at(order.created - late)
    ]


async def test_a_split_and_a_dividend_over_the_weekend_at_which_daylight_saving_ends(tmp_path: Path) -> None:
    sessions = [("2026-10-30T13:30:00", "2026-10-30T20:00:00"), ("2026-11-02T14:30:00", "2026-11-02T21:00:00")]
    world = Night(tmp_path, sessions, "2026-10-30T19:50:00", "2026-11-02T09:00:00")
    book, ex = world.venue.book, "2026-11-02"
    days = {"ex_date": ex, "process_date": ex, "record_date": ex, "payable_date": ex}
    world.data.actions["reverse_splits"] = [
        {"symbol": "SOFI", "old_rate": 10, "new_rate": 1, "id": "s", "old_cusip": "1", "new_cusip": "2"} | days
    ]
    world.data.actions["cash_dividends"] = [
        {"symbol": "KO", "rate": 0.5, "special": False, "foreign": False, "id": "d", "cusip": "3"} | days
    ]
    lieu = []

    def splits() -> None:
        whole, rest = divmod(book.positions["SOFI"], 10)
        book.positions["SOFI"] = whole
        world.price["SOFI"] = round(world.price["SOFI"] * 10, 2)
        world.venue.price("SOFI", f"{world.price['SOFI']:.2f}")
        lieu.append((rest / 10 * Decimal(f"{world.price['SOFI']:.2f}")).quantize(Decimal("0.01")))

    world.overnight = splits
    async with market(tmp_path, world), running(world, tmp_path, configured(tmp_path)) as scene:
        await scene.holds()
        await scene.equal()
        await through(scene, world, at("2026-11-02T14:34:00"))
        assert lieu
        book.move_cash("CIL", lieu[0], "SOFI")
        book.move_cash("DIV", Decimal("100.00"), "KO")
        await through(scene, world, at("2026-11-02T14:40:00"))
        await scene.equal()
        assert await criticals(scene) == []
        assert (await scene.read("status"))["switch"] == "RUN"
        texts = [alert["text"] for alert in (await scene.read("alerts"))["alerts"]]
        assert sum("1:10 split of SOFI" in text for text in texts) == 1, texts
    assert outside(world) == []
    assert [order for order in book.orders.values() if order.created > world.sessions[1][0]], "it trades on Monday"


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [(10, 1), (1, 4)], ids=["reverse", "forward"])
async def test_a_split_while_the_daemon_is_down_is_in_the_books_after_the_start(
    tmp_path: Path, ratio: tuple[int, int]
) -> None:
    sessions = [("2026-10-29T13:30:00", "2026-10-29T20:00:00"), ("2026-10-30T13:30:00", "2026-10-30T20:00:00")]
    world = Night(tmp_path, sessions, "2026-10-29T19:50:00", "2026-10-30T08:00:00")
    book, (old, new), ex = world.venue.book, ratio, "2026-10-30"
    days = {"ex_date": ex, "process_date": ex, "record_date": ex, "payable_date": ex}
    row: dict[str, object] = {"symbol": "SOFI", "old_rate": old, "new_rate": new, "id": "s"} | days
    kind = "reverse_splits" if old > new else "forward_splits"
    cusips = {"old_cusip": "1", "new_cusip": "2"} if old > new else {"cusip": "1", "due_bill_redemption_date": ex}

    def splits() -> None:
        book.positions["SOFI"] = book.positions["SOFI"] * new // old
        world.price["SOFI"] = round(world.price["SOFI"] * old / new, 2)
        world.data.actions[kind] = [row | cusips]

    world.overnight = splits
    async with market(tmp_path, world):
        options = configured(tmp_path)
        async with running(world, tmp_path, options) as scene:
            await scene.holds()
            await scene.equal()

        async def opened() -> bool:
            return world.clock() > at("2026-10-30T13:33:00")

        await scene.until(opened)
        async with running(world, tmp_path, options) as scene:
            await through(scene, world, at("2026-10-30T13:40:00"))
            await scene.equal()
            assert await criticals(scene) == []
            assert (await scene.read("status"))["switch"] == "RUN"


@pytest.mark.slow
async def test_a_half_day_and_a_symbol_that_is_renamed_over_the_weekend(tmp_path: Path) -> None:
    sessions = [("2026-11-27T14:30:00", "2026-11-27T18:00:00"), ("2026-11-30T14:30:00", "2026-11-30T21:00:00")]
    world = Night(tmp_path, sessions, "2026-11-27T17:50:00", "2026-11-30T09:00:00")
    book = world.venue.book

    def renames() -> None:
        asset = book.assets["SOFI"]
        world.venue.list("SOFX", str(asset.price))
        book.assets["SOFX"].id, asset.id = asset.json()["id"], str(UUID(int=77))
        asset.status, asset.tradable = "inactive", False
        book.positions["SOFX"] = book.positions.pop("SOFI")
        for prices in (world.price, world.data.bars):
            prices["SOFX"] = prices.pop("SOFI")  # type: ignore[attr-defined]

    world.overnight = renames
    async with market(tmp_path, world), running(world, tmp_path, configured(tmp_path)) as scene:
        await scene.holds()
        await scene.equal()
        await through(scene, world, at("2026-11-30T14:36:00"))
        assert "SOFI" in await scene.critical("the asset that the run has traded is SOFX")
        await scene.equal()
        assert not [text for text in await criticals(scene) if "reconciliation" in text]
    assert outside(world) == []
    later = {order.symbol for order in book.orders.values() if order.created > world.sessions[1][0]}
    assert later
    assert not later & {"SOFI", "SOFX"}
