"""Alarms of one's own: a figure of the account with a bound, as text: "drawdown > 0.1", "price SPY < 400"."""

import re
from math import inf
from typing import Final, NamedTuple

from quantd.daemon.config.values import wrong

MOST: Final = 100
"""Most alarms of a configuration."""

OF_ACCOUNT: Final = ("equity", "drawdown", "day")
"""Figures of the whole account: its equity, the fraction below its highest worth, and the return of the day."""

OF_SYMBOL: Final = ("weight", "price")
"""Figures of one symbol: the value held over equity, and the last price."""

FRACTIONS: Final = {"drawdown": 1.0, "day": 1.0, "weight": 5.0}
"""Figures that are fractions -> a bound that they never reach: gross exposure is at most 4."""

_ALARM: Final = re.compile(
    rf"(?:({'|'.join(OF_ACCOUNT)})|({'|'.join(OF_SYMBOL)}) +(\S{{1,32}})) *([<>]) *(-?\d{{1,15}}(?:\.\d{{1,9}})?)"
)
_REMEDY: Final = 'write "equity < 95000", "drawdown > 0.1", "day < -0.02", "weight SPY > 0.3" or "price SPY < 400"'


class Alarm(NamedTuple):
    """An alarm: it is raised while `figure`, of `symbol` or of the account (""), is `above` or below its `bound`."""

    text: str
    figure: str
    symbol: str
    above: bool
    bound: float

    @property
    def name(self) -> str:
        """The name in the kind of its alerts, such as alarm_price_SPY_below_400."""
        words = self.text.replace("<", " below ").replace(">", " above ").replace("-", "minus ")
        return f"alarm_{re.sub(r'[^A-Za-z0-9]+', '_', words)}"


def alarm_of(text: str) -> Alarm | None:
    """Return the alarm that a text describes; None for any other text."""
    parts = _ALARM.fullmatch(text)
    if parts is None:
        return None
    return Alarm(text, parts[1] or parts[2], parts[3] or "", parts[4] == ">", float(parts[5]))


def alarm_texts(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return the texts of `alarms` in [alerts]. Refuses more than MOST, and a text that describes none or one twice."""
    if len(value) > MOST:
        wrong(f"has {len(value)} alarms", f"write at most {MOST}")
    texts: dict[str, str] = {}
    for text in value:
        if (alarm := alarm_of(text)) is None:
            wrong(f'has "{text[:80]}", which is no alarm', _REMEDY)
        if abs(alarm.bound) >= FRACTIONS.get(alarm.figure, inf):
            of = f"{alarm.figure} {alarm.symbol}".rstrip()
            fraction = f"{of} {'>' if alarm.above else '<'} {alarm.bound / 100:g}"
            wrong(f'has "{text}", and {alarm.figure} is a fraction, which is never there', f'write "{fraction}"')
        if (first := texts.setdefault(alarm.name, text)) is not text:
            wrong(f'has "{first}" and "{text}", which are one alarm', "remove one of them")
    return value
