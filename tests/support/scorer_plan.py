"""A small plan of a scorer on the bundled bars."""

from datetime import date

from quantd.models.history.splits import Split, Splits
from quantd.training.runs.scorer_run import Plan
from tests.support.checkout import DATA

BARS, ACTIONS = DATA / "us_daily.parquet", DATA / "us_actions.csv"
SYMBOLS = ("SPY", "AAPL", "BAC")
SMALL = Plan(
    splits=Splits(
        Split("train", date(2005, 8, 1), date(2007, 6, 29)),
        Split("validation", date(2007, 7, 2), date(2007, 12, 31)),
        Split("test", date(2008, 1, 2), date(2008, 6, 30)),
    ),
    warmup_from=date(2005, 1, 3),
    seeds=(1, 2),
    iterations=6,
    check_every=1,
    batch=4,
    episode=20,
)
