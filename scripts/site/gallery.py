"""`python -m scripts.site gallery` executes the notebooks of the examples and writes them with outputs to docs/gallery.

The notebooks are kept without outputs. A page has each cell as it is, and below it what it printed: text as text, and a
plot as a picture beside the page.
"""

import asyncio
import base64
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any, Final

from quantd.regular_file import write_whole
from scripts.site.pages import ROOT

FOLDER: Final = ROOT / "docs" / "gallery"
NOTEBOOKS: Final = ROOT / "examples" / "notebooks"
LINES: Final = 12
"""Lines of one output that a page shows."""

SUMMARIES: Final = {
    "first_backtest": "This notebook leads from a policy to its report, and asks whether the policy would have worked.",
    "factor": "This notebook asks whether a factor predicts returns, and whether it pays after costs.",
    "sweep_and_luck": "This notebook shows how good the best of sixteen trials is, beside sixteen draws by lot.",
    "walk_forward": "This notebook asks whether choosing parameters would have worked as time went on.",
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
    """Execute every notebook, write its page and its pictures, and return their paths in the checkout."""
    FOLDER.mkdir(exist_ok=True)
    paths = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        text, pictures = page(path.stem, execute(path))
        for name, content in {f"{path.stem}.md": text.encode(), **pictures}.items():
            write_whole(FOLDER / name, content, durable=False)
            paths.append(str((FOLDER / name).relative_to(ROOT)))
    return paths


def page(name: str, cells: list[dict[str, Any]]) -> tuple[str, dict[str, bytes]]:
    """The Markdown of an executed notebook, and its pictures by file name."""
    head, *body = cells
    title, _, prose = head["source"].partition("\n")
    where = f"../../examples/notebooks/{name}.ipynb"
    about = f"{SUMMARIES[name]} The [notebook]({where}) runs as it stands, without any other file."
    parts = [title, fill(about, 120, break_long_words=False, break_on_hyphens=False)]
    parts += [prose.strip()] if prose.strip() else []
    pictures: dict[str, bytes] = {}
    for cell in body:
        if cell["cell_type"] == "markdown":
            parts.append(cell["source"].strip().replace(".ipynb)", ".md)"))  # a link to another notebook
            continue
        parts.append(f"```python\n{cell['source'].strip()}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                file = f"{name}-{len(pictures) + 1}.png"
                pictures[file] = base64.b64decode(data["image/png"])
                parts.append(f"![Plot {len(pictures)} of {title.lstrip('# ')}]({file})")
            elif text := "".join(_texts(output)):
                parts.append(f"```text\n{shortened(text)}\n```")
    return "\n\n".join(parts) + "\n", pictures


def _texts(output: dict[str, Any]) -> Iterator[str]:
    if output["output_type"] == "stream":
        yield output["text"]
    yield output.get("data", {}).get("text/plain", "")


def shortened(text: str) -> str:
    """A text without colours, addresses and what would end its block, cut after LINES lines."""
    lines = _NOISE.sub("", text).replace("```", "'''").rstrip().split("\n")
    return "\n".join([*(line.rstrip() for line in lines[:LINES]), *(["..."] if len(lines) > LINES else [])])
