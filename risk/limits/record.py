"""The record of one limit: all facts about it in one place.

A module of this package with a tuple `LIMITS` of records adds them to `quantd.risk.limits.catalogue`. So does an entry
point of the group `quantd.limits` in another package.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from quantd.risk.limits.bounds import Bounds, Span, Tighter, lower
from quantd.risk.limits.case import Account
from quantd.risk.limits.kinds import Bar, Cap, Form, Labels, Linear, Losses, Opening
from quantd.risk.limits.settings import FIELDS, Limits
from quantd.trading.instruments import Universe

Unit = Literal["share", "number", "money", "orders", "sessions", "hours", "none"]
"""How a value is shown. share: a fraction, in percent; number: unchanged; none: a condition that measures nothing."""

Section = Literal["orders", "losses", "alerts", "regime", "live", "venue", "broker"]
"""The section of docs/risk/limits.md with the key. [risk] sets the keys of orders, losses and alerts; [risk.regime],
[live], the venue and [broker] set the keys of regime, live, venue and broker."""

Label = Callable[[Limits, str], str]
"""(limits, name of the measured part such as a sector, or "") -> text for the quantity that the limit measures."""


class Refusal(NamedTuple):
    """The reason for a cut. `code` is journalled and unique; `name` is the name of the member of `Reason`.
    `sales_free`: the proceeds of sales of the same decision may later permit the lots that were cut."""

    code: int
    name: str
    text: str
    sales_free: bool = False


class Capped(NamedTuple):
    """A bound on each order by itself, from the market. Caps and bars apply in the order of `place`, and the last one
    that cuts an order gives the reason: `code`, or where it is None the first code of the limit. A `lasting` bound
    depends on limits and universe alone, and is computed once for them."""

    place: int
    largest: Cap
    code: int | None = None
    lasting: bool = False


class Barred(NamedTuple):
    """Symbols in which no order may add to a position, from the state of the account. `place` and `code` as in
    `Capped`."""

    place: int
    refused: Bar
    code: int | None = None


class Rows(NamedTuple):
    """A bound on a sum of exposures with coefficients."""

    place: int
    make: Callable[[Any, Limits, Universe], Sequence[Linear]]
    """(value, limits, universe) -> coefficients and bound of each row."""


class Families(NamedTuple):
    """A bound on the gross exposure of all symbols of one group, such as a sector."""

    place: int
    make: Callable[[Any, Limits, Universe], Sequence[Labels]]


class Tails(NamedTuple):
    """A bound on the worst losses of scenarios."""

    place: int
    make: Callable[[Any, Limits, Universe], Sequence[Losses]]


class Forms(NamedTuple):
    """A bound on a quadratic form of exposures."""

    place: int
    make: Callable[[Any, Limits], Sequence[Form]]


class Counts(NamedTuple):
    """A bound on a number of orders: `used` counts the orders of an account, `most` is the bound from the value of the
    limit."""

    place: int
    used: Callable[[Account], int]
    most: Callable[[Any], int] = int


class Pairs(NamedTuple):
    """A bound on two correlated instruments."""

    place: int


class Openings(NamedTuple):
    """A bound on which positions are held together: symbols in which no position may be opened, from the market, the
    account and the orders that comply with all other limits. Which symbols are refused must not depend on sizes."""

    place: int
    refused: Opening


Kind = Capped | Barred | Rows | Families | Tails | Forms | Counts | Pairs | Openings


class Held(NamedTuple):
    """Exposures of a book as fractions of its equity: the `heaviest` position, `net`, `gross`, a function that computes
    the sum of squared weights, and the value `traded` in this session."""

    heaviest: float
    net: float
    gross: float
    herfindahl: Callable[[], float]
    traded: float


def heaviest_of(book: Held) -> float:
    """The heaviest position."""
    return book.heaviest


def gross_of(book: Held) -> float:
    """Long and short exposure together."""
    return book.gross


def net_of(book: Held) -> float:
    """The size of the net exposure."""
    return abs(book.net)


def herfindahl_of(book: Held) -> float:
    """Sum of squared weights."""
    return book.herfindahl()


def of_one(text: str, heaviest: str = "") -> Label:
    """Return a label that names the measured group, as in "sector technology"; without one, `text` + `heaviest`."""
    return lambda limits, about: f"{text} {about}" if about else f"{text}{heaviest}"


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: a field of `Limits`, a key of its `extra`, or a condition that always applies.

    `place` sets the display order. `example` is a config.toml line that switches it on; empty where it is always on.
    `always`: it is on in every set, or describes how other limits are measured. `on_breach`: alerts report a breach
    only, because a plan may use the limit fully. `floor`: the bound is a minimum. `bounds`: range of one number or
    duration in [risk]. `table`: type of the value in the file, where it differs from the field of `Limits`. `profiles`:
    its value in each profile. The rest is text for docs/risk/limits.md: `about` where the label is too short, `formula`
    in Markdown with the symbols of that page, `equity` of which the bound is a fraction; "" for none.
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
    formula: str = ""
    equity: str = ""
    section: Section = "orders"
    measure: Callable[[Held], float] | None = None
    """Measures a book without scenarios. A limit of kind `Rows` without it is measured by its coefficients."""

    @property
    def configured(self) -> bool:
        """Whether [risk], an agent's limits and [manual.limits] have the key."""
        return (self.key in FIELDS or self.bounds is not None) and self.section in ("orders", "losses", "alerts")

    def words(self, limits: Limits, about: str = "") -> str:
        """The measured quantity as text; `about` names the part that was measured, such as a sector."""
        return self.label if isinstance(self.label, str) else self.label(limits, about)
