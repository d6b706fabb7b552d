"""The policy of a walk-forward: at each instant it decides with the policy that the newest refit chose.

What can go wrong: a policy reads the memory of the policy that it replaces. So the memory names the policy that decided
last, and only that policy gets the memory back. A different policy begins with an empty memory.

The policy of a walk-forward has no training window of its own, because each of its component policies decides only
after the bars on which it was fitted.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np

from quantd.daemon.policies.loading import Inner
from quantd.research.runs.looks import policy_identity
from quantd.research.studies.walk_calendar import WalkError, day_of
from quantd.strategies.policies.members import noted, unpacked
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats
from quantd.trading.ports import Policy, leaves
from quantd.trading.view import Hold, Memory, Noted, View, own_memory, under

INSIDE: Final = "fitted"
"""Prefix, in an agent's memory, of the entries of the policy in force."""

IN_FORCE: Final = "in_force"
"""Name of the memory's entry that has the index of the policy that decided last."""


@dataclass(frozen=True, slots=True)
class WalkedPolicy:
    """Decides with `policies[order[k]]` from the instant `since_ns[k]` on (ns UTC, ascending), for each refit k.

    A policy that a refit replaces loses its memory; a policy that is chosen again at the next refit keeps it. The class
    has no attribute `inside` (components of a composite), which would expose the training windows of the policies: each
    policy decides only after the bars on which it was fitted.
    """

    policies: tuple[Policy, ...]
    order: tuple[int, ...]
    since_ns: tuple[int, ...]
    digest: str
    """Identifies the choices and the policies."""

    @property
    def lookback(self) -> int:
        return max(policy.lookback for policy in self.policies)

    @property
    def uses_bars(self) -> bool:
        """True if one of the component policies reads whole bars."""
        return any(getattr(leaf, "uses_bars", False) for leaf in self._leaves)

    @property
    def uses_macro(self) -> tuple[str, ...]:
        """The series of [feed] macro that the component policies read, in alphabetical order."""
        return tuple(sorted({name for leaf in self._leaves for name in getattr(leaf, "uses_macro", ())}))

    @property
    def uses_series(self) -> tuple[str, ...]:
        """The series of [feed] series that the component policies read, in alphabetical order."""
        return tuple(sorted({name for leaf in self._leaves for name in getattr(leaf, "uses_series", ())}))

    @property
    def candidates(self) -> dict[str, int]:
        """The number of trials behind each trained component policy, by the policy's digest."""
        counts: dict[str, int] = {}
        for leaf in self._leaves:
            counts |= getattr(leaf, "candidates", {})
        return counts

    @property
    def _leaves(self) -> list[Policy]:
        return [leaf for policy in self.policies for leaf in leaves(policy)]

    def fit(self, universe: Universe) -> None:
        """Raise ValueError where the universe lacks a symbol that a policy needs."""
        for leaf in self._leaves:
            getattr(leaf, "fit", lambda universe: None)(universe)

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        """Return (answer, new memory) of the policy in force at the instant of the view.

        The answer is target weights or HOLD (keep all lots), either of them with or without a message. A policy begins
        with an empty memory when it replaces another one.
        """
        # before the first refit its policy decides too
        policy_index = self.order[max(0, bisect_right(self.since_ns, view.time) - 1)]
        last_decider = memory.get(IN_FORCE)
        decided_last = last_decider is not None and int(last_decider[0]) == policy_index
        answer, remembered = self.policies[policy_index].act(view, own_memory(memory, INSIDE) if decided_last else {})
        weights, note, warns = unpacked(answer)
        new_memory = {IN_FORCE: np.array([float(policy_index)]), **under(INSIDE, remembered)}
        return noted(weights, [(note, warns)]), new_memory


def walked(
    policies: Mapping[tuple[str, ...], Policy], chosen: Sequence[tuple[str, ...]], since_ns: Sequence[int]
) -> WalkedPolicy:
    """Return the policy that decides with `policies[chosen[k]]` from `since_ns[k]` on.

    `policies` maps each possible choice, a tuple of values of the swept keys, to its policy. `chosen` has the choice of
    each refit, `since_ns` the instant of the refit in ns UTC. Raises WalkError for a trained policy whose training bars
    end after the refit that chose it.
    """
    for values, since in zip(chosen, since_ns, strict=True):
        until = max(int(getattr(leaf, "trained_until_ns", 0)) for leaf in leaves(policies[values]))
        if until > since:
            text = f"refit {day_of(since)}: {', '.join(values)} was trained on bars to {day_of(until - 1)}, after the"
            raise WalkError(f"{text} refit; remove this policy, begin later (--from), or walk its training plan")
    names = list(policies)
    identity = repr([(list(values), _digests(policies[values])) for values in names])
    digest = blake2b(f"{identity}|{list(map(names.index, chosen))}|{list(since_ns)}".encode(), digest_size=16)
    return WalkedPolicy(
        tuple(Inner(policies[values]) for values in names),
        tuple(map(names.index, chosen)),
        tuple(since_ns),
        digest.hexdigest(),
    )


def _digests(policy: Policy) -> list[str]:
    return [policy_identity(leaf) for leaf in leaves(policy)]
