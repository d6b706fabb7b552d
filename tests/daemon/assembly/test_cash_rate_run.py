"""Interest on cash in a run: every micro of it, one digest in every mode, and the rate beside each Sharpe ratio."""

import datetime as dt
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from quantd.adapters.store.queries import Reader
from quantd.daemon.app import Options, read_config
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble, assemble_live
from quantd.daemon.config import read
from quantd.daemon.recovery.start import begin
from quantd.daemon.views.report.figures import report
from quantd.research.runs.run_record import Record
from quantd.trading.codec import decode, encode
from quantd.trading.effects import Booked
from quantd.trading.execution import interest_micro
from quantd.trading.sessions import DAY_NS
from tests.daemon.assembly.snapshot_runs import straight_and_restored
from tests.support.backtest_reports import driven
from tests.support.command_line import CONFIG, answer, quantd, write
from tests.support.engine import Kept
from tests.support.killed_runs import kill_after
from tests.support.live_runs import NOW, TEXT

SERIES = "date,rate\n2018-12-31,0.03\n2019-01-15,0.4\n2019-02-01,0.05\n"
WITH = CONFIG.replace("[risk]\n", '[account]\ncash_rate = "bills.csv"\n[risk]\n')
IDLE = (
    WITH.replace('"equal_weight"', '"hold"').replace('"momentum"', '"hold"').replace("params = { lookback = 60 }", "")
)


def folder_of(tmp_path: Path, text: str = WITH, series: str = SERIES) -> Path:
    (tmp_path / "bills.csv").write_text(series)
    return write(tmp_path, text)


def interest_of(log: Kept) -> list[Booked]:
    return [effect for effect in log.effects if isinstance(effect, Booked) and effect.kind == "interest"]


