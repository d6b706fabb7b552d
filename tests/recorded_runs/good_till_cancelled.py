"""`quantd run` whose orders have no end: a rule of the engine that config.toml has no key for."""

from dataclasses import replace
from typing import Any

from msgspec import structs

from quantd.daemon import app
from quantd.daemon.assembly.parts import Parts, parts_of
from quantd.daemon.cli import main


def endless(*arguments: Any, **more: Any) -> Parts:
    """The parts of a run, with that rule."""
    parts = parts_of(*arguments, **more)
    return replace(parts, rules=structs.replace(parts.rules, good_till_cancelled=True))


if __name__ == "__main__":
    vars(app)["parts_of"] = endless
    main()
