"""The largest rows of a list, and a search in it, with a daemon and without."""

import pytest

from tests.support.command_line import answer, quantd


@pytest.mark.long
@pytest.mark.parametrize("command", ["positions", "risk"])
def test_a_table_names_the_number_of_rows_that_it_leaves_out(ran, live, command):
    shown = [quantd(folder, command, "--largest", "1").stdout for folder in (ran[0], live[0])]
    for text in shown:
        assert "the largest 1 of 3; `--largest N` shows more" in text
    documents = [answer(quantd(folder, command, "--search", "qq", "--json")) for folder in (ran[0], live[0])]
    assert [document["count"] for document in documents] == [1, 1]
    assert "the largest" not in quantd(ran[0], command).stdout


@pytest.mark.long
def test_orders_of_a_daemon_are_those_of_its_store(ran, live):
    def table(folder, *options):
        run = answer(quantd(folder, "status", "--json"))["run"]
        return quantd(folder, "orders", "--last", "7", *options).stdout.replace(run, "RUN")

    assert table(live[0]) == table(ran[0])
    assert len(table(live[0]).splitlines()) == 8
    assert table(live[0], "--symbol", "SPY") == table(ran[0], "--symbol", "SPY")
    assert "QQQ" not in table(live[0], "--symbol", "SPY")
