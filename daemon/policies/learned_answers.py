"""The answer of a learned policy to one observation: weights, scores and a confidence computed from them."""

from hashlib import blake2b
from math import isfinite, log
from typing import Final, Literal, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.daemon.policies.model_facts import entries_of
from quantd.daemon.policies.predictions import confidence
from quantd.models.artifacts.agent_policy import LearnedAgent
from quantd.models.artifacts.ensemble import LearnedEnsemble, Member
from quantd.models.artifacts.inspection import operator_of
from quantd.models.artifacts.occlusion import Learned
from quantd.models.artifacts.scorer_policy import LearnedPolicy
from quantd.trading.market import Floats
from quantd.trading.view import Memory, View

Observation = NDArray[np.float32]

ConfidenceKind = Literal["probabilities", "values", "concentration", "agreement"]

HASH_BYTES: Final = 16


class Confidence(Struct, frozen=True):
    """A number from 0 to 1, computed from one answer. None of the kinds is a probability of a profit.

    `probabilities`: 1 - entropy / maximum entropy of the network's probabilities of its allocations.
    `values`: the gap between the best two action values, divided by the range of all action values.
    `concentration`: 1 - entropy / maximum entropy of weights and cash.
    `agreement`: 1 - the mean share of the book in which a member's weights differ from the ensemble's.
    """

    value: float
    kind: ConfidenceKind


class Given(NamedTuple):
    """An answer of a learned policy: `weights` float64[N] in the order of `symbols`.

    `value` is the largest action value; None for a network without action values.
    """

    symbols: tuple[str, ...]
    weights: Floats
    confidence: Confidence
    value: float | None


class Lacking(ValueError):
    """A learned policy cannot be asked this way; the text has the reason."""


def entries_for(leaf: Learned, symbols: tuple[str, ...]) -> list[str]:
    """The names of the values of an observation, in order. Raises Lacking where the members of an ensemble have
    different names.

    `symbols` are the symbols of the question; a model that was trained for fixed symbols does not use them.
    """
    if not isinstance(leaf, LearnedEnsemble):
        return entries_of(leaf.artifact, symbols)
    first, *other_entries = [entries_of(member.artifact, symbols) for member in leaf.members]
    if any(entries != first for entries in other_entries):
        raise Lacking("its members have different observations; leave the observation out, or name a member")
    return first


def input_hash(*parts: NDArray[np.float32] | NDArray[np.float64] | bytes) -> str:
    """The hex BLAKE2b of an input, whose parts are hashed in order."""
    digest = blake2b(digest_size=HASH_BYTES)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.tobytes())
    return digest.hexdigest()


def answer_to(leaf: Learned, observed: Observation, symbols: tuple[str, ...]) -> Given:
    """A learned policy's answer to an observation float32[D], without memory. Raises Lacking for NaN or infinity."""
    with np.errstate(all="ignore"):
        answer = _answer_to(leaf, observed, symbols)
    if not (np.isfinite(answer.weights).all() and isfinite(answer.confidence.value) and isfinite(answer.value or 0.0)):
        largest = float(np.abs(observed).max())
        raise Lacking(f"the answer of the model to these values is not a number; their largest size is {largest:g}")
    return answer


def _answer_to(leaf: Learned, observed: Observation, symbols: tuple[str, ...]) -> Given:
    """The answer of a policy to an observation. In an ensemble each member answers the same observation.

    A scorer (one score per asset) has one row per asset: its features, then whether they are known. An equivariant
    network treats all assets alike and takes any `symbols`; any other network has the symbols of its training.
    """
    if isinstance(leaf, LearnedEnsemble):
        votes = [answer_to(member, observed, symbols) for member in leaf.members]
        return _ensemble_answer(leaf, votes[0].symbols, np.stack([vote.weights for vote in votes]))
    if isinstance(leaf, LearnedAgent):
        # a batch of one observation
        return _agent_answer(leaf, observed[None])
    manifest = leaf.artifact.manifest
    asset_names = symbols if manifest.network.equivariant else manifest.universe
    symbol_rows = observed.reshape(len(asset_names), -1)
    weights = leaf.answer(np.ascontiguousarray(symbol_rows[:, :-1]), np.ascontiguousarray(symbol_rows[:, -1]))
    return Given(asset_names, weights, _concentration(weights), None)  # None: no action value


