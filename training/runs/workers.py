"""Runs one function on many arguments: in this process, in processes of this machine, or on a Ray cluster.

The function (the work) is at module level: work(argument, tell) -> result. `tell` reports progress; if it returns True,
the work should stop. An argument is drawn from the iterator only when a worker is free, so that it may depend on
earlier results.

What can go wrong. The result of a killed worker would be awaited for ever: so the end of the connection to a worker
raises `WorkerLost`. A forked process would inherit threads and random generators: so processes are spawned. Ctrl-C
would also stop the workers: so they ignore it, and the calling process handles it. Ray would repeat a lost task: so the
retries of Ray are off, and the caller decides whether a task is repeated.
"""

import asyncio
import gc
import multiprocessing
import os
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any, Final, Literal, Protocol, TypeVar

from msgspec import Struct

from quantd.extras import remedy
from quantd.trading.exit_codes import CONFIG, ExplainedError

COLLECT_AFTER: Final = 5_000
"""New objects before a garbage collection of a worker, as in a process of `quantd`."""

A = TypeVar("A")
"""Argument."""
M = TypeVar("M")
"""Progress message."""
R = TypeVar("R")
"""Result."""
M_contra = TypeVar("M_contra", contravariant=True)
R_contra = TypeVar("R_contra", contravariant=True)


class Failed(Struct, frozen=True):
    """The outcome of work that raised an exception: `reason` names the exception, `trace` is its traceback."""

    reason: str
    trace: str
    kind: str = "Exception"
    """Name of the exception's class."""


class WorkerLost(ExplainedError, RuntimeError):
    """A worker process ended without a result: it was killed, or memory ran out."""


class Unavailable(ExplainedError, RuntimeError):
    """A component that is not installed or does not respond; the message has the remedy."""

    exit_code = CONFIG


class Watch(Protocol[M_contra, R_contra]):
    """Receives the progress and the results of work. All calls are made in the calling process, one after another."""

    def told(self, number: int, message: M_contra) -> bool:
        """Receive progress of the work on the argument with index `number`, from 0. Returns True to stop this work."""
        ...

    def ended(self, number: int, outcome: R_contra | Failed) -> None:
        """Receive the result of the work on the argument with index `number`, or its failure."""
        ...


class Here:
    """An executor that runs work sequentially in this process."""

    workers: int = 1
    shares_disk: bool = True
    """Whether work sees this machine's files."""

    def run(self, work: Callable[[A, Callable[[M], bool]], R], arguments: Iterator[A], watch: Watch[M, R]) -> None:
        """Call `work` on one argument after another; `watch` receives progress and results."""
        for number, argument in enumerate(arguments):
            watch.ended(number, _outcome(work, argument, partial(watch.told, number)))


class Processes:
    """An executor that runs work in `workers` new processes of this machine, which inherit no threads or generators.

    A worker ignores Ctrl-C, which the calling process handles. When the calling process is gone, the worker ends at its
    next report.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.shares_disk = True

    def run(self, work: Callable[[A, Callable[[M], bool]], R], arguments: Iterator[A], watch: Watch[M, R]) -> None:
        """Call `work` on as many arguments at once as there are workers. Raises WorkerLost for a killed process."""
        crew: dict[Connection, _Worker] = {}  # the busy workers, whose messages `watch` gets
        idle: list[_Worker] = []
        numbered = enumerate(arguments)
        try:
            while True:
                for number, argument in islice(numbered, self.workers - len(crew)):
                    worker = idle.pop() if idle else _Worker()
                    worker.begin(number, work, argument)
                    crew[worker.line] = worker
                if not crew:
                    return
                for line in wait(list(crew)):
                    assert isinstance(line, Connection)
                    if crew[line].hear(watch):
                        idle.append(crew.pop(line))
        finally:
            for worker in (*idle, *crew.values()):
                worker.dismiss()


class _Worker:
    """A worker process and the connection to it. `number` is the index of the argument on which it works."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.line, far_end = spawn.Pipe()
        self.number = -1
        self.process: Final = spawn.Process(target=_serve, args=(far_end,), daemon=True)
        self.process.start()
        far_end.close()

    def begin(self, number: int, work: Callable[..., Any], argument: object) -> None:
        self.number = number
        self.line.send((work, argument))

    def hear(self, watch: Watch[Any, Any]) -> bool:
        """Receive one message of the worker. Returns True when the message was the last about the worker's present
        argument.

        A message is (True, outcome) or (False, progress). Progress gets an answer: True asks the worker to stop this
        work.
        """
        try:
            last, content = self.line.recv()
        except EOFError:
            self.process.join()
            raise WorkerLost(
                f"a worker process ended with code {self.process.exitcode}; where memory ran out, give fewer --workers"
            ) from None
        if last:
            watch.ended(self.number, content)
        else:
            self.line.send(watch.told(self.number, content))
        return bool(last)

    def dismiss(self) -> None:
        self.line.close()
        self.process.terminate()
        self.process.join()


