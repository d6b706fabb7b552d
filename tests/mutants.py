"""Mutation test of risk/: runs mutmut, then prints the share of mutants killed and each survivor with its change.

    python -m tests.mutants [--jobs N] [--report] ['risk.switch*' ...]

Patterns choose mutants by name; without any, all. What was found before is kept in mutants/ until its source or its tests
change. `--report` only prints. Exit 1 below 95 %. What survives and is equivalent stands in docs/mutants.md.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ASKED = 0.95
SURVIVED, NO_TESTS, NOT_RUN = 0, (5, 33), (None, 34)
"""Exit codes of mutmut's workers: the tests passed; no test reaches the mutant; not run, or left out."""


def outcome(code: int | None) -> str:
    """killed, survived, no test, or not run; what ran out of time or crashed was noticed."""
    if code in NOT_RUN:
        return "not run"
    if code == SURVIVED:
        return "survived"
    return "no test" if code in NO_TESTS else "killed"


def change(name: str) -> str:
    """The lines of a mutant that differ, with - and +."""
    shown = subprocess.run(["mutmut", "show", name], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    lines = [line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return "\n".join(f"      {line}" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--report", action="store_true", help="print what is known; run nothing")
    parser.add_argument("patterns", nargs="*")
    asked = parser.parse_args()
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if not asked.report:
        command = ["nice", "-n", "19", "mutmut", "run", "--max-children", str(asked.jobs), *asked.patterns]
        # its spinner is for people; the figures below are for all
        if subprocess.run(command, cwd=ROOT, check=False, stdout=sys.stderr).returncode:
            return 1
    killed = counted = 0
    print(f"{'module':22}{'killed':>8}{'survived':>10}{'no test':>9}{'not run':>9}{'share':>8}")
    missed: list[str] = []
    for meta in sorted((ROOT / "mutants" / "risk").glob("*.meta")):
        codes = json.loads(meta.read_text())["exit_code_by_key"]
        chosen = {k: v for k, v in codes.items() if not asked.patterns or any(fnmatch(k, p) for p in asked.patterns)}
        found = Counter(outcome(code) for code in chosen.values())
        missed += [name for name, code in chosen.items() if outcome(code) in ("survived", "no test")]
        run = found["killed"] + found["survived"] + found["no test"]
        killed, counted = killed + found["killed"], counted + run
        if run:
            share = found["killed"] / run
            columns = [found[k] for k in ("killed", "survived", "no test", "not run")]
            print("{:22}{:>8}{:>10}{:>9}{:>9}".format(meta.name.split(".")[0], *columns) + f"{share:>8.1%}")
    for name in missed:
        print(f"  {name}\n{change(name)}")
    share = killed / counted if counted else 0.0
    print(f"{killed:,} of {counted:,} mutants killed, {share:.1%}")
    return 0 if share >= ASKED else 1


sys.exit(main())
