"""Functions, classes and objects of the caller as policies."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import cloudpickle
import msgspec

from quantd.daemon.policies.user_file import load_user_policy, policy_around
from quantd.models.isolation.graph_process import opener
from quantd.models.isolation.session import OpenGraph
from quantd.research.studies.sweep_points import Base, Market, Point, Work, run_point
from quantd.trading.exit_codes import USAGE, ExplainedError
from quantd.trading.ports import Policy

FILE: Final = "caller.py"
"""Stands for a file in the configuration of a backtest of the caller's function."""


class CallerPolicy:
    """Loads the policies of a configuration, with the caller's function as one of them.

    In the configuration, the placeholder FILE stands for the caller's function. Any other policy is loaded as usual.
    The class has the methods of `Apart`, which loads policies of files.
    """

    def __init__(self, policy: object, known_as: tuple[Path, str, str] | None = None) -> None:
        """`policy` is the caller's function, class or object.

        `known_as` is the policy's (file, name, digest of the source) in the caller's process, because a worker process
        cannot read the source. With None, all three are computed here.
        """
        self._policy = policy
        code = _code_of(policy)
        source_path = Path(code.co_filename if code is not None else f"<{name_of(policy)}>")
        self._first_digest = source_digest(policy)
        self.known_as = known_as or (source_path, name_of(policy), self._first_digest)

    @property
    def changed(self) -> bool:
        """True if the policy's variables changed since the start. A change that `repr` does not show is missed."""
        return source_digest(self._policy) != self._first_digest

    def file(self, path: Path, attribute: str, params: Mapping[str, object]) -> Policy:
        """Return the caller's function as a policy if `path` is FILE, else the policy in the file `path`.

        Raises ParamsError for wrong parameters.
        """
        if path.name != FILE:
            return load_user_policy(path, attribute, params)
        source_path, name, digest = self.known_as
        return policy_around(source_path, name, self._policy, params, digest=digest)

    def registered(self, name: str, params: Mapping[str, object], policy: Policy) -> Policy:
        """Return `policy` itself, which runs in this process."""
        return policy

    def graphs(self) -> OpenGraph:
        """Return the function that opens the graphs of one trained policy, as a command does."""
        return opener()

    def reading(self, folders: Sequence[Path]) -> "CallerPolicy":
        """Return this object unchanged: the caller's function can read whatever its process can, not just `folders`."""
        return self

    def packed(self) -> bytes:
        """Return (the caller's function, `known_as`) pickled for another process, with all that the function refers to.

        `known_as` is (file, name, digest of the source). Raises Unsendable where cloudpickle cannot pack one of these
        objects.
        """
        module = inspect.getmodule(self._policy if hasattr(self._policy, "__name__") else type(self._policy))
        # cloudpickle packs __main__ by value in any case; a module that the caller registered must stay registered
        registers_module = module is not None and module.__name__ not in (
            "__main__",
            *cloudpickle.list_registry_pickle_by_value(),
        )
        if registers_module:
            # without this, pickle stores only the name of the module, whose file another machine does not have
            cloudpickle.register_pickle_by_value(module)
        try:
            return bytes(cloudpickle.dumps((self._policy, self.known_as)))
        except Exception as error:  # the objects that the function refers to can raise any exception
            name = self.known_as[1]
            raise Unsendable(
                f"{name} cannot be sent to a worker process ({type(error).__name__}: {error}); use workers=1, or write "
                "the function into a file and name it FILE.py:act"
            ) from None
        finally:
            if registers_module:
                cloudpickle.unregister_pickle_by_value(module)


class Unsendable(ExplainedError, TypeError):
    """A function that refers to an object of this process only: an open file, a lock, a connection."""

    exit_code = USAGE


class SentPoints:
    """Runs the points of a sweep with the caller's function as the policy, in a worker process."""

    def __init__(self, caller: CallerPolicy, *, stop: bool) -> None:
        self._packed, self._stop = caller.packed(), stop

    def __call__(self, work: Work, tell: Callable[[Point], bool]) -> int:
        """Run the points of `work`, and pass each to `tell` until it returns True. Return how many points ran."""
        market = _market_of(self._packed, msgspec.msgpack.encode(work.base))
        for done, (index, values) in enumerate(work.points):
            if tell(run_point(market, work.base, work.keys, index, values, stop=self._stop)):
                return done + 1
        return len(work.points)


@lru_cache(maxsize=1)
def _market_of(packed: bytes, encoded: bytes) -> Market:
    """Return the market of an encoded `Base` (shared input of a sweep), cached for the sweep's further points."""
    policy, known_as = cloudpickle.loads(packed)
    return Market.open(msgspec.msgpack.decode(encoded, type=Base), CallerPolicy(policy, known_as))


def name_of(policy: object) -> str:
    """Return the name of a function or class, or of an object's class; "act" for a lambda."""
    name = str(getattr(policy, "__name__", type(policy).__name__))
    return name if name.isidentifier() else "act"


def source_digest(policy: object) -> str:
    """Return hex BLAKE2b of a policy's source text and of its captured values: defaults, closure, attributes."""
    target: Any = policy if hasattr(policy, "__name__") else type(policy)
    code = _code_of(policy)
    try:
        source = inspect.getsource(target)
    except (OSError, TypeError):
        source = repr((code.co_code, code.co_consts, code.co_names)) if code is not None else repr(target)
    captured = [getattr(policy, "__defaults__", None), getattr(policy, "__kwdefaults__", None)]
    captured += [_cell_content(cell) for cell in getattr(policy, "__closure__", None) or ()]
    captured.append(None if target is policy else vars(policy) if hasattr(policy, "__dict__") else None)
    return blake2b(f"{source}\n{captured!r}".encode(), digest_size=16).hexdigest()


def _cell_content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that is not assigned yet
        return None


def _code_of(policy: object) -> Any:
    """Return the code object of a function or of the method `act` of an object; None for neither."""
    function = policy if hasattr(policy, "__code__") else getattr(policy, "act", None)
    return getattr(function, "__code__", None)
