"""The comparison of two engines over random worlds, in short form and with this checkout as its own base."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

WORLDS = 6


def compared(base, *options):
    """(exit status, output) of the comparison of the engine in folder `base` with the present one."""
    words = [sys.executable, str(ROOT / "scripts" / "compare_engines.py"), "--base", str(base), *options]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def checkout_with(folder, module, text):
    """A checkout of the present sources with `text` at the end of one module of trading/."""
    source = folder / "src" / "quantd"
    source.mkdir(parents=True)
    for each in (ROOT / "src" / "quantd").iterdir():
        if each.name == "trading":
            shutil.copytree(each, source / each.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif each.name != "__pycache__":
            (source / each.name).symlink_to(each.resolve())
    with (source / "trading" / module).open("a") as file:
        file.write(text)
    return folder


def test_an_engine_does_not_differ_from_itself_and_the_table_names_what_the_worlds_hit():
    status, text = compared(ROOT, "--worlds", str(WORLDS))
    assert status == 0, text
    rows = {line.rsplit(maxsplit=2)[0]: line.rsplit(maxsplit=2)[1:] for line in text.splitlines()[1:-1]}
    assert {"orders", "fills", "effect: Valued"} <= rows.keys()
    assert all(differences == "0" for _, differences in rows.values())
    assert text.splitlines()[-1].startswith(f"{WORLDS} worlds")
    assert text.endswith("0 differ\n")


def test_a_planted_difference_is_found_with_its_first_row_and_seed(tmp_path):
    """The base charges another cost on each fill."""
    base = checkout_with(tmp_path, "execution.py", "\nCosts.fixed_rate = property(lambda costs: 10_000_000)\n")
    status, text = compared(base, "--worlds", str(WORLDS))
    assert status == 1
    seed = int(text.splitlines()[-1].rsplit("seeds ", 1)[1].split(",")[0])
    status, text = compared(base, "--seed", str(seed), "--verbose")
    assert status == 1
    assert text.startswith(f"seed {seed}: row ")
    assert text.count("Filled") >= 2


def test_only_the_worlds_that_hit_a_feature_are_compared():
    status, text = compared(ROOT, "--worlds", "12", "--only", "intraday bars")
    assert status == 0
    count = int(text.splitlines()[-1].split()[0])
    assert 0 < count < 12
    assert f"{count}            0" in next(row for row in text.splitlines() if row.startswith("intraday bars"))
    assert "daily bars" not in text
