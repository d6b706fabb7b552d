"""Summary of a run at its end, the same for `run`, `backtest` and `replay`."""

from msgspec import Struct

from quantd.daemon.runtime.loop import Shell
from quantd.daemon.views.agent_rows import book_equities, shadow_equities
from quantd.daemon.views.struct_fields import struct_of
from quantd.trading.orders import money_text, quantities


class Summary(Struct, frozen=True):
    """The result of a run, as `--json` prints it. Money and quantities are decimal text.

    Counts cover the whole run. `wall_s` is the time in seconds that this process traded, and `symbol_bars_per_s` its
    speed. `books` are the equities of agents, `shadows` the equities of shadows (agents on paper), which are not part
    of the account.
    """

    run: str
    mode: str
    slices: int
    symbol_bars: int
    orders: int
    fills: int
    refused: int
    clipped: int
    alerts: int
    equity: str
    cash: str
    positions: dict[str, str]
    trips: int
    wall_s: float
    symbol_bars_per_s: float
    digest: str
    books: dict[str, str] = {}
    shadows: dict[str, str] = {}


def summary(shell: Shell, run: str, mode: str, wall_s: float, bars_before: int = 0) -> Summary:
    """The present state of a run; `bars_before` symbol-bars were processed before the `wall_s` seconds began."""
    state, tally = shell.state, shell.tally
    state.revalue()
    universe, house = state.universe, state.ledger.house
    return struct_of(
        Summary,
        tally,
        run=run,
        mode=mode,
        equity=money_text(state.equity_micro),
        cash=money_text(house.cash_micro),
        positions=quantities(universe, house.lots),
        wall_s=round(wall_s, 6),
        symbol_bars_per_s=round((tally.symbol_bars - bars_before) / wall_s, 1) if wall_s > 0 else 0.0,
        digest=shell.digest.hexdigest(),
        books={name: money_text(equity) for name, equity in book_equities(state).items()},
        shadows={name: money_text(equity) for name, equity in shadow_equities(state).items()},
    )
