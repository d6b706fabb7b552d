"""The recorded runs by name: how each is recorded, and how often its feature occurs at least."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tests.recorded_runs import live, paper
from tests.recorded_runs.index import IndexedStore


class Feature(NamedTuple):
    """What a store is for: how it is recorded, and the least counts of the events and effects that show it."""

    record: Callable[[Path], None]
    least: Mapping[str, int]


FEATURES: Final[Mapping[str, Feature]] = {
    "three_agents": Feature(
        paper.three_agents,
        {"Started": 5, "Decided": 100, "Crossed": 3, "OrderBasket": 20, "Operator halt": 3, "Operator resume": 3},
    ),
    "shadow_promotion": Feature(
        paper.shadow_promotion, {"Started": 3, "Promotion that promotes": 3, "shadow OrderBasket": 20}
    ),
    "portfolios": Feature(
        paper.portfolios,
        {"Started": 3, "PortfolioOpened": 3, "PortfolioClosed": 3, "Proposed": 3, "Planned of a proposal": 6},
    ),
    "outside_agent": Feature(
        paper.outside_agent,
        {"Started": 3, "Proposed": 20, "shadow Planned of a proposal": 3, "Planned of a proposal": 3, "Refused": 3},
    ),
    "gtc_partial_fills": Feature(
        paper.gtc_partial_fills,
        {"Started": 4, "OrderBasket good till cancelled": 10, "Reports with a partial fill": 10, "Cancel": 3},
    ),
    "parents": Feature(
        paper.parents,
        {
            "Started": 4, "Planned of a parent": 6, "Planned of a child, twap": 6,
            "Planned of a child, participation": 3, "Planned of a child, chase": 3, "Worked": 3,
        },
    ),
    "splits_and_delistings": Feature(
        paper.splits_and_delistings,
        {"Started": 3, "Action split": 4, "Action dividend": 3, "Action delisting": 3, "Booked": 6},
    ),
    "mixed_calendars": Feature(paper.mixed_calendars, {"Started": 3, "SliceRef": 150, "OrderBasket": 20}),
    "stops_at_venue": Feature(
        live.stops_at_venue,
        {"Started": 5, "OrderBasket of a stop": 6, "Rested": 6, "Cancel": 3, "Protected": 3, "Bars": 100},
    ),
    "config_reload": Feature(
        live.config_reload,
        {"Started": 8, "Reloaded": 10, "Reloaded with looser limits that wait": 6, "Approved": 3},
    ),
    "unknown_orders": Feature(
        live.unknown_orders, {"Started": 4, "Unknown": 10, "Query": 3, "NotFound": 3, "Again": 3, "Bars": 100}
    ),
    "carry_over": Feature(paper.carry_over, {"Started": 6, "Carried": 3, "OrderBasket": 12}),
}  # fmt: skip


def lacking(name: str, store: IndexedStore) -> list[str]:
    """What a store has too little of; empty when it shows its feature."""
    counts = store.events | store.effects
    return [
        f"{kind}: {counts.get(kind, 0)}, and {least} are needed"
        for kind, least in FEATURES[name].least.items()
        if counts.get(kind, 0) < least
    ]
