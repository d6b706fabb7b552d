"""The state of the engine in this process, in words, and the start of a build in the background."""

import os
import subprocess
import sys
from typing import Final

from quantd.engine_build import finder
from quantd.engine_build.recipe import MODULES

MANY_BARS: Final = 20_000
"""Bars of single symbols of a backtest that is long enough to mention a build."""

LOG: Final = "log"


def label() -> str:
    """`release`, `checked`, `uncompiled`, or `uncompiled (stale: gate)` with the modules that have changed."""
    build = finder.loaded()
    if build is not None:
        return build.variant
    changed = stale()
    return f"uncompiled (stale: {', '.join(changed)})" if changed else "uncompiled"


def short() -> str:
    """`compiled`, `uncompiled` or `stale`, for the version."""
    build = finder.loaded()
    if build is None:
        return "stale" if stale() else "uncompiled"
    return "compiled" if build.variant == "release" else f"compiled, {build.variant}"


def stale() -> list[str]:
    """The last words of the modules that differ from the newest build of this kind; empty without a build."""
    kind = finder.variant()
    if not kind or finder.loaded() is not None:
        return []
    try:
        builds = [folder for folder in finder.BUILDS.iterdir() if (folder / finder.MANIFEST).is_file()]
        dated = [(folder.stat().st_mtime, folder) for folder in builds if _kind(folder) == kind]
        if not dated:
            return []
        before = finder.manifest(max(dated)[1])
    except (OSError, ValueError):
        return []
    changed = [name for name in {**dict.fromkeys(MODULES), **before} if _digest(name) != before.get(name)]
    return [name.rpartition(".")[2] for name in changed] or ["recipe or Python"]


def reason() -> str:
    """Why this process runs uncompiled, with the remedy, in one line; empty where it runs compiled."""
    if finder.loaded() is not None:
        return ""
    kind = finder.variant()
    if not kind:
        return "QUANTD_UNCOMPILED is set; unset it"
    changed = stale()
    if changed and finder.CHECKOUT is None:
        return f"{', '.join(changed)} changed since quantd was installed; install it again"
    from quantd.engine_build import builder

    if builder.running():
        return "it is being compiled in the background; the next start uses the result"
    if why := builder.failure(kind) or builder.obstacle():
        return why
    cause = f"{', '.join(changed)} changed since the last build" if changed else "it was not built yet"
    return f"{cause}; make {'build' if kind == 'release' else 'build-checked'} compiles it"


def advice(symbol_bars: int) -> str:
    """A line for a long backtest that a build would make faster; empty for others."""
    if symbol_bars <= MANY_BARS or (why := reason()) == "":
        return ""
    return f"the engine runs uncompiled, and a compiled one is faster: {why.splitlines()[0]}"


def build_later() -> None:
    """Start a build at low priority that outlives this process, unless one is there, or cannot be made."""
    kind = finder.variant()
    if not kind or finder.loaded() is not None:
        return
    from quantd.engine_build import builder

    if builder.running() or builder.failure(kind) or builder.obstacle():
        return
    finder.BUILDS.mkdir(parents=True, exist_ok=True)
    with (finder.BUILDS / LOG).open("wb") as log:
        subprocess.Popen(
            [sys.executable, "-P", "-m", "quantd.engine_build", "build", "--kind", kind, "--low-priority"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=dict(os.environ),
        )  # fmt: skip


def _kind(folder: "os.PathLike[str]") -> str:
    with open(os.path.join(folder, finder.MANIFEST), encoding="utf-8") as lines:
        return lines.readline().removeprefix("# ").partition(",")[0]


def _digest(module: str) -> str:
    try:
        return finder.digest(finder.source(module))
    except OSError:
        return ""
