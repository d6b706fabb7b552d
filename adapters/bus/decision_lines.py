"""The conversion of one round (the decisions of one instant) into orders, as text: the same lines in the API, on the
command line and on the bus."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from quantd.trading.effects import Planned
from quantd.trading.instruments import Universe
from quantd.trading.orders import quantities


class AgentLine(Struct, frozen=True):
    """One agent's part of a decision: target weights, and signed quantities before and after its own limits.

    Mappings are by symbol, without zeros. `reasons` maps a symbol to the name of the limit that reduced its quantity.
    `scale` is the fraction of the weights that the agent's limits leave room for. `policy` is the name of another agent
    if that agent's policy decided.
    """

    agent: str
    scale: float
    weights: dict[str, float]
    asked: dict[str, str]
    allowed: dict[str, str]
    reasons: dict[str, str]
    policy: str = ""


class DecisionLines(NamedTuple):
    """The parts of a decision as text. `crossed` (traded between agents), `net` (requested) and `allowed` (within
    the limits) are signed quantities by symbol, without zeros."""

    agents: list[AgentLine]
    crossed: dict[str, str]
    net: dict[str, str]
    allowed: dict[str, str]
    reasons: dict[str, str]


def decision_lines(
    plan: Planned, universe: Universe, agent_name: Callable[[int], str], reason_name: Callable[[int], str]
) -> DecisionLines:
    """Return the text lines of one round, the decisions of one instant.

    `agent_name` returns the name of an agent by index, `reason_name` the name of a reason code of the order gate.

    A plan tells how the round became orders. Its arrays, stored as bytes, have one value for each symbol: `asked` are
    the lots that an agent wants, and `allowed` the lots that its limits permit. `crossed` are lots traded between
    agents, `net` the lots that remain for the venue. The texts omit zeros.
    """

    def signed(data: bytes) -> dict[str, str]:
        return quantities(universe, np.frombuffer(data, dtype="<i8").tolist())

    def reasons(data: bytes) -> dict[str, str]:
        codes = np.frombuffer(data, dtype=np.int8)
        return {universe.symbols[column]: reason_name(int(codes[column])) for column in np.flatnonzero(codes).tolist()}

    def weights(data: bytes) -> dict[str, float]:
        values = np.frombuffer(data, dtype="<f8")
        return {universe.symbols[column]: float(values[column]) for column in np.flatnonzero(values).tolist()}

    agents = [
        AgentLine(
            agent=agent_name(part.agent),
            scale=part.scale,
            weights=weights(part.weights),
            asked=signed(part.asked),
            allowed=signed(part.allowed),
            reasons=reasons(part.reason),
            policy=part.policy,
        )
        for part in plan.agents
    ]
    return DecisionLines(agents, signed(plan.crossed), signed(plan.net), signed(plan.allowed), reasons(plan.reason))
