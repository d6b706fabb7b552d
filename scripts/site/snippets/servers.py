"""`python -m scripts.site.snippets.servers FILE` serves venues and phones on this machine, for snippets that speak to
them, and writes their addresses and secrets as shell variables into FILE."""

import asyncio
import shlex
import sys
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from tests.proofs.conformance.rigs.ccxt import ASSETS, MARKETS
from tests.support.sink_servers import KEY, PASSWORD, TOKEN, USER, BotApi, MailServer, NtfyServer, Receiver
from tests.support.venues.alpaca import AlpacaServer
from tests.support.venues.kraken import Exchange


async def serve(file: Path) -> None:
    """Serve until the process ends."""
    alpaca = AlpacaServer()
    await alpaca.start()
    alpaca.list("SPY", "400.00")
    alpaca.book.auto = True
    alpaca.book.positions |= {"SPY": Decimal(12)}
    order = {"symbol": "SPY", "qty": "10", "side": "buy", "type": "limit", "time_in_force": "gtc"}
    alpaca.book.place(order | {"limit_price": "100.00"})
    kraken = Exchange((replace(pair, bars=[]) for pair in MARKETS), ASSETS, time.time_ns)
    await kraken.start()
    webhook, telegram, ntfy, mail = Receiver(), BotApi(), NtfyServer(), MailServer(file.parent)
    for each in (webhook, telegram, ntfy, mail):
        await each.start()
    variables = {
        "ALPACA_URL": alpaca.url,
        "ALPACA_KEY": alpaca.key,
        "ALPACA_SECRET": alpaca.secret,
        "KRAKEN_URL": kraken.url,
        "KRAKEN_KEY": kraken.key,
        "KRAKEN_SECRET": kraken.secret,
        "WEBHOOK_URL": webhook.url,
        "QUANTD_WEBHOOK_KEY": KEY,
        "TELEGRAM_URL": telegram.url,
        "TELEGRAM_TOKEN": TOKEN,
        "TELEGRAM_CHAT": str(telegram.chat),
        "NTFY_URL": ntfy.url,
        "SMTP_PORT": str(mail.port),
        "SMTP_CA": str(mail.cert),
        "SMTP_USER": USER,
        "SMTP_PASSWORD": PASSWORD,
    }
    lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    new = file.with_suffix(".new")
    new.write_text(lines, encoding="utf-8")
    new.rename(file)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
