"""Implementation shortfall: the cost of executing a decision, split by cause.

The paper portfolio trades all lots at the decision price without cost. The real portfolio has the actual fills at fill
prices with fees (Perold 1988, "The implementation shortfall: paper versus reality"). Their difference is split at each
order's arrival price: the move before it is delay, the move after it impact (Kissell and Glantz 2003, "Optimal Trading
Strategies"). Amounts are exact in micro-currency; positive is a loss.
"""

from collections.abc import Iterable

from msgspec import Struct

from quantd.trading.execution import notional_atto, round_micro


class Piece(Struct, frozen=True):
    """One fill: signed lots at a price. `arrival_nano` is the market price when the fill's order reached the market."""

    lots: int
    price_nano: int
    fee_micro: int
    arrival_nano: int


class Shortfall(Struct, frozen=True):
    """Implementation shortfall (cost of executing a decision) by cause, in micro-currency.

    `value` is the unsigned decision value of all lots. `opportunity` is the price move of unfilled lots, None while it
    is unknown. `total` is the sum of the parts.
    """

    value_micro: int
    delay_micro: int
    impact_micro: int
    fees_micro: int
    opportunity_micro: int | None

    @property
    def total_micro(self) -> int | None:
        """The sum of delay, impact, fees and opportunity; None while lots may still fill (opportunity unknown)."""
        if self.opportunity_micro is None:
            return None
        return self.delay_micro + self.impact_micro + self.fees_micro + self.opportunity_micro

    def bp(self, micro: int | None) -> float | None:
        """Return an amount in basis points of the value; None where the amount is unknown or the value is 0."""
        return None if micro is None or not self.value_micro else 1e4 * micro / self.value_micro


def shortfall(lots: int, lot_nano: int, decision_nano: int, pieces: Iterable[Piece], end_nano: int | None) -> Shortfall:
    """Compute the implementation shortfall of signed `lots` decided at the price `decision_nano`. Unfilled lots are
    valued at the price `end_nano`, None while they may still fill.

    `lot_nano` is the size of a lot in billionths of a unit. Amounts are exact integers until they are rounded to
    micro-currency.
    """
    delay = impact = fees = filled = 0  # delay and impact as lots x nano
    for piece in pieces:
        filled += piece.lots
        delay += piece.lots * (piece.arrival_nano - decision_nano)
        impact += piece.lots * (piece.price_nano - piece.arrival_nano)
        fees += piece.fee_micro
    unfilled = lots - filled
    opportunity = None
    if not unfilled:
        opportunity = 0
    elif end_nano is not None:
        opportunity = round_micro(notional_atto(unfilled, lot_nano, end_nano - decision_nano))[0]
    value = round_micro(notional_atto(abs(lots), lot_nano, decision_nano))[0]
    return Shortfall(value, round_micro(delay * lot_nano)[0], round_micro(impact * lot_nano)[0], fees, opportunity)


def added(parts: Iterable[Shortfall]) -> Shortfall:
    """Return the sum of several shortfalls; opportunity is unknown (None) in the sum if it is unknown in any of
    them."""
    value = delay = impact = fees = 0
    opportunity: int | None = 0
    for part in parts:
        value += part.value_micro
        delay += part.delay_micro
        impact += part.impact_micro
        fees += part.fees_micro
        if opportunity is not None:
            opportunity = None if part.opportunity_micro is None else opportunity + part.opportunity_micro
    return Shortfall(value, delay, impact, fees, opportunity)
