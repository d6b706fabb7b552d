"""The causes for which lots that were asked for are not held: one table for results, verdicts and explanations.

Its members are the reasons of the limits, and the rules that turn targets into orders. Each lot that is missing has one
of them, or is of an order that ended without a fill.
"""

from typing import Final, NamedTuple

from quantd.daemon.engine.core.lacks import EXIT, LOTS, NEAR, SCALED, SMALL, WAITS
from quantd.risk.limits.catalogue import LIMIT_OF, REASON_TEXT, Reason


class Cause(NamedTuple):
    """`key` names the cause in documents of JSON, `group` in a sum, and `text` is a clause for one symbol."""

    key: str
    group: str
    text: str


_GROUPS: Final = {
    "buying_power": "cash", "cash": "cash", "collar": "prices", "halted": "prices", "liquidity": "volume",
    "max_price_age_ns": "prices", "max_share_of_volume": "volume", "price": "prices", "price_jump": "prices",
    "protective": "protective exits", "switch": "the switch",
}  # fmt: skip
"""Key of a limit -> group; the other limits are "limits"."""

OF_CODE: Final[dict[int, Cause]] = {
    **{
        int(reason): Cause(LIMIT_OF[reason], _GROUPS.get(LIMIT_OF[reason], "limits"), REASON_TEXT[reason])
        for reason in Reason
        if reason != Reason.NONE
    },
    WAITS: Cause("sale", "waits for a sale", "the rest waits for cash that fills or sales leave"),
    LOTS: Cause("lots", "lots", "it is less than a lot"),
    SMALL: Cause("min_trade", "changes below min_trade", "the change is worth less than min_trade"),
    SCALED: Cause("exposure", "limits", "the weights exceed the limits of exposure or cash after all fills"),
    EXIT: Cause("exit", "protective exits", "a protective exit closes the position"),
    NEAR: Cause("near_limit", "limits", "the position is near its limit"),
}
"""Code of `core.lacks` -> cause."""

UNFILLED: Final = "orders without a fill"
"""What the plans have and the books have not, whatever the end of the order was."""
