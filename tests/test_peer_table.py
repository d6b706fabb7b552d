"""The table of PPO beside other libraries, on the page of power, is that of the fits in the repository."""

from collections import Counter

from benchmarks.peers.ppo.cases import SIDES
from benchmarks.peers.ppo.peer_fits import newest, read_fits
from scripts.site import peer_table, power_table


def test_the_page_has_the_table_of_the_fits() -> None:
    page = power_table.PAGE.read_text(encoding="utf-8")
    table = peer_table.table_of()
    assert page == power_table.written(page, table, peer_table.BEGIN), "python -m scripts.site.peer_table"


def test_a_row_tells_how_many_seeds_it_has() -> None:
    fits = newest(read_fits(peer_table.FITS))
    seeds = Counter((fit.market, fit.side) for fit in fits)
    assert {side for _, side in seeds} <= set(SIDES)
    lines = [line.removeprefix("| ").split(" | ") for line in peer_table.table_of().splitlines()]
    # a market may have the rows of all sides
    rows = Counter((line[0], int(line[-1].partition(",")[0].removesuffix(" |"))) for line in lines if line[0] in SIDES)
    assert rows == Counter((side, count) for (_, side), count in seeds.items())
