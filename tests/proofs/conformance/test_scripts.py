"""Random scripts, three hundred at Alpaca's venue: whatever happens to requests and news, asking settles it, and the
books are equal."""

import asyncio

import pytest

from tests.proofs.conformance.scripts import scripts
from tests.proofs.conformance.suite import RIGS


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in RIGS if name != "paper"])
def test_whatever_happens_is_settled_by_asking(name: str) -> None:
    count = 300 if name == "alpaca" else 60  # ccxt takes a second for each on a busy machine
    assert asyncio.run(scripts(RIGS[name], range(count))) == []
