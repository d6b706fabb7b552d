"""Which test shows each kind of a venue's unexpected word, at each venue: the rows of venue_kinds.toml."""

import tomllib
from pathlib import Path
from typing import Final

VENUES: Final = ("alpaca", "kraken", "paper")
KINDS: Final[list[dict[str, str]]] = tomllib.loads((Path(__file__).parent / "venue_kinds.toml").read_text())["kind"]

CASE, NONE = "case: ", "none: "
