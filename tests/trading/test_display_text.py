"""Foreign text for messages: one line, bounded, without secrets."""

from urllib.parse import urlsplit

import pytest

from quantd.trading.display_text import csv_cell, endpoint_text, one_line


def test_a_foreign_text_becomes_one_line_without_secrets() -> None:
    assert one_line("  the\nkey 1234\t5678 is wrong", 40, ("5678", "")) == "the key 1234 *** is wrong"
    assert one_line("xx abcd", 40, ("x",)) == "xx abcd", "a secret of a few characters is none"
    assert one_line(ValueError("long " * 50), 9) == "long long"


@pytest.mark.parametrize(
    ("text", "written"),
    [("=SPY", "'=SPY"), ("+1+1", "'+1+1"), ("-SPY", "'-SPY"), ("@SUM(A1)", "'@SUM(A1)"), ("-12.50", "-12.50"),
    ("A=B", "A=B"), ("\n=A1", "'\n=A1"), ("\uff1dA1", "'\uff1dA1"), ("\rA", "\\x0dA"), ("x\x1b[2J", "x\\x1b[2J")],
)  # fmt: skip
def test_text_that_a_spreadsheet_takes_for_a_formula_is_exported_as_text(text: str, written: str) -> None:
    assert csv_cell(text) == written


@pytest.mark.parametrize("host", ["::1", "2001:db8::7", "::ffff:127.0.0.1", "127.0.0.1", "host.example"])
def test_an_address_with_host_and_port_can_be_opened(host: str) -> None:
    parts = urlsplit(f"http://{endpoint_text(host, 8000)}/")
    assert (parts.hostname, parts.port) == (host, 8000)
