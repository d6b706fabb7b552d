"""A plan with columns, from its file to the daemon: what is traded is what was trained, and another feature code,
series or symbol is refused by name."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

import quantd
from quantd.models.artifacts.agent_policy import load, load_agent
from quantd.models.artifacts.folder import read_manifest, render, sealed
from quantd.models.artifacts.manifest import MANIFEST, AgentManifest, ArtifactError
from quantd.models.artifacts.weights import tensors_of
from quantd.models.history.panel_files import file_digest
from quantd.models.observation.sight import entry_names
from quantd.training.export.distillation import DistilPlan, distil
from quantd.training.plans.data_plan import PlanError
from quantd.training.plans.plan import Plan, parsed
from quantd.training.retraining.recipes import recipe_of
from quantd.training.retraining.refit import RetrainingRequest, retrain
from quantd.training.runs.training_run import train
from tests.support.checkout import DATA

COLUMNS = (
    "rsi_14", "momentum_60.rank", "natr_14.week", "beta_60", "series_score_z_20", "series_kind_is_2", "regime_bull",
    "vix_z_20", "year_sin",
)  # fmt: skip
FIRST, LAST = date(2012, 7, 2), date(2012, 12, 31)

TEXT = f"""
agent = "ppo"
name = "columns"
steps = 128
evaluate_every = 128
warmup_days = 800
seeds = [1]

[data]
bars = "{DATA / "us_daily.parquet"}"
actions = "{DATA / "us_actions.csv"}"
symbols = ["SPY", "QQQ", "BAC"]
macro = [{{ name = "vix", path = "{DATA / "vix_daily.parquet"}" }}]
series = [SERIES]

[splits]
train = {{ name = "train", first = 2010-01-04, last = 2011-12-30 }}
validation = {{ name = "validation", first = 2012-01-03, last = 2012-06-29 }}
test = {{ name = "test", first = 2012-07-02, last = 2012-12-31 }}

[sight]
columns = {list(COLUMNS)}
benchmark = "SPY"

[market.episodes]
length = 60

