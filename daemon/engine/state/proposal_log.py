"""The proposals for a portfolio or of an outside agent, which have no policy here, with their verdicts.

An id has one verdict in all books that an outside agent may trade.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import numpy as np
from msgspec import Struct, msgpack
from msgspec.structs import replace

from quantd.daemon.engine.core.lacks import NEAR, SCALED, WAITS
from quantd.daemon.engine.core.lots import AT_LIMIT, TOO_OLD
from quantd.daemon.engine.state.causes import OF_CODE
from quantd.trading.effects import Cancel, Effect, OrdersHeld, Planned, Refused, Shadowed
from quantd.trading.events import Proposed

VERDICTS_KEPT: Final = 64
"""Newest proposals of an agent whose verdicts are remembered; the journal has all of them."""

IDS_KEPT: Final = 16_384
"""Newest ids of an agent that cannot be used again: those of a day of a program that sends many orders."""

CUTS_KEPT: Final = 16
"""Cuts of a verdict that are remembered, the first ones by symbol."""

LINES_KEPT: Final = 16
"""Symbols of a verdict that are remembered once the agent has proposed again; the newest verdict has all of them."""

Outcome = Literal[
    "passed", "cut", "nothing", "waits", "refused", "approval", "declined", "lapsed", "withdrawn", "replaced"
]


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


SymbolOutcome = Literal["traded", "unchanged", "cut", "skipped", "refused"]


class SymbolVerdict(Struct, frozen=True):
    """What became of a proposal in one column: the signed lots that it asked for, and those that passed.

    `skipped`: the symbol did not reach the limits, and `why` is the reason. `code` is that of the cause (`causes`) that
    `cut` or `refused` it, and `house` True for a limit of the whole account.
    """

    symbol: int
    outcome: SymbolOutcome
    asked: int = 0
    passed: int = 0
    code: int = 0
    house: bool = False
    why: str = ""


class ProposalVerdict(Struct, frozen=True):
    """What became of a proposal in the book `book`.

    `passed`: every order passed. `cut`: limits cut some of its lots, or a symbol was skipped. `nothing`: no position
    had to change. `waits`: open orders or stops are cancelled first, or the engine holds its orders, and `why` says
    for which price. `refused`: nothing passed; if nothing was planned,
    `why` is the reason. `approval`: it waits for a person until the next sample, after which it is `declined`,
    `lapsed`, or has one of the first five outcomes. `orders` is the number of symbols with orders that were sent, or
    crosses (trades between agents). `cancels` is the number of open orders that were cancelled first; their symbols are
    traded at a later sample. `symbols` has each symbol with a target or a trade.
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
    symbols: list[SymbolVerdict] = []


