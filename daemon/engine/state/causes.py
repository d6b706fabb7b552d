"""The causes for which lots that were asked for are not held: one table for results, verdicts and explanations.

Its members are the reasons of the limits, the rules that turn targets into orders, and the ends of orders. Each lot
that is missing has one of them.
"""

from typing import Final, NamedTuple

from quantd.daemon.engine.core.lacks import EXIT, LOTS, NEAR, SCALED, SMALL, WAITS
from quantd.risk.limits.catalogue import LIMIT_OF, REASON_TEXT, Reason
from quantd.trading.orders import ENDED, OrderState


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

OF_END: Final[dict[OrderState, Cause]] = {
    end: Cause(end.name.lower(), UNFILLED, f"the order ended {end.name.lower()}")
    for end in sorted(ENDED)
    if end != OrderState.FILLED
}
"""The end of an order without all of its fills -> cause. A sum does not tell them apart: it has what the plans have and
the books have not."""
