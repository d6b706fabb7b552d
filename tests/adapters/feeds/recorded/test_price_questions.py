"""Every new level is a question, whatever its ratio; each remedy that is printed answers it."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quantd.adapters.feeds.recorded.price_questions import Questions
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.adapters.feeds.recorded.soundness import UnsoundPrices, require_announced, require_sound
from tests.support.price_levels import CALENDARS, DAYS, UNIVERSE, day, level, read, scaled, volatile

RATIOS = [
    1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 17, 20, 22, 25, 30, 35, 40, 45, 50, 60, 75, 90, 100, 120,
    150, 190, 200, 250, 300, 500, 750, 1000,
]  # fmt: skip


def texts(feed: Replay) -> str:
    return "\n".join(Questions(feed.open, UNIVERSE, CALENDARS).lines())


THIRDS = range(3)


@pytest.mark.long
@pytest.mark.parametrize(
    ("at", "reverse", "third"),
    [
        pytest.param(at, reverse, third, marks=() if (row + column) % 3 == third else pytest.mark.slow)
        for row, at in enumerate([1, 2, 5, 10, 11, 12, 180])
        for column, reverse in enumerate([False, True])
        for third in THIRDS
    ],
)
def test_every_level_of_any_ratio_is_one_jump_and_its_line_explains_it(
    tmp_path: Path, at: int, reverse: bool, third: int
) -> None:
    """Each bar and direction has every third ratio, the thirds in turn; `pytest -m slow` adds the other ratios."""
    through = []
    for ratio in RATIOS[third :: len(THIRDS)]:
        shares = 1 / ratio if reverse else ratio
        frame = level(shares, at, seed=at + int(10 * ratio))
        feed = read(frame)
        if len(feed.open.jumps) != 1 or feed.open.bars or feed.open.faults:
            through.append(ratio)
            continue
        with pytest.raises(UnsoundPrices, match=r"near a .* split, and no action announces one"):
            require_sound(feed, CALENDARS)
        (line,) = re.findall(r"actions: (.*)", texts(feed))
        numerator, denominator = map(int, line.split(",")[3].split(":"))
        assert numerator / denominator == pytest.approx(shares, rel=1e-9), (ratio, line)
        explained_feed = read(frame, tmp_path, line)
        require_sound(explained_feed, CALENDARS)
        assert (explained_feed.quarantined, explained_feed.count) == ((), len(frame))
    assert through == []


def questions(shares: float, sigma: float, draws: int) -> float:
    """The share of random volatile markets with a question about their prices."""
    opens = [read(volatile(shares, sigma, seed)).open for seed in range(draws)]
    return sum(bool(one.jumps or one.bars) for one in opens) / draws


@pytest.mark.long
@pytest.mark.parametrize(
    ("ratio", "sigma"),
    [
        pytest.param(ratio, sigma, marks=() if (row - column) % 5 in (0, 2) else pytest.mark.slow)
        for row, ratio in enumerate(["8:5", "5:3", "7:4", "9:4", "7:3", "5:2", "3:5", "4:7"])
        for column, sigma in enumerate([0.01, 0.02, 0.04, 0.06, 0.08])
    ],
)
def test_unusual_ratios_in_volatile_shares_are_questions_in_nine_of_ten_markets(ratio: str, sigma: float) -> None:
    """Each ratio has two of five volatilities, in turn; `pytest -m slow` adds the other three."""
    new, old = map(int, ratio.split(":"))
    assert questions(new / old, sigma, 40) >= 0.875


@pytest.mark.long
@pytest.mark.parametrize("draws", [20, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("sigma", [0.01, 0.02, 0.03, 0.04, 0.06, 0.08])
def test_volatile_shares_without_a_split_are_no_questions(sigma: float, draws: int) -> None:
    assert questions(1.0, sigma, draws) == 0.0


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize("ratio", ["5:4", "4:5", "4:3", "3:4", "9:7"])
@pytest.mark.parametrize("sigma", [0.01, 0.015, 0.02])
def test_a_level_of_a_quarter_is_a_question_in_calm_shares(ratio: str, sigma: float) -> None:
    """x 1.25 was "no fault". From 3 % a day on such a move is the share's own."""
    new, old = map(int, ratio.split(":"))
    assert questions(new / old, sigma, 40) >= 0.875


