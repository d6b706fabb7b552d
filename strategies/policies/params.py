"""Parameters of policies: from a table of a configuration to a frozen class, or one clear sentence why not."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

import msgspec
from msgspec import Struct

from quantd.trading.exit_codes import CONFIG, ExplainedError

P = TypeVar("P", bound=Struct)


class ParamsError(ExplainedError, ValueError):
    """A parameter that a policy does not have or cannot use; the text names it, its value and the remedy."""

    exit_code = CONFIG


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or the list of what there is when nothing is near."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(names)}" if names else "it takes none"


def parse(policy: str, params: Mapping[str, object], kind: type[P]) -> P:
    """`params` as the frozen class `kind`; ParamsError names the first wrong key."""
    for key in params:
        if key not in kind.__struct_fields__:
            raise ParamsError(f"{policy} has no parameter {key!r}; {nearest(key, kind.__struct_fields__)}")
    for key, value in params.items():
        try:
            msgspec.convert({key: value}, kind)
        except msgspec.ValidationError as error:
            reason = str(error).split(" - at ")[0].replace("`", "")
            raise ParamsError(f"{policy}: {key} = {value!r}: {reason[0].lower()}{reason[1:]}") from None
    return msgspec.convert(dict(params), kind)
