"""The market data of a gateway of Interactive Brokers: history, bars of five seconds, farms that break, permissions.

Bars are those of the tape, as they were paid; what the gateway shows of them is divided by later splits, as the vendor
documents for TRADES, and by dividends too for ADJUSTED_LAST.
"""

from collections import Counter, deque
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from tests.support.venues.ibkr import Gateway, Session, frame

Tape = tuple[int, str, str, str, str, str]
"""Open of the bar (s since 1970), open, high, low, close, volume."""
STEP_S = {"1 min": 60, "5 mins": 300, "30 mins": 1800, "1 hour": 3600, "1 day": 86_400}
PAGE_DAYS = {"1 D": 1, "1 W": 7, "1 M": 28, "1 Y": 365}


class DataGateway(Gateway):
    """A gateway with market data. Its clock is `at_s`; a bar that is not over then is shown unfinished."""

    def __init__(self) -> None:
        super().__init__()
        self.tape: dict[str, list[Tape]] = {}
        self.step_s = 86_400
        self.splits: dict[str, list[tuple[date, Decimal]]] = {}
        self.dividends: dict[str, list[tuple[date, Decimal]]] = {}
        self.denied: dict[str, tuple[int, str]] = {}
        self.delayed_s: dict[str, int] = {}
        self.at_s = 2**40
        self.shows: Counter[str] = Counter()
        """Requests by what they show."""
        self.pages: list[tuple[str, str, str]] = []
        self.history_faults: deque[tuple[int, str]] = deque()
        self.unanswered = 0
        self.lines: dict[str, list[tuple[Session, str]]] = {}

    def _answer(self, session: Session, fields: list[str]) -> None:
        match fields[0]:
            case "20":
                self._history(session, fields)
            case "50":
                self._subscribe(session, fields)
            case _:
                super()._answer(session, fields)

    def _refused(self, session: Session, id: str, symbol: str) -> bool:
        refusal = self.denied.get(symbol)
        if symbol not in self.listed:
            refusal = (200, "No security definition has been found for the request")
        if refusal is not None:
            self._send(session, frame(4, 2, id, *refusal, ""))
        return refusal is not None

    def _history(self, session: Session, fields: list[str]) -> None:
        id, symbol, until, size, duration, show = (fields[k] for k in (1, 3, 15, 16, 17, 19))
        self.shows[show] += 1
        self.pages.append((symbol, until, duration))
        assert STEP_S[size] == self.step_s
        assert fields[18] == "1"  # regular hours
        if self.unanswered:
            self.unanswered -= 1
            return
        if self.history_faults:
            self._send(session, frame(4, 2, id, *self.history_faults.popleft(), ""))
            return
        if self._refused(session, id, symbol):
            return
        end_s = int(datetime.strptime(until, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC).timestamp())
        now_s = self.at_s
        if symbol in self.delayed_s:
            words = "Requested market data is not subscribed. Displaying delayed market data."
            self._send(session, frame(4, 2, id, 10167, words, ""))
            now_s -= self.delayed_s[symbol]
        first_s = end_s - PAGE_DAYS[duration] * 86_400
        tape = [bar for bar in self.tape.get(symbol, []) if first_s <= bar[0] < min(end_s, now_s)]
        if not tape:
            words = f"Historical Market Data Service error message:HMDS query returned no data: {symbol}@SMART Trades"
            self._send(session, frame(4, 2, id, 162, words, ""))
            return
        shown = [value for bar in tape for value in self._shown(symbol, bar, show)]
        self._send(session, frame(17, id, until, until, len(tape), *shown))

    def _shown(self, symbol: str, bar: Tape, show: str) -> list[object]:
        """A bar as the vendor shows it: after splits that have happened by the gateway's clock."""
        at, *prices, volume = bar
        day = datetime.fromtimestamp(at, UTC).date()
        today = datetime.fromtimestamp(min(self.at_s, 2**32), UTC).date()
        factor, share = Decimal(1), Decimal(1)
        for on, ratio in self.splits.get(symbol, []):
            if day < on <= today:
                factor *= ratio
        if show == "ADJUSTED_LAST":
            for on, cash in self.dividends.get(symbol, []):
                if day < on <= today:
                    share *= 1 - cash / Decimal(prices[3])
        numbers = [Decimal(price) / factor * share for price in prices]
        stamp = f"{day:%Y%m%d}" if self.step_s == 86_400 else str(at)
        return [stamp, *numbers, Decimal(volume) * factor, numbers[3], 1]

    # ---------------------------------------------------------------- in real time

    def _subscribe(self, session: Session, fields: list[str]) -> None:
        id, symbol = fields[2], fields[4]
        assert fields[15:18] == ["5", "TRADES", "1"]
        if not self._refused(session, id, symbol):
            self.lines.setdefault(symbol, []).append((session, id))

    def tick(self, symbol: str, at_s: int, price: str, volume: str = "10") -> None:
        """A bar of five seconds at one price."""
        for session, id in self.lines.get(symbol, []):
            self._send(session, frame(50, 3, id, at_s, price, price, price, price, volume, price, 1))

    def forget_subscriptions(self) -> None:
        """What a reset of the vendor's servers does."""
        self.lines.clear()


def days(first: date, count: int, price: str = "100") -> list[Tape]:
    """Daily bars of weekdays at about a price."""
    rows: list[Tape] = []
    day = first
    while len(rows) < count:
        if day.weekday() < 5:
            at = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
            k = Decimal(len(rows)) / 100
            opened, close = Decimal(price) + k, Decimal(price) + k + Decimal("0.05")
            rows.append((at, f"{opened}", f"{close + 1}", f"{opened - 1}", f"{close}", "1000"))
        day += timedelta(days=1)
    return rows
