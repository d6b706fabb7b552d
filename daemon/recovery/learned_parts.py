"""Measures the learned policies of a past decision while a replay is at it: inputs that mattered, action values."""

from dataclasses import dataclass, field

from msgspec import Struct

from quantd.daemon.assembly.parts import Parts
from quantd.daemon.engine.state import State
from quantd.daemon.recovery.start import artifacts_in
from quantd.models.artifacts.folder import first_line
from quantd.models.artifacts.occlusion import Learned, Occlusion, measure
from quantd.strategies.policies.members import leaves_asked
from quantd.trading.effects import Ask, Planned
from quantd.trading.ports import Policy, leaves
from quantd.trading.view import Memory, View


class LearnedPart(Struct, frozen=True):
    """A learned policy at one decision.

    `path` is its place in the agent's policy, empty for the policy itself and inside sizing and rebalancing rules.
    `wrapped` means that other rules adjusted its weights. `symbols` are those of its view. `occlusion` is None where
    `missing` has the reason.
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
    """Listens to a replay, and measures the learned parts of each agent at the sample of `plan`.

    `parts` has them by the agent's number. The figures are computed at the Ask, because a view is not readable once the
    next sample exists.
    """

    plan: Planned
    parts: dict[int, list[LearnedPart]] = field(default_factory=dict)

    def __call__(self, ask: Ask, state: State, parts: Parts) -> None:
        if ask.view.sample != self.plan.sample:
            return
        policy = parts.policies[ask.policy]
        if state.artifacts.get(state.rules.seats[ask.policy], "") == artifacts_in(policy):
            self.parts[ask.agent] = learned_parts(policy, ask.view, ask.memory)
        else:
            other = "the artifact on disk is not the one that decided: its digest differs from the journal"
            found = [each for each in leaves(policy) if isinstance(each, Learned)]
            self.parts[ask.agent] = [_part("", each, policy, ask.view, None, other) for each in found]


def learned_parts(policy: Policy, view: View, memory: Memory) -> list[LearnedPart]:
    """Measure the learned components of `policy` that decide at `view`."""
    found = []
    for path, leaf, seen, own in leaves_asked(policy, view, memory):
        if isinstance(leaf, Learned):
            occlusion, missing = None, ""
            try:
                occlusion = measure(leaf, seen, own)
            except Exception as error:  # ONNX Runtime has many kinds; the policy failed at the decision as well
                missing = f"the policy fails: {first_line(error)}"
            found.append(_part(path, leaf, policy, seen, occlusion, missing))
    return found


def _part(
    path: str, leaf: Learned, policy: Policy, view: View, occlusion: Occlusion | None, missing: str = ""
) -> LearnedPart:
    manifest = leaf.artifact.manifest
    return LearnedPart(
        path, manifest.name, manifest.digest, leaf is not policy, view.universe.symbols, occlusion, missing
    )