def test_cash_earns_the_last_rate_before_each_session_for_its_calendar_days_to_the_micro(tmp_path: Path) -> None:
    assembly = assemble(read_config(Options(folder_of(tmp_path, IDLE))))
    log = Kept()
    shell = driven()(assembly, log)
    days = [d // DAY_NS for d in assembly.sessions["XNYS"].day_ns if d >= assembly.feed.start_key]
    rates = {dt.date(2018, 12, 31): 3, dt.date(2019, 1, 15): 40, dt.date(2019, 2, 1): 5}
    cash, booked = 100_000_000_000, []
    for before, day in pairwise(days):
        date = dt.date(1970, 1, 1) + dt.timedelta(day)
        if date > dt.date(2019, 3, 29):
            break
        percent = rates[max(d for d in rates if d < date)]
        booked.append(interest_micro(cash, percent * 10**11, day - before))
        cash += booked[-1]
    assert [payment.amount_micro for payment in interest_of(log)] == booked
    ledger = shell.state.ledger  # type: ignore[attr-defined]
    assert ledger.house.cash_micro == cash
    assert ledger.house.income_micro == sum(booked) == sum(book.income_micro for book in ledger.books)
    ledger.check()


def test_what_is_bought_at_an_open_has_earned_until_then(tmp_path: Path) -> None:
    """The cash of the sample before earns, not what the fills of this session left."""
    assembly = assemble(read_config(Options(folder_of(tmp_path))))
    log = Kept()
    shell = assembly.shell(log)  # type: ignore[arg-type]
    begin(shell, assembly, assembly.config, "x", fresh=True)
    for item in assembly.items():
        shell.take(item)
        if interest_of(log):
            break
    state = shell.state
    assert any(state.ledger.house.lots)
    assert interest_of(log)[0].amount_micro == interest_micro(100_000_000_000, 3 * 10**11, 1)


@pytest.mark.long
def test_backtest_run_killed_run_and_replay_have_one_digest_and_other_rates_another(tmp_path: Path) -> None:
    folder_of(tmp_path)
    plain = answer(quantd(tmp_path, "backtest", "--json", "--no-compare"))
    kill_after(tmp_path, 200)
    kill_after(tmp_path, 100)
    ended = answer(quantd(tmp_path, "run", "--json", "--quiet"))
    assert ended["digest"] == plain["digest"]
    assert ended["equity"] == plain["equity"]
    again = answer(quantd(tmp_path, "replay", "--json"))
    assert (again["same"], again["digest"]) == (True, plain["digest"])
    (tmp_path / "plain.toml").write_text(CONFIG)
    unset = answer(quantd(tmp_path, "backtest", "--json", "--no-compare", "--config", "plain.toml"))
    assert unset["digest"] != plain["digest"]
    changed = SERIES.replace("0.05", "0.06")
    (tmp_path / "bills.csv").write_text(changed)
    refused = quantd(tmp_path, "run", "--quiet")
    assert refused.returncode == 78
    assert "another feed file or selection" in refused.stderr


@pytest.mark.long
def test_a_run_from_snapshots_has_the_digest_of_one_that_went_on(tmp_path: Path) -> None:
    assembly = assemble(read_config(Options(folder_of(tmp_path))))
    straight, restored = straight_and_restored(assembly)
    assert restored.digest.hexdigest() == straight.digest.hexdigest()
    assert restored.state.ledger.freeze() == straight.state.ledger.freeze()


@pytest.mark.long
def test_the_series_is_the_risk_free_rate_of_backtest_comparison_and_report(tmp_path: Path) -> None:
    folder_of(tmp_path)
    answer(quantd(tmp_path, "run", "--json", "--quiet"))
    page = answer(quantd(tmp_path, "report", "--json", "--out", "page.html"))
    backtest = answer(quantd(tmp_path, "backtest", "--json"))
    said = "risk-free: cash_rate = bills.csv, a year, by calendar days over 365"
    assert said in backtest["sharpe_definition"]
    assembly = assemble(read_config(Options(tmp_path / "config.toml")))
    record = Record(assembly.universe)
    driven()(assembly, record)
    assert backtest["performance"]["interest"] == record.interest_micro / 1e6 > 0.0
    equity = np.array(record.equity_micro) / 1e6
    days = np.diff(np.array(record.days_ns)) // DAY_NS
    dates = [dt.date(1970, 1, 1) + dt.timedelta(int(d) // DAY_NS) for d in record.days_ns[1:]]
    rates = {dt.date(2018, 12, 31): 0.03, dt.date(2019, 1, 15): 0.4, dt.date(2019, 2, 1): 0.05}
    free = np.array([rates[max(d for d in rates if d < date)] for date in dates]) * days / 365
    excess = equity[1:] / equity[:-1] - 1.0 - free
    expected = excess.mean() / excess.std(ddof=1) * np.sqrt(252)
    assert backtest["performance"]["sharpe"] == pytest.approx(expected, rel=1e-9)
    assert backtest["equal_weight"]["interest"] > 0.0
    assert page["header"]["sharpe_definition"] == backtest["sharpe_definition"]
    assert page["spans"][0]["sharpe"] == pytest.approx(expected, rel=1e-6)
    assert float(page["income"]["interest"]) == record.interest_micro / 1e6
    assert page["metrics"]["sharpe"] == pytest.approx(expected, rel=1e-6)
    text = (tmp_path / "page.html").read_text()
    assert said in text
    assert page["income"]["interest"] in text
    table = answer(quantd(tmp_path, "study", "compare", "equal_weight", "--json"))
    assert table["sharpe_definition"] == backtest["sharpe_definition"]
    assert quantd(tmp_path, "backtest").stdout.count(said) == 1


@pytest.mark.long
def test_a_report_whose_series_is_gone_says_so(tmp_path: Path) -> None:
    config = read_config(Options(folder_of(tmp_path)))
    answer(quantd(tmp_path, "run", "--json", "--quiet"))
    (tmp_path / "bills.csv").unlink()
    run_report = report(Reader.open(tmp_path / "state"), config, kind="hand", feed="", standing=None)
    assert run_report.spans[0].sharpe is None
    assert "bills.csv" in run_report.unknown["sharpe"]


@pytest.mark.parametrize(
    ("text", "series", "said"),
    [
        (
            WITH,
            SERIES.replace("2018-12-31", "2019-01-03"),
            "bills.csv:2: the first rate is of 2019-01-03, and the first",
        ),
        (WITH, SERIES.replace("0.4", "4.0"), "bills.csv:3: rate 4 is not within -0.05 to 0.5. Write 0.04"),
        (WITH.replace("bills", "notes"), SERIES, "there is no such file"),
        (WITH.replace('"bills.csv"', "2.0"), SERIES, "[account] cash_rate = 2.0 is not an annual fraction; write 0.02"),
        (WITH.replace('"bills.csv"', "true"), SERIES, "[account] cash_rate = true is not a rate"),
        (
            WITH.replace("[broker]\n", '[broker]\nkind = "alpaca"\n').replace("[feed]\n", '[feed]\nkind = "alpaca"\n'),
            SERIES,
            'cash_rate = "bills.csv" with [broker] kind = "alpaca", but this venue pays interest itself; remove it',
        ),
    ],
)
def test_a_rate_that_cannot_be_is_refused_with_its_place(tmp_path: Path, text: str, series: str, said: str) -> None:
    folder_of(tmp_path, text, series)
    done = quantd(tmp_path, "config", "check")
    assert done.returncode == 78
    assert said in done.stderr


async def test_a_market_that_goes_on_reads_the_series_again_at_each_sample(tmp_path: Path) -> None:
    path = tmp_path / "bills.csv"
    day = str(np.datetime64(NOW - 2 * DAY_NS, "ns").astype("datetime64[D]"))
    path.write_text(f"date,rate\n{day},0.03\n")
    text = TEXT.replace("{broker}", "paper").replace("{policy}", "equal_weight")
    text += f'[account]\ncash_rate = "{path}"\n'
    parts = assemble_live(read(text, known_names()), NOW)
    rates = []
    given = [t for t in parts.ticks_between(NOW - DAY_NS, NOW + 3 * DAY_NS, NOW) if t.sample and not t.warmup]
    for number, tick in enumerate(given):
        dated = parts.dated(tick)
        assert (
            decode(encode(dated, [], live=True)).event == dated
        )  # the journal has the rate, whatever the file says later
        rates.append(dated.cash_rate)
        if number == 0:
            first = str(np.datetime64(given[0].key, "ns").astype("datetime64[D]"))
            path.write_text(f"date,rate\n{day},0.03\n{first},0.04\n")
    assert rates[:2] == [3 * 10**11, 4 * 10**11]
