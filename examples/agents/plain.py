"""An outside agent in plain Python: it answers each question of a backtest with weights by momentum.

    quantd backtest --config examples/agents/plain.toml

A question is a line of JSON on standard input, an answer a line on standard output. Notes go to standard error.
"""

import json
import sys
from typing import Any


def decide(question: dict[str, Any]) -> dict[str, float]:
    """Half of the book each in the two symbols with the best total return, of those that rose."""
    totals = dict.fromkeys(question["symbols"], 1.0)
    for row in question["returns"]:
        for symbol, change in zip(question["symbols"], row, strict=True):
            totals[symbol] *= 1.0 + (change or 0.0)
    best = sorted(totals, key=lambda symbol: -totals[symbol])[:2]
    # a weight of 0 sells a position; without any weight the agent holds
    return {symbol: 0.5 if symbol in best and totals[symbol] > 1.0 else 0.0 for symbol in totals}


for line in sys.stdin:
    question = json.loads(line)
    answer = {"id": question["id"], "weights": decide(question), "reason": "momentum"}
    print(json.dumps(answer), flush=True)  # noqa: T201 - the answer
