"""The part of the parity job that folds a day again with the interpreted engine: it names the first different step."""

import asyncio
from types import SimpleNamespace

import msgspec
import pytest

from quantd.daemon.runtime.journal import Journal
from quantd.research.jobs.parity_check import ParityCheck
from quantd.trading.codec import decode, encode
from quantd.trading.effects import Filled
from tests.support.command_line import answer, quantd, write


def folded(folder, run, day):
    """(result, alerts) of the job's replay of `day`."""
    alerts = []
    config = SimpleNamespace(source=SimpleNamespace(file=str(folder / "config.toml")))
    state = folder / "state" / "backtests"
    check = ParityCheck(SimpleNamespace(run=run, config=config, alert=alerts.append), state, state)
    return asyncio.run(check._replay_text(day)), alerts


@pytest.mark.long
def test_a_planted_difference_is_an_alert_that_names_its_first_step(tmp_path, monkeypatch):
    taken, planted = Journal.taken, []

    def altered(journal):
        entries, steps = taken(journal)
        for k, (event, effects) in enumerate(steps):
            if not planted and (at := next((n for n, e in enumerate(effects) if isinstance(e, Filled)), -1)) >= 0:
                rows = list(effects)
                rows[at] = msgspec.structs.replace(rows[at], fee_micro=[fee + 1 for fee in rows[at].fee_micro])
                assert decode(entries[k]).effects[at] == effects[at]
                entries[k] = encode(event, rows)
                planted.append(journal.seq - len(entries) + k + 1)
        return entries, steps

    write(tmp_path)
    with monkeypatch.context() as context:
        context.setattr(Journal, "taken", altered)
        run = answer(quantd(tmp_path, "backtest", "--journal", "--json", "--no-compare"))["run"]
    result, alerts = folded(tmp_path, run, "2019-03-29")
    assert f"step {planted[0]} differs from the journal: effect" in result
    assert "(Filled) fee_micro:" in result
    assert alerts == [f"parity of 2019-03-29: {result}; quantd replay {run} --uncompiled"]


@pytest.mark.long
def test_a_day_begins_at_the_newest_snapshot_before_it_and_raises_nothing(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr("quantd.research.runs.backtest.KEEP_STEPS", 50)
    monkeypatch.setattr("quantd.research.runs.backtest.CHUNK", 16)
    run = answer(quantd(tmp_path, "backtest", "--journal", "--json", "--no-compare"))["run"]
    line = ("replay", run, "--state", "state/backtests", "--json")
    whole_replay, part = (answer(quantd(tmp_path, *line, *words)) for words in ((), ("--from", "2019-03-20")))
    assert part["same"]
    assert part["digest"] == whole_replay["digest"]
    assert 0 < part["compared"] < whole_replay["compared"] / 2
    result, alerts = folded(tmp_path, run, "2019-03-21")
    assert result == f"{part['compared']} steps as in the interpreted engine"
    assert not alerts
