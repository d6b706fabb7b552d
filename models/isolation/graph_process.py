"""Runs the graphs of trained policies in a separate process, because a graph is a program of somebody else.

A graph of known operators and a few kilobytes can compute for hours, or take all memory of the machine. In the daemon
it would stop the loop, and with it every halt. So each policy has one process for its graphs, without rights and with a
limit of memory; each run has a deadline. A run that is late, or whose process ended, is a failure of the agent. The
process is then killed and a new one is started at once, to be ready for the next question; if it is not ready then, the
wait counts against the next answer. A call costs two messages through pipes (benchmarks/graph_process.py). Only a
shipped graph runs in the process of a command (`opener`).

Rejected: a thread for each run. A thread cannot be ended.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Final

import msgspec
from numpy.typing import NDArray

from quantd.bundled import SHIPPED
from quantd.models.isolation.child import PACKAGES, Broken, Child
from quantd.models.isolation.graph_messages import (
    ANSWERS,
    ENCODER,
    Failed,
    Open,
    Opened,
    Port,
    Ran,
    Run,
    array_of,
    numbers_of,
)
from quantd.models.isolation.readable_paths import readable
from quantd.models.isolation.session import OpenGraph, PolicyFailed, Session, runtime_session
from quantd.trading.exit_codes import CONFIG

START_S: Final = 60.0
"""Seconds within which the process must start and open a graph when its policy is loaded."""

LIMIT_S: Final = 5.0
"""Seconds within which a graph must answer in the daemon."""

PATIENT_S: Final = 60.0
"""Seconds within which a graph must answer in a command or in Python, which no halt waits for."""

MOST_ANSWER: Final = 1 << 26
"""Maximum size of an answer in bytes: a forest's for the pairs of 5,000 assets."""


class GraphFailed(PolicyFailed, ValueError):
    """A graph in its process gave no answer. The text names its file, the cause and the remedy."""

    exit_code = CONFIG


def _failed(where: Path, cause: str) -> GraphFailed:
    return GraphFailed(f"{where}: its graph gives no answer; name another artifact: {cause}")


def opener(limit_s: float | None = None) -> OpenGraph:
    """Return a function that opens the graphs of one artifact: a shipped graph here, any other in a separate process.

    All graphs that it opens share the process. Each answer has `limit_s` seconds, by default PATIENT_S.
    """
    process = GraphProcess((), PATIENT_S if limit_s is None else limit_s)

    def opened(graph: bytes, where: Path, threads: int) -> Session:
        """Open a checked graph."""
        shipped = where.resolve().is_relative_to(SHIPPED.resolve())
        return runtime_session(graph, threads) if shipped else process.open(graph, where, threads)

    return opened


