"""`python -m scripts.site.snippets.servers FILE` serves venues, vendors and phones on this machine, for snippets that
speak to them. It writes their addresses and secrets as shell variables into FILE, and `venue.toml` beside it: the
configuration of a daemon at the venue."""

import asyncio
import shlex
import sys
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final

import polars as pl
from aiohttp import web

from quantd.regular_file import write_whole
from scripts.site.pages import ROOT
from tests.proofs.conformance.rigs.ccxt import ASSETS, MARKETS
from tests.support.sink_servers import (
    KEY,
    PASSWORD,
    TOKEN,
    USER,
    BotApi,
    DiscordChannel,
    MailServer,
    NtfyServer,
    Receiver,
    SlackChannel,
)  # fmt: skip
from tests.support.venues.alpaca import AlpacaServer
from tests.support.venues.alpaca_data import KEY as VENUE_KEY
from tests.support.venues.alpaca_data import SECRET, AlpacaData, minutes
from tests.support.venues.kraken import Exchange
from tests.support.venues.yahoo import Listing, Yahoo

VENUE: Final = """\
[universe]
symbols = ["BTC/USD"]
calendar = "24/7"
instruments = [{{ symbol = "BTC/USD", lot = "0.0001", tick = "0.01" }}]
[feed]
kind = "alpaca"
url = "{feed}"
interval = "1m"
warmup = 70
stream = false
grace = "1s"
[broker]
kind = "alpaca"
url = "{venue}"
cash = "1000000.00"
[manual]
capital = 0.5
[[agents]]
name = "even"
policy = "equal_weight"
capital = 0.01
"""
"""A daemon at the venue."""


async def serve(file: Path) -> None:
    """Serve until the process ends."""
    alpaca = await _alpaca()
    feed = await _vendor(AlpacaData(crypto={"BTC/USD": minutes(90_000.0, 120, 120)}).app())
    (file.parent / "venue.toml").write_text(VENUE.format(feed=feed, venue=alpaca.url), encoding="utf-8")
    kraken = Exchange((replace(pair, bars=[]) for pair in MARKETS), ASSETS, time.time_ns)
    kraken.balances["ZUSD"] = Decimal(1_000)  # an answer without an asset counts as none
    await kraken.start()
    webhook, telegram, ntfy, mail = Receiver(), BotApi(), NtfyServer(), MailServer(file.parent)
    discord, slack = DiscordChannel(), SlackChannel()
    for receiver in (webhook, telegram, ntfy, mail, discord, slack):
        await receiver.start()
    variables = {
        "ALPACA_URL": alpaca.url,
        "ALPACA_KEY": alpaca.key,
        "ALPACA_SECRET": alpaca.secret,
        "YAHOO_URL": await _vendor(_yahoo().app()),
        "KRAKEN_URL": kraken.url,
        "KRAKEN_KEY": kraken.key,
        "KRAKEN_SECRET": kraken.secret,
        "WEBHOOK_URL": webhook.url,
        "QUANTD_WEBHOOK_KEY": KEY,
        "TELEGRAM_URL": telegram.url,
        "TELEGRAM_TOKEN": TOKEN,
        "TELEGRAM_CHAT": str(telegram.chat),
        "NTFY_URL": ntfy.url,
        "DISCORD_URL": discord.url,
        "SLACK_URL": slack.url,
        "SMTP_PORT": str(mail.port),
        "SMTP_CA": str(mail.cert),
        "SMTP_USER": USER,
        "SMTP_PASSWORD": PASSWORD,
    }
    lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    write_whole(file, lines.encode(), durable=False)
    await asyncio.Event().wait()


async def _alpaca() -> AlpacaServer:
    """The venue: an account with a coin, and an order that does not fill."""
    alpaca = AlpacaServer(key=VENUE_KEY, secret=SECRET)
    await alpaca.start()
    alpaca.list("BTC/USD", "90000.00")
    alpaca.book.auto = True
    alpaca.book.positions |= {"BTC/USD": Decimal("0.5")}
    order = {"symbol": "BTC/USD", "qty": "0.1", "side": "buy", "type": "limit", "time_in_force": "gtc"}
    alpaca.book.place(order | {"limit_price": "45000.00"})
    return alpaca


def _yahoo() -> Yahoo:
    """The bundled market of four instruments, as Yahoo lists it."""
    frame = pl.read_parquet(ROOT / "data" / "seed4_daily.parquet")
    days = {
        symbol: frame.filter(pl.col("symbol") == symbol).select("ts", "open", "high", "low", "close", "volume")
        for symbol in frame["symbol"].unique()
    }
    paid = pl.read_csv(ROOT / "data" / "seed4_actions.csv", try_parse_dates=True, schema_overrides={"cash": pl.String})
    listings = {
        symbol: Listing(
            [(ts.date(), *values) for ts, *values in rows.iter_rows()],
            dividends=paid.filter(pl.col("symbol") == symbol, pl.col("kind") == "dividend").select("ts", "cash").rows(),
        )
        for symbol, rows in days.items()
    }
    listings["BTC-USD"] = replace(listings["BTC-USD"], zone="UTC", opens=(0, 0), kind="CRYPTOCURRENCY")
    return Yahoo(listings)


async def _vendor(app: web.Application) -> str:
    """The address of an application on a free port."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
