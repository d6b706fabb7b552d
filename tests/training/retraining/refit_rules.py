"""Fixed mixes, and the verdict of a rule on two of them."""

from datetime import date

from quantd.models.history.panel_files import read_panel
from quantd.models.history.splits import Split
from quantd.strategies.policies import POLICIES
from quantd.trading.execution import Costs
from quantd.training.retraining.challenge import Rule, judge
from tests.support.scorer_plan import ACTIONS, BARS, SYMBOLS

COSTS = Costs(commission_bp=10.0)

PANEL = read_panel(BARS, ACTIONS, SYMBOLS, date(2007, 1, 3), date(2008, 12, 31))
NEWEST = Split("test", date(2008, 1, 2), date(2008, 12, 31))


def mix(**weights: float):
    return POLICIES["fixed_mix"]({"weights": weights})


def judged(new, old, **rule: object):
    rule = {"measure": "mean", "confidence": 0.6} | rule
    return judge(new, old, PANEL, NEWEST, Rule(**rule), costs=COSTS, capital=100_000.0, lot=1.0, key="k")
