"""A run with a policy of a user, in its own process."""

import os

from tests.support.command_line import ROOT

CONFIG = f"""
[quantd]
name = "hostile"
[universe]
symbols = ["SPY", "QQQ", "IWM"]
[feed]
path = "{ROOT}/data/us_daily.parquet"
actions = "{ROOT}/data/us_actions.csv"
stamps = "session"
start = 2019-01-02
end = 2019-03-29
warmup = 100
pace = "{{pace}}"
at_end = "{{at_end}}"
[broker]
cash = "600000.00"
[risk]
max_price_age = "30h"
max_position_weight = 0.35
[api]
port = 0
[bus]
port = 0
[[agents]]
name = "mine"
policy = "{{policy}}"
capital = 1.0
params = {{params}}
"""

ENV = {**os.environ, "PYTHONPATH": str(ROOT)}

WITHOUT_LANDLOCK = """
import ctypes, struct, sys
lines = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
head = struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(code))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, head, 0, 0) == 0
from quantd.daemon.cli import main
sys.argv = ["quantd", *sys.argv[1:]]
main()
"""
