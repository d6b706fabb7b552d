"""Every notebook of the examples runs from beginning to end, in an empty folder."""

import asyncio
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.checkout import ROOT

SLOW = ("sweep_and_luck", "training", "walk_forward")
"""Run by hand with `pytest -m slow`: their functions have tests without a notebook, and their calls are checked."""

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


@pytest.mark.long
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow if path.stem in SLOW else ()) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_a_notebook_runs(path, folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(folder / "jupyter"))
    kernels = folder / "jupyter" / "kernels" / "python3"
    kernels.mkdir(parents=True)
    command = f'["{sys.executable}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"]'
    (kernels / "kernel.json").write_text(f'{{"argv": {command}, "display_name": "Python 3", "language": "python"}}')
    book = nbformat.read(path, as_version=4)
    client = NotebookClient(book, timeout=200, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    asyncio.run(client.async_execute())
    shown = [out for cell in book.cells for out in cell.get("outputs", [])]
    assert any("text/html" in out.get("data", {}) for out in shown)
    assert all(out["output_type"] != "error" for out in shown)
    assert (folder / "report.html").stat().st_size > 10_000
