"""The program of a policy process: it loads the policy and answers calls until its input ends."""

import io
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from operator import index
from typing import Any, TypeVar, cast

import msgspec
from numpy.typing import NDArray

from quantd.daemon.policies.isolation.worker_messages import (
    CALLS,
    PRINTED_CHARS,
    Answered,
    Call,
    Confined,
    Loaded,
    Message,
    Unfit,
)
from quantd.daemon.policies.loading import answer
from quantd.daemon.policies.user_file import load_user_policy
from quantd.models.isolation import confinement
from quantd.strategies.policies import POLICIES, ParamsError
from quantd.strategies.policies.members import stateless
from quantd.trading.bars import Bars
from quantd.trading.effects import Ask
from quantd.trading.market import Floats
from quantd.trading.ports import Policy
from quantd.trading.view import View

A = TypeVar("A", bound=NDArray[Any])


class FarView:
    """A quantd.trading.view.View in a policy's process: it holds the values, and its methods run in the daemon."""

    def __init__(self, values: Mapping[str, object], call: "Caller") -> None:
        self.__dict__.update(values)
        self._call = call

    def __getattr__(self, name: str) -> Any:
        if name not in CALLS:
            raise AttributeError(f"a view has no {name!r}")
        return partial(self._call, name)

    def shared(self, statistic: Callable[[Floats], A], k: int, skip: int = 0) -> A:
        """The result of `statistic` for the k returns float64[k, N] that ended `skip` samples ago.

        The function runs here, in the policy's process.
        """
        return statistic(self._call("returns", k + skip)[:k])

    def shared_by_date(self, statistic: Callable[[Floats], A], k: int) -> A:
        """The result of `statistic` for the newest k returns by session date, float64[k, N].

        The function runs here, in the policy's process.
        """
        return statistic(self._call("synchronous", k))

    def held_by(self, weights: Floats) -> "FarView":
        """This view with other held weights; its cash is 1 less their sum."""
        weights = weights.copy()
        weights.flags.writeable = False
        return FarView({**self.__dict__, "weights": weights, "cash": 1.0 - float(weights.sum())}, self._call)


class Caller:
    """Runs the view methods of call `n` in the daemon, and stores each result. Raises RuntimeError once the call is
    over."""

    def __init__(self, source: int, target: int, n: int) -> None:
        self._source, self._target, self._n = source, target, n
        self._results: dict[tuple[int | str, ...], object] = {}
        self.over = False

    def __call__(self, name: str, *arguments: Any) -> Any:
        """Ask the daemon for the result of the view's method `name`; a call that is repeated during one answer is sent
        only once.

        `arguments` are names and whole numbers. Raises the exception that the method raised there, as ValueError,
        RuntimeError or TypeError.
        """
        if self.over:
            raise RuntimeError(f"this view is of an earlier sample; ask for {name} while deciding")
        sent_arguments = [argument if isinstance(argument, str) else index(argument) for argument in arguments]
        key = (name, *sent_arguments)
        if key not in self._results:
            _write(self._target, Call(self._n, name, sent_arguments))
            error_class, value = _load(self._source)
            if error_class:
                raise {"ValueError": ValueError, "RuntimeError": RuntimeError}.get(error_class, TypeError)(value)
            self._results[key] = _read_only(value)
        return self._results[key]


class Printed(io.TextIOBase):
    """Captures the first characters that a policy prints for one answer."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        """Store the text up to PRINTED_CHARS characters in all. Returns the length of the whole `text`."""
        self.text += text[: PRINTED_CHARS - len(self.text)]
        return len(text)


def _read_only(value: Any) -> Any:
    arrays = [getattr(value, name) for name in Bars.__slots__] if isinstance(value, Bars) else [value]
    for array in arrays:
        array.flags.writeable = False
    return value


def _write(target: int, message: Message) -> None:
    confinement.send(target, msgspec.msgpack.encode(message))


def _load(source: int) -> Any:
    """The next pickle from the daemon, through a private pipe. Raises EOFError at the end of the pipe."""
    return pickle.loads(confinement.frame(source))


def _policy_of(recipe: dict[str, Any]) -> Policy:
    """The policy of a file, loaded under the memory limit, or a registered policy.

    A registered policy imports its libraries before the limit applies.
    """
    if "path" in recipe:
        confinement.limit()
        return load_user_policy(**recipe)
    policy = POLICIES[recipe["name"]](recipe["params"])
    prepare = getattr(policy, "prepare", None)
    if prepare is not None:
        prepare()
    confinement.limit()
    return policy


def main(missing: list[str]) -> None:
    """Load the policy and answer calls until the input ends. A message about each step goes to the daemon.

    `missing` are the process's rights that could not be given up.
    """
    source, target, null = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDONLY)
    for standard in (0, 1, 2):  # printed text of a policy must neither count as an answer nor reach a terminal
        os.dup2(null, standard)
    printed = Printed()
    sys.stdout = sys.stderr = cast(Any, printed)
    with suppress(EOFError, BrokenPipeError):
        _write(target, Confined(missing))
        try:
            policy = _policy_of(_load(source))
        except Exception as error:
            _write(target, Unfit(str(error) if isinstance(error, ParamsError) else f"{type(error).__name__}: {error}"))
            return
        _write(
            target,
            Loaded(
                policy.lookback,
                bool(getattr(policy, "uses_bars", False)),
                bool(getattr(policy, "undeclared", False)),
                stateless(policy),
            ),
        )
        universe: object = None
        while True:
            call_number, new_universe, values, memory = _load(source)
            universe = universe if new_universe is None else new_universe  # None: it has not changed
            caller = Caller(source, target, call_number)
            view = FarView({"universe": universe, **values}, caller)
            for array in (view.prices, view.weights, *memory.values()):
                array.flags.writeable = False
            # the round 0 and the agent 0 are not read: the daemon knows whom it asked
            decided = answer(policy, Ask(0, 0, cast(View, view), memory))
            caller.over = True
            _write(target, Answered(call_number, decided, printed.text))
            printed.text = ""
