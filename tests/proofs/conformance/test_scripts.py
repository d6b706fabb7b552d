"""Random scripts, a hundred at Alpaca's venue: whatever happens to requests and news, asking settles it, and the books
are equal. `pytest -m slow` plays two hundred more."""

import asyncio

import pytest

from tests.proofs.conformance.scripts import scripts
from tests.proofs.conformance.suite import RIGS

SHORT = {"alpaca": range(100), "kraken": range(30), "binance": range(30), "bybit": range(30), "ibkr": range(60)}
LONG = {
    "alpaca": range(100, 300), "kraken": range(30, 60), "binance": range(30, 60), "bybit": range(30, 60),
    "ibkr": range(60, 300),
}  # fmt: skip
"""Seeds by venue; a script at an exchange of ccxt takes a second on a busy machine."""


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        pytest.param(name, seeds[name], id=f"{name} {seeds[name].start}", marks=mark)
        for seeds, mark in ((SHORT, pytest.mark.long), (LONG, pytest.mark.slow))
        for name in RIGS
        if name != "paper"
    ],
)
def test_whatever_happens_is_settled_by_asking(name: str, seeds: range) -> None:
    assert asyncio.run(scripts(RIGS[name], seeds)) == []
