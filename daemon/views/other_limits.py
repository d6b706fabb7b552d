"""The course of a run under another limit: its journal taken again from the first step, with one limit changed.

Repeated are the market, the commands, cash movements and proposals of the record, each at its time. Decided again are
the policies' answers, the orders, and the fills of the simulated venue.

What can go wrong: the new course is compared with a record that no longer follows from this code, data or policies. So
the run is first taken again under its own limits, and the result tells whether that gave its recorded equity.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from quantd.daemon.assembly.parts import Assembly, Parts, as_recorded, limits_of_config, parts_of
from quantd.daemon.engine.state.settings import Rules
from quantd.daemon.engine.state.snapshot import limits_from
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.recovery.replay import Records, Watched, first_start, refold, saved_config
from quantd.daemon.runtime.journal import Journal
from quantd.daemon.views.overview import SWITCH
from quantd.risk.limits.catalogue import LIMITS, override, value_of
from quantd.trading.codec import decode
from quantd.trading.display_text import figure, instant_text
from quantd.trading.effects import Effect, Switched, Valued
from quantd.trading.events import Decided, Event, External, Reloaded, ShadowReport, VenueNews
from quantd.trading.exit_codes import USAGE, ExplainedError
from quantd.trading.instruments import MICRO
from quantd.trading.orders import money_text

FOLLOWS: Final[tuple[type, ...]] = (Decided, ShadowReport, *get_args(VenueNews))
"""Events that follow from other ones: a changed course has its own."""

SAME: Final = (
    "The bars, costs, policies and the other limits are those of the run; halts, resumes, orders, cash movements and "
    "proposals of persons and outside agents happen at their recorded times."
)
NOT_SAME: Final = (
    "A person might have acted otherwise after another course, and a proposal or a cancel that no longer fits is "
    "refused; policies decide again from the positions of the new course, and fills are simulated."
)


class NoOtherCourse(ExplainedError):
    """The run cannot be taken again under another limit; the text is the reason with a remedy."""

    exit_code = USAGE


class Turn(Struct, frozen=True):
    """One change of a trading switch: of the whole account, or of an agent."""

    ts: int
    time: str
    who: str
    switch: str
    reason: str


class Course(Struct, frozen=True):
    """One course of a run: its last equity, its largest drawdown at a sample, and the changes of its switches."""

    equity: str
    drawdown: float
    turns: list[Turn]


class OtherCourse(Struct, frozen=True):
    """A run as it was recorded, and as it would have been with one limit changed from its first step on.

    `exact` says that the run, taken again under its own limits, gave its recorded equity. `sentence` is the comparison
    as text, `same` and `not_same` are what both courses share and what they do not.
    """

    run: str
    limit: str
    last: str
    recorded: Course
    other: Course
    exact: bool
    sentence: str
    same: str = SAME
    not_same: str = NOT_SAME

    def lines(self) -> list[str]:
        """The comparison as lines of text."""
        exact = "gives its recorded equity" if self.exact else "does NOT give its recorded equity: trust neither figure"
        courses = (("recorded", self.recorded), (self.limit, self.other))
        return [
            self.sentence,
            *(f"  {name}: equity {c.equity}, largest drawdown {c.drawdown:.2%}" for name, c in courses),
            *(f"    {turn.time} {turn.who} {turn.switch}: {turn.reason}" for turn in self.other.turns),
            f"  The run, taken again under its own limits, {exact}.",
            f"  The same: {self.same}",
            f"  Not the same: {self.not_same}",
        ]


class Notes:
    """The turns and equities of a course, from the effects of its steps."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names, self.turns, self.valued, self.drawdown = names, list[Turn](), Valued(0, 0, 0, [], 0.0, 0.0), 0.0

    def add(self, effects: Sequence[Effect]) -> None:
        """Note the changes of switches and the valuations among the effects of a step."""
        for effect in effects:
            if isinstance(effect, Switched) and effect.before != effect.after:
                who = "the account" if effect.agent < 0 else self._names[effect.agent]
                self.turns.append(Turn(effect.ts, instant_text(effect.ts), who, SWITCH[effect.after], effect.reason))
            elif isinstance(effect, Valued):
                self.valued, self.drawdown = effect, max(self.drawdown, effect.drawdown)

    def course(self) -> Course:
        """The course as noted so far."""
        return Course(money_text(self.valued.equity_micro), self.drawdown, self.turns)


