"""Ablation: the state really shrinks, drops are paired by seed and date, a part that is not there has no figure."""

import json
import re
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quantd.research.studies.ablation.ablation_picture import ablation_page
from quantd.research.studies.ablation.ablation_study import (
    Ablation,
    Variant,
    adjusted,
    compared,
    drop_error,
    tier,
    tiers,
)
from quantd.research.studies.ablation.ablation_trials import Trial
from quantd.research.studies.ablation.ablation_variants import NO_DATA
from tests.support.command_line import quantd
from tests.support.studies import text

COLUMNS = ["daily_return_1", "rsi_14", "macd", "bollinger_position", "volatility_20"]


def trials(*sharpes: float | None, seed: int = 0, width: int = 10) -> list[Trial]:
    draw = np.random.default_rng(seed)
    return [Trial(width, sharpe, tuple(draw.normal(0.0, 0.01, 60).tolist())) for sharpe in sharpes]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("ablation")
    (folder / "plan.toml").write_text(text(steps=320, **{"sight.columns": COLUMNS, "sight.features": []}))
    arguments = [f"--without={name}" for name in ("RSI", "VIX", "critic", "memory", "limits")]
    done = quantd(folder, "ablate", "plan.toml", *arguments, "--out", "rows.csv", "--json")
    assert done.returncode == 0, done.stderr
    lines = (folder / "rows.csv").read_text().splitlines()
    # the trials are read again
    shown = quantd(folder, "ablate", "plan.toml", "--without=RSI", "--out", "page.html")
    page = (folder / "page.html").read_text()
    return {**json.loads(done.stdout), "csv": lines, "shown": shown.stdout.splitlines(), "page": page}


@pytest.mark.long
def test_the_power_line_stands_first_in_every_form_of_the_report(document: dict) -> None:
    power = document["power"]
    assert next(iter(document)) == "power"
    assert power.startswith("2007-10-01 to 2008-06-30, 3 symbols, 15 bp a side: with a daily signal of IC")
    assert document["shown"][0] == f"power: {power}"
    assert document["csv"][1] == f'power,,,,,,,,,,,,"{power}"'
    assert document["page"].index(power) < document["page"].index("<table")


@pytest.mark.long
@pytest.mark.requirement("R-255")
def test_the_state_shrinks_by_the_features_of_the_group_on_every_asset(document: dict) -> None:
    row = document["variants"][0]
    assert row["left_out"] == ["rsi_14"]
    assert document["width"] - row["width"] == 3  # assets
    assert row["sharpes"] != document["sharpes"]
    assert row["drops"] == pytest.approx(np.subtract(document["sharpes"], row["sharpes"]).tolist())
    names = ["name", "power", "RSI", "VIX", "critic", "memory", "limits"]
    assert [line.split(",")[0] for line in document["csv"]] == names


@pytest.mark.requirement("R-255")
def test_a_group_without_data_says_so_and_is_not_trained(document: dict) -> None:
    row = document["variants"][1]
    assert (row["name"], row["missing"], row["sharpes"], row["tier"]) == ("VIX", NO_DATA, [], "")
    memory = document["variants"][3]
    assert memory["missing"] == "the plan has no memory: its network is mlp, and sight.window is 0"
    assert document["test_evaluations"] == 5 * len(document["seeds"])  # full, RSI, critic, and limits twice


@pytest.mark.requirement("R-255", "F-07")
def test_a_part_is_trained_again_and_the_limits_are_traded_again(document: dict) -> None:
    critic, limits = document["variants"][2], document["variants"][4]
    assert critic["left_out"] == ["learner.value_weight = 0.5"]
    assert critic["width"] == document["width"]
    assert critic["sharpes"] != document["sharpes"]
    # both sides of the limits are traded by the engine, so that their ratios are not those of the simulator
    assert limits["full"] != document["sharpes"]
    assert limits["full"] != limits["sharpes"]
    assert limits["low"] < limits["drop"] < limits["high"]


