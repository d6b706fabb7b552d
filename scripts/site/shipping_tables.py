"""`python -m scripts.site.shipping_tables` writes the tables of docs/learn/shipping.md from the records.

The walk-forward by year is benchmarks/power/walks.jsonl, which `quantd study ship` appends to. The teams of agents are
benchmarks/power/teams.jsonl, which `python -m benchmarks.power.teams` appends to. Each table stands between two
comments of the page.
"""

from collections.abc import Iterable, Sequence
from statistics import mean, median
from typing import Final

from benchmarks.power.teams import RECORDS as TEAMS
from benchmarks.power.teams import TeamRun, read_runs
from quantd.research.power.walk_records import EQUAL_WEIGHT, AccountRow, Walked, looks_of, read_walks
from scripts.words import ROOT

WALKS: Final = ROOT / "benchmarks" / "power" / "walks.jsonl"
PAGE: Final = ROOT / "docs" / "learn" / "shipping.md"

FUNDS: Final = "ppo-etf25"
"""The plan of the walk on 25 funds; the other walks are on twenty stocks."""

CASES: Final = {
    "ppo": "PPO, one",
    "five-ppo": "PPO, five that know nothing of each other",
    "lite-one": "MADDPG `lite`, one agent as large as five",
    "lite-five": "MADDPG `lite`, five agents",
    "lite": "MADDPG `lite`, as it is (four)",
    "full": "MADDPG `full`, as it is (five)",
}


