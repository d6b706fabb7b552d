"""Books of agents as track records: a transfer of capital is no return."""

from pathlib import Path

import numpy as np
import pytest

from quantd.research.attribution.profit import profit
from quantd.research.reports.account_tracks import book_equity, tracks_of
from tests.support.backtest_reports import CONFIG, Made, made

MOVING = CONFIG + (
    '[capital]\nmethod = "equal_risk"\n[[schedules]]\nname = "shares"\ndo = "reallocate"\n'
    'cron = "0 16 * * fri"\ntimezone = "America/New_York"\n'
)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("moving"), MOVING)


@pytest.mark.long
def test_returns_of_a_book_are_its_profit_over_the_capital_that_earned_it(moving: Made) -> None:
    history = moving.history
    moved = np.diff(history.book_flows, axis=0)
    assert np.abs(moved[:, 0]).max() > 1_000.0
    earned = profit(history).summed("interval", "agent")
    tracks = {track.account.name: track.record for track in tracks_of(moving.assembly, moving.record, history, [])}
    for k, name in enumerate(("even", "trend")):
        expected = earned[:, k] / (history.book_equity[:-1, k] + moved[:, k])
        np.testing.assert_allclose(tracks[name].returns, expected, atol=1e-10)


SAVING = CONFIG + '[[schedules]]\nname = "savings"\ndo = "deposit"\namount = "50000.00"\ncron = "0 9 * * mon"\n'


@pytest.mark.long
def test_a_deposit_is_dated_for_a_book_as_for_the_account(tmp_path: Path) -> None:
    saving = made(tmp_path, SAVING)
    assert np.ptp(saving.history.book_flows[:, 0]) > 1_000.0
    tracks = tracks_of(saving.assembly, saving.record, saving.history, [])[1:]
    for k, track in enumerate(tracks):
        np.testing.assert_allclose(track.record.equity, saving.record.wealth_micro(k) / 1e6, rtol=1e-12)


def test_without_transfers_a_track_is_the_books_own_equity(small: Made) -> None:
    tracks = tracks_of(small.assembly, small.record, small.history, [])
    assert [track.account.name for track in tracks] == ["house", "even", "trend"]
    for k, track in enumerate(tracks[1:]):
        np.testing.assert_array_equal(track.record.equity, book_equity(small.record, k))
        value = small.history.quantity[:, k] * small.history.price
        np.testing.assert_allclose(track.record.net, value.sum(axis=1) / book_equity(small.record, k))


def test_a_book_without_equity_has_a_reason(tmp_path: Path, small: Made) -> None:
    books = [(0, *equities[1:]) for equities in small.record.books_micro]
    record = small.record
    kept, record.books_micro = record.books_micro, books
    try:
        track = tracks_of(small.assembly, record, small.history, [])[1]
    finally:
        record.books_micro = kept
    assert track.record is None
    assert "no equity" in track.account.missing
