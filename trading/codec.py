"""Events and effects as bytes, for the journal, and back. One format, one version."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from quantd.trading.effects import Ask, Asked, Effect, JournalEffect
from quantd.trading.events import Bars, Decided, Event, JournalEvent, SliceRef
from quantd.trading.market import Block, Floats, MarketSlice
from quantd.trading.view import Memory

CODEC_VERSION: Final = 1


class Entry(Struct, frozen=True, array_like=True):
    """One event with the effects it had: what the journal keeps and a replay compares."""

    event: JournalEvent
    effects: list[JournalEffect]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


def bars_of(market: MarketSlice) -> Bars:
    """A live slice with its columns, for the journal."""
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
    """The slice that `bars_of` wrote; prices back to the last bit."""
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


def journal_effect(effect: Effect) -> JournalEffect:
    """An effect as the journal keeps it: an Ask without its view."""
    if not isinstance(effect, Ask):
        return effect
    return Asked(effect.round, effect.agent, -1 if effect.policy == effect.agent else effect.policy)


def journal_event(event: Event, live: bool) -> JournalEvent:
    """An event as the journal keeps it: a slice by number, or by its columns when the feed is live."""
    if isinstance(event, MarketSlice):
        return bars_of(event) if live else SliceRef(event.index)
    return event


def encode(event: Event, effects: Sequence[Effect], live: bool = False) -> bytes:
    """One journal entry."""
    return _encoder.encode(Entry(journal_event(event, live), [journal_effect(e) for e in effects]))


def decode(data: bytes) -> Entry:
    """The entry `encode` wrote; msgspec.DecodeError or ValidationError when the bytes are not one."""
    return _decoder.decode(data)


def floats(data: bytes) -> Floats:
    """float64[N], read-only, from little-endian bytes."""
    return np.frombuffer(data, dtype="<f8")


def memory_of(decided: Decided) -> Memory:
    """The memory that an answer carries, as arrays that cannot be written to."""
    return {name: floats(data).reshape(shape) for name, (shape, data) in decided.memory.items()}
