"""Calls policies. Those with a part in a separate process are called in a thread, so that the loop keeps running.

Policy files, slow solvers and the graphs of trained policies are such parts. Each has a deadline, which contains a new
load of its process; when it is late or ends, its agent's answer is a failure. Backtests have neither processes nor
deadlines.

What can go wrong: two threads fill the same rows of the market's history at once. They are filled before the thread is
started. A member of an ensemble hangs at every call while the others answer. Its fault overrides their answer, so that
the agent is suspended. A command that stops trading waits for a policy. It withdraws the question; the agent then
holds, without a failure.

`withdraw` ends the process, and the caller still waits for the thread: it reads the market, which a step would change.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

from quantd.daemon.policies.isolation.graph_process import FarGraph
from quantd.daemon.policies.isolation.worker import LIMIT_S, Worker
from quantd.daemon.policies.loading import answer
from quantd.daemon.policies.predictions import Predictions
from quantd.daemon.policies.user_file import UserPolicy
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from quantd.trading.ports import Policy, leaves


class Isolated(Protocol):
    """A process that computes a part of a policy."""

    limit_s: float
    """Seconds within which it must answer."""

    fault: str
    """Failure of the process during the last call; empty without one."""

    def expect(self) -> None:
        """Prepares for a new call."""

    def withdraw(self) -> None:
        """Cancels the present call: a thread that waits for it continues at once."""

    def close(self) -> None:
        """Kills the process; a further call starts it again."""


def isolated(policy: Policy) -> list[Isolated]:
    """The processes of a policy, each once."""
    processes: dict[int, Isolated] = {}
    for leaf in leaves(policy):
        if isinstance(leaf, Worker):
            processes[id(leaf)] = leaf
        for session in getattr(leaf, "sessions", ()):
            if isinstance(session, FarGraph):
                processes[id(session.process)] = session.process
    return list(processes.values())


WITHDRAWN: Final = "the question was withdrawn: what stops trading came first"


class Deadline:
    """Answers every Ask: at once, or in a thread when the policy has workers."""

    def __init__(
        self,
        policies: Sequence[Policy],
        limit_s: float = LIMIT_S,
        *,
        max_failures: int = 3,
        seated: Callable[[int], Policy] | None = None,
        method: Callable[[int], str] = str,
    ) -> None:
        """`max_failures` in a row suspend an agent.

        `seated` gives the policy that decides for a seat now, an artifact in place of that of `policies`, and `method`
        its name for the metrics. Raises TypeError for a policy from a file, which needs a process of its own.
        """
        if any(isinstance(leaf, UserPolicy) for policy in policies for leaf in leaves(policy)):
            raise TypeError("a policy file is asked in a process of its own; load it with `isolation`")
        self._policies = policies
        self._seated = policies.__getitem__ if seated is None else seated
        self._method = method
        self._processes: dict[int, tuple[Policy, list[Isolated]]] = {}
        """Seat -> the policy that decided for it last, and its processes."""
        self._threads = ThreadPoolExecutor(max(1, len(policies)), "quantd-policy")
        self._asked: dict[tuple[int, int], Future[Decided]] = {}
        self.limit_s = limit_s
        self._max_failures = max_failures
        self.predictions = Predictions()
        for policy_number, policy in enumerate(policies):
            self._take(policy_number, policy)

    @property
    def workers(self) -> list[Isolated]:
        """The processes of all policies."""
        return [process for _, processes in self._processes.values() for process in processes]

    def close(self, *, keep: bool = False) -> None:
        """Ends the processes, unless they are kept, then the threads that wait for them."""
        ended = [] if keep else self.workers
        for worker in ended:
            worker.withdraw()
        self._threads.shutdown()
        for worker in ended:
            worker.close()

    def __call__(self, question: Ask) -> Decided:
        """The answer; blocks until the deadline at most."""
        for worker in self._workers_of(question.policy):
            worker.expect()
        return self._answer(question)

    def _take(self, policy_number: int, policy: Policy) -> list[Isolated]:
        processes = isolated(policy)
        for process in processes:
            process.limit_s = self.limit_s
            if isinstance(process, Worker):
                process.max_failures = self._max_failures
        self._processes[policy_number] = policy, processes
        return processes

    def _workers_of(self, policy_number: int) -> list[Isolated]:
        """The processes that decide for a seat. Those of a policy that was replaced end."""
        policy = self._seated(policy_number)
        decided, processes = self._processes[policy_number]
        if policy is decided:
            return processes
        for process in processes:
            process.close()
        return self._take(policy_number, policy)

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
        for worker in self._processes[question.policy][1]:
            worker.withdraw()
        return Decided(question.round, question.agent, note=WITHDRAWN)

    def _answer(self, question: Ask) -> Decided:
        began = time.perf_counter()
        method = self._method(question.policy)
        decided = answer(self._seated(question.policy), question)
        fault = next((process.fault for process in self._processes[question.policy][1] if process.fault), "")
        if fault:  # overrides the answer of other members: a policy that hangs at every call must be suspended
            decided = Decided(question.round, question.agent, failed=fault)
        self.predictions.add(question, decided, time.perf_counter() - began, "decision", method)
        return decided
