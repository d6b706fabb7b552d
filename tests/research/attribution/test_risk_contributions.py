"""Parts of risk by symbol add up to the whole, and belong to names."""

import numpy as np
import pytest

from quantd.research.attribution.risk_contributions import risk_contributions
from tests.support.book_histories import idle, real_history, reordered


@pytest.mark.requirement("R-259")
@pytest.mark.parametrize("basis", ["last", "average"])
def test_parts_add_up_to_the_risk_of_the_weights(basis) -> None:
    history, _ = real_history()
    risk = risk_contributions(history, basis)
    for name in ("volatility", "var", "cvar"):
        assert sum(getattr(risk, f"{name}_by_asset").values()) == pytest.approx(getattr(risk, name), rel=1e-9)
    weights = history.weights()[-1] if basis == "last" else history.weights().mean(axis=0)
    returns = history.asset_returns().dot(weights)
    assert risk.volatility == pytest.approx(returns.std(ddof=1) * np.sqrt(252), rel=1e-9)
    assert 0.0 < risk.var < risk.cvar
    assert (returns < -risk.var + 1e-15).mean() == pytest.approx(0.05, abs=0.01)
    assert risk.weights == pytest.approx(dict(zip(history.symbols, weights, strict=True)))


def test_the_two_bases_and_another_confidence_give_other_figures() -> None:
    history, _ = real_history()
    one = risk_contributions(history)
    assert risk_contributions(history, "average").volatility != one.volatility
    assert risk_contributions(history, confidence=0.99).var > one.var
    assert risk_contributions(history, periods=365.0).volatility > one.volatility


def test_permuted_columns_change_no_part() -> None:
    history, _ = real_history()
    one = risk_contributions(history)
    other = risk_contributions(reordered(history, ("SPY", "BAC", "QQQ", "AAPL", "IWM")))
    for name in ("volatility_by_asset", "var_by_asset", "cvar_by_asset"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-12)


def test_a_book_without_positions_has_no_risk_and_a_short_history_is_refused() -> None:
    risk = risk_contributions(idle(5))
    assert (risk.volatility, risk.var, risk.cvar) == (0.0, 0.0, 0.0)
    assert risk.volatility_by_asset == {"AAA": 0.0, "NEW": 0.0}
    with pytest.raises(ValueError, match="at least two intervals"):
        risk_contributions(idle(2))
