"""Measures the likeness of each shipped policy, and writes it into its manifest and on the first line of its card.

python scripts/likeness.py [NAME ...]
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import polars as pl
from msgspec.structs import replace

from quantd import bundled
from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.runtime.step_log import Unanswered
from quantd.models.artifacts import folder as files
from quantd.models.artifacts.card import disguised
from quantd.models.artifacts.loader import checked
from quantd.models.artifacts.manifest import AgentManifest, Likeness, ScorerManifest, Window
from quantd.research.python_api.bar_frame import bar_frame
from quantd.research.python_api.run_config import around
from quantd.research.runs.backtest import drive
from quantd.trading.display_text import session_date
from quantd.trading.effects import Effect
from quantd.trading.events import Decided, Event

FIRST: Final = "2019-01-02"
"""First session after the training of the shipped policies."""

WARM_UP_YEAR: Final = 2017
"""Bars from this year on suffice for the lookback of each shipped policy before FIRST."""

PLACES: Final = 4
"""Decimals of a distance. Further decimals may differ between processors."""


class _WeightsLog(Unanswered):
    """A log of the weights of each decision, as bytes of float64[N]."""

    def __init__(self) -> None:
        self.weights: list[bytes] = []

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        if isinstance(event, Decided) and event.weights is not None:
            self.weights.append(event.weights)


def likeness(assembly: Assembly) -> Likeness:
    """Run the first agent of `assembly`, and measure the weights of each of its decisions.

    Raises ValueError without a decision.

    A distance from equal weight or a single asset is the mean absolute difference of a weight, over all decisions and
    assets.
    """
    log = _WeightsLog()
    shell, *_ = drive(assembly, assembly.config, "likeness", log, None, lambda share: None)
    if not log.weights:
        raise ValueError("the policy has answered with no weights; give more bars than its lookback")
    weights = np.frombuffer(b"".join(log.weights), dtype="<f8").reshape(len(log.weights), -1)
    count = weights.shape[1]
    single_asset_distances = [float(np.abs(weights - unit_weights).mean()) for unit_weights in np.eye(count)]
    nearest = int(np.argmin(single_asset_distances))
    # 1 ns before: a session that ends at midnight belongs to the day before
    first, last = session_date(assembly.start_ns), session_date(shell.state.now - 1)
    return Likeness(
        window=Window(first.isoformat(), last.isoformat()),
        decisions=len(weights),
        equal_weight=round(float(np.abs(weights - 1.0 / count).mean()), PLACES),
        asset=assembly.universe.symbols[nearest],
        single=round(single_asset_distances[nearest], PLACES),
        cash=round(float(1.0 - weights.sum(axis=1).mean()), PLACES),
    )


def measured(place: Path) -> Likeness:
    """Return the likeness of a shipped policy over the bundled bars after its training."""
    manifest = checked(place).manifest
    data = bundled.FOLDER / "data"
    bars = pl.read_parquet(data / "us_daily.parquet")
    rows = bars.filter(pl.col("symbol").is_in(manifest.universe) & (pl.col("ts").dt.year() >= WARM_UP_YEAR))
    frame = bar_frame(rows)
    settings = {"feed.start": FIRST, "feed.actions": str((data / "us_actions.csv").resolve())}

    with TemporaryDirectory() as folder:
        return likeness(assemble(around(frame, str(place), {}, settings), cache=Path(folder), bars=frame))


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
