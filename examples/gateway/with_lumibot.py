"""lumibot's broker as it is: an order, its fill by the broker's stream, and the position.

    quantd gateway exec -- python examples/gateway/with_lumibot.py

Only the broker is served. lumibot's own clock and its bars (adjusted, up to the clock of the machine) do not follow a
replay: run its strategies against quantd with live prices.
"""

import os
import time

from lumibot.brokers import Alpaca
from lumibot.entities import Asset, Order

broker = Alpaca({"API_KEY": "YOUR-KEY", "API_SECRET": "YOUR-SECRET", "PAPER": True})
order = broker._submit_order(Order("example", Asset("SPY"), 2, "buy", order_type="market"))
while (state := broker._pull_broker_order(order.identifier)).filled_at is None:
    time.sleep(0.2)
print(f"bought {state.filled_qty} at {state.filled_avg_price}")
print("holds", [(position.symbol, position.qty) for position in broker._pull_broker_positions()])
print("last price", broker.data_source.get_last_price(Asset("SPY")))
os._exit(0)  # the broker's threads do not end
