"""Limits on the weight of positions, sectors, groups and asset classes, on concentration and on correlated pairs."""

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING, Final

from quantd.risk.limits.bounds import SHARE, each_field
from quantd.risk.limits.context import Context
from quantd.risk.limits.kinds import Form, Labels, Refused, Weighed, refused
from quantd.risk.limits.record import Capped, Families, Forms, Limit, Pairs, Refusal, heaviest_of, herfindahl_of, of_one
from quantd.risk.limits.settings import Correlation, GroupCap, Limits
from quantd.trading.instruments import Universe

if TYPE_CHECKING:
    from quantd.risk.limits.ruleset import Rules


def position_weight(ctx: Context, rules: "Rules") -> Weighed | None:
    """Return the limit |position| <= weight x equity, where equity is reduced by the cost of the order at its worst
    price."""
    return None if rules.weight is None else Weighed()


def sector_missing(ctx: Context, rules: "Rules") -> Refused | None:
    """Refuse symbols without a sector, if `max_sector_weight` is on."""
    return None if rules.no_sector is None else refused(rules.no_sector)


def sectors(weight: float, limits: Limits, universe: Universe) -> list[Labels]:
    """Return the limit on the weight of each known sector; `sector_missing` refuses instruments without a sector."""
    return [Labels(universe.sectors, weight)]


def groups(caps: Sequence[tuple[str, float]], limits: Limits, universe: Universe) -> list[Labels]:
    """Return the limit on the weight of each group that has a cap; groups may overlap."""
    members = dict(universe.groups)
    return [
        Labels([group if symbol in members[group] else "" for symbol in universe.symbols], weight, group)
        for group, weight in caps
    ]


def assets(weight: float, limits: Limits, universe: Universe) -> list[Labels]:
    """Return the limit on the weight of each asset that has several instruments; `position_weight` limits assets
    with one instrument."""
    names = universe.assets
    shared = [asset if names.count(asset) > 1 else "" for asset in names]
    return [Labels(shared, weight)] if any(shared) else []


def herfindahl_form(most: float, limits: Limits) -> list[Form]:
    """Return the limit `most` on the sum of squared weights (Herfindahl's index), as a limit on the root of the sum."""
    return [Form(sqrt(most), way=sqrt(most * (1.0 + limits.in_flight)))]


def tighter_groups(
    key: str, a: Sequence[tuple[str, float]], b: Sequence[tuple[str, float]]
) -> tuple[tuple[str, float], ...]:
    """Return the caps on groups in `a` or `b`, sorted by group; for a group in both, the smaller cap."""
    caps: dict[str, float] = {}
    for group, cap in (*a, *b):
        caps[group] = min(cap, caps.get(group, cap))
    return tuple(sorted(caps.items()))


def _pair(limits: Limits, about: str) -> str:
    """Return the label of the limit `correlation`; `about` names the two symbols."""
    strict = ", not both" if limits.correlation is not None and limits.correlation.strict else ", joint"
    return f"correlation {about}{strict}" if about else "correlation, heaviest pair joint"


_SECTOR_MISSING: Final = 28

LIMITS: Final = (
    Limit(
        "max_position_weight",
        10,
        of_one("position weight", ", heaviest"),
        refusals=(
            Refusal(1, "POSITION_WEIGHT", "the position would weigh more than max_position_weight", fills_free=True),
        ),
        kinds=(Capped(150, position_weight, lasting=True),),
        example="max_position_weight = 0.35",
        on_breach=True,
        profiles={"conservative": 0.10, "balanced": 0.15, "aggressive": 0.40},
        measure=heaviest_of,
        bounds=SHARE,
        about="size of one instrument",
        formula="For each symbol `max(long, short) ≤ limit × E`",
        equity="E",
    ),
    Limit(
        "max_sector_weight",
        90,
        of_one("sector", " weight, heaviest"),
        refusals=(
            Refusal(18, "SECTOR", "the sector would weigh more than max_sector_weight", sales_free=True),
            Refusal(_SECTOR_MISSING, "SECTOR_MISSING", "the instrument has no sector, and max_sector_weight is on"),
        ),
        kinds=(Capped(70, sector_missing, _SECTOR_MISSING, lasting=True), Families(10, sectors)),
        example="max_sector_weight = 0.5",
        on_breach=True,
        profiles={"conservative": 0.4, "balanced": 0.5},
        bounds=SHARE,
        about=(
            "long plus short value in one `sector`; if the key is set explicitly, instruments without a sector "
            "are refused"
        ),
        formula="`Σ (long + short) ≤ limit × E` over each sector",
        equity="E",
    ),
    Limit(
        "group_caps",
        100,
        of_one("group"),
        refusals=(Refusal(27, "GROUP", "a group of instruments would weigh more than its cap", sales_free=True),),
        kinds=(Families(20, groups),),
        example='group_caps = [{ group = "large", cap = 0.5 }]',
        on_breach=True,
        tighter=tighter_groups,
        table=tuple[GroupCap, ...],
        about='long plus short value in a group of `[[universe.groups]]`: `[{ group = "large", cap = 0.5 }]`',
        formula="`Σ (long + short) ≤ cap × E` over the group",
        equity="E",
    ),
    Limit(
        "max_concentration",
        110,
        of_one("single asset", ", heaviest"),
        refusals=(
            Refusal(
                17,
                "CONCENTRATION",
                "one asset, in all its instruments, would weigh more than max_concentration",
                sales_free=True,
                fills_free=True,
            ),
        ),
        kinds=(Families(30, assets),),
        example="max_concentration = 0.3",
        on_breach=True,
        profiles={"conservative": 0.20, "balanced": 0.30, "aggressive": 0.50},
        measure=heaviest_of,
        bounds=SHARE,
        about="size of one instrument, and of one asset, over all instruments that name it as their `asset`",
        formula=(
            "For each symbol `max(long, short) ≤ limit × E`, and `Σ (long + short) ≤ limit × E` over each asset of "
            "several instruments"
        ),
        equity="E",
    ),
    Limit(
        "max_herfindahl",
        120,
        "concentration, sum of squared weights",
        "number",
        (Refusal(26, "HERFINDAHL", "the sum of squared weights would exceed max_herfindahl", sales_free=True),),
        (Forms(40, herfindahl_form),),
        example="max_herfindahl = 0.3",
        on_breach=True,
        measure=herfindahl_of,
        bounds=SHARE,
        about="concentration, sum of squared weights",
        formula="`Σ (long² + short²) ≤ limit × E²`",
        equity="E",
    ),
    Limit(
        "correlation",
        230,
        _pair,
        refusals=(
            Refusal(
                13,
                "CORRELATION",
                "the joint weight of two correlated instruments would exceed its limit",
                sales_free=True,
            ),
        ),
        kinds=(Pairs(10),),
        example="correlation = { threshold = 0.7, joint_weight = 0.5 }",
        on_breach=True,
        tighter=each_field,
        profiles={
            "conservative": Correlation(joint_weight=0.2),
            "balanced": Correlation(joint_weight=0.5),
            "aggressive": Correlation(joint_weight=0.7),
        },
        about="joint weight of two correlated instruments: `{ threshold, joint_weight, min_weight, lookback, strict }`",
        formula=(
            "For each pair `a`, `b` with `ρ(a, b) > threshold`, `a + b ≤ joint_weight × E` or `min(a, b) ≤ "
            "min_weight × E`; `a` and `b` are both `long` or both `short`, or, where `ρ(a, b) < −threshold`, one "
            "of each; `strict`: `joint_weight` is 0"
        ),
        equity="E",
    ),
)
