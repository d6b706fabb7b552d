"""One report of a small backtest for the tests of this folder."""

import pytest

from tests.support.backtest_reports import Made, made


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("report"))
