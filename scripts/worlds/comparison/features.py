"""Features of the engine that took effect in a world, counted from effects."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from quantd.risk.limits.catalogue import REASON_NAMES

Hit = Callable[[str], None]

KINDS: Final = ("limit", "stop", "open", "close")
ENDS: Final = {6: "cancelled", 7: "rejected", 8: "expired"}
SWITCHES: Final = ("RUN", "REDUCE", "HALT")


class Features:
    """The events of a run, and the features that took effect."""

    def __init__(self) -> None:
        self.hits: set[str] = set()
        self.events: Counter[str] = Counter()
        self.abroad: frozenset[int] = frozenset()
        """Columns on another calendar than the house's."""
        self._open: dict[tuple[int, int, int], tuple[int, int]] = {}
        """(sample, n, column) -> lots not yet filled, and the end of the order."""
        self._stops: set[tuple[int, int]] = set()
        """Baskets of protective stops at the venue."""
        self._filled = False
        """Whether an order has filled since the last item of the market."""

    def hit(self, name: str) -> None:
        self.hits.add(name)

    def begin(self, world: Any) -> None:
        """Note the market of a world."""
        calendars = [instrument.calendar for instrument in world.rules.universe.instruments]
        house = world.rules.universe.calendar
        self.abroad = frozenset(column for column, name in enumerate(calendars) if name != house)

    def note_step(self, event: Any, effects: Sequence[Any]) -> None:
        """Note an event, and the features of its effects."""
        name = type(event).__name__
        self.events[name] += 1
        if name == "ShadowReport":
            self.events[type(event.news).__name__] += 1
        if effects:
            self.hit(f"effects of: {name}")
        kinds = [type(effect).__name__ for effect in effects]
        for effect, kind in zip(effects, kinds, strict=True):
            self.hit(f"effect: {kind}")
            self._note(effect, kind, name, "")
        self._note_whole(event, name, kinds)

    def _note_whole(self, event: Any, name: str, kinds: list[str]) -> None:
        """The features of a step that no effect alone shows."""
        refused = "Refused" in kinds
        match name:
            case "MarketSlice" | "Tick":
                if self._filled and name == "Tick":
                    self.hit("fills: in a bar in progress")
                self._filled = False
            case "Reports":
                self._filled = self._filled or "Filled" in kinds
                if kinds.count("Filled") > 1:
                    self.hit("fee in the coin, in whole lots")
            case "Busted":
                if kinds.count("Filled"):
                    self.hit("trade bust" if kinds.count("Filled") == 1 else "trade corrected")
            case "Proposed" if "OrderBasket" in kinds and any(wish.limit_nano for wish in event.orders):
                self.hit("order at a price of its own")
            case "Proposed" if "Planned" in kinds and event.plan:
                self.hit("proposal after its dry run")
            case "Proposed" if "Planned" in kinds or "Shadowed" in kinds:
                self.hit("proposal of a portfolio" if event.portfolio else "proposal of an outside agent")
            case "Operator" | "ScheduleRun" | "PortfolioClosed" | "Exchanged" | "Flow" if not refused and kinds:
                what = {"Operator": "command", "ScheduleRun": "job", "PortfolioClosed": "how", "Exchanged": "command"}
                self.hit(f"{name}: {getattr(event, what.get(name, 'kind')) or 'decide'}")
            case _:
                pass

    def _note(self, effect: Any, kind: str, event: str, prefix: str) -> None:
        hit: Hit = lambda name: self.hits.add(f"{prefix}{name}")  # noqa: E731
        match kind:
            case "OrderBasket":
                self._note_orders(effect, hit)
            case "Filled":
                self._note_fills(effect, hit)
            case "Ended":
                for state in set(effect.state):
                    hit(f"order ended: {ENDS[state]}")
                if event == "NotFound":
                    hit("order ended: never sent")
            case "Planned":
                self._note_plan(effect, prefix, hit)
            case "Switched":
                hit(f"switch of the {'house' if effect.agent < 0 else 'agent'}: {SWITCHES[effect.after]}")
                hit(f"switch: {effect.reason.split(':')[0]}")
            case "Protected":
                hit(f"exit: {effect.kind}")
            case "Rested":
                hit(f"stop at the venue: {effect.kind}")
                self._stops.add((effect.sample, effect.n))
            case "Booked":
                hit(f"booked: {effect.kind}")
            case "Publish":
                alert = "limit" if effect.kind.startswith("limit_") else effect.kind
                hit(f"alert: {alert}")
                hit(f"alert: {alert}, on {event}")
            case "LimitMoved":
                for _, key, before, after, *_ in effect.moves:
                    hit(f"level of {key}: {'up' if after > before else 'down'}")
            case "Worked":
                hit(f"parent order ended: {effect.style}")
                hit(f"parent order ended: {effect.reason.split(':')[0]}")
            case "Reallocated":
                hit(f"capital moved: {effect.method}" if effect.target else "capital moved: after sales")
            case "Promotion":
                hit("promotion" if effect.promoted else "promotion refused")
            case "Refused":
                hit(f"command refused: {effect.code}")
            case "Shadowed":
                for inner in effect.effects:
                    self._note(inner, type(inner).__name__, event, "shadow: ")
            case _:
                pass

    def _note_orders(self, basket: Any, hit: Hit) -> None:
        hit("orders")
        for kind in set(basket.kind or [0]):
            hit(f"orders: {KINDS[kind]}")
        hit(f"orders: {'good till cancelled' if 0 in basket.end else 'day'}")
        if len(basket.sym) >= 20:
            hit("orders: 20 and more rows")
        for column, lots, end in zip(basket.sym, basket.lots, basket.end, strict=True):
            self._open[basket.sample, basket.n, column] = abs(lots), end

    def _note_fills(self, filled: Any, hit: Hit) -> None:
        key = filled.sample, filled.n
        hit("fills: stop at the venue" if key in self._stops else "fills")
        for column, lots, parts in zip(filled.sym, filled.lots, filled.shares, strict=True):
            open_lots, end = self._open.get((*key, column), (0, 1))
            self._open[(*key, column)] = open_lots - abs(lots), end
            if open_lots > abs(lots):
                hit("fills: partial")
            if not end:
                hit("fills: good till cancelled")
            if len(parts) > 1:
                hit("fills: shared by agents")
            if column in self.abroad:
                hit("fills: on another calendar")

    def _note_plan(self, plan: Any, prefix: str, hit: Hit) -> None:
        if plan.follow_up:
            hit("follow-up")
        if plan.portion is not None:
            hit(f"parent order: {plan.portion.style}")
        for code in set(bytes(plan.reason)) - {0}:
            self.hit(f"cut of the {prefix or 'house'}: {REASON_NAMES[code]}")
        for part in plan.agents:
            for code in set(bytes(part.reason)) - {0}:
                self.hit(f"cut of an agent: {REASON_NAMES[code]}")
            if part.scale < 1.0:
                hit("weights scaled to headroom")
            if part.policy:
                self.hit("policy of a promoted shadow decides")

    def note_world(self, world: Any, accounts: Sequence[Any]) -> None:
        """The features of a world as a whole, and of its final accounts."""
        universe, rules = world.rules.universe, world.rules
        self.hits |= world.hits
        self.hit("daily bars" if rules.daily else "intraday bars")
        self.hit(f"agents: {len(rules.agents)}")
        if universe.size >= 40:
            self.hit("symbols: 40")
        if self.abroad:
            self.hit("several calendars")
        if any(lots < 0 for lots in accounts[0].lots):
            self.hit("short position at the end")
        if any(book.cash_micro < 0 for book in accounts):
            self.hit("cash debit at the end")
