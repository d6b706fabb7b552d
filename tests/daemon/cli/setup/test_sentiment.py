"""`quantd data import --sentiment` with a small model of three real files, and without one."""

import json
from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("tokenizers", reason="tokenizers, of the extra `sentiment`, is not installed")

from quantd import extras
from quantd.adapters.feeds.recorded.macro import read_symbol_series
from tests.support.command_line import answer, quantd
from tests.support.text_models import text_model

NEWS = """ts,symbol,headline
2024-07-02T14:00:00Z,SPY,Acme beats estimates
2024-07-02T15:00:00Z,SPY,Bolt rises in the quarter
2024-07-02T15:30:00Z,AAPL,Acme misses estimates
2024-07-02T20:30:00Z,SPY,Fraud in the profit reports
"""


@pytest.mark.long
@pytest.mark.requirement("R-043")
def test_headlines_become_one_value_for_each_symbol_and_session(tmp_path: Path) -> None:
    text_model(tmp_path / "model")
    (tmp_path / "news.csv").write_text(NEWS)
    command = ("import", "news.csv", "--sentiment", "model", "--out", "sentiment.parquet")
    summary = answer(quantd(tmp_path, "data", *command, "--json"))
    assert (summary["headlines"], summary["values"], summary["from"], summary["to"]) == (
        4,
        3,
        "2024-07-02",
        "2024-07-03",
    )
    table = pl.read_parquet(tmp_path / "sentiment.parquet")
    assert [(str(day), symbol) for day, symbol in table.select("ts", "symbol").rows()] == [
        ("2024-07-02", "AAPL"), ("2024-07-02", "SPY"), ("2024-07-03", "SPY"),
    ]  # fmt: skip
    assert [value > 0 for value in table["value"]] == [False, True, False]
    assert table["headlines"].to_list() == [1, 2, 1]
    dated = read_symbol_series(tmp_path / "sentiment.parquet", ("SPY", "AAPL"))
    assert dated.of(0)[1].tolist() == table.filter(pl.col("symbol") == "SPY")["value"].to_list(), "as [feed] series"
    origin = json.loads(pl.read_parquet_metadata(tmp_path / "sentiment.parquet")["quantd"])
    assert origin == {"source": "headlines of news.csv", "model": summary["model"], "calendar": "XNYS"}
    before = (tmp_path / "sentiment.parquet").read_bytes()
    printed = quantd(tmp_path, "data", *command)
    assert f"model {summary['model']}" in printed.stdout
    assert (tmp_path / "sentiment.parquet").read_bytes() == before


@pytest.mark.requirement("R-043")
def test_headlines_without_a_model_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "news.csv").write_text(NEWS)
    done = quantd(tmp_path, "data", "import", "news.csv", "--sentiment", "absent", "--out", "sentiment.parquet")
    assert done.returncode == 78
    assert "absent/model.onnx: there is no such file; put the files of a FinBERT-class model there" in done.stderr
    assert not (tmp_path / "sentiment.parquet").exists()


def test_without_the_tokenizers_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    done = quantd(tmp_path, "data", "import", "news.csv", "--sentiment", "model", "--out", "out.parquet")
    assert (done.returncode, "needs tokenizers: install quantd with its extra `sentiment`" in done.stderr) == (78, True)
