"""Protocols of sources and streams of bars, which vendors implement and wrappers compose."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from quantd.adapters.feeds.bars.rows import ActionRow, Rows
from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.trading.display_text import some
from quantd.trading.events import Action, Halted, Limited
from quantd.trading.exit_codes import ExplainedError
from quantd.trading.sessions import DAY_NS


class SourceError(ExplainedError):
    """A vendor gave no usable answer.

    `again` is False where a repeated request cannot succeed, as with a wrong API key or an unknown symbol. `after_s` is
    the delay in seconds that the vendor requests before the next one.
    """

    def __init__(self, source: str, what: str, remedy: str = "", *, again: bool = True, after_s: float = 0.0) -> None:
        self.source, self.what, self.remedy, self.again, self.after_s = source, what, remedy, again, after_s
        super().__init__(f"{source}: {what}" + (f". {remedy}" if remedy else ""))


class Unreachable(SourceError):
    """The vendor's host gives no answer; `why` is the reason, after "cannot be reached: " in the message."""

    def __init__(self, source: str, host: str, why: str) -> None:
        self.host = host
        remedy = "Check the network and the address, or take another source; bars in a file need no network"
        super().__init__(source, f"{host} cannot be reached: {why}", remedy)


class Source(Protocol):
    """A vendor of bars for one universe and one interval. Prices are raw unless `adjusted`, and exact from text."""

    @property
    def name(self) -> str:
        """The vendor's name in messages."""
        ...

    @property
    def stamps(self) -> Stamps:
        """What the stamps of its bars are: session dates, opens or closes."""

    @property
    def adjusted(self) -> bool:
        """Whether prices are adjusted for later splits and dividends."""
        ...

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Return the vendor's bars of the whole universe stamped in [start_ns, end_ns), ns UTC, unfinished ones too.

        A source adds no bar that the vendor lacks. Raises SourceError where the vendor's answer is missing or
        incomplete.
        """

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Return the known splits and dividends with an ex date in [start_ns, end_ns), ns UTC.

        Raises SourceError where the vendor's answer is missing or incomplete.
        """

    async def close(self) -> None:
        """Disconnect."""
        ...


@runtime_checkable
class TellsHalts(Protocol):
    """A stream, or a feed over one, that reports halts and price limits."""

    def tell_halts(self, receiver: Callable[[Halted | Limited], None]) -> None:
        """Register the receiver. Call it before `bars` is read."""


@runtime_checkable
class AcceptsPrices(Protocol):
    """A feed that left out a suspicious bar, and can be told that its price is real."""

    def accept_price(self, column: int) -> None:
        """Take the newest suspicious bar of a column as real: compare the next bars with it, not with earlier bars."""


class Announced(NamedTuple):
    """The actions of a vendor around an instant: `coming` have not left the feed yet, `given` left it within a day."""

    coming: list[Action]
    given: list[Action]


@runtime_checkable
class Announces(Protocol):
    """A feed whose vendor lists splits, dividends and delistings before they take effect."""

    async def announced(self, after: int) -> Announced:
        """Query the vendor now, and return its actions up to those of the next opens. An action that `items` has missed
        so far is due there at once.

        Before `items` begins, the actions later than `after` (ns UTC) count as coming. Raises SourceError where the
        vendor's answer is missing or incomplete.
        """
        ...


class Stream(Protocol):
    """A vendor that sends bars at their close."""

    def bars(self) -> AsyncGenerator[Rows, None]:
        """Yield new bars, a few rows at a time; a corrected bar is sent again.

        Raises SourceError when the connection is lost. The reader then queries the missed bars and calls `bars` again.
        """

    async def close(self) -> None:
        """Disconnect."""
        ...


FIRST_ANSWER_S: Final = 4.0
"""Longest time that a vendor's first answer may take, in seconds. Later requests wait longer: a host that has answered
once can be reached, if slowly."""

MUST_TRADE_NS = 10 * DAY_NS
"""No exchange closes for this long: a range so long without a bar is an error, a shorter one may be a holiday."""


class PartialAnswer(SourceError):
    """A vendor's answer has no bars of the symbols in `missing`; `rows` are the bars of the other symbols."""

    def __init__(self, source: str, rows: Rows, missing: Sequence[str], why: str = "", *, again: bool = False) -> None:
        self.rows, self.missing, self.why = rows, tuple(missing), why
        what = f"no bar of {some(missing)}" + (f": {why}" if why else "")
        super().__init__(source, what, "Check the range, and how the vendor spells these symbols", again=again)


def whole(source: str, rows: Rows, symbols: Sequence[str], start_ns: int, end_ns: int) -> Rows:
    """Return `rows`. Raises PartialAnswer if a range of MUST_TRADE_NS or more has no bar of a symbol."""
    if end_ns - start_ns < MUST_TRADE_NS:
        return rows
    present = set(rows.column.tolist())
    missing = [symbol for column, symbol in enumerate(symbols) if column not in present]
    if missing:
        raise PartialAnswer(source, rows, missing, "an empty answer" if len(missing) == len(symbols) else "")
    return rows
