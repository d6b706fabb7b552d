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
from quantd.models.artifacts.session import OpenGraph, here
from quantd.research.studies.sweep_points import Base, Market, Point, Work, run_point
from quantd.trading.exit_codes import USAGE, ExplainedError
from quantd.trading.ports import Policy

FILE: Final = "caller.py"
"""Stands for a file in the configuration of a backtest of the caller's function."""


class CallerPolicy:
    """Loads the caller's function in place of FILE, and any other policy as usual (a `policies.loading.Apart`)."""

    def __init__(self, policy: object, known_as: tuple[Path, str, str] | None = None) -> None:
        """`known_as` are its file, name and digest where it was written; another process cannot read its source."""
        self._found = policy
        code = _code(policy)
        place = Path(code.co_filename if code is not None else f"<{name_of(policy)}>")
        self._before = source_digest(policy)
        self.known_as = known_as or (place, name_of(policy), self._before)

    @property
    def changed(self) -> bool:
        """Whether its variables have other values than when this was made; of values that name themselves by them."""
        return source_digest(self._found) != self._before

    def file(self, path: Path, attribute: str, params: Mapping[str, object]) -> Policy:
        """Return the policy of the caller's function, or of a file. Raises ParamsError for wrong parameters."""
        if path.name != FILE:
            return load_user_policy(path, attribute, params)
        place, name, digest = self.known_as
        return policy_around(place, name, self._found, params, digest=digest)

    def registered(self, name: str, params: Mapping[str, object], policy: Policy) -> Policy:
        """Return the registered policy itself."""
        return policy

    def graphs(self) -> OpenGraph:
        """Return the opener of this process: a trained policy of the caller runs beside the caller's function."""
        return here

    def reading(self, folders: Sequence[Path]) -> "CallerPolicy":
        """Return itself: the caller's function has the rights of its process."""
        return self

    def packed(self) -> bytes:
        """Return the function with the objects that it refers to, as bytes for another process.

        Raises Unsendable where cloudpickle cannot pack one of them.
        """
        module = inspect.getmodule(self._found if hasattr(self._found, "__name__") else type(self._found))
        by_value = module is not None and module.__name__ not in (
            "__main__",
            *cloudpickle.list_registry_pickle_by_value(),
        )
        if by_value:
            # a worker of another machine does not have the file
            cloudpickle.register_pickle_by_value(module)
        try:
            return bytes(cloudpickle.dumps((self._found, self.known_as)))
        except Exception as error:  # whatever it refers to decides what is raised
            name = self.known_as[1]
            raise Unsendable(
                f"{name} cannot be sent to a worker process ({type(error).__name__}: {error}); run it with workers=1, "
                "or write it into a file, FILE.py:act"
            ) from None
        finally:
            if by_value:
                cloudpickle.unregister_pickle_by_value(module)


class Unsendable(ExplainedError, TypeError):
    """A function refers to what no other process can have: an open file, a lock, a connection."""

    exit_code = USAGE


class SentPoints:
    """Runs points of a caller's function in a worker process."""

    def __init__(self, caller: CallerPolicy, *, stop: bool) -> None:
        self._packed, self._stop = caller.packed(), stop

    def __call__(self, work: Work, tell: Callable[[Point], bool]) -> int:
        market = _market_of(self._packed, msgspec.msgpack.encode(work.base))
        for done, (number, values) in enumerate(work.points):
            if tell(run_point(market, work.base, work.keys, number, values, stop=self._stop)):
                return done + 1
        return len(work.points)


@lru_cache(maxsize=1)
def _market_of(packed: bytes, encoded: bytes) -> Market:
    policy, known_as = cloudpickle.loads(packed)
    return Market.open(msgspec.msgpack.decode(encoded, type=Base), CallerPolicy(policy, known_as))


def name_of(policy: object) -> str:
    """Return the name of a function or class, or of an object's class; "act" for a lambda."""
    name = str(getattr(policy, "__name__", type(policy).__name__))
    return name if name.isidentifier() else "act"


def source_digest(policy: object) -> str:
    """Return hex BLAKE2b of a function's source text and of the values that it captured."""
    target: Any = policy if hasattr(policy, "__name__") else type(policy)
    code = _code(policy)
    try:
        text = inspect.getsource(target)
    except (OSError, TypeError):
        text = repr((code.co_code, code.co_consts, code.co_names)) if code is not None else repr(target)
    held = [getattr(policy, "__defaults__", None), getattr(policy, "__kwdefaults__", None)]
    held += [_cell(cell) for cell in getattr(policy, "__closure__", None) or ()]
    held.append(None if target is policy else vars(policy) if hasattr(policy, "__dict__") else None)
    return blake2b(f"{text}\n{held!r}".encode(), digest_size=16).hexdigest()


def _cell(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that is not assigned yet
        return None


def _code(policy: object) -> Any:
    function = policy if hasattr(policy, "__code__") else getattr(policy, "act", None)
    return getattr(function, "__code__", None)