class ProposalLog(Struct):
    """The newest proposal ids of one sender's book, and the verdicts on its newest proposals, oldest first."""

    ids: dict[str, int] = {}
    """Id -> the instant of its proposal, ns UTC, oldest first."""
    verdicts: list[ProposalVerdict] = []
    orders: tuple[int, int, int] = (0, 0, 0)
    """Orders of a program that were sent, and refused, since the last alert about them, and its instant."""

    def note(self, verdict: ProposalVerdict) -> None:
        self.ids[verdict.id] = verdict.ts
        while len(self.ids) > IDS_KEPT:
            del self.ids[next(iter(self.ids))]
        earlier = self.verdicts[1 - VERDICTS_KEPT :]
        if earlier:
            earlier[-1] = replace(earlier[-1], symbols=earlier[-1].symbols[:LINES_KEPT])
        self.verdicts = [*earlier, verdict]

    def settle(self, verdict: ProposalVerdict) -> None:
        """Replace the remembered verdict of the proposal with the same id."""
        self.verdicts = [verdict if earlier.id == verdict.id else earlier for earlier in self.verdicts]

    def ended(self, why: str) -> "ProposalLog":
        """A log in which each proposal that still waits for a person or for a first price has lapsed, because `why`."""
        waits = [v.outcome == "approval" or (v.outcome == "waits" and bool(v.why)) for v in self.verdicts]
        return ProposalLog(
            self.ids,
            [replace(v, outcome="lapsed", why=why) if w else v for v, w in zip(self.verdicts, waits, strict=True)],
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


def targets_bytes(proposal: Proposed) -> bytes:
    """The weights or the orders of a proposal with its conditions, by which a repetition of its id is told from a new
    one."""
    conditions = (proposal.whole, proposal.expires, proposal.plan)
    return (proposal.weights or msgpack.encode(proposal.orders)) + (
        msgpack.encode(conditions) if any(conditions) else b""
    )


def verdict_of(
    proposal: Proposed,
    book: str,
    shadow: bool,
    number: int,
    effects: Sequence[Effect],
    skips: Mapping[int, str],
    scaled: Mapping[int, int],
) -> ProposalVerdict:
    """The verdict on a proposal for the agent with index `number` of a house, from the `effects` of the proposal.

    A house is the whole account, or a `shadow` (an agent on paper); `book` is the name of the agent. A cut is a
    reduction of lots by a limit. A proposal has either weights or lots, as bytes. `skips` maps the column of a symbol
    whose target may need a trade that is not planned to the reason, `scaled` that of a target that the agent's exposure
    limits make smaller to the lots to trade without them.
    """
    house_effects = own_effects(effects)
    plans = plans_of(house_effects)
    cancels = sum(isinstance(effect, Cancel) for effect in house_effects)
    refused = next((effect.text for effect in house_effects if isinstance(effect, Refused)), "")
    scaled = {} if refused else scaled
    cuts = cuts_by_scale(scaled, plans) + [
        cut for plan in plans for who, cut in cuts_of(plan) if cut.house or who == number
    ]
    held = next((effect.why for effect in house_effects if isinstance(effect, OrdersHeld)), "")
    if held:
        skips = {wish.symbol: held for wish in proposal.orders}
    # most of a scaled target never follows
    last = {cut.symbol: cut for cut in cuts if cut.code != WAITS or cut.symbol not in scaled}
    symbols = _symbols(proposal, plans, last, skips, refused, scaled)
    ends = {line.outcome for line in symbols}
    orders = sum(line.passed != 0 for line in symbols)
    outcome: Outcome = "cut" if ends & {"cut", "skipped", "refused"} else "passed" if orders else "nothing"
    if refused or (outcome == "cut" and not orders):
        outcome = "refused"
    if held or (cancels and not orders and not refused):
        outcome = "waits"  # for a first price, or for the end of cancelled orders
    return ProposalVerdict(
        ts=proposal.ts,
        id=proposal.id,
        who=proposal.who,
        reason=proposal.reason,
        book=book,
        shadow=shadow,
        outcome=outcome,
        why=refused or held,
        orders=orders,
        cuts=cuts[:CUTS_KEPT],
        cuts_left_out=max(0, len(cuts) - CUTS_KEPT),
        targets=targets_bytes(proposal),
        cancels=cancels,
        symbols=symbols,
    )


def _symbols(
    proposal: Proposed,
    plans: Sequence[Planned],
    cuts: Mapping[int, LotCut],
    skips: Mapping[int, str],
    refused: str,
    scaled: Mapping[int, int],
) -> list[SymbolVerdict]:
    """The symbols of a proposal that have a target or a trade, in the order of the universe.

    `cuts` maps a column to its last cut, `skips` to the reason why it is not planned, `scaled` to the lots to trade
    for the weights themselves. `refused` is the reason why the whole proposal was refused, else empty.
    """
    named = set(np.flatnonzero(np.frombuffer(proposal.weights)).tolist()) | {wish.symbol for wish in proposal.orders}
    asked = _sums(lots for plan in plans for part in plan.agents for lots in (part.asked, part.kept))
    passed = _sums(plan.allowed for plan in plans)
    lines = []
    for k in sorted(named | {k for k, lots in asked.items() if lots}):
        cut, totals = cuts.get(k), (scaled.get(k, asked[k]), passed[k])
        if refused:
            lines.append(SymbolVerdict(k, "refused", why=refused))
        elif not totals[0]:
            lines.append(SymbolVerdict(k, "skipped" if k in skips else "unchanged", why=skips.get(k, "")))
        elif cut is None:
            lines.append(SymbolVerdict(k, "traded", *totals))
        elif not totals[1] and cut.code in (WAITS, NEAR, TOO_OLD):
            lines.append(SymbolVerdict(k, "skipped", *totals, why=OF_CODE[cut.code].text))
        else:
            lines.append(SymbolVerdict(k, "cut" if totals[1] else "refused", *totals, cut.code, cut.house))
    return lines


def _sums(packed: Iterable[bytes]) -> Counter[int]:
    """Column -> sum of its lots, of arrays int64[N] as bytes."""
    sums: Counter[int] = Counter()
    for lots in (np.frombuffer(array, dtype=np.int64) for array in packed):
        for k in np.flatnonzero(lots).tolist():
            sums[k] += int(lots[k])
    return sums


def cuts_by_scale(scaled: Mapping[int, int], plans: Sequence[Planned]) -> list[LotCut]:
    """The cuts of targets that exposure limits make smaller, before any limit is asked: column -> lots to trade without
    them (`scaled_out`), against what the plans ask for."""
    asked = _sums(lots for plan in plans for part in plan.agents for lots in (part.asked, part.kept))
    return [
        LotCut(k, lots, asked[k] if asked[k] * lots > 0 else 0, SCALED, False)
        for k, lots in scaled.items()
        if asked[k] != lots
    ]


def cuts_of(plan: Planned) -> list[tuple[int, LotCut]]:
    """(agent, cut) of what each agent's plan keeps back and of what its limits cut, then (-1, cut) of each cut by the
    limits of the whole account."""
    cuts: list[tuple[int, LotCut]] = []
    stages = [(part.agent, part.asked, part.allowed, part.reason, part.kept) for part in plan.agents]
    stages.append((-1, plan.net, plan.allowed, plan.reason, b""))
    for who, asked_lots, allowed_lots, codes, kept_lots in stages:
        asked, allowed = (np.frombuffer(lots, dtype=np.int64) for lots in (asked_lots, allowed_lots))
        code = np.frombuffer(codes, dtype=np.int8)
        kept = np.frombuffer(kept_lots, dtype=np.int64) if kept_lots else np.zeros_like(asked)
        both = (code == AT_LIMIT) & (asked != allowed)  # one cause: the limit that the position is near
        for k in np.flatnonzero((kept != 0) & ~both).tolist():
            cause = NEAR if code[k] == AT_LIMIT else TOO_OLD if code[k] == TOO_OLD else WAITS
            cuts.append((who, LotCut(k, int(asked[k] + kept[k]), int(asked[k]), cause, False)))
        wanted = asked + np.where(both, kept, 0)
        cuts += [
            (who, LotCut(k, int(wanted[k]), int(allowed[k]), int(code[k]), who < 0))
            for k in np.flatnonzero(asked != allowed).tolist()
        ]
    return cuts
