"""A user's policy: one Python file, run from its path in a separate namespace.

The file does not need to import quantd. The view that its policy gets is a copy, so changes of the view have no effect.
"""

import builtins
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from hashlib import blake2b
from numbers import Number
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from quantd.models.isolation.session import PolicyFailed
from quantd.regular_file import NotRead, read_regular
from quantd.strategies.policies import ParamsError, nearest
from quantd.trading.bars import Bars
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats, Ints
from quantd.trading.ports import Policy
from quantd.trading.view import HOLD, BlockView, Memory, View

A = TypeVar("A", bound=NDArray[Any])

DEFAULT_LOOKBACK: Final = 252
"""Lookback in samples of a file that does not set LOOKBACK."""

MOST_LOOKBACK: Final = 100_000
"""Maximum lookback in samples, which are all held in memory."""

ROWS: Final = "act_rows"
"""Name of the function that answers for a block of samples, in the file or class of the function `act`."""

_CLOSES: Final = "view.bars(k).close has closes float64[k, N] (set USES_BARS = True), view.returns(k) the returns"

ELSEWHERE: Final = {
    "close": _CLOSES,
    "closes": _CLOSES,
    "columns": "view.universe.symbols has the names of the columns",
    "data": _CLOSES,
    "date": "view.time is the instant, ns since 1970 in UTC",
    "history": _CLOSES,
    "now": "view.time is the instant, ns since 1970 in UTC",
    "portfolio": "view.weights are the weights held, view.cash the part in cash, view.equity the money",
    "positions": "view.weights are the weights held, view.cash the part in cash, view.equity the money",
    "price": "view.prices are the newest prices, float64[N]",
    "symbols": "view.universe.symbols has the names of the columns",
    "tickers": "view.universe.symbols has the names of the columns",
    "timestamp": "view.time is the instant, ns since 1970 in UTC",
}
"""A name that other programs give to what the view has under another name -> where it is."""

TEXT: Final = 300
"""Maximum length of an exception's text, in characters."""


class UserView:
    """The view of a user's act: the fields of quantd.trading.view.View as read-only copies."""

    __slots__ = (
        "bars", "cash", "covariance", "deviation", "equity", "macro", "mean", "momentum", "prices", "returns", "sample",
        "sample_time", "series", "shared", "shared_by_date", "synchronous", "time", "universe", "weights",
    )  # fmt: skip

    # Long because a policy file gets closures, never the view: an attribute would lead from the copy to the original.
    def __init__(self, view: View, universe: Universe, asks: Callable[[int], object]) -> None:
        """Each method calls `asks` with how far back it reads, in samples before the newest one."""

        def returns(k: int) -> Floats:
            """float64[k, N] total returns between samples, oldest first."""
            asks(k)
            return _copy(view.returns(k))

        def synchronous(k: int) -> Floats:
            """float64[k, N] total returns by session date, oldest first, for correlations between instruments."""
            asks(k)
            return _copy(view.synchronous(k))

        def deviation(k: int) -> Floats:
            """float64[N] standard deviation of returns(k), per sample."""
            asks(k)
            return _copy(view.deviation(k))

        def mean(k: int) -> Floats:
            """float64[N] mean of returns(k), per sample."""
            asks(k)
            return _copy(view.mean(k))

        def momentum(k: int, skip: int = 0) -> Floats:
            """float64[N] total return over the k samples that ended `skip` samples ago."""
            asks(k + skip)
            return _copy(view.momentum(k, skip))

        def covariance(k: int) -> Floats:
            """float64[N, N] sample covariance of synchronous(k), per sample."""
            asks(k)
            return _copy(view.covariance(k))

        def shared(statistic: Callable[[Floats], A], k: int, skip: int = 0) -> A:
            """The result of `statistic` for the k returns float64[k, N] that ended `skip` samples ago, computed for
            this file alone."""
            return statistic(returns(k + skip)[:k])

        def shared_by_date(statistic: Callable[[Floats], A], k: int) -> A:
            """The result of `statistic` for the newest k returns by session date, float64[k, N], computed for this file
            alone."""
            return statistic(synchronous(k))

        def bars(k: int) -> Bars:
            """The newest k samples as bars, oldest first; needs USES_BARS = True in the file."""
            asks(k - 1)
            rows = view.bars(k)
            session = rows.session.copy()
            session.flags.writeable = False
            return Bars(session, *map(_copy, (rows.open, rows.high, rows.low, rows.close, rows.volume)))

        def macro(name: str, k: int) -> Floats:
            """float64[k]: values of a series of [feed] macro known at the newest k samples, oldest first."""
            asks(k - 1)
            return _copy(view.macro(name, k))

        def series(name: str, k: int) -> Floats:
            """float64[k, N]: values of a series per symbol of [feed] series known at the newest k samples."""
            asks(k - 1)
            return _copy(view.series(name, k))

        self.universe = universe
        self.macro, self.series = macro, series
        self.returns = returns
        self.synchronous = synchronous
        self.deviation, self.mean = deviation, mean
        self.momentum, self.covariance = momentum, covariance
        self.shared, self.shared_by_date = shared, shared_by_date
        self.bars = bars
        self.prices = _copy(view.prices)
        self.weights = _copy(view.weights)
        self.cash, self.equity = view.cash, view.equity
        self.time, self.sample, self.sample_time = view.time, view.sample, view.sample_time

    def __getattr__(self, name: str) -> Any:
        """Raises AttributeError with the attribute that has what `name` asks for."""
        remedy = ELSEWHERE.get(name) or nearest(name, self.__slots__)
        raise AttributeError(f"the view has no {name!r}; {remedy}")


