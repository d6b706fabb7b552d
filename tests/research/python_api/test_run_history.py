"""`quantd.open_run`: a stored run as frames."""

import pytest

import quantd
from tests.support.command_line import answer, write
from tests.support.command_line import quantd as command


@pytest.fixture
def stored(folder):
    write(folder)
    told = answer(command(folder, "backtest", "--journal", "--json", "--no-compare"))
    return told, quantd.open_run(folder / "state" / "backtests")


def test_frames_hold_what_the_command_counted(stored):
    told, run = stored
    assert run.name == told["run"]
    assert run.mode == "backtest"
    assert len(run.orders) == told["orders"]
    assert len(run.fills) == told["fills"]
    assert len(run.alerts) == told["alerts"]
    assert run.equity["equity"][-1] == pytest.approx(float(told["equity"]))
    books = run.books.filter(run.books["ts"] == run.equity["ts"][-1])
    assert dict(zip(books["book"], books["equity"], strict=True)) == pytest.approx(
        {name: float(own) for name, own in told["books"].items()}
    )


def test_why_needs_no_configuration_in_the_current_folder(stored):
    _, run = stored
    assert "limit (house)" in str(run.why(run.orders["order"][-1]))
    with pytest.raises(LookupError, match="no order"):
        run.why("NOPE")


def test_a_run_is_found_by_name_and_can_be_read_again(stored, folder):
    told, run = stored
    again = quantd.open_run(folder / "state" / "backtests", told["run"])
    assert again.fills.equals(run.fills)
    assert run.refresh().equity.equals(run.equity)
    with pytest.raises(quantd.Error):
        quantd.open_run(folder / "state" / "backtests", "another")
