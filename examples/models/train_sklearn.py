"""Fits a scikit-learn model to the observation that quantd gives in trading, and exports it for `quantd models import`.

Run: python examples/models/train_sklearn.py, in a folder for the files. Needs quantd[train], scikit-learn and skl2onnx.
"""

from datetime import date
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx  # type: ignore[import-not-found]
from sklearn.ensemble import RandomForestClassifier  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression, Ridge  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from quantd import bundled
from quantd.models.history.panel_files import read_panel
from quantd.models.observation.sight import SightSpec, observed_by

SYMBOLS = ["SPY", "QQQ", "IWM"]
LAST = date(2016, 12, 30)
SIGHT = SightSpec(book=())

bars, actions = (bundled.find(Path(name)) for name in ("data/us_daily.parquet", "data/us_actions.csv"))
panel = read_panel(bars, actions, SYMBOLS, date(2010, 1, 4), LAST)
observed = observed_by(SIGHT, panel)
# a row for each session and symbol, and the return of the next session
rows = observed.table[observed.warm : -1].reshape(-1, SIGHT.width)
outcomes = panel.returns()[observed.warm + 1 :].reshape(-1)
rows, outcomes = rows[np.isfinite(outcomes)], outcomes[np.isfinite(outcomes)]

MODELS = {
    "ridge": make_pipeline(StandardScaler(), Ridge()),
    "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
    "forest": RandomForestClassifier(8, max_depth=3, random_state=1),
}
for name, model in MODELS.items():
    classifies = name != "ridge"
    model.fit(rows, (outcomes > 0).astype(int) if classifies else outcomes)
    options = {id(model): {"zipmap": False}} if classifies else None
    Path(f"{name}.onnx").write_bytes(to_onnx(model, rows[:1], options=options).SerializeToString())
    threshold = "threshold = 0.5\n" if classifies else ""
    Path(f"{name}.toml").write_text(f"symbols = {SYMBOLS}\ntrained_until = {LAST}\nbook = []\neach = true\n{threshold}")
