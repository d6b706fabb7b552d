"""Decimal text of an exchange in our integers and back, never through float."""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Final

from quantd.trading.instruments import MICRO, NANO

_ONE: Final = Decimal(1)


class NotExact(ValueError):
    """A figure that is no number, or finer than we can hold."""


def decimal(text: object) -> Decimal:
    """A figure as the exchange wrote it. Raises NotExact for what is no finite number, and for a float: its text is lost."""
    if isinstance(text, float) or text is None:
        raise NotExact(f"{text!r} is no exact number")
    try:
        number = Decimal(str(text))
    except InvalidOperation:
        raise NotExact(f"{text!r} is no number") from None
    if not number.is_finite():
        raise NotExact(f"{text!r} is no number")
    return number


def nano(text: object) -> int:
    """A price or size in nano-units. Raises NotExact below 1e-9."""
    value = decimal(text) * NANO
    if value != value.to_integral_value():
        raise NotExact(f"{text} is finer than 0.000000001")
    return int(value)


def micro(text: object) -> int:
    """Money in micro-currency, half-even."""
    return int((decimal(text) * MICRO).quantize(_ONE, ROUND_HALF_EVEN))


def whole_lots(text: object, lot_nano: int) -> int:
    """A size in lots. Raises NotExact when it is not a whole number of them."""
    lots, rest = divmod(nano(text), lot_nano)
    if rest:
        raise NotExact(f"{text} is not a whole number of lots")
    return lots


def lots_and_odd(text: object, lot_nano: int) -> tuple[int, str]:
    """A holding in whole lots, towards zero, and what is left of it as exact text, empty for nothing."""
    amount = decimal(text)
    lot = Decimal(lot_nano) / NANO
    lots = int(amount / lot)
    rest = amount - lots * lot
    return lots, f"{rest.normalize():f}" if rest else ""


def text_of(value_nano: int) -> str:
    """Nano-units as plain decimal text: 1500000000 -> "1.5"."""
    return f"{(Decimal(value_nano) / NANO).normalize():f}"


def on_tick(price_nano: int, tick_nano: int, down: bool) -> int:
    """The nearest multiple of the tick below, or above."""
    return price_nano // tick_nano * tick_nano if down else -(-price_nano // tick_nano) * tick_nano
