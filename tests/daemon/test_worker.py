"""A policy in a process of its own answers as it would in line, and one that is late or dies takes nobody with it."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from daemon.deadline import Deadline
from daemon.policies import answer
from daemon.worker import Worker, ask_of, needs_worker, question_of
from risk.limits import PROFILES
from strategies.policies import POLICIES
from tests.daemon.worker_policies import Dying, Hanging, Remembering
from tests.engine_world import World, block, walk
from trading.effects import Ask
from trading.events import Decided
from trading.ports import Policy
from trading.view import View

DAYS = 25


def world(policy: Policy) -> World:
    made = World(block(walk(DAYS, 3, 1)), [lambda v: [0.3, 0.3, 0.3]], house=PROFILES["research"])
    made.policies = [policy]  # type: ignore[list-item]
    return made


def asks(policy: Policy) -> list[Ask]:
    """The questions of one run, kept as they would travel: a view is over once the market moves on."""
    seen: list[Ask] = []
    made = world(policy)

    def ask(question: Ask) -> Decided:
        seen.append(ask_of(question_of(question, policy.lookback)))
        return answer(policy, question)

    made.shell.answer = ask
    made.run()
    return seen


@pytest.fixture
def closing() -> Iterator[list[Worker | Deadline]]:
    opened: list[Worker | Deadline] = []
    yield opened
    for each in opened:
        each.close()


def test_a_run_with_a_worker_is_the_run_in_line(closing: list[Worker | Deadline]) -> None:
    straight = world(Remembering()).run()
    made = world(Remembering())
    deadline = Deadline([Remembering()], limit_s=30.0)
    closing.append(deadline)
    deadline.start()
    made.shell.answer = deadline
    made.run()
    assert made.shell.digest.hexdigest() == straight.shell.digest.hexdigest()
    assert any(straight.shell.state.ledger.books[0].lots)
    assert deadline.waited_s > 0.0


def test_what_travels_is_all_of_the_view() -> None:
    ask = asks(Remembering())[-1]
    again = ask_of(question_of(ask, 5))
    for name in ("cash", "equity", "time", "sample", "samples"):
        assert getattr(again.view, name) == getattr(ask.view, name)
    for name in ("prices", "weights"):
        np.testing.assert_array_equal(getattr(again.view, name), getattr(ask.view, name))
    np.testing.assert_array_equal(again.view.returns(5), ask.view.returns(5))
    np.testing.assert_array_equal(again.view.returns(2), ask.view.returns(2))
    np.testing.assert_array_equal(again.view.synchronous(5), ask.view.synchronous(5))
    assert again.view.universe == ask.view.universe
    assert set(View.__slots__) == {
        "_bars", "_end", "_macro", "_ring", "_rows", "cash", "equity", "prices", "sample", "time", "universe", "weights",
    }  # fmt: skip
    with pytest.raises(ValueError, match="its own lookback, 5"):
        again.view.returns(6)


def test_one_that_hangs_is_killed_at_its_deadline_and_answers_again(closing: list[Worker | Deadline]) -> None:
    questions = asks(Remembering())
    policy = Hanging(at=questions[3].view.time)
    worker = Worker(policy)
    closing.append(worker)
    assert not worker.ask(questions[2], 30.0).failed
    began = time.monotonic()
    late = worker.ask(questions[3], 0.3)
    assert time.monotonic() - began < 5.0
    assert late.failed == "no answer within 0.3 s; its process is started anew"
    assert late.weights is None
    assert worker.ask(questions[4], 30.0).weights == answer(policy, questions[4]).weights


def test_one_whose_process_ends_is_started_anew(closing: list[Worker | Deadline]) -> None:
    questions = asks(Remembering())
    policy = Dying(at=questions[3].view.time)
    worker = Worker(policy)
    closing.append(worker)
    assert worker.ask(questions[3], 30.0).failed == "its process ended; it is started anew for the next question"
    assert worker.ask(questions[4], 30.0).weights == answer(policy, questions[4]).weights


def test_a_process_ends_with_its_worker() -> None:
    worker = Worker(Remembering())
    worker.start()
    process = worker._process
    assert process is not None
    assert process.poll() is None
    del worker
    assert process.poll() is not None


def test_constrained_policies_ask_for_a_worker_and_answer_there_as_in_line(closing: list[Worker | Deadline]) -> None:
    policy = POLICIES["min_variance"]({"lookback": 10, "constraints": {"max_turnover": 0.2}})
    assert needs_worker(policy)
    assert not needs_worker(POLICIES["min_variance"]({}))
    ask = asks(POLICIES["min_variance"]({"lookback": 10}))[-1]
    worker = Worker(policy)
    closing.append(worker)
    there, here = worker.ask(ask, 60.0), answer(policy, ask)
    assert not there.failed
    assert there == here
