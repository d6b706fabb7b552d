"""Reinforcement learners.

A learner is declared by a record: its name, settings and algorithm. The records of the bundled learners import no
torch; `algorithms` and the modules that learners share do.
"""

from pathlib import Path
from pkgutil import iter_modules

DECLARES = b"\nLEARNER: Final = Learner("
"""The text by which a module is seen to declare the record of a learner."""


def names() -> tuple[str, ...]:
    """Return the names of the learners, in alphabetical order: the modules of this package that declare a record.

    The function reads their source text, so that commands can list learners where torch is not installed.
    """
    modules = (Path(folder) / f"{module.name}.py" for folder in __path__ for module in iter_modules([folder]))
    return tuple(sorted(file.stem for file in modules if file.is_file() and DECLARES in file.read_bytes()))
