"""Extras of quantd: which packages are missing, and the command that adds them to this installation."""

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from shlex import join
from typing import Any, Final
from urllib.parse import unquote, urlsplit

NAME: Final = "quantd"


def absent(modules: Iterable[str]) -> list[str]:
    """The modules that are not installed."""
    return [module for module in modules if find_spec(module) is None]


def lack(purpose: str, extra: str, *modules: str) -> str:
    """The text about a purpose whose modules are not installed, with the remedy; empty where all are installed."""
    missing = absent(modules)
    return f"{purpose} needs {', '.join(missing)}: {remedy(extra)}" if missing else ""


def remedy(extra: str) -> str:
    """The remedy for a missing extra: what to install, and the command."""
    return f"install quantd with its extra `{extra}`: {command(extra)}"


@cache
def command(extra: str) -> str:
    """The command that adds an extra, in the form in which quantd was installed: by pip, uv, pipx or as a uv tool, from
    an index, a wheel or a checkout."""
    try:
        installed = distribution(NAME)
    except PackageNotFoundError:
        return join(_installer("pip", _spelled(NAME, [extra])))
    return command_for(extra, Path(sys.prefix), installed)


def command_for(extra: str, prefix: Path, installed: Distribution) -> str:
    """`command` for the environment `prefix`, into which `installed` was installed."""
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    receipt, metadata = prefix / "uv-receipt.toml", prefix / "pipx_metadata.json"
    if receipt.is_file():
        words = ["uv", "tool", "install", _spelled(_source(origin), [*_uv_extras(receipt), extra])]
        return join([*words[:3], "--editable", words[3]] if _is_editable(origin) else words)
    if metadata.is_file():
        words = ["pipx", "install", "--force", _spelled(_source(origin), [*_pipx_extras(metadata), extra])]
        return join([*words[:3], "--editable", words[3]] if _is_editable(origin) else words)
    installer = (installed.read_text("INSTALLER") or "pip").strip()
    source = _source(origin)
    if source != NAME and not Path(source).exists():  # a wheel that was deleted after its installation
        return join(_installer(installer, *_requirements(installed, extra)))
    if not _is_editable(origin):
        return join(_installer(installer, _spelled(source, [extra])))
    lock = Path(source, "constraints.txt")
    return join(_installer(installer, *(["-c", str(lock)] if lock.is_file() else []), "-e", _spelled(source, [extra])))


def _installer(name: str, *words: str) -> list[str]:
    if name == "uv":
        return ["uv", "pip", "install", "--python", sys.executable, *words]
    return [sys.executable, "-m", "pip", "install", *words]


def _is_editable(origin: dict[str, Any]) -> bool:
    return bool(origin.get("dir_info", {}).get("editable"))


def _source(origin: dict[str, Any]) -> str:
    """The local path from which quantd was installed, else its name in the index."""
    address = urlsplit(origin.get("url", ""))
    return unquote(address.path) if address.scheme == "file" else NAME


def _spelled(source: str, extras: Sequence[str]) -> str:
    return f"{source}[{','.join(dict.fromkeys(extras))}]"


def _uv_extras(receipt: Path) -> list[str]:
    """The extras that a tool of uv has: it would lose those that an installation leaves out."""
    requirements = tomllib.loads(receipt.read_text(encoding="utf-8")).get("tool", {}).get("requirements", [])
    return [extra for entry in requirements if entry.get("name") == NAME for extra in entry.get("extras", [])]


def _pipx_extras(metadata: Path) -> list[str]:
    """The extras that an environment of pipx has: a new one would lose them."""
    package = json.loads(metadata.read_text(encoding="utf-8")).get("main_package", {})
    written = re.search(r"\[([\w, -]+)\]$", package.get("package_or_url") or "")
    return [extra.strip() for extra in written[1].split(",")] if written else []


def _requirements(installed: Distribution, extra: str) -> list[str]:
    """The packages of an extra, with the extras that it includes left out."""
    marked = re.compile(rf"""extra\s*==\s*["']{re.escape(extra)}["']""")
    lines = (line.partition(";") for line in installed.requires or ())
    return [package.strip() for package, _, marker in lines if marked.search(marker)]
