"""What the engine has given away never changes: arrays of a view and of a slice, and a state that was frozen."""

from collections.abc import Callable

import numpy as np

from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.trading.bars import FIELDS, Bars
from quantd.trading.history.rings import WINDOWS
from quantd.trading.instruments import Universe
from quantd.trading.market import Block, Floats, MarketSlice
from quantd.trading.view import PartView, View
from tests.support.eventful_year import LOOKBACK, RESTORED, SYMBOLS, Year, rotating

BLOCK = ("fresh", "open", "high", "low", "close", "volume", "open_nano", "close_nano")
PLAIN = ("universe", "cash", "equity", "time", "sample", "sample_time", "held_by")
"""Of a view: what is no array, or another view."""


def spread(rows: Floats) -> Floats:
    return np.asarray(rows.max(axis=0) - rows.min(axis=0))


ARRAYS: dict[str, Callable[[View, int], object]] = {
    "prices": lambda view, k: view.prices,
    "weights": lambda view, k: view.weights,
    "returns": lambda view, k: view.returns(k),
    "synchronous": lambda view, k: view.synchronous(k),
    "deviation": lambda view, k: view.deviation(k),
    "mean": lambda view, k: view.mean(k),
    "momentum": lambda view, k: view.momentum(k, 1),
    "covariance": lambda view, k: view.covariance(k),
    "shared": lambda view, k: view.shared(spread, k),
    "shared_by_date": lambda view, k: view.shared_by_date(spread, k),
    "bars": lambda view, k: view.bars(k),
    "macro": lambda view, k: view.macro("vix", k),
    "series": lambda view, k: view.series("esg", k),
}


class Kept:
    """Every array that it was given, with the bytes that it had then."""

    def __init__(self) -> None:
        self.arrays: list[tuple[str, np.ndarray, bytes]] = []  # type: ignore[type-arg]

    def keep(self, name: str, given: object) -> None:
        if isinstance(given, Bars):
            for field in ("session", *FIELDS):
                self.keep(f"{name}.{field}", getattr(given, field))
            return
        assert isinstance(given, np.ndarray), name
        self.arrays.append((name, given, given.tobytes()))

    def view(self, view: View, sample: int, kind: str = "view") -> None:
        for k in (1, LOOKBACK):
            for name, get in ARRAYS.items():
                self.keep(f"sample {sample}: {kind}.{name}({k})", get(view, k))

    def __call__(self, view: View) -> Floats:
        sample = view.sample
        self.view(view, sample)
        self.keep(f"sample {sample}: held_by", view.held_by(np.full(SYMBOLS, 0.25)).weights)
        if sample % 40 == 39:
            self.view(PartView(view, Universe(view.universe.instruments[:2]), (0, 1)), sample, "part")
        return rotating(view)

    def changed(self) -> list[str]:
        return [name for name, array, then in self.arrays if array.tobytes() != then]

    def writable(self) -> list[str]:
        return [name for name, array, _ in self.arrays if array.flags.writeable]


def test_every_array_of_a_view_is_in_the_table() -> None:
    public = {name for name in dir(View) if not name.startswith("_")}
    assert public == {*ARRAYS, *PLAIN}
    assert {name for name in vars(Block)["__slots__"] if isinstance(vars(MarketSlice).get(name), property)} >= {*BLOCK}


def test_no_array_of_a_view_or_of_a_slice_changes_in_a_year_or_can_be_written() -> None:
    kept = Kept()
    year = Year(kept)
    happened = []
    for number, moment in enumerate(year.moments()):
        happened += [moment] if moment else []
        for name in BLOCK:
            kept.keep(f"sample {number}: slice.{name}", getattr(year.slices[-1], name))
    assert happened == ["split", "dividend", "reload", "restore", "delisting", "carry-over"]
    assert RESTORED > WINDOWS * (LOOKBACK + 1), "the rings of returns are not rewound before the restore"
    assert len(kept.arrays) > 340 * 40
    assert kept.changed() == []
    assert kept.writable() == []


def test_a_frozen_state_and_the_state_made_of_it_do_not_change_while_the_engine_goes_on() -> None:
    year, frozen = Year(), []
    for number, _ in enumerate(year.moments()):
        if number % 50 == 45:
            data = freeze(year.state)
            frozen.append((data, bytearray(data), thaw(year.rules, data)))
            # the thread of a snapshot works on its state: the engine's own does not change
            frozen[-1][2].revalue()
            assert freeze(year.state) == data
    assert len(frozen) == 6
    for data, then, state in frozen:
        assert data == then
        assert freeze(state) == data
