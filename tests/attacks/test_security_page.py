"""The page of the threat model has a row for each table of attacks; the module of a table compares its own number."""

import re

from tests.attacks.threat_table import COUNTS
from tests.support.checkout import ROOT

COMPARED = re.compile(r"^    assert len\(.+ == attacks_on_the_page\(__file__\)$", re.MULTILINE)


def test_the_page_has_a_row_for_each_module_with_a_table_of_attacks() -> None:
    modules = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(COUNTS) == sorted(name for name in modules if COMPARED.search((ROOT / name).read_text()))
