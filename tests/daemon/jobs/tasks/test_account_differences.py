"""The account beside the venue's record on the wire: each kind of difference is found, announced, and cleared."""

import asyncio
import csv
import dataclasses
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.daemon.jobs.tasks.account_differences import VenueRecord, compared
from quantd.daemon.jobs.tasks.account_lines import AccountLine, AccountRecord, StatementDay
from quantd.trading.events import Correction
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.ports import VenueTrade
from tests.support.command_line import quantd, write
from tests.support.venues.statement_day import HOUR_NS, Account, AtAlpaca, AtKraken, account

CENT = Decimal("0.01")
VENUES = pytest.mark.parametrize("venue", [AtAlpaca, AtKraken])


async def a_day(of: Account) -> None:
    """Three days of trading, the payments of the third booked before it."""
    for number in range(3):
        of.at(9.0)
        if number == 2:
            for kind, amount, symbol in of.venue.day:
                of.venue.pay(kind, Decimal(amount), symbol)
            await of.book()
        await of.trade()


def sums(folder: Path) -> dict[str, Decimal]:
    """Closing less opening less the lines of the newest CSV, and the differences of its lines."""
    file = max((folder / "statements").glob("*.csv"))
    rows = list(csv.DictReader(file.read_text().splitlines()))
    sign = {"opening": 1, "closing": -1}
    remainder = sum((sign.get(row["kind"], 1) * Decimal(row["amount"]) for row in rows), Decimal(0))
    cash = [row for row in rows if row["kind"] == "difference" and row["text"].startswith("cash")]
    return {"left": remainder, "cash": sum((Decimal(row["difference"]) for row in cash), Decimal(0))}


@pytest.mark.long
@VENUES
async def test_a_day_of_payments_and_trades_is_the_venues_to_the_cent(tmp_path: Path, venue: Any) -> None:
    async with account(tmp_path, venue()) as of:
        await a_day(of)
        done, statement = await of.statement()
        assert done.endswith("all as at the venue")
        assert (statement.compared, statement.differences) == ("", [])
        assert statement.venue_cash == statement.closing
        lines = of.record().days[-1].lines
        assert sum(line.payment for line in lines) == len(of.venue.day)
        assert {"trade", "dividend", "interest", "flow"} <= {line.kind for line in lines}
        assert sums(tmp_path) == {"left": 0, "cash": 0}
        assert of.active() == set()


async def test_a_payment_with_a_date_only_does_not_move_the_clock_to_the_end_of_its_day(tmp_path: Path) -> None:
    async with account(tmp_path, AtAlpaca()) as of:
        await of.trade()
        of.at(9.0)
        of.venue.pay("INT", Decimal("0.31"))
        await of.book()
        await of.committed()
        assert of.record().later[-1].kind == "interest"
        assert of.kit.shell.state.now <= of.venue.now()


@dataclass(frozen=True)
class Row:
    """A change at the venue, how it is undone if it can be, and the kinds of differences that it makes."""

    does: Callable[[Any], Any]
    undo: Callable[[Any, Any], None] | None
    kinds: set[str]
    text: str
    cash: str = "0.00"
    venues: tuple[Any, ...] = (AtAlpaca, AtKraken)


ROWS = {
    "amount, a cent more": Row(
        lambda v: v.amend(0, CENT), lambda v, _: v.amend(0, -CENT), {"amount", "cash"}, "12.34 of", "0.01"
    ),
    "amount, the cash unchanged": Row(
        lambda v: (v.amend(0, CENT), v.cash(-CENT)), lambda v, _: (v.amend(0, -CENT), v.cash(CENT)), {"amount"},
        "12.35 of",
    ),
    "missing at the venue": Row(
        lambda v: v.withdraw(1), lambda v, paid: v.restore(paid), {"missing_at_venue", "cash"}, "at the venue nothing",
        "1.85",
    ),
    "another symbol or kind": Row(lambda v: v.rename(0), lambda v, _: v.rename(0), {"booking"}, "booking of dividend"),
    "cash, a cent less": Row(
        lambda v: v.cash(-CENT), lambda v, _: v.cash(CENT), {"cash"}, "cash at the close, by no line", "-0.01"
    ),
    "a fee, a cent more": Row(
        lambda v: v.charge(CENT), lambda v, _: v.charge(-CENT), {"fee", "cash"}, "", "-0.01", (AtKraken,)
    ),
    "a trade that only the venue has": Row(
        lambda v: v.trade("S0", Decimal(3), Decimal("99.50"), Decimal(0)), None, {"execution", "cash"},
        "execution: here nothing, at the venue 3 S0 at 99.50", "-298.50",
    ),
    "less than a cent": Row(lambda v: v.cash(CENT / 2), lambda v, _: v.cash(-CENT / 2), set(), ""),
}  # fmt: skip


