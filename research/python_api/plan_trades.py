"""Trades the artifact of a training plan over its test part, through the engine, with the gate's limits or without."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Log
from quantd.research.python_api.bar_frame import bar_frame
from quantd.research.python_api.run_config import AGENT, around
from quantd.research.runs.backtest import drive
from quantd.research.runs.comparison import performance_of, recorded, samples_a_year
from quantd.research.studies.ablation.ablation_trials import Trial, trial_of
from quantd.research.studies.walk_training import settings_of
from quantd.trading.instruments import MICRO
from quantd.trading.statistics import RISK_FREE_ANNUAL

if TYPE_CHECKING:
    from quantd.training.plans.plan import Plan

LIMITED: Final = "balanced"
"""The profile of limits of a new configuration. Its counterpart without limits is `research`."""


def traded(plan: "Plan", artifact: Path, limited: bool, cache: Path) -> Trial:
    """Return the trial of an artifact on the test part of its plan. Raises ExplainedError."""
    rows = pl.read_parquet(plan.data.files[0]).filter(pl.col("symbol").is_in(plan.data.symbols))
    profile = LIMITED if limited else "research"
    test = plan.splits.test
    settings = settings_of(plan) | {
        "feed.start": test.first.isoformat(), "feed.end": test.last.isoformat(),
        "risk.profile": profile, f"agents.{AGENT}.profile": profile,
    }  # fmt: skip
    assembly = assemble(around(bar_frame(rows), str(artifact.resolve()), {}, settings), cache=cache,
                        bars=bar_frame(rows))  # fmt: skip

    def driven(other: Assembly, log: Log) -> Shell:
        return drive(other, other.config, "study", log, None, lambda share: None)[0]

    record = recorded(assembly, driven)
    sharpe = performance_of(record, samples_a_year(assembly), RISK_FREE_ANNUAL).sharpe
    return trial_of(0, sharpe, np.array(record.equity_micro, dtype=np.float64) / MICRO)
