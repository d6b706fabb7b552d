"""Where bars come from: the protocols that vendors implement and that wrappers compose."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol, runtime_checkable

from quantd.adapters.feeds.bars.rows import ActionRow, Rows
from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.trading.events import Halted, Limited
from quantd.trading.exit_codes import ExplainedError
from quantd.trading.sessions import DAY_NS


class SourceError(ExplainedError):
    """A vendor that gave no usable answer. `again` says whether asking again may help: a wrong key or an unknown symbol
    does not become right by it; `after_s` is how long the vendor asked us to wait."""

    def __init__(self, source: str, what: str, remedy: str = "", *, again: bool = True, after_s: float = 0.0) -> None:
        self.source, self.what, self.remedy, self.again, self.after_s = source, what, remedy, again, after_s
        super().__init__(f"{source}: {what}" + (f". {remedy}" if remedy else ""))


class Source(Protocol):
    """A vendor of bars for one universe and one interval. Prices are raw (`adjusted` says where they are not), exact
    from the vendor's text where it sends text."""

    @property
    def name(self) -> str: ...

    @property
    def stamps(self) -> Stamps:
        """How it dates its bars."""
        ...

    @property
    def adjusted(self) -> bool: ...

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Bars of the whole universe whose stamp lies in [start_ns, end_ns), ns UTC, as the vendor has them, the one
        that is still being made among them if the vendor gives it. Raises SourceError, and never makes up a bar."""
        ...

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Splits and dividends with an ex date in [start_ns, end_ns), as far as they are known now. Raises
        SourceError."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class TellsHalts(Protocol):
    """A stream, or a feed over one, that hears of halts and of limits up and down."""

    def tell_halts(self, told: Callable[[Halted | Limited], None]) -> None:
        """Who is told, as it comes. Before it is read."""
        ...


class Stream(Protocol):
    """A vendor that sends bars as they are made."""

    def bars(self) -> AsyncGenerator[Rows, None]:
        """New bars, a few rows at a time; a corrected bar is sent again.

        Raises SourceError when the connection is lost. The reader then queries the missed bars and calls it again.
        """
        ...

    async def close(self) -> None: ...


MUST_TRADE_NS = 10 * DAY_NS
"""No exchange closes for this long: a range as long as this without a bar is a missing answer, a shorter one may be a
holiday or a quiet minute."""


class PartialAnswer(SourceError):
    """`rows` are the bars of the other symbols, if there are others; `missing` names those without any."""

    def __init__(
        self, source: str, rows: Rows, missing: Sequence[str], why: str = "", remedy: str = "", *, again: bool = False
    ) -> None:
        self.rows, self.missing, self.why = rows, tuple(missing), why
        what = f"no bar of {some(missing)}" + (f": {why}" if why else "")
        super().__init__(source, what, remedy or "Check the range, and how the vendor spells them", again=again)


def some(names: Sequence[str]) -> str:
    """The first of many names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def whole(source: str, rows: Rows, symbols: Sequence[str], start_ns: int, end_ns: int) -> Rows:
    """`rows`, or the error where a range that must hold bars holds none of some symbol. Raises SourceError."""
    if end_ns - start_ns < MUST_TRADE_NS:
        return rows
    present = set(rows.column.tolist())
    missing = [symbol for column, symbol in enumerate(symbols) if column not in present]
    if missing:
        raise PartialAnswer(source, rows, missing, "an empty answer" if len(missing) == len(symbols) else "")
    return rows
