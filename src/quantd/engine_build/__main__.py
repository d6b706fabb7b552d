"""`python -m quantd.engine_build build`: compile the engine; `later`, `declare` and `state` are the other words."""

import argparse
import os
import sys

from quantd.engine_build import state
from quantd.engine_build.c_compiler import NoBuild
from quantd.engine_build.recipe import INNER_LOOPS, MODULES, VARIANTS


def main() -> int:
    """Returns the exit code: 0, or 1 where nothing was built."""
    parser = argparse.ArgumentParser(prog="python -m quantd.engine_build", description="Compile the engine.")
    words = parser.add_subparsers(dest="word", required=True)
    build = words.add_parser("build", help="compile now")
    build.add_argument("--kind", choices=tuple(VARIANTS), default="release")
    build.add_argument("--low-priority", action="store_true", help="one module at a time, after everything else")
    words.add_parser("later", help="compile in the background, for the next start")
    words.add_parser("declare", help="print the declarations")
    words.add_parser("state", help="print whether the engine is compiled, and why not")
    options = parser.parse_args()
    if options.word == "build":
        return _build(options.kind, low=options.low_priority)
    if options.word == "later":
        state.build_later()
    elif options.word == "declare":
        return _declare()
    else:
        why = state.reason()
        sys.stdout.write(f"engine: {state.label()}{f': {why}' if why else ''}\n")
    return 0


def _build(kind: str, *, low: bool) -> int:
    from quantd.engine_build.builder import build

    if low:
        os.nice(19)
    try:
        folder = build(kind, 1 if low else os.cpu_count() or 1, lambda line: sys.stdout.write(f"quantd: {line}\n"))
    except NoBuild as why:
        sys.stderr.write(f"quantd: the engine is not compiled: {why}\n")
        return 1
    sys.stdout.write(f"quantd: the engine is compiled, in {folder}\n")
    return 0


def _declare() -> int:
    from quantd.engine_build.builder import others, read
    from quantd.engine_build.declarations import declare

    declared = declare(read, MODULES, INNER_LOOPS, unlisted=others())
    for name, text in declared.declarations.items():
        sys.stdout.write(f"# {name}\n{text}")
    for refusal in declared.refusals:
        sys.stderr.write(f"{refusal}\n")
    return 1 if declared.refusals else 0


if __name__ == "__main__":
    sys.exit(main())
