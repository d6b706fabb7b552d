"""Bytes in site-packages after `pip install --no-compile` of a wheel of quantd, by package, without pip itself.

python scripts/install_size.py WHEEL [--extra NAME]... [--most MIB]

It sums the files that pip has recorded in this environment for each package that the wheel requires, directly or not:
nothing is installed. It prints the total and the ten largest. Exit code 1 where the total is above --most. The
environment has to have the packages of the extras; continuous integration runs it through tests/test_installed.py, and
as `make size`.
"""

import argparse
import re
import sys
import zipfile
from collections.abc import Iterable
from email import message_from_string
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

MOST_MIB: Final = 390
"""The bound of a plain installation."""

LISTED: Final = 10
MIB: Final = 1 << 20


def required(lines: Iterable[str], extras: Iterable[str] = ()) -> dict[str, Distribution]:
    """Return the distributions of this environment that requirements need, directly or not, by normal name.

    `extras` are those that are wanted of the package with these requirements. Raises PackageNotFoundError for one that
    is not installed here.
    """
    needed: dict[str, Distribution] = {}
    taken: set[tuple[str, str]] = set()
    waiting = [(Requirement(line), extra) for line in lines for extra in ("", *extras)]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = normal(requirement.name)
        if name == "quantd":  # an extra that includes others
            waiting += [(Requirement(line), inner) for line in lines for inner in requirement.extras]
            continue
        needed[name] = installed = distribution(name)
        for inner in ("", *requirement.extras):
            if (name, inner) not in taken:
                taken.add((name, inner))
                waiting += [(Requirement(line), inner) for line in installed.requires or ()]
    return needed


def normal(name: str) -> str:
    """Return the normal form of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(wheel: Path) -> list[str]:
    """Return the requirements of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode()).get_all("Requires-Dist") or []


def sizes(wheel: Path, extras: Iterable[str] = ()) -> dict[str, int]:
    """Return the bytes of quantd and of each package that it needs with these extras, the largest first."""
    with zipfile.ZipFile(wheel) as archive:
        counted = {"quantd": sum(entry.file_size for entry in archive.infolist())}
    for name, installed in required(requirements(wheel), extras).items():
        counted[name] = sum(
            Path(str(installed.locate_file(file))).stat().st_size
            for file in installed.files or ()
            if file.parts[0] != ".." and file.suffix != ".pyc"
        )
    return dict(sorted(counted.items(), key=lambda item: -item[1]))


def table(counted: dict[str, int]) -> str:
    """Return the total and the largest packages, in MiB."""
    rows = [f"{size / MIB:8.1f}  {name}" for name, size in list(counted.items())[:LISTED]]
    return "\n".join([f"{sum(counted.values()) / MIB:8.1f}  MiB in {len(counted)} packages; the largest:", *rows])


def main() -> int:
    parser = argparse.ArgumentParser(description="Bytes in site-packages after `pip install` of a wheel of quantd.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--extra", action="append", default=[], metavar="NAME")
    parser.add_argument("--most", type=float, default=float("inf"), metavar="MIB")
    given = parser.parse_args()
    counted = sizes(given.wheel, given.extra)
    print(table(counted))
    return int(sum(counted.values()) > given.most * MIB)


if __name__ == "__main__":
    sys.exit(main())
