"""The sample of mutants is drawn evenly, maps what reaches a mutant, and counts each killed mutant once."""

import builtins
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proofs import mutant_sample
from tests.proofs.mutants import mutants
from tests.support.checkout import ROOT

SOURCE = """
def capped(x, most=None):
    if most is None or not x < 7:
        return max(x, 5)
    elif x == 0:
        return [k + 1 for k in range(3)]
    return x
"""


def test_each_area_gives_as_many_mutants_and_a_seed_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutant_sample, "AREAS", {"monitor": ("risk/monitor",), "paper": ("adapters/brokers/paper",)})
    sample = mutant_sample.drawn(120, 1)
    assert [area for area, _, _ in sample] == ["monitor", "paper"] * 60
    assert len(set(sample)) == 120
    assert sample == mutant_sample.drawn(120, 1) != mutant_sample.drawn(120, 2)
    names = {"ceilings.py", "equity_series.py", "holding_vectors.py", "holdings.py", "levels.py", "realised.py"}
    assert {path.name for area, path, _ in sample if area == "monitor"} == names


def test_chosen_modules_give_all_mutants() -> None:
    chosen = [mutant_sample.module_path(f"risk/pretrade/{name}") for name in ("pairs", "scenes")]
    sample = mutant_sample.drawn(40, 1, chosen)
    assert {area for area, _, _ in sample} == {"gate"}
    assert {path for _, path, _ in sample} <= set(chosen)
    assert len(set(sample)) == 40
    assert sample == mutant_sample.drawn(40, 1, chosen) != mutant_sample.drawn(40, 2, chosen)


def test_a_probed_module_does_the_same_and_names_the_mutants_that_it_reaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small.py"
    path.write_text(SOURCE)
    texts = {number: mutant.text for number, mutant in enumerate(mutants(path))}
    reached: list[int] = []
    monkeypatch.setattr(builtins, "_reached", reached.append, raising=False)
    names: dict[str, object] = {}
    exec(mutant_sample.probed(path, {number: number for number in texts}), names)

    def seen(*given: object) -> tuple[object, set[str]]:
        reached.clear()
        return names["capped"](*given), {texts[number] for number in reached}  # type: ignore[operator]

    value, first = seen(3)
    assert value == 5
    assert {"most is None  ->  most is not None", "7  ->  8", "max  ->  min", "5  ->  6"} <= first
    assert not {"x == 0  ->  x != 0", "k + 1  ->  k - 1", "return x  ->  return None"} & first
    value, second = seen(0, 1)
    assert value == [1, 2, 3]
    assert {"x == 0  ->  x != 0", "k + 1  ->  k - 1", "1  ->  2"} <= second
    assert not {"max  ->  min", "return x  ->  return None"} & second
    assert seen(4, 1)[1] >= {"return x  ->  return None"}


def test_the_table_counts_a_mutant_where_it_was_killed_first(tmp_path: Path) -> None:
    rows = [
        ("quick", "gate", "a", "killed", "quick"),
        ("quick", "gate", "b", "survived", "quick"),
        ("all", "gate", "b", "killed", "long"),
        ("quick", "paper", "c", "crashed", "quick"),
        ("quick", "paper", "d", "no test", "quick"),
        ("all", "paper", "d", "killed", "quick"),
        ("quick", "paper", "e", "survived", "quick"),
        ("all", "paper", "e", "survived", "all"),
        ("quick", "books", "f", "survived", "quick"),
        ("quick", "books", "g", "not installed", "quick"),
    ]
    results = tmp_path / "results.jsonl"
    keys = ("set", "area", "mutant", "outcome", "kind")
    results.write_text("".join(json.dumps({**dict(zip(keys, row, strict=True)), "by": "t"}) + "\n" for row in rows))
    table = mutant_sample.report(results)
    cells_by_area = {line.split()[0]: line.split()[1:] for line in table.partition("\n\n")[0].splitlines()[1:]}
    assert cells_by_area["gate"] == ["2", "1", "1", "0", "0", "50.0%"]
    assert cells_by_area["paper"] == ["3", "2", "0", "1", "0", "100.0%"]
    assert cells_by_area["books"] == ["1", "0", "0", "0", "1", "0.0%"]
    assert cells_by_area["all"] == ["6", "3", "1", "1", "1", "75.0%"]
    assert [line.split()[:3] for line in table.partition("\n\n")[2].splitlines()] == [
        ["long", "gate", "b"], ["none", "paper", "e"], ["pending", "books", "f"],
    ]  # fmt: skip


@pytest.mark.long
def test_the_program_kills_mutants_of_the_paper_broker_and_goes_on_where_it_was(tmp_path: Path) -> None:
    words = ["--mutants", "12", "--set", "quick", "--tests", "adapters/brokers/paper", "--folder", str(tmp_path)]
    tables = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "tests.proofs.mutant_sample", *words],
            cwd=ROOT, check=False, capture_output=True, text=True,
        )  # fmt: skip
        tables.append(done.stdout[done.stdout.index("area") :])
    assert tables[0] == tables[1]
    assert re.search(r"^paper +3 +[123] +0 +0 +[012] ", tables[0], re.MULTILINE), tables[0]
    assert len((tmp_path / "12_1" / "results.jsonl").read_text().splitlines()) == 12
