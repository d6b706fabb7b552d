"""The logs of an account with shadows (agents on paper): a shadow is a run, recorded as steps of the account.

A shadow has a shell, a state, a simulated venue and a fold like any run, and takes the same items of the market. So the
account beside it is the run that it is alone, and the shadow is the run that it would be alone.

What the order guarantees. The account takes an item first. `AccountLog` lets the shadows take it when the account
records it, so that the record has what all did at this item, and a replay compares all of it. Reports of a shadow's
fills at the item precede this record. Its later reports follow, and its questions are put when the account's are
answered.

What can go wrong: the account's handlers change a shadow (a promotion, a looser limit) whose columns are ahead of its
state. So the shell settles the shadows before any handler of the account runs.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec.structs import replace

from quantd.daemon.engine.agents.shadows import as_of_account, settle_held
from quantd.daemon.engine.state import State
from quantd.daemon.runtime.step_log import Log, Unanswered
from quantd.daemon.runtime.timeline import Item
from quantd.trading.effects import Ask, Effect
from quantd.trading.events import Action, Decided, Event, Proposed, ShadowReport, Tick
from quantd.trading.market import MarketSlice, PriceJumped

MARKET = MarketSlice, Tick, Action, PriceJumped
"""The items that shadows take."""


class Account(Protocol):
    """The shell of the account, as its shadows see it."""

    @property
    def unsettled(self) -> State:
        """The state of the account."""
        ...

    def record(self, event: Event, effects: Sequence[Effect]) -> None:
        """Record and count a step of the account."""


class ShadowLog(Unanswered):
    """The log of the shell of shadow `k`. It also stands for the policies: every answer is awaited."""

    def __init__(self, account: Account, k: int) -> None:
        self._account, self._k = account, k
        self.at_item: list[Effect] = []
        """The effects of the present item, as effects of the account."""
        self._item: Item | None = None
        self._waiting: list[Proposed] = []
        self._later: list[tuple[Event, list[Effect]]] | None = None
        """The steps after the present item, until the account has taken it; None where steps are recorded at once."""

    def begin(self, question: Ask) -> bool:
        return True

    def open(self) -> None:
        """Begin an event that is no item of the market, or the reports before one."""
        self._item, self.at_item, self._waiting = None, [], list(self._account.unsettled.shadows[self._k].awaiting)

    def open_item(self, item: Item) -> Item:
        """Begin an item of the market; returns it as the shadow takes it: jobs are the account's."""
        self.open()
        if type(item) is Tick:
            number = len(self._account.unsettled.agents) + self._k
            item = replace(item, due=(0,) if number in item.due else (), jobs=())
        self._item = item
        return item

    def close(self) -> None:
        """Record the steps after the present item."""
        later, self._later = self._later, None
        for event, effects in later or ():
            self._account.record(event, effects)

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        account = self._account.unsettled
        shadow = account.shadows[self._k]
        settle_held(account, shadow, self._waiting, effects)
        self._waiting = list(shadow.awaiting)
        shown = as_of_account(account, self._k, effects)
        if event is self._item:
            self._item, self.at_item, self._later = None, shown, []
            return
        number = len(account.agents) + self._k
        step = replace(event, agent=number) if isinstance(event, Decided) else ShadowReport(number, event)  # type: ignore[arg-type]  # a simulated venue is never down
        if self._later is None:
            self._account.record(step, shown)
        else:
            self._later.append((step, shown))


class AccountLog:
    """The log of an account with shadows: each item of the market is recorded with what the shadows do at it."""

    rows_only = False

    def __init__(self, log: Log, at: Callable[[Item], list[Effect]]) -> None:
        """`at` lets the shadows take an item, and returns their effects."""
        self._log, self._at, self.answer = log, at, log.answer

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        beside = self._at(event) if isinstance(event, MARKET) else ()
        self._log.add(event, [*effects, *beside] if beside else effects)
