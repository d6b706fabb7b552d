"""Six actors order at once, and no order breaks a limit: python -m tests.proofs.order_storm --orders 3000

The actors are a policy file with random weights, a person with manual orders over the API, an outside agent with its
own token, and three programs behind the gateway, which rest orders at prices of their own and cancel them. The
evaluator is not the product's: it has the closes of the data, and the orders, fills and equity that
`quantd report --export` prints. For each order that adds risk it takes the house's position and all open orders on its
side. With --venue, see `tests.proofs.venue_storm`.
"""

import argparse
import csv
import http.client
import io
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl

from tests.proofs.live_day import VENUES
from tests.proofs.venue_storm import report
from tests.support.checkout import ROOT
from tests.support.command_line import environment, quantd
from tests.support.sockets import free_port

WEIGHT: Final = 0.16
GROSS: Final = 0.45
NOTIONAL: Final = 60_000.0
OPEN_ORDERS: Final = 30
SYMBOLS: Final = ("SPY", "QQQ", "IWM", "AAPL", "BAC")
ROUNDING: Final = 1.0 + 1e-9
WITHIN_S: Final = 900.0
BOTS: Final = ("bot1", "bot2", "bot3")

POLICY: Final = """
import numpy as np
LOOKBACK = 2

def act(view):
    draw = np.random.default_rng(int(view.time) % 2**32)
    return np.clip(draw.normal(0.0, 0.3, len(view.prices)), -0.9, 0.9)
"""

TABLES: Final = "\n".join(
    f'[[agents]]\nname = "{bot}"\npolicy = "external"\ncapital = 0.1\nprofile = "research"' for bot in BOTS
)

CONFIG: Final = f"""
[quantd]
name = "storm"
[universe]
symbols = {list(SYMBOLS)}
[feed]
path = "{ROOT}/data/us_daily.parquet"
actions = "{ROOT}/data/us_actions.csv"
stamps = "session"
start = 2015-01-02
end = 2018-12-31
warmup = 60
pace = "PACE/s"
at_end = "wait"
[broker]
cash = "1000000.00"
[risk]
max_position_weight = {WEIGHT}
max_gross_exposure = {GROSS}
max_order_notional = "{NOTIONAL:.2f}"
max_open_orders = {OPEN_ORDERS}
max_drawdown = 0.9
cash_reserve = 0.2
var = {{ limit = 0.02 }}
[manual]
capital = 0.2
profile = "research"
[[agents]]
name = "wild"
policy = "wild.py:act"
capital = 0.3
profile = "research"
[[agents]]
name = "guest"
policy = "external"
capital = 0.2
profile = "research"
{TABLES}
[gateway]
port = GATEWAY
[bus]
port = 0
[api]
port = 0
rate = {{ reads = 1000, reads_burst = 2000, posts = 100, posts_burst = 1000, proposals = 6000 }}
[log]
level = "error"
"""


