"""Runs a policy in a separate process: a user's untrusted file, or a registered policy with a slow solver.

The process is an isolated interpreter. It gives up its rights (`quantd.models.isolation.confinement`) before
it loads the policy. It receives pickles through a pipe and answers in msgpack, which is checked here: its output is
never unpickled. It is stopped between calls. When an answer is late or malformed, it is killed and restarted.

What can go wrong where a policy file runs in the process of the daemon: a C call that holds the lock of the interpreter
stops every kill switch, an assignment replaces the gate, and os._exit or a large array ends the daemon.

What can still go wrong in a separate process. A policy that ends its process at every second call never fails twice in
a row. So ends of the process are counted until STEADY answers came in a row. Threads of a policy would use the
processor between calls, so the process is stopped between calls. A registered policy is started again at once after a
fault, because its libraries import slowly. A policy file is not started again at once, because its threads would run
until the next call.
"""

import pickle
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from quantd.daemon.policies.isolation.worker_messages import (
    CALLS,
    DECODER,
    PRINTED_CHARS,
    VALUES,
    Answered,
    Call,
    Confined,
    Loaded,
    Message,
    Unfit,
)
from quantd.daemon.policies.loading import any_universe
from quantd.daemon.policies.user_file import MOST_LOOKBACK, source_of
from quantd.models.isolation.child import PACKAGES, Broken, Child, Late
from quantd.models.isolation.graph_process import FarGraph, GraphProcess
from quantd.models.isolation.readable_paths import readable
from quantd.models.isolation.secret_files import scrubbed
from quantd.models.isolation.session import OpenGraph, PolicyFailed
from quantd.strategies.policies import ParamsError
from quantd.trading.codec import memory_of
from quantd.trading.events import Decided
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats
from quantd.trading.ports import Policy, leaves
from quantd.trading.view import HOLD, Hold, Memory, Noted, View

START_S: Final = 60.0
"""Seconds within which a process must start and load its policy: solver libraries import slowly."""

LIMIT_S: Final = 5.0
"""Seconds within which a policy in a separate process must answer, a restart of its process included."""

STEADY: Final = 10
"""Answers in a row after which earlier ends of the process no longer count."""

CALLS_MOST: Final = 1_000
"""Maximum number of view method calls for one answer. Repeated calls are answered in the process and do not count."""

MOST_FAULTS: Final = 8
"""Maximum number of texts about unreadable files of one policy."""


def lacking(policies: Iterable[Policy]) -> list[tuple[str, str]]:
    """(policy, rights that its process could not give up) of each policy file or trained policy with such rights."""
    pairs: dict[str, list[str]] = {}
    for leaf in (leaf for policy in policies for leaf in leaves(policy)):
        if isinstance(leaf, Worker):
            pairs[leaf.name] = leaf.missing
        for session in getattr(leaf, "sessions", ()):
            if isinstance(session, FarGraph):
                folder: Path = leaf.artifacts[0].folder  # type: ignore[attr-defined]
                pairs[f"the graphs of {folder.name}"] = [_cleaned(right, 200) for right in session.process.missing[:8]]
    return [(name, ", ".join(rights)) for name, rights in pairs.items() if rights]


def unreadable(policies: Iterable[Policy]) -> list[tuple[str, str]]:
    """(policy, sentence about a path that its process cannot read, with the remedy), up to MOST_FAULTS per policy."""
    workers = (leaf for policy in policies for leaf in leaves(policy) if isinstance(leaf, Worker))
    return [(worker.name, text) for worker in workers for text in worker.unreadable[:MOST_FAULTS]]


class Apart:
    """Makes policies that run in separate processes; implements quantd.daemon.policies.loading.Apart.

    No process can read the paths in `hidden`. The process of a policy file can also read the folders `reads`.
    """

    def __init__(self, *hidden: Path, reads: Sequence[Path] = ()) -> None:
        self._hidden, self._reads = hidden, tuple(reads)

    def reading(self, folders: Sequence[Path]) -> "Apart":
        """A maker of isolated policies like this one, whose policy files can also read `folders`."""
        return Apart(*self._hidden, reads=folders)

    def graphs(self) -> OpenGraph:
        """Return a function that opens the graphs of one trained policy, all in one separate process."""
        return GraphProcess(self._hidden).open

    def file(self, path: Path, attribute: str, params: Mapping[str, object]) -> "Worker":
        """The policy of a user's file, in a separate process. Raises ParamsError where it cannot be loaded."""
        source, file = source_of(path), path.absolute()
        recipe = {"path": file, "attribute": attribute, "params": _plain_params(params), "source": source}
        return Worker(path.name, file, recipe, self._hidden, reads=self._reads)

    def registered(self, name: str, params: Mapping[str, object], policy: Policy) -> "Worker":
        """A registered policy; its process loads it while the caller continues."""
        worker = Worker(name, None, {"name": name, "params": _plain_params(params)}, self._hidden, policy.lookback)
        worker.fit = getattr(policy, "fit", worker.fit)
        return worker


