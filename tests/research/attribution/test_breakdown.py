"""Each table adds up to the return, is addressed by name, and has the costs and trades of each agent."""

from dataclasses import replace

import numpy as np
import pytest

from quantd.research.attribution.breakdown import breakdown
from quantd.research.attribution.linking import period_return
from quantd.research.attribution.profit import KINDS, profit
from quantd.research.metrics.catalogue import METRICS
from quantd.research.reports.report_contents import CostRow
from quantd.research.verdict import Figures
from tests.support.book_histories import CONFIG, Weights, assembly_of, history_of, idle, real_history, three_trades
from tests.support.checkout import ROOT


def tables(found):
    return {
        "asset": found.by_asset,
        "sector": found.by_sector,
        "agent": found.by_agent,
        "kind": found.by_kind,
        "decision": {"decision": found.decision, "execution": found.execution},
        **found.by_agent_and_asset,
    }


@pytest.mark.parametrize("history", [three_trades(), real_history()[0], idle(), idle(1)], ids=range(4))
def test_every_table_adds_up_to_the_return(history) -> None:
    found = breakdown(history)
    assert found.total == period_return(history.returns())
    for name, table in tables(found).items():
        whole = found.by_agent[name] if name in found.by_agent_and_asset else found.total
        assert abs(sum(table.values()) - whole) < 1e-9, name
        assert np.isfinite(list(table.values())).all(), name


def test_three_trades_by_hand() -> None:
    found = breakdown(three_trades())
    returns = [48.0 / 10_000.0, 15.0 / 10_048.0, 80.5 / 11_063.0]
    total = (1 + returns[0]) * (1 + returns[1]) * (1 + returns[2]) - 1
    slope = np.log1p(total) / total
    each = [np.log1p(r) / r / slope / equity for r, equity in zip(returns, (10_000.0, 10_048.0, 11_063.0), strict=True)]
    assert found.total == pytest.approx(total, rel=1e-12)
    # AAA: 48, then -40 + 20, then 40 - 2; BBB: 0, then 80 - 40 - 4 - 1, then 40 - 0.50; interest of 3
    assert found.by_asset == pytest.approx(
        {
            "AAA": 48 * each[0] - 20 * each[1] + 38 * each[2],
            "BBB": 35 * each[1] + 39.5 * each[2],
            "cash": 3 * each[2],
        },
        abs=1e-12,
    )
    assert found.by_sector == pytest.approx(
        {"energy": found.by_asset["AAA"], "unknown": found.by_asset["BBB"], "cash": found.by_asset["cash"]}
    )
    assert found.by_agent["trend"] == pytest.approx(found.by_asset["AAA"], abs=1e-12)
    assert found.execution == pytest.approx(-32 * each[0] - 45 * each[1] + 38 * each[2], abs=1e-12)
    trend, value = found.activity["trend"], found.activity["value"]
    mean_equity = (10_000 + 10_048 + 11_063 + 11_143.5) / 4
    assert trend.turnover_total == pytest.approx((20 * 101.5 + 40 * 52.0) / mean_equity)
    assert (trend.trades, value.trades) == (2, 1)
    assert trend.cost == pytest.approx(10 + 2 + 2)  # slippage and two fees
    assert value.cost == pytest.approx(4 + 1 + 0.5)  # slippage, a fee and the borrow fee
    assert trend.crossed == 0.0