class House:
    """One running daemon over HTTP, and the statuses of its answers by actor."""

    def __init__(self, folder: Path, gateway: int) -> None:
        self.folder, self.gateway = folder, gateway
        place = json.loads((folder / "state" / "api.json").read_text())
        self.port = int(place["port"])
        self.token = (folder / "state" / "token").read_text().strip()
        self.answers: Counter[tuple[str, int]] = Counter()
        self.over = threading.Event()

    def ask(self, method: str, path: str, body: object = None, token: str = "", bot: str = "") -> tuple[int, Any]:
        port = self.gateway if bot else self.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"}
            if bot:
                headers = {"APCA-API-KEY-ID": bot, "APCA-API-SECRET-KEY": token}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def person(self, draw: random.Random) -> None:
        """Manual orders, into the book for them and into those of the agents."""
        while not self.over.is_set():
            body = {
                "side": draw.choice(["buy", "sell"]), "symbol": draw.choice(SYMBOLS), "reason": "storm",
                "qty": str(draw.choice([1, 5, 50, 200, 800, 5_000])), "agent": draw.choice(["", "", "wild", "guest"]),
            }  # fmt: skip
            self.answers["person", self.ask("POST", "/api/v1/orders", body)[0]] += 1
            time.sleep(draw.uniform(0.0, 0.1))

    def guest(self, draw: random.Random, token: str) -> None:
        """Proposals of an outside agent, far beyond its limits now and then."""
        number = 0
        while not self.over.is_set():
            number += 1
            chosen = draw.sample(SYMBOLS, draw.randint(1, len(SYMBOLS)))
            weights = {symbol: round(draw.uniform(-0.4, 1.0) / len(chosen), 3) for symbol in chosen}
            body = {"weights": weights, "id": f"storm-{number}", "reason": "storm"}
            self.answers["guest", self.ask("POST", "/api/v1/agents/guest/propose", body, token)[0]] += 1
            time.sleep(draw.uniform(0.0, 0.1))

    def program(self, draw: random.Random, bot: str, token: str) -> None:
        """Orders of a program: at the market, or at a price of its own until cancelled; now and then it cancels all."""
        while not self.over.is_set():
            symbol = draw.choice(SYMBOLS)
            body = {
                "symbol": symbol, "side": draw.choice(["buy", "buy", "sell"]), "type": "market",
                "time_in_force": draw.choice(["day", "gtc"]), "qty": str(draw.choice([1, 5, 50, 200, 800])),
            }  # fmt: skip
            status, trade = self.ask("GET", f"/v2/stocks/{symbol}/trades/latest", token=token, bot=bot)
            if status == 200 and draw.random() < 0.6:
                price = round(float(trade["trade"]["p"]) * draw.uniform(0.96, 1.04), 2)
                body |= {"type": "limit", "limit_price": str(price)}
            self.answers[bot, self.ask("POST", "/v2/orders", body, token, bot)[0]] += 1
            if draw.random() < 0.1:
                self.ask("DELETE", "/v2/orders", token=token, bot=bot)
            time.sleep(draw.uniform(0.0, 0.1))

    def orders(self) -> int:
        return int(self.ask("GET", "/api/v1/status")[1]["orders"])


def rows(folder: Path, what: str) -> list[dict[str, str]]:
    """What `quantd report --export` prints, by column."""
    return list(csv.DictReader(io.StringIO(quantd(folder, "report", "--export", what).stdout)))


def closes() -> dict[tuple[str, str], float]:
    """(session, symbol) -> close of the data. The window has no split of these symbols."""
    table = pl.read_parquet(ROOT / "data" / "us_daily.parquet")
    table = table.filter(pl.col("symbol").is_in(SYMBOLS))
    return {(str(ts)[:10], symbol): float(close) for ts, symbol, close in table["ts", "symbol", "close"].iter_rows()}


def breaches(folder: Path, used: dict[str, float]) -> Iterator[str]:
    """Each order that adds risk beyond a limit, recomputed from exports and data alone.

    `used` gets the largest used part of each limit.
    """
    price, equity = closes(), {row["ts"]: float(row["equity"]) for row in rows(folder, "equity")}
    fills = sorted(rows(folder, "fills"), key=lambda row: row["ts"])
    filled = {row["order"] for row in fills}
    position: dict[str, int] = defaultdict(int)
    pending: dict[str, tuple[str, int]] = {}
    at = 0
    for order in sorted(rows(folder, "orders"), key=lambda row: row["ts"]):
        while at < len(fills) and fills[at]["ts"] <= order["ts"]:
            row = fills[at]
            position[row["symbol"]] += int(row["qty"]) if row["side"] == "buy" else -int(row["qty"])
            pending.pop(row["order"], None)
            at += 1
        day, symbol, lots = order["ts"][:10], order["symbol"], int(order["qty"])
        signed = lots if order["side"] == "buy" else -lots
        worth = equity.get(order["ts"])
        if worth is None or order["order"] not in filled:
            continue  # before the first sample, or it never filled: what it reserved is not known from outside
        pending[order["order"]] = symbol, signed
        up, down = dict(position), dict(position)
        for name, size in pending.values():
            book = up if size > 0 else down
            book[name] = book.get(name, 0) + size
        reach = up.get(symbol, 0) if signed > 0 else -down.get(symbol, 0)
        if reach <= 0:
            continue  # it reduces
        money = price[day, symbol]
        gross = sum(max(abs(up.get(k, 0)), abs(down.get(k, 0))) * price[day, k] for k in SYMBOLS)
        for name, value, limit in (
            ("weight", reach * money, WEIGHT * worth), ("gross", gross, GROSS * worth),
            ("notional", lots * money, NOTIONAL), ("open orders", len(pending), OPEN_ORDERS),
        ):  # fmt: skip
            used[name] = max(used.get(name, 0.0), value / limit)
            if value > limit * ROUNDING:
                yield f"{order['ts']} {order['order']} {symbol}: {name} {value:,.2f} of {limit:,.2f}"


