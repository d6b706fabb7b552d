"""The modules that have moved, and the sentence for an import in another's code that has the old path.

No old path works again: a second name of a module would be a second module to Python, and the classes of the two would
not be equal. A plug-in or a policy file with an old path is refused at the start, with the new one.

Who moves a module adds its line to `MOVED`. A line of a package holds for the modules below it, and a line of a module
for the names in it. Where single names have left a module that stays, their lines are `module:name`.
"""

import ast
import linecache
from collections.abc import Iterator, Mapping
from types import FrameType, TracebackType
from typing import Final, NamedTuple

FACE: Final = "quantd"

MOVED: Final[Mapping[str, str]] = {}
"""Old path -> new path, both from `quantd.` on."""


class OldImport(NamedTuple):
    """An import by an old path."""

    line: int
    old: str
    new: str


def new_path(old: str) -> str:
    """The new path of a module or of `module:name`; empty for one that has not moved."""
    if old in MOVED:
        return MOVED[old]
    module, _, name = old.partition(":")
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        if (home := MOVED.get(".".join(parts[:length]))) is not None:
            return ".".join([home, *parts[length:]]) + (f":{name}" if name and ":" not in home else "")
    return ""


def old_imports(source: str) -> list[OldImport]:
    """The imports by old paths in the source of a module, in the order of their lines."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    imports = {OldImport(line, old, new) for line, old in _imported(tree) if (new := new_path(old))}
    return sorted(imports)


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and path of each import, `module:name` where the name has a line of its own in the table."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                name = f"{node.module}:{alias.name}"
                yield node.lineno, module if module in MOVED else name if name in MOVED else str(node.module)


def sentences(path: str, source: str) -> str:
    """What to change in a file: each old import with its new path and its line. Empty without an old import."""
    texts = [f"{old} is now {new}: change the import in {path}, line {line}" for line, old, new in old_imports(source)]
    return "; ".join(texts)


def is_ours(error: BaseException) -> bool:
    """Whether an import below `quantd` failed."""
    return isinstance(error, ImportError) and (error.name or "").startswith(f"{FACE}.")


def explained(error: BaseException) -> str:
    """The sentences for the file whose import failed, after the package that it belongs to.

    Empty for another exception, and for an import that failed for another reason.
    """
    if not is_ours(error):
        return ""
    frame = _importer(error.__traceback__)
    if frame is None:
        return ""
    path = frame.f_code.co_filename
    text = sentences(path, "".join(linecache.getlines(path)))
    from importlib.metadata import packages_distributions  # 0.04 s that only a failure needs

    packages = packages_distributions().get(str(frame.f_globals.get("__name__")).partition(".")[0], [])
    others = sorted({*packages} - {FACE})
    return f"{', '.join(others)}: {text}" if text and others else text


def _importer(trace: TracebackType | None) -> FrameType | None:
    """The innermost frame that is not of Python's own imports."""
    frame = None
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith("<frozen importlib"):
            frame = trace.tb_frame
        trace = trace.tb_next
    return frame
