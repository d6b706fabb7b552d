"""What is shown at a close: named, from the past alone, and refused where it is not a number."""

import numpy as np
import pytest

from quantd.models.history.panel import Panel
from quantd.models.observation.return_features import FEATURES, LOOKBACK
from quantd.models.observation.table import Observed, observe, price_features
from tests.support.panels import panel_of


def cut(panel: Panel, rows: int) -> Panel:
    arrays = (getattr(panel, f)[:rows] for f in ("day_ns", "open", "close", "split", "dividend"))
    return Panel(panel.symbols, *arrays)


@pytest.mark.parametrize("rows", [140, 155])
def test_nothing_shown_changes_when_what_comes_after_is_removed(rows: int) -> None:
    panel = panel_of(2, 170, 3)
    reference, part = observe(panel), observe(cut(panel, rows))
    np.testing.assert_array_equal(reference.table[:rows], part.table)


def test_the_usual_features_are_those_that_policies_trade_on_and_what_is_known() -> None:
    panel = panel_of(2, 140, 2)
    panel.open[:30, 1] = panel.close[:30, 1] = np.nan
    features, names = price_features(panel)
    assert tuple(names) == (*FEATURES, "known")
    seen = observe(panel)
    assert seen.warm == LOOKBACK
    assert seen.names[:2] == ("S0.momentum_5", "S0.momentum_21")
    assert features[LOOKBACK, :, -1].tolist() == [1.0, 0.0]  # the second lacks a full lookback
    assert (features[LOOKBACK, 1] == 0.0).all()


def test_columns_without_a_name_of_their_own_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a different name"):
        Observed(np.zeros((3, 2), np.float32), ("a", "a"), 0)
