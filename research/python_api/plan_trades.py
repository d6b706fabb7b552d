"""Backtests a trained artifact over the test part of its plan, with the limits of a profile or without limits."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

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
"""Profile with limits, which a new configuration also has. The profile without limits is `research`."""


def traded(plan: "Plan", artifact: Path, limited: bool, cache: Path) -> Trial:
    """Return the trial of an artifact (trained policy) on the test part of its plan, with limits if `limited`.

    Raises ExplainedError where the plan, the artifact or the market cannot be used.
    """
    bars = pl.read_parquet(plan.data.files[0]).filter(pl.col("symbol").is_in(plan.data.symbols))
    profile = LIMITED if limited else "research"
    test = plan.splits.test
    settings = settings_of(plan) | {
        "feed.start": test.first.isoformat(), "feed.end": test.last.isoformat(),
        "risk.profile": profile, f"agents.{AGENT}.profile": profile,
    }  # fmt: skip
    assembly = assemble(around(bar_frame(bars), str(artifact.resolve()), {}, settings), cache=cache,
                        bars=bar_frame(bars))  # fmt: skip

    def run_to_log(studied: Assembly, log: Log) -> Shell:
        # "study" names the run; None: no journal is stored
        return drive(studied, studied.config, "study", log, None, lambda share: None)[0]

    record = recorded(assembly, run_to_log)
    sharpe = performance_of(record, samples_a_year(assembly), RISK_FREE_ANNUAL).sharpe
    # 0: the width of the observation is not measured here
    return trial_of(0, sharpe, record.wealth_micro() / MICRO)
