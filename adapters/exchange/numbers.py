"""Converts an exchange's decimal text to integers and back, never through float."""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Final

from quantd.trading.instruments import MICRO, NANO
from quantd.trading.orders import quantity_text

_ONE: Final = Decimal(1)


class NotExact(ValueError):
    """A value that is no number, has no exact decimal text, or has more decimals than the integer unit."""


def decimal(text: object) -> Decimal:
    """Parse a decimal. Raises NotExact for non-finite values, and for a float, whose original text is lost."""
    if isinstance(text, float) or text is None:
        raise NotExact(f"{text!r} has no exact decimal text: a number must come as text or as an integer")
    try:
        number = Decimal(str(text))
    except InvalidOperation:
        raise NotExact(f"{text!r} is no number") from None
    if not number.is_finite():
        raise NotExact(f"{text!r} is no number")
    return number


def nano(text: object) -> int:
    """Convert a price or size to nano-units (1e-9). Raises NotExact for more than nine decimals."""
    value = decimal(text) * NANO
    if value != value.to_integral_value():
        raise NotExact(f"{text} has more than nine decimals")
    return int(value)


def micro(text: object) -> int:
    """Convert money to micro-currency (1e-6), rounded half-even."""
    return int((decimal(text) * MICRO).quantize(_ONE, ROUND_HALF_EVEN))


def whole_lots(text: object, lot_nano: int) -> int:
    """Convert a size to lots. Raises NotExact when it is not a whole number of lots."""
    lots, remainder = divmod(nano(text), lot_nano)
    if remainder:
        raise NotExact(f"{text} is not a whole number of lots")
    return lots


def lots_and_odd(text: object, lot_nano: int) -> tuple[int, str]:
    """Split a holding into whole lots, truncated towards zero, and the remainder as exact text, empty for zero."""
    amount = decimal(text)
    lot = Decimal(lot_nano) / NANO
    lots = int(amount / lot)
    remainder = amount - lots * lot
    return lots, f"{remainder.normalize():f}" if remainder else ""


def text_of(value_nano: int) -> str:
    """Format nano-units as plain decimal text: 1500000000 -> "1.5"."""
    return quantity_text(value_nano, 1)


def on_tick(price_nano: int, tick_nano: int, down: bool) -> int:
    """Round a price to a multiple of the tick: down if `down`, else up."""
    return price_nano // tick_nano * tick_nano if down else -(-price_nano // tick_nano) * tick_nano
