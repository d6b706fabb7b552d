"""Decisions that policies failed to take: counted by agent in a run that goes on, or raised at the first one.

What can go wrong: a failed policy looks like one that holds cash. A function that raised on a third of its decisions
once got a Sharpe ratio, and a function that always raised got a flat equity. So a run in which a policy failed is no
result of that policy.

A policy fails when it raises, is late, or answers with weights that are not finite, are too large, or are not one for
each symbol. The agent then holds, and after `[risk] max_failures` failures in a row the agent is suspended.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from quantd.daemon.policies.loading import answer
from quantd.daemon.runtime.loop import Shell
from quantd.trading.display_text import session_date
from quantd.trading.effects import Ask, Effect, Shadowed, Switched
from quantd.trading.events import Decided
from quantd.trading.exit_codes import ExplainedError

SUSPENDED: Final = "suspended"
"""The reason in the `Switched` effect of an agent that was suspended."""

NO_RESULT: Final = "No verdict: a policy failed, so the figures are no result of it."
"""Replaces the verdict on a run with a failed decision."""


REMEDY: Final = 'on_error="hold" goes on as the daemon does: the agent holds, and after some failures it is suspended'
"""Second half of the message of DecisionFailed."""


class DecisionFailed(ExplainedError):
    """A policy failed to decide. The text names the date, the agent and the cause; `__cause__` is the policy's
    exception.

    `reason` has the date and the cause only, with the line of the user's file.
    """

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason or text


class Unanswered(ExplainedError):
    """An outside agent gave no usable answer. The text has the cause and the number of answers so far; the run ends."""


class AgentFailures(Struct, frozen=True):
    """Failed decisions of one agent: their number, and the date and text of the first one.

    `decisions` is the number of all its decisions. `suspended` is the date after which the agent was not asked any
    more, empty where it was not suspended. `text` states everything in one line.
    """

    agent: str
    failed: int
    decisions: int
    first: str
    reason: str
    suspended: str
    text: str


def failures_of(agent: str, failed: int, decisions: int, first: str, reason: str, suspended: str) -> AgentFailures:
    """Return an agent's failures with a text such as "trend failed on 111 of 333 decisions, first 2024-03-05: ..."."""
    count = f"{failed:,} of {decisions:,} decision{'' if decisions == 1 else 's'}"
    end = f"; suspended {suspended}, not asked after that date" if suspended else ""
    text = f"{agent} failed on {count}, first {first}: {reason}{end}"
    return AgentFailures(agent, failed, decisions, first, reason, suspended, text)


class FailureCount:
    """Counts the decisions of each agent and those that failed, from the questions and events of a run."""

    def __init__(self) -> None:
        self._asked: dict[int, int] = {}
        self._failed: dict[int, int] = {}
        self._first: dict[int, tuple[str, str]] = {}
        """Date and text of the first failure of each agent."""
        self._suspended: dict[int, str] = {}
        """Date on which each agent was suspended."""
        self._last: dict[int, int] = {}
        """Instant of the newest question to each agent (ns UTC)."""

    def asked(self, agent: int, ts: int, questions: int = 1) -> None:
        """Count `questions` to an agent, the last one at the instant `ts` (ns UTC)."""
        self._asked[agent] = self._asked.get(agent, 0) + questions
        self._last[agent] = ts

    def decided(self, answer: Decided, effects: Sequence[Effect]) -> None:
        """Count an answer of a policy. The `effects` of its step show whether the policy failed or was suspended."""
        if not answer.failed:
            return
        agent = answer.agent
        date = session_text(self._last[agent]) if agent in self._last else ""
        self._failed[agent] = self._failed.get(agent, 0) + 1
        self._first.setdefault(agent, (date, answer.failed))
        if any(map(_suspends, effects)):
            self._suspended[agent] = date

    def of(self, names: Sequence[str]) -> tuple[AgentFailures, ...]:
        """Return the failures of each agent that failed; `names` has the agents, then the shadow (untraded) agents."""
        return tuple(
            failures_of(names[k], count, self._asked.get(k, count), *self._first[k], self._suspended.get(k, ""))
            for k, count in sorted(self._failed.items())
        )


def _suspends(effect: Effect) -> bool:
    """Return True for an effect that suspends an agent or, inside a Shadowed effect, a shadow (untraded) agent."""
    if isinstance(effect, Shadowed):
        return any(map(_suspends, effect.effects))
    return isinstance(effect, Switched) and effect.reason == SUSPENDED


def date_of(ask: Ask) -> str:
    return session_text(ask.view.time)


def session_text(ts: int) -> str:
    """Return the session date of a question at an instant (ns UTC)."""
    return session_date(ts - 1).isoformat()  # 1 ns earlier: a session that ends at midnight has the earlier date


def stop_at_failure(shell: Shell, names: Sequence[str], *, every: bool = True) -> None:
    """Make a run raise DecisionFailed at the first failed decision, caused by the policy's exception.

    It raises Unanswered when an outside agent gives no usable answer. Without `every` it stops there only, and at other
    failures the agent holds.
    """

    def stop(ask: Ask, text: str, error: BaseException) -> None:
        if isinstance(error, Unanswered):
            raise error
        if every:
            day, name = date_of(ask), names[ask.agent]
            raise DecisionFailed(f"{day}: agent {name} failed: {text}; {REMEDY}", f"{day}: {text}") from error

    def decide(ask: Ask) -> Decided:
        # `seats` returns the policy of a policy number
        return answer(shell.seats(ask.policy), ask, stop)

    shell.answer = decide
