"""The market data of the state in a snapshot: histories, marks, and volumes."""

from typing import NamedTuple

import numpy as np

from quantd.daemon.engine.state.engine_state import State
from quantd.trading.history import Ring
from quantd.trading.market import Floats

FrozenBars = tuple[int, bytes, bytes, bytes, bytes]


class FrozenMarket(NamedTuple):
    """The market data of a state as plain values for a snapshot; arrays as little-endian bytes."""

    rings: tuple[bytes, ...]
    counts: tuple[int, int, int, int]
    pending: list[tuple[int, bytes]]
    waiting: list[tuple[int, int]]
    known_actions: list[tuple[int, float, float]]
    sync_actions: list[tuple[int, int, float, float]]
    marks: tuple[bytes, ...]
    volumes: tuple[int, bytes]
    bars: FrozenBars | None
    macro: dict[str, bytes]
    """By name: values of each macro series at the samples."""


def freeze_market(state: State) -> FrozenMarket:
    """Histories, marks and volumes as the bytes of a snapshot."""
    history = state.history
    own_dates = () if history.own_dates is None else _freeze_ring(history.own_dates)
    own_dates_count = 0 if history.own_dates is None else history.own_dates.count
    return FrozenMarket(
        rings=(*_freeze_ring(history.known), *_freeze_ring(history.synchronous), *own_dates),
        counts=(history.known.count, history.synchronous.count, own_dates_count, 0),  # the last number is not read
        pending=[(key, row.tobytes()) for key, row in _pending(state).items()],
        waiting=history.waiting,
        known_actions=history.known_actions,
        sync_actions=history.sync_actions,
        marks=tuple(array.tobytes() for array in state.all_marks()),
        volumes=(state.volume_count, state.volumes[: state.volume_count].tobytes()),
        bars=None if history.bars is None else history.bars.freeze(),
        macro={} if history.macro is None else history.macro.freeze(),
    )


def _pending(state: State) -> dict[int, Floats]:
    """The closes that wait for a sample of their date, those of the last bar included; the state does not change."""
    history, columns = state.history, state.market_columns
    before = history.pending, columns.waiting
    history.pending = dict(history.pending)
    state.keep_closes()
    pending = history.pending
    history.pending, columns.waiting = before
    return pending


def thaw_market(state: State, f: FrozenMarket) -> None:
    """Restore the market data of `state` from the snapshot's values `f`.

    A ring has the prices and returns of the newest samples: `known` as they were known at each instant, `synchronous`
    with the closes of one date in all calendars.
    """
    history = state.history
    # `rings` has the prices and the returns of each ring: known, synchronous and, if any, own dates
    _thaw_ring(history.known, f.rings[0], f.rings[1], f.counts[0])
    history.joined = f.rings[2:4] == f.rings[:2] and f.counts[1] == f.counts[0]
    if history.joined:  # equal rings share their rows
        history.synchronous.follow(history.known)
    else:
        _thaw_ring(history.synchronous, f.rings[2], f.rings[3], f.counts[1])
    if f.rings[4:] or f.waiting:
        # an old snapshot has only the synchronous ring: the ring of own dates starts as its copy
        history.own_dates = history.synchronous.copy()
    if history.own_dates is not None and f.rings[4:]:
        _thaw_ring(history.own_dates, f.rings[4], f.rings[5], f.counts[2])
    if history.bars is not None and f.bars is not None:
        history.bars.thaw(f.bars)
    if history.macro is not None:
        history.macro.thaw(f.macro)
    history.pending = {k: np.frombuffer(row) for k, row in f.pending}
    history.waiting = list(f.waiting)
    history.known_actions = list(f.known_actions)
    history.sync_actions = list(f.sync_actions)
    marks, marks_nano, mark_ts, volume = f.marks
    state.set_marks(
        np.frombuffer(marks), np.frombuffer(marks_nano, np.int64), np.frombuffer(mark_ts, np.int64),
        np.frombuffer(volume),
    )  # fmt: skip
    state.volume_count = f.volumes[0]
    volumes = np.frombuffer(f.volumes[1]).reshape(-1, state.universe.size)
    state.volumes[: len(volumes)] = volumes


def _freeze_ring(ring: Ring) -> tuple[bytes, bytes]:
    """The prices and returns of a ring (the newest samples), oldest first, at most its `lookback` rows, as bytes."""
    ring.fill()
    start = max(0, ring.end - ring.lookback)
    return ring.prices[start : ring.end].tobytes(), ring.filled_returns[start : ring.end].tobytes()


def _thaw_ring(ring: Ring, prices: bytes, returns: bytes, count: int) -> None:
    """Restore a ring (the newest samples) from its prices and returns as bytes, and its `count` of all samples."""
    size = ring.prices.shape[1]
    ring.restore(np.frombuffer(prices).reshape(-1, size), np.frombuffer(returns).reshape(-1, size), count)
