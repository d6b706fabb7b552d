"""The short form of tests.proofs.live_day: the whole daemon at a wire-level venue, with everything cut off
that can be."""

from pathlib import Path

import pytest

from tests.proofs.live_day import KINDS, VENUES, day


@pytest.mark.long
@pytest.mark.parametrize("venue", VENUES)
async def test_venue_path_stream_and_feed_go_away_and_the_books_are_the_venues(tmp_path: Path, venue: str) -> None:
    if venue != "alpaca":
        pytest.importorskip("ccxt")
    outcome = await day(tmp_path, minutes=20, scale=90, kinds=list(KINDS), times=1, seed=3, venue=venue)
    assert outcome.wrong == []
    assert set(outcome.cut) == set(KINDS)
    assert outcome.summary.fills > 10, "it traded"
