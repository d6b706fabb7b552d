"""The page of the Python API: every public name with its signature, from the docstrings."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import quantd


def page() -> str:
    """The page of `import quantd`: functions, then classes with their public members."""
    names = {name: getattr(quantd, name) for name in quantd.__all__}
    functions = {name: each for name, each in names.items() if not inspect.isclass(each)}
    classes = {name: each for name, each in names.items() if inspect.isclass(each)}
    parts = [
        "# Names of the Python API\n\nThis page lists every public name of `import quantd` with its signature and its "
        "docstring. [The Python API](../research/python.md) shows how to use them, and what is public.\n"
    ]
    parts += [_entry(f"quantd.{name}", each, 2) for name, each in sorted(functions.items())]
    for name, each in sorted(classes.items()):
        parts.append(_entry(f"quantd.{name}", each, 2))
        parts += [_entry(member, found, 3) for member, found in _members(each)]
    return "\n".join(parts)


def _entry(name: str, each: Any, level: int) -> str:
    signature = _signature(each)
    shown = f"    {name.rpartition('.')[2] if level == 3 else name}{signature}\n\n" if signature else ""
    return f"{'#' * level} {name}\n\n{shown}{_prose(inspect.getdoc(each))}\n"


def _signature(each: Any) -> str:
    """The parameters and defaults of a function, without annotations of modules; empty for a property."""
    if isinstance(each, property) or not callable(each):
        return ""
    try:
        found = inspect.signature(each)
    except (TypeError, ValueError):
        return ""
    bare = [
        value.replace(annotation=inspect.Parameter.empty) for key, value in found.parameters.items() if key != "self"
    ]
    text = str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return re.sub(r"<[^<>]* at 0x\w+>", "...", text)


def _members(kind: type) -> Iterator[tuple[str, Callable[..., Any] | property]]:
    """Public methods and properties with a docstring, in the order of the source."""
    for name, found in vars(kind).items():
        if (
            not name.startswith("_")
            and (inspect.isfunction(found) or isinstance(found, property))
            and inspect.getdoc(found)
        ):
            yield f"{kind.__name__}.{name}", found


def _prose(text: str | None) -> str:
    """A docstring as Markdown: its markup is that of these pages, but for characters that begin a tag."""
    return (text or "").replace("<", "&lt;")
