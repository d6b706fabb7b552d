"""Stress scenarios: the loss of a book from named market moves, by instrument, sector or asset class.

What can go wrong: an instrument that a scenario does not mention seems to lose nothing. Its move is therefore NaN if
the scenario has no move for the symbol, its sector or `"*"` (all others), and the risk gate refuses orders that add to
it.

The shipped moves are price moves without income, rounded to a percent, one per sector: an order of magnitude, not a
forecast.
Instruments are mapped by `Instrument.sector`.
"""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from math import isfinite
from typing import Final

import numpy as np
from msgspec import Struct, field

from quantd.risk.measures.portfolio import Floats
from quantd.trading.instruments import Universe

REST: Final = "*"
"""Key of the move of all other instruments."""

ALIASES: Final = {
    "basic materials": "materials",
    "communication": "communication services",
    "communications": "communication services",
    "consumer cyclical": "consumer discretionary",
    "consumer defensive": "consumer staples",
    "cryptocurrency": "crypto",
    "financial services": "financials",
    "healthcare": "health care",
    "it": "information technology",
    "reits": "real estate",
    "tech": "information technology",
    "technology": "information technology",
    "telecom": "communication services",
    "telecommunication services": "communication services",
}
"""Common name -> key of GICS (Global Industry Classification Standard) or of the asset class."""


