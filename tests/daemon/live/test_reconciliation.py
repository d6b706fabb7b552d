"""What a venue says at a comparison: each field is compared, acted on, or left out for a written reason."""

import asyncio
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from quantd.adapters.brokers.venue_errors import KeysRefused
from quantd.adapters.feeds.source import Announced
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.snapshot import freeze
from quantd.daemon.live import reconciliation
from quantd.daemon.live.reconciliation import LATE_PERIODS, events_of, permission, split_columns, why_not
from quantd.daemon.runtime.service import Service
from quantd.risk.limits.catalogue import PROFILES
from quantd.risk.switch import REDUCE, RUN
from quantd.server.api.problems import Refused
from quantd.server.api.routes.manual_routes import reconcile
from quantd.server.requests.manual import Settle
from quantd.trading.effects import Publish
from quantd.trading.events import Action, Operator
from quantd.trading.instruments import NANO
from quantd.trading.orders import Cause, ForeignOrder, OpenOrder, Reports
from quantd.trading.ports import VenueAccount
from quantd.trading.sessions import DAY_NS
from tests.support.engine import COLLARED, World, block
from tests.support.live_runs import NOW, _quick, parts, slices, stretch, venue_of
from tests.support.remote_venue import Remote, Script

__all__ = ["_quick"]

CHANGED: Final[dict[str, object]] = {
    "currency": "EUR",
    "lots": (3, 0),
    "cash_micro": 5,
    "buying_power_micro": 7_000_000,
    "settled_micro": 8_000_000,
    "odd": (("S0", "0.25"),),
    "others": (("GME", "7.5"),),
    "foreign": (ForeignOrder("theirs", 1, 4, 100 * 10**9),),
    "blocked": "the venue has blocked trading",
    "unlent": (1,),
    "available": (1, 0),
    "unread": (0,),
}
"""Another value of each field of the account."""

LEFT_OUT: Final = {
    "ts": "the time of the answer, and no statement of the venue",
    "renamed": "`lots` has the position and `available` lacks it; the adapter halts the symbol with both names",
    "equity_micro": "the venue values holdings at its own prices; lots and cash are compared, and the books value them",
}
"""Fields that nobody compares, each with its reason."""

OF_ORDERS: Final[dict[str, object]] = {"cum": 1, "lots": -7, "limit_nano": 91 * 10**9, "stop_nano": 93 * 10**9}
KEYS: Final = {
    "sample": "a part of the order's key",
    "n": "a part of the order's key",
    "row": "a part of the order's key",
    "tick_nano": "the measure of the comparison of prices",
}


def held() -> World:
    """A book of two symbols, and an open order that sells all of them at the venue."""
    world = World(block(np.full((6, 2), 100.0)), [lambda v: np.array([0.4, 0.2])], house=COLLARED)
    world.run()
    world.shell.run(Operator(world.shell.state.now + 1, "flatten", "out", "me"))
    state = world.shell.state
    ((key, work),) = state.working.items()
    rows, none = list(range(len(work.lots))), [0] * len(work.lots)
    accepted = [int(Cause.ACCEPTED)] * len(rows)
    world.shell.run(Reports(*key, state.now, rows, none, none, none, none, accepted))
    world.effects.clear()
    return world


def said(state: State) -> VenueAccount:
    """The account as a venue has it that agrees with the books."""
    house = state.ledger.house
    ours = tuple(
        OpenOrder(*key, row, work.filled[row], work.lots[row], work.worst_nano[row], tick_nano=10**7)
        for key, work in state.working.items()
        for row in range(len(work.lots))
    )
    lots = tuple(house.lots)
    return VenueAccount(state.now, state.universe.currency, lots, house.cash_micro, ours=ours, available=lots)


def outcome(change: Callable[[VenueAccount], VenueAccount]) -> tuple[bytes, bytes]:
    """What a comparison leaves: the state and the effects."""
    world = held()
    state = world.shell.state
    account = change(said(state))
    word = permission(state, why_not(state, account))
    for event in [*([] if word is None else [word]), *events_of(state, "run00001", account, ())]:
        world.shell.run(event)
    return freeze(state), msgspec.msgpack.encode([repr(effect) for effect in world.effects])


@pytest.mark.parametrize("name", [field.name for field in fields(VenueAccount)])
def test_every_field_of_the_venues_account_has_a_reader_or_a_written_reason(name: str) -> None:
    assert (name in CHANGED) + (name in LEFT_OUT) + (name == "ours") == 1, f"nobody reads {name}"
    if name in CHANGED:

        def beside(account: VenueAccount) -> VenueAccount:
            """Of a holding that cannot be read, the venue's lots are 0."""
            return replace(account, lots=(0, *account.lots[1:])) if name == "unread" else account

        assert outcome(lambda account: replace(beside(account), **{name: CHANGED[name]})) != outcome(beside)


@pytest.mark.parametrize("name", [field.name for field in fields(OpenOrder)])
def test_every_field_of_an_open_order_has_a_reader_or_a_written_reason(name: str) -> None:
    assert (name in OF_ORDERS) + (name in KEYS) == 1, f"nobody reads {name}"
    if name not in OF_ORDERS or name == "stop_nano":  # a stop needs a stop order: below
        return

    def change(account: VenueAccount) -> VenueAccount:
        first, *other_orders = account.ours
        return replace(account, ours=(replace(first, **{name: OF_ORDERS[name]}), *other_orders))

    assert outcome(change) != outcome(lambda account: account)