def _copy(array: Floats) -> Floats:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


class UserPolicy:
    """Implements quantd.trading.ports.Policy around a user's function or object.

    `digest` identifies the source of a policy that has no file. `undeclared` says that the policy sets no lookback;
    `asked` is how far back it has read, in samples before the newest one; -1 before its first decision.
    """

    __slots__ = (
        "_act", "_file_universe", "_our_universe", "_rows", "_with_memory", "act_rows", "asked", "digest", "lookback",
        "path", "undeclared", "uses_bars",
    )  # fmt: skip

    def __init__(
        self,
        path: Path,
        act: Callable[..., object],
        with_memory: bool,
        lookback: int,
        uses_bars: bool = False,
        digest: str = "",
        undeclared: bool = False,
        act_rows: Callable[..., object] | None = None,
    ) -> None:
        """`act` takes a memory too if `with_memory`; `act_rows`, if any, answers for many samples at once."""
        self.path = path
        self._rows = act_rows
        self.act_rows = None if act_rows is None else self._act_rows
        """Answers for a block of samples, where the file has a function for it."""
        self.undeclared = undeclared
        self.asked = -1  # no sample read yet
        self.digest = digest
        self.lookback = lookback
        self.uses_bars = uses_bars
        self._act = act
        self._with_memory = with_memory
        self._our_universe: Universe | None = None
        """The universe of the last call, and below the copy of it that the file gets; None before the first call."""
        self._file_universe: Universe | None = None

    @property
    def source(self) -> object:
        """The user's function or method that decides."""
        return self._act.func if isinstance(self._act, partial) else self._act

    @property
    def with_memory(self) -> bool:
        """Whether the user's function takes a memory beside the view."""
        return self._with_memory

    @property
    def stateless(self) -> bool:
        """Whether a function without a memory decides. An object may keep something itself."""
        return inspect.isfunction(self.source) and not self._with_memory

    def act(self, view: View, memory: Memory) -> tuple[Any, Memory]:
        """The answer of the user's function to a view, and its memory for the next call (`Policy.act`).

        The user's function gets a UserView, and its memory if it takes one; "hold" becomes HOLD. What it returns as
        weights is not checked here.
        """
        user_view = UserView(view, self._universe(view.universe), self._note_reach)
        self._note_reach(0)
        returned = self._act(user_view, *((_remembered(memory),) if self._with_memory else ()))
        # (weights, memory); a pair of numbers is the weights of two symbols
        if isinstance(returned, tuple) and len(returned) == 2 and not isinstance(returned[0], Number):
            returned, returned_memory = returned
            memory = memory if returned_memory is None else _stored(returned_memory)
        return (HOLD if isinstance(returned, str) and returned == "hold" else returned), memory

    def _act_rows(self, view: BlockView, rows: Ints) -> Any:
        assert self._rows is not None
        return self._rows(view.copied(self._universe(view.universe)), rows.copy())

    def _universe(self, universe: Universe) -> Universe:
        """A copy of the universe for the file, because the caches of a universe (index, columns) are mutable."""
        if universe is not self._our_universe or self._file_universe is None:
            self._our_universe, self._file_universe = universe, msgspec.structs.replace(universe)
        return self._file_universe

    def _note_reach(self, samples: int) -> None:
        self.asked = max(self.asked, samples)


INTEGERS: Final = "int/"
"""Prefix of the stored names of integers. The journal has float64 only; the prefix turns them to integers again."""

MOST_INTEGER: Final = 2**53
"""Up to this integer float64 represents every integer exactly."""


