"""Macro series in a run: what a policy reads was known then, and a backtest, a run, a killed run and a replay have one
digest."""

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from quantd.daemon.app import Options, read_config
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble, assemble_live
from quantd.daemon.config import read
from quantd.daemon.policies.loading import answer as answer_of
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from quantd.trading.sessions import DAY_NS
from tests.daemon.assembly.snapshot_runs import straight_and_restored
from tests.support.command_line import CONFIG, ROOT, answer, quantd, write
from tests.support.killed_runs import kill_after
from tests.support.live_runs import NOW, TEXT

DAYS = """\
def act(view, memory):
    days = view.macro("day", 60)
    return [0.2 + 0.1 * (days[-1] % 3) / 2, 0.3, 0.2], memory
"""


def series(folder: Path) -> None:
    """A value for each date, and its number."""
    first = dt.date(2018, 1, 1)
    rows = [f"{first + dt.timedelta(k)},{(first + dt.timedelta(k) - dt.date(1970, 1, 1)).days}" for k in range(600)]
    (folder / "days.csv").write_text("ts,value\n" + "\n".join(rows) + "\n")


def with_days(folder: Path, available: str) -> str:
    series(folder)
    (folder / "days.py").write_text(DAYS)
    macro = f'macro = [{{ name = "day", path = "days.csv", available = "{available}" }}]\n'
    return CONFIG.replace("[feed]\n", f"[feed]\n{macro}").replace('"equal_weight"', '"days.py:act"')


@pytest.mark.parametrize(("available", "behind"), [("next_open", 1), ("close", 0)])
def test_no_decision_knows_more_than_could_be_read_then(tmp_path: Path, available: str, behind: int) -> None:
    write(tmp_path, with_days(tmp_path, available))
    assembly = assemble(read_config(Options(tmp_path / "config.toml")))
    shell = assembly.shell()
    asked = []

    def ask(question: Ask) -> Decided:
        view = question.view
        dates = view.macro("day", 60)
        # a sample is a close: of its own date nothing is known that is published before the next open
        assert dates[-1] == view.sample_time // DAY_NS - behind
        assert (np.diff(dates) >= 1.0).all()
        asked.append(view.time)
        return answer_of(assembly.policies[question.policy], question)

    shell.answer = ask
    for item in assembly.items():
        shell.take(item)
    assert len(asked) > 60


@pytest.mark.long
def test_a_backtest_a_killed_run_and_a_replay_have_one_digest_and_another_file_is_another_market(
    tmp_path: Path,
) -> None:
    write(tmp_path, with_days(tmp_path, "next_open"))
    backtest = answer(quantd(tmp_path, "backtest", "--json", "--no-compare"))
    kill_after(tmp_path, 300)
    run = answer(quantd(tmp_path, "run", "--json", "--quiet"))
    replay = answer(quantd(tmp_path, "replay", "--policies", "--json"))
    assert run["digest"] == backtest["digest"] == replay["digest"]
    assert replay["policy_differences"] == 0
    path = tmp_path / "days.csv"
    path.write_text(path.read_text().replace("2019-02-04,", "2019-02-04,1"))
    assert quantd(tmp_path, "replay", "--json").returncode != 0


@pytest.mark.long
def test_a_run_taken_up_from_snapshots_has_the_digest_of_one_that_went_on(tmp_path: Path) -> None:
    write(tmp_path, with_days(tmp_path, "next_open"))
    straight, restored = straight_and_restored(assemble(read_config(Options(tmp_path / "config.toml"))))
    before, after = straight.state.history.macro, restored.state.history.macro
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(after.rows, before.rows)
    assert np.isfinite(before.rows[-100:]).all()
    assert restored.digest.hexdigest() == straight.digest.hexdigest()


@pytest.mark.long
def test_signals_hold_less_by_a_macro_feature(tmp_path: Path) -> None:
    macro = f'macro = [{{ name = "vix", path = "{ROOT}/data/vix_daily.parquet" }}]\n'
    agent = 'name = "even"\npolicy = "signals"\ncapital = 0.5\nparams = { features = { momentum_60 = 1.0 }, top = 2'
    text = CONFIG.replace("[feed]\n", f"[feed]\n{macro}")
    plain = text.replace('name = "even"\npolicy = "equal_weight"\ncapital = 0.5', agent + " }")
    weighed = text.replace(
        'name = "even"\npolicy = "equal_weight"\ncapital = 0.5', agent + ", exposure = { vix_change_5 = -2.0 } }"
    )
    write(tmp_path, plain)
    one = answer(quantd(tmp_path, "backtest", "--json", "--no-compare"))
    write(tmp_path, weighed)
    other = answer(quantd(tmp_path, "backtest", "--json", "--no-compare"))
    assert one["digest"] != other["digest"]
    assert other["fills"] > one["fills"]
    write(tmp_path, weighed.replace(macro, ""))
    refused = quantd(tmp_path, "backtest", "--no-compare")
    assert refused.returncode != 0
    assert "reads the macro series 'vix', which the feed does not have; write [feed] macro = [{" in refused.stderr


async def test_a_market_that_goes_on_reads_the_file_again_at_each_sample(tmp_path: Path) -> None:
    path = tmp_path / "rate.csv"
    day = str(np.datetime64(NOW - 2 * DAY_NS, "ns").astype("datetime64[D]"))
    path.write_text(f"ts,value\n{day},1.5\n")
    text = TEXT.replace("{broker}", "paper").replace("{policy}", "equal_weight")
    text = text.replace("[feed]\n", f'[feed]\nmacro = [{{ name = "rate", path = "{path}" }}]\n')
    parts = assemble_live(read(text, known_names()), NOW)
    values: list[tuple[float, ...]] = []
    ticks = parts.ticks_between(NOW - DAY_NS, NOW + 3 * DAY_NS, NOW)
    given = [t for t in ticks if t.sample]
    for number, tick in enumerate(given):
        values.append(parts.dated(tick).macro)
        if number == 1:
            later = str(np.datetime64(tick.ts, "ns").astype("datetime64[D]"))
            path.write_text(f"ts,value\n{day},1.5\n{later},2.25\n")
        if number == 2:
            path.write_text("nothing\n")
    assert values[:2] == [(1.5,), (1.5,)]
    assert (2.25,) in values
    assert values[-1] == (2.25,), "what cannot be read leaves what was known"
