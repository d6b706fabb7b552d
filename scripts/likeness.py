"""Measures the likeness of each shipped policy, and writes it into its manifest and on the first line of its card.

python scripts/likeness.py [NAME ...]
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from msgspec.structs import replace

from quantd import bundled
from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Log
from quantd.models.artifacts import folder as files
from quantd.models.artifacts.card import disguised
from quantd.models.artifacts.loader import checked
from quantd.models.artifacts.manifest import AgentManifest, Likeness, ScorerManifest
from quantd.research.python_api.bar_frame import bar_frame
from quantd.research.python_api.run_config import around
from quantd.research.runs.backtest import drive
from quantd.research.studies.likeness import FIRST, WARM_UP_YEAR, likeness


def measured(place: Path) -> Likeness:
    """Return the likeness of a shipped policy over the bundled bars after its training."""
    manifest = checked(place).manifest
    data = bundled.FOLDER / "data"
    bars = pl.read_parquet(data / "us_daily.parquet")
    rows = bars.filter(pl.col("symbol").is_in(manifest.universe) & (pl.col("ts").dt.year() >= WARM_UP_YEAR))
    frame = bar_frame(rows)
    settings = {"feed.start": FIRST, "feed.actions": str((data / "us_actions.csv").resolve())}

    def driven(assembly: Assembly, log: Log) -> Shell:
        return drive(assembly, assembly.config, "likeness", log, None, lambda share: None)[0]

    with TemporaryDirectory() as folder:
        return likeness(assemble(around(frame, str(place), {}, settings), cache=Path(folder), bars=frame), driven)


def policies() -> list[Path]:
    """Return the folders of the shipped policies that decide weights by themselves, without the forests."""
    return [folder for folder in sorted(bundled.SHIPPED.iterdir()) if not folder.name.startswith("forest_")]


def main(names: list[str]) -> None:
    for place in policies():
        if names and place.name not in names:
            continue
        kind = type(checked(place).manifest)
        assert kind in (AgentManifest, ScorerManifest)
        manifest, contents = files.read(place, kind)
        likeness = measured(place)
        card = contents["card.md"].decode()
        text = "\n".join([*disguised(likeness), card[card.index("# ") :]])
        files.write(place, replace(manifest, likeness=likeness), {**contents, "card.md": text.encode()})
        distances = f"{likeness.equal_weight:.4f} from equal weight, {likeness.single:.4f} from {likeness.asset}"
        print(f"{place.name}: {distances}, {likeness.cash:.1%} cash: {likeness.disguise or 'neither'}")


if __name__ == "__main__":
    main(sys.argv[1:])
