"""The statement job: compared with the simulated venue, with a venue on the wire, and with one that is away."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.daemon.jobs.tasks.statement_job import FOLDER, StatementFile, StatementJob
from quantd.trading.effects import Publish
from quantd.trading.events import Stopping
from tests.proofs.conformance.rigs.alpaca import AlpacaRig
from tests.support.command_line import answer, quantd, write
from tests.support.service_kit import Kit, world

RUN = JobRun(1, "statement")


@pytest.fixture
async def ended(tmp_path: Path) -> AsyncIterator[Kit]:
    """A service whose run has ended, and may raise alerts."""
    kit = Kit(tmp_path, world(30))
    await kit.run()
    kit.service.over, kit.shell.stopped = False, ""
    yield kit
    kit.store.close()


async def alerts(kit: Kit) -> list[Publish]:
    kit.service.inbox.command(Stopping(0, False, "test"))
    await kit.service.step_forever()
    return [alert for alert in kit.service.recent if alert.kind.startswith("statement_")]


def document(folder: Path) -> StatementFile:
    (file,) = (folder / FOLDER).glob("*.json")
    assert file.with_suffix(".csv").is_file()
    return msgspec.json.decode(file.read_bytes(), type=StatementFile)


@pytest.mark.long
async def test_a_venue_that_does_not_answer_is_not_compared_and_nothing_is_invented(ended: Kit, tmp_path: Path) -> None:
    rig = AlpacaRig()
    await rig.start()
    await rig.down()
    done = await StatementJob(ended.service, tmp_path, rig.broker).work(RUN)
    assert "not compared: the venue did not answer" in done
    assert document(tmp_path).compared.startswith("not compared: the venue did not answer")
    assert await alerts(ended) == []
    await rig.up()
    await rig.stop()


@pytest.mark.long
def test_the_command_shows_each_day_and_writes_a_csv_that_adds_up(tmp_path: Path) -> None:
    write(tmp_path)
    none = quantd(tmp_path, "report", "--statement")
    assert none.returncode == 1
    assert quantd(tmp_path, "run", "--quiet").returncode == 0
    statement = answer(
        quantd(tmp_path, "report", "--statement", "--from", "2019-03-14", "--to", "2019-03-18", "--json")
    )
    assert [(day["date"], day["change"], day["compared"]) for day in statement["days"]] == [
        ("2019-03-14", "0.00", "0 differences"), ("2019-03-15", "118.3776", "0 differences"),
        ("2019-03-18", "406.11541", "0 differences"),
    ]  # fmt: skip
    shown = quantd(tmp_path, "report", "--statement", "--out", "all.csv")
    assert shown.returncode == 0
    assert (
        (tmp_path / "all.csv").read_text().splitlines()[0].startswith("id,date,time,kind,symbol,quantity,price,amount")
    )
    outside = quantd(tmp_path, "report", "--statement", "--from", "2020-01-01")
    assert outside.returncode == 1
    assert "no sample between --from and --to" in outside.stderr
