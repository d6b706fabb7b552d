"""The first line of every output has the worst doubt: of commands, in Python, in notebooks, reports and comparisons."""

import json
import shutil
from pathlib import Path

import pytest

import quantd
from quantd.research.doubts import Doubt, doubt_lines, joined, lead, named_doubts
from quantd.research.reports.report_files import read_backtest_report
from tests.research.doubts.steady_market import changed, days, even, first_line, market
from tests.support.command_line import one_agent
from tests.support.command_line import quantd as command

HEAVY, LIGHT = Doubt("bars", "two bars rejected", 80), Doubt("cash_rate", "cash earns none", 10)

CONFIG = one_agent(["SPY", "TLT"], "momentum", "start = 2015-09-01", "params = { lookback = 20 }")

BAD = days(420)[-1]
TEXT = f"1 bar rejected and left out: TLT {BAD} (nan)"
WORDS = f"In doubt: {TEXT}"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration over bars of which one is rejected, with two stored backtests and their reports."""
    folder = tmp_path_factory.mktemp("planted")
    changed(market(count=500), "TLT", BAD, high=float("nan")).write_parquet(folder / "bars.parquet")
    (folder / "config.toml").write_text(CONFIG)
    for name, lookback in (("a", 20), ("b", 60)):
        done = command(
            folder, "backtest", "--journal", "--report", f"{name}.json",
            "--set", f"agents.even.params.lookback={lookback}", "--set", "feed.start=2016-01-04",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(WORDS), done.stdout
    return folder


def copied(planted: Path, folder: Path) -> Path:
    return Path(shutil.copytree(planted, folder / "run"))


def test_a_heavy_doubt_begins_a_line_and_a_light_one_ends_it() -> None:
    assert joined("Sharpe 1.", (HEAVY, LIGHT)) == "In doubt: two bars rejected (1 more below). Sharpe 1."
    assert joined("Sharpe 1.", (LIGHT,)) == "Sharpe 1. In doubt: cash earns none."
    assert (joined("Sharpe 1.", ()), lead(()), doubt_lines((HEAVY,))) == ("Sharpe 1.", "", [])
    assert doubt_lines((HEAVY, LIGHT)) == ["In doubt, too: cash earns none."]


def test_doubts_of_several_results_name_those_that_have_them() -> None:
    doubts = named_doubts({"a": (LIGHT, HEAVY), "b": (HEAVY,)})
    assert [doubt.text for doubt in doubts] == ["two bars rejected", "a: cash earns none"]


@pytest.mark.long
def test_the_terminal_and_its_json_begin_with_the_doubt(planted: Path, folder: Path) -> None:
    done = command(copied(planted, folder), "backtest", "--json")
    document = json.loads(done.stdout)
    worst = document["doubts"][0]
    assert (worst["kind"], worst["weight"]) == ("bars", 80)
    assert worst["text"] == TEXT
    assert TEXT not in " ".join(document["notes"])


@pytest.mark.long
@pytest.mark.parametrize("suffix", ["html", "md", "json", "csv"])
def test_a_report_has_it_in_its_verdict(suffix: str, planted: Path, folder: Path) -> None:
    where = copied(planted, folder)
    assert command(where, "backtest", "--report", f"out.{suffix}", "--no-compare").returncode == 0
    text = (where / f"out.{suffix}").read_text()
    assert TEXT in text
    if suffix in ("html", "md"):
        assert text.index(WORDS) < text.index("Sharpe ")
    if suffix == "json":
        assert read_backtest_report(where / "out.json").verdict.doubts[0].kind == "bars"


@pytest.mark.long
def test_python_and_the_notebook_begin_with_it() -> None:
    bars = changed(market(count=300), "TLT", days(200)[-1], high=float("nan"))
    result = quantd.backtest(even, bars=bars)
    words = f"In doubt: 1 bar rejected and left out: TLT {days(200)[-1]} (nan)"
    assert first_line(result).startswith(words)
    assert result._repr_html_().index(words) < result._repr_html_().index("Sharpe ")
    other = quantd.backtest("momentum", bars=bars, params={"lookback": 20}, settings={"feed.start": "2015-04-01"})
    same = quantd.backtest(even, bars=bars, settings={"feed.start": "2015-04-01"})
    beside = quantd.compare(same, other)
    assert first_line(beside).startswith(words)
    assert beside.pairs[0].doubts[0].kind == "bars"


@pytest.mark.long
def test_a_sweep_begins_with_the_doubt_about_its_best_point(planted: Path, folder: Path) -> None:
    where = copied(planted, folder)
    axis = "agents.even.params.lookback=20,40"
    done = command(where, "sweep", "--over", axis, "--report", "sweep.html")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(WORDS)
    assert WORDS in (where / "sweep.html").read_text()
    document = json.loads(command(where, "sweep", "--over", axis, "--json").stdout)
    assert document["verdict"].startswith(WORDS)
    assert document["doubts"][0]["kind"] == "bars"
    bars = changed(market(count=300), "TLT", days(200)[-1], high=float("nan"))
    sweep = quantd.sweep("momentum", bars=bars, over={"lookback": [20, 40]})
    assert first_line(sweep).startswith("In doubt: 1 bar rejected")


@pytest.mark.long
def test_a_walk_forward_begins_with_it(planted: Path, folder: Path) -> None:
    where = copied(planted, folder)
    options = ("--over", "agents.even.params.lookback=20,40", "--refit", "6mo", "--first", "6mo")
    done = command(where, "walk", "config.toml", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(WORDS)
    assert done.stdout.count(WORDS) == 1
    document = json.loads(command(where, "walk", "config.toml", *options, "--json").stdout)
    assert document["doubts"][0]["kind"] == "bars"


@pytest.mark.long
def test_a_comparison_of_policies_begins_with_it(planted: Path, folder: Path) -> None:
    where = copied(planted, folder)
    done = command(where, "study", "compare", "momentum", "inverse_volatility", "--every", "day")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(WORDS)
    document = json.loads(
        command(where, "study", "compare", "momentum", "inverse_volatility", "--every", "day", "--json").stdout
    )
    assert document["doubts"][0]["text"] == TEXT


@pytest.mark.long
@pytest.mark.parametrize("stored", [False, True])
def test_two_backtests_side_by_side_begin_with_it(stored: bool, planted: Path, folder: Path) -> None:
    where = copied(planted, folder)
    pair = [f"{name}.json" for name in "ab"]
    if stored:
        pair = [json.loads((where / name).read_text())["header"]["run"] for name in pair]
    for suffix in ("html", "md", "csv", "json"):
        done = command(where, "report", "--compare", *pair, "--out", f"out.{suffix}")
        assert done.returncode == 0, done.stderr
        assert TEXT in (where / f"out.{suffix}").read_text()
    assert done.stdout.startswith(WORDS)
    document = json.loads(command(where, "report", "--compare", *pair, "--json").stdout)
    assert document["doubts"][0]["text"] == TEXT
