"""Deposits that schedules expect at a real venue: recognises them, divides them among agents, and reports late ones.

What can go wrong: a restart books a deposit twice, or gives the money of one month to the next. So nothing is
remembered here: the identifiers of booked cash flows (`state.venue.flows`) say which deposits have come. The identifier
of a part of a deposit has three lines: the venue's identifier, the deposit (schedule and date), and the agent.

A venue may show the money before it lists the movement. The first line is then empty, and the movement that is listed
later is the same money: only its identifier is booked. Notes of alerts are identifiers too, of flows of 0.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from quantd.daemon.engine.state import State
from quantd.daemon.runtime.schedule import DEPOSIT, Schedule, deposit_shares, due
from quantd.trading.display_text import instant_text
from quantd.trading.events import Condition, Flow
from quantd.trading.orders import money_text
from quantd.trading.sessions import DAY_NS, Sessions

KEPT_NS: Final = 60 * DAY_NS
"""How long a deposit that did not come in time is still recognised."""

LATE, OTHER = "late", "other"
"""First lines of the identifiers that note an alert: about a deposit that is late, or about cash of another amount."""


class Expected(Struct, frozen=True):
    """A deposit of a schedule that was due at `ts`, which is `amount_micro`."""

    schedule: Schedule
    ts: int
    amount_micro: int

    @property
    def name(self) -> str:
        """The schedule and the instant, which identify the deposit."""
        return f"{self.schedule.name} of {instant_text(self.ts)}"

    def near(self, now: int) -> bool:
        """Whether `now` is no further from the due instant than the schedule allows."""
        return abs(now - self.ts) <= self.schedule.within_ns


class Deposits:
    """The deposits that the schedules of a run expect, from its first start (`began`, ns UTC) on."""

    def __init__(self, schedules: Sequence[Schedule], sessions: Mapping[str, Sessions], began: int) -> None:
        self._began, self._sessions = began, sessions
        self._schedules = [schedule for schedule in schedules if schedule.do == DEPOSIT]
        self._most_ns = max((schedule.within_ns for schedule in self._schedules), default=0)

    def booked(self, state: State, flow: Flow) -> Iterator[Flow | Condition]:
        """Yield the events that book a movement at the venue. An expected deposit goes to the agents of its schedule.

        A deposit of the expected amount may come early, by as much as the schedule allows for a late one. The first
        deposit of another amount in the time from the due instant on counts as it: the agents get at most what was
        expected, the rest is unallocated, and a WARNING names both amounts.
        """
        if not self._schedules or flow.kind != "flow" or flow.amount_micro <= 0 or flow.units_nano:
            yield flow
            return
        ids = _ids(state)
        if any(id == flow.id for id, _ in ids):
            return  # the venue lists it again
        unlisted = {name for id, name in ids if not id} - {name for id, name in ids if id not in ("", LATE, OTHER)}
        known = self._expected(flow.ts)
        equal = [expected for expected in known if expected.amount_micro == flow.amount_micro]
        if (before := next((expected for expected in equal if expected.name in unlisted), None)) is not None:
            yield _note(flow.ts, flow.id, before)
            return
        waiting = [
            e
            for e in known
            if flow.ts >= (e.ts - e.schedule.within_ns if e in equal else e.ts)
            and (e in equal or e.near(flow.ts))
            and not _has_come(ids, e)
        ]
        if waiting:
            best = min(waiting, key=lambda e: (e not in equal, not e.near(flow.ts), e.ts))
            yield from _parts_of(state, flow, best)
        else:
            yield flow

    def seen(self, state: State, lots: list[int], cash_micro: int, now: int) -> Iterator[Flow | Condition]:
        """Yield the events of a difference in cash alone, the venue's less ours, that an expected deposit explains.

        The venue has not listed the movement yet. Cash of another amount is no deposit; one WARNING names the deposit.
        """
        if any(lots) or cash_micro <= 0:
            return
        ids = _ids(state)
        near = [e for e in self._expected(now) if e.near(now) and not _has_come(ids, e)]
        tolerance = state.rules.cash_tolerance_micro
        equal = next((e for e in near if abs(cash_micro - e.amount_micro) <= tolerance), None)
        if equal is not None:
            yield from _parts_of(state, Flow(now, equal.amount_micro, "venue"), equal)
        elif near and near[0].ts <= now and (OTHER, near[0].name) not in ids:
            text = f"the account has {money_text(cash_micro)} more than the books, which is not booked as it"
            yield _alert(now, near[0], text, up=False)
            yield _note(now, OTHER, near[0])

    def late(self, state: State, now: int) -> Iterator[Flow | Condition]:
        """Yield one alert for each deposit that has not come in time."""
        ids = _ids(state)
        for expected in self._expected(now):
            is_late = now > expected.ts + expected.schedule.within_ns
            if is_late and (LATE, expected.name) not in ids and not _has_come(ids, expected):
                days = expected.schedule.within_ns / DAY_NS
                yield _alert(now, expected, f"has not come within {days:g} days", up=False)
                yield _note(now, LATE, expected)

    def _expected(self, now: int) -> list[Expected]:
        """The deposits of the last KEPT_NS, and those that may come early, oldest first."""
        since = max(self._began, now - KEPT_NS)
        instants = due(self._schedules, self._sessions, since, now + self._most_ns)
        return [Expected(self._schedules[k], ts, self._schedules[k].amount_micro or 0) for ts, k in instants]


def _parts_of(state: State, flow: Flow, expected: Expected) -> Iterator[Flow | Condition]:
    """Yield the part of each book, and an alert that names the deposit."""
    shares = dict(deposit_shares(state.rules, expected.schedule, min(flow.amount_micro, expected.amount_micro)))
    more = flow.amount_micro - expected.amount_micro
    shares[""] = shares.get("", 0) + max(0, more)
    shares = {agent: micro for agent, micro in shares.items() if micro}
    for agent, micro in shares.items():
        id = f"{flow.id}\n{expected.name}\n{agent}"
        yield replace(flow, amount_micro=micro, agent=agent, reason=expected.name, id=id)
    into = ", ".join(f"{money_text(micro)} {agent or 'unallocated'}" for agent, micro in shares.items())
    other = f", {money_text(abs(more))} {'more' if more > 0 else 'less'} than expected" if more else ""
    yield _alert(flow.ts, expected, f"{money_text(flow.amount_micro)} came{other}: {into}", up=not more)


def _ids(state: State) -> list[tuple[str, str]]:
    """(venue's identifier, deposit) of each booked part of a deposit, and of each note."""
    return [(lines[0], lines[1]) for id in state.venue.flows if len(lines := id.split("\n")) > 1]


def _has_come(ids: list[tuple[str, str]], expected: Expected) -> bool:
    return any(name == expected.name and id not in (LATE, OTHER) for id, name in ids)


def _note(ts: int, id: str, expected: Expected) -> Flow:
    """A flow of 0, which books its identifier and nothing else."""
    return Flow(ts, 0, "venue", "interest", f"{id}\n{expected.name}\n")


def _alert(ts: int, expected: Expected, text: str, *, up: bool) -> Condition:
    text = f"deposit {expected.name}, {money_text(expected.amount_micro)}: {text}"
    return Condition(ts, "job", up, text, job=DEPOSIT)