class Shock(Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """One stress scenario: price moves as fractions (-0.45 is a fall of 45 %).

    `moves` are by sector or asset class, in any letter case, `"*"` for all others. `symbols` take precedence. None
    means an unknown move (bitcoin in 2008), which `"*"` does not replace. Without `"*"`, all moves that are not listed
    are unknown. `horizon` describes the period. Raises ValueError with the key of an impossible move.
    """

    name: str
    moves: dict[str, float | None] = field(default_factory=dict)
    symbols: dict[str, float | None] = field(default_factory=dict)
    horizon: str = "at once"
    source: str = "set by the user"

    def __post_init__(self) -> None:
        """Raise ValueError without a name or a move, for a move that is no fraction from -1 to 10, and for a sector
        named twice."""
        if not self.name:
            raise ValueError("a stress scenario has no name; set name")
        if not self.moves and not self.symbols:
            raise ValueError(f"stress scenario {self.name}: no move is given; set moves or symbols")
        for kind, table in (("moves", self.moves), ("symbols", self.symbols)):
            for key, move in table.items():
                if move is not None and not (isfinite(move) and -1.0 <= move <= 10.0):
                    raise ValueError(
                        f"stress scenario {self.name}: {kind} {key} = {move} is not a fraction between -1 and 10; "
                        "write a fall of 45 % as -0.45"
                    )
        keys = [_sector_key(key) for key in self.moves]
        repeated = next((key for key in keys if keys.count(key) > 1), None)
        if repeated is not None:
            raise ValueError(f"stress scenario {self.name}: moves name the sector {repeated} twice; remove one of them")

    @cached_property
    def by_key(self) -> dict[str, float]:
        """The moves by key of each sector or asset class; NaN for None."""
        return {_sector_key(key): np.nan if move is None else move for key, move in self.moves.items()}

    @cached_property
    def by_symbol(self) -> dict[str, float]:
        """The moves by symbol; NaN for None."""
        return {key: np.nan if move is None else move for key, move in self.symbols.items()}


@lru_cache(maxsize=1_024)
def _sector_key(sector: str) -> str:
    """Return the key of a sector or asset class in `_MOVES`: lower case, single spaces, common names replaced."""
    name = " ".join(sector.lower().replace("_", " ").split())
    return ALIASES.get(name, name)


_MOVES: Final[dict[str, tuple[float | None, ...]]] = {
    REST: (-0.57, -0.34, -0.19, -0.10),
    "energy": (-0.47, -0.57, 0.59, 0.0),
    "materials": (-0.60, -0.37, -0.14, -0.08),
    "industrials": (-0.65, -0.42, -0.07, -0.08),
    "consumer discretionary": (-0.58, -0.34, -0.38, -0.15),
    "consumer staples": (-0.31, -0.25, -0.03, -0.06),
    "health care": (-0.40, -0.28, -0.04, -0.06),
    "financials": (-0.83, -0.43, -0.12, -0.06),
    "information technology": (-0.53, -0.31, -0.29, -0.15),
    "communication services": (-0.51, -0.30, -0.40, -0.15),
    "utilities": (-0.46, -0.36, -0.01, -0.12),
    "real estate": (-0.72, -0.38, -0.28, -0.15),
    "equity": (-0.57, -0.34, -0.19, -0.10),
    "small cap": (-0.59, -0.41, -0.22, -0.12),
    "developed equity": (-0.62, -0.33, -0.17, -0.10),
    "emerging equity": (-0.61, -0.31, -0.22, -0.12),
    "treasury 1-3y": (0.04, 0.02, -0.05, -0.04),
    "treasury 7-10y": (0.14, 0.06, -0.17, -0.14),
    "treasury 20y+": (0.18, 0.14, -0.33, -0.26),
    "inflation-linked bonds": (-0.04, -0.01, -0.18, -0.12),
    "bonds": (0.01, -0.02, -0.15, -0.11),
    "corporate bonds": (-0.14, -0.13, -0.20, -0.15),
    "high yield bonds": (-0.41, -0.22, -0.15, -0.07),
    "gold": (0.24, -0.04, -0.01, -0.08),
    "commodities": (-0.30, -0.26, 0.19, 0.0),
    "cash": (0.0, 0.0, 0.0, 0.0),
    "crypto": (None, -0.33, -0.64, -0.30),
}
"""Sector or asset class -> move in each scenario of `_SOURCES`."""

_SOURCES: Final = (
    (
        "2008",
        "2007-10-09 to 2009-03-09, 17 months",
        "S&P 500 sector indices, price (Standard & Poor's, The Outlook); funds' closes for the rest (IYR, IWM, EFA, "
        "EEM, SHY, IEF, TLT, TIP, AGG, LQD, HYG, GLD, DBC, BIL)",
    ),
    (
        "2020",
        "2020-02-19 to 2020-03-23, 23 sessions",
        "closes of sector funds (Select Sector SPDR, by S&P 500 sector), of the funds named for 2008 and of BTC-USD",
    ),
    (
        "2022",
        "calendar year 2022",
        "S&P 500 sector indices, price (S&P Dow Jones Indices); closes of the funds named for 2008 and of BTC-USD",
    ),
    (
        "rates+200bp",
        "at once, all maturities in parallel",
        "bonds: duration and convexity, -D x 0.02 + C x 0.02^2 / 2 (F. Fabozzi, Bond Markets, Analysis, and "
        "Strategies), at durations of 1.9, 7.5, 16.5, 6.5, 6.2, 8.3 and 3.5 years with the funds' usual convexity; "
        "the others are assumed shapes, about half of 2022 and no measured move",
    ),
)
"""(name, horizon, source) of each shipped scenario."""

SHIPPED: Final = {
    name: Shock(name, {key: moves[k] for key, moves in _MOVES.items()}, horizon=horizon, source=source)
    for k, (name, horizon, source) in enumerate(_SOURCES)
}
"""Name -> scenario. "equity" is the S&P 500, "developed" and "emerging equity" MSCI EAFE and Emerging Markets."""


def shock_returns(shocks: Sequence[Shock], universe: Universe) -> Floats:
    """Return float64[K, N], the move of each of N instruments in each of K scenarios: by symbol, else by sector,
    else the move of `"*"` (all others), else NaN."""
    returns = np.empty((len(shocks), universe.size))
    sectors = [_sector_key(sector) for sector in universe.sectors]
    for row, shock in zip(returns, shocks, strict=True):
        moves, symbols = shock.by_key, shock.by_symbol
        fallback = moves.get(REST, np.nan)
        row[:] = [moves.get(sector, fallback) for sector in sectors]
        for symbol in symbols.keys() & universe.index.keys():
            row[universe.index[symbol]] = symbols[symbol]
    return returns


def stress_losses(moves: Floats, weights: Floats) -> Floats:
    """Return float64[K], the loss of a book with `weights` float64[N] in each row of `moves` float64[K, N], as
    fractions of equity.

    Gains are negative. NaN where the move of a position is unknown.
    """
    held = weights != 0.0
    return -moves[:, held].dot(weights[held])


def worst_stress(shocks: Sequence[Shock], losses: Floats) -> tuple[str, float] | None:
    """Return (name, loss) of the scenario with the largest of the `losses` float64[K], of equal losses the first; None
    where no loss is known.
    """
    losses_by_name = [(shock.name, loss) for shock, loss in zip(shocks, losses.tolist(), strict=True) if loss == loss]
    return max(losses_by_name, key=lambda pair: pair[1]) if losses_by_name else None
