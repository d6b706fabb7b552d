"""A program on alpaca-trade-api as it is: it buys two shares, hears of the fill by the stream, and sells them.

    quantd gateway exec -- python examples/gateway/with_alpaca_trade_api.py

The package is no longer maintained and needs old versions of others, so give it a Python of its own:
`python -m venv old && old/bin/pip install alpaca-trade-api`, then `quantd gateway exec -- old/bin/python ...`.
"""

import queue
import threading
import time

from alpaca_trade_api.rest import REST, APIError, TimeFrame
from alpaca_trade_api.stream import Stream

ADDRESS = "https://paper-api.alpaca.markets"

api = REST("YOUR-KEY", "YOUR-SECRET", ADDRESS)
stream = Stream("YOUR-KEY", "YOUR-SECRET", base_url=ADDRESS)
told: "queue.Queue[str]" = queue.Queue()


async def note(update):
    told.put(f"{update.event} {update.order['side']} {update.order['symbol']}")


stream.subscribe_trade_updates(note)
threading.Thread(target=stream.run, daemon=True).start()
time.sleep(2)  # until the stream listens
print(
    f"{len(api.get_bars('SPY', TimeFrame.Day, '2018-01-01'))} bars, {api.get_latest_trade('SPY').price} the last price"
)
api.submit_order("SPY", qty=2, side="buy", type="market", time_in_force="day")
while not (said := told.get(timeout=60)).startswith("fill"):
    pass
print(said, [position.qty for position in api.list_positions()])
try:
    api.submit_order("SPY", qty=1_000_000, side="buy", type="market", time_in_force="day")
except APIError as why:
    print("refused:", why)
api.close_position("SPY")
while not (said := told.get(timeout=60)).startswith("fill"):
    pass
print(said, [position.qty for position in api.list_positions()])
