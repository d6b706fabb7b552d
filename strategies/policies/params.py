"""Parameters of policies: converts a table of a configuration to a frozen class, or names the mistake."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from math import isfinite
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from quantd.trading.exit_codes import CONFIG, ExplainedError

Lookback = Annotated[int, Meta(ge=2, le=5000)]
"""Number of samples."""

Share = Annotated[float, Meta(ge=0.0, le=1.0)]

P = TypeVar("P", bound=Struct)


class ParamsError(ExplainedError, ValueError):
    """A parameter that a policy does not have or cannot use; the text names it, its value and the remedy."""

    exit_code = CONFIG


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return the remedy for an unknown name: `did you mean 'x'?`, or the list of known names if none is similar."""
    names = sorted(choices)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(names)}" if names else "it takes none"


def parse(policy: str, params: Mapping[str, object], kind: type[P]) -> P:
    """Convert `params` to the frozen class `kind`.

    Raises ParamsError with the first mistake and the key. If `__post_init__` of the class raises ValueError, the
    message is the text of that error, without a key.
    """
    for key in params:
        if key not in kind.__struct_fields__:
            raise ParamsError(f"{policy} has no parameter {key!r}; {nearest(key, kind.__struct_fields__)}")
    try:
        parsed = msgspec.convert(params, kind)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ValueError):
            raise ParamsError(f"{policy}: {error.__cause__}") from None
        reason, _, place = str(error).replace("`", "").partition(" - at $")
        key = re.sub(r"^\.|\[\.\.\.\].*", "", place)
        where = f"{key} = {params[key]!r}" if key in params else f"params{place}"
        raise ParamsError(f"{policy}: {where}: {reason[0].lower()}{reason[1:]}") from None
    for key, value in params.items():
        if not _finite(value):
            raise ParamsError(f"{policy}: {key} = {value!r}: expected finite numbers")
    return parsed


def _finite(value: object) -> bool:
    """Whether a parameter, and each value inside it, is no NaN and no infinity."""
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    return (
        all(map(_finite, value)) if isinstance(value, list | tuple) else not isinstance(value, float) or isfinite(value)
    )
