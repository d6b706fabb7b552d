"""Tables of the contributions to a period's return: by asset, sector, agent and kind, by decisions and execution.

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

    `turnover_total` is the value bought and sold in fills over the whole period; the metric `turnover` is annual.
    `crossed` is the value traded with other agents. `turnover_total` and `crossed` are divided by the account's mean
    equity. `cost` is the sum of slippage, commission, borrow fees and other charges, in account currency; a gain from
    one of them reduces it. `trades` is the number of fills.
    """

    turnover_total: float
    crossed: float
    cost: float
    trades: int


class Breakdown(Struct, frozen=True):
    """The time-weighted return of a period, `total`, and its parts.

    `execution` is the sum of timing, slippage and commission; `decision` is the sum of all other kinds of contribution.
    `by_agent_and_asset` has a table of assets for each agent, and `activity` the trading of each agent.
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
        """Return the return with tables by asset, sector, agent and kind, and the table of trading, as text.

        Turnover and value crossed (traded between agents) are multiples of the mean equity.
        """
        lines = [f"time-weighted return {percent(self.total)}: {', '.join(_decision_and_execution(self))}"]
        for title in ("asset", "sector", "agent", "kind"):
            table: Table = getattr(self, f"by_{title}")
            rows = [(name, percent(value)) for name, value in table.items()]
            # without any known sector, a hint takes the place of the table
            has_table = title != "sector" or not table.keys() <= {UNKNOWN_SECTOR, CASH}
            lines += ["", *(aligned((title, "contribution"), rows) if has_table else [NO_SECTORS])]
        activity_rows = [
            (name, f"{book.turnover_total:.2f}", f"{book.crossed:.2f}", f"{book.cost:,.2f}", f"{book.trades:,}")
            for name, book in self.activity.items()
        ]
        lines += ["", *aligned(("agent", "turnover in all", "crossed", "cost", "fills"), activity_rows)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


def _decision_and_execution(attribution: Breakdown) -> tuple[str, str]:
    return f"decisions {percent(attribution.decision)}", f"execution {percent(attribution.execution)}"


def breakdown(history: BookHistory) -> Breakdown:
    """Break down the return of a history. Raises ValueError where the whole account is lost in an interval."""
    profits = profit(history)
    factors = profit_factors(history)  # they turn profits of intervals into contributions that add up to the return
    names = (*history.symbols, CASH)
    by_agent_and_symbol = profits.summed("agent", "symbol", factors=factors)
    by_symbol = by_agent_and_symbol.sum(axis=0)
    by_kind = _table(KINDS, profits.summed("kind", factors=factors))
    execution = sum(by_kind[name] for name in EXECUTION)
    return Breakdown(
        total=period_return(history.returns()),
        by_asset=_table(names, by_symbol),
        by_sector=sector_table(history, by_symbol),
        by_agent=_table(history.agents, by_agent_and_symbol.sum(axis=1)),
        by_kind=by_kind,
        decision=sum(by_kind.values()) - execution,
        execution=execution,
        by_agent_and_asset={
            agent: _table(names, row) for agent, row in zip(history.agents, by_agent_and_symbol, strict=True)
        },
        activity=activity(history, profits),
    )  # fmt: skip


def sector_table(history: BookHistory, by_symbol: Floats) -> Table:
    """Return the amounts `by_symbol` float64[N+1] (N symbols, then CASH) summed by sector; CASH is one sector."""
    names = [*(sector or UNKNOWN_SECTOR for sector in history.sectors), CASH]
    sectors, sector_index = np.unique(names, return_inverse=True)
    return _table(sectors.tolist(), _totals(sector_index, by_symbol, len(sectors)))


def activity(history: BookHistory, profits: Profit) -> dict[str, Activity]:
    """Return the trading of each book by the name of its agent; `profits` is the profit of the history.

    A crossed trade is one between two agents: it counts in `crossed`, not in the turnover and the fills.
    """
    trades, books = history.trades, len(history.agents)
    mean_equity = float(history.equity.mean())
    # traded values are given as multiples of the mean equity; without equity they are 0
    scale = 1.0 / mean_equity if mean_equity > 0.0 else 0.0
    fills = trades.rows(~trades.crossed)
    turnover, crossed = (_traded_values(rows, books) * scale for rows in (fills, trades.rows(trades.crossed)))
    costs = -profits.reduced(COSTS).summed("agent")
    fill_counts = np.bincount(fills.agent, minlength=books)
    return {
        agent: Activity(*row[:3], int(row[3]))
        for agent, row in zip(
            history.agents,
            zip(turnover.tolist(), crossed.tolist(), costs.tolist(), fill_counts.tolist(), strict=True),
            strict=True,
        )
    }


def _traded_values(trades: Trades, books: int) -> Floats:
    """Return float64[A], the value that each of A books has bought and sold."""
    return _totals(trades.agent, np.abs(trades.quantity) * trades.price, books)


def _totals(indices: Ints, values: Floats, count: int) -> Floats:
    """Return float64[count]: element k is the sum of the `values` whose index is k."""
    totals = np.zeros(count)
    # `totals[indices] += values` would add only one value for an index that occurs several times
    np.add.at(totals, indices, values)
    return totals


def _table(names: Iterable[str], values: Floats) -> Table:
    return dict(zip(names, values.tolist(), strict=True))