class GraphProcess:
    """One process for the graphs of one policy. It starts with its first graph."""

    def __init__(self, hidden: Sequence[Path], limit_s: float | None = None) -> None:
        """`hidden` are paths that the process may not read, `limit_s` the seconds of an answer, by default LIMIT_S."""
        self.limit_s = LIMIT_S if limit_s is None else limit_s
        self.fault = ""
        """Failure of the process during the last call; empty without one."""
        self.missing: list[str] = []
        """Rights that the process could not give up; empty when it is isolated."""
        self._hidden = tuple(hidden)
        self._graphs: list[Open] = []
        """The requests that opened graphs, by number: a new process repeats them."""
        self._child: Child | None = None
        self._unconfirmed = 0
        """Number of graphs that a new process was asked to open and has not confirmed yet."""
        self._lock = Lock()
        self._withdrawn = False
        """Whether the caller gave up its question: the process is then ended and not started again."""

    def open(self, model: bytes, where: Path, threads: int) -> "FarGraph":
        """Open a checked graph, `model` as bytes, of the file `where`; each run of it uses `threads` threads.

        Raises ValueError with the reason where the runtime does not accept the graph.
        """
        request = Open(len(self._graphs), model, threads)
        with self._lock:
            self._withdrawn = False
            try:
                late = f"the graph was not open within {START_S:g} s"
                self._ready_child(START_S, late).send(ENCODER.encode(request))
                answer = self._next_answer(late)
            except (Broken, OSError) as error:
                self.close()
                raise ValueError(f"{error}, while it was opened") from None
            if not isinstance(answer, Opened):
                text = answer.text if isinstance(answer, Failed) else "its process sent an unexpected message"
                raise ValueError(text)
            self._graphs.append(request)
            self.missing = answer.missing
        return FarGraph(self, request.graph, where, answer)

    def run(
        self, graph: int, where: Path, outputs: list[str] | None, inputs: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        """The outputs of the graph with this number, of the file `where`. Raises GraphFailed without an answer, and
        ValueError for an input or an answer that is no array."""
        request = ENCODER.encode(Run(graph, outputs, {name: numbers_of(value) for name, value in inputs.items()}))
        with self._lock:
            try:
                if self._withdrawn:
                    raise Broken("the question was withdrawn")
                late = f"no answer of its graph within {self.limit_s:g} s"
                self._ready_child(self.limit_s, late).send(request)
                answer = self._next_answer(late)
            except (Broken, OSError) as error:
                self.fault = f"{error}; its process is started anew"
                withdrawn = self._withdrawn
                self.close()
                if not withdrawn:
                    self._start_again()
                raise _failed(where, self.fault) from None
        match answer:
            case Ran(values):
                return [array_of(value) for value in values]
            case Failed(text):
                raise _failed(where, text)
            case _:
                raise _failed(where, "its process sent an unexpected message")

    def expect(self) -> None:
        self.fault, self._withdrawn = "", False

    def withdraw(self) -> None:
        """Cancels the present call: a thread that waits for it continues at once."""
        self._withdrawn = True
        if (child := self._child) is not None:
            child.withdraw()

    def close(self) -> None:
        child, self._child, self._unconfirmed, self._withdrawn = self._child, None, 0, False
        if child is not None:
            child.close()

    def _ready_child(self, within_s: float, late: str) -> Child:
        """The running process with all its graphs open.

        The deadline, `within_s` from now, also applies to the caller's next wait.
        """
        child = self._child
        if child is None or not child.alive:
            self.close()
            child = self._new_child(within_s)
        child.until = time.monotonic() + within_s
        while self._unconfirmed:
            if not isinstance(self._next_answer(late), Opened):
                raise Broken("its process does not open its graph again")
            self._unconfirmed -= 1
        return child

    def _new_child(self, within_s: float) -> Child:
        """A new process that is asked to open every graph again; `_ready_child` reads its answers."""
        paths = readable(None, PACKAGES, self._hidden).paths
        self._child = child = Child("models.isolation.graph_server", paths, time.monotonic() + within_s)
        for request in self._graphs:
            child.send(ENCODER.encode(request))
        self._unconfirmed = len(self._graphs)
        return child

    def _start_again(self) -> None:
        """Start a new process for the next call, without a wait for its answers."""
        try:
            self._new_child(self.limit_s)
        except (Broken, OSError):
            self.close()

    def _next_answer(self, late: str) -> Opened | Ran | Failed:
        if (child := self._child) is None:
            raise Broken("its process was closed")
        try:
            answer: Opened | Ran | Failed = ANSWERS.decode(child.receive(late, MOST_ANSWER))
        except (msgspec.DecodeError, RecursionError):
            raise Broken("its process sent a message that is no answer") from None
        return answer


class FarGraph:
    """An open graph in another process; implements quantd.models.isolation.session.Session."""

    def __init__(self, process: GraphProcess, number: int, where: Path, opened: Opened) -> None:
        self.process = process
        self._number, self._where, self._opened = number, where, opened

    def get_inputs(self) -> list[Port]:
        return self._opened.inputs

    def get_outputs(self) -> list[Port]:
        return self._opened.outputs

    def run(self, outputs: list[str] | None, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs of the graph with the names `outputs`, or all (None). Raises GraphFailed and ValueError."""
        return self.process.run(self._number, self._where, outputs, inputs)
