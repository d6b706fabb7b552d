"""The short form of tests.proofs.live_day: the whole daemon at a wire-level venue, with everything cut off
that can be."""

from pathlib import Path

import pytest

from tests.proofs.live_day import DAEMON, KINDS, VENUES, day


@pytest.mark.long
@pytest.mark.parametrize("venue", VENUES)
async def test_venue_path_stream_and_feed_go_away_and_the_books_are_the_venues(tmp_path: Path, venue: str) -> None:
    if venue != "alpaca":
        pytest.importorskip("ib_async" if venue == "ibkr" else "ccxt")
    outcome = await day(tmp_path, minutes=20, scale=90, kinds=list(KINDS), times=1, seed=3, venue=venue)
    assert outcome.wrong == []
    assert set(outcome.cut) == set(KINDS)
    assert outcome.summary.fills > 10, "it traded"


@pytest.mark.long
async def test_a_daemon_that_is_killed_goes_on_with_the_books_of_the_venue(tmp_path: Path) -> None:
    pytest.importorskip("ccxt")
    outcome = await day(
        tmp_path, minutes=20, scale=60, kinds=[DAEMON, "path"], times=2, seed=2, venue="binance"
    )  # fmt: skip
    assert outcome.wrong == []
    assert outcome.cut == {DAEMON: 2, "path": 2}
    assert outcome.summary.fills
