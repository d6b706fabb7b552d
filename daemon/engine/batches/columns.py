"""What the rows of a batch read besides its numbers: bars, rings of the history, sets of limits, and encoded names."""

from quantd.daemon.engine.batches.loops import BatchLoops
from quantd.daemon.engine.planning.lots import Targets
from quantd.risk.limits.collars import Collars
from quantd.risk.pretrade.gate_bounds import Bounds, Cap
from quantd.risk.pretrade.judge import Gate
from quantd.risk.pretrade.loops import Loops
from quantd.risk.pretrade.scenes import Scene
from quantd.trading.fill_prices import Columns
from quantd.trading.number_types import Bytes, Codes, FloatRows, Floats, ReadFloats, ReadInts, float_zeros


class Bars:
    """The closes of a block of the market, row by row, and the columns that fills need."""

    close_nano: ReadInts
    close: ReadFloats
    columns: Columns

    def __init__(self, close_nano: ReadInts, close: ReadFloats, columns: Columns) -> None:
        self.close_nano, self.close, self.columns = close_nano, close, columns


class Rings:
    """Prices and returns of the history, row by row: of the known prices, then of the synchronous rows.

    `columns` float64[N, W] are the synchronous returns by symbol.
    """

    known: Floats
    known_returns: Floats
    by_date: Floats
    date_returns: FloatRows
    columns: FloatRows

    def __init__(
        self, known: Floats, known_returns: Floats, by_date: Floats, date_returns: FloatRows, columns: FloatRows
    ) -> None:
        self.known, self.known_returns, self.by_date, self.date_returns = known, known_returns, by_date, date_returns
        self.columns = columns


class Sets:
    """The sets of limits, each with a gate, and the scratch of the levels.

    int8[A x N] `first` and int8[N] `house` get the reasons of cuts. `freed` by reason is 1 where sales may permit what
    it cut. `collars` has those of every set. `losses` float64 has room for the columns of the ring.
    """

    gates: list[Gate]
    bounds: list[Bounds]
    scenes: list[Scene]
    caps: list[list[Cap]]
    collars: list[Collars]
    loops: Loops
    targets: Targets
    own: BatchLoops
    totals: Floats
    squared: Floats
    losses: Floats
    first: Codes
    house: Codes
    freed: Codes

    def __init__(self, n: int, loops: Loops, first: Codes, house: Codes, freed: Codes) -> None:
        self.gates, self.bounds, self.scenes, self.caps, self.collars = [], [], [], [], []
        self.loops, self.targets, self.own = loops, Targets(n), BatchLoops()
        self.totals, self.squared, self.losses = float_zeros(n), float_zeros(n), float_zeros(0)
        self.first, self.house, self.freed = first, house, freed

    def widen(self, width: int) -> None:
        """Room for the losses of so many columns."""
        if width > len(self.losses):
            self.losses = float_zeros(width)

    def add(self, gate: Gate, bounds: Bounds, scene: Scene, caps: list[Cap]) -> None:
        """Add a set of limits, of which no scene but this one is judged."""
        self.gates.append(gate)
        self.bounds.append(bounds)
        self.scenes.append(scene)
        self.caps.append(caps)


class Encoded:
    """The rows of the digest, uint8 `buffer`, and the encoded `names` of symbols and books."""

    buffer: Bytes
    names: Bytes

    def __init__(self, buffer: Bytes, names: Bytes) -> None:
        self.buffer, self.names = buffer, names
