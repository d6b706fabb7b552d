"""A search that is over in seconds: three assets, two short years, networks of a few numbers."""

from datetime import date
from typing import Any

from quantd.training.plans.plan import Plan, default, replaced
from quantd.training.search.study import Search
from tests.support.checkout import DATA

SMALL: dict[str, object] = {
    "data.bars": str(DATA / "us_daily.parquet"),
    "data.actions": str(DATA / "us_actions.csv"),
    "data.symbols": ["SPY", "AAPL", "BAC"],
    "splits.train.first": "2005-08-01",
    "splits.train.last": "2007-06-29",
    "splits.validation.first": "2007-07-02",
    "splits.validation.last": "2007-09-28",
    "splits.test.first": "2007-10-01",
    "splits.test.last": "2008-06-30",
    "market.episodes.length": 20,
    "learner.horizon": 16,
    "learner.epochs": 1,
    "seeds": [1, 2],
}

LAST_CHOSEN_BY = date(2007, 9, 28)


def plan(**changes: object) -> Plan:
    return replaced(default("ppo"), {**SMALL, **changes})


def search(**changes: Any) -> Search:
    settings = {"plan": plan(), "study": "small", "trials": 6, "max_steps": 1_280, **changes}
    return Search(**settings)


def text(**changes: object) -> str:
    """The plan as a user would write it."""
    from quantd.training.search.study_files import toml

    return toml(plan(**changes))