def _plain_params(params: Mapping[str, object]) -> dict[str, object]:
    return {key: _plain_params(value) if isinstance(value, Mapping) else value for key, value in params.items()}


class Worker:
    """One policy in a separate process; implements quantd.trading.ports.Policy.

    Raises ParamsError where the policy cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        file: Path | None,
        recipe: Mapping[str, object],
        hidden: Sequence[Path],
        lookback: int = 0,
        reads: Sequence[Path] = (),
    ) -> None:
        """`lookback` is 0 for a policy file, which declares it when it is loaded; `recipe` says what to load."""
        self.name = name
        self.lookback = lookback
        self.uses_bars = self.undeclared = self.stateless = False
        self.limit_s = LIMIT_S
        self.max_failures = 3
        """Failures in a row after which the agent is suspended: `max_failures` of [risk]."""
        self.missing: list[str] = []
        """Rights that the process could not give up; empty when it is isolated."""
        self.unreadable: list[str] = []
        """Sentences about paths that the process cannot read, each with the remedy."""
        self.fault = ""
        """Failure of the process during the last call; empty without one."""
        self._file, self._recipe_pickle, self._hidden, self._reads = file, pickle.dumps(recipe), hidden, reads
        self._child: Child | None = None
        self._trusted = bool(lookback)  # a registered policy: its lookback is known before it is loaded
        self._load_until = 0.0
        """`time.monotonic` at which the loading of the policy counts as failed."""
        self._loads_first = True
        self._process_ends, self._answers_in_row, self._refusals_left = 0, 0, 0
        """Ends of the process since STEADY answers in a row, those answers, and calls that are still refused."""
        self._ready = self._withdrawn = False
        self.fit: Callable[[Universe], None] = any_universe
        """Raises ValueError when the policy needs a symbol that is not traded (see `loading.fit`)."""
        self._universe: object = None
        self._call_number = 0
        try:
            self.start()
            if not lookback:
                self._wait_until_loaded()
        except (Broken, OSError) as error:
            self.close()
            raise ParamsError(f"{file or name}: {error} while it was loaded; correct what runs at import") from None

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        """The policy's answer. Raises PolicyFailed with the reason when there is none."""
        if self._refusals_left:
            self._refusals_left -= 1
            self.fault = f"its process ended {self.max_failures} times without {STEADY} answers in a row"
            raise PolicyFailed(self.fault)
        until = time.monotonic() + self.limit_s
        try:
            if self._withdrawn:
                raise Broken("the question was withdrawn")
            self.start()
            self._load_within(until)
            decided = self._ask(view, memory, until)
            if decided.failed:
                raise PolicyFailed(self._public_text(decided.failed, 2 * PRINTED_CHARS))
            remembered = memory_of(decided)
            weights = HOLD if decided.weights is None else np.frombuffer(decided.weights, "<f8").copy()
        except (Broken, OSError, ValueError) as error:
            if self._is_late_load(error):
                self.fault = f"its process was not ready within {self.limit_s:g} s; it is loaded further"
                raise PolicyFailed(self.fault) from None
            self.fault = self.fault or f"{error}; its process is started anew"
            self._end_after_fault()
            if self._trusted and not self._withdrawn:
                self.start()  # started early for the next call; not for a file, whose threads would run until then
            raise PolicyFailed(self.fault) from None
        self._answers_in_row += 1
        if self._answers_in_row >= STEADY:
            self._process_ends = 0
        noted = bool(decided.note or decided.warns)
        note = self._public_text(decided.note, 2 * PRINTED_CHARS)
        return (Noted(weights, note, warns=decided.warns) if noted else weights), remembered

    def _load_within(self, until: float) -> None:
        """Waits until the policy is loaded, at most to `until`, the deadline of the answer (time.monotonic).

        The first load of a registered policy has START_S instead, because its libraries import slowly and are trusted.
        """
        first = self._trusted and self._loads_first
        self._open_child().until = self._load_until if first else until
        self._wait_until_loaded()

    def _is_late_load(self, error: Exception) -> bool:
        """Whether `error` only says that the process still loads its policy. The call fails, but the load continues."""
        running = self._child is not None and self._child.alive
        late = isinstance(error, Late) and not self._ready and not self._withdrawn
        return late and running and time.monotonic() < self._load_until

    def _end_after_fault(self) -> None:
        """Ends the process after a fault, and counts the end.

        A policy that ends its process, or hangs, at every second call never fails twice in a row. After `max_failures`
        such ends, the next `max_failures` calls therefore fail at once, which suspends its agent. A resumed agent asks
        the policy again.
        """
        self.close()
        if self._withdrawn:
            return
        self._process_ends, self._answers_in_row = self._process_ends + 1, 0
        if self._process_ends >= self.max_failures:
            self._process_ends, self._refusals_left = 0, self.max_failures  # so many failures suspend the agent

    def expect(self) -> None:
        """Prepares the policy's process for a new call."""
        self.fault, self._withdrawn = "", False

    def withdraw(self) -> None:
        """Cancels the present call: a thread that waits for it continues at once."""
        self._withdrawn = True
        if self._child is not None:
            self._child.withdraw()

    def start(self) -> None:
        """Starts the process, unless it runs; does not wait for it."""
        if self._child is not None and self._child.alive:
            return
        self.close()
        readable_now = readable(self._file, PACKAGES, self._hidden, self._reads)
        self.unreadable = readable_now.faults
        self._load_until = time.monotonic() + START_S
        self._child = Child("daemon.policies.isolation.worker_process", readable_now.paths, self._load_until)
        with suppress(OSError, Broken):  # the process ended; the next read reports it
            self._child.send(self._recipe_pickle)

    def _wait_until_loaded(self) -> None:
        """Waits until the policy is loaded. Raises ParamsError when it cannot be loaded, and Broken.

        The messages of the process are the rights that it could not give up, then that the policy is loaded or unfit.
        Once loaded the process is stopped until the first question.
        """
        child = self._open_child()
        while not self._ready:
            match _message(child, f"was not ready within {START_S:g} s"):
                case Confined(missing):
                    self.missing = [_cleaned(right, 200) for right in missing[:8]]
                case Unfit(text):
                    raise ParamsError(self._public_text(text, 2 * PRINTED_CHARS))
                case Loaded(lookback, uses_bars, undeclared, stateless) if self._keeps_lookback(lookback):
                    self.lookback, self.uses_bars, self._ready = lookback, uses_bars, True
                    self.undeclared, self.stateless = undeclared, stateless
                case _:
                    raise Broken("its process sent another message before that it is ready")
        self._loads_first = False
        self._pause(True)  # until the first question

    def _keeps_lookback(self, lookback: int) -> bool:
        """Whether a lookback is in bounds, and after a restart unchanged, because the daemon stores samples for it."""
        return 1 <= lookback <= MOST_LOOKBACK and self.lookback in (0, lookback)

    def _ask(self, view: View, memory: Memory, until: float) -> Decided:
        """Send a call to the process, answer its view method calls, and return its answer. Raises Broken.

        The process runs during the call only: it is continued before and stopped after it. Calls carry a number, so
        that a message of an earlier call is recognised.
        """
        self._call_number += 1
        self._pause(False)
        child = self._open_child()
        child.until = until
        # None: the universe is that of the last call, which the process has
        universe = None if view.universe is self._universe else view.universe
        values = {name: getattr(view, name) for name in VALUES}
        child.send(pickle.dumps((self._call_number, universe, values, dict(memory)), 5))
        self._universe = view.universe
        for _ in range(CALLS_MOST):
            match _message(child, f"no answer within {self.limit_s:g} s"):
                case Call(n, name, arguments) if n == self._call_number and name in CALLS:
                    child.send(pickle.dumps(_called(view, name, arguments), 5))
                case Answered(n, decided, printed) if n == self._call_number:
                    self._pause(True)
                    if printed:
                        import structlog

                        structlog.get_logger("quantd.policy").info(
                            "policy.printed", policy=self.name, text=self._public_text(printed, PRINTED_CHARS)
                        )
                    return decided
                case _:
                    raise Broken("its process sent an unexpected message")
        raise Broken(f"it called methods of its view {CALLS_MOST} times for one answer")

    def _pause(self, on: bool) -> None:
        """Stops the process after a call (`on`), or lets it continue: between calls leftover threads of a policy use no
        processor time."""
        self._open_child().process.send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    def _public_text(self, text: str, most: int) -> str:
        """At most `most` characters of a policy's text for logs and alerts, which anybody may read: without tokens."""
        return scrubbed(_cleaned(text, most), self._hidden)

    def _open_child(self) -> Child:
        """The running process of the policy. Raises Broken where it was closed meanwhile."""
        if self._child is None:
            raise Broken("its process was closed")
        return self._child

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
        self._child, self._ready, self._universe = None, False, None


def _message(child: Child, late: str) -> Message:
    """Return the next message of a policy's process. Raises Broken for bytes that are no message, and at its end."""
    try:
        message: Message = DECODER.decode(child.receive(late))
    except (msgspec.DecodeError, RecursionError):
        raise Broken("its process sent a message that is no answer") from None
    return message


def _called(view: View, name: str, arguments: list[int | str]) -> tuple[str, object]:
    """The result of a view method as ("", value), or its exception as (name of its class, text)."""
    try:
        return "", getattr(view, name)(*arguments)
    except (ValueError, RuntimeError, TypeError) as error:
        return type(error).__name__, str(error)


def _cleaned(text: str, most: int) -> str:
    """The first `most` characters of a policy's text, on one line without terminal control characters."""
    return "".join(c if c.isprintable() else " " for c in text[:most])
