"""The pre-trade gate: it checks orders against all limits, and finds the largest order of each symbol that passes."""
