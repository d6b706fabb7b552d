"""A policy that fails is no result: the failure is raised, or stands first in every output."""

import csv
import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import quantd as api
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.policies.isolation.worker import Apart
from quantd.research.runs.backtest import drive
from quantd.research.runs.run_record import Record
from tests.support.checkout import DATA
from tests.support.command_line import CONFIG, Done, quantd, write

BAD = """
def third(view):
    if view.time // 86_400_000_000_000 % 3 == 0:
        raise ValueError("no price today")
    return [0.2] * len(view.prices)
def always(view):
    raise RuntimeError("broken")
def nan(view):
    return [float("nan")] * len(view.prices)
def two(view):
    return [0.1, 0.2]
def sometimes(view, *, every=0):
    if every and view.time // 86_400_000_000_000 % every == 0:
        raise ValueError("no price today")
    return [0.2 + every / 100] * len(view.prices)
"""

SAMPLES = 61
"""Sessions of CONFIG."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, CONFIG[: CONFIG.index("[[schedules]]")] + "[bus]\nport = 0\n[api]\nport = 0\n")
    (tmp_path / "bad.py").write_text(BAD)
    return tmp_path


def run(folder: Path, policy: str, *arguments: str) -> Done:
    chosen = ("--set", f"agents.trend.policy=bad.py:{policy}", "--set", "agents.trend.params={}")
    return quantd(folder, *arguments, *chosen)


def thirds(folder: Path) -> int:
    """The samples at which `third` raises."""
    frame = pl.read_parquet(DATA / "us_daily.parquet").filter(pl.col("symbol") == "SPY")
    days = frame.filter(pl.col("ts").dt.date().is_between(date(2019, 1, 2), date(2019, 3, 29)))["ts"].dt.epoch("d")
    assert len(days) == SAMPLES
    return int((days % 3 == 0).sum())


def test_the_command_names_the_failures_first_and_ends_with_1(folder: Path) -> None:
    done = run(folder, "third", "backtest")
    failed = thirds(folder)
    first = done.stdout.splitlines()[0]
    assert (
        first
        == f"trend failed on {failed} of {SAMPLES} decisions, first 2019-01-02: ValueError: no price today at bad.py:4"
    )
    assert 0 < failed < SAMPLES
    assert done.returncode == 1
    assert "No verdict: a policy failed" in done.stdout
    document = json.loads(run(folder, "third", "backtest", "--json").stdout)
    assert document["failures"][0]["text"] == first
    assert (document["failures"][0]["failed"], document["failures"][0]["decisions"]) == (failed, SAMPLES)


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ("always", "RuntimeError: broken"),
        ("nan", "the weight of SPY is nan"),
        ("two", "weights have shape (2,)"),
    ],
)
def test_an_agent_that_always_fails_is_named_as_suspended_with_its_date(folder: Path, policy: str, text: str) -> None:
    done = run(folder, policy, "backtest", "--no-compare")
    first = done.stdout.splitlines()[0]
    assert first.startswith("trend failed on 3 of 3 decisions, first 2019-01-02: ")
    assert text in first
    assert first.endswith("; suspended 2019-01-04, not asked after that date")
    assert done.returncode == 1


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("suffix", [".html", ".json", ".md", ".csv"])
def test_the_stored_report_has_the_same_line(folder: Path, suffix: str) -> None:
    done = run(folder, "third", "backtest", "--report", f"r{suffix}")
    line, text = done.stdout.splitlines()[0], (folder / f"r{suffix}").read_text()
    assert line in text
    if suffix == ".csv":
        assert next(iter(csv.DictReader(text.splitlines())))["value"] == line
    if suffix == ".json":
        compared = quantd(folder, "report", "--compare", "r.json", "r.json")
        assert compared.stdout.startswith(f"r.json: {line}")
        assert compared.returncode == 1


@pytest.mark.long
def test_a_stored_run_has_its_failures_when_it_is_compared(folder: Path) -> None:
    document = json.loads(run(folder, "third", "backtest", "--journal", "--json").stdout)
    done = quantd(folder, "report", "--compare", document["run"], document["run"])
    assert done.stdout.startswith(f"{document['run']}: {document['failures'][0]['text']}\n")
    assert done.returncode == 1


@pytest.mark.long
def test_a_policy_in_a_process_of_its_own_is_counted_as_one_inline(folder: Path) -> None:
    sets = ["agents.trend.policy=bad.py:third", "agents.trend.params={}"]
    lines = []
    for isolation in (None, Apart()):
        assembly = assemble(read(folder / "config.toml", sets), isolation=isolation)
        record = Record(assembly.universe)
        drive(assembly, assembly.config, "one", record, None, lambda share: None)
        lines.append([failure.text for failure in record.failures.of(assembly.rules.names())])
    assert lines[0] == lines[1]
    assert lines[0][0].startswith(f"trend failed on {thirds(folder)} of {SAMPLES} decisions")


@pytest.mark.long
def test_a_point_that_fails_is_marked_and_is_not_the_best(folder: Path) -> None:
    """`every` = 3 and 7 fail on some days; with the largest weights they would have the highest return."""
    over = ("sweep", "config.toml", "--over", "agents.trend.params.every=0,3,7")
    sets = ("--set", "agents.trend.policy=bad.py:sometimes", "--set", "agents.trend.params={}")
    done = quantd(folder, *over, *sets)
    first = done.stdout.splitlines()[0]
    assert first.startswith(
        f"agents.trend.params.every=3: trend failed on {thirds(folder)} of {SAMPLES} decisions, first"
    )
    assert done.returncode == 1
    assert "The best of 1 point is agents.trend.params.every 0" in done.stdout
    document = json.loads(quantd(folder, *over, *sets, "--json", "--workers", "2").stdout)
    assert [bool(point["fault"]) for point in document["points"]] == [False, True, True]
    assert [point["sharpe"] is None for point in document["points"]] == [False, True, True]
    assert document["best"] == {"agents.trend.params.every": "0"}
    assert document["trials"] == 3, "a look happened at each point"
    (folder / "bad.py").write_text(BAD.replace("raise ValueError", "ValueError"))
    mended = quantd(folder, *over, *sets, "--json")
    assert mended.returncode == 0, "another text of the policy is another sweep"
    assert json.loads(mended.stdout)["failures"] == []


@pytest.mark.long
def test_studies_name_the_failures_first_and_end_with_1(folder: Path) -> None:
    compared = quantd(folder, "study", "compare", "bad.py:third", "momentum", "--every", "day")
    assert compared.stdout.startswith(
        f"bad.py:third failed on {thirds(folder)} of {SAMPLES} decisions, first 2019-01-02: "
    )
    assert compared.returncode == 1
    assert "bad.py:third (failed)" in compared.stdout
    rebalanced = run(folder, "third", "study", "rebalance", "trend", "--cost", "5")
    assert rebalanced.stdout.startswith(
        f"daily at 5 bp: trend failed on {thirds(folder)} of {SAMPLES} decisions, first "
    )
    assert rebalanced.returncode == 1
    ahead = quantd(folder, "study", "lookahead", "bad.py:third", "--cuts", "2")
    assert ahead.stdout.startswith(f"failed on {thirds(folder)} of {SAMPLES} decisions, first 2019-01-02: ")
    assert ahead.returncode == 1
    good = quantd(folder, "study", "compare", "bad.py:sometimes", "momentum", "--every", "day")
    assert good.returncode == 0


# the Python API


def third(view: object) -> list[float]:
    if view.time // 86_400_000_000_000 % 3 == 0:  # type: ignore[attr-defined]
        raise ValueError("no price today")
    return [0.4, 0.4]


def always(view: object) -> list[float]:
    raise RuntimeError("broken")


def nan(view: object) -> object:
    return np.array([np.nan, 0.1])


def three(view: object) -> list[float]:
    return [0.1, 0.1, 0.1]


@pytest.fixture
def bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pl.DataFrame:
    monkeypatch.chdir(tmp_path)
    frame = pl.read_parquet(DATA / "us_daily.parquet")
    return frame.filter(pl.col("symbol").is_in(("SPY", "IWM")) & (pl.col("ts").dt.year() == 2013))


@pytest.mark.parametrize(
    ("act", "cause"),
    [(third, "no price today"), (always, "broken"), (nan, "the weight of"), (three, "shape")],
    ids=lambda act: getattr(act, "__name__", ""),
)
def test_python_raises_at_the_first_failure_with_the_original_exception(bars, act, cause: str) -> None:
    with pytest.raises(api.Error, match=rf"^2013-01-0\d: agent policy failed: .*{cause}") as raised:
        api.backtest(act, bars=bars)
    assert cause in str(raised.value.__cause__)
    assert 'on_error="hold"' in str(raised.value)
    with pytest.raises(api.Error, match="agent policy failed") as raised:
        api.sweep(act, {"risk.max_failures": [1, 2]}, bars=bars)
    assert cause in str(raised.value.__cause__)


def test_python_holds_when_asked_and_the_first_line_is_the_failure(bars) -> None:
    backtest = api.backtest(third, bars=bars, on_error="hold")
    (failed,) = backtest.verdict.failures
    assert 70 < failed.failed < 100 < failed.decisions == len(backtest.equity)
    assert str(backtest).splitlines()[0] == failed.text
    assert failed.text in backtest._repr_html_()
    suspended = api.backtest(always, bars=bars, on_error="hold", compare=False)
    assert "policy failed on 3 of 3 decisions" in str(suspended).splitlines()[0]
    assert "suspended 2013-01-04" in str(suspended).splitlines()[0]
    with pytest.raises(api.Error, match=r'on_error = .ignore. is not "raise" or "hold"'):
        api.backtest(third, bars=bars, on_error="ignore")


def test_a_sweep_in_python_holds_when_asked(bars) -> None:
    def sometimes(view: object, every: int = 0) -> list[float]:
        if every and view.time // 86_400_000_000_000 % every == 0:  # type: ignore[attr-defined]
            raise ValueError("no price today")
        return [0.4, 0.4]

    sweep = api.sweep(sometimes, {"every": [0, 3]}, bars=bars, on_error="hold")
    assert str(sweep).startswith("agents.policy.params.every=3: policy failed on ")
    assert sweep.best is not None
    assert sweep.best.values == ("0",)
    with pytest.raises(api.Error, match="failed on"):
        api.sweep(sometimes, {"every": [0, 3]}, bars=bars)  # the stored point failed
