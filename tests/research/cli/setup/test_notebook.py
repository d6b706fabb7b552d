"""The notebooks are copied into a folder of the user's and opened, or the command that installs Jupyter is printed."""

import json
import os
import sys
from pathlib import Path

import pytest

from quantd.extras import absent, package_command
from tests.support.command_line import ROOT, environment, program, quantd

ALL = {path.name for path in (ROOT / "examples/notebooks").glob("*.ipynb")}
WITHOUT = pytest.mark.skipif(not absent(["jupyterlab", "notebook"]), reason="Jupyter is installed")


@WITHOUT
def test_without_jupyter_the_copies_are_there_and_the_command_that_installs_it_is_printed(tmp_path: Path) -> None:
    done = quantd(tmp_path, "init", "--notebook", "all")
    assert done.returncode == 78
    assert {path.name for path in (tmp_path / "notebooks").iterdir()} == ALL
    assert len(ALL) == 6
    assert f"Install it: {package_command('jupyterlab')}\n" in done.stderr
    assert done.stderr.rstrip().endswith("Next: quantd init --notebook all opens notebooks")


@WITHOUT
def test_one_notebook_is_copied_and_an_edited_copy_stays(tmp_path: Path) -> None:
    assert quantd(tmp_path, "init", "mine", "--notebook", "factor").returncode == 78
    (tmp_path / "mine/notebooks/factor.ipynb").write_text("edited")
    done = quantd(tmp_path, "init", "mine", "--notebook", "factor.ipynb")
    assert "mine/notebooks/factor.ipynb is there, and stays as it is" in done.stdout
    assert [path.name for path in (tmp_path / "mine/notebooks").iterdir()] == ["factor.ipynb"]
    assert (tmp_path / "mine/notebooks/factor.ipynb").read_text() == "edited"


def test_an_unknown_name_has_its_neighbour_and_copies_nothing(tmp_path: Path) -> None:
    done = quantd(tmp_path, "init", "--notebook", "factors")
    assert done.returncode == 2
    assert "Did you mean factor?" in done.stderr
    assert not (tmp_path / "notebooks").exists()


@pytest.mark.long
def test_jupyter_is_started_by_this_python_with_the_notebook(tmp_path: Path) -> None:
    """The module stands where Jupyter would, and writes down how it was started."""
    (tmp_path / "jupyterlab").mkdir()
    (tmp_path / "jupyterlab/__init__.py").touch()
    (tmp_path / "jupyterlab/__main__.py").write_text(
        "import json, pathlib, sys\n"
        "pathlib.Path('started.json').write_text(json.dumps([sys.executable, *sys.argv[1:]]))\n"
        "sys.exit(3)\n"
    )
    path = f"{tmp_path}{os.pathsep}{environment()['PYTHONPATH']}"
    done = program(tmp_path, "init", "--notebook", "factor", env={"PYTHONPATH": path})
    assert done.returncode == 3, done.stderr
    assert json.loads((tmp_path / "started.json").read_text()) == [sys.executable, "notebooks/factor.ipynb"]
