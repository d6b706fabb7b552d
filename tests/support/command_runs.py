"""A finished run and a running daemon, for the tests of commands."""

import pytest

from tests.support.command_line import CONFIG, answer, quantd, running, write


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """A folder with a finished run, and what the run printed."""
    folder = tmp_path_factory.mktemp("ran")
    write(folder)
    return folder, answer(quantd(folder, "run", "--json"))


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A folder in which a daemon runs, held at the end of its market."""
    folder = tmp_path_factory.mktemp("live")
    write(folder, CONFIG.replace('at_end = "stop"', 'at_end = "wait"'))
    with running(folder) as daemon:
        yield folder, daemon
