"""The short form of `tests.proofs.venue_storm`."""

from pathlib import Path

import pytest

from tests.proofs.live_day import VENUES
from tests.proofs.venue_storm import storm


@pytest.mark.long
@pytest.mark.parametrize(
    "venue", [pytest.param(venue, marks=[pytest.mark.slow] if venue != "alpaca" else []) for venue in VENUES]
)
async def test_two_books_in_opposite_directions_never_trade_with_each_other_nor_keep_each_other_in(
    tmp_path: Path, venue: str
) -> None:
    if venue != "alpaca":
        pytest.importorskip("ib_async" if venue == "ibkr" else "ccxt")
    found = await storm(tmp_path, venue, 60, seed=1)
    assert found.faults == []
    assert found.arrived >= 60
    assert found.exits
