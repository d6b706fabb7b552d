"""The variants of examples/variants are configurations and a plan that load, and each sets what it is there for."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from quantd.daemon.app import Options, read_config
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import Config
from quantd.training.plans.plan import read
from tests.support.checkout import ROOT

FOLDER = ROOT / "examples" / "variants"
PLAN = FOLDER / "custom-plan.toml"
ABOUT: dict[str, Callable[[Config], bool]] = {
    "crypto": lambda config: config.universe.calendar == "24/7" and config.broker.kind == "paper",
    "esg": lambda config: [series.name for series in config.feed.series] == ["esg", "sentiment"],
    "schedules": lambda config: (
        {schedule.do for schedule in config.schedules}
        == {"rebalance", "daily_report", "risk_report", "backup", "compact"}
    ),
    "risk": lambda config: config.risk.max_drawdown < 0.25 and config.risk.protective is not None,
}


def test_each_variant_has_a_test() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == {*ABOUT, PLAN.stem}


@pytest.mark.requirement("R-262")
@pytest.mark.parametrize("name", ABOUT)
def test_a_variant_loads_with_its_market_and_its_policies(name: str, tmp_path: Path) -> None:
    config = read_config(Options(FOLDER / f"{name}.toml"))
    assert ABOUT[name](config)
    assembly = assemble(config, cache=tmp_path)
    assert assembly.universe.symbols == config.universe.symbols
    assert len(assembly.policies) == len(config.agents)


@pytest.mark.requirement("R-263")
def test_the_plan_sets_agents_assets_scores_transformer_sizes_episodes_and_batch() -> None:
    plan = read(PLAN)
    assert (plan.agent, plan.profile, plan.learner.agents) == ("maddpg", "transformer", 2)
    assert plan.data.symbols == ("SPY", "QQQ", "AAPL")
    assert [series.name for series in plan.data.series] == ["esg", "sentiment"]
    assert (plan.learner.transformer.width, plan.learner.transformer.layers) == (64, 2)
    assert (plan.learner.hidden, plan.learner.batch) == ((96, 48), 32)
    assert (plan.market.episodes.length, plan.market.batch) == (63, 8)


def test_the_invented_scores_are_known_after_the_date_that_they_describe() -> None:
    scores = pl.read_csv(FOLDER / "invented_scores.csv", try_parse_dates=True)
    assert (scores["available"] > scores["ts"]).all()
    assert scores["sentiment"].is_between(-1, 1).all()
    for path in FOLDER.glob("*.toml"):
        assert "invented_scores" not in path.read_text() or "INVENTED" in path.read_text()
