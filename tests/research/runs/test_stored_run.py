"""A stored run is replayed step by step; one whose equity is not a strategy's alone is refused."""

from pathlib import Path

import pytest

from quantd.adapters.store.handle import read_only
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.recovery.replay import save_config
from quantd.research.runs.backtest import BacktestJournal, drive
from quantd.research.runs.run_record import Record
from quantd.research.runs.stored_run import RunUnusable, replay_into, stored_market
from quantd.trading.events import Flow
from tests.support.command_line import write


def stored(place: Path, deposit: bool) -> tuple[Path, Record]:
    """A backtest with its journal; returns its store and its record."""
    file, folder = write(place), place / "runs"
    config = read(file)
    assembly = assemble(config)
    saved = BacktestJournal(folder, assembly, "one")
    save_config(folder, config, file, (), {})
    record = Record(assembly.universe, saved.journal)
    shell, _ = drive(assembly, config, "one", record, saved, lambda share: None)
    if deposit:
        shell.run(Flow(ts=shell.ts + 1, amount_micro=1_000_000_000, who="somebody", reason="more"))
    saved.close(shell.ts)
    return folder, record


def test_the_replay_gives_the_record_of_the_run(tmp_path: Path) -> None:
    folder, record = stored(tmp_path, deposit=False)
    records = read_only(folder, folder)
    assembly = stored_market(records, "one", folder, tmp_path / "cache")
    again = Record(assembly.universe)
    replay_into(again, assembly, records, "one", folder)
    assert (again.ts, again.equity_micro, again.gross) == (record.ts, record.equity_micro, record.gross)
    assert (again.traded, again.slippage, again.commission_micro) == (
        record.traded, record.slippage, record.commission_micro,
    )  # fmt: skip
    assert again.fills == record.fills


def test_a_run_with_a_deposit_is_refused(tmp_path: Path) -> None:
    folder, _ = stored(tmp_path, deposit=True)
    records = read_only(folder, folder)
    assembly = stored_market(records, "one", folder, tmp_path / "cache")
    with pytest.raises(RunUnusable, match="it has 1 deposits or withdrawals"):
        replay_into(Record(assembly.universe), assembly, records, "one", folder)


def test_a_run_without_its_configuration_is_refused(tmp_path: Path) -> None:
    folder, _ = stored(tmp_path, deposit=False)
    for path in (folder / "configs").iterdir():
        path.unlink()
    with pytest.raises(RunUnusable, match="cannot be read"):
        stored_market(read_only(folder, folder), "one", folder, tmp_path / "cache")
