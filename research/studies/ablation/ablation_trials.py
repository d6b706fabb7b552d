"""The trials of an ablation: one plan trained with one seed and evaluated on the test part, stored when it is done.

What can go wrong: a stored trial is read for another plan, or counts twice. So its file is named by a digest of
everything that decides it: the plan, the seed, the data and the code. A trial that is stored is not trained again.

Order of operations: where a training was killed, its recorded looks (evaluations) are removed before it goes on,
because a repeated evaluation is the same look. The file that marks a finished training is written last.
"""

from collections.abc import Callable
from hashlib import blake2b
from math import isfinite
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from quantd.bundled import find
from quantd.daemon.runtime.version import code_version
from quantd.models.history.panel_files import file_digest
from quantd.regular_file import write_whole
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR, RISK_FREE_ANNUAL
from quantd.training.market.tensors import Market
from quantd.training.plans.plan import Plan
from quantd.training.runs import training_run
from quantd.training.seeds.learner import policy_of
from quantd.training.seeds.markets import Markets, markets_of, window_market
from quantd.training.seeds.seed_run import Progress, fit
from quantd.training.seeds.validation import evaluate


class Trial(Struct, frozen=True):
    """One trained seed on the test part after costs. `width` is the length of the observation vector.

    `sharpe` is annual, and None where the equity never changed. `returns` are per session, in excess of the risk-free
    rate.
    """

    width: int
    sharpe: float | None
    returns: tuple[float, ...]


def trial_of(width: int, sharpe: float, equity: Floats, free_annual: Floats | float = RISK_FREE_ANNUAL) -> Trial:
    """Return the trial of an account with the equity float64[T + 1] of T sessions and their start.

    `width` is the length of the observation vector, `sharpe` the annual ratio. `free_annual` is the risk-free rate a
    year: one number, or float64[T].
    """
    returns = equity[1:] / equity[:-1] - 1.0 - free_annual / PERIODS_PER_YEAR
    return Trial(width, sharpe if isfinite(sharpe) else None, tuple(returns.tolist()))


def digest_of(plan: Plan, seed: int, kind: str = "") -> str:
    """Return the hex BLAKE2b of everything that decides a trial; `kind` distinguishes trials of one plan and seed."""
    cash_rate = plan.market.cash_rate
    paths = [*plan.data.files, *(find(source.path) for source in plan.data.sources)]
    paths += [Path(cash_rate)] if isinstance(cash_rate, str) else []
    digests = [file_digest(path) for path in paths if path is not None]
    plan_of_seed = msgspec.structs.replace(plan, seeds=(seed,), name="")
    return blake2b(msgspec.json.encode((plan_of_seed, digests, code_version(), kind)), digest_size=16).hexdigest()


def stored(folder: Path, digest: str, make: Callable[[], Trial]) -> Trial:
    """Return the trial in `folder`, made and written where there is none. Raises OSError and the errors of `make`."""
    path = folder / f"{digest}.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, msgspec.json.encode(make()))
    return msgspec.json.decode(path.read_bytes(), type=Trial)


def artifact_of(plan: Plan, seed: int, folder: Path, command: str, report: Callable[[Progress], bool]) -> Path:
    """Return the artifact of one seed in `folder`, trained where there is none.

    Raises PlanError, Diverged, CheckpointError, OSError, and Interrupted where `report` returned True.

    A training that was killed goes on from its last checkpoint. The artifact's card names `command` as the command that
    trained it.
    """
    return training_run.trained_once(msgspec.structs.replace(plan, seeds=(seed,)), folder, command, report)


class Trainer:
    """Trains the seeds of one plan. The data are read when the first seed has to be trained."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._read: tuple[Markets, Market] | None = None

    def trial(self, seed: int) -> Trial:
        """Train a seed, and evaluate on the test part the network weights that were best on the validation part.

        Raises PlanError for data that do not fit the plan, Diverged for a loss that is not finite, OSError for an
        unreadable file.
        """
        plan = self._plan
        if self._read is None:
            test = plan.splits.test
            self._read = markets_of(plan), window_market(plan, test.first, test.last)
        markets, market = self._read
        fitted = fit(plan, markets, seed, None, lambda news: False)  # no folder for records; False never stops it
        walked = evaluate(
            policy_of(fitted.learner, fitted.normaliser, plan.market, markets.symbols), market, plan.market
        )
        cash_returns = None if market.earned is None else market.earned[market.first + 1 : market.last + 1]
        free_annual: Floats | float = RISK_FREE_ANNUAL
        if cash_returns is not None:
            free_annual = cash_returns.numpy(force=True).astype(np.float64) * PERIODS_PER_YEAR
        # `seen` is the mean observation, float64[D]: its length is the width of the observation
        return trial_of(len(walked.seen), walked.performance.sharpe, walked.equity, free_annual)
