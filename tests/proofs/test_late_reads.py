"""A venue whose lists are behind its truth, each by another delay, in every order: no difference is reported where
books and venue agree at the end.

Delays of 0 to 10 s, and the pauses between two readings, are a tenth as long here."""

import asyncio
import random
from decimal import Decimal
from pathlib import Path

import pytest

from quantd.daemon.app import Options
from quantd.daemon.live import reconciliation
from tests.proofs.live_day import POLICY, World
from tests.proofs.live_scene import SCALE, Scene, configured, market, running

pytestmark = pytest.mark.long

LISTS = (
    "/v2/account", "/v2/positions", "/v2/orders", "/v2/orders/{id}", "/v2/orders:by_client_order_id",
    "/v2/account/activities", "/v2/account/activities/{type}", "/stream",
)  # fmt: skip
"""What the venue tells, each from another of its machines."""


@pytest.fixture(autouse=True)
def _tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "AGAIN_S", reconciliation.AGAIN_S / 10)


async def compared(scene: Scene) -> None:
    """One comparison, as often as the daemon is asked."""
    async with scene.api() as http, http.post("reconcile", json={"how": "", "reason": "look"}) as answer:
        await answer.read()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
async def test_lists_that_are_behind_by_0_to_10_s_each_are_no_difference(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    delays = [k / (len(LISTS) - 1) for k in range(len(LISTS))]
    rng.shuffle(delays)
    world = World(tmp_path, SCALE, seed)
    world.venue.lags = dict(zip(LISTS, delays, strict=True))
    async with market(tmp_path, world):
        path = configured(tmp_path)
        (tmp_path / "rotating.py").write_text(POLICY)
        async with running(world, tmp_path, Options(config=path, quiet=True)) as scene:
            await scene.holds()
            end = asyncio.get_running_loop().time() + 15.0
            while asyncio.get_running_loop().time() < end:
                if rng.random() < 0.3:
                    kind, amount = rng.choice([("CSD", 50), ("CSW", -50)])
                    world.venue.book.move_cash(kind, Decimal(amount))
                await compared(scene)
                await asyncio.sleep(rng.uniform(0.0, 0.5))
            await scene.equal()
            alerts = (await scene.read("alerts"))["alerts"]
            texts = [alert["text"] for alert in alerts if alert["level"] == "CRITICAL"]
            late = [text for text in texts if "no answer yet about the bars" in text]  # on a slow machine
            assert texts == late
            status = await scene.read("status")
            assert late or status["switch"] == "RUN", status
            assert len(world.venue.book.orders) > 6, "it traded"


async def test_a_difference_that_lasts_is_reported(tmp_path: Path) -> None:
    world = World(tmp_path, SCALE, 1)
    world.venue.lags = dict.fromkeys(LISTS, 1.0)
    options = Options(config=configured(tmp_path), quiet=True)
    async with market(tmp_path, world), running(world, tmp_path, options) as scene:
        await scene.holds()
        await scene.equal()
        world.venue.book.positions["SOL/USD"] -= 1

        async def differs() -> bool:
            return "1 SOL/USD less" in (await scene.typed("reconcile")).stdout

        await scene.until(differs)
        assert "1 SOL/USD less" in await scene.critical("reconciliation")
