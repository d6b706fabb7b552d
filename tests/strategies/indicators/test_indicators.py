"""Every indicator: equal to TA-Lib or to its formula written out, bar by bar equal to all at once, and only from the
past."""

import numpy as np
import polars as pl
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.strategies.indicators import INDICATORS, batch, build, stream
from quantd.strategies.indicators.batch import bars_present, cleaned
from quantd.trading.market import Floats
from tests.strategies.indicators.formulas import PLAIN, TALIB
from tests.support.examples import examples

TOLERANCE = 1e-9
ALL = {output: node for name in INDICATORS for output, node in build(name).items()}


def bars(seed: int, rows: int = 400, size: int = 4, gaps: float = 0.0, kind: str = "walk") -> dict[str, Floats]:
    """Bars whose high and low contain open and close; `gaps` is the share that is missing."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_t(4, (rows, size)) * 0.012
    if kind == "ticks":  # few different prices: ties and bars that do not move
        close = 100.0 + np.cumsum(rng.integers(-1, 2, (rows, size)), axis=0) * 0.25
        close = np.abs(close) + 1.0
        start = np.vstack([close[:1], close[:-1]])
        top, low = np.maximum(start, close) + 0.25 * rng.integers(0, 2, (rows, size)), np.minimum(start, close)
    else:
        close = np.exp(rng.normal(4, 1, size) + steps.cumsum(axis=0))
        start = close * np.exp(rng.normal(0, 0.006, (rows, size)))
        top = np.maximum(start, close) * np.exp(np.abs(rng.normal(0, 0.005, (rows, size))))
        low = np.minimum(start, close) * np.exp(-np.abs(rng.normal(0, 0.005, (rows, size))))
    volume = np.round(rng.lognormal(13, 1, (rows, size)))
    columns = {"open": start, "high": top, "low": low, "close": close, "volume": volume}
    if gaps:
        missing = rng.random((rows, size)) < gaps
        missing[: rows // 5, -1] = True  # one instrument comes later
        columns = {name: np.where(missing, np.nan, column) for name, column in columns.items()}
    return {**columns, "benchmark": np.repeat(close[:, :1], size, axis=1)}


def real_bars() -> dict[str, Floats]:
    frame = pl.read_parquet("data/us_daily.parquet").filter(pl.col("symbol").is_in(["SPY", "BAC"]))
    columns = {
        name: frame.pivot(on="symbol", index="ts", values=name).sort("ts").select("SPY", "BAC").to_numpy().astype(float)
        for name in ("open", "high", "low", "close", "volume")
    }
    rows = np.isfinite(columns["close"]).all(axis=1)
    kept = {name: np.ascontiguousarray(column[rows][:900]) for name, column in columns.items()}
    return {**kept, "benchmark": np.repeat(kept["close"][:, :1], 2, axis=1)}


def close_to(values: Floats, expected: Floats) -> None:
    """Equal to 1e-9, relative to the value, or to the usual size of the column where the value is near 0."""
    finite = np.isfinite(expected)
    assert finite.any()
    scale = np.median(np.abs(expected[finite])) if finite.any() else 1.0
    np.testing.assert_allclose(values[finite], expected[finite], rtol=TOLERANCE, atol=TOLERANCE * max(scale, 1e-12))


def bar_by_bar(outputs: dict, fields: dict[str, Floats]) -> dict[str, Floats]:
    present = bars_present(fields)
    clean = cleaned(fields, present)
    bar_stream = stream(outputs, present.shape[1])
    rows = [bar_stream.update({k: v[t] for k, v in clean.items()}, present[t]) for t in range(len(present))]
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(outputs)}


def by_talib(output: str, fields: dict[str, Floats]) -> Floats:
    names = ("open", "high", "low", "close", "volume", "benchmark")
    size = fields["close"].shape[1]
    return np.stack(
        [TALIB[output](*[np.ascontiguousarray(fields[name][:, n]) for name in names]) for n in range(size)], axis=1
    )


@pytest.fixture(scope="module")
def worlds() -> list[tuple[dict[str, Floats], dict[str, Floats], dict[str, Floats]]]:
    """(bars, all at once, bar by bar): two random series and a real one."""
    fields_and_outputs = []
    for fields in (bars(1), bars(2, rows=600, size=2), real_bars()):
        fields_and_outputs.append((fields, batch(ALL, fields), bar_by_bar(ALL, fields)))
    return fields_and_outputs


@pytest.mark.requirement("R-034", "F-27")
def test_there_are_more_than_fifty_indicators_and_no_two_columns_have_one_name() -> None:
    assert len(INDICATORS) >= 50
    assert len(ALL) == sum(len(build(name)) for name in INDICATORS)


def test_each_indicator_that_names_talib_is_held_to_it() -> None:
    held = {name for name, i in INDICATORS.items() if any(o in TALIB for o in build(name))}
    assert held == {name for name, i in INDICATORS.items() if i.talib}
    assert all(hasattr(talib, i.talib) for i in INDICATORS.values() if i.talib)


@pytest.mark.long
@pytest.mark.requirement("R-032", "R-033")
@pytest.mark.parametrize("output", sorted(TALIB))
def test_equals_talib_in_both_ways_where_talib_has_a_value(worlds, output: str) -> None:
    for fields, at_once, one_by_one in worlds:
        expected = by_talib(output, fields)
        # ours may have values earlier than TA-Lib, never later
        assert ALL[output].first <= int(np.argmax(np.isfinite(expected[:, 0])))
        close_to(at_once[output], expected)
        close_to(one_by_one[output], expected)


@pytest.mark.long
@pytest.mark.parametrize("output", sorted(ALL))
def test_the_first_value_comes_with_the_bar_it_is_said_to(worlds, output: str) -> None:
    for _, at_once, one_by_one in worlds:
        for column in (at_once[output], one_by_one[output]):
            finite = np.isfinite(column).all(axis=1)
            assert int(np.argmax(finite)) == ALL[output].first
            assert finite[ALL[output].first :].all()


@pytest.mark.requirement("R-034")
def test_every_output_has_a_reference() -> None:
    assert set(TALIB) | set(PLAIN) == set(ALL)
    assert not set(TALIB) & set(PLAIN)


@pytest.mark.requirement("R-033")
@pytest.mark.parametrize("output", sorted(PLAIN))
def test_equals_its_formula_written_out(worlds, output: str) -> None:
    fields, at_once, one_by_one = worlds[0]
    column = 1
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = PLAIN[output](
            *[fields[n][:, column] for n in ("open", "high", "low", "close", "volume", "benchmark")]
        )
    close_to(at_once[output][:, column], expected)
    close_to(one_by_one[output][:, column], expected)


@pytest.mark.long
@pytest.mark.requirement("R-044")
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.03, 0.4]), st.sampled_from(["walk", "ticks"]))
@settings(max_examples=examples(4), deadline=None)
def test_bar_by_bar_equals_all_at_once_for_every_output(seed: int, gaps: float, kind: str) -> None:
    fields = bars(seed, rows=290, size=3, gaps=gaps, kind=kind)
    at_once, one_by_one = batch(ALL, fields), bar_by_bar(ALL, fields)
    for output in ALL:
        column, expected = one_by_one[output], at_once[output]
        np.testing.assert_array_equal(np.isnan(column), np.isnan(expected), err_msg=output)
        finite = np.isfinite(expected)
        scale = np.abs(expected[finite]).max(initial=0.0)
        np.testing.assert_allclose(
            column[finite], expected[finite], rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=output
        )


def test_a_gap_is_no_bar_at_all() -> None:
    """TA-Lib gives nothing after a missing value; ours goes from one bar of an instrument to its next."""
    fields = bars(5, rows=300, size=2, gaps=0.1)
    columns = batch(ALL, fields)
    present = bars_present(fields)[:, 0]
    assert 0 < present.sum() < 300
    alone = batch(ALL, {name: column[present][:, :1] for name, column in fields.items()})
    for output in ALL:
        np.testing.assert_allclose(
            columns[output][present, 0], alone[output][:, 0], rtol=1e-9, atol=1e-12, err_msg=output
        )
        assert np.isnan(columns[output][~present, 0]).all()
    tail = talib.EMA(fields["close"][:, 0], 20)[-1]
    assert np.isnan(tail) or present.all()


@pytest.mark.requirement("R-034")
@pytest.mark.parametrize("cut", [40, 150, 299])
def test_no_output_reads_what_comes_later(cut: int) -> None:
    fields = bars(6, rows=360, size=3, gaps=0.02)
    other = bars(7, rows=360, size=3, gaps=0.1)
    later = {name: np.vstack([column[: cut + 1], other[name][cut + 1 :]]) for name, column in fields.items()}
    reference, changed = batch(ALL, fields), batch(ALL, later)
    cropped = batch(ALL, {name: column[: cut + 1] for name, column in fields.items()})
    for output in ALL:
        for part in (changed[output][: cut + 1], cropped[output]):
            np.testing.assert_allclose(part, reference[output][: cut + 1], rtol=1e-9, atol=1e-9, err_msg=output)


def test_instruments_do_not_see_each_other() -> None:
    fields = bars(8, rows=300, size=4, gaps=0.05)
    order = [2, 0, 3, 1]
    straight = batch(ALL, fields)
    turned = batch(ALL, {name: column[:, order] for name, column in fields.items()})
    for output in ALL:
        np.testing.assert_array_equal(turned[output], straight[output][:, order], err_msg=output)


def test_a_price_that_stands_still_has_numbers_not_nonsense() -> None:
    still = {name: np.full((300, 1), 50.1) for name in ("open", "high", "low", "close", "benchmark")}
    columns = batch(ALL, {**still, "volume": np.zeros((300, 1))})
    for output in ALL:
        assert np.isfinite(columns[output][ALL[output].first :]).all(), output
    assert columns["z_score"][-1, 0] == columns["bollinger_position"][-1, 0] == columns["rsi"][-1, 0] == 0.0


def test_a_stream_goes_on_where_its_state_was_taken() -> None:
    fields = bars(9, rows=120, size=3, gaps=0.1)
    present = bars_present(fields)
    clean = cleaned(fields, present)
    rows = [({k: v[t] for k, v in clean.items()}, present[t]) for t in range(120)]
    first, second = stream(ALL, 3), stream(ALL, 3)
    for row in rows[:70]:
        first.update(*row)
    second.restore(first.state())
    for row in rows[70:]:
        np.testing.assert_array_equal(first.update(*row), second.update(*row))


def test_where_a_stream_began_is_forgotten_after_the_bars_it_says() -> None:
    """What is begun anew from `settled` bars differs from what ran long by a millionth of the usual size at most."""
    fields = bars(10, rows=3000, size=2)
    long = batch(ALL, fields)
    for name, node in ALL.items():
        short = batch({name: node}, {k: v[-(node.settled + 1) :] for k, v in fields.items()})
        scale = np.nanmax(np.abs(long[name]))
        assert np.abs(short[name][-1] - long[name][-1]).max() <= 2e-5 * scale, name
