"""Encodes events and effects as bytes for the journal, and decodes them."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from quantd.trading.effects import Ask, AskRecord, Effect, JournalEffect, LimitMoved, Planned, Refused, Shadowed
from quantd.trading.events import Bars, Decided, Event, JournalEvent, SliceRef
from quantd.trading.market import Block, Floats, MarketSlice
from quantd.trading.orders import OrderBasket
from quantd.trading.view import Memory

CODEC_VERSION: Final = 10
"""Version of the journal's format.

1: plans and baskets have all limits in `values`, plans also in `values_before`. 2: only limits that cut a symbol or
are at 60 % of their bound or more. 3 adds LimitMoved. 4 adds PriceJumped and JumpExplained. 5 adds Refused, and
`limits` of Approved. 6 adds CancelRequested and ProposalReviewed. 7 adds OrderSettled, `available`, `orders` and `run`
of Reconciled, and `units_nano` and `ahead` of Flow. 8 adds `key` and `request` of the events
that a request makes. 9 adds `signed` of Approved and ProposalReviewed. 10 adds `who` and
`asked_ns` of Reloaded. One decoder reads all versions.
"""


class Entry(Struct, frozen=True, array_like=True):
    """A journal entry: one event of the engine and the effects that followed; a replay computes the effects again
    and compares."""

    event: JournalEvent
    effects: list[JournalEffect]


class _Effects(Struct, frozen=True, array_like=True):
    """A journal entry of which only the effects are decoded; the event stays raw bytes."""

    event: msgspec.Raw
    effects: list[JournalEffect]


_effects_decoder = msgspec.msgpack.Decoder(_Effects)

Values = dict[str, tuple[float, float]]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


def bars_of(market: MarketSlice) -> Bars:
    """Convert a slice (the bars of one instant) of a live feed to its journal form, with all its columns."""
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
    """Convert the journal form that `bars_of` returned back to a slice (the bars of one instant), with prices equal
    to the last bit."""
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
    """Encode one journal entry. A slice (the bars of one instant) is stored as its index in a recorded feed, or with
    all columns when the feed is `live`; an Ask is stored without its view."""
    if isinstance(event, MarketSlice):
        stored: JournalEvent = bars_of(event) if live else SliceRef(event.index)
    else:
        stored = event
    # -1: the policy is the agent's own
    requested: list[JournalEffect] = [
        AskRecord(effect.round, effect.agent, -1 if effect.policy == effect.agent else effect.policy)
        if isinstance(effect, Ask)
        else effect
        for effect in effects
    ]
    return _encoder.encode(Entry(stored, requested))


def decode(data: bytes) -> Entry:
    """Decode an entry written by `encode`. Raises msgspec.DecodeError or ValidationError for invalid bytes."""
    return _decoder.decode(data)


def effects_of(data: bytes) -> list[JournalEffect]:
    """Decode only the effects of a journal entry. Raises msgspec.DecodeError or ValidationError for invalid bytes."""
    return _effects_decoder.decode(data).effects


def same(recorded: Entry, computed: Entry) -> bool:
    """Whether a computed journal entry equals the recorded one, apart from fields that the record's codec version
    lacks.
    """
    comparable = computed.effects
    for newer_kind in (LimitMoved, Refused):  # of versions 3 and 5
        if not any(type(effect) is newer_kind for effect in recorded.effects):
            comparable = [effect for effect in comparable if type(effect) is not newer_kind]
    return recorded.event == computed.event and _same(recorded.effects, comparable)


def _same(recorded: Sequence[JournalEffect], computed: Sequence[JournalEffect]) -> bool:
    return len(recorded) == len(computed) and all(map(_equal, recorded, computed))


def _equal(recorded: JournalEffect, computed: JournalEffect) -> bool:
    """Whether a computed effect equals the recorded one in everything that the record has.

    A plan or basket (orders of one instant) recorded by codec version 1 has the values of all limits; of these only the
    values that are computed too are compared. A Shadowed effect has the effects on a shadow agent, which is simulated
    beside the account.
    """
    if isinstance(recorded, Shadowed) and isinstance(computed, Shadowed):
        return (recorded.agent, recorded.name) == (computed.agent, computed.name) and _same(
            recorded.effects, computed.effects
        )
    if isinstance(recorded, Planned) and isinstance(computed, Planned) and len(recorded.agents) == len(computed.agents):
        agents = [
            replace(recorded_plan, values=_common(recorded_plan.values, computed_plan.values))
            for recorded_plan, computed_plan in zip(recorded.agents, computed.agents, strict=True)
        ]
        recorded = replace(recorded, agents=agents, values_before={}, values=_common(recorded.values, computed.values))
    elif isinstance(recorded, OrderBasket) and isinstance(computed, OrderBasket):
        recorded = replace(recorded, values=_common(recorded.values, computed.values))
    return _encoder.encode(recorded) == _encoder.encode(computed)


def _common(recorded: Values, computed: Values) -> Values:
    """Return the recorded values; if the record is of codec version 1, only those that `computed` has too.

    A record of version 1 has the values of all limits, and so always the value of the limit `cash`.
    """
    return {key: pair for key, pair in recorded.items() if key in computed} if "cash" in recorded else recorded


def floats(data: bytes) -> Floats:
    """Return read-only float64[N] from little-endian bytes."""
    return np.frombuffer(data, dtype="<f8")


def memory_of(decided: Decided) -> Memory:
    """Return the policy's memory in a recorded answer: name -> read-only array."""
    return {name: floats(data).reshape(shape) for name, (shape, data) in decided.memory.items()}
