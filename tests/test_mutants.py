"""The mutation runner changes what is run, one place at a time, and nothing else."""

from pathlib import Path

from tests.mutants import mutants

SOURCE = '''"""A module."""

LIMIT = 5


def capped(x: int = 3, most: float | None = None) -> int:
    """No change here."""
    if most is None or not x < 7:
        return max(x, LIMIT)
    x += 2
    return x
'''


def texts(folder: Path) -> list[str]:
    (folder / "small.py").write_text(SOURCE)
    return [m.text for m in mutants(folder / "small.py")]


def test_each_operator_number_and_branch_of_a_function_is_changed_once(tmp_path: Path) -> None:
    found = texts(tmp_path)
    for each in (
        "most is None  ->  most is not None",
        "most is None or not x < 7  ->  most is None and (not x < 7)",
        "not x < 7  ->  x < 7",
        "x < 7  ->  x <= 7",
        "7  ->  8",
        "max  ->  min",
        "x += 2  ->  x -= 2",
        "return x  ->  return None",
        "if most is None or not x < 7:  ->  if True:",
        "if most is None or not x < 7:  ->  if False:",
    ):
        assert found.count(each) == 1, each


def test_constants_of_the_module_defaults_and_words_are_left_alone(tmp_path: Path) -> None:
    found = texts(tmp_path)
    assert not any(text.startswith(("5 ", "3 ", "'No", "'A")) for text in found)
    assert (tmp_path / "small.py").read_text() == SOURCE


def test_a_mutant_is_code_that_does_something_else(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(SOURCE)
    answers = {}
    for mutant in mutants(tmp_path / "small.py"):
        names: dict[str, object] = {}
        exec(mutant.code, names)
        capped = names["capped"]
        answers[mutant.text] = capped(1, 2.0), capped(9, 2.0)  # type: ignore[operator]
    assert answers["x += 2  ->  x -= 2"] == (-1, 9)
    assert answers["max  ->  min"] == (3, 5)
    assert answers["not x < 7  ->  x < 7"] == (5, 11)
