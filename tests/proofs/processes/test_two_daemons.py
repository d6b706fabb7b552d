"""Two whole `quantd run` on one account by mistake: one trades, the other cannot."""

import asyncio
import time
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from tests.proofs.processes.two_daemons import world
from tests.support.postgres import postgres_server

FIRST, SECOND, LATE = Decimal("0.0010"), Decimal("0.0020"), Decimal("0.0030")


def schema() -> str:
    """The URL of a schema of its own."""
    server, _ = postgres_server()
    name = f"two{time.time_ns()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    return f"{server}&options=-csearch_path%3D{name}"


@pytest.mark.requirement("R-225")
@pytest.mark.long
async def test_the_second_refuses_takes_over_from_one_that_hangs_and_the_first_wakes_and_sends_nothing(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, await asyncio.to_thread(schema)) as of:
        first = of.start("first")
        await first.until_ready()
        await first.buys(str(FIRST))
        await of.until(lambda: of.orders() == {FIRST: 1})

        mistaken = of.start("second")
        assert await mistaken.left() == 75
        for word in ("is led by desk on", f"(process {first.process.pid})", "Stop that one, or wait"):
            assert word in mistaken.said()
        assert "Traceback" not in mistaken.said()

        first.stop()
        asked = asyncio.create_task(first.buy(str(LATE)))  # waits in the socket of the one that hangs
        second = of.start("second")
        while second.process.poll() == 75 or not await asyncio.to_thread(second.ready):
            if second.process.poll() is not None:
                assert second.process.returncode == 75, second.said()
                second = of.start("second")
            await asyncio.sleep(0.1)
        await second.buys(str(SECOND))
        await of.until(lambda: of.orders() == {FIRST: 1, SECOND: 1})

        posted = of.venue.requests["submit"]
        first.wake()
        assert await first.left() == 75
        assert f"(process {second.process.pid}) took it" in first.said()
        assert "Traceback" not in first.said()
        await asyncio.gather(asked, return_exceptions=True)
        await asyncio.sleep(0.3)
        assert of.orders() == {FIRST: 1, SECOND: 1}, "the one that woke sent its order"
        assert of.venue.requests["submit"] == posted, "nor did it try to"

        await second.buys(str(SECOND))
        await of.until(lambda: of.orders() == {FIRST: 1, SECOND: 2})
        comparison = await second.compares()
        assert (comparison.get("agrees"), comparison.get("differences")) == (True, []), comparison
        second.process.terminate()
        assert await second.left() == 0
        position = {row["symbol"]: row["qty"] for row in of.venue.book.positions_json()}

        assert Decimal(str(position["BTCUSD"])) == FIRST + 2 * SECOND


@pytest.mark.slow
async def test_in_one_state_folder_the_lock_refuses_the_second_while_the_first_runs_or_hangs(tmp_path: Path) -> None:
    async with world(tmp_path, "") as of:
        first = of.start("first")
        await first.until_ready()
        for hangs in (False, True):
            if hangs:
                first.stop()
            words = (tmp_path / "first" / "err.txt").read_text()
            second = of.start("first")
            assert await second.left() == 75
            assert str(first.process.pid) in second.said()
            assert words == "" or "Traceback" not in words
        first.wake()
        assert await asyncio.to_thread(first.ready), "the one that leads goes on"
        first.process.terminate()
        assert await first.left() == 0