class Again(Journal):
    """A journal whose causes are taken again: each recorded cause once, without a comparison of its effects."""

    def __init__(
        self, entries: Iterable[bytes], seq: int, live: bool, notes: Notes, changed: Callable[[bytes], bytes]
    ) -> None:
        self._notes, self._changed = notes, changed
        super().__init__(entries, seq, live)
        self._pass_over()

    def _pass_over(self) -> None:
        """Leave out the recorded events that the new course makes itself."""
        while self._ahead and isinstance(self._ahead[0][1], FOLLOWS):
            self._ahead.popleft()
            self._pull()

    def outside(self) -> External | None:
        event = super().outside()
        return self._with_change(event) if isinstance(event, Reloaded) else event

    def cause(self, computed_types: tuple[type, ...]) -> Any:
        event = super().cause(computed_types)
        return self._with_change(event) if isinstance(event, Reloaded) else event

    def _with_change(self, event: Reloaded) -> Reloaded:
        later = self._changed(event.later) if event.later else b""
        return replace(event, limits=self._changed(event.limits) if event.limits else b"", later=later)

    def answer(self, ask: object) -> Decided | None:
        return None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Note the effects of a step, and go on to the next recorded cause after a cause."""
        self._notes.add(effects)
        if not isinstance(event, FOLLOWS) and self._ahead:
            self._ahead.popleft()
            self._pull()
            self._pass_over()


def other_course(records: Records, run: str, folder: Path, change: str, watched: Watched = iter) -> OtherCourse:
    """Take a run again under its own limits, and with `change`, KEY=VALUE of one limit, from its first step on.

    `folder` is the state folder. Raises NoOtherCourse for a run at a real venue or without its bars, and for a key
    that is no limit; ConfigError for a value that the configuration refuses.
    """
    first = first_start(records, run)
    if first is None:
        raise NoOtherCourse(f"the journal of run {run} does not begin with a start; name another run")
    parts = parts_of(saved_config(folder, first.config), first.ts, cache=folder / "cache", isolation=Apart(folder))
    parts = as_recorded(parts, first.feed)
    if isinstance(parts, Assembly) and parts.market != first.feed:
        raise NoOtherCourse(f"the bars of run {run} differ from its record; put the file of [feed] path back")
    if parts.shell(hashed=False).remote:
        raise NoOtherCourse(f"run {run} trades at a venue, whose fills of other orders nobody knows; name a paper run")
    config = saved_config(folder, first.config, (change,))
    place = limit_place(parts.rules, change.partition("=")[0].strip())
    changed = partial(with_limit, place, limits_of_config(parts, config))

    def course(change_of: Callable[[bytes], bytes]) -> Notes:
        notes = Notes([agent.name for agent in parts.rules.agents])

        def journal_of(entries: Iterable[bytes], seq: int, under: Parts) -> Journal:
            return Again(entries, seq, under.live, notes, change_of)

        refold(parts, records, run, folder, journal_of=journal_of, watched=watched, hashed=False)
        return notes

    again, other = course(bytes), course(changed)
    recorded = _last_recorded(records, run)
    text = _sentence(change, again, other)
    last = instant_text(other.valued.ts)
    return OtherCourse(run, change, last, again.course(), other.course(), again.valued == recorded, text)


def _last_recorded(records: Records, run: str) -> Valued | None:
    """The last valuation in the journal of a run."""
    newest = b""
    for _, data in records.entries(run, 1):
        newest = data if b"Valued" in data else newest
    if not newest:
        return None
    return next((effect for effect in decode(newest).effects[::-1] if isinstance(effect, Valued)), None)


def limit_place(rules: Rules, key: str) -> tuple[int, str]:
    """(index of the agent, -1 for the whole account; name of the limit) of a key. Raises NoOtherCourse."""
    table, _, inner = key.partition(".")
    names = [agent.name for agent in rules.agents]
    owner, _, inner = inner.rpartition(".limits.") if table == "agents" else ("", "", inner)
    if table == "manual":
        owner, inner = "manual", inner.removeprefix("limits.")
    name = inner.partition(".")[0]
    limit = next((known for known in (name, f"{name}_ns") if known in LIMITS), "")
    if not limit or table not in ("risk", "agents", "manual") or (table != "risk" and owner not in names):
        text = "is no limit; name one such as risk.max_drawdown=0.15 or agents.NAME.limits.max_drawdown=0.15"
        raise NoOtherCourse(f"{key} {text}")
    return (names.index(owner) if owner else -1), limit


def with_limit(place: tuple[int, str], source: Rules, limits: bytes) -> bytes:
    """Encoded `limits` with the limit at `place` (see `limit_place`) as the rules `source` have it."""
    (owner, name), new = place, limits_from(limits)
    value = value_of(source.house if owner < 0 else source.agents[owner].limits, name)
    if owner < 0:
        return msgspec.msgpack.encode(replace(new, house=override(new.house, **{name: value})))
    agents = list(new.agents)
    agents[owner] = override(agents[owner][0], **{name: value}), agents[owner][1]
    return msgspec.msgpack.encode(replace(new, agents=tuple(agents)))


def _sentence(change: str, own: Notes, other: Notes) -> str:
    """The two courses in one sentence: the first halt, and both ends."""
    key, _, value = change.partition("=")
    ended, would = (figure(course.valued.equity_micro / MICRO, "money") for course in (own, other))
    end = f"ended at {would} on {instant_text(other.valued.ts)[:10]}"
    if other.turns == own.turns and other.valued == own.valued:
        return f"With {key} {value} this account would have had the same course: it {end}."
    new = next((turn for turn in other.turns if turn.switch == "HALT" and turn not in own.turns), None)
    new = new or next((turn for turn in other.turns if turn.switch != "RUN" and turn not in own.turns), None)
    gone = next((turn for turn in own.turns if turn.switch != "RUN" and turn not in other.turns), None)
    moved = ""
    if new is not None:
        house, verb = new.who == "the account", "halted" if new.switch == "HALT" else "gone to REDUCE"
        moved = f"{'this account' if house else f'the agent {new.who}'} would have {verb} on {new.time[:10]} "
        moved += f"({new.reason}) and " if house else f"({new.reason}), and this account would have "
    elif gone is not None:
        moved = f"the {gone.switch} of {gone.who} on {gone.time[:10]} would not have come, and this account would have "
    return f"With {key} {value} {moved or 'this account would have '}{end}, instead of {ended}."
