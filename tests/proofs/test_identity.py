"""Account number, asset ids, host and name of the daemon are kept with the run, and a change is named before the next
order. The whole daemon is started again beside the same wire-level Alpaca."""

import socket
from decimal import Decimal
from pathlib import Path

import pytest

from quantd.daemon.app import Options
from quantd.daemon.recovery.stored_run import CannotStart
from tests.proofs.live_day import World
from tests.proofs.live_scene import Scene, configured, market, running
from tests.support.venues.alpaca_book import Listed

pytestmark = pytest.mark.long


def options(folder: Path, **more: bool) -> Options:
    """The options of `quantd run` with the configuration of the folder."""
    return Options(config=folder / "config.toml", quiet=True, **more)


async def bought(world: World, folder: Path) -> None:
    """A first start that buys each pair, and an orderly stop."""
    configured(folder)
    async with running(world, folder, options(folder)) as scene:
        await scene.holds()
        await scene.equal()


def renames(world: World, old: str, new: str, *, same_id: bool) -> None:
    """The venue renames a pair: the old one is inactive, and the position stands under the new one."""
    book = world.venue.book
    asset = book.assets[old]
    price, number = str(asset.price), asset.json()["id"]
    world.venue.list(new, price)
    book.positions[new] = book.positions.pop(old)
    asset.status, asset.tradable = "inactive", False
    if same_id:
        book.assets[new].id, asset.id = number, Listed(old, number=99).json()["id"]
    world.price[new] = world.price.pop(old)
    world.data.crypto[new] = world.data.crypto.pop(old)


async def raised(scene: Scene, words: str) -> list[str]:
    """The texts of all alerts once one has these words."""

    async def texts() -> list[str]:
        found = [alert["text"] for alert in (await scene.read("alerts")).get("alerts", [])]
        return found if any(words in text for text in found) else []

    found: list[str] = await scene.until(texts)
    return found


async def test_keys_of_another_account_are_refused_with_both_numbers_and_a_new_run_may_trade_it(tmp_path: Path) -> None:
    async with market(tmp_path) as world:
        await bought(world, tmp_path)
        book = world.venue.book
        account, sent = book.account_json, world.venue.requests["POST /v2/orders"]
        book.account_json = lambda: account() | {"account_number": "LIVE-OTHER-9"}  # type: ignore[method-assign]
        for _ in range(2):  # a refused start does not make the other account known
            with pytest.raises(
                CannotStart, match="of account LIVE-OTHER-9, and this run has traded in account PA0TEST"
            ):
                async with running(world, tmp_path, options(tmp_path)) as scene:
                    await scene.holds()
        assert world.venue.requests["POST /v2/orders"] == sent
        book.positions.clear()
        book.cash = Decimal(100_000)
        async with running(world, tmp_path, options(tmp_path, fresh=True)) as scene:  # the remedy of the message
            await scene.holds()
            await scene.equal()
        async with running(world, tmp_path, options(tmp_path)) as scene:
            await scene.equal()


async def test_an_account_that_changes_while_the_daemon_runs_is_named_and_stops_new_risk(tmp_path: Path) -> None:
    async with market(tmp_path) as world:
        configured(tmp_path)
        async with running(world, tmp_path, options(tmp_path)) as scene:
            await scene.holds()
            account = world.venue.book.account_json
            world.venue.book.account_json = lambda: account() | {"account_number": "PA9"}  # type: ignore[method-assign]
            assert "PA9" in (await scene.typed("reconcile")).stdout
            await scene.critical("the keys are of account PA9, and this run has traded in account PA0TEST")
            assert (await scene.read("status"))["switch"] == "REDUCE"


@pytest.mark.parametrize(
    "same_id", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["the id stays", "the id is new"]
)
async def test_a_renamed_symbol_is_one_alert_with_both_names_and_no_advice_to_write_it_off(
    tmp_path: Path, same_id: bool
) -> None:
    async with market(tmp_path) as world:
        configured(tmp_path)
        async with running(world, tmp_path, options(tmp_path)) as scene:
            await scene.holds()
            await scene.equal()
            renames(world, "SOL/USD", "SOX/USD", same_id=same_id)
            size = world.venue.book.positions["SOX/USD"].normalize()
            compared = await scene.typed("reconcile")
            assert same_id == (compared.returncode == 0), compared.stdout
            words = "the asset that the run has traded is SOXUSD" if same_id else f"the venue holds {size:f} SOXUSD"
            assert "SOL/USD" in await scene.critical(words)
            assert (await scene.typed("flatten --reason out")).returncode == 0
            text = await scene.critical("everything that the venue lets be closed is closed")
            assert "SOXUSD" in text
            assert "--adopt" not in text
            assert world.venue.book.positions == {"SOX/USD": size}
        # the remedy of the alert
        path = tmp_path / "config.toml"
        path.write_text(
            path.read_text()
            .replace('"ETH/USD", "SOL/USD"]', '"ETH/USD", "SOX/USD"]')
            .replace('symbol = "SOL/USD", lot', 'symbol = "SOX/USD", was = "SOL/USD", lot')
        )
        async with running(world, tmp_path, options(tmp_path, carry=True)) as scene:
            await scene.equal()
            held = (await scene.read("positions"))["positions"]
            assert [(row["symbol"], Decimal(row["qty"])) for row in held] == [("SOX/USD", size)], held


async def test_a_symbol_that_means_another_asset_is_halted_before_the_next_order(tmp_path: Path) -> None:
    async with market(tmp_path) as world:
        await bought(world, tmp_path)
        book = world.venue.book
        other = book.assets["SOL/USD"].id = Listed("SOL/USD", number=77).json()["id"]
        orders = len([order for order in book.orders.values() if order.symbol == "SOL/USD"])
        async with running(world, tmp_path, options(tmp_path)) as scene:
            text = await scene.critical("the symbol means another asset now")
            assert other in text
            await scene.typed("flatten --reason out")

            async def sold() -> bool:
                return set(book.positions) == {"SOL/USD"}

            await scene.until(sold)
        assert len([order for order in book.orders.values() if order.symbol == "SOL/USD"]) == orders


async def test_another_host_and_another_name_are_named_before_the_first_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with market(tmp_path) as world:
        await bought(world, tmp_path)
        here = socket.gethostname()
        async with running(world, tmp_path, options(tmp_path)) as scene:
            await scene.equal()
            alerts = [alert["text"] for alert in (await scene.read("alerts"))["alerts"]]
            assert not any("last traded by" in text for text in alerts)
        monkeypatch.setattr(socket, "gethostname", lambda: "cloned")
        path = tmp_path / "config.toml"
        path.write_text(path.read_text().replace('name = "day"', 'name = "night"'))
        async with running(world, tmp_path, options(tmp_path)) as scene:
            (text,) = [text for text in await raised(scene, "last traded by") if "last traded by" in text]
            assert f"host {here} and daemon day, and is now traded by host cloned and daemon night" in text
        async with running(world, tmp_path, options(tmp_path)) as scene:
            await scene.equal()
