"""Makes the entry for an evaluation of a learned policy in the ledger of looks (evaluations on test data)."""

from hashlib import blake2b
from math import isfinite
from pathlib import Path

from quantd.research.runs.looks import note_looks
from quantd.research.runs.trials import Known, Look, MarketIdentity
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.training.runs.evaluation import Evaluated


def noted(state: Path, name: str, evaluation: Evaluated, family: str = "") -> Known:
    """Add an evaluation with a finite Sharpe ratio to the ledger of looks (evaluations) in the folder `state`.

    Return the trials of its market.
    """
    look = look_at(name, evaluation, family)
    return note_looks(state, [look] if isfinite(evaluation.policy.sharpe) else []).like(look)


def look_at(name: str, evaluation: Evaluated, family: str = "") -> Look:
    """Return an evaluation of a learned policy as an entry (a look) for the ledger of looks."""
    window = (evaluation.first.isoformat(), evaluation.last.isoformat())
    symbols = tuple(evaluation.lots)

    def digest(*parts: str) -> str:
        return blake2b("|".join(parts).encode(), digest_size=16).hexdigest()

    # the digests of the evaluation and of its market, then the dates, the annual ratio and the samples a year
    return Look(
        "evaluate", name, digest(evaluation.artifact, evaluation.market, *window, *symbols),
        digest(evaluation.market, *window, *symbols), *window, evaluation.policy.sharpe, float(PERIODS_PER_YEAR),
        evaluation.candidates, family, identity=MarketIdentity(symbols, "1d", evaluation.series),
    )  # fmt: skip
