"""Search spaces of learners: draws by Optuna, JSON, descriptions, and ranges in words (`0.2:0.9`).

What can go wrong. A value of a plan may lie outside the range that its learner usually searches. Then every trial
differs from the plan in this key, and the best trial can be worse than the plan. `outside` names such keys, and
`with_ranges` replaces their ranges.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

import msgspec

from quantd.trading.exit_codes import ExplainedError
from quantd.training.learners.record import Between, OneOf, Space, learners
from quantd.training.plans.plan import Plan, described, replaced

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = float | int | tuple[int, ...]

FORMS: Final = "KEY=LOW:HIGH, KEY=LOW:HIGH:log, KEY=A,B,C, or KEY= to keep the plan's value"


class RangeError(ExplainedError, ValueError):
    """A range that cannot be searched; the message has the text of the range and the accepted forms."""


def with_ranges(plan: Plan, texts: Sequence[str]) -> Space:
    """Return the space of the plan's learner with the ranges of `texts`, "learner.gamma=0.2:0.9" for example.

    A range that names no scale (linear or logarithmic) has the scale of the usual range of its key. A text without a
    range, such as "learner.gamma=", removes its key from the search. Raises RangeError for text of another form, a key
    that the plan does not have, an end of a range that the plan cannot have, or an empty space.
    """
    space, settings = learners()[plan.agent].space, described(plan)
    ranges = dict(space)
    for text in texts:
        key, equals, range_text = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise RangeError(f"--over {text!r}: {FORMS}")
        if key not in settings:
            raise RangeError(f"--over {text!r}: the plan has no key {key}; `quantd train --show` lists its keys")
        if range_text:
            try:
                ranges[key] = _range(range_text, space.get(key), settings[key])
                for end in _ends(ranges[key]):
                    replaced(plan, {key: end})
            except ValueError as error:
                raise RangeError(f"--over {text!r}: {error}; {FORMS}") from None
        else:
            ranges.pop(key, None)
    if not ranges:
        raise RangeError("--over: nothing is left to search")
    return ranges


def outside(space: Space, plan: Plan) -> list[tuple[str, Value]]:
    """Return (key, value in the plan) for the keys of `space` whose range does not contain the value in the plan."""
    settings = described(plan)
    values = [(key, cast("Value", settings[key]), where) for key, where in space.items() if key in settings]
    return [(key, setting) for key, setting, where in values if not _holds(where, setting)]


def shown(setting: Value) -> str:
    """Return a value of a plan in words: the layer widths (64, 64) as "64-64", four digits of a real number."""
    if isinstance(setting, tuple):
        return "-".join(map(str, setting))
    return f"{setting:.4g}" if isinstance(setting, float) else str(setting)


def _holds(where: Between | OneOf, setting: Value) -> bool:
    if isinstance(where, OneOf):
        return setting in map(value, where.values)
    assert not isinstance(setting, tuple)
    return where.low <= setting <= where.high


def _ends(where: Between | OneOf) -> list[Value]:
    """Return the values that a plan must be able to have: both ends of a range, or each choice."""
    if isinstance(where, OneOf):
        return list(map(value, where.values))
    return [int(end) if where.whole else end for end in (where.low, where.high)]


def _range(text: str, usual: Between | OneOf | None, setting: object) -> Between | OneOf:
    """Parse the text of a range. Raises ValueError for text that is no range."""
    low, colon, above = text.partition(":")
    if not colon:
        return OneOf(tuple(_choice(word.strip(), widths=isinstance(setting, list | tuple)) for word in text.split(",")))
    high, _, scale = above.partition(":")
    if scale not in ("", "log", "linear"):
        raise ValueError(f"the scale {scale!r} is neither log nor linear")
    if isinstance(setting, bool) or not isinstance(setting, int | float):
        raise ValueError(f"the plan's value {setting!r} is no number")
    # a range that names no scale has that of the usual range of its key
    log = scale == "log" or (not scale and isinstance(usual, Between) and usual.log)
    integer = isinstance(setting, int)
    least, most = (_number(word.strip(), integer=integer) for word in (low, high))
    return Between(least, most, log=log, whole=integer)


def _number(word: str, *, integer: bool) -> float:
    """Parse an end of a range. Raises ValueError unless the number is finite and, with `integer`, a whole number."""
    try:
        end = float(word)
    except ValueError:
        raise ValueError(f"{word!r} is no number") from None
    if not math.isfinite(end) or (integer and not end.is_integer()):
        raise ValueError(f"{word!r} is no {'whole' if integer else 'finite'} number")
    return end


def _choice(word: str, *, widths: bool) -> int | str:
    """Parse a choice: a whole number or, with `widths`, text of layer widths such as "64-64".

    Raises ValueError for others.
    """
    parts = word.split("-") if widths else [word]
    if not all(part.isdigit() for part in parts):
        raise ValueError(f"{word!r}: {'widths of layers are written 64-64' if widths else 'no whole number'}")
    return word if widths else int(word)


def suggest(space: Space, draw: "Trial") -> dict[str, Value]:
    """Return one value per key, chosen by an Optuna trial, for `quantd.training.plans.plan.replaced`."""
    return {name: _one(name, where, draw) for name, where in space.items()}


def value(drawn: float | int | str) -> Value:
    """Convert a drawn value to the plan's form: "256-128" to the layer widths (256, 128), others unchanged."""
    return tuple(map(int, drawn.split("-"))) if isinstance(drawn, str) else drawn


def dump(space: Space) -> str:
    return msgspec.json.format(msgspec.json.encode(space), indent=2).decode()


def lines(space: Space) -> list[tuple[str, str]]:
    """Return (key, description of its range) pairs."""
    return [(name, _words(where)) for name, where in space.items()]


def _one(name: str, where: Between | OneOf, draw: "Trial") -> Value:
    if isinstance(where, OneOf):
        drawn = draw.suggest_categorical(name, where.values)
        assert isinstance(drawn, int | str)
        return value(drawn)
    if where.whole:
        return draw.suggest_int(name, int(where.low), int(where.high), log=where.log)
    return draw.suggest_float(name, where.low, where.high, log=where.log)


def _words(where: Between | OneOf) -> str:
    if isinstance(where, OneOf):
        return "one of " + ", ".join(f"{choice:,}" if isinstance(choice, int) else choice for choice in where.values)
    low, high = (f"{int(end):,}" if where.whole else f"{end:g}" for end in (where.low, where.high))
    return f"{low} to {high}" + (", by the logarithm" if where.log else "")
