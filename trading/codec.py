"""Encodes events and effects as bytes for the journal, and decodes them."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from quantd.trading.effects import Ask, Asked, Effect, JournalEffect, LimitMoved, Planned, Refused, Shadowed
from quantd.trading.events import Bars, Decided, Event, JournalEvent, SliceRef
from quantd.trading.market import Block, Floats, MarketSlice
from quantd.trading.orders import OrderBasket
from quantd.trading.view import Memory

CODEC_VERSION: Final = 7
"""Version 1 has all limits in `values` of plans and baskets, and `values_before` of plans. Version 2 has only limits
that cut a symbol or stand at 60 % of their bound. Version 3 adds LimitMoved. Version 4 adds PriceJumped and
JumpExplained. Version 5 adds Refused, and the limits that an Approved names. Version 6 adds CancelRequested and
ProposalReviewed. Version 7 adds `available`, `orders` and `run` of Reconciled, OrderSettled, and units of an instrument
to Flow. One decoder reads all."""


class Entry(Struct, frozen=True, array_like=True):
    """One event with its effects: the journal stores it and a replay compares it."""

    event: JournalEvent
    effects: list[JournalEffect]


class _Effects(Struct, frozen=True, array_like=True):
    """An entry whose event is not decoded."""

    event: msgspec.Raw
    effects: list[JournalEffect]


_effects_decoder = msgspec.msgpack.Decoder(_Effects)

Values = dict[str, tuple[float, float]]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


def bars_of(market: MarketSlice) -> Bars:
    """Convert a live slice to its journal form, which contains the price columns."""
    columns = np.stack([market.open, market.high, market.low, market.close, market.volume])
    return Bars(
        ts_open=market.ts_open,
        ts_event=market.ts_event,
        ts_seen=market.ts_seen,
        key=market.key,
        fresh=market.fresh.tobytes(),
        open_nano=market.open_nano.tobytes(),
        close_nano=market.close_nano.tobytes(),
        columns=columns.tobytes(),
    )


def slice_of(bars: Bars) -> MarketSlice:
    """Convert the journal form from `bars_of` back to a slice, with bit-identical prices."""
    size = len(bars.fresh)
    columns = np.frombuffer(bars.columns).reshape(5, 1, size)
    block = Block(
        ts_open=np.array([bars.ts_open]),
        ts_event=np.array([bars.ts_event]),
        ts_seen=np.array([bars.ts_seen]),
        key=np.array([bars.key]),
        open=columns[0],
        high=columns[1],
        low=columns[2],
        close=columns[3],
        volume=columns[4],
        fresh=np.frombuffer(bars.fresh, dtype=np.bool_).reshape(1, size),
        open_nano=np.frombuffer(bars.open_nano, dtype=np.int64).reshape(1, size),
        close_nano=np.frombuffer(bars.close_nano, dtype=np.int64).reshape(1, size),
    )
    return MarketSlice(block, 0)


def encode(event: Event, effects: Sequence[Effect], live: bool = False) -> bytes:
    """Encode one journal entry. A slice becomes its number, or its columns when the feed is live; an Ask loses its
    view."""
    if isinstance(event, MarketSlice):
        stored: JournalEvent = bars_of(event) if live else SliceRef(event.index)
    else:
        stored = event
    requested: list[JournalEffect] = [
        Asked(e.round, e.agent, -1 if e.policy == e.agent else e.policy) if isinstance(e, Ask) else e for e in effects
    ]
    return _encoder.encode(Entry(stored, requested))


def decode(data: bytes) -> Entry:
    """Decode an entry written by `encode`. Raises msgspec.DecodeError or ValidationError for invalid bytes."""
    return _decoder.decode(data)


def effects_of(data: bytes) -> list[JournalEffect]:
    """Decode the effects of an entry only. Raises as `decode` does."""
    return _effects_decoder.decode(data).effects


def same(recorded: Entry, computed: Entry) -> bool:
    """Whether an entry repeats a recorded one: equal, except for what its version recorded."""
    now = computed.effects
    for later in (LimitMoved, Refused):  # of versions 3 and 5
        if not any(type(effect) is later for effect in recorded.effects):
            now = [effect for effect in now if type(effect) is not later]
    return recorded.event == computed.event and _same(recorded.effects, now)


def _same(recorded: Sequence[JournalEffect], computed: Sequence[JournalEffect]) -> bool:
    return len(recorded) == len(computed) and all(map(_equal, recorded, computed))


def _equal(then: JournalEffect, now: JournalEffect) -> bool:
    if isinstance(then, Shadowed) and isinstance(now, Shadowed):
        return (then.agent, then.name) == (now.agent, now.name) and _same(then.effects, now.effects)
    if isinstance(then, Planned) and isinstance(now, Planned) and len(then.agents) == len(now.agents):
        agents = [
            replace(one, values=_common(one.values, other.values))
            for one, other in zip(then.agents, now.agents, strict=True)
        ]
        then = replace(then, agents=agents, values_before={}, values=_common(then.values, now.values))
    elif isinstance(then, OrderBasket) and isinstance(now, OrderBasket):
        then = replace(then, values=_common(then.values, now.values))
    return _encoder.encode(then) == _encoder.encode(now)


def _common(then: Values, now: Values) -> Values:
    """The values of version 1, which always have `cash`, that are in `now` too; others unchanged."""
    return {key: pair for key, pair in then.items() if key in now} if "cash" in then else then


def floats(data: bytes) -> Floats:
    """Return read-only float64[N] from little-endian bytes."""
    return np.frombuffer(data, dtype="<f8")


def memory_of(decided: Decided) -> Memory:
    """The memory that an answer carries, as arrays that cannot be written to."""
    return {name: floats(data).reshape(shape) for name, (shape, data) in decided.memory.items()}
