"""Random scripts: whatever happens to requests and news, asking settles it, and the books are equal."""

import asyncio

import pytest

from tests.proofs.conformance.scripts import scripts
from tests.proofs.conformance.suite import RIGS

SHORT = {"alpaca": range(40), "kraken": range(12), "binance": range(12), "bybit": range(12), "ibkr": range(25)}
LONG = {
    "alpaca": range(40, 300), "kraken": range(12, 60), "binance": range(12, 60), "bybit": range(12, 60),
    "ibkr": range(25, 300),
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
