"""The part of the build that pyproject.toml cannot express: the compiled engine, and the facts of publication.toml.

A wheel has the compiled engine where it can be compiled, else none, with one line on stderr that names the reason.
QUANTD_PURE_WHEEL=1 requests a wheel without it, and QUANTD_ENGINE=required fails where it cannot be compiled. An
editable installation has none.
"""

import gzip
import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

SMALL = 256
"""Bytes of the least part of a tensor that is looked for in a graph."""

HERE = Path(__file__).resolve().parent
PURE = os.environ.get("QUANTD_PURE_WHEEL") == "1"
REQUIRED = os.environ.get("QUANTD_ENGINE") == "required"
VERSION = re.compile(r'^VERSION = "(.+)"$', re.MULTILINE)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")

sys.path.insert(0, str(HERE / "src"))


@cache
def lack() -> str:
    """Why the engine cannot be compiled here; empty where Cython, a compiler and Python's headers are there."""
    from quantd.engine_build.builder import obstacle

    return obstacle()


def engine() -> Path | None:
    """The folder with the compiled engine; None without one, after a line that names the reason.

    Leaves with a line that names the remedy where the engine is required.
    """
    from quantd.engine_build.builder import build
    from quantd.engine_build.c_compiler import NoBuild

    try:
        if not REQUIRED and lack():
            raise NoBuild(lack())
        return build(jobs=os.cpu_count() or 1)
    except NoBuild as why:
        if REQUIRED:
            sys.exit(f"quantd: the engine is not compiled: {why}; a wheel without it: make wheel-pure")
        sys.stderr.write(f"quantd: the engine runs uncompiled, more slowly: {why}\n")
        return None


def parts_of(tensor: bytes, shape: Sequence[int], graph: bytes) -> list[tuple[int, int]]:
    """Return the parts of a tensor as (start in the graph, bytes), with -1 for what the graph lacks.

    A graph may have one tensor for each member of the first axis, or for some columns.
    """
    start = graph.find(tensor) if len(tensor) >= SMALL else -1
    if start >= 0 or len(tensor) < 2 * SMALL:
        return [(start, len(tensor))]
    count, *inner = shape if len(shape) > 1 else (2, shape[0] // 2)
    size = len(tensor) // count
    parts: list[tuple[int, int]] = []
    for at in range(0, len(tensor), size):
        parts += parts_of(tensor[at : at + size], inner, graph)
        if parts[0][0] < 0:  # as the other members, probably
            return [(-1, len(tensor))]
    return parts


def without_doubles(weights: Path) -> None:
    """Replace the weights of a trained policy by weights.parts, which lacks what its graph has too.

    The reader, quantd.models.artifacts.folder, puts them together again. Weights that lose less than an eighth of a
    mebibyte stay.
    """
    data, graph = weights.read_bytes(), weights.with_name("policy.onnx").read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")  # of the tensors: the header of safetensors precedes them
    tensors = (table for name, table in json.loads(data[8:begin]).items() if name != "__metadata__")
    parts, kept, at = [(-1, begin)], [data[:begin]], begin
    for table in sorted(tensors, key=lambda table: table["data_offsets"]):
        for start, count in parts_of(data[at : begin + table["data_offsets"][1]], table["shape"] or [1], graph):
            parts.append((start, count))
            kept += [data[at : at + count]] if start < 0 else []
            at += count
    if len(data) - sum(map(len, kept)) >= 1 << 17:
        weights.with_name("weights.parts").write_bytes(json.dumps(parts).encode() + b"\n" + b"".join(kept))
        weights.unlink()


class WithEngine(build_py):
    """Copies the modules, then the compiled engine."""

    def run(self) -> None:
        made = None if PURE or self.editable_mode else engine()
        super().run()
        for weights in [] if self.editable_mode else Path(self.build_lib).rglob("weights.safetensors"):
            without_doubles(weights)
        for page in [] if self.editable_mode else Path(self.build_lib).rglob("docs_page/swagger-ui*"):
            page.with_name(f"{page.name}.gz").write_bytes(gzip.compress(page.read_bytes(), mtime=0))
            page.unlink()
        if made is not None:
            shutil.copytree(made, Path(self.build_lib) / "quantd" / "engine_build" / "built" / made.name)


class OfPlatform(Distribution):
    """A wheel with the compiled engine is of one platform and one Python."""

    def has_ext_modules(self) -> bool:
        return not PURE and (REQUIRED or not lack())


def description(text: str, repository: str, tag: str) -> str:
    """README for a page outside the repository: its relative links lead to the files of a tag.

    Without the address of a repository a relative link becomes its text, and a relative picture is left out.
    """

    def absolute(found: re.Match[str]) -> str:
        picture, label, target = found.groups()
        if re.match(r"[a-z]+:", target):
            return found[0]
        if repository:
            return f"{picture}[{label}]({repository}/{'raw' if picture else 'blob'}/{tag}/{target})"
        return "" if picture else label

    blocks = re.split(r"(?m)(^(?: {4}.*(?:\n|$))+)", text)  # what is indented is code
    return re.sub(r"\n{3,}", "\n\n", "".join(b if b.startswith("    ") else LINK.sub(absolute, b) for b in blocks))


def metadata(root: Path) -> dict[str, Any]:
    """The arguments of `setup` that come from publication.toml and README."""
    facts = tomllib.loads((root / "publication.toml").read_text(encoding="utf-8"))
    found = VERSION.search((root / "src/quantd/daemon/runtime/version.py").read_text(encoding="utf-8"))
    repository, tag = facts["repository"], f"v{found[1]}" if found else "main"
    urls = {"Homepage": facts["documentation"] or repository, "Documentation": facts["documentation"],
            "Source": repository, "Issues": repository and f"{repository}/issues",
            "Changes": repository and f"{repository}/blob/{tag}/CHANGELOG.md"}  # fmt: skip
    return {
        "author": ", ".join(facts["authors"]),
        "project_urls": {name: address for name, address in urls.items() if address},
        "long_description": description((root / "README.md").read_text(encoding="utf-8"), repository, tag),
        "long_description_content_type": "text/markdown",
    }


if __name__ == "__main__":
    setup(cmdclass={"build_py": WithEngine}, distclass=OfPlatform, **metadata(HERE))