@pytest.mark.long
@pytest.mark.requirement("R-255")
def test_scores_and_sentiment_come_from_a_file_and_a_synthetic_one_says_so(tmp_path: Path) -> None:
    days = pl.date_range(date(2004, 1, 5), date(2008, 7, 31), "1mo", eager=True)
    draw = np.random.default_rng(5)
    for name in ("synthetic_esg", "sentiment"):
        rows = [f"{day},{symbol},{draw.normal():.3f}" for day in days for symbol in ("SPY", "AAPL", "BAC")]
        (tmp_path / f"{name}.csv").write_text("\n".join(["ts,symbol,value", *rows]) + "\n")
    given = {
        "data.series": [{"name": name, "path": f"{name}.csv"} for name in ("synthetic_esg", "sentiment")],
        "sight.columns": ["rsi_14", "series_synthetic_esg.rank", "series_sentiment"], "sight.features": [],
    }  # fmt: skip
    (tmp_path / "plan.toml").write_text(text(steps=320, **given))
    names = [f"--without={name}" for name in ("ESG", "sentiment", "VIX")]
    done = quantd(tmp_path, "ablate", "plan.toml", *names, "--json", "--out", "page.html")
    assert done.returncode == 0, done.stderr
    esg, sentiment, vix = json.loads(done.stdout)["variants"]
    assert (esg["left_out"], esg["note"]) == (["series_synthetic_esg.rank"], "synthetic")
    assert (sentiment["left_out"], sentiment["note"]) == (["series_sentiment"], "")
    assert esg["drop"] is not None
    assert sentiment["width"] == esg["width"] == json.loads(done.stdout)["width"] - 3
    assert (vix["missing"], vix["drop"]) == (NO_DATA, None)
    page = (tmp_path / "page.html").read_text()
    assert "<th>ESG (synthetic)</th>" in page
    assert "<th>VIX</th><td>no data</td>" in page


@pytest.mark.requirement("R-256", "F-07")
def test_a_drop_is_paired_by_seed_with_its_interval_spread_and_tier() -> None:
    full, other = trials(1.0, 1.2, 0.8, 1.0, 1.0), trials(0.9, 1.1, 0.7, 0.8, 1.0, seed=1)
    row = compared("RSI", ("rsi_14",), full, other)
    # worked by hand: drops .1 .1 .1 .2 0, mean .1, deviation .0707
    assert row.drop == pytest.approx(0.1)
    assert row.p_seeds == pytest.approx(0.0341, abs=1e-4)
    assert (row.share, row.spread) == (pytest.approx(0.1), pytest.approx(0.0707, abs=1e-4))
    assert row.tier == "medium"
    error = drop_error(full, other)
    assert error is not None
    assert row.low is not None
    assert row.high is not None
    assert (row.high - row.low) / 2 == pytest.approx(1.96 * error, rel=1e-4)


@pytest.mark.requirement("R-256")
@pytest.mark.parametrize(
    ("share", "name"),
    [(0.1501, "high"), (0.15, "medium"), (0.05, "medium"), (0.0499, "low"), (-1.0, "low"), (None, "none")],
)
def test_tiers_have_the_bounds_of_the_requirement(share: float | None, name: str) -> None:
    assert tier(share) == name


def test_a_plan_that_loses_has_no_tier_and_a_seed_without_a_ratio_no_figure() -> None:
    assert compared("RSI", (), trials(-1.0, -1.1), trials(-1.2, -1.0, seed=1)).tier == "none"
    idle = compared("RSI", (), trials(1.0, 1.1), trials(None, 1.0, seed=1))
    assert (idle.drop, idle.missing) == (None, "an account never moved, so a seed has no ratio")


def test_p_values_are_adjusted_for_all_variants_with_a_figure() -> None:
    rows = [Variant("RSI", p=0.01), Variant("ESG", missing=NO_DATA), Variant("MACD", p=0.9)]
    first, none, second = adjusted(rows)
    assert (first.p_holm, none.p_holm, second.p_holm) == (0.02, None, 0.9)


@pytest.mark.requirement("R-256", "F-08")
def test_the_page_has_a_bar_for_each_share_in_the_colour_of_its_tier() -> None:
    rows = (
        Variant("RSI", drop=0.1, share=0.2, spread=0.05, tier="high"),
        Variant("MACD", drop=-0.05, share=-0.1, spread=0.02, tier="low"),
        Variant("ESG", missing=NO_DATA),
    )
    page = ablation_page(Ablation("", "plan", (0, 1), ("2020-01-01", "2020-12-31"), 1, (1.0, 1.0), rows, 4))
    bars = re.findall(r"transparent ([\d.]+)%,color-mix\(in srgb,var\((--\w+)\) 40%,transparent\) 0 ([\d.]+)%", page)
    assert bars == [("33.3", "--fall", "100.0"), ("0.0", "--line", "33.3")]
    assert tiers(rows) == {"high": 1, "medium": 0, "low": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--without", "RIS"), "--without 'RIS' is no variant of this plan; there are: returns, short"),
        (("--set", "seeds=[1]"), "an ablation needs at least 2 seeds"),
        (("--out", "rows.txt"), "rows.txt: name a file that ends in .csv or .html"),
    ],
)
def test_a_wrong_question_is_refused_with_the_remedy(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "plan.toml").write_text(text())
    done = quantd(tmp_path, "ablate", "plan.toml", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
