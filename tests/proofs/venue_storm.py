"""Two programs behind the gateway trade in opposite directions at a wire-level venue, at the same instants:
python -m tests.proofs.order_storm --venue kraken --orders 300

In each round both send an order in one symbol, one to buy and one to sell: at the market, or at a price of its own
near the market. Now and then one closes its position, or cancels its orders. The evaluator stands at the venue: for
each order that arrives there it looks for an open order of the account that it could trade with, and takes the account
and all open orders against the limits. A limit counts with 1.5 % for the bar between decision and arrival.
"""

import asyncio
import os
import random
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from quantd.daemon.app import Options, serve
from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import load
from quantd.server.requests.tokens import created
from tests.proofs.live_day import CONFIG as DAY
from tests.proofs.live_day import SYMBOLS, Arrived, World, differences_of, rearm, still, world_at
from tests.support.sockets import free_port

BOOKS: Final = ("bull", "bear")
WEIGHT, GROSS, NOTIONAL, OPEN_ORDERS = 0.3, 0.7, 12_000.0, 40
SLACK: Final = 1.015
SCALE: Final = 30.0
EXIT_S: Final = 40.0
"""Seconds after which a closing that has not closed is blocked; some bars of the day's clock pass in them."""

HEAD, _, TAIL = DAY.partition("[[agents]]")
LIMITS: Final = f"""max_position_weight = {WEIGHT}
max_gross_exposure = {GROSS}
max_order_notional = "{NOTIONAL:.2f}"
max_open_orders = {OPEN_ORDERS}
max_drawdown = 0.9"""
AGENTS: Final = "".join(
    f"""[[agents]]
name = "{book}"
policy = "external"
capital = 0.45
cut = {cut}
"""
    for book, cut in zip(BOOKS, ("false", "true"), strict=True)
)


def config(gateway: int) -> str:
    """The configuration of the day, with two programs in place of its policy."""
    rates = "rate = {{ reads = 1000, reads_burst = 2000, posts = 1000, posts_burst = 2000, proposals = 6000 }}\n"
    text = HEAD.replace("max_position_weight = 0.6", LIMITS) + AGENTS + TAIL[TAIL.index("[alerts]") :]
    text = text.replace("[log]", f"{rates}[gateway]\nport = {gateway}\n[log]")
    return text.format(store="", bus="port = 0")


