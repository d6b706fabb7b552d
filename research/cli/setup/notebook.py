"""Open the notebooks that come with quantd: copies of them in a folder of yours, in Jupyter where it is installed."""

import subprocess
import sys
from difflib import get_close_matches
from pathlib import Path
from shlex import join
from typing import Annotated, Final

import typer

from quantd import bundled
from quantd.daemon.cli.command import Command, Json
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import print_json, say, table
from quantd.extras import absent, package_command
from quantd.regular_file import write_whole
from quantd.trading.exit_codes import CONFIG, DONE, USAGE

SOURCE: Final = bundled.FOLDER / "examples" / "notebooks"
"""The folder of the notebooks that come with quantd."""

PROGRAMS: Final = ("jupyterlab", "notebook")
"""Modules of Jupyter that open a notebook; the first that is installed is used."""


def notebook(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of them; all without it.")] = "",
    folder: Annotated[
        Path, typer.Option("--folder", metavar="DIR", help="Folder of the copies; a copy there stays as it is.")
    ] = Path("notebooks"),
    listed: Annotated[bool, typer.Option("--list", help="List them, and copy nothing.")] = False,
    as_json: Json = False,
) -> int:
    files = {path.stem: path for path in sorted(SOURCE.glob("*.ipynb"))}
    if listed or as_json:
        _list(files, as_json=as_json)
        return DONE
    chosen_stem = name.removesuffix(".ipynb")
    if chosen_stem and chosen_stem not in files:
        matches = get_close_matches(chosen_stem, files, n=1)
        hint = f"Did you mean {matches[0]}?" if matches else f"There are {', '.join(files)}"
        raise Failure(f"{name!r} is no notebook of quantd. {hint}", USAGE)
    for stem, path in files.items():
        if not chosen_stem or stem == chosen_stem:
            say(_copy(path, folder))
    target = folder / f"{chosen_stem}.ipynb" if chosen_stem else folder
    program = next((module for module in PROGRAMS if not absent([module])), "")
    if not program:
        command = join(["quantd", "notebook", *([chosen_stem] if chosen_stem else [])])
        text = f"Jupyter is not installed beside quantd. Install it: {package_command(PROGRAMS[0])}"
        raise Failure(f"{text}\nNext: {command} opens {target}", CONFIG)
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


def _list(files: dict[str, Path], *, as_json: bool) -> None:
    titles = {stem: _title(path) for stem, path in files.items()}
    if as_json:
        print_json([{"name": stem, "title": title, "file": str(files[stem])} for stem, title in titles.items()])
        return
    table(("name", "what it shows"), list(titles.items()))


def _title(path: Path) -> str:
    """Return the heading of a notebook: the first line of its first cell."""
    import json

    first_cell = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    return first_cell.splitlines()[0].lstrip("# ").strip()


COMMAND: Final = Command("Set up", 12, notebook)
