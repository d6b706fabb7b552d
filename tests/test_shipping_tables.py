"""The tables of the page on shipping are those of the records in the repository."""

import pytest
from msgspec.structs import replace

from benchmarks.power.teams import TeamRun, read_runs
from quantd.research.power.walk_records import Walked, WalkedYear, read_walks
from scripts.site import shipping_tables


def walk(cost_bp: float = 5.0) -> Walked:
    """One seed and the rules over two years; the seed is above equal weight in the first."""
    daily = {"equal_weight": 100, "inverse_volatility": 50, "linear_ranker": 300}

    def year(account: str, number: int, seed: int, parts: int) -> WalkedYear:
        days = (parts,) * 49 + (0,)
        return WalkedYear("w", "ppo-us20", account, cost_bp, number, seed, 320 * seed, 9.0, 2.0, "c", days)

    records = [year(account, number, 0, parts) for account, parts in daily.items() for number in (2012, 2013)]
    return Walked((*records, year("ppo", 2012, 1, 200), year("ppo", 2013, 1, 50)))


def run(**changes: object) -> TeamRun:
    base = {
        "case": "ppo", "agents": 1, "parameters": 9_000, "steps": 300_000, "ic": 1.0, "cost_bp": 15.0, "seed": 1,
        "growth": 1.1, "equal_weight": 0.1, "reference": 2.1, "low": 0.5, "high": 1.5, "turnover_annual": 100.0,
        "cpu_s": 20.0, "peak_mib": 500.0, "imported_mib": 300.0, "commit": "c",
    }  # fmt: skip
    return TeamRun(**(base | changes))  # type: ignore[arg-type]


@pytest.mark.long
def test_the_page_has_the_tables_of_the_records() -> None:
    page = shipping_tables.PAGE.read_text(encoding="utf-8")
    walks, runs = read_walks(shipping_tables.WALKS), read_runs(shipping_tables.TEAMS)
    assert page == shipping_tables.written(page, shipping_tables.tables(walks, runs)), (
        "python -m scripts.site.shipping_tables"
    )


def test_an_account_has_its_excess_and_the_years_above_equal_weight() -> None:
    rows = shipping_tables.walk_rows([walk()]).splitlines()
    assert "| 5 | `equal_weight` |  | 2 | +0.025 |  |  |  | 9.0 | 2 |" in rows
    assert "| 5 | `ppo` | 1 | 2 | +0.031 | +0.006 | 1 of 2 | 0% | 9.0 | 2 |" in rows


def test_a_walk_of_two_years_and_one_seed_may_not_be_shipped() -> None:
    rows = shipping_tables.verdict_rows([walk(), walk(15.0)], 2).splitlines()
    assert rows[0] == "| condition | ppo-us20, cost 5 | ppo-us20, cost 15 |"
    assert "| at least 8 test years | 2: fails | 2: fails |" in rows
    assert rows[-1] == "| all together | **may not be shipped** | **may not be shipped** |"


def test_walks_of_one_cost_are_told_apart_by_their_plan() -> None:
    walks = [walk(), walk(), walk(15.0)]
    assert shipping_tables.cost_texts(walks) == ["5, plan 1", "5, plan 2", "15"]
    assert "| 5, plan 2 | 1 | +0.025 | -0.012 | +0.006 |" in shipping_tables.seed_rows(walks)


def test_walks_on_funds_have_tables_of_their_own_and_count_as_looks() -> None:
    funds = Walked(tuple(replace(record, plan=shipping_tables.FUNDS) for record in walk().records))
    by_name = shipping_tables.tables([walk(), funds, walk(15.0)], [run()])
    assert [name for name in by_name if name.startswith("fund ")] == ["fund walks", "fund verdicts", "fund seeds"]
    assert "3 looks" in by_name["verdicts"]
    assert "3 looks" in by_name["fund verdicts"]
    assert by_name["fund walks"].count("`ppo`") == 1
    assert by_name["walks"].count("`ppo`") == 2


def test_each_seed_has_a_row_with_its_years() -> None:
    assert "| 5 | 1 | +0.025 | -0.012 | +0.006 |" in shipping_tables.seed_rows([walk()])


def test_a_team_has_the_growth_of_each_seed_and_the_median_share() -> None:
    table = shipping_tables.team_rows([run(), run(seed=2, growth=0.6), run(case="full", ic=0.0, agents=5)])
    assert "| IC 1 | 15 | PPO, one | 1 | 9,000 | 300,000 | 2 | +1.00, +0.50 | 38% | 100 | 20 | 500 | 200 |" in table
    assert "| IC 0 | 15 | MADDPG `full`, as it is (five) | 5 | 9,000 | 300,000 | 1 | +1.00 |  |" in table


def test_runs_on_a_gpu_have_a_row_of_their_own_with_its_seconds_and_memory() -> None:
    on_gpu = run(device="NVIDIA H200", wall_s=12.0, gpu_mib=240.0)
    rows = shipping_tables.team_rows([run(), on_gpu]).splitlines()
    assert len(rows) == 4
    assert any("PPO, one, on NVIDIA H200 |" in row and row.endswith("| 12, 240 |") for row in rows)
    assert any("PPO, one |" in row and row.endswith("|  |") for row in rows)


def test_a_page_without_its_comments_is_named() -> None:
    with pytest.raises(ValueError, match=r"shipping.md: write <!-- walks"):
        shipping_tables.written("# Shipping\n", {"walks": "| a |"})
