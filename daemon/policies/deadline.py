"""Calls policies. A policy with a part in a separate process is called in a thread, so that the loop keeps running.

Policy files, slow solvers and the graphs of trained policies run in separate processes. Each call has a deadline, which
includes the start of a new process. When the process is late or ends, its agent's answer is a failure. Backtests have
neither processes nor deadlines.

What can go wrong. Two threads would fill the same rows of the market's history at once: so the rows are filled before
the thread is started. A member of an ensemble may hang at every call while the other members answer: its fault
overrides their answer, so that the agent is suspended. A command that stops trading would wait for a policy: so it
withdraws the question, and the agent keeps its positions, without a failure.

`withdraw` ends the process. The caller still waits for the thread, because the thread reads the market, which a step
would change.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

from quantd.daemon.policies.isolation.worker import LIMIT_S, Worker
from quantd.daemon.policies.loading import answer
from quantd.daemon.policies.predictions import Predictions
from quantd.daemon.policies.user_file import UserPolicy
from quantd.models.isolation.graph_process import FarGraph
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
        """Prepares the policy's process for a new call."""

    def withdraw(self) -> None:
        """Cancels the present call: a thread that waits for it continues at once."""

    def close(self) -> None:
        """Kills the process of a policy; a further call starts it again."""


def isolated(policy: Policy) -> list[Isolated]:
    processes: dict[int, Isolated] = {}
    for leaf in leaves(policy):
        if isinstance(leaf, Worker):
            processes[id(leaf)] = leaf
        for session in getattr(leaf, "sessions", ()):
            if isinstance(session, FarGraph):
                processes[id(session.process)] = session.process
    return list(processes.values())


WITHDRAWN: Final = "the question was withdrawn: what stops trading came first"
"""The note of an answer that a command to stop trading replaced."""


class Deadline:
    """Answers every question (Ask) to a policy: at once, or in a thread when the policy has a separate process."""

    def __init__(
        self,
        policies: Sequence[Policy],
        limit_s: float = LIMIT_S,
        *,
        max_failures: int = 3,
        seated: Callable[[int], Policy] | None = None,
        method: Callable[[int], str] = str,
    ) -> None:
        """`limit_s` is the deadline of a call in seconds; `max_failures` in a row suspend an agent.

        `policies` are the configured policies; the index of one is called its seat. `seated` returns the policy that
        decides for a seat now, which may be an artifact loaded since; `method` returns the name of that policy for the
        metrics. Raises TypeError for a policy file that was loaded without a separate process.
        """
        if any(isinstance(leaf, UserPolicy) for policy in policies for leaf in leaves(policy)):
            raise TypeError("a policy file was loaded without a separate process; load it with `isolation`")
        self._policies = policies
        self._seated = policies.__getitem__ if seated is None else seated
        self._method = method
        self._processes_by_seat: dict[int, tuple[Policy, list[Isolated]]] = {}
        """Seat (index of a configured policy) -> the policy that decided for it last, and that policy's processes."""
        self._threads = ThreadPoolExecutor(max(1, len(policies)), "quantd-policy")
        self._asked: dict[tuple[int, int], Future[Decided]] = {}
        """(number of the round, agent) -> the call of its policy in a thread, until its answer is fetched."""
        self.limit_s = limit_s
        self._max_failures = max_failures
        self.predictions = Predictions()
        for policy_index, policy in enumerate(policies):
            self._register_processes(policy_index, policy)

    @property
    def workers(self) -> list[Isolated]:
        return [process for _, processes in self._processes_by_seat.values() for process in processes]

    def close(self, *, keep: bool = False) -> None:
        """Ends the processes of policies, unless `keep` is set, and then the threads that call them."""
        ended = [] if keep else self.workers
        for worker in ended:
            worker.withdraw()  # first: a thread that waits for its process would block `shutdown`
        self._threads.shutdown()
        for worker in ended:
            worker.close()

    def __call__(self, question: Ask) -> Decided:
        """Call the policy in this thread and return its answer; blocks until the deadline at most."""
        for worker in self._workers_of(question.policy):
            worker.expect()
        return self._answer(question)

    def _register_processes(self, policy_index: int, policy: Policy) -> list[Isolated]:
        """Note that `policy` decides in place of the configured policy `policy_index`; give its processes the deadline,
        and return them."""
        processes = isolated(policy)
        for process in processes:
            process.limit_s = self.limit_s
            if isinstance(process, Worker):
                process.max_failures = self._max_failures
        self._processes_by_seat[policy_index] = policy, processes
        return processes

    def _workers_of(self, policy_index: int) -> list[Isolated]:
        """The processes of the policy that now decides in place of the configured policy `policy_index` (its seat).

        If that policy has changed since the last call, the processes of the earlier one are ended first.
        """
        policy = self._seated(policy_index)
        last_policy, processes = self._processes_by_seat[policy_index]
        if policy is last_policy:
            return processes
        for process in processes:
            process.close()
        return self._register_processes(policy_index, policy)

    def begin(self, question: Ask) -> bool:
        """Starts a policy's call when the policy has a separate process; returns whether it has one.

        Without one, nothing is started: the caller then asks the policy in its own thread.
        """
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
        """The future answer of a policy's call that `begin` started."""
        return self._asked.pop((question.round, question.agent))

    def withdraw(self, question: Ask) -> Decided:
        """Ends the processes of a policy's call.

        Returns the answer to use instead: the agent keeps its positions, without a failure.
        """
        for worker in self._processes_by_seat[question.policy][1]:
            worker.withdraw()
        return Decided(question.round, question.agent, note=WITHDRAWN)

    def _answer(self, question: Ask) -> Decided:
        began = time.perf_counter()
        method = self._method(question.policy)
        decided = answer(self._seated(question.policy), question)
        fault = next((process.fault for process in self._processes_by_seat[question.policy][1] if process.fault), "")
        if fault:  # overrides the answer of other members: a policy that hangs at every call must be suspended
            decided = Decided(question.round, question.agent, failed=fault)
        self.predictions.add(question, decided, time.perf_counter() - began, "decision", method)
        return decided
