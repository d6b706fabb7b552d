"""This checkout's engine beside that of another commit, in turn, each run in a process of its own.

    python -m benchmarks.engine --beside COMMIT [--case NAME ...] [--rounds N] [--sessions N]

COMMIT is a commit, whose tree is built in a temporary folder, or the folder of a checkout. Both sides run the cases of
this checkout's `benchmarks/engine.py` on this Python and its packages; only the package `quantd` differs. A case has
the row `whole`, over all its sessions, and the row `step`: fewer sessions, each item by `step`; "three daily" also has
the row `blocks`, with answers for blocks of samples. Before the timed run a process makes a short one. Figures are
microseconds of CPU a session; a ratio above 1 says that this checkout is faster.
The exit status is 1 if digest, orders, refused, clipped or equity differ. QUANTD_UNCOMPILED=1 runs both on the source.
"""

import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from benchmarks.engine import CASES, Case, Shipped, machine_us, seconds
from quantd.engine_build.recipe import CHECKED, UNCOMPILED

ROOT: Final = Path(__file__).parents[1]
FEWEST_ROUNDS: Final = 5
WARM_UP: Final = 300
"""Sessions of the run before the timed one: it imports and fills caches."""

SINGLE: Final = 600
SINGLE_OF_ONE: Final = 5_000
"""Sessions of a row `step`, of several symbols and of one."""

IN_BLOCKS: Final = ("three daily",)
"""Cases with a row in which policies answer for blocks of samples."""

COMPARED: Final = ("digest", "orders", "refused", "clipped", "equity_micro")

Answer = Mapping[str, Any]
"""What the process of a run prints: seconds, engine, package, and what is compared."""


class Row(NamedTuple):
    """A row of the table: a case, and how many sessions. `form` is "whole", "single" where items are taken one by one,
    or "blocks" where policies answer for blocks of samples."""

    name: str
    sessions: int
    form: str


class Side(NamedTuple):
    """A checkout with an engine."""

    text: str
    folder: Path


def rows(names: Sequence[str], sessions: int = 0) -> list[Row]:
    """The rows of cases; `sessions` are the most of each. Raises SystemExit for a name that is no case."""
    if unknown := [name for name in names if name not in CASES]:
        raise SystemExit(f"--case {unknown[0]}: there is no such case; the cases are: {'; '.join(CASES)}")
    table = []
    for name in names or CASES:
        case = CASES[name]
        fewer = SINGLE_OF_ONE if case.symbols == 1 else SINGLE
        forms = {"whole": case.days, "single": min(fewer, case.days)}
        if name in IN_BLOCKS:
            forms["blocks"] = case.days
        table += [Row(name, min(most, sessions or most), form) for form, most in forms.items()]
    return table


def answer(row: Row) -> Answer:
    """One run in this process, on the `quantd` that it has imported."""
    import quantd
    from quantd.engine_build.state import label

    case: Case | Shipped = CASES[row.name]
    for days in (min(WARM_UP, row.sessions), row.sessions):
        took, shell = seconds(case, days, single=row.form == "single", blocks=row.form == "blocks")
    shell.state.revalue()
    tally = shell.tally
    return {
        "seconds": took, "engine": label(), "package": str(Path(quantd.__file__).parents[2].resolve()),
        "digest": shell.digest.hexdigest(), "orders": tally.orders, "refused": tally.refused, "clipped": tally.clipped,
        "equity_micro": shell.state.equity_micro,
    }  # fmt: skip


