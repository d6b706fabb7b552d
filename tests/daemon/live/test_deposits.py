"""Deposits that a schedule expects at a real venue: recognised once, given to the agents, and missed in one alert."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from quantd.adapters.store.handle import Store
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.live.deposits import Deposits
from quantd.daemon.recovery.stored_run import recover
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.schedule import Schedule, due
from quantd.daemon.runtime.service import Service
from quantd.risk.switch import REDUCE, RUN
from quantd.trading.effects import Publish
from quantd.trading.events import Flow
from quantd.trading.instruments import MICRO
from quantd.trading.ports import VenueAccount, VenueFlow
from quantd.trading.sessions import DAY_NS
from tests.support.engine import START, World, block, walk
from tests.support.live_runs import NOW, _quick, slices, stretch, venue_of
from tests.support.live_runs import RUN as NAME
from tests.support.live_runs import parts as live_parts
from tests.support.remote_venue import Remote, Script

__all__ = ["_quick"]

MONTHLY = Schedule(
    "savings", "deposit", cron="0 9 1 * *", timezone="UTC", calendar="X", amount_micro=500 * MICRO,
    within_ns=5 * DAY_NS,
)  # fmt: skip

SCHEDULE = '[[schedules]]\nname = "savings"\ndo = "deposit"\namount = "500.00"\ncron = "0 9 18 * *"\n'


class Books:
    """Books of two agents, 0.6 and 0.3 of the account, and what a schedule expects."""

    def __init__(self, *schedules: Schedule) -> None:
        act = lambda view: [0.1, 0.1]  # noqa: E731
        self.world = World(block(walk(400, 2, 3)), [act, act], shares=[0.6, 0.3])
        self.world.run(iter(list(self.world.items())[:6]))
        self.deposits = Deposits(schedules or (MONTHLY,), {"X": self.world.sessions}, START)
        self.due = [
            ts for ts, _ in due(schedules or (MONTHLY,), {"X": self.world.sessions}, START, START + 380 * DAY_NS)
        ]
        self.first = [book.flows_micro for book in self.shell.state.ledger.books]

    @property
    def shell(self) -> Shell:
        return self.world.shell

    def take(self, events: Iterator[object]) -> list[object]:
        taken = list(events)
        for event in taken:
            self.shell.run(event)  # type: ignore[arg-type]
        return taken

    def paid(self, id: str, amount: str, ts: int) -> None:
        """The venue lists a deposit, and lists it again after a restart."""
        flow = Flow(ts, int(Decimal(amount) * MICRO), "venue", "flow", id)
        self.take(self.deposits.booked(self.shell.state, flow))
        before = freeze(self.shell.state)
        self.world.restart(thaw(self.world.rules, before))
        self.take(self.deposits.booked(self.shell.state, flow))
        assert freeze(self.shell.state) == before

    def flows(self) -> list[int]:
        """The deposits into the two agents and the unallocated book, in account currency."""
        flows = [book.flows_micro for book in self.shell.state.ledger.books]
        return [(now - first) // MICRO for now, first in zip(flows, self.first, strict=True)]

    def alerts(self) -> list[tuple[str, str]]:
        published = [effect for effect in self.world.effects if isinstance(effect, Publish)]
        return [(alert.level, alert.text) for alert in published if alert.kind == "job_deposit"]


def test_an_expected_deposit_goes_to_the_agents_once() -> None:
    books = Books()
    books.paid("x1", "500", books.due[0] + DAY_NS)
    assert books.flows() == [300, 150, 50]
    ((level, text),) = books.alerts()
    assert level == "INFO"
    assert text.endswith("500.00: 500.00 came: 300.00 a0, 150.00 a1, 50.00 unallocated")
    # a second one of that month is no expected one, and that of the next month is
    books.paid("x2", "500", books.due[0] + 2 * DAY_NS)
    assert books.flows() == [300, 150, 550]
    books.paid("x3", "500", books.due[1])
    assert books.flows() == [600, 300, 600]


@pytest.mark.parametrize(("days", "taken"), [(-6, False), (-5, True), (0, True), (5, True), (20, True), (70, False)])
def test_a_deposit_may_come_as_early_and_as_late_as_the_schedule_says_and_a_late_one_is_taken(
    days: int, taken: bool
) -> None:
    yearly = msgspec.structs.replace(MONTHLY, cron="0 9 1 6 *")
    books = Books(yearly)
    books.paid("x1", "500", books.due[0] + days * DAY_NS)
    assert (books.flows() == [300, 150, 50]) == taken
    assert sum(books.flows()) == 500


@pytest.mark.parametrize(
    ("amount", "expected", "words"),
    [
        ("480", [288, 144, 48], "480.00 came, 20.00 less than expected"),
        ("700", [300, 150, 250], "700.00 came, 200.00 more than expected"),
    ],
)
def test_another_amount_is_named_and_the_agents_get_at_most_what_was_expected(
    amount: str, expected: list[int], words: str
) -> None:
    books = Books()
    books.paid("x1", amount, books.due[0])
    assert books.flows() == expected
    ((level, text),) = books.alerts()
    assert level == "WARNING"
    assert words in text
    assert not books.take(books.deposits.late(books.shell.state, books.due[0] + 6 * DAY_NS))


def test_the_deposit_of_the_expected_amount_is_preferred() -> None:
    weekly = msgspec.structs.replace(MONTHLY, name="bonus", amount_micro=80 * MICRO)
    books = Books(MONTHLY, weekly)
    books.paid("x1", "80", books.due[0])
    books.paid("x2", "500", books.due[0])
    assert books.flows() == [348, 174, 58]
    assert [level for level, _ in books.alerts()] == ["INFO", "INFO"]


def test_one_alert_says_that_a_deposit_has_not_come_and_the_end_of_it_when_it_comes() -> None:
    books = Books()
    late_at = books.due[0] + 5 * DAY_NS
    assert not books.take(books.deposits.late(books.shell.state, late_at))
    for _ in range(3):
        books.take(books.deposits.late(books.shell.state, late_at + 1))
        books.world.restart()
    ((level, text),) = books.alerts()
    assert level == "WARNING"
    assert "has not come within 5 days" in text
    books.paid("x1", "500", late_at + 3 * DAY_NS)
    assert books.flows() == [300, 150, 50]
    assert [level for level, _ in books.alerts()] == ["WARNING", "INFO"]


def test_a_missed_month_does_not_take_the_deposit_of_the_next() -> None:
    books = Books()
    books.paid("x1", "500", books.due[1])
    late = books.take(books.deposits.late(books.shell.state, books.due[1] + 6 * DAY_NS))
    assert len([event for event in late if not isinstance(event, Flow)]) == 1  # of the first month


def test_withdrawals_dividends_and_coins_are_booked_as_without_a_schedule() -> None:
    books = Books()
    for change in ({"amount_micro": -5}, {"kind": "dividend", "symbol": 0}, {"units_nano": 4, "symbol": 0}):
        flow = msgspec.structs.replace(Flow(books.due[0], 500 * MICRO, "venue", "flow", "x"), **change)
        assert list(books.deposits.booked(books.shell.state, flow)) == [flow]


def test_cash_of_another_amount_is_named_once_and_stays_a_difference() -> None:
    books = Books()
    for _ in range(2):
        books.take(books.deposits.seen(books.shell.state, [0, 0], 480 * MICRO, books.due[0] + DAY_NS))
        books.world.restart()
    assert books.flows() == [0, 0, 0]
    ((level, text),) = books.alerts()
    assert level == "WARNING"
    assert "500.00: the account has 480.00 more than the books" in text
    assert not list(books.deposits.seen(books.shell.state, [1, 0], 500 * MICRO, books.due[0]))
    books.take(books.deposits.seen(books.shell.state, [0, 0], 500 * MICRO, books.due[0]))
    assert books.flows() == [300, 150, 50]


async def test_a_simulated_account_on_live_bars_is_paid_once_a_day_over_crashes(tmp_path: Path) -> None:
    of = live_parts("paper", schedules=SCHEDULE.replace('cron = "0 9 18 * *"', 'every = "1d"'))
    for until in (83, 85, 88):
        await stretch(tmp_path, of, Script(of.universe, DAY_NS, slices(12), None, NOW), None, until=until, brutal=True)
    ended = await stretch(tmp_path, of, Script(of.universe, DAY_NS, slices(12), None, NOW), None)
    state = ended.service.shell.state
    days = (state.sample - NOW) // DAY_NS + 1  # from NOW on
    assert [book.flows_micro for book in state.ledger.books] == [
        90_000 * MICRO + days * 450 * MICRO, 10_000 * MICRO + days * 50 * MICRO,
    ]  # fmt: skip
    with Store.open(tmp_path) as store:
        shell, _ = recover(of, store, NAME, tmp_path)
    assert shell.state.ledger.house.flows_micro == state.ledger.house.flows_micro


class Paid(Remote):
    """A venue that has money which it does not list yet."""

    more = 0
    listed: Sequence[VenueFlow] = ()

    async def account(self) -> VenueAccount:
        told = await super().account()
        return msgspec.structs.replace(told, cash_micro=(told.cash_micro or 0) + self.more)

    async def flows(self, since: int) -> Sequence[VenueFlow]:
        return self.listed


@pytest.mark.parametrize("amount", [500, 480])
async def test_cash_that_is_not_listed_yet_is_the_expected_deposit_or_a_difference(tmp_path: Path, amount: int) -> None:
    of = live_parts(schedules=SCHEDULE)
    remote = Paid(venue := venue_of(of))

    async def work(service: Service) -> None:
        assert service.compare is not None
        remote.more = amount * MICRO
        while await service.compare() is None:
            await service.changed(0.05)
        await service.drained()
        state = service.shell.state
        alerts = {alert.kind: alert for alert in service.recent}
        if amount == 500:
            assert state.switch.state == RUN
            assert [book.flows_micro for book in state.ledger.books] == [90_450 * MICRO, 10_050 * MICRO]
            remote.listed = (VenueFlow("x1", NOW, "deposit", 500 * MICRO),)
            for _ in range(2):  # listed later: the same money
                while await service.compare() is None:
                    await service.changed(0.05)
                await service.drained()
            assert [book.flows_micro for book in state.ledger.books] == [90_450 * MICRO, 10_050 * MICRO]
            assert "reconciliation" not in alerts
        else:
            assert state.switch.state == REDUCE
            assert "job_deposit" not in alerts  # it is not due yet
            assert "480.00 USD more" in alerts["reconciliation"].text

    await stretch(tmp_path, of, Script(of.universe, DAY_NS, slices(2), venue, NOW), remote, last=work)
