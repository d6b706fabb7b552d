"""Functions, classes and objects of the caller as policies."""

import inspect
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from quantd.daemon.policies.user_file import load_user_policy, policy_around
from quantd.trading.ports import Policy

FILE: Final = "caller.py"
"""Stands for a file in the configuration of a backtest of the caller's function."""


class CallerPolicy:
    """Loads the caller's function in place of FILE, and any other policy as usual (a `policies.loading.Apart`)."""

    def __init__(self, found: object) -> None:
        self._found = found

    def file(self, path: Path, attribute: str, params: Mapping[str, object]) -> Policy:
        """Return the policy of the caller's function, or of a file. Raises ParamsError."""
        if path.name != FILE:
            return load_user_policy(path, attribute, params)
        code = _code(self._found)
        place = Path(code.co_filename if code is not None else f"<{name_of(self._found)}>")
        return policy_around(place, name_of(self._found), self._found, params, digest=source_digest(self._found))

    def registered(self, name: str, params: Mapping[str, object], policy: Policy) -> Policy:
        """Return the registered policy itself."""
        return policy

    def reading(self, folders: Sequence[Path]) -> "CallerPolicy":
        """Return itself: the caller's function has the rights of its process."""
        return self


def name_of(found: object) -> str:
    """Return the name of a function or class, or of an object's class; "act" for a lambda."""
    name = str(getattr(found, "__name__", type(found).__name__))
    return name if name.isidentifier() else "act"


def source_digest(found: object) -> str:
    """Return hex BLAKE2b of a function's source text and of the values that it captured."""
    target: Any = found if hasattr(found, "__name__") else type(found)
    code = _code(found)
    try:
        text = inspect.getsource(target)
    except (OSError, TypeError):
        text = repr((code.co_code, code.co_consts, code.co_names)) if code is not None else repr(target)
    held = [getattr(found, "__defaults__", None), getattr(found, "__kwdefaults__", None)]
    held += [_cell(each) for each in getattr(found, "__closure__", None) or ()]
    held.append(None if target is found else vars(found) if hasattr(found, "__dict__") else None)
    return blake2b(f"{text}\n{held!r}".encode(), digest_size=16).hexdigest()


def _cell(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that is not assigned yet
        return None


def _code(found: object) -> Any:
    own = found if hasattr(found, "__code__") else getattr(found, "act", None)
    return getattr(own, "__code__", None)
