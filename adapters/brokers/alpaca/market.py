"""Checks before trading: Alpaca's clock, and the instruments and sizes that it trades."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from quantd.adapters.brokers.alpaca.connection import AlpacaSettings, Rest
from quantd.adapters.brokers.alpaca.wire import Asset, Clock, Garbled, instant, is_crypto, nano
from quantd.adapters.exchange.numbers import text_of
from quantd.trading.display_text import instant_text
from quantd.trading.instruments import NANO, Instrument, Universe

ONE_BY_ONE: Final = 40
"""Maximum number of symbols queried one by one; for more, the list of all assets is requested."""

_asset = msgspec.json.Decoder(Asset)

Mistakes = list[tuple[str, str]]
"""(what is wrong, its remedy)."""


async def refuse_clock(client: Rest, settings: AlpacaSettings, now: Callable[[], int]) -> Mistakes:
    """Compare the venue's clock with ours, with allowance for the network delay; no mistakes if they agree.

    Raises ConnectionError or VenueError.
    """
    sent = now()
    answer = await client.read("v2/clock")
    received = now()
    try:
        venue_time = instant(answer.value(Clock).timestamp)
    except Garbled as wrong:
        return [(f"its clock says {wrong}", "try again later")]
    # the venue's clock was read between our two readings; only a difference beyond them counts
    if max(sent - venue_time, venue_time - received, 0) <= settings.max_skew_s * NANO:
        return []
    return [
        (
            f"its clock says {instant_text(venue_time)} and ours {instant_text(received)}",
            "let NTP set this machine's clock",
        )
    ]


class Listing(NamedTuple):
    """The venue's assets by symbol, the reasons why columns (symbols of the universe) are untradable, and mistakes
    with their remedies."""

    assets: dict[str, Asset]
    untradable: dict[int, str]
    mistakes: Mistakes


async def read_listing(
    client: Rest, universe: Universe, known: Mapping[str, str] = MappingProxyType({}), *, continues: bool = False
) -> Listing:
    """Compare the universe with the venue's assets. `known` has the ids of the assets that the run has traded, by
    symbol.

    A symbol that the venue knows and does not trade is untradable: it was delisted. A symbol that the venue does not
    know is a mistake. If the run `continues` an earlier one, an unknown symbol is untradable instead, because the venue
    traded it when the run began. A symbol that means another asset than before is untradable too.

    At most ONE_BY_ONE symbols are queried one by one; for more, the list of all assets is read. Untradable columns of
    the universe have the reason as text.
    """
    if universe.size <= ONE_BY_ONE:
        assets = dict(zip(universe.symbols, await _assets_one_by_one(client, universe.symbols), strict=True))
    else:
        assets = await _assets_from_list(client, universe.symbols)
        # the list has active assets only
        absent = [symbol for symbol in universe.symbols if symbol not in assets][:ONE_BY_ONE]
        assets |= dict(zip(absent, await _assets_one_by_one(client, absent), strict=True))
    untradable: dict[int, str] = {}
    wrong: Mistakes = []
    traded_ids = [known.get(symbol, "") for symbol in universe.symbols]
    for column, instrument in enumerate(universe.instruments):
        asset = assets.get(instrument.symbol)
        if asset is None and not continues:
            wrong.append(
                (
                    f"{instrument.symbol} is not known to the venue",
                    f"remove {instrument.symbol} from [universe] symbols",
                )
            )
        elif asset is None:
            untradable[column] = "the venue does not know it any more"
        elif traded_ids[column] not in ("", asset.id):
            untradable[column] = (
                f"the symbol means another asset now, {asset.id} in place of {traded_ids[column]}. Stop, and start "
                "with --carry to trade the new asset"
            )
        elif asset.status != "active" or not asset.tradable:
            untradable[column] = f"its asset is {asset.status}, {'' if asset.tradable else 'not '}tradable"
        else:
            wrong += _mistakes_of(instrument, asset, universe.currency)
    gone = {column: traded_ids[column] for column in untradable if traded_ids[column]}
    for column, asset in zip(gone, await _assets_one_by_one(client, list(gone.values())), strict=True):
        if asset is not None and asset.symbol != universe.symbols[column]:
            untradable[column] += f"; {renamed_text(universe.symbols[column], asset.symbol)}"
    return Listing({symbol: asset for symbol, asset in assets.items() if asset is not None}, untradable, wrong)


def renamed_text(symbol: str, name: str) -> str:
    """Return the sentence about an asset that the venue lists under another symbol, `name`, with the remedy."""
    return (
        f'the asset that the run has traded is {name} at the venue now. Give {name} the key was = "{symbol}" in '
        "[[universe.instruments]], and start with --carry"
    )


async def _assets_one_by_one(client: Rest, symbols: Sequence[str]) -> Sequence[Asset | None]:
    async def asset_of(symbol: str) -> Asset | None:
        answer = await client.read(f"v2/assets/{quote(symbol, safe='')}")
        return None if answer.status in (404, 422) else answer.value(Asset)

    return await asyncio.gather(*map(asset_of, symbols))


async def _assets_from_list(client: Rest, symbols: Sequence[str]) -> dict[str, Asset | None]:
    symbol_set = set(symbols)
    by_symbol: dict[str, Asset | None] = {}
    for kind in sorted({"crypto" if is_crypto(symbol) else "us_equity" for symbol in symbols}):
        answer = await client.read("v2/assets", {"status": "active", "asset_class": kind})
        assets = client.unreadable.items("asset", answer.items(), _asset.decode)
        by_symbol |= {asset.symbol: asset for asset in assets if asset.symbol in symbol_set}
    return by_symbol


def _mistakes_of(instrument: Instrument, asset: Asset, currency: str) -> Mistakes:
    """Return how the configuration of an instrument contradicts the venue: in currency, quantity step or fractions."""
    symbol = instrument.symbol
    remove = f"remove {symbol} from [universe] symbols"
    wrong: Mistakes = []
    if instrument.currency != currency:
        wrong.append((f"{symbol} is in {instrument.currency}, the account in {currency}", remove))
    if is_crypto(symbol):
        step = nano(asset.min_trade_increment) or 1
        if instrument.lot_nano % step:
            least = text_of(step)
            wrong.append(
                (f"a lot of {symbol} is {text_of(instrument.lot_nano)}, the venue's step {least}", f"set lot = {least}")
            )
    elif instrument.lot_nano % NANO and not asset.fractionable:
        wrong.append(
            (f"{symbol} trades in whole shares only, its lot is {text_of(instrument.lot_nano)}", "set lot = 1")
        )
    return wrong


def unlent(universe: Universe, assets: dict[str, Asset]) -> tuple[int, ...]:
    """Return the columns (indices in the universe) that cannot be sold short: crypto pairs, and shares that are not
    easy to borrow."""
    return tuple(
        column
        for column, symbol in enumerate(universe.symbols)
        if (asset := assets.get(symbol)) is None or is_crypto(symbol) or not (asset.shortable and asset.easy_to_borrow)
    )
