"""Users' policies asked in threads of their own, and those that say `worker = True` in processes, with a deadline: one
that never answers must not stop the daemon.

Backtests and replays have no deadline. A thread that is stuck cannot be ended in Python: its agent fails until it is
suspended, and the thread is left behind. A process is killed and started anew.
"""

import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Final

from daemon.policies import answer
from daemon.user_policy import UserPolicy
from daemon.worker import Worker, needs_worker
from trading.effects import Ask
from trading.events import Decided
from trading.ports import Policy, leaves

LIMIT_S: Final = 5.0
"""Seconds a user's policy has for an answer."""


class _Worker:
    """One policy's thread. It is a daemon thread: a stuck one does not hold up the end of the process."""

    def __init__(self, policy: Policy) -> None:
        self.stuck = False
        self._policy = policy
        self._asked: SimpleQueue[Ask] = SimpleQueue()
        self._answered: SimpleQueue[Decided] = SimpleQueue()
        self._done = threading.Event()
        threading.Thread(target=self._work, name="quantd-policy", daemon=True).start()

    def _work(self) -> None:
        while True:
            question = self._asked.get()
            self._answered.put(answer(self._policy, question))
            self._done.set()

    def ask(self, question: Ask, limit_s: float) -> Decided | None:
        """The answer, or None when it did not come in time; then this worker is stuck."""
        self._done.clear()
        self._asked.put(question)
        if not self._done.wait(limit_s):
            self.stuck = True
            return None
        return self._answered.get()


def _nothing() -> None:
    return None


def _by_a_user(policy: Policy) -> bool:
    return any(isinstance(each, UserPolicy) for each in leaves(policy))


class Deadline:
    """Answers every Ask: shipped and registered policies at once, a user's or a worker's within `limit_s` seconds."""

    def __init__(self, policies: Sequence[Policy], limit_s: float = LIMIT_S) -> None:
        self._policies = policies
        self._limit_s = limit_s
        self.waited_s = 0.0
        """Seconds spent waiting for users' and workers' policies, in which the loop stood still for a reason that is known."""
        self._workers = {k: _Worker(p) for k, p in enumerate(policies) if _by_a_user(p)}
        self._processes = {k: Worker(p) for k, p in enumerate(policies) if needs_worker(p)}

    def start(self) -> None:
        """Begin to start what takes seconds to start, before it is asked. What is inside other policies is asked in line: its
        libraries are imported now."""
        for process in self._processes.values():
            process.start()
        for k, policy in enumerate(self._policies):
            if k not in self._processes:
                for inner in leaves(policy):
                    if needs_worker(inner):
                        getattr(inner, "prepare", _nothing)()

    def close(self) -> None:
        """End the processes."""
        for process in self._processes.values():
            process.close()

    def __call__(self, question: Ask) -> Decided:
        process = self._processes.get(question.policy)
        if process is not None:
            began = time.monotonic()
            decided = process.ask(question, self._limit_s)
            self.waited_s += time.monotonic() - began
            return decided
        worker = self._workers.get(question.policy)
        if worker is None:
            return answer(self._policies[question.policy], question)
        if worker.stuck:
            return Decided(question.round, question.agent, failed="still busy with an earlier question")
        began = time.monotonic()
        found = worker.ask(question, self._limit_s)
        self.waited_s += time.monotonic() - began
        return found or Decided(question.round, question.agent, failed=f"no answer within {self._limit_s:g} s")
