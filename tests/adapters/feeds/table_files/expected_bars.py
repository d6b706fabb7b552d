"""Expected bars of the corpus: generated random walks on real sessions, kept as CSV in `expected/`.

No price is a vendor's. `ts` of a day is its date; `ts` of a shorter bar is its open in UTC.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
EXPECTED: Final = HERE / "expected"
HEADER: Final = "ts,symbol,open,high,low,close,volume"

HOLIDAYS: Final = {date(2024, 3, 29), date(2024, 4, 1)}
"""Good Friday closes New York, London, Frankfurt and Paris; Easter Monday closes the European exchanges."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar. `ts` is midnight UTC of the session's date, or the bar's open in UTC."""

    ts: datetime
    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    @property
    def day(self) -> date:
        return self.ts.date()


@dataclass(frozen=True, slots=True)
class Walk:
    """A random walk: first price, decimals of prices, largest step in ticks, typical volume and its decimals."""

    symbol: str
    first: str
    decimals: int
    step: int
    volume: int
    volume_decimals: int = 0

    def bars(self, stamps: Sequence[datetime]) -> list[Bar]:
        """A bar for each stamp; the draws depend on the symbol and on the first stamp alone."""
        draw = random.Random(f"{self.symbol} {stamps[0].isoformat()}")
        price = int(Decimal(self.first).scaleb(self.decimals))
        bars = []
        for stamp in stamps:
            opened = price + draw.randint(-self.step // 4, self.step // 4)
            price = opened + draw.randint(-self.step, self.step)
            high = max(opened, price) + draw.randint(1, max(1, self.step // 3))
            low = min(opened, price) - draw.randint(1, max(1, self.step // 3))
            volume = draw.randint(self.volume // 2, self.volume * 2)
            first, top, bottom, last = (Decimal(level).scaleb(-self.decimals) for level in (opened, high, low, price))
            bars.append(
                Bar(stamp, self.symbol, first, top, bottom, last, Decimal(volume).scaleb(-self.volume_decimals))
            )
        return bars


def weekdays(first: date, last: date, closed: Iterable[date]) -> list[datetime]:
    """Midnight UTC of each weekday that is no holiday."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return [datetime(d.year, d.month, d.day, tzinfo=UTC) for d in days if d.weekday() < 5 and d not in set(closed)]


def spaced(first: datetime, count: int, minutes: int) -> list[datetime]:
    """`count` stamps, `minutes` apart."""
    return [first + timedelta(minutes=minutes * n) for n in range(count)]


def divided(bars: Sequence[Bar], day: date, ratio: int) -> list[Bar]:
    """The bars with a split of ratio:1 on a day: prices from there on are divided, volumes multiplied."""
    cent = Decimal("0.01")

    def split(bar: Bar) -> Bar:
        first, top, bottom, last = (
            (price / ratio).quantize(cent) for price in (bar.open, bar.high, bar.low, bar.close)
        )
        return Bar(bar.ts, bar.symbol, first, top, bottom, last, bar.volume * ratio)

    return [split(bar) if bar.day >= day else bar for bar in bars]


NEW_YORK: Final = weekdays(date(2024, 2, 26), date(2024, 4, 5), HOLIDAYS - {date(2024, 4, 1)})
FRANKFURT: Final = weekdays(date(2024, 3, 1), date(2024, 4, 12), HOLIDAYS)
US: Final = (
    Walk("AAPL", "181.20", 2, 320, 52_000_000),
    Walk("MSFT", "407.50", 2, 610, 21_000_000),
    Walk("BKNG", "3502.40", 2, 5200, 240_000),
)
SPLIT_DAY: Final = date(2024, 3, 18)
EX_DAY: Final = date(2024, 3, 7)
"""Of AAPL in `us-split-days`: a split of 4:1, and a dividend of 0.24."""


def tables() -> dict[str, list[Bar]]:
    """Name -> bars of each expected table, sorted by symbol as listed and by time.

    `us-minutes` crosses New York's change of clocks on 2024-03-10, `fx-minutes` and the hours cross London's on
    2024-03-31 and 2025-03-30.
    """
    bitcoin = Walk("BTCUSDT", "69450.00", 2, 42_000, 14_500_000, 5)
    march = [datetime(2024, 3, n, tzinfo=UTC) for n in range(1, 32)]
    friday, monday = datetime(2024, 3, 8, 14, 30, tzinfo=UTC), datetime(2024, 3, 11, 13, 30, tzinfo=UTC)
    euro = Walk("EURUSD", "1.07910", 5, 12, 180)
    late, sunday = datetime(2024, 3, 29, 20, tzinfo=UTC), datetime(2024, 3, 31, 21, 5, tzinfo=UTC)
    return {
        "us-days": [bar for walk in US for bar in walk.bars(NEW_YORK)],
        "us-split-days": divided(Walk("AAPL", "724.80", 2, 1280, 13_000_000).bars(NEW_YORK), SPLIT_DAY, 4),
        "us-minutes": Walk("AAPL", "169.00", 2, 34, 640_000).bars([*spaced(friday, 78, 5), *spaced(monday, 66, 5)]),
        "eu-days": Walk("RMS", "2310.50", 2, 3900, 55_000).bars(FRANKFURT),
        "coin-days": [
            *bitcoin.bars(march),
            *Walk("ETHUSDT", "3341.92", 2, 9_000, 31_000_000, 4).bars(march),
            *Walk("ADABTC", "0.00001045", 8, 21, 4_100_000_0, 1).bars(march),
        ],
        "coin-hours": bitcoin.bars(spaced(datetime(2024, 3, 29, 12, tzinfo=UTC), 60, 60)),
        "coin-hours-2025": Walk("BTCUSDT", "84120.00", 2, 30_000, 60_000_000, 5).bars(
            spaced(datetime(2025, 3, 29, tzinfo=UTC), 48, 60)
        ),
        "fx-minutes": euro.bars([*spaced(late, 60, 1), *spaced(sunday, 60, 1)]),
    }


def csv_text(bars: Sequence[Bar], *, days: bool) -> str:
    """A table as it is kept: days as dates, shorter bars in ISO with Z, numbers with all their digits."""
    form = "%Y-%m-%d" if days else "%Y-%m-%dT%H:%M:%SZ"
    lines = [
        f"{bar.ts.strftime(form)},{bar.symbol},{bar.open:f},{bar.high:f},{bar.low:f},{bar.close:f},{bar.volume:f}"
        for bar in bars
    ]
    return "\n".join([HEADER, *lines, ""])


def read_table(name: str) -> list[Bar]:
    """The bars of `expected/NAME.csv`."""
    head, *lines = (EXPECTED / f"{name}.csv").read_text().splitlines()
    if head != HEADER:
        raise ValueError(f"{name}: the header is {head}")
    bars = []
    for line in lines:
        ts, symbol, *numbers = line.split(",")
        stamp = datetime.fromisoformat(ts)
        bars.append(Bar(stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC), symbol, *map(Decimal, numbers)))
    return bars


def texts(bars: Mapping[str, Sequence[Bar]]) -> dict[str, str]:
    """File name -> content of each expected table."""
    return {f"{name}.csv": csv_text(rows, days=name.endswith("-days")) for name, rows in bars.items()}
