"""Prints the packages of pyproject.toml, one a line, so that a layer of the image has them before the source.

packages.py EXTRA...        those that quantd always needs, and those of the extras
packages.py --only NAME     the one package, as an extra pins it
"""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
names = sys.argv[1:]


def packages(lines: list[str]) -> list[str]:
    """The packages of an extra; `quantd[a,b]` in it stands for those of other extras."""
    inner = [re.fullmatch(r"quantd\[(.*)\]", line) for line in lines]
    return [
        package
        for line, match in zip(lines, inner, strict=True)
        for package in (packages([x for name in match[1].split(",") for x in extras[name]]) if match else [line])
    ]


if names[:1] == ["--only"]:
    every = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]
    found = [line for line in every if re.split(r"[^A-Za-z0-9._-]", line)[0] == names[1]]
    chosen = found[:1]
elif missing := [name for name in names if name not in extras]:
    sys.exit(f"pyproject.toml has no extra {missing[0]}; it has {', '.join(extras)}")
else:
    chosen = [*project["dependencies"], *(line for name in names for line in packages(extras[name]))]
if not chosen:
    sys.exit(f"pyproject.toml names no package {names[1]}")
print("\n".join(chosen))  # noqa: T201 - the output
