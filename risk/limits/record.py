"""The record of one limit: everything that is known about it, in one place.

A module of this package that has a tuple `LIMITS` of records adds them to `quantd.risk.limits.catalogue`; so does an
entry point of the group `quantd.limits`, which names such a tuple in another package.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from quantd.risk.limits.bounds import Bounds, Span, Tighter, lower
from quantd.risk.limits.case import Account
from quantd.risk.limits.kinds import Cap, Form, Labels, Linear, Losses
from quantd.risk.limits.settings import FIELDS, Limits
from quantd.trading.instruments import Universe

Unit = Literal["share", "number", "money", "orders", "sessions", "hours", "none"]
"""share: a fraction, shown in percent; number: as it is; none: a limit that is kept or not, with nothing to measure."""

Section = Literal["orders", "losses", "alerts", "live", "venue", "broker"]
"""The part of docs/risk/limits.md that a key stands in. [risk] has those of the first three; [live], the venue and
[broker] set the others."""

Label = Callable[[Limits, str], str]
"""(limits, what the value is of) -> what the limit measures."""


class Refusal(NamedTuple):
    """Why an order is cut or refused. `code` is journalled: no other limit may ever have it. `name` is that of
    `Reason`.
    `sales_free`: the sales of the same decision may free what was cut."""

    code: int
    name: str
    text: str
    sales_free: bool = False


class Capped(NamedTuple):
    """Most lots of each symbol. `place` orders the caps: the first that cuts gives the reason, `code` where it is not
    the limit's first."""

    place: int
    largest: Cap
    code: int | None = None


class Rows(NamedTuple):
    """Linear in exposures."""

    place: int
    make: Callable[[Any, Limits, Universe], Sequence[Linear]]
    """(value, limits, universe) -> coefficients and bound of each row."""


class Families(NamedTuple):
    """Gross exposure of symbols with one label."""

    place: int
    make: Callable[[Any, Limits, Universe], Sequence[Labels]]


class Tails(NamedTuple):
    """A measure of the worst losses in some scenarios."""

    place: int
    make: Callable[[Any, Limits, Universe], Sequence[Losses]]


class Forms(NamedTuple):
    """A quadratic form of exposures."""

    place: int
    make: Callable[[Any, Limits], Sequence[Form]]


class Counts(NamedTuple):
    """Orders: `used` of an account already, of at most `most` of the value."""

    place: int
    used: Callable[[Account], int]
    most: Callable[[Any], int] = int


class Pairs(NamedTuple):
    """Two instruments that move together: `quantd.risk.pairs` reads the threshold and the bound."""

    place: int


Kind = Capped | Rows | Families | Tails | Forms | Counts | Pairs


class Held(NamedTuple):
    """What a book holds, as shares of its equity: the heaviest position, `net` and `gross` exposure, the sum of squared
    weights when it is called, and what was `traded` in this session."""

    heaviest: float
    net: float
    gross: float
    herfindahl: Callable[[], float]
    traded: float


def of_one(text: str, heaviest: str = "") -> Label:
    """A label that names what the value is of: "sector technology", else "sector weight, heaviest"."""
    return lambda limits, about: f"{text} {about}" if about else f"{text}{heaviest}"


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: a field of `Limits`, a key of its `extra`, or a condition that is always checked.

    `place` orders what people read. `example` is a line for config.toml that switches it on; empty: it is always on, or
    nothing to set. `always`: it is on in every set, or describes how others are measured. `on_breach`: a plan may use
    it up by intention, so alerts report a breach and not a use. `floor`: the value must not fall below the bound.
    `bounds`: what [risk] accepts, where that is one number or a duration; `table`: the type of the value in the file,
    where it differs from the field of `Limits`. `profiles`: its value in each profile that sets it. `about`: what it
    bounds, for docs/risk/limits.md; `enforced`: how, where that is none of its `kinds`.
    """

    key: str
    place: int
    label: str | Label
    unit: Unit = "share"
    refusals: tuple[Refusal, ...] = ()
    kinds: tuple[Kind, ...] = ()
    example: str = ""
    always: bool = False
    on_breach: bool = False
    floor: bool = False
    bounds: Bounds | Span | None = None
    table: Any = None
    tighter: Tighter = lower
    profiles: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    enforced: str = ""
    section: Section = "orders"
    measure: Callable[[Held], float] | None = None
    """Its value of a book, where that needs no scenarios; a row without one is measured by its coefficients."""

    @property
    def configured(self) -> bool:
        """Whether [risk], an agent's limits and [manual.limits] have the key."""
        return (self.key in FIELDS or self.bounds is not None) and self.section in ("orders", "losses", "alerts")

    def words(self, limits: Limits, about: str = "") -> str:
        """What the limit measures; `about` is what the value is of."""
        return self.label if isinstance(self.label, str) else self.label(limits, about)


NAMED: Final = {
    Capped: "cap", Rows: "row", Families: "family", Tails: "tail", Forms: "form", Counts: "count", Pairs: "pairs",
}  # fmt: skip
"""The kinds as docs/risk/limits.md names them."""
