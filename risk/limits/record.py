"""The record of one risk limit: all facts about it in one place.

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
    """The reason for which an order is reduced or refused.

    `code` is journalled and unique; `name` is the name of the member of `Reason`. Lots that were cut may pass later:
    `sales_free` by the proceeds of sales of the same decision, `fills_free` by fills at better than worst prices, as
    far as the position is within its limit, `time_frees` by the volume or the count of a later time.
    """

    code: int
    name: str
    text: str
    sales_free: bool = False
    fills_free: bool = False
    time_frees: bool = False


class Capped(NamedTuple):
    """A limit on each order by itself, from market data.

    Limits of this kind and of `Barred` apply in the order of `place`. The last one that reduces an order gives the
    reason: its `code` or, where `code` is None, the limit's first code. A `lasting` limit depends on the settings and
    the universe alone, and is computed once for them.
    """

    place: int
    largest: Cap
    code: int | None = None
    lasting: bool = False


class Barred(NamedTuple):
    """A limit that marks symbols in which no order may add to a position, from the state of the account.

    As in `Capped`, `place` is the order of application and `code` is the reason.
    """

    place: int
    refused: Bar
    code: int | None = None


class Rows(NamedTuple):
    """A limit on a weighted sum of exposures."""

    place: int
    make: Callable[[Any, Limits, Universe], Sequence[Linear]]
    """(value, limits, universe) -> coefficients and bound of each row."""


class Families(NamedTuple):
    """A limit on the gross exposure of all symbols of one group, such as a sector."""

    place: int
    make: Callable[[Any, Limits, Universe], Sequence[Labels]]


class Tails(NamedTuple):
    """A limit on the worst losses over scenarios."""

    place: int
    make: Callable[[Any, Limits, Universe], Sequence[Losses]]


class Forms(NamedTuple):
    """A limit on a quadratic form of exposures, such as volatility."""

    place: int
    make: Callable[[Any, Limits], Sequence[Form]]


class Counts(NamedTuple):
    """A limit on a number of orders: `used` counts the orders of an account, `most` returns the bound from the
    limit's value."""

    place: int
    used: Callable[[Account], int]
    most: Callable[[Any], int] = int


class Pairs(NamedTuple):
    """A limit on the joint weight of two correlated instruments."""

    place: int


class Openings(NamedTuple):
    """A limit on which positions are held together: it marks symbols in which no position may be opened.

    The marks are computed from the market, the account and the orders that comply with all other limits. Which symbols
    are refused must not depend on the sizes of the orders.
    """

    place: int
    refused: Opening


Kind = Capped | Barred | Rows | Families | Tails | Forms | Counts | Pairs | Openings


class Held(NamedTuple):
    """Exposures of a book as fractions of its equity: the `heaviest` (largest) position, `net`, `gross`, a function
    that computes the sum of squared weights, and the value `traded` in this session."""

    heaviest: float
    net: float
    gross: float
    herfindahl: Callable[[], float]
    traded: float


def heaviest_of(book: Held) -> float:
    return book.heaviest


def gross_of(book: Held) -> float:
    """Return long and short exposure of a book together, as a fraction of equity."""
    return book.gross


def net_of(book: Held) -> float:
    """Return the absolute net exposure of a book, as a fraction of equity."""
    return abs(book.net)


def herfindahl_of(book: Held) -> float:
    """Return the sum of squared weights of a book (Herfindahl's index)."""
    return book.herfindahl()


def of_one(text: str, heaviest: str = "") -> Label:
    """Return a label that names the measured group, as in "sector technology"; without a group, the label is `text`
    + `heaviest`."""
    return lambda limits, about: f"{text} {about}" if about else f"{text}{heaviest}"


@dataclass(frozen=True, slots=True)
class Limit:
    """One risk limit: a field of `Limits`, a key of `Limits.extra`, or a condition that always applies.

    - `place` sets the display order.
    - `example` is a config.toml line that switches the limit on; empty if it is always on.
    - `always`: the limit is on in every set, or describes how other limits are measured.
    - `on_breach`: alerts report only a breach, because a plan may use the limit fully.
    - `floor`: the bound is a minimum.
    - `bounds`: permitted range of the value in [risk], if that is one number or duration.
    - `table`: type of the value in the file, where it differs from the field of `Limits`.
    - `profiles`: the limit's value in each profile.

    The other fields are text for docs/risk/limits.md: `about` where the label is too short, `formula` in Markdown with
    the symbols of that page, `equity` of which the bound is a fraction; "" for none.
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
        """Whether the tables [risk], an agent's limits and [manual.limits] accept this limit's key."""
        return (self.key in FIELDS or self.bounds is not None) and self.section in ("orders", "losses", "alerts")

    def words(self, limits: Limits, about: str = "") -> str:
        """The measured quantity as text; `about` names the part that was measured, such as a sector."""
        return self.label if isinstance(self.label, str) else self.label(limits, about)
