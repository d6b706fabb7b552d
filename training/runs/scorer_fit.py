"""Fits the scorer on a market with a planted signal: the columns of the signal are further features of each symbol."""

from collections.abc import Mapping

import msgspec
import numpy as np
import torch

from quantd.models.history.panel import Panel
from quantd.models.observation.table import Observed, Sight, sight
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.training.market.episodes import WHOLE
from quantd.training.market.simulator import Simulator
from quantd.training.market.tensors import market_of
from quantd.training.plans.plan import Plan
from quantd.training.power.reference_rule import Grown
from quantd.training.runs import scorer_run


def fitted_scorer(plan: Plan, panel: Panel, columns: Mapping[str, Floats], seed: int) -> Grown:
    """Fit one seed of the scorer with the scorer's settings and the plan's splits and costs.

    `columns` are float64[T, N] of the panel, by name: a planted (artificial) signal, which the scorer sees beside its
    usual features. Returns the growth on the test part. Raises ValueError where the training part is shorter than an
    episode. Axes: T sessions, N assets.
    """
    torch.set_num_threads(1)
    usual_sight = sight(panel)
    plant_features = [values[:, :, None].astype(np.float32) for values in columns.values()]
    planted_sight = Sight(np.concatenate([usual_sight.features, *plant_features], axis=2), usual_sight.mask)
    settings = msgspec.structs.replace(
        scorer_run.Plan(), splits=plan.splits, seeds=(seed,), costs=plan.market.costs, cash=plan.market.capital
    )
    scorer = scorer_run.fit(panel, planted_sight, settings, seed, lambda text: None).scorer
    with torch.no_grad():
        weights = scorer(torch.from_numpy(planted_sight.features), torch.from_numpy(planted_sight.mask)).double()
    rows, account = plan.splits.test.rows(panel.day_ns), plan.market
    # no observations: the weights are computed above
    empty = Observed(np.zeros((len(panel.day_ns), 0), dtype=np.float32), (), 0, ())
    env = Simulator(
        # "box": weights without an entry for cash
        market_of(panel, empty, rows, dtype=torch.float64), batch=1, kind="box", episodes=WHOLE, costs=account.costs,
        capital=account.capital, lot=account.lots(panel.symbols),
    )  # fmt: skip
    equity, turnover = [account.capital], 0.0
    for row in rows[:-1]:
        env.move(weights[row][None])
        assert env.outcome is not None
        equity.append(float(env.equity))
        turnover += float(env.outcome.turnover)
    daily = np.diff(np.log(np.array(equity)))
    return Grown(daily, turnover / len(daily) * PERIODS_PER_YEAR)
