"""The names of the engine that worlds and their records use, in one place.

Both checkouts of a comparison import this module. When a change moves a name, both places are tried here.
"""

from typing import Any

from quantd.daemon.engine import step
from quantd.daemon.engine.agents.carry_over import carry_of, unfit
from quantd.daemon.engine.agents.proposals import plan_digest
from quantd.daemon.engine.safety.pending_limits import digest_of
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.capital_shares import CapitalRules, Regime
from quantd.daemon.engine.state.live_caps import Allowance
from quantd.daemon.engine.state.parents import Execution, Style
from quantd.daemon.engine.state.promotion_rule import PromotionRules
from quantd.daemon.engine.state.settings import AgentRules, MarketRegime, Notices, Rules
from quantd.daemon.engine.state.snapshot import freeze, in_force, thaw
from quantd.daemon.policies.loading import answer, load
from quantd.daemon.runtime.loop import Shell
from quantd.trading.orders import ENDED

__all__ = [
    "AgentRules", "Allowance", "CapitalRules", "Execution", "MarketRegime", "Notices", "PromotionRules", "Regime",
    "Rules", "Shell", "State", "Style", "accounts_of", "answer", "at_venue", "carry_of", "dry_run", "freeze",
    "in_force", "load", "lots_worth", "open_row", "portfolio_in", "unfit", "waiting_digest",
]  # fmt: skip


def at_venue(state: Any) -> list[int]:
    """Lots of the house by column, and those that are known not to be ours."""
    return [lots + fenced for lots, fenced in zip(state.ledger.house.lots, state.venue.fenced[0], strict=True)]


def accounts_of(state: Any) -> list[Any]:
    """The accounts of the house, of each agent and of the unallocated book."""
    return [state.ledger.house, *state.ledger.books]


def portfolio_in(state: Any, place: str) -> str:
    """The name of the portfolio that is open in a place; empty without one."""
    names = [agent.name for agent in state.rules.agents]
    portfolio = state.portfolios.get(names.index(place))
    return "" if portfolio is None else str(portfolio.name)


def lots_worth(state: Any, column: int, share: float) -> int:
    """Signed lots of a column that are worth a share of the house's equity; 1 without a price."""
    value = float(state.lot_values()[column])
    return int(share * state.equity_micro / 1e6 / value) if value > 0.0 else 1


def open_row(state: Any, number: int) -> tuple[int, int, int] | None:
    """(sample, n, row) of an order that has not ended, by a number of any size; None without any."""
    rows = [
        (sample, n, row)
        for (sample, n), work in state.working.items()
        for row, now in enumerate(work.state)
        if now not in ENDED
    ]
    return rows[number % len(rows)] if rows else None


def waiting_digest(state: Any) -> str:
    """The digest of the looser limits that wait; empty without any."""
    return "" if state.loosening is None else digest_of(state.loosening)


def dry_run(state: Any, proposal: Any) -> str:
    """The digest of the orders of a proposal, computed on a copy of the state."""
    copy = thaw(state.rules, freeze(state))
    copy.now = state.now
    return plan_digest(proposal, step(copy, proposal))