@pytest.mark.one_of(3)
@pytest.mark.parametrize("seed", range(10))
def test_a_new_level_after_any_gap_is_one_jump_and_each_of_its_remedies_answers_it(tmp_path: Path, seed: int) -> None:
    """Twenty ratios, gaps of 0 to 19 sessions; every second volume does not follow the ratio, as in another company."""
    draw = np.random.default_rng(seed)
    for gap in range(20):
        ratio, at = float(draw.choice(RATIOS)), int(draw.integers(40, 200))
        shares = ratio if draw.integers(2) else 1 / ratio
        frame = level(shares, at, seed=100 * seed + gap, sigma=draw.uniform(0.006, 0.02))
        if gap > 7 and draw.integers(2):
            frame = scaled(frame, range(at, len(frame)), 1 / shares, "volume")
        frame = frame.filter(~pl.int_range(pl.len()).is_between(at - gap, at - 1) | (gap == 0))
        feed = read(frame)
        assert (len(feed.open.jumps), feed.open.bars, feed.open.faults) == (1, (), ()), (gap, shares, at)
        (line,) = re.findall(r"actions: (.*)", texts(feed))
        for answer in (read(frame, tmp_path, line), read(frame, adjusted=True), read(frame, jumps_real=True)):
            require_sound(answer, CALENDARS)
            assert (answer.quarantined, answer.count) == ((), len(frame)), (gap, shares, at)


def test_a_move_over_a_long_gap_that_the_share_makes_itself_is_no_jump() -> None:
    """Of 250 gaps of 8 to 19 sessions in shares that move by 1 % to 2 % a day, one at most is asked about."""
    asked = 0
    for seed in range(250):
        gap, sigma = 8 + seed % 12, (0.01, 0.015, 0.02)[seed % 3]
        frame = volatile(1.0, sigma, seed).filter(~pl.int_range(pl.len()).is_between(150 - gap, 149))
        asked += bool(read(frame).open.jumps)
    assert asked <= 1


def test_a_squeeze_over_days_is_neither_a_level_nor_a_bad_print() -> None:
    """The closes of GME from 2021-01-21 to 02-02, as multiples of the close before, and its volumes."""
    moves = [1.10, 1.51, 1.18, 1.93, 2.35, 0.56, 1.68, 0.69, 0.40]
    frame, factor = level(sigma=0.06, price=20.0), 1.0
    for k, move in enumerate(moves):
        frame = scaled(frame, range(200 + k, 260), move)
        factor *= move
        frame = scaled(frame, range(200 + k, 201 + k), 8.0, "volume")
        reach = pl.int_range(pl.len()) == 200 + k
        opened = pl.when(reach).then(pl.col("open") / move**0.5).otherwise(pl.col("open")).alias("open")
        frame = frame.with_columns(opened).with_columns(
            high=pl.max_horizontal("high", "open"), low=pl.min_horizontal("low", "open")
        )
    feed = read(frame)
    assert (feed.open.jumps, feed.open.bars, feed.quarantined) == ((), (), ())


