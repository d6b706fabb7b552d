"""Search spaces of learners: draws by Optuna, JSON, and descriptions."""

from typing import TYPE_CHECKING

import msgspec

from quantd.training.learners.record import Between, OneOf, Space

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = float | int | tuple[int, ...]


def suggest(space: Space, draw: "Trial") -> dict[str, Value]:
    """Return one value per key, chosen by an Optuna trial, for `quantd.training.plans.plan.replaced`."""
    return {name: _one(name, where, draw) for name, where in space.items()}


def value(drawn: float | int | str) -> Value:
    """Return the plan's value of a drawn one: the layer widths (256, 128) for "256-128"."""
    return tuple(map(int, drawn.split("-"))) if isinstance(drawn, str) else drawn


def dump(space: Space) -> str:
    """Return a space as JSON."""
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
