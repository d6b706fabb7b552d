"""Trains a policy with Stable-Baselines3 on the observation that quantd gives in trading, for `quantd models import`.

Run: python examples/models/train_sb3.py STEPS, in a folder for the files. Needs quantd[train] and stable-baselines3.
"""

import sys
from pathlib import Path

from stable_baselines3 import PPO

from quantd import bundled
from quantd.models.observation.sight import SightSpec
from quantd.training.market.environments import Portfolio, read_market

SYMBOLS = ["SPY", "QQQ", "IWM", "AAPL", "BAC"]
LAST = "2016-12-30"

market = read_market(
    bundled.find(Path("data/us_daily.parquet")), SYMBOLS, "2010-01-04", LAST, sight=SightSpec(window=5)
)
model = PPO("MlpPolicy", Portfolio(market=market), n_steps=256, seed=1, device="cpu")
model.learn(int(sys.argv[1])).save("sb3.zip")
Path("sb3.toml").write_text(f'symbols = {SYMBOLS}\ntrained_until = {LAST}\nwindow = 5\naction = "continuous"\n')
