"""An answer in which some symbols are missing: an error that names them, with the bars that did come."""

from collections.abc import Sequence

from quantd.adapters.feeds.files import Rows
from quantd.adapters.feeds.source import SourceError
from quantd.trading.sessions import DAY_NS

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
