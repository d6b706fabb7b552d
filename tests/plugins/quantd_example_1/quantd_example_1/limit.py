"""Refuses to buy an instrument whose price is above a bound."""

from typing import TYPE_CHECKING, Final

from quantd.risk.limits.bounds import Bounds
from quantd.risk.limits.context import Context
from quantd.risk.limits.kinds import Refused
from quantd.risk.limits.record import Capped, Limit, Refusal
from quantd.risk.limits.settings import value_of
from quantd.trading.instruments import NANO

if TYPE_CHECKING:
    from quantd.risk.limits.ruleset import Rules


def above(ctx: Context, rules: "Rules") -> Refused:
    most: float = value_of(rules.limits, "max_price")
    return Refused(buys=~(ctx.prices_nano <= most * NANO))


LIMITS: Final = (
    Limit(
        "max_price",
        520,
        "price of an instrument that is bought",
        "money",
        (Refusal(120, "PRICE", "the price is above max_price"),),
        (Capped(200, above),),
        example="max_price = 1000",
        bounds=Bounds(0, 1e9, above=True),
    ),
)
