"""Each action stands beside the price change that it explains; one that the price does not show is named."""

from pathlib import Path

import pytest

from quantd.adapters.feeds.bars.announced_actions import ActionFault
from quantd.adapters.feeds.recorded.replay import Replay
from tests.support.price_levels import CALENDARS, day, level, read, scaled

RATIOS = ["3:2", "2:1", "3:1", "4:1", "7:1", "10:1", "20:1", "33:1", "50:1", "1:4", "1:9", "1:10", "1:35", "1:190"]


def value(ratio: str) -> float:
    new, old = ratio.split(":")
    return int(new) / int(old)


def faults(feed: Replay) -> tuple[ActionFault, ...]:
    assert feed.open.jumps == (), "the action is at fault, not the price"
    assert feed.open.bars == ()
    return feed.open.faults


@pytest.mark.one_of(3)
@pytest.mark.quick_cases(3)
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("at", [4, 12, 150])
def test_a_split_reads_as_applied_as_absent_or_as_reversed(tmp_path: Path, ratio: str, at: int) -> None:
    line = f"{day(at)},X,split,{ratio},"
    applied = read(level(value(ratio), at), tmp_path, line)
    assert faults(applied) == ()
    assert applied.quarantined == ()
    (absent,) = faults(read(level(1.0, at), tmp_path, line))
    assert absent.reading == "absent"
    (reversed_,) = faults(read(level(1 / value(ratio), at), tmp_path, line))
    assert reversed_.reading == "reversed"


@pytest.mark.parametrize(("move", "ratio"), [(1, "4:1"), (-1, "4:1"), (2, "1:20"), (-3, "2:1"), (5, "10:1")])
def test_a_split_on_another_date_is_named_with_the_date_that_shows_it(tmp_path: Path, move: int, ratio: str) -> None:
    (fault,) = faults(read(level(value(ratio), 150 + move), tmp_path, f"{day(150)},X,split,{ratio},"))
    assert fault.reading == "another_date"
    assert fault.shown_open == CALENDARS["XNYS"].opens[150 + move]


@pytest.mark.parametrize(("announced", "real"), [("2:1", "7:1"), ("3:1", "30:1"), ("1:10", "1:100"), ("2:1", "9:1")])
def test_a_split_of_another_ratio_is_named_with_the_ratio_that_the_prices_show(
    tmp_path: Path, announced: str, real: str
) -> None:
    (fault,) = faults(read(level(value(real)), tmp_path, f"{day(100)},X,split,{announced},"))
    assert fault.reading == "another_ratio"
    assert f"{fault.shown.numerator}:{fault.shown.denominator}" == real


@pytest.mark.parametrize("share", [0.16, 0.3, 0.57, 0.86, 0.99, 1.0, 1.33, 2.0, 1353.0])
@pytest.mark.parametrize("at", [3, 150])
def test_a_large_dividend_that_the_price_does_not_show_is_a_fault(tmp_path: Path, share: float, at: int) -> None:
    frame = level()
    cash = float(frame["close"][at - 1]) * share
    line = f"{day(at)},X,dividend,,{cash:.6f}"
    (fault,) = faults(read(frame, tmp_path, line))
    assert (fault.action.kind, fault.reading) == ("dividend", "absent")
    if share < 0.99:
        fall = (float(frame["close"][at - 1]) - cash) / float(frame["close"][at - 1])
        assert faults(read(scaled(frame, range(at, 260), fall), tmp_path, line)) == ()


def test_a_dividend_that_is_listed_twice_on_its_day_is_paid_by_an_answer_alone(tmp_path: Path) -> None:
    line = f"{day(100)},X,dividend,,0.05"
    assert faults(read(level(), tmp_path, line)) == ()
    (fault,) = faults(read(level(), tmp_path, f"{line}\n{line}"))
    assert fault.reading == "repeated"


@pytest.mark.parametrize("share", [0.04, 0.065, 0.08, 0.12, 0.149])
def test_a_dividend_far_beyond_the_usual_night_has_to_show(tmp_path: Path, share: float) -> None:
    """KWS.L pays 1.76 on 22.0 in one vendor's list, a hundred times the amount."""
    frame = level()
    cash = float(frame["close"][99]) * share
    line = f"{day(100)},X,dividend,,{cash:.6f}"
    (fault,) = faults(read(frame, tmp_path, line))
    assert (fault.action.kind, fault.reading) == ("dividend", "absent")
    assert faults(read(scaled(frame, range(100, 260), 1 - share), tmp_path, line)) == ()


@pytest.mark.parametrize(("share", "sigma"), [(0.002, 0.012), (0.02, 0.012), (0.034, 0.012), (0.1, 0.18), (0.14, 0.2)])
def test_a_dividend_of_a_usual_size_needs_no_fall(tmp_path: Path, share: float, sigma: float) -> None:
    frame = level(sigma=sigma)
    cash = float(frame["close"][99]) * share
    assert read(frame, tmp_path, f"{day(100)},X,dividend,,{cash:.6f}").open.faults == ()


def test_a_share_that_is_not_traded_need_not_fall(tmp_path: Path) -> None:
    frame = scaled(level(), range(60, 260), 0.0, "volume")
    line = f"{day(100)},X,dividend,,{float(frame['close'][99]) * 0.08:.6f}"
    assert read(frame, tmp_path, line).open.faults == ()


def test_a_dividend_and_a_split_of_one_day_are_compared_together(tmp_path: Path) -> None:
    frame = level(4.0)
    cash = float(frame["close"][99]) * 0.3
    lines = f"{day(100)},X,split,4:1,\n{day(100)},X,dividend,,{cash:.6f}"
    assert faults(read(scaled(frame, range(100, 260), 0.7), tmp_path, lines)) == ()
    (fault,) = faults(read(frame, tmp_path, lines))
    assert fault.action.kind == "dividend"


def test_a_person_who_answers_real_accepts_the_action(tmp_path: Path) -> None:
    line = f"{day(150)},X,split,10:1,"
    feed = read(level(), tmp_path, line, f"{day(150)},X,real")
    assert faults(feed) == ()
    assert feed.quarantined == ()
    assert faults(read(level(), tmp_path, line, f"{day(149)},X,real")) != ()


def test_an_action_before_the_first_bar_or_after_the_last_is_no_fault(tmp_path: Path) -> None:
    assert faults(read(level(count=100), tmp_path, f"{day(0)},X,split,4:1,\n{day(120)},X,split,4:1,")) == ()