def walk_rows(walks: Sequence[Walked]) -> str:
    """Return the table of the accounts of each walk."""
    lines = [
        "| cost bp | account | seeds | years | log growth | above equal weight | years above | untrained | turnover "
        "| CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for walk, cost in zip(walks, cost_texts(walks), strict=True):
        lines += [_account(cost, row) for row in walk.rows()]
    return "\n".join(lines)


def cost_texts(walks: Sequence[Walked]) -> list[str]:
    """Return the cost of each walk in basis points, with "plan 1", "plan 2" ... where several have the same cost."""
    costs = [walk.first.cost_bp for walk in walks]
    return [
        f"{cost:g}, plan {costs[: row + 1].count(cost)}" if costs.count(cost) > 1 else f"{cost:g}"
        for row, cost in enumerate(costs)
    ]


def _account(cost: str, row: AccountRow) -> str:
    same = row.account == EQUAL_WEIGHT
    excess, years = ("", "") if same else (f"{row.excess:+.3f}", f"{row.above} of {row.years}")
    seeds, untrained = (f"{row.seeds}", f"{row.untrained:.0%}") if row.seeds else ("", "")
    return (
        f"| {cost} | `{row.account}` | {seeds} | {row.years} | {row.growth:+.3f} | {excess} | {years} "
        f"| {untrained} | {row.turnover_annual:.1f} | {row.cpu_s:.0f} |"
    )


def verdict_rows(walks: Sequence[Walked], looks: int) -> str:
    """Return the table of the conditions of the rule, a column for each walk with a learned account."""
    judged = [walk for walk in walks if walk.learned]
    verdicts = [walk.verdict(looks) for walk in judged]
    heads = [f"{walk.first.plan}, cost {cost}" for walk, cost in zip(judged, cost_texts(judged), strict=True)]
    lines = [f"| condition | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for checks in zip(*(verdict.checks for verdict in verdicts), strict=True):
        marks = [f"{check.measured}: {'holds' if check.holds else 'fails'}" for check in checks]
        lines.append(f"| {checks[0].condition} | {' | '.join(marks)} |")
    ships = ["may be shipped" if verdict.ships else "**may not be shipped**" for verdict in verdicts]
    return "\n".join([*lines, f"| all together | {' | '.join(ships)} |"])


def seed_rows(walks: Sequence[Walked]) -> str:
    """Return the table of each seed's log growth above equal weight, by year."""
    judged = [walk for walk in walks if walk.learned]
    years = sorted({record.year for walk in judged for record in walk.learned})
    lines = [f"| cost bp | seed | {' | '.join(map(str, years))} | mean |", f"|---|---|{'---|' * (len(years) + 1)}"]
    for walk, cost in zip(judged, cost_texts(judged), strict=True):
        for seed, by_year in walk.excess(walk.learned[0].account).items():
            growths = {year: float(daily.mean()) * 252.0 for year, daily in by_year.items()}
            cells = [f"{growths[year]:+.3f}" if year in growths else "" for year in years]
            lines.append(f"| {cost} | {seed} | {' | '.join(cells)} | {mean(growths.values()):+.3f} |")
    return "\n".join(lines)


def team_rows(runs: Iterable[TeamRun]) -> str:
    """Return the table of teams: a row for each case, strength, cost and device."""
    cells: dict[tuple[float, float, str, str], dict[int, TeamRun]] = {}
    for run in runs:
        cells.setdefault((-run.ic, run.cost_bp, run.case, run.device), {})[run.seed] = run
    order = sorted(cells, key=lambda key: (*key[:2], list(CASES).index(key[2]), key[3]))
    lines = [
        "| signal | cost bp | who | agents | parameters | steps | seeds | growth above equal weight | share "
        "| turnover | CPU s | peak MiB | without Python and PyTorch | wall s and MiB on a GPU |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key in order:
        seeds = [cells[key][seed] for seed in sorted(cells[key])]
        one = seeds[0]
        shares = [seed.share for seed in seeds if seed.share is not None]
        above = ", ".join(f"{seed.growth - seed.equal_weight:+.2f}" for seed in seeds)
        who = CASES[one.case] + ("" if one.device == "cpu" else f", on {one.device}")
        waits = [seed.wall_s for seed in seeds if seed.wall_s is not None]
        memory = [seed.gpu_mib for seed in seeds if seed.gpu_mib is not None]
        lines.append(
            f"| IC {one.ic:g} | {one.cost_bp:g} | {who} | {one.agents} | {one.parameters:,} "
            f"| {one.steps:,} | {len(seeds)} | {above} | {f'{median(shares):.0%}' if shares else ''} "
            f"| {median(seed.turnover_annual for seed in seeds):.0f} | {median(seed.cpu_s for seed in seeds):.0f} "
            f"| {median(seed.peak_mib for seed in seeds):.0f} "
            f"| {median(seed.peak_mib - seed.imported_mib for seed in seeds):.0f} "
            f"| {f'{median(waits):.0f}, {median(memory):.0f}' if waits and memory else ''} |"
        )
    return "\n".join(lines)


def tables(walks: Sequence[Walked], runs: Iterable[TeamRun]) -> dict[str, str]:
    """Return the tables by name, as in their comments on the page; walks are in the order of their costs.

    Walks on stocks and on funds count as looks of each other, since one plan was tried on both.
    """
    walks, looks = sorted(walks, key=lambda walk: walk.first.cost_bp), looks_of(walks)
    by_name = {"teams": team_rows(runs)}
    for kind, of_funds in (("", False), ("fund ", True)):
        chosen_walks = [walk for walk in walks if (walk.first.plan == FUNDS) == of_funds]
        if chosen_walks:
            by_name |= {
                f"{kind}walks": walk_rows(chosen_walks),
                f"{kind}verdicts": verdict_rows(chosen_walks, looks),
                f"{kind}seeds": seed_rows(chosen_walks),
            }
    return by_name


def written(page: str, by_name: dict[str, str]) -> str:
    """Return the page with each table between its two comments. Raises ValueError where it lacks them."""
    for name, table in by_name.items():
        begin, end = f"<!-- {name}: python -m scripts.site.shipping_tables -->", f"<!-- end of {name} -->"
        before, found_begin, remainder = page.partition(begin)
        _, found_end, after = remainder.partition(end)
        if not found_begin or not found_end:
            raise ValueError(f"{PAGE.name}: write {begin} and {end} where the table belongs")
        page = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    return page


def main() -> None:
    walks, runs = read_walks(WALKS), read_runs(TEAMS)
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), tables(walks, runs)), encoding="utf-8")
    print(f"{len(walks)} walks, {len(runs)} runs of teams: {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
