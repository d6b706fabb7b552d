"""The first difference of a world, as text."""

from typing import Any, Final

import msgspec
import numpy as np

from quantd.trading.codec import decode

from .sides import Side, unpacked

ARRAYS: Final = {
    "weights": "<f8", "prices": "<f8", "before": "<i8", "crossed": "<i8", "net": "<i8", "allowed": "<i8",
    "asked": "<i8", "reason": "i1",
}  # fmt: skip
"""Type of the values of a field of bytes."""

VIEW: Final = ("weights", "prices", "cash", "equity", "time", "sample_time", "sample")
"""Parts of a recorded view."""


def explain(sides: tuple[Side, Side], seed: int, *, journal: bool, before: int = 3) -> str:
    """The first difference of a world, with `before` rows or steps before it; empty without one."""
    for side in sides:
        side.ask(seed, verbose=True)
    answers = sides[0].answer(), sides[1].answer()
    return _of_steps(seed, answers, before) if journal else _of_rows(seed, answers, before)


def _first(old: list[Any], new: list[Any]) -> int:
    """The first place at which two lists differ; -1 for equal lists."""
    size = min(len(old), len(new))
    at = next((k for k in range(size) if old[k] != new[k]), size)
    return -1 if at == len(old) == len(new) else at


def _of_rows(seed: int, answers: tuple[dict[str, Any], dict[str, Any]], rows_before: int) -> str:
    old, new = answers[0]["rows"], answers[1]["rows"]
    at = _first(old, new)
    if at < 0:
        return ""
    lines = [f"seed {seed}: row {at} of {len(old)} (base) and {len(new)} (present) differs"]
    lines += [f"  both     {row}" for row in old[max(0, at - rows_before) : at]]
    for name, answer in zip(("base", "present"), answers, strict=True):
        row, event = (answer[part][at] if at < len(answer["rows"]) else "no row" for part in ("rows", "kinds"))
        lines.append(f"  {name:8s} {row} (after {event})")
    return "\n".join(lines)


def _of_steps(seed: int, answers: tuple[dict[str, Any], dict[str, Any]], steps_before: int) -> str:
    old, new = unpacked(answers[0]["steps"]), unpacked(answers[1]["steps"])
    at = _first(old, new)
    if at < 0:
        return ""
    lines = [f"seed {seed}: step {at} of {len(old)} (base) and {len(new)} (present) differs"]
    lines += [f"  both     step {k}: {_summary(old[k][0])}" for k in range(max(0, at - steps_before), at)]
    if at >= min(len(old), len(new)):
        name, longer = ("base", old) if len(old) > len(new) else ("present", new)
        return "\n".join([*lines, f"  {name:8s} alone has step {at}: {_summary(longer[at][0])}"])
    (old_entry, old_views), (new_entry, new_views) = old[at], new[at]
    if old_entry == new_entry:
        return "\n".join([*lines, f"  event    {_decoded(old_entry)[0]}", *_views(old_views, new_views)])
    (event, effects), (other, other_effects) = _decoded(old_entry), _decoded(new_entry)
    if event != other:
        return "\n".join([*lines, f"  base     event {event}", f"  present  event {other}"])
    lines.append(f"  event    {event}")
    k = max(_first(effects, other_effects), 0)
    lines.append(f"  effect {k} differs")
    for name, side_effects in (("base", effects), ("present", other_effects)):
        lines.append(f"  {name:8s} {side_effects[k] if k < len(side_effects) else 'no effect'}")
    return "\n".join(lines)


def _decoded(entry: bytes) -> tuple[str, list[str]]:
    """The event and the effects of a journal entry as text; a value of the whole run is an event."""
    try:
        step = decode(entry)
    except msgspec.DecodeError:
        return str(msgspec.msgpack.decode(entry)), []
    return written(step.event), [written(effect) for effect in step.effects]


def _summary(entry: bytes) -> str:
    """The event of a step and the kinds of its effects."""
    event, effects = _decoded(entry)
    kinds = ", ".join(effect.partition("(")[0] for effect in effects)
    return f"{event} -> {kinds}" if kinds else event


def written(value: Any, name: str = "") -> str:
    """A struct as text, without fields that have their default, and with arrays in place of bytes."""
    if isinstance(value, msgspec.Struct):
        pairs = [(field, getattr(value, field.name)) for field in msgspec.structs.fields(value)]
        shown = [f"{field.name}={written(part, field.name)}" for field, part in pairs if part != _default(field)]
        return f"{type(value).__name__}({', '.join(shown)})"
    if isinstance(value, bytes) and name in ARRAYS:
        return str(np.frombuffer(value, dtype=ARRAYS[name]).tolist())
    if isinstance(value, bytes) and len(value) > 40:
        return f"{value[:20].hex()}… ({len(value)} bytes)"
    if isinstance(value, list) and value and isinstance(value[0], msgspec.Struct):
        return f"[{', '.join(written(part) for part in value)}]"
    return repr(value)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    """The default of a field; NODEFAULT without one."""
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _views(old: bytes, new: bytes) -> list[str]:
    """The first part that differs between what policies see."""
    pairs = zip(msgspec.msgpack.decode(old), msgspec.msgpack.decode(new), strict=True)
    for k, (before, after) in enumerate(pairs):
        for name, one, other in zip(VIEW, before, after, strict=True):
            if one != other:
                shown = [f"  {side:8s} {written(v, name)}" for side, v in (("base", one), ("present", other))]
                return [f"  view of Ask {k}, {name} differs", *shown]
    return ["  the views of its Asks differ"]
