"""Cells of CSV files."""

import pytest

from quantd.daemon.cli.output import cell


@pytest.mark.parametrize(
    ("text", "written"),
    [("=SPY", "'=SPY"), ("+1+1", "'+1+1"), ("-SPY", "'-SPY"), ("@SUM(A1)", "'@SUM(A1)"), ("-12.50", "-12.50"),
    ("A=B", "A=B")],
)  # fmt: skip
def test_text_that_a_spreadsheet_takes_for_a_formula_is_exported_as_text(text, written):
    assert cell(text) == written
