"""One account in exact integers: lots by column, cash, and the origin of each micro of cash."""

from collections.abc import Iterable

from msgspec import Struct

from quantd.trading.instruments import ATTO_PER_MICRO


class FrozenAccount(Struct, frozen=True):
    """An account as plain values. The residue has two parts, so that each fits 64 bits."""

    lots: list[int]
    cost_micro: list[int]
    cash_micro: int
    residue: tuple[int, int]
    fees_micro: int
    flows_micro: int
    income_micro: int
    realised_micro: int


class Account:
    """Lots and money of one owner.

    `lots` are signed, by column. `cost_micro` is their cost at the average price, negative for a short (its proceeds).
    `flows_micro` are deposits less withdrawals, `fees_micro` commissions paid. `income_micro` are dividends and
    interest less borrow fees. `realised_micro` is profit on closed lots before fees. This identity always holds
    exactly:

        cash = flows + income + realised - sum(cost) - fees

    `residue_atto` accumulates rounding differences: notionals and dividends are exact in atto, cash is rounded to
    micro.
    """

    __slots__ = (
        "cash_micro", "cost_micro", "fees_micro", "flows_micro", "income_micro", "lots", "realised_micro",
        "residue_atto",
    )  # fmt: skip

    def __init__(self, size: int) -> None:
        self.lots = [0] * size
        self.cost_micro = [0] * size
        self.cash_micro = 0
        self.residue_atto = 0
        self.fees_micro = 0
        self.flows_micro = 0
        self.income_micro = 0
        self.realised_micro = 0

    def trade(self, rows: Iterable[tuple[int, int, int]]) -> None:
        """Book trades (column, signed lots, cash change in micro: negative for a purchase), in order.

        A reduction removes its part of the average cost, floored to a micro, and realises the difference. A trade
        through zero closes with its part of the amount, floored, and opens with the remainder.
        """
        holdings, cost = self.lots, self.cost_micro
        cash = realised = 0
        for column, change, amount in rows:
            cash += amount
            held = holdings[column]
            after = holdings[column] = held + change
            if held * change >= 0:
                cost[column] -= amount
            elif after * held > 0:
                part = cost[column] * change // held
                cost[column] += part
                realised += amount + part
            else:
                closing = amount * held // -change
                realised += closing - cost[column]
                cost[column] = closing - amount
        self.realised_micro += realised
        self.cash_micro += cash

    def rescale(self, column: int, lots: int, lieu_micro: int) -> None:
        """Set `lots` after a split and add `lieu_micro` of cash for the fraction. The cost does not change; it is
        realised when no lots remain."""
        self.lots[column] = lots
        self.cash_micro += lieu_micro
        self.realised_micro += lieu_micro
        if not lots:
            self.realised_micro -= self.cost_micro[column]
            self.cost_micro[column] = 0

    def receive(self, amount_micro: int) -> None:
        """Book a dividend or interest; a payment or a borrow fee is negative."""
        self.cash_micro += amount_micro
        self.income_micro += amount_micro

    def pay(self, fee_micro: int) -> None:
        """Book a commission."""
        self.cash_micro -= fee_micro
        self.fees_micro += fee_micro

    def flow(self, amount_micro: int) -> None:
        """Book a deposit, or a withdrawal (negative)."""
        self.cash_micro += amount_micro
        self.flows_micro += amount_micro

    def unexplained_micro(self) -> int:
        """Return the cash that no flow, income, profit, cost or fee explains: always 0."""
        known = self.flows_micro + self.income_micro + self.realised_micro - sum(self.cost_micro) - self.fees_micro
        return self.cash_micro - known

    def freeze(self) -> FrozenAccount:
        return FrozenAccount(
            lots=list(self.lots),
            cost_micro=list(self.cost_micro),
            cash_micro=self.cash_micro,
            residue=divmod(self.residue_atto, ATTO_PER_MICRO),
            fees_micro=self.fees_micro,
            flows_micro=self.flows_micro,
            income_micro=self.income_micro,
            realised_micro=self.realised_micro,
        )

    def thaw(self, frozen: FrozenAccount) -> None:
        """Restore a frozen account."""
        self.lots = list(frozen.lots)
        self.cost_micro = list(frozen.cost_micro)
        self.cash_micro = frozen.cash_micro
        self.residue_atto = frozen.residue[0] * ATTO_PER_MICRO + frozen.residue[1]
        self.fees_micro = frozen.fees_micro
        self.flows_micro = frozen.flows_micro
        self.income_micro = frozen.income_micro
        self.realised_micro = frozen.realised_micro
