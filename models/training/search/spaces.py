"""Search spaces of learners: values drawn by Optuna, as JSON, and in words."""

from typing import TYPE_CHECKING

import msgspec

from quantd.models.learners.record import Between, OneOf, Space

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = float | int | tuple[int, ...]


def suggest(space: Space, draw: "Trial") -> dict[str, Value]:
    """One value for each key, for `quantd.models.training.plans.plan.replaced`; an Optuna trial chooses."""
    return {name: _one(name, where, draw) for name, where in space.items()}


def value(where: Between | OneOf, drawn: float | int | str) -> Value:
    """What a plan takes, of what a study keeps."""
    return widths(drawn) if isinstance(drawn, str) else drawn


def widths(text: str) -> tuple[int, ...]:
    """Of the layers of a network: (256, 128) of "256-128"."""
    return tuple(int(part) for part in text.split("-"))


def dump(space: Space) -> str:
    """As JSON, key after key."""
    return msgspec.json.format(msgspec.json.encode(space), indent=2).decode()


def lines(space: Space) -> list[tuple[str, str]]:
    """(key, where its values lie) in words."""
    return [(name, _words(where)) for name, where in space.items()]


def _one(name: str, where: Between | OneOf, draw: "Trial") -> Value:
    if isinstance(where, OneOf):
        drawn = draw.suggest_categorical(name, where.values)
        assert isinstance(drawn, int | str)
        return value(where, drawn)
    if where.whole:
        return draw.suggest_int(name, int(where.low), int(where.high), log=where.log)
    return draw.suggest_float(name, where.low, where.high, log=where.log)


def _words(where: Between | OneOf) -> str:
    if isinstance(where, OneOf):
        return "one of " + ", ".join(f"{each:,}" if isinstance(each, int) else each for each in where.values)
    low, high = (f"{int(end):,}" if where.whole else f"{end:g}" for end in (where.low, where.high))
    return f"{low} to {high}" + (", by the logarithm" if where.log else "")
