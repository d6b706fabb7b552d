"""The regime in force: the regime that a model detects, subject to a minimum duration, and a text that explains it."""

from typing import NamedTuple

import numpy as np

from quantd.strategies.regimes.detectors import REGIMES, RegimeModel, market_of
from quantd.trading.market import Floats
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import Memory, View, own_memory, under


class InForce(NamedTuple):
    """The regime in force.

    `word` is a text with the start of the regime, and the reason with the figures at the switch; the text does not
    change until the next switch. `switched` is True if the regime changed at this sample. `memory` replaces the entries
    of the policy's memory under "regime".
    """

    regime: str
    word: str
    switched: bool
    memory: dict[str, Floats]


def in_force(model: RegimeModel, view: View, memory: Memory, *, dwell: int = 0, at_first: str = "volatile") -> InForce:
    """Return the regime in force at `view`.

    A regime lasts at least `dwell` samples. The model's state is in `memory` under "regime". `at_first` is the regime
    while the model has too few samples; `dwell` does not delay the end of this first regime.
    """
    # `since` has the index of the regime, the sample and day of its start, and the figures of the reading
    state = own_memory(memory, "regime")
    since = state.pop("since", None)
    reading, model_state = model.read(market_of(view, model.params, model.lookback), view.sample, state)
    if since is None and reading is None:
        return InForce(at_first, f"{at_first}: too few samples for a regime", False, under("regime", model_state))
    previous = None if since is None else REGIMES[int(since[0])]
    may_change = since is None or view.sample - int(since[1]) >= dwell
    is_switch = reading is not None and reading.regime != previous and may_change
    if reading is not None and is_switch:
        day = (view.sample_time - 1) // DAY_NS  # a sample at midnight belongs to the day that ends
        since = np.array([float(REGIMES.index(reading.regime)), float(view.sample), float(day), *reading.figures])
    assert since is not None
    name = REGIMES[int(since[0])]
    text = f"{name} since {np.datetime64(int(since[2]), 'D')!s}: {model.why(since[3:].tolist())}"
    return InForce(name, text, is_switch, under("regime", {**model_state, "since": since}))
