"""The way out of waits for a venue, typed: the whole daemon at a wire-level Alpaca, and the commands that its alerts
name as programs of their own."""

import asyncio
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.proofs.live_day import VENUES, World
from tests.proofs.live_scene import played
from tests.support.sink_servers import NtfyServer


def command(text: str) -> str:
    """The command that an alert names, without `quantd`."""
    match = re.search(r"quantd ((?:reconcile|settle).*)$", text)
    assert match is not None, text
    return match.group(1)


@pytest.mark.long
async def test_flatten_ends_after_a_sale_by_hand_and_the_command_of_its_alert_makes_the_books_equal(
    tmp_path: Path,
) -> None:
    async with played(tmp_path) as scene:
        await scene.holds()
        book = scene.venue.book
        sold = book.positions["BTC/USD"] / 2
        sold -= sold % Decimal("0.0001")
        order = {"symbol": "BTC/USD", "qty": str(sold), "side": "sell", "type": "market", "time_in_force": "gtc"}
        book.place(order, foreign=True)
        assert (await scene.typed("flatten --reason out")).returncode == 0
        text = await scene.critical("everything that the venue has is closed")
        assert book.positions == {}
        assert f"{sold.normalize()} BTC/USD" in text
        line = command(text)
        assert (await scene.typed(line)).returncode == 0
        await scene.equal()
        again = await scene.typed(line)
        assert "agrees" in again.stderr + again.stdout, "the second run has nothing to adopt"
        assert (await scene.typed("flatten --reason again")).returncode == 0
        await scene.equal()


@pytest.mark.long
@pytest.mark.parametrize(
    ("venue", "claimed"),
    [
        *(pytest.param(venue, "0.01", marks=() if venue == "ibkr" else pytest.mark.slow) for venue in VENUES),
        ("alpaca", ""),
    ],
)
async def test_an_order_without_an_answer_is_settled_by_the_command_of_its_alert_and_the_venues_word_wins(
    tmp_path: Path, venue: str, claimed: str
) -> None:
    phone = NtfyServer()
    await phone.start()
    sink = f'[alerts.sinks.ntfy]\ntopic = "desk"\nurl = "{phone.url}"\n'
    async with played(tmp_path, venue=venue, more=sink) as scene:
        await scene.holds()
        await scene.equal()
        world, prices = scene.world, list[float]()
        world.watch(lambda order: prices.append(world.price[order.symbol]))
        world.lose_answers()
        ordering = asyncio.create_task(scene.typed("order buy 0.01 ETH/USD --agent rotating --reason 'by hand'"))

        async def sent() -> str:
            orders = (await scene.read("orders")).get("orders", [])
            return next((order["id"] for order in orders if order["state"] in ("unknown", "sent")), "")

        name = await scene.until(sent)
        # on a slow machine a command starts and ends in more than the order's time
        body = {"order": name, "never_sent": True, "reason": "early"}
        async with scene.api() as http, http.post("orders/settle", json=body) as refused:
            assert refused.status == 409
            assert "not waited for its time" in await refused.text()
        await ordering
        text = await scene.critical("has not confirmed the order to buy 0.01")
        assert name in text

        async def rings() -> bool:
            return any(text in message for message in phone.taken)

        await scene.until(rings)
        compared = await scene.typed("reconcile")
        assert compared.returncode == 0, "what the order explains is no difference"
        assert name in compared.stdout
        line = command(text).partition(", or ")[0]
        (price,) = prices  # it was sent once
        fill = f"{claimed}@{price:.2f}"
        line = line.replace("--filled QUANTITY@PRICE", f"--filled {fill}" if claimed else "--never-sent")
        done = await scene.typed(line.replace("REASON", "'seen in the app'"))
        assert done.returncode == 0, done.stderr
        world.answer_again()
        await scene.equal()
        if not claimed:
            assert "filled 0.01" in await scene.critical("the venue now reports")
            assert (await scene.read("status"))["switch"] == "REDUCE"
            assert (await scene.typed("resume --reason 'looked at it'")).returncode == 0
        await scene.equal()
        assert max(world.account().placed.values()) == 1
    await phone.stop()


SAVINGS = """
[[schedules]]
name = "savings"
do = "deposit"
amount = "500.00"
every = "1d"
within = "1d"
"""


@pytest.mark.long
async def test_shares_that_are_held_already_are_taken_and_the_money_of_each_day_goes_to_the_agent(
    tmp_path: Path,
) -> None:
    def prepare(world: World) -> None:
        world.venue.list("DOGE/USD", "0.10")  # outside of the universe
        world.venue.book.positions.update({"BTC/USD": Decimal("0.1"), "DOGE/USD": Decimal(700)})

    async with played(tmp_path, prepare=prepare, more=SAVINGS, adopt="rotating") as scene:

        async def alert(words: str) -> dict[str, Any]:
            async def raised() -> dict[str, Any]:
                alerts = (await scene.read("alerts")).get("alerts", [])
                return next((alert for alert in alerts if words in alert["text"]), {})

            found: dict[str, Any] = await scene.until(raised)
            return found

        await alert("taken into the book of rotating: 0.1 BTC/USD more (--adopt rotating: found at the first start)")
        outside = await alert("the venue holds what is in no book: 700 DOGEUSD")
        assert "it is not traded and in no limit" in outside["text"]
        scene.venue.book.move_cash("CSD", Decimal("500.00"))
        await scene.equal()
        came = await alert("500.00: 500.00 came: 450.00 rotating, 50.00 unallocated")
        assert (came["level"], came["kind"]) == ("INFO", "job_deposit")
        texts = [alert["text"] for alert in (await scene.read("alerts"))["alerts"] if alert["level"] == "CRITICAL"]
        assert not any("reconciliation" in text for text in texts)
