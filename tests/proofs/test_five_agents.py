"""The short form of `python -m tests.proofs.five_agents`: two years of the seventeen."""

import pytest

from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from tests.proofs.five_agents import CONFIG, breaches, prove


@pytest.fixture(scope="module")
def assembly():
    return assemble(read(CONFIG, ("feed.start=2008-06-02", "feed.end=2009-12-31")))


@pytest.mark.long
@pytest.mark.requirement("R-161")
def test_the_books_of_five_agents_add_up_to_the_house_at_every_bar(assembly):
    figures, shell, _ = prove(assembly)
    assert figures.wrong == []
    assert figures.bars > 600
    assert figures.fills > 500
    assert figures.crosses > 10
    assert figures.shared > 50
    assert figures.most_apart_micro > 0
    assert figures.end_apart_micro == 0
    assert len({figures.equity[name] for name in ("calm", "parity", "even", "trend", "swing")}) == 5
    # and the check sees a single unit anywhere
    book = shell.state.ledger.books[0]
    for what in ("cash_micro", "fees_micro", "realised_micro", "income_micro"):
        setattr(book, what, getattr(book, what) + 1)
        assert breaches(shell.state)
        setattr(book, what, getattr(book, what) - 1)
    book.held[3] += 1
    assert {"lots", "marked equity"} <= set(breaches(shell.state))
