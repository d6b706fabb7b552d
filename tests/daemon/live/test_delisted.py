"""A symbol that the venue does not trade any more: the daemon starts, that symbol is halted, the others go on."""

from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

from quantd.adapters.brokers.venue_errors import VenueError
from quantd.daemon.assembly.brokers import untradable_of
from quantd.daemon.engine.venue.halts import UNLISTED
from quantd.trading.codec import decode
from quantd.trading.effects import Publish
from quantd.trading.orders import OrderBasket
from quantd.trading.sessions import DAY_NS
from tests.proofs.conformance.rigs.alpaca import UNIVERSE, AlpacaRig
from tests.support.live_runs import NOW, _quick, parts, read_entries, require_equal, slices, stretch, venue_of
from tests.support.remote_venue import Remote, Script, Venue
from tests.support.running_server import running_server

__all__ = ["_quick"]


class Delisting(Remote):
    """A venue whose list of instruments lacks some."""

    def __init__(self, venue: Venue, gone: dict[int, str]) -> None:
        super().__init__(venue)
        self.continues, self.untradable = False, gone


@pytest.mark.long
async def test_a_restart_with_a_held_symbol_that_was_delisted_halts_it_and_trades_the_others(tmp_path: Path) -> None:
    of = parts(policy="inverse_volatility")
    venue = venue_of(of)
    await stretch(tmp_path, of, Script(of.universe, DAY_NS, slices(6), venue, NOW), Remote(venue))
    before, lots = len(read_entries(tmp_path)), venue.has.lots[1]
    assert lots
    gone = Delisting(venue, {1: "its asset is inactive, not tradable"})
    run = await stretch(tmp_path, of, Script(of.universe, DAY_NS, slices(16), venue, NOW + 6 * DAY_NS), gone)
    assert gone.continues
    state = run.service.shell.state
    require_equal(run, venue)
    assert state.ledger.house.held[1] == venue.has.lots[1] >= lots, "its position stays visible, and is not sold"
    effects = [e for _, data in read_entries(tmp_path)[before:] for e in decode(data).effects]
    traded = {column for e in effects if isinstance(e, OrderBasket) for column in e.sym}
    assert traded == {0, 2}
    (alert,) = [e for e in effects if isinstance(e, Publish) and e.kind == "halted"]
    assert (alert.level, alert.symbol) == ("CRITICAL", "S1")
    assert "its position stays in the books" in alert.text
    # the venue trades it again: the halt ends by itself
    gone.untradable = {}
    run = await stretch(tmp_path, of, Script(of.universe, DAY_NS, slices(18), venue, NOW + 16 * DAY_NS), gone)
    assert 1 not in run.service.shell.state.restrictions.halted
    require_equal(run, venue)


@pytest.mark.long
async def test_a_first_start_with_a_symbol_that_the_venue_does_not_trade_trades_the_others(tmp_path: Path) -> None:
    of = parts()
    venue = venue_of(of)
    gone = Delisting(venue, {1: "its asset is inactive, not tradable"})
    run = await stretch(tmp_path, of, Script(of.universe, DAY_NS, slices(8), venue, NOW), gone)
    assert not gone.continues
    require_equal(run, venue)
    assert [bool(lots) for lots in venue.has.lots] == [True, False, True]
    assert run.service.shell.state.restrictions.halted[1][1].startswith(UNLISTED)
    effects = [e for _, data in read_entries(tmp_path) for e in decode(data).effects]
    assert [e.level for e in effects if isinstance(e, Publish) and e.kind == "halted"] == ["WARNING"]


# ---------------------------------------------------------------- what adapters report


rig = running_server(AlpacaRig)


@pytest.mark.parametrize("how", ["not tradable", "inactive", "both"])
@pytest.mark.parametrize("many", [False, True])
async def test_an_asset_that_is_known_and_not_traded_is_untradable_at_any_start(
    rig: AlpacaRig, how: str, many: bool
) -> None:
    asset = rig.server.book.assets["TLT"]
    asset.tradable, asset.status = how == "inactive", "active" if how == "not tradable" else "inactive"
    universe = msgspec.structs.replace(UNIVERSE, instruments=UNIVERSE.instruments * (8 if many else 1))
    broker = rig.adapter(universe=universe)
    try:
        await broker.open()
        columns = [k for k, symbol in enumerate(universe.symbols) if symbol == "TLT"]
        assert sorted(untradable_of(broker)) == columns
        await broker.account()
    finally:
        await broker.close()


async def test_an_asset_that_is_not_known_is_a_mistake_at_a_first_start_and_untradable_later(rig: AlpacaRig) -> None:
    del rig.server.book.assets["TLT"]
    first, later = rig.adapter(), rig.adapter()
    try:
        with pytest.raises(VenueError, match="TLT is not known to the venue"):
            await first.open()
        later.continues = True  # type: ignore[attr-defined]
        await later.open()
        assert list(untradable_of(later)) == [1]
    finally:
        await first.close()
        await later.close()


@pytest.mark.skipif(find_spec("ccxt") is None, reason="the extra ccxt is not installed")
@pytest.mark.parametrize("how", ["gone", "offline"])
async def test_a_market_that_ended_is_untradable_and_its_coins_stay_visible(how: str) -> None:
    from tests.proofs.conformance.rigs.ccxt import CcxtRig

    rig = CcxtRig()
    await rig.start()
    try:
        await rig.hold(1, 50)
        pair = rig._pair(1)
        if how == "gone":
            del rig.venue.pairs[pair.id]
            with pytest.raises(VenueError, match="ADA/USD is no market"):
                await rig.adapter().open()
        else:
            pair.status = "delisted"
        broker = rig.adapter()
        broker.continues = True  # type: ignore[attr-defined]
        await broker.open()
        assert list(untradable_of(broker)) == [1]
        assert (await broker.account()).lots[1] == 50
        assert await broker.trades(1) == []  # type: ignore[attr-defined]
        await broker.close()
    finally:
        await rig.stop()
