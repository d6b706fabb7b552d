"""The rules of docs/research/python.md, each with the numbers that it gives."""

import re
from datetime import UTC, date, datetime

import polars as pl
import pytest

import quantd
from tests.support.checkout import ROOT

DAYS = [date(2024, 1, day) for day in (2, 3, 4, 5, 8, 9)]
PAGE = (ROOT / "docs" / "research" / "python.md").read_text(encoding="utf-8")


def frame(opens, symbol="A", close=100.0, volumes=None):
    """Bars that close at one price; volumes differ, so that no bar repeats another."""
    rows = [
        {
            "ts": day, "symbol": symbol, "open": float(o), "high": max(o, close), "low": min(o, close), "close": close,
            "volume": 1e9 + k if volumes is None else float(volumes[k]),
        }
        for k, (day, o) in enumerate(zip(DAYS, opens, strict=True)) if o
    ]  # fmt: skip
    return pl.DataFrame(rows)


def run(bars, answers, **settings):
    answer_of_day = dict(zip(DAYS, answers, strict=True))
    return quantd.backtest(
        lambda view: answer_of_day[datetime.fromtimestamp(view.time / 1e9, UTC).date()], bars=bars, settings=settings,
        compare=False,
    )  # fmt: skip


def filled(result):
    return [(ts.day, side, qty, price) for ts, _, _, side, qty, price, *_ in result.fills.iter_rows()]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_example_of_the_page_is_what_the_product_computes():
    rows = re.findall(r"^\| \w{3} (2024-\S+) \| (\d+) \|.*\| ([\d,.]+) \| ([\d,.]+) \|$", PAGE, re.M)
    money = [[float(text.replace(",", "")) for text in row[2:]] for row in rows]
    result = run(frame([float(row[1]) for row in rows]), [[1.0], [-0.5], [-0.5], [-0.5], [0.5], [0.5]])
    assert [row[0] for row in rows] == [str(day) for day in DAYS]
    assert result.equity.select("cash", "equity").rows() == [tuple(row) for row in money]


@pytest.mark.parametrize("gap", [2.0, 1.3, 1.06, 0.94, 0.7, 0.5])
def test_every_order_fills_at_the_open_whatever_the_gap(gap):
    opens = [100.0, 100.0 * gap, 100.0, 100.0 * gap, 100.0, 100.0]
    result = run(frame(opens), [[0.5], "hold", [0.0], "hold", [-0.5], [0.0]])
    fills = filled(result)
    assert fills[0][:3] == (3, "buy", 500.0)
    assert fills[0][3] == pytest.approx(100.0 * gap * 1.0002)
    assert fills[1][:2] == (5, "sell")
    assert fills[1][3] == pytest.approx(100.0 * gap * 0.9998)
    assert result.orders["limit"].null_count() == result.orders.height


def test_a_collar_that_is_set_makes_limit_orders_again():
    settings = {"risk.collar": 0.05, "risk.reduce_collar": 0.15}
    result = run(frame([100, 106, 100, 100, 100, 100]), [[0.5], [0.0], [0.0], [0.0], [0.0], [0.0]], **settings)
    # the bar trades at 100, strictly inside the limit, after an open beyond it
    assert filled(result)[0] == (3, "buy", 500.0, 105.0)
    assert result.orders["limit"][0] == 105.0


def test_cash_is_reserved_at_the_last_close_and_may_be_negative_after_a_gap():
    result = run(frame([100, 110, 100, 100, 100, 100]), [[1.0]] * 6)
    assert filled(result)[0][:3] == (3, "buy", 999.0)
    assert result.equity["cash"][1] == pytest.approx(100_000 - 999 * 110.022 * 1.0001)
    assert filled(result)[1][1] == "sell"  # the negative cash lowers the next target


def test_an_unfilled_rest_counts_at_the_last_close_while_it_waits():
    """An order without a limit price must not reserve the ledger's highest price."""
    minutes = [datetime(2024, 1, 2, 14, 30 + k) for k in range(9)]
    rows = [
        {"ts": ts, "symbol": s, "open": 100.0, "high": 101.0 + k, "low": 99.0, "close": 100.0, "volume": 1000.0}
        for s in ("A", "B") for k, ts in enumerate(minutes)
    ]  # fmt: skip

    def act(view):
        later = view.time > int(minutes[1].replace(tzinfo=UTC).timestamp() * 1e9)
        return [0.5 if later else 0.0, 0.3]

    fills = quantd.backtest(act, bars=pl.DataFrame(rows), compare=False).fills
    at = fills.group_by("symbol", maintain_order=True).agg(pl.col("ts").dt.minute())
    # B's target is 299 lots after the first fill, so its order is cancelled and sent again a minute later
    assert dict(at.rows()) == {"B": [31, 33, 34], "A": [32, 33, 34, 35, 36]}