@pytest.mark.one_of(2)
@pytest.mark.quick_cases(2)
@pytest.mark.parametrize(("name", "venue"), [(name, venue) for name, row in ROWS.items() for venue in row.venues])
async def test_a_difference_is_named_and_announced_and_its_end_clears_the_incident(
    tmp_path: Path, name: str, venue: Any
) -> None:
    row = ROWS[name]
    async with account(tmp_path, venue()) as of:
        await a_day(of)
        of.day -= 1
        of.at(15.0)
        changed = row.does(of.venue)
        of.day += 1
        done, statement = await of.statement()
        assert {difference.kind for difference in statement.differences} == row.kinds
        assert row.text in done
        assert all(difference.remedy for difference in statement.differences)
        assert of.active() == row.kinds
        assert sums(tmp_path) == {"left": 0, "cash": Decimal(row.cash)}
        if "cash" in row.kinds:
            assert Decimal(statement.venue_cash) - Decimal(statement.closing) == Decimal(row.cash)
        for kind in row.kinds - {"cash"} if row.cash != "0.00" else ():
            assert {d.difference for d in statement.differences if d.kind in (kind, "cash")} == {row.cash}
        if row.undo is None:
            return
        row.undo(of.venue, changed)
        done, statement = await of.statement()
        assert done.endswith("all as at the venue")
        assert statement.differences == []
        assert of.active() == set()


@pytest.mark.long
@VENUES
async def test_a_payment_that_nobody_booked_is_missing_here_until_it_is_booked(tmp_path: Path, venue: Any) -> None:
    async with account(tmp_path, venue()) as of:
        await a_day(of)
        of.day -= 1
        of.at(15.0)
        kind, _, symbol = of.venue.day[0]
        of.venue.pay(kind, Decimal("7.89"), symbol)
        of.day += 1
        done, statement = await of.statement()
        assert {difference.kind for difference in statement.differences} == {"missing_here", "cash"} == of.active()
        assert "dividend here: here nothing, at the venue dividend" in done
        assert "all of it by the other differences" in done
        of.at(9.0)
        await of.book()
        await of.trade()
        done, statement = await of.statement()
        assert done.endswith("all as at the venue")
        assert of.active() == set()


@pytest.mark.long
@pytest.mark.parametrize("how", ["fence", "a0"])
async def test_an_operators_decision_ends_the_difference_before_it_and_none_after_it(tmp_path: Path, how: str) -> None:
    async with account(tmp_path, AtAlpaca()) as of:
        await a_day(of)
        of.day -= 1
        of.at(15.0)
        of.venue.pay("DIV", Decimal("7.89"), "S0")
        of.day += 1
        await of.statement()
        assert of.active() == {"missing_here", "cash"}
        now = of.kit.shell.state.now
        await of.kit.service.inbox.command(Correction(now, [0, 0], 7_890_000, how, "found", "me"))
        done, _ = await of.statement()
        assert done.endswith("all as at the venue")
        assert of.active() == set()
        of.at(9.0)
        of.venue.pay("DIV", Decimal("7.89"), "S0")
        await of.trade()
        await of.statement()
        assert of.active() == {"missing_here", "cash"}


async def test_a_session_that_has_not_closed_has_no_statement_yet(tmp_path: Path) -> None:
    async with account(tmp_path, AtAlpaca()) as of:
        await a_day(of)
        sessions = of.world.sessions
        late = replace(sessions, close_ns=tuple(ts + HOUR_NS for ts in sessions.close_ns))
        job, days = dataclasses.replace(of.job, sessions=late), of.record().days
        for due, day in ((days[-1].until_ns, days[-2].day), (late.close_ns[of.day - 1], days[-1].day)):
            done = await job.work(JobRun(1, "statement", due_ts=due))
            assert f"statement-{day}.csv" in done
            assert done.endswith("all as at the venue")


def test_an_execution_that_is_booked_after_the_close_is_no_difference() -> None:
    universe = Universe((Instrument("SPY"),))
    trade = VenueTrade("1", 90, "SPY", 3 * NANO, 10 * NANO)
    booked = VenueTrade("", 110, "SPY", 3 * NANO, 10 * NANO, 0)
    days = [StatementDay(date(2024, 1, n), 100, 100, 100, n * 100 - 100, n * 100, []) for n in (1, 2)]
    line = AccountLine("r-9-0", days[1].day, 110, "trade", "SPY", 3, 10 * NANO, -30_000_000, "1/1")
    days[1] = replace(days[1], closing_micro=100 - 30_000_000, lines=[line])
    record = AccountRecord(days, {days[0].day: [], days[1].day: [booked]}, [])
    venue = VenueRecord([trade], [], record.cash_micro)
    for day in compared(record, venue, days, universe, 0).values():
        assert day.differences == []
    missing = replace(record, booked={}, days=[days[0], replace(days[1], closing_micro=100, lines=[])])
    first, second = compared(missing, venue, missing.days, universe, 0).values()
    assert [difference.kind for difference in first.differences] == ["execution", "cash"]
    assert [difference.kind for difference in second.differences] == ["cash"]


