"""The look of an evaluation of a learned policy, for the ledger of looks."""

from hashlib import blake2b
from math import isfinite
from pathlib import Path

from quantd.research.runs.looks import note_looks
from quantd.research.runs.trials import Known, Look, MarketIdentity
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.training.runs.evaluation import Evaluated


def noted(state: Path, name: str, evaluation: Evaluated, family: str = "") -> Known:
    """Note an evaluation with a finite ratio in the ledger of the folder `state`. Return the trials of its market."""
    look = look_at(name, evaluation, family)
    return note_looks(state, [look] if isfinite(evaluation.policy.sharpe) else []).like(look)


def look_at(name: str, evaluation: Evaluated, family: str = "") -> Look:
    """Return the look of an evaluation, for the ledger."""
    window = (evaluation.first.isoformat(), evaluation.last.isoformat())
    symbols = tuple(evaluation.lots)

    def digest(*parts: str) -> str:
        return blake2b("|".join(parts).encode(), digest_size=16).hexdigest()

    return Look(
        "evaluate", name, digest(evaluation.artifact, evaluation.market, *window, *symbols),
        digest(evaluation.market, *window, *symbols), *window, evaluation.policy.sharpe, float(PERIODS_PER_YEAR),
        evaluation.candidates, family, identity=MarketIdentity(symbols, "1d", evaluation.series),
    )  # fmt: skip
