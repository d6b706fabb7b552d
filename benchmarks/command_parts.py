"""One `quantd backtest` in this process, with the CPU time of its parts as the last line of standard error.

    python -m benchmarks.command_parts    # in the folder of a config.toml; `benchmarks.command` calls it

Functions and imports are wrapped before the command runs, so that any commit that has the functions can be measured. It
imports nothing of quantd before that.
"""

import builtins
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Final

BACKTEST: Final = ("backtest", "--json", "--no-compare")

IMPORTS: Final = "imports"
REST: Final = "the rest"
PROCESS: Final = "start and end of the process"

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "configuration": ("quantd.daemon.cli.configuration:read",),
    "calendars and bars": (
        "quantd.daemon.assembly.parts:market_sessions", "quantd.adapters.feeds.recorded.replay:Replay.load",
    ),
    "policies": ("quantd.daemon.assembly.parts:policies_of",),
    "engine": ("quantd.research.runs.backtest:drive",),
    "figures": (
        "quantd.research.verdict:judge", "quantd.daemon.views.run_summary:summary", "quantd.daemon.cli.output:answer",
    ),
}  # fmt: skip
"""Part of the command -> its functions."""

ROWS: Final = (IMPORTS, *PARTS, REST, PROCESS)


class Stopwatch:
    """Seconds of CPU by part. The innermost part that is running is the one that the time belongs to."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running: list[str] = [REST]
        self._since = time.process_time()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What runs inside belongs to the part."""
        self._turn()
        self._running.append(name)
        try:
            yield
        finally:
            self._turn()
            self._running.pop()

    def _turn(self) -> None:
        now = time.process_time()
        self.seconds[self._running[-1]] = self.seconds.get(self._running[-1], 0.0) + now - self._since
        self._since = now

    def timed(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        """A function whose time belongs to a part. An import in an import is a part of it."""

        def within(*given: Any, **named: Any) -> Any:
            nested = name == IMPORTS == self._running[-1]
            with nullcontext() if nested else self.part(name):
                return call(*given, **named)

        return within


def parts_of_command() -> None:
    """Run the command in this process with its parts timed; they are the last line of standard error."""
    watch = Stopwatch()
    builtins.__import__ = watch.timed(builtins.__import__, IMPORTS)
    importlib.import_module = watch.timed(importlib.import_module, IMPORTS)
    for name, places in PARTS.items():
        for place in places:
            module, _, path = place.partition(":")
            owner, *inner = importlib.import_module(module), *path.split(".")
            for word in inner[:-1]:
                owner = getattr(owner, word)
            member = vars(owner)[inner[-1]]
            bound = isinstance(member, classmethod)
            call = watch.timed(member.__func__ if bound else member, name)
            setattr(owner, inner[-1], classmethod(call) if bound else call)
    from quantd.daemon.cli import main

    try:
        main(list(BACKTEST))
    except SystemExit as end:
        if end.code:
            raise
    with watch.part(REST):
        pass
    sys.stdout.flush()
    print(json.dumps(watch.seconds), file=sys.stderr)


if __name__ == "__main__":
    parts_of_command()
