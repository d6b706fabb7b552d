"""The pre-trade gate, which checks orders against all limits, and the largest order of each symbol that passes
(headroom)."""
