"""Limits on the weight of positions, sectors, groups and asset classes, and on concentration."""

from math import sqrt

import numpy as np

from quantd.risk.limits.case import Case, Extent
from quantd.risk.limits.catalogue import Limits, Reason
from quantd.risk.limits.context import Floats
from quantd.risk.limits.kinds import Family, Quad, family_of
from quantd.trading.instruments import Universe


def weights_keep(case: Case, extent: Extent, lots: Floats, weight: float) -> bool:
    """Whether every position, traded or not, keeps its weight when all of `lots` and the open orders fill."""
    bound = weight if extent.settled else weight * (1.0 + case.rules.limits.in_flight)
    _, heaviest, slip = extent.reach(case, lots)
    return heaviest <= bound * (extent.equity - slip) + case.tolerance


def position_weight(case: Case, lots: Floats) -> Floats | None:
    """|position| <= weight x equity, with equity as low as the order's own worst price makes it."""
    weight = case.rules.weight
    if weight is None:
        return None
    case.weights_keep = all(weights_keep(case, extent, lots, weight) for extent in case.extents)
    if case.weights_keep:
        return None
    most: Floats | None = None
    for extent in case.extents:
        bound = weight if extent.settled else weight * (1.0 + case.rules.limits.in_flight)
        room = bound * extent.equity + case.tolerance - case.side(extent.y)
        with np.errstate(divide="ignore", invalid="ignore"):
            lots = room / (case.ctx.px + bound * extent.slip)
        most = lots if most is None else np.minimum(most, lots)
    return most


def sector_families(limits: Limits, universe: Universe) -> list[Family]:
    """Each known sector; `sector_missing` refuses instruments without one."""
    bound = limits.max_sector_weight
    return [] if bound is None else [family_of(limits, "max_sector_weight", Reason.SECTOR, bound, universe.sectors)]


def group_families(limits: Limits, universe: Universe) -> list[Family]:
    """Each group that has a cap; groups may overlap."""
    members = dict(universe.groups)
    return [
        family_of(
            limits,
            f"group_caps.{group}",
            Reason.GROUP,
            bound,
            [group if symbol in members[group] else "" for symbol in universe.symbols],
        )
        for group, bound in limits.group_caps
    ]


def asset_families(limits: Limits, universe: Universe) -> list[Family]:
    """Each asset that several instruments are claims on; of a lone instrument `position_weight` has the cap."""
    assets, bound = universe.assets, limits.max_concentration
    shared = [asset if assets.count(asset) > 1 else "" for asset in assets]
    if bound is None or not any(shared):
        return []
    return [family_of(limits, "max_concentration", Reason.CONCENTRATION, bound, shared)]


def herfindahl_quads(limits: Limits) -> list[Quad]:
    """The sum of squared weights (Herfindahl's index) as a quadratic form: the limit itself is that of the square."""
    most = limits.max_herfindahl
    if most is None:
        return []
    way = sqrt(most * (1.0 + limits.in_flight))
    return [Quad("max_herfindahl", Reason.HERFINDAHL, 0, 1.0, way, sqrt(most), None)]
