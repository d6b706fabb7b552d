"""Checks the arguments of the functions that `quantd` exports, by their signatures, before a function runs."""

import functools
import inspect
import os
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from math import isfinite
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

import numpy as np

from quantd.daemon.assembly.limit_keys import limit_keys
from quantd.daemon.config.keys import all_keys
from quantd.trading.exit_codes import USAGE, ExplainedError

SHOWN: Final = 60
"""Most characters of a value in a message."""


KEYS: Final = {
    "capital": "broker.cash", "initial_capital": "broker.cash", "initial_cash": "broker.cash",
    "init_cash": "broker.cash", "commission": "broker.commission_bp", "fee": "broker.commission_bp",
    "fees": "broker.commission_bp", "slippage": "broker.slippage_bp", "spread": "broker.spread_bp",
    "start_date": "feed.start", "end_date": "feed.end", "freq": "feed.interval", "timeframe": "feed.interval",
    "rebalance": "agents.policy.rebalance", "rebalance_freq": "agents.policy.rebalance",
    "profile": "risk.profile",
}  # fmt: skip
"""Names of arguments in other packages -> the key of the configuration with their value."""

TABLES: Final = {"agents.policy.rebalance": '{"when": "calendar", "every": "month"}'}
"""Keys whose value is a table -> an example of it."""

MARKET: Final = ("broker", "feed", "universe", "account", "execution")
"""Tables of the configuration whose keys people write as arguments."""

ARGUMENTS: Final = {
    "data": "bars", "df": "bars", "prices": "bars", "ohlc": "bars", "close": "bars", "strategy": "what",
    "policy": "what", "weights": "what", "parameters": "params", "kwargs": "params",
}  # fmt: skip
"""Names of arguments in other packages -> the argument with their value here."""


class Misused(ExplainedError, TypeError):
    """Arguments that are wrong, or that do not go together. The text names the remedy."""

    exit_code = USAGE


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with a check of its arguments: an unknown one and a wrong type raise Misused.

    A parameter with the annotation `object` takes any value, which the function itself checks.
    """
    signature = inspect.signature(function)
    kinds = inspect.get_annotations(function)

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        for name in named:
            if name not in signature.parameters:
                raise Misused(_unknown(function.__name__, name, list(signature.parameters)))
        try:
            arguments = signature.bind(*given, **named).arguments
        except TypeError as why:
            raise Misused(f"{function.__name__}{signature}: {why}") from None
        for name, value in arguments.items():
            if signature.parameters[name].kind is not inspect.Parameter.VAR_POSITIONAL and not fits(value, kinds[name]):
                shown = repr(value)[:SHOWN]
                raise Misused(f"{function.__name__}: {name} = {shown} is not {_words(kinds[name])}; correct it")
        try:
            return function(*given, **named)
        except ExplainedError as error:
            if len(error.args) == 1:
                error.args = (_in_python(str(error.args[0])),)
            raise

    return call


def _in_python(text: str) -> str:
    """Return a message whose remedies are options of a command with arguments in their place."""
    text = text.replace("--over KEY=VALUES", 'over={"KEY": [VALUE, VALUE]}').replace("(--from)", "(feed.start)")
    text = text.replace("--points N", "points=N")
    text = re.sub(r"\(--first (\w+), --window (\w+)\)", r'(first="\1", window="\2")', text)
    return re.sub(r"as a setting, --set (\S+)=VALUE", r'as a setting, settings={"\1": VALUE}', text)


def _unknown(function: str, name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    remedy = f"did you mean {close[0]}?" if close else f"its arguments are {', '.join(known)}"
    key = KEYS.get(name) or (
        f"risk.{name}"
        if name in {limit.key for limit in limit_keys()}
        else next((".".join(path) for path in all_keys() if path[0] in MARKET and path[1:] == (name,)), "")
    )
    if ARGUMENTS.get(name) in known:
        remedy = f"write {ARGUMENTS[name]}="
    elif key and "settings" in known:
        remedy = f'write settings={{"{key}": {TABLES.get(key, "...")}}}'
    further = "; a key of the configuration goes into settings={...}" if "settings" in known else ""
    return f"{function} has no argument {name}{further}; {remedy}"


def fits(value: object, kind: Any) -> bool:
    """Whether a value has the type of an annotation. A bool is no number, NaN and infinity are not floats here."""
    inner, is_bool = get_args(kind), isinstance(value, bool | np.bool_)
    match get_origin(kind) or kind:
        case _ if isinstance(kind, str):  # an annotation as text names a class, which the function knows itself
            return not isinstance(value, Real)
        case origin if origin is Union or origin is UnionType:
            return any(fits(value, alternative) for alternative in inner)
        case origin if origin is Literal:
            return isinstance(value, Hashable) and value in inner
        case origin if origin is NoneType or kind is None:
            return value is None
        case origin if origin is bool:
            return is_bool
        case origin if origin is int:
            return not is_bool and isinstance(value, Integral)
        case origin if origin is float:
            return not is_bool and isinstance(value, Real) and isfinite(value)
        case origin if origin is Mapping:
            return isinstance(value, Mapping) and all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
        case origin if origin is Sequence:
            return isinstance(value, Sequence) and not isinstance(value, str) and all(fits(v, inner[0]) for v in value)
        case origin if origin is Iterable:
            return isinstance(value, Iterable) and not isinstance(value, str)
        case origin if origin is Callable:
            return callable(value)
        case origin if origin is os.PathLike:
            return isinstance(value, os.PathLike)
        case origin:
            return isinstance(value, origin)


def _words(kind: Any) -> str:
    """An annotation as text."""
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "text", NoneType: "None"}
    if (get_origin(kind) or kind) in (Union, UnionType):
        return " or ".join(map(_words, get_args(kind)))
    if get_origin(kind) is Literal:
        return " or ".join(f'"{value}"' for value in get_args(kind) if value != "")
    return names.get(kind) or (kind if isinstance(kind, str) else str(kind).replace("collections.abc.", ""))
