"""The inputs that mattered to a learned policy, for one symbol of a decision, and its action values."""

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Final, Literal

from msgspec import Struct

from quantd.daemon.recovery.learned_parts import LearnedPart
from quantd.models.artifacts.occlusion import Influence

MOST_ROWS: Final = 10
"""Maximum number of rows in a table as text, and of `entries`."""

SMALLEST_PP: Final = 0.005
"""Smaller changes, in percentage points, would print as 0.00: they are counted, not listed."""


class InputRow(Struct, frozen=True):
    """One input: the change of the symbol's weight if the input were at its training mean, in percentage points.

    `value` is the input of the symbol at the decision, `mean` the mean of this input in training. A figure is None
    where the input has no single value.
    """

    name: str
    change_pp: float | None
    value: float | None
    mean: float | None


class ActionRow(Struct, frozen=True):
    """A discrete allocation of a learned policy with its score."""

    allocation: str
    score: float
    chosen: bool


class Inputs(Struct, frozen=True):
    """A learned part of an agent's policy: its answer before other rules adjust it, and what it depended on.

    `part` is the path of the learned part in a composed policy. `wrapped` means that other rules adjusted its weights.
    `weight` is the weight that it gave the symbol. `features` and `entries` are the effects of inputs, the largest
    change first: in `features` one feature is replaced for all assets at once, in `entries` a single number. `scores`
    names the unit of `actions`, which begin with the chosen one. `missing` is the reason for absent figures.
    """

    part: str
    artifact: str
    digest: str
    wrapped: bool
    weight: float | None
    features: list[InputRow]
    entries: list[InputRow]
    scores: Literal["", "values", "probabilities"]
    actions: list[ActionRow]
    missing: str


def inputs_of(parts: Iterable[LearnedPart], symbol: str) -> list[Inputs]:
    """The learned parts of one agent's policy that decided about `symbol`."""
    return [_inputs(part, symbol) for part in parts if symbol in part.symbols]


def _inputs(part: LearnedPart, symbol: str) -> Inputs:
    """What a learned part depended on for `symbol`.

    Without an occlusion (the measured effects of its inputs) the result has only names, and the reason in `missing`.
    """
    occlusion, column = part.occlusion, part.symbols.index(symbol)
    if occlusion is None:
        # no weight, no features and entries, no scores and actions
        return Inputs(part.path, part.name, part.digest, part.wrapped, None, [], [], "", [], part.missing)
    choices = occlusion.choices
    actions = []
    if choices is not None:
        # the chosen action first, then the highest score
        ranked = sorted(range(len(choices.scores)), key=lambda k: (k != choices.chosen, -choices.scores[k]))
        actions = [ActionRow(choices.allocations[k], float(choices.scores[k]), k == choices.chosen) for k in ranked]
    return Inputs(
        part=part.path,
        artifact=part.name,
        digest=part.digest,
        wrapped=part.wrapped,
        weight=float(occlusion.weights[column]),
        features=_rows(occlusion.features, column),
        entries=[row for row in _rows(occlusion.entries, column) if row.change_pp][:MOST_ROWS],
        scores=choices.kind if choices is not None else "",
        actions=actions,
        missing=occlusion.missing,
    )


def _rows(influences: Sequence[Influence], column: int) -> list[InputRow]:
    """The inputs' rows for one symbol, the largest change first; equal changes in the order of the observation.

    A change is how many percentage points the symbol's weight would move if the input were at its training mean.
    """
    rows = [
        InputRow(
            influence.name,
            _finite_or_none(100.0 * influence.change[column]),
            _finite_or_none(influence.value[column]),
            _finite_or_none(influence.mean[column]),
        )
        for influence in influences
    ]
    return sorted(rows, key=lambda row: -abs(row.change_pp or 0.0))


def _finite_or_none(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def input_lines(agent: str, learned: Sequence[Inputs], symbol: str) -> list[str]:
    return [line for inputs in learned for line in _lines(agent, inputs, symbol)]


def _lines(agent: str, inputs: Inputs, symbol: str) -> list[str]:
    """The lines about one learned part: its answer, the inputs that mattered or why none are listed, its scores."""
    part_text = f" as {inputs.part}" if inputs.part else ""
    weight_text = f"{inputs.weight:.1%} of {symbol}" if inputs.weight is not None else "no figures"
    rules = ", before the rules around it" if inputs.wrapped else ""
    lines = [f"learned policy {inputs.artifact} of agent {agent}{part_text}: {weight_text}{rules}"]
    if inputs.missing:
        lines.append(f"  its inputs were not measured: {inputs.missing}")
    else:
        lines += _input_table(inputs.features, symbol)
    return lines + _action_table(inputs)


def _input_table(rows: Sequence[InputRow], symbol: str) -> list[str]:
    """The inputs with the largest changes as a table, and the number of inputs that are not listed."""
    listed_rows = [row for row in rows if row.change_pp is not None and abs(row.change_pp) >= SMALLEST_PP][:MOST_ROWS]
    name_width = max([len(row.name) for row in listed_rows] + [20])
    lines = [
        f"  inputs that mattered: change of the weight of {symbol} if each were at its training mean, in points",
        f"    {'input':{name_width}}{'change':>10}{f'{symbol} now':>12}{'mean':>10}",
    ]
    for row in listed_rows:
        value, mean = (f"{number:.3f}" if number is not None else "–" for number in (row.value, row.mean))
        lines.append(f"    {row.name:{name_width}}{row.change_pp:>+10.2f}{value:>12}{mean:>10}")
    if unlisted_count := len(rows) - len(listed_rows):
        omitted = f"below {SMALLEST_PP} points" if len(listed_rows) < MOST_ROWS else "smaller changes"
        lines.append(f"    {unlisted_count} other input{'s' if unlisted_count > 1 else ''}: {omitted}")
    return lines


def _action_table(inputs: Inputs) -> list[str]:
    """The best allocations with their scores as a table; empty for a policy without scores."""
    if not inputs.actions:
        return []
    names = {
        "values": "action values (expected discounted reward)",
        "probabilities": "probabilities of its allocations",
    }
    name_width = max(len(row.allocation) for row in inputs.actions[:MOST_ROWS])
    lines = [f"  {names[inputs.scores]}, best first"]
    lines += [
        f"    {row.allocation:{name_width}}{row.score:>12.4f}{'  <- chosen' if row.chosen else ''}"
        for row in inputs.actions[:MOST_ROWS]
    ]
    if len(inputs.actions) > MOST_ROWS:
        lines.append(f"    {len(inputs.actions) - MOST_ROWS} other allocations")
    return lines
