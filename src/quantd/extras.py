"""Extras of quantd: which packages are missing, and the command that adds them to this installation."""

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
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
    a wheel, a checkout or an address. It never has the bare name, which an index may give to another package."""
    checkout = Path(__file__).resolve().parents[2]
    here = (
        {"url": checkout.as_uri(), "dir_info": {"editable": True}} if (checkout / "pyproject.toml").is_file() else None
    )
    try:
        return command_for(extra, Path(sys.prefix), distribution(NAME), here)
    except PackageNotFoundError:  # a folder on PYTHONPATH
        return join(_installer("pip", _spelled("PATH_OF_THE_WHEEL", [extra])))


def command_for(extra: str, prefix: Path, installed: Distribution, checkout: Mapping[str, Any] | None = None) -> str:
    """`command` for the environment `prefix`, into which `installed` was installed.

    `checkout` is the record of an editable installation of the checkout that runs, for metadata that lack theirs.
    """
    recorded = installed.read_text("direct_url.json")
    origin = json.loads(recorded) if recorded else checkout or {}
    receipt, metadata = prefix / "uv-receipt.toml", prefix / "pipx_metadata.json"
    source, editable = _source(origin), bool(origin.get("dir_info", {}).get("editable"))
    if not source:  # from an index, or from a file that was deleted after its installation
        packages = _requirements(installed, extra)
        if metadata.is_file():
            return join(["pipx", "inject", NAME, *packages])
        installer = "uv" if receipt.is_file() else (installed.read_text("INSTALLER") or "pip").strip()
        return join(_installer(installer, *packages))
    if receipt.is_file():
        words = ["uv", "tool", "install", _spelled(source, [*_uv_extras(receipt), extra])]
        return join([*words[:3], "--editable", words[3]] if editable else words)
    if metadata.is_file():
        words = ["pipx", "install", "--force", _spelled(source, [*_pipx_extras(metadata), extra])]
        return join([*words[:3], "--editable", words[3]] if editable else words)
    installer = (installed.read_text("INSTALLER") or "pip").strip()
    if not editable:
        return join(_installer(installer, _spelled(source, [extra])))
    lock = Path(source, "constraints.txt")
    return join(_installer(installer, *(["-c", str(lock)] if lock.is_file() else []), "-e", _spelled(source, [extra])))


@cache
def package_command(package: str) -> str:
    """The command that installs a package of an index beside quantd, in the form in which quantd was installed."""
    try:
        return package_command_for(package, Path(sys.prefix), distribution(NAME))
    except PackageNotFoundError:  # a folder on PYTHONPATH
        return join(_installer("pip", package))


def package_command_for(package: str, prefix: Path, installed: Distribution) -> str:
    """`package_command` for the environment `prefix`, into which `installed` was installed."""
    if (prefix / "pipx_metadata.json").is_file():
        return join(["pipx", "inject", NAME, package])
    installer = "uv" if (prefix / "uv-receipt.toml").is_file() else (installed.read_text("INSTALLER") or "pip").strip()
    return join(_installer(installer, package))


def _installer(name: str, *words: str) -> list[str]:
    if name == "uv":
        return ["uv", "pip", "install", "--python", sys.executable, *words]
    return [sys.executable, "-m", "pip", "install", *words]


def _source(origin: Mapping[str, Any]) -> str:
    """The path or the address from which quantd was installed; empty for an index, and where the file is gone."""
    url = origin.get("url", "")
    address = urlsplit(url)
    if address.scheme == "file" and "vcs_info" not in origin:
        path = unquote(address.path)
        return path if Path(path).exists() else ""
    if "vcs_info" not in origin:
        return str(url)
    vcs = origin["vcs_info"]
    return f"{vcs['vcs']}+{url}@{vcs['commit_id']}"


def _spelled(source: str, extras: Sequence[str]) -> str:
    """A path or an address with extras, as installers read it."""
    listed = ",".join(dict.fromkeys(extras))
    return f"{NAME}[{listed}] @ {source}" if "://" in source else f"{source}[{listed}]"


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
