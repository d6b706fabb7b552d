"""A stored run is replayed step by step; one whose equity is not a strategy's alone is refused."""

from pathlib import Path

import polars as pl
import pytest

from quantd.adapters.store.handle import read_only
from quantd.adapters.store.journal.writer import Batch
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.recovery.replay import refold, save_config
from quantd.daemon.runtime.version import code_version
from quantd.research.runs import backtest
from quantd.research.runs.backtest import BacktestJournal, drive
from quantd.research.runs.run_record import Record
from quantd.research.runs.stored_run import RunUnusable, replay_into, stored_market
from quantd.trading.display_text import instant_text
from quantd.trading.events import Flow
from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, write

BARS = ROOT / "data/us_daily.parquet"


def stored(place: Path, deposit: bool = False, text: str = CONFIG) -> tuple[Path, Record]:
    """A backtest with its journal; returns its store and its record."""
    file, folder = write(place, text), place / "runs"
    config = read(file)
    assembly = assemble(config)
    saved = BacktestJournal(folder, assembly, "one")
    save_config(folder, config, file, (), {})
    record = Record(assembly.universe, saved.journal)
    shell, _ = drive(assembly, config, "one", record, saved, lambda share: None)
    if deposit:
        shell.run(Flow(ts=shell.ts + 1, amount_micro=1_000_000_000, who="somebody", reason="more"))
    saved.close(shell)
    record.end(shell.state)
    return folder, record


def test_the_replay_gives_the_record_of_the_run(tmp_path: Path) -> None:
    folder, record = stored(tmp_path)
    records = read_only(folder, folder)
    assembly = stored_market(records, "one", folder, tmp_path / "cache")
    again = Record(assembly.universe)
    again.end(replay_into(again, assembly, records, "one", folder).state)
    assert (again.ts, again.equity_micro, again.gross) == (record.ts, record.equity_micro, record.gross)
    assert (again.traded, again.slippage_paid, again.commission_micro) == (
        record.traded, record.slippage_paid, record.commission_micro,
    )  # fmt: skip
    assert again.fills == record.fills


@pytest.mark.parametrize("waits", [True, False])
def test_ctrl_c_while_a_batch_is_written_names_the_instant_that_is_stored(tmp_path: Path, monkeypatch, waits) -> None:
    """The signal may come after the writer's commit, or before: what is said is what the store has in the end."""
    monkeypatch.setattr(backtest, "CHUNK", 1)
    monkeypatch.setattr(backtest, "KEEP_STEPS", 25)
    file, folder = write(tmp_path), tmp_path / "runs"
    config = read(file)
    assembly = assemble(config)
    saved = BacktestJournal(folder, assembly, "one")
    save_config(folder, config, file, (), {})
    batches: list[Batch] = []

    def commit(batch: Batch) -> None:
        batches.append(batch)
        written = saved.store.submit(batch)
        if len(batches) == 1 or waits:
            written.result()
        if len(batches) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(saved.store, "commit", commit)
    with pytest.raises(KeyboardInterrupt):
        drive(assembly, config, "one", saved.journal, saved, lambda share: None)
    assert saved.interrupted() == f"the journal of run one is stored up to {instant_text(batches[1].ts)}"
    assert read_only(folder, folder).last_seq("one") == batches[1].first_seq + len(batches[1].entries) - 1


def test_ctrl_c_before_the_first_batch_says_that_nothing_is_stored(tmp_path: Path) -> None:
    saved = BacktestJournal(tmp_path / "runs", assemble(read(write(tmp_path))), "one")
    assert saved.interrupted() == "no step of run one is stored"


def test_the_replay_of_a_kept_backtest_begins_at_each_of_its_snapshots(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(backtest, "CHUNK", 1)  # a chunk never ends within an instant
    monkeypatch.setattr(backtest, "KEEP_STEPS", 25)
    monkeypatch.setattr(backtest, "KEEP_SNAPSHOTS", 4)
    folder, _ = stored(tmp_path)
    records, parts = read_only(folder, folder), assemble(read(tmp_path / "config.toml"))
    reference, _ = refold(parts, records, "one", folder)
    last, starts = records.last_seq("one") + 1, []
    while (snapshot := records.latest_snapshot("one", code_version(), last)) is not None:
        last = snapshot[0]
        shell, journal = refold(parts, records, "one", folder, seq=last, snapshot=snapshot[1])
        assert shell.digest.hexdigest() == reference.digest.hexdigest()
        starts.append(journal.compared)
    assert len(starts) == 4
    assert starts == sorted(set(starts))
    assert starts[0] == 0


@pytest.mark.long
def test_a_close_after_the_sample_is_no_part_of_its_equity_in_run_or_replay(tmp_path: Path) -> None:
    """A coin's bar of a date ends after New York's close."""
    share = pl.read_parquet(ROOT / "data/us_daily.parquet").filter(pl.col("symbol") == "SPY")
    coin = pl.read_parquet(ROOT / "data/crypto_daily.parquet").filter(pl.col("symbol") == "BTC-USD")
    pl.concat([share, coin.select(share.columns)]).sort("symbol", "ts").write_parquet(tmp_path / "bars.parquet")
    text = CONFIG.replace('["SPY", "QQQ", "IWM"]', '["SPY", "BTC-USD"]').replace(str(BARS), "bars.parquet")
    coin_hours = '[[universe.instruments]]\nsymbol = "BTC-USD"\ncalendar = "24/7"\n[feed]'
    folder, record = stored(tmp_path, text=text.replace("[feed]", coin_hours))
    records = read_only(folder, folder)
    assembly = stored_market(records, "one", folder, tmp_path / "cache")
    again = Record(assembly.universe)
    shell = replay_into(again, assembly, records, "one", folder)
    assert again.equity_micro == record.equity_micro
    assert again.equity_micro[-1] == shell.state.equity_micro


def test_a_run_with_a_deposit_is_refused(tmp_path: Path) -> None:
    folder, _ = stored(tmp_path, deposit=True)
    records = read_only(folder, folder)
    assembly = stored_market(records, "one", folder, tmp_path / "cache")
    with pytest.raises(RunUnusable, match="the run has 1 deposits or withdrawals"):
        replay_into(Record(assembly.universe), assembly, records, "one", folder)


def test_a_run_without_its_configuration_is_refused(tmp_path: Path) -> None:
    folder, _ = stored(tmp_path)
    for path in (folder / "configs").iterdir():
        path.unlink()
    with pytest.raises(RunUnusable, match="cannot be read"):
        stored_market(read_only(folder, folder), "one", folder, tmp_path / "cache")
