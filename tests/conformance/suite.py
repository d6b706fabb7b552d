"""All cases and all rigs: what the tests run and the table shows."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Final

from tests.conformance.cases import CASES
from tests.conformance.groups import account, cancel, limits, query, stream, submit, unknown
from tests.conformance.rig import Rig
from tests.conformance.rigs.alpaca import AlpacaRig
from tests.conformance.rigs.paper import PaperRig

GROUPS: Final = (submit, cancel, query, unknown, stream, account, limits)
"""The modules whose cases these are."""

RIGS: dict[str, Callable[[], Rig]] = {"alpaca": AlpacaRig, "paper": PaperRig}
"""By name; each call is a venue of its own."""

if find_spec("ccxt") is not None and find_spec("tests.conformance.rigs.ccxt") is not None:
    from importlib import import_module

    RIGS["ccxt"] = import_module("tests.conformance.rigs.ccxt").CcxtRig

__all__ = ["CASES", "GROUPS", "RIGS"]
