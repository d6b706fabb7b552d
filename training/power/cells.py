"""Cells of a power study.

A cell is a plan with one planted signal at one trading cost; its digest covers all settings of a fit.
"""

from hashlib import blake2b
from pathlib import Path
from typing import Literal

import msgspec

from quantd.models.history.panel_files import file_digest
from quantd.training.plans.plan import USUAL_ERRORS, Plan, replaced
from quantd.training.power.plants import Plant

Learner = Literal["plan", "scorer"]
"""Who is fitted: the learner of the plan, or the scorer."""


def costing(plan: Plan, cost_bp: float) -> Plan:
    """Return the plan with `cost_bp`, the cost of one side of a trade, in place of all its costs."""
    no_other_costs = {f"market.costs.{name}": 0.0 for name in ("slippage_bp", "spread_bp", "borrow_bp_annual")}
    return replaced(plan, {**no_other_costs, "market.costs.commission_bp": cost_bp})


def cell_of(plan: Plan, learner: Learner, plant: Plant, cost_bp: float) -> str:
    """Return the hex BLAKE2b of all that decides a fit except its seed: plan, planted signal, cost, data, learner.

    Raises OSError for a file that cannot be read.
    """
    plan = msgspec.structs.replace(costing(plan, cost_bp), seeds=(0,), name="")
    paths = [path for path in plan.data.files if path is not None]
    paths += [Path(plant.values)] if plant.values else []
    terms = msgspec.to_builtins(plan)
    # These keys are newer than the first findings. At their defaults they are left out of the digest, so that the
    # earlier findings still belong to this cell.
    if not plan.market.breadth:
        del terms["market"]["breadth"]
    if plan.errors_above == USUAL_ERRORS:
        del terms["errors_above"]
    if not getattr(plan.learner, "gains", True):
        del terms["learner"]["gains"]
    signal = msgspec.to_builtins(plant) | {"values": ""}  # its content is among the files
    decisive = (learner, terms, signal, [file_digest(path) for path in paths])
    return blake2b(msgspec.json.encode(decisive), digest_size=16).hexdigest()
