"""Foreign text for messages: one line, bounded, without secrets."""

from quantd.trading.display_text import one_line


def test_a_foreign_text_becomes_one_line_without_secrets() -> None:
    assert one_line("  the\nkey 1234\t5678 is wrong", 40, ("5678", "")) == "the key 1234 *** is wrong"
    assert one_line("xx abcd", 40, ("x",)) == "xx abcd", "a secret of a few characters is none"
    assert one_line(ValueError("long " * 50), 9) == "long long"