@dataclass
class Storm:
    """What two books did, and what the venue saw of it."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    arrived: int = 0
    own_trades: list[str] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    used: dict[str, float] = field(default_factory=dict)
    exits: int = 0
    blocked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        failed = [f"{what}: {n} answers" for (_, what), n in self.answers.items() if what >= 500]
        return [*self.own_trades, *self.breaches, *self.blocked, *self.wrong, *failed]


class Evaluator:
    """Looks at each order when it arrives at the venue."""

    def __init__(self, world: World, storm: Storm) -> None:
        self.world, self.storm = world, storm

    def __call__(self, order: Arrived) -> None:
        self.storm.arrived += 1
        others = [one for one in self.world.open_orders() if one.id != order.id]
        for one in others:
            if one.symbol == order.symbol and one.buys != order.buys:
                buys, sells = (one, order) if one.buys else (order, one)
                if buys.limit >= sells.limit:
                    self.storm.own_trades.append(f"{order} could trade with {one}")
        self._limits(order, others)

    def _limits(self, order: Arrived, others: list[Arrived]) -> None:
        account, price = self.world.account(), self.world.price
        worth = float(account.cash) + sum(float(units) * price[s] for s, units in account.units.items())
        reach = {s: float(units) for s, units in account.units.items()}
        for one in (order, *others):
            if one.buys:
                reach[one.symbol] += float(one.left)
        if not order.buys:
            return  # nothing is sold short at these venues: it reduces
        for name, value, limit in (
            ("weight", reach[order.symbol] * price[order.symbol], WEIGHT * worth),
            ("gross", sum(units * price[s] for s, units in reach.items()), GROSS * worth),
            ("notional", float(order.left) * price[order.symbol], NOTIONAL),
            ("open orders", len(others) + 1, OPEN_ORDERS),
        ):
            self.storm.used[name] = max(self.storm.used.get(name, 0.0), value / limit)
            if value > limit * SLACK:
                self.storm.breaches.append(f"{order}: {name} {value:,.2f} of {limit:,.2f}")


class Program:
    """A program behind the gateway."""

    def __init__(self, name: str, secret: str, url: str, world: World, storm: Storm) -> None:
        self.name, self.world, self.storm, self.url = name, world, storm, url
        headers = {"APCA-API-KEY-ID": name, "APCA-API-SECRET-KEY": secret}
        self.http = ClientSession(headers=headers, timeout=ClientTimeout(30))

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        async with self.http.request(method, f"{self.url}{path}", json=body) as answer:
            return answer.status, await answer.json() if answer.status != 204 else None

    async def admitted(self, within_s: float = 60.0) -> None:
        """Wait until the gateway listens and knows the token, which the daemon reads every second."""
        for _ in range(int(within_s * 5)):
            with suppress(ClientError):
                if (await self.ask("GET", "/v2/clock"))[0] == 200:
                    return
            await asyncio.sleep(0.2)
        raise TimeoutError("the gateway does not serve")

    async def held(self, symbol: str) -> Decimal:
        status, row = await self.ask("GET", f"/v2/positions/{symbol.replace('/', '%2F')}")
        return Decimal(row["qty"]) if status == 200 else Decimal(0)

    async def order(self, draw: random.Random, symbol: str, *, buys: bool) -> None:
        """An order at the market, or at a price of its own."""
        mark = self.world.price[symbol]
        step = Decimal("0.01") if symbol == "SOL/USD" else Decimal("0.001" if symbol == "ETH/USD" else "0.0001")
        qty = Decimal(draw.uniform(500.0, 15_000.0) / mark).quantize(step)
        if not buys:
            qty = min(qty, await self.held(symbol))
        if qty <= 0:
            return
        side = "buy" if buys else "sell"
        body = {"symbol": symbol, "side": side, "type": "market", "time_in_force": "gtc", "qty": f"{qty:f}"}
        if draw.random() < 0.6:
            price = round(mark * draw.uniform(0.994, 1.006) * 2) / 2
            body |= {"type": "limit", "limit_price": f"{price:.2f}", "time_in_force": draw.choice(["day", "gtc"])}
        status, _ = await self.ask("POST", "/v2/orders", body)
        self.storm.answers[self.name, status] += 1

    async def leave(self, symbol: str) -> None:
        """Close the position: it has to be zero some bars later, whatever the other program does."""
        if await self.held(symbol) == 0:
            return
        self.storm.exits += 1
        end, why = asyncio.get_running_loop().time() + EXIT_S, ""
        while asyncio.get_running_loop().time() < end:
            status, said = await self.ask("DELETE", f"/v2/positions/{symbol.replace('/', '%2F')}")
            why = f"{status} {said.get('message', '') if isinstance(said, dict) else ''}"
            for _ in range(10):
                await asyncio.sleep(0.1)
                if await self.held(symbol) == 0:
                    return
        self.storm.blocked.append(f"{self.name} {symbol}: {why}")


async def rounds(programs: list[Program], draw: random.Random, until: asyncio.Event) -> None:
    """Opposite orders of both programs at the same instants."""
    for symbol in SYMBOLS:
        for program in programs:
            await program.order(draw, symbol, buys=True)
    leaving: dict[str, asyncio.Task[None]] = {}
    while not until.is_set():
        symbol, up = draw.choice(list(SYMBOLS)), draw.random() < 0.5
        await asyncio.gather(
            programs[0].order(draw, symbol, buys=up), programs[1].order(draw, symbol, buys=not up)
        )  # fmt: skip
        program = draw.choice(programs)
        if draw.random() < 0.1 and (program.name not in leaving or leaving[program.name].done()):
            leaving[program.name] = asyncio.create_task(program.leave(draw.choice(list(SYMBOLS))))
        if draw.random() < 0.05:
            await program.ask("DELETE", "/v2/orders")
        await asyncio.sleep(draw.uniform(0.0, 0.15))
    await asyncio.gather(*leaving.values())


@asynccontextmanager
async def behind(folder: Path, venue: str, seed: int) -> AsyncIterator[tuple[World, list[Program], Storm]]:
    """A daemon at a venue's server and two programs behind its gateway; at the end their orders are cancelled, and the
    books are compared with the venue's."""
    world, found = world_at(venue, folder, SCALE, seed), Storm()
    await world.start()
    gateway, path = free_port(), folder / "config.toml"
    path.write_text(config(gateway))
    loaded = load(path, known_names())
    state = loaded.at(loaded.quantd.state)
    moving, person = asyncio.create_task(world.market()), asyncio.create_task(rearm(state))
    daemon = asyncio.create_task(serve(loaded, Options(config=path, quiet=True), find=world.find, now=world.clock))
    programs = list[Program]()
    try:
        await world.clock.waits(state)
        secrets = [created(state, book, "propose", agent=book)[1] for book in BOOKS]
        url = f"http://127.0.0.1:{gateway}"
        programs = [Program(book, key, url, world, found) for book, key in zip(BOOKS, secrets, strict=True)]
        for program in programs:
            await program.admitted()
        yield world, programs, found
        for program in programs:
            await program.ask("DELETE", "/v2/orders")
        await still(world, state)
        moving.cancel()
        os.kill(os.getpid(), signal.SIGTERM)
        found.wrong = differences_of(await daemon, world.account())
    finally:
        for task in (moving, person, daemon):
            task.cancel()
        await asyncio.gather(moving, person, daemon, return_exceptions=True)
        for program in programs:
            await program.http.close()
        await world.stop()


async def storm(folder: Path, venue: str, orders: int, seed: int, within_s: float = 900.0) -> Storm:
    """Let both programs order until so many orders have arrived at the venue."""
    over = asyncio.Event()
    async with behind(folder, venue, seed) as (world, programs, found):
        world.watch(Evaluator(world, found))
        trading = asyncio.create_task(rounds(programs, random.Random(seed), over))
        for _ in range(int(within_s * 5)):
            if found.arrived >= orders or trading.done():
                break
            await asyncio.sleep(0.2)
        over.set()
        await trading
    return found


def report(venue: str, orders: int, seed: int) -> int:
    """Print what a storm found; 1 if it found a fault."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(storm(Path(folder), venue, orders, seed))
    print("\n".join(found.faults[:20]))
    print("answers " + ", ".join(f"{who} {what}: {n:,}" for (who, what), n in sorted(found.answers.items())))
    print("largest use of a limit " + ", ".join(f"{name} {part:.4f}" for name, part in found.used.items()))
    print(
        f"{venue}: {found.arrived:,} orders of two books in opposite directions, {len(found.own_trades)} own trades, "
        f"{len(found.blocked)} of {found.exits} exits blocked, {len(found.breaches)} breaches, "
        f"{len(found.wrong)} differences"
    )
    return 1 if found.faults else 0
