"""Each table adds up to the return, is addressed by name, and has the costs and trades of each agent."""

import numpy as np
import pytest

from quantd.research.attribution.breakdown import breakdown
from quantd.research.attribution.linking import period_return
from quantd.research.attribution.profit import KINDS, profit
from quantd.research.metrics.catalogue import METRICS
from quantd.research.reports.report_contents import CostRow
from quantd.research.verdict import Figures
from tests.support.book_histories import idle, real_history, three_trades


def tables(contributions):
    return {
        "asset": contributions.by_asset,
        "sector": contributions.by_sector,
        "agent": contributions.by_agent,
        "kind": contributions.by_kind,
        "decision": {"decision": contributions.decision, "execution": contributions.execution},
        **contributions.by_agent_and_asset,
    }


@pytest.mark.parametrize("history", [three_trades(), real_history()[0], idle(), idle(1)], ids=range(4))
def test_every_table_adds_up_to_the_return(history) -> None:
    contributions = breakdown(history)
    assert contributions.total == period_return(history.returns())
    for name, table in tables(contributions).items():
        total = contributions.by_agent[name] if name in contributions.by_agent_and_asset else contributions.total
        assert abs(sum(table.values()) - total) < 1e-9, name
        assert np.isfinite(list(table.values())).all(), name


def test_three_trades_by_hand() -> None:
    contributions = breakdown(three_trades())
    returns = [48.0 / 10_000.0, 15.0 / 10_048.0, 80.5 / 11_063.0]
    total = (1 + returns[0]) * (1 + returns[1]) * (1 + returns[2]) - 1
    slope = np.log1p(total) / total
    scales = [
        np.log1p(r) / r / slope / equity for r, equity in zip(returns, (10_000.0, 10_048.0, 11_063.0), strict=True)
    ]
    assert contributions.total == pytest.approx(total, rel=1e-12)
    # AAA: 48, then -40 + 20, then 40 - 2; BBB: 0, then 80 - 40 - 4 - 1, then 40 - 0.50; interest of 3
    assert contributions.by_asset == pytest.approx(
        {
            "AAA": 48 * scales[0] - 20 * scales[1] + 38 * scales[2],
            "BBB": 35 * scales[1] + 39.5 * scales[2],
            "cash": 3 * scales[2],
        },
        abs=1e-12,
    )
    assert contributions.by_sector == pytest.approx(
        {
            "energy": contributions.by_asset["AAA"],
            "unknown": contributions.by_asset["BBB"],
            "cash": contributions.by_asset["cash"],
        }
    )
    assert contributions.by_agent["trend"] == pytest.approx(contributions.by_asset["AAA"], abs=1e-12)
    assert contributions.execution == pytest.approx(-32 * scales[0] - 45 * scales[1] + 38 * scales[2], abs=1e-12)
    trend, value = contributions.activity["trend"], contributions.activity["value"]
    mean_equity = (10_000 + 10_048 + 11_063 + 11_143.5) / 4
    assert trend.turnover_total == pytest.approx((20 * 101.5 + 40 * 52.0) / mean_equity)
    assert (trend.trades, value.trades) == (2, 1)
    assert trend.cost == pytest.approx(10 + 2 + 2)  # slippage and two fees
    assert value.cost == pytest.approx(4 + 1 + 0.5)  # slippage, a fee and the borrow fee
    assert trend.crossed == 0.0


def test_an_agent_that_trades_more_has_more_turnover_and_cost() -> None:
    history, record = real_history()
    activity = breakdown(history).activity
    assert sum(agent.trades for agent in activity.values()) == (~history.trades.crossed).sum()
    assert sum(agent.turnover_total for agent in activity.values()) == pytest.approx(
        record.traded / history.equity.mean()
    )
    assert min(activity[name].crossed for name in ("long", "short", "turning")) > 0.0
    assert activity["turning"].turnover_total > activity["short"].turnover_total > activity["long"].turnover_total > 0.0
    assert activity["turning"].cost > activity["long"].cost
    assert activity["unallocated"].trades == 0


def test_slippage_counts_gains_and_slippage_paid_does_not() -> None:
    """Two figures with two names: attribution's is signed, that of verdict, metrics and costs counts what was paid."""
    history, record = real_history()
    trades = history.trades.rows(~history.trades.crossed)
    beyond = trades.quantity * (trades.price - trades.arrival)
    assert record.slippage_paid == pytest.approx(np.maximum(beyond, 0.0).sum(), abs=0.01)
    parts = profit(history).summed("kind")
    assert parts[KINDS.index("slippage")] == pytest.approx(-beyond.sum(), abs=0.01)
    names = set(Figures.__struct_fields__) | set(CostRow.__struct_fields__) | {metric.name for metric in METRICS}
    assert not {"slippage", "slippage_drag"} & names
    assert "slippage_paid" in names
