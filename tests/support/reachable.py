"""Everything that is reachable from an object: containers, fields of ordinary, frozen and compiled classes."""

from collections import deque
from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from quantd.engine_build import builder, recipe
from quantd.engine_build.declarations import Surface

SURFACE = Surface(builder.read, recipe.MODULES)
COMPILED = {
    f"{module}.{name}": tuple(class_surface.fields)
    for module in recipe.MODULES
    for name, class_surface in SURFACE.of(module).classes.items()
}
"""Class of a listed module -> its fields: a compiled class has neither slots nor a dict of them."""

LEAVES = (str, bytes, int, float, bool, type(None), type, FunctionType, BuiltinFunctionType, MethodType, ModuleType)

CONTAINERS = (Mapping, list, tuple, set, frozenset, deque)


def fields(thing: Any) -> Iterator[tuple[str, Any]]:
    """The attributes that a thing has now, by name."""
    kind = type(thing)
    names: dict[str, None] = {}
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        names |= dict.fromkeys((slots,) if isinstance(slots, str) else slots)
        names |= dict.fromkeys(COMPILED.get(f"{base.__module__}.{base.__qualname__}", ()))
    names |= dict.fromkeys(getattr(kind, "__struct_fields__", ()))
    names |= dict.fromkeys(getattr(thing, "__dict__", ()))
    for name in names:
        try:
            yield name, getattr(thing, name)
        except AttributeError:  # not assigned yet
            continue


def within(thing: Any) -> Iterator[Any]:
    """What a container has; nothing for other things."""
    if isinstance(thing, Mapping):
        yield from thing.values()
    elif isinstance(thing, CONTAINERS):
        yield from thing


def things(root: Any) -> Iterator[Any]:
    """Every object with fields that is reachable, once."""
    seen: set[int] = set()
    todo = [root]
    while todo:
        thing = todo.pop()
        if isinstance(thing, LEAVES) or buffered(thing) or id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, CONTAINERS):
            todo.extend(within(thing))
        else:
            yield thing
            todo.extend(value for _, value in fields(thing))


def buffered(thing: Any) -> bool:
    """Whether it is an array or a view of memory, of Python or of a compiled class."""
    return isinstance(thing, (np.ndarray, memoryview)) or type(thing).__name__ == "_memoryviewslice"