def storm(folder: Path, orders: int, seed: int, pace: int) -> int:
    """Let the actors order until there are enough; how many orders broke a limit."""
    (folder / "wild.py").write_text(POLICY)
    gateway = free_port()
    (folder / "config.toml").write_text(CONFIG.replace("PACE", str(pace)).replace("GATEWAY", str(gateway)))
    command = [sys.executable, "-m", "quantd.daemon.cli", "run", "--quiet"]
    process = subprocess.Popen(command, cwd=folder, env=environment())
    try:
        limit = time.monotonic() + WITHIN_S
        while not (folder / "state" / "api.json").exists():
            assert process.poll() is None, "the daemon ended"
            assert time.monotonic() < limit
            time.sleep(0.1)
        house = House(folder, gateway)
        created = quantd(folder, "token", "create", "robot", "--scope", "propose", "--agent", "guest")
        token = created.stdout.strip()
        keys = {
            bot: quantd(folder, "token", "create", bot, "--scope", "propose", "--agent", bot).stdout.strip()
            for bot in BOTS
        }
        draw = random.Random(seed)
        actors = [
            threading.Thread(target=house.person, args=[random.Random(draw.random())]),
            threading.Thread(target=house.guest, args=[random.Random(draw.random()), token]),
            *(
                threading.Thread(target=house.program, args=[random.Random(draw.random()), bot, key])
                for bot, key in keys.items()
            ),
        ]
        for actor in actors:
            actor.start()
        while house.orders() < orders and time.monotonic() < limit:
            time.sleep(0.5)
        house.over.set()
        for actor in actors:
            actor.join()
        status = house.ask("GET", "/api/v1/status")[1]
    finally:
        process.terminate()
        code = process.wait(60)
    by_agent = Counter(row["agent"] for row in rows(folder, "orders"))
    used: dict[str, float] = {}
    wrong = list(breaches(folder, used))
    print("\n".join(wrong[:20]))
    print("answers " + ", ".join(f"{who} {what}: {n:,}" for (who, what), n in sorted(house.answers.items())))
    print("largest use of a limit " + ", ".join(f"{name} {part:.4f}" for name, part in used.items()))
    print("orders " + ", ".join(f"{agent} {n:,}" for agent, n in by_agent.most_common()))
    failed = sum(n for (_, what), n in house.answers.items() if what >= 500)
    print(
        f"{sum(by_agent.values()):,} orders of six actors until {status['time'][:10]}, {len(wrong)} breaches, "
        f"{failed} answers of 500 and above, switch {status['switch']}, exit code {code}"
    )
    return len(wrong) + failed + code


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.proofs.order_storm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--orders", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pace", type=int, default=4, help="sessions a second")
    parser.add_argument("--venue", choices=VENUES, help="two programs in opposite directions at this venue's server")
    wanted = parser.parse_args()
    if wanted.venue:
        return report(wanted.venue, wanted.orders, wanted.seed)
    with tempfile.TemporaryDirectory() as folder:
        return 1 if storm(Path(folder), wanted.orders, wanted.seed, wanted.pace) else 0


if __name__ == "__main__":
    sys.exit(main())
