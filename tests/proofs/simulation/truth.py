"""The account as the venue truly has it, in rational numbers, and the house's limits judged on it.

Kept from the venue's own fills, before any network touches them; shares no arithmetic with the ledger.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import numpy as np

from quantd.risk.limits.catalogue import Limits
from quantd.trading.events import Action, split_of
from quantd.trading.instruments import Universe
from quantd.trading.market import JumpExplained, MarketSlice, PriceJumped
from quantd.trading.orders import OrderBasket

OpenRow = tuple[int, int, int]
"""(column, signed lots that may still fill, limit in nano)."""


class Violation(AssertionError):
    """A promise that was broken."""


class Truth:
    """Lots and cash after every fill, action and flow; `marks` as the daemon has seen them."""

    def __init__(self, universe: Universe, limits: Limits, cash_micro: int) -> None:
        self._unit = [Fraction(n, 10**9) for n in universe.lot_nano]
        self._limits = limits
        self.lots = [0] * universe.size
        self.cash = Fraction(cash_micro, 10**6)
        self.fees_micro = 0
        self.fills = 0
        self.marks = [0] * universe.size
        self.held: dict[int, tuple[int, int]] = {}
        """Column -> price before an unexplained jump, and newest price."""
        self._ratios: dict[int, Fraction] = {}

    def fill(self, symbol: int, lots: int, price_nano: int, fee_micro: int) -> None:
        """One fill; raises Violation when the account may not stand as it leaves it."""
        before = self.lots[symbol]
        after = self.lots[symbol] = before + lots
        self.cash -= lots * self._unit[symbol] * Fraction(price_nano, 10**9) + Fraction(fee_micro, 10**6)
        self.fees_micro += fee_micro
        self.fills += 1
        if not self._limits.allow_short:
            if after < 0:
                raise Violation(f"a short of {after} lots in column {symbol}, where none is allowed")
            if self._limits.max_cash_debit == 0.0 and self.cash < 0:
                raise Violation(f"cash of {float(self.cash):.6f} after a fill, where none may be owed")

    def market(self, market: MarketSlice) -> None:
        """Marks of a slice the daemon has taken."""
        for column in np.flatnonzero(market.fresh).tolist():
            self.marks[column] = int(market.close_nano[column])
            if column in self.held:
                self.held[column] = self.held[column][0], self.marks[column]

    def jump(self, jump: PriceJumped) -> None:
        self.held[jump.symbol] = jump.before_nano, jump.after_nano
        self._ratios[jump.symbol] = Fraction(jump.numerator, jump.denominator)
        self.marks[jump.symbol] = jump.after_nano

    def explained(self, answer: JumpExplained) -> None:
        """A held symbol has its newest price again, whatever lots a split leaves."""
        if answer.symbol not in self.held:
            return
        self._release(answer.symbol, split_of(answer))

    def _release(self, column: int, split: Action | None) -> None:
        before, newest = self.held.pop(column)
        if split is not None:
            self.marks[column] = before
            self.action(split)
        self.marks[column] = newest

    def marked(self, marks: Sequence[int], lots: Sequence[int]) -> None:
        """Raises Violation unless `marks` are the last closes: of held symbols the worse price, for these lots."""
        for column, (mark, mine) in enumerate(zip(marks, self.marks, strict=True)):
            prices = self.held.get(column, (mine, mine))
            if mark not in prices:
                raise Violation("the marks are not the last closes")
            if lots[column] and mark != (min(prices) if lots[column] > 0 else max(prices)):
                raise Violation(f"a held position of {lots[column]} lots is marked at {mark}, of {prices}")

    def action(self, action: Action) -> None:
        """A dividend is exact; a split leaves whole lots, and the fraction in cash to the micro."""
        column, held = action.symbol, self.lots[action.symbol]
        if action.kind == "dividend":
            self.cash += held * self._unit[column] * Fraction(action.cash_nano, 10**9)
            return
        ratio = Fraction(action.numerator, action.denominator)
        if column in self.held and ratio == self._ratios[column]:
            self._release(column, action)
            return
        if column in self.held:
            before, newest = self.held[column]
            self.held[column] = int(before / ratio), int(newest / ratio)
        mark = self.marks[column] = int(self.marks[column] / ratio)
        exact = held * ratio
        whole_lots = self.lots[column] = int(exact)
        lieu = (exact - whole_lots) * self._unit[column] * Fraction(mark, 10**9)
        self.cash += Fraction(round(lieu * 10**6), 10**6)

    def flow(self, amount_micro: int) -> None:
        self.cash += Fraction(amount_micro, 10**6)

    def judge(
        self,
        basket: OrderBasket,
        open_orders: Sequence[OpenRow],
        stops: Sequence[OpenRow] = (),
        *,
        by_hand: bool = False,
    ) -> None:
        """Every subset of a new basket and of all that may still fill keeps cash, gross and weights, at the marks
        of the verdict and the orders' worst prices; what only reduces may pass whatever stands. `stops` fill only once
        the marks are others, and count for what is sold in all."""
        limits = self._limits
        new = [(s, k, w) for s, k, w in zip(basket.sym, basket.lots, basket.worst_nano, strict=True)]
        adding = {s for s, k, _ in new if k * self.lots[s] >= 0}
        for s, k, _ in new:
            if s in self.held and not (by_hand and k * self.lots[s] < 0):
                raise Violation(f"an order for {k} lots of column {s}, which is held")
            pending = sum(o for c, o, _ in (*open_orders, *stops) if c == s and o * k > 0)
            if not limits.allow_short and self.lots[s] + min(k, 0) + min(pending, 0) < 0 and k < 0:
                raise Violation(f"orders to sell {-(k + pending)} of {self.lots[s]} lots of column {s}")
        if not adding:
            return
        rows = [*open_orders, *new]
        unit = np.array([float(u) for u in self._unit])
        worse = [(max if self.lots[s] < 0 else min)(self.held.get(s, (m, m))) for s, m in enumerate(self.marks)]
        px = np.array(worse) / 1e9 * unit
        held = np.array(self.lots, dtype=np.float64)
        equity = float(self.cash) + float(held @ px)
        sym = np.array([s for s, _, _ in rows])
        lots = np.array([k for _, k, _ in rows], dtype=np.float64)
        worst = np.array([w / 1e9 for _, _, w in rows]) * unit[sym]
        fee = limits.fee_bp / 1e4
        loss = lots * (worst - px[sym]) + np.abs(lots) * worst * fee
        buys = lots > 0
        tolerance = 1e-7 * max(equity, 1.0) + 1e-3
        if any(k > 0 and s in adding for s, k, _ in new):
            least_cash = float(self.cash) - float((lots * worst)[buys].sum()) * (1.0 + fee)
            if least_cash < -limits.max_cash_debit * equity - tolerance:
                raise Violation(
                    f"cash could fall to {least_cash:.2f} with all buys of basket {basket.sample}-{basket.n}"
                )
        for chosen in _subsets(len(rows)):
            after = held.copy()
            np.add.at(after, sym, lots * chosen)
            bound = (equity - float(loss @ chosen)) * (1.0 + limits.in_flight)
            size = np.abs(after) * px
            if limits.max_gross_exposure is not None and size.sum() > limits.max_gross_exposure * bound + tolerance:
                raise Violation(f"gross {size.sum() / bound:.4f} of {limits.max_gross_exposure} after some fills")
            if limits.max_position_weight is not None:
                for s in adding:
                    if size[s] > limits.max_position_weight * bound + tolerance:
                        raise Violation(f"weight {size[s] / bound:.4f} of {limits.max_position_weight} in column {s}")


def _subsets(count: int) -> Sequence[np.ndarray]:
    if count <= 6:
        return [np.array(bits, dtype=np.float64) for bits in product((0, 1), repeat=count)]
    rng = np.random.default_rng(count)
    return [np.ones(count), *(rng.random((40, count)) < 0.6).astype(np.float64)]