async def test_cash_that_moves_during_every_query_is_not_compared(tmp_path: Path) -> None:
    async with account(tmp_path, AtAlpaca()) as of:
        await a_day(of)

        async def moving() -> None:
            while True:
                of.venue.pay("CSD", Decimal(1))
                await asyncio.sleep(0.0005)

        moves = asyncio.create_task(moving())
        done, statement = await of.statement()
        moves.cancel()
        assert done.endswith("all as at the venue")
        assert (statement.differences, statement.venue_cash) == ([], "")
        _, statement = await of.statement()
        assert (statement.differences, statement.venue_cash) == ([], statement.closing)


async def test_the_command_shows_each_difference_with_its_remedy_and_writes_it_as_a_line(tmp_path: Path) -> None:
    async with account(tmp_path, AtAlpaca()) as of:
        await a_day(of)
        of.venue.amend(0, CENT)
        await of.statement()
    write(tmp_path)
    shown = await asyncio.to_thread(quantd, tmp_path, "report", "--statement", "--state", ".", "--out", "out.csv")
    assert shown.returncode == 1
    assert "amount of dividend: here dividend S0 12.34 of 2024-10-06, at the venue dividend S0 12.35" in shown.stdout
    assert "The venue changed it after it was booked: quantd reconcile" in shown.stdout
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    difference_rows = [row for row in rows if row["kind"] == "difference"]
    assert [(row["amount"], row["difference"]) for row in difference_rows] == [("0.00", "0.01")] * 2
    assert all("quantd reconcile" in row["text"] for row in difference_rows)


@VENUES
async def test_what_happens_after_the_close_belongs_to_the_next_day(tmp_path: Path, venue: Any) -> None:
    async with account(tmp_path, venue()) as of:
        await a_day(of)
        for kind, amount, symbol in of.venue.day:
            of.venue.pay(kind, Decimal(amount), symbol)
        of.venue.trade("S1", Decimal(2), Decimal(101), Decimal(0))
        _, statement = await of.statement()
        assert statement.differences == []
        assert statement.venue_cash == statement.closing


@VENUES
async def test_an_alert_names_some_of_many_differences_and_counts_the_rest(tmp_path: Path, venue: Any) -> None:
    async with account(tmp_path, venue()) as of:
        await a_day(of)
        while of.venue.payments():
            of.venue.withdraw(0)
        await of.statement()
        (alert,) = (alert for alert in of.kit.service.recent if alert.kind == "statement_missing_at_venue")
        count = len(of.venue.day)
        named = alert.text.count("at the venue nothing")
        assert 1 <= named <= 5
        assert f"and {count - named} more" in alert.text
        assert alert.text.endswith("books what stays")
        assert len(alert.text) <= 500


@pytest.mark.one_of(2)
@pytest.mark.long
@VENUES
@pytest.mark.parametrize("seed", [0, 1])
async def test_weeks_of_random_days_are_the_venues_to_the_micro(tmp_path: Path, venue: Any, seed: int) -> None:
    rng = random.Random(seed)
    async with account(tmp_path, venue(), days=21, seed=seed) as of:
        unbooked = 0
        for _ in range(21):
            of.at(9.0)
            for kind, _, symbol in rng.choices(of.venue.day, k=rng.randrange(4)):
                amount = Decimal(rng.randrange(1, 500_000)) / (100 if venue is AtAlpaca else 10_000)
                before = (await of.broker.account()).cash_micro
                of.venue.pay(kind, -amount if rng.random() < 0.3 else amount, symbol)
                unbooked += (await of.broker.account()).cash_micro - before
            if rng.random() < 0.7:  # else the payments are booked on a later day
                await of.book()
                unbooked = 0
            await of.trade()
            _, statement = await of.statement()
            record = of.record()
            assert record.cash_micro + unbooked == (await of.broker.account()).cash_micro
            assert {difference.kind for difference in statement.differences} <= {"missing_here", "cash"}
            for day in record.days:
                assert sum(line.amount_micro for line in day.lines) == day.closing_micro - day.opening_micro
            assert sums(tmp_path)["left"] == 0
            if not unbooked:
                assert (statement.differences, statement.venue_cash) == ([], statement.closing)
        await of.book()
        done, _ = await of.statement()
        assert done.endswith("all as at the venue")
        assert of.active() == set()
        for file in sorted((tmp_path / "statements").glob("*.json")):
            assert b'"differences":[]' in file.read_bytes(), file
