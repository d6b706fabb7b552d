"""Evaluates nodes (computed columns) bar by bar: one row in, one row out, in constant time.

The state has a column for each instrument, a row for each recursion, and the newest values of each node that windows or
lags read. An instrument without a bar keeps its state: its recursions and windows do not advance.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from quantd.strategies.indicators.nodes import Adaptive, Field, Lag, Node, Point, Recursion, Window, ordered
from quantd.trading.market import Bools, Floats

SLACK: Final = 192
"""Spare rows of a tape: its newest rows are moved to its start once per this many bars."""

Step = Callable[[list[Floats]], Floats]


class Tape:
    """The newest `depth` rows float64[N] of a node, oldest first, contiguous in memory: `rows[end - depth : end]`."""

    __slots__ = ("depth", "end", "rows")

    def __init__(self, depth: int, size: int) -> None:
        self.depth = depth
        self.rows: Floats = np.full((depth + SLACK, size), np.nan)
        self.end = depth

    def append(self, row: Floats) -> None:
        """Add a row. If the memory is full, its newest `depth` rows are first moved to its start."""
        if self.end == len(self.rows):
            self.rows[: self.depth] = self.rows[self.end - self.depth :]
            self.end = self.depth
        self.rows[self.end] = row
        self.end += 1

    def take_back(self, columns: Bools) -> None:
        """Remove the newest value of the instruments `columns` (bool[N]), which have no bar in the newest row.

        The older values of these columns move one row towards the end.
        """
        start = self.end - self.depth
        self.rows[start : self.end, columns] = self.rows[start - 1 : self.end - 1, columns]


class Stream:
    """Evaluates `nodes` (computed columns) for `size` instruments, bar by bar."""

    def __init__(self, nodes: list[Node], size: int) -> None:
        """Plan the steps of `nodes` and their dependencies; a node that is read at older rows gets a Tape (buffer)."""
        self.size = size
        self.keys = [node.key for node in nodes]
        self._nodes = ordered(nodes)
        self._index_of = {node.key: index for index, node in enumerate(self._nodes)}
        self._output_indices = [self._index_of[key] for key in self.keys]
        depth: dict[str, int] = {}
        recursions: list[Node] = []
        for node in self._nodes:
            # only lags and windows read older rows of their arguments
            rows_needed = node.back + 1 if isinstance(node, Lag) else node.width if isinstance(node, Window) else 0
            for arg in node.args if rows_needed else ():
                depth[arg.key] = max(depth.get(arg.key, 0), rows_needed)
            if isinstance(node, (Recursion, Adaptive)):
                recursions.append(node)
        self._tapes = {key: Tape(rows, size) for key, rows in depth.items()}
        self._recursions = [node.key for node in recursions]
        self._state: Floats = np.zeros((len(recursions), size))
        self._bar_number: Floats = np.full(size, -1.0)
        self._least_bar_number = -1.0
        # after the tapes and the state, to which the steps refer
        self._steps = [(self._step(node), self._tapes.get(node.key)) for node in self._nodes]

    def _step(self, node: Node) -> Step:
        """Return the function that computes the newest row float64[N] of `node` from the rows of earlier nodes."""
        arg_indices = [self._index_of[arg.key] for arg in node.args]
        match node:
            case Field():
                field_index = self._index_of[node.key]
                return lambda values: values[field_index]
            case Point():
                function = node.function
                # for one or two arguments no list is made
                if len(arg_indices) == 1:
                    arg_index = arg_indices[0]
                    return lambda values: function(values[arg_index])
                if len(arg_indices) == 2:
                    first, second = arg_indices
                    return lambda values: function(values[first], values[second])
                return lambda values: function(*[values[index] for index in arg_indices])
            case Lag():
                tape, back = self._tapes[node.args[0].key], node.back + 1
                return lambda values: tape.rows[tape.end - back].copy()
            case Window():
                tapes, width, reduce_window = [self._tapes[arg.key] for arg in node.args], node.width, node.kernel.one
                if len(tapes) == 1:
                    tape = tapes[0]
                    return lambda values: reduce_window(tape.rows[tape.end - width : tape.end])
                return lambda values: reduce_window(
                    *[window_tape.rows[window_tape.end - width : window_tape.end] for window_tape in tapes]
                )
            case Recursion():
                return self._recursion(node, arg_indices[0], self._recursions.index(node.key))
            case Adaptive():
                return self._adaptive(node, arg_indices[0], arg_indices[1], self._recursions.index(node.key))

    def _recursion(self, node: Recursion, x_index: int, row: int) -> Step:
        """Return the step function of a recursion over the node at `x_index`.

        The recursion's value is row `row` of the state, which has one column per instrument.
        """
        decay, gain, seed, begin, scale = node.decay, node.gain, node.first, node.begin, node.scale

        def step(values: list[Floats]) -> Floats:
            state, x = self._state[row], values[x_index]
            if self._least_bar_number > seed:  # the usual case: every instrument is past its first value
                state *= decay
                state += gain * x
                return state.copy()
            number = self._bar_number  # of each instrument, from 0
            starting = np.where(number > begin, state + x, np.where(number == begin, x, 0.0))
            starting = np.where(number == seed, starting * scale, starting)
            state[:] = np.where(number > seed, decay * state + gain * x, starting)
            return np.where(number >= seed, state, np.nan)

        return step

    def _adaptive(self, node: Adaptive, x_index: int, coefficient_index: int, row: int) -> Step:
        """Return the step function of an adaptive mean, whose value is row `row` of the state."""
        seed_bar, first_bar = node.seed, node.first

        def step(values: list[Floats]) -> Floats:
            # the two arguments of the mean are the values at these indices
            state, x, coefficient = self._state[row], values[x_index], values[coefficient_index]
            if self._least_bar_number > seed_bar:  # the usual case: every instrument is past its first value
                state += coefficient * (x - state)
                return state.copy()
            number = self._bar_number  # of each instrument, from 0
            state[:] = np.where(
                number > seed_bar, state + coefficient * (x - state), np.where(number == seed_bar, x, 0.0)
            )
            return np.where(number >= first_bar, state, np.nan)

        return step

    def update(self, fields: Mapping[str, Floats], present: Bools) -> list[Floats]:
        """Return the values float64[N] of N instruments for each requested node, in order, from one bar.

        `fields` are float64[N] by name. `present` bool[N] is True for an instrument with a bar; others get NaN, and
        their state does not change.
        """
        all_present = bool(present.all())
        state_of_absent = None if all_present else self._state[:, ~present]
        self._bar_number += present
        self._least_bar_number = float(self._bar_number.min())
        values: list[Floats] = []
        append = values.append
        with np.errstate(invalid="ignore", divide="ignore"):
            for node, (step, tape) in zip(self._nodes, self._steps, strict=True):
                value = fields[node.key] if isinstance(node, Field) else step(values)
                append(value)
                if tape is not None:
                    tape.append(value)
        if state_of_absent is None:
            return [values[index] for index in self._output_indices]
        # undo the steps of instruments without a bar
        absent = ~present
        self._state[:, absent] = state_of_absent
        for tape in self._tapes.values():
            tape.take_back(absent)
        return [np.where(present, values[index], np.nan) for index in self._output_indices]

    def state(self) -> dict[str, Floats]:
        """Return the complete state of the nodes as named arrays."""
        saved = {"number": self._bar_number.copy(), "recursions": self._state.copy()}
        for key, tape in self._tapes.items():
            saved[f"tape {key}"] = tape.rows[tape.end - tape.depth : tape.end].copy()
        return saved

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Restore a state. Raises KeyError or ValueError when the state belongs to other nodes."""
        self._bar_number = state["number"].copy()
        self._least_bar_number = float(self._bar_number.min()) if self.size else 0.0
        self._state[:] = state["recursions"]
        for key, tape in self._tapes.items():
            tape.rows[: tape.depth] = state[f"tape {key}"]
            tape.end = tape.depth
