"""Additional caps of mode live, as part of the house's limits: absolute money, a ramp, and orders per session."""

from typing import Final

from msgspec import Struct

from quantd.risk.limits.catalogue import AccountCap, Limits, Ramp, override
from quantd.risk.limits.ruleset import with_bounds
from quantd.trading.instruments import MICRO

LOOSEN_AFTER_NS: Final = 24 * 3600 * 10**9
"""Default delay of looser limits."""


class Allowance(Struct, frozen=True, omit_defaults=True):
    """The table [live]. Amounts are in micro-currency; None means no limit.

    Over `ramp_days` sessions the permitted share of exposure rises from `ramp_from` to 1. Looser limits apply
    `loosen_after_ns` after the start that brings them, unless they are approved before.
    """

    account_micro: int | None = None
    order_micro: int | None = None
    orders_per_day: int | None = None
    ramp_days: int = 0
    ramp_from: float = 1.0
    loosen_after_ns: int = LOOSEN_AFTER_NS

    def share(self, sessions: int) -> float:
        """The permitted share of exposure in live session number `sessions` (1 is the first)."""
        days_passed = min(max(sessions, 1) - 1, self.ramp_days)
        if days_passed == self.ramp_days:
            return 1.0
        return self.ramp_from + (1.0 - self.ramp_from) * days_passed / self.ramp_days

    def limits(self, house: Limits, equity_micro: int, sessions: int) -> Limits:
        """The limits `house` of the account within these caps at an equity, in live session number `sessions` (from 1).

        During the ramp only a share of `max_gross_exposure` is permitted, which grows to 1 with the sessions. Without
        that limit 1.0 is taken as the limit.
        """
        return with_bounds(self.orders(house), self.bounds(house, equity_micro, sessions))

    def orders(self, house: Limits) -> Limits:
        """The limits `house` within the caps that are the same at every sample: on one order, and on a session."""
        order = None if self.order_micro is None else self.order_micro / MICRO
        orders = [bound for bound in (house.max_order_notional, order) if bound is not None]
        return override(house, max_order_notional=min(orders, default=None), max_orders_per_day=self.orders_per_day)

    def bounds(self, house: Limits, equity_micro: int, sessions: int) -> dict[str, AccountCap | Ramp | None]:
        """The caps that follow from equity and time, by key of `Limits`."""
        share = self.share(sessions)
        account = ramp = None
        if self.account_micro is not None:
            money = share * self.account_micro
            account = AccountCap(money / equity_micro if equity_micro > 0 else 0.0, money / MICRO)
        if share < 1.0:
            gross = 1.0 if house.max_gross_exposure is None else house.max_gross_exposure
            ramp = Ramp(share * gross, max(sessions, 1), self.ramp_days)
        return {"max_account_notional": account, "ramp": ramp}
