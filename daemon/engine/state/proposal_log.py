"""The proposals of an outside agent, which decides by proposals and has no policy here, with their verdicts.

An id has one verdict in all portfolios that the agent may trade.
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from quantd.trading.effects import Cancel, Effect, Planned, Refused, Shadowed
from quantd.trading.events import Proposed

VERDICTS_KEPT: Final = 64
"""Newest proposals of an agent whose verdicts are remembered; the journal has all of them."""

IDS_KEPT: Final = 1024
"""Newest ids of an agent that cannot be used again."""

CUTS_KEPT: Final = 16
"""Cuts of a verdict that are remembered, the first ones by symbol."""

Outcome = Literal["passed", "cut", "nothing", "waits", "refused", "approval", "declined", "lapsed"]


class LotCut(Struct, frozen=True):
    """A cut of a proposal in one column: the signed lots that it asked for, and those that the limit allowed.

    `code` is the reason code of the limit. `house` is True for a limit of the whole account, False for one
    of the agent.
    """

    symbol: int
    asked: int
    allowed: int
    code: int
    house: bool


class ProposalVerdict(Struct, frozen=True):
    """What became of a proposal in the book `book`.

    `passed`: every order passed. `cut`: limits cut some or all of its lots. `nothing`: no position had to change.
    `waits`: open orders or stops are cancelled first. `refused`: nothing was planned, `why` is the reason. `approval`:
    it waits for a person until the next sample, after which it is `declined`, `lapsed`, or has one of the first four
    outcomes. `orders` is the number of symbols with orders or crosses (trades between agents). `cancels` is the number
    of open orders that were cancelled first; their symbols are traded at a later sample.
    """

    ts: int
    id: str
    who: str
    reason: str
    book: str
    shadow: bool
    outcome: Outcome
    why: str = ""
    orders: int = 0
    cuts: list[LotCut] = []
    cuts_left_out: int = 0
    targets: bytes = b""
    cancels: int = 0


class ProposalLog(Struct):
    """The newest proposal ids of one outside agent, and the verdicts on its newest proposals, oldest first."""

    ids: list[str] = []
    verdicts: list[ProposalVerdict] = []

    def note(self, verdict: ProposalVerdict) -> None:
        self.ids = [*self.ids[1 - IDS_KEPT :], verdict.id]
        self.verdicts = [*self.verdicts[1 - VERDICTS_KEPT :], verdict]

    def settle(self, verdict: ProposalVerdict) -> None:
        """Replace the remembered verdict of the proposal with the same id."""
        self.verdicts = [verdict if earlier.id == verdict.id else earlier for earlier in self.verdicts]

    def ended(self, why: str) -> "ProposalLog":
        """A log in which each proposal that still waits for a person has lapsed, for the reason `why`."""
        return ProposalLog(
            self.ids,
            [replace(v, outcome="lapsed", why=why) if v.outcome == "approval" else v for v in self.verdicts],
        )

    def find(self, name: str) -> ProposalVerdict | None:
        """The remembered verdict on the proposal with the id `name`; None if there is none."""
        return next((verdict for verdict in reversed(self.verdicts) if verdict.id == name), None)


def own_effects(effects: Sequence[Effect]) -> list[Effect]:
    """The effects of an event without wrappers: effects of a shadow (agent on paper) are taken out of `Shadowed`."""
    unwrapped: list[Effect] = []
    for effect in effects:
        unwrapped.extend(effect.effects if isinstance(effect, Shadowed) else (effect,))
    return unwrapped


def plans_of(effects: Sequence[Effect]) -> list[Planned]:
    """The plans of decisions among effects; plans of child orders are left out."""
    return [effect for effect in effects if isinstance(effect, Planned) and not effect.of_child]


def verdict_of(proposal: Proposed, book: str, shadow: bool, number: int, effects: Sequence[Effect]) -> ProposalVerdict:
    """The verdict on a proposal for the agent with index `number` of a house, from the `effects` of the proposal.

    A house is the whole account, or a `shadow` (an agent on paper); `book` is the name of the agent. A cut is a
    reduction of lots by a limit. A proposal has either weights or lots, as bytes.
    """
    house_effects = own_effects(effects)
    plans = plans_of(house_effects)
    cuts = [cut for plan in plans for who, cut in cuts_of(plan) if cut.house or who == number]
    passed_lots = sum((np.frombuffer(part.allowed, dtype=np.int64) for p in plans for part in p.agents), np.int64(0))
    cancels = sum(isinstance(effect, Cancel) for effect in house_effects)
    outcome: Outcome = "cut" if cuts else "passed"
    refused = next((effect for effect in house_effects if isinstance(effect, Refused)), None)
    if refused is not None:
        outcome = "refused"
    elif not plans:
        outcome = "waits" if cancels else "nothing"  # it waits for the end of cancelled orders
    return ProposalVerdict(
        ts=proposal.ts,
        id=proposal.id,
        who=proposal.who,
        reason=proposal.reason,
        book=book,
        shadow=shadow,
        outcome=outcome,
        why="" if refused is None else refused.text,
        orders=int(np.count_nonzero(passed_lots)),
        cuts=cuts[:CUTS_KEPT],
        cuts_left_out=max(0, len(cuts) - CUTS_KEPT),
        targets=proposal.weights + proposal.lots,
        cancels=cancels,
    )


def cuts_of(plan: Planned) -> list[tuple[int, LotCut]]:
    """(agent, cut) of each cut by an agent's limits, then (-1, cut) of each cut by the limits of the whole account."""
    stages = [(part.agent, part.asked, part.allowed, part.reason) for part in plan.agents]
    stages.append((-1, plan.net, plan.allowed, plan.reason))
    cuts = []
    for who, asked_lots, allowed_lots, codes in stages:
        asked, allowed = (np.frombuffer(lots, dtype=np.int64) for lots in (asked_lots, allowed_lots))
        code = np.frombuffer(codes, dtype=np.int8)
        cuts += [
            (who, LotCut(k, int(asked[k]), int(allowed[k]), int(code[k]), who < 0))
            for k in np.flatnonzero(asked != allowed).tolist()
        ]
    return cuts
