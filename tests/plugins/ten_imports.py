"""A policy file as it was written for commit 16991315. The documents of that commit show each of its ten imports."""

import numpy as np

import quantd
from quantd.adapters.feeds.bars.stamps import interval_ns
from quantd.daemon.engine.state import State
from quantd.research.runs.comparison import recorded
from quantd.risk.limits.settings import Limits, value_of
from quantd.strategies.features import spec_of
from quantd.strategies.policies.params import Lookback
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats
from quantd.trading.view import HOLD, Hold, View

LOOKBACK: Lookback = 20
DAY_NS = interval_ns("1d")
MOST = value_of(Limits(max_position_weight=0.5), "max_position_weight")
NAMED = (quantd.Error, State, recorded, spec_of(["rsi_14"]), NANO)


def act(view: View) -> Floats | Hold:
    """Half of the book in the instrument that moved least, while a bar is younger than a week."""
    deviations = view.deviation(LOOKBACK)
    if not np.isfinite(deviations).all() or view.time - view.sample_time > 7 * DAY_NS:
        return HOLD
    weights = np.zeros(len(deviations))
    weights[deviations.argmin()] = MOST
    return weights
