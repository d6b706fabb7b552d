"""Shares beside a coin in a plan with columns: what is traded is what was trained, and no bar is known early."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import quantd
from quantd.models.artifacts import agent_policy
from quantd.models.artifacts.folder import read_manifest
from quantd.models.artifacts.manifest import MANIFEST, AgentManifest
from quantd.models.history.panel import MacroSource, Panel
from quantd.models.history.panel_files import read_panel
from quantd.models.history.splits import day_of
from quantd.models.observation.sight import SightSpec, entry_names, observed_by
from quantd.strategies.features import SETS
from quantd.trading.bars import FIELDS
from quantd.training.plans.plan import parsed
from quantd.training.runs.evaluation import evaluate
from quantd.training.runs.training_run import train
from tests.support.checkout import DATA

SYMBOLS = ("SPY", "TLT", "GLD", "BTC-USD")
ACTIONS, VIX = DATA / "seed4_actions.csv", DATA / "vix_daily.parquet"
BEGINS, FIRST, LAST = date(2019, 1, 2), date(2020, 7, 1), date(2020, 12, 31)
FOUR_ASSET = tuple(name for name in SETS["four_asset"] if name not in ("weight", "value"))
MORE = ("natr_5", "volume_ratio_5", "sma_distance_4.week", "momentum_20.rank", "beta_20", "correlation_4.week",
        "series_score.rank")  # fmt: skip

PLAN = """
agent = "ppo"
name = "mixed"
steps = 128
evaluate_every = 128
warmup_days = 250
seeds = [1]

[data]
bars = "FOLDER/bars.parquet"
actions = "ACTIONS"
symbols = ["SPY", "TLT", "GLD", "BTC-USD"]
macro = [MACRO]
series = [SERIES]

[splits]
train = { name = "train", first = 2019-10-01, last = 2020-03-31 }
validation = { name = "validation", first = 2020-04-01, last = 2020-06-30 }
test = { name = "test", first = 2020-07-01, last = 2020-12-31 }

[sight]
features = []
columns = COLUMNS
benchmark = "SPY"

[market.episodes]
length = 40

