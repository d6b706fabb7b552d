"""The first source that is well answers; nothing is mixed within a bar; the primary comes back when it has proved
itself."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.feeds.bars.rows import ActionRow
from quantd.adapters.feeds.source import PartialAnswer, SourceError
from quantd.adapters.feeds.wrappers.fallback import Fallback
from quantd.trading.instruments import Instrument, Universe
from tests.support.examples import examples
from tests.support.memory_source import Recorded, market, same

PAIR = Universe((Instrument("AAPL"), Instrument("MSFT")))
STAMPS, COLUMNS = [1, 1, 2, 2, 3, 3], [0, 1] * 3


def down(again: bool = True, after_s: float = 0.0) -> SourceError:
    return SourceError("recorded", "down", again=again, after_s=after_s)


class Clock:
    """Seconds, by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def two(clock: Clock | None = None) -> tuple[Recorded, Recorded, Fallback]:
    first = Recorded(market(STAMPS, COLUMNS, 100.0), name="first")
    second = Recorded(market(STAMPS, COLUMNS, 200.0), name="second")
    return first, second, Fallback([first, second], PAIR, clock=clock or Clock())


async def settled() -> None:
    """Trials beside an answer have come to their end."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.requirement("R-014")
async def test_a_failing_primary_is_replaced_at_once_and_its_bars_are_marked() -> None:
    first, second, both = two()
    first.failing = [down()]
    rows = await both.bars(0, 9)
    assert rows.close.tolist() == second.rows.close.tolist()
    assert rows.source.tolist() == [1] * 6
    assert (len(first.asked), len(second.asked)) == (1, 1)
    await both.bars(0, 9)
    assert (len(first.asked), len(second.asked)) == (1, 2), "the failed source is not queried again at once"


async def test_the_primary_is_tried_beside_the_others_after_a_rest_and_taken_back_when_it_answers() -> None:
    clock = Clock()
    first, _, both = two(clock)
    first.failing = [down(), down()]
    await both.bars(0, 9)
    await both.bars(0, 9)
    await settled()
    assert len(first.asked) == 1, "it rests"
    clock.now_s = 15.0
    assert (await both.bars(0, 9)).source.tolist() == [1] * 6
    await settled()
    assert len(first.asked) == 2, "tried, and failed again"
    clock.now_s = 44.0
    await both.bars(0, 9)
    await settled()
    assert len(first.asked) == 2, "the second rest is longer"
    for clock.now_s in (45.0, 46.0):
        assert (await both.bars(0, 9)).source.tolist() == [1] * 6, "what a trial brings is not used"
        await settled()
    rows = await both.bars(0, 9)
    assert rows.source.tolist() == [0] * 6
    assert rows.close.tolist() == first.rows.close.tolist()
    await both.close()


async def test_a_trial_that_hangs_holds_up_nobody_and_ends_with_the_feed() -> None:
    clock = Clock()
    first, second, both = two(clock)
    first.failing = [down()]
    await both.bars(0, 9)
    started = asyncio.Event()

    async def hang(start_ns: int, end_ns: int) -> None:
        started.set()
        await asyncio.Event().wait()

    first.bars = hang  # type: ignore[assignment, method-assign]
    clock.now_s = 100.0
    async with asyncio.timeout(60):
        await both.bars(0, 9)
        await started.wait()
        await both.bars(0, 9)
        await both.close()
    assert first.closed
    assert second.closed


async def test_a_symbol_that_nobody_knows_is_named_with_the_bars_of_the_others() -> None:
    first, second, both = two()
    only = first.rows.take(first.rows.column == 0)
    first.failing = [PartialAnswer("first", only, ["MSFT"])]
    second.failing = [PartialAnswer("second", second.rows.take(second.rows.column == 0), ["MSFT"])]
    with pytest.raises(PartialAnswer, match="no bar of MSFT") as caught:
        await both.bars(0, 9)
    assert caught.value.missing == ("MSFT",)
    assert same(caught.value.rows, only)


async def test_when_nobody_answers_the_error_says_what_each_one_said() -> None:
    first, second, both = two()
    first.failing = [SourceError("first", "wrong key", again=False)]
    second.failing = [SourceError("second", "busy", after_s=9.0)]
    with pytest.raises(SourceError, match=r"first: wrong key.*second: busy") as caught:
        await both.bars(0, 9)
    assert caught.value.again
    assert caught.value.after_s == 9.0
    first.failing, second.failing = [down(again=False)], [down(again=False)]
    with pytest.raises(SourceError) as hopeless:
        await both.actions(0, 9)
    assert not hopeless.value.again


async def test_actions_fall_back_too() -> None:
    first, second, both = two()
    second.listed = [ActionRow(3, 0, "split", 2, 1, 0)]
    first.failing = [down()]
    assert await both.actions(0, 9) == second.listed


def test_raw_and_adjusted_prices_are_never_mixed() -> None:
    raw, adjusted = Recorded(market([], [])), Recorded(market([], []), adjusted=True)
    for pair in ([raw, adjusted], [adjusted, raw]):
        with pytest.raises(ValueError, match="choose raw prices of both"):
            Fallback(pair, PAIR)


def test_sources_that_date_bars_differently_are_refused_but_for_days_that_never_close() -> None:
    by_open, by_session = Recorded(market([], [])), Recorded(market([], []), stamps="session")
    with pytest.raises(ValueError, match="with the same stamps"):
        Fallback([by_open, by_session], PAIR)
    coins = Universe((Instrument("BTC/USD", calendar="24/7"),), calendar="24/7")
    assert Fallback([by_open, by_session], coins).stamps == "open"
    with pytest.raises(ValueError, match="with the same stamps"):
        Fallback([by_open, Recorded(market([], []), stamps="close")], coins)


@settings(max_examples=examples(150), deadline=None)
@given(
    story=st.lists(
        st.tuples(
            st.sampled_from(["ok", "fail", "no0", "no1"]),
            st.sampled_from(["ok", "fail", "no0", "no1"]),
            st.floats(0, 60),
        ),
        min_size=1,
        max_size=12,
    )
)
async def test_no_bar_and_no_symbol_of_an_answer_is_ever_of_two_sources(story: list[tuple[str, str, float]]) -> None:
    clock = Clock()
    first, second, both = two(clock)
    for *wanted, wait_s in story:
        clock.now_s += wait_s
        for source, what in zip((first, second), wanted, strict=True):
            lacking = {"no0": 0, "no1": 1}.get(what)
            source.failing = [down()] if what == "fail" else []
            if lacking is not None:
                partial_rows = source.rows.take(source.rows.column != lacking)
                source.failing = [PartialAnswer(source.name, partial_rows, [PAIR.symbols[lacking]])]
        try:
            rows = await both.bars(0, 9)
        except SourceError as error:
            rows = error.rows if isinstance(error, PartialAnswer) else market([], [])
            assert wanted[0] != "ok", "a primary that can answer is asked, at the latest when the others cannot"
            assert wanted[1] != "ok"
        await settled()
        for column in range(2):
            mine = rows.take(rows.column == column)
            assert len(mine) in (0, 3)
            assert len(set(mine.source.tolist())) <= 1
            if len(mine):
                theirs = (first, second)[int(mine.source[0])].rows
                np.testing.assert_array_equal(mine.close, theirs.close[theirs.column == column])
    await both.close()
