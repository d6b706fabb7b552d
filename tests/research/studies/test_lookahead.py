"""Who looks ahead is found out, and who does not is not accused."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, Done, quantd, write

BARS = str(ROOT / "data" / "us_daily.parquet")


def study(folder: Path, source: str, *more: str, params: str = "{}") -> Done:
    text = CONFIG[: CONFIG.index("[[agents]]")] + "[bus]\nport = 0\n"
    text += f'[[agents]]\nname = "mine"\npolicy = "mine.py:act"\ncapital = 1.0\nparams = {params}\n'
    write(folder, text)
    (folder / "mine.py").write_text(source)
    return quantd(folder, "study", "lookahead", "mine.py:act", "--cuts", "4", *more)


def document(done: Done) -> Any:
    return json.loads(done.stdout)["result"]


@pytest.mark.long
def test_a_policy_of_returns_and_memory_looks_only_backwards(tmp_path: Path) -> None:
    honest = """
import numpy as np
def act(view, memory):
    n = memory.get("n", np.zeros(1)) + 1
    return np.abs(view.returns(5)[-1]) * 10 / n + view.weights / 2, {"n": n}
"""
    done = study(tmp_path, honest)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "looks only backwards: 4 cuts, 0 differences\n"


@pytest.mark.long
@pytest.mark.parametrize("use", ["true", "false"])
def test_files_of_series_per_symbol_are_files_of_the_market(tmp_path: Path, use: str) -> None:
    (tmp_path / "esg.csv").write_text("ts,symbol,value\n2018-01-02,SPY,1\n2019-02-01,SPY,2\n2018-01-02,QQQ,3\n")
    series = f'series = [{{ name = "esg", path = "esg.csv", use = {use} }}]\n'
    text = CONFIG[: CONFIG.index("[[agents]]")].replace("[feed]\n", f"[feed]\n{series}") + "[bus]\nport = 0\n"
    write(tmp_path, text + '[[agents]]\nname = "mine"\npolicy = "mine.py:act"\ncapital = 1.0\n')

    def studied(source: str) -> Done:
        (tmp_path / "mine.py").write_text(source)
        return quantd(tmp_path, "study", "lookahead", "mine.py:act", "--cuts", "4")

    past = f'open("{tmp_path}/esg.csv").read()\n'
    refused = studied(past + "def act(view):\n    return [0.1] * 3\n")
    assert refused.returncode == 1
    assert str(tmp_path / "esg.csv") in refused.stdout
    assert "opens a file with the market's future" in refused.stdout
    if use == "true":
        honest = studied('def act(view):\n    return [0.1 * (view.series("esg", 1)[0, 0] > 1.5), 0.1, 0.2]\n')
        assert honest.stdout == "looks only backwards: 4 cuts, 0 differences\n"


@pytest.mark.long
def test_a_policy_that_opens_files_of_its_own_is_not_decided(tmp_path: Path) -> None:
    (tmp_path / "weights.txt").write_text("0.2")
    source = f"def act(view):\n    return [float(open({str(tmp_path / 'weights.txt')!r}).read())] * 3\n"
    done = study(tmp_path, source, "--json")
    assert done.returncode == 2
    assert document(done)["opened"] == [str((tmp_path / "weights.txt").resolve())]
    assert json.loads(done.stdout)["decided"] is False
    text = study(tmp_path, source).stdout
    assert text.startswith("not decided: 4 cuts, 0 differences")
    assert "looks only backwards" not in text


READS = """
import json
table = {path!r} and open({path!r}).read()
def act(view):
    return [0.2] * 3
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("field", "shift", "text"),
    [
        ("close", 0, "column signal of own.csv equals the close of SPY on the same session"),
        ("return", -1, "column signal of own.csv equals the return of SPY one session later"),
        ("return", 2, "column signal of own.csv equals the return of SPY 2 sessions earlier"),
        ("", 0, ""),
    ],
)
def test_columns_of_opened_files_are_compared_with_the_bars(tmp_path: Path, field: str, shift: int, text: str) -> None:
    frame = pl.read_parquet(BARS).filter(pl.col("symbol") == "SPY").sort("ts")
    column = {
        "close": pl.col("close"),
        "return": (pl.col("close") / pl.col("close").shift(1) - 1.0).round(5),
        "": (pl.int_range(pl.len()) * 0.618) % 1.0,
    }[field]
    table = frame.select(pl.col("ts").dt.date().alias("date"), column.shift(shift).alias("signal"))
    table.write_csv(tmp_path / "own.csv")
    done = study(tmp_path, READS.format(path=str(tmp_path / "own.csv")), "--json")
    matches = document(done)["matches"]
    assert done.returncode == 2
    if text:
        assert any(match.startswith(text) for match in matches), matches
        assert {match.split(" of ")[2].split()[0] for match in matches} == {"SPY"}
    else:
        assert matches == []


