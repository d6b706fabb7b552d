"""The page of the Python API: every public name with its signature, from the docstrings."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import quantd


def page() -> str:
    """The page of `import quantd`: functions, then classes with their public members."""
    names = {name: getattr(quantd, name) for name in quantd.__all__}
    functions = {name: member for name, member in names.items() if not inspect.isclass(member)}
    classes = {name: member for name, member in names.items() if inspect.isclass(member)}
    parts = [
        "# Names of the Python API\n\nThis page lists every public name of `import quantd` with its signature and its "
        "docstring. [The Python API](../research/python.md) shows how to use them, and what is public.\n"
    ]
    parts += [_entry(f"quantd.{name}", function, 2) for name, function in sorted(functions.items())]
    for name, kind in sorted(classes.items()):
        parts.append(_entry(f"quantd.{name}", kind, 2))
        parts += [_entry(member, attribute, 3) for member, attribute in _members(kind)]
    return "\n".join(parts)


def _entry(name: str, member: Any, level: int) -> str:
    signature = _signature(member)
    shown = f"    {name.rpartition('.')[2] if level == 3 else name}{signature}\n\n" if signature else ""
    return f"{'#' * level} {name}\n\n{shown}{_prose(inspect.getdoc(member))}\n"


def _signature(member: Any) -> str:
    """The parameters and defaults of a function, without annotations of modules; empty for a property."""
    if isinstance(member, property) or not callable(member):
        return ""
    try:
        signature = inspect.signature(member)
    except (TypeError, ValueError):
        return ""
    bare = [
        value.replace(annotation=inspect.Parameter.empty)
        for key, value in signature.parameters.items()
        if key != "self"
    ]
    text = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return re.sub(r"<[^<>]* at 0x\w+>", "...", text)


def _members(kind: type) -> Iterator[tuple[str, Callable[..., Any] | property]]:
    """Public methods and properties with a docstring, in the order of the source."""
    for name, attribute in vars(kind).items():
        if (
            not name.startswith("_")
            and (inspect.isfunction(attribute) or isinstance(attribute, property))
            and inspect.getdoc(attribute)
        ):
            yield f"{kind.__name__}.{name}", attribute


def _prose(text: str | None) -> str:
    """A docstring as Markdown: its markup is that of these pages, but for characters that begin a tag."""
    return (text or "").replace("<", "&lt;")
