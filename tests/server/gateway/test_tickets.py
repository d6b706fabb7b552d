"""The status of an order that the engine holds, folded from the steps of a run of minute bars."""

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from quantd.server.gateway.tickets import THROUGH, WITHDRAWN, Tickets
from quantd.trading.effects import Effect
from quantd.trading.events import Event, Operator, ProposalReviewed, Proposed
from tests.server.gateway.gateway_bot import TRADING, bot_of
from tests.support.night import LAST, Night, buy

CLIENT = "mine"


class Seen(Night):
    """A night whose steps are folded into tickets; `told` is what a stream would tell."""

    def __init__(self) -> None:
        self.tickets, self.told = Tickets("account"), list[str]()
        super().__init__()

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        super().add(event, effects)
        self.told += [update.event for update in self.tickets.take(event, effects)]  # type: ignore[arg-type]

    def order(self, agent: str = "a0") -> None:
        now = self.shell.state.now
        self.shell.run(Proposed(now, agent, CLIENT, THROUGH, "bot", orders=(buy(10),), whole=True))

    def tonight(self, act: Callable[[], object]) -> list[str]:
        self.until({LAST: lambda: (self.order(), act())})
        return self.told


def test_a_held_order_is_accepted_then_new_and_filled() -> None:
    night = Seen()
    assert night.tonight(lambda: None) == ["accepted", "new", "fill"]
    ticket = night.tickets.find("a0", CLIENT)
    assert ticket is not None
    assert (ticket.status, ticket.filled) == ("filled", 10)


def test_a_program_withdraws_its_held_order() -> None:
    night = Seen()
    cancel = lambda why: ProposalReviewed(night.shell.state.now, "a0", CLIENT, False, why, "bot")  # noqa: E731
    assert night.tonight(lambda: night.shell.run(cancel(WITHDRAWN))) == ["accepted", "canceled"]


def test_a_person_who_declines_rejects_it_and_a_halt_too() -> None:
    night = Seen()
    no = lambda: ProposalReviewed(night.shell.state.now, "a0", CLIENT, False, "no", "ann")  # noqa: E731
    assert night.tonight(lambda: night.shell.run(no())) == ["accepted", "rejected"]
    halted = Seen()
    halt = lambda: Operator(halted.shell.state.now, "halt", "a test", "ann")  # noqa: E731
    assert halted.tonight(lambda: halted.shell.run(halt())) == ["accepted", "rejected"]


def test_the_same_client_id_of_two_agents_is_two_tickets() -> None:
    tickets = Tickets("account")
    first = Proposed(1, "a0", CLIENT, THROUGH, "bot", orders=(buy(10),), whole=True)
    for event in (first, replace(first, agent="a1")):
        assert [update.event for update in tickets.take(event, [])] == ["pending_new"]
    own, other = tickets.find("a0", CLIENT), tickets.find("a1", CLIENT)
    assert own is not None
    assert other is not None
    assert (own.id != other.id, own.cause, other.cause) == (True, "a0/mine", "a1/mine")


async def test_an_approved_order_that_the_limits_refuse_is_rejected_with_the_reason(tmp_path: Path) -> None:
    text = TRADING.replace('policy = "external"', 'policy = "external"\napproval = "person"')
    async with bot_of(tmp_path, text.replace("max_position_weight = 0.25", "max_position_weight = 1.0")) as bot:
        state = bot.world.service.shell.state
        lots = int(0.4 * state.equity_of(2) / 1e6 / bot.mark)  # two of them are above the limit of 0.5
        first, second = [await bot.buy(lots, client_order_id=name) for name in ("first", "second")]
        for order in (first, second):
            review = ProposalReviewed(state.now, "guest", order.client_order_id, True, "yes", "ann")
            await bot.world.service.inbox.command(review)
        told = await bot.call(bot.client.get_order_by_id, second.id)
        ticket = bot.gateway.tickets.by_id[str(second.id)]
        assert (told.status, bool(told.failed_at)) == ("rejected", True)
        assert "max_position_weight" in ticket.note
        await bot.world.go(2)
        assert (await bot.call(bot.client.get_order_by_id, first.id)).status == "filled"
        await bot.gateway.rebuild()
        assert bot.gateway.tickets.by_id[str(second.id)].status == "rejected", "the same after a restart"
