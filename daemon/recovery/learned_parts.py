"""Measures the learned policies of a past decision during a replay: the inputs that mattered, and action values."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from quantd.daemon.engine.state import State
from quantd.daemon.policies.seats import artifacts_in
from quantd.models.artifacts.folder import first_line
from quantd.models.artifacts.occlusion import Learned, Occlusion, measure
from quantd.strategies.policies.members import leaves_asked
from quantd.trading.effects import Ask, Planned
from quantd.trading.events import Decided
from quantd.trading.ports import Policy, leaves
from quantd.trading.view import Memory, View


class LearnedPart(Struct, frozen=True):
    """A learned policy at one decision.

    `path` is its path in the agent's policy, empty if it is the agent's policy itself; sizing and rebalancing rules
    around it do not count. `wrapped` means that other rules adjusted its weights. `symbols` are the symbols of its
    view. `occlusion` has its weights and how each input influenced them; where it is None, `missing` has the reason.
    """

    path: str
    name: str
    digest: str
    wrapped: bool
    symbols: tuple[str, ...]
    occlusion: Occlusion | None
    missing: str = ""


@dataclass(slots=True)
class Measured:
    """Observes the questions of a replay, and measures the learned parts of each agent at the sample of `plan`.

    With `shadow` the parts of this shadow (agent on paper) are measured. The figures are computed at the question,
    because a view cannot be read once the next sample exists.
    """

    plan: Planned
    shadow: str = ""
    parts: dict[int, list[LearnedPart]] = field(default_factory=dict)
    """Index of an agent in the plan -> its learned parts."""
    cooling: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    """(Agent, symbol) in the cooldown after a protective exit -> (samples until it may be bought, length)."""

    def __call__(self, ask: Ask, state: State, policy: Policy, recorded: Decided | None) -> None:
        agent = ask.agent - self._first_seat(state.rules.seats)
        if ask.view.sample_time != self.plan.sample or all(part.agent != agent for part in self.plan.agents):
            return
        if not self.shadow and state.guards is not None:
            for symbol, last in state.agents[agent].blocked.items():
                self.cooling[agent, symbol] = last - state.sample_no + 1, state.guards.cooldown[agent]
        if state.artifacts.get(state.rules.seats[ask.policy], "") == artifacts_in(policy):
            self.parts[agent] = learned_parts(policy, ask.view, ask.memory)
        else:
            missing = "the artifact on disk is not the one that decided: its digest differs from the journal"
            self.parts[agent] = _unmeasured_parts(policy, ask.view.universe.symbols, missing)

    def whole(
        self, policies: Sequence[Policy], seats: Sequence[str], symbols: tuple[str, ...]
    ) -> dict[int, list[LearnedPart]]:
        """The learned parts of all agents of the plan, without figures for an agent that was not asked at its sample.

        `seats` are the names of the agents and shadows (agents on paper) that `policies` belong to.
        """
        plan_policies = policies[self._first_seat(seats) :]
        reason = "the policy decided at another sample: explain that decision (`quantd why`)"
        for agent in (part.agent for part in self.plan.agents):
            if agent not in self.parts and agent < len(plan_policies):
                self.parts[agent] = _unmeasured_parts(plan_policies[agent], symbols, reason)
        return self.parts

    def _first_seat(self, seats: Sequence[str]) -> int:
        """The seat (index of the policy) of the first agent: 0 for the whole account, else the seat of the
        shadow (agent on paper)."""
        return seats.index(self.shadow) if self.shadow in seats else 0


def learned_parts(policy: Policy, view: View, memory: Memory) -> list[LearnedPart]:
    """Measure the learned components of `policy` that decide at `view`."""
    parts = []
    for path, leaf, leaf_view, leaf_memory in leaves_asked(policy, view, memory):
        if isinstance(leaf, Learned):
            occlusion, failure = None, ""
            try:
                occlusion = measure(leaf, leaf_view, leaf_memory)
            except Exception as error:  # ONNX Runtime has many kinds; the policy failed at the decision as well
                failure = f"the policy fails: {first_line(error)}"
            parts.append(_part(path, leaf, policy, leaf_view.universe.symbols, occlusion, failure))
    return parts


def _unmeasured_parts(policy: Policy, symbols: tuple[str, ...], missing: str) -> list[LearnedPart]:
    """The learned components of a policy, without figures, for the reason `missing`."""
    return [_part("", leaf, policy, symbols, None, missing) for leaf in leaves(policy) if isinstance(leaf, Learned)]


def _part(
    path: str, leaf: Learned, policy: Policy, symbols: tuple[str, ...], occlusion: Occlusion | None, missing: str = ""
) -> LearnedPart:
    manifest = leaf.artifact.manifest
    return LearnedPart(path, manifest.name, manifest.digest, leaf is not policy, symbols, occlusion, missing)