[learner]
hidden = [8]
horizon = 16
minibatch = 32
epochs = 2
"""

CONFIG = f"""
[universe]
symbols = ["BAC", "SPY", "QQQ"]
benchmark = "SPY"
calendar = "XNYS"
[feed]
path = "{DATA / "us_daily.parquet"}"
actions = "{DATA / "us_actions.csv"}"
stamps = "session"
start = 2012-07-02
end = 2012-12-31
warmup = 1500
macro = [{{ name = "vix", path = "{DATA / "vix_daily.parquet"}" }}]
series = [SERIES]
[broker]
cash = "100000.00"
commission_bp = 10.0
slippage_bp = 5.0
[[agents]]
name = "learned"
policy = "FOLDER"
capital = 1.0
"""


SERIES = (
    '{ name = "score", path = "FILE", valid_days = 40 }, '
    '{ name = "kind", path = "FILE", column = "kind", available = "close" }'
)


def plan_of(text: str, scores: Path = Path("scores.csv")) -> Plan:
    return parsed(text.replace("SERIES", SERIES).replace("FILE", str(scores)), "plan.toml")


def config_of(folder: Path, scores: Path) -> str:
    return CONFIG.replace("FOLDER", str(folder)).replace("SERIES", SERIES).replace("FILE", str(scores))


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores and codes of the symbols, every third weekday, published one to four days later."""
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    draw = np.random.default_rng(3)
    lines = ["ts,symbol,value,kind,available"]
    for k in range(0, 365 * 9, 3):
        day = date(2004, 1, 5) + timedelta(days=k)
        for symbol in ("QQQ", "SPY", "BAC", "XLF"):
            out = day + timedelta(days=int(draw.integers(1, 5)))
            lines.append(f"{day},{symbol},{draw.normal():.3f},{draw.integers(1, 4)},{out}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def folder(scores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("columns") / "made"
    train(plan_of(TEXT, scores), out, "a test", lambda progress: False)
    return out


@pytest.mark.long
def test_the_manifest_names_the_columns_their_hash_and_the_files_of_the_series(folder: Path, scores: Path) -> None:
    manifest = load(folder).manifest
    assert manifest.sight.columns == COLUMNS
    assert manifest.features_hash == manifest.sight.declared.digest
    assert [source.name for source in manifest.macro] == ["vix"]
    assert [(source.name, source.valid_days) for source in manifest.series] == [("score", 40), ("kind", 0)]
    for path in (DATA / "vix_daily.parquet", scores):
        assert manifest.training.data[path.name] == file_digest(path)
    assert all(name in (folder / "card.md").read_text() for name in COLUMNS)


@pytest.mark.long
@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("macro", r"reads the macro series 'vix'.*\[feed\] macro"),
        ("series", r"reads the series per symbol 'kind'.*\[feed\] series"),
    ],
)
def test_without_the_series_the_daemon_refuses_it_with_the_line_to_write(
    key: str, message: str, folder: Path, scores: Path, tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("\n".join(line for line in config_of(folder, scores).splitlines() if not line.startswith(key)))
    with pytest.raises(quantd.Error, match=message):
        quantd.backtest(path)


@pytest.mark.requirement("R-023")
def test_a_series_that_is_switched_off_leaves_the_columns_and_the_file_alone(tmp_path: Path) -> None:
    off = SERIES.replace("valid_days = 40", "use = false")
    plan = parsed(TEXT.replace("SERIES", off).replace("FILE", str(tmp_path / "absent.csv")), "plan.toml")
    usual = plan_of(TEXT)
    assert plan.sight.columns == tuple(name for name in COLUMNS if name != "series_score_z_20")
    assert usual.sight.size(3) - plan.sight.size(3) == 3, "one entry less of each asset"
    text = TEXT.replace("SERIES", off.replace("2 }", "2, use = false }").replace('"close" }', '"close", use = false }'))
    assert parsed(text, "plan.toml").sight.series == ()


@pytest.mark.long
def test_where_a_shared_column_has_no_value_yet_every_lot_is_kept(folder: Path, scores: Path, tmp_path: Path) -> None:
    series = tmp_path / "vix.csv"
    series.write_text("ts,value\n2012-12-31,20.0\n")
    path = tmp_path / "config.toml"
    text = config_of(folder, scores).replace(str(DATA / "vix_daily.parquet"), str(series))
    path.write_text(text)
    run = quantd.backtest(path)
    assert run.orders.height == 0
    assert run.alerts["text"].str.contains("vix_z_20 has no value yet").any()


@pytest.mark.requirement("R-100")
def test_features_that_this_code_computes_otherwise_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    manifest = replace(read_manifest(folder / MANIFEST, AgentManifest), features_hash="0" * 32)
    (other / MANIFEST).write_bytes(render(sealed(manifest)))
    with pytest.raises(ArtifactError, match="features_hash"):
        load_agent(other, {})


@pytest.mark.long
def test_it_is_trained_again_and_distilled_with_its_series(folder: Path, tmp_path: Path) -> None:
    bars, actions = DATA / "us_daily.parquet", DATA / "us_actions.csv"
    request = RetrainingRequest(folder, tmp_path / "versions", bars, actions, until=date(2013, 6, 28))
    outcome = retrain(request, lambda line: None)
    again = load_agent(tmp_path / "versions" / outcome.version, {}).artifact.manifest
    assert again.sight == load(folder).manifest.sight
    assert again.training.windows["test"].last == "2013-06-28"
    assert recipe_of(folder).settings()["sight"]["columns"] == COLUMNS
    small = DistilPlan(epochs=1, hidden=(8,), steps=40, batch=2)
    distil(folder, tmp_path / "pupil", bars, actions, small, "a test", lambda line: None)
    assert load_agent(tmp_path / "pupil", {}).sources == again.sources


@pytest.mark.long
def test_without_normalisation_the_mean_of_the_training_rows_is_kept(scores: Path, tmp_path: Path) -> None:
    out = tmp_path / "plain"
    plan = plan_of(TEXT.replace("seeds = [1]", "seeds = [1]\nnormalise = false"), scores)
    train(plan, out, "a test", lambda _: False)
    mean = tensors_of((out / "weights.safetensors").read_bytes())["observation.mean"]
    agent = load_agent(out, {})
    size = agent.artifact.manifest.sight.size(3)
    assert mean.shape == (size,)
    places = dict(zip(entry_names(agent.artifact.manifest.sight, ("SPY", "QQQ", "BAC")), mean.tolist(), strict=True))
    assert 40.0 < places["rsi_14 BAC"] < 70.0
    assert 0.0 <= places["regime_bull"] <= 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("'rsi_14'", "'rs_14'"), r"plan.toml:22: sight.columns: there is no feature 'rs_14'; did you mean 'rsi_14'"),
        (("'rsi_14'", "'weight'"), r'plan.toml:22: .* weight is of the book; write book = \["weights", "cash"\]'),
        (('benchmark = "SPY"', ""), r'sight.benchmark: the columns need one; write benchmark = "SPY"'),
        (
            ('benchmark = "SPY"', 'benchmark = "XLF"'),
            "plan.toml:23: sight.benchmark: XLF is not in the data; name one of SPY, QQQ, BAC",
        ),
        (("'vix_z_20'", "'yield_10y'"), r'series yield_10y is missing; write data.macro = \[\{ name = "yield_10y"'),
        (("'series_kind_is_2'", "'series_esg'"), r'series esg is missing; write data.series = \[\{ name = "esg"'),
        ((str(list(COLUMNS)), '"everything"'), "plan.toml:22: sight.columns: 'everything' is no list of features"),
    ],
)
def test_a_mistake_is_named_with_its_line(change: tuple[str, str], message: str) -> None:
    assert change[0] in TEXT
    with pytest.raises(PlanError, match=message):
        plan_of(TEXT.replace(*change))


def test_bars_without_high_and_low_are_refused(scores: Path, tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    pl.read_parquet(DATA / "us_daily.parquet").select("ts", "symbol", "open", "close").write_parquet(path)
    plan = plan_of(TEXT.replace(str(DATA / "us_daily.parquet"), str(path)), scores)
    with pytest.raises(PlanError, match="sight: the bars have no high, low, volume"):
        train(plan, tmp_path / "out", "a test", lambda _: False)
