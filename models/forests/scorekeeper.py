"""Tracks a forest's accuracy in operation, and decides whether its predictions are used.

Pure: a track is read from a policy's memory and written back to it, with bounded size.

What can go wrong, and what prevents it. A forest that was better than the plain estimate in its walk-forward test could
be worse in operation: it can be switched off. A switch that follows each single error would flip with noise: it follows
the mean error of the last WINDOW scored predictions (rounds), after LEAST rounds or more. The forest is switched off
when this error is not below the error of the plain estimate, and on after RETURN rounds in a row below it. Outcomes of
predictions on neighbouring samples overlap, so that one error would count many times: only four predictions are scored
in each horizon. A track record of another forest or universe has the errors of other rows: it is not continued. Open
predictions have an unknown age when the count of samples begins again: they are dropped.

What the order of the steps guarantees. A prediction is scored before its slot, the oldest in the record, is used again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from quantd.trading.market import Floats

WINDOW: Final = 26
"""Rounds of the running error: half a year of sessions at a horizon of a month."""

LEAST: Final = 12
"""Minimum number of rounds before any switch."""

RETURN: Final = 6
"""Consecutive rounds with a running error below the plain estimate's before a forest is used again."""

Outcome = Callable[[int], Floats | None]
"""Samples since a prediction -> its outcome float64[width]; None where it can no longer be measured."""


@dataclass(frozen=True, slots=True)
class Track:
    """The track record of one forest.

    `identity` is a hash of forest and universe. `on` is True while the forest is used, and `streak` counts the rounds
    (scored predictions) in a row in which its running error was below the plain estimate's. `at` float64[slots] are the
    samples at which the predictions still to be scored were made (-1: an empty slot). `said` float64[slots, width, 2]
    are the values that forest and plain estimate predicted, `width` each. `errors` float64[WINDOW, 2] are the mean
    squared errors of both by round, newest last, NaN before the first round.
    """

    identity: int
    on: bool
    streak: int
    at: Floats
    said: Floats
    errors: Floats

    @property
    def rounds(self) -> int:
        """Number of scored predictions in the running error."""
        return int(np.isfinite(self.errors[:, 0]).sum())

    @property
    def running(self) -> tuple[float, float] | None:
        """Mean squared errors of the forest and of the plain estimate; None before the first scored prediction."""
        measured = self.errors[np.isfinite(self.errors[:, 0])]
        return (float(measured[:, 0].mean()), float(measured[:, 1].mean())) if len(measured) else None


def every(horizon: int) -> int:
    """Return the number of samples between two scored predictions: four are scored in each horizon."""
    return max(1, horizon // 4)


def begin(identity: int, width: int, horizon: int, *, on: bool) -> Track:
    """Return an empty track record for predictions of `width` values. `on` is the result of the artifact's
    walk-forward test."""
    # as many open predictions as a horizon can have, rounded up, and the newest
    slots = -(-horizon // every(horizon)) + 1
    return Track(
        identity, on, 0, np.full(slots, -1.0), np.full((slots, width, 2), np.nan), np.full((WINDOW, 2), np.nan)
    )


def follow(track: Track, now: int, horizon: int, outcome: Outcome, model: Floats, plain: Floats) -> Track:
    """Return the track record after sample number `now`.

    Predictions whose horizon is over are scored, and the switch is updated. The current predictions `model` and `plain`
    (float64[width]) are stored when the newest stored one is old enough.
    """
    if float(track.at.max()) > now:
        # the sample count restarted: open predictions cannot be scored
        track = replace(track, at=np.full_like(track.at, -1.0))
    for slot in np.flatnonzero((track.at >= 0) & (now - track.at >= horizon)):
        outcome_values = outcome(now - int(track.at[slot]))
        open_samples = track.at.copy()
        # -1: the slot is free
        prediction, open_samples[slot] = track.said[slot], -1.0
        track = replace(track, at=open_samples)
        if outcome_values is not None:
            track = _scored(track, prediction, outcome_values)
    newest = float(track.at.max())
    if newest >= 0.0 and now - newest < every(horizon):
        return track
    # the oldest slot becomes the newest
    order = [*range(1, len(track.at)), 0]
    samples, predictions = track.at[order], track.said[order]
    samples[-1], predictions[-1, :, 0], predictions[-1, :, 1] = now, model, plain
    return replace(track, at=samples, said=predictions)


def _scored(track: Track, said: Floats, true: Floats) -> Track:
    """Return the track record with the errors of one prediction, and the switch updated.

    `said` float64[width, 2] has the forest's and the plain values, `true` float64[width] the outcome, NaN where it is
    unknown. The switch does not move before LEAST scored predictions.
    """
    squared_errors = (said - true[:, None]) ** 2
    is_known = np.isfinite(squared_errors).all(axis=1)
    if not is_known.any():
        return track
    track = replace(track, errors=np.vstack([track.errors[1:], squared_errors[is_known].mean(axis=0)]))
    mean_errors = track.running
    if mean_errors is None or track.rounds < LEAST:
        return track
    # the forest is off as soon as it is not better, and on again after RETURN better rounds in a row
    if mean_errors[0] >= mean_errors[1]:
        return replace(track, on=False, streak=0)
    streak = min(track.streak + 1, RETURN)
    return replace(track, on=track.on or streak == RETURN, streak=streak)


def freeze(name: str, track: Track) -> dict[str, Floats]:
    """Return the track record as entries of a policy's memory."""
    return {
        f"{name}.switch": np.array([track.identity, track.on, track.streak], dtype=np.float64),
        f"{name}.at": track.at,
        f"{name}.said": track.said,
        f"{name}.errors": track.errors,
    }


def thaw(name: str, memory: Mapping[str, Floats], fresh: Track) -> Track:
    """Return the track record in `memory`; `fresh` if it has none, or one of another forest or universe."""
    switch = memory.get(f"{name}.switch")
    if switch is None or switch[0] != fresh.identity:
        return fresh
    at, said, errors = (memory[f"{name}.{key}"] for key in ("at", "said", "errors"))
    if at.shape != fresh.at.shape or said.shape != fresh.said.shape or errors.shape != fresh.errors.shape:
        return fresh
    return Track(fresh.identity, bool(switch[1]), int(switch[2]), at, said, errors)
