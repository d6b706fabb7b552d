"""Evaluates an artifact over a window with the daemon's inputs: whole lots, after costs, beside equal weight.

What can go wrong. A result inside the training window proves nothing: so the sessions inside it are counted. Policy and
equal weight would begin on different days: so both begin after the policy's lookback. Splits and dividends that belong
to other bars would be used: so if the bars are not those of the training, the actions file beside the bars is read.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.bundled import absent, find
from quantd.models.artifacts.agent_policy import LearnedAgent
from quantd.models.artifacts.ensemble import LearnedEnsemble
from quantd.models.artifacts.loader import checked, load_artifact
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError
from quantd.models.artifacts.scorer_policy import LearnedPolicy
from quantd.models.artifacts.versions import resolved
from quantd.models.artifacts.window_figures import WindowFigures, window_figures
from quantd.models.history.fingerprints import Fingerprint, fingerprints
from quantd.models.history.panel import Panel
from quantd.models.history.panel_files import RequireSound, file_digest, read_panel
from quantd.models.history.splits import DAY_NS, Split, day_of
from quantd.strategies.policies import POLICIES
from quantd.trading.ports import Policy
from quantd.trading.statistics import PERIODS_PER_YEAR, SHARPE_DEFINITION, sharpe_definition
from quantd.training.market.terms import USUAL_COSTS
from quantd.training.market.walk import Walk, walk
from quantd.training.plans.data_plan import DataPlan
from quantd.training.plans.own_bars import beside
from quantd.training.plans.plan import MarketPlan, restored

WARMUP: Final = 500
"""Minimum of calendar days read before a window, for the lookback of policies."""


class Evaluated(Struct, frozen=True):
    """Results of the policy and of equal weight on the same sessions, costs, capital and lots."""

    policy: WindowFigures
    equal_weight: WindowFigures
    turnover_annual: float
    equal_weight_turnover_annual: float
    first: date
    last: date
    inside: int
    """Sessions of the window inside the artifact's training or validation: results there are in sample."""
    sessions: int
    same_data: bool
    """Whether the bars are the file of its training."""
    account: MarketPlan
    lots: dict[str, float]
    sharpe_definition: str = SHARPE_DEFINITION
    artifact: str = ""
    """Digest of the artifact."""
    market: str = ""
    """Digest of the bars and actions."""
    candidates: dict[str, int] = {}
    """Number of trials behind each trained policy, by its digest."""
    power: str = ""
    """The power line of its training, with the dates of its test part; empty for ensembles and older records."""
    series: dict[str, Fingerprint] = {}
    """The fingerprint of each symbol's returns in the window."""


def window_of(folder: Path, first: date | None, last: date | None) -> tuple[date, date]:
    """Return (first, last) date of a window. None is replaced by the first or last date of the artifact's test part.

    Raises ArtifactError, and ValueError for an artifact that names no such part.
    """
    if first is not None and last is not None:
        return first, last
    training = getattr(checked(resolved(folder)).manifest, "training", None)
    part = None if training is None else training.windows.get("test")
    if part is None:
        raise ValueError(f"{folder}: its manifest has no test part; name the window with --from and --to")
    return first or date.fromisoformat(part.first), last or date.fromisoformat(part.last)


# Long because each figure of the record is of the same artifact, files, panel and rows, which are checked one after
# the other.
def evaluate(
    folder: Path,
    first: date,
    last: date,
    bars: Path | None = None,
    actions: str | None = None,
    symbols: Sequence[str] = (),
    require_sound: RequireSound = lambda *_: None,
) -> Evaluated:
    """Evaluate the artifact in `folder` on `symbols`, by default the symbols of the artifact.

    `require_sound` checks the bars, and raises an exception for bars that must not be used.

    By default `actions` are the file of the training, or for other `bars` the actions file beside them; "" means no
    actions. Raises ArtifactError where the artifact is not a policy, ValueError for unfit data, and OSError.
    """
    policy = load_artifact(folder, {})
    # of an ensemble's members, which were made to trade together, the first names the symbols
    member = policy.members[0] if isinstance(policy, LearnedEnsemble) else policy
    if not isinstance(member, LearnedPolicy | LearnedAgent):
        raise ArtifactError(f"{folder / MANIFEST}: a forest cannot be evaluated as a policy; name a trained policy")
    account, data = MarketPlan(costs=USUAL_COSTS), DataPlan()
    manifest, series = member.artifact.manifest, getattr(policy, "sources", ())
    if isinstance(policy, LearnedAgent):
        plan = restored(policy.artifact.manifest.plan)
        account, data = plan.market, plan.data
    if actions is None:
        actions = data.actions if bars is None or str(bars) == data.bars else beside(find(bars))
    files = (find(bars or data.bars), find(actions) if actions else None)
    for path in files:
        if path is not None and not path.is_file():
            raise ValueError(f"{path}: {absent(path)}; name the files with --bars and --actions")
    begins = first - timedelta(days=max(WARMUP, 2 * policy.lookback))
    require_sound(*files, symbols or manifest.universe, begins, last)
    panel = read_panel(files[0], files[1], symbols or manifest.universe, begins, last, account.cash_rate, series)
    rows = Split("window", first, last).rows(panel.day_ns)
    history = policy.lookback + panel.behind
    if len(panel.day_ns) < history + 2:
        raise ValueError(
            f"{files[0]}: it has {len(panel.day_ns)} sessions of {', '.join(panel.symbols)} from {begins} to {last}, "
            f"but {history + 2} are needed: the policy reads {history} before its first decision. Give bars that begin "
            "earlier, or a later --to"
        )
    # policy and equal weight both begin to decide after the policy's lookback
    rows = range(max(rows.start, history), rows.stop)

    def walked(walker: Policy) -> Walk:
        return walk(walker, panel, rows, costs=account.costs, capital=account.capital, lot=account.lots(panel.symbols))

    policy_walk, equal = walked(policy), walked(POLICIES["equal_weight"]({}))
    inside = sum(int(panel.day_ns[row]) + DAY_NS <= policy.trained_until_ns for row in rows)
    return Evaluated(
        policy=window_figures(policy_walk.equity, PERIODS_PER_YEAR, policy_walk.risk_free_annual),
        equal_weight=window_figures(equal.equity, PERIODS_PER_YEAR, equal.risk_free_annual),
        turnover_annual=float(policy_walk.turnover.mean()) * PERIODS_PER_YEAR,
        equal_weight_turnover_annual=float(equal.turnover.mean()) * PERIODS_PER_YEAR,
        first=day_of(panel.day_ns[rows.start]),
        last=day_of(panel.day_ns[rows.stop - 1]),
        inside=inside,
        sessions=len(rows),
        same_data=manifest.training.data.get(files[0].name) == file_digest(files[0]),
        account=account,
        lots=dict(zip(panel.symbols, account.lots(panel.symbols), strict=True)),
        sharpe_definition=sharpe_definition("" if panel.cash_rate is None else panel.cash_rate.words),
        artifact=policy.digest,
        market="|".join(file_digest(path) for path in files if path is not None),
        candidates=policy.candidates,
        power=manifest.power if member is policy else "",
        series=panel_fingerprints(panel, rows),
    )


def panel_fingerprints(panel: Panel, rows: range) -> dict[str, Fingerprint]:
    days = slice(rows.start, rows.stop)
    wealth = panel.close * np.cumprod(np.nan_to_num(panel.split + panel.dividend / panel.close, nan=1.0), axis=0)
    return fingerprints(panel.symbols, panel.day_ns[days], wealth[days])
