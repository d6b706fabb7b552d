"""The rows that factors are measured on: equal to the daemon's, filled where the engine fills, known when they say."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.research.python_api.bar_frame import bar_frame
from quantd.research.python_api.run_config import around
from quantd.research.runs.comparison import unlimited
from quantd.research.studies import lookahead
from quantd.research.studies.synchronous_rows import synchronous_rows
from quantd.strategies.policies import POLICIES
from tests.support.command_line import CONFIG, write
from tests.support.market_frames import frame_of


def assembled(folder: Path, text: str = CONFIG):
    config = read(write(folder, text))
    return assemble(unlimited(config, {}, name="studied", policy="equal_weight", params={}))


def fields_of(view):
    bars = view.bars(100)
    return view.prices, view.returns(100), view.synchronous(100), bars.session, bars.open, bars.close, bars.volume


class Recorder:
    """A policy that remembers what a feature was at each sample of a run, and the fields of its view."""

    lookback, uses_bars = 150, True

    def __init__(self, feature: str) -> None:
        self.signals = POLICIES["signals"]({"features": {feature: 1.0}})
        self.seen: dict[int, tuple[object, ...]] = {}

    def act(self, view, memory):
        self.seen[view.time] = tuple(map(np.array, (self.signals.features(view), *fields_of(view))))
        return np.zeros(len(view.prices)), memory


def test_the_view_of_a_row_is_the_view_of_the_daemon_at_that_sample(tmp_path: Path) -> None:
    """AAPL splits seven for one, and every symbol pays dividends."""
    text = CONFIG.replace('["SPY", "QQQ", "IWM"]', '["SPY", "AAPL", "BAC"]').replace("2019-", "2014-")
    text = text.replace("2014-03-29", "2014-09-30")
    assembly = assembled(tmp_path, text)
    policy = Recorder("momentum_60")
    rules = msgspec.structs.replace(assembly.rules, keep_bars=True)
    lookahead._answers(replace(assembly, rules=rules), policy)
    rows = synchronous_rows(assembly)
    assert not rows.late
    trading = np.flatnonzero(rows.trading)
    assert rows.ts[trading].tolist() == list(policy.seen)
    for row in trading.tolist():
        view = rows.view(row, 149)
        ours = (policy.signals.features(view), *fields_of(view))
        for one, other in zip(ours, policy.seen[int(rows.ts[row])], strict=True):
            np.testing.assert_array_equal(one, other)
        assert view.sample == row + 1


def test_a_decision_is_filled_at_the_open_that_the_rows_say(tmp_path: Path) -> None:
    from quantd.research.runs.backtest import drive
    from quantd.research.runs.run_record import Record

    text = CONFIG.replace("commission_bp = 1.0", "commission_bp = 0")
    config = read(write(tmp_path, text))
    assembly = assemble(unlimited(config, {}, name="studied", policy="equal_weight", params={}))
    record = Record(assembly.universe)
    drive(assembly, assembly.config, "fills", record, None, lambda share: None)
    rows = synchronous_rows(assembly)
    fills = {
        (fill.sample, column): price
        for fill in record.fills
        for column, price in zip(fill.sym, fill.price_nano, strict=True)
    }
    samples = {int(ts): row for row, ts in enumerate(rows.ts)}
    assert len(fills) > 30
    for (sample, column), price in fills.items():
        assert price == round(rows.open[samples[sample], column] * 1e9)


def test_wealth_is_the_total_return_with_splits_and_dividends_reinvested() -> None:
    opens = {"A": [100.0, 101.0, 51.0, 50.0, 52.0], "B": [10.0, 10.0, 9.5, 9.0, 9.9]}
    actions = "ts,symbol,kind,ratio,cash\n2024-01-04,A,split,2:1,\n2024-01-05,B,dividend,,0.5\n"
    rows = rows_of(opens, actions)
    growth = rows.wealth[1:, :] / rows.wealth[:-1, :]
    # a decision at the close of day k is filled at the open of day k + 1
    assert growth[:3, 0].tolist() == pytest.approx([2 * 51 / 101, 50 / 51, 52 / 50])
    assert growth[:3, 1].tolist() == pytest.approx([9.5 / 10.0, (9.0 + 0.5) / 9.5, 9.9 / 9.0])
    assert np.isnan(rows.open[-1]).all()


def rows_of(opens, actions="", folder=None):
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        settings = {"feed.jumps": "real"}
        if actions:
            (Path(name) / "actions.csv").write_text(actions)
            settings["feed.actions"] = str(Path(name) / "actions.csv")
        frame = bar_frame(frame_of(opens))
        config = around(frame, "equal_weight", {}, settings)
        return synchronous_rows(assemble(config, bars=frame))


def test_an_order_without_an_open_before_the_next_decision_does_not_fill() -> None:
    rows = rows_of({"A": [1.0, 2.0, 3.0, 4.0, 5.0], "B": [10.0, 11.0, None, None, 12.0]})
    assert rows.open[:, 1].tolist() == pytest.approx([11.0, np.nan, np.nan, 12.0, np.nan], nan_ok=True)
    assert rows.worth[:, 1].tolist() == pytest.approx([11.0, 11.0, 11.0, 12.0, 12.0])


def test_a_delisted_instrument_is_worth_what_it_paid() -> None:
    actions = "ts,symbol,kind,ratio,cash\n2024-01-05,B,delisting,,3.0\n"
    rows = rows_of({"A": [1.0, 2.0, 3.0, 4.0, 5.0], "B": [10.0, 11.0, 12.0, None, None]}, actions)
    assert rows.worth[:, 1].tolist() == pytest.approx([11.0, 12.0, 3.0, 3.0, 3.0])
    assert np.isnan(rows.open[2:, 1]).all()


def test_beside_shares_a_coins_own_bar_of_the_date_counts_and_the_row_is_used_one_sample_later(tmp_path: Path) -> None:
    days = (1, 2, 3, 5, 8)
    held = [(symbol, day) for symbol, all_days in (("SPY", days), ("BTC-USD", range(1, 9))) for day in all_days]
    lines = [f"2024-07-0{day},{symbol},10{day}.0,10{day}.9,10{day}.0,10{day}.5,9" for symbol, day in held]
    lines.insert(0, "ts,symbol,open,high,low,close,volume")
    (tmp_path / "bars.csv").write_text("\n".join(lines) + "\n")
    text = CONFIG[: CONFIG.index("[[agents]]")].replace('["SPY", "QQQ", "IWM"]', '["SPY", "BTC-USD"]')
    text = "\n".join(line for line in text.splitlines() if not line.startswith(("start", "end", "actions", "warmup")))
    text = text.replace(text[text.index('path = "') : text.index("\n", text.index('path = "'))], 'path = "bars.csv"')
    text = text.replace("[feed]", '[[universe.instruments]]\nsymbol = "BTC-USD"\ncalendar = "24/7"\n[feed]')
    text += '\n[[agents]]\nname = "mine"\npolicy = "equal_weight"\ncapital = 1.0\n[bus]\nport = 0\n'
    rows = synchronous_rows(assembled(tmp_path, text))
    assert rows.late
    # 2024-07-04 is a holiday; the row of the 8th ends with the coin's own bar
    assert [datetime.fromtimestamp(ts / 1e9).day for ts in rows.key.tolist()] == [1, 2, 3, 5, 8]
    for row, day in enumerate((1, 2, 3, 5, 8)):
        assert rows.view(row, 3).prices.tolist() == [100.5 + day] * 2
    # the row of the 3rd is decided at the close of the 5th: the coin fills at midnight, the share on the 8th
    assert rows.open[2].tolist() == [108.0, 106.0]
    assert rows.decided[:-1].tolist() == rows.ts[1:].tolist()