def test_a_tenth_of_the_volume_fills_and_the_rest_expires():
    result = run(frame([100] * 6, volumes=[9, 50, 1009, 0, 5, 1e6]), [[1.0]] * 6)
    assert [fill[:3] for fill in filled(result)] == [(3, "buy", 5.0), (4, "buy", 100.0), (9, "buy", 894.0)]


def test_no_bar_is_no_fill_and_a_price_is_old_after_thirty_hours():
    bars = pl.concat([frame([100] * 6), frame([50, 50, 0, 50, 0, 50], "B", 50.0)])
    answers = [[0.0, 0.5], [0.0, 0.0], [0.0, 0.0], [0.0, 0.3], [0.0, 0.3], [0.0, 0.3]]
    result = run(bars, answers)
    assert [fill[:3] for fill in filled(result)] == [(3, "buy", 1000.0), (5, "sell", 1000.0)]
    sent = [(ts.day, side, state) for ts, _, _, side, _, _, state, *_ in result.orders.iter_rows()]
    assert sent[:4] == [(2, "buy", "filled"), (3, "sell", "expired"), (4, "sell", "filled"), (5, "buy", "expired")]
    assert [day for day, *_ in sent[4:]] == [9]  # on Monday the 8th the price of B is three days old


def test_the_band_leaves_out_small_changes_but_not_a_target_of_zero_lots():
    result = run(frame([100] * 6), [[0.5], [0.504], [0.5051], [0.001], [0.0], [0.004]])
    assert [fill[:3] for fill in filled(result)] == [(3, "buy", 500.0), (5, "buy", 5.0), (8, "sell", 505.0)]


def test_weights_beyond_the_cash_that_may_be_owed_are_scaled_together():
    bars = pl.concat([frame([100] * 6), frame([50] * 6, "B", 50.0)])
    result = run(bars, [[3.0, -2.5], *[[0.0, 0.0]] * 5])
    # all cash and a debit of 1.25 x equity pay both fees; the equity that the debit refers to is less by both fees
    scale = 2.25 / (3.0 * 1.0001 + 1.25 * 0.0001 * 5.5)
    bought, sold = int(3.0 * scale * 1000), int(2.5 * scale * 2000)
    after = 100_000.0
    factor = after / (bought * 100 * 1.0001 - sold * 50 * 0.9999)
    assert factor > 1
    assert {(s, q) for _, _, _, s, q, *_ in result.fills.head(2).iter_rows()} == {("buy", bought), ("sell", sold)}


def test_actions_change_returns_and_pay_as_the_page_says(tmp_path):
    """A dividend of 2.00 on the fourth day, and 4 old shares for 1 on the fifth."""
    closes = [100.0, 100.0, 101.0, 98.0, 400.0, 404.0]
    bars = pl.concat(
        [frame([close] * 6, close=close).slice(k, 1) for k, close in enumerate(closes)]
    )  # each day opens where it closes
    (tmp_path / "actions.csv").write_text(
        "ts,symbol,kind,ratio,cash\n2024-01-05,A,dividend,,2.00\n2024-01-08,A,split,1:4,\n"
    )
    seen = []

    def act(view):
        seen.append(view.returns(1)[-1, 0])
        return [0.999] if len(seen) == 1 else "hold"

    settings = {"feed.actions": "actions.csv", "broker.participation": 0}
    result = quantd.backtest(act, bars=bars, settings=settings, compare=False)
    assert seen[-3:] == pytest.approx([(98.0 + 2.0) / 101.0 - 1.0, 400.0 / (4 * 98.0) - 1.0, 404.0 / 400.0 - 1.0])
    lots = result.fills["quantity"].sum()
    assert lots % 4, "a fraction is left, or this shows nothing"
    paid = result.equity["cash"].diff().to_list()[-3:]
    assert paid == pytest.approx([2.0 * lots, lots % 4 / 4 * (4 * 98.0), 0.0])
