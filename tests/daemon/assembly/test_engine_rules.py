"""The rules of the engine that follow from the record of a venue."""

from pathlib import Path

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import parts_of
from quantd.daemon.config import load
from quantd.trading.instruments import NANO

TEXT = """
[quantd]
name = "rules"
[universe]
symbols = ["BTC/USD"]
calendar = "24/7"
instruments = [{{ symbol = "BTC/USD", lot = "0.0001", tick = "0.01" }}]
[feed]
kind = "ccxt"
venue = "kraken"
interval = "1m"
[broker]
kind = "{kind}"
{venue}
cash = "1000.00"
{tolerance}
[[agents]]
name = "one"
policy = "equal_weight"
capital = 1.0
"""


@pytest.mark.requirement("R-170")
@pytest.mark.parametrize(
    ("kind", "tolerance", "micro"),
    [("alpaca", "", 0), ("ccxt", "", 1_000), ("ccxt", 'cash_tolerance = "0.01"', 10_000)],
)
def test_fees_finer_than_the_books_are_no_difference_in_cash(
    tmp_path: Path, kind: str, tolerance: str, micro: int
) -> None:
    path = tmp_path / "config.toml"
    venue = 'venue = "bybit"' if kind == "ccxt" else ""
    path.write_text(TEXT.format(kind=kind, venue=venue, tolerance=tolerance))
    rules = parts_of(load(path, known_names()), 1_790_000_000 * NANO, cache=tmp_path).rules
    assert rules.cash_tolerance_micro == micro
