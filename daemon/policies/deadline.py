"""Calls policies. Those with a part in a separate process are called in a thread, so that the loop keeps running.

Each such part has a deadline; when it is late or ends, its agent's answer is a failure. Backtests and replays have
neither processes nor deadlines.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from quantd.daemon.policies.isolation.worker import LIMIT_S, Worker
from quantd.daemon.policies.loading import answer
from quantd.daemon.policies.predictions import Predictions
from quantd.daemon.policies.user_file import UserPolicy
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from quantd.trading.ports import Policy, leaves

WITHDRAWN: Final = "the question was withdrawn: what stops trading came first"


class Deadline:
    """Answers every Ask: at once, or in a thread when the policy has workers."""

    def __init__(
        self,
        policies: Sequence[Policy],
        limit_s: float = LIMIT_S,
        *,
        seated: Callable[[int], Policy] | None = None,
        method: Callable[[int], str] = str,
    ) -> None:
        """`seated` gives the policy that decides for a seat now, an artifact in place of that of `policies`, and
        `method` its name for the metrics."""
        if any(isinstance(leaf, UserPolicy) for policy in policies for leaf in leaves(policy)):
            raise TypeError("a policy file is asked in a process of its own; load it with `apart`")
        self._policies = policies
        self._seated = policies.__getitem__ if seated is None else seated
        self._method = method
        workers = {k: [leaf for leaf in leaves(p) if isinstance(leaf, Worker)] for k, p in enumerate(policies)}
        self._workers = {k: found for k, found in workers.items() if found}
        self._threads = ThreadPoolExecutor(max(1, len(self._workers)), "quantd-policy")
        self._asked: dict[tuple[int, int], Future[Decided]] = {}
        self.limit_s = limit_s
        self.predictions = Predictions()
        for worker in self.workers:
            worker.limit_s = limit_s

    @property
    def workers(self) -> list[Worker]:
        """The workers of all policies."""
        return [worker for found in self._workers.values() for worker in found]

    def close(self) -> None:
        """Ends the processes, then the threads that wait for them."""
        for worker in self.workers:
            worker.withdraw()
        self._threads.shutdown()
        for worker in self.workers:
            worker.close()

    def __call__(self, question: Ask) -> Decided:
        """The answer; blocks until the deadline at most."""
        for worker in self._workers_of(question.policy):
            worker.expect()
        return self._answer(question)

    def _workers_of(self, seat: int) -> Sequence[Worker]:
        """The workers that decide for a seat. Those of a policy that was replaced end."""
        workers = self._workers.get(seat, ())
        if workers and self._seated(seat) is not self._policies[seat]:
            for worker in self._workers.pop(seat):
                worker.close()
            return ()
        return workers

    def begin(self, question: Ask) -> bool:
        """Starts a call when the policy has a separate process; returns whether it has one."""
        workers = self._workers_of(question.policy)
        if not workers:
            return False
        # fills new rows here, so that two threads do not fill them at once
        question.view.returns(1)
        question.view.synchronous(1)
        for worker in workers:
            worker.expect()
        self._asked[question.round, question.agent] = self._threads.submit(self._answer, question)
        return True

    def answer_of(self, question: Ask) -> "Future[Decided]":
        """The future answer of a call that was started."""
        return self._asked.pop((question.round, question.agent))

    def withdraw(self, question: Ask) -> Decided:
        """Ends the processes of a call. Returns the replacement answer: the agent holds, without a failure."""
        for worker in self._workers[question.policy]:
            worker.withdraw()
        return Decided(question.round, question.agent, note=WITHDRAWN)

    def _answer(self, question: Ask) -> Decided:
        began = time.perf_counter()
        method = self._method(question.policy)
        decided = answer(self._seated(question.policy), question)
        fault = next((each.fault for each in self._workers.get(question.policy, ()) if each.fault), "")
        if fault:  # overrides the answer of other members: a policy that hangs at every call must be suspended
            decided = Decided(question.round, question.agent, failed=fault)
        self.predictions.add(question, decided, time.perf_counter() - began, "decision", method)
        return decided
