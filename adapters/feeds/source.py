"""Protocols of sources and streams of bars, which vendors implement and wrappers compose."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final, Protocol, runtime_checkable

from quantd.adapters.feeds.bars.rows import ActionRow, Rows
from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.trading.events import Halted, Limited
from quantd.trading.exit_codes import ExplainedError
from quantd.trading.sessions import DAY_NS


class SourceError(ExplainedError):
    """A vendor without a usable answer.

    `again` is False where a repeat cannot succeed, as with a wrong key or an unknown symbol. `after_s` is the delay
    that the vendor requests.
    """

    def __init__(self, source: str, what: str, remedy: str = "", *, again: bool = True, after_s: float = 0.0) -> None:
        self.source, self.what, self.remedy, self.again, self.after_s = source, what, remedy, again, after_s
        super().__init__(f"{source}: {what}" + (f". {remedy}" if remedy else ""))


class Unreachable(SourceError):
    """A vendor whose host gives no answer; `why` follows "cannot be reached: "."""

    def __init__(self, source: str, host: str, why: str) -> None:
        self.host = host
        remedy = "Check the network and the address, or take another source; bars in a file need no network"
        super().__init__(source, f"{host} cannot be reached: {why}", remedy)


class Source(Protocol):
    """A vendor of bars for one universe and one interval. Prices are raw unless `adjusted`, and exact from text."""

    @property
    def name(self) -> str:
        """The name in texts and errors."""
        ...

    @property
    def stamps(self) -> Stamps:
        """The stamp convention of its bars."""

    @property
    def adjusted(self) -> bool:
        """Whether prices contain later splits and dividends."""
        ...

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Return the vendor's bars of the whole universe stamped in [start_ns, end_ns), ns UTC, unfinished too.

        A source adds no bar that the vendor lacks. Raises SourceError where the vendor does not answer, or not in full.
        """

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Return the known splits and dividends with an ex date in [start_ns, end_ns), ns UTC.

        Raises SourceError where the vendor does not answer, or not in full.
        """

    async def close(self) -> None:
        """Disconnect."""
        ...


@runtime_checkable
class TellsHalts(Protocol):
    """A stream, or a feed over one, that reports halts and price limits."""

    def tell_halts(self, receiver: Callable[[Halted | Limited], None]) -> None:
        """Register the receiver, before `bars` is read."""


@runtime_checkable
class AcceptsPrices(Protocol):
    """A feed that left out a suspicious bar, and can be told that its price is real."""

    def accept_price(self, column: int) -> None:
        """Compare the next bars of a column with its newest suspicious bar, no longer with the bars before that."""


class Stream(Protocol):
    """A vendor that sends bars at their close."""

    def bars(self) -> AsyncGenerator[Rows, None]:
        """New bars, a few rows at a time; a corrected bar is sent again.

        Raises SourceError when the connection is lost. The reader then queries the missed bars and calls it again.
        """

    async def close(self) -> None:
        """Disconnect."""
        ...


FIRST_ANSWER_S: Final = 4.0
"""Longest time that a request waits for the first answer of a vendor. Later requests wait as long as they may: a host
that answers slowly answers the second one."""

MUST_TRADE_NS = 10 * DAY_NS
"""No exchange closes for this long: such a range without a bar is an error, a shorter one may be a holiday."""


class PartialAnswer(SourceError):
    """An answer without bars of the symbols in `missing`; `rows` are the bars of the others."""

    def __init__(self, source: str, rows: Rows, missing: Sequence[str], why: str = "", *, again: bool = False) -> None:
        self.rows, self.missing, self.why = rows, tuple(missing), why
        what = f"no bar of {some(missing)}" + (f": {why}" if why else "")
        super().__init__(source, what, "Check the range, and how the vendor spells them", again=again)


def some(names: Sequence[str]) -> str:
    """The first five names, and the number of the others."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def whole(source: str, rows: Rows, symbols: Sequence[str], start_ns: int, end_ns: int) -> Rows:
    """Return `rows`. Raises PartialAnswer if a range of MUST_TRADE_NS or more has no bar of some symbol."""
    if end_ns - start_ns < MUST_TRADE_NS:
        return rows
    present = set(rows.column.tolist())
    missing = [symbol for column, symbol in enumerate(symbols) if column not in present]
    if missing:
        raise PartialAnswer(source, rows, missing, "an empty answer" if len(missing) == len(symbols) else "")
    return rows