@pytest.mark.long
def test_a_table_by_symbol_is_compared_with_its_own_symbol(tmp_path: Path) -> None:
    frame = pl.read_parquet(BARS).filter(pl.col("symbol").is_in(["SPY", "IWM"])).sort("symbol", "ts")
    later = (pl.col("close").shift(-1) / pl.col("close") - 1.0).over("symbol").alias("alpha")
    frame.select(pl.col("ts").dt.date().alias("day"), "symbol", later).write_parquet(tmp_path / "own.parquet")
    read = f"pl.read_parquet({str(tmp_path / 'own.parquet')!r})"
    source = f"import polars as pl\nt = {read}\ndef act(view):\n    return [0.2] * 3\n"
    matches = document(study(tmp_path, source, "--json"))["matches"]
    assert [match.partition(" (19")[0].partition(" (18")[0] for match in matches] == [
        "column alpha of own.parquet (IWM) equals the return of IWM one session later",
        "column alpha of own.parquet (SPY) equals the return of SPY one session later",
    ]


def test_what_a_module_beside_it_remembers_is_forgotten_between_runs(tmp_path: Path) -> None:
    (tmp_path / "kept_beside.py").write_text("seen = []\n")
    source = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import kept_beside
def act(view):
    kept_beside.seen.append(view.time)
    return [1 / (len(kept_beside.seen) + 3)] * 3
"""
    done = study(tmp_path, source, "--json")
    assert document(done)["unsteady"] == 0
    assert document(done)["edge"]["by_dates"]  # it counts its calls, whatever the prices
    assert done.returncode == 2


MEMBERS = """symbol,joined,left
SPY,1990-01-01,
IWM,1990-01-01,2019-02-01
QQQ,2019-03-01,
"""

SEES_MEMBERS = """
import numpy as np
def act(view, memory):
    day = np.datetime64(view.sample_time - 1, "ns").astype("datetime64[M]").astype(int) % 12 + 1
    expected = {1: ("SPY", "IWM"), 2: ("SPY",), 3: ("SPY", "QQQ")}[day]
    assert view.universe.symbols == expected, (day, view.universe.symbols)
    assert view.returns(3).shape == (3, len(expected)) == (3, len(view.prices))
    n = memory.get("n", np.zeros(len(expected))) + 1  # of another length when the members change
    return np.abs(view.returns(3)[-1]) / n, {"n": n}
"""


def with_members(folder: Path, source: str, *more: str) -> Done:
    (folder / "members.csv").write_text(MEMBERS)
    return study(folder, source, "--json", "--set", "universe.members=members.csv", *more)


@pytest.mark.long
def test_a_policy_sees_the_members_of_the_day_only(tmp_path: Path) -> None:
    done = with_members(tmp_path, SEES_MEMBERS)
    report = document(done)
    assert (report["failed"], report["failure"]) == (0, "")
    assert (report["differences"], report["unsteady"], report["dated"]) == (0, 0, 0)
    assert done.returncode == 0
    everyone = document(study(tmp_path, SEES_MEMBERS, "--json"))
    assert everyone["failed"] == everyone["answers"]


@pytest.mark.long
def test_the_dates_of_members_move_with_the_dates_of_the_bars(tmp_path: Path) -> None:
    """28 years later the same symbols are members: a policy that divides by their number knows no date of its own. It
    answers by date only, though, so that it is not cleared."""
    done = with_members(
        tmp_path, "def act(view):\n    return {s: 1 / view.prices.size for s in view.universe.symbols}\n"
    )
    assert (document(done)["dated"], document(done)["edge"]["by_dates"]) == (0, True)
    assert json.loads(done.stdout)["clean"] is None
    assert done.returncode == 2


@pytest.mark.long
def test_opening_the_file_of_members_is_refused(tmp_path: Path) -> None:
    reader = f"""
later = open({str(tmp_path / "members.csv")!r}).read()
def act(view):
    return {{"SPY": 0.5 if "QQQ" in later else 0.4}}
"""
    done = with_members(tmp_path, reader)
    assert done.returncode == 1
    assert document(done)["market_files"] == [str((tmp_path / "members.csv").resolve())]
