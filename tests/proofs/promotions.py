"""How often the rule of promotion is wrong, and how often right, over many seeds.

    python -m tests.proofs.promotions [--seeds 1000]

Champion and challenger have fat tails (t with 5 degrees of freedom) and 80 % of their variance in common. Each
challenger is looked at every 21 samples until its looks are used up; a seed counts when any look promotes.
"""

import argparse
import sys

import numpy as np

from quantd.daemon.engine.state.promotion_rule import Pairing, PromotionRules, looked
from quantd.trading.market import Floats


def returns_of(
    seed: int, n: int = 250, edge: float = 0.0, common: float = 0.8, quick: float = 1.0
) -> tuple[Floats, Floats]:
    """(champion, challenger) float64[n]; the challenger earns `edge` a sample more, at `quick` times the risk."""
    draws = np.random.default_rng(seed).standard_t(5, (n, 3))
    returns = 0.007 * (np.sqrt(common) * draws[:, :1] + np.sqrt(1.0 - common) * draws[:, 1:]) + 0.0004
    return returns[:, 0], returns[:, 1] * quick + edge


def ever_promoted(rules: PromotionRules, champion: Floats, challenger: Floats, every: int = 21) -> bool:
    """Whether any of the looks at a growing record promotes."""
    pairing = Pairing()
    for end in range(rules.samples, len(champion) + 1, every):
        if looked(rules, pairing, champion[:end], challenger[:end], end, f"k{end}").promoted:
            return True
    return False


def rate(rules: PromotionRules, seeds: range, edge: float) -> float:
    """Share of the seeds whose challenger is promoted."""
    n = rules.samples + 21 * (rules.looks - 1)
    return sum(ever_promoted(rules, *returns_of(seed, n=n, edge=edge)) for seed in seeds) / len(seeds)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1000)
    seeds = range(parser.parse_args().seeds)
    broken = False
    for measure in ("sharpe", "mean"):
        for samples, looks in ((60, 4), (126, 8)):
            rules = PromotionRules(
                samples=samples, looks=looks, measure=measure, resamples=2_000, max_drawdown_ratio=100.0
            )  # type: ignore[arg-type]
            rates = {edge: rate(rules, seeds, edge) for edge in (-0.001, 0.0, 0.001, 0.004)}
            broken |= rates[0.0] > 1.0 - rules.confidence
            said = ", ".join(f"{1e4 * edge:+.0f} bp a day {share:.1%}" for edge, share in rates.items())
            sys.stdout.write(
                f"{measure}, {samples} samples, {looks} looks, {1.0 - rules.confidence:.0%} stated: promoted at "
                f"{said}\n"
            )
            sys.stdout.flush()
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
