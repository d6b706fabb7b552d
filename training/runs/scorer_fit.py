"""The scorer on a planted market: the columns of a plant are further features of each symbol."""

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
    """Fit one seed of the scorer with its own settings and the plan's parts and costs. Returns its test part.

    Raises ValueError where the training part is shorter than an episode.
    """
    torch.set_num_threads(1)
    plain = sight(panel)
    more = [values[:, :, None].astype(np.float32) for values in columns.values()]
    seen = Sight(np.concatenate([plain.features, *more], axis=2), plain.mask)
    settings = msgspec.structs.replace(
        scorer_run.Plan(), splits=plan.splits, seeds=(seed,), costs=plan.market.costs, cash=plan.market.capital
    )
    scorer = scorer_run.fit(panel, seen, settings, seed, lambda text: None).scorer
    with torch.no_grad():
        weights = scorer(torch.from_numpy(seen.features), torch.from_numpy(seen.mask)).double()
    rows, of = plan.splits.test.rows(panel.day_ns), plan.market
    empty = Observed(np.zeros((len(panel.day_ns), 0), dtype=np.float32), (), 0, ())
    env = Simulator(
        market_of(panel, empty, rows, dtype=torch.float64), batch=1, kind="box", episodes=WHOLE, costs=of.costs,
        capital=of.capital, lot=of.lots(panel.symbols),
    )  # fmt: skip
    equity, turnover = [of.capital], 0.0
    for row in rows[:-1]:
        env.move(weights[row][None])
        assert env.outcome is not None
        equity.append(float(env.equity))
        turnover += float(env.outcome.turnover)
    daily = np.diff(np.log(np.array(equity)))
    return Grown(daily, turnover / len(daily) * PERIODS_PER_YEAR)
