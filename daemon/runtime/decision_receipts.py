"""Signs a receipt of each decision on a proposal, and again when its orders fill or it ends later.

What can go wrong: a receipt is of a step that the journal never got, because the process was killed before the commit.
So a receipt is composed with its batch, and signed after the commit, with the row of the journal that has it. A key
that cannot be read or written stops no trading: answers then have no receipt, and the log has the reason.

Receipts are in memory, and the newest of an outside agent is retained on the bus. What two books trade with each other
without an order is no fill of a receipt.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from msgspec.structs import replace

from quantd.adapters.bus.messages import Message
from quantd.adapters.store.journal.chain import Head
from quantd.daemon.engine.agents.proposals import plan_digest
from quantd.daemon.engine.agents.shadows import place_of_book
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.causes import OF_CODE
from quantd.daemon.engine.state.proposal_log import SymbolVerdict, own_effects
from quantd.daemon.runtime.step_folds import Add, StepFold
from quantd.models.artifacts.receipt import KEY_FILE, FilledSoFar, Receipt, SymbolDecided, sealed
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Effect, Filled, OrdersHeld, ProposalEnded, Refused, Shadowed
from quantd.trading.events import Event, ProposalReviewed, Proposed
from quantd.trading.instruments import MICRO, NANO, Universe
from quantd.trading.orders import OrderBasket, money_text, quantity_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from quantd.daemon.runtime.service import Service

log = structlog.get_logger("quantd.receipts")

Decided = tuple[str, str]
"""(agent, id) of a proposal."""

KEPT: Final = 4_096
"""Most decisions, and most baskets of orders, that are remembered."""

SYMBOLS: Final = 16
"""Most symbols of a receipt, the first of the universe: a header has a bound."""

TOPICS: Final = 200
"""Most agents whose newest receipt is on the bus."""


class Receipts:
    """The receipts of the newest decisions of a run."""

    def __init__(self, run: str, folder: Path) -> None:
        self._run, self._file = run, folder / KEY_FILE
        self._key: Ed25519PrivateKey | None = None
        self._receipts: OrderedDict[Decided, Receipt] = OrderedDict()
        self._filled: dict[Decided, dict[int, tuple[int, int]]] = {}
        """Decision -> column -> (signed lots, their value in micro-currency) of its fills."""
        self._baskets: OrderedDict[tuple[str, int, int], Decided] = OrderedDict()
        """(shadow or empty, sample, n) of a basket -> the decision whose orders it has."""
        self._pending: dict[Decided, bool] = {}
        """Decisions of the batch that is being written -> whether they are of an outside agent."""
        self._texts: dict[Decided, str] = {}
        self._topics: set[str] = set()

    @property
    def pending(self) -> bool:
        """Whether the batch that is being written has decisions."""
        return bool(self._pending)

    def find(self, agent: str, id: str) -> str:
        """The newest receipt of a decision, as text; empty for one that this process has not signed."""
        return self._texts.get((agent, id), "")

    def add(self, state: State, seq: int, event: Event, effects: Sequence[Effect]) -> None:
        """Take step `seq`. `state` is that after the steps of its batch."""
        touched: dict[Decided, str] = {}
        if isinstance(event, Proposed) and not event.by_hand:
            touched[event.agent, event.id] = plan_digest(event, own_effects(effects))
        elif isinstance(event, ProposalReviewed):
            touched[event.agent, event.id] = event.plan
        for decided in self._in_effects(state, effects, touched):
            touched.setdefault(decided, "")
        for decided, plan in touched.items():
            earlier = self._receipts.get(decided)
            if earlier is None and not isinstance(event, Proposed | ProposalReviewed):
                continue  # it was decided before this process began
            self._receipts[decided] = self._composed(state, seq, event, effects, decided, plan or _plan_of(earlier))
            self._receipts.move_to_end(decided)
            self._pending[decided] = state.rules.outside_seat(decided[0]) is not None
        while len(self._receipts) > KEPT:
            oldest, _ = self._receipts.popitem(last=False)
            for kept in (self._filled, self._pending, self._texts):
                kept.pop(oldest, None)

    def _in_effects(self, state: State, effects: Sequence[Effect], touched: dict[Decided, str]) -> Iterator[Decided]:
        """The decisions that the effects of a step end, hold or fill."""
        houses = [("", effects), *((effect.name, effect.effects) for effect in effects if isinstance(effect, Shadowed))]
        for house, of_house in houses:
            for effect in of_house:
                if isinstance(effect, ProposalEnded | OrdersHeld):
                    yield effect.agent, effect.id
                elif isinstance(effect, OrderBasket) and effect.cause:
                    agent, _, id = effect.cause.partition("/")
                    if (agent, id) in self._receipts or (agent, id) in touched:
                        self._baskets[house, effect.sample, effect.n] = agent, id
                        while len(self._baskets) > KEPT:
                            self._baskets.popitem(last=False)
                        yield agent, id
                elif isinstance(effect, Filled) and (house, effect.sample, effect.n) in self._baskets:
                    decided = self._baskets[house, effect.sample, effect.n]
                    self._fill(state, decided, effect)
                    yield decided

    def _fill(self, state: State, decided: Decided, fill: Filled) -> None:
        """Add the part of a decision's book in fills of its orders."""
        if (place := place_of_book(state, decided[0])) is None:
            return
        sums = self._filled.setdefault(decided, {})
        for column, price_nano, shares in zip(fill.sym, fill.price_nano, fill.shares, strict=True):
            lots = sum(part for who, part in shares if who == place[1])
            worth = lots * state.universe.lot_nano[column] * price_nano * MICRO // NANO**2
            before = sums.get(column, (0, 0))
            sums[column] = before[0] + lots, before[1] + worth

    def _composed(
        self, state: State, seq: int, event: Event, effects: Sequence[Effect], decided: Decided, plan: str
    ) -> Receipt:
        """The receipt of a decision after step `seq`, not yet with the end of the journal."""
        (agent, id), universe, log_of = decided, state.universe, state.outside.get(decided[0])
        verdict = None if log_of is None else log_of.find(id)
        refused = next((effect.text for effect in own_effects(effects) if isinstance(effect, Refused)), "")
        if isinstance(event, Proposed) and refused and (verdict is None or verdict.ts != event.ts):
            verdict = None  # an order that is refused whole leaves its id free, and no verdict
        sums = self._filled.get(decided, {})
        return Receipt(
            run=self._run,
            agent=agent,
            id=id,
            time=instant_text(state.now),
            plan=plan,
            outcome="refused" if verdict is None else verdict.outcome,
            text=refused if verdict is None else verdict.why,
            symbols=[_symbol(universe, line) for line in ([] if verdict is None else verdict.symbols[:SYMBOLS])],
            fills=[_filled_text(universe, column, *sums[column]) for column in sorted(sums)],
            entry=seq,
        )

    def signed(self, head: Head, root: str) -> list[Message]:
        """Sign the receipts of the batch that was written as the row `head`; returns the messages for the bus."""
        pending, self._pending = self._pending, {}
        messages = []
        for decided, outside in pending.items():
            if (text := self._signed(replace(self._receipts[decided], row=head.number, head=head.hash.hex()))) is None:
                break
            self._texts[decided] = text
            if outside and (decided[0] in self._topics or len(self._topics) < TOPICS):
                self._topics.add(decided[0])
                id = f"{self._run}-{head.number}-receipt-{decided[0]}"
                messages.append(Message(id, f"{root}/agents/{decided[0]}/receipt", text.encode(), True))
        return messages

    def _signed(self, receipt: Receipt) -> str | None:
        """A receipt as text; None where the key cannot be read or made."""
        from quantd.models.artifacts.signature import KeyFault, new_key, private_key

        try:
            if self._key is None:
                self._key = private_key(self._file) if self._file.exists() else new_key(self._file)
            return sealed(receipt, self._key)
        except (KeyFault, OSError) as why:
            log.error("receipts.unsigned", error=str(why), consequence="answers have no receipt")
            return None


def _plan_of(earlier: Receipt | None) -> str:
    return "" if earlier is None else earlier.plan


def _symbol(universe: Universe, line: SymbolVerdict) -> SymbolDecided:
    asked, passed = (quantity_text(lots, universe.lot_nano[line.symbol]) for lots in (line.asked, line.passed))
    text = line.why or (OF_CODE[line.code].text if line.code else "")
    return SymbolDecided(universe.symbols[line.symbol], line.outcome, asked, passed, text)


def _filled_text(universe: Universe, column: int, lots: int, micro: int) -> FilledSoFar:
    return FilledSoFar(universe.symbols[column], quantity_text(lots, universe.lot_nano[column]), money_text(micro))


def _receipt_fold(service: "Service") -> Add:
    return lambda seq, event, effects: service.receipts.add(service.shell.unsettled, seq, event, effects)


RECEIPTS: Final = StepFold("receipts", 80, _receipt_fold, effects_only=True)