def _stored(memory: object) -> Memory:
    """Convert the memory that a file returned to float64 arrays.

    Raises TypeError or ValueError with the name of a value that cannot be stored.
    """
    if not isinstance(memory, Mapping):
        raise TypeError(f"act returned a memory of type {type(memory).__name__}; return a dict of names to numbers")
    stored: dict[str, Floats] = {}
    for name, value in memory.items():
        if not isinstance(name, str) or name.startswith(INTEGERS):
            raise ValueError(f"memory has the name {name!r}; write another text")
        if isinstance(value, int) and abs(value) > MOST_INTEGER:
            raise ValueError(f"memory {name!r} is an integer beyond 2**53; store it as two numbers")
        try:
            array = np.asarray(value)
        except ValueError:
            array = np.empty(0, dtype=object)
        if array.dtype.kind not in "fiub":
            kind = type(value).__name__
            raise TypeError(f"memory {name!r} is {kind}; store integers, floats or arrays of numbers")
        is_integer = array.dtype.kind != "f"
        if is_integer and array.size and not -MOST_INTEGER <= int(array.min()) <= int(array.max()) <= MOST_INTEGER:
            raise ValueError(f"memory {name!r} has an integer beyond 2**53; store it as two numbers")
        stored[INTEGERS + name if is_integer else name] = array.astype(np.float64)
    return stored


def _remembered(memory: Memory) -> dict[str, Any]:
    """Return a memory as the file returned it: integers as int, floats as np.float64, arrays as copies."""
    memory_of_file: dict[str, Any] = {}
    for stored_name, value in memory.items():
        name = stored_name.removeprefix(INTEGERS)
        array = value.copy() if name == stored_name else value.astype(np.int64)
        memory_of_file[name] = array if array.ndim else int(array) if name != stored_name else np.float64(array)
    return memory_of_file


def load_user_policy(path: Path, attribute: str, params: Mapping[str, object], source: str | None = None) -> UserPolicy:
    """The policy `attribute` of the file at `path`: act(view), act(view, memory), or a class or object with act.

    `params` go to the class, or to act by keyword. `source` is the text of the file if it was read already. Raises
    ParamsError (a ValueError) with file and line.
    """
    module = _run_file(path, source_of(path) if source is None else source)
    target = getattr(module, attribute, None)
    if target is None:
        function_names = [
            name
            for name, value in vars(module).items()
            if callable(value) and not name.startswith("_") and name != "print"
        ]
        raise ParamsError(f"{path}: has no {attribute!r}; {nearest(attribute, function_names)}")
    return policy_around(path, attribute, target, params, module)


def _declared(name: str, target: object, owner: object, module: object = None) -> Any:
    """Return what a function, its object or its file declares under `name`, a file in capitals; None if none does."""
    values = (getattr(target, name, None), getattr(owner, name, None), getattr(owner, name.upper(), None))
    return next((value for value in values if value is not None), getattr(module, name.upper(), None))


def policy_around(
    path: Path, attribute: str, target: Any, params: Mapping[str, object], module: object = None, digest: str = ""
) -> UserPolicy:
    """Return the policy of a function, class or object. `module` may define its LOOKBACK and USES_BARS.

    Beside `act`, the file or class may have a function ROWS, which answers for many samples at once. `digest`
    identifies the source of a policy that has no file. Raises ParamsError for a target that cannot be called,
    parameters that do not fit, and a lookback out of bounds.
    """
    owner: object = module
    keywords = dict(params)
    if inspect.isclass(target):
        _require_parameters(path, attribute, target, keywords, given=0)
        owner = target = _guarded(path, partial(target, **keywords))
        keywords = {}
    if not inspect.isfunction(target) and hasattr(target, "act"):
        owner, target, attribute = target, target.act, f"{attribute}.act"
    if not callable(target):
        raise ParamsError(f"{path}: {attribute!r} is not a function; define act(view) or act(view, memory)")
    if any(kind(target) for kind in (inspect.iscoroutinefunction, inspect.isgeneratorfunction)):
        raise ParamsError(f"{path}: {attribute} is async or yields; it is called once a decision: write def and return")
    act_rows = getattr(owner, ROWS, None) if attribute.rpartition(".")[2] == "act" else None
    declared_lookback = keywords.get("lookback", _declared("lookback", target, owner))
    lookback = DEFAULT_LOOKBACK if declared_lookback is None else declared_lookback
    if type(lookback) is not int or not 1 <= lookback <= MOST_LOOKBACK:
        remedy = f"write a whole number of samples, 1 to {MOST_LOOKBACK}"
        raise ParamsError(f"{path}: lookback = {lookback!r} is not valid; {remedy}")
    uses_bars = bool(_declared("uses_bars", target, owner, module))
    with_memory = _takes_memory(path, attribute, target)
    _require_parameters(path, attribute, target, keywords, given=1 + with_memory)
    act = partial(target, **keywords) if keywords else target
    if act_rows is not None:
        if with_memory or uses_bars or declared_lookback is None:
            needs = "a lookback and an act(view) without memory and bars"
            raise ParamsError(f"{path}: {ROWS} is for a policy with {needs}; change it so, or remove {ROWS}")
        _require_parameters(path, ROWS, act_rows, keywords, given=2)
        act_rows = partial(act_rows, **keywords) if keywords else act_rows
    return UserPolicy(path, act, with_memory, lookback, uses_bars, digest, declared_lookback is None, act_rows)


