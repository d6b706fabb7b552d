"""A program on alpaca-py as it is: it holds the symbol whose price rose most in a month, with all its buying power.

    quantd gateway exec -- python examples/gateway/with_alpaca_py.py

The keys are those of the vendor's account. Under `quantd gateway exec` they reach nobody.
"""

import re
import time
from datetime import timedelta

from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

KEYS = ("YOUR-KEY", "YOUR-SECRET")
SYMBOLS = ("SPY", "QQQ", "IWM")

trading, data = TradingClient(*KEYS, paper=True), StockHistoricalDataClient(*KEYS)
now = trading.get_clock().timestamp
asked = StockBarsRequest(symbol_or_symbols=list(SYMBOLS), timeframe=TimeFrame.Day, start=now - timedelta(days=365))
closes = {symbol: [bar.close for bar in bars] for symbol, bars in data.get_stock_bars(asked).data.items()}
best = max(closes, key=lambda symbol: closes[symbol][-1] / closes[symbol][-21])
quantity = int(float(trading.get_account().buying_power) / closes[best][-1])
order = MarketOrderRequest(symbol=best, qty=quantity, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
try:
    sent = trading.submit_order(order)
except APIError as why:  # a limit: the message has the largest order that would pass
    print(why.message)
    most = min(int(number) for number in re.findall(r"at most (\d+) of", why.message))
    order.qty = int(0.9 * most)  # the price moves until the next order
    sent = trading.submit_order(order)
while (state := trading.get_order_by_id(sent.id)).filled_at is None:
    time.sleep(0.2)
print(f"bought {state.filled_qty} {best} at {state.filled_avg_price}")
