"""The types of values in a configuration, each parsed exactly and limited to a plausible range."""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

from quantd.daemon.config.mistakes import nearest
from quantd.trading.execution import MOST
from quantd.trading.instruments import MICRO, NANO

T = TypeVar("T")

_UNITS_NS = {
    "ms": 1_000_000,
    "s": NANO,
    "m": 60 * NANO,
    "h": 3_600 * NANO,
    "d": 86_400 * NANO,
    "w": 604_800 * NANO,
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_DECIMAL = re.compile(r"-?\d+(\.\d+)?")
_PERCENTS = re.compile(r"([1-9]\d?)/([1-9]\d?)")
_WEIGHT = re.compile(r"\d+(\.\d+)?|\.\d+")


class Written:
    """Marks a field whose value is text in the file, so that an override's text is not read as a number."""


Looser = Literal["higher", "lower", "fewer", "fixed"]


class Reload(NamedTuple):
    """Marks a limit by the change that makes it looser: a `higher` value, a `lower` value, or `fewer` names.

    A `fixed` value changes only at a start. With `on` the limit has a default, so that adding the key may loosen it.
    """

    looser: Looser
    on: bool = False


START = Reload("fixed")
"""Marks a value that changes only at a start of the daemon."""


def wrong(text: str, remedy: str = "") -> NoReturn:
    """Refuse a value: raises PydanticCustomError, whose message is `[section] key = value`, `text`, then `remedy`."""
    raise PydanticCustomError("wrong", "{text}", {"text": text, "remedy": remedy})


def bounds(low: float, high: float, *, above: bool = False, percent: bool = False) -> AfterValidator:
    """Return the check of a number from `low` to `high`; with `above` it must be greater than `low`.

    With `percent` a value such as 15 probably means 0.15, and the remedy says so.
    """

    def check(value: float) -> float:
        def fits(number: float) -> bool:
            return low < number <= high if above else low <= number <= high

        if fits(value):
            return value
        if value < 0 <= low:
            wrong("is negative", f"write {-value:g}" if fits(-value) else f"write {low:g} to {high:g}")
        # 1.4 for a maximum of 1 is too large, 14 is probably a percentage
        if percent and 2 * high <= value <= 100 * high and fits(value / 100):
            wrong("is a percentage", f"write {value / 100:g}")
        at_least = f"above {low:g}" if above else f"at least {low:g}"
        wrong("is too small" if value <= low else "is too large", f"write a value {at_least} and at most {high:g}")

    return AfterValidator(check)


def _no_fraction(value: float) -> float:
    """Refuse a cost below a hundredth of a basis point, which is a fraction of the value that was traded."""
    if 0.0 < value < 0.01:
        wrong("is a fraction, and a basis point is 0.0001", f"write {value * 1e4:g}")
    return value


def _exact(unit: int, places: int, what: str) -> BeforeValidator:
    """Return the parser of a positive decimal number, as text or a whole number, to an exact integer in units of
    1/`unit`.

    The number may have `places` decimal places; `what` describes it in messages.
    """

    def parse(value: Any) -> int:
        if isinstance(value, float):
            wrong(f"is a number without exact decimals; {what} is text", f'write "{value!r}"')
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            wrong(f"is not {what}", 'write text, "1000.00"')
        try:
            if isinstance(value, str) and not _DECIMAL.fullmatch(value):
                raise InvalidOperation
            exact = Decimal(value) * unit
        except InvalidOperation:
            wrong(f"is not {what}", 'write digits with a point, "1000.00", and no currency sign or separator')
        if exact != int(exact):
            wrong(f"has more than {places} decimal places")
        if abs(exact) > MOST:
            wrong("is too large", f'write "{MOST // unit}" at most')
        if exact <= 0:
            wrong("is not above 0")
        return int(exact)

    return BeforeValidator(parse)


def duration_ns(text: str) -> int:
    """Return the nanoseconds of a duration such as "30h". Raises ValueError for a text that is no duration."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return int(Decimal(match[1]) * _UNITS_NS[match[2]])


def duration(low: str, high: str) -> BeforeValidator:
    """Return the parser of a text such as "30h" to nanoseconds, which must be between two durations."""

    def parse(value: Any) -> int:
        try:
            ns = duration_ns(value) if isinstance(value, str) else -1
        except ValueError:
            ns = -1
        if ns < 0:
            months = '; for months a schedule has cron = "0 9 1 * *"' if value in ("month", "monthly") else ""
            wrong("is not a duration", f'write a number and a unit, "30h", with ms, s, m, h, d or w{months}')
        if not duration_ns(low) <= ns <= duration_ns(high):
            wrong("is out of bounds", f"write {low} to {high}")
        return ns

    return BeforeValidator(parse)


EQUITY, BOND = "equity", "bond"
"""The two asset classes of a mix such as 60/40."""


def mix_of(text: str) -> dict[str, float] | None:
    """Return the weights of a benchmark that is a mix; None for a single name.

    A mix is written "SPY:0.6,TLT:0.4", or "60/40" for percents of EQUITY and BOND. Raises ValueError for weights that
    are not above 0 or that sum to more than 1, and for two percents that do not sum to 100.
    """
    if percents := _PERCENTS.fullmatch(text):
        class_weights = {EQUITY: int(percents[1]) / 100, BOND: int(percents[2]) / 100}
        if int(percents[1]) + int(percents[2]) != 100:
            raise ValueError("the two percentages must sum to 100")
        return class_weights
    if ":" not in text:
        return None
    weights: dict[str, float] = {}
    for part in text.split(","):
        symbol, _, weight = part.partition(":")
        if _WEIGHT.fullmatch(weight) is None or float(weight) <= 0.0 or symbol in weights:
            raise ValueError(f'{part!r} is not "SYMBOL:weight" with a weight above 0, each symbol once')
        weights[symbol] = float(weight)
    if sum(weights.values()) > 1.0 + 1e-9:
        raise ValueError(f"the weights sum to {sum(weights.values()):g}; they may sum to 1 at most")
    return weights


def pattern(regex: str, what: str) -> AfterValidator:
    """Return the check of a text, which must match `regex` in full; `what` describes a valid text in the message."""
    compiled = re.compile(regex)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            wrong("is not valid", f"write {what}")
        return value

    return AfterValidator(check)


def filled(remedy: str) -> AfterValidator:
    """Return the check of a list in config.toml, which must not be empty; `remedy` goes into the message."""

    def check(value: tuple[T, ...]) -> tuple[T, ...]:
        return value or wrong("is empty", remedy)

    return AfterValidator(check)


def distinct(attribute: str = "") -> AfterValidator:
    """Return the check of a list whose elements, or this attribute of them, must differ."""

    def check(value: tuple[T, ...]) -> tuple[T, ...]:
        names = [getattr(element, attribute) if attribute else element for element in value]
        for k, name in enumerate(names):
            if name in names[:k]:
                wrong(f"names {name} twice")
        return value

    return AfterValidator(check)


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        near = nearest(value, sorted(available_timezones()))
        wrong("is not a time zone", f"Did you mean {near}?" if near else 'write a name like "America/New_York"')
    return value


def _cron(value: str) -> str:
    """Refuse a text that is no cron line of five fields, or that has weekday numbers; return it unchanged."""
    fields = value.split()
    if len(fields) != 5:
        wrong("is not a cron line", "write 5 fields: minute, hour, day, month, weekday")
    if any(c.isdigit() for c in fields[4].split("/")[0]):
        wrong("has weekday numbers, which are ambiguous", "write names, mon-fri")
    from apscheduler.triggers.cron import CronTrigger  # imported only for cron lines, because the import is slow

    try:
        CronTrigger.from_crontab(value, timezone="UTC")
    except ValueError as error:
        wrong(f"is not a cron line ({error})")
    return value


def _url(value: str) -> str:
    if not value.isprintable() or " " in value:
        wrong("has a space, a line feed or another character that no address has", "remove it")
    authority = value.partition("://")[2].split("/")[0]
    if "@" in authority and ":" in authority.rpartition("@")[0]:
        wrong("has a password", "passwords come from systemd credentials or the environment (README, Secrets)")
    return value


Fraction = Annotated[float, bounds(0, 1, percent=True)]
"""A number from 0 to 1."""
Share = Annotated[float, bounds(0, 1, above=True, percent=True)]
"""A number above 0, at most 1."""
HIGHEST_MULTIPLE = 4
"""Largest exposure that can be configured, as a multiple of equity."""
BasisPoints = Annotated[float, bounds(0, 1_000), AfterValidator(_no_fraction)]
Money = Annotated[int, _exact(MICRO, 6, "an amount of money"), Written()]
"""An amount of money: text in the file, an int in micro-currency here."""
MoneyCap = Annotated[Money, Reload("higher")]


def _no_withdrawal(value: Any) -> Any:
    """Refuse a negative amount; return any other value unchanged."""
    if str(value).strip().startswith("-"):
        wrong("is a withdrawal", "schedules only pay in: withdraw with `quantd cash remove`, or at the venue")
    return value


Deposit = Annotated[int, _exact(MICRO, 6, "an amount of money"), BeforeValidator(_no_withdrawal), Written()]
"""An amount of money that a schedule pays in: text in the file, an int in micro-currency here."""
Size = Annotated[int, _exact(NANO, 9, "a size"), Written()]
"""A size: text or a whole number in the file, an int in nano-units here."""
Zone = Annotated[str, AfterValidator(_zone)]
Cron = Annotated[str, AfterValidator(_cron)]
Url = Annotated[str, AfterValidator(_url)]
TICKER = r"[A-Z0-9][A-Za-z0-9./_=^-]{0,31}"
INDEX = re.compile(rf"\^{TICKER}")
TICKER_TEXT = "a ticker: a capital or a digit, then letters, digits and . / _ = ^ -"


def _tradable(text: str) -> str:
    if INDEX.fullmatch(text):
        wrong("is an index, which cannot trade", "write it as [universe] benchmark, or its file as [[feed.macro]]")
    return text


Symbol = Annotated[str, AfterValidator(_tradable), pattern(TICKER, TICKER_TEXT)]
Benchmark = Annotated[str, pattern(rf"|\^?{TICKER}", f"{TICKER_TEXT}, or an index such as ^GSPC")]
Name = Annotated[
    str, pattern(r"[a-z][a-z0-9_-]{0,31}", "a lower-case letter, then lower-case letters, digits, _ or -, at most 32")
]


class Section(BaseModel):
    """A table of the file. A field with a unit in its name has the key of the file as its alias."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
