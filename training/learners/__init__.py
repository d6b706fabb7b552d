"""Reinforcement learners. The records of the bundled ones import no torch; `algorithms` and the shared parts do."""

from pathlib import Path
from pkgutil import iter_modules

DECLARES = b"\nLEARNER: Final = Learner("
"""The text by which a module is seen to declare the record of a learner."""


def names() -> tuple[str, ...]:
    """Return the names of the learners, in alphabetical order: the modules here that declare a record.

    It reads their sources, so that commands can list learners where torch is not installed.
    """
    modules = (Path(folder) / f"{module.name}.py" for folder in __path__ for module in iter_modules([folder]))
    return tuple(sorted(file.stem for file in modules if file.is_file() and DECLARES in file.read_bytes()))
