"""A round whose answers are awaited, because a policy runs in a process of its own.

The fold returns after the questions. Each answer is taken as it comes, in the order of the questions, and recorded as
`step` would: an answer before the last has no effect, the last one has the plan. An answer with more than weights, or
an event that comes between, gives the round to `step`, with the answers so far.

What can go wrong: an event, such as a halt, comes while an answer is awaited. The state must then be that of `step` in
the middle of a round. So the answers so far are applied again by the handler, in their order, before the event is.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np

from quantd.daemon.engine.rounds import on_decided
from quantd.daemon.engine.state.engine_state import Round
from quantd.daemon.runtime.host.fold_calls import FoldCalls
from quantd.trading.effects import Ask
from quantd.trading.events import Decided, Event


class OpenRound:
    """The round of a host that is asked or awaited: `asked` agents, the answers `given`, and what follows the awaited
    one."""

    def __init__(self, host: FoldCalls) -> None:
        self._host = host
        self.awaits = False
        """Whether an answer is awaited."""
        self._asked: list[int] = []
        self._given: list[Decided] = []
        self._rest: deque[Event | Ask] = deque()

    def ask(self, asks: Sequence[Ask]) -> list[Decided] | None:
        """The answers of a round; None where one is awaited."""
        host = self._host
        log, answer, meanwhile = host.shell.log, host.shell.answer, host.shell.meanwhile
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
            return decided
        self._asked, self._given, self._rest = [ask.agent for ask in asks], [], deque(answers)
        self.awaits = True
        self._go_on()
        return None

    def take(self, answer: Decided) -> bool:
        """Go on with an awaited answer; False where `step` has the round."""
        if not self.awaits:
            return False
        self._rest.appendleft(answer)
        self._go_on()
        return True

    def _go_on(self) -> None:
        """Take the answers up to an awaited one; plan them after the last."""
        host, queue = self._host, self._rest
        while True:
            answer = queue.popleft()
            if isinstance(answer, Ask):
                host.shell.wait(answer, queue)
                return
            assert isinstance(answer, Decided)
            if queue and self._plain(answer):
                self._given.append(answer)
                host.shell.log.add(answer, ())
                continue
            self.awaits = False
            if host.state.journalled:
                host.records.logged = len(self._given)
            if not queue and host.state.plan_answers([*self._given, answer]):
                return
            self.give_to_step()
            host.shell.run(answer, queue)
            return

    def _plain(self, answer: Decided) -> bool:
        """Whether an answer has no effect before the last one of its round."""
        state = self._host.state
        note, weights = state.agents[answer.agent].note, answer.weights
        if answer.failed or answer.note or note:
            return False
        if weights is None:
            return True
        return len(weights) == 8 * state.universe.size and bool(np.isfinite(np.frombuffer(weights)).all())

    def give_to_step(self) -> None:
        """Leave the round to `step`, with the answers so far."""
        host = self._host
        self.awaits = False
        if host.state.journalled:
            host.records.logged = 0
        host.sync()
        host.state.round = Round(host.state.round_no, list(self._asked))
        for answer in self._given:
            on_decided(host.state, answer)
