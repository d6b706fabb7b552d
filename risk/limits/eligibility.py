"""Limits on eligibility: prices, short positions, blocked symbols, missing data."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantd.risk.limits.bounds import COLLAR, FRACTION, LOOKBACK, Span, each_field, higher, together
from quantd.risk.limits.case import Account
from quantd.risk.limits.context import Bools, Context, Floats
from quantd.risk.limits.kinds import Refused, refused
from quantd.risk.limits.record import Barred, Capped, Limit, Refusal
from quantd.risk.limits.settings import NO_COLLAR, Protective

if TYPE_CHECKING:
    from quantd.risk.limits.ruleset import Rules


def price_missing(ctx: Context, rules: "Rules") -> Refused | None:
    """Refuse symbols without a finite, positive price."""
    return None if ctx.all_priced else refused(~ctx.priced)


def price_age(ctx: Context, rules: "Rules") -> Refused | None:
    most = rules.limits.max_price_age_ns
    if ctx.youngest_ns >= 0 and ctx.oldest_ns <= most:
        return None
    return refused(~((ctx.age_ns >= 0) & (ctx.age_ns <= most)))


def worst_price(ctx: Context, rules: "Rules") -> Refused | None:
    """Refuse symbols for which no whole tick lies within the collar (limit distance) of orders that add to a
    position."""
    bad = ctx.off_grid(rules.limits.collar, rules.ticks, rules.widest_tick)
    return None if bad is None else refused(bad)


def restricted(ctx: Context, rules: "Rules") -> Refused | None:
    """Refuse the symbols in the setting `restricted`."""
    return None if rules.restricted is None else refused(rules.restricted)


def short(ctx: Context, rules: "Rules") -> Refused | None:
    """Refuse sales that lead to a short position, unless `allow_short` is on."""
    return None if rules.limits.allow_short else Refused(sells=np.ones(rules.size, dtype=np.bool_))


def no_borrow(ctx: Context, rules: "Rules") -> Refused | None:
    """Refuse sales that lead to a short position in symbols that the venue does not lend."""
    return None if rules.no_borrow is None else Refused(sells=rules.no_borrow)


def blocked(rules: "Rules", account: Account, asked: Floats) -> Bools | None:
    """Refuse orders that add to a position during the cooldown after a protective exit."""
    return account.blocked


_EXITS: Final[dict[str, Any]] = {
    "conservative": Protective(stop_loss=0.05, take_profit=0.15),
    "balanced": Protective(stop_loss=0.08, take_profit=0.20),
    "aggressive": Protective(stop_loss=0.15, take_profit=0.50),
}

LIMITS: Final = (
    Limit(
        "no_borrow",
        50,
        "symbols that the venue does not lend",
        "none",
        (Refusal(41, "NO_BORROW", "the venue lends no units, so it cannot be sold short"),),
        (Capped(100, no_borrow, lasting=True),),
        tighter=together,
        section="venue",
        about="symbols that the venue does not lend: they can be sold only as far as they are held",
        formula="Sold `x = 0`",
    ),
    Limit(
        "protective",
        280,
        "stop loss, take profit and the cooldown after them",
        "none",
        (Refusal(33, "PROTECTED", "the cooldown after a protective exit is not over"),),
        (Barred(60, blocked),),
        example="protective = { stop_loss = 0.08 }",
        tighter=each_field,
        profiles=_EXITS,
        about=(
            "automatic exits that no policy can delay ([protective.md](../trade/protective.md)): `{ stop_loss, "
            "take_profit, trailing, cooldown, at_venue }`"
        ),
        formula=(
            "A long is closed at a price `≤ entry × (1 − stop_loss)` or `≥ entry × (1 + take_profit)`, a short at "
            "`≥ entry × (1 + stop_loss)` or `≤ entry × (1 − take_profit)`"
        ),
    ),
    Limit(
        "restricted",
        290,
        "restricted list",
        "none",
        (Refusal(16, "RESTRICTED", "the instrument is on the restricted list"),),
        (Capped(50, restricted, lasting=True),),
        example='restricted = ["GME"]',
        tighter=together,
        about="symbols that may only be reduced",
        formula="`x = 0`",
    ),
    Limit(
        "allow_short",
        300,
        "no short selling",
        "none",
        (Refusal(15, "SHORT", "allow_short permits no short position"),),
        (Capped(90, short, lasting=True),),
        example="allow_short = false",
        profiles={"conservative": False, "balanced": False},
        about="false, also without a profile, refuses orders that would go below zero",
        formula="Sold `x = 0`",
    ),
    Limit(
        "max_price_age_ns",
        350,
        "age of the last price",
        "hours",
        (Refusal(5, "PRICE_AGE", "the last price is older than max_price_age"),),
        (Capped(30, price_age),),
        always=True,
        bounds=Span("1s", "14d"),
        about='age of the last price, `"30h"`; always on',
    ),
    Limit(
        "collar",
        360,
        "worst price, collar around the last price",
        refusals=(Refusal(7, "WORST_PRICE", "no price on the tick grid lies between the last price and the collar"),),
        kinds=(Capped(40, worst_price),),
        always=True,
        profiles={"research": NO_COLLAR},
        bounds=COLLAR,
        about="distance of an order's limit price from the last price (0.05); always on",
        formula="Bought `p × (1 + collar)`, rounded down to the tick, sold `p × (1 − collar)`, rounded up",
    ),
    Limit(
        "reduce_collar",
        370,
        "worst price of a reducing order",
        always=True,
        profiles={"research": NO_COLLAR},
        bounds=COLLAR,
        about="the same for orders that reduce (0.15)",
    ),
    Limit(
        "flatten_collar",
        380,
        "worst price of a reducing order on an old price",
        always=True,
        profiles={"research": NO_COLLAR},
        bounds=COLLAR,
        about="the same while the price is older than `max_price_age` (0.10); never wider than `reduce_collar`",
    ),
    Limit(
        "in_flight",
        390,
        "excess over a limit while orders are in flight",
        always=True,
        profiles={"conservative": 0.05, "balanced": 0.05, "aggressive": 0.05, "research": 1.0},
        bounds=FRACTION,
        about="how far limits may be exceeded while orders are open (0: not at all)",
        formula="`limit × (1 + in_flight)`",
    ),
    Limit(
        "min_history",
        420,
        "synchronous returns required",
        "number",
        (Refusal(8, "HISTORY", "fewer than min_history synchronous returns are known"),),
        always=True,
        tighter=higher,
        bounds=LOOKBACK,
        about="synchronous returns that an instrument must have (60)",
        formula="`S ≥ min_history`",
    ),
    Limit(
        "switch",
        460,
        "the switch",
        "none",
        (
            Refusal(
                22, "SWITCH", "the switch is at REDUCE (only orders that reduce a position pass) or HALT (none passes)"
            ),
        ),
    ),
    Limit(
        "halted",
        470,
        "trading at the venue",
        "none",
        (Refusal(36, "HALTED", "trading is halted, by hand or the venue, or the price is at its limit up or down"),),
    ),
    Limit(
        "price_jump",
        475,
        "no unexplained jump of the price",
        "money",
        (Refusal(42, "PRICE_JUMP", "the price jumped near a split ratio without a corporate action; it is held"),),
    ),
    Limit(
        "refusals",
        477,
        "no pause after refusals",
        "none",
        (Refusal(45, "REFUSED", "the venue has refused such orders, and they pause for 1 to 60 minutes"),),
    ),
    Limit(
        "price",
        480,
        "a price",
        "none",
        (Refusal(6, "PRICE_MISSING", "there is no price"),),
        (Capped(20, price_missing),),
    ),
    Limit("finite", 490, "finite numbers", "none", (Refusal(9, "NOT_FINITE", "an input is not a finite number"),)),
    Limit(
        "zero",
        500,
        "no zero crossing in one order",
        "none",
        (Refusal(23, "ZERO_CROSSING", "the order would cross zero (pending fills included)"),),
    ),
)
