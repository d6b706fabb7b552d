"""The figures of one window: those of the account, and a Calmar ratio where there is one."""

import msgspec
import numpy as np
import pytest

from quantd.models.artifacts.window_figures import WindowFigures, window_figures
from quantd.trading.statistics import Performance, calmar, performance

WEALTH = np.array([100.0, 104.0, 99.0, 103.0, 108.0])


@pytest.mark.requirement("F-17")
def test_the_calmar_ratio_stands_beside_the_figures_of_the_account() -> None:
    figures, expected = window_figures(WEALTH, 12.0, 0.01), performance(WEALTH, 12.0, 0.01)
    assert {name: getattr(figures, name) for name in Performance.__struct_fields__} == msgspec.structs.asdict(expected)
    assert figures.calmar == calmar(WEALTH, 12.0) == pytest.approx(expected.annual_return / (5.0 / 104.0))


def test_a_wealth_that_never_fell_and_an_older_record_have_no_calmar_ratio() -> None:
    assert window_figures(np.array([1.0, 1.1, 1.2])).calmar is None
    older = msgspec.json.encode(performance(WEALTH))
    assert msgspec.json.decode(older, type=WindowFigures).calmar is None
    newer = window_figures(WEALTH)
    assert msgspec.json.decode(msgspec.json.encode(newer), type=WindowFigures) == newer


def test_the_record_of_an_account_that_held_nothing_is_read_back() -> None:
    figures = window_figures(np.ones(5), risk_free_annual=0.0)
    read = msgspec.json.decode(msgspec.json.encode(figures), type=WindowFigures)
    assert np.isnan(figures.sharpe)
    assert np.isnan(read.sharpe)
    assert read.total_return == 0.0