def _takes_memory(path: Path, attribute: str, act: Callable[..., object]) -> bool:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [p for p in inspect.signature(act).parameters.values() if p.kind in kinds]
    if not named:
        raise ParamsError(f"{path}: {attribute} has no parameter for the view; define act(view) or act(view, memory)")
    return len(named) > 1 and (named[1].name == "memory" or named[1].default is inspect.Parameter.empty)


def _require_parameters(
    path: Path, attribute: str, target: Callable[..., object], keywords: dict[str, object], given: int
) -> None:
    """Raise ParamsError unless `target` can be called with `given` positional arguments and these keywords alone.

    `attribute` is the name of `target` for the message.
    """
    signature = inspect.signature(target)
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    names = list(signature.parameters)[given:]
    for key in keywords:
        if key not in names and not takes_any:
            takes = f"it takes {', '.join(names)}" if names else f"add it to def {attribute}, or remove it from params"
            raise ParamsError(f"{path}: {attribute} has no parameter {key!r}; {takes}")
    try:
        signature.bind(*[None] * given, **keywords)
    except TypeError as error:
        raise ParamsError(f"{path}: {attribute}: {error}; set it in params") from None


def source_of(path: Path) -> str:
    """Return the text of a policy file. Raises ParamsError for a missing file, a pipe or a device, and for one that is
    not UTF-8 text."""
    try:
        return read_regular(path).data.decode().replace("\r\n", "\n").replace("\r", "\n")
    except NotRead as refused:
        reason: object = refused
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
    raise ParamsError(f"{path}: {reason}; name a Python file beside the configuration")


def _run_file(path: Path, source: str) -> ModuleType:
    """The file as a module, compiled and run here, without an import path and without a cache file."""
    # registered because dataclasses and pickle find a class's module by name
    name = f"quantd_user_{path.stem}_{blake2b(str(path.resolve()).encode(), digest_size=4).hexdigest()}"
    module = ModuleType(name)
    module.__file__ = str(path)
    module.__dict__["print"] = _print_to_stderr
    sys.modules[name] = module

    def run() -> ModuleType:
        exec(compile(source, str(path), "exec"), module.__dict__)
        return module

    return _guarded(path, run)


def _print_to_stderr(*values: object, **keywords: Any) -> None:
    """Prints to standard error; standard output belongs to the command, and may be JSON."""
    builtins.print(*values, **{"file": sys.stderr, **keywords})  # noqa: T201 - it is the user who prints


def _unwatched(path: Path) -> AbstractContextManager[object]:
    return nullcontext()


WATCH: Callable[[Path], AbstractContextManager[object]] = _unwatched
"""Returns the context in which the code of a policy file is run at its load; research sees there what it opens."""


def _guarded(path: Path, make: Callable[[], Any]) -> Any:
    """The result of `make`. Raises ParamsError with file and line for an exception of the user's code."""
    try:
        with WATCH(path):
            return make()
    except KeyboardInterrupt:
        raise
    except SyntaxError as error:
        raise ParamsError(f"{path}:{error.lineno}: {error.msg}; correct that line") from None
    except BaseException as error:
        line = _line_number(error, path)
        where = f"{path}:{line}" if line else str(path)
        raise ParamsError(f"{where}: {_exception_text(error)}; correct that line") from None


def _line_number(error: BaseException, path: Path) -> int | None:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return lines[-1] if lines else None


def _exception_text(error: BaseException) -> str:
    """The class and the text of an exception of a user's file in one line, the text cut to TEXT characters."""
    kind = "exception"
    try:
        kind = " ".join(type(error).__name__[:TEXT].split())
        text = " ".join(str(error).split())
    except KeyboardInterrupt:
        raise
    except BaseException:  # the file defines the class of the exception: its __str__ may even raise SystemExit
        text = "(its text cannot be read)"
    text = text if len(text) <= TEXT else text[:TEXT] + "…"
    return f"{kind}: {text}" if text else kind


def place_of(error: BaseException, policy: Policy) -> str:
    """An exception in one line, with the line of the user's file if any: `ValueError: .. at value.py:12`."""
    if isinstance(error, PolicyFailed):
        return str(error)
    text = _exception_text(error)
    if isinstance(policy, UserPolicy):
        line = _line_number(error, policy.path)
        return f"{text} at {policy.path.name}:{line}" if line else f"{text} ({policy.path.name})"
    return text
