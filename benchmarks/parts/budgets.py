"""The budget of each part: microseconds of CPU on a machine where `sum(range(1000))` takes 10 us.

`make bench` scales them to the machine that it runs on, and marks a part above its budget. BUDGETS are for the
build, INTERPRETED for the source. Those of the gate are 1.4 times what the gate of this build and of
this source took. Those of the interpreted parts are twice the time before there were kernels.
"""

from typing import Final

CALIBRATION_US: Final = 10.0

BUDGETS: Final[dict[str, float]] = {
    # one gate: how many symbols, which book, whether it complies, first of a sample or a later one
    "gate 20 long complies, first": 71.0,
    "gate 20 long complies, later": 20.0,
    "gate 20 long breached, first": 93.0,
    "gate 20 long breached, later": 42.0,
    "gate 20 long and short complies, first": 77.0,
    "gate 20 long and short complies, later": 24.0,
    "gate 20 long and short breached, first": 100.0,
    "gate 20 long and short breached, later": 47.0,
    "gate 100 long complies, first": 110.0,
    "gate 100 long complies, later": 39.0,
    "gate 100 long breached, first": 220.0,
    "gate 100 long breached, later": 140.0,
    "gate 100 long and short complies, first": 120.0,
    "gate 100 long and short complies, later": 47.0,
    "gate 100 long and short breached, first": 260.0,
    "gate 100 long and short breached, later": 140.0,
    "gate 500 long complies, first": 390.0,
    "gate 500 long complies, later": 140.0,
    "gate 500 long breached, first": 850.0,
    "gate 500 long breached, later": 510.0,
    "gate 500 long and short complies, first": 590.0,
    "gate 500 long and short complies, later": 160.0,
    "gate 500 long and short breached, first": 1_000.0,
    "gate 500 long and short breached, later": 710.0,
    "gate 2000 long complies, first": 2_500.0,
    "gate 2000 long complies, later": 1_000.0,
    "gate 2000 long breached, first": 3_300.0,
    "gate 2000 long breached, later": 2_100.0,
    "gate 2000 long and short complies, first": 2_500.0,
    "gate 2000 long and short complies, later": 730.0,
    "gate 2000 long and short breached, first": 3_700.0,
    "gate 2000 long and short breached, later": 2_400.0,
    # parts of a session in which all 20 symbols trade
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
    "session 5 default profiles": 970.0,
}

INTERPRETED: Final[dict[str, float]] = {
    "gate 20 long complies, first": 2_500.0,
    "gate 20 long complies, later": 1_100.0,
    "gate 20 long breached, first": 6_400.0,
    "gate 20 long breached, later": 4_900.0,
    "gate 20 long and short complies, first": 2_500.0,
    "gate 20 long and short complies, later": 1_100.0,
    "gate 20 long and short breached, first": 6_200.0,
    "gate 20 long and short breached, later": 4_700.0,
    "gate 100 long complies, first": 12_000.0,
    "gate 100 long complies, later": 4_900.0,
    "gate 100 long breached, first": 29_000.0,
    "gate 100 long breached, later": 22_000.0,
    "gate 100 long and short complies, first": 12_000.0,
    "gate 100 long and short complies, later": 5_200.0,
    "gate 100 long and short breached, first": 28_000.0,
    "gate 100 long and short breached, later": 21_000.0,
    "gate 500 long complies, first": 55_000.0,
    "gate 500 long complies, later": 22_000.0,
    "gate 500 long breached, first": 140_000.0,
    "gate 500 long breached, later": 100_000.0,
    "gate 500 long and short complies, first": 55_000.0,
    "gate 500 long and short complies, later": 23_000.0,
    "gate 500 long and short breached, first": 130_000.0,
    "gate 500 long and short breached, later": 100_000.0,
    "gate 2000 long complies, first": 200_000.0,
    "gate 2000 long complies, later": 75_000.0,
    "gate 2000 long breached, first": 470_000.0,
    "gate 2000 long breached, later": 350_000.0,
    "gate 2000 long and short complies, first": 220_000.0,
    "gate 2000 long and short complies, later": 86_000.0,
    "gate 2000 long and short breached, first": 460_000.0,
    "gate 2000 long and short breached, later": 330_000.0,
    "daily: plan": 700.0,
    "daily: ledger post": 100.0,
    "daily: paper fill": 150.0,
    "daily: monitor sample": 80.0,
    "session 20 daily": 1_300.0,
    "session 20 monthly": 220.0,
    "session 20 three agents daily": 2_600.0,
    "session 1 asked every bar": 200.0,
}
"""Budgets of the same parts without the build."""
