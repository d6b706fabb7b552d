"""A policy in a process of its own, for those that say `worker = True`: a solver that takes its time, or the interpreter's
lock, does so where the loop is not.

The process is this module, `python -m daemon.worker`. It is handed one policy, then one question at a time; what it
answers is what the policy would answer in line. One that is late is killed and started anew. It ends with its parent:
when its input does.
"""

import os
import pickle
import select
import signal
import subprocess
import sys
import time
import weakref
from struct import Struct as Layout
from typing import IO, Final

import msgspec
import numpy as np
from msgspec import Struct

from daemon.policies import PackedMemory, answer
from trading.effects import Ask
from trading.events import Decided
from trading.instruments import Universe
from trading.market import Floats, Ring
from trading.ports import Policy
from trading.view import View

START_S: Final = 60.0
"""Seconds a process has to start: libraries of solvers take several to import."""

_LENGTH: Final = Layout("<Q")


class Question(Struct, frozen=True):
    """An Ask as it travels: all of the view that a policy with its lookback may read, by value, but for bars and macro series: no
    policy that asks for a process of its own reads them."""

    round: int
    agent: int
    universe: Universe
    returns: bytes
    synchronous: bytes
    prices: bytes
    weights: bytes
    cash: float
    equity: float
    time: int
    sample: int
    samples: int
    memory: PackedMemory


def needs_worker(policy: Policy) -> bool:
    """Whether a policy asks to be run in a process of its own."""
    return bool(getattr(policy, "worker", False))


def question_of(ask: Ask, lookback: int) -> Question:
    view = ask.view
    return Question(
        round=ask.round,
        agent=ask.agent,
        universe=view.universe,
        returns=view.returns(lookback).astype("<f8").tobytes(),
        synchronous=view.synchronous(lookback).astype("<f8").tobytes(),
        prices=view.prices.astype("<f8").tobytes(),
        weights=view.weights.astype("<f8").tobytes(),
        cash=view.cash,
        equity=view.equity,
        time=view.time,
        sample=view.sample,
        samples=view.samples,
        memory={k: (v.shape, np.asarray(v).astype("<f8").tobytes()) for k, v in ask.memory.items()},
    )


def ask_of(question: Question) -> Ask:
    """The same Ask, on a view whose history is the returns that were sent."""
    size = len(question.universe.symbols)
    view = View(
        universe=question.universe,
        ring=_sent(question.returns, size, question.samples),
        by_date=_sent(question.synchronous, size, question.samples),
        prices=np.frombuffer(question.prices, dtype="<f8"),
        weights=np.frombuffer(question.weights, dtype="<f8"),
        cash=question.cash,
        equity=question.equity,
        time=question.time,
        sample=question.sample,
    )
    memory = {k: np.frombuffer(data, dtype="<f8").reshape(shape) for k, (shape, data) in question.memory.items()}
    return Ask(question.round, question.agent, view, memory)


def _sent(returns: bytes, size: int, count: int) -> "Sent":
    return Sent(np.frombuffer(returns, dtype="<f8").reshape(-1, size), count)


class Sent(Ring):
    """A history that was sent: nothing is added to it."""

    def __init__(self, returns: Floats, count: int) -> None:
        super().__init__(returns.shape[1], 1)
        self.count = count
        self.lookback = len(returns)
        self.sent = returns

    def returns(self, k: int) -> Floats:
        if not 1 <= k <= self.lookback:
            raise ValueError(f"returns({k}): a policy in a worker sees its own lookback, {self.lookback} samples")
        return self.sent[-k:]


class Worker:
    """One policy's process, started when it is first asked or by `start`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = pickle.dumps(policy)
        self._lookback = policy.lookback
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._end: weakref.finalize[[subprocess.Popen[bytes]], Worker] | None = None

    def start(self) -> None:
        """Begin to start the process, without waiting."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "daemon.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._end = weakref.finalize(self, _end, self._process)
        _send(_pipe(self._process.stdin), self._policy)

    def ask(self, question: Ask, limit_s: float) -> Decided:
        """The answer; one that says why there is none when it did not come in time, or the process ended."""
        try:
            self.start()
            assert self._process is not None
            source = _pipe(self._process.stdout)
            if not self._ready:
                said = _receive(source, time.monotonic() + START_S)
                if said is None:
                    return self._failed(question, f"its process was not ready within {START_S:g} s")
                self._ready = True
            sent = msgspec.msgpack.encode(question_of(question, self._lookback))
            _send(_pipe(self._process.stdin), sent)
            found = _receive(source, time.monotonic() + limit_s)
        except (OSError, EOFError):
            return self._failed(question, "its process ended; it is started anew for the next question")
        if found is None:
            return self._failed(question, f"no answer within {limit_s:g} s; its process is started anew")
        return msgspec.msgpack.decode(found, type=Decided)

    def _failed(self, question: Ask, why: str) -> Decided:
        self.close()
        self.start()  # ready, or on its way, when it is asked again
        return Decided(question.round, question.agent, failed=why)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._end is not None:
            self._end()
        self._process, self._end, self._ready = None, None, False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # both were asked for
    return pipe


def _send(target: IO[bytes], data: bytes) -> None:
    left = memoryview(_LENGTH.pack(len(data)) + data)
    while left:
        left = left[os.write(target.fileno(), left) :]


def _receive(source: IO[bytes], until: float | None) -> bytes | None:
    """One message, or None when it is not there by `until`. Raises EOFError when there will be none."""
    head = _read(source, _LENGTH.size, until)
    return None if head is None else _read(source, int(_LENGTH.unpack(head)[0]), until)


def _read(source: IO[bytes], size: int, until: float | None) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        if until is not None and not select.select([source], [], [], max(0.0, until - time.monotonic()))[0]:
            return None
        part = os.read(source.fileno(), size - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def main() -> None:
    """Answer until the input ends."""
    source = os.fdopen(os.dup(0), "rb")
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a policy prints must not be taken for an answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # typed at the daemon, which ends it
    try:
        sent = _receive(source, None)
        assert sent is not None
        policy: Policy = pickle.loads(sent)  # from the parent, through a pipe that nobody else has
        prepare = getattr(policy, "prepare", None)
        if prepare is not None:
            prepare()
        _send(target, b"ready")
        while True:
            question = _receive(source, None)
            assert question is not None
            decided = answer(policy, ask_of(msgspec.msgpack.decode(question, type=Question)))
            _send(target, msgspec.msgpack.encode(decided))
    except (EOFError, BrokenPipeError):
        return


if __name__ == "__main__":
    main()
