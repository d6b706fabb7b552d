"""The notebooks of the examples as pages; `python -m scripts.site gallery` executes them and writes their outputs.

A notebook is kept with the text that its cells printed, and with the drawings (SVG) of its results.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from quantd.regular_file import write_whole
from quantd.research.reports.notebook_picture import COLORS
from scripts.site.pages import ROOT

NOTEBOOKS: Final = tuple(sorted((ROOT / "examples" / "notebooks").glob("*.ipynb")))
LINES: Final = 12
"""Lines of one output that are kept."""

SUMMARIES: Final = {
    "first_backtest": "This notebook leads from a policy to its report, and asks whether the policy would have worked.",
    "factor": "This notebook asks whether a factor predicts returns, and whether it pays after costs.",
    "sweep_and_luck": "This notebook shows how good the best of sixteen trials is, beside sixteen draws by lot.",
    "walk_forward": "This notebook asks whether choosing parameters would have worked as time went on.",
    "training": "This notebook trains a policy in minutes, and asks whether it beats equal weight and chance.",
    "agent_behind_the_gate": "This notebook shows what the limits do with an agent that asks for too much.",
}
"""Name of a notebook -> the first sentence of its page."""

_NOISE: Final = re.compile(r"\x1b\[[0-9;]*m| at 0x[0-9a-f]+")
"""Colours, and addresses in memory, which differ from run to run."""


def execute(path: Path) -> list[dict[str, Any]]:
    """The cells of a notebook with the outputs of a run in an empty folder. Raises the error of a cell."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as name:
        kernels = Path(name) / "jupyter" / "kernels" / "python3"
        kernels.mkdir(parents=True)
        command = f'["{sys.executable}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"]'
        (kernels / "kernel.json").write_text(f'{{"argv": {command}, "display_name": "Python 3", "language": "python"}}')
        os.environ |= {"PYTHONPATH": str(ROOT / "src"), "JUPYTER_DATA_DIR": str(Path(name) / "jupyter")}
        work = Path(name) / "work"
        work.mkdir()
        client = NotebookClient(book, timeout=400, kernel_name="python3", resources={"metadata": {"path": str(work)}})
        asyncio.run(client.async_execute())
    return [dict(cell) for cell in book.cells]


def write() -> list[str]:
    """Execute every notebook, write it with the text of its outputs, and return the paths in the checkout."""
    for path in NOTEBOOKS:
        book = json.loads(path.read_text(encoding="utf-8"))
        for cell, executed in zip(book["cells"], execute(path), strict=True):
            if cell["cell_type"] == "code":
                cell["outputs"] = [kept for output in executed["outputs"] for kept in _kept(output)]
        write_whole(path, f"{json.dumps(book, indent=1, ensure_ascii=False)}\n".encode(), durable=False)
    return [str(path.relative_to(ROOT)) for path in NOTEBOOKS]


def _kept(output: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The text of an output, shortened, and its drawings."""
    if text := "".join(_texts(output)):
        yield {"name": "stdout", "output_type": "stream", "text": f"{shortened(text)}\n".splitlines(keepends=True)}
    data = output.get("data", {})
    drawings = re.findall(r"<svg.*?</svg>", data.get("image/svg+xml", data.get("text/html", "")), flags=re.DOTALL)
    if drawings:
        html = f'<div style="max-width:60rem;{COLORS}">{"".join(drawings)}</div>'
        yield {"data": {"text/html": [html]}, "metadata": {}, "output_type": "display_data"}


def page(path: Path) -> str:
    """The Markdown of a notebook: each cell as it is, and below it what it printed."""
    head, *body = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title, _, prose = "".join(head["source"]).partition("\n")
    parts = [title, SUMMARIES[path.stem], f"`quantd init --notebook {path.stem}` opens it in Jupyter."]
    parts += [prose.strip()] if prose.strip() else []
    for cell in body:
        source = "".join(cell["source"]).strip()
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += map(_shown, cell.get("outputs", ()))
    return "\n\n".join(parts) + "\n"


def _shown(output: dict[str, Any]) -> str:
    if "data" in output:
        return "".join(output["data"]["text/html"])
    return f"```text\n{''.join(output['text']).rstrip()}\n```"


def _texts(output: dict[str, Any]) -> Iterator[str]:
    if output["output_type"] == "stream":
        yield output["text"]
    yield output.get("data", {}).get("text/plain", "")


def shortened(text: str) -> str:
    """A text without colours, addresses and what would end its block, cut after LINES lines."""
    lines = _NOISE.sub("", text).replace("```", "'''").rstrip().split("\n")
    return "\n".join([*(line.rstrip() for line in lines[:LINES]), *(["..."] if len(lines) > LINES else [])])
