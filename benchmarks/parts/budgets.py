"""The budget of each part: microseconds of CPU on a machine where `sum(range(1000))` takes 10 us.

`make bench` scales them to the machine that it runs on, and marks a part above its budget. BUDGETS are for compiled
kernels. The gate's are a seventh, a quarter and half (at 20, 100 and 500 symbols) of the time before there were kernels
where it complies, and a twelfth, an eighth and a third where it is breached. INTERPRETED is twice the time of then.
"""

from typing import Final

CALIBRATION_US: Final = 10.0

BUDGETS: Final[dict[str, float]] = {
    # one gate: how many symbols, which book, whether it complies, first of a sample or a later one
    "gate 20 long complies, first": 12.0,
    "gate 20 long complies, later": 5.2,
    "gate 20 long breached, first": 42.0,
    "gate 20 long breached, later": 14.0,
    "gate 20 long and short complies, later": 6.5,
    "gate 20 long and short breached, later": 15.5,
    "gate 100 long complies, first": 30.0,
    "gate 100 long complies, later": 11.0,
    "gate 100 long breached, first": 230.0,
    "gate 100 long breached, later": 38.0,
    "gate 100 long and short complies, later": 14.0,
    "gate 100 long and short breached, later": 42.0,
    "gate 500 long complies, first": 125.0,
    "gate 500 long complies, later": 73.0,
    "gate 500 long breached, first": 5_000.0,
    "gate 500 long breached, later": 330.0,
    "gate 500 long and short complies, later": 85.0,
    "gate 500 long and short breached, later": 360.0,
    # parts of a session in which all 20 symbols trade
    "daily: rows and plan": 25.0,
    "daily: view and policy call": 15.0,
    "daily: digest": 6.0,
    "daily: journal encode": 10.0,
    # whole sessions
    "session 20 quiet": 6.0,
    "session 20 monthly": 7.0,
    "session 20 daily": 50.0,
    "session 20 three agents monthly": 18.0,
    "session 20 three agents daily": 170.0,
    "session 20 daily, four more limits": 60.0,
    "session 20 three daily, four more limits": 190.0,
    "session 1 asked every bar": 16.0,
    # once
    "compile all": 40e6,
}

INTERPRETED: Final[dict[str, float]] = {
    "daily: plan": 700.0,
    "daily: ledger post": 100.0,
    "daily: paper fill": 150.0,
    "daily: monitor sample": 80.0,
    "session 20 daily": 1_300.0,
    "session 20 monthly": 220.0,
    "session 20 three agents daily": 2_600.0,
    "session 1 asked every bar": 200.0,
}
"""Budgets of the same parts without numba, as in the daemon."""
