"""Series in a run, for a symbol or for all: nothing is known early, and a backtest, a run, a killed run and a replay
have one digest."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from quantd.daemon.app import Options, read_config
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble, assemble_live
from quantd.daemon.config import ConfigError, read
from quantd.daemon.policies.composed import left_out
from quantd.daemon.policies.loading import PolicyError
from quantd.daemon.policies.loading import answer as answer_of
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from quantd.trading.market import Floats
from quantd.trading.sessions import DAY_NS
from tests.daemon.assembly.snapshot_runs import straight_and_restored
from tests.support.command_line import CONFIG, ROOT, answer, quantd, write
from tests.support.killed_runs import kill_after
from tests.support.live_runs import NOW, TEXT

SYMBOLS = ("SPY", "QQQ", "IWM")
EPOCH = dt.date(1970, 1, 1)

OWN = """\
def act(view, memory):
    days = view.series("day", 60)
    return [0.2 + 0.1 * (days[-1, k] % 3) / 2 for k in range(3)], memory
"""

EVEN = 'name = "even"\npolicy = "equal_weight"\ncapital = 0.5'


def dated(folder: Path, scale: float = 1.0) -> Path:
    """A file with a value for each date and symbol: the number of the day, and a thousand for each place before it."""
    first = dt.date(2018, 1, 1)
    days = [(first + dt.timedelta(k), (first + dt.timedelta(k) - EPOCH).days) for k in range(600)]
    rows = [f"{date},{symbol},{number * scale + 1e5 * k}" for date, number in days for k, symbol in enumerate(SYMBOLS)]
    path = folder / "days.csv"
    path.write_text("ts,symbol,value\n" + "\n".join(rows) + "\n")
    return path


def with_days(folder: Path, available: str = "next_open") -> str:
    dated(folder)
    (folder / "days.py").write_text(OWN)
    series = f'series = [{{ name = "day", path = "days.csv", available = "{available}" }}]\n'
    return CONFIG.replace("[feed]\n", f"[feed]\n{series}").replace('"equal_weight"', '"days.py:act"')


def scores(folder: Path) -> Path:
    """Scores of each month from the bundled bars: the ranks of the symbols change, and all are published later."""
    bars = pl.read_parquet(ROOT / "data/us_daily.parquet").filter(pl.col("symbol").is_in(SYMBOLS))
    monthly = (
        bars.with_columns(pl.col("ts").dt.date())
        .filter(pl.col("ts").is_between(dt.date(2018, 1, 1), dt.date(2019, 6, 1)))
        .group_by_dynamic("ts", every="1mo", group_by="symbol", label="left")
        .agg((pl.col("close").last() * 1e3 % 17).alias("value"))
        .with_columns((pl.col("ts") + dt.timedelta(40)).alias("available"))
    )
    path = folder / "esg.csv"
    monthly.select("ts", "symbol", "value", "available").write_csv(path)
    return path


def ranked(features: str, series: str) -> str:
    agent = f'name = "even"\npolicy = "signals"\ncapital = 0.5\nparams = {{ features = {features}, top = 1 }}'
    return CONFIG.replace("[feed]\n", f"[feed]\nseries = [{series}]\n").replace(EVEN, agent)


ESG = '{ name = "esg", path = "esg.csv" }'
OFF = '{ name = "esg", path = "esg.csv", use = false }'


def backtest(folder: Path, text: str) -> Any:
    write(folder, text)
    return answer(quantd(folder, "backtest", "--json", "--no-compare"))


@pytest.mark.parametrize(("available", "behind"), [("next_open", 1), ("close", 0)])
def test_no_decision_knows_more_of_a_symbol_than_could_be_read_then(
    tmp_path: Path, available: str, behind: int
) -> None:
    write(tmp_path, with_days(tmp_path, available))
    assembly = assemble(read_config(Options(tmp_path / "config.toml")))
    shell = assembly.shell()
    asked: list[Floats] = []

    def ask(question: Ask) -> Decided:
        view = question.view
        dates = view.series("day", 60) - 1e5 * np.arange(3)
        assert (dates[-1] == view.sample_time // DAY_NS - behind).all()
        assert (np.diff(dates, axis=0) >= 1.0).all()
        asked.append(dates)
        return answer_of(assembly.policies[question.policy], question)

    shell.answer = ask
    for item in assembly.items():
        shell.take(item)
    assert len(asked) > 60


def test_macro_series_and_series_per_symbol_keep_their_places_in_a_tick(tmp_path: Path) -> None:
    macro = f'[feed]\nmacro = [{{ name = "vix", path = "{ROOT}/data/vix_daily.parquet" }}]\n'
    write(tmp_path, with_days(tmp_path).replace("[feed]\n", macro))
    assembly = assemble(read_config(Options(tmp_path / "config.toml")))
    assert assembly.rules.macro == ("vix", "day SPY", "day QQQ", "day IWM")
    ticks = [tick for tick in assembly.ticks() if tick.sample]
    assert all(len(tick.macro) == 4 and 5.0 < tick.macro[0] < 90.0 for tick in ticks)
    assert all(tick.macro[3] - tick.macro[1] == 2e5 for tick in ticks)
    asked = []
    shell = assembly.shell()

    def ask(question: Ask) -> Decided:
        asked.append((question.view.macro("vix", 1)[0], *question.view.series("day", 1)[0]))
        return answer_of(assembly.policies[question.policy], question)

    shell.answer = ask
    for item in assembly.items():
        shell.take(item)
    assert asked[-1] == ticks[-1].macro


@pytest.mark.long
def test_a_backtest_a_killed_run_and_a_replay_have_one_digest_and_another_file_is_another_market(
    tmp_path: Path,
) -> None:
    backtested = backtest(tmp_path, with_days(tmp_path))
    kill_after(tmp_path, 300)
    run = answer(quantd(tmp_path, "run", "--json", "--quiet"))
    replay = answer(quantd(tmp_path, "replay", "--policies", "--json"))
    assert run["digest"] == backtested["digest"] == replay["digest"]
    assert replay["policy_differences"] == 0
    dated(tmp_path, scale=2.0)
    assert quantd(tmp_path, "replay", "--json").returncode != 0


def test_a_run_from_snapshots_has_the_digest_of_one_that_went_on(tmp_path: Path) -> None:
    write(tmp_path, with_days(tmp_path))
    straight, restored = straight_and_restored(assemble(read_config(Options(tmp_path / "config.toml"))))
    before, after = straight.state.history.macro, restored.state.history.macro
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(after.rows, before.rows)
    assert np.isfinite(before.rows[-100:]).all()
    assert restored.digest.hexdigest() == straight.digest.hexdigest()


@pytest.mark.long
@pytest.mark.requirement("R-023")
def test_one_switch_takes_a_series_out_of_a_run(tmp_path: Path) -> None:
    scores(tmp_path)
    both = "{ series_esg = 1.0, momentum_60 = 0.5 }"
    summary = backtest(tmp_path, ranked(both, ESG))
    (tmp_path / "esg.csv").unlink()  # a series that is switched off is not read
    part = backtest(tmp_path, ranked(both, OFF))
    alone = backtest(tmp_path, ranked("{ momentum_60 = 0.5 }", ""))
    assert part["digest"] == alone["digest"] != summary["digest"]
    write(tmp_path, ranked(both, OFF))
    checked = answer(quantd(tmp_path, "config", "check", "--json"))
    assert checked["left_out"] == ["even: trades without series_esg; [feed] series has use = false"]
    assert "even: trades without series_esg" in quantd(tmp_path, "config", "check").stdout
    config = read_config(Options(tmp_path / "config.toml"))
    assert left_out(config.seats, assemble(config).policies) == [("even", ("series_esg",))]
    assert "features.left_out" in quantd(tmp_path, "run", "--json").stderr
    write(tmp_path, ranked("{ series_esg = 1.0 }", OFF))
    refused = quantd(tmp_path, "config", "check")
    assert refused.returncode != 0
    assert "every feature is of a series that is switched off (series_esg); write use = true" in refused.stderr


def test_a_macro_feature_without_its_series_is_refused_with_the_remedy(tmp_path: Path) -> None:
    params = "params = { features = { momentum_60 = 1.0 }, top = 2, exposure = { vix_change_5 = -2.0 } }"
    write(tmp_path, CONFIG.replace(EVEN, EVEN.replace("equal_weight", "signals") + f"\n{params}"))
    refused = quantd(tmp_path, "config", "check")
    assert refused.returncode != 0
    assert "reads the macro series 'vix', which the feed does not have; write [feed] macro = [{" in refused.stderr


def test_a_series_that_is_not_there_is_refused_with_the_remedy(tmp_path: Path) -> None:
    scores(tmp_path)
    write(tmp_path, ranked("{ series_mood = 1.0 }", ESG))
    with pytest.raises(
        PolicyError, match=r"the series per symbol 'mood', which the feed does not have; write \[feed\]"
    ):
        assemble(read_config(Options(tmp_path / "config.toml")))
    (tmp_path / "esg.csv").unlink()
    write(tmp_path, ranked("{ series_esg = 1.0 }", ESG))
    with pytest.raises(ConfigError, match=r"series.*esg\.csv"):
        read_config(Options(tmp_path / "config.toml"))


@pytest.mark.parametrize(
    ("series", "said"),
    [
        ('{ name = "vix", path = "a.csv" }', "is the name of a macro series"),
        ('{ name = "a", path = "a.csv" }, { name = "a", path = "b.csv" }', "names a twice"),
        ('{ name = "esg_change_5", path = "a.csv" }', "does not end like a feature"),
        ('{ name = "ESG", path = "a.csv" }', "a name in lower case"),
        ('{ name = "esg", path = "a.csv", valid_days = -1 }', "is negative"),
    ],
)
def test_a_name_that_features_could_mistake_is_refused(series: str, said: str) -> None:
    feed = f'[feed]\nmacro = [{{ name = "vix", path = "vix.csv" }}]\nseries = [{series}]\n'
    with pytest.raises(ConfigError, match=said):
        read(CONFIG.replace("[feed]\n", feed), known_names())


async def test_a_live_market_reads_the_file_again_at_each_sample(tmp_path: Path) -> None:
    path = tmp_path / "mood.csv"
    day = str(np.datetime64(NOW - 2 * DAY_NS, "ns").astype("datetime64[D]"))
    text = TEXT.replace("{broker}", "paper").replace("{policy}", "equal_weight")
    text = text.replace("[feed]\n", f'[feed]\nseries = [{{ name = "mood", path = "{path}" }}]\n')
    config = read(text, known_names())
    symbol = config.universe.symbols[0]
    path.write_text(f"ts,symbol,value\n{day},{symbol},1.5\n")
    parts = assemble_live(config, NOW)
    assert parts.rules.macro == tuple(f"mood {ticker}" for ticker in config.universe.symbols)
    first_values: list[float] = []
    for number, tick in enumerate(t for t in parts.ticks_between(NOW - DAY_NS, NOW + 3 * DAY_NS, NOW) if t.sample):
        values = parts.dated(tick).macro
        assert len(values) == len(config.universe.symbols)
        first_values.append(values[0])
        if number == 1:
            later = str(np.datetime64(tick.ts, "ns").astype("datetime64[D]"))
            path.write_text(f"ts,symbol,value\n{day},{symbol},1.5\n{later},{symbol},2.25\n")
        if number == 2:
            path.write_text("nothing\n")
    assert first_values[:2] == [1.5, 1.5]
    assert 2.25 in first_values
    assert first_values[-1] == 2.25, "what cannot be read leaves what was known"
