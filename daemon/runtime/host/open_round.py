"""A round whose answers are awaited, because a policy runs in a process of its own.

The fold, the engine's compiled fast path, returns after the questions. Each answer is taken in the order of the
questions, and recorded as `step` (in Python) would record it: only the last answer has effects, the effects of the
plan. An answer that contains more than weights, or an event that comes while an answer is awaited, gives the round to
`step`, with the answers so far.

What can go wrong: an event, such as a halt, comes while an answer is awaited. The state must then be as `step` has it
in the middle of a round. So the answers so far are applied again by the handler, in their order, before the event is.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np

from quantd.daemon.engine.agents.promotion import note_decision
from quantd.daemon.engine.rounds import on_decided
from quantd.daemon.engine.state.engine_state import Round
from quantd.daemon.runtime.host.fold_calls import FoldCalls
from quantd.trading.effects import Ask
from quantd.trading.events import Decided, Event


class OpenRound:
    """The present round (decision of all agents) of a host: the agents asked, the answers taken so far, and the
    questions and answers that follow the awaited answer."""

    def __init__(self, host: FoldCalls) -> None:
        self._host = host
        self.awaits = False
        """Whether an answer is awaited."""
        self._asked: list[int] = []
        self._taken: list[Decided] = []
        self._queue: deque[Event | Ask] = deque()

    def ask(self, asks: Sequence[Ask]) -> list[Decided] | None:
        """The answers of all agents to `asks`; None where an answer is awaited.

        A recorded answer is taken first. Without a recorded one, the separate process of a policy is asked, and its
        answer is awaited. A policy without a process is called at once.
        """
        host = self._host
        log, answer, meanwhile = host.shell.steps, host.shell.answer, host.shell.meanwhile
        if host.state.journalled:
            host.records.effects.extend(asks)
            host.records.record(host.state.fold_items[host.state.fold_at])
        elif meanwhile is None and not host.recording:
            return [answer(ask) for ask in asks]
        answers: list[Decided | Ask] = []
        for ask in asks:
            recorded = log.answer(ask)
            awaited = recorded is None and meanwhile is not None and meanwhile.begin(ask)
            answers.append(ask if awaited else recorded or answer(ask))
        decided = [reply for reply in answers if isinstance(reply, Decided)]
        if len(decided) == len(answers):
            self._note_decisions(decided)
            return decided
        self._asked, self._taken, self._queue = [ask.agent for ask in asks], [], deque(answers)
        self.awaits = True
        self._take_answers()
        return None

    def take(self, answer: Decided) -> bool:
        """Take the awaited answer. Returns False where the round (decision of all agents) was left to `step` (in
        Python)."""
        if not self.awaits:
            return False
        self._queue.appendleft(answer)
        self._take_answers()
        return True

    def _take_answers(self) -> None:
        """Take the agents' answers until one is awaited; plan them after the last answer.

        `step` (in Python) takes over where an answer is more than weights, or where the fold (compiled fast path)
        cannot plan the answers.
        """
        host, queue = self._host, self._queue
        while True:
            answer = queue.popleft()
            if isinstance(answer, Ask):
                host.shell.wait(answer, queue)
                return
            assert isinstance(answer, Decided)
            self._note_decisions([answer])
            if queue and self._weights_only(answer):
                self._taken.append(answer)
                host.shell.steps.add(answer, ())
                continue
            self.awaits = False
            if host.state.journalled:
                host.records.logged = len(self._taken)
            if not queue and host.state.plan_answers([*self._taken, answer]):
                return
            self.give_to_step()
            host.shell.run(answer, queue)
            return

    def _note_decisions(self, answers: Sequence[Decided]) -> None:
        """Tell the pairings of champions with shadows who has decided."""
        state = self._host.state
        for answer in answers if state.pairings else ():
            if not answer.failed:
                note_decision(state, answer.agent)

    def _weights_only(self, answer: Decided) -> bool:
        """Whether an answer is only valid weights, or keeps the positions: such an answer has no effect before the
        round (the decision of all agents) is planned.

        An agent with a note of an earlier answer is excluded, because `step` (in Python) publishes the change of its
        note.
        """
        state = self._host.state
        note, weights = state.agents[answer.agent].note, answer.weights
        if answer.failed or answer.note or note:
            return False
        if weights is None:
            return True
        return len(weights) == 8 * state.universe.size and bool(np.isfinite(np.frombuffer(weights)).all())

    def give_to_step(self) -> None:
        """Leave the round (decision of all agents) to `step`, the handlers in Python, with the answers so far."""
        host = self._host
        self.awaits = False  # before `sync`, which would call this method again
        if host.state.journalled:
            host.records.logged = 0
        host.sync()
        host.state.round = Round(host.state.round_no, list(self._asked))
        for answer in self._taken:
            on_decided(host.state, answer)
