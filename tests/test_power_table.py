"""The table of power on its page is that of the findings in the repository, and its picture shows each seed."""

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from quantd.training.power.findings import Finding, read_findings
from scripts.site import power_table


def finding(**changes: object) -> Finding:
    base = {
        "cell": "a", "plan": "ppo", "learner": "ppo", "plant": "feature 1", "shape": "feature", "ic": 1.0,
        "cost_bp": 15.0, "seed": 1, "growth": 1.1, "equal_weight": 0.1, "reference": 2.1, "attainable": True,
        "low": 0.5, "high": 1.5, "turnover_annual": 100.0, "cpu_s": 20.0, "commit": "c",
    }  # fmt: skip
    return msgspec.convert(base | changes, Finding)


def test_the_page_and_its_picture_are_those_of_the_findings() -> None:
    cells = power_table.cells(read_findings(power_table.FINDINGS))
    page = power_table.PAGE.read_text(encoding="utf-8")
    assert page == power_table.written(page, power_table.rows(cells)), "python -m scripts.site.power_table"
    assert power_table.PICTURE.read_text(encoding="utf-8") == power_table.picture(cells)


def test_the_newest_cell_of_a_learner_counts_and_few_seeds_have_no_verdict() -> None:
    later = [finding(cell="b", seed=seed, growth=0.1 + seed / 5) for seed in (1, 2, 3)]
    (cell,) = power_table.cells([finding(), *later])
    assert [seed.cell for seed in cell.seeds] == ["b"] * 3
    assert "| no verdict (3 of 10 seeds); shares 10%, 20%, 30% | 20 |" in power_table.rows([cell])


def test_the_twenty_stocks_are_a_test_part_of_their_own() -> None:
    cells = power_table.cells([finding(), finding(cell="b", plan="ppo-us20", cost_bp=1.0)])
    assert [cell.market for cell in cells] == ["", "us20"]
    assert "| ppo | 20 stocks, 2012-21 | feature 1 | 1 |" in power_table.rows(cells)


def test_a_plant_that_no_learner_was_mended_on_has_a_row_and_no_dot() -> None:
    cells = power_table.cells([finding(), finding(cell="b", plant="lag", shape="lag")])
    assert [cell.market for cell in cells] == ["", "unseen"]
    assert "| ppo | five stocks, 2017-18, plant of unseen.toml | lag 1 | 15 |" in power_table.rows(cells)
    assert power_table.picture(cells) == power_table.picture(cells[:1])


def test_the_picture_is_sound_and_has_a_dot_for_each_seed() -> None:
    cells = power_table.cells(
        [finding(), finding(seed=2), finding(cell="n", plant="feature 0", ic=0.0, attainable=False)]
    )
    root = ElementTree.fromstring(power_table.picture(cells))
    assert len(root.findall("{http://www.w3.org/2000/svg}circle")) == 2


def test_a_page_without_its_comments_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"power.md: write <!-- table"):
        power_table.written("# Power\n", "| a |")
