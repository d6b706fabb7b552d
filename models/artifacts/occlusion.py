"""Occlusion: the change of a learned policy's weights when one of its inputs is replaced by its training mean.

Only the current observation is occluded: a recurrent policy keeps the state (carry) that it had at the decision. The
changes of several inputs do not add up to the change of all of them together.

Source: M. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks" (2014), section 3.3.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.models.artifacts.agent_policy import LearnedAgent, LearnedArtifact
from quantd.models.artifacts.ensemble import LearnedEnsemble, Member
from quantd.models.artifacts.inspection import operator_of
from quantd.models.artifacts.scorer_policy import LearnedPolicy
from quantd.models.artifacts.weights import MEAN, tensors_of
from quantd.models.observation.sight import entry_names
from quantd.trading.market import Bools, Floats
from quantd.trading.view import Memory, View

Learned = LearnedPolicy | LearnedAgent | LearnedEnsemble
"""The policies that can be measured."""

MEANS: Final = (MEAN, "normaliser.mean", "observed.mean")
"""Names of the tensor with the mean of each entry over the training; the last one is in rounded copies."""

MOST_ENTRIES: Final = 4_096
"""Most entries of an observation that are occluded one by one."""

RETURNS: Final = "returns"
"""Name of the input of all lags of the window together."""

_BOOK: Final = {"weight": "own weights", "cash": "own cash"}
"""Entry of the book -> name of its input."""


class Influence(Struct, frozen=True):
    """The effect of one input of a policy, as arrays float64[N] by column of the view.

    `change` is the weights with the input replaced by its training mean, less the weights of the decision. `value` is
    the input at the decision, and `mean` its training mean. An element is NaN where an asset has no single value of the
    input.
    """

    name: str
    change: Floats
    value: Floats
    mean: Floats


class Choices(Struct, frozen=True):
    """The scores of discrete allocations: action values (expected discounted reward) or probabilities."""

    kind: Literal["values", "probabilities"]
    allocations: tuple[str, ...]
    scores: NDArray[np.float32]
    chosen: int


class Occlusion(Struct, frozen=True):
    """A learned policy at one decision: its weights float64[N] by column of the view, and what they depend on.

    `features` has the influence of each feature, replaced for all assets at once, `entries` the influence of each
    single entry of the observation. If `missing` has a reason, changes and means are NaN.
    """

    weights: Floats
    features: tuple[Influence, ...]
    entries: tuple[Influence, ...] = ()
    choices: Choices | None = None
    missing: str = ""


def training_mean(artifact: LearnedArtifact) -> Floats | None:
    """Return the training mean float64[D] of each entry of the observation; None where the artifact has none."""
    tensors = tensors_of(artifact.weights)
    mean = next((tensors[name] for name in MEANS if name in tensors), None)
    size = artifact.manifest.sight.size(len(artifact.manifest.universe))
    return None if mean is None or mean.shape != (size,) else mean.astype(np.float64)


def measure(policy: Learned, view: View, memory: Memory) -> Occlusion:
    """Measure the influence of each input of `policy` at a view. Raises what `policy.act` raises.

    An input is replaced by its mean in training; its influence is the change of the weights. Without the means, or
    where the policy held, the result has the reason in `missing`.
    """
    if isinstance(policy, LearnedEnsemble):
        return _of_ensemble(policy, view, memory)
    if isinstance(policy, LearnedPolicy):
        return _of_scorer(policy, view, memory)
    observed, carry, priced = policy.question(view, memory)
    if name := policy.lacking(observed[0]):
        return Occlusion(view.weights, (), missing=f"{name} had no value; every lot was kept")
    answer, mean = policy.decide(observed, carry, priced), training_mean(policy.artifact)
    choices, allocations = None, policy.artifact.manifest.action.allocations
    if allocations:
        chances = operator_of(policy.artifact.graph, "scores") == "Softmax"
        kind: Literal["values", "probabilities"] = "probabilities" if chances else "values"
        choices = Choices(kind, allocations, answer.scores, int(answer.scores.argmax()))
    weights, missing = policy.placed(answer.weights), ""
    if mean is None:
        missing = "this artifact has no training means; train it again"
    features, entries = influences(policy, observed, carry, priced, mean)
    return Occlusion(weights, features, entries if mean is not None else (), choices, missing)


def influences(
    agent: LearnedAgent,
    observed: NDArray[np.float32],
    carry: NDArray[Any] | None,
    priced: Bools | None,
    mean: Floats | None,
) -> tuple[tuple[Influence, ...], tuple[Influence, ...]]:
    """Return the influence of each feature, then of each entry of an observation float32[1, D].

    Each occluded observation is answered in a separate run, as the decision was, so that an input without influence
    changes exactly nothing. The flag `known` does not count as an input, and an asset whose features are unknown stays
    unknown. `mean` float64[D] is the result of `training_mean`.
    """
    symbols = agent.artifact.manifest.universe
    names = entry_names(agent.artifact.manifest.sight, symbols)
    indices_of, row = _indices_by_input(names, observed[0]), observed[0]
    mean = None if mean is None else when_known(names, mean)
    answered = agent.decide(observed, carry, priced).weights

    def influence(name: str, indices: Sequence[int]) -> Influence:
        """Return the influence of the entries `indices` on the weights: the change if their training means replace
        them."""
        change = np.full(len(symbols), np.nan)
        if mean is not None:
            occluded = row.copy()
            occluded[indices] = mean[indices]
            change = agent.decide(occluded[None], carry, priced).weights - answered
        value, usual_value = (_by_asset(names, indices, values, symbols) for values in (row, mean))
        return Influence(name, *map(agent.placed, (change, value, usual_value)))

    features = tuple(influence(name, indices) for name, indices in indices_of.items())
    all_indices = [k for indices in indices_of.values() for k in indices]
    if mean is None or len(all_indices) > MOST_ENTRIES:
        return features, ()
    return features, tuple(influence(names[k], [k]) for k in all_indices)


def when_known(names: Sequence[str], mean: Floats) -> Floats:
    """Convert means float64[D] over all observations to means over those in which the asset was known.

    Entries of an unknown asset are 0. An entry's mean over all observations is therefore its mean over the known ones
    times the share of known ones, which is the mean of the entry `known`.
    """
    shares = {name.removeprefix("known "): mean[k] for k, name in enumerate(names) if name.startswith("known ")}
    name_parts = [name.rpartition(" ") for name in names]
    share = np.array([1.0 if feature in _BOOK else shares.get(symbol, 1.0) for feature, _, symbol in name_parts])
    return np.divide(mean, share, out=mean.copy(), where=share > 0.0)


def input_of(entry: str) -> str:
    """Return the input to which an entry of the observation belongs.

    It is the entry's feature, RETURNS for a lagged return, or "own weights" or "own cash" for an entry of the book.
    """
    name = entry.rpartition(" ")[0] or entry
    return RETURNS if name.startswith("return_") else _BOOK.get(name, name)


def _indices_by_input(names: Sequence[str], row: NDArray[np.float32]) -> dict[str, list[int]]:
    """Return, for each input, the indices of its entries, except flags `known` and entries of unknown assets.

    An entry's name is the input's name and the symbol; `known SYMBOL` is the flag of an asset. `row` float32[D] is the
    observation. The entries of the book (held weights, cash) are included even for unknown assets, because a weight
    needs no history.
    """
    unknown = {name.removeprefix("known ") for k, name in enumerate(names) if name.startswith("known ") and not row[k]}
    indices: dict[str, list[int]] = {}
    for k, entry in enumerate(names):
        name, _, symbol = entry.rpartition(" ")
        if name != "known":
            indices.setdefault(input_of(entry), [])
            if symbol not in unknown or name in _BOOK:
                indices[input_of(entry)].append(k)
    return indices


def _by_asset(
    names: Sequence[str], entry_indices: Sequence[int], values: NDArray[Any] | None, symbols: Sequence[str]
) -> Floats:
    """Return float64[N]: each asset's value among the entries at `entry_indices`; NaN for an asset with none or
    several."""
    value_by_asset = np.full(len(symbols), np.nan)
    if values is None:
        return value_by_asset
    indices_of: dict[str, list[int]] = {}
    # an entry without a symbol in its name is of all assets: it has the key ""
    for k in entry_indices:
        indices_of.setdefault(names[k].rpartition(" ")[2] if " " in names[k] else "", []).append(k)
    for column, symbol in enumerate(symbols):
        indices = indices_of.get(symbol) or indices_of.get("", [])
        if len(indices) == 1:
            value_by_asset[column] = values[indices[0]]
    return value_by_asset


def _of_scorer(policy: LearnedPolicy, view: View, memory: Memory) -> Occlusion:
    """Measure the influence of the features of a scorer, which has one mean per feature because it scores all assets
    alike."""
    features, mask = policy.features_of(policy.returns_of(view))
    answered, names = policy.answer(features, mask), policy.artifact.manifest.features.names
    mean = tensors_of(policy.artifact.weights).get(MEAN)
    indices = np.flatnonzero(mask > 0.0).tolist()

    def influence(name: str, feature: int, assets: list[int]) -> Influence:
        """Return the influence of one feature of these assets on the weights: the change if the training mean replaces
        it."""
        value, usual_value, change = (np.full(len(mask), np.nan) for _ in range(3))
        value[assets] = features[assets, feature]
        if mean is not None:
            occluded = features.copy()
            occluded[assets, feature] = usual_value[assets] = mean[feature]
            change = policy.answer(occluded, mask) - answered
        return Influence(name, *map(policy.placed, (change, value, usual_value)))

    feature_influences = tuple(influence(name, k, indices) for k, name in enumerate(names))
    weights = policy.placed(answered)
    if mean is None:
        return Occlusion(weights, feature_influences, missing="this artifact has no training means; train it again")
    # for many entries only whole features are measured
    if len(indices) * len(names) > MOST_ENTRIES:
        return Occlusion(weights, feature_influences)
    manifest = policy.artifact.manifest
    symbols = view.universe.symbols if manifest.network.equivariant else manifest.universe
    return Occlusion(
        weights,
        feature_influences,
        tuple(influence(f"{name} {symbols[asset]}", k, [asset]) for asset in indices for k, name in enumerate(names)),
    )


def _of_ensemble(ensemble: LearnedEnsemble, view: View, memory: Memory) -> Occlusion:
    """Measure the change of an ensemble's combined weights when an input is replaced in every member that has it."""
    members: list[tuple[Member, Occlusion]] = [
        (agent, measure(agent, view, ensemble.own_memory(index, memory)))
        for index, agent in enumerate(ensemble.members)
    ]
    votes = np.stack([occlusion.weights for _, occlusion in members])
    weights = ensemble.combined(votes)
    for member, occlusion in members:
        if occlusion.missing:
            return Occlusion(weights, (), missing=f"member {member.artifact.manifest.name}: {occlusion.missing}")

    def combined(tables: Sequence[Mapping[str, Influence]]) -> tuple[Influence, ...]:
        """Return the influence of each named input on the combined weights; members without the input keep their
        weights."""
        joined = []
        for name in dict.fromkeys(name for table in tables for name in table):
            by_member = [table.get(name) for table in tables]
            changed_votes = np.stack(
                [
                    vote if occluded is None else vote + occluded.change
                    for vote, occluded in zip(votes, by_member, strict=True)
                ]
            )
            present = [influence for influence in by_member if influence is not None]
            same = [np.array_equal(influence.mean, present[0].mean, equal_nan=True) for influence in present]
            mean = present[0].mean if all(same) else np.full(len(weights), np.nan)
            joined.append(Influence(name, ensemble.combined(changed_votes) - weights, present[0].value, mean))
        return tuple(joined)

    features = combined([{influence.name: influence for influence in occlusion.features} for _, occlusion in members])
    # an entry is occluded in all members or in none
    has_entries = all(occlusion.entries for _, occlusion in members)
    entries = (
        combined([{influence.name: influence for influence in occlusion.entries} for _, occlusion in members])
        if has_entries
        else ()
    )
    return Occlusion(weights, features, entries)
