"""`quantd init --notebook`: copies of the notebooks that come with quantd, opened in Jupyter where it is installed."""

import subprocess
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from quantd import bundled
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import say
from quantd.extras import absent, package_command
from quantd.regular_file import write_whole
from quantd.trading.exit_codes import CONFIG, USAGE

SOURCE: Final = bundled.FOLDER / "examples" / "notebooks"
"""The folder of the notebooks that come with quantd."""

PROGRAMS: Final = ("jupyterlab", "notebook")
"""Modules of Jupyter that open a notebook; the first that is installed is used."""


def open_notebooks(folder: Path, name: str) -> int:
    """Copy a notebook, or each for the name "all", into `folder` and open it in Jupyter; return Jupyter's exit code."""
    files = {path.stem: path for path in sorted(SOURCE.glob("*.ipynb"))}
    stem = name.removesuffix(".ipynb")
    if stem not in files and stem != "all":
        matches = get_close_matches(stem, files, n=1)
        hint = f"Did you mean {matches[0]}?" if matches else f"There are {', '.join(files)}; all names each"
        raise Failure(f"{name!r} is no notebook of quantd. {hint}", USAGE)
    for path in files.values() if stem == "all" else (files[stem],):
        say(_copy(path, folder))
    target = folder if stem == "all" else folder / f"{stem}.ipynb"
    program = next((module for module in PROGRAMS if not absent([module])), "")
    if not program:
        text = f"Jupyter is not installed beside quantd. Install it: {package_command(PROGRAMS[0])}"
        raise Failure(f"{text}\nNext: quantd init --notebook {stem} opens {target}", CONFIG)
    say(f"opening {target} in Jupyter; Ctrl-C ends it")
    sys.stdout.flush()  # before the lines of Jupyter, which writes to the same output
    # this Python's own Jupyter: a kernel of another one would not have quantd
    return subprocess.call([sys.executable, "-m", program, str(target)])


def _copy(path: Path, folder: Path) -> str:
    """Copy a notebook into `folder`, unless the folder has a file of that name. Return a line for the user."""
    target = folder / path.name
    if target.exists():
        return f"{target} is there, and stays as it is"
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(target, path.read_bytes(), durable=False)
    return f"wrote {target}"
