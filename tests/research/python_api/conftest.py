"""Bars of two symbols over two years, in a folder of its own."""

import polars as pl
import pytest

from tests.support.checkout import DATA

SYMBOLS = ("SPY", "IWM")


@pytest.fixture(scope="session")
def bars():
    frame = pl.read_parquet(DATA / "us_daily.parquet")
    years = pl.col("ts").dt.year().is_between(2012, 2013)
    return frame.filter(pl.col("symbol").is_in(SYMBOLS) & years)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path
