"""A policy ships as better than equal weight only where every condition of the rule holds."""

import numpy as np
import pytest

from quantd.research.power.shipping_rule import mean_bounds, shipping_verdict
from quantd.trading.bootstrap import STATIONARY_SEED, mean_interval
from quantd.trading.market import Floats

DAYS = 100
NOISE = 0.0025
"""Deviation of a day's log return above equal weight."""

Excess = dict[int, Floats]


def excess(mean: float, seed: int, years: int = 10) -> Excess:
    """Return years of daily excess with the given yearly mean, exactly, and a usual deviation."""
    draw = np.random.default_rng(seed)
    return {2012 + year: _centred(draw.normal(0.0, NOISE, DAYS)) + mean / 252 for year in range(years)}


def _centred(daily: Floats) -> Floats:
    return daily - daily.mean()


def walk(mean: float = 0.08, seeds: int = 5, years: int = 10) -> dict[int, Excess]:
    return {seed: excess(mean, seed, years) for seed in range(1, seeds + 1)}


RIVALS = {"inverse_volatility": excess(-0.01, 91), "linear_ranker": excess(-0.02, 92)}


def reasons(seeds: dict[int, Excess], rivals: dict[str, Excess] = RIVALS, looks: int = 1) -> list[str]:
    return [reason.partition(":")[0] for reason in shipping_verdict(seeds, rivals, looks).reasons]


def test_a_policy_that_is_above_in_every_respect_ships() -> None:
    verdict = shipping_verdict(walk(), RIVALS, 1)
    assert verdict.ships
    assert verdict.reasons == ()
    assert verdict.excess == pytest.approx(0.08)
    assert verdict.low is not None
    assert 0.0 < verdict.low < 0.08


@pytest.mark.long
def test_too_few_seeds_or_years_do_not_ship() -> None:
    assert reasons(walk(seeds=4)) == ["at least 5 seeds"]
    assert reasons(walk(years=7)) == ["at least 8 test years"]


@pytest.mark.long
def test_an_unfinished_seed_fails_the_rule_and_the_figures_are_of_the_others() -> None:
    seeds = walk(seeds=6)
    del seeds[6][2021]
    verdict = shipping_verdict(seeds, RIVALS, 1)
    assert verdict.reasons == ("every seed has every year: 5 of 6",)
    assert verdict.excess == shipping_verdict(walk(), RIVALS, 1).excess


@pytest.mark.long
def test_without_a_finished_seed_the_figures_are_of_the_years_that_all_have() -> None:
    seeds = walk()
    for seed in seeds:
        del seeds[seed][2012 if seed == 1 else 2021]
    verdict = shipping_verdict(seeds, RIVALS, 1)
    assert verdict.reasons == ("every seed has every year: 0 of 5",)
    assert verdict.checks[0].measured == "8"


def test_a_bound_at_or_below_equal_weight_does_not_ship() -> None:
    faint = reasons(walk(0.005))
    assert faint == ["lower bound above 0 (95%, 1 look)"]


def test_equal_weight_itself_has_no_interval_and_does_not_ship() -> None:
    same = {seed: {year: np.zeros(DAYS) for year in range(2012, 2022)} for seed in range(1, 6)}
    verdict = shipping_verdict(same, RIVALS, 1)
    assert (verdict.low, verdict.high) == (None, None)
    assert "lower bound above 0 (95%, 1 look): no interval" in verdict.reasons


@pytest.mark.long
def test_seeds_that_disagree_do_not_ship() -> None:
    seeds = walk(0.3)
    seeds[1] = excess(-0.01, 1)
    assert reasons(seeds) == []
    seeds[2] = excess(-0.01, 2)
    assert reasons(seeds) == ["at least 80% of the seeds above equal weight"]


def test_one_good_year_does_not_ship() -> None:
    seeds = walk()
    for seed, years in seeds.items():
        for year in years:
            years[year] = _centred(years[year]) + (1.0 if year == 2020 else -0.01) / 252
        assert seed
    assert "above equal weight in most years" in reasons(seeds)


def test_a_rival_that_earned_more_is_named() -> None:
    assert reasons(walk(), {**RIVALS, "linear_ranker": excess(0.09, 92)}) == ["more growth than linear_ranker"]


@pytest.mark.long
def test_more_looks_widen_the_interval_and_one_look_has_about_the_usual_one() -> None:
    daily = np.concatenate(list(excess(0.03, 5).values()))
    usual = mean_interval(daily, np.random.default_rng(STATIONARY_SEED))
    assert mean_bounds(daily) == pytest.approx(usual, rel=0.1)
    widths = [high - low for low, high in (mean_bounds(daily, looks) or (0.0, 0.0) for looks in (1, 4, 16))]
    assert widths[0] < widths[1] < widths[2]
    scraping = walk(0.022)
    assert reasons(scraping) == []
    assert reasons(scraping, looks=16) == ["lower bound above 0 (99.69%, 16 looks)"]


def test_a_rival_that_was_not_measured_fails_its_condition() -> None:
    verdict = shipping_verdict(walk(), {"linear_ranker": RIVALS["linear_ranker"]}, 1)
    assert verdict.reasons == ("more growth than inverse_volatility: not measured",)


@pytest.mark.parametrize(
    ("seeds", "rivals", "looks", "text"),
    [
        ({}, {}, 1, "no year has all seeds"),
        ({1: excess(0.1, 1)}, {}, 0, "looks 0"),
        ({1: excess(0.1, 1)}, {"linear_ranker": excess(0.1, 2, 9)}, 1, "a rival has no returns"),
        ({1: excess(0.1, 1)}, {"linear_ranker": {y: d[1:] for y, d in excess(0.1, 2).items()}}, 1, "same"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    seeds: dict[int, Excess], rivals: dict[str, Excess], looks: int, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        shipping_verdict(seeds, rivals, looks)
