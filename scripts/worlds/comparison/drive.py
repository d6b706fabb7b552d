"""Drives the engine through one world and records what it does."""

import os
import traceback
from itertools import groupby
from typing import Any

from msgspec.structs import replace

from quantd.daemon.engine.planning.buying_power import counted
from quantd.daemon.runtime.outbound import Wire
from quantd.trading.events import Busted, Carried, Event, Reconciled, Reloaded, Started, Tick
from quantd.trading.sessions import DAY_NS

from ..engine import Rules, Shell, State, accounts_of, answer, carry_of, freeze, unfit
from ..stories import BUST, CARRY, RESTART, THAW, at_venue
from ..timeline import is_market
from ..venue import Far
from ..world import World, world_of
from .journal import ACCOUNT, Record

HISTORY = 80
"""Market items before a carry-over that the new run takes as its warm-up."""


class Drive:
    """One world with the engine that runs it."""

    def __init__(self, world: World, record: Record) -> None:
        self.world, self.record = world, record
        self.taken: list[Any] = []
        """The last items of the market."""
        self.far = Far(world)
        self.shell: Any = self.begin(world.rules)

    def begin(self, rules: Rules) -> Any:
        """An engine in its first state, with new venues."""
        world = self.world
        shadows = [world.venue(k) for k in range(len(rules.shadows))]
        options: dict[str, Any] = {"interval_ns": world.interval_ns, "log": self.record, "shadows": shadows}
        options["remote"] = world.far
        return Shell(State(rules), Wire() if world.far else world.venue(), self.ask, **options)

    def ask(self, question: Any) -> Any:
        return answer(self.world.policies[question.policy], question)

    def run(self) -> None:
        """Run all items."""
        for market, items in groupby(self.world.items, key=is_market):
            if market:
                self.take(list(items))
                continue
            for item in items:
                self.follow(item)

    def take(self, items: list[Any]) -> None:
        """Give an engine consecutive items of the market, in one call where the world does."""
        self.taken = [*self.taken, *items][-HISTORY:]
        if self.world.together and not self.world.far:
            self.shell.take_all(items)
            self.note_fold()
            return
        for item in items:
            self.shell.take(item)
            if self.world.far:
                self.hear(item)
        self.note_fold()

    def hear(self, item: Any) -> None:
        """Give a venue across a network an item and the requests so far; step what it reports."""
        for news in [*self.far.moved(item), *self.far.answers(self.shell.outgoing())]:
            self.shell.run(news)
        if self.world.power and is_market(item):
            state = self.shell.state
            power = int(self.world.power * max(state.ledger.house.cash_micro, 0))
            news = Reconciled(self.shell.ts, at_venue(state), None, power, counted=counted(state))
            self.shell.run(news)

    def note_fold(self) -> None:
        """Note what the fold took, where the engine has one."""
        state = self.shell.state
        for name in ("bars", "samples", "rounds"):
            if getattr(state, f"{name}_taken", 0):
                self.record.features.hit(f"{name} in the fold")

    def follow(self, item: Any) -> None:
        """Do one item that is not of the market."""
        if item == THAW:
            self.thaw()
        elif item == RESTART:
            self.thaw()
            names = self.world.rules.names()
            changed = names[self.shell.ts // 1_000_000_000 % len(names)]
            self.shell.run(self.started(self.shell.ts, {changed: str(self.shell.ts)}))
        elif item == CARRY:
            self.carry()
        elif item == BUST:
            self.bust()
        elif (event := item(self.shell.state) if callable(item) else item) is not None:
            self.event(event)

    def event(self, event: Event) -> None:
        self.shell.run(event)
        if self.world.far:
            self.hear(event)
        if type(event) is Reloaded:
            self.world.rules = self.shell.state.rules

    def thaw(self) -> None:
        """Save the run and continue it from the snapshot in new objects."""
        kept, rules = self.shell.keep(), self.shell.state.rules
        self.shell = self.begin(rules)
        self.shell.restore(rules, kept)
        self.record.features.hit("frozen and thawed")

    def started(self, ts: int, changed: dict[str, str]) -> Started:
        """The next start, with the artifacts of now and those that `changed`."""
        artifacts = self.shell.state.artifacts | changed
        loaded = tuple(name for name in self.shell.state.loaded if name not in changed)
        symbols = self.world.rules.universe.symbols
        return Started(
            ts=ts, run="r", version="", lock="", config="", feed="", symbols=symbols, artifacts=artifacts, blas="",
            loaded=loaded,
        )  # fmt: skip

    def carry(self) -> None:
        """Carry the account over into a new run, if it can be, after the newest items as the warm-up."""
        old, rules = self.shell, self.world.rules
        names = [agent.name for agent in rules.agents]
        try:
            account = carry_of(freeze(old.state), rules.universe, names, simulated=True)
        except ValueError:
            self.record.features.hit("carry-over: not now")
            return
        after = reversed_agents(rules) if old.ts // DAY_NS % 2 else rules
        if unfit(account, after):
            return
        warm = [replace(item, warmup=True, due=(), jobs=()) if type(item) is Tick else item for item in self.taken]
        first = min((item.ts_event if hasattr(item, "ts_event") else item.ts for item in warm), default=old.ts) - 1
        self.world.rules, started = after, self.started(first, {})
        self.shell = self.begin(after)
        self.shell.run(started)
        self.shell.run(Carried(first, "r", account, old.ts, old.ts, started.loaded))
        for item in warm:
            self.shell.take(item)
        self.record.features.hit("carry-over: in another order" if after is not rules else "carry-over: as before")

    def bust(self) -> None:
        """Let the venue cancel the last fill, or correct its price."""
        last, state = self.record.last, self.shell.state
        if last is None or (work := state.basket((last.sample, last.n))) is None:
            return
        price, row = last.price_nano[-1], work.basket.sym.index(last.sym[-1])
        lots, kept = abs(last.lots[-1]), (last.sample % 7) % 2
        new = {"new_lots": lots * kept, "new_price_nano": (price + 10_000) * kept}
        self.shell.run(Busted(last.sample, last.n, self.shell.ts, row, lots, price, **new, id=f"b{last.ts}"))

    def finish(self) -> None:
        """Record the accounts, the counts and the digest at the end."""
        shell, record = self.shell, self.record
        for book in accounts_of(shell.state):
            record.end("Account", [getattr(book, name) for name in ACCOUNT])
        record.end("Equity", [shell.state.equity_micro, shell.state.books_micro])
        counts = [getattr(shell.tally, name) for name in shell.tally.__struct_fields__]
        record.end("Tally", [count for count in counts if isinstance(count, int)])
        record.end("Digest", [shell.digest.hexdigest()])
        record.features.note_world(self.world, accounts_of(shell.state))


def reversed_agents(rules: Rules) -> Rules:
    """The rules with the agents in the opposite order; the same ones where others refer to them by number."""
    if rules.shadows or rules.outside or len(rules.agents) < 2:
        return rules
    return replace(rules, agents=rules.agents[::-1])


def drive(seed: int, *, journal: bool = False) -> Record:
    """Run the world of a seed; an exception ends it, and is recorded."""
    record = Record(journal, rows_only=seed % 2 == 1 and not journal)
    world = world_of(seed)
    record.features.begin(world)
    run = Drive(world, record)
    try:
        run.run()
        run.finish()
    except Exception as error:
        record.end("Error", [type(error).__name__, str(error)])
        record.features.hit(f"error: {type(error).__name__}: {str(error)[:60]}")
        if os.environ.get("COMPARE_ENGINES_TRACE"):
            traceback.print_exc()
    return record
