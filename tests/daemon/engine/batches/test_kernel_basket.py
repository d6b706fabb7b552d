"""A whole basket in the gate's kernel: what is asked for, in which order, and what is not."""

from typing import Any

import numpy as np
import pytest

from quantd.daemon.engine.batches import gate_inputs
from quantd.daemon.engine.batches import gate_kernel as kernel
from quantd.risk.limits.catalogue import Limits, Reason, Tail
from quantd.risk.pretrade.gate import Account, gate
from tests.support.risk_books import make_context, scenario_returns

PX = np.array([100.0, 50.0, 200.0])


def with_a_gap() -> Any:
    """The returns of the last symbol begin late, so that the rows of scenarios depend on what is asked for."""
    returns = scenario_returns(np.random.default_rng(5), 3)
    returns[:10, 2] = np.nan
    return make_context(PX, returns, ["A", "B", "C"])


TAILED = Limits(var=Tail(limit=0.5, lookback=80), max_open_orders=2, min_history=60)


def test_rows_of_scenarios_are_not_asked_for_where_no_order_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, calls = np.array([1.0, 0.0, 0.0]), []
    with_rows = gate_inputs.Market.with_rows

    def counted(self: gate_inputs.Market, *given: Any) -> Any:
        calls.append(given)
        return with_rows(self, *given)

    monkeypatch.setattr(gate_inputs.Market, "with_rows", counted)
    for open_orders, passes in ((1, 1.0), (2, 0.0)):
        book = Account(lots=np.zeros(3), cash=1e5, equity=1e5, open_orders=open_orders)
        verdict = gate(with_a_gap(), book, asked, TAILED)
        assert verdict.lots.tolist() == [passes, 0.0, 0.0]
        assert verdict.reason.tolist() == [0 if passes else Reason.OPEN_ORDERS, 0, 0]
        assert len(calls) == 1


def test_a_basket_says_what_it_needs_before_it_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses, run = [], kernel.JUDGE.run

    def recorded(*given: Any) -> int:
        statuses.append(run(*given))
        return statuses[-1]

    monkeypatch.setattr(kernel.JUDGE, "run", recorded)
    book = Account(lots=np.zeros(3), cash=1e5, equity=1e5)
    gate(with_a_gap(), book, np.array([1.0, 0.0, 0.0]), TAILED)
    assert statuses == [kernel.NEED_ROWS, kernel.DONE]


@pytest.mark.parametrize("name", ["cash", "equity", "up_cash", "open_loss", "open_gain", "traded"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nothing_is_added_beside_an_amount_that_is_not_a_number(name: str, value: float) -> None:
    ctx = make_context(PX, scenario_returns(np.random.default_rng(5), 3), ["A", "B", "C"])
    given: dict[str, Any] = {"cash": 1e5, "equity": 1e5, "open_loss": 0.0} | {name: value}
    verdict = gate(ctx, Account(lots=np.array([5.0, 0.0, 0.0]), **given), np.array([-2.0, 3.0, 0.5]), Limits())
    assert verdict.lots.tolist() == [-2.0, 0.0, 0.0]
    assert verdict.reason.tolist() == [0, Reason.NOT_FINITE, 0]


@pytest.mark.parametrize(("equity", "passes"), [(-1.0, False), (0.0, False), (1e5, True)])
def test_nothing_is_added_without_equity(equity: float, passes: bool) -> None:
    ctx = make_context(PX, scenario_returns(np.random.default_rng(5), 3), ["A", "B", "C"])
    verdict = gate(ctx, Account(lots=np.zeros(3), cash=1e5, equity=equity), np.array([0.0, 1.0, 0.0]), Limits())
    assert verdict.reason.tolist() == [0, 0 if passes else Reason.EQUITY, 0]
    assert verdict.lots.tolist() == [0.0, float(passes), 0.0]
