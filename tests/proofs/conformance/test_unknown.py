"""The short form of ten thousand injected unknown outcomes."""

import asyncio

import pytest

from tests.proofs.conformance.suite import RIGS
from tests.proofs.conformance.unknown import Tally, venues


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in RIGS if name != "paper"])
def test_no_unknown_outcome_is_doubled_or_assumed(name: str) -> None:
    tally = Tally()
    asyncio.run(venues(RIGS[name], range(900, 902), 2, tally))
    assert tally.wrong == []
    assert tally.unknown >= 150
