"""A refresh downloads into a new file; the present file, and a failed download, change nothing."""

import asyncio
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.daemon.assembly.names import known_names
from quantd.daemon.cli.setup import vendors
from quantd.daemon.config import load
from quantd.daemon.jobs.tasks import command_process, data_refresh
from quantd.daemon.jobs.tasks.command_process import reason_of
from quantd.daemon.jobs.tasks.data_refresh import KEPT, DataRefresh, NotRefreshed, options_of
from tests.support.command_line import CONFIG, ROOT, quantd, write
from tests.support.service_kit import Kit, world
from tests.support.venues.alpaca_data import KEY, SECRET, AlpacaData
from tests.support.venues.alpaca_days import ACTIONS, days
from tests.support.venues.served import served


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name, value in {"alpaca_key": KEY, "alpaca_secret": SECRET}.items():
        (folder / name).write_text(value)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def beside(folder: Path) -> list[Path]:
    """The downloaded files."""
    return sorted(folder.glob("bars-*"))


@pytest.mark.long
async def test_new_bars_go_into_a_new_file_and_the_present_one_stays(
    tmp_path: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def in_this_process(words: Sequence[str]) -> tuple[int, bytes, str]:
        done = await asyncio.to_thread(quantd, tmp_path, *words, env=env)
        return done.returncode, done.stdout.encode(), reason_of(done.stderr)

    bars = {"SPY": days("SPY", 2018, 2019), "QQQ": days("QQQ", 2018, 2019)}
    with served(AlpacaData(bars, actions=ACTIONS, page=500).app()) as port:
        url = f"http://127.0.0.1:{port}"
        words = ("SPY", "QQQ", "--source", "alpaca", "--url", url, "--from", "2018-06-01", "--to", "2018-12-31")
        env = {"CREDENTIALS_DIRECTORY": str(secrets), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        fetch = await asyncio.to_thread(quantd, tmp_path, "data", "fetch", *words, "--out", "bars.parquet", env=env)
        assert fetch.returncode == 0, fetch.stderr
        before = (tmp_path / "bars.parquet").read_bytes()
        text = CONFIG.replace(f"{ROOT}/data/us_daily.parquet", "bars.parquet").replace('"SPY", "QQQ", "IWM"', '"SPY"')
        text = text.replace("start = 2019-01-02\nend = 2019-03-29\nwarmup = 130", f'url = "{url}"\nwarmup = 20')
        text = text.replace(f"{ROOT}/data/us_actions.csv", "")
        kit = Kit(tmp_path / "store", world())
        kit.service.config = load(write(tmp_path, text), known_names())
        for stamp in ("20200101", "20200102", "20200103"):
            shutil.copy(tmp_path / "bars.parquet", tmp_path / f"bars-{stamp}T000000Z.parquet")
        # a process of the lowest priority takes minutes on a busy machine; test_command_process.py is about that
        monkeypatch.setattr(command_process, "LOWEST", 0)
        done = await DataRefresh(kit.service).work(JobRun(1, "data_refresh"))
        files = beside(tmp_path)
        # one process has shown what a process does
        monkeypatch.setattr(data_refresh, "output_of", in_this_process)
        (secrets / "alpaca_secret").write_text("another")
        with pytest.raises(NotRefreshed, match="it refuses the key"):
            await DataRefresh(kit.service).work(JobRun(2, "data_refresh"))
    # nobody listens any more: the download waits and asks again, here for a tenth of a second
    (secrets / "alpaca_secret").write_text(SECRET)
    monkeypatch.setattr(vendors, "RETRY_FOR_S", 0.1)
    with pytest.raises(NotRefreshed, match="cannot be reached"):
        await DataRefresh(kit.service).work(JobRun(3, "data_refresh"))
    assert beside(tmp_path) == files
    assert re.fullmatch(r"bars-\d{8}T\d{6}Z\.parquet", done), "no folder of this machine"
    new = pl.read_parquet(tmp_path / done)
    assert new["symbol"].unique().sort().to_list() == ["QQQ", "SPY"]
    assert str(new["ts"].min())[:10] == "2018-06-01"
    assert str(new["ts"].max())[:10] == "2019-12-31"
    assert (tmp_path / "bars.parquet").read_bytes() == before
    assert len([file for file in beside(tmp_path) if file.suffix == ".parquet"]) == KEPT
    kit.store.close()


def test_the_source_of_a_file_names_the_options_of_its_download(tmp_path: Path) -> None:
    config = load(write(tmp_path), known_names())
    assert options_of("yfinance", config) == ["--source", "yfinance"]
    assert options_of("alpaca", config) == ["--source", "alpaca", "--feed", "iex"]
    assert options_of("kraken", config) == ["--source", "ccxt", "--exchange", "kraken"]
    mapped = load(write(tmp_path), known_names(), sets=["feed.mapping=vendor.toml", "feed.venue=kraken"])
    mapping = ["--mapping", str(tmp_path / "vendor.toml")]
    assert options_of("http", mapped) == options_of("theirs", mapped) == ["--source", "http", *mapping]
    assert options_of("ccxt", mapped) == ["--source", "ccxt", "--exchange", "kraken"]
