"""The state of the engine and its records: what `step` reads and changes, settings, and snapshots.

Every package of the engine may import this package. Of the engine, this package imports `core` only. So a record that
two packages share is defined here.
"""

from quantd.daemon.engine.state.agent_state import AgentState, Exit
from quantd.daemon.engine.state.engine_state import (
    HOUSE,
    ActRecord,
    Loosening,
    Portfolio,
    Round,
    State,
)
from quantd.daemon.engine.state.venue_account import CoinFees

__all__ = ("HOUSE", "ActRecord", "AgentState", "CoinFees", "Exit", "Loosening", "Portfolio", "Round", "State")