def test_an_order_that_is_being_cancelled_is_not_named_again() -> None:
    world = held()
    for _ in range(2):
        world.effects.clear()
        account = said(world.shell.state)
        first, *other_orders = account.ours
        account = replace(account, ours=(replace(first, lots=-1), *other_orders))
        for event in events_of(world.shell.state, "run00001", account, ()):
            world.shell.run(event)
    assert world.effects == []


def test_a_blocked_account_is_critical_once_reduces_and_ends_with_the_block() -> None:
    word = "the venue has blocked trading"
    world = World(block(np.full((6, 2), 100.0)), [lambda v: np.array([0.4, 0.2])], house=PROFILES["research"]).run()
    state = world.shell.state
    world.effects.clear()
    for _ in range(3):
        account = replace(said(state), blocked=word)
        if (condition := permission(state, why_not(state, account))) is not None:
            world.shell.run(condition)
    texts = [p.text for p in world.of(Publish) if p.kind == "account"]  # type: ignore[attr-defined]
    assert len(texts) == 1
    assert word in texts[0]
    assert state.switch.state == REDUCE
    world.shell.run(Operator(state.now + 1, "resume", "looks fine", "me"))
    assert state.switch.state == REDUCE, "not while the block lasts"
    condition = permission(state, why_not(state, said(state)))
    assert condition is not None
    world.shell.run(condition)
    world.shell.run(Operator(state.now + 1, "resume", "the venue unblocked it", "me"))
    assert state.switch.state == RUN
    assert permission(state, "") is None


class Refusing(Remote):
    """A venue whose word about the account a test sets."""

    word: KeysRefused | ConnectionError | None = None

    async def account(self) -> VenueAccount:
        if self.word is not None:
            raise self.word
        return await super().account()


async def in_a_run(folder: Path, work: Callable[[Service, Refusing], object]) -> State:
    of = parts()
    venue = venue_of(of)
    remote = Refusing(venue)

    async def last(service: Service) -> None:
        await work(service, remote)  # type: ignore[misc]

    feed = Script(of.universe, DAY_NS, slices(2), venue, NOW)
    run = await stretch(folder, of, feed, remote, last=last)
    return run.service.shell.state


async def answer(service: Service) -> Refused:
    with pytest.raises(Refused) as refused:
        await reconcile(service, Settle(), "me")
    return refused.value


@pytest.mark.long
async def test_refused_keys_are_critical_and_the_answer_of_a_comparison_names_them(tmp_path: Path) -> None:
    async def work(service: Service, remote: Refusing) -> None:
        remote.word = KeysRefused("Alpaca", "the venue refuses the keys (status 401: unauthorized.)", "Check them")
        refused = await answer(service)
        assert (refused.status, refused.code) == (409, "venue")
        assert "refuses the keys" in str(refused)
        await service.changed(1.0)
        assert service.shell.state.switch.state == REDUCE
        (alert,) = [alert for alert in service.recent if alert.kind == "account"]
        assert alert.level == "CRITICAL"
        assert "401" in alert.text
        remote.word = None
        assert service.compare is not None
        while await service.compare() is None:
            await service.changed(0.05)
        await service.drained()
        assert "account" not in service.shell.state.down
        assert service.compare_failure == ""

    state = await in_a_run(tmp_path, work)
    assert state.switch.state == REDUCE, "an operator re-arms"


@pytest.mark.long
async def test_an_account_that_is_not_compared_for_three_periods_is_critical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(service: Service, remote: Refusing) -> None:
        remote.word = ConnectionError("status 503 to GET /v2/account")
        reconciler = reconciliation.Reconciler(service, remote, _sender(service), NOW)
        watch = asyncio.create_task(reconciler.watch(0.1))
        while "comparison" not in service.shell.state.down:
            await reconciler.once()
            await service.changed(0.05)
        assert service.shell.state.switch.state == REDUCE
        async with asyncio.timeout(20):  # an alert is there once its step is committed
            while not (texts := [alert.text for alert in service.recent if alert.kind == "comparison"]):
                await service.changed(0.05)
        assert "503" in texts[0]
        remote.word = None
        while not await reconciler.once():
            await service.changed(0.05)
        async with asyncio.timeout(20):
            while "comparison" in service.shell.state.down:
                await reconciler.once()
                await service.changed(0.05)
        watch.cancel()

    await in_a_run(tmp_path, work)
    assert LATE_PERIODS == 3


def _sender(service: Service) -> reconciliation.Sender:
    return service.send.__self__  # type: ignore[attr-defined]


@given(
    old=st.integers(1, 50),
    new=st.integers(1, 50),
    extra=st.integers(-3, 3),
    coming=st.booleans(),
    age_s=st.integers(0, 7_200),
)
def test_only_lots_that_differ_by_an_announced_split_are_left_out(
    old: int, new: int, extra: int, coming: bool, age_s: int
) -> None:
    state = held().shell.state
    ours = state.ledger.house.lots[0]
    split = Action(state.now - age_s * NANO, 0, 0, "split", new, old)
    announced = Announced([split], []) if coming else Announced([], [split])
    exact = Fraction(ours * new, old) if coming else Fraction(ours * old, new)
    venue = int(exact) + extra
    account = replace(said(state), lots=(venue, state.ledger.house.lots[1]))
    off = abs(venue - exact) if coming else abs(venue * Fraction(new, old) - ours)
    share = max(1, NANO // state.universe.lot_nano[0])
    wanted = venue != ours and off < share and (coming or age_s < 3_600)
    assert split_columns(state, account, announced) == ((0,) if wanted else ())