[learner]
hidden = [8]
horizon = 16
minibatch = 32
epochs = 1
"""

CONFIG = """
[universe]
symbols = ["GLD", "BTC-USD", "SPY", "TLT"]
benchmark = "SPY"
calendar = "XNYS"
[[universe.instruments]]
symbol = "BTC-USD"
calendar = "24/7"
lot = "0.0001"
[feed]
path = "FOLDER/bars.parquet"
actions = "ACTIONS"
stamps = "session"
start = 2020-07-01
end = 2020-12-31
warmup = 300
macro = [MACRO]
series = [SERIES]
[broker]
cash = "100000.00"
[risk]
profile = "research"
[[agents]]
name = "learned"
policy = "FOLDER/made"
capital = 1.0
profile = "research"
"""


def filled(text: str, folder: Path) -> str:
    macro = f'{{ name = "vix", path = "{VIX}" }}, {{ name = "yield_10y", path = "FOLDER/yield.csv" }}'
    series = '{ name = "score", path = "FOLDER/scores.csv" }'
    for word, value in (("MACRO", macro), ("SERIES", series), ("ACTIONS", ACTIONS), ("FOLDER", folder)):
        text = text.replace(word, str(value))
    return text.replace("COLUMNS", str([*FOUR_ASSET, *MORE]))


def panel_of(folder: Path, sources: tuple[MacroSource, ...]) -> Panel:
    return read_panel(folder / "bars.parquet", ACTIONS, SYMBOLS, BEGINS, LAST, sources=sources)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three funds, a coin with its weekends, a yield, scores, and a policy that was trained on them."""
    folder = tmp_path_factory.mktemp("mixed")
    fields = ["ts", "symbol", "open", "high", "low", "close", "volume"]
    funds = pl.read_parquet(DATA / "seed4_daily.parquet").filter(pl.col("symbol") != "BTC-USD").select(fields)
    coin = pl.read_parquet(DATA / "crypto_daily.parquet").filter(pl.col("symbol") == "BTC-USD").select(fields)
    span = pl.col("ts").dt.date().is_between(date(2018, 6, 1), LAST)
    bars = pl.concat([funds, coin], how="vertical_relaxed").filter(span).sort("symbol", "ts")
    bars.write_parquet(folder / "bars.parquet")
    draw = np.random.default_rng(3)
    days = [date(2018, 1, 1) + timedelta(days=k) for k in range(0, 1200, 3)]
    (folder / "yield.csv").write_text("ts,value\n" + "".join(f"{day},{draw.uniform(0.5, 3.0)}\n" for day in days))
    rows = (f"{day},{symbol},{draw.normal()}\n" for day in days for symbol in SYMBOLS)
    (folder / "scores.csv").write_text("ts,symbol,value\n" + "".join(rows))
    train(parsed(filled(PLAN, folder), "plan.toml"), folder / "made", "a test", lambda progress: False)
    return folder


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.requirement("R-036", "R-263")
@pytest.mark.parametrize("how", ["backtest", "evaluate"])
def test_each_observation_in_trading_is_that_of_training(
    how: str, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    observations: list[np.ndarray] = []
    usual = agent_policy.observation

    def noted(*arguments: object, **options: object) -> np.ndarray:
        observations.append(usual(*arguments, **options))  # type: ignore[arg-type]
        return observations[-1]

    monkeypatch.setattr(agent_policy, "observation", noted)
    if how == "backtest":
        (tmp_path / "config.toml").write_text(filled(CONFIG, folder))
        quantd.backtest(tmp_path / "config.toml", compare=False)
    else:
        evaluate(folder / "made", FIRST, LAST)
    manifest = read_manifest(folder / "made" / MANIFEST, AgentManifest)
    panel = panel_of(folder, manifest.sources)
    assert panel.late == {"BTC-USD"}
    expected = observed_by(manifest.sight, panel).table
    rows = np.flatnonzero(panel.day_ns >= np.datetime64(FIRST, "ns").astype(np.int64))[:-1]
    observed = np.stack(observations)[-len(rows) - (how == "backtest") :][: len(rows)]
    assert len(observed) > 100
    np.testing.assert_allclose(observed[:, : expected.shape[1]], expected[rows], rtol=1e-6, atol=1e-6)
    names = entry_names(manifest.sight, manifest.universe)
    still = {name for name, moved in zip(names, observed.std(axis=0) > 0.0, strict=True) if not moved}
    assert still <= {*(f"known {symbol}" for symbol in SYMBOLS), "beta_20 SPY", "correlation_4.week SPY"}


@pytest.mark.requirement("R-036")
def test_the_four_asset_state_of_funds_and_a_coin_has_34_entries() -> None:
    spec = SightSpec((), columns=FOUR_ASSET, benchmark="SPY", book=("weights", "cash"))
    # the book's value of the set is cash here, and each asset has a flag
    assert spec.size(4) - len(SYMBOLS) == 34


@pytest.mark.long
@pytest.mark.parametrize("weekday", [0, 2], ids=["Monday", "Wednesday"])
def test_no_column_uses_a_bar_that_ends_after_the_decision(weekday: int, folder: Path, tmp_path: Path) -> None:
    manifest = read_manifest(folder / "made" / MANIFEST, AgentManifest)
    panel = panel_of(folder, manifest.sources)
    days = [day_of(at) for at in panel.day_ns]
    row = next(k for k in range(320, len(days)) if days[k].weekday() == weekday)
    # at the close of New York the coin's bar of the date is not over
    ended = pl.col("ts").dt.date() < days[row] + timedelta(days=1) * (pl.col("symbol") != "BTC-USD").cast(pl.Int64)
    bars = pl.read_parquet(folder / "bars.parquet")
    prices = (pl.when(ended).then(pl.col(name)).otherwise(1.5 * pl.col(name)) for name in FIELDS)
    bars.with_columns(prices).write_parquet(tmp_path / "bars.parquet")
    full_table, changed = (
        observed_by(manifest.sight, panel_of(place, manifest.sources)).table for place in (folder, tmp_path)
    )
    np.testing.assert_array_equal(changed[: row + 1], full_table[: row + 1])
    assert (changed[row + 1] != full_table[row + 1]).any()
    newest = panel.at_decisions()
    since = pl.col("ts").dt.date() >= days[row - 1]
    coin_bars = bars.filter(ended & since & (pl.col("symbol") == "BTC-USD"))
    assert len(coin_bars) == (days[row] - days[row - 1]).days
    assert newest.close[row, 3] == coin_bars["close"][-1]
    assert newest.bars["high"][row, 3] == coin_bars["high"].max()
