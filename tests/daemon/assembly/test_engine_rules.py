"""The rules of the engine that follow from the record of a venue."""

from pathlib import Path

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import parts_of
from quantd.daemon.config import read
from quantd.trading.instruments import NANO
from tests.support.known_names import SMALL

COIN = SMALL.replace('symbols = ["SPY", "QQQ"]', 'symbols = ["BTC/USD"]\ncalendar = "24/7"').replace(
    'path = "bars.parquet"', 'kind = "ccxt"\nvenue = "kraken"\ninterval = "1m"'
)


@pytest.mark.requirement("R-170")
@pytest.mark.parametrize(
    ("broker", "micro"),
    [
        ('kind = "alpaca"', 0),
        ('kind = "ccxt"\nvenue = "bybit"', 1_000),
        ('kind = "ccxt"\nvenue = "bybit"\ncash_tolerance = "0.01"', 10_000),
    ],
)
def test_fees_finer_than_the_books_are_no_difference_in_cash(tmp_path: Path, broker: str, micro: int) -> None:
    config = read(COIN.replace("[risk]", f"{broker}\n[risk]"), known_names())
    assert parts_of(config, 1_790_000_000 * NANO, cache=tmp_path).rules.cash_tolerance_micro == micro
