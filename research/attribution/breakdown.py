"""Tables of what made the return of a period: assets, sectors, agents, decisions, execution and costs.

Contributions are fractions of the account's equity. Each table adds up to the time-weighted return of the period.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.research.attribution.attribution_text import NO_SECTORS, aligned, percent
from quantd.research.attribution.book_history import CASH, BookHistory, Trades
from quantd.research.attribution.linking import period_return, profit_factors
from quantd.research.attribution.profit import COSTS, EXECUTION, KINDS, Profit, profit
from quantd.trading.market import Floats, Ints

UNKNOWN_SECTOR: Final = "unknown"

Table = dict[str, float]
"""Name -> contribution."""


class Activity(Struct, frozen=True):
    """Trading of one book.

    `turnover_total` is the value bought and sold in fills of the whole period, not a year as the metric `turnover`.
    `crossed` is that traded with other agents. Both are over the account's mean equity. `cost` is the sum of slippage,
    commission, borrow fees and other charges in account currency. A gain counts against it. `trades` is the number of
    fills.
    """

    turnover_total: float
    crossed: float
    cost: float
    trades: int


class Breakdown(Struct, frozen=True):
    """The time-weighted return of a period and its parts.

    `execution` is the sum of timing, slippage and commission; `decision` is the rest. `by_agent_and_asset` has one
    table for each agent. `activity` is by agent.
    """

    total: float
    by_asset: Table
    by_sector: Table
    by_agent: Table
    by_kind: Table
    decision: float
    execution: float
    by_agent_and_asset: dict[str, Table]
    activity: dict[str, Activity]

    def __str__(self) -> str:
        lines = [f"time-weighted return {percent(self.total)}: {', '.join(_parts(self))}"]
        for title in ("asset", "sector", "agent", "kind"):
            table: Table = getattr(self, f"by_{title}")
            rows = [(name, percent(value)) for name, value in table.items()]
            has_sectors = title != "sector" or not table.keys() <= {UNKNOWN_SECTOR, CASH}
            lines += ["", *(aligned((title, "contribution"), rows) if has_sectors else [NO_SECTORS])]
        trading = [
            (name, f"{book.turnover_total:.2f}", f"{book.crossed:.2f}", f"{book.cost:,.2f}", f"{book.trades:,}")
            for name, book in self.activity.items()
        ]
        lines += ["", *aligned(("agent", "turnover in all", "crossed", "cost", "fills"), trading)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


def _parts(attribution: Breakdown) -> tuple[str, str]:
    return f"decisions {percent(attribution.decision)}", f"execution {percent(attribution.execution)}"


def breakdown(history: BookHistory) -> Breakdown:
    """Break the return of a history down. Raises ValueError where an interval loses the whole account."""
    parts = profit(history)
    factors = profit_factors(history)
    names = (*history.symbols, CASH)
    by_both = parts.summed("agent", "symbol", factors=factors)
    by_symbol = by_both.sum(axis=0)
    by_kind = _table(KINDS, parts.summed("kind", factors=factors))
    execution = sum(by_kind[name] for name in EXECUTION)
    return Breakdown(
        total=period_return(history.returns()),
        by_asset=_table(names, by_symbol),
        by_sector=sector_table(history, by_symbol),
        by_agent=_table(history.agents, by_both.sum(axis=1)),
        by_kind=by_kind,
        decision=sum(by_kind.values()) - execution,
        execution=execution,
        by_agent_and_asset={
            agent: _table(names, row) for agent, row in zip(history.agents, by_both, strict=True)
        },
        activity=activity(history, parts),
    )  # fmt: skip


def sector_table(history: BookHistory, by_symbol: Floats) -> Table:
    """Sum float64[N+1] amounts by symbol into sectors, and CASH for the last of them."""
    names = [*(sector or UNKNOWN_SECTOR for sector in history.sectors), CASH]
    unique, places = np.unique(names, return_inverse=True)
    return _table(unique.tolist(), _totals(places, by_symbol, len(unique)))


def activity(history: BookHistory, parts: Profit) -> dict[str, Activity]:
    """Return the trading of each book."""
    trades, books = history.trades, len(history.agents)
    mean_equity = float(history.equity.mean())
    scale = 1.0 / mean_equity if mean_equity > 0.0 else 0.0
    fills = trades.rows(~trades.crossed)
    bought, crossed = (_traded(rows, books) * scale for rows in (fills, trades.rows(trades.crossed)))
    cost = -parts.reduced(COSTS).summed("agent")
    count = np.bincount(fills.agent, minlength=books)
    return {
        agent: Activity(*row[:3], int(row[3]))
        for agent, row in zip(
            history.agents,
            zip(bought.tolist(), crossed.tolist(), cost.tolist(), count.tolist(), strict=True),
            strict=True,
        )
    }


def _traded(trades: Trades, books: int) -> Floats:
    """float64[A], the value traded by each book."""
    return _totals(trades.agent, np.abs(trades.quantity) * trades.price, books)


def _totals(places: Ints, values: Floats, count: int) -> Floats:
    """float64[count], the sum of the values at each place."""
    totals = np.zeros(count)
    np.add.at(totals, places, values)
    return totals


def _table(names: Iterable[str], values: Floats) -> Table:
    return dict(zip(names, values.tolist(), strict=True))
