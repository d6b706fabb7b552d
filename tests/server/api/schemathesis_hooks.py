"""Hooks of schemathesis: what the document of the API cannot express about parameters that are valid on their own.

A key stands for one request, a cursor is that of an earlier answer, a period does not end before it starts, targets are
given in one way and for symbols of the run, a sign-in has a token or a code, held symbols have prices, and all have as
many. Features have the names of a model. The eleventh wrong token of a minute is refused with 429, not 401.
"""

import os
import re
import uuid
from typing import Any

import schemathesis
from schemathesis.generation.meta import CoveragePhaseData

EVERY_CASE = bool(os.environ.get("EVERY_CASE"))
"""Whether all cases that follow from the document are sent, which are some forty of an operation."""

_sent: set[tuple[str, ...]] = set()
"""Operations and parameters with the kinds of cases that they have met."""


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Whether a case that follows from the document is sent. Each operation and each name of a parameter meets each
    kind of cases once, as a wrong type, a value above the largest one, or a method that the operation lacks."""
    phase = case.meta.phase.data if case.meta is not None else None
    if EVERY_CASE or not isinstance(phase, CoveragePhaseData):
        return True
    kinds: set[tuple[str, ...]] = {("operation", case.operation.label, phase.scenario)}
    if phase.parameter is not None:
        kinds.add(("parameter", phase.parameter, phase.location or "", phase.scenario))
    new = not kinds <= _sent
    _sent.update(kinds)
    return new


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Make valid parameters valid together; those that break their own schema are sent as they are."""
    headers, query = case.headers or {}, case.query or {}
    key = headers.get("Idempotency-Key")
    if key is not None and re.fullmatch(r"[!-~]{1,64}", str(key)):
        headers["Idempotency-Key"] = uuid.uuid4().hex
    if re.fullmatch(r"[A-Za-z0-9_-]{1,200}", str(query.get("cursor", ""))):
        query["cursor"] = ""
    start, end = query.get("from"), query.get("to")
    if isinstance(start, str) and isinstance(end, str) and start > end:
        query["from"], query["to"] = end, start
    body = case.body
    if not isinstance(body, dict):
        return
    if case.path.endswith(("/portfolios", "/open/preview")):
        given = [name for name in ("weights", "orders", "policy", "agent") if body.get(name)]
        for name in given[1:]:
            del body[name]
        if not given:
            body["policy"] = "equal_weight"
        if body.get("policy") and not body.get("symbols"):
            body["symbols"] = ["SPY"]
        if body.get("weights") or body.get("orders"):  # they name their symbols
            body.pop("symbols", None)
    # the loader checks values, not the document
    if case.path.endswith(("/research/backtests", "/research/sweeps", "/backtest")):
        if isinstance(body.get("sets"), list):
            body["sets"] = []
        if isinstance(body.get("over"), list) and body["over"]:
            body["over"] = ["agents.trend.params.lookback=20:40:20"]
        for name in ("from", "to"):
            body.pop(name, None)
        weights = body.get("weights")
        # of the account no position may be above a quarter; weights of another type are sent as they are
        if isinstance(weights, dict) and all(
            type(each) in (int, float) and abs(each) <= 1.0 for each in weights.values()
        ):
            body["weights"] = {name: each / 5 for name, each in weights.items()}
    if case.path.endswith("/sign-in"):
        given = [name for name in ("token", "code") if body.get(name)]
        for name in given[1:]:
            del body[name]
        if not given:
            body["token"] = "wrong"
    other_endings = ("/orders/preview", "/cancel/preview", "/review/preview", "/open/preview", "/close/preview")
    other_endings += ("/promote/preview", "/demote/preview", "/settings/preview")
    by_weights = case.path.endswith(("/preview", "/propose")) and not case.path.endswith(other_endings)
    if by_weights and isinstance(body.get("weights", {}), dict):
        body["weights"] = {"SPY": 0.5}
        if isinstance(body.get("expires"), str):
            body["expires"] = ""
        for name in ("orders", "policy", "agent", "symbols"):
            if isinstance(body.get(name), dict | list | str):
                del body[name]
    for name in ("features", "shared", "observation"):
        if isinstance(body.get(name), dict | list):  # names and length are those of a model
            del body[name]
    prices = body.get("prices")
    if isinstance(prices, dict) and all(isinstance(closes, list) and len(closes) > 1 for closes in prices.values()):
        shortest = min(map(len, prices.values()), default=0)
        body["prices"] = {f"S{k}": closes[:shortest] for k, closes in enumerate(prices.values())}
    if case.path.endswith("/allocate") and isinstance(body.get("held"), dict) and isinstance(body.get("prices"), dict):
        body["held"] = {symbol: weight for symbol, weight in body["held"].items() if symbol in body["prices"]}


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether a failure counts: all but the refusal of a wrong token after ten others."""
    return "got `429 Too Many Requests`" not in failure.message or "invalid credentials" not in failure.message