def environment(side: Side) -> dict[str, str]:
    """The environment in which `quantd` is that of a side, and `benchmarks` that of this checkout."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    search = os.pathsep.join((str(side.folder / "src"), str(ROOT)))
    kept = {name: value for name, value in os.environ.items() if name != CHECKED}
    return {**kept, **threads, "PYTHONPATH": search}


def reply_of(side: Side, row: Row) -> Answer:
    """The answer of a process for one run on a side. Raises SystemExit where it fails."""
    words = [sys.executable, "-P", "-m", "benchmarks.engine", "--run", json.dumps(row)]
    done = subprocess.run(words, cwd=side.folder, env=environment(side), capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise SystemExit(
            f"{row.name} on {side.text} failed: {last}; run it alone: {' '.join(words[1:-1])} '{words[-1]}'"
        )
    reply: Answer = json.loads(done.stdout.splitlines()[-1])
    if Path(reply["package"]) != side.folder.resolve():
        raise SystemExit(f"{row.name} on {side.text} ran {reply['package']}, not {side.folder}; unset PYTHONPATH")
    return reply


@contextmanager
def side_of(base: str) -> Iterator[Side]:
    """The side of a folder, or of a commit, whose tree lies in a temporary folder. Raises SystemExit for neither."""
    if (Path(base) / "src" / "quantd").is_dir():
        yield Side(base, Path(base).resolve())
        return
    git = ["git", "-C", str(ROOT)]
    verify = [*git, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}"]
    done = subprocess.run(verify, capture_output=True) if shutil.which("git") else None
    if done is None or done.returncode:
        raise SystemExit(f"--beside {base}: neither a commit nor the folder of a checkout; `git log` names commits")
    commit = done.stdout.decode().strip()
    tree = subprocess.run([*git, "archive", "--format=tar", commit], check=True, capture_output=True).stdout
    with TemporaryDirectory(prefix="quantd-beside-") as folder, tarfile.open(fileobj=io.BytesIO(tree)) as archive:
        archive.extractall(folder, filter="tar")
        # a build of that commit may be here already, and its libraries serve another
        for build in (ROOT / "build" / "engine").glob("[0-9a-f]*-*"):
            shutil.copytree(build, Path(folder, "build", "engine", build.name))
        yield Side(commit[:8], Path(folder))


def build(side: Side) -> None:
    """Compile the engine of a side, unless both run on their source. Raises SystemExit."""
    if os.environ.get(UNCOMPILED, "0") not in ("", "0"):
        return
    print(f"building the engine of {side.text} ...", file=sys.stderr, flush=True)
    words = [sys.executable, "-P", "-m", "quantd.engine_build", "build"]
    done = subprocess.run(words, cwd=side.folder, env=environment(side), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{side.text}: {done.stderr.strip()}; {UNCOMPILED}=1 compares the sources")


def differences(name: str, there: Sequence[Answer], here: Sequence[Answer]) -> list[str]:
    """What differs between the runs of two sides, as lines; each side has one result in all its rounds."""
    lines = []
    for key in COMPARED:
        values = [sorted({str(reply[key]) for reply in side}) for side in (there, here)]
        if values[0] != values[1] or len(values[0]) > 1:
            lines.append(f"{name}: {key} {' or '.join(values[0])} -> {' or '.join(values[1])}")
    return lines


HEAD: Final = ("case", "row", "sessions", "there", "least", "here", "least", "ratio", "of least", "results")
WIDTHS: Final = (30, 6, 9, 9, 8, 9, 8, 7, 9, 10)


def line(cells: Sequence[str]) -> str:
    """A line of the table: text to the left, numbers to the right."""
    pairs = list(zip(cells, WIDTHS, strict=True))
    return " ".join(f"{cell:<{width}}" if k < 2 else f"{cell:>{width}}" for k, (cell, width) in enumerate(pairs))


def cells(row: Row, there: Sequence[Answer], here: Sequence[Answer]) -> list[str]:
    """A row of the table: median and least of each side, the ratio of the medians and that of the least."""
    figures = []
    for side in (there, here):
        took = [float(reply["seconds"]) / row.sessions * 1e6 for reply in side]
        figures += [statistics.median(took), min(took)]
    ratios = (figures[0] / figures[2], figures[1] / figures[3])
    same = "differ" if differences(row.name, there, here) else "equal"
    texts = [*(f"{figure:.1f}" for figure in figures), *(f"{ratio:.2f}" for ratio in ratios)]
    return [row.name, row.form, f"{row.sessions:,}", *texts, same]


def compare(base: str, names: Sequence[str], rounds: int, sessions: int = 0) -> int:
    """Print the table; the exit status is 1 where results differ."""
    if rounds < FEWEST_ROUNDS:
        raise SystemExit(
            f"--rounds {rounds}: fewer than {FEWEST_ROUNDS} rounds show noise; give {FEWEST_ROUNDS} or more"
        )
    table, lines = rows(names, sessions), list[str]()
    with side_of(base) as other:
        sides = (other, Side("this checkout", ROOT))
        for side in sides:
            build(side)
        engines = [reply_of(side, Row(table[0].name, 1, "whole"))["engine"] for side in sides]
        print(f"there: {other.text} ({engines[0]}); here: this checkout ({engines[1]})")
        print(f"microseconds of CPU a session, median and least of {rounds} rounds in turn; ratio: there / here")
        print(f"this machine now: sum(range(1000)) takes {machine_us():.1f} us")
        print(line(HEAD), flush=True)
        for row in table:
            replies: tuple[list[Answer], list[Answer]] = ([], [])
            for k in range(rounds):
                for number in (0, 1) if k % 2 == 0 else (1, 0):
                    replies[number].append(reply_of(sides[number], row))
            print(line(cells(row, *replies)), flush=True)
            lines += differences(row.name, *replies)
    print(*dict.fromkeys(lines), sep="\n", end="\n" if lines else "")
    return 1 if lines else 0
