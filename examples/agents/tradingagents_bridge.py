"""A bridge to TradingAgents, whose language models answer BUY, SELL or HOLD for one symbol and one date.

    quantd backtest --config examples/agents/tradingagents.toml --most-questions 30 --rename

BUY makes the symbol one of those that are held, SELL sells it, HOLD leaves its weight as it is. What is bought shares
the book equally. TradingAgents reads its data by the true name and date: under other names (`--rename`) it finds none.
Each question costs a call of its models for each symbol; stored answers cost nothing.
"""

import json
import math
import sys
from typing import Any

try:
    from tradingagents.default_config import DEFAULT_CONFIG
    from tradingagents.graph.trading_graph import TradingAgentsGraph
except ImportError as error:
    sys.exit(f"TradingAgents is not installed ({error}); its repository is github.com/TauricResearch/TradingAgents")

WORDS = {"BUY": 1, "OVERWEIGHT": 1, "HOLD": 0, "UNDERWEIGHT": -1, "SELL": -1}
traders = TradingAgentsGraph(debug=False, config=DEFAULT_CONFIG.copy())


def weights_of(question: dict[str, Any]) -> dict[str, float]:
    """The book's weights after the decisions; a word that is not known ends the program, and with it the backtest."""
    held: dict[str, float] = {}
    bought: list[str] = []
    for symbol in question["symbols"]:
        said = str(traders.propagate(symbol, question["time"][:10])[1]).strip().upper()
        if said not in WORDS:
            sys.exit(f"TradingAgents answered {said[:80]!r} for {symbol}; BUY, SELL or HOLD is known")
        if WORDS[said] > 0:
            bought.append(symbol)
        held[symbol] = question["weights"][symbol] if WORDS[said] == 0 else 0.0
    room = max(0.0, 1.0 - sum(held.values()))
    # rounded down: a sum above 1 is refused
    return held | {symbol: math.floor(room / len(bought) * 1e4) / 1e4 for symbol in bought}


for line in sys.stdin:
    question = json.loads(line)
    weights = weights_of(question)
    print(json.dumps({"id": question["id"], "weights": weights, "reason": "TradingAgents"}), flush=True)  # noqa: T201
