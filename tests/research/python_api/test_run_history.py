"""`quantd.open_run`: a stored run as frames."""

import pytest

import quantd
from tests.support.command_line import answer, write
from tests.support.command_line import quantd as command


@pytest.fixture
def stored(folder):
    write(folder)
    document = answer(command(folder, "backtest", "--journal", "--json", "--no-compare"))
    return document, quantd.open_run(folder / "state" / "backtests")


def test_frames_hold_what_the_command_counted(stored):
    document, run = stored
    assert run.name == document["run"]
    assert run.mode == "backtest"
    assert len(run.orders) == document["orders"]
    assert len(run.fills) == document["fills"]
    assert len(run.alerts) == document["alerts"]
    assert run.equity["equity"][-1] == pytest.approx(float(document["equity"]))
    books = run.books.filter(run.books["ts"] == run.equity["ts"][-1])
    assert dict(zip(books["book"], books["equity"], strict=True)) == pytest.approx(
        {name: float(equity) for name, equity in document["books"].items()}
    )


@pytest.mark.long
def test_why_needs_no_configuration_in_the_current_folder(stored):
    _, run = stored
    assert "limit (house)" in str(run.why(run.orders["order"][-1]))
    with pytest.raises(LookupError, match="no order"):
        run.why("NOPE")


def test_a_run_is_found_by_name_and_can_be_read_again(stored, folder):
    document, run = stored
    again = quantd.open_run(folder / "state" / "backtests", document["run"])
    assert again.fills.equals(run.fills)
    assert run.refresh().equity.equals(run.equity)
    with pytest.raises(quantd.Error):
        quantd.open_run(folder / "state" / "backtests", "another")
