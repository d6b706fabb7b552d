"""What the rows of a batch read besides its numbers: bars, rings of the history, sets of limits, and encoded names."""

from quantd.daemon.engine.planning.lots import Targets
from quantd.risk.limits.collars import Collars
from quantd.risk.monitor.ceilings import Bands
from quantd.risk.monitor.holdings import Holdings
from quantd.risk.pretrade.gate_bounds import Bounds, Cap
from quantd.risk.pretrade.judge import Gate
from quantd.risk.pretrade.loops import Loops
from quantd.risk.pretrade.scenes import Scene
from quantd.trading.fill_prices import Columns
from quantd.trading.history.rings import Ring
from quantd.trading.number_types import Bytes, Codes, ReadFloats, ReadInts, ReadRows


class Bars:
    """The closes of a block of the market, row by row, and the columns that fills need."""

    close_nano: ReadInts
    close: ReadFloats
    rows: ReadRows
    """The closes float64[R, N]; `close` has the same in one row."""
    columns: Columns

    def __init__(self, close_nano: ReadInts, close: ReadFloats, rows: ReadRows, columns: Columns) -> None:
        self.close_nano, self.close, self.rows, self.columns = close_nano, close, rows, columns


class Rings:
    """The rings of the history: known prices, and synchronous rows."""

    known: Ring
    by_date: Ring

    def __init__(self, known: Ring, by_date: Ring) -> None:
        self.known, self.by_date = known, by_date

    def put(self, closes: ReadRows, row: int) -> bool:
        """Append a row to both; False without a change where one of them cannot take it."""
        if not self.known.put(closes, row):
            return False
        if not self.by_date.put(closes, row):
            self.known.withdraw()
            return False
        return True

    def withdraw(self) -> None:
        """Take back the row of the last `put`."""
        self.known.withdraw()
        self.by_date.withdraw()


class Watched:
    """The bands of the levels of each watched book, the house first, and the holdings of one book after another.

    `rising` are those of levels that can only rise, for orders that are not filled yet.
    """

    bands: list[Bands]
    rising: list[Bands]
    holdings: Holdings

    def __init__(self, holdings: Holdings) -> None:
        self.bands, self.rising, self.holdings = [], [], holdings

    def keep(self, book: int, lots: ReadFloats, px: ReadFloats, equity: float, ring: Ring, rising: bool) -> bool:
        """Whether every level of a book of lots at prices of one lot surely stays; with `rising`, none rises."""
        holdings: Holdings = self.holdings
        holdings.value(lots, px)
        holdings.weigh(equity)
        bands: Bands = self.rising[book] if rising else self.bands[book]
        return bands.keep(holdings, ring)


class Sets:
    """The sets of limits, each with a gate, and the levels of the books.

    int8[A x N] `first` and int8[N] `house` get the reasons of cuts. `freed` by reason is 1 where sales may permit what
    it cut. `collars` has those of every set.
    """

    gates: list[Gate]
    bounds: list[Bounds]
    scenes: list[Scene]
    caps: list[list[Cap]]
    collars: list[Collars]
    loops: Loops
    targets: Targets
    watched: Watched
    first: Codes
    house: Codes
    freed: Codes

    def __init__(self, n: int, loops: Loops, watched: Watched, first: Codes, house: Codes, freed: Codes) -> None:
        self.gates, self.bounds, self.scenes, self.caps, self.collars = [], [], [], [], []
        self.loops, self.targets, self.watched = loops, Targets(n), watched
        self.first, self.house, self.freed = first, house, freed

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