def observed_at(leaf: Learned, view: View, memory: Memory) -> bytes:
    """The input of a policy at a view, as bytes: the observations and memories of all members."""
    if isinstance(leaf, LearnedEnsemble):
        inputs = (observed_at(member, view, leaf.own_memory(k, memory)) for k, member in enumerate(leaf.members))
        return b"".join(inputs)
    remembered = b"".join(value.tobytes() for _, value in sorted(memory.items()))
    if isinstance(leaf, LearnedAgent):
        return leaf.seen(view).tobytes() + remembered
    features, mask = leaf.features_of(leaf.returns_of(view))
    return features.tobytes() + mask.tobytes() + remembered


def answer_at(leaf: Learned, view: View, memory: Memory) -> Given:
    """The answer of a learned policy at a view. Raises Lacking for an input without a value."""
    if isinstance(leaf, LearnedEnsemble):
        votes = [_network_answer(member, view, leaf.own_memory(k, memory)) for k, member in enumerate(leaf.members)]
        return _ensemble_answer(leaf, view.universe.symbols, np.stack([vote.weights for vote in votes]))
    return _network_answer(leaf, view, memory)


def _network_answer(leaf: Member, view: View, memory: Memory) -> Given:
    """The answer of one network at a view, in the order of the view's symbols.

    Raises Lacking where a value of the observation is not known yet.
    """
    symbols = view.universe.symbols
    if isinstance(leaf, LearnedPolicy):
        weights = leaf.placed(leaf.weights(leaf.returns_of(view)))
        return Given(symbols, weights, _concentration(weights), None)  # None: no action value
    # `carry`: the state of a recurrent network, else None; `priced`: which symbols have a price
    observed, carry, priced = leaf.question(view, memory)
    if name := leaf.lacking(observed[0]):
        raise Lacking(f"{name} has no value yet")
    answer = leaf.decide(observed, carry, priced)
    weights = leaf.placed(answer.weights)
    return Given(symbols, weights, *_confidence_and_value(leaf, answer.scores, weights))


def _agent_answer(leaf: LearnedAgent, observed: Observation) -> Given:
    if name := leaf.lacking(observed[0]):
        raise Lacking(f"{name} has no value")
    answer = leaf.decide(observed, None)  # None: no state of a recurrent network
    confidence_and_value = _confidence_and_value(leaf, answer.scores, answer.weights)
    return Given(leaf.artifact.manifest.universe, answer.weights, *confidence_and_value)


def _ensemble_answer(leaf: LearnedEnsemble, symbols: tuple[str, ...], votes: Floats) -> Given:
    weights = leaf.combined(votes)
    distance = float(np.abs(votes - weights).sum(axis=1).mean()) / 2.0  # half: a moved share is counted twice
    return Given(symbols, weights, Confidence(min(1.0, max(0.0, 1.0 - distance)), "agreement"), None)


def _confidence_and_value(leaf: LearnedAgent, scores: Observation, weights: Floats) -> tuple[Confidence, float | None]:
    """(confidence, largest action value) of an answer of a learned policy.

    `scores` are what the network gives for its possible allocations. For probabilities the confidence is 1 - entropy /
    maximum entropy. For action values it is the gap between the two largest as a share of their range. The largest
    action value is None in all other cases. Without `scores` the confidence is the concentration of the weights.
    """
    if not len(scores):
        return _concentration(weights), None
    if operator_of(leaf.artifact.graph, "scores") == "Softmax":
        return Confidence(_entropy_confidence(scores.astype(np.float64)), "probabilities"), None
    ordered = np.sort(scores.astype(np.float64))[::-1]
    spread = float(ordered[0] - ordered[-1])
    gap = float(ordered[0] - ordered[1]) if len(ordered) > 1 else spread
    return Confidence(gap / spread if spread > 0.0 else 0.0, "values"), float(ordered[0])


def _concentration(weights: Floats) -> Confidence:
    return Confidence(confidence(weights.astype("<f8").tobytes()), "concentration")


def _entropy_confidence(parts: Floats) -> float:
    """1 - entropy / maximum entropy of `parts`, which are taken as shares of their sum; 1 for fewer than two parts."""
    total = float(parts.sum())
    if total <= 0.0 or len(parts) < 2:
        return 1.0
    shares = parts[parts > 0.0] / total
    return min(1.0, max(0.0, 1.0 + float((shares * np.log(shares)).sum()) / log(len(parts))))
