"""Limits that keep cash, buying power and equity above their floors."""

from typing import Final

from quantd.risk.limits.bounds import FRACTION, higher, lower_limit
from quantd.risk.limits.kinds import Linear
from quantd.risk.limits.record import Limit, Refusal, Rows
from quantd.risk.limits.settings import AccountCap, Limits, reserved
from quantd.trading.instruments import Universe


def cash(always: object, limits: Limits, universe: Universe) -> list[Linear]:
    """Return the two limits on cash.

    While orders are open, the cost of all buys at worst prices with fees must stay within cash + max_cash_debit x
    equity, even if no sale fills. After all fills at reference prices, cash must stay above the reserve.
    """
    fee = limits.fee_bp * 1e-4
    paid = (1.0 + reserved(limits.collar)) * (1.0 + fee)
    # the debit is a share of equity, which falls by the amount that a buy pays above the mark
    # settled: a purchase costs 1 + fee of its value, a short sale brings 1 - fee
    return [Linear(0.0, long=paid + limits.max_cash_debit * (paid - 1.0), held="cash", settled=(1.0 + fee, fee - 1.0))]


def buying_power(cap: AccountCap, limits: Limits, universe: Universe) -> list[Linear]:
    """Return the limit on buying power.

    Orders that add to positions, long or short, at worst prices with fees must stay within the venue's buying power,
    which already includes open orders. The bound is the same while orders are open and after all fills.
    """
    paid = (1.0 + reserved(limits.collar)) * (1.0 + limits.fee_bp * 1e-4)
    return [Linear(cap.limit, long=paid, short=paid, held="nothing", way=cap.limit)]


def equity(always: object, limits: Limits, universe: Universe) -> list[Linear]:
    return [Linear(1.0, held="nothing", way=1.0)]


LIMITS: Final = (
    Limit(
        "buying_power",
        60,
        "purchases at worst prices, of the venue's buying power",
        "money",
        (
            Refusal(
                40,
                "BUYING_POWER",
                "the order would exceed the venue's remaining buying power",
                sales_free=True,
            ),
        ),
        (Rows(80, buying_power),),
        tighter=lower_limit,
        section="venue",
        about=(
            "new purchases and short sales together, at worst prices with fees; `B` is the buying power that the "
            "venue last reported, minus what was sent since"
        ),
        formula="`(1 + k) × Σ x × p ≤ B × E / E0`",
        equity="money, times E / E0",
    ),
    Limit(
        "cash",
        240,
        "cash at worst prices, without sales",
        "money",
        (
            Refusal(
                3,
                "CASH",
                "cash would fall below its floor, at worst prices with fees and without sales, or after all fills",
                sales_free=True,
            ),
        ),
        (Rows(70, cash),),
        floor=True,
    ),
    Limit(
        "max_cash_debit",
        400,
        "largest cash debit",
        always=True,
        profiles={"research": 1.25},
        bounds=FRACTION,
        about="largest cash debit while orders are open, for a margin account (0)",
        formula="See `cash_reserve`",
        equity="E",
    ),
    Limit(
        "cash_reserve",
        410,
        "cash reserve",
        always=True,
        tighter=higher,
        profiles={"conservative": 0.02},
        bounds=FRACTION,
        about="cash that purchases must leave, without the proceeds of sales (0); always on",
        formula=(
            "`cash − U − (1 + k) × Σ x × p ≥ cash_reserve × E0 − max_cash_debit × E`, where `x` are purchases, also in "
            "`E`, and `U` is the cost of open purchases at their limit prices with fees"
        ),
        equity="E0, of the debit E",
    ),
    Limit("fee_bp", 430, "commission that is reserved, bp", "number", always=True, tighter=higher, section="broker"),
    Limit(
        "equity",
        510,
        "equity at worst prices, for existing weights",
        "none",
        (
            Refusal(
                24,
                "EQUITY",
                "equity at worst prices would not stay positive, or be too low for existing weights",
                sales_free=True,
            ),
        ),
        (Rows(90, equity),),
    ),
)
