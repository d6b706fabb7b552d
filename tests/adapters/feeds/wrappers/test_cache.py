"""The cache gives what the source gives, asks the network once, keeps only what is final, and notices damage."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.feeds.bars.rows import ActionRow
from quantd.adapters.feeds.source import PartialAnswer, SourceError
from quantd.adapters.feeds.wrappers.cache import LATE_NS, SETTLE_NS, Cached
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.sessions import DAY_NS
from tests.support.examples import examples
from tests.support.memory_source import Recorded, market, same

PAIR = Universe((Instrument("AAPL"), Instrument("BTC/USD", calendar="24/7")))
DAY0 = 20_000 * DAY_NS
MINUTE = 60 * NANO
LONG_AFTER = DAY0 + 1000 * DAY_NS


def days(first: int, count: int, columns: int = 2) -> tuple[list[int], list[int]]:
    stamps = [DAY0 + (first + k) * DAY_NS for k in range(count) for _ in range(columns)]
    return stamps, list(range(columns)) * count


def cached(source: Recorded, folder: Path, now: int = LONG_AFTER, interval: str = "1d") -> Cached:
    return Cached(source, PAIR, interval, folder, now=lambda: now)


def found(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.rglob(pattern))


@pytest.mark.requirement("R-016")
async def test_the_second_download_of_a_range_asks_the_network_nothing(tmp_path: Path) -> None:
    source = Recorded(market(*days(0, 30)), stamps="session", listed=[ActionRow(DAY0 + DAY_NS, 0, "split", 2, 1, 0)])
    for again in range(3):
        cache = cached(source, tmp_path)
        rows = await cache.bars(DAY0, DAY0 + 30 * DAY_NS)
        assert len(await cache.actions(DAY0, DAY0 + 30 * DAY_NS)) == 1
        assert same(rows, source.rows)
        assert cache.downloads == (0 if again else 2)
    assert len(source.asked) == len(source.asked_actions) == 1


async def test_a_longer_range_asks_for_what_is_new_only(tmp_path: Path) -> None:
    source = Recorded(market(*days(0, 40)), stamps="session")
    await cached(source, tmp_path).bars(DAY0 + 10 * DAY_NS, DAY0 + 20 * DAY_NS)
    rows = await cached(source, tmp_path).bars(DAY0, DAY0 + 40 * DAY_NS)
    assert same(rows, source.rows)
    assert source.asked[1:] == [(DAY0, DAY0 + 10 * DAY_NS), (DAY0 + 20 * DAY_NS, DAY0 + 40 * DAY_NS)]


@pytest.mark.long
@pytest.mark.requirement("R-016")
@settings(max_examples=examples(30), deadline=None)
@given(data=st.data())
async def test_whatever_is_asked_in_whatever_order_the_cache_equals_the_source(data: st.DataObject) -> None:
    """Gaps in either symbol's bars, doubled bars, ranges that overlap, ranges beyond now, restarts between
    questions."""
    taken = data.draw(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 1)), min_size=1, max_size=80))
    stamps, columns = zip(*sorted(taken), strict=True)
    source = Recorded(market([DAY0 + k * MINUTE for k in stamps], columns))
    now = DAY0 + data.draw(st.integers(0, 90)) * MINUTE + SETTLE_NS[False]
    with TemporaryDirectory() as folder:
        for _ in range(data.draw(st.integers(1, 6))):
            start = data.draw(st.integers(-5, 60))
            stop = start + data.draw(st.integers(1, 40))
            now += data.draw(st.integers(0, 3)) * LATE_NS
            cache = cached(source, Path(folder), now, "1m")
            rows = await cache.bars(DAY0 + start * MINUTE, DAY0 + stop * MINUTE)
            direct = await Recorded(source.rows).bars(DAY0 + start * MINUTE, DAY0 + stop * MINUTE)
            assert same(rows, direct)
            assert len(rows) == len(direct)


async def test_the_bar_that_is_being_made_is_asked_again_until_it_is_final(tmp_path: Path) -> None:
    source = Recorded(market([DAY0, DAY0 + MINUTE], [0, 0]))
    universe = Universe((Instrument("AAPL"),))
    end = DAY0 + 2 * MINUTE

    async def ask(now: int) -> tuple[float, int]:
        cache = Cached(source, universe, "1m", tmp_path, now=lambda: now)
        rows = await cache.bars(DAY0, end)
        return float(rows.close[-1]), cache.downloads

    assert await ask(end - 1) == (100.01, 1)
    source.rows = market([DAY0, DAY0 + MINUTE], [0, 0], 200.0)  # the vendor has corrected both
    assert await ask(end + SETTLE_NS[False] - 1) == (200.01, 1)
    source.rows = market([DAY0, DAY0 + MINUTE], [0, 0], 300.0)
    assert await ask(end + SETTLE_NS[False]) == (300.01, 1)
    assert await ask(end + SETTLE_NS[False]) == (300.01, 0)
    assert source.asked[-1][0] == DAY0 + MINUTE, "the first bar was final and kept"


async def test_days_that_a_late_vendor_has_not_sent_yet_are_not_taken_for_days_without_bars(tmp_path: Path) -> None:
    source = Recorded(market(*days(0, 5)), stamps="session")
    now = DAY0 + 8 * DAY_NS
    await cached(source, tmp_path, now).bars(DAY0, DAY0 + 6 * DAY_NS)
    source.rows = market(*days(0, 6))
    assert same(await cached(source, tmp_path, now).bars(DAY0, DAY0 + 6 * DAY_NS), source.rows)


async def test_of_a_failed_download_nothing_is_kept(tmp_path: Path) -> None:
    source = Recorded(market(*days(0, 5)), failing=[SourceError("recorded", "out of order")], stamps="session")
    with pytest.raises(SourceError, match="out of order"):
        await cached(source, tmp_path).bars(DAY0, DAY0 + 5 * DAY_NS)
    assert found(tmp_path, "*") == []
    assert same(await cached(source, tmp_path).bars(DAY0, DAY0 + 5 * DAY_NS), source.rows)


async def test_of_a_partial_answer_the_whole_symbols_are_kept_and_the_error_has_all_their_bars(tmp_path: Path) -> None:
    rows = market(*days(0, 30))
    source = Recorded(rows, stamps="session")
    await cached(source, tmp_path).bars(DAY0, DAY0 + 10 * DAY_NS)
    first = rows.take((rows.column == 0) & (rows.ts >= DAY0 + 10 * DAY_NS))
    source.failing = [PartialAnswer("recorded", first, ["BTC/USD"], "gone")]
    with pytest.raises(PartialAnswer, match=r"BTC/USD: .*gone") as caught:
        await cached(source, tmp_path).bars(DAY0, DAY0 + 30 * DAY_NS)
    assert same(caught.value.rows, rows.take(rows.column == 0))


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "gone", "note"])
async def test_a_damaged_file_is_noticed_put_aside_and_downloaded_anew(tmp_path: Path, harm: str) -> None:
    source = Recorded(market(*days(0, 30)), stamps="session")
    await cached(source, tmp_path).bars(DAY0, DAY0 + 30 * DAY_NS)
    pattern = "AAPL.json" if harm == "note" else "AAPL-*.parquet"
    (path,) = found(tmp_path, pattern)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": bytes(data[:-20]), "empty": b""}.get(harm, bytes(data)))
    cache = cached(source, tmp_path)
    assert same(await cache.bars(DAY0, DAY0 + 30 * DAY_NS), source.rows)
    assert cache.downloads == 1
    assert cache.put_aside == found(tmp_path, "*.bad")
    assert len(cache.put_aside) == (0 if harm == "gone" else 1)
    sound = cached(source, tmp_path)
    assert same(await sound.bars(DAY0, DAY0 + 30 * DAY_NS), source.rows)
    assert sound.downloads == 0


@pytest.mark.long
@settings(max_examples=examples(25), deadline=None)
@given(place=st.floats(0, 1), bit=st.integers(0, 7), which=st.sampled_from(["*.parquet", "*.json"]))
async def test_no_single_flipped_bit_changes_a_bar(place: float, bit: int, which: str) -> None:
    source = Recorded(market(*days(0, 8)), stamps="session")
    with TemporaryDirectory() as folder:
        await cached(source, Path(folder)).bars(DAY0, DAY0 + 8 * DAY_NS)
        path = found(Path(folder), which)[0]
        data = bytearray(path.read_bytes())
        data[int(place * (len(data) - 1))] ^= 1 << bit
        path.write_bytes(bytes(data))
        assert same(await cached(source, Path(folder)).bars(DAY0, DAY0 + 8 * DAY_NS), source.rows)


async def test_adjusted_prices_of_two_downloads_are_never_joined(tmp_path: Path) -> None:
    """A dividend between two downloads changes every price of before."""
    source = Recorded(market(*days(0, 20)), stamps="session", adjusted=True)
    await cached(source, tmp_path).bars(DAY0, DAY0 + 10 * DAY_NS)
    source.rows = market(*days(0, 20), 50.0)
    rows = await cached(source, tmp_path).bars(DAY0, DAY0 + 20 * DAY_NS)
    assert same(rows, source.rows)
    assert same(await cached(source, tmp_path).bars(DAY0, DAY0 + 20 * DAY_NS), source.rows)
    assert len(source.asked) == 2


async def test_raw_and_adjusted_intervals_and_sources_lie_apart(tmp_path: Path) -> None:
    one = Recorded(market(*days(0, 3)), stamps="session")
    other = Recorded(market(*days(0, 3), 7.0), stamps="session", adjusted=True)
    third = Recorded(market(*days(0, 3), 9.0), name="../else", stamps="session")
    for source in (one, other, third):
        assert same(await cached(source, tmp_path).bars(DAY0, DAY0 + 3 * DAY_NS), source.rows)
        assert same(await cached(source, tmp_path).bars(DAY0, DAY0 + 3 * DAY_NS), source.rows)
        assert len(source.asked) == 1
    assert not (tmp_path.parent / "else").exists()


async def test_a_disk_that_cannot_be_written_costs_the_cache_and_not_the_bars(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    source = Recorded(market(*days(0, 3)), stamps="session")
    cache = cached(source, tmp_path / "file")
    assert same(await cache.bars(DAY0, DAY0 + 3 * DAY_NS), source.rows)
    assert await cache.actions(DAY0, DAY0 + 3 * DAY_NS) == []


async def test_actions_on_the_border_of_what_is_new_stay(tmp_path: Path) -> None:
    border = DAY0 + 10 * DAY_NS
    listed = [ActionRow(border + k * DAY_NS, 0, "split", 2, 1, 0) for k in (-1, 0, 1)]
    source = Recorded(market([], []), stamps="session", listed=listed)
    await cached(source, tmp_path).actions(border, border + 5 * DAY_NS)
    for _ in range(2):
        assert await cached(source, tmp_path).actions(DAY0, border + 5 * DAY_NS) == listed
    assert source.asked_actions == [(border, border + 5 * DAY_NS), (DAY0, border)]


async def test_actions_of_the_last_days_are_asked_again(tmp_path: Path) -> None:
    source = Recorded(market(*days(0, 3)), stamps="session")
    end = DAY0 + 10 * DAY_NS
    assert await cached(source, tmp_path, end).actions(DAY0, end) == []
    late = ActionRow(end - DAY_NS, 1, "dividend", 1, 1, 5)
    source.listed = [late]
    assert await cached(source, tmp_path, end).actions(DAY0, end) == [late]
    assert source.asked_actions[-1] == (end - LATE_NS, end)
    assert await cached(source, tmp_path, end + LATE_NS).actions(DAY0, end) == [late]
    source.listed = []
    assert await cached(source, tmp_path, end + LATE_NS).actions(DAY0, end) == [late], "by then it was final"


def test_the_values_are_compared_to_the_last_bit() -> None:
    rows = market([1, 2], [0, 0])
    changed_rows = market([1, 2], [0, 0])
    assert same(rows, changed_rows)
    changed_rows.close[1] = np.nextafter(changed_rows.close[1], 0)
    assert not same(rows, changed_rows)
