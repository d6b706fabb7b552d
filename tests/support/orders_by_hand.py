"""Orders by hand, as events."""

from quantd.trading.events import Proposed
from quantd.trading.orders import Wish


def by_hand(
    ts: int, agent: str, symbol: int, lots: int, reason: str, who: str, stop_nano: int = 0, target_nano: int = 0
) -> Proposed:
    """The order of a person for one column, at the collar."""
    wish = Wish(symbol, lots, stop_nano=stop_nano, target_nano=target_nano)
    return Proposed(ts, agent, "", reason, who, orders=(wish,), by_hand=True)
