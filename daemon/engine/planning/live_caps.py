"""What a live account may do beside its limits: absolute money, whatever the equity is said to be, a ramp after the
first live start, and so many orders a session. It becomes a part of the house's limits, anew for each equity.
"""

from msgspec import Struct

from quantd.risk.limits.catalogue import AccountCap, Limits, Ramp, override
from quantd.trading.instruments import MICRO


class Allowance(Struct, frozen=True, omit_defaults=True):
    """The table [live] of a run in mode live. Money in micro-currency; None is off. Over `ramp_days` house sessions the
    share of what may be held rises from `ramp_from` to all of it; 0 days: all of it at once."""

    account_micro: int | None = None
    order_micro: int | None = None
    orders_per_day: int | None = None
    ramp_days: int = 0
    ramp_from: float = 1.0

    def share(self, sessions: int) -> float:
        """What part of it all may be held in session number `sessions` of live trading (1 is the first)."""
        done = min(max(sessions, 1) - 1, self.ramp_days)
        if done == self.ramp_days:
            return 1.0
        return self.ramp_from + (1.0 - self.ramp_from) * done / self.ramp_days

    def limits(self, house: Limits, equity_micro: int, sessions: int) -> Limits:
        """The house's limits within this allowance, for an equity. Without a `max_gross_exposure` the ramp is one of
        1.0."""
        share = self.share(sessions)
        account = ramp = None
        if self.account_micro is not None:
            money = share * self.account_micro
            account = AccountCap(money / equity_micro if equity_micro > 0 else 0.0, money / MICRO)
        if share < 1.0:
            gross = 1.0 if house.max_gross_exposure is None else house.max_gross_exposure
            ramp = Ramp(share * gross, max(sessions, 1), self.ramp_days)
        orders = [each for each in (house.max_order_notional, self.order) if each is not None]
        return override(
            house,
            max_account_notional=account,
            ramp=ramp,
            max_order_notional=min(orders, default=None),
            max_orders_per_day=self.orders_per_day,
        )

    @property
    def order(self) -> float | None:
        """The most that one order may be worth, in currency."""
        return None if self.order_micro is None else self.order_micro / MICRO
