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
    seeds = Counter(fit.side for fit in fits)
    lines = [line.split(" | ") for line in peer_table.table_of().splitlines()]
    by_side = {line[0].removeprefix("| "): line[-1].removesuffix(" |") for line in lines}
    assert set(seeds) <= set(SIDES)
    assert {side: int(by_side[side].partition(",")[0]) for side in seeds} == dict(seeds)
