"""The recorded runs by name, and how each is recorded."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.recorded_runs import live, paper

FEATURES: Final[Mapping[str, Callable[[Path], None]]] = {
    record.__name__: record
    for record in (
        paper.three_agents, paper.shadow_promotion, paper.portfolios, paper.outside_agent, paper.gtc_partial_fills,
        paper.parents, paper.splits_and_delistings, paper.mixed_calendars, live.stops_at_venue, live.config_reload,
        live.unknown_orders, paper.carry_over,
    )
}  # fmt: skip
