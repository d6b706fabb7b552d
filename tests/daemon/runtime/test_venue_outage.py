"""A simulated venue that raises is a broker that went down: nobody guesses what became of its orders, and the daemon
stays. In a backtest it is an error."""

import pytest

from quantd.adapters.brokers.paper.broker import Paper
from quantd.daemon.runtime.journal import Journal, fold
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.timeline import instants
from quantd.risk.limits.catalogue import PROFILES
from quantd.risk.switch import REDUCE, RUN
from quantd.trading.codec import decode
from quantd.trading.effects import Publish
from quantd.trading.events import Condition, Operator, Unknown
from quantd.trading.execution import Costs
from quantd.trading.orders import OrderState
from tests.support.engine import Kept, World, block, walk

CALLS = ("submit", "on_slice", "on_time", "cancel")


class Faulty:
    """The paper venue, whose call number `at` of one kind raises. Nobody knows its fills, so that each call is made."""

    def __init__(self, venue: Paper, call: str, at: int) -> None:
        self._venue, self._call, self._left = venue, call, at

    def fill_terms(self) -> None:
        """Each order may fail."""

    def __getattr__(self, name: str) -> object:
        inner = getattr(self._venue, name)
        if name != self._call:
            return inner

        def sometimes(*arguments: object) -> object:
            self._left -= 1
            if self._left == 0:
                raise RuntimeError("the venue fell over")
            return inner(*arguments)

        return sometimes


def rotating(view: object) -> list[float]:
    """Other weights on each day, so that there are always orders."""
    return [0.4, 0.1] if (view.time // 86_400_000_000_000) % 2 else [0.1, 0.4]  # type: ignore[attr-defined]


def world() -> World:
    return World(block(walk(20, 2, 3)), [rotating], house=PROFILES["research"])


def shell(of: World, log: object, call: str, at: int) -> Shell:
    faulty_shell = of.fresh(log)  # type: ignore[arg-type]
    faulty_shell.broker = Faulty(Paper(of.universe, Costs()), call, at)  # type: ignore[assignment]
    faulty_shell.guarded = True
    return faulty_shell


def run(of: World, faulty_shell: Shell) -> None:
    """Half of the market, a person's reduce and halt, so that orders are cancelled, and the rest."""
    items = list(of.items())
    for k, item in enumerate(items):
        faulty_shell.take(item)
        if k == 25:
            faulty_shell.run(Operator(faulty_shell.state.now, "halt", "look", "me"))


@pytest.mark.parametrize("call", CALLS)
def test_an_exception_of_the_venue_leaves_only_reducing_orders_and_is_named(call: str) -> None:
    of, log = world(), Kept()
    faulty_shell = shell(of, log, call, 1 if call == "cancel" else 5)
    run(of, faulty_shell)
    events = [decode(data) for data in log.entries]
    down = [e for e in events if isinstance(e.event, Condition)]
    assert [(e.event.what, e.event.up) for e in down] == [("broker", False), ("broker", True)]
    alert = next(f for f in down[0].effects if isinstance(f, Publish))
    assert alert.level == "CRITICAL"
    assert "RuntimeError: the venue fell over" in alert.text
    unknown = [e.event for e in events if isinstance(e.event, Unknown)]
    assert bool(unknown) == (call in ("submit", "cancel"))
    faulty_shell.state.ledger.check()
    # it answers again, but only a person says that trading may go on
    assert faulty_shell.state.down == set()
    assert faulty_shell.state.switch.state != RUN
    # orders whose outcome was unknown were asked for, and nothing is left in doubt
    assert not any(OrderState.UNKNOWN in work.state for work in faulty_shell.state.working.values())


def test_while_the_venue_stays_down_it_is_said_once_and_nothing_adds_risk() -> None:
    of, log = world(), Kept()
    faulty_shell = shell(of, log, "on_slice", 5)
    faulty_shell.broker._left = 5  # type: ignore[attr-defined]

    class Gone(Faulty):
        def __getattr__(self, name: str) -> object:
            inner = super().__getattr__(name)
            return self._gone if name == "on_slice" and self._left <= 0 else inner

        def _gone(self, *_: object) -> object:
            raise ConnectionError("no route")

    faulty_shell.broker = Gone(Paper(of.universe, Costs()), "on_slice", 5)  # type: ignore[assignment]
    for item in of.items():
        faulty_shell.take(item)
    conditions = [e for e in map(decode, log.entries) if isinstance(e.event, Condition)]
    assert len(conditions) == 1
    assert faulty_shell.state.switch.state == REDUCE
    assert faulty_shell.state.down == {"broker"}


@pytest.mark.parametrize("call", CALLS[:3])
def test_a_recovery_folds_the_same_steps(call: str) -> None:
    of, log = world(), Kept()
    faulty_shell = shell(of, log, call, 5)
    for item in of.items():
        faulty_shell.take(item)
    journal = Journal(iter(log.entries))
    again = shell(of, journal, call, 5)
    fold(again, journal, instants(of.items()))
    assert journal.compared == len(log.entries)
    assert again.digest.hexdigest() == faulty_shell.digest.hexdigest()


@pytest.mark.parametrize("call", CALLS[:3])
def test_a_backtest_does_not_go_on_with_a_venue_that_raised(call: str) -> None:
    of = world()
    faulty_shell = shell(of, None, call, 5)
    faulty_shell.guarded = False
    with pytest.raises(RuntimeError, match="fell over"):
        run(of, faulty_shell)
