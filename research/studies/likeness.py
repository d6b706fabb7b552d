"""Measures how near a policy's weights are to equal weight and to a single asset, which it may merely imitate."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Log
from quantd.models.artifacts.manifest import Likeness, Window
from quantd.trading.display_text import session_date
from quantd.trading.effects import Ask, Effect
from quantd.trading.events import Decided, Event

PLACES: Final = 4
"""Decimals of a distance. Further decimals may differ between processors."""


class _WeightsLog:
    """A log of the weights of each decision, as bytes of float64[N]."""

    rows_only: bool = False

    def __init__(self) -> None:
        self.weights: list[bytes] = []

    def answer(self, ask: Ask) -> Decided | None:
        return None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        if isinstance(event, Decided) and event.weights is not None:
            self.weights.append(event.weights)


def likeness(assembly: Assembly, drive: Callable[[Assembly, Log], Shell]) -> Likeness:
    """Run the first agent of `assembly` by `drive`, and measure the weights of each of its decisions.

    Raises ValueError without a decision.

    A distance from equal weight or a single asset is the mean absolute difference of a weight, over all decisions and
    assets.
    """
    log = _WeightsLog()
    shell = drive(assembly, log)
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


FIRST: Final = "2019-01-02"
"""First session after the training of the shipped policies."""

WARM_UP_YEAR: Final = 2017
"""Bars from this year on suffice for the lookback of each shipped policy before FIRST."""
