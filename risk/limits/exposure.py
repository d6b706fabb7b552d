"""Limits on gross and net exposure, leverage, turnover and account size."""

from typing import Final

from quantd.risk.limits.bounds import MULTIPLE, Bounds, lower_limit
from quantd.risk.limits.case import SLACK
from quantd.risk.limits.kinds import Linear
from quantd.risk.limits.record import Held, Limit, Refusal, Rows, gross_of, net_of
from quantd.risk.limits.settings import AccountCap, Limits, Ramp
from quantd.trading.instruments import Universe


def gross(most: float, limits: Limits, universe: Universe) -> list[Linear]:
    """Return the limit on gross exposure: long plus short exposure, each at its largest over fills of open orders."""
    return [Linear(most, long=1.0, short=1.0)]


def account(cap: AccountCap | Ramp, limits: Limits, universe: Universe) -> list[Linear]:
    """Return the limit on a live account's gross exposure in account currency. The bound is the same while orders are
    open and after all fills.
    """
    return [Linear(cap.limit, long=1.0, short=1.0, way=cap.limit)]


def net(most: float, limits: Limits, universe: Universe) -> list[Linear]:
    """Return the limits on net long exposure, with all buys and no sale filled, and on net short exposure, with all
    sales and no buy filled."""
    return [Linear(most, long=1.0, held="net"), Linear(most, short=1.0, held="net")]


def leverage(most: float, limits: Limits, universe: Universe) -> list[Linear]:
    """Return the limit on leverage, assets over equity: max(long, equity + short) / equity.

    The long exposure stays within leverage x equity, the short exposure within (leverage - 1) x equity.
    """
    way = max(most * (1.0 + limits.in_flight) - 1.0, 0.0)
    return [Linear(most, long=1.0), Linear(max(most - 1.0, 0.0), short=1.0, way=way)]


def turnover(most: float, limits: Limits, universe: Universe) -> list[Linear]:
    """Return the limit on turnover: the value traded in this session, plus open orders, plus all new orders of this
    sample, reducing ones included.
    """
    return [Linear(most, long=1.0, short=1.0, held="traded")]


def leverage_of(book: Held) -> float:
    """Return the assets of a book over its equity; proceeds of short sales count as assets."""
    short = (book.gross - book.net) / 2.0
    borrowed = 1.0 + short if short > SLACK else 0.0
    return max((book.gross + book.net) / 2.0, borrowed)


def _account(limits: Limits, about: str) -> str:
    """Return the label of the limit `max_account_notional`."""
    cap = limits.max_account_notional
    return "long and short value together" + ("" if cap is None else f", {cap.money:,.2f} at most")


def _ramp(limits: Limits, about: str) -> str:
    """Return the label of the limit `ramp`."""
    ramp = limits.ramp
    return "gross exposure, ramp of a live start" + ("" if ramp is None else f", session {ramp.session} of {ramp.days}")


LIMITS: Final = (
    Limit(
        "max_gross_exposure",
        20,
        "gross exposure, long and short",
        refusals=(
            Refusal(2, "GROSS", "long and short exposure together would exceed max_gross_exposure", sales_free=True),
        ),
        kinds=(Rows(10, gross),),
        example="max_gross_exposure = 1.0",
        on_breach=True,
        profiles={"conservative": 1.0, "balanced": 1.0, "aggressive": 1.5},
        measure=gross_of,
        bounds=MULTIPLE,
        about="gross exposure, long and short",
        formula="`Σ (long + short) ≤ limit × E`",
        equity="E",
    ),
    Limit(
        "volatile_exposure",
        25,
        "gross exposure while the market is volatile",
        refusals=(
            Refusal(
                44,
                "VOLATILE",
                "long and short exposure together would exceed the share of [risk.regime] in a volatile market",
                sales_free=True,
            ),
        ),
        kinds=(Rows(15, gross),),
        on_breach=True,
        measure=gross_of,
        bounds=MULTIPLE,
        section="regime",
        about="`[risk.regime]`: gross exposure while the market is volatile",
        formula="`Σ (long + short) ≤ exposure × max_gross_exposure × E`, with 1.0 for an unset `max_gross_exposure`",
        equity="E",
    ),
    Limit(
        "max_account_notional",
        30,
        _account,
        refusals=(
            Refusal(
                37,
                "ACCOUNT_NOTIONAL",
                "long and short value together would exceed max_account_notional",
                sales_free=True,
            ),
        ),
        kinds=(Rows(20, account),),
        on_breach=True,
        tighter=lower_limit,
        measure=gross_of,
        section="live",
        about="long plus short value, money as text; open orders may not exceed it either, with or without `in_flight`",
        formula="`Σ (long + short) ≤ limit × E / E0`",
        equity="money, times E / E0",
    ),
    Limit(
        "ramp",
        40,
        _ramp,
        refusals=(Refusal(38, "RAMP", "gross exposure would exceed the ramp of a live start", sales_free=True),),
        kinds=(Rows(30, account),),
        on_breach=True,
        tighter=lower_limit,
        measure=gross_of,
        section="live",
        about=(
            "`{ days, from }`: a share of `max_account_notional` and of `max_gross_exposure` (1.0 if unset) in "
            "session n of live trading"
        ),
        formula=(
            "`Σ (long + short) ≤ share × max_gross_exposure × E`, and `max_account_notional` times `share`, which is "
            "from + (1 − from)(n − 1)/days, and 1 from the session after the last of the days"
        ),
        equity="E",
    ),
    Limit(
        "max_net_exposure",
        70,
        "net exposure, long less short",
        refusals=(Refusal(14, "NET", "net exposure would exceed max_net_exposure", sales_free=True),),
        kinds=(Rows(40, net),),
        example="max_net_exposure = 1.0",
        on_breach=True,
        profiles={"aggressive": 1.0},
        measure=net_of,
        bounds=MULTIPLE,
        about="net exposure, long less short",
        formula="`Σ high ≤ limit × E` and `−Σ low ≤ limit × E`",
        equity="E",
    ),
    Limit(
        "max_leverage",
        80,
        "leverage, assets over equity",
        "number",
        (Refusal(25, "LEVERAGE", "borrowed money or shares would exceed max_leverage", sales_free=True),),
        (Rows(50, leverage),),
        example="max_leverage = 1.0",
        on_breach=True,
        profiles={"conservative": 1.0, "balanced": 1.0, "aggressive": 1.5},
        measure=leverage_of,
        bounds=MULTIPLE,
        about=(
            "assets over equity, where assets are the larger of long value and equity plus borrowed shares; 1.0 "
            "allows neither borrowed money nor borrowed shares"
        ),
        formula="`Σ long ≤ limit × E` and `Σ short ≤ (limit − 1) × E`",
        equity="E",
    ),
    Limit(
        "max_turnover",
        160,
        "turnover of this session",
        refusals=(Refusal(19, "TURNOVER", "more than max_turnover would be traded in this session", time_frees=True),),
        kinds=(Rows(60, turnover),),
        example="max_turnover = 0.5",
        on_breach=True,
        measure=lambda book: book.traded,
        bounds=Bounds(0, 4, above=True, percent=True),
        about="value traded in a session, with open orders and this basket, also its reductions",
        formula="`T + Σ (u + d + x) × p ≤ limit × E`, where `T` is the value of the fills of this session",
        equity="E",
    ),
)