@pytest.mark.parametrize("ratio", ["3:2", "4:1", "10:1", "1:4", "1:35"])
def test_the_remedies_for_an_action_at_fault_are_right_when_typed(tmp_path: Path, ratio: str) -> None:
    new, old = map(int, ratio.split(":"))
    line = f"{day(100)},X,split,{ratio},"
    absent = read(level(), tmp_path, line)
    assert f"remove from the file of actions {line}" in texts(absent)
    require_sound(read(level()), CALENDARS)
    require_sound(read(level(), adjusted=True), CALENDARS)
    reversed_ = read(level(old / new), tmp_path, line)
    (right,) = re.findall(r"replace .* by (\S+)", texts(reversed_))
    assert right == f"{day(100)},X,split,{old}:{new},"
    corrected_feed = read(level(old / new), tmp_path, right)
    require_sound(corrected_feed, CALENDARS)
    assert corrected_feed.quarantined == ()
    later = read(level(new / old, 102), tmp_path, line)
    (moved,) = re.findall(r"replace .* by (\S+)", texts(later))
    assert moved == f"{day(102)},X,split,{ratio},"
    corrected_feed = read(level(new / old, 102), tmp_path, moved)
    require_sound(corrected_feed, CALENDARS)
    assert corrected_feed.quarantined == ()


def test_without_a_configuration_levels_and_actions_at_fault_have_remedies_in_the_actions(tmp_path: Path) -> None:
    with pytest.raises(UnsoundPrices, match=r"add 2018-05-25,X,split,1:35,\n.*add 2018-05-25,X,split,1:1,"):
        require_announced(read(level(1 / 35)), CALENDARS)
    with pytest.raises(UnsoundPrices, match=r"the prices do not show it(.|\n)*remove from the file of actions"):
        require_announced(read(level(), tmp_path, f"{day(100)},X,split,4:1,"), CALENDARS)


def test_a_volume_that_a_large_split_multiplies_is_no_bad_volume(tmp_path: Path) -> None:
    frame = level(500.0)
    assert read(frame, tmp_path, f"{day(100)},X,split,500:1,").quarantined == ()
    assert [bar.reason for bar in read(scaled(level(), range(150, 151), 5000.0, "volume")).quarantined] == ["volume"]


@pytest.mark.one_of(3)
@pytest.mark.parametrize("seed", range(20))
def test_a_share_that_is_seldom_traded_has_no_fault_and_a_dead_feed_has_one(seed: int) -> None:
    """Of each share 10 % to 90 % of the days repeat the last close without a volume."""
    draw, frame = np.random.default_rng(seed), level(seed=seed)
    quiet = draw.random(len(frame)) < draw.uniform(0.1, 0.9)
    quiet[0] = False
    last_close = np.repeat(frame["close"].to_numpy()[~quiet], np.diff(np.append(np.flatnonzero(~quiet), len(frame))))
    untraded = pl.Series(quiet)
    flat = frame.with_columns(
        *(
            pl.when(untraded).then(pl.Series(last_close)).otherwise(pl.col(name)).alias(name)
            for name in ("open", "high", "low", "close")
        ),
        volume=pl.when(untraded).then(0.0).otherwise(pl.col("volume")),
    )
    feed = read(flat)
    require_sound(feed, CALENDARS)
    assert (feed.count, feed.quarantined) == (len(frame), ())
    repeated = flat.with_columns(
        pl.when(pl.int_range(pl.len()) >= 200).then(pl.col(name).get(200)).otherwise(pl.col(name)).alias(name)
        for name in ("open", "high", "low", "close")
    ).with_columns(volume=pl.when(pl.int_range(pl.len()) >= 200).then(5e6).otherwise(pl.col("volume")))
    assert {bar.reason for bar in read(repeated).quarantined} == {"stale"}


@pytest.mark.parametrize("answer", [{"jumps_real": True}, {"adjusted": True}])
def test_a_record_of_before_levels_had_answers_has_no_first_bars_and_no_question(answer: dict[str, bool]) -> None:
    frame = level(1 / 35)
    now, before = read(frame, **answer), read(frame, first_bars=False, **answer)
    assert [bar.ts for bar in before.quarantined] == DAYS[100:102].tolist()
    assert (now.quarantined, before.open.jumps, before.open.bars) == ((), (), ())
    assert now.digest != before.digest
    plain = level()
    assert read(plain, **answer).digest == read(plain, first_bars=False, **answer).digest