def _serve(line: Connection) -> None:
    """Run a worker process until the connection closes.

    The process receives (function, argument). It sends (False, progress) any number of times, each time receives an
    answer (True: stop), and at the end sends (True, outcome). Ctrl-C is left to the calling process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(COLLECT_AFTER)

    def tell(message: object) -> bool:
        line.send((False, message))
        return bool(line.recv())

    try:
        while True:
            work, argument = line.recv()
            line.send((True, _outcome(work, argument, tell)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _outcome(work: Callable[[A, Callable[[M], bool]], R], argument: A, tell: Callable[[M], bool]) -> R | Failed:
    """Return the result of work, or its exception as a Failed.

    A lost connection to the caller is raised as an error.
    """
    try:
        return work(argument, tell)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        return Failed(f"{type(error).__name__}: {error}", traceback.format_exc(), type(error).__name__)


class Cluster:
    """An executor that runs work in tasks of a Ray cluster, `workers` at once.

    Raises Unavailable where no cluster can be reached. `address` names a cluster ("auto": the cluster of RAY_ADDRESS or
    of this machine); without an address, a cluster is started on this machine and stopped afterwards. Every machine
    needs quantd, its extra `train`, and the data at the same paths.
    """

    def __init__(self, workers: int, address: str = "") -> None:
        self.workers = workers
        self.shares_disk = not address
        self.address: Final = address

    def run(self, work: Callable[[A, Callable[[M], bool]], R], arguments: Iterator[A], watch: Watch[M, R]) -> None:
        """Call `work` in tasks of the Ray cluster, `workers` at once. Raises Unavailable, WorkerLost."""
        ray = _ray()
        started_here = not ray.is_initialized()
        if started_here:
            self._begin(ray)
        try:
            self._spread(ray, work, arguments, watch)
        finally:
            if started_here:
                ray.shutdown()

    def _begin(self, ray: Any) -> None:
        """Join the cluster at `address`, or start one on this machine. Raises Unavailable where that fails."""
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        _require_response(self.address)
        try:
            if self.address:
                ray.init(address=self.address, **quiet)
            else:
                ray.init(num_cpus=self.workers, include_dashboard=False, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise Unavailable(f"no Ray cluster at {self.address or 'this machine'}: {error}") from error

    def _spread(
        self, ray: Any, work: Callable[[A, Callable[[M], bool]], R], arguments: Iterator[A], watch: Watch[M, R]
    ) -> None:
        """Run `work` on all arguments, `workers` at once, and pass messages and outcomes to `watch`.

        A task sends its messages to a mailbox in the cluster, and waits there for the answer. Raises WorkerLost.
        """
        # one slot of the mailbox for each task that waits for an answer, and some for `hear` and `answer`
        mailbox = ray.remote(num_cpus=0, max_concurrency=self.workers + 8)(_Mailbox).remote()
        # no retries: only the caller knows whether the result of a lost task is still needed
        task = ray.remote(num_cpus=1, max_retries=0)(_task)
        next_message = mailbox.hear.remote()
        running: dict[Any, int] = {}
        numbered = enumerate(arguments)
        while True:
            for number, argument in islice(numbered, self.workers - len(running)):
                running[task.remote(work, argument, number, mailbox)] = number
            if not running:
                return
            (answered,), _ = ray.wait([next_message, *running], num_returns=1)
            if answered == next_message:
                number_of_message, message = ray.get(next_message)
                mailbox.answer.remote(number_of_message, watch.told(number_of_message, message))
                next_message = mailbox.hear.remote()
            else:
                try:
                    outcome = ray.get(answered)
                except ray.exceptions.RayError as error:
                    raise WorkerLost(f"a task of the cluster was lost: {type(error).__name__}: {error}") from error
                watch.ended(running.pop(answered), outcome)


class _Mailbox:
    """Exchanges progress messages and answers with the tasks of a Ray cluster.

    A Ray actor: all methods run in one event loop.
    """

    def __init__(self) -> None:
        self._told: asyncio.Queue[tuple[int, object]] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[bool]] = {}

    async def tell(self, number: int, message: object) -> bool:
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._told.put_nowait((number, message))
        return await self._answers[number]

    async def hear(self) -> tuple[int, object]:
        return await self._told.get()

    async def answer(self, number: int, stop: bool) -> None:
        self._answers.pop(number).set_result(stop)


def _task(work: Callable[[Any, Callable[[Any], bool]], Any], argument: object, number: int, mailbox: Any) -> object:
    import ray

    return _outcome(work, argument, lambda message: bool(ray.get(mailbox.tell.remote(number, message))))


def _require_response(address: str) -> None:
    """Raise Unavailable where no Ray cluster responds at `address`; Ray itself would retry for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=10.0).close()
    except OSError as error:
        raise Unavailable(f"no Ray cluster at {address}: {error}") from None


def _ray() -> Any:
    if find_spec("ray") is None:
        raise Unavailable(f"--on ray: ray is not installed; omit --on, or {remedy('ray')}")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    import ray

    return ray


Place = Literal["local", "ray"]
"""Values of the option --on."""

Executor = Here | Processes | Cluster
"""Where work runs. Its `run` calls `work` on every argument, and returns when all calls have ended."""


def executor(on: str, workers: int, address: str = "") -> Executor:
    """Return the executor for the option --on: "local" (with one worker, this process) or "ray".

    Raises Unavailable without Ray, for less than one worker, and for an address that nothing would join.
    """
    if workers < 1:
        raise Unavailable(f"workers must be 1 or more, not {workers}")
    if on == "ray":
        _ray()
        return Cluster(workers, address)
    if address:
        raise Unavailable(
            f"the address {address} is of a Ray cluster, and this runs here; write on ray, or leave it out"
        )
    return Here() if workers == 1 else Processes(workers)