def table_of(heading: str) -> list[list[str]]:
    """The rows of the first table of the page that has this heading."""
    page = (ROOT / "docs" / "research" / "attribution.md").read_text(encoding="utf-8")
    rows = page.partition(f"\n{heading}\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_page_has_the_money_of_three_trades() -> None:
    names = ["holding", "timing", "slippage", "commission", "borrow", "dividend", "interest"]
    rows = table_of(f"| interval | symbol | {' | '.join(names)} | sum |")
    found = profit(three_trades()).summed("interval", "symbol", "kind")
    kinds, shown = [KINDS.index(name) for name in names], np.zeros_like(found)
    for interval, symbol, *amounts, total in rows:
        place = int(interval) - 1, ("AAA", "BBB", "cash").index(symbol)
        shown[place][kinds] = list(map(float, amounts))
        assert float(total) == pytest.approx(found[place].sum(), abs=1e-9)
    np.testing.assert_allclose(shown, found, atol=1e-9)


def test_the_page_has_the_contributions_of_three_trades() -> None:
    found = breakdown(three_trades())
    expected = {
        **{("asset", name): part for name, part in found.by_asset.items()},
        **{("agent", name): part for name, part in found.by_agent.items()},
        **{("kind", name): part for name, part in found.by_kind.items() if name != "other"},
        ("decision", ""): found.decision,
        ("execution", ""): found.execution,
    }
    shown = {(by, part): float(bp) for by, part, bp in table_of("| by | part | bp |")}
    assert shown == {key: pytest.approx(1e4 * part, abs=0.0051) for key, part in expected.items()}
    assert round(1e4 * found.total, 2) == 136.22


def test_permuted_columns_change_no_entry() -> None:
    history, _ = real_history()
    one, other = breakdown(history), breakdown(history.reordered(("SPY", "IWM", "AAPL", "QQQ", "BAC")))
    for name, table in tables(one).items():
        assert tables(other)[name] == pytest.approx(table, abs=1e-12), name


def test_columns_of_the_market_in_another_order_change_no_entry(tmp_path) -> None:
    """The whole run again, with the symbols of the configuration in another order and weights by name."""
    weights = [
        {"AAPL": 0.3, "BAC": 0.1, "IWM": 0.1, "QQQ": 0.2, "SPY": 0.2},
        {"AAPL": -0.3, "BAC": 0.2, "IWM": 0.1, "QQQ": -0.2, "SPY": 0.1},
    ]
    found = []
    for k, order in enumerate((["AAPL", "BAC", "IWM", "QQQ", "SPY"], ["QQQ", "SPY", "AAPL", "IWM", "BAC"])):
        (tmp_path / str(k)).mkdir()
        text = CONFIG.replace('["AAPL", "BAC", "IWM", "QQQ", "SPY"]', str(order).replace("'", '"'))
        one = assembly_of(tmp_path / str(k), text.replace("end = 2020-12-31", "end = 2020-09-30"))
        policies = [Weights([own[symbol] for symbol in order]) for own in (*weights, weights[1])]
        found.append(breakdown(history_of(replace(one, policies=tuple(policies)))[0]))
    for name, table in tables(found[0]).items():
        assert tables(found[1])[name] == pytest.approx(table, abs=1e-9), name


def test_an_agent_that_trades_more_has_more_turnover_and_cost() -> None:
    history, record = real_history()
    found = breakdown(history).activity
    assert sum(each.trades for each in found.values()) == (~history.trades.crossed).sum()
    assert sum(each.turnover_total for each in found.values()) == pytest.approx(record.traded / history.equity.mean())
    assert min(found[name].crossed for name in ("long", "short", "turning")) > 0.0
    assert found["turning"].turnover_total > found["short"].turnover_total > found["long"].turnover_total > 0.0
    assert found["turning"].cost > found["long"].cost
    assert found["unallocated"].trades == 0


def test_slippage_counts_gains_and_slippage_paid_does_not() -> None:
    """Two figures with two names: attribution's is signed, that of verdict, metrics and costs counts what was paid."""
    history, record = real_history()
    trades = history.trades.rows(~history.trades.crossed)
    beyond = trades.quantity * (trades.price - trades.arrival)
    assert record.slippage_paid == pytest.approx(np.maximum(beyond, 0.0).sum(), abs=0.01)
    parts = profit(history).summed("kind")
    assert parts[KINDS.index("slippage")] == pytest.approx(-beyond.sum(), abs=0.01)
    names = set(Figures.__struct_fields__) | set(CostRow.__struct_fields__) | {each.name for each in METRICS}
    assert not {"slippage", "slippage_drag"} & names
    assert {"slippage_paid", "slippage_paid_drag"} <= names


def test_the_turnover_of_a_period_and_that_of_a_year_have_two_names() -> None:
    history, _ = real_history()
    assert "turnover" in {each.name for each in METRICS}
    assert all(not hasattr(each, "turnover") for each in breakdown(history).activity.values())
